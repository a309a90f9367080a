"""The statements of the writing side, built from the tables and compiled once to the text that the driver takes.

SQLAlchemy's execution would be half the cost of a lone step, so the committer hands these texts to the driver's own cursor. Rows
are tuples: each statement lists its parameters in the order in which they stand here.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    Executable,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    not_,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import Select, Update

from leverframe.run import OVER
from leverframe.store.tables import SUSPECT, TABLES

_runs, _effects, _tasks, _inbound, _pins = (
    TABLES[name].c for name in ("runs", "effects", "human_tasks", "inbound", "prompt_pins")
)
_spending = TABLES["spending"].c
GUARD = (
    "id",
    "fence",
    "seq",
    "head_hash",
    "status",
    "def_hash",
    "parent",
    "lease_owner",
    "lease_until",
    "wake_at",
    "want",
    "want_by",
    "inbox",
)
SUMS = ("model_calls", "tokens", "cost")  # of spending
CHANGES = ("status", "attempts", "first_at", "marked_at", "done_at", "error", "result")  # of an effect that is known


class Statements:
    """The texts for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._postgres = dialect.name == "postgresql"
        self._inserts()
        self._steps()
        self._small_changes()
        self._questions()
        self._purses()

    def many(self, values: Sequence[str]) -> Any:
        """Many values as the one parameter that `_among` takes."""
        return list(values) if self._postgres else json.dumps(list(values))

    def _inserts(self) -> None:
        self.insert = {name: self._text(insert(table), table.columns.keys()) for name, table in TABLES.items()}
        self.upsert_effect = self._text(self._upsert_effect(), TABLES["effects"].columns.keys())
        dialect_insert = postgresql.insert if self._postgres else sqlite.insert
        table, pins = TABLES["definitions"], TABLES["prompt_pins"]
        self.insert_definition = self._text(dialect_insert(table).on_conflict_do_nothing(), table.columns.keys())
        self.insert_pin = self._text(dialect_insert(pins).on_conflict_do_nothing(), pins.columns.keys())

    def _upsert_effect(self) -> Executable:
        if self._postgres:
            new = postgresql.insert(TABLES["effects"])
            return new.on_conflict_do_update(index_elements=["id"], set_={name: new.excluded[name] for name in CHANGES})
        other = sqlite.insert(TABLES["effects"])
        return other.on_conflict_do_update(index_elements=["id"], set_={name: other.excluded[name] for name in CHANGES})

    def _steps(self) -> None:
        """What a commit changes on the row: `step` while the holder goes on, `turn` when more changes, `move` its definition."""
        step = ["state", "execution", "seq", "head_hash", "updated_at", "lease_until"]
        turn = [*step, "status", "lease_owner", "wake_at", "want", "want_by"]
        calm: list[tuple[Column[Any], ColumnElement[Any]]] = [(_runs.claims, literal_column("0"))]
        taken = (_runs.inbox, _runs.inbox - bindparam("taken"))
        self.step = self._text(_change(step, calm), [*step, "at_id"])
        self.step_memory = self._text(_change([*step, "memory"], calm), [*step, "memory", "at_id"])
        self.turn = self._text(_change(turn, [*calm, taken]), [*turn, "taken", "at_id"])
        self.move = self._text(
            _change(["def_hash"], []), ["def_hash", "at_id"]
        )  # apart: it makes the database look for the definition
        self.turn_memory = self._text(_change([*turn, "memory"], [*calm, taken]), [*turn, "memory", "taken", "at_id"])

    def _small_changes(self) -> None:
        claim = ["lease_owner", "lease_until", "wake_at"]
        fence, counted = _runs.fence + literal_column("1"), _runs.claims + literal_column("1")
        self.claim_alone = self._text(_change(claim, [(_runs.fence, fence), (_runs.claims, counted)]), [*claim, "at_id"])
        among = case((_calm(), counted), else_=_runs.claims)
        self.claim_among = self._text(_change(claim, [(_runs.fence, fence), (_runs.claims, among)]), [*claim, "at_id"])
        release: list[tuple[Column[Any], ColumnElement[Any]]] = [
            (_runs.lease_owner, null()),
            (_runs.lease_until, null()),
            (_runs.claims, literal_column("0")),
        ]
        self.release = self._text(_change(["wake_at"], release), ["wake_at", "at_id"])
        self.beat = self._text(_change(["lease_until"], []), ["lease_until", "at_id"])
        self.want = self._text(_change(["want", "want_by", "wake_at"], []), ["want", "want_by", "wake_at", "at_id"])
        arrived = [(_runs.inbox, _runs.inbox + literal_column("1"))]
        self.poke = self._text(_change(["wake_at"], arrived), ["wake_at", "at_id"])
        consume = update(TABLES["inbound"]).values(consumed=bindparam("by_seq"))
        here = and_(_inbound.source == bindparam("at_source"), _inbound.key == bindparam("at_key"), _inbound.consumed.is_(None))
        self.consume = self._text(consume.where(here), ["by_seq", "at_source", "at_key"])
        self._task_changes()

    def _task_changes(self) -> None:
        names = ["status", "decided_at", "decided_by", "via", "answer"]
        to: list[Any] = [(_tasks[name], bindparam(f"to_{name}")) for name in names]
        decide = update(TABLES["human_tasks"]).ordered_values(*to)
        open_ = and_(_tasks.id == bindparam("at_id"), _tasks.status == literal_column("'open'"))
        self.decide = self._text(decide.where(open_), [*(f"to_{name}" for name in names), "at_id"])
        close = update(TABLES["human_tasks"]).ordered_values(to[0])
        self.close = self._text(close.where(open_), ["to_status", "at_id"])

    def _questions(self) -> None:
        guard = select(*(_runs[name] for name in GUARD))
        if self._postgres:
            locked = guard.where(self._among(_runs.id)).order_by(_runs.id).with_for_update(skip_locked=True)
        else:
            locked = guard.where(self._among(_runs.id))
        self.lock = self._text(locked, ["many"])
        self.exist = self._text(select(_runs.id).where(self._among(_runs.id)), ["many"])
        self.runs = self._text(select(*_runs).where(self._among(_runs.id)), ["many"])
        over: list[Any] = [literal_column(f"'{status}'") for status in sorted(OVER)]
        children = select(_runs.id).where(_runs.parent == bindparam("of"), _runs.status.not_in(over))
        self.children = self._text(children, ["of"])
        known = select(_runs.start_key, _runs.id, _runs.start_hash, _runs.fence)
        mine = and_(_runs.tenant == bindparam("of_tenant"), _runs.machine == bindparam("of_machine"))
        self.started = self._text(known.where(mine, self._among(_runs.start_key)), ["of_tenant", "of_machine", "many"])
        self.task = self._text(select(*_tasks).where(_tasks.id == bindparam("at_id")), ["at_id"])
        waiting = select(*_inbound).where(self._among(_inbound.run_id), _inbound.consumed.is_(None))
        self.waiting = self._text(waiting.order_by(_inbound.at, _inbound.source, _inbound.key), ["many"])
        arrived = select(_inbound.request_hash, _inbound.run_id)
        here = and_(_inbound.source == bindparam("at_source"), _inbound.key == bindparam("at_key"))
        self.arrived = self._text(arrived.where(here), ["at_source", "at_key"])
        last = select(*_pins).where(_pins.prompt == bindparam("of")).order_by(_pins.number.desc()).limit(bindparam("at_most"))
        self.last_pin = self._text(last.offset(literal_column("0")), ["of", "at_most"])
        self._due()

    def _purses(self) -> None:
        """A day's row is locked by whoever reads or makes it, and written as a whole."""
        sums = [_spending[name] for name in SUMS]
        here = and_(_spending.machine == bindparam("at_machine"), _spending.day == bindparam("at_day"))
        found = select(*sums).where(here)
        self.purse = self._text(found.with_for_update() if self._postgres else found, ["at_machine", "at_day"])
        new = (postgresql.insert if self._postgres else sqlite.insert)(TABLES["spending"])
        made = new.on_conflict_do_update(index_elements=["machine", "day"], set_={"day": new.excluded.day})
        self.open_purse = self._text(made.returning(*sums), TABLES["spending"].columns.keys())
        to: list[Any] = [(_spending[name], bindparam(f"to_{name}")) for name in SUMS]
        spend = update(TABLES["spending"]).ordered_values(*to).where(here)
        self.spend = self._text(spend, [*(f"to_{name}" for name in SUMS), "at_machine", "at_day"])

    def _due(self) -> None:
        due = and_(_runs.wake_at <= bindparam("by_now"), _runs.wake_at.is_not(None))
        free = or_(_runs.lease_owner.is_(None), _runs.lease_until < bindparam("by_lease"))
        names = ["by_now", "by_lease", "at_most"]
        self.due = self._text(self._first(and_(due, free, _calm())), names)
        self.suspects = self._text(self._first(and_(due, free, not_(_calm()))), names)
        held = and_(due, _runs.lease_until >= bindparam("by_lease"), _runs.lease_owner != bindparam("by_owner"))
        owners = select(_runs.lease_owner).distinct().where(held)
        self.holders = self._text(owners, ["by_now", "by_lease", "by_owner"])
        theirs, names = and_(due, self._among(_runs.lease_owner)), ["by_now", "many", "at_most"]
        self.due_of = self._text(self._first(and_(theirs, _calm())), names)
        self.suspects_of = self._text(self._first(and_(theirs, not_(_calm()))), names)

    def _first(self, condition: ColumnElement[bool]) -> Select[Any]:
        found = select(_runs.id).where(condition).order_by(_runs.wake_at).limit(bindparam("at_most")).offset(literal_column("0"))
        return found.with_for_update(skip_locked=True) if self._postgres else found

    def _among(self, column: Column[Any]) -> ColumnElement[bool]:
        """The column is one of the values in the one parameter `many`, whatever their number: one text for all batches."""
        if self._postgres:
            return column == func.any(bindparam("many", type_=postgresql.ARRAY(column.type)))
        each = func.json_each(bindparam("many")).table_valued("value")
        return column.in_(select(each.c.value))

    def _text(self, statement: Any, names: Sequence[str]) -> str:
        """The statement as text; it must want its parameters in this order."""
        compiled = statement.compile(dialect=self._dialect)
        assert compiled.positiontup == list(names), (compiled.positiontup, names)
        return str(compiled)


_known: dict[str, Statements] = {}


def statements(dialect: Dialect) -> Statements:
    """The texts for this dialect. Making them takes 20 ms and more, so it is done once."""
    if dialect.name not in _known:
        _known[dialect.name] = Statements(dialect)
    return _known[dialect.name]


def _calm() -> ColumnElement[bool]:
    return _runs.claims < literal_column(str(SUSPECT))


def _change(names: Sequence[str], more: Sequence[tuple[Column[Any], ColumnElement[Any]]]) -> Update:
    values: list[Any] = [(_runs[name], bindparam(name)) for name in names]
    return update(TABLES["runs"]).ordered_values(*values, *more).where(_runs.id == bindparam("at_id"))
