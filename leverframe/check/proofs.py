"""Every rule of a machine proven on all paths, or refuted by a shortest one (see `leverframe.rules` for what exactly that says)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from leverframe.automaton import PATTERNS, Letter, atoms, compiled, in_words, per_call, spoken
from leverframe.canon import Object
from leverframe.check.codes import said
from leverframe.check.finding import Finding, Hop
from leverframe.check.flow import Flow, flow_of
from leverframe.check.model import Graph
from leverframe.check.walk import Flows, Walk
from leverframe.rules import unknown

BROKEN, UNFINISHED, CALL, NOTHING, VACUOUS = "LF601", "LF602", "LF603", "LF604", "LF605"
BUILT = "nothing lies between making and executing a call that its Act builds: write before=<the Act> in place of the tool"


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of one rule. `visited`: states of the product of machine and automaton that were looked at; all of them if `proven`.

    path    refuted: a shortest way from the start to where it breaks
    state   refuted: where that is
    letter  refuted: what breaks it; None where the run ends without what the rule asks for
    vacuous proven, but nothing that could break it, or fall under it, can ever happen
    """

    rule: Object
    words: str
    proven: bool
    visited: int
    path: tuple[Hop, ...] = ()
    state: str | None = None
    letter: Letter | None = None
    vacuous: bool = False


def prove(graph: Graph, others: Mapping[str, Graph]) -> list[Proof]:
    """One proof for each rule, in their order. Rules that name what there is not are left to `findings`."""
    flow, flows = flow_of(graph), Flows(others)
    sound = [rule for rule in graph.rules if not _misnamed(graph, rule, others)]
    return [_proof(flow, flows, rule) for rule in sound]


def findings(graph: Graph, others: Mapping[str, Graph]) -> Iterator[Finding]:
    for rule in graph.rules:
        for problem in _misnamed(graph, rule, others):
            yield said(NOTHING, graph.name, problem)
    for proof in prove(graph, others):
        if not proof.proven:
            yield _refuted(graph, proof)
        elif proof.vacuous:
            message = f"machine {graph.name}: the rule “{proof.words}” is about what can never happen"
            yield said(VACUOUS, graph.name, message)


def _proof(flow: Flow, flows: Flows, rule: Object) -> Proof:
    automaton = compiled(rule)
    walk = Walk(flow, automaton, flows).run()
    breach = min(walk.breaches.values(), key=lambda each: len(each.path), default=None)
    words, visited = in_words(rule), len(walk)
    if breach is None:
        return Proof(rule, words, True, visited, vacuous=_vacuous(rule, walk))
    return Proof(rule, words, False, visited, breach.path, breach.state, breach.letter)


def _vacuous(rule: Object, walk: Walk) -> bool:
    """Its scope never opens, or what it asks something else for never happens."""
    scope = cast(Object, rule.get("scope") or {})
    opening = atoms({"rule": "absence", "scope": {"after": scope.get("after")}})
    if opening and not walk.heard.intersection(opening):
        return True
    if per_call(rule):
        return not any(letter.what == "tool" for letter in walk.heard)
    other = atoms({"rule": "absence", "other": rule.get("other")})
    return bool(other) and not walk.heard.intersection(other)


def _refuted(graph: Graph, proof: Proof) -> Finding:
    code = CALL if per_call(proof.rule) else BROKEN if proof.letter else UNFINISHED
    how = _how(proof)
    message = f"machine {graph.name}: the rule “{proof.words}” does not hold: {how}"
    outcome = proof.letter.outcome or None if proof.letter else None
    builds = code == CALL and proof.state in graph.nodes and graph.nodes[proof.state].builds
    return said(code, graph.name, message, state=proof.state, outcome=outcome, path=proof.path, remedy=BUILT if builds else "")


def _how(proof: Proof) -> str:
    if proof.letter is None:
        return f"a run can end in {proof.state} without it"
    if proof.letter.what == "tool":
        return f"{proof.state} can execute {proof.letter.name}"
    if proof.letter.what == "state":
        return f"{proof.state} can be entered"
    return f"{spoken(proof.letter)} can happen"


def _misnamed(graph: Graph, rule: Object, others: Mapping[str, Graph]) -> list[str]:
    """What the rule names and nothing has; definitions that this project did not make can say anything."""
    where = f"machine {graph.name}: rule {rule.get('rule')}"
    if rule.get("rule") not in PATTERNS:
        return [f"{where} is of no pattern there is; there are {', '.join(sorted(PATTERNS))}"]
    letters = atoms(rule)
    found = list(unknown(where, letters, _outcomes(graph), set(graph.tools)))
    below = _inside(graph, others)
    for machine in sorted({letter.machine for letter in letters} - {""}):
        if machine in below:
            known = below[machine]
            found += unknown(f"{where} in {machine}", letters, _outcomes(known), set(known.tools), machine)
        else:
            found.append(f"{where} is about machine {machine!r}, and no Delegate leads to it")
    return found


def _outcomes(graph: Graph) -> dict[str, set[str]]:
    return {name: set(node.edges) for name, node in graph.nodes.items()}


def _inside(graph: Graph, others: Mapping[str, Graph]) -> dict[str, Graph]:
    found: dict[str, Graph] = {}
    todo = [graph]
    while todo:
        for node in todo.pop().nodes.values():
            name = str(node.body.get("machine"))
            if node.kind == "delegate" and name in others and name not in found:
                found[name] = others[name]
                todo.append(others[name])
    return found
