"""What the store promises about runs, steps, decisions and signals, on each database."""

from collections.abc import AsyncGenerator
from dataclasses import fields, replace
from typing import get_type_hints

import pytest

from leverframe.canon import Object
from leverframe.clock import SECOND
from leverframe.errors import (
    AlreadyDecided,
    AlreadyPaused,
    InputError,
    KeyConflict,
    Lost,
    RunOver,
    TaskGone,
    UnknownDefinition,
    UnknownRun,
    UnknownTask,
)
from leverframe.run import Event, Pending, Run, Waiting, chain
from leverframe.store import Inbound, Store
from tests.stored import CLOCK, DEFINITION, LEASE, asking, effect, letting_go, new, opened, step, task


@pytest.fixture
async def store(database_url: str) -> AsyncGenerator[Store]:
    async with opened(database_url) as store:
        yield store


async def held(store: Store, memory: Object | None = None) -> tuple[Run, int]:
    """A new run and our fence."""
    first = new(memory, owner="me")
    started = await store.start(first)
    return first.run, started.fence


# --- what goes in comes out ---------------------------------------------------------------------------------------------------


def full(kind: type) -> dict[str, object]:
    """A value for every field, none of them the default."""
    call = {"tool_name": "pay", "arguments": {"n": [1, {"a": None}]}, "digest": "d", "maker": "Triage", "ordinal": 2, "key": "k"}
    by_type: dict[object, object] = {
        "str": "text",
        "int": 7,
        "bool": True,
        "Status": "waiting",
        "Object": {"a": [1, "ä", None], "b": {}},
        "dict": {"Read": 2},
        "Pending": Pending(**{**full(Pending), **call}) if kind is Run else None,
        "Waiting": Waiting("t", "children", 5, "s", ("c1", "c2"), 1, 1),
        "pairs": (("Limit", "large"), ("Release", "approved")),
        "words": ("c1",),
        "numbers": (5, 2),
        "Json": ["anything"],
        "kind": "approve",
    }
    return {field.name: by_type[_sort(field.name, str(get_type_hints(kind)[field.name]))] for field in fields(kind)}


def _sort(name: str, hint: str) -> str:
    for part, sort in (
        ("Literal['approve'", "kind"),
        ("Literal['ready'", "Status"),
        ("tuple[leverframe.run.Pending", "doubts"),
        ("Pending", "Pending"),
        ("Waiting", "Waiting"),
        ("tuple[tuple[str, str]", "pairs"),
        ("tuple[str", "words"),
        ("tuple[int, int]", "numbers"),
        ("dict[str, int]", "dict"),
        ("dict[str", "Object"),
        ("bool", "bool"),
    ):
        if hint.startswith(part) or (part in hint and not part.startswith(("tuple", "dict", "Literal"))):
            return sort
    return "int" if "int" in hint else "str"
