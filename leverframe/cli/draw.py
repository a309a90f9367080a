"""graph: a machine as a picture, and what happened laid over it. Without an overlay it loads no database."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leverframe import project
from leverframe.cli.app import AsJson, command, definition_in, fail, misused, print_json, write
from leverframe.errors import ProjectError

if TYPE_CHECKING:
    from leverframe.clock import Micros
    from leverframe.graph import Drawable, Overlay
    from leverframe.machine import Definition
    from leverframe.project import AnyMachine
    from leverframe.store import Row, Store


class Format(StrEnum):
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    HTML = "html"
    TEXT = "text"


ENDINGS = {
    ".mmd": Format.MERMAID,
    ".mermaid": Format.MERMAID,
    ".dot": Format.DOT,
    ".gv": Format.DOT,
    ".svg": Format.SVG,
    ".html": Format.HTML,
    ".txt": Format.TEXT,
}


@command()
def graph(
    machine: Annotated[str | None, typer.Argument(metavar="MACHINE", help="A machine of machines/.")] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="mermaid for pull requests, html to explore, svg for documents, dot for Graphviz, text for terminals."),
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Lay the way of this run over it.")] = None,
    traffic: Annotated[
        str | None, typer.Option(metavar="SINCE", help="Lay the runs over it that started since: 12h, 7d, 2026-11-01.")
    ] = None,
    finding: Annotated[
        str | None, typer.Option(metavar="CODE", help="Lay the path of this finding of `leverframe check` over it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it there; the ending tells the format.")
    ] = None,
    definition: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw this definition (canonical JSON) in place of a machine.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--write", help="Write the card beside the machine, or beside each; `check` fails where one is stale.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a machine from its table."""
    if card:
        if any(given is not None for given in (format, run, traffic, finding, out, definition)):
            raise misused("--write writes the machine's card, and takes nothing but a MACHINE beside it")
        _write_cards(machine, as_json)
        return
    if (machine is None) == (definition is None):
        raise misused("name a MACHINE, or give --definition FILE")
    if sum(one is not None for one in (run, traffic, finding)) > 1:
        raise misused("--run, --traffic and --finding are different drawings; give one of them")
    chosen = format or (_told_by(out) if out else Format.TEXT)
    drawn: Drawable = definition_in(definition, f"--definition {definition}") if definition else _declared(machine or "")
    overlay: Overlay | None = None
    if run is not None:
        drawn, overlay = _of_run(drawn, run)
    elif traffic is not None:
        overlay = _of_traffic(drawn, traffic)
    elif finding is not None:
        overlay = _of_finding(drawn, finding)
    _show(drawn, overlay, chosen, out, as_json)


def _told_by(out: Path) -> Format:
    """The format that the ending of a file tells; text where it has none."""
    if out.suffix and out.suffix.lower() not in ENDINGS:
        raise misused(f"--out {out}: {out.suffix} tells no format; give --format, or one of {', '.join(ENDINGS)}")
    return ENDINGS.get(out.suffix.lower(), Format.TEXT)


def _declared(name: str) -> "Drawable":
    """That machine, whatever becomes of the others."""
    from leverframe.cli import doors

    here = project.find()
    found = here.machine(name)
    doors.loaded(here)
    return found


def _write_cards(name: str | None, as_json: bool) -> None:
    from leverframe.card import path_of, write

    house = project.find()
    chosen = list(house.machines.values()) if name is None else [house.machine(name)]
    written = {str(path_of(one)): write(one, house.machines) for one in chosen}
    if as_json:
        print_json({"cards": [{"file": file, "changed": changed} for file, changed in written.items()]})
        return
    for file, changed in written.items():
        typer.echo(f"{'wrote' if changed else 'as it was'}  {file}")


def _show(drawn: "Drawable", overlay: "Overlay | None", format: Format, out: Path | None, as_json: bool) -> None:
    from leverframe import graph as drawings

    draw = {
        Format.MERMAID: drawings.mermaid,
        Format.DOT: drawings.dot,
        Format.SVG: drawings.svg,
        Format.HTML: drawings.html,
        Format.TEXT: drawings.text,
    }[format]
    text = draw(drawn, overlay or drawings.PLAIN)
    if out is not None:
        write(text, out, "--out")
    if as_json:
        print_json({"machine": drawn.name, "format": str(format), "file": str(out) if out else None, "graph": text})
    elif out is not None:
        typer.echo(f"wrote {out}")
    else:
        typer.echo(text, nl=False)


# ── what happened ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_run(drawn: "Drawable", run: str) -> "tuple[Drawable, Overlay]":
    """The way of a run, over the definition that the run keeps."""
    from leverframe import graph as drawings
    from leverframe.cli import doors
    from leverframe.machine import Definition
    from leverframe.project import names

    async def work(store: "Store") -> "tuple[Drawable, Overlay]":
        row = await store.load(await names.run_id(store, run))
        if row.run.machine != drawn.name:
            fail(f"run {row.run.id} is of the machine {row.run.machine}, not of {drawn.name}")
        pinned = Definition(await store.definition(row.run.definition))
        shown = drawn if _same(drawn, pinned) else pinned
        events = await store.events(row.run.id)
        status = names.status_of(row, store.clock.now())
        said = (status, *await _waits(store, row))
        return shown, drawings.of_run(drawings.drawing(shown), f"run {row.run.id}, {status}", events, said)

    return doors.with_store(work)


def _same(drawn: "Drawable", pinned: "Definition") -> bool:
    """A machine of today that still is what the run keeps knows where its code is."""
    from leverframe.errors import DeclarationError, PromptError
    from leverframe.machine import Machine

    if not isinstance(drawn, Machine):
        return False
    try:
        return drawn.definition(project.find().machines).hash == pinned.hash
    except (DeclarationError, PromptError):
        return False


async def _waits(store: "Store", row: "Row") -> list[str]:
    """What a run that is not over waits for."""
    from leverframe.clock import iso

    tasks = await store.tasks(row.run.id)
    said = [
        f"waits for {task.to or 'somebody'}" + (f" until {iso(task.expires_at)}" if task.expires_at else "") for task in tasks
    ]
    if not tasks and row.run.waiting is not None:
        said = [f"waits until {iso(row.run.waiting.expires_at)}"]
    return said + ([row.run.reason] if row.run.reason else [])


def _of_finding(drawn: "Drawable", code: str) -> "Overlay":
    """The way to what check found, its steps numbered."""
    from leverframe import graph as drawings
    from leverframe.check import check as review
    from leverframe.graph import Drawing

    assert not isinstance(drawn, Drawing), "a command draws machines and definitions"
    found = [one for one in review(drawn, others=_beside(drawn)).findings if one.path]
    one = next((one for one in found if one.code == code.upper()), None)
    if one is None:
        listed = ", ".join(sorted({one.code for one in found})) or "none"
        raise misused(f"--finding {code}: check finds no such thing with a path in {drawn.name}; it finds {listed}")
    hops = [(hop.state, hop.outcome, hop.to) for hop in one.path]
    return drawings.of_path(f"{one.code}: {one.message.removeprefix(f'machine {one.machine}: ')}", hops, one.path[-1].to)


def _beside(drawn: "Drawable") -> "Mapping[str, AnyMachine]":
    """The machines that it may delegate to; a definition in a file needs no project."""
    from leverframe.machine import Machine

    try:
        return project.find().attempt()[0]
    except ProjectError:
        if isinstance(drawn, Machine):
            raise
        return {}


def _of_traffic(drawn: "Drawable", since: str) -> "Overlay":
    from leverframe import graph as drawings
    from leverframe.cli import doors
    from leverframe.clock import SystemClock, iso

    start = _since(since, SystemClock().now())
    counted = drawings.Traffic(drawings.drawing(drawn))

    async def work(store: "Store") -> "Overlay":
        async for run_id, event in store.history(drawn.name, start):
            counted.add(run_id, event)
        return counted.overlay(iso(start))

    return doors.with_store(work)


def _since(words: str, now: "Micros") -> "Micros":
    """`12h` and `7d` ago, or a date or time, in UTC where it does not say. Raises BadParameter."""
    import re
    from datetime import UTC, datetime

    from leverframe.clock import SECOND

    if ago := re.fullmatch(r"(\d{1,6})(min|h|d|w)", words):
        return max(0, now - int(ago[1]) * {"min": 60, "h": 3_600, "d": 86_400, "w": 604_800}[ago[2]] * SECOND)
    try:
        at = datetime.fromisoformat(words)
    except ValueError:
        raise misused(f"--traffic {words}: since when? Give 30min, 12h, 7d, 2w, or a date as 2026-11-01") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * SECOND)
