"""What the model sees of a run (factor 3): its events as blocks, as many as fit, the newest first.

A block is `<type>`, compact YAML, `</type>`. It is made once, when its event is added; what a question costs depends on the
budget, never on how long the run is. The request stands first always. Errors stay until the state that failed has ended
otherwise; then they and the calls that failed are hidden (factor 9). Text from outside cannot pose as a block: tags in it are
escaped.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from leverframe.canon import Object
from leverframe.llm import estimated_tokens
from leverframe.prompt import readable

BUDGET = 8_000
LEAST = 64
_KEEP = 65_536
_LONGEST = 6_000
_PINNED_ERRORS = 8
_NOTE = 16

# Event types that a model should see: the tag, and what of the body it shows.
_SHOWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "started": ("request", ("source", "memory")),
    "forked": ("request", ("source", "memory")),
    "fetched": ("fetched", ()),
    "asked": ("asked", ("call", "considered", "queue", "reply")),
    "built": ("built", ("call",)),
    "acted": ("acted", ("tool_name", "arguments", "result")),
    "opened": ("opened", ("tool_name", "arguments")),
    "decided": ("decided", ("tool_name", "arguments")),
    "edited": ("edited", ("call", "by")),
    "answered": ("answered", ("by", "value", "reply")),
    "received": ("received", ("event", "data", "reply")),
    "returned": ("returned", ("results",)),
    "settled": ("settled", ("happened", "by")),
    "expired": ("expired", ("state",)),
    "compacted": ("error", ("error",)),
}
# Mappings that are shown entry by entry, and which entries; None: all that say something.
_SPREAD: dict[str, tuple[str, ...] | None] = {
    "memory": None,
    "reply": None,
    "error": None,
    "call": ("tool_name", "arguments"),
    "considered": ("tool_name", "arguments"),
}
_CALL = ("tool_name", "arguments", "result")
_WAITS = ("tool_name", "arguments", "from")
_TAG = re.compile(r"<(?=/?[\w.-]+\s*>)")


@dataclass(frozen=True, slots=True)
class _Block:
    tag: str
    text: str
    tokens: int


class Window:
    """The window of one run; add its events in order. It holds at most `keep` tokens of text, whatever the run's length."""

    def __init__(self, *, keep: int = _KEEP) -> None:
        self._keep = keep
        self._first: _Block | None = None
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._failed: dict[str, list[int]] = {}  # by state: what is hidden once it ends otherwise
        self._blamed = ""
        self._pinned: list[int] = []
        self._number = 0
        self._tokens = 0  # of the blocks, the first left out
        self._hidden = 0
        self._forgotten = 0

    def add(self, type: str, body: Object) -> None:
        """The next event. Types that say nothing to a model are passed over."""
        if type in _SHOWN:
            self._add_shown(type, body)
        if body.get("void"):  # of an answer that made several calls: those that nobody executed
            self._append(_block("not_executed", {"calls": [_picked(call, _WAITS) for call in cast(list[Object], body["void"])]}))
        self._forget()

    def _add_shown(self, type: str, body: Object) -> None:
        places = {str(body.get(key)) for key in ("state", "tool_name") if key in body}
        if type == "compacted":
            self._add_error(body)
        elif body.get("error") is not None:
            self._blamed = str(body.get("state", ""))
            self._add_blocks(type, body, self._blamed)
        else:
            self._resolve(places)
            self._add_blocks(type, body, None)

    def _forget(self) -> None:
        while self._tokens > self._keep and len(self._blocks) > 1:
            self._tokens -= self._blocks.popitem(last=False)[1].tokens
            self._forgotten += 1

    def _add_blocks(self, type: str, body: Object, blamed: str | None) -> None:
        for tag, content in _contents(type, body):
            self._append(_block(tag, content))
            if blamed is not None:
                self._failed.setdefault(blamed, []).append(self._number)

    def _add_error(self, body: Object) -> None:
        """It belongs to the state that failed just before; one that a person reported belongs to its tool."""
        error = body.get("error")
        blamed = self._blamed or (str(error.get("source", "")) if isinstance(error, dict) else "")
        self._blamed = ""
        before = self._number
        self._add_blocks("compacted", body, blamed)
        if self._number > before:
            self._pinned = [*self._pinned[1 - _PINNED_ERRORS :], self._number]

    def text(self, budget: int = BUDGET) -> tuple[str, Object]:
        """The blocks that fit into so many tokens (at least 64), and the manifest: counts of what is shown, dropped and why.

        Repeatable: the same events and budget give the same text, so what a model saw can be rebuilt.
        """
        budget = max(budget, LEAST)
        first = self._first_within(budget - _NOTE)
        room = budget - _NOTE - (first.tokens if first else 0)
        chosen: dict[int, _Block] = {}
        for number in reversed(self._pinned):
            block = self._blocks.get(number)
            if block and block.tokens <= room:
                chosen[number] = block
                room -= block.tokens
        for number, block in reversed(self._blocks.items()):
            if number in chosen:
                continue
            if block.tokens > room:
                break
            chosen[number] = block
            room -= block.tokens
        dropped = len(self._blocks) - len(chosen) + self._forgotten
        parts = [first.text] if first else []
        if dropped:
            parts.append(f"<left_out>{dropped} earlier events</left_out>\n")
        parts += [chosen[number].text for number in sorted(chosen)]
        text = "".join(parts)
        return text, self._manifest(text, budget, len(chosen) + bool(first), dropped)

    def _manifest(self, text: str, budget: int, shown: int, dropped: int) -> Object:
        tokens = estimated_tokens(text)
        return {"budget": budget, "tokens": tokens, "shown": shown, "dropped": dropped, "hidden": self._hidden}

    def _append(self, block: _Block) -> None:
        if self._first is None:
            self._first = block
            return
        self._number += 1
        self._blocks[self._number] = block
        self._tokens += block.tokens

    def _resolve(self, places: Iterable[str]) -> None:
        """These states and tools worked: what they failed at before says nothing any more."""
        for number in [number for place in places for number in self._failed.pop(place, ())]:
            block = self._blocks.pop(number, None)
            if block:
                self._tokens -= block.tokens
                self._hidden += 1
            if number in self._pinned:
                self._pinned.remove(number)

    def _first_within(self, room: int) -> _Block | None:
        """The request; cut to half of the room where all together would not fit."""
        first = self._first
        if first is None or first.tokens <= room // 2 or first.tokens + self._tokens <= room:
            return first
        length = len(first.text) * (room // 2) // first.tokens
        while True:
            text = f"{first.text[:length]}…\n</{first.tag}>\n"
            if (tokens := estimated_tokens(text)) <= room // 2 or not length:
                return _Block(first.tag, text, tokens)
            length = length * 9 // 10


def _block(tag: str, content: Object) -> _Block:
    body = readable(content, inline=0) if content else ""
    if len(body) > _LONGEST:
        body = f"{body[:_LONGEST]}… ({len(body) - _LONGEST} characters more)"
    if "<" in body:
        body = _TAG.sub("&lt;", body)
    text = f"<{tag}>\n{body}\n</{tag}>\n" if body else f"<{tag}/>\n"
    return _Block(tag, text, estimated_tokens(text))


def _contents(type: str, body: Object) -> Iterator[tuple[str, Object]]:
    """Tag and content of each block of an event; a Fetch has one for each of its calls."""
    tag, keys = _SHOWN[type]
    if type == "fetched":
        for call in cast(list[Object], body.get("calls", [])):
            yield tag, _picked(call, _CALL)
        return
    more = cast(list[Object], body.get("calls") or []) if type == "acted" else []
    content = _picked(body, keys)
    if more and "result" in body:
        content.pop("failed", None)  # it was one of the others
    if isinstance(queue := content.pop("queue", None), list):
        content["then"] = [_picked(cast(Object, call), _WAITS) for call in queue]
    if body.get("outcome") == "unsure":
        content["unsure"] = True
    if content and not (type == "asked" and "failed" in content):  # a model's own failure has no other trace worth showing
        yield tag, content
    for call in more:
        yield tag, _picked(call, _CALL)


def _picked(body: Object, keys: tuple[str, ...]) -> Object:
    content: Object = {}
    for key in keys:
        value = body.get(key)
        if isinstance(value, dict) and key in _SPREAD:
            wanted = _SPREAD[key] or tuple(value)
            content |= {name: value[name] for name in wanted if value.get(name) not in (None, [], {})}
        elif value is not None or (key == "result" and key in body):
            content[key] = value
    if body.get("error") is not None and "error" not in keys:
        content["failed"] = True  # why stands in the error that follows
    return content
