"""new, init: what concerns the rooms, without a database."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from leverframe import project
from leverframe.cli.app import AsJson, command, misused, print_json

LARGEST = 8_000_000
"""Bytes of a diagram that are read; the reader's own limit is lower."""


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
    diagram: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A Mermaid stateDiagram-v2 of the machine; - is the standard input."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a minimal agent of your own, which runs at once; or the one that a diagram draws, its tools and prompts to be written."""
    if diagram is not None:
        text, file = _text_of(diagram)
        made = project.drawn(project.find(), name, text, file)
    else:
        made = project.new(project.find(), name)
    _report(made, as_json)
    if not as_json:
        typer.echo(
            f'\n  leverframe run {name} "What are your opening hours?"' if diagram is None else f"\n  leverframe graph {name}"
        )


def _text_of(file: Path) -> tuple[str, str]:
    """What is to be read, and what messages call it. Misuse where it cannot be read."""
    where = "standard input" if str(file) == "-" else str(file)
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as opened:
            raw = opened.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise misused(f"--from {where}: more than {LARGEST:,} bytes; no drawing is so large. Is this the right file?")
        return raw.decode("utf-8"), where
    except OSError as error:
        raise misused(f"--from {where}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise misused(f"--from {where}: byte {error.start} is not UTF-8; save it as UTF-8") from None


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
