"""The benchmark's shim counts every sync of SQLite and PostgreSQL and makes it take the time it is told."""

import sys

import pytest

from benchmarks import fsync

pytestmark = pytest.mark.long  # needs a C compiler

SQLITE = """
import sqlite3, sys
from benchmarks import fsync
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=FULL")
connection.execute("CREATE TABLE rows (id INTEGER)")
before = fsync.count()
for number in range(50):
    connection.execute("INSERT INTO rows VALUES (?)", (number,))
print(fsync.count() - before)
"""

POSTGRES = """
import psycopg
from benchmarks import fsync
from tests import postgres
with postgres.server() as url, psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
    connection.execute("CREATE TABLE rows (id INTEGER)")
    before = fsync.count()
    for number in range(50):
        connection.execute("INSERT INTO rows VALUES (%s)", (number,))
    print(fsync.count() - before)
"""


@pytest.mark.parametrize("sleep_us", [None, 0, 4000])
def test_a_commit_of_sqlite_is_one_sync_of_the_time_it_is_told(sqlite_url: str, sleep_us: int | None) -> None:
    path = sqlite_url.removeprefix("sqlite:///")
    done = fsync.run([sys.executable, "-c", SQLITE, path], sleep_us=sleep_us, capture=True)
    assert (done.code, done.output) == (0, "50\n")
    assert done.seconds >= done.syncs * (sleep_us or 0) / 1e6


@pytest.mark.postgres
def test_a_commit_of_postgres_is_one_sync() -> None:
    done = fsync.run([sys.executable, "-c", POSTGRES], sleep_us=4000, capture=True)
    assert done.code == 0
    assert 50 <= int(done.output) <= 55  # its background processes may sync too
