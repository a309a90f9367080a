"""What a model saw, made again from the log and verified: nothing of it is stored but a hash, a budget and names.

A question is its prompt's pinned text, the memory of then, the window over the events before it, and the choices. Of these a definition
keeps all but the order of optional fields, so their text is also tried as the code of now writes it, and the hash decides.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from leverframe.canon import Json, Object
from leverframe.errors import PromptError, WindowOverflow
from leverframe.llm import Choices, Option, option, request_hash
from leverframe.machine import Definition, Spec
from leverframe.prompt import Message, Prompt
from leverframe.reduce import begin, reduce
from leverframe.run import Event, Run
from leverframe.window.request import question, view
from leverframe.window.window import Told, Window, window_of

Written: TypeAlias = Callable[[Definition, str], Sequence[str]]
"""Each way to write the choices of a state."""


@dataclass(frozen=True)
class Seen:
    """One question, as it was asked. `verified` None: nothing was sent, or no hash was kept of it; `why` says so."""

    run: str
    seq: int
    state: str
    body: Object = field(repr=False)  # of the event
    prompt: Prompt | None = None
    messages: tuple[Message, ...] = ()
    blocks: tuple[Told, ...] = ()
    verified: bool | None = None
    why: str = ""

    @property
    def kept(self) -> Object:
        """What the event keeps of it: name, variant, hash; and budget and tokens, unless the window overflowed and nothing was sent."""
        return cast("Object", self.body.get("prompt") or {})

    def json(self) -> Object:
        messages: list[Json] = [{"role": message.role, "content": message.content} for message in self.messages]
        return {
            "run": self.run,
            "seq": self.seq,
            "state": self.state,
            "prompt": self.kept.get("name"),
            "variant": self.kept.get("variant"),
            "prompt_hash": self.prompt.hash if self.prompt else None,
            "model": self.body.get("model"),
            "budget": self.kept.get("budget"),
            "tokens": self.kept.get("tokens"),
            "usage": self.body.get("usage"),
            "request": self.body.get("request"),
            "verified": self.verified,
            "why": self.why,
            "messages": messages,
            "blocks": [told.json() for told in self.blocks],
        }


def seen(
    events: Sequence[Event], definition: Callable[[str], Definition], written: Written, *, only: Collection[int] | None = None
) -> Iterator[Seen]:
    """Every question of a run, or only those of these events. One pass; where all are wanted, what went is not told."""
    run = begin(events[0])
    told = only is not None
    window = window_of(definition(run.definition), events[:1], remembers=told)
    for index, line in enumerate(events[1:], 1):
        pinned = definition(run.definition)
        if asks(line) and (only is None or line.seq in only):
            yield _seen(run, line, pinned, window, written, told=told)
        run = reduce(pinned, run, line)
        if run.definition != pinned.hash:
            window = window_of(definition(run.definition), events[: index + 1], remembers=told)
        else:
            window.add(line.type, line.body)


def asks(line: Event) -> bool:
    """Was a model asked? One that was busy or refused the key was, too; the run then is put off, or blocked."""
    return line.type == "asked" or (line.type in ("postponed", "blocked") and "prompt" in line.body)


def pinned_choices(definition: Definition, state: str) -> str:
    """The choices as the definition alone tells them."""
    spec = definition.states[state]
    options = [_option(definition, choice) for choice in spec.choices]
    return Choices(options, cast("float | None", spec.body.get("threshold")), spec.most).described


def _option(definition: Definition, choice: Object) -> Option:
    intent = str(choice["intent"])
    tool = cast("Object", cast("Object", definition.body["tools"]).get(intent) or {})
    shape = tool.get("input") if choice["kind"] == "tool" else choice.get("schema")
    return option(intent, str(tool.get("doc", "")), cast("Object", _declared(shape or {})), choice["kind"] == "tool")


def _declared(shape: Json) -> Json:
    """A schema with its properties as they were declared, as far as that is known: a definition sorts them, and lists those that are
    required in their own order. Optional ones come after."""
    if isinstance(shape, list):
        return [_declared(item) for item in shape]
    if not isinstance(shape, dict):
        return shape
    known = {key: _declared(value) for key, value in shape.items()}
    if isinstance(fields := known.get("properties"), dict):
        needed = [name for name in cast("list[str]", known.get("required") or []) if name in fields]
        known["properties"] = {name: fields[name] for name in dict.fromkeys([*needed, *fields])}
    return known


def _seen(run: Run, line: Event, definition: Definition, window: Window, written: Written, *, told: bool) -> Seen:
    spec, kept = definition.states[run.state], cast("Object", line.body.get("prompt") or {})
    base = Seen(run.id, line.seq, run.state, line.body)
    if "budget" not in kept:
        return Seen(run.id, line.seq, run.state, line.body, why="nothing was sent: the window overflowed")
    found = [
        each for each in definition.prompts(run.state) if (each.name, each.variant) == (kept.get("name"), kept.get("variant"))
    ]
    if not found:
        return Seen(
            run.id,
            line.seq,
            run.state,
            line.body,
            verified=False,
            why=f"the definition has no prompt {kept.get('name')} {kept.get('variant')}",
        )
    return _rebuilt(base, found[0], run, spec, window, written(definition, run.state), told=told)


def _rebuilt(base: Seen, prompt: Prompt, run: Run, spec: Spec, window: Window, written: Sequence[str], *, told: bool) -> Seen:
    budget, expected = cast("int", base.kept["budget"]), base.body.get("request")
    messages: list[Message] = []
    try:
        blocks = tuple(window.told(view(spec, budget))) if told else ()
        for choices in dict.fromkeys(written):
            messages = question(prompt, spec, window, run.memory, choices, budget=budget).messages
            if request_hash(messages) == expected:
                break
    except (PromptError, WindowOverflow) as error:
        return Seen(base.run, base.seq, base.state, base.body, prompt, verified=False, why=f"it cannot be made again: {error}")
    verified = None if expected is None else request_hash(messages) == expected
    return Seen(base.run, base.seq, base.state, base.body, prompt, tuple(messages), blocks, verified, _why(verified))


def _why(verified: bool | None) -> str:
    if verified is None:
        return "no answer came, so no hash was kept of what was sent"
    return (
        ""
        if verified
        else "THIS IS NOT WHAT WAS SENT: its hash is another; code of the choices, the log or leverframe itself was changed"
    )
