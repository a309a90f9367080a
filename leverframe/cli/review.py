"""check, schema: what can be said of a machine before it runs. Opens no database and asks no provider."""

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leverframe import project
from leverframe.cli.app import AsJson, Output, command, fail, installed, misused, text_of, write
from leverframe.errors import LeverframeError, did_you_mean

if TYPE_CHECKING:
    from leverframe.check import Report


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


class Schema(StrEnum):
    DEFINITION = "definition"


@command()
def check(
    machines: Annotated[list[str] | None, typer.Argument(metavar="MACHINE", help="Machines of machines/. Default: all.")] = None,
    definition: Annotated[
        list[Path] | None,
        typer.Option("--definition", metavar="FILE", help="A definition as JSON, from wherever; may be repeated."),
    ] = None,
    format: Annotated[
        Format | None, typer.Option(help="text for terminals, github for annotations in a pull request, sarif for code scanning.")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with machines before they run. Ends with 1 where an error is found that no machine accepts with a reason."""
    from leverframe.check import merged

    if as_json and format not in (None, Format.JSON):
        raise misused(f"--json and --format {format} contradict each other; give one")
    chosen = format or (Format.JSON if as_json else Format.TEXT)
    reports = [_of_files(definition)] if definition else []
    if machines or not definition:
        try:
            reports += _of_project(machines or [])
        except LeverframeError as error:
            fail(str(error), 2)
    report = merged(reports).seen_from(_root(chosen))
    write(_written(report, chosen), output)
    if output is not None and chosen is not Format.TEXT:
        from leverframe.check.formats import summary

        typer.echo(f"{summary(report)}; written to {output}", err=True)
    if report.fails:
        raise typer.Exit(1)


@command()
def schema(
    what: Annotated[Schema, typer.Argument(metavar="definition", help="The JSON Schema of a machine as data.")],
    output: Output = None,
) -> None:
    """Print a JSON Schema, for tools that write what Leverframe reads."""
    from leverframe.check.definition import SCHEMA

    write({Schema.DEFINITION: SCHEMA}[what].read_text("utf-8"), output)


def _of_files(files: list[Path]) -> "Report":
    from leverframe.check import check_texts

    return check_texts({str(file.absolute()): text_of(file, f"--definition {file}") for file in files})


def _of_project(names: list[str]) -> "list[Report]":
    """The named machines, or all; and the files that do not load, of which any may be the one that was named."""
    from leverframe.card import stale
    from leverframe.check import Place, Report, unloaded
    from leverframe.check import check as review

    house = project.find()
    known, failed = house.attempt()
    missing = [name for name in names if name not in known and name not in {one.file.stem for one in failed}]
    if missing:
        listed = ", ".join(sorted(known)) or "none"
        raise misused(f"no machine is called {missing[0]!r}; there are: {listed}.{did_you_mean(missing[0], sorted(known))}")
    broken = [one for one in failed if not names or one.file.stem in names]
    findings = [unloaded(str(one.file.relative_to(house.rooms)), Place(*one.place), one.error) for one in broken]
    chosen = [machine for name, machine in known.items() if not names or name in names]
    findings += stale(chosen, known, kept=house.settings.cards, whole=not failed)
    return [Report.of(findings, []), *(review(machine, others=known) for machine in chosen)]


def _root(format: Format) -> Path:
    """Where places are named from: people stand in a folder, GitHub in the root of the repository."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and format in (Format.GITHUB, Format.SARIF) and Path.cwd().is_relative_to(workspace):
        return Path(workspace)
    return Path.cwd()


def _written(report: "Report", format: Format) -> str:
    from leverframe.check import formats

    as_text: Mapping[Format, Callable[[], str]] = {
        Format.TEXT: lambda: formats.text(report),
        Format.JSON: lambda: formats.as_json(report),
        Format.GITHUB: lambda: formats.github(report),
        Format.SARIF: lambda: formats.sarif(report, installed() or "0"),
    }
    return as_text[format]()
