"""The rules about the code itself: who may import whom, who owns which library, how large things may grow, and what nobody does.

Each rule is a function from the repository's texts to findings (`path:line: what is wrong`). One test holds it to the real tree,
and one proves that it can fail: it gets a snippet that breaks it.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple, TypeAlias

import pytest

from tests import repository

pytestmark = pytest.mark.xdist_group("tidy")  # every file is read once

Tree: TypeAlias = Mapping[str, str]
Rule: TypeAlias = Callable[[Tree], list[str]]

# Imports point leftwards only. Modules of one line do not import each other. `store` and `llm` are packages, free inside.
ORDER = (
    ("errors", "clock", "files", "words", "threads"),
    ("canon", "importance"),
    ("schema", "faults", "readable"),
    ("state", "template"),
    ("prompt", "table", "tool"),
    ("automaton", "series", "reference", "recollection", "wording"),
    ("attributes", "outcomes"),
    ("limits", "rules"),
    ("machine",),
    ("run", "usage"),
    ("spins",),
    ("reduce",),
    ("changes",),
    ("check", "graph"),
    ("diff", "card"),
    ("store", "llm"),
    ("window",),
    ("perform", "ledger"),
    ("budget", "held"),
    ("audit", "inside", "recording", "start"),
    ("replay", "context"),
    ("drive",),
    ("engine",),
    ("channel", "trigger", "worker", "project", "trial"),
    ("blocking", "testing", "api", "inbox"),
    ("cli",),
    ("__main__",),
    ("door",),  # leverframe/__init__.py: what users import, so nothing inside does
)
RANK = {module: rank for rank, modules in enumerate(ORDER) for module in modules}

# Libraries that one module hides from all the others. Tables of a user's own business may stand in tools/.
OWNERS = {
    "transitions": {"machine"},
    "sqlalchemy": {"store", "tools"},
    "sqlmodel": {"store", "tools"},
    "alembic": {"store"},
    "psycopg": {"store"},
    "instructor": {"llm"},
    "openai": {"llm"},
    "httpx2": {"llm"},
    "genai_prices": {"llm"},
    "xllamacpp": {"llm"},
    "fastapi": {"api", "inbox"},
    "starlette": {"api", "inbox"},
    "uvicorn": {"api", "inbox"},
}
TYPES_ONLY = {("tool", "sqlmodel")}  # under TYPE_CHECKING: the `session` of a `local` tool has a type

ROOMS = {
    "machines": {"machines", "states", "tools"},
    "states": {"states", "tools"},
    "tools": {"tools"},
}  # room: what it may import
SHIPPED_TESTS = {"leverframe", "leverframe.testing", "leverframe.blocking"}  # what tests/agents may import of ours

MODULE_LINES, FUNCTION_LINES = 800, 60

WALL = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
}
STEADY = {"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"}
CLOCKS = {"leverframe/clock.py": WALL | STEADY, "benchmarks/": WALL | STEADY, "tests/": STEADY}  # who may read which clock

PATCHERS = {"unittest.mock", "mock", "pytest_mock"}
SAFE_MONKEY = {"setenv", "delenv", "chdir", "syspath_prepend"}

ANY = {  # path: why `Any` may stand there
    "leverframe/store": "what databases give back has no type",
    "leverframe/tool.py": "users' signatures hold anything, and an `async def` is a Coroutine[Any, Any, R]",
}


class Import(NamedTuple):
    line: int
    module: str
    name: str | None  # of `from module import name`
    typing: bool  # under `if TYPE_CHECKING:`


# --- reading the code ---------------------------------------------------------------------------------------------------------


@cache
def parse(text: str) -> ast.Module:
    return ast.parse(text)


@cache
def nodes(text: str) -> Sequence[ast.AST]:
    return list(ast.walk(parse(text)))


def python(tree: Tree, *under: str) -> Iterator[tuple[str, str]]:
    """The Python files, or those under the given folders."""
    return ((path, text) for path, text in tree.items() if path.endswith(".py") and path.startswith(under or ("",)))


@cache
def imports(text: str) -> Sequence[Import]:
    """Every import, also those inside functions and under TYPE_CHECKING. Relative ones are refused by ruff."""
    guards = [node for node in nodes(text) if isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"]
    guarded = {inner for guard in guards for line in guard.body for inner in ast.walk(line)}
    found: list[Import] = []
    for node in nodes(text):
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, alias.name, None, node in guarded) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [Import(node.lineno, node.module or "", alias.name, node in guarded) for alias in node.names]
    return found


def strings(text: str) -> set[str]:
    return {node.value for node in nodes(text) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def top(module: str) -> str:
    return module.partition(".")[0]


def unit(path: str) -> str:
    """`engine` of leverframe/engine.py, `store` of leverframe/store/a.py, `door` of leverframe/__init__.py, else the room."""
    parts = PurePosixPath(path).with_suffix("").parts
    if parts[0] != "leverframe":
        return parts[0]
    return "door" if parts[1] == "__init__" else parts[1]


def wanted(found: Import) -> str | None:
    """The unit of leverframe that an import inside of it means."""
    package, _, rest = found.module.partition(".")
    if package != "leverframe":
        return None
    return top(rest) if rest else found.name if found.name in RANK else "door"


@cache
def names(text: str) -> Sequence[tuple[int, str]]:
    """Every name and attribute chain, spelled out by what the file's imports bind: `dt.now` is `datetime.datetime.now`."""
    bound: dict[str, str] = {}
    for node in nodes(text):
        if isinstance(node, ast.Import):
            bound |= {alias.asname or top(alias.name): alias.name if alias.asname else top(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    found: list[tuple[int, str]] = []
    for node in nodes(text):
        if isinstance(node, ast.Attribute | ast.Name) and (chain := dotted(node)):
            first, dot, rest = chain.partition(".")
            found.append((node.lineno, bound.get(first, first) + dot + rest))
    return found


def dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return None


# --- who imports whom ---------------------------------------------------------------------------------------------------------


def leftwards(tree: Tree) -> list[str]:
    found: list[str] = []
    for path, text in python(tree, "leverframe/"):
        me = unit(path)
        if me not in RANK:
            found.append(f"{path}:1: {me} has no place in the order of imports; give it one in tests/test_tidy.py")
            continue
        for line, you in ((i.line, wanted(i)) for i in imports(text)):
            if you is None or you == me or RANK.get(you, -1) < RANK[me]:
                continue
            beside = "beside" if RANK[you] == RANK[me] else "to the right of"
            found.append(
                f"{path}:{line}: {me} imports {you}, which stands {beside} it; take what you need as a protocol or an argument"
            )
    return found


def owned(tree: Tree) -> list[str]:
    return [
        f"{path}:{i.line}: {top(i.module)} is used only in {', '.join(sorted(owners))}, not in {unit(path)}"
        for path, text in python(tree, "leverframe/", *(f"{room}/" for room in ROOMS))
        for i in imports(text)
        if (owners := OWNERS.get(top(i.module)))
        and unit(path) not in owners
        and not (i.typing and (unit(path), top(i.module)) in TYPES_ONLY)
    ]


def engine_without_rooms(tree: Tree) -> list[str]:
    return [
        f"{path}:{i.line}: the engine imports {top(i.module)}; rooms are loaded by name, from the project at hand"
        for path, text in python(tree, "leverframe/")
        for i in imports(text)
        if top(i.module) in {*ROOMS, "prompts", "tests", "benchmarks"}
    ]


def rooms_in_order(tree: Tree) -> list[str]:
    found: list[str] = []
    for room, allowed in ROOMS.items():
        for path, text in python(tree, f"{room}/"):
            for i in imports(text):
                if i.module.startswith("leverframe."):
                    found.append(f"{path}:{i.line}: rooms import the door, `from leverframe import …`, not {i.module}")
                elif top(i.module) in {*ROOMS, "tests", "benchmarks"} - allowed:
                    found.append(f"{path}:{i.line}: {room} imports {top(i.module)}; machines → states → tools, never back")
    return found


def shipped_tests_alone(tree: Tree) -> list[str]:
    return [
        f"{path}:{i.line}: {i.module} does not travel with the starter; use {', '.join(sorted(SHIPPED_TESTS))}"
        for path, text in python(tree, "tests/agents/")
        for i in imports(text)
        if top(i.module) in {"leverframe", "tests", "benchmarks"} and i.module not in SHIPPED_TESTS
    ]


# --- sizes, clocks, patches, Any ----------------------------------------------------------------------------------------------


def small_modules(tree: Tree) -> list[str]:
    sizes = ((path, len(text.splitlines())) for path, text in python(tree))
    return [f"{path}:1: {lines} lines; a module has at most {MODULE_LINES}" for path, lines in sizes if lines > MODULE_LINES]


def small_functions(tree: Tree) -> list[str]:
    return [
        f"{path}:{node.lineno}: {node.name} has {lines} lines; a function has at most {FUNCTION_LINES}"
        for path, text in python(tree)
        for node in nodes(text)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]


def one_clock(tree: Tree) -> list[str]:
    found: list[str] = []
    for path, text in python(tree):
        forbidden = (WALL | STEADY) - next((clocks for place, clocks in CLOCKS.items() if path.startswith(place)), set[str]())
        found += [
            f"{path}:{line}: {name} is read outside of leverframe/clock.py; take a Clock"
            for line, name in names(text)
            if name in forbidden
        ]
    return found


def no_patching(tree: Tree) -> list[str]:
    found: list[str] = []
    for path, text in python(tree):
        for i in imports(text):
            if {i.module, f"{i.module}.{i.name}"} & PATCHERS:
                found.append(
                    f"{path}:{i.line}: {i.module} patches; write a fake that users can have too, in leverframe/testing.py"
                )
        for line, name in names(text):
            owner, _, method = name.rpartition(".")
            if owner.rpartition(".")[2] in {"monkeypatch", "MonkeyPatch"} and method not in SAFE_MONKEY:
                found.append(f"{path}:{line}: {name} patches; pass what differs as an argument")
    return found


def no_any(tree: Tree) -> list[str]:
    return [
        f"{path}:{line}: Any; say what it is, `object` or a TypeVar, or list the place and why in tests/test_tidy.py"
        for path, text in python(tree, "leverframe/", *(f"{room}/" for room in ROOMS))
        if not path.startswith(tuple(ANY))
        for line in sorted({line for line, name in names(text) if name in {"typing.Any", "typing_extensions.Any"}})
    ]


# --- dead files ---------------------------------------------------------------------------------------------------------------


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def reach(modules: Mapping[str, str], roots: set[str]) -> set[str]:
    """The modules that the roots lead to by imports, by names in strings, and by being the package of one."""
    seen: set[str] = set()
    todo = roots & modules.keys()
    while todo:
        seen |= todo
        todo = {name for module in todo for name in mentioned(module, modules[module]) if name in modules} - seen
    return seen


def mentioned(module: str, text: str) -> set[str]:
    said = {name for i in imports(text) for name in (i.module, f"{i.module}.{i.name}")} | strings(text)
    if module == "leverframe":  # the door is lazy: it may name its modules bare
        said |= {f"leverframe.{word}" for word in strings(text)}
    return said | {name.rpartition(".")[0] for name in said}


def entry_points(tree: Tree) -> set[str]:
    project = tomllib.loads(tree.get("pyproject.toml", "")).get("project", {})
    tables = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    return {target.partition(":")[0] for table in tables for target in table.values()}


def reachable_modules(tree: Tree) -> list[str]:
    modules = {module_name(path): text for path, text in python(tree, "leverframe/")}
    roots = {"leverframe", *entry_points(tree)}
    if not roots <= modules.keys():
        return []  # not built yet
    alive = reach(modules, {*roots, "leverframe.__main__", "leverframe.blocking"})
    folders = {word for name in alive for word in strings(modules[name])}  # alembic finds its scripts by their folder
    dead = {
        path
        for path, _ in python(tree, "leverframe/")
        if module_name(path) not in alive and not set(PurePosixPath(path).parts[2:-1]) & folders & {"migrations"}
    }
    return [f"{path}:1: nothing leads here from {', '.join(sorted(roots))}" for path in sorted(dead)]


def used_rooms(tree: Tree) -> list[str]:
    modules = {module_name(path): text for path, text in python(tree, "machines/", "states/", "tools/", "tests/agents/")}
    roots = {name for name in modules if top(name) in {"machines", "tests"}}
    if not any(name.startswith("machines.") for name in roots):
        return []  # not built yet
    alive = reach(modules, roots)
    found = [
        f"{path}:1: no machine and no shipped test uses it"
        for path, _ in python(tree, "states/", "tools/")
        if module_name(path) not in alive
    ]
    for path, text in python(tree, "machines/"):
        if not path.endswith("__init__.py") and "Machine(" not in text:
            found.append(f"{path}:1: declares no Machine")
    prompts = {word for name in alive for word in strings(modules[name])}
    for path in tree:
        name, _, _ = path.removeprefix("prompts/").removesuffix(".md").partition(".")  # triage.b.md is a variant of triage
        if path.startswith("prompts/") and path.endswith(".md") and name not in prompts:
            found.append(f"{path}:1: no state has the prompt {name!r}")
    return found


def named_files(tree: Tree) -> list[str]:
    """Docs, benchmarks and helpers of tests: alive when another file names them."""
    found: list[str] = []
    for path in tree:
        folder, name = PurePosixPath(path).parts[0], PurePosixPath(path).name
        found_by_pytest = folder == "tests" and (
            name.startswith("test_") or name == "conftest.py" or path.startswith("tests/agents/")
        )
        if folder not in {"docs", "benchmarks", "tests"} or name == "__init__.py" or found_by_pytest:
            continue
        word = re.compile(rf"\b{re.escape(PurePosixPath(path).stem)}\b")
        if not any(word.search(text) for other, text in tree.items() if other != path):
            found.append(f"{path}:1: no other file names it")
    return found


# --- the rules, held to the tree ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree() -> Tree:
    return repository.texts()


def clean(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def test_imports_point_leftwards_only(tree: Tree) -> None:
    clean(leftwards(tree))


def test_each_library_is_used_only_by_the_module_that_hides_it(tree: Tree) -> None:
    clean(owned(tree))


def test_the_engine_never_imports_a_room(tree: Tree) -> None:
    clean(engine_without_rooms(tree))


def test_rooms_import_only_the_door_and_the_rooms_below_them(tree: Tree) -> None:
    clean(rooms_in_order(tree))


def test_tests_of_agents_need_nothing_that_does_not_travel_with_them(tree: Tree) -> None:
    clean(shipped_tests_alone(tree))


def test_no_module_is_too_long(tree: Tree) -> None:
    clean(small_modules(tree))


def test_no_function_is_too_long(tree: Tree) -> None:
    clean(small_functions(tree))


def test_only_the_clock_reads_the_clock(tree: Tree) -> None:
    clean(one_clock(tree))


def test_nothing_is_patched(tree: Tree) -> None:
    clean(no_patching(tree))


def test_any_stands_only_where_it_is_listed(tree: Tree) -> None:
    clean(no_any(tree))


def test_every_module_can_be_reached(tree: Tree) -> None:
    clean(reachable_modules(tree))


def test_every_file_of_a_room_is_used(tree: Tree) -> None:
    clean(used_rooms(tree))


def test_every_other_file_is_named_somewhere(tree: Tree) -> None:
    clean(named_files(tree))


# --- the rules can fail -------------------------------------------------------------------------------------------------------

ENTRY = '[project.scripts]\nleverframe = "leverframe.cli:main"\n'
BUILT = {"pyproject.toml": ENTRY, "leverframe/__init__.py": "", "leverframe/cli.py": "from leverframe import engine"}
LIVED_IN = {"machines/a.py": "from states import b\na = Machine()", "states/b.py": 'prompt = "b/think"'}

BROKEN: list[tuple[Rule, Tree, str]] = [
    (leftwards, {"leverframe/state.py": "x = 1\nfrom leverframe.engine import Engine"}, "leverframe/state.py:2"),
    (leftwards, {"leverframe/state.py": "def f():\n    from leverframe import engine"}, "leverframe/state.py:2"),
    (leftwards, {"leverframe/state.py": "if TYPE_CHECKING:\n    import leverframe.engine"}, "leverframe/state.py:2"),
    (leftwards, {"leverframe/tool.py": "from leverframe.prompt import Prompt"}, "leverframe/tool.py:1"),
    (leftwards, {"leverframe/store/claim.py": "from leverframe.llm.seam import LLM"}, "leverframe/store/claim.py:1"),
    (leftwards, {"leverframe/engine.py": "from leverframe import Machine"}, "leverframe/engine.py:1"),
    (leftwards, {"leverframe/helpers.py": ""}, "leverframe/helpers.py:1"),
    (owned, {"leverframe/engine.py": "from sqlalchemy.orm import Session"}, "leverframe/engine.py:1"),
    (owned, {"leverframe/graph.py": "import transitions"}, "leverframe/graph.py:1"),
    (owned, {"leverframe/tool.py": "if TYPE_CHECKING:\n    import alembic\nimport sqlmodel"}, "leverframe/tool.py:2"),
    (owned, {"leverframe/tool.py": "if TYPE_CHECKING:\n    import pydantic\nimport sqlmodel"}, "leverframe/tool.py:3"),
    (owned, {"states/refund.py": "import openai"}, "states/refund.py:1"),
    (owned, {"leverframe/cli.py": "import uvicorn"}, "leverframe/cli.py:1"),
    (engine_without_rooms, {"leverframe/project.py": "from machines.refund import refund"}, "leverframe/project.py:1"),
    (rooms_in_order, {"tools/mail.py": "from states.refund import Refund"}, "tools/mail.py:1"),
    (rooms_in_order, {"states/refund.py": "import machines.refund"}, "states/refund.py:1"),
    (rooms_in_order, {"machines/refund.py": "from leverframe.machine import Machine"}, "machines/refund.py:1"),
    (
        shipped_tests_alone,
        {"tests/agents/test_refund.py": "from leverframe.engine import Engine"},
        "tests/agents/test_refund.py:1",
    ),
    (shipped_tests_alone, {"tests/agents/test_refund.py": "from tests import repository"}, "tests/agents/test_refund.py:1"),
    (small_modules, {"leverframe/engine.py": "x = 1\n" * 801}, "leverframe/engine.py:1"),
    (small_functions, {"tests/test_a.py": "async def f():\n" + "    x = 1\n" * 60}, "tests/test_a.py:1"),
    (one_clock, {"leverframe/engine.py": "from datetime import datetime as dt\nnow = dt.now"}, "leverframe/engine.py:2"),
    (one_clock, {"leverframe/worker.py": "import time\ntime.monotonic()"}, "leverframe/worker.py:2"),
    (one_clock, {"tests/test_a.py": "from time import time\nat = time()"}, "tests/test_a.py:2"),
    (one_clock, {"tools/mail.py": "import datetime\ndatetime.date.today()"}, "tools/mail.py:2"),
    (no_patching, {"tests/test_a.py": "from unittest import mock"}, "tests/test_a.py:1"),
    (no_patching, {"tests/test_a.py": "from unittest.mock import patch"}, "tests/test_a.py:1"),
    (no_patching, {"tests/test_a.py": "def test(monkeypatch):\n    monkeypatch.setattr(a, 'b', 1)"}, "tests/test_a.py:2"),
    (
        no_patching,
        {"leverframe/testing.py": "import pytest\nwith pytest.MonkeyPatch.context() as p: ..."},
        "leverframe/testing.py:2",
    ),
    (no_any, {"leverframe/engine.py": "from typing import Any\ndef f(x: Any): ..."}, "leverframe/engine.py:2"),
    (no_any, {"states/refund.py": "import typing as t\nx: t.Any"}, "states/refund.py:2"),
    (reachable_modules, {**BUILT, "leverframe/engine.py": "", "leverframe/window.py": ""}, "leverframe/window.py:1"),
    (reachable_modules, {**BUILT, "leverframe/engine.py": 'x = "window"', "leverframe/window.py": ""}, "leverframe/window.py:1"),
    (
        reachable_modules,
        {**BUILT, "leverframe/store/__init__.py": "", "leverframe/store/old.py": ""},
        "leverframe/store/__init__.py:1",
    ),
    (used_rooms, {**LIVED_IN, "states/old.py": ""}, "states/old.py:1"),
    (used_rooms, {**LIVED_IN, "tools/old.py": ""}, "tools/old.py:1"),
    (used_rooms, {**LIVED_IN, "machines/empty.py": ""}, "machines/empty.py:1"),
    (used_rooms, {**LIVED_IN, "prompts/b/old.md": ""}, "prompts/b/old.md:1"),
    (named_files, {"docs/old.md": "# Old", "README.md": "older"}, "docs/old.md:1"),
    (named_files, {"tests/helpers.py": "", "tests/test_a.py": ""}, "tests/helpers.py:1"),
]

FINE: list[tuple[Rule, Tree]] = [
    (leftwards, {"leverframe/engine.py": "from leverframe.store.tables import Run\nfrom leverframe import state"}),
    (leftwards, {"leverframe/store/a.py": "from leverframe.store.b import c"}),
    (leftwards, {"leverframe/__init__.py": "from leverframe.cli import main"}),
    (
        owned,
        {"leverframe/store/a.py": "import sqlmodel", "tools/orders.py": "import sqlmodel", "tests/test_a.py": "import openai"},
    ),
    (owned, {"leverframe/tool.py": "if TYPE_CHECKING:\n    from sqlmodel import Session"}),
    (rooms_in_order, {"machines/a.py": "from leverframe import tool\nfrom states.a import A\nfrom tools.a import b"}),
    (shipped_tests_alone, {"tests/agents/test_a.py": "from leverframe.testing import Scripted\nfrom machines.a import a"}),
    (one_clock, {"leverframe/clock.py": "import time\ntime.time()", "tests/test_a.py": "import time\ntime.perf_counter()"}),
    (one_clock, {"leverframe/engine.py": "from datetime import datetime\ndatetime.fromtimestamp(0)\nself.time.time()"}),
    (no_patching, {"tests/test_a.py": "def test(monkeypatch):\n    monkeypatch.setenv('A', 'b')"}),
    (no_any, {"leverframe/store/a.py": "from typing import Any\nx: Any", "tests/test_a.py": "from typing import Any\nx: Any"}),
    (reachable_modules, {**BUILT, "leverframe/engine.py": 'load("leverframe.window")', "leverframe/window.py": ""}),
    (reachable_modules, {**BUILT, "leverframe/__init__.py": 'LAZY = {"Engine": "engine"}', "leverframe/engine.py": ""}),
    (reachable_modules, {**BUILT, "leverframe/engine.py": 'at = "migrations"', "leverframe/store/migrations/env.py": ""}),
    (reachable_modules, {"pyproject.toml": ENTRY, "leverframe/window.py": ""}),
    (used_rooms, {**LIVED_IN, "prompts/b/think.md": "", "prompts/b/think.b.md": ""}),
    (used_rooms, {"tools/early.py": ""}),
    (named_files, {"docs/new.md": "", "README.md": "[new](docs/new.md)", "tests/conftest.py": ""}),
]


@pytest.mark.parametrize(("rule", "snippet", "place"), BROKEN)
def test_a_rule_finds_what_breaks_it(rule: Rule, snippet: Tree, place: str) -> None:
    found = rule(snippet)
    assert any(line.startswith(f"{place}: ") for line in found), found


@pytest.mark.parametrize(("rule", "snippet"), FINE)
def test_a_rule_lets_pass_what_is_right(rule: Rule, snippet: Tree) -> None:
    clean(rule(snippet))


def test_every_rule_is_proven_able_to_fail() -> None:
    rules = {
        value for value in globals().values() if getattr(value, "__annotations__", None) == {"tree": Tree, "return": list[str]}
    }
    assert rules == {rule for rule, _, _ in BROKEN}
