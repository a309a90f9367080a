"""The group that the commands hang on, and how they end.

0    done, or waiting for somebody
1    asked for properly, and failed: the database, a model, a tool, a damaged log, rooms that do not load, another process that holds
     the run; or the run itself ended as a failure, or needs a person
2    misused, and nothing was changed: what was given does not fit or cannot be read (InputError, DiagramError, a file), names nothing
     (NotFound), or is refused because of where the run or task stands (Conflict); what is to be written cannot be (a folder that is not
     there)
130  interrupted
"""

import json
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, ParamSpec, TypeAlias, cast

import typer

from leverframe.canon import MAX_MEMORY, Object, parse
from leverframe.cli.words import plain
from leverframe.errors import Busy, Conflict, DiagramError, InputError, LeverframeError, Lost, NotFound
from leverframe.files import write_whole

if TYPE_CHECKING:
    from leverframe.machine import Definition

P = ParamSpec("P")

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object with stable keys.")]
By: TypeAlias = Annotated[str, typer.Option(help="Who decides: a name that the log keeps.", envvar="LEVERFRAME_BY")]
Model: TypeAlias = Annotated[
    str | None, typer.Option(help="`provider/model`, or `examples` to work offline. Default: LEVERFRAME_MODEL or pyproject.toml.")
]
NoAdvance: TypeAlias = Annotated[bool, typer.Option("--no-advance", help="Only record it; a worker goes on with the run.")]
Output: TypeAlias = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to the terminal.")
]
RunId: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or its start key.")]
TaskOrRun: TypeAlias = Annotated[str, typer.Argument(metavar="TASK|RUN", help="A task, or the run that waits for it.")]

app = typer.Typer(
    name="leverframe",
    help="LLM agents as finite state machines: declared, drawn and reviewed before they run, durable while they run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
database = typer.Typer(help="The database.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(database, name="db")


def main() -> None:
    try:
        app()
    finally:  # nothing is left to be committed: from here on Ctrl-C ends the process, without a traceback
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def command(group: typer.Typer = app, name: str | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Makes a function a command that ends with one clear line where it would end with a traceback."""

    def decorate(function: Callable[P, None]) -> Callable[P, None]:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                _refuse_broken_text(kwargs)
                function(*args, **kwargs)
            except LeverframeError as error:
                fail(str(error), code_of(error))
            except KeyboardInterrupt:
                fail("interrupted; what was committed is safe", 130)
            except (typer.Abort, BrokenPipeError):
                raise
            except Exception as error:
                if hasattr(error, "exit_code") or os.environ.get("LEVERFRAME_DEBUG"):
                    raise  # typer's own, or somebody wants to see where
                fail(f"unexpected {type(error).__name__}: {error}. LEVERFRAME_DEBUG=1 shows where")

        group.command(name)(guarded)
        return function

    return decorate


def code_of(error: BaseException) -> int:
    """2 where the one who gave the command can give a better one; 1 where it was fine, and something else failed."""
    if isinstance(error, Busy | Lost):
        return 1  # the same command may do, a moment later
    return 2 if isinstance(error, InputError | DiagramError | NotFound | Conflict) else 1


def _refuse_broken_text(given: Mapping[str, object]) -> None:
    """Bytes that are no UTF-8 arrive as lone surrogates, which nothing here can keep or find."""
    for name, value in given.items():
        for text in cast("list[object]", value) if isinstance(value, list) else [value] if isinstance(value, str) else []:
            try:
                str(text).encode()
            except UnicodeEncodeError:
                raise misused(f"{name.replace('_', '-')} is not UTF-8 text: {ascii(text)[:80]}") from None


def fail(message: str, code: int = 1) -> NoReturn:
    complain(message)
    raise typer.Exit(code)


def complain(message: str) -> None:
    typer.echo(f"error: {plain(message)}", err=True)


def warn(message: str) -> None:
    typer.echo(f"warning: {plain(message)}", err=True)


def misused(message: str) -> typer.BadParameter:
    return typer.BadParameter(message)


def print_json(value: Mapping[str, object]) -> None:
    typer.echo(json.dumps(value, indent=2))


def json_of(text: str, what: str) -> object:
    """JSON as somebody typed it, or in the file that `@file` names. Raises NotJson, TooLarge."""
    if text.startswith("@"):
        what = f"{what} {text}"
        text = text_of(Path(text[1:]), what)
    return parse(text, what=what, limit=MAX_MEMORY)


def write(text: str, output: Path | None, option: str = "--output") -> None:
    """To the file, or to the terminal as it is."""
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        write_whole(output, text)
    except OSError as error:
        raise misused(f"{option} {output}: {error.strerror}") from None


def text_of(file: Path, what: str) -> str:
    """What a file holds that somebody named. Misuse where it cannot be read."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise misused(f"{what}: not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise misused(f"{what}: {error.strerror}") from None


def definition_in(file: Path, what: str) -> "Definition":
    """The definition in a file: as runs are pinned to it, or as another tool wrote it. Misuse where it has another shape."""
    from leverframe.check import misshapen
    from leverframe.machine import Definition

    text = text_of(file, what).strip()
    if found := misshapen(text, str(file)):
        said = sorted({one.message for one in found})
        more = f" (and {len(said) - 3} more: `leverframe check --definition {file}`)" if len(said) > 3 else ""
        raise misused(f"{what}: no definition: {'; '.join(said[:3])}{more}")
    return Definition(text)


def object_of(text: str, what: str) -> Object:
    value = json_of(text, what)
    if not isinstance(value, dict):
        raise misused(f'{what} is not a JSON object: give {{"name": value, …}}')
    return cast("Object", value)


def installed() -> str | None:
    """The version."""
    try:
        return version("leverframe")
    except PackageNotFoundError:
        return None


@app.callback(invoke_without_command=True)
def root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if show_version:
        typer.echo(f"leverframe {found}" if (found := installed()) else "leverframe, not installed")
        raise typer.Exit
