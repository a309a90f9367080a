"""What a call of a model is expected to take of a day's budget: set aside with the step that enters the Ask, corrected when it is left.

A guess only has to be near: too low lets the calls in flight go beyond a limit, too high stops runs that had a little left. So it is
the most that the state's last calls took in this process, shadows included; before the first, what a call of the machine took on average
these days; before any, what its prompt may take, at the price of its model. Calls themselves are counted, never guessed: a shadow for
which none was set aside is not asked.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self, TypeAlias

from leverframe.canon import Object, canonical
from leverframe.clock import Micros, day
from leverframe.llm import LLM, cost_of, estimated_tokens
from leverframe.machine import Definition
from leverframe.perform import Draft
from leverframe.prompt import Prompt
from leverframe.reduce import Route, refused, reservable, unreserved
from leverframe.run import Event, Run
from leverframe.store import Spending
from leverframe.usage import NONE, Used, used, whole
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


class _Prompt(NamedTuple):
    """What a prompt may take: its text and a whole window, and the answer."""

    name: str
    shadow: bool
    model: str
    tokens: int
    answer: int

    @classmethod
    def of(cls, prompt: Prompt) -> Self:
        taken = estimated_tokens(prompt.text) + (prompt.window or BUDGET)
        return cls(prompt.name, prompt.shadow, prompt.model or "", taken, prompt.max_tokens or ANSWER_TOKENS)


class Budget:
    """What this process has seen of calls that count against days."""

    def __init__(self, llm: LLM | None, model: str) -> None:
        self._llm, self._model = llm, model
        self._seen: dict[Asked, deque[Used]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._average: dict[str, Guess] = {}
        self._prompts: dict[Asked, list[_Prompt]] = {}  # by hash of the definition and state

    def know(self, machine: str, days: Sequence[Spending]) -> None:
        """What calls of a machine took these days, before this process saw any."""
        calls = sum(one.model_calls for one in days)
        if calls:
            self._average[machine] = Guess(sum(one.tokens for one in days) // calls, sum(one.cost for one in days) // calls)

    def see(self, definition: Definition, line: Event) -> None:
        """A line that was committed."""
        if definition.daily and line.type == "asked" and used(line.body) is not NONE:
            self._seen[definition.name, str(line.body["state"])].append(whole(line.body))

    def reserve(self, definition: Definition, memory: Object, state: str, at: Micros) -> Object:
        """For one question in this state, and its shadows: a field of the event that enters it. Never more than the whole limit, so that
        a first call can be made whatever is guessed, and however many shadows there are."""
        body: Object = {"day": day(at)}
        wanted = 1 + self._shadows(definition, state)
        calls = min(wanted, definition.daily.get("model_calls", wanted))
        body |= {"calls": calls} if calls > 1 else {}
        if limited := definition.daily.keys() & {"tokens", "cost"}:
            found = self._guess(definition, memory, state, calls)
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

    def _shadows(self, definition: Definition, state: str) -> int:
        """How many are asked beside a question: of the prompt that has most, where the memory chooses."""
        return max(Counter(prompt.name for prompt in self._prompts_of(definition, state) if prompt.shadow).values(), default=0)

    def _guess(self, definition: Definition, memory: Object, state: str, calls: int) -> Guess:
        if seen := list(self._seen.get((definition.name, state), ())):  # a copy: answers come while the committer prepares a step
            return Guess(max(each.tokens for each in seen), max(each.cost for each in seen))
        if (average := self._average.get(definition.name)) is not None:
            return Guess(average.tokens * calls, average.cost * calls)
        known = estimated_tokens(canonical(memory))
        prompts = self._prompts_of(definition, state)
        guesses = [self._told(prompts, name, known) for name in {prompt.name for prompt in prompts}]
        return Guess(max(guess.tokens for guess in guesses), max(guess.cost for guess in guesses))

    def _told(self, prompts: "list[_Prompt]", name: str, known: int) -> Guess:
        """The most that a variant of a prompt may take, and all of its shadows."""
        live, beside = (
            [self._first(each, known) for each in prompts if each.name == name and each.shadow is dark] for dark in (False, True)
        )
        tokens = max(each.tokens for each in live) + sum(each.tokens for each in beside)
        return Guess(tokens, max(each.cost for each in live) + sum(each.cost for each in beside))

    def _first(self, prompt: "_Prompt", known: int) -> Guess:
        taken = prompt.tokens + known
        return Guess(taken + prompt.answer, cost_of(self._llm, prompt.model or self._model, taken, prompt.answer))

    def _prompts_of(self, definition: Definition, state: str) -> "list[_Prompt]":
        if (definition.hash, state) not in self._prompts:
            self._prompts[definition.hash, state] = [_Prompt.of(prompt) for prompt in definition.prompts(state)]
        return self._prompts[definition.hash, state]


def denied(definition: Definition, run: Run, draft: Draft, over: str) -> Draft:
    """What is done in place of a draft, where nothing is left of the day for it: only setting aside itself is given up."""
    return Draft(*refused(definition, run, over)) if draft.type == "reserved" else draft
