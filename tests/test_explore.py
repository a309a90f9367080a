"""Everything the shipped machines can do, walked over the pure reducer; and proof that the walk would find what is wrong."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Never

import pytest

from leverframe import (
    Act,
    Approve,
    Ask,
    Back,
    Call,
    Compact,
    Consult,
    Daily,
    Delegate,
    End,
    Fetch,
    Got,
    Key,
    Limits,
    Machine,
    Memory,
    Precedence,
    Reply,
    Wait,
    Work,
    tool,
)
from leverframe.machine import Definition
from leverframe.reduce import Need, need_of, reduce
from leverframe.run import Event, Run, but
from machines.refund import refund
from machines.restock import restock
from machines.sales_report import sales_report
from tests.clerk import clerk
from tests.explorer import Anywhere, Engine, Explorer, Violation

MACHINES: Mapping[str, Machine[Never]] = {"refund": refund, "restock": restock, "sales_report": sales_report}
ONCE = {
    "refund": {"issue_refund": 1, "book_refund": 1, "send_mail": 1},
    "restock": {"purchase": 1, "ship": 1, "notify_procurement": 1},
    "sales_report": {},
}
DAY = timedelta(days=1)


class Desk(Memory):
    note: str = ""


class Woken(Reply[Literal["woken"]]):
    pass


class Rest(Reply[Literal["rest"]]):
    pass


class Again(Reply[Literal["again"]]):
    pass


class Handled(Reply[Literal["handled"]]):
    pass


class Happened(Reply[Literal["happened"]]):
    pass


class NotHappened(Reply[Literal["not_happened"]]):
    pass


@tool(effect="read")
def look() -> str:
    return ""


@tool(effect="keyed")
def pay(key: Key, amount: int) -> str:
    return key


@tool(effect="once", approval=True)
def phone(number: str) -> None: ...


@tool(effect="once", reconcile=lambda key: None)
def mail(text: str) -> None: ...


class Look(Fetch[Desk]):
    runs = (look,)

    def calls(self, memory: Desk) -> list[Call[object]]:
        return []


class Think(Ask[Desk]):
    prompt = "desk/think"
    replies = (pay, phone, Rest)
    threshold = 0.5


class Check(Work[Desk]):
    def run(self, memory: Desk) -> Literal["small", "large"]:
        return "small"


class Sign(Approve[Desk]):
    to, deadline = "ann", DAY


class Do(Act[Desk]):
    runs = (pay, phone)


class Find(Consult[Desk]):
    to, deadline, replies = "ann", DAY, (Happened, NotHappened)


class Send(Act[Desk]):
    runs = (mail,)

    def build(self, memory: Desk) -> Call[object]:
        return mail.call("")


class Seek(Fetch[Desk]):
    runs = (look,)

    def calls(self, memory: Desk) -> list[Call[object]]:
        return []

    def keep(self, memory: Desk, got: Got) -> Literal["happened", "not_happened"]:
        return "happened"


class Pause(Wait[Desk]):
    deadline, events = DAY, (Woken,)


class Split(Delegate[Desk, Memory]):
    machine, deadline = "sales_report", DAY

    def give(self, memory: Desk) -> Desk:
        return memory


class Short(Compact):
    pass


class Person(Consult[Desk]):
    to, deadline, replies = "ann", DAY, (Handled, Again)


class Done(End[Desk]):
    pass


class Lost(End[Desk]):
    success = False


every = Anywhere(
    "every",
    memory=Desk,
    edges={
        Look: {"ok": Think, "error": Short},
        Think: {"pay": Check, "phone": Sign, "rest": Pause, "unsure": Person, "error": Short},
        Check: {"small": Do, "large": Sign},
        Sign: {"approved": Do, "rejected": Think, "expired": Person},
        Do: {"ok": Send, "error": Short, "unknown": Find},
        Find: {"happened": Send, "not_happened": Short, "expired": Person},
        Send: {"ok": Pause, "error": Short, "unknown": Seek},
        Seek: {"happened": Pause, "not_happened": Short, "error": Short},
        Pause: {"woken": Split, "expired": Done},
        Split: {"done": Done, "error": Short, "expired": Person},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "again": Think, "expired": Lost},
    },
    limits=Limits(steps=50, model_calls=5, days=7, exceeded=Person),
    rules=[Precedence((Sign, "approved"), (Check, "small"), before=pay)],
)


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_that_can_happen_to_a_shipped_machine_breaks_a_promise(name: str) -> None:
    explorer = Explorer(MACHINES[name], MACHINES, landing=ONCE[name], model_calls=1, times=2, retries=1)
    found = explorer.explore()
    assert found.dispatched == set(ONCE[name])
    assert found.statuses == {"ready", "waiting", "paused", "attention", "blocked", "done", "failed", "cancelled"}
    assert (found.pruned, found.configurations > 400) == (0, True)


@pytest.mark.long
@pytest.mark.parametrize("name", MACHINES)
def test_nothing_does_with_the_shipped_numbers_of_attempts_either(name: str) -> None:
    found = Explorer(MACHINES[name], MACHINES, landing=ONCE[name], model_calls=3).explore()
    assert found.pruned == 0


@pytest.mark.parametrize("most", [2, pytest.param(3, marks=pytest.mark.long)])
def test_nothing_that_can_happen_to_an_answer_of_several_calls_breaks_a_promise(most: int) -> None:
    found = Explorer(clerk, MACHINES, model_calls=1, times=1, retries=0, grants=0, doubts=1, most=most).explore()
    assert (found.pruned, found.dispatched) == (0, {"find", "pay", "save", "send"})


@pytest.mark.long
def test_nothing_that_can_happen_to_a_machine_with_every_kind_of_state_breaks_a_promise() -> None:
    found = Explorer(every, MACHINES, model_calls=1, times=2, retries=1, grants=0).explore()
    assert (found.pruned, found.dispatched) == (0, {"pay", "phone", "mail"})


rationed = Anywhere(
    "rationed",
    memory=Desk,
    edges={
        Think: {"pay": Check, "phone": Sign, "rest": Pause, "unsure": Person, "error": Short},
        Check: {"small": Done, "large": Think},
        Sign: {"approved": Done, "rejected": Think, "expired": Lost},
        Pause: {"woken": Think, "expired": Done},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "again": Think, "expired": Lost},
    },
    limits=Limits(steps=50, model_calls=5, daily=Daily(model_calls=9, tokens=9), exceeded=Person),
)


def test_nothing_that_can_happen_to_a_machine_with_limits_of_the_day_breaks_a_promise() -> None:
    found = Explorer(rationed, model_calls=2, times=2).explore()
    assert found.statuses == {"ready", "waiting", "paused", "attention", "blocked", "done", "failed", "cancelled"}


# ── a wrong engine is caught ─────────────────────────────────────────────────────────────────────────────────────────────────


def takes_any_mark_for_its_own(definition: Definition, run: Run, fence: int) -> Need:
    need = need_of(definition, run, fence)
    return Need("call") if need.kind == "recover" else need


def believes_nothing_ran(definition: Definition, run: Run, fence: int) -> bool:
    return False


def forgets_the_unknown(definition: Definition, run: Run, event: Event) -> Run:
    after = reduce(definition, run, event)
    return but(after, doubts=run.doubts) if event.body.get("outcome") == "unknown" else after


def edits_under_the_old_approval(definition: Definition, run: Run, event: Event) -> Run:
    after = reduce(definition, run, event)
    if event.type != "edited" or run.pending is None or after.pending is None:
        return after
    return but(after, pending=but(run.pending, arguments=after.pending.arguments))


def keeps_a_rejected_call(definition: Definition, run: Run, event: Event) -> Run:
    after = reduce(definition, run, event)
    return but(after, pending=run.pending) if event.body.get("outcome") == "rejected" else after


def takes_a_new_key_for_a_retry(definition: Definition, run: Run, event: Event) -> Run:
    after = reduce(definition, run, event)
    if event.type != "postponed" or after.pending is None:
        return after
    return but(after, pending=but(after.pending, key=f"{after.pending.key}+"))


def repeats_what_keep_lost(definition: Definition, run: Run, event: Event) -> Run:
    after = reduce(definition, run, event)
    return but(after, held=None) if event.type == "retried" else after


def wakes_a_paused_run(definition: Definition, run: Run, event: Event) -> Run:
    after = reduce(definition, run, event)
    return but(after, status="ready") if event.type == "settled" and after.status == "paused" else after


WRONG = [
    (Engine(need_of=takes_any_mark_for_its_own), "is dispatched a second time"),
    (Engine(may_have_run=believes_nothing_ran), "that nobody knows the end of is forgotten"),
    (Engine(reduce=forgets_the_unknown), "open reconcile tasks are not the doubts"),
    (Engine(reduce=edits_under_the_old_approval), "is not the call that was made"),
    (Engine(reduce=keeps_a_rejected_call), "a call is still pending on entering HandOver"),
    (Engine(reduce=takes_a_new_key_for_a_retry), "that nobody knows the end of is forgotten"),
    (Engine(reduce=repeats_what_keep_lost), "loses a result that was recorded"),
    (Engine(reduce=wakes_a_paused_run), "lets a run go on that is paused"),
]


@pytest.mark.parametrize(("engine", "says"), WRONG)
def test_an_engine_that_breaks_a_promise_is_found_with_the_path_that_leads_there(engine: Engine, says: str) -> None:
    with pytest.raises(Violation, match=rf"{says}(.|\n)*path: .* → "):
        Explorer(refund, MACHINES, landing=ONCE["refund"], model_calls=1, times=2, retries=1, engine=engine).explore()


def keeps_set_aside_what_is_over(definition: Definition, run: Run, event: Event) -> Run:
    after = reduce(definition, run, event)
    return but(after, reserved=run.reserved) if event.type == "cancelled" else after


def test_an_engine_that_keeps_a_call_set_aside_that_nobody_makes_is_found() -> None:
    with pytest.raises(Violation, match="a call stays set aside that nobody makes: the run is cancelled in Think"):
        Explorer(rationed, model_calls=1, times=1, engine=Engine(reduce=keeps_set_aside_what_is_over)).explore()


def test_a_machine_that_lets_a_call_pass_its_rule_is_found() -> None:
    edges = {**every.edges, Think: {**every.edges[Think], "pay": Do}}
    open_ended = Anywhere("every", memory=Desk, edges=edges, limits=every.limits, rules=every.rules)
    with pytest.raises(Violation, match="refuse: pay needs Sign: approved or Check: small first"):
        Explorer(open_ended, MACHINES, model_calls=1, times=1, retries=0).explore()


def test_a_machine_that_leads_into_a_trap_is_found() -> None:
    trap = Anywhere(
        "trap",
        memory=Desk,
        edges={
            Check: {"small": Send, "large": Person},
            Send: {"ok": Done, "error": Short, "unknown": Seek},
            Seek: {"happened": Done, "not_happened": Short, "error": Short},
            Short: {"retry": Back, "give_up": Person},
            Person: {"handled": Done, "again": Seek, "expired": Lost},  # Seek finds out about a call in doubt; here there is none
        },
    )
    with pytest.raises(Violation, match="no End can be reached any more"):
        Explorer(trap, times=1, retries=0).explore()
