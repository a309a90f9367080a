"""One text for one value: canonical ASCII JSON, its hash, and the door that refuses what databases and hashes cannot keep."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

from leverframe.errors import InputError, NotJson, TooLarge

Json: TypeAlias = "None | bool | int | float | str | list[Json] | dict[str, Json]"
Object: TypeAlias = dict[str, Json]

MAX_DEPTH = 64
MAX_ARGUMENTS = 256 * 1024
MAX_RESULT = 1024 * 1024
MAX_MEMORY = 1024 * 1024
MAX_DIGITS = 308
"""Of an integer: what a double still spans, so that it can be compared, divided and read by every other program."""

_LARGEST = 10**MAX_DIGITS - 1
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_encode_as_is = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def canonical(value: object) -> str:
    """Sorted keys, no spaces, ASCII: the text that is hashed and stored."""
    return _encode(value)


def ordered(value: object) -> str:
    """As `canonical`, keys in their own order: for schemas whose order the model reads."""
    return _encode_as_is(value)


def stored(value: Object) -> Object:
    """As a database gives it back: keys sorted, at every depth."""
    return cast(Object, json.loads(_encode(value)))


def digest(value: object) -> str:
    """SHA-256 of the canonical text, hex."""
    return text_hash(_encode(value))


def text_hash(text: str) -> str:
    from hashlib import sha256  # loads OpenSSL, which declaring an agent has no use for

    return sha256(text.encode()).hexdigest()


def admit(value: object, *, what: str, limit: int = MAX_ARGUMENTS) -> Json:
    """The value as plain JSON data, or an error naming what and where.

    Raises NotJson (NUL, lone surrogates, NaN, Infinity, other types), TooLarge (over `limit` bytes or 64 levels).
    The walk stops at the first offence and never recurses past the allowed depth, so a hostile value costs no more than a good one.
    """
    budget = [limit]
    return _admit(value, what, 0, budget, limit)


def admit_dump(dump: Callable[[], object], *, what: str, limit: int = MAX_ARGUMENTS) -> Json:
    """What a serializer makes of a value, admitted; its own complaints by name. Raises TooLarge, NotJson."""
    try:
        made = dump()
    except InputError:
        raise
    except (RecursionError, ValueError) as error:
        if isinstance(error, RecursionError) or "depth" in str(error):
            raise TooLarge(f"{what}: nested deeper than {MAX_DEPTH} levels; flatten it") from None
        raise NotJson(f"{what}: cannot become JSON: {str(error)[:200]}") from None
    return admit(made, what=what, limit=limit)


def _admit(value: object, path: str, depth: int, budget: list[int], limit: int) -> Json:
    if depth > MAX_DEPTH:
        raise TooLarge(f"{path[:200]}: nested deeper than {MAX_DEPTH} levels; flatten it")
    if value is None or value is True or value is False:
        size = 4
    elif isinstance(value, str):
        size = _admit_text(value, path)
    elif isinstance(value, int):
        if not -_LARGEST <= value <= _LARGEST:
            raise TooLarge(f"{path[:200]}: an integer of more than {MAX_DIGITS} digits; send it as a string")
        size = (value.bit_length() >> 3) + 1
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise NotJson(f"{path}: {value} is not JSON; send null or a string")
        size = 8
    else:
        return _admit_nested(value, path, depth, budget, limit)
    budget[0] -= size + 1
    if budget[0] < 0:
        raise _over(path, limit)
    return value


def _over(path: str, limit: int) -> TooLarge:
    most = f"{limit // 1024} KiB" if limit >= 1024 else f"{limit} bytes"
    return TooLarge(f"{path[:200]}: over {most}; keep it elsewhere and pass a reference")


def _admit_nested(value: object, path: str, depth: int, budget: list[int], limit: int) -> Json:
    budget[0] -= 2
    if isinstance(value, Mapping):
        result: Object = {}
        for key, item in cast(Mapping[object, object], value).items():
            if not isinstance(key, str):
                raise NotJson(f"{path}: a key is {key!r}; keys are strings")
            _admit(key, f"{path} key", depth + 1, budget, limit)
            result[key] = _admit(item, f"{path}.{key}", depth + 1, budget, limit)
        return result
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        items = cast(Sequence[object], value)
        return [_admit(item, f"{path}[{index}]", depth + 1, budget, limit) for index, item in enumerate(items)]
    raise NotJson(f"{path}: {type(value).__name__} is not JSON")


def _admit_text(value: str, path: str) -> int:
    if value.isascii():
        if "\0" in value:
            raise NotJson(f"{path}: holds a NUL character, which databases cannot keep; remove it")
        return len(value)
    if "\0" in value:
        raise NotJson(f"{path}: holds a NUL character, which databases cannot keep; remove it")
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:
        raise NotJson(f"{path}: holds a lone surrogate at {error.start}, which is not text; remove it") from None


def parse(text: str | bytes, *, what: str, limit: int = MAX_ARGUMENTS) -> Json:
    """JSON text from outside as data. Raises InputError (not JSON), TooLarge, NotJson."""
    if len(text) > limit * 6:
        raise _over(what, limit)
    try:
        value: object = json.loads(text, parse_int=_bounded)
    except RecursionError:
        raise TooLarge(f"{what}: nested deeper than {MAX_DEPTH} levels; flatten it") from None
    except ValueError as error:
        raise InputError(f"{what}: not JSON: {error}") from None
    return admit(value, what=what, limit=limit)


def _bounded(digits: str) -> int:
    """Python reads no integer of more than 4,300 digits. One digit too many is enough for `admit` to name the place."""
    return int(digits[: MAX_DIGITS + 2])
