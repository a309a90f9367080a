"""Every rule of a machine proven on all paths, or refuted by a shortest one (see `leverframe.rules` for what exactly that says)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from leverframe.automaton import PATTERNS, Letter, atoms, compiled, in_words, per_call, spoken
from leverframe.canon import Object
from leverframe.check.codes import said
from leverframe.check.delegates import below, unknown_below
from leverframe.check.finding import Finding, Hop
from leverframe.check.flow import Flow, flow_of
from leverframe.check.model import Graph
from leverframe.check.structure import listed
from leverframe.check.walk import Children, Flows, Place, Walk
from leverframe.rules import unknown

BROKEN, UNFINISHED, CALL, NOTHING, VACUOUS, UNPROVEN = "LF601", "LF602", "LF603", "LF604", "LF605", "LF606"
BUILT = "nothing lies between making and executing a call that its Act builds: write before=<the Act> in place of the tool"


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of one rule. `visited`: states of the product of machine and automaton that were looked at; all of them if `proven`.

    path    refuted: a shortest way from the start to where it breaks
    state   refuted: where that is
    letter  refuted: what breaks it; None where the run ends without what the rule asks for
    open    neither proven nor refuted, and why
    vacuous proven, but nothing that could break it, or fall under it, can ever happen
    """

    rule: Object
    words: str
    proven: bool
    visited: int
    path: tuple[Hop, ...] = ()
    state: str | None = None
    letter: Letter | None = None
    open: str = ""
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
        if proof.open:
            message = f"machine {graph.name}: the rule “{proof.words}” could not be proven: {proof.open}"
            yield said(UNPROVEN, graph.name, message, state=proof.state)
        elif not proof.proven:
            yield _refuted(graph, proof)
        elif proof.vacuous:
            message = f"machine {graph.name}: the rule “{proof.words}” is about what can never happen"
            yield said(VACUOUS, graph.name, message)


def _proof(flow: Flow, flows: Flows, rule: Object) -> Proof:
    automaton = compiled(rule)
    walk = Walk(flow, automaton, flows).run()
    breach = min(walk.breaches.values(), key=lambda each: len(each.path), default=None)
    words, visited = in_words(rule), len(walk)
    if breach is not None:
        return Proof(rule, words, False, visited, breach.path, breach.state, breach.letter)
    strangers = unknown_below(flow.graph, flows.others) if automaton.machines else []
    if strangers:
        return Proof(rule, words, False, visited, open=f"what {listed(strangers)} does is not known")
    if late := _late(flow, flows, walk):
        why = f"a run that is cut off when {late} expires still finishes the step it has in hand, and that may break the rule"
        return Proof(rule, words, False, visited, state=late, open=why)
    return Proof(rule, words, True, visited, vacuous=_vacuous(rule, walk))


def _late(flow: Flow, flows: Flows, walk: Walk) -> str | None:
    """A Delegate whose `expired` cuts runs that have a step in hand, where the rule may break if such a step is finished only later."""
    for place in list(walk) if walk.automaton.machines else ():
        node = flow.nodes[place.spot.state]
        children = walk.children(place.spot, place.state) if node.kind == "delegate" and "expired" in node.edges else None
        for cut in children.after("expired") if children else ():
            after = Walk(flow, walk.automaton, flows).resume(walk.left(place.spot, place.origins, "expired", cut))
            if children and _breaks_late(Walk(flow, walk.automaton, flows), list(after), children, cut):
                return node.name
    return None


def _breaks_late(on: Walk, places: list[Place], children: Children, cut: int) -> bool:
    """Can the step of a run that was cut break the rule in any of these places, or because of it something that comes after them?"""
    broken, steps = on.automaton.broken, children.finished_late(cut)
    seeds = [(each.spot, step, each.origins) for each in places for step in steps.get(each.state, ())]
    if any(step in broken for _, step, _ in seeds):
        return True
    if children.several_late:
        on.meanwhile = {now: {step: Hop("", "", "") for step in found - broken} for now, found in steps.items()}
    breaches = on.resume(seeds).breaches
    return bool(breaches) or (children.several_late and any(steps.get(each.state, set()) & broken for each in on))


def _vacuous(rule: Object, walk: Walk) -> bool:
    """Its scope never opens, or what it asks something else for never happens."""
    scope = cast("Object", rule.get("scope") or {})
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
    inside, hidden = below(graph, others), unknown_below(graph, others)
    for machine in sorted({letter.machine for letter in letters} - {""}):
        if machine in inside and machine in others:
            known = others[machine]
            found += unknown(f"{where} in {machine}", letters, _outcomes(known), set(known.tools), machine)
        elif not hidden:
            found.append(f"{where} is about machine {machine!r}, and no Delegate leads to it")
    return found


def _outcomes(graph: Graph) -> dict[str, set[str]]:
    return {name: set(node.edges) for name, node in graph.nodes.items()}
