"""The days' budgets of a batch: their rows locked once, kept up to date in memory, and written once, however many runs spend.

Runs that enter an Ask in one transaction see what those before them set aside, so together they do not overdraw.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from leverframe.errors import Overdrawn
from leverframe.limits import DAILY
from leverframe.store.records import Spend

if TYPE_CHECKING:
    from leverframe.store.batch import Tx

Day: TypeAlias = tuple[str, str]  # machine, day


class Totals(NamedTuple):
    """In the order of the columns."""

    model_calls: int
    tokens: int
    cost: int


class Purse:
    """What this transaction knows of `spending`, and what it has changed."""

    def __init__(self) -> None:
        self.totals: dict[Day, Totals] = {}
        self.changed: dict[Day, None] = {}

    def open(self, tx: "Tx", spends: Iterable[Spend]) -> None:
        """Lock the rows of these days, in one order for all processes; a day's first spender makes its row."""
        for machine, day in sorted({(spend.machine, spend.day) for spend in spends} - self.totals.keys()):
            found = tx.all(tx.sql.purse, machine, day) or tx.all(tx.sql.open_purse, machine, day, 0, 0, 0)
            self.totals[machine, day] = Totals(*found[0])

    def spend(self, spends: Sequence[Spend]) -> None:
        """All of them or, where a reservation goes beyond a limit, none. Raises Overdrawn."""
        after: dict[Day, Totals] = {}
        for spend in spends:
            place = (spend.machine, spend.day)
            so_far = after.get(place) or self.totals[place]
            more = Totals(spend.model_calls, spend.tokens, spend.cost)
            if (limit := _beyond(spend, so_far, more)) is not None:
                raise Overdrawn(_said(spend, limit, so_far), limit=DAILY + limit)
            after[place] = Totals(*map(sum, zip(so_far, more, strict=True)))
        self.totals |= after
        self.changed |= dict.fromkeys(after)

    def take(self) -> list[tuple[int | str, ...]]:
        """The rows to write; then there are none."""
        rows: list[tuple[int | str, ...]] = [(*self.totals[day], *day) for day in self.changed]
        self.changed.clear()
        return rows


def _beyond(spend: Spend, so_far: Totals, more: Totals) -> str | None:
    """The limit that stands against a reservation. What was used up may be beyond it already: answers are longer than expected."""
    for name, limit in (spend.limits or {}).items():
        have, wanted = so_far[Totals._fields.index(name)], more[Totals._fields.index(name)]
        if have >= limit or have + wanted > limit:
            return name
    return None


def _said(spend: Spend, limit: str, so_far: Totals) -> str:
    most = (spend.limits or {})[limit]
    used = so_far[Totals._fields.index(limit)]
    return f"machine {spend.machine}: {used:,} of {most:,} {limit} of {spend.day} (UTC) are used up or set aside; nothing was written"
