"""The databases that tests run on are real, fresh and strict."""

import pytest
from sqlalchemy import create_engine, text


def test_every_test_gets_an_empty_database_of_its_own(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE mine (id INTEGER)"))
    engine.dispose()


def test_and_so_does_the_next_one(database_url: str) -> None:
    test_every_test_gets_an_empty_database_of_its_own(database_url)


@pytest.mark.postgres
def test_postgres_syncs_what_it_acknowledges(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        shown = {name: connection.scalar(text(f"SHOW {name}")) for name in ("fsync", "synchronous_commit")}
    engine.dispose()
    assert shown == {"fsync": "on", "synchronous_commit": "on"}
