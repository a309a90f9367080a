"""What only the rooms can tell: prompt files that nobody uses, and replies that a state's `keep` does not take."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, UnionType
from typing import Never, Union, cast, get_args, get_origin

from leverframe.check.codes import finding
from leverframe.check.finding import Finding, Place
from leverframe.check.structure import listed
from leverframe.errors import PromptError
from leverframe.machine import AnyState, Machine, prompt_names
from leverframe.state import Ask, Consult, Reply, Wait
from leverframe.wording import FILE as ERRORS


def rooms(machine: Machine[Never], others: Mapping[str, Machine[Never]]) -> Iterator[Finding]:
    for state in machine.states.values():
        yield from _unkept(machine.name, state)
    yield from _unused(machine, others)


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _unkept(machine: str, state: AnyState) -> Iterator[Finding]:
    """Replies that reach a `keep` whose annotation does not name them: it would fail on them, and the run stop for a person."""
    if issubclass(state, Ask | Consult):
        offered: list[object] = list(state.replies)
    elif issubclass(state, Wait):
        offered = list(state.events)
    else:
        return
    taken = _taken(cast("Callable[..., object]", state.keep))
    replies = [cast("type[Reply[str]]", reply) for reply in offered if isinstance(reply, type)]
    for reply in replies:
        if taken and not issubclass(reply, taken):
            message = f"{reply.intent!r} can be picked, and `keep` takes only {listed([kind.__name__ for kind in taken])}"
            yield finding("LF109", machine, message, state=state.name, remedy=f"annotate `keep` with {reply.__name__} too")


def _taken(keep: Callable[..., object]) -> tuple[type, ...]:
    """The classes that the last parameter of `keep` is annotated with; none where it takes anything, or nobody can tell."""
    if keep.__qualname__.split(".")[0] in ("Ask", "Consult", "Wait"):
        return ()  # not overridden: there is nothing that could fail
    code = cast("CodeType | None", getattr(keep, "__code__", None))  # none where it is wrapped in something that is no function
    names = code.co_varnames[: code.co_argcount] if code else ()
    annotation: object = keep.__annotations__.get(names[-1]) if names else None
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, vars(sys.modules[keep.__module__]))  # noqa: S307 (the user's own annotation, as typing does)
        except Exception:  # noqa: BLE001 (whatever it raises: nobody can tell)
            return ()
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    known = [part for part in parts if isinstance(part, type) and not getattr(part, "_is_protocol", False)]
    return tuple(known) if len(known) == len(parts) else ()


# ── prompt files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _unused(machine: Machine[Never], others: Mapping[str, Machine[Never]]) -> Iterator[Finding]:
    """Files in the prompt folders of this agent that no state of any machine names."""
    users: dict[str, set[str]] = {}  # folder: machines
    used: set[str] = set()
    for other in {**others, machine.name: machine}.values():
        for name in _named(other) if other.home == machine.home else ():
            used.add(name)
            users.setdefault(name.rpartition("/")[0], set()).add(other.name)
    mine = {folder for folder, names in users.items() if folder and machine.name == (folder if folder in names else min(names))}
    files = [
        file for folder in sorted({*mine, machine.name}) for file in sorted((machine.home / "prompts" / folder).glob("*.md"))
    ]
    included = _included(machine.home, used) if any(file.name.startswith("_") for file in files) else set[str]()
    for file in files:
        name = f"{file.parent.relative_to(machine.home / 'prompts').as_posix()}/{file.name}"
        if file.name == ERRORS:
            continue
        if file.name.startswith("_"):
            unused = "is included by no prompt of any state" if name not in included else ""
        else:  # triage.b.md is a variant of triage
            unused = "is no prompt of any state" if f"{name.rpartition('/')[0]}/{file.name.split('.')[0]}" not in used else ""
        if unused:
            yield finding("LF112", machine.name, f"prompts/{name} {unused}", place=Place(str(file), 1))


def _included(home: Path, names: Iterable[str]) -> set[str]:
    """The partials of these prompts, as far as they can be read."""
    from leverframe.prompt import find  # templates are loaded where there is a prompt

    found: set[str] = set()
    for name in names:
        with suppress(PromptError):  # said where prompts are checked
            found |= {partial.name for prompt in find(home, name) for partial in prompt.partials}
    return found


def _named(machine: Machine[Never]) -> list[str]:
    return [name for state in machine.states.values() if issubclass(state, Ask) for name in prompt_names(state)]
