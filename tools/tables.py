"""The shop's own tables, in the same database as the runs, so that a booking commits with the step that made it.

Tools import this module when they run, so that declaring or drawing a machine loads no database. Money is kept in cents.
"""

from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import Engine, NullPool, make_url
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, create_engine, func, inspect, select


class Shop(SQLModel, registry=registry()):
    """Metadata of the shop's own."""


class Orders(Shop, table=True):
    id: int = Field(primary_key=True)
    customer: str = Field(index=True)
    article: str
    cents: int


class Refunds(Shop, table=True):
    payment: str = Field(primary_key=True)
    order_id: int = Field(foreign_key="orders.id", index=True)
    cents: int
    booked_on: date | None = Field(default=None, sa_column_kwargs={"server_default": func.current_date()})


class Stock(Shop, table=True):
    article: str = Field(primary_key=True)
    units: int


def cents(amount: Decimal) -> int:
    return int(amount * 100)


def euros(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


# ── the database ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

_engine: list[Engine] = []  # the one in use
_LOCK = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(1042)"}


def prepare(database_url: str) -> None:
    """Connect; make the tables with the demo's rows where there are none. Safe from many processes at once."""
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if _engine and _engine[0].url == url:
        return
    engine = create_engine(url, poolclass=NullPool)  # a few reads a run: nothing stays open for them
    if not inspect(engine).has_table("stock"):
        _make(engine)
    _engine[:] = [engine]


def reading() -> Session:
    """A session to read with. What writes is a `local` tool, and gets the session of its run."""
    if not _engine:
        raise RuntimeError("no database yet; call tools.prepare(database_url) first, as `leverframe` does before a run")
    return Session(_engine[0])


def today(session: Session) -> date:
    """The date where the database is: what a row's default says, too."""
    return session.exec(select(func.current_date())).one()


# ── the demo's rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────

ARTICLES = [("tea mug", 12_50), ("notebook", 8_90), ("desk lamp", 129_00), ("bookshelf", 249_00), ("wool blanket", 45_00)]
CUSTOMERS = ["ada", "ben", "chiara", "dmitri", "esra", "finn", "gloria"]
REFUNDED = [(1007, 8_90, 200), (1021, 12_50, 61), (1035, 45_00, 20)]  # order, cents, days ago; all of the customer of 1042
UNITS = {"tea mug": 120, "notebook": 300, "desk lamp": 8, "bookshelf": 2, "wool blanket": 0}


def _make(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(_LOCK[engine.dialect.name])
        if not inspect(connection).has_table("stock"):
            Shop.metadata.create_all(connection)
            with Session(connection) as session:
                _fill(session)
                session.commit()
        connection.commit()


def _fill(session: Session) -> None:
    for number in range(1001, 1051):
        article, price = ARTICLES[number % len(ARTICLES)]
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        session.add(Orders(id=number, customer=f"{customer}@example.com", article=article, cents=price))
    session.flush()
    for order_id, amount, days in REFUNDED:
        booked_on = today(session) - timedelta(days=days)
        session.add(Refunds(payment=f"seed-{order_id}", order_id=order_id, cents=amount, booked_on=booked_on))
    session.add_all(Stock(article=article, units=units) for article, units in UNITS.items())
