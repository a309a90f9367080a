"""A database as we need it: opened safely, at our schema, with errors that say what, where and what to do.

SQLite gets BEGIN IMMEDIATE (SQLAlchemy's default loses concurrent updates, silently), WAL and `synchronous=FULL` (NORMAL loses
acknowledged commits when the power goes). PostgreSQL gets READ COMMITTED with rows locked by hand, and is refused with settings
under which an acknowledged commit can vanish. Every write of the store goes through `transaction`, the one place that commits.
"""

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, String, column, create_engine, event, inspect, make_url, select, table, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from leverframe.errors import DatabaseUnavailable, InputError, SchemaTooNew, SchemaTooOld, StoreError, UnsafeDatabase
from leverframe.store.boundary import AFTER_COMMIT, BEFORE_COMMIT, probe
from leverframe.store.tables import TABLES

SCHEMA = "0003"  # the newest file in migrations/versions; they are numbered, so that older and newer can be told apart
VERSION_TABLE = "leverframe_version"  # alembic's own name may belong to an application in the same database
MIGRATIONS = Path(__file__).parent / "migrations"
READING = {"reading": True}  # execution option: begin without the write lock
_MOMENT, _MOMENTS = 0.01, 100  # seconds, times
_UPGRADING = 0x6C657665  # PostgreSQL's advisory lock while the schema is made


def connect(address: str, patience: float = 5.0) -> Engine:
    """The one engine factory. `patience`: seconds to wait for a lock that another program holds."""
    url = _parse(address)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": patience})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(
            url, pool_pre_ping=True, isolation_level="READ COMMITTED", paramstyle="format", connect_args={"connect_timeout": 10}
        )
        event.listen(engine, "connect", partial(_prepare_postgres, patience))
    return engine


def _parse(address: str) -> URL:
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # a port that is no number is the latter
        shown = address.rpartition("@")[2]  # what stands before may be a password
        raise DatabaseUnavailable(f"{shown!r} is not the URL of a database; use sqlite:///file.db or postgresql://…") from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _file(url)
    if backend not in {"postgresql", "postgres"}:
        raise DatabaseUnavailable(f"{where(url)}: {backend} is not supported; use sqlite:///file.db or postgresql://…")
    if find_spec("psycopg") is None:
        raise DatabaseUnavailable(f"{where(url)}: needs psycopg; pip install 'leverframe[postgres]'")
    return url.set(drivername="postgresql+psycopg")


def _file(url: URL) -> URL:
    name = url.database or ":memory:"
    if ":memory:" in name or url.query.get("mode") == "memory":
        raise UnsafeDatabase(f"{where(url)}: keeps nothing and is not shared between threads; use a file, sqlite:///file.db")
    folder = Path(name.removeprefix("file:").partition("?")[0]).absolute().parent
    if not folder.is_dir():
        raise DatabaseUnavailable(f"{where(url)}: the folder {folder} does not exist; create it or change the URL")
    return url.set(drivername="sqlite")


def where(url: URL) -> str:
    return f"database {url.render_as_string(hide_password=True)}"


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin or commit on its own
    mode = _write_ahead(connection)
    if mode != "wal":
        raise UnsafeDatabase(
            f"this SQLite database cannot use a write-ahead log (it says {mode!r}); keep the file on a local disk"
        )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _write_ahead(connection: Any) -> str:
    """Turn the write-ahead log on. While another process does the same, SQLite says `locked` without waiting: so we wait."""
    left = _MOMENTS
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            left -= 1
            if not left or error.sqlite_errorname != "SQLITE_BUSY":
                raise
        time.sleep(_MOMENT)


def _begin_sqlite(connection: Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    raw.execute("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def _prepare_postgres(patience: float, connection: Any, _record: object) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{int(patience * 1000)}ms",))
        cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        found = dict(zip(("fsync", "synchronous_commit"), cursor.fetchone(), strict=True))
    connection.autocommit = False
    for name, value in found.items():
        if value == "off":
            raise UnsafeDatabase(f"PostgreSQL runs with {name}=off: what it acknowledges can vanish; set {name} to on")


@contextmanager
def transaction(connection: Connection) -> Generator[None]:
    """Begin, and commit unless something is raised. Nothing else in Leverframe commits."""
    started = connection.begin()
    try:
        yield
        probe(BEFORE_COMMIT)
        started.commit()
    except BaseException:
        with suppress(Exception):
            started.rollback()
        with suppress(Exception):  # after a commit that failed, SQLAlchemy thinks that nothing is open, and SQLite keeps it open
            connection.connection.rollback()
        raise
    probe(AFTER_COMMIT)


# --- schema -------------------------------------------------------------------------------------------------------------------


def prepare(engine: Engine) -> None:
    """Make the tables where there are none; refuse a schema that is not ours to use."""
    with refusals(engine):
        found = _version(engine)
        if found is None:
            _upgrade(engine)
        elif found < SCHEMA:
            raise SchemaTooOld(
                f"{where(engine.url)}: has schema {found}, this version needs {SCHEMA}; run `leverframe db upgrade`"
            )
        elif found > SCHEMA:
            raise SchemaTooNew(
                f"{where(engine.url)}: has schema {found}, this version knows {SCHEMA}; install a newer Leverframe"
            )


def upgrade(address: str, patience: float = 5.0) -> str:
    """Bring a database to our schema; gives the schema it had, or nothing. Safe to repeat, and from many processes at once."""
    engine = connect(address, patience)
    try:
        with refusals(engine):
            found = _version(engine)
            if found is not None and found > SCHEMA:
                prepare(engine)
            _upgrade(engine)
            return found or ""
    finally:
        engine.dispose()


def _version(engine: Engine) -> str | None:
    with engine.connect().execution_options(**READING) as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        found = connection.scalar(select(column("version_num", String)).select_from(table(VERSION_TABLE)))
        return None if found is None else str(found)


def _upgrade(engine: Engine) -> None:
    from alembic import command  # half a second that only a fresh or an old database costs
    from alembic.config import Config

    with engine.connect() as connection, transaction(connection):
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADING})"))
        _refuse_foreign(connection)
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        command.upgrade(config, "head")


def _refuse_foreign(connection: Connection) -> None:
    """Tables of another program that are called as ours are: we would write into them, or stop half-way."""
    there = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in there and (taken := sorted(there & TABLES.keys())):
        raise DatabaseUnavailable(
            f"{where(connection.engine.url)} has tables of another program that are called as ours are ({', '.join(taken)}); "
            "name a database of its own"
        )


# --- errors -------------------------------------------------------------------------------------------------------------------

_SQLITE = {
    "SQLITE_BUSY": "is locked by another program; end that program or try again",
    "SQLITE_LOCKED": "is locked by another program; end that program or try again",
    "SQLITE_READONLY": "is read-only; make the file and its folder writable",
    "SQLITE_FULL": "is full; make room and try again, nothing of this was written",
    "SQLITE_CANTOPEN": "cannot be opened; check that its folder exists and is writable",
    "SQLITE_IOERR": "cannot be read or written, the disk fails or is full; check it and try again",
    "SQLITE_NOTADB": "is not a SQLite database; check the URL",
    "SQLITE_CORRUPT": "is damaged; restore a backup",
    "SQLITE_PERM": "may not be opened; check its permissions",
    "SQLITE_AUTH": "may not be opened; check its permissions",
}
_POSTGRES = {
    "53100": "is full; make room and try again, nothing of this was written",
    "53300": "has no connection left; raise max_connections or run fewer processes",
    "25006": "is read-only; connect to the primary",
    "42501": "does not permit this to its user; grant the rights",
    "55P03": "is locked by another program; end that program or try again",
    "57P": "is shutting down or not yet up; try again",
    "08": "cannot be reached any more; check that it runs",
}
_AGAIN = {"40001", "40P01"}  # serialization failure, deadlock: the same again may succeed


@contextmanager
def refusals(engine: Engine) -> Generator[None]:
    """Errors of the database and its driver become ours."""
    try:
        yield
    except Exception as error:
        ours = explain(engine, error)
        if ours is None:
            raise
        raise ours from (None if isinstance(ours, DatabaseUnavailable) else error)


def explain(engine: Engine, error: BaseException) -> StoreError | InputError | None:
    """What an error of the database means, or None if it is none."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    what = _meaning(cause)
    if what:
        return DatabaseUnavailable(f"{where(engine.url)} {what}")
    if isinstance(cause, UnicodeError) or (type(cause).__name__ == "DataError" and is_of_driver(engine, cause)):
        return InputError(f"{where(engine.url)} cannot keep this: {_first_line(cause)}; nothing was written")
    if isinstance(error, SQLAlchemyError) or is_of_driver(engine, cause):
        return StoreError(f"{where(engine.url)}: {_first_line(cause)}; nothing was written")
    return None


def is_of_driver(engine: Engine, error: BaseException) -> bool:
    return isinstance(error, engine.dialect.loaded_dbapi.Error)


def _meaning(cause: BaseException) -> str | None:
    if isinstance(cause, sqlite3.Error):
        name = str(getattr(cause, "sqlite_errorname", ""))
        return next((what for start, what in _SQLITE.items() if name.startswith(start)), None)
    if _is_unanswered(cause):
        return f"cannot be reached: {_first_line(cause).rpartition('failed: ')[2]}; check that it runs and the URL"
    state = str(getattr(cause, "sqlstate", ""))
    return next((what for start, what in _POSTGRES.items() if state.startswith(start)), None)


def _is_unanswered(cause: BaseException) -> bool:
    """psycopg's own error: no connection, or none any more. What the server said of it is in the words only."""
    return getattr(cause, "sqlstate", "") is None and type(cause).__name__ in {"OperationalError", "ConnectionTimeout"}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_gone(engine: Engine, error: BaseException) -> bool:
    """The connection is of no more use: another one may work at once."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    return invalidated or (
        engine.dialect.name == "postgresql"
        and (_is_unanswered(cause or error) or _meaning(cause or error) in (_POSTGRES["08"], _POSTGRES["57P"]))
    )


def is_full(error: BaseException) -> bool:
    """There is no room for all of a batch; there may be for parts of it."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (_meaning(cause or error) or "").startswith("is full")


def is_worth_repeating(error: BaseException) -> bool:
    """Another transaction was in the way: the same again sees what that one wrote."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(error, IntegrityError) or _integrity(cause) or str(getattr(cause, "sqlstate", "")) in _AGAIN


def _integrity(error: BaseException | None) -> bool:
    return type(error).__name__ in {"IntegrityError", "UniqueViolation"}
