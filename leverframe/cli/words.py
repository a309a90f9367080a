"""Words from outside, made safe to print: they can neither move the cursor, nor turn around or imitate what we say ourselves."""

import re

_HOSTILE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_BREAKS = re.compile(r"[\t\n]")
BAR = "│ "


def plain(words: object) -> str:
    """As they are, lines kept; what a terminal would obey is spelled out."""
    return _HOSTILE.sub(_spelled, str(words))


def line(words: object) -> str:
    """As `plain`, in one line, whatever they hold."""
    return _BREAKS.sub(_spelled, plain(words))


def quoted(words: object, by: str = "  ") -> str:
    """Each line behind a bar, so that nobody takes what is quoted for what we say."""
    return "\n".join(f"{by}{BAR}{each}".rstrip() for each in plain(words).split("\n"))


def cut(words: str, length: int = 300) -> str:
    return words if len(words) <= length else words[: length - 1] + "…"


def _spelled(sign: "re.Match[str]") -> str:
    return {"\n": "\\n", "\t": "\\t"}.get(sign[0], f"\\u{ord(sign[0]):04x}")
