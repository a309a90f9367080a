"""Secrets that enter prompts, and calls that text from outside may have asked for; and machines that look alike and are sound."""

from collections.abc import Mapping
from typing import cast

import pytest
from pydantic import BaseModel, Field, SecretStr

from leverframe import Memory
from leverframe.canon import Object
from leverframe.check.data import findings, secret_fields
from leverframe.check.model import Graph
from tests.sketch import sketch

REST = """
    Paid consult     | happened: Done, not_happened: Short, expired: Lost
    Short compact    | retry: Back, give_up: Lost
    Done end
    Lost fail
"""
TOOLS = "charge keyed, refund keyed!, mail once, book local, look read, browse read?, inbox once?"


def found(table: str, others: dict[str, str] | None = None) -> list[str]:
    inside = {name: Graph(sketch(other + REST, name=name, tools=TOOLS)) for name, other in (others or {}).items()}
    graph = Graph(sketch(table + REST, tools=TOOLS))
    return [f"{each.code} {each.state}: {'; '.join(map(str, each.path))}" for each in findings(graph, inside)]


PAY = "    Pay act charge mail book | ok: Done, error: Short, unknown: Paid\n"
THINK = "    Think ask charge mail book look | charge: {0}, mail: {0}, book: {0}, look: Glance, stop: Done, error: Short\n"
GLANCE = "    Glance act look | ok: Done, error: Short\n"
WRITE = "    Write build mail | ok: Done, error: Short, unknown: Paid\n"
CHILD = "    Web fetch browse | ok: Sum, error: Short\n    Sum ask | done: Done, error: Short\n"
BUYER = "    Choose ask charge | charge: Pay, error: Short\n    Pay act charge | ok: Done, error: Short, unknown: Paid\n"
DESK = "    Pass delegate buyer | done: Done, error: Short, expired: Lost\n"
OFFICE = "    Send delegate child | done: Done, error: Short, expired: Lost\n"
CLERK = "    Web fetch browse | ok: Pass, error: Short\n" + DESK
OTHERS = {"child": CHILD, "buyer": BUYER, "desk": DESK, "office": OFFICE, "clerk": CLERK}
VIA = "Read –ok→ Think; "

BROKEN: dict[str, tuple[str, list[str]]] = {
    "a page is read, and the model pays, writes and books": (
        "    Read fetch browse | ok: Think, error: Short\n" + THINK.format("Pay") + PAY + GLANCE,
        [f"LF403 Pay: {VIA}Think –{tool}→ Pay" for tool in ("charge", "mail", "book")],
    ),
    "a page was read long ago": (
        "    Read fetch browse | ok: Nap, error: Short\n    Nap wait | rung: Ask, expired: Ask\n"
        "    Ask consult | go: Think, expired: Lost\n    Think ask charge | charge: Pay, error: Short\n" + PAY,
        ["LF403 Pay: Read –ok→ Nap; Nap –rung→ Ask; Ask –go→ Think; Think –charge→ Pay"],
    ),
    "the model reads the page itself, and comes back": (
        "    Think ask charge browse | charge: Pay, browse: Web, error: Short\n    Web act browse | ok: Think, error: Short\n"
        + PAY,
        ["LF403 Pay: Think –browse→ Web; Web –ok→ Think; Think –charge→ Pay"],
    ),
    "a mail is fetched by a call that may have happened": (
        "    Get build inbox | ok: Think, error: Short, unknown: Paid\n    Think ask charge | charge: Pay, error: Short\n" + PAY,
        ["LF403 Pay: Get –ok→ Think; Think –charge→ Pay"],
    ),
    "the model only says yes, and code builds the call": (
        "    Read fetch browse | ok: Think, error: Short\n    Think ask | yes: Write, no: Done, error: Short\n" + WRITE,
        ["LF403 Write: Read –ok→ Think; Think –yes→ Write"],
    ),
    "the approval is for a call that came before": (
        "    Read fetch browse | ok: First, error: Short\n    First ask charge | charge: Sign, error: Short\n"
        "    Sign approve | approved: Second, rejected: Lost, expired: Lost\n    Second ask charge | charge: Pay, error: Short\n"
        + PAY,
        ["LF403 Pay: Read –ok→ First; First –charge→ Sign; Sign –approved→ Second; Second –charge→ Pay"],
    ),
    "what a delegated run read comes back": (
        "    Ask delegate child | done: Think, error: Short, expired: Lost\n    Think ask charge | charge: Pay, error: Short\n"
        + PAY,
        ["LF403 Pay: Ask –done→ Think; Think –charge→ Pay"],
    ),
    "what was read is given to another machine": (
        "    Read fetch browse | ok: Hand, error: Short\n    Hand delegate buyer | done: Done, error: Short, expired: Lost\n",
        ["LF404 Hand: Read –ok→ Hand; Hand –starts→ buyer.Choose; buyer.Choose –charge→ buyer.Pay"],
    ),
    "what was read passes through a machine to one that acts": (
        "    Read fetch browse | ok: Hand, error: Short\n    Hand delegate desk | done: Done, error: Short, expired: Lost\n",
        ["LF404 Hand: Read –ok→ Hand; Hand –starts→ desk.Pass; desk.Pass –starts→ buyer.Choose; buyer.Choose –charge→ buyer.Pay"],
    ),
    "what a run read that a delegated run started comes back": (
        "    Ask delegate office | done: Think, error: Short, expired: Lost\n    Think ask charge | charge: Pay, error: Short\n"
        + PAY,
        ["LF403 Pay: Ask –done→ Think; Think –charge→ Pay"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_call_that_text_from_outside_may_have_asked_for_is_found(name: str) -> None:
    table, expected = BROKEN[name]
    assert found(table, OTHERS) == expected


SOUND = {
    "nothing from outside": "    Read fetch look | ok: Think, error: Short\n" + THINK.format("Pay") + PAY + GLANCE,
    "a person approves exactly this call": (
        "    Read fetch browse | ok: Think, error: Short\n    Think ask charge | charge: Sign, error: Short\n"
        "    Sign approve | approved: Pay, rejected: Think, expired: Lost\n" + PAY
    ),
    "the page is read after the call": (
        "    Think ask charge | charge: Pay, error: Short\n    Pay act charge | ok: Read, error: Short, unknown: Paid\n"
        "    Read fetch browse | ok: Done, error: Lost\n"
    ),
    "no model sees the page": (
        "    Read fetch browse | ok: Write, error: Short\n    Write build book | ok: Done, error: Short\n"
    ),
    "the model may only look": "    Read fetch browse | ok: Think, error: Short\n    Think ask look | look: Glance, error: Short\n"
    + GLANCE,
    "the call was made before the page was read": (
        "    Think ask charge | charge: Read, error: Lost\n    Read fetch browse | ok: Pay, error: Lost\n"
        "    Pay act charge | ok: Done, error: Lost, unknown: Lost\n"
    ),
    "the model saw the page, and never answered": (
        "    Read fetch browse | ok: Think, error: Short\n    Think ask | done: Done, error: Tired\n"
        "    Tired once | retry: Back, give_up: Write\n" + WRITE
    ),
    "the other machine reads strangers' words itself, and its own check says so": (
        "    Read fetch browse | ok: Hand, error: Short\n    Hand delegate clerk | done: Done, error: Short, expired: Lost\n"
    ),
    "what was given to the other machine is clean": "    Hand delegate buyer | done: Done, error: Short, expired: Lost\n",
}


@pytest.mark.parametrize("name", SOUND)
def test_a_machine_that_is_safe_from_it_has_no_finding(name: str) -> None:
    assert found(SOUND[name], OTHERS) == []


def test_machines_that_start_each_other_come_to_an_end_and_each_finding_is_said_once() -> None:
    hand = " | done: {}, error: Short, expired: Lost\n"
    on = "    Pass delegate back" + hand.format("Buy") + "    Buy delegate buyer" + hand.format("Done")
    back = "    Pass delegate on" + hand.format("Done")
    table = "    Read fetch browse | ok: Hand, error: Short\n    Hand delegate on" + hand.format("Done")
    [one] = found(table, {"on": on, "back": back, "buyer": BUYER})
    assert one.endswith("on.Buy –starts→ buyer.Choose; buyer.Choose –charge→ buyer.Pay")


def test_words_are_followed_through_any_number_of_machines() -> None:
    chain = {f"m{n}": f"    Pass delegate m{n + 1} | done: Done, error: Short, expired: Lost\n" for n in range(400)}
    table = "    Read fetch browse | ok: Hand, error: Short\n    Hand delegate m0 | done: Done, error: Short, expired: Lost\n"
    [one] = found(table, {**chain, "m400": BUYER})
    assert one.endswith("m399.Pass –starts→ m400.Choose; m400.Choose –charge→ m400.Pay")


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Account(BaseModel):
    user: str
    password: SecretStr


class Vault(Memory):
    plain: str = ""
    token: SecretStr | None = None
    account: Account | None = None
    several: list[SecretStr] = Field(default=[])
    both: tuple[Account, Account] | None = None
    named: Mapping[str, Account] = Field(default={})
    range: SecretStr | None = None
    pin: str = Field(default="", json_schema_extra={"writeOnly": True})


EVERY = ["token", "account", "several", "both", "named", "range", "pin"]


ASKS = "    Think ask | done: Done, error: Short\n" + REST


def vault(prompt: str) -> Graph:
    shape = cast("Object", Vault.model_json_schema())  # as another tool writes it: a machine of ours may not hold it
    body = sketch(ASKS, prompts={"Think": "# user\n\n" + prompt})
    return Graph({**body, "memory": shape})


def test_the_secret_fields_of_a_memory_are_known_also_inside_of_others() -> None:
    assert secret_fields(vault("")) == EVERY


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("{{ memory.get('token') }}", EVERY),
        ("{% set k = 'token' %}{{ memory[k] }}", EVERY),
        ("{{ memory['to' ~ 'ken'] }}", ["token"]),
        ("{{ memory[plain] }}", EVERY),
        ("{{ token }}", ["token"]),
        ("{% if memory.token %}there is one{% endif %}", ["token"]),
        ("{{ memory['account'].password }}", ["account.password"]),
        ("{{ account.user }} {{ account['password'] }}", ["account.password"]),
        ("{{ account }}", ["account"]),
        ("{% for each in account.values() %}{{ each }}{% endfor %}", ["account"]),
        ("{{ account['pass' ~ plain] }}", ["account"]),
        ("{{ both[-1].password }}", ["both.-1.password"]),
        ("{{ account|attr('password') }}", ["account"]),
        ("{% set it = account %}{{ it.user }}", ["account"]),
        ("{{ both[0].user }} {{ both[1].password }}", ["both.1.password"]),
        ("{% for each in both %}{{ each.user }}{% endfor %}", ["both"]),
        ("{{ named.ann.user }} {{ named.bob }}", ["named.bob"]),
        ("{{ token.user }}", ["token.user"]),
        ("{{ range }}", ["range"]),
        ("all: {{ memory }}", EVERY),
        ("{% for each in several %}{{ each }}{% endfor %}", ["several"]),
    ],
)
def test_a_secret_that_a_prompt_reads_is_found(prompt: str, names: list[str]) -> None:
    listed = list(findings(vault(prompt), {}))
    assert [(each.code, each.state) for each in listed] == [("LF401", "Think")] * len(names)
    assert [each.message.rpartition(" reads ")[2] for each in listed] == [f"{name!r}, which is secret" for name in names]
    assert "(prompts/sketch/think.md:3)" in listed[0].message


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ plain }}", "{{ memory.plain }}", "token", "{{ choices }}", "{{ window }}",
        "{{ account.user }}", "{{ memory['account'].user.upper() }}",
        "{{ both[0].user }}", "{{ named['ann'].user }}", "{{ memory.named.ann.user }}",
    ],
)  # fmt: skip
def test_a_prompt_that_reads_no_secret_has_no_finding(prompt: str) -> None:
    assert list(findings(vault(prompt), {})) == []
