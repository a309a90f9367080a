"""Databases for tests. Nothing is skipped silently: a missing PostgreSQL fails, and says what to install."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.commands import Command
    from tests.house import House


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """One PostgreSQL a session, started when the first test asks for it."""
    from tests import postgres

    try:
        with postgres.server() as url:
            yield url
    except postgres.Missing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh database of the test's own on PostgreSQL. Mark tests that ask for it directly with `postgres`."""
    from tests import postgres

    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database file of the test's own that does not exist yet."""
    return f"sqlite:///{tmp_path / 'leverframe.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """The test runs once on each database."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def prepared_postgres(postgres_server: str) -> Iterator[str]:
    """The name of a database that has our tables and that nobody is connected to, to make others of."""
    from leverframe.store import Store
    from tests import postgres

    with postgres.database(postgres_server) as url:
        Store.open(url).close()
        yield url.partition("@/")[2].partition("?")[0]


@pytest.fixture
def prepared_postgres_url(postgres_server: str, prepared_postgres: str) -> Iterator[str]:
    from tests import postgres

    with postgres.database(postgres_server, prepared_postgres) as url:
        yield url


@pytest.fixture
def prepared_sqlite_url(sqlite_url: str, tmp_path: Path) -> str:
    from tests.stored import prepared

    (tmp_path / "leverframe.db").write_bytes(prepared())
    return sqlite_url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def prepared_url(request: pytest.FixtureRequest) -> str:
    """`database_url` with our tables in it, for which the migrations need not run: what they do is the same each time."""
    url: str = request.getfixturevalue(f"prepared_{request.param}_url")
    return url


@pytest.fixture
def leverframe(prepared_sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> "Command":
    """Gives a command in this process, in this repository's project, on a database file of the test's own."""
    from tests import commands, repository

    monkeypatch.chdir(repository.ROOT)
    monkeypatch.setenv("LEVERFRAME_DATABASE_URL", prepared_sqlite_url)
    for name in ("LEVERFRAME_MODEL", "LEVERFRAME_BY", "LEVERFRAME_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return commands.leverframe


@pytest.fixture
def house(tmp_path: Path) -> "Iterator[House]":
    """A house for small machines, on a database file of the test's own."""
    from tests.house import built

    with built(tmp_path) as found:
        yield found
