"""export, replay: a run as a file, and told again to the code of now."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leverframe.cli import doors
from leverframe.cli.app import AsJson, Model, Output, RunId, command, fail, misused, print_json, write
from leverframe.cli.words import plain
from leverframe.project import find, names

if TYPE_CHECKING:
    from leverframe.project import Project
    from leverframe.recording import Recording
    from leverframe.replay import Replayed
    from leverframe.store import Store


@command()
def export(run: RunId, output: Output = None) -> None:
    """Write a run as one JSON file: its log and definitions, with all that people, tools and models said."""
    from leverframe.recording import record

    async def work(store: "Store") -> str:
        return (await record(store, await names.run_id(store, run))).text()

    write(doors.with_store(work), output)


@command()
def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Recordings, as `leverframe export` writes them.")],
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Keep to the recorded definition: only code and memory are those of now.")
    ] = False,
    variant: Annotated[str | None, typer.Option(help="This variant of every prompt that has it; '' is the base.")] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Tell recorded runs again, to the machines as they are now: nothing is done. Exit code 1 where one comes out differently.

    With --model (examples, provider/model) every question is asked anew, and what is chosen is compared, too.
    """
    if variant is not None and model is None:
        raise misused("--variant: name a --model to ask; the recorded answers were given to another prompt")
    house = find()
    recordings = [_read(file) for file in files]
    found = [asyncio.run(_replayed(house, one, recorded, variant, model)) for one in recordings]
    if as_json:
        print_json({"replays": [{"file": str(file), **one.json()} for file, one in zip(files, found, strict=True)]})
    else:
        for file, one in zip(files, found, strict=True):
            _say(file, one)
    if any(one.divergence for one in found):
        raise typer.Exit(1)


def _read(file: Path) -> "Recording":
    from leverframe.recording import read

    try:
        return read(file.read_text("utf-8"), what=str(file))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: cannot be read: {error}", 2)


async def _replayed(
    house: "Project", recording: "Recording", recorded: bool, variant: str | None, model: str | None
) -> "Replayed":
    from leverframe.replay import replay

    machine = house.machine(recording.run.machine)
    definition = recording.definition if recorded else machine.definition(house.attempt()[0])
    llm = house.llm(model) if model else None
    try:
        return await replay(recording, machine, definition, llm=llm, model=model or "", variant=variant)
    finally:
        if (close := getattr(llm, "close", None)) is not None:
            await close()


def _say(file: Path, one: "Replayed") -> None:
    name = plain(f"{file}: {one.machine} {one.run}")
    if one.divergence:
        typer.echo(f"{name}: after {one.told} of {one.events} events\n  {plain(one.divergence.words())}")
    else:
        typer.echo(f"{name}: all {one.events} events come out as recorded")
    if one.reworded:
        typer.echo(f"  in other words than then: events {', '.join(map(str, one.reworded))}")
