"""Prompts: what the model is told (factor 2), in files people own: `prompts/<agent>/<state>.md`.

A file is YAML front matter (model, temperature, max_tokens, window, context, variables, weight, shadow, examples, otherwise) and the sections
`# system`, `# user`, `# assistant`, each a Jinja2 template; what prompts share stands in partials, `prompts/<agent>/_<name>.md`.
Nothing is forgiving here: a name that is not there, a key that is not known, a value that is missing at rendering is an error with
file and line. This module hides YAML, and imports it when a prompt first needs it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from leverframe.canon import Json, Object, admit, canonical, text_hash
from leverframe.errors import InputError, PromptError, did_you_mean
from leverframe.template import Steps, includes, not_among, rendered, steps_read, used

if TYPE_CHECKING:
    from yaml import Node

Role: TypeAlias = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}

_NAME = re.compile(r"[\w-]+(/[\w-]+)*")
_VARIANT = re.compile(r"[\w-]+")
BASE = "base"
"""What the variant without a name is called where people name one."""
LARGEST = 256 * 1024
"""Characters of a file."""
LEAST_WINDOW = 64
"""Tokens; into fewer no window fits."""
_HEADING = re.compile(r"#[ \t]+(\w+)[ \t]*")


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is sent."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Section:
    """The template of one message, and the line of the file where it begins."""

    role: Role
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Partial:
    """A text that prompts share: `{% include "refund/_tone.md" %}` puts it there. It is a template over the same variables, and has
    neither front matter nor sections. `line` is where the prompt includes it, itself or through another one."""

    name: str
    text: str
    path: Path | None = None
    line: int = 0

    @property
    def where(self) -> str:
        return str(self.path or f"prompts/{self.name}")


@dataclass(frozen=True, slots=True)
class Example:
    """What the offline model answers to what.

    `when` is text, or fields of the memory; strings of the reply may be templates over the memory.
    """

    when: str | Object
    reply: Object
    line: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file, parsed. `text` is all of it, so a machine's definition keeps it as data, beside the texts of what it includes,
    and `parse` makes it again. `hash` is of all of that. A `shadow` is asked beside the variant of a run, and never acts."""

    name: str
    variant: str
    text: str
    hash: str
    sections: tuple[Section, ...]
    path: Path | None = field(default=None, compare=False)
    model: str | None = field(default=None, compare=False)
    temperature: float | None = field(default=None, compare=False)
    max_tokens: int | None = field(default=None, compare=False)
    window: int | None = field(default=None, compare=False)  # tokens of the window at most
    context: int | None = field(default=None, compare=False)  # tokens that the model takes, its answer included
    variables: tuple[str, ...] | None = field(default=None, compare=False)
    weight: float = field(default=1.0, compare=False)
    shadow: bool = field(default=False, compare=False)
    partials: tuple[Partial, ...] = field(default=(), compare=False)
    examples: tuple[Example, ...] = field(default=(), compare=False)
    otherwise: Object | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, name: str, variant: str, text: str, path: Path | None = None, partials: Iterable[Partial] = ()) -> "Prompt":
        """A prompt from the text of its file and the partials there are; parsed once. Raises PromptError with file and line."""
        return _parsed(name, variant, text, path, tuple(partials))

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.path or f"prompts/{label(self.name, self.variant)}.md")

    def check(self, available: Collection[str], intents: Collection[str] | None = None) -> None:
        """Every variable used is available, and declared where the file declares any; examples reply one of `intents`.

        Found without rendering. Raises PromptError with file, line, name and the near miss.
        """
        for where, line, message in self.complaints(available, intents):
            raise PromptError(f"{where}:{line}: {message}" if line else f"{where}: {message}")

    def complaints(
        self, available: Collection[str], intents: Collection[str] | None = None
    ) -> Iterator[tuple[str, int | None, str]]:
        """Everything that `check` would raise for, with its file (this, or a partial) and line. Raises PromptError for a template
        that cannot be read."""
        for name in self.variables or ():
            if name not in available:
                yield self.where, None, f"declares the variable {name!r}, which {not_among(name, available)}"
        allowed = available if self.variables is None else self.variables
        for text, where, first in self._templates():
            of = "the file" if where == self.where else f"{self.where}, which includes it: its file"
            for name, line in used(text, where, first):
                if name not in allowed:
                    whose = f"is not in {of}'s 'variables'" if name in available else not_among(name, allowed)
                    yield where, line, f"uses {name!r}, which {whose}"
        for reply, line in self._replies():
            for at, message in self._misplaced(reply, line, available, intents):
                yield self.where, at, message

    def _templates(self) -> Iterator[tuple[str, str, int]]:
        yield from ((section.text, self.where, section.line) for section in self.sections)
        yield from ((partial.text, partial.where, 1) for partial in self.partials)

    def reads(self) -> dict[Steps, int]:
        """What the templates read, each with the line where it first stands (of what a partial reads: where that is included): a variable,
        or as far as it is spelled out what of it, `("memory", "customer", "name")`. Raises PromptError."""
        found: dict[Steps, int] = {}
        for section in self.sections:
            for steps, line in steps_read(section.text, self.where, section.line):
                found[steps] = min(line, found.get(steps, line))
        for partial in self.partials:
            for steps, _ in steps_read(partial.text, partial.where, 1):
                found[steps] = min(partial.line, found.get(steps, partial.line))
        return found

    def _replies(self) -> Iterator[tuple[Object, int]]:
        yield from ((example.reply, example.line) for example in self.examples)
        if self.otherwise is not None:
            yield self.otherwise, 1

    def _misplaced(
        self, reply: Object, line: int, available: Collection[str], intents: Collection[str] | None
    ) -> Iterator[tuple[int, str]]:
        intent = str(reply["intent"])
        if intents is not None and intent not in intents:
            yield line, f"an example replies {intent!r}, which {not_among(intent, intents)}"
        known = {*available, *EXAMPLE_VARIABLES}
        for text in _strings(reply):
            for name, _ in used(text, self.where, line):
                if name not in known:
                    yield line, f"an example's reply uses {name!r}, which {not_among(name, known)}"


EXAMPLE_VARIABLES = ("memory", "numbers", "text")
"""What an example's reply may use beside the memory's fields: all of it, the text that matched, and the numbers in that text."""


# --- finding ------------------------------------------------------------------------------------------------------------------


def find(home: Path, name: str) -> list[Prompt]:
    """The prompt `prompts/<name>.md` of a project and its variants `prompts/<name>.<variant>.md`, the base first.

    Raises PromptError: not there (with the path looked at and the near miss), not readable, malformed.
    """
    if not _NAME.fullmatch(name):
        raise PromptError(f"prompt name {name[:80]!r}: write <agent>/<state>, in letters, digits, '_' and '-'")
    base = home / "prompts" / f"{name}.md"
    if base.name.startswith("_"):
        raise PromptError(
            f"prompt name {name!r}: a name that begins with '_' is a partial, which prompts include; name the prompt"
        )
    if not base.is_file():
        raise PromptError(f"no prompt {name!r}: looked for {base}.{_near(home / 'prompts', name)}")
    prompts = [_of_file(home, name, "", base)]
    for path in sorted(base.parent.iterdir()):
        if path.name.startswith(f"{base.stem}.") and path.suffix == ".md" and path != base:
            variant = path.stem.removeprefix(f"{base.stem}.")
            if not _VARIANT.fullmatch(variant):
                raise PromptError(f"{path}: variant {variant!r}: use letters, digits, '_' and '-'")
            if variant == BASE:
                raise PromptError(f"{path}: variant {variant!r}: so {base.name} is called, the variant without a name; rename it")
            prompts.append(_of_file(home, name, variant, path))
    if not any(prompt.weight and not prompt.shadow for prompt in prompts):
        raise PromptError(f"{base}: every variant has weight 0 or is a shadow, so none can be chosen")
    return prompts


def _of_file(home: Path, name: str, variant: str, path: Path) -> Prompt:
    text = _read(path)
    return Prompt.parse(name, variant, text, path, _partials(home / "prompts") if "include" in text else ())


def _partials(folder: Path) -> Iterator[Partial]:
    for path in sorted(folder.rglob("_*.md")):
        yield Partial(path.relative_to(folder).as_posix(), _clean(_read(path)), path)


def choose(prompts: Sequence[Prompt], run_id: str, pinned: str | None = None) -> Prompt:
    """The variant of this run: the one that was pinned when it began, if it is there; else by weight. The same one for the whole
    life of the run, and never a shadow."""
    live = [prompt for prompt in prompts if not prompt.shadow]
    if found := [prompt for prompt in live if prompt.variant == pinned or len(live) == 1]:
        return found[0]
    ordered = sorted(live, key=lambda prompt: prompt.variant)
    total = sum(prompt.weight for prompt in ordered)
    # The name is hashed too: otherwise the variants of two prompts would always fall together and could not be judged apart.
    at = int.from_bytes(sha256(f"{ordered[0].name}|{run_id}".encode()).digest()[:8]) / 2**64 * total
    for prompt in ordered:
        at -= prompt.weight
        if at < 0:
            return prompt
    return max(ordered, key=lambda prompt: prompt.weight)  # rounding


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = file.read(4 * LARGEST + 1)
        return found.decode() if len(found) <= 4 * LARGEST else "x" * len(found)
    except UnicodeDecodeError as error:
        raise PromptError(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror}") from None


def _near(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return f" There is no folder {folder}."
    files = [path for path in folder.rglob("*.md") if not path.name.startswith("_")]
    known = sorted({str(path.relative_to(folder).with_suffix("")).partition(".")[0] for path in files})
    return did_you_mean(name, known) or (f" There are: {', '.join(known)[:300]}." if known else " The folder holds no prompts.")


def label(name: str, variant: str) -> str:
    """The file of a variant, without its ending."""
    return f"{name}.{variant}" if variant else name


# --- as a definition pins them -----------------------------------------------------------------------------------------------


def pinned(state: Object) -> list[tuple[str, str, str]]:
    """Name, variant and text of everything that an Ask's part of a definition may tell the model. Where the prompt is chosen by a
    field of the memory, texts stand under name and variant; else the name is the state's `prompt`."""
    texts, by = cast("dict[str, str]", state.get("texts") or {}), "prompt_by" in state
    own = str(state.get("prompt") or "")
    if not by:
        return [(own, variant, text) for variant, text in texts.items()]
    return [(name, variant, text) for key, text in texts.items() for name, _, variant in [key.partition(".")]]


def pinned_partials(state: Object) -> tuple[Partial, ...]:
    """What these texts include."""
    return tuple(Partial(name, text) for name, text in cast("dict[str, str]", state.get("partials") or {}).items())


def pins(prompts: Sequence[Prompt], *, chosen: bool) -> Object:
    """These prompts as an Ask's part of a definition holds them; `chosen` by a field of the memory."""
    texts: Object = {label(prompt.name, prompt.variant) if chosen else prompt.variant: prompt.text for prompt in prompts}
    partials: Object = {partial.name: partial.text for prompt in prompts for partial in prompt.partials}
    return {"texts": texts, **({"partials": partials} if partials else {})}


# --- parsing ------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _parsed(name: str, variant: str, text: str, path: Path | None, known: tuple[Partial, ...]) -> Prompt:
    text = _clean(text)
    where = str(path or f"prompts/{label(name, variant)}.md")
    _refuse_unfit(text, where)
    front_text, lines, first = _split(text, where)
    front, line_of = _front(front_text, where)
    sections = tuple(_sections(lines, first, where))
    partials = _included(sections, where, {partial.name: partial for partial in known})
    return Prompt(
        name=name,
        variant=variant,
        text=text,
        hash=text_hash(canonical([text, {one.name: one.text for one in partials}]) if partials else text),
        sections=sections,
        path=path,
        model=front.model,
        temperature=front.temperature,
        max_tokens=front.max_tokens,
        window=front.window,
        context=front.context,
        variables=None if front.variables is None else tuple(front.variables),
        weight=front.weight,
        shadow=front.shadow,
        partials=partials,
        examples=tuple(Example(e.when, e.reply, line_of(("examples", i))) for i, e in enumerate(front.examples)),
        otherwise=front.otherwise,
    )


def _clean(text: str) -> str:
    """One hash whatever the editor."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _refuse_unfit(text: str, where: str) -> None:
    if len(text) > LARGEST:
        raise PromptError(f"{where}: over {LARGEST // 1024} KiB, which is no prompt; let a tool read what is long")
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise PromptError(f"{where}:{line}: holds a NUL character, which databases cannot keep; remove it")


def _included(sections: Sequence[Section], where: str, known: Mapping[str, Partial]) -> tuple[Partial, ...]:
    """What the sections include, itself or through others. Raises PromptError where that is not there, or includes itself."""
    found: dict[str, Partial] = {}

    def follow(text: str, place: str, first: int, way: tuple[str, ...], top: int) -> None:
        for name, line in includes(text, place, first):
            if name in way:
                circle = " → ".join((*way[way.index(name) :], name))
                raise PromptError(f"{place}:{line}: includes {name!r}, which leads back here: {circle}")
            if name not in known:
                raise PromptError(f"{place}:{line}: includes {name!r}, which {not_among(name, known)}")
            if name not in found:
                found[name] = replace(known[name], line=top or line)
                _refuse_sections(found[name])
                follow(known[name].text, known[name].where, 1, (*way, name), top or line)

    for section in sections:
        follow(section.text, where, section.line, (), 0)
    return tuple(found[name] for name in sorted(found))


def _refuse_sections(partial: Partial) -> None:
    _refuse_unfit(partial.text, partial.where)
    for role, start, _ in _headings(["# user", *partial.text.split("\n")], 0, partial.where):
        if start > 1:
            raise PromptError(f"{partial.where}:{start - 1}: a partial has no sections; take '# {role}' out")


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)
    when: str | dict[str, JsonValue]
    reply: dict[str, JsonValue]


class _Front(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)
    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, gt=0)
    window: int | None = Field(None, ge=LEAST_WINDOW)
    context: int | None = Field(None, gt=0)
    variables: list[str] | None = None
    weight: float = Field(1.0, ge=0)
    shadow: bool = False
    examples: list[_Said] = []
    otherwise: dict[str, JsonValue] | None = None

    @field_validator("model", mode="before")
    @classmethod
    def _several(cls, given: object) -> object:
        """The next of a list is asked where one is unavailable; settings name them with commas."""
        if not isinstance(given, str | list):
            return given
        names = given.split(",") if isinstance(given, str) else cast("list[object]", given)
        if not names or not all(isinstance(name, str) and name.strip() for name in names):
            raise ValueError("name a model as provider/model, or several in a list")
        return ", ".join(str(name).strip() for name in names)


_Lines: TypeAlias = Callable[[Sequence[str | int]], int]


def _split(text: str, where: str) -> tuple[str, list[str], int]:
    """Front matter, the lines below it, and the number of the first of these."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return "", lines, 1
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return "\n".join(lines[1:number]), lines[number + 1 :], number + 2
    raise PromptError(f"{where}:1: the front matter opened by '---' is never closed; write '---' on a line of its own below it")


def _front(text: str, where: str) -> tuple[_Front, _Lines]:
    node, data = _yaml(text, where)

    def line_of(place: Sequence[str | int]) -> int:
        return _line_of(node, place) + 2  # the file's first line is `---`

    try:
        front = _Front.model_validate(admit(data, what="front matter"))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = found["loc"][:3]  # below it stand names of pydantic's own
        raise PromptError(f"{where}:{line_of(place)}: {_complaint(place, found['msg'])}") from None
    except InputError as error:
        raise PromptError(f"{where}:2: {error}; quote it if it is meant as text") from None
    for place, reply in _replies(front):
        if not isinstance(reply.get("intent"), str):
            raise PromptError(f"{where}:{line_of(place)}: {place[0]}: a reply names its 'intent', as text")
    if front.examples and front.otherwise is None:
        raise PromptError(f"{where}:{line_of(['examples'])}: examples need 'otherwise', the reply when none of them is close")
    return front, line_of


def _replies(front: _Front) -> Iterator[tuple[tuple[str | int, ...], Object]]:
    yield from ((("examples", index, "reply"), said.reply) for index, said in enumerate(front.examples))
    if front.otherwise is not None:
        yield ("otherwise",), front.otherwise


def _complaint(place: Sequence[str | int], message: str) -> str:
    key = ".".join(str(part) for part in place)
    if message.startswith("Extra inputs"):
        known = list((_Said if "examples" in place else _Front).model_fields)
        return f"unknown key {key!r}; known are {', '.join(known)}.{did_you_mean(str(place[-1]), known)}"
    return f"{key}: {message}" if key else f"front matter is not a mapping of keys: {message}"


class _Constructs(Protocol):
    def construct_document(self, node: "Node", /) -> object: ...


def _yaml(text: str, where: str) -> tuple["Node | None", object]:
    """The front matter as nodes that know their lines, and as data."""
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _refuse_duplicates(node, where, set())
        return node, cast("_Constructs", loader).construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 1
        raise PromptError(f"{where}:{line}: front matter is not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PromptError(f"{where}:1: front matter is not YAML: {' '.join(str(error).split())[:200]}") from None


def _refuse_duplicates(node: "Node", where: str, known: set[int]) -> None:
    """YAML would keep the last one silently. What is repeated by an alias is one node, looked at once."""
    from yaml import MappingNode, ScalarNode, SequenceNode

    if id(node) in known:
        return
    known.add(id(node))
    if isinstance(node, SequenceNode):
        for item in node.value:
            _refuse_duplicates(item, where, known)
    if isinstance(node, MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                if key.value in seen:
                    raise PromptError(f"{where}:{key.start_mark.line + 2}: the key {key.value!r} stands here a second time")
                seen.add(key.value)
            _refuse_duplicates(value, where, known)


def _line_of(node: "Node | None", place: Sequence[str | int]) -> int:
    """The line (from 0) of the deepest node that the place leads to."""
    line = 0
    for part in place:
        at, node = _child(node, part)
        line = line if at is None else at
    return line


def _child(node: "Node | None", part: str | int) -> "tuple[int | None, Node | None]":
    from yaml import MappingNode, SequenceNode

    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line, value
    return None, None


def _sections(lines: Sequence[str], first: int, where: str) -> Iterator[Section]:
    seen: dict[Role, int] = {}
    for role, start, end in _headings(lines, first, where):
        if role in seen:
            raise PromptError(f"{where}:{start + first - 1}: a second section '# {role}'; the first is on line {seen[role]}")
        seen[role] = start + first - 1
        blank = next((i for i, line in enumerate(lines[start:end]) if line.strip()), 0)
        yield Section(role, "\n".join(lines[start + blank : end]).rstrip(), start + blank + first)
    if "user" not in seen:
        raise PromptError(f"{where}:{first}: no section '# user'; the model answers what stands there")


def _headings(lines: Sequence[str], first: int, where: str) -> Iterator[tuple[Role, int, int]]:
    """Each section as role, index of its first line, index after its last. Other headings, and those in code blocks, are text."""
    open_role: Role | None = None
    start, fenced = 0, False
    for index, line in enumerate(lines):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        heading = None if fenced else _HEADING.fullmatch(line)
        word = heading.group(1).lower() if heading else ""
        if word in ROLES:
            if open_role:
                yield open_role, start, index
            open_role, start = ROLES[word], index + 1
        elif word and (near := get_close_matches(word, ROLES, n=1, cutoff=0.8)):  # `# Usage` is a heading, `# usr` a slip
            raise PromptError(f"{where}:{index + first}: unknown section {line.strip()!r}. Did you mean '# {near[0]}'?")
        elif open_role is None and line.strip():
            raise PromptError(f"{where}:{index + first}: text outside of a section; put '# system' or '# user' above it")
    if open_role:
        yield open_role, start, len(lines)


# --- rendering ----------------------------------------------------------------------------------------------------------------


def render(prompt: Prompt, variables: Mapping[str, object]) -> list[Message]:
    """The messages to send. Raises PromptError with file and line."""
    included = tuple((one.name, one.text, one.where) for one in prompt.partials)
    return [
        Message(each.role, rendered(each.text, variables, prompt.where, each.line, included) if "{" in each.text else each.text)
        for each in prompt.sections
    ]


def _strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in cast("Iterable[Json]", value.values() if isinstance(value, dict) else value):
            yield from _strings(item)
