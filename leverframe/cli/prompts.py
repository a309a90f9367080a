"""prompts, prompts pin|unpin|eval, prefetch: what models are told, how that went, and which variant new runs are told."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Never, cast

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from leverframe.canon import Object, canonical
from leverframe.cli import doors, printed
from leverframe.cli.app import AsJson, By, Model, app, command, fail, misused, print_json, warn
from leverframe.cli.words import cut, line
from leverframe.clock import Micros, iso, micros
from leverframe.errors import DeclarationError, UnknownModel, did_you_mean
from leverframe.project import AnyMachine, find

if TYPE_CHECKING:
    from leverframe.llm import LLM
    from leverframe.machine import Definition, Machine
    from leverframe.prompt import Prompt
    from leverframe.store import Pin, Store
    from leverframe.trial import Exam, Habit, Variant

DAYS = 90
Since = Annotated[
    int, typer.Option("--since", min=1, metavar="DAYS", help="Count the runs that started in the last so many days.")
]
Reason = Annotated[str, typer.Option(help="Why: kept for good, beside who and when.")]
PromptName = Annotated[str, typer.Argument(metavar="NAME", help="A prompt, as in prompts/<NAME>.md.")]
VariantName = Annotated[str, typer.Argument(metavar="VARIANT", help="`base` is the file without a variant in its name.")]


class Listing(TyperGroup):
    """`prompts` and `prompts NAME` mean `prompts list`."""

    def parse_args(self, ctx: object, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(cast("typer.Context", ctx), args)


group = typer.Typer(
    name="prompts",
    cls=Listing,
    help="Prompts: versions, how the runs ended that were told them, and which variant new runs are told.",
    rich_markup_mode=None,
)
app.add_typer(group)


@command(group, "list")
def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this prompt, with every version and every pin.")
    ] = None,
    since: Since = DAYS,
    as_json: AsJson = False,
) -> None:
    """Show every prompt: its variants and versions, how the runs ended that were told each, and what people changed."""
    from leverframe.trial import variants
    from leverframe.trial.versions import pin_json

    files = _files(doors.loaded(find()))

    async def work(store: "Store") -> "tuple[dict[str, list[Variant]], list[Pin]]":
        return await variants(store, files, _since(store, since), name)

    found, pins = doors.with_store(work)
    if as_json:
        listed: Object = {prompt: [one.json() for one in some] for prompt, some in found.items()}
        print_json({"since_days": since, "prompts": listed, "pins": [pin_json(pin) for pin in pins]})
    elif found:
        _print(printed.console(), found, pins if name is not None else [], whole=name is not None)
    else:
        typer.echo("no prompts")


@command(group)
def pin(name: PromptName, variant: VariantName, by: By, reason: Reason = "", as_json: AsJson = False) -> None:
    """Tell every run that starts from now on this variant, whatever the weights say. Runs under way keep theirs."""
    from leverframe.trial import pin as pinned

    files = _files(doors.loaded(find()))
    made = doors.with_store(lambda store: pinned(store, files, name, variant, by=by, reason=reason))
    _said(made, f"every run that starts from now on is told {variant!r} of {name}; runs under way keep theirs", as_json)


@command(group)
def unpin(name: PromptName, variant: VariantName, by: By, reason: Reason = "", as_json: AsJson = False) -> None:
    """Choose the variants of a prompt by weight again, for every run that starts from now on."""
    from leverframe.trial import unpin as unpinned

    files = _files(doors.loaded(find()))
    made = doors.with_store(lambda store: unpinned(store, files, name, variant, by=by, reason=reason))
    _said(made, f"every run that starts from now on is told a variant of {name} by weight", as_json)


@command(group, "eval")
def eval_(
    name: PromptName,
    model: Model = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Only this variant; may be repeated. Default: all, shadows too.")
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option("--at-least", min=0, max=1, help="End with 1 where a variant has fewer right, as a share: 0.9."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model the examples that a prompt declares; report for each variant the right outcome, and the right arguments with it."""
    found = find()
    machines = doors.loaded(found)
    known = {one.variant or "base": one for one in _known(_files(machines), name)}
    for each in variant or ():
        if each not in known:
            raise misused(f"prompt {name} has no variant {each!r}; it has {', '.join(known)}.{did_you_mean(each, list(known))}")
    chosen = [one for label, one in known.items() if not variant or label in variant]
    llm = found.llm(model)
    if llm is None:
        raise UnknownModel("no model is set: give --model provider/model, or `examples` to work offline")
    exams = asyncio.run(_examined(llm, list(machines.values()), chosen, next(iter(known.values()))))
    if not any(exam.asked for exam in exams):
        why = next((result.question.unfit for exam in exams for result in exam.results), "none is declared")
        fail(f"prompt {name}: no example could be asked: {why}")
    if as_json:
        print_json({"prompt": name, "model": model or found.settings.model, "variants": [exam.json() for exam in exams]})
    else:
        _print_exams(printed.console(), exams)
    if at_least is not None and any((exam.right.value or 0) < at_least for exam in exams):
        raise typer.Exit(1)


@command()
def prefetch(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="A machine of machines/.")],
    since: Since = DAYS,
    at_least: Annotated[
        float, typer.Option("--at-least", min=0, max=1, help="Suggest what so great a share of runs begin with.")
    ] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Look at real runs, and suggest what to fetch before a model has to ask for it."""
    from leverframe.trial.prefetch import FEWEST

    house = find()
    definition = house.machine(machine).definition(doors.loaded(house))
    found = doors.with_store(lambda store: _habits(store, definition, since)) if house.has_database() else []
    suggested = [habit for habit in found if habit.suggests(at_least)]
    if as_json:
        total = found[0].runs.of if found else 0
        print_json({"machine": machine, "runs": total, "first": [habit.json(at_least) for habit in found]})
        return
    for habit in suggested:
        typer.echo(line(str(habit)))
    if not suggested:
        runs = found[0].runs.of if found else 0
        few = f"; {FEWEST} are needed" if runs < FEWEST else ""
        typer.echo(f"nothing to suggest: no read tool is the first call in {at_least:.0%} of {runs} runs{few}")


# ── what the commands share ──────────────────────────────────────────────────────────────────────────────────────────────────


def _since(store: "Store", days: int) -> Micros:
    return store.clock.now() - micros(timedelta(days=days))


async def _habits(store: "Store", definition: "Definition", days: int) -> "list[Habit]":
    from leverframe.trial import habits

    return await habits(store, definition, _since(store, days))


def _files(machines: Mapping[str, AnyMachine]) -> "dict[str, list[Prompt]]":
    """The prompts of the machines whose prompts can be read; of the others it is said."""
    from leverframe.trial import prompts

    found: dict[str, list[Prompt]] = {}
    for machine in machines.values():
        try:
            for name, variants in prompts([machine]).items():
                known = found.setdefault(name, [])
                known += [one for one in variants if one not in known]
        except DeclarationError as error:
            warn(f"{error}; the prompts of {machine.name} are left out")
    return dict(sorted(found.items()))


def _known(files: "Mapping[str, list[Prompt]]", name: str) -> "list[Prompt]":
    if name not in files:
        raise misused(f"no prompt is called {name!r}; there are {', '.join(files) or 'none'}.{did_you_mean(name, list(files))}")
    return files[name]


def _said(made: "Pin", words: str, as_json: bool) -> None:
    from leverframe.trial.versions import pin_json

    if as_json:
        print_json({"pin": pin_json(made)})
    else:
        typer.echo(line(f"{words} (by {made.by}, {iso(made.at)})"))


async def _examined(llm: "LLM", machines: "Sequence[Machine[Never]]", chosen: "Sequence[Prompt]", base: "Prompt") -> "list[Exam]":
    """Every variant in every state that may be told it. One that declares no examples is asked those of the base."""
    from leverframe.trial import examine, uses

    asked = [(one, one.examples or base.examples, use) for one in chosen for use in uses(machines, one.name)]
    try:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(f"asking {base.name}", total=sum(len(examples) for _, examples, _ in asked))
            return [
                await examine(llm, *use, one, examples=examples, ticked=lambda: progress.advance(bar))
                for one, examples, use in asked
            ]
    finally:
        if (close := getattr(llm, "close", None)) is not None:
            await close()


# ── for people ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _print(to: Console, found: "Mapping[str, list[Variant]]", pins: "Sequence[Pin]", *, whole: bool) -> None:
    for prompt, some in found.items():
        to.print(Text(line(prompt), style="bold"))
        for one in some:
            to.print(Text.assemble("  ", (line(one.name), "bold cyan"), f"  {_standing(one)}"))
            to.print(*(Text(f"    {words}") for words in _figures(one)), sep="\n")
            for version in one.versions if whole else ():
                seen = f"{iso(version.first)} to {iso(version.last)}" if version.first and version.last else "never told"
                now = " (the file)" if version.current else ""
                to.print(Text(f"    version {version.hash[:12]}{now}: {version.calls} calls, {seen}", style="dim"))
    for pin in pins:
        did = "by weight again" if pin.variant is None else f"{pin.variant or 'base'} pinned"
        to.print(Text(line(f"  {iso(pin.at)} {did} by {pin.by}" + (f": {pin.reason}" if pin.reason else "")), style="dim"))


def _figures(one: "Variant") -> "Iterator[str]":
    spent = f"{one.count('input_tokens') + one.count('output_tokens'):,} tokens, {one.count('cost') / 1_000_000:.4f} dollars"
    unpriced = f" ({one.count('unpriced')} without a price)" if one.count("unpriced") else ""
    late = f", {one.count('late')} late" if one.count("late") else ""
    yield f"{one.count('calls')} calls, {one.count('errors')} errors{late}; {spent}{unpriced}"
    if one.shadow:
        agreement = one.agreement
        yield f"same choice {agreement['intent']}; same arguments {agreement['arguments']}"
        yield f"as people decided {agreement['people']}"
        return
    over = sum(one.ended.get(status, 0) for status in ("done", "failed", "cancelled"))
    yield f"runs ended well {one.success}; cancelled {one.ended.get('cancelled', 0)}, open {sum(one.ended.values()) - over}"
    people = ", ".join(f"{name} {one.count(name)}" for name in ("approved", "edited", "rejected"))
    yield f"people: {people}"


def _standing(one: "Variant") -> str:
    weight = "gone" if one.file is None else "" if one.shadow else f"weight {one.file.weight:g}"
    return ", ".join(part for part in ("pinned" if one.pinned else "", "shadow" if one.shadow else "", weight) if part)


def _print_exams(to: Console, exams: "Sequence[Exam]") -> None:
    table = Table("variant", "state", "right outcome", "right arguments", "not asked", box=None)
    for exam in exams:
        shares = (str(exam.outcome), str(exam.right), str(len(exam.results) - len(exam.asked)))
        table.add_row(Text(line(exam.variant)), Text(line(f"{exam.machine}.{exam.state}")), *shares)
    to.print(table, soft_wrap=False)
    for exam in exams:
        for result in (result for result in exam.asked if not result.right):
            told = result.json()
            said = result.why or (f"answered {cut(canonical(told['answered']))}" if result.answered else "nothing")
            wanted = cut(canonical(told["expected"])) if result.question.expected else ""
            to.print(Text(line(f"  {exam.variant}:{result.question.line} {said}, not {wanted}"), style="dim"))
