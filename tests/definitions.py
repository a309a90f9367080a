"""Definitions written as data, in as few words as a test needs: `definition(Read=ask("go", go="Done", error="Shorten"), …)`.

A tool is known by its effect: `read_order` is a `read` tool, `once_mail` a `once` one, and so on.
"""

import json
from typing import cast

from leverframe.canon import Json, Object, canonical
from leverframe.machine import Definition

DAY = 86_400_000_000
HASH = "0" * 64
PROMPT = "# user\nWhat is to be done? {{ text }}\n"


def definition(**states: Object) -> Object:
    """A definition of these states; the first is the start. What they name as tools exists, unless it is called `missing`."""
    named = {name for state in states.values() for name in _tools_of(state)}
    return {
        "leverframe": 1,
        "name": "desk",
        "version": "",
        "doc": "A desk.",
        "start": next(iter(states)),
        "memory": {"type": "object", "properties": {"text": {"type": "string"}}},
        "states": cast("Object", states),
        "tools": {name: tool(name.partition("_")[0]) for name in sorted(named - {"missing"})},
        "limits": {"steps": 40, "model_calls": 12, "cost": None, "days": None, "exceeded": None},
        "rules": [],
        "accepts": [],
    }


def limited(exceeded: str, /, **states: Object) -> Object:
    """The same, with a state that limits lead to."""
    body = definition(**states)
    cast("Object", body["limits"])["exceeded"] = exceeded
    return body


def text(body: Object) -> str:
    """As a person would write it: one key a line."""
    return json.dumps(body, indent=2)


def _tools_of(state: Object) -> list[str]:
    choices = cast("list[Object]", state.get("choices", []))
    return [*cast("list[str]", state.get("tools", [])), *(cast("str", c["intent"]) for c in choices if c["kind"] == "tool")]


def tool(effect: str, *, approval: bool = False) -> Object:
    return {
        "doc": "A tool.",
        "effect": effect,
        "approval": approval,
        "timeout": 30.0,
        "retries": 2,
        "reconciles": False,
        "input": {"type": "object"},
        "output": {},
        "contract": HASH,
    }


def _state(kind: str, edges: dict[str, str], **more: Json) -> Object:
    return {"kind": kind, "doc": "", "edges": cast("Json", edges), **more}


def work(**edges: str) -> Object:
    return _state("work", edges)


def ask(*picks: str, prompt: str = PROMPT, **edges: str) -> Object:
    """What can be picked: a name with `_` in it is a tool's, any other a reply's."""
    return _state(
        "ask", edges, prompt="desk/think", texts={"": prompt}, choices=[_choice(name) for name in picks], threshold=None
    )


def _choice(name: str) -> Json:
    return {"intent": name, "kind": "tool"} if "_" in name else {"intent": name, "kind": "reply", "schema": {}, "contract": HASH}


def fetch(*tools: str, **edges: str) -> Object:
    return _state("fetch", edges, tools=cast("Json", list(tools)), builds=False)


def act(*tools: str, builds: bool = True, **edges: str) -> Object:
    return _state("act", edges, tools=cast("Json", list(tools)), builds=builds)


def approve(*, to: str = "boss", deadline: int = DAY, **edges: str) -> Object:
    return _state("approve", edges, to=to, deadline=deadline)


def consult(*replies: str, to: str = "boss", deadline: int = DAY, **edges: str) -> Object:
    choices: Json = [{"intent": name, "kind": "reply", "schema": {}, "contract": HASH} for name in replies]
    return _state("consult", edges, to=to, deadline=deadline, choices=choices)


def wait(*events: str, deadline: int = DAY, **edges: str) -> Object:
    choices: Json = [{"intent": name, "kind": "reply", "schema": {}, "contract": HASH} for name in events]
    return _state("wait", edges, deadline=deadline, choices=choices)


def delegate(machine: str = "", *, deadline: int = DAY, pinned: str = HASH, **edges: str) -> Object:
    """To OTHER, or to a machine of that name."""
    more: Object = {
        "machine": machine or OTHER.name,
        "definition": pinned if machine else OTHER.hash,
        "deadline": deadline,
        "max_failed": 0,
        "concurrency": 10,
        "returns": None,
    }
    return _state("delegate", edges, **more)


def compact(*, times: int = 3, **edges: str) -> Object:
    return _state("compact", edges, times=times)


def end(*, success: bool = True) -> Object:
    return _state("end", {}, success=success)


OTHER = Definition(canonical({**definition(Begin=work(go="Over"), Over=end()), "name": "other"}))
"""What a delegate delegates to."""
