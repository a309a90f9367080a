"""The offline model `examples`: deterministic, free, and no model at all.

It answers with the closest of the examples that a prompt declares beside its text, and with the prompt's `otherwise` when none is
close. Close means: many of the same words, the rare ones counting more; any number matches any number. Values in an example's
reply are templates over the run's memory, so amounts and ids are the run's own. It understands nothing. It is there to try a
machine before anybody has a key, to write tests, and to make demonstrations repeatable; a run remembers that it is offline.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log
from typing import ClassVar

from leverframe.canon import Json, Object
from leverframe.errors import BadCompletion, PromptError
from leverframe.llm.choices import Choices
from leverframe.llm.seam import Answer, Request, Usage, request_hash
from leverframe.prompt import Example, Prompt
from leverframe.template import fill

CLOSE = 0.5
"""From this similarity on an example counts as close."""

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_STOP = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "do", "does", "for", "from", "had", "has"}
    | {
        "have",
        "hello",
        "hi",
        "i",
        "if",
        "in",
        "is",
        "it",
        "its",
        "me",
        "my",
        "of",
        "on",
        "or",
        "our",
        "please",
        "so",
        "that",
        "the",
    }
    | {"their", "them", "there", "they", "this", "to", "us", "was", "we", "were", "will", "with", "would", "you", "your"}
)
_NOT = frozenset({"not", "no", "never", "none", "without", "cannot"})
_SLOT = "#"
_LONGEST, _MOST = 4000, 50


@dataclass(frozen=True, slots=True)
class _Match:
    score: float
    text: str
    example: Example


class ExamplesLLM:
    """See the module. An example's `when` is

    a text          compared with every text in the memory, the closest counts
    memory fields   texts are compared, null is null, other values are equal, `{}` is any object; the further key `window` is a
                    phrase that must stand in the rendered user message. More conditions win over fewer.

    An example's `reply` to an Ask with `many` may hold further calls, as a list under `then`.
    Raises PromptError: a prompt without examples, a reply that does not fit the choices.
    """

    offline: ClassVar[bool] = True

    def __init__(self, close: float = CLOSE) -> None:
        self._close = close

    async def ask(self, request: Request) -> Answer:
        prompt = request.prompt
        if prompt is None or prompt.otherwise is None:
            where = prompt.where if prompt else f"state {request.state}"
            raise PromptError(
                f"{where}: the offline model answers from examples; declare 'examples' and 'otherwise', or use a model"
            )
        chosen = next(self._replies(prompt, request), None)
        if chosen is None:
            chosen = self._checked(prompt, request, prompt.otherwise, request.memory, 1.0)
        return Answer(chosen, Usage(cost=0), "examples", request_hash(request.messages))

    def _replies(self, prompt: Prompt, request: Request) -> Iterator[Json]:
        """The replies of the close examples, the closest first, as far as they can be given here."""
        for match in sorted(self._matches(prompt, request), key=lambda match: -match.score):
            variables: dict[str, Json] = {**request.memory, "memory": dict(request.memory), **slots(match.text)}
            try:
                yield self._checked(prompt, request, match.example.reply, variables, min(1.0, match.score))
            except PromptError:
                if not _has_template(match.example.reply):
                    raise  # it could never be given; one with templates may only lack what is null in this run

    def _matches(self, prompt: Prompt, request: Request) -> Iterator[_Match]:
        rarity = _rarity(frozenset(text for example in prompt.examples for text in _patterns(example.when)))
        shown = " ".join(" ".join(message.content for message in request.messages if message.role == "user").casefold().split())
        for example in prompt.examples:
            found = self._compared(example.when, request.memory, shown, rarity)
            if found:
                yield _Match(*found, example)

    def _compared(
        self, when: str | Object, memory: Mapping[str, Json], shown: str, rarity: Mapping[str, float]
    ) -> tuple[float, str] | None:
        if isinstance(when, str):
            found = max(((similarity(text, when, rarity), text) for text in _texts(dict(memory))), default=(0.0, ""))
            return found if found[0] >= self._close else None
        scores: list[tuple[float, str]] = []
        met = 0
        for name, wanted in when.items():
            if name == "window" and name not in memory:
                if " ".join(str(wanted).casefold().split()) not in shown:
                    return None
                met += 1
                continue
            value = memory.get(name)
            if isinstance(wanted, str) and isinstance(value, str):
                scores.append((similarity(value, wanted, rarity), value))
            elif not _equal(wanted, value):
                return None
            else:
                met += 1
        if any(score < self._close for score, _ in scores):
            return None
        mean = sum(score for score, _ in scores) / len(scores) if scores else 1.0
        return mean + 0.05 * met, scores[0][1] if scores else ""

    def _checked(self, prompt: Prompt, request: Request, reply: Object, variables: Mapping[str, Json], confidence: float) -> Json:
        """The reply filled in, if it is one of the choices. Raises PromptError."""
        filled = as_answer(fill(reply, variables, prompt.where), request.choices, confidence)
        try:
            request.choices.parse(filled)
        except BadCompletion as error:
            raise PromptError(f"{prompt.where}: an example's reply does not fit: {error}") from None
        return filled


def as_answer(reply: Json, choices: Choices, confidence: float) -> Json:
    """An example's reply as a model gives it: with a confidence where one is asked for, and where an answer may make several calls, a
    list of them, with those that the example has as `then`."""
    said = dict(reply) if isinstance(reply, dict) else {}
    several = choices.most > 1
    more: Json = said.pop("then", None) if several else None
    every = [one if isinstance(one, dict) else {} for one in (said, *(more if isinstance(more, list) else []))]
    if choices.threshold is not None:
        every = [{"intent": one.get("intent"), "confidence": round(confidence, 2), **one} for one in every]
    return list[Json](every) if several else every[0]


def similarity(text: str, pattern: str, rarity: Mapping[str, float]) -> float:
    """0 to 1: what part of the pattern's words are in the text, weighed by rarity. Words the text has besides count little."""
    (said, denied), (wanted, unwanted) = _words(text[:_LONGEST]), _words(pattern[:_LONGEST])
    unknown = rarity.get("", 1.0)
    shared = sum(rarity.get(word, unknown) for word in said & wanted)
    missing = sum(rarity.get(word, unknown) for word in wanted - said)
    further = sum(rarity.get(word, unknown) for word in said - wanted)
    whole = shared + 0.9 * missing + 0.1 * further
    return (shared / whole if whole else 0.0) * (1.0 if denied == unwanted else 0.5)


@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[frozenset[str], bool]:
    """The words that matter, their endings cut, numbers as one slot; and whether something is denied."""
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(text)]
    denied = any(word in _NOT or word.endswith("n't") for word in words)
    return frozenset(_stem(word) for word in words if word not in _STOP), denied


def _stem(word: str) -> str:
    if word[0].isdigit():
        return _SLOT
    for ending in ("'s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


@lru_cache(maxsize=256)
def _rarity(patterns: frozenset[str]) -> Mapping[str, float]:
    """A weight for each word of the examples: little for one that stands in all of them. Under "": that of any other word."""
    words = [word for pattern in patterns for word in _words(pattern[:_LONGEST])[0]]
    weights = {word: log(1 + len(patterns) / words.count(word)) for word in set(words)}
    weights[_SLOT] = 0.3 * weights.get(_SLOT, 1.0)  # any number matches any, so that says little
    return weights | {"": log(1 + max(1, len(patterns)))}


def _patterns(when: str | Object) -> list[str]:
    return _texts(when if isinstance(when, str) else {name: wanted for name, wanted in when.items() if name != "window"})


def _texts(value: Json, depth: int = 0) -> list[str]:
    """The texts in a value, not too deep and not too many."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, dict | list) or depth > 2:
        return []
    items = value.values() if isinstance(value, dict) else value
    return [text for item in items for text in _texts(item, depth + 1)][:_MOST]


def _equal(wanted: Json, value: Json) -> bool:
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(_equal(item, value.get(name)) for name, item in wanted.items())
    return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)


def _has_template(value: Json) -> bool:
    return any("{{" in text or "{%" in text for text in _texts(value, -60))


def slots(text: str) -> Object:
    """What else a reply's templates may use: the text that matched, and the numbers in it."""
    numbers: list[Json] = [
        float(number) if "." in number else int(number) for number in _NUMBER.findall(text)[:_MOST] if len(number) < 40
    ]
    return {"text": text, "numbers": numbers}
