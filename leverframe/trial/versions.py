"""Every prompt with its variants: what is in the files now, and what the log says of each.

A version is the text of a variant, partials included, known by its hash; one that is in no file any more is still in the log. Figures are
of the runs that started since a moment, and of a variant: how runs ended counts each run once for each variant that it was told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Never

from leverframe.canon import Json, Object
from leverframe.clock import Micros, iso
from leverframe.errors import UnknownPrompt, did_you_mean
from leverframe.machine import Machine
from leverframe.prompt import BASE, Prompt
from leverframe.state import Ask
from leverframe.store import Pin, PromptFigures, Store
from leverframe.trial.share import Share, share

MOST_PINS = 1000


@dataclass(frozen=True, slots=True)
class Version:
    """One text of a variant; `current`: that of the file."""

    hash: str
    current: bool
    first: Micros | None
    last: Micros | None
    calls: int

    def json(self) -> Object:
        seen = {name: None if at is None else iso(at) for name, at in (("first", self.first), ("last", self.last))}
        return {"hash": self.hash, "current": self.current, **seen, "calls": self.calls}


@dataclass(slots=True)
class Variant:
    """One variant of a prompt, and what became of it. `file`: it is in the project now."""

    prompt: str
    variant: str
    file: Prompt | None = None
    pinned: bool = False
    shadow: bool = False
    versions: list[Version] = field(default_factory=list[Version])
    counted: dict[str, int] = field(default_factory=dict[str, int])  # calls, errors, tokens, cost, people's words, agreement
    ended: dict[str, int] = field(default_factory=dict[str, int])  # runs by status

    @property
    def name(self) -> str:
        return self.variant or BASE

    @property
    def success(self) -> Share:
        """Of the runs that came to an end by themselves, those that ended well."""
        done = self.ended.get("done", 0)
        return share(done, done + self.ended.get("failed", 0))

    @property
    def agreement(self) -> dict[str, Share]:
        """Of a shadow: how often it picks what the model picks, with the same arguments, and what people made of it."""
        compared = self.count("compared")
        return {
            "intent": share(self.count("same_intent"), compared),
            "arguments": share(self.count("same"), compared),
            "people": share(self.count("agreed"), self.count("judged")),
        }

    def count(self, what: str) -> int:
        return self.counted.get(what, 0)

    def json(self) -> Object:
        """With stable keys."""
        runs: Object = {**self.ended}
        people: Object = {name: self.count(name) for name in ("approved", "edited", "rejected")}
        calls: Object = {name: self.count(name) for name in ("calls", "errors", "input_tokens", "output_tokens", "unpriced")}
        agreement: Object = {name: one.json() for name, one in self.agreement.items()}
        return {
            "variant": self.name,
            "file": self.file is not None,
            "weight": self.file.weight if self.file else None,
            "shadow": self.shadow,
            "pinned": self.pinned,
            "versions": [version.json() for version in self.versions],
            **calls,
            "cost_usd": self.count("cost") / 1_000_000,
            "runs": runs,
            "success": self.success.json(),
            "people": people,
            "late": self.count("late"),
            "agreement": agreement if self.shadow else None,
        }


def prompts(machines: Iterable[Machine[Never]]) -> dict[str, list[Prompt]]:
    """Every prompt that some state of these machines may use, with its variants as they are in the files. Raises PromptError."""
    found: dict[str, list[Prompt]] = {}
    for machine in machines:
        for state in machine.states.values():
            for prompt in machine.prompts(state) if issubclass(state, Ask) else ():
                variants = found.setdefault(prompt.name, [])
                variants += [] if any(one.variant == prompt.variant for one in variants) else [prompt]
    return found


async def variants(
    store: Store, files: Mapping[str, list[Prompt]], since: Micros, name: str | None = None
) -> tuple[dict[str, list[Variant]], list[Pin]]:
    """Every variant by prompt, or those of one, and who pinned what. Raises UnknownPrompt."""
    figures, history = await store.prompt_figures(since), await store.pin_history(name, MOST_PINS)
    found: dict[tuple[str, str], Variant] = {}
    for prompt in (prompt for known in files.values() for prompt in known):
        found[prompt.name, prompt.variant] = Variant(prompt.name, prompt.variant, prompt, shadow=prompt.shadow)
    _count(found, figures)
    for pinned, variant in (await store.pins(sorted({prompt for prompt, _ in found}))).items():
        _of(found, pinned, variant).pinned = True
    by_name: dict[str, list[Variant]] = {}
    for key in sorted(found):
        _add_unseen(found[key])
        by_name.setdefault(key[0], []).append(found[key])
    if name is not None and name not in by_name:
        raise UnknownPrompt(f"no prompt is called {name!r}; there are {_listed(by_name)}.{did_you_mean(name, list(by_name))}")
    return by_name if name is None else {name: by_name[name]}, history


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)[:500] or "none"


def _of(found: dict[tuple[str, str], Variant], prompt: str, variant: str) -> Variant:
    return found.setdefault((prompt, variant), Variant(prompt, variant))


def _count(found: dict[tuple[str, str], Variant], figures: PromptFigures) -> None:
    for rows, shadow in ((figures.calls, False), (figures.shadows, True)):
        for row in rows:
            one = _of(found, row["name"], row["variant"])
            current = one.file is not None and one.file.hash == row["hash"]
            one.versions.append(Version(row["hash"], current, row["first"], row["last"], int(row["calls"])))
            one.shadow |= shadow and one.file is None
            _sum(one, row)
    for row in (*figures.people, *figures.judged):
        _sum(_of(found, row["name"], row["variant"]), row)
    for row in figures.ended:
        _of(found, row["name"], row["variant"]).ended[row["status"]] = int(row["runs"])


def _sum(one: Variant, row: Mapping[str, object]) -> None:
    for what in row.keys() - {"name", "variant", "hash", "first", "last"}:
        one.counted[what] = one.count(what) + int(str(row[what]))


def _add_unseen(one: Variant) -> None:
    """The text of the file, where nobody was told it yet; the newest first."""
    if one.file is not None and not any(version.current for version in one.versions):
        one.versions.append(Version(one.file.hash, True, None, None, 0))
    one.versions.sort(key=lambda version: (not version.current, -(version.last or 0)))


def pin_json(pin: Pin) -> Json:
    variant = None if pin.variant is None else pin.variant or BASE
    return {"prompt": pin.prompt, "variant": variant, "at": iso(pin.at), "by": pin.by, "reason": pin.reason}
