"""What a call of a model is expected to take of a day's budget: set aside with the step that enters the Ask, corrected when it is left.

A guess only has to be near: too low lets the calls in flight go beyond a limit, too high stops runs that had a little left. So it is
the most that the state's last calls took in this process; before the first, what a call of the machine took on average these days;
before any, what its prompt may take. Calls themselves are counted, never guessed.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

from leverframe.canon import Object, canonical
from leverframe.clock import Micros, day
from leverframe.llm import estimated_tokens
from leverframe.machine import Definition
from leverframe.perform import Draft
from leverframe.reduce import Route, refused, reservable, unreserved
from leverframe.run import Event, Run
from leverframe.store import Spending
from leverframe.usage import NONE, Used, used
from leverframe.window import BUDGET

RECENT = 20
"""Calls of a state that say what the next one takes."""
ANSWER_TOKENS = 1000
"""What an answer may take, where its prompt sets no `max_tokens`."""
Asked: TypeAlias = tuple[str, str]  # machine, state


@dataclass(frozen=True, slots=True)
class Guess:
    tokens: int
    cost: int


class Budget:
    """What this process has seen of calls that count against days."""

    def __init__(self) -> None:
        self._seen: dict[Asked, deque[Used]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._average: dict[str, Guess] = {}
        self._prompts: dict[Asked, int] = {}  # by hash of the definition and state: tokens of text and answer

    def know(self, machine: str, days: Sequence[Spending]) -> None:
        """What calls of a machine took these days, before this process saw any."""
        calls = sum(one.model_calls for one in days)
        if calls:
            self._average[machine] = Guess(sum(one.tokens for one in days) // calls, sum(one.cost for one in days) // calls)

    def see(self, definition: Definition, line: Event) -> None:
        """A line that was committed."""
        if definition.daily and line.type == "asked" and (by := used(line.body)) is not NONE:
            self._seen[definition.name, str(line.body["state"])].append(by)

    def reserve(self, definition: Definition, memory: Object, state: str, at: Micros) -> Object:
        """For one call in this state: a field of the event that enters it. Never more than the whole limit, so that a first call can
        be made whatever is guessed."""
        body: Object = {"day": day(at)}
        if limited := definition.daily.keys() & {"tokens", "cost"}:
            found = self._guess(definition, memory, state)
            body |= {name: min(guess, definition.daily[name]) for name, guess in asdict(found).items() if name in limited}
        return {"reserved": body}

    def beginning(self, definition: Definition, memory: Object, at: Micros) -> Object:
        """As `reserve`, for a run that begins in an Ask."""
        asks = definition.daily and definition.states[definition.start].kind == "ask"
        return self.reserve(definition, memory, definition.start, at) if asks else {}

    def entering(self, definition: Definition, run: Run, where: Route, at: Micros) -> Object:
        """As `reserve`, for a step that leads somewhere; nothing where no Ask is entered."""
        return self.reserve(definition, run.memory, where.to, at) if reservable(definition, run, where) else {}

    def missing(self, definition: Definition, run: Run, at: Micros) -> Draft | None:
        """The event that sets a call aside, for an Ask that was entered without, or on another day."""
        if not definition.daily or not unreserved(definition, run, day(at)):
            return None
        return Draft("reserved", {"state": run.state, **self.reserve(definition, run.memory, run.state, at)})

    def _guess(self, definition: Definition, memory: Object, state: str) -> Guess:
        if seen := list(self._seen.get((definition.name, state), ())):  # a copy: answers come while the committer prepares a step
            return Guess(max(each.tokens for each in seen), max(each.cost for each in seen))
        if (average := self._average.get(definition.name)) is not None:
            return average
        return Guess(self._of_prompt(definition, state) + estimated_tokens(canonical(memory)) + BUDGET, 0)

    def _of_prompt(self, definition: Definition, state: str) -> int:
        found = self._prompts.get((definition.hash, state))
        if found is None:
            prompts = definition.prompts(state)
            found = max(estimated_tokens(prompt.text) + (prompt.max_tokens or ANSWER_TOKENS) for prompt in prompts)
            self._prompts[definition.hash, state] = found
        return found


def denied(definition: Definition, run: Run, draft: Draft, over: str) -> Draft:
    """What is done in place of a draft, where nothing is left of the day for it: only setting aside itself is given up."""
    return Draft(*refused(definition, run, over)) if draft.type == "reserved" else draft
