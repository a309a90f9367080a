"""Opening a database: the settings it must have, the schema it must have, and what is said when it cannot be used."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlmodel import SQLModel

from leverframe.errors import DatabaseUnavailable, SchemaTooNew, SchemaTooOld, StoreError, UnsafeDatabase
from leverframe.store import SCHEMA, Store, upgrade
from leverframe.store.database import MIGRATIONS, VERSION_TABLE
from leverframe.store.tables import TABLES, Base
from tests.stored import asking, new, opened, step


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def pragma(store: Store, name: str) -> object:
    with store.engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


# --- settings -----------------------------------------------------------------------------------------------------------------


async def test_sqlite_is_used_with_settings_that_keep_what_is_acknowledged(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        found = {name: pragma(store, name) for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


async def test_sqlite_takes_the_write_lock_at_the_beginning_of_what_writes_and_never_for_reading(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        said: list[str] = []
        with store.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            raw.set_trace_callback(said.append)
            with connection.begin():
                connection.execute(text("SELECT 1"))
            raw.set_trace_callback(None)
        assert said == ["BEGIN IMMEDIATE", "SELECT 1", "COMMIT"]
        with store.engine.begin():
            assert await store.runs() == []


@pytest.mark.postgres
async def test_postgres_reads_what_is_committed_whatever_its_default_is(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    engine.dispose()
    async with opened(postgres_url) as store:
        with store.engine.connect() as connection:
            assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"


@pytest.mark.postgres
def test_postgres_that_may_lose_what_it_acknowledges_is_refused(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    engine.dispose()
    with pytest.raises(UnsafeDatabase, match="synchronous_commit=off"):
        Store.open(postgres_url)


def test_a_database_in_memory_is_refused() -> None:
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"):
        with pytest.raises(UnsafeDatabase, match="use a file"):
            Store.open(url)


async def test_a_waiting_run_is_in_no_index_that_a_worker_reads(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        await store.start(new(wake_at=None))
        with store.engine.connect() as connection:
            question = "EXPLAIN QUERY PLAN SELECT id FROM runs WHERE wake_at <= 5 AND wake_at IS NOT NULL ORDER BY wake_at"
            plan = str(connection.execute(text(question)).all())
            assert "runs_due" in plan
            where = connection.execute(text("SELECT sql FROM sqlite_master WHERE name = 'runs_due'")).scalar_one()
            assert where.endswith("WHERE wake_at IS NOT NULL")


async def test_a_worker_finds_out_when_to_look_again_by_that_index_alone(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        asked: list[tuple[str, tuple[int, ...]]] = []

        def hear(_connection: object, _cursor: object, said: str, given: tuple[int, ...], *_: object) -> None:
            asked.append((said, given))

        event.listen(store.engine, "before_cursor_execute", hear)
        await store.next_wake(5)
        ((said, given),) = [one for one in asked if "lease_until" in one[0]]
        with store.engine.connect() as connection:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", given)]
    reads = [line for line in plan if "runs" in line]
    assert len(reads) == 2
    assert all("USING INDEX runs_due" in line for line in reads), plan


# --- size ---------------------------------------------------------------------------------------------------------------------


async def test_a_waiting_run_costs_two_kibibytes_and_four_with_its_events(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        pass
    empty = path_of(sqlite_url).stat().st_size
    async with opened(sqlite_url) as store:
        await asyncio.gather(*(asking(store) for _ in range(2000)))
    with_events = path_of(sqlite_url).stat().st_size
    with sqlite3.connect(path_of(sqlite_url)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM events")
        connection.commit()
        connection.execute("VACUUM")
    connection.close()
    without = path_of(sqlite_url).stat().st_size
    assert (with_events - empty) / 2000 <= 4096
    assert (without - empty) / 2000 <= 2048


@pytest.mark.parametrize("payload", [100, 800, 1500])
async def test_a_step_costs_a_kibibyte_beside_its_payload(sqlite_url: str, payload: int) -> None:
    async with opened(sqlite_url) as store:
        run = (first := new(owner="me")).run
        await store.start(first)
        connection = sqlite3.connect(path_of(sqlite_url))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the tables are no part of a step
        connection.close()
        before = path_of(sqlite_url).stat().st_size
        for _ in range(300):
            commit = step(run, 1, {"payload": "x" * payload})
            await store.commit(commit)
            run = commit.run
    assert (path_of(sqlite_url).stat().st_size - before) / 300 <= 1024 + payload


# --- schema -------------------------------------------------------------------------------------------------------------------


async def test_a_fresh_database_gets_the_tables_that_the_code_knows(database_url: str) -> None:
    async with opened(database_url) as store:
        with store.engine.connect() as connection:
            assert {*TABLES, VERSION_TABLE} == set(inspect(connection).get_table_names())
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
            assert compare_metadata(context, Base.metadata) == []


def test_our_tables_are_not_in_the_metadata_of_users() -> None:
    assert not set(TABLES) & set(SQLModel.metadata.tables)


def test_the_newest_migration_is_the_schema_that_the_code_wants() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]


async def test_tables_of_others_in_the_same_database_are_left_alone(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    engine.dispose()
    async with opened(database_url) as store:
        with store.engine.connect() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "theirs"


def set_schema(url: str, version: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = :version"), {"version": version})
    engine.dispose()


def test_a_newer_schema_is_refused_and_not_touched(database_url: str) -> None:
    Store.open(database_url).close()
    set_schema(database_url, "9999")
    for attempt in (lambda: Store.open(database_url), lambda: upgrade(database_url)):
        with pytest.raises(SchemaTooNew, match=r"has schema 9999.*install a newer Leverframe"):
            attempt()


def test_an_older_schema_names_the_command_that_upgrades_it(database_url: str) -> None:
    Store.open(database_url).close()
    set_schema(database_url, "0000")
    with pytest.raises(SchemaTooOld, match=r"has schema 0000.*run `leverframe db upgrade`"):
        Store.open(database_url)


def test_upgrading_is_safe_to_repeat(database_url: str) -> None:
    assert upgrade(database_url) == ""
    assert upgrade(database_url) == SCHEMA
    Store.open(database_url).close()


# --- databases that cannot be used --------------------------------------------------------------------------------------------


def refused(url: str, says: str, kind: type[StoreError] = DatabaseUnavailable) -> None:
    with pytest.raises(kind, match=says) as error:
        Store.open(url, patience=0.1).close()
    assert error.value.__cause__ is None
    assert "sqlalche" not in str(error.value)


def test_what_cannot_be_opened_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    words = tmp_path / "words.db"
    words.write_text("these are words, and no database of anybody's " * 30)
    refused(f"sqlite:///{tmp_path}/missing/a.db", r"missing/a\.db: the folder .*/missing does not exist; create it")
    refused(f"sqlite:///{tmp_path}", "cannot be opened; check")
    refused(f"sqlite:///{words}", "is not a SQLite database; check the URL")
    refused(
        "postgresql://dana:secret@127.0.0.1:1/x",
        r"dana:\*\*\*@127.0.0.1:1/x cannot be reached: Connection refused; check that it runs",
    )
    refused("mysql://dana:secret@host/x", r"\*\*\*@host/x: mysql is not supported")
    refused("no url", "is not the URL of a database; use")


@pytest.mark.postgres
def test_a_database_that_does_not_exist_is_said_not_to(postgres_url: str) -> None:
    refused(postgres_url.replace("/test_", "/missing_"), 'cannot be reached: FATAL: +database "missing_.*" does not exist; check')
    refused(postgres_url.replace("postgres@", "nobody@"), 'cannot be reached: FATAL: +role "nobody" does not exist; check')


async def test_a_database_with_other_tables_is_shared_but_not_one_with_tables_called_as_ours(sqlite_url: str) -> None:
    with sqlite3.connect(path_of(sqlite_url)) as other:
        other.execute("CREATE TABLE invoices (id INTEGER)")
    other.close()
    async with opened(sqlite_url) as store:
        await store.start(new())
    foreign = sqlite_url.replace(".db", "-2.db")
    with sqlite3.connect(path_of(foreign)) as other:
        other.execute("CREATE TABLE runs (id INTEGER)")
    other.close()
    refused(foreign, r"has tables of another program that are called as ours are \(runs\); name a database of its own")


async def test_a_locked_database_is_waited_for_and_then_said_to_be_locked(sqlite_url: str) -> None:
    async with opened(sqlite_url):
        pass
    store = Store.open(sqlite_url, patience=0.2)
    await store.start(first := new(owner="me"))
    with sqlite3.connect(path_of(sqlite_url), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = await asyncio.gather(*(store.commit(step(first.run, 1)) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 3
        assert "is locked by another program; end that program or try again" in str(answers[0])
        assert (await store.load(first.run.id)).run.seq == 1
        other.execute("ROLLBACK")
    other.close()
    await store.commit(step(first.run, 1))
    store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("lock", ["UPDATE runs SET state = 'Elsewhere'", "LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"])
async def test_a_row_or_table_that_another_program_keeps_locked_is_said_to_be(postgres_url: str, lock: str) -> None:
    async with opened(postgres_url) as other:
        store = Store.open(postgres_url, patience=0.2)
        await store.start(first := new(owner="me"))
        with other.engine.begin() as connection:
            connection.execute(text(lock))
            with pytest.raises(DatabaseUnavailable, match="is locked by another program; end"):
                await asyncio.wait_for(store.commit(step(first.run, 1)), 5)
        await store.commit(step(first.run, 1))
        store.close()


async def test_a_read_only_database_can_be_read_and_says_so_when_it_cannot_be_written(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        await store.start(first := new(owner="me"))
        read_only = Store.open(f"sqlite:///file:{path_of(sqlite_url)}?mode=ro&uri=true")
        assert (await read_only.load(first.run.id)).run.seq == 1
        with pytest.raises(DatabaseUnavailable, match="is read-only; make the file and its folder writable"):
            await read_only.commit(step(first.run, 1))
        read_only.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_that_may_not_be_written_is_said_to_be(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        refused(f"sqlite:///{tmp_path}/a.db", "cannot be opened; check that its folder exists and is writable|read-only")
    finally:
        tmp_path.chmod(stat.S_IRWXU)


async def test_a_full_database_loses_nothing_and_works_again_when_there_is_room(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        await store.start(first := new(owner="me"))
        await store.start(other := new(owner="me"))
    limit = [path_of(sqlite_url).stat().st_size // 4096 + 4]
    store = Store.open(sqlite_url)

    def fill_up(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {limit[0]}")

    event.listen(store.engine, "begin", fill_up)
    big = step(first.run, 1, {"payload": "x" * 100_000})
    answers = await asyncio.gather(store.commit(big), store.commit(step(other.run, 1)), return_exceptions=True)
    assert isinstance(answers[0], DatabaseUnavailable)
    assert "is full; make room and try again, nothing of this was written" in str(answers[0])
    assert not isinstance(answers[1], BaseException)  # there was room for this one
    assert (await store.load(first.run.id)).run.seq == 1
    limit[0] = 1_000_000
    await store.commit(big)
    store.close()


async def test_a_database_that_is_deleted_under_us_takes_no_more_writes(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        await store.start(first := new(owner="me"))
        path_of(sqlite_url).unlink()
        with pytest.raises(DatabaseUnavailable, match="was deleted or replaced while in use"):
            await store.commit(step(first.run, 1))


async def test_a_damaged_database_is_said_to_be(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        await asyncio.gather(*(asking(store) for _ in range(50)))
    path = path_of(sqlite_url)
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    refused(sqlite_url, "is damaged; restore a backup")
