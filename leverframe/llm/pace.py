"""How fast a provider is asked: so many requests and tokens a minute, in the order in which they came, for the whole process.

A request takes its place when it comes, and waits until that is due; so nobody is overtaken, and nobody needs a queue. A provider that
says when it wants to be asked again is left alone until then: whoever comes meanwhile is told at once, and can ask another model.
"""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from leverframe.clock import Clock, SystemClock
from leverframe.errors import ModelUnavailable, Spent
from leverframe.llm.endpoints import Endpoint

MINUTE = 60.0
LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class Rate:
    """The most in a minute; None: no limit."""

    requests: float | None = None
    tokens: float | None = None


class _Bucket:
    """Holds what a minute allows, and fills as time goes by. Taking more than it holds is a debt, and a time to wait."""

    def __init__(self, most: float, now: float) -> None:
        self._most, self._level, self._at = most, most, now

    def take(self, amount: float, now: float) -> float:
        """Seconds until it is there."""
        self._level = min(self._most, self._level + (now - self._at) * self._most / MINUTE) - min(amount, self._most)
        self._at = now
        return max(0.0, -self._level * MINUTE / self._most)

    def give_back(self, amount: float) -> None:
        """What was not used after all; less than nothing where it was more."""
        self._level += max(-self._most, min(amount, self._most))


class _Allowed:
    """What is allowed of one provider."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.requests = _Bucket(rate.requests, now) if rate.requests else None
        self.tokens = _Bucket(rate.tokens, now) if rate.tokens else None

    def take(self, tokens: float, now: float) -> float:
        """Seconds until it is this request's turn."""
        return max(
            self.requests.take(1, now) if self.requests else 0.0,
            self.tokens.take(tokens, now) if self.tokens else 0.0,
        )

    def give_back(self, requests: float, tokens: float) -> None:
        if self.requests:
            self.requests.give_back(requests)
        if self.tokens:
            self.tokens.give_back(tokens)


class _Known:
    """What one process knows: what is allowed of whom, and which models want to be left alone until when."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.allowed: dict[tuple[str, str, Rate], _Allowed] = {}
        self.rests: dict[tuple[str, str], float] = {}


_process = _Known()


class Pace:
    """The pace of this process; under a clock that is not the machine's, a pace of its own."""

    def __init__(self, rates: Mapping[str, Rate], clock: Clock) -> None:
        self._rates, self._clock = rates, clock
        self._known = _process if isinstance(clock, SystemClock) else _Known()

    async def enter(self, endpoint: Endpoint, tokens: int) -> int:
        """Waits until it is this request's turn; gives the tokens that were reckoned with. Raises ModelUnavailable."""
        now = self._clock.steady()
        with self._known.lock:
            if (rest := self._known.rests.get((endpoint.model, endpoint.base_url), now) - now) > 0:
                raise ModelUnavailable(
                    f"{endpoint.model}: the provider wants to be left alone for {rest:.3g} s more", retry_after=rest
                )
            allowed = self._allowed(endpoint, now)
            wait = allowed.take(tokens, now)
        if wait > 0:
            try:
                await self._clock.sleep(wait)
            except asyncio.CancelledError:
                with self._known.lock:
                    allowed.give_back(1, tokens)
                raise
        return tokens

    def settle(self, endpoint: Endpoint, reserved: int, used: Spent) -> None:
        """What was reckoned with is put right by what was used."""
        with self._known.lock:
            allowed = self._allowed(endpoint, self._clock.steady())
            allowed.give_back(0, reserved - used.input_tokens - used.output_tokens)

    def rest(self, endpoint: Endpoint, seconds: float) -> None:
        """The provider wants to be left alone for so long."""
        where, until = (endpoint.model, endpoint.base_url), self._clock.steady() + min(seconds, LONGEST)
        with self._known.lock:
            self._known.rests[where] = max(self._known.rests.get(where, until), until)

    def _allowed(self, endpoint: Endpoint, now: float) -> _Allowed:
        rate = self._rates.get(endpoint.provider, Rate())
        where = (endpoint.provider, endpoint.base_url, rate)
        if where not in self._known.allowed:
            self._known.allowed[where] = _Allowed(rate, now)
        return self._known.allowed[where]
