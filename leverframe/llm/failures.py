"""What went wrong with a call of a model, as one of two errors.

`BadCompletion`: the model (or our question) is at fault; asking again in the same words may not help. `ModelUnavailable`: the
account, the address or the server is; asking again later does. The line between them: a request that was understood and refused
for what it says is the first, everything else that is not an answer the second. Messages repeat nothing of prompts or
completions.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import cast

from pydantic import ValidationError

from leverframe.canon import parse
from leverframe.clock import SECOND, Micros
from leverframe.errors import BadCompletion, InputError, ModelError, ModelRefused, ModelUnavailable, NotJson, Spent, TooLarge

# 4xx that are not about what the request says: keys, quota, addresses, time-outs, rate.
_NOT_ABOUT_US = frozenset({401, 402, 403, 404, 405, 407, 408, 409, 421, 425, 426, 429, 451})
_OURS_TO_MEND = frozenset({401, 402, 403, 404, 405})
_BUSY = re.compile(r"rate.?limit|overload|unavailable|server.?error|internal|quota|time.?out|capacity", re.IGNORECASE)
_HINTS = {
    401: "check the key",
    402: "the account has no credit",
    403: "the key may not do this",
    404: "check the model's name and the base URL",
    429: "too many requests, or no quota",
}


def failure(error: Exception, completion: object, model: str, timeout: float, now: Micros, usage: Spent | None) -> Exception:
    """The error to raise; the given one if it is nobody's fault but our code's."""
    if isinstance(error, TimeoutError):
        return ModelUnavailable(f"{model}: no answer within {timeout:g} s", usage=usage)
    if completion is not None:
        found = _wrong_completion(completion, error, model)
        found.usage = usage
        return found
    return _wrong_call(_below(error), model, now)


def _below(error: Exception) -> Exception:
    """What instructor wrapped: its own errors hold the messages and the completion, so only their cause is looked at."""
    while isinstance(error.__cause__, Exception) and type(error).__module__.startswith("instructor"):
        error = error.__cause__
    return error


def _wrong_call(error: Exception, model: str, now: Micros) -> Exception:
    """No completion came at all."""
    import openai

    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        if status < 400 or status >= 500 or status in _NOT_ABOUT_US:
            hint = f"; {_HINTS[status]}" if status in _HINTS else ""
            after = retry_after(cast(Mapping[str, str], error.response.headers), now)
            refused = status in _OURS_TO_MEND
            return (ModelRefused if refused else ModelUnavailable)(f"{model}: HTTP {status}{hint}", retry_after=after)
        return BadCompletion(f"{model}: HTTP {status}: {_said(error.body)}")
    if isinstance(error, openai.APITimeoutError):
        return ModelUnavailable(f"{model}: the connection timed out")
    if isinstance(error, openai.APIConnectionError):
        return ModelUnavailable(f"{model}: no connection, or it was dropped ({type(error.__cause__).__name__})")
    if isinstance(error, openai.OpenAIError | ValueError | RecursionError):
        return BadCompletion(f"{model}: the server's answer cannot be read ({type(error).__name__})")
    return error


def _wrong_completion(completion: object, error: Exception, model: str) -> ModelError:
    if isinstance(completion, str):
        if completion.lstrip()[:1] == "<":
            return ModelUnavailable(f"{model}: the server sent a page, not an answer; check the base URL (most end in /v1)")
        return BadCompletion(f"{model}: the answer is a bare string")
    reported = _reported(completion)
    if reported is not None:
        return _error_inside(reported, model)
    choices = getattr(completion, "choices", None)
    if not isinstance(choices, list) or not choices:
        return BadCompletion(f"{model}: the answer has no choices")
    first = cast(list[object], choices)[0]
    return BadCompletion(f"{model}: {_wrong_choice(first, error)}")


def _wrong_choice(choice: object, error: Exception) -> str:
    message, finish = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
    if message is None:
        return "the answer has no message"
    if getattr(message, "refusal", None):
        return "the model refused to answer"
    if finish == "length":
        return "the answer was cut off; raise max_tokens or ask for less"
    if finish == "content_filter":
        return "the provider's filter withheld the answer"
    content = getattr(message, "content", None)
    if not isinstance(content, str) or not content.strip():
        calls = getattr(message, "tool_calls", None) or getattr(message, "function_call", None)
        return "the answer is a tool call of the provider's kind, not JSON" if calls else "the answer is empty"
    return f"the answer does not fit: {_misfit(error, content)}"


def _misfit(error: Exception, content: str) -> str:
    cause = _below(error)
    if not isinstance(cause, ValidationError):
        return type(cause).__name__
    kinds = {found["type"] for found in cause.errors(include_url=False, include_context=False, include_input=False)}
    # No names: keys that do not belong there may be anything.
    return _unreadable(content) if "json_invalid" in kinds else 'not the one object {"next": {…}} that was asked for'


def _unreadable(content: str) -> str:
    """Why no parser takes it, in our own words: those of the libraries differ, and some repeat it. The path holds its keys."""
    try:
        parse(content, what="answer")
    except (TooLarge, NotJson) as error:
        return str(error).rpartition(": ")[2]
    except InputError:
        pass
    return "not JSON"


def _reported(completion: object) -> object:
    """The error object that some servers send inside HTTP 200."""
    return _fields(getattr(completion, "model_extra", None)).get("error")


def _fields(value: object) -> Mapping[str, object]:
    return cast(Mapping[str, object], value) if isinstance(value, dict) else {}


def _error_inside(reported: object, model: str) -> ModelError:
    fields = _fields(reported)
    code = str(fields.get("code") or fields.get("status") or "")
    status = int(code) if re.fullmatch(r"[1-5]\d\d", code) else 0
    said = _said(reported)
    if status >= 500 or status in _NOT_ABOUT_US or (not status and _BUSY.search(f"{code} {fields.get('type')} {said}")):
        return ModelUnavailable(f"{model}: an error inside HTTP 200: {code[:40] or 'the server is busy'}")
    return BadCompletion(f"{model}: an error inside HTTP 200: {said}")


def _said(body: object) -> str:
    """The provider's own message, in one short line. Not of errors about keys: those repeat parts of them."""
    inner = _fields(body).get("error", body)
    message = _fields(cast(object, inner)).get("message") if isinstance(inner, dict) else inner
    return " ".join(str(message).split())[:160] if message else "no reason given"


def retry_after(headers: Mapping[str, str], now: Micros) -> float | None:
    """Seconds the server wants us to wait, from `Retry-After` (seconds or a date) or `retry-after-ms`."""
    exact, given = headers.get("retry-after-ms", ""), headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,12}(\.\d*)?", exact):
        return float(exact) / 1000
    if re.fullmatch(r"\d{1,9}(\.\d*)?", given):
        return float(given)
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - now / SECOND)
    except (ValueError, OverflowError):
        return None
