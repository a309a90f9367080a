"""The process stops wherever it could matter, and every run ends as if it had not."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from leverframe.testing import Restart
from tests import crashes, repository
from tests.crash_child import DIED
from tests.crashes import WAYS, Way, World, attempt, violations

DISTANCE = 12  # of the second crash from the first
SHARES = 8


@pytest.fixture(scope="module")
def sqlite_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("crashes")
    with crashes.world(f"sqlite:///{folder / 'leverframe.db'}", folder) as made:
        yield made


@pytest.fixture(scope="module")
def postgres_world(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from tests import postgres

    with postgres.database(postgres_server) as url, crashes.world(url, tmp_path_factory.mktemp("crashes")) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(f"{request.param}_world")
    return made


def matrix(
    world: World, way: Way, *, pairs: bool = False, first: int = 1, every: int = 1, restart: Restart = "here"
) -> list[str]:
    """Single crashes at every point (or each `every`th from the first), or all pairs that begin there; gives what was violated."""
    attempt(world, way)  # the first in a database also makes its tables
    calm = attempt(world, way)
    assert calm.end[1] == way.ends
    assert not calm.wrong
    points = range(first, len(calm.passed) + 1, every)
    stops = [(one, one + apart) for one in points for apart in range(1, DISTANCE + 1)] if pairs else [(n,) for n in points]
    found = [wrong for at in stops for wrong in violations(attempt(world, way, at, restart), calm)]
    print(f"{way.name}: {len(calm.passed)} points, {len(stops)} trials, {len(found)} violations")
    return found


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_crash_at_some_points_changes_nothing(sqlite_world: World, way: Way) -> None:
    assert not matrix(sqlite_world, way, every=5)


@pytest.mark.long
@pytest.mark.parametrize("restart", ["here", "elsewhere"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_crash_at_any_point_changes_nothing(world: World, way: Way, restart: Restart) -> None:
    assert not matrix(world, way, restart=restart)


@pytest.mark.pairs
@pytest.mark.parametrize("first", range(1, SHARES + 1))  # a share of the pairs each, so that no test takes minutes
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_two_crashes_near_each_other_change_nothing(world: World, way: Way, first: int) -> None:
    assert not matrix(world, way, pairs=True, first=first, every=SHARES)


@pytest.mark.long
def test_a_process_that_really_ends_there_changes_nothing_either(world: World) -> None:
    """The simulation against the real thing: at every third point a child leaves by `os._exit`, and another process goes on."""
    way = WAYS[0]
    attempt(world, way)
    calm = attempt(world, way)
    for point in range(1, len(calm.passed) + 1, 3):
        world.clean(way)
        key = f"child-{point}"
        child = [sys.executable, "-m", "tests.crash_child", world.url, way.name, key, str(point)]
        assert subprocess.run(child, cwd=repository.ROOT, timeout=60, check=False).returncode == DIED
        assert not violations(attempt(world, way, begun=key), calm), point
