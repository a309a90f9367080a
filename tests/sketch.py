"""Small machines as definitions, drawn in a few lines: what checks are tried on, without code behind them.

    Think ask charge  | charge: Sign, stop: Done, error: Short
    Sign approve      | approved: Pay, rejected: Think, expired: Lost

Name, kind and tools, then the edges. `build` is an Act that makes its own call, `once` a Compact with `times = 1`, `fail` an End without
success; a Delegate names its machine, with a `*` for a map; `ask3` may make three calls in one answer. Tools: `charge keyed!` needs
an approval, `browse read?` is untrusted.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from leverframe.canon import Json, Object, canonical
from leverframe.machine import Definition
from leverframe.rules import Rule

LIMITS: Object = {"steps": 100, "model_calls": None, "cost": None, "days": None, "exceeded": None}
TOOLS = "charge keyed!, mail once, book local, look read, browse read?"


def sketch(
    table: str,
    *,
    name: str = "sketch",
    tools: str = TOOLS,
    rules: Sequence[Rule | Object] = (),
    memory: Mapping[str, Object] | None = None,
    prompts: Mapping[str, str] | None = None,
    limits: Object | None = None,
) -> Object:
    """The definition that such a table means; its first line is the start."""
    states: Object = {}
    for line in filter(str.strip, table.splitlines()):
        head, _, row = line.partition("|")
        state, kind, *rest = head.split()
        pairs = (edge.split(":") for edge in row.split(",") if edge.strip())
        states[state] = _state(state, kind, rest, {outcome.strip(): to.strip() for outcome, to in pairs}, prompts or {})
    return {
        "leverframe": 1,
        "name": name,
        "version": "",
        "doc": "",
        "start": next(iter(states)),
        "memory": {"type": "object", "properties": cast("Object", dict(memory or {}))},
        "states": states,
        "tools": {tool: _tool(kind) for tool, kind in (item.split() for item in tools.split(","))},
        "limits": {**LIMITS, **(limits or {})},
        "rules": [rule.json() if isinstance(rule, Rule) else rule for rule in rules],
        "accepts": [],
    }


def definition(body: Object) -> Definition:
    return Definition(canonical(body))


def _state(name: str, kind: str, rest: list[str], edges: dict[str, str], prompts: Mapping[str, str]) -> Object:
    more: Object = {}
    kind, most = ("ask", int(kind[3:])) if kind.startswith("ask") and kind[3:] else (kind, 1)
    if kind in ("act", "build", "fetch"):
        more = {"tools": cast("Json", rest), "builds": kind == "build"}
    elif kind == "ask":
        replies = [outcome for outcome in edges if outcome not in (*rest, "error", "unsure")]
        choices: list[Json] = []
        choices += [_choice(tool, "tool") for tool in rest]
        choices += [_choice(reply, "reply") for reply in replies]
        text = prompts.get(name, "# user\n\n{{ window }}\n")
        more = {"prompt": f"sketch/{name.lower()}", "texts": {"": text}, "choices": choices, "threshold": None}
        more |= {"most": most} if most > 1 else {}
    elif kind in ("approve", "consult", "wait"):
        more = {"to": "ann", "deadline": 1, "choices": []}
    elif kind == "delegate":
        machine = rest[0]
        many = machine.endswith("*")
        more = {"machine": machine.rstrip("*"), "many": many, "max_failed": 0, "concurrency": 10, "deadline": 1}
    elif kind in ("compact", "once"):
        more = {"times": 1 if kind == "once" else 3}
    elif kind in ("end", "fail"):
        more = {"success": kind == "end"}
    real = {"build": "act", "once": "compact", "fail": "end"}.get(kind, kind)
    return {"kind": real, "doc": "", "edges": cast("Json", edges), **more}


def _choice(intent: str, kind: str) -> Object:
    return {"intent": intent, "kind": kind, **({"schema": {}, "contract": ""} if kind == "reply" else {})}


def _tool(kind: str) -> Object:
    effect = kind.rstrip("!?")
    return {
        "doc": "",
        "effect": effect,
        "approval": "!" in kind,
        "timeout": 30.0,
        "retries": 3,
        "reconciles": False,
        "untrusted": "?" in kind,
        "input": {},
        "output": {},
        "contract": "",
    }
