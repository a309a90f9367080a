"""Templates of prompts: Jinja2, strict, repeatable and bounded. This module hides Jinja2, and imports it when a template first needs it.

A template is the project's own text, but a slip in it must not stand still a worker: it ends after so many rounds of its loops and calls
of its macros, and gives at most so many characters.
"""

import re
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from leverframe.canon import Json, admit
from leverframe.errors import PromptError, did_you_mean
from leverframe.readable import readable

if TYPE_CHECKING:
    from jinja2 import Template, nodes
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

Steps: TypeAlias = tuple[str | int, ...]
Included: TypeAlias = tuple[tuple[str, str, str], ...]
"""Of what can be included: name, text and where it stands."""
ROUNDS = 100_000
"""Of all loops and macros of one rendering."""
LONGEST = 4 * 1024 * 1024
"""Characters of one section, and of what a template puts together: a million tokens."""
_TOO_LONG = f"gives more than {LONGEST:,} characters"
_LARGEST_POWER = 1_000
_COUNTED = " rounds"  # no name that a template could use
_PARTIAL = re.compile(r"([\w-]+/)*_[\w-]+\.md")
_WIDE = re.compile(r"%[^a-zA-Z%]*(\d{5}|\*)")  # a format that pads to 10,000 characters and more
_LONE_EXPRESSION = re.compile(r"\s*\{\{((?:(?!\{\{|\}\}).)*)\}\}\s*", re.DOTALL)


# --- rendering ----------------------------------------------------------------------------------------------------------------


def rendered(text: str, variables: Mapping[str, object], where: str, first: int = 1, included: Included = ()) -> str:
    """The text of a template, whose first line is that line of a file. Mappings, lists and models are shown as compact YAML.

    Raises PromptError with file and line.
    """
    plain = _plain(text, where, first)
    if plain is not None and all(name in variables for _, name in plain if name):
        with suppress(Exception):  # Jinja2 says where
            return _joined(str(_shown(variables[name])) if name else part for part, name in plain)
    template = _template(text, where, first, included)
    try:
        return template.render({**variables, _COUNTED: [0]})
    except Exception as error:
        place = _place(error, where, first, {where for _, _, where in included})
        raise PromptError(f"{place}: {_cause(error)}") from error


def fill(value: Json, variables: Mapping[str, object], where: str = "template") -> Json:
    """Data with its strings rendered. One that is a lone expression, `"{{ order.refundable }}"`, becomes what it evaluates to."""
    if isinstance(value, dict):
        return {key: fill(item, variables, where) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, variables, where) for item in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    try:
        if lone := _LONE_EXPRESSION.fullmatch(value):
            return admit(to_jsonable_python(_evaluate(lone.group(1), variables)), what=where)
        return _template(value, where, 1, ()).render({**variables, _COUNTED: [0]})
    except Exception as error:
        raise PromptError(f"{where}: {value[:80]!r}: {_cause(error)}") from error


def _evaluate(expression: str, variables: Mapping[str, object]) -> object:
    from jinja2 import Undefined

    value = _expression(expression)(**variables)
    if isinstance(value, Undefined):
        str(value)  # a strict one raises, and says what is missing
    return value


class _Expression(Protocol):
    def __call__(self, **variables: object) -> object: ...


@lru_cache(maxsize=1024)
def _expression(text: str) -> _Expression:
    return cast("_Expression", _environment().compile_expression(text, undefined_to_none=False))


@lru_cache(maxsize=1024)
def _template(text: str, where: str, first: int, included: Included) -> "Template":
    with _placed(where, first):
        return (_including(included) if included else _environment()).from_string(text)


@lru_cache(maxsize=1024)
def _plain(text: str, where: str, first: int) -> tuple[tuple[str, str], ...] | None:
    """A template that is only text and names of variables, as most are: its parts, each a text or a name. Such a one is put together
    without Jinja2, which needs longer to prepare a rendering than to do it. None for any other."""
    from jinja2 import nodes

    parts: list[tuple[str, str]] = []
    with _placed(where, first):
        tree = _environment().parse(text)
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                parts.append((node.data, ""))
            elif isinstance(node, nodes.Name) and node.name != "self":  # which is the template
                parts.append(("", node.name))
            else:
                return None
    return tuple(parts)


@lru_cache(maxsize=256)
def _including(included: Included) -> "ImmutableSandboxedEnvironment":
    """The environment in which exactly these can be included."""
    from jinja2 import FunctionLoader

    texts = {name: (text, where, None) for name, text, where in included}
    return _environment().overlay(loader=FunctionLoader(texts.get))


@contextmanager
def _placed(where: str, first: int) -> Generator[None]:
    """What is wrong with the text of a template is a PromptError with its place."""
    from jinja2 import TemplateSyntaxError

    try:
        yield
    except TemplateSyntaxError as error:
        raise PromptError(f"{where}:{first + error.lineno - 1}: {error.message}") from None
    except (SyntaxError, RecursionError, MemoryError):  # of Python, which Jinja2 compiles it to
        raise PromptError(f"{where}:{first}: nested too deeply to be compiled; take parts of it apart") from None


def _place(error: BaseException, where: str, first: int, others: Collection[str]) -> str:
    """File and line of the template that raised: Jinja2 puts them into the traceback."""
    place, at = f"{where}:{first}", error.__traceback__
    while at is not None:
        file = at.tb_frame.f_code.co_filename
        if file in ("<template>", "<unknown>"):
            place = f"{where}:{first + at.tb_lineno - 1}"
        elif file in others:
            place = f"{file}:{at.tb_lineno}"
        at = at.tb_next
    return place


def _cause(error: Exception) -> str:
    return str(error)[:300] or type(error).__name__


# --- strict, repeatable, bounded ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _environment() -> "ImmutableSandboxedEnvironment":
    """Nothing undefined, nothing random, no files, no attributes that a template has no business with."""
    from jinja2 import StrictUndefined, Undefined, nodes, pass_context
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Strict(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%", "+"})
        concat = staticmethod(_joined)

        def getattr(self, obj: object, attribute: str) -> object:
            # A field called `items` is the field, not the method of dict; a missing one names what is there.
            if isinstance(obj, dict):
                fields = cast("dict[str, object]", obj)
                if attribute in fields:
                    return fields[attribute]
                if not hasattr(dict, attribute):
                    return self.undefined(f"there is no field {attribute!r}: it {not_among(attribute, fields)}")
            return cast("object | Undefined", super().getattr(obj, attribute))

        def call(self, context: Context, called: object, /, *args: object, **named: object) -> object:
            _count(context)
            return super().call(context, called, *args, **named)

        def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
            _refuse_huge(operator, left, right)
            return _bounded(super().call_binop(context, operator, left, right))

        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            tree = super()._parse(source, name, filename)
            for loop in tree.find_all(nodes.For):
                loop.iter = nodes.Filter(loop.iter, "_rounds", [], [], None, None, lineno=loop.lineno)
            for both in [*tree.find_all(nodes.Concat)]:
                joined = nodes.Concat(both.nodes, lineno=both.lineno)
                both.nodes = [nodes.Filter(joined, "_bounded", [], [], None, None, lineno=both.lineno)]
            return tree

    environment = Strict(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name, None)
    environment.filters.pop("random", None)
    filters = cast("dict[str, object]", environment.filters)
    filters |= {"_rounds": pass_context(_rounds), "_bounded": _bounded}
    return environment


def _rounds(context: "Context", items: Iterable[object]) -> Iterator[object]:
    for item in items:
        _count(context)
        yield item


def _count(context: "Context") -> None:
    counted = cast("list[int] | None", context.get(_COUNTED))
    if counted is not None:
        counted[0] += 1
        if counted[0] > ROUNDS:
            raise ValueError(f"more than {ROUNDS:,} rounds of its loops and calls")


def _joined(parts: Iterable[str]) -> str:
    found, room = list[str](), LONGEST
    for part in parts:
        room -= len(part)
        if room < 0:
            raise ValueError(_TOO_LONG)
        found.append(part)
    return "".join(found)


def _bounded(value: object) -> object:
    if _length(value) > LONGEST:
        raise ValueError(_TOO_LONG)
    return value


def _length(value: object) -> int:
    return len(cast("Sized", value)) if isinstance(value, str | list | tuple) else 0


def _refuse_huge(operator: str, left: object, right: object) -> None:
    """Before it is made."""
    if operator == "**" and isinstance(right, int | float) and abs(right) > _LARGEST_POWER:
        raise ValueError(f"a power of more than {_LARGEST_POWER:,}")
    if operator == "%" and isinstance(left, str) and _WIDE.search(left):
        raise ValueError(_TOO_LONG)
    if operator == "*":
        for some, times in ((left, right), (right, left)):
            if isinstance(times, int) and _length(some) * times > LONGEST:
                raise ValueError(_TOO_LONG)


def _shown(value: object) -> object:
    """How a value stands in the text."""
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if value is None or isinstance(value, bool | dict | list | tuple | BaseModel):
        return readable(cast("Json", to_jsonable_python(value)))
    return value


# --- reading ------------------------------------------------------------------------------------------------------------------


@lru_cache(512)
def used(text: str, where: str, first: int) -> list[tuple[str, int]]:
    """The variables a template uses, each with the line where it first stands."""
    from jinja2 import meta, nodes

    environment, tree = _environment(), _tree(text, where, first)
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        lines[node.name] = min(lines.get(node.name, node.lineno), node.lineno)
    names = meta.find_undeclared_variables(tree) - environment.globals.keys()
    return sorted(((name, first + lines[name] - 1) for name in names), key=lambda found: found[1])


def includes(text: str, where: str, first: int) -> Iterator[tuple[str, int]]:
    """The partials that a template includes itself, each with its line. Raises PromptError for any other way to take up a text."""
    from jinja2 import nodes

    if "{%" not in text:
        return
    for node in _tree(text, where, first).find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        plain = isinstance(node, nodes.Include) and node.with_context and not node.ignore_missing
        template = node.template if isinstance(node, nodes.Include) and plain else None
        name: object = template.value if isinstance(template, nodes.Const) else None
        if not isinstance(name, str) or not _PARTIAL.fullmatch(name):
            form = '{% include "agent/_name.md" %}'
            raise PromptError(f"{where}:{first + node.lineno - 1}: what is shared is included by its name in prompts/: {form}")
        yield name, first + node.lineno - 1


def _tree(text: str, where: str, first: int) -> "nodes.Template":
    """The template as parsed. Raises PromptError."""
    with _placed(where, first):
        _environment().compile(text)  # unknown filters and tests show only here
        return _environment().parse(text)


def steps_read(text: str, where: str, first: int) -> Iterator[tuple[Steps, int]]:
    """Each place where a template reads a variable that it does not make itself; also where a field has the name of one of Jinja's."""
    from jinja2 import meta, nodes

    tree = _tree(text, where, first)
    given = meta.find_undeclared_variables(tree) | _environment().globals.keys()
    todo: list[nodes.Node] = [tree]
    while todo:
        steps, owner = _steps(todo.pop())
        if not isinstance(owner, nodes.Name):
            todo += owner.iter_child_nodes()
        elif owner.name in given:
            yield (owner.name, *steps), first + owner.lineno - 1


def _steps(node: "nodes.Node") -> "tuple[Steps, nodes.Node]":
    """The steps that are spelled out at the end of an expression, and what they are taken from. What is computed is none (`memory[name]`,
    `memory.items()`): it may be any field."""
    from jinja2 import nodes

    steps: list[str | int] = []
    while True:
        if isinstance(node, nodes.Getattr):
            step: object = node.attr
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            step = node.arg.value
        else:
            step = None
        if not isinstance(node, nodes.Getattr | nodes.Getitem) or not isinstance(step, str | int) or hasattr(dict, str(step)):
            return tuple(reversed(steps)), node
        steps.append(step)
        node = node.node


def not_among(name: str, known: Collection[str]) -> str:
    return f"is not one of {', '.join(sorted(known))[:300] or '(nothing)'}.{did_you_mean(name, sorted(known))}"
