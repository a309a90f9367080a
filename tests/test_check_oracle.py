"""networkx as the oracle of what is said of states and edges: on 2,000 random machines it must agree about every one."""

from typing import NamedTuple, TypeAlias, cast

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leverframe.canon import Json, Object
from leverframe.check.card import card
from leverframe.check.finding import Finding
from leverframe.check.model import Graph
from leverframe.check.structure import references, ways
from tests.definitions import compact, definition, end, work

Net: TypeAlias = "nx.DiGraph[str]"
MOST = 12
ROWS = st.lists(
    st.tuples(st.sampled_from(["work", "work", "work", "work", "compact", "end"]), st.lists(st.integers(0, MOST), max_size=3)),
    min_size=1,
    max_size=MOST,
)


class World(NamedTuple):
    """A machine, and the same as networks: `own` has the edges of the table, `every` those of limits too."""

    body: Object
    own: Net
    every: Net
    ends: set[str]
    broken: set[tuple[str, str]]

    @property
    def start(self) -> str:
        return "S0"

    @property
    def reached(self) -> set[str]:
        return set(nx.single_source_shortest_path_length(self.every, self.start))


def world(rows: list[tuple[str, list[int]]], limit: int | None) -> World:
    """The most of the numbers stands for a state that does not exist; the third edge of a Compact leads Back."""
    names = [f"S{number}" for number in range(len(rows))]
    states: dict[str, Object] = {}
    own: Net = nx.DiGraph()
    own.add_nodes_from(names)
    broken: set[tuple[str, str]] = set()
    compacts = {name for name, (kind, _) in zip(names, rows, strict=True) if kind == "compact"}
    leads = {
        name
        for name, (kind, row) in zip(names, rows, strict=True)
        if kind == "work" and any(number != MOST and names[number % len(names)] in compacts for number in row)
    }
    for name, (kind, row) in zip(names, rows, strict=True):
        edges: dict[str, str] = {}
        for place, number in enumerate([] if kind == "end" else row):
            to = "Gone" if number == MOST else names[number % len(names)]
            if kind == "compact" and place == 2:
                edges["retry"] = "Back"
                own.add_edges_from((name, meant) for meant in leads)
            else:
                edges[f"o{place}"] = to
                if to == "Gone":
                    broken.add((name, f"o{place}"))
                else:
                    own.add_edge(name, to)
        states[name] = {**(compact() if kind == "compact" else end() if kind == "end" else work()), "edges": cast("Json", edges)}
    body = definition(**states)
    every = own.copy()
    if limit is not None:
        target = names[limit % len(names)]
        cast("Object", body["limits"])["exceeded"] = target
        every.add_edges_from((name, target) for name, state in states.items() if state["edges"])
    cast("Object", body["limits"])["steps"] = None
    ends = {name for name, (kind, _) in zip(names, rows, strict=True) if kind == "end"}
    return World(body, own, every, ends, broken)


@pytest.mark.parametrize("times", [400, pytest.param(2_000, marks=pytest.mark.long)])
def test_networkx_agrees_about_every_state_trap_and_path(times: int) -> None:
    ours = settings(
        max_examples=times, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    ours(given(ROWS, st.one_of(st.none(), st.integers(0, MOST)))(agreed))()


def agreed(rows: list[tuple[str, list[int]]], limit: int | None) -> None:
    it = world(rows, limit)
    graph = Graph(it.body)
    found = [*references(graph), *ways(graph)]
    assert {(cast("str", one.state), cast("str", one.outcome)) for one in found if one.code == "LF102"} == it.broken
    assert {one.state for one in found if one.code == "LF103"} == set(it.own) - it.reached
    agrees_about_traps(it, [one for one in found if one.code in ("LF104", "LF105", "LF106")])
    agrees_about_loops(it, [one for one in card(graph) if one.code == "LF210"])
    for one in found:
        walks(it, one)


def agrees_about_traps(it: World, found: list[Finding]) -> None:
    """A trap is an attracting component without an End, as networkx sees it; the finding names the state of it that is nearest."""
    gone = {state for state, _ in it.broken}
    traps = [set(states) for states in nx.attracting_components(it.own) if not states & (it.ends | gone) and states <= it.reached]
    assert len(found) == len(traps)
    exits = {name for name in it.every if any(nx.has_path(it.every, name, one) for one in it.ends)}
    target = cast("str | None", cast("Object", it.body["limits"])["exceeded"])
    away = nx.single_source_shortest_path_length(it.every, it.start)
    for trap in traps:
        one = next(one for one in found if one.state in trap)
        dead = len(trap) == 1 and it.own.out_degree(next(iter(trap))) == 0
        assert one.code == ("LF104" if dead else "LF106" if target in exits else "LF105")
        assert len(one.path) == min(away[name] for name in trap) == away[cast("str", one.state)]
        assert dead or all(name in one.message for name in trap) or "more" in one.message


def agrees_about_loops(it: World, found: list[Finding]) -> None:
    """There is a loop exactly where networkx says that the reached part is no acyclic graph; the one shown is closed and shortest."""
    assert len(found) == 1
    path = found[0].path
    seen = it.every.subgraph(it.reached)
    assert bool(path) != nx.is_directed_acyclic_graph(seen)
    if path:
        state = str(found[0].state)
        begin = next(number for number, hop in enumerate(path) if hop.state == state)
        assert path[-1].to == state
        first = path[begin].to
        assert len(path) - begin == 1 + nx.single_source_shortest_path_length(it.every, first)[state]


def walks(it: World, one: Finding) -> None:
    """A path begins at the start, takes only edges that are there, and leads to what the finding is about."""
    at = it.start
    for hop in one.path:
        assert hop.state == at
        assert it.every.has_edge(hop.state, hop.to)
        at = hop.to
    assert not one.path or one.code == "LF102" or at == one.state
