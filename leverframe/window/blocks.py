"""Events as blocks: `<type>`, compact YAML, `</type>`. Text from outside cannot pose as a block: tags in it are escaped."""

import re
from collections.abc import Iterator
from typing import NamedTuple, cast

from leverframe.canon import Json, Object, stored
from leverframe.llm import estimated_tokens
from leverframe.readable import readable

LONGEST = 6_000
"""Characters of a block; what is longer is shortened, and can be asked for with `recall`."""
TALK = frozenset({"asked", "opened", "answered", "received"})
"""What people and models say: said twice, it is worth less."""

# Event types that a model should see: the tag, and what of the body it shows.
SHOWN: dict[str, tuple[str, tuple[str, ...]]] = {
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
    "error": ("type", "source", "cause", "remedy"),
    "call": ("tool_name", "arguments"),
    "considered": ("tool_name", "arguments"),
}
_CALL = ("tool_name", "arguments", "result")
_WAITS = ("tool_name", "arguments", "from")
VOID = "not_executed"
"""Of an answer that made several calls: those that nobody executed."""
_UNTOLD = {("ModelUnavailable", "model"), ("WindowOverflow", "window")}  # no model can do anything about them
_TAG = re.compile(r"<(?=/?[\w.-]+\s*>)")
_WORD = re.compile(r"\w+")
_OPENING, _CLOSING = "\"'“„«([{¿¡", "\"'”“»)]},.;:!?…"  # around words; signs, units and emoji say something
_WHO = frozenset({"by", "intent", "event", "source", "approver"})  # of what is said, these are not the words
_GREETINGS = """
hi hello hey dear there good morning afternoon evening night day greetings welcome thanks thank thx cheers you very so much a lot many
please bye goodbye see soon later regards best kind sincerely yours great perfect nice and
hallo guten tag morgen abend moin danke vielen dank schön bitte tschüss viele liebe grüße gruß
bonjour bonsoir salut merci beaucoup cordialement hola buenos días gracias muchas adiós ciao grazie
"""  # not "yes" and "ok": they may be the answer
_CHATTER = frozenset(_GREETINGS.split())


def escaped(text: str) -> str:
    """Text from outside, which cannot pose as a block."""
    return _TAG.sub("&lt;", text) if "<" in text else text


class Piece(NamedTuple):
    """What of an event is one block: its tag, its content, and the reference that `recall` takes."""

    reference: str
    tag: str
    content: Object

    @property
    def tool(self) -> str:
        return str(self.content.get("tool_name", ""))

    def body(self) -> str:
        """All of it, as text."""
        return escaped(readable(self.content, inline=0)) if self.content else ""


class Block:
    """A piece as the window holds it. `kind` is its row in the table of scores; a tool may have a row of its own.

    Thousands are made, and few are shown: what is shown is worked out when it is asked for.
    """

    __slots__ = ("_shorter", "_text", "_tokens", "body", "kind", "longer", "number", "piece", "times", "tool", "words")

    def __init__(
        self, piece: Piece, tool: str, kind: str, words: str, body: str, longer: int = 0, times: int = 1, number: int = 0
    ) -> None:
        self.piece, self.tool, self.kind = piece, tool, kind
        self.words = words  # two blocks that say the same are told by it
        self.body, self.longer = body, longer  # of at most LONGEST characters, and how many it had beyond
        self.times, self.number = times, number  # how often it was said, and its place
        self._text, self._tokens = "", 0
        self._shorter: tuple[int, Block] | None = None

    @property
    def tag(self) -> str:
        return self.piece.tag

    @property
    def text(self) -> str:
        if not self._text:
            lines = [f"{self.body}…" if self.longer else self.body] if self.body or self.longer else []
            if self.longer:
                lines.append(f'more: {{reference: "{self.piece.reference}", characters: {self.longer}}}')
            if self.times > 1:
                lines.append(f"times: {self.times}")
            self._text = wrapped(self.tag, "\n".join(lines))
        return self._text

    @property
    def tokens(self) -> int:
        if not self._tokens:
            self._tokens = estimated_tokens(self.text)
        return self._tokens

    def but(
        self, *, kind: str | None = None, body: str | None = None, longer: int | None = None, times: int | None = None
    ) -> "Block":
        """The same with other values for some of it."""
        return Block(
            self.piece,
            self.tool,
            self.kind if kind is None else kind,
            self.words,
            self.body if body is None else body,
            self.longer if longer is None else longer,
            self.times if times is None else times,
            self.number,
        )

    def within(self, tokens: int) -> "Block":
        """As much of it as fits into so many tokens; the end is cut off, and what is needed to ask for it stays."""
        if self.tokens <= tokens or not self.body:
            return self
        if self._shorter is None or self._shorter[0] != tokens:
            self._shorter = (tokens, self._cut(tokens))
        return self._shorter[1]

    def _cut(self, tokens: int) -> "Block":
        length = len(self.body) * tokens // self.tokens
        while True:
            shorter = self.but(body=self.body[:length], longer=self.longer + len(self.body) - length)
            if shorter.tokens <= tokens or not length:
                return shorter
            length = length * 9 // 10


def wrapped(tag: str, body: str) -> str:
    return f"<{tag}>\n{body}\n</{tag}>\n" if body else f"<{tag}/>\n"


def pieces(seq: int, type: str, body: Object) -> list[Piece]:
    """What of an event a model may see. A Fetch has a piece for each of its calls."""
    found = list(_contents(type, body)) if type in SHOWN else []
    if void := body.get("void"):
        found.append((VOID, {"calls": [_picked(call, _WAITS) for call in cast("list[Object]", void)]}))
    if len(found) == 1:
        return [Piece(f"#{seq}", *found[0])]
    return [Piece(f"#{seq}.{number}", tag, content) for number, (tag, content) in enumerate(found, 1)]


def block(piece: Piece, number: int) -> Block:
    body, tool = piece.body(), piece.tool
    kind = "chatter" if piece.tag in TALK and not tool and _is_chatter(piece) else piece.tag
    if len(body) <= LONGEST:
        return Block(piece, tool, kind, _words(piece, body), body, number=number)
    return Block(piece, tool, kind, _words(piece, body), body[:LONGEST], len(body) - LONGEST, number=number)


def _contents(type: str, body: Object) -> Iterator[tuple[str, Object]]:
    tag, keys = SHOWN[type]
    if type == "fetched":
        for call in cast("list[Object]", body.get("calls", [])):
            yield tag, _picked(call, _CALL)
        return
    more = cast("list[Object]", body.get("calls") or []) if type == "acted" else []
    content = _picked(body, keys)
    if more and "result" in body:
        content.pop("failed", None)  # it was one of the others
    if isinstance(queue := content.pop("queue", None), list):
        content["then"] = [_picked(cast("Object", call), _WAITS) for call in queue]
    if body.get("outcome") == "unsure":
        content["unsure"] = True
    untold = type == "compacted" and (content.get("type"), content.get("source")) in _UNTOLD
    own = type == "asked" and "failed" in content  # a model's own failure has no other trace worth showing
    if content and not untold and not own:
        yield tag, content
    for call in more:
        yield tag, _picked(call, _CALL)


def _picked(body: Object, keys: tuple[str, ...]) -> Object:
    content: Object = {}
    for key in keys:
        value = body.get(key)
        if isinstance(value, dict) and key in _SPREAD:
            for name in _SPREAD[key] or sorted(value):
                if value.get(name) not in (None, [], {}, ""):
                    content[name] = stored(value[name])
        elif value is not None or (key == "result" and key in body):
            content[key] = stored(value)
    if body.get("error") is not None and "error" not in keys:
        content["failed"] = True  # why stands in the error that follows
    return content


def _is_chatter(piece: Piece) -> bool:
    words = [word for said in _said(piece.content) for word in _WORD.findall(said.lower())]
    return 0 < len(words) <= 12 and _CHATTER.issuperset(words)


def _words(piece: Piece, body: str) -> str:
    """What tells it from another block. The same question with another comma is the same question; with another sign it is not."""
    speech = piece.tag in TALK and (piece.tag == "opened" or not piece.tool) and "then" not in piece.content
    if speech and len(body) <= 1_000:
        words = [word.lstrip(_OPENING).rstrip(_CLOSING) for word in body.lower().split()]
        if any(words):
            return " ".join([piece.tag, *filter(None, words)])
    return f"{piece.tag} {body}"


def _said(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _WHO:
                yield from _said(item)
    elif isinstance(value, list):
        for item in value:
            yield from _said(item)
