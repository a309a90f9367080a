"""The window of one run: its blocks as they are now, and which of them a question shows.

A block is made once, when its event is added; that of a call only where its result does not follow. What is resolved, and what is said
again, goes at once; what is least important goes where more is held than any question could show. So what a question costs depends on its
budget, never on how long the run is.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import Literal, TypeAlias, cast

from leverframe.canon import Object
from leverframe.errors import WindowOverflow
from leverframe.importance import PIN, SCORES
from leverframe.machine import Definition
from leverframe.run import Event
from leverframe.window.blocks import LONGEST, SHOWN, TALK, VOID, Block, Piece, block, escaped, pieces, wrapped
from leverframe.window.secrets import Secrets

BUDGET = 8_000
"""Tokens of the window, where a prompt says nothing else."""
KEEP = 65_536
"""Tokens of all blocks that are held."""
_PINNED_ERRORS = 8
_NOTE = 16
_SHARE = 4  # where not all fits, a block that is no pin gets at most this part of the budget
_REPORTS = 8
_CHOOSES = frozenset({"asked", "built", "edited"})
_SMALL = 100  # tokens of a block that is not worth shortening
_LARGEST = 2 * LONGEST  # tokens of a block, whatever its characters
_PLAIN = frozenset({"tool_name", "arguments"})  # of a choice that says no more than its result does
_WITH_RESULT = "stands with its result"
_UNLISTED = 80  # a tool without a row, by its kind

Fate: TypeAlias = Literal["kept", "shortened", "dropped", "hidden"]
_Bucket: TypeAlias = "OrderedDict[int, Block]"
_Key: TypeAlias = tuple[str, str]  # tool, kind


@dataclass(frozen=True, slots=True)
class View:
    """What one question wants to see."""

    budget: int = BUDGET
    scores: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows in place of those of the table."""
    wording: Callable[[Object], str] | None = None
    """How an error is told; None: as data."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one block, and why."""

    reference: str
    tag: str
    tool: str
    score: int
    tokens: int
    fate: Fate
    why: str

    @property
    def name(self) -> str:
        return f"{self.tag} {self.tool}".strip()

    def json(self) -> Object:
        return {
            "reference": self.reference,
            "block": self.tag,
            "tool_name": self.tool or None,
            "score": self.score,
            "tokens": self.tokens,
            "fate": self.fate,
            "why": self.why,
        }


class Window:
    """Add the run's events in order, the first one too. With `remembers`, what went is remembered, so that `told` tells all: for people.

    It holds at most `keep` tokens of blocks. Repeatable: the same events and the same view give the same text.
    """

    def __init__(self, definition: Definition | None = None, *, keep: int = KEEP, remembers: bool = False) -> None:
        self._keep = keep
        self.secrets = Secrets(definition)
        self._lasting = _highest(definition)
        self._seq = 0
        self._number = 0
        self._buckets: dict[_Key, _Bucket] = {}
        self._keys: dict[int, _Key] = {}
        self._latest: dict[str, int] = {}  # by its words: the block that says it
        self._failed: dict[str, list[int]] = {}  # by state: what is hidden once it ends otherwise
        self._blamed = ""
        self._choice: Piece | None = None  # the last call that was made, until it is known whether it becomes a block
        self._chosen = 0  # the block of the last call that was made, if it has one
        self._pinned: deque[int] = deque()  # errors
        self._cuts: dict[str, int] = {}
        self._tokens = 0
        self._forgotten = 0
        self._gone: list[tuple[Block, Fate, str]] | None = [] if remembers else None
        self._reports: deque[float] = deque(maxlen=_REPORTS)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, type: str, body: Object) -> None:
        """The next event, as it was written or as the log gives it back. Types that say nothing to a model only count."""
        self._seq += 1
        if type == "asked":
            self._report(body)
        body = self.secrets.without(body)
        if type not in SHOWN and not body.get("void"):
            return
        if type == "acted":
            body = self._with_call(body)
        self._place_choice()
        if type == "compacted":
            self._cuts |= cast("dict[str, int]", body.get("cut") or {})
            self._add_error(type, body)
        elif body.get("error") is not None:
            self._blamed = str(body.get("state", ""))
            self._add_pieces(type, body, self._blamed)
            if self._chosen in self._keys and self._keys[self._chosen][0] == body.get("tool_name"):
                self._failed[self._blamed].append(self._chosen)  # the choice of the call that failed goes with it
        else:
            if self._failed and type in SHOWN:
                self._resolve(str(body[key]) for key in ("state", "tool_name") if key in body)
            self._add_pieces(type, body, None)
        while self._tokens > self._keep and self._forget():
            pass

    def _with_call(self, body: Object) -> Object:
        """A result says what was called, so that neither is shown without the other; a choice that says no more is not shown again."""
        chosen = self._choice
        if chosen is None and self._chosen in self._keys:
            chosen = self._buckets[self._keys[self._chosen]][self._chosen].piece
        if chosen is None or chosen.tool != body.get("tool_name") or "then" in chosen.content:
            return body
        if chosen is self._choice:
            self._leave_choice(chosen)
        elif chosen.content.keys() <= _PLAIN:
            self._remove(self._chosen, "hidden", _WITH_RESULT)
        return {**body, "arguments": chosen.content.get("arguments", {})}

    def _may_be_needless(self, piece: Piece) -> bool:
        """Is it a choice that its result will show too, which mostly comes next? Not where another choice may say the same, nor where
        something might have to go for it."""
        plain = bool(piece.tool) and piece.content.keys() <= _PLAIN
        return plain and (piece.tool, piece.tag) not in self._buckets and self._tokens + _LARGEST <= self._keep

    def _place_choice(self) -> None:
        """Something else comes than the result of the choice: it is a block."""
        piece, self._choice = self._choice, None
        if piece is not None:
            self._chosen = self._stand(piece)

    def _leave_choice(self, piece: Piece) -> None:
        """Its result came: it stands there."""
        self._choice = None
        if self._gone is not None:
            self._number += 1
            self._gone.append((block(piece, self._number), "hidden", _WITH_RESULT))

    def _add_pieces(self, type: str, body: Object, blamed: str | None) -> list[int]:
        found = pieces(self._seq, type, body)
        if type in _CHOOSES and blamed is None and len(found) == 1 and self._may_be_needless(found[0]):
            self._choice, self._chosen = self._masked(found[0]), 0
            return []
        added = [self._add(piece) for piece in found if piece.tag != VOID]
        for piece in found[len(added) :]:
            self._add(piece)  # stays whatever is resolved
        if type in _CHOOSES and added:
            self._chosen = added[-1]
        if blamed is not None and added:
            self._failed.setdefault(blamed, []).extend(added)
        return added

    def _add_error(self, type: str, body: Object) -> None:
        """It belongs to the state that failed just before; one that a person reported belongs to its tool."""
        error = body.get("error")
        blamed = self._blamed or (str(error.get("source", "")) if isinstance(error, dict) else "")
        self._blamed = ""
        self._pinned += self._add_pieces(type, body, blamed)
        if len(self._pinned) > _PINNED_ERRORS:
            older = self._pinned.popleft()
            self._put(self._take(older).but(kind="older_error"))

    def _add(self, piece: Piece) -> int:
        return self._stand(self._masked(piece))

    def _masked(self, piece: Piece) -> Piece:
        """With what is known of secrets when its event is added: asked later, it would be another text in another process."""
        return piece._replace(content=self.secrets.shown(piece.content))

    def _stand(self, piece: Piece) -> int:
        """What is said again stands once, where it was said last."""
        self._number += 1
        new = block(piece, self._number)
        before = self._latest.get(new.words)
        if before is not None:
            new.times = self._remove(before, "hidden", "said again later").times + 1
            if new.kind in TALK and not new.tool:
                new.kind = "repeated"
        self._put(new)
        return self._number

    def _put(self, new: Block) -> None:
        key = (new.tool, new.kind)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = OrderedDict()
        bucket[new.number] = new
        self._keys[new.number] = key
        self._latest[new.words] = new.number
        self._tokens += new.tokens

    def _take(self, number: int) -> Block:
        key = self._keys.pop(number)
        found = self._buckets[key].pop(number)
        if not self._buckets[key]:
            del self._buckets[key]
        del self._latest[found.words]
        self._tokens -= found.tokens
        return found

    def _remove(self, number: int, fate: Fate, why: str) -> Block:
        found = self._take(number)
        if number in self._pinned:
            self._pinned.remove(number)
        if self._gone is not None:
            self._gone.append((found, fate, why))
        return found

    def _resolve(self, places: Iterable[str]) -> None:
        """These states and tools worked: what they failed at before says nothing any more."""
        for place in places:
            for number in self._failed.pop(place, ()):
                if number in self._keys:
                    self._remove(number, "hidden", f"resolved: {place} worked since")

    def _forget(self) -> bool:
        """The oldest of the least important. False: only pins are left."""
        scores = {key: _score(key, self._lasting) for key in self._buckets}
        least = min(scores, key=lambda key: (scores[key], next(iter(self._buckets[key]))))
        if scores[least] >= PIN:
            return False
        self._remove(next(iter(self._buckets[least])), "dropped", "held no longer: more important blocks fill what is held")
        self._forgotten += 1
        return True

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def text(self, view: View) -> str:
        """The blocks that fit. Raises WindowOverflow where not even the pins do."""
        shown = self._shown(view)
        left_out = len(self._keys) - len(shown) + self._forgotten
        parts = [each.text for each in shown]
        if left_out:
            parts.insert(1 if shown and shown[0].tag == "request" else 0, wrapped("left_out", str(left_out)))
        return "".join(parts)

    def told(self, view: View) -> list[Told]:
        """Every block, in order, and what became of it. Raises WindowOverflow."""
        shown = {each.number: each for each in self._shown(view)}
        found = list(self._gone or [])
        for key, bucket in self._buckets.items():
            score = _score(key, view.scores)
            for number, each in bucket.items():
                found.append((shown.get(number, each), *self._became(each, shown.get(number), score)))
        return [
            Told(
                each.piece.reference,
                each.tag,
                each.tool,
                _score((each.tool, each.kind), view.scores),
                each.tokens,
                fate,
                why,
            )
            for each, fate, why in sorted(found, key=lambda one: one[0].number)
        ]

    def _became(self, each: Block, shown: Block | None, score: int) -> tuple[Fate, str]:
        if shown is None:
            return "dropped", "its score is 0" if score == 0 else "cut by a Compact" if self._cut(
                each
            ) == 0 else "the budget is used up"
        if shown.longer:
            return "shortened", f"{shown.longer} characters can be asked for with recall"
        return "kept", "a pin" if score >= PIN else "it fits"

    def factor(self) -> float:
        """By how much the provider counted more tokens than were estimated: the most of the last reports, from 0.75 to 4."""
        return min(4.0, max(0.75, *self._reports)) if self._reports else 1.0

    def _report(self, body: Object) -> None:
        usage, prompt = cast("Object", body.get("usage") or {}), cast("Object", body.get("prompt") or {})
        counted, estimated = cast("int", usage.get("input_tokens") or 0), cast("int", prompt.get("tokens") or 0)
        if (
            counted and estimated and not usage.get("estimated") and counted > estimated // 2
        ):  # less is a report without what was cached
            self._reports.append(counted / estimated)

    def _shown(self, view: View) -> list[Block]:
        self._place_choice()
        scores = {key: _score(key, view.scores) for key in self._buckets}
        pinned = [each for key, score in scores.items() if score >= PIN for each in self._buckets[key].values()]
        pins = [dressed for each in pinned if (dressed := self._dressed(each, view)) is not None]
        used = sum(each.tokens for each in pins)
        if used + (_NOTE if len(pins) < len(self._keys) else 0) > view.budget:
            raise WindowOverflow(_overflown(pins, used, view.budget))
        plain = not (self._cuts or self._forgotten or view.wording or 0 in scores.values())
        if plain and self._tokens <= view.budget:
            return sorted((each for bucket in self._buckets.values() for each in bucket.values()), key=_number)
        rest = [key for key, score in scores.items() if 0 < score < PIN]
        return sorted((*pins, *self._best(rest, scores, view.budget, view.budget - used - _NOTE)), key=_number)

    def _best(self, keys: Iterable[_Key], scores: Mapping[_Key, int], budget: int, room: int) -> Iterator[Block]:
        """The most important, and of equal ones the newest, until one does not fit: nothing is shown in place of what is more important."""
        levels: dict[int, list[_Bucket]] = {}
        for key in keys:
            levels.setdefault(scores[key], []).append(self._buckets[key])
        for score in sorted(levels, reverse=True):
            for each in _newest_first(levels[score]):
                cut = self._cut(each)
                if cut == 0:
                    continue
                fitting = each.within(min(max(budget // _SHARE, _SMALL), cut or budget))
                if fitting.tokens > room:
                    return
                room -= fitting.tokens
                yield fitting

    def _dressed(self, each: Block, view: View) -> Block | None:
        """A pin as it is shown; None: a Compact cut it out."""
        if each.kind == "error" and view.wording is not None:
            said = {key: escaped(value) if isinstance(value, str) else value for key, value in each.piece.content.items()}
            return each.but(body=view.wording({**said, "times": each.times}), times=1)
        cut = self._cut(each)
        return each if cut is None else each.within(cut) if cut else None

    def _cut(self, each: Block) -> int | None:
        if not self._cuts:
            return None
        return self._cuts.get(each.tool, self._cuts.get(each.kind))


def window_of(definition: Definition, events: Iterable[Event], *, remembers: bool = False) -> Window:
    """The window after these events, all since the run began."""
    window = Window(definition, remembers=remembers)
    for line in events:
        window.add(line.type, line.body)
    return window


def _newest_first(buckets: list[_Bucket]) -> Iterable[Block]:
    if len(buckets) == 1:
        return reversed(buckets[0].values())
    return merge(*(reversed(bucket.values()) for bucket in buckets), key=_number, reverse=True)


def _number(each: Block) -> int:
    return each.number


def _score(key: _Key, scores: Mapping[str, int]) -> int:
    """A tool's own row comes before that of the kind."""
    tool, kind = key
    if scores:
        if tool in scores and tool not in SCORES:
            return scores[tool]
        if kind in scores:
            return scores[kind]
    return SCORES[kind]


def _highest(definition: Definition | None) -> Mapping[str, int]:
    """What any question of the machine finds important is held as long as that."""
    asks = [spec for spec in definition.states.values() if spec.kind == "ask"] if definition else []
    tables = [cast("dict[str, int]", spec.body.get("scores") or {}) for spec in asks]
    return {
        row: max(table.get(row, SCORES.get(row, _UNLISTED)) for table in tables)
        for row in {row for table in tables for row in table}
    }


def _overflown(pins: list[Block], used: int, budget: int) -> str:
    if not pins:
        return f"a window of {budget} tokens has no room for anything"
    most = max(pins, key=lambda each: each.tokens)
    return f"the pinned blocks take {used:,} tokens of {budget:,}; the longest is {most.tag} {most.piece.reference} with {most.tokens:,}"
