"""The commands, given in this process: what a command says and how it ends, in a tenth of the time that a new process takes."""

from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from typing import TypeAlias

from typer.main import get_command

from leverframe.cli import app
from tests.repository import Done

Command: TypeAlias = Callable[..., Done]
_group = cache(get_command)  # reads the signature of every command


def leverframe(*arguments: str) -> Done:
    """`leverframe arguments…`"""
    code = 0
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            _group(app).main(list(arguments), prog_name="leverframe")
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    done = Done(code, out.getvalue(), err.getvalue())
    assert "Traceback" not in done.out + done.err
    return done
