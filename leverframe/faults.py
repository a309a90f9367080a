"""Compact errors (factor 9): type, source, cause in one line and remedy, 300 characters in all; what a next attempt can use, and no more.

A cause comes from anywhere: paths lose their folders, ids and keys are left out before it is written anywhere. Two errors are the same
fault where their fingerprints are: type, source, and the cause without its numbers.
"""

import re
from collections import Counter

from leverframe.canon import Object, text_hash

LIMIT = 300
"""Characters of all of a compact error."""
_SHORT = 60  # of a type, a source or a remedy
_MOST = 1_000  # different faults that a tally tells apart

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|ghp|gho|ghs|glpat|xox[a-z]|AKIA|ASIA|AIza|ya29|eyJ)[-_.]?[\w.\-]{12,}"
    r"|(?i:\b(?:bearer|basic)\s+)[\w.\-+/=]{8,}"
    r"|(?<=\w=)[\w.\-+/]{20,}"
    r"|(?i:(?<=password=)|(?<=secret=)|(?<=token=)|(?<=key=))[^\s\"',;&}]+"
    r"|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"
)
_ID = re.compile(
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"
    r"|\b0x[0-9a-fA-F]{6,}\b"
    r"|\b(?=[0-9a-fA-F]*\d)(?=[0-9]*[a-fA-F])[0-9a-fA-F]{12,}\b"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z])\w{24,}\b"
)
_PATH = re.compile(r"(?<![\w/:.])(?:[A-Za-z]:)?(?:[\\/][\w.@+~ -]*[\w.@+~-])+[\\/](?=[\w.@+~-])|(?<![\w/:.])/(?=[\w.@+~-]+/)")
_NUMBER = re.compile(r"\d+")


def scrubbed(text: str) -> str:
    """In one line, without keys, ids and folders."""
    text = " ".join(text[:4_000].split())
    text = _SECRET.sub("[secret]", text)
    text = _ID.sub("[id]", text)
    return _PATH.sub("…/", text)


def compacted(type: str, source: str, cause: str, remedy: str = "") -> Object:
    """All of it in LIMIT characters; what is too long is the cause."""
    type, source, remedy = (_cut(scrubbed(text), _SHORT) for text in (type, source, remedy))
    room = LIMIT - len(type) - len(source) - len(remedy)
    error: Object = {"type": type, "source": source, "cause": _cut(scrubbed(cause) or type, room)}
    return error | ({"remedy": remedy} if remedy else {})


def recut(error: Object, cause: str) -> Object:
    """With another cause, as long as it may be beside what else is said."""
    kind, source, remedy = (str(error.get(part, "")) for part in ("type", "source", "remedy"))
    return {**error, **compacted(kind, source, cause, remedy)}


def fingerprint(error: Object) -> str:
    parts = [str(error.get(part, "")).lower() for part in ("type", "source", "cause")]
    return text_hash("\n".join([*parts[:2], _NUMBER.sub("0", parts[2])]))[:12]


class Faults:
    """How often which fault happened: counted by fingerprint, told with the words of the first."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._words: dict[str, str] = {}

    def add(self, error: Object) -> None:
        mark = fingerprint(error)
        if mark in self._counts or len(self._counts) < _MOST:
            self._counts[mark] += 1
            self._words.setdefault(
                mark, f"{error.get('source')}: {error.get('type')}: {_cut(str(error.get('cause', '')), _SHORT)}"
            )

    def lines(self, most: int = 2) -> tuple[str, ...]:
        """The most frequent ones: `3 × issue_refund: NotDone: HTTP 500`."""
        return tuple(f"{count:,} × {self._words[mark]}" for mark, count in self._counts.most_common(most))


def error_of(body: Object) -> Object | None:
    """The error that a state ended in."""
    error = body.get("error")
    return error if body.get("outcome") == "error" and isinstance(error, dict) else None


def cut_off(text: str, secret: str, least: int = 4) -> int:
    """How many characters at the end of a text begin a secret whose rest was cut off; 0 where fewer than `least` do."""
    if secret[:least] not in text[-len(secret) :]:
        return 0
    return next((long for long in range(min(len(secret), len(text)), least - 1, -1) if text.endswith(secret[:long])), 0)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
