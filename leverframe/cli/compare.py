"""diff, definition: a machine as data, and what differs between two of them."""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leverframe import project
from leverframe.cli.app import AsJson, Output, command, misused, print_json, write
from leverframe.errors import DeclarationError, LeverframeError

if TYPE_CHECKING:
    from leverframe.diff import Difference, Parked
    from leverframe.engine import Engine
    from leverframe.machine import Definition
    from leverframe.project import Project
    from leverframe.store import Store

Definitions = Mapping[str, "Definition"]


class Format(StrEnum):
    TEXT = "text"
    MARKDOWN = "markdown"
    MERMAID = "mermaid"
    HTML = "html"
    JSON = "json"


@command()
def definition(
    machine: Annotated[str | None, typer.Argument(metavar="MACHINE", help="With --json it may be left out: all of them.")] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Print a machine as data: the canonical JSON that runs are pinned to, and whose SHA-256 is its hash."""
    house = project.find()
    if machine is None and not as_json:
        raise misused("name a MACHINE, or give --json for all of them")
    chosen = house.machines if machine is None else {machine: house.machine(machine)}
    texts = {name: one.definition(house.machines).text for name, one in chosen.items()}
    if as_json:
        print_json({"definitions": texts})
    else:
        write("".join(texts.values()) + "\n", output)


@command()
def diff(
    machine: Annotated[str | None, typer.Argument(metavar="MACHINE", help="A machine of machines/. Default: all.")] = None,
    against: Annotated[
        str,
        typer.Option(
            metavar="REV|HASH|FILE", help="A git revision, the hash of a definition in the database, or a file with one."
        ),
    ] = "HEAD",
    format: Annotated[
        Format, typer.Option(help="markdown for a pull request, mermaid or html for one picture of both, text for terminals.")
    ] = Format.TEXT,
    output: Output = None,
    as_json: AsJson = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 where a change is of high risk.")] = False,
) -> None:
    """Say what changed in machines since a revision, the riskiest first, and what that means for the runs under way."""
    if as_json and format not in (Format.TEXT, Format.JSON):
        raise misused(f"--json and --format {format} contradict each other; give one")
    house = project.find()
    found = [one for one in _differences(house, machine, against) if machine is not None or not one.same]
    if as_json or format is Format.JSON:
        write(json.dumps({"against": against, "machines": [one.json() for one in found]}, indent=2) + "\n", output)
    else:
        write(_written(found, format), output)
    if exit_code and any(one.level == "high" for one in found):
        raise typer.Exit(1)


def _written(found: "list[Difference]", format: Format) -> str:
    from leverframe.diff import formats, picture
    from leverframe.graph import html, mermaid

    if format is Format.MARKDOWN:
        return formats.markdown(found)
    if format is Format.TEXT:
        return "\n".join(map(formats.text, found)) or "no machine changed\n"
    if len(found) != 1:
        changed = ", ".join(one.name for one in found) or "none"
        raise misused(f"--format {format} draws one machine; name it. Changed: {changed}")
    draw: Callable[..., str] = mermaid if format is Format.MERMAID else html
    return draw(*picture(found[0]))


def _differences(house: "Project", machine: str | None, against: str) -> "list[Difference]":
    from leverframe.diff import Difference

    now = _now(house, machine)
    before = _before(house, machine, against)
    names = [machine] if machine is not None else list(dict.fromkeys([*now, *before]))
    if machine is not None and machine not in before and machine not in now:
        house.machine(machine)  # says which there are
    parked = _parked(
        house, [name for name in names if name in before and (name not in now or now[name].hash != before[name].hash)], now
    )
    found: list[Difference] = []
    for name in names:
        was, one = before.get(name), now.get(name)
        if was is not None and one is not None:
            found.append(_compared(was, one, (before, now), parked.get(name, [])))
        else:
            found.append(Difference(name, was, one, parked=tuple(parked.get(name, []))))
    return found


def _compared(
    was: "Definition", now: "Definition", sides: "tuple[Definitions, Definitions]", parked: "list[Parked]"
) -> "Difference":
    from leverframe.check import check_text
    from leverframe.diff import difference

    reports = [check_text(one.text, one.name, others=side) for one, side in zip((was, now), sides, strict=True)]
    return difference(was, now, found=(reports[0].findings, reports[1].findings), parked=parked)


async def _orphans(engine: "Engine", name: str) -> "list[Parked]":
    """The runs of a machine that is gone."""
    from leverframe.diff import Standing, parked

    runs = [row.run async for row in engine.store.unfinished(name)]
    return parked(Standing(run.id, run.state, run.status, "blocked", f"machine {name} is gone") for run in runs)


def _now(house: "Project", machine: str | None) -> "dict[str, Definition]":
    known = house.machines
    chosen = known if machine is None else {name: one for name, one in known.items() if name == machine}
    return {name: one.definition(known) for name, one in chosen.items()}


def _before(house: "Project", machine: str | None, against: str) -> "Mapping[str, Definition]":
    """What to compare with: of a file and a hash it is one machine's, of a revision all."""
    from leverframe.project import past

    file = Path(against)
    if file.is_file():
        one = _from_file(file)
        if machine is not None and one.name != machine:
            raise misused(f"--against {against}: it is a definition of {one.name}, not of {machine}")
        return {one.name: one}
    if past.is_revision(house, against):
        found = past.machines_at(house, against)
        return found if machine is None else {name: one for name, one in found.items() if name == machine}
    if machine is None:
        raise misused(f"--against {against}: no file, and no revision that git knows; of a hash, name the MACHINE")
    return {machine: _from_database(house, machine, against)}


def _from_file(file: Path) -> "Definition":
    from leverframe.machine import Definition

    try:
        return Definition(file.read_text("utf-8").strip())
    except (DeclarationError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise misused(f"--against {file}: no definition: {error}. `leverframe check --definition {file}` says more") from None


def _from_database(house: "Project", machine: str, hash: str) -> "Definition":
    from leverframe.cli.doors import with_store
    from leverframe.machine import Definition

    async def work(store: "Store") -> str:
        return await store.definition(await store.resolve_definition(hash, machine))

    return Definition(with_store(work))


def _parked(house: "Project", names: list[str], now: Definitions) -> "dict[str, list[Parked]]":
    """Of the runs in the project's database, if it has one; a machine that is only reviewed need not."""
    from leverframe.cli.doors import with_operator

    if not names or not house.has_database():
        return {}

    async def work(engine: "Engine") -> "dict[str, list[Parked]]":
        return {name: await engine.impact(name) if name in now else await _orphans(engine, name) for name in names}

    try:
        return with_operator(work)
    except LeverframeError as error:
        typer.echo(f"runs under way are not counted: {error}", err=True)
        return {}
