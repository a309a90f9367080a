"""One text for one value: canonical ASCII JSON, its hash, and the door that refuses what databases and hashes cannot keep."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Self, TypeAlias, cast

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


def stored(value: Json) -> Json:
    """JSON data as a database gives it back: keys sorted, at every depth."""
    if isinstance(value, dict):
        return {key: stored(value[key]) for key in sorted(value)}
    return [stored(item) for item in value] if isinstance(value, list) else value


def digest(value: object) -> str:
    """SHA-256 of the canonical text, hex."""
    return text_hash(_encode(value))


def text_hash(text: str) -> str:
    return _hexdigest()(text.encode())


@cache
def _hexdigest() -> Callable[[bytes], str]:
    from hashlib import sha256  # loads OpenSSL, which declaring an agent has no use for

    return lambda data: sha256(data).hexdigest()


def admit(value: object, *, what: str, limit: int = MAX_ARGUMENTS) -> Json:
    """The value as plain JSON data, or an error naming what and where.

    Raises NotJson (NUL, lone surrogates, NaN, Infinity, other types), TooLarge (over `limit` bytes or 64 levels).
    The walk stops at the first offence and never recurses past the allowed depth, so a hostile value costs no more than a good one.
    """
    try:
        return _admit(value, 0, [limit])
    except _Offence as offence:
        path = f"{what}{''.join(reversed(offence.path))}"
        raise offence.error(f"{path[:200]}: {offence.said or _over(limit)}") from None


def admit_dump(dump: Callable[[], object], *, what: str, limit: int = MAX_ARGUMENTS) -> Json:
    """What a serializer makes of a value, admitted; its own complaints by name. Raises TooLarge, NotJson."""
    try:
        made = dump()
    except InputError:
        raise
    except (RecursionError, ValueError) as error:
        if isinstance(error, RecursionError) or "depth" in str(error):
            raise TooLarge(f"{what}: {_DEEP}") from None
        raise NotJson(f"{what}: cannot become JSON: {str(error)[:200]}") from None
    return admit(made, what=what, limit=limit)


_DEEP = f"nested deeper than {MAX_DEPTH} levels; flatten it"


def _over(limit: int) -> str:
    most = f"{limit // 1024} KiB" if limit >= 1024 else f"{limit} bytes"
    return f"over {most}; keep it elsewhere and pass a reference"


class _Offence(Exception):
    """What cannot be kept; nothing said: it is too much. The path is put together on the way out, so that good data pays for none."""

    def __init__(self, error: type[InputError], said: str = "") -> None:
        super().__init__(said)
        self.error, self.said = error, said
        self.path: list[str] = []

    def inside(self, place: str) -> Self:
        self.path.append(place)
        return self


def _admit(value: object, depth: int, budget: list[int]) -> Json:
    if depth > MAX_DEPTH:
        raise _Offence(TooLarge, _DEEP)
    if isinstance(value, str):
        size = _admit_text(value)
    elif value is None or value is True or value is False:
        size = 4
    elif isinstance(value, int):
        if not -_LARGEST <= value <= _LARGEST:
            raise _Offence(TooLarge, f"an integer of more than {MAX_DIGITS} digits; send it as a string")
        size = (value.bit_length() >> 3) + 1
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise _Offence(NotJson, f"{value} is not JSON; send null or a string")
        size = 8
    else:
        _take(budget, 1)
        return _admit_nested(value, depth + 1, budget)
    _take(budget, size)
    return value


def _take(budget: list[int], size: int) -> None:
    budget[0] -= size + 1
    if budget[0] < 0:
        raise _Offence(TooLarge)


def _admit_nested(value: object, depth: int, budget: list[int]) -> Json:
    if isinstance(value, (dict, Mapping)):  # the first is found out ten times as fast
        return _admit_entries(cast("Mapping[object, object]", value), depth, budget)
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        raise _Offence(NotJson, f"{type(value).__name__} is not JSON")
    items: list[Json] = []
    try:
        for item in cast("Sequence[object]", value):
            items.append(_admit(item, depth, budget))
    except _Offence as offence:
        raise offence.inside(f"[{len(items)}]") from None
    return items


def _admit_entries(value: Mapping[object, object], depth: int, budget: list[int]) -> Object:
    entries: Object = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _Offence(NotJson, f"a key is {key!r}; keys are strings")
        if "\ufffd" in key:  # serializers put it in place of what they cannot write: two keys might become one
            raise _Offence(NotJson, "a key holds U+FFFD, the sign of text that was broken on its way; repair it")
        try:
            _take(budget, _admit_text(key))
        except _Offence as offence:
            raise offence.inside(" key") from None
        try:
            entries[key] = _admit(item, depth, budget)
        except _Offence as offence:
            raise offence.inside(f".{key}") from None
    return entries


def _admit_text(value: str) -> int:
    if "\0" in value:
        raise _Offence(NotJson, "holds a NUL character, which databases cannot keep; remove it")
    if value.isascii():
        return len(value)
    try:
        return len(value.encode())
    except UnicodeEncodeError as error:
        raise _Offence(NotJson, f"holds a lone surrogate at {error.start}, which is not text; remove it") from None


def parse(text: str | bytes, *, what: str, limit: int = MAX_ARGUMENTS) -> Json:
    """JSON text from outside as data. Raises InputError (not JSON), TooLarge, NotJson."""
    if len(text) > limit * 6:
        raise TooLarge(f"{what}: {_over(limit)}")
    try:
        value: object = json.loads(text, parse_int=_bounded)
    except RecursionError:
        raise TooLarge(f"{what}: {_DEEP}") from None
    except ValueError as error:
        raise InputError(f"{what}: not JSON: {error}") from None
    return admit(value, what=what, limit=limit)


def _bounded(digits: str) -> int:
    """Python reads no integer of more than 4,300 digits. One digit too many is enough for `admit` to name the place."""
    return int(digits[: MAX_DIGITS + 2])
