"""The refund machine in a world that remembers everything: five ways through it, and what must hold however often it crashed.

A provider that honours keys and writes down every request, the real tables, the real outbox. A trial is one run through one path
with crashes at given points; `violations` compares it with the same path undisturbed.
"""

import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from itertools import count
from mailbox import Maildir
from pathlib import Path
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import cast

from sqlmodel import col, delete, select

import tools
from leverframe import Call, Engine, Reply, TriggerCommand
from leverframe.canon import Json, Object
from leverframe.errors import BadCompletion, LeverframeError, ModelUnavailable
from leverframe.llm import Request
from leverframe.recording import record
from leverframe.replay import replay
from leverframe.run import OVER
from leverframe.store import Effect, Row, Task
from leverframe.testing import CrashPoints, FakeClock, Restart, Scripted
from machines.refund import refund
from states.refund import Decline
from tools import sandbox
from tools.payments import RefundOrder, issue_refund
from tools.tables import Refunds, reading

FINAL = {"done", "failed", "not_done", "void", "unknown"}
_numbers = count(1)


# ── the world ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Provider(ThreadingTCPServer):
    """Pays refunds, once for a key. What it is asked, and what it did, can be looked at."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Desk)
        self.clear()
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def clear(self, *, refuses: str = "", loses: str = "") -> None:
        """`refuses` is an amount it does not pay; of `loses` it pays the first request and hangs up without an answer."""
        self.asked: list[tuple[str, str]] = []
        self.done: dict[str, tuple[str, str]] = {}
        self.refuses, self.loses = refuses, loses

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def pay(self, key: str, body: str) -> tuple[int, str]:
        self.asked.append((key, body))
        if key in self.done:
            was, answer = self.done[key]
            return (200, answer) if was == body else (409, "this key was used for something else")
        wanted = json.loads(body)
        if wanted["amount"] == self.refuses:
            return 402, "refused"
        answer = json.dumps({"id": f"pay-{key[3:]}", **wanted})
        self.done[key] = (body, answer)
        return (0, "") if wanted["amount"] == self.loses else (200, answer)


class _Desk(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(*cast("Provider", self.server).pay(self.headers["Idempotency-Key"], body))

    def do_GET(self) -> None:
        found = cast("Provider", self.server).done.get(self.path.rpartition("/")[2])
        self._answer(*((200, found[1]) if found else (404, "nothing was done under this key")))

    def _answer(self, status: int, text: str) -> None:
        if status:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Not on people's terminals."""


@dataclass
class World:
    """One database with the shop's tables, an outbox, and the provider."""

    url: str
    folder: Path
    provider: Provider

    def enter(self) -> None:
        """Tools find their world by the environment and by what was prepared last."""
        os.environ |= {"PAYMENTS_URL": self.provider.url, "SANDBOX_DIR": str(self.folder)}
        os.environ.pop("SMTP_URL", None)
        tools.prepare(self.url)

    def clean(self, way: "Way") -> None:
        """As before the first customer."""
        self.enter()
        self.provider.clear(refuses=way.refuses, loses=way.loses)
        outbox = Maildir(sandbox.beside(".outbox"))
        outbox.clear()
        outbox.close()
        with reading() as session:
            session.exec(delete(Refunds).where(col(Refunds.payment).startswith("pay-")))
            session.commit()

    def mails(self) -> list[str]:
        """References of all mails that went out."""
        outbox = Maildir(sandbox.beside(".outbox"))
        return [str(message["Message-ID"]).strip("<>").partition("@")[0] for message in outbox]

    def booked(self) -> list[str]:
        """Payments that stand in the books."""
        with reading() as session:
            return list(session.exec(select(Refunds.payment).where(col(Refunds.payment).startswith("pay-"))))


@contextmanager
def world(url: str, folder: Path) -> Generator[World]:
    provider = Provider()
    before = dict(os.environ)
    made = World(url, folder, provider)
    try:
        made.enter()
        yield made
    finally:
        os.environ.clear()
        os.environ |= before
        provider.shutdown()
        provider.server_close()


# ── five ways ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

Speaker = Callable[[Request], "Reply[str] | Call[object] | Exception"]
Person = Callable[[Engine, Task], "Awaitable[object]"]


def pay(amount: str) -> Call[object]:
    return issue_refund.call(RefundOrder(order_id=1042, amount=Decimal(amount), reason="broken"))


def once_then_decline(request: Request) -> "Reply[str] | Call[object]":
    return pay("129.00") if request.memory["proposed"] is None else Decline(reason="It was worn.")


def less_after_a_refusal(request: Request) -> "Reply[str] | Call[object]":
    return pay("129.00") if request.memory["proposed"] is None else pay("60.00")


async def approve(engine: Engine, task: Task) -> None:
    await engine.decide(task.id, by="ann", decision="approved")


async def reject(engine: Engine, task: Task) -> None:
    await engine.decide(task.id, by="ann", decision="rejected", comment="worn")


async def edit(engine: Engine, task: Task) -> None:
    """To 60 euros, and what is asked then is approved by somebody else."""
    arguments = cast("Object", cast("Object", task.call)["arguments"])
    if arguments["amount"] == "60.00":
        await engine.decide(task.id, by="bob", decision="approved")
    else:
        await engine.decide(task.id, by="ann", decision="edited", arguments={**arguments, "amount": "60.00"})


async def let_it_expire(engine: Engine, task: Task) -> None:
    cast("FakeClock", engine.clock).advance(timedelta(days=2, seconds=1))


async def take_over(engine: Engine, task: Task) -> None:
    await engine.answer(task.id, by="sue", value="wrote to the customer")


@dataclass(frozen=True)
class Way:
    """How the world behaves, and where that leads."""

    name: str
    ends: str
    model: Speaker = less_after_a_refusal
    release: Person = approve
    faults: tuple[Exception, ...] = ()
    """What the model gives first."""
    refuses: str = ""
    loses: str = ""


WAYS = (
    Way("approved", "Refunded"),
    Way("rejected", "Declined", model=once_then_decline, release=reject),
    Way("edited", "Refunded", release=edit),
    Way("expired", "Closed", release=let_it_expire),
    Way(
        "error",
        "Refunded",
        faults=(ModelUnavailable("busy"), BadCompletion("not JSON")),
        refuses="129.00",
        loses="60.00",
    ),
)


def model_of(way: Way) -> Scripted:
    faults = list(way.faults)

    def speaks(request: Request) -> "Reply[str] | Call[object] | Exception":
        return faults.pop(0) if faults else way.model(request)

    return Scripted(speaks)


def scenario(way: Way, key: str) -> "Callable[[Engine], Awaitable[Row]]":
    """The customer writes, people decide what is open. Said again from the beginning after a crash."""
    people: Mapping[str, Person] = {"Release": way.release, "HandOver": take_over}

    async def happens(engine: Engine) -> Row:
        command = TriggerCommand("refund", {"message": "Order 1042 arrived broken"}, key=key)
        row = await engine.start(command, hold=True)
        for _ in range(20):
            row = await engine.advance(row.run.id)
            if row.run.status in OVER:
                return row
            for task in await engine.store.tasks(row.run.id):
                if task.kind != "reconcile":
                    await people[task.state](engine, task)
        return row

    return happens


# ── a trial ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Trial:
    """What came of one run."""

    way: Way
    at: tuple[int, ...]
    restart: Restart
    passed: list[str] = field(default_factory=list[str])
    end: tuple[object, ...] = ()
    effects: list[Effect] = field(default_factory=list[Effect])
    wrong: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        where = ", ".join(f"{number} ({self.passed[number - 1]})" for number in self.at if number <= len(self.passed))
        return f"{self.way.name}, {self.restart}, stopped at {where or 'nothing'}"

    def done(self, effect_class: str) -> int:
        return sum(effect.effect_class == effect_class and effect.status == "done" for effect in self.effects)


def attempt(world: World, way: Way, at: tuple[int, ...] = (), restart: Restart = "here", *, begun: str | None = None) -> Trial:
    """One run with crashes at these points, and everything that is wrong with it. `begun`: its key, where another process began it."""
    if begun is None:
        world.clean(way)
    own_loop = (sum(at) + (restart == "elsewhere")) % 2 == 1  # every point once so and once so; and every second pair
    points = CrashPoints(world.url, [refund], llm=model_of(way), clock=FakeClock(), at=at, restart=restart, own_loop=own_loop)
    trial = Trial(way, at, restart, points.passed)
    happens = scenario(way, begun or f"customer-{next(_numbers)}")

    async def happens_and_is_looked_at(engine: Engine) -> None:
        row = await happens(engine)
        points.at, passed = frozenset(), len(points.passed)  # nobody crashes while it is looked at
        payment = cast("Object | None", cast("Object", row.run.result or {}).get("payment"))
        amount = payment["amount"] if payment else None
        trial.end = (row.run.status, row.run.state, amount, row.run.memory["reason"], row.run.memory["note"])
        trial.effects = await engine.store.effects(row.run.id)
        trial.wrong += [*await _untrue(engine, row), *_undone(world, trial), *await _unreleased(engine, row, world)]
        del points.passed[passed:]

    try:
        points.run(happens_and_is_looked_at)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a violation
        trial.wrong.append(f"{type(error).__name__}: {error}")
    return trial


def violations(trial: Trial, calm: Trial) -> list[str]:
    """What is wrong with a run, alone and beside the one nothing happened to."""
    wrong = list(trial.wrong)
    if trial.end != calm.end:
        wrong.append(f"ends as {trial.end}, without a crash as {calm.end}")
    for effect_class in ("keyed", "local"):
        if trial.done(effect_class) != calm.done(effect_class):
            wrong.append(f"{trial.done(effect_class)} {effect_class} effects, without a crash {calm.done(effect_class)}")
    return [f"{trial}: {each}" for each in wrong]


async def _untrue(engine: Engine, row: Row) -> list[str]:
    """Does the log fold, is every effect at its end, and every doubt with a person?"""
    wrong: list[str] = []
    try:
        await engine.verify(row.run.id)
    except LeverframeError as error:
        wrong.append(f"verify: {error}")
    found = await replay(await record(engine.store, row.run.id), refund, refund.definition({}))
    if found.divergence:
        wrong.append(f"told again, it parts: {found.divergence.words()}")
    effects = await engine.store.effects(row.run.id)
    wrong += [f"{effect.tool} is left {effect.status}" for effect in effects if effect.status not in FINAL]
    open_tasks = await engine.store.tasks(row.run.id)
    unknown = sum(effect.status == "unknown" for effect in effects)
    kinds = Counter(task.kind for task in open_tasks)
    if kinds != Counter({"reconcile": unknown} if unknown else {}):
        wrong.append(f"{unknown} unknown effects, open tasks {dict(kinds)}")
    if row.lease_owner is not None:
        wrong.append("the run is over and still held")
    return wrong


def _undone(world: World, trial: Trial) -> list[str]:
    """Is what the world saw what the effects say?"""
    wrong: list[str] = []
    paid = {effect.key for effect in trial.effects if effect.effect_class == "keyed" and effect.status == "done"}
    if paid != set(world.provider.done):
        wrong.append(f"the provider paid {len(world.provider.done)} times, the effects say {len(paid)}")
    bodies: dict[str, set[str]] = {}
    for key, body in world.provider.asked:
        bodies.setdefault(key, set()).add(body)
    wrong += [f"one key came with {len(said)} different requests" for said in bodies.values() if len(said) > 1]
    if len(world.booked()) != trial.done("local"):
        wrong.append(f"{len(world.booked())} bookings, the effects say {trial.done('local')}")
    mails, sent = len(world.mails()), trial.done("once")
    doubts = sum(effect.effect_class == "once" and effect.status == "unknown" for effect in trial.effects)
    if not sent <= mails <= sent + doubts:
        wrong.append(f"{mails} mails, the effects say {sent} and {doubts} unknown")
    if mails > len(world.provider.done):
        wrong.append(f"{mails} mails about {len(world.provider.done)} payments")
    return wrong


async def _unreleased(engine: Engine, row: Row, world: World) -> list[str]:
    """Every payment above 50 euros is one that a person approved, as it stands."""
    approved: set[str] = set()
    pending: Json = None
    for line in await engine.store.events(row.run.id):
        if line.type in ("asked", "edited") and "call" in line.body:
            pending = cast("Object", line.body["call"])["arguments"]
        elif line.type == "decided" and line.body["outcome"] == "approved":
            approved.add(str(cast("Object", pending)["amount"]))
    asked = {str(json.loads(body)["amount"]) for _, body in world.provider.asked}
    return [f"{amount} euros were asked for, approved were {approved or 'none'}" for amount in asked - approved]
