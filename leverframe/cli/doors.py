"""What a command works with: the project it stands in, with its store or an engine."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from leverframe.cli.app import object_of
from leverframe.project import find
from leverframe.run import Event, Run

if TYPE_CHECKING:
    from leverframe.engine import Engine
    from leverframe.store import Store

T = TypeVar("T")
Work: TypeAlias = "Callable[[Engine], Awaitable[T]]"


def with_store(work: "Callable[[Store], Awaitable[T]]") -> T:
    """Runs something that only looks: rooms and models are not loaded."""

    async def inside() -> T:
        store = find().store()
        try:
            return await work(store)
        finally:
            store.close()

    return asyncio.run(inside())


def with_engine(
    work: "Callable[[Engine], Awaitable[T]]", *, model: str | None = None, watch: Callable[[Run, Event], None] | None = None
) -> T:
    """Runs something that goes on with runs."""

    async def inside() -> T:
        async with find().engine(model=model, watch=watch) as engine:
            return await work(engine)

    return asyncio.run(inside())


def with_operator(work: "Callable[[Engine], Awaitable[T]]") -> T:
    """Runs something that asks no model, so a model that is not set up does not stand in its way."""

    async def inside() -> T:
        async with find().engine(asks=False) as engine:
            return await work(engine)

    return asyncio.run(inside())


def read_value(text: str) -> object:
    """An answer as typed: an object where it is JSON of one, else the words themselves."""
    return object_of(text, "--value") if text.lstrip().startswith("{") else text
