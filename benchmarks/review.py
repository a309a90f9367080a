"""What a review costs as machines grow: `python -m benchmarks.review [--sizes 100,300,1000,3000] [--wild] [--json]`.

Random machines with five edges a state, sound as far as the card goes, so that no part stops early. Every part that `leverframe check`
has registered is timed by itself, with reading and validating the same machine as JSON and drawing it as Mermaid. `growth` is the
whole cost over that of the size before, beside how much the machine itself has grown: near-linear means that the two stay close.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import cast

from leverframe import graph
from leverframe.canon import Json, Object, canonical
from leverframe.check import PARTS, Graph, Part, check_text
from leverframe.machine import Definition

EDGES = 5
TOOLS = 12
COMPACTS = 5
DAY = 86_400_000_000
HASH = "0" * 64
TARGET = 2.0
"""Seconds that everything together may take for 1,000 states and 5,000 edges."""


def machine(states: int, seed: int = 1, *, wild: bool = False) -> Object:
    """A machine of so many states, `EDGES` times as many edges, tools of every effect class, and a few places where errors go.

    What an Ask picks is released by an Approve and executed by an Act behind it; edges lead anywhere else. In a `wild` machine that edge
    leads anywhere, and no Act executes what is pending: calls are carried through it all, which no sound machine does.
    """
    chance = random.Random(seed)
    bodies: dict[str, Object] = {}
    asks: list[str] = []
    names: list[str] = []  # of the states that may be entered from anywhere
    room = states - COMPACTS - TOOLS - 4
    while len(bodies) < room:
        name, following = f"S{len(names)}", f"S{len(names) + 1}"
        kind = chance.choices(["work", "fetch", "ask", "act", "consult", "wait"], [46, 12, 16, 12, 6, 8])[0]
        kind = kind if len(bodies) + 3 <= room else "work"
        names.append(name)
        bodies[name] = _state(kind, following, chance)
        if kind == "ask":
            asks.append(name)
            bodies[name]["texts"] = {"": f"# user\nWhat now, in {name} of {seed}? {{{{ text }}}}\n"}
            bodies |= {} if wild else _behind(name, bodies[name], following, chance)
    bodies[f"S{len(names)}"] = {"kind": "work", "doc": "", "edges": {"next": "Done", "again": names[0]}}
    bodies |= _common(names, chance)
    for name in asks if wild else ():
        cast("dict[str, str]", bodies[name]["edges"])[_picked(bodies[name])] = chance.choice(names)
    _fill(bodies, states * EDGES, names, chance)
    first: Json = [[name, "go"] if wild else [f"{name} gate", "approved"] for name in asks]
    return {
        "leverframe": 1,
        "name": f"random {states}",
        "doc": "",
        "start": names[0],
        "memory": {"type": "object", "properties": {"text": {"type": "string"}}},
        "states": cast("Json", bodies),
        "tools": {"find": _tool("read"), **{f"tool{n}": _tool("keyed" if n % 4 else "once") for n in range(TOOLS)}},
        "limits": {"steps": 1_000, "model_calls": 200, "cost": None, "days": None, "exceeded": "Help"},
        "rules": [{"rule": "precedence", "first": first, "before": "tool0"}],
    }


def _picked(ask: Object) -> str:
    return cast("str", cast("list[Object]", ask["choices"])[1]["intent"])


def _behind(name: str, ask: Object, following: str, chance: random.Random) -> dict[str, Object]:
    """What an Ask's call goes through: a person, and the Act that executes it."""
    tool = _picked(ask)
    unknown, error = f"Find{tool.removeprefix('tool')}", f"Shorten{chance.randrange(COMPACTS)}"
    cast("dict[str, str]", ask["edges"])[tool] = f"{name} gate"
    gate: Json = {"approved": f"{name} act", "rejected": name, "expired": following}
    act: Json = {"ok": following, "error": error, "unknown": unknown}
    return {
        f"{name} gate": {"kind": "approve", "doc": "", "to": "boss", "deadline": DAY, "edges": gate},
        f"{name} act": {"kind": "act", "doc": "", "tools": [tool], "builds": False, "edges": act},
    }


def _common(names: list[str], chance: random.Random) -> dict[str, Object]:
    """Where errors, doubts and limits lead, and the ends."""
    bodies: dict[str, Object] = {}
    for number in range(COMPACTS):
        bodies[f"Shorten{number}"] = {"kind": "compact", "doc": "", "times": 3, "edges": {"retry": "Back", "give_up": "Help"}}
    for number in range(TOOLS):
        edges: Json = {"happened": chance.choice(names), "not_happened": "Shorten0", "error": "Shorten1"}
        bodies[f"Find{number}"] = {"kind": "fetch", "doc": "", "tools": ["find"], "edges": edges}
    handled: Json = [{"intent": "handled", "kind": "reply", "schema": {}}]
    bodies["Help"] = {
        "kind": "consult",
        "doc": "",
        "to": "support",
        "deadline": DAY,
        "choices": handled,
        "edges": {"handled": "Done", "expired": "Failed"},
    }
    bodies["Done"] = {"kind": "end", "doc": "", "success": True, "edges": {}}
    bodies["Failed"] = {"kind": "end", "doc": "", "success": False, "edges": {}}
    return bodies


def _state(kind: str, following: str, chance: random.Random) -> Object:
    error, number = f"Shorten{chance.randrange(COMPACTS)}", chance.randrange(TOOLS)
    match kind:
        case "fetch":
            return {"kind": kind, "doc": "", "tools": ["find"], "edges": {"ok": following, "error": error}}
        case "ask":
            choices: Json = [{"intent": "go", "kind": "reply", "schema": {}}, {"intent": f"tool{number}", "kind": "tool"}]
            edges: Json = {"go": following, "error": error}
            return {"kind": kind, "doc": "Think.", "prompt": "random/think", "choices": choices, "edges": edges}
        case "act":
            number += number % 4 == 0  # the first of four needs a person, whom a call that is built never sees
            edges = {"ok": following, "error": error, "unknown": f"Find{number}"}
            return {"kind": kind, "doc": "", "tools": [f"tool{number}"], "builds": True, "edges": edges}
        case "consult" | "wait":
            to: Object = {"to": "customer"} if kind == "consult" else {}
            answered: Json = [{"intent": "answered", "kind": "reply", "schema": {}}]
            edges = {"answered": following, "expired": following}
            return {"kind": kind, "doc": "", **to, "deadline": DAY, "choices": answered, "edges": edges}
        case _:
            return {"kind": kind, "doc": "Decide.", "edges": {"next": following}}


def _fill(bodies: dict[str, Object], edges: int, names: list[str], chance: random.Random) -> None:
    """More outcomes of code, to anywhere, until there are as many edges as asked for."""
    rows = [cast("dict[str, str]", body["edges"]) for body in bodies.values() if body["kind"] == "work"]
    for number in range(edges - sum(len(cast("Object", body["edges"])) for body in bodies.values())):
        chance.choice(rows)[f"more{number}"] = chance.choice(names)


def _tool(effect: str) -> Object:
    options: Object = {
        "timeout": 30.0,
        "retries": 2,
        "reconciles": False,
        "input": {"type": "object"},
        "output": {},
        "contract": HASH,
    }
    return {"doc": "", "effect": effect, "approval": effect == "once", **options}


# ── measuring ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def costs(states: int, repeats: int, *, wild: bool) -> dict[str, float]:
    """Processor seconds of each thing, the best of some tries: the others measure what else went on. Each try has a machine of its own,
    so that nothing is remembered from the one before."""
    tries = [_costs(machine(states, seed, wild=wild)) for seed in range(repeats)]
    return {column: min(one[column] for one in tries) for column in tries[0]}


def _costs(body: Object) -> dict[str, float]:
    text = canonical(body)
    definition, model = Definition(text), Graph(body)
    found = {"graph": _timed(lambda: Graph(body))}
    for name, part in PARTS.items():
        found[name] = _timed(partial(_spend, part, model))
    found["mermaid"] = _timed(lambda: graph.mermaid(definition))
    found["all"] = sum(found.values())
    found["as JSON"] = _timed(lambda: check_text(text, "random.json"))  # read, validated, and every part again
    return found


def _spend(part: Part, model: Graph) -> None:
    for _ in part(model, {}):
        pass


def _timed(do: Callable[[], object]) -> float:
    start = time.process_time()
    do()
    return time.process_time() - start


def table(sizes: list[int], found: dict[int, dict[str, float]]) -> Iterator[str]:
    columns = list(found[sizes[0]])
    yield "states  edges  " + "".join(f"{column:>11}" for column in columns)
    for size in sizes:
        yield f"{size:>6} {size * EDGES:>6}  " + "".join(f"{found[size][column] * 1000:>8.1f} ms" for column in columns)
    for before, after in pairwise(sizes):
        grown = found[after]["all"] / found[before]["all"]
        yield f"from {before} to {after} states, {after / before:.1f} times as many: {grown:.1f} times the cost"
    if 1_000 in found:
        yield f"1,000 states and 5,000 edges: {found[1_000]['all']:.2f} s of {TARGET:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,300,1000,3000")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wild", action="store_true", help="machines in which calls are carried anywhere")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sizes = [int(size) for size in str(given.sizes).split(",")]
    found = {size: costs(size, int(given.repeats), wild=bool(given.wild)) for size in sizes}
    print(json.dumps(found, indent=2) if given.json else "\n".join(table(sizes, found)))


if __name__ == "__main__":
    main()
