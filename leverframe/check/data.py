"""What data can reach: secrets that enter a prompt, and calls that text from outside may have talked a model into.

A run is *contaminated* once a tool marked `untrusted=True` ran (or a run that it delegated to could run one): the window shows every
result since the run began, and `keep` may have copied it into the memory. It is *led* once an Ask has answered while it was
contaminated: from there on the model's choices, and what code builds because of them, may be somebody else's wishes. A call that is made
in a led run is tainted, and so is one that follows others of its answer in a contaminated run, for it may hold what they gave; until a
person approves exactly that call. What people and events say is not taken for untrusted: mark the tool that reads it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from leverframe.automaton import BROKEN, RENEWED, RESOLVED, Automaton, Letter, ended, executed, tabulated
from leverframe.canon import Json, Object
from leverframe.check.codes import said
from leverframe.check.finding import Finding, Hop
from leverframe.check.flow import flow_of
from leverframe.check.model import Graph
from leverframe.check.walk import Breach, Flows, Walk
from leverframe.errors import PromptError
from leverframe.prompt import Prompt, pinned, pinned_partials
from leverframe.template import Steps

SECRET, TAINTED, TAINTED_INSIDE = "LF401", "LF403", "LF404"
DOES = frozenset({"keyed", "once", "local"})
_DONE, _APPROVED, _RENEWED, _UNTRUSTED, _ANSWERED, _RESOLVED = 1, 2, 4, 8, 16, 32
_GIVEN, _LED = Letter("given"), Letter("led")  # what a run begins with: untrusted data, and because a model was led to start it


def findings(graph: Graph, others: Mapping[str, Graph]) -> Iterator[Finding]:
    yield from _secrets(graph)
    yield from _tainted(graph, others)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def secret_fields(graph: Graph) -> list[str]:
    """The fields of the memory that are secret, or hold something that is. The window leaves them out by itself; a template that reads
    one does not."""
    memory = cast("Object", graph.body.get("memory") or {})
    shared = cast("Object", memory.get("$defs") or {})
    fields = cast("Object", memory.get("properties") or {})
    return [name for name, shape in fields.items() if any(_secret_parts(shape, shared, set()))]


def _secret_parts(shape: Json, shared: Object, seen: set[str]) -> Iterator[Object]:
    if isinstance(shape, list):
        for item in shape:
            yield from _secret_parts(item, shared, seen)
    if not isinstance(shape, dict):
        return
    if shape.get("writeOnly") is True:
        yield shape
    name = str(shape.get("$ref", "")).removeprefix("#/$defs/")
    if name in shared and name not in seen:
        yield from _secret_parts(shared[name], shared, {*seen, name})
    for key, item in shape.items():
        if key not in ("default", "examples", "enum", "const"):
            yield from _secret_parts(item, shared, seen)


def _secrets(graph: Graph) -> Iterator[Finding]:
    secret = secret_fields(graph)
    if not secret:
        return  # prompts are not even parsed
    for node in (node for node in graph.nodes.values() if node.kind == "ask"):
        partials = pinned_partials(node.body)
        for name, variant, text in pinned(node.body):
            try:
                prompt = Prompt.parse(name, variant, text, partials=partials)
                reads = prompt.reads()
            except PromptError:
                continue  # said where prompts are checked
            read = {field: line for steps, line in reads.items() for field in _secrets_read(graph, steps)}
            for field, line in read.items():
                where = f"{prompt.where}:{line}"
                message = f"machine {graph.name}: the prompt of {node.name} ({where}) reads {field!r}, which is secret"
                yield said(SECRET, graph.name, message, state=node.name)


def _secrets_read(graph: Graph, steps: Steps) -> Iterator[str]:
    """The fields of the memory that somebody reads a secret of who goes these steps: by what was gone, or each if it is all of them."""
    memory = cast("Object", graph.body.get("memory") or {})
    fields, shared = cast("Object", memory.get("properties") or {}), cast("Object", memory.get("$defs") or {})
    if steps == ("memory",):
        yield from secret_fields(graph)
        return
    field, *inside = steps[1:] if steps[0] == "memory" else steps
    if field in fields and _secret_at(fields[str(field)], shared, inside):
        yield ".".join(map(str, (field, *inside)))


def _secret_at(shape: Json, shared: Object, steps: Sequence[str | int]) -> bool:
    """Is there a secret at the end of these steps into a schema, or on the way? Where it does not tell what they lead to, all of it counts."""
    found = [shape]
    for step in steps:
        if any(part.get("writeOnly") is True for part in _parts(found, shared)):
            return True
        found = [inner for part in _parts(found, shared) for inner in _inside_of(part, step)]
    return any(True for _ in _secret_parts(found, shared, set()))


def _parts(shapes: Sequence[Json], shared: Object) -> Iterator[Object]:
    """Schemas, with all that they are composed of."""
    todo, named = list(shapes), set[str]()
    for shape in todo:  # grows as it is walked
        if not isinstance(shape, dict):
            continue
        yield shape
        name = str(shape.get("$ref", "")).removeprefix("#/$defs/")
        if name in shared and name not in named:
            named.add(name)
            todo.append(shared[name])
        for key in ("anyOf", "oneOf", "allOf"):
            todo += cast("list[Json]", shape.get(key) or [])


_FOLLOWED = {
    "$ref",
    "$defs",
    "anyOf",
    "oneOf",
    "allOf",
    "properties",
    "additionalProperties",
    "patternProperties",
    "items",
    "prefixItems",
}


def _inside_of(part: Object, step: str | int) -> Iterator[Json]:
    """The schemas of what a step leads to; keywords that are not followed step by step lead anywhere."""
    if isinstance(step, int):
        yield part.get("items")
        first = cast("list[Json]", part.get("prefixItems") or [])
        yield from first[step : step + 1] if step >= 0 else first
    else:
        named = cast("Object", part.get("properties") or {})
        yield named[step] if step in named else part.get("additionalProperties")
        yield from cast("Object", part.get("patternProperties") or {}).values()
    yield {key: value for key, value in part.items() if key not in _FOLLOWED}


# ── taint ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tainted(graph: Graph, others: Mapping[str, Graph]) -> Iterator[Finding]:
    flows = Flows(others)
    automaton = _taint(graph, others)
    walk = Walk(flow_of(graph), automaton, flows, first=False).run()
    for breach in walk.breaches.values():
        message = (
            f"machine {graph.name}: {breach.state} can execute {_tool(breach)} unapproved after untrusted data reached a model"
        )
        yield said(TAINTED, graph.name, message, state=breach.state, path=breach.path)
    yield from _inside(graph, others, walk)


def _taint(graph: Graph, others: Mapping[str, Graph]) -> Automaton:
    """States are named after the run (clean, contaminated, led) and hold whether the pending call is tainted."""
    roles: dict[Letter, int] = {RENEWED: _RENEWED, RESOLVED: _RESOLVED, _GIVEN: _UNTRUSTED, _LED: _ANSWERED}
    for name, tool in graph.tools.items():
        role = (_DONE if tool.get("effect") in DOES else 0) | (_UNTRUSTED if tool.get("untrusted") else 0)
        if role:
            roles[executed(name)] = role
    for node in graph.nodes.values():
        if node.kind == "ask":
            roles |= {ended(node.name, outcome): _ANSWERED for outcome in node.edges if outcome != "error"}
        elif node.kind == "approve":
            roles[ended(node.name, "approved")] = _APPROVED
        elif node.kind == "delegate" and _brings(str(node.body.get("machine")), others):
            roles |= {ended(node.name, outcome): _UNTRUSTED for outcome in node.edges if outcome != "expired"}
    return tabulated(roles, None, ("clean", 0), _follow)


def _follow(state: tuple[str, int], role: int) -> tuple[str, int]:
    run, tainted = state
    if state == BROKEN:
        return BROKEN
    if role & _ANSWERED and run == "contaminated":
        run = "led"
    if role & _RENEWED:
        tainted = int(run == "led")
    if role & _RESOLVED and run != "clean":
        tainted = 1
    if role & _APPROVED:
        tainted = 0
    if role & _DONE and tainted:
        return BROKEN
    return "contaminated" if role & _UNTRUSTED and run == "clean" else run, tainted


def _brings(machine: str, others: Mapping[str, Graph]) -> bool:
    """Can a run of this machine execute an untrusted tool, itself or in runs of its own, however deep?"""
    todo, known = [machine], {machine}
    for name in todo:  # grows as it is walked
        graph = others.get(name)
        nodes = [graph.nodes[each] for each in graph.reached] if graph else []
        own = {tool for node in nodes if node.kind in ("fetch", "act") for tool in node.tools}
        if graph and any(graph.tools.get(tool, {}).get("untrusted") for tool in own):
            return True
        more = {str(node.body.get("machine")) for node in nodes if node.kind == "delegate"}
        todo += more - known
        known |= more
    return False


class _Handed(NamedTuple):
    """A Delegate that a run comes to contaminated: the memory a run begins with is in its window, so what it starts begins so, too."""

    state: str
    machine: str
    led: bool
    path: tuple[Hop, ...]


def _inside(graph: Graph, others: Mapping[str, Graph], walk: Walk) -> Iterator[Finding]:
    """What other machines would do unapproved if they were given what this one has, and what those would that they give it on to."""
    todo, done = [(each.state, each) for each in _handed(walk, others)], set[tuple[str, bool]]()
    for state, (place, machine, led, way) in todo:  # grows as it is walked; `state`: the one of this machine
        if (machine, led) in done:
            continue
        done.add((machine, led))
        path = (*way, Hop(place, "starts", f"{machine}.{others[machine].start}"))
        breaches, handed = _given(others[machine], others, led=led)
        for breach in breaches:
            message = f"machine {graph.name}: {machine}.{breach.state} can execute {_tool(breach)} unapproved, with what {state} gives it"
            yield said(TAINTED_INSIDE, graph.name, message, state=state, path=(*path, *_within(machine, breach.path)))
        for one in handed:
            further = one._replace(state=f"{machine}.{one.state}", path=(*path, *_within(machine, one.path)))
            todo.append((state, further))


def _handed(walk: Walk, others: Mapping[str, Graph]) -> Iterator[_Handed]:
    """To each machine at most twice: by a run that is contaminated, and by one that is led."""
    done: set[tuple[str, bool]] = set()
    for place in walk:
        node, state = walk.flow.nodes[place.spot.state], place.state
        if node.kind != "delegate" or walk.automaton.step(state, _GIVEN) != state:
            continue
        machine, led = str(node.body.get("machine")), walk.automaton.step(state, _LED) == state
        if machine in others and (machine, led) not in done:
            done.add((machine, led))
            yield _Handed(node.name, machine, led, walk.way(place))


def _given(child: Graph, others: Mapping[str, Graph], *, led: bool) -> tuple[list[Breach], list[_Handed]]:
    """What the other machine does unapproved with untrusted input, and to whom it gives it; without what it would with any other."""
    automaton, flow, flows = _taint(child, others), flow_of(child), Flows(others)
    start = automaton.read(0, (_GIVEN, _LED) if led else (_GIVEN,))
    anyway = Walk(flow, automaton, flows, first=False).run()
    found = Walk(flow, automaton, flows, first=False).run(start)
    known = {(each.machine, each.led) for each in _handed(anyway, others)}
    breaches = [breach for key, breach in found.breaches.items() if key not in anyway.breaches]
    return breaches, [each for each in _handed(found, others) if (each.machine, each.led) not in known]


def _within(machine: str, path: tuple[Hop, ...]) -> Iterator[Hop]:
    return (Hop(f"{machine}.{hop.state}", hop.outcome, f"{machine}.{hop.to}") for hop in path)


def _tool(breach: Breach) -> str:
    return breach.letter.name if breach.letter else ""
