"""diff, definition: a machine as data, and what differs between two of them."""

import json
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leverframe import project
from leverframe.cli.app import AsJson, Output, command, definition_in, fail, misused, print_json, warn, write
from leverframe.errors import LeverframeError

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
    if machine is not None:
        one = house.machine(machine).definition(house.attempt()[0])
        if as_json:
            print_json({"definitions": {machine: one.text}})
        else:
            write(one.text + "\n", output)
        return
    found, failed = _now(house)
    print_json({"definitions": {name: one.text for name, one in found.items()}, "failed": failed})
    if failed:
        raise typer.Exit(1)


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
    shown, failed = _differences(house, machine, against)
    for error in failed:
        warn(f"{error}; what it declares is not compared")
    if as_json or format is Format.JSON:
        body = {"against": against, "machines": [one.json() for one in shown], "failed": failed}
        write(json.dumps(body, indent=2) + "\n", output)
    else:
        write(_written(shown, failed, format), output)
    if (failed and machine is None) or (exit_code and any(one.level == "high" for one in shown)):
        raise typer.Exit(1)


def _written(found: "list[Difference]", failed: list[str], format: Format) -> str:
    from leverframe.diff import formats, picture
    from leverframe.graph import html, mermaid

    if format is Format.MARKDOWN:
        return formats.markdown(found, failed)
    if format is Format.TEXT:
        return "\n".join(map(formats.text, found)) or ("no other machine changed\n" if failed else "no machine changed\n")
    if len(found) != 1:
        changed = ", ".join(one.name for one in found) or "none"
        raise misused(f"--format {format} draws one machine; name it. Changed: {changed}")
    draw: Callable[..., str] = mermaid if format is Format.MERMAID else html
    return draw(*picture(found[0]))


def _differences(house: "Project", machine: str | None, against: str) -> "tuple[list[Difference], list[str]]":
    """Of one machine, whatever came of it, or of all that changed; and why the others could not be compared."""
    now, failed = _now(house)
    machine, before, missed = _before(house, machine, against)
    if machine is not None and machine not in now and (failed or machine not in before):
        house.machine(machine).definition(house.attempt()[0])  # says what is wrong with it, or which there are
    if machine is not None and machine not in before and missed:
        fail(missed[0])
    failed += missed
    old = {name: name for name in now if name in before} | _renamed(before, now)
    pairs = [(old.get(name), name) for name in now] + [(name, None) for name in before if name not in old.values()]
    if machine is not None:
        pairs = [pair for pair in pairs if machine in pair]
    elif failed:  # nobody can say whether what is on one side only is new or gone
        pairs = [pair for pair in pairs if None not in pair]
    changed = [was for was, name in pairs if was and not (name and now[name].hash == before[was].hash)]
    parked = _parked(house, changed, now)
    both = (before, now)
    found = [_compared(before.get(was or ""), now.get(name or ""), both, parked.get(was or "", [])) for was, name in pairs]
    return [one for one in found if machine is not None or not one.same], failed


def _renamed(before: Definitions, now: Definitions) -> dict[str, str]:
    from leverframe.diff import renamed

    return renamed(before, now)


def _compared(
    was: "Definition | None", now: "Definition | None", sides: "tuple[Definitions, Definitions]", parked: "list[Parked]"
) -> "Difference":
    from leverframe.check import check_text
    from leverframe.diff import Difference, arrived, difference

    before, after = (
        check_text(one.text, one.name, others=side).findings if one else () for one, side in zip((was, now), sides, strict=True)
    )
    if was is None and now is not None:
        return arrived(now, after)
    if was is None or now is None:
        return Difference(was.name if was else "", was, None, parked=tuple(parked))
    return difference(was, now, found=(before, after), parked=parked)


async def _orphans(engine: "Engine", name: str) -> "list[Parked]":
    """The runs of a machine that is gone."""
    from leverframe.diff import Standing, parked

    runs = [row.run async for row in engine.store.unfinished(name)]
    return parked(Standing(run.id, run.state, run.status, "blocked", f"machine {name} is gone") for run in runs)


def _now(house: "Project") -> "tuple[dict[str, Definition], list[str]]":
    """Every machine that can be had as data, and why the others cannot."""
    known, unloaded = house.attempt()
    failed = [str(one.error).rstrip(".") for one in unloaded]
    found: dict[str, Definition] = {}
    for name, one in known.items():
        try:
            found[name] = one.definition(known)
        except LeverframeError as error:
            failed.append(str(error).rstrip("."))
    return found, failed


def _before(house: "Project", machine: str | None, against: str) -> "tuple[str | None, Definitions, list[str]]":
    """The machine that it is about, what to compare with, and why some of that cannot be had: a file and a hash are of one machine."""
    from leverframe.project import past

    file, revision = Path(against), past.is_revision(house, against)
    if revision and file.is_file():
        raise misused(f"--against {against}: is a file and a revision; say ./{against} for the one, {against}~0 for the other")
    if file.is_file():
        one = definition_in(file, f"--against {against}")
        if machine is not None and one.name != machine:
            raise misused(f"--against {against}: it is a definition of {one.name}, not of {machine}")
        return one.name, {one.name: one}, []
    if revision:
        found, failed = past.machines_at(house, against)
        return machine, found, [f"revision {against}: {error}" for error in failed]
    if machine is not None and re.fullmatch("[0-9a-f]+", against):
        return machine, {machine: _from_database(house, machine, against)}, []
    if not past.has_git():
        fail(f"--against {against}: git is not installed, or not on the PATH; install it, or compare with a file")
    raise misused(f"--against {against}: no file, and no revision that git knows; of a hash, name the MACHINE")


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
