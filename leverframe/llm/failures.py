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
from leverframe.llm.chat import below
from leverframe.llm.line import Status
from leverframe.llm.reading import Reading, Twice

# 4xx that are not about what the request says: keys, quota, addresses, time-outs, rate.
_NOT_ABOUT_US = frozenset({401, 402, 403, 404, 405, 407, 408, 409, 421, 425, 426, 429, 451})
_OURS_TO_MEND = frozenset({401, 402, 403, 404, 405})
_BUSY = re.compile(r"rate.?limit|overload|unavailable|server.?error|internal|quota|time.?out|capacity", re.IGNORECASE)
_LIBRARIES = frozenset({"instructor", "openai"})
_ACCOUNT = re.compile(r"insufficient_quota|credit balance is too low", re.IGNORECASE)  # OpenAI says 429 then, Anthropic 400
_KEY = re.compile(r"api.?key|authenticat|unauthori[sz]ed", re.IGNORECASE)
_HINTS = {
    401: "check the key",
    402: "the account has no credit",
    403: "the key may not do this",
    404: "check the model's name and the base URL",
    429: "too many requests, or no quota",
}


def failure(error: Exception, found: Reading | None, model: str, timeout: float, now: Micros, usage: Spent | None) -> Exception:
    """The error to raise; the given one if it is nobody's fault but our code's. `found`: what had arrived by then."""
    if isinstance(error, TimeoutError):
        return ModelUnavailable(f"{model}: no answer within {timeout:g} s", usage=usage)
    if found is not None:
        bad = _wrong_answer(found, error, model)
        bad.usage = usage
        return bad
    error = below(error) if type(error).__module__.partition(".")[0] in _LIBRARIES else error
    wrong = _wrong_status(error, model, now) if isinstance(error, Status) else _wrong_call(error, model)
    if isinstance(wrong, ModelError):
        wrong.usage = usage
    return wrong


def _wrong_call(error: Exception, model: str) -> Exception:
    """No answer came at all, or none that is one."""
    import httpx2

    if isinstance(error, ModelError):  # from the line, which does not know the model's name
        return type(error)(f"{model}: {error}")
    if isinstance(error, httpx2.TimeoutException):
        return ModelUnavailable(f"{model}: the connection timed out")
    if isinstance(error, httpx2.HTTPError | httpx2.InvalidURL | ConnectionError):
        return ModelUnavailable(f"{model}: no connection, or it was dropped ({type(error).__name__})")
    if isinstance(error, ValueError | RecursionError):
        return BadCompletion(f"{model}: the server's answer cannot be read ({type(error).__name__})")
    return error


def _wrong_status(error: Status, model: str, now: Micros) -> ModelError:
    """What a status other than 200 means."""
    status, body = error.status, error.body
    spent = status in (400, 429) and bool(_ACCOUNT.search(str(body)[:4000]))
    refused = status in _OURS_TO_MEND or spent or _about_the_key(status, body)
    if refused or status < 400 or status >= 500 or status in _NOT_ABOUT_US:
        hint = f"; {_HINTS[402 if spent else status]}" if spent or status in _HINTS else ""
        after = retry_after(error.headers, now)
        return (ModelRefused if refused else ModelUnavailable)(f"{model}: HTTP {status}{hint}", retry_after=after)
    return BadCompletion(f"{model}: HTTP {status}: {_said(body)}")


def _about_the_key(status: int, body: object) -> bool:
    """Google says 400 to a key that is none."""
    return status == 400 and "API_KEY_INVALID" in str(body)[:4000]


def _wrong_answer(found: Reading, error: Exception, model: str) -> ModelError:
    if found.page:
        return ModelUnavailable(f"{model}: the server sent a page, not an answer; check the base URL (most end in /v1)")
    if found.reported is not None:
        return _error_inside(found.reported, model)
    return BadCompletion(f"{model}: {found.trouble or f'the answer does not fit: {_misfit(error, found.content)}'}")


def _misfit(error: Exception, content: object) -> str:
    while isinstance(error.__cause__, Exception) and type(error).__module__.startswith("instructor"):
        error = error.__cause__
    if isinstance(error, Twice):
        return "a key stands twice in one object"
    if not isinstance(error, ValidationError):
        return type(error).__name__
    kinds = {found["type"] for found in error.errors(include_url=False, include_context=False, include_input=False)}
    if "json_invalid" in kinds and isinstance(content, str):
        return _unreadable(content)
    return 'not the one object {"next": {…}} that was asked for'  # no names: keys that do not belong there may be anything


def _unreadable(content: str) -> str:
    """Why no parser takes it, in our own words: those of the libraries differ, and some repeat it. The path holds its keys."""
    try:
        parse(content, what="answer")
    except (TooLarge, NotJson) as error:
        return str(error).rpartition(": ")[2]
    except InputError:
        pass
    return "not JSON"


def _fields(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _error_inside(reported: object, model: str) -> ModelError:
    fields = _fields(reported)
    code = str(fields.get("code") or fields.get("status") or "")
    status = int(code) if re.fullmatch(r"[1-5]\d\d", code) else 0
    said = _said(reported)
    if status == 401 or _KEY.search(f"{code} {fields.get('type')} {said}"):
        return ModelRefused(f"{model}: an error inside HTTP 200; {_HINTS[401]}")
    if status >= 500 or status in _NOT_ABOUT_US or (not status and _BUSY.search(f"{code} {fields.get('type')} {said}")):
        return ModelUnavailable(f"{model}: an error inside HTTP 200: {code[:40] or 'the server is busy'}")
    return BadCompletion(f"{model}: an error inside HTTP 200: {said}")


def _said(body: object) -> str:
    """The provider's own message, in one short line. Not of errors about keys: those repeat parts of them."""
    inner = _fields(body).get("error", body)
    message = _fields(cast("object", inner)).get("message") if isinstance(inner, dict) else inner
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
