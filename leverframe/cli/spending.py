"""budget: what machines used up of their days, beside their limits, and which runs stand at one."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

import typer

from leverframe.canon import Json, Object
from leverframe.cli import doors, printed, shown
from leverframe.cli.app import AsJson, command, print_json
from leverframe.clock import SECOND, Micros, day
from leverframe.errors import UnknownMachine, did_you_mean
from leverframe.project import AnyMachine, find
from leverframe.project.names import status_of

if TYPE_CHECKING:
    from leverframe.store import Row, Spending, Store

DAY: Micros = 86_400 * SECOND
Limits: TypeAlias = Mapping[str, Mapping[str, int]]
"""Of the day, by machine: of model_calls, tokens and cost those that are limited."""


@command()
def budget(
    machine: Annotated[str | None, typer.Argument(metavar="MACHINE", help="Only of this machine.")] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="So many days of UTC, today among them.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Show what machines used up a day, beside their limits, and the runs that stand at one."""
    limits = _limits(doors.loaded(find()))

    async def work(store: "Store") -> None:
        known = {*limits, *await store.machines()}
        if machine is not None and machine not in known:
            raise UnknownMachine(
                f"no machine is called {machine!r}; there are {', '.join(sorted(known))}.{did_you_mean(machine, sorted(known))}"
            )
        now = store.clock.now()
        spent = await store.spending(machine, since=day(max(0, now - (days - 1) * DAY)))
        spent = _with_today(machine, spent, limits, day(now))
        standing = await _at_limits(store, [machine] if machine else sorted(known))
        if as_json:
            print_json(_json(spent, limits, standing, now))
        else:
            _print(spent, limits, standing, now)

    doors.with_store(work)


def _limits(machines: Mapping[str, AnyMachine]) -> Limits:
    """Of the machines as they are now; one without limits of the day has none."""
    return {
        name: cast("dict[str, int]", found.limits.daily.json() if found.limits.daily else {}) for name, found in machines.items()
    }


async def _at_limits(store: "Store", machines: Sequence[str]) -> "list[Row]":
    """Their runs that are not over, and took `exceeded` or wait for somebody to grant more."""
    from leverframe.reduce import LIMIT_REACHED

    found: list[Row] = []
    for name in machines:
        async for row in store.unfinished(name):
            if row.run.exceeded or (row.run.reason or "").startswith(LIMIT_REACHED):
                found.append(row)
    return found


# ── for programs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _json(spent: "Sequence[Spending]", limits: Limits, standing: "Sequence[Row]", now: Micros) -> Object:
    days: list[Json] = [
        {
            "machine": one.machine,
            "day": one.day,
            **_amounts(one.model_calls, one.tokens, one.cost),
            "limits": _limited(limits.get(one.machine)),
        }
        for one in spent
    ]
    runs: list[Json] = [{**shown.brief(row, now), "exceeded": row.run.exceeded} for row in standing]
    return {"today": day(now), "days": days, "at_limit": runs}


def _amounts(calls: int | None, tokens: int | None, cost: int | None) -> Object:
    return {"model_calls": calls, "tokens": tokens, "cost_usd": None if cost is None else cost / 1_000_000}


def _limited(limits: Mapping[str, int] | None) -> Object:
    found = limits or {}
    return _amounts(found.get("model_calls"), found.get("tokens"), found.get("cost"))


# ── for people ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _print(spent: "Sequence[Spending]", limits: Limits, standing: "Sequence[Row]", now: Micros) -> None:
    to = printed.console()
    if spent:
        head = ("machine", "day (UTC)", "model calls", "tokens", "dollars")
        printed.columns(to, [head, *(_row(one, limits.get(one.machine, {})) for one in spent)])
    else:
        typer.echo("nothing used up; Limits(daily=Daily(…)) sets limits of the day")
    if standing:
        to.print()
        cells = [(row.run.id, row.run.machine, row.run.state, row.run.reason or "took exceeded") for row in standing]
        printed.columns(to, cells, [status_of(row, now) for row in standing])


def _row(one: "Spending", limits: Mapping[str, int]) -> tuple[str, ...]:
    def of(used: int, limit: int | None, written: Callable[[int], str]) -> str:
        return written(used) if limit is None else f"{written(used)} of {written(limit)}"

    calls = of(one.model_calls, limits.get("model_calls"), "{:,}".format)
    tokens = of(one.tokens, limits.get("tokens"), "{:,}".format)
    return one.machine, one.day, calls, tokens, of(one.cost, limits.get("cost"), _dollars)


def _dollars(cost: int) -> str:
    return f"{cost / 1_000_000:.2f}"


def _with_today(machine: str | None, spent: "Sequence[Spending]", limits: Limits, today: str) -> "list[Spending]":
    """Those, and of each machine with limits today, on which nothing may have been used up."""
    from leverframe.store import Spending

    there = {(one.machine, one.day) for one in spent}
    idle = [name for name, found in limits.items() if found and machine in (None, name) and (name, today) not in there]
    newest = sorted([*spent, *(Spending(name, today, 0, 0, 0) for name in idle)], key=lambda one: one.day, reverse=True)
    return sorted(newest, key=lambda one: one.machine)
