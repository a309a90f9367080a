"""JSON data as compact YAML: what prompts, windows and people read. It can be read back as the same data."""

import json
import re

from leverframe.canon import Json, Object

_PLAIN = re.compile(r"[^\W\d_](?:[^:#]|:(?=\S)|(?<=\S)#)*")
_PLAIN_IN_FLOW = re.compile(r"[^\W\d_][\w .@/+-]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})  # a plain one would not be text
_INLINE = 80
_NESTED = (dict, list)  # asked for every value: a union would be made anew each time
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def readable(value: Json, *, inline: int = _INLINE) -> str:
    """JSON data as compact YAML: in one line where that is no longer than `inline`, else a line for each entry.

    It can be read back as the same data, and shows nothing that cannot be seen: control characters are escaped.
    """
    if not isinstance(value, _NESTED) or not value:
        return _scalar(value, _PLAIN)
    flow = _flow(value, inline)
    if flow is not None:
        return flow
    out: list[str] = []
    _block(value, "", out)
    return "\n".join(out)


def _block(value: list[Json] | Object, pad: str, out: list[str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _entry(f"{pad}{_scalar(key, _PLAIN_IN_FLOW)}:", item, f"{pad}  ", out)
        return
    for item in value:
        start = len(out)
        _entry(f"{pad}-", item, f"{pad}  ", out)
        if out[start] == f"{pad}-":  # the first entry of what is nested stands beside its dash
            out[start : start + 2] = [f"{pad}- {out[start + 1].lstrip(' ')}"]


def _entry(head: str, item: Json, pad: str, out: list[str]) -> None:
    if isinstance(item, str) and "\n" in item and _can_be_block(item):
        out.append(f"{head} |-")
        out.extend(pad + line if line else "" for line in item.split("\n"))
    elif isinstance(item, _NESTED) and item:
        flow = _flow(item, _INLINE)
        out.append(head if flow is None else f"{head} {flow}")
        if flow is None:
            _block(item, pad, out)
    else:
        out.append(f"{head} {_scalar(item, _PLAIN)}")


def _can_be_block(text: str) -> bool:
    return text[0] not in " \n" and text[-1] not in " \n" and text.replace("\n", "").isprintable()


def _flow(value: list[Json] | Object, room: int) -> str | None:
    """In one line, or None if that takes more than `room` characters (found out at the cost of `room`)."""
    parts: list[str] = []
    for key, item in value.items() if isinstance(value, dict) else ((None, item) for item in value):
        if isinstance(item, str) and (len(item) > room or "\n" in item):
            return None
        text = _flow(item, room) if isinstance(item, _NESTED) and item else _scalar(item, _PLAIN_IN_FLOW)
        if text is None:
            return None
        part = text if key is None else f"{_scalar(key, _PLAIN_IN_FLOW)}: {text}"
        room -= len(part) + 2
        if room < 0:
            return None
        parts.append(part)
    return f"{{{', '.join(parts)}}}" if isinstance(value, dict) else f"[{', '.join(parts)}]"


def _scalar(value: Json, plain: re.Pattern[str]) -> str:
    if not isinstance(value, str):
        return str(value) if type(value) is int else json.dumps(value)
    printable = value.isprintable()
    if printable and plain.fullmatch(value) and value[-1] not in " :" and value.lower() not in _WORDS:
        return value
    quoted = _quoted(value)
    return quoted if printable else "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
