"""graph, new, init: what concerns the rooms, without a database."""

import os
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from leverframe import project
from leverframe.cli.app import AsJson, command, print_json, warn


class Format(StrEnum):
    MERMAID = "mermaid"
    TEXT = "text"


@command()
def graph(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="A machine of machines/.")],
    format: Annotated[Format, typer.Option(help="mermaid for browsers and pull requests, text for terminals.")] = Format.TEXT,
    as_json: AsJson = False,
) -> None:
    """Draw a machine from its table."""
    from leverframe import graph as drawn

    here = project.find()
    found = here.machine(machine)
    for one in here.loaded()[1]:
        warn(f"{one.error}; its machines are left out")
    text = drawn.mermaid(found) if format is Format.MERMAID else drawn.text(found)
    if as_json:
        print_json({"machine": found.name, "format": str(format), "graph": text})
    else:
        typer.echo(text, nl=False)


@command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the rooms go.")],
    package: Annotated[str, typer.Option(help="The package that DIR is, as in `acme/agents --package acme.agents`.")] = "",
    as_json: AsJson = False,
) -> None:
    """Copy out the starter: two agents with their prompts, tools and tests. Files that are there stay as they are."""
    made = project.init(folder, package)
    _report(made, as_json)
    if as_json:
        return
    found = project.find(folder)
    if not found.table:
        line = f'package = "{package}"\n' if package else ""
        typer.echo(f'\nAdd this to your pyproject.toml:\n\n[tool.leverframe]\n{line}model = "examples"')
    there = "" if found.root == Path.cwd() else f"  cd {shlex.quote(os.path.relpath(found.root))}\n"
    typer.echo(f'\n{there}  leverframe run refund "Order 1042 arrived broken, I want my money back"\n  pytest')


@command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and _.")],
    as_json: AsJson = False,
) -> None:
    """Write a minimal agent of your own, which runs at once."""
    made = project.new(project.find(), name)
    _report(made, as_json)
    if not as_json:
        typer.echo(f'\n  leverframe run {name} "What are your opening hours?"')


def _report(made: "list[tuple[Path, bool]]", as_json: bool) -> None:
    written, kept = [str(path) for path, is_new in made if is_new], [str(path) for path, is_new in made if not is_new]
    if as_json:
        print_json({"written": written, "kept": kept})
        return
    for path in kept:
        typer.echo(f"kept     {path}")
    for path in written if len(written) <= 10 else ():
        typer.echo(f"wrote    {path}")
    if len(written) > 10:
        typer.echo(f"wrote    {len(written)} files")
