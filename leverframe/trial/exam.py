"""A model asked the examples of a prompt: does it choose what the example says, and say the same with it?

Each example is asked as the first question of a run whose memory it describes. Words that a model puts in its own way are compared as the
offline model compares them, by the words that matter; everything else must be equal.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Never

from leverframe.canon import Json, Object
from leverframe.errors import LeverframeError, ModelError, ModelRefused, PromptError
from leverframe.llm import LLM, Choices, Picked, Request, pick
from leverframe.llm.examples import CLOSE, as_answer, similarity, slots
from leverframe.machine import Machine, most_of, prompt_names
from leverframe.prompt import BASE, Example, Prompt, render
from leverframe.state import Ask
from leverframe.template import fill
from leverframe.trial.sample import memory_of, text_of
from leverframe.trial.share import Share, share
from leverframe.window import View, Window

AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Question:
    """One example as a question; `unfit` says why it cannot be asked."""

    line: int
    asked: str
    request: Request | None = None
    expected: Picked | None = None
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one question. `answered` is what was picked, `why` why nothing was."""

    question: Question
    answered: Picked | None = None
    why: str = ""

    @property
    def outcome(self) -> bool:
        """Was the right thing picked?"""
        expected = self.question.expected
        return self.answered is not None and expected is not None and self.answered.intent == expected.intent

    @property
    def right(self) -> bool:
        """And the right things said with it, and the right calls made after it?"""
        expected, answered = self.question.expected, self.answered
        if answered is None or expected is None or not self.outcome:
            return False
        return close(expected.fields, answered.fields) and close(list[Json](expected.queue), list[Json](answered.queue))

    def json(self) -> Object:
        expected = self.question.expected
        return {
            "line": self.question.line,
            "example": self.question.asked,
            "expected": _whole(expected) if expected else None,
            "answered": _whole(self.answered) if self.answered else None,
            "outcome": self.outcome,
            "arguments": self.right,
            "why": self.why or self.question.unfit or None,
        }


@dataclass(frozen=True, slots=True)
class Exam:
    """All examples of one variant, in one state."""

    prompt: str
    variant: str
    machine: str
    state: str
    results: tuple[Result, ...]

    @property
    def asked(self) -> list[Result]:
        return [result for result in self.results if not result.question.unfit]

    @property
    def outcome(self) -> Share:
        return share(sum(result.outcome for result in self.asked), len(self.asked))

    @property
    def right(self) -> Share:
        return share(sum(result.right for result in self.asked), len(self.asked))

    def json(self) -> Object:
        return {
            "variant": self.variant,
            "machine": self.machine,
            "state": self.state,
            "outcome": self.outcome.json(),
            "arguments": self.right.json(),
            "unfit": len(self.results) - len(self.asked),
            "examples": [result.json() for result in self.results],
        }


def uses(machines: Iterable[Machine[Never]], name: str) -> list[tuple[Machine[Never], type[Ask[Never]]]]:
    """The states that may be told this prompt."""
    return [
        (machine, state)
        for machine in machines
        for state in machine.states.values()
        if issubclass(state, Ask) and name in prompt_names(state)
    ]


async def examine(
    llm: LLM,
    machine: Machine[Never],
    state: type[Ask[Never]],
    prompt: Prompt,
    *,
    examples: tuple[Example, ...] | None = None,
    model: str = "",
    ticked: Callable[[], None] = lambda: None,
) -> Exam:
    """Asks the model every example (default: the variant's own). Raises ModelRefused; other faults are wrong answers."""
    choices, free = Choices(state.replies, state.threshold, most_of(state)), asyncio.Semaphore(AT_ONCE)

    async def result(example: Example) -> Result:
        question = _question(machine, state, prompt, example, choices, model)
        async with free:
            found = await _result(llm, question)
        ticked()
        return found

    results = await asyncio.gather(*(result(example) for example in (prompt.examples if examples is None else examples)))
    return Exam(prompt.name, prompt.variant or BASE, machine.name, state.name, tuple(results))


async def _result(llm: LLM, question: Question) -> Result:
    if question.request is None:
        return Result(question)
    try:
        _, picked = await pick(llm, question.request)
    except ModelRefused:
        raise
    except (ModelError, PromptError) as error:
        return Result(question, why=f"{type(error).__name__}: {error}"[:300])
    return Result(question, picked)


def _question(
    machine: Machine[Never], state: type[Ask[Never]], prompt: Prompt, example: Example, choices: Choices, model: str
) -> Question:
    asked = text_of(example.when) or str(example.when)
    try:
        memory = memory_of(machine, example.when)
        window = Window()
        window.add("started", {"source": "cli", "memory": memory})
        shown = window.text(View())
        if isinstance(example.when, dict) and "window" not in memory:
            shown += f"{example.when.get('window', '')}\n"
        variables: Object = {**memory, "memory": memory, "window": shown, "choices": choices.described}
        reply = fill(example.reply, {**memory, "memory": memory, **slots(text_of(example.when))}, prompt.where)
        request = Request(
            messages=render(prompt, variables),
            choices=choices,
            model=model or prompt.model or "",
            temperature=prompt.temperature,
            max_tokens=prompt.max_tokens,
            state=state.name,
            prompt=prompt,
            memory=memory,
        )
        return Question(example.line, asked, request, choices.parse(as_answer(reply, choices, 1.0)))
    except LeverframeError as error:
        return Question(example.line, asked, unfit=str(error)[:300])


def _whole(picked: Picked) -> Object:
    """What was picked, with the calls that follow it, for people."""
    return {**picked.json(), **({"queue": list[Json](picked.queue)} if picked.queue else {})}


def close(expected: Json, answered: Json) -> bool:
    """Equal, but for texts of several words: those need most of the words that matter."""
    if isinstance(expected, dict) and isinstance(answered, dict):
        return _all_close(expected, answered)
    if isinstance(expected, list) and isinstance(answered, list):
        return len(expected) == len(answered) and all(map(close, expected, answered))
    if isinstance(expected, str) and isinstance(answered, str) and len(expected.split()) > 1:
        return expected == answered or similarity(answered, expected, {"": 1.0}) >= CLOSE
    return expected == answered and isinstance(expected, bool) == isinstance(answered, bool)


def _all_close(expected: Mapping[str, Json], answered: Mapping[str, Json]) -> bool:
    return expected.keys() == answered.keys() and all(close(expected[name], answered[name]) for name in expected)
