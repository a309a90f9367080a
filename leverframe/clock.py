"""Time is passed in. This is the one module that reads the machine's clock; everything else asks a `Clock`.

Times are whole microseconds since 1970 in UTC (`int`), in code and in the database alike. The *steady* clock only measures how
long something took in this process: a lease is never trusted past it, whatever NTP does to the wall clock.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

Micros = int
SECOND: Micros = 1_000_000


class Clock(Protocol):
    """What the engine knows about time. `SystemClock` is the real one, `leverframe.testing.FakeClock` the one of tests."""

    def now(self) -> Micros:
        """Microseconds since 1970, UTC."""
        ...

    def steady(self) -> float:
        """Seconds of a clock that never goes back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Until that much time has passed on this clock."""
        ...


class SystemClock:
    def now(self) -> Micros:
        return time.time_ns() // 1000

    def steady(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # a quarter of what declaring an agent may cost

        await asyncio.sleep(seconds)


def micros(span: timedelta) -> Micros:
    return span // timedelta(microseconds=1)


def span(length: Micros) -> str:
    """`3 days`, `90 minutes`, for people."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if length >= size * SECOND and length % (size * SECOND) == 0:
            return f"{length // (size * SECOND)} {unit}{'' if length == size * SECOND else 's'}"
    return f"{length / SECOND:g} seconds"


def iso(at: Micros) -> str:
    """`2026-11-21T03:26:00Z`, for people."""
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(at: Micros) -> str:
    """`2026-11-21`: the day in UTC, what budgets are kept by."""
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%d")
