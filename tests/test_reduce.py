"""What the reducer promises, sentence by sentence. No store, no user code: events in, runs out."""

from copy import deepcopy
from typing import Literal, cast

import pytest

from leverframe import Act, Ask, Back, Delegate, Limits, Machine, Memory, Precedence, Wait
from leverframe.canon import Json, Object, canonical
from leverframe.errors import EdgeError, Tampered
from leverframe.machine import Definition
from leverframe.reduce import DAY, Need, begin, fold, key_of, may_have_run, need_of, reduce, route
from leverframe.run import Event, Run, but, event
from tests.explorer import Anywhere
from tests.test_explore import (
    DAY as ONE_DAY,
)
from tests.test_explore import (
    MACHINES,
    Again,
    Check,
    Desk,
    Do,
    Done,
    Find,
    Look,
    Lost,
    Person,
    Send,
    Short,
    Sign,
    Think,
    Woken,
    every,
    pay,
)

EVERY = every.definition(MACHINES)


class Log:
    """A run and the events that made it, one after the other, as the engine would write them."""

    def __init__(self, definition: Definition = EVERY, state: str = "", **body: Json) -> None:
        self.definition = definition
        start: Object = {"run": "run", "machine": definition.name, "definition": definition.hash, "memory": {}}
        self.events = [event(None, 0, "started", "test", {**start, "state": state or definition.start, **body})]
        self.run = begin(self.events[0])
        self.at = 0

    def add(self, type: str, **body: Json) -> Run:
        if isinstance(outcome := body.get("outcome"), str):
            where = route(self.definition, self.run, outcome, self.at)
            body |= {"to": where.to, **({"exceeded": where.tripped} if where.tripped else {})}
        line = event(self.run, self.at, type, "engine", {"state": self.run.state, "fence": 1, **body})
        before = deepcopy(self.run)
        after = reduce(self.definition, self.run, line)
        assert self.run == before, "reduce changes nothing that it is given"
        self.events.append(line)
        self.run = after
        return after

    def picks(self, tool: str = "pay", digest: str = "d1") -> Run:
        return self.add("asked", outcome=tool, call={"tool_name": tool, "arguments": {"n": digest}, "digest": digest})

    def builds(self) -> Run:
        return self.add("built", call={"tool_name": "mail", "arguments": {}, "digest": "m"})

    def opens(self, kind: Literal["approve", "answer", "wait", "children"] = "approve", **body: Json) -> Run:
        return self.add("opened", task="task_1", kind=kind, expires_at=9, **body)

    def fails(self, type: str = "fetched", **error: Json) -> Run:
        return self.add(type, outcome="error", error={"type": "E", "source": "s", "cause": "no", **error})

    def need(self, fence: int = 1) -> Need:
        return need_of(self.definition, self.run, fence)


def at_sign(definition: Definition = EVERY) -> Log:
    log = Log(definition, "Think")
    log.picks()
    log.add("worked", outcome="large")
    log.opens()
    return log


def in_doubt() -> Log:
    log = Log(state="Think")
    log.picks()
    log.add("worked", outcome="small")
    log.add("acted", outcome="unknown", effect="keyed")
    return log


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_log_folds_to_the_run_it_was_written_for() -> None:
    log = in_doubt()
    assert fold(lambda hash: {EVERY.hash: EVERY}[hash], log.events) == log.run
    assert (log.run.seq, log.run.head) == (4, log.events[-1].hash)


def test_an_event_that_does_not_follow_is_refused() -> None:
    log = Log()
    log.add("fetched", outcome="ok")
    with pytest.raises(Tampered, match="event 2 follows 2; one is missing or doubled"):
        reduce(EVERY, log.run, log.events[-1])
    with pytest.raises(Tampered, match="is of unknown type 'danced'"):
        log.add("danced")
    for type in ("marked", "withdrawn", "edited", "child_ended"):
        with pytest.raises(Tampered, match=r"run run: event 3 .*, and no"):
            log.add(type, success=True, next="t", shown="", call={})


def test_an_edge_that_is_not_drawn_is_neither_routed_nor_reduced() -> None:
    log = Log()
    with pytest.raises(EdgeError, match="machine every: state Look has no edge 'found'"):
        log.add("fetched", outcome="found")
    forged = event(log.run, 0, "fetched", "engine", {"state": "Look", "outcome": "ok", "to": "Send"})
    with pytest.raises(Tampered, match="goes from Look by 'ok' to 'Send', which is not drawn"):
        reduce(EVERY, log.run, forged)


def test_only_changed_fields_of_the_memory_travel_in_an_event() -> None:
    log = Log(memory={"note": "a", "more": 1})
    assert log.add("fetched", outcome="ok", memory={"note": "b"}).memory == {"note": "b", "more": 1}


def test_every_effect_has_a_key_of_its_own_that_depends_on_the_run_and_its_place_alone() -> None:
    assert key_of("run", 1) == key_of("run", 1)
    assert len({key_of(run, ordinal) for run in ("a", "b") for ordinal in (1, 2)}) == 4


# ── keep ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_result_that_could_not_be_kept_is_held_and_a_retry_only_keeps_it() -> None:
    log = Log(state="Think")
    log.picks()
    log.add("worked", outcome="small")
    run = log.add("acted", stuck="Do.keep raised", effect="keyed", result=5, tool_name="pay")
    assert (run.status, run.reason, run.did, log.need().kind) == ("attention", "Do.keep raised", True, "nothing")
    assert not may_have_run(EVERY, run, 2), "it did: nothing is in doubt"
    log.add("retried", grant=0)
    assert log.need().kind == "keep"
    run = log.add("kept", outcome="ok", effect="keyed")
    assert (run.state, run.held, run.pending) == ("Send", None, None)


# ── unknown ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_call_waits_in_doubt_and_nothing_clears_it_but_settling() -> None:
    log = in_doubt()
    doubts = log.run.doubts
    assert (log.run.state, log.run.pending, log.run.did, len(doubts)) == ("Find", None, True, 1)
    log.opens("answer")
    log.add("expired", outcome="expired")
    log.opens("answer")
    log.add("answered", outcome="again")
    log.picks(digest="d2")
    assert log.run.doubts == doubts
    log.add("cancelled")
    assert (log.run.status, log.run.doubts) == ("cancelled", doubts)
    assert log.add("settled", key=doubts[0].key, happened=True).doubts == ()
    assert log.run.status == "cancelled"


def test_happened_goes_on_and_not_happened_goes_back_to_who_made_the_call() -> None:
    happened, not_happened = in_doubt(), in_doubt()
    assert happened.add("answered", outcome="happened").state == "Send"
    run = not_happened.add("answered", outcome="not_happened")
    assert (run.state, run.back, run.doubts, run.failures) == ("Short", "Think", (), {"Do": 1})
    assert not_happened.add("compacted", outcome="retry", error={}).state == "Think"


def test_a_person_who_settles_it_first_moves_a_run_that_finds_out_and_leaves_a_paused_one_paused() -> None:
    log = in_doubt()
    log.opens("answer")
    log.add("paused")
    run = log.add("settled", key=log.run.doubts[0].key, happened=True, outcome="happened")
    assert (run.status, run.state, run.waiting, log.need().kind) == ("paused", "Send", None, "nothing")
    log.add("resumed")
    assert log.need().kind == "build"


def test_cancelling_puts_a_call_in_doubt_that_an_earlier_holder_may_have_sent() -> None:
    log = Log(state="Send")
    log.builds()
    log.add("marked")
    assert may_have_run(EVERY, log.run, 1)
    assert may_have_run(EVERY, log.run, 2)
    run = log.add("cancelled", doubt=True)
    assert ([call.tool_name for call in run.doubts], run.did) == (["mail"], True)


def test_a_keyed_call_may_have_run_under_an_earlier_fence_or_after_a_first_attempt() -> None:
    log = Log(state="Think")
    log.picks()
    log.add("worked", outcome="small")
    assert (may_have_run(EVERY, log.run, 1), may_have_run(EVERY, log.run, 2)) == (False, True)
    log.add("postponed", until=9, attempts=1)
    assert may_have_run(EVERY, log.run, 1)


def test_a_call_that_another_holder_marked_is_recovered_once_its_time_out_is_over() -> None:
    log = Log(state="Send")
    log.builds()
    assert log.need() == Need("mark")
    log.at = 7_000_000
    log.add("marked")
    assert log.need(fence=1) == Need("call")
    assert log.need(fence=2) == Need("recover", 7_000_000 + 30_000_000)
    log.add("withdrawn")
    assert log.need(fence=2) == Need("mark")


# ── the pending call ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Nap(Wait[Desk]):
    deadline, events = ONE_DAY, (Woken,)


class Hand(Delegate[Desk, Memory]):
    machine, deadline = "restock", ONE_DAY

    def give(self, memory: Desk) -> Desk:
        return memory


class See(Look):
    pass


carrying = Anywhere(
    "carrying",
    memory=Desk,
    edges={
        Think: {"pay": See, "phone": Nap, "rest": Done, "unsure": Person, "error": Short},
        See: {"ok": Nap, "error": Short},
        Nap: {"woken": Hand, "expired": Person},
        Hand: {"done": Sign, "error": Short, "expired": Person},
        Sign: {"approved": Do, "rejected": Think, "expired": Lost},
        Do: {"ok": Done, "error": Short, "unknown": Find},
        Find: {"happened": Done, "not_happened": Short, "expired": Person},
        Short: {"retry": Back, "give_up": Person},
        Person: {"handled": Done, "again": Send, "expired": Lost},
        Send: {"ok": Done, "error": Short, "unknown": Find},
    },
)


def test_work_fetch_wait_delegate_and_an_approval_carry_the_call_to_its_act() -> None:
    log = Log(carrying.definition(MACHINES))
    log.picks()
    log.add("fetched", outcome="ok")
    log.opens("wait")
    log.add("received", outcome="woken")
    log.opens("children", children=["c"])
    log.add("child_ended", success=True)
    log.add("returned", outcome="done")
    log.opens()
    run = log.add("decided", outcome="approved", by="ann")
    assert run.pending
    assert (run.pending.maker, run.pending.approved, run.pending.by, run.pending.digest) == ("Think", "d1", "ann", "d1")
    assert run.pending.via == (("See", "ok"), ("Nap", "woken"), ("Hand", "done"), ("Sign", "approved"))
    assert log.need() == Need("call")


def test_an_error_of_a_fetch_voids_the_call_and_goes_back_to_its_maker() -> None:
    log = Log(carrying.definition(MACHINES))
    log.picks()
    run = log.fails()
    assert (run.state, run.pending, run.back, run.failures) == ("Short", None, "Think", {"See": 1})


@pytest.mark.parametrize(("outcome", "type", "to"), [("rejected", "decided", "Think"), ("expired", "expired", "Person")])
def test_a_call_that_nobody_released_is_void(outcome: str, type: str, to: str) -> None:
    log = at_sign()
    run = log.add(type, outcome=outcome)
    assert (run.state, run.pending) == (to, None)


def test_a_call_that_the_model_was_unsure_of_is_never_pending() -> None:
    run = Log(state="Think").add("asked", outcome="unsure", considered={"tool_name": "pay", "arguments": {}})
    assert (run.state, run.pending, run.ordinal) == ("Person", None, 0)


@pytest.mark.parametrize("outcome", ["ok", "unknown", "error"])
def test_any_outcome_of_an_act_voids_its_call(outcome: str) -> None:
    log = Log(state="Think")
    log.picks()
    log.add("worked", outcome="small")
    assert log.add("acted", outcome=outcome, effect="keyed").pending is None
    assert log.run.did is (outcome != "error")


def test_an_edit_is_another_call_with_nothing_approved_and_the_deadline_of_the_first() -> None:
    log = at_sign()
    before = log.run
    edited = {"tool_name": "pay", "arguments": {"n": 2}, "digest": "d2"}
    run = log.add("edited", call=cast("Json", edited), task="task_1", next="task_2", shown="s2")
    assert run.pending
    assert before.pending
    assert (run.pending.key != before.pending.key, run.pending.digest, run.pending.maker) == (True, "d2", "Think")
    assert (run.pending.approved, run.pending.via, run.steps) == (None, (), before.steps + 1)
    assert run.waiting
    assert (run.waiting.id, run.waiting.expires_at, run.waiting.shown) == ("task_2", 9, "s2")
    assert log.need() == Need("wait", 9)


def test_an_act_refuses_a_call_that_is_not_the_approved_one_or_needs_an_approval() -> None:
    log = Log(state="Think")
    log.picks("phone")
    log.opens()
    log.add("decided", outcome="approved", by="ann")
    assert log.need().kind == "mark"
    log = Log(carrying.definition(MACHINES))
    log.picks("phone")
    approved = but(log.run, state="Do", pending=but(log.run.pending, approved="other")) if log.run.pending else log.run
    assert need_of(log.definition, approved, 1) == Need("refuse", why="phone is not the call that was approved")
    assert need_of(log.definition, but(log.run, state="Do"), 1) == Need("refuse", why="phone needs an approval and has none")
    assert need_of(log.definition, but(log.run, state="Send"), 1) == Need("refuse", why="state Send does not run phone")


def test_code_that_ends_in_the_word_approved_releases_nothing() -> None:
    """Such a definition cannot be declared; but it can be written by hand."""
    body = deepcopy(EVERY.body)
    cast("Object", cast("Object", cast("Object", body["states"])["Check"])["edges"])["approved"] = "Do"
    log = Log(Definition(canonical(body)), "Think")
    log.picks()
    log.add("worked", outcome="approved")
    assert log.run.pending
    assert (log.run.state, log.run.pending.approved) == ("Do", None)


# ── Back, and counting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_back_is_the_state_that_failed() -> None:
    log = Log()
    run = log.fails()
    assert (run.state, run.back) == ("Short", "Look")
    assert log.add("compacted", outcome="retry", error={}).state == "Look"


def test_back_is_not_moved_by_a_compact_that_leads_to_another() -> None:
    class Refused(Short):
        times = 1

    refusing = Anywhere(
        "refusing",
        memory=Desk,
        edges={
            Look: {"ok": Done, "error": Refused},
            Refused: {"retry": Back, "give_up": Short},
            Short: {"retry": Back, "give_up": Lost},
        },
    )
    log = Log(refusing.definition())
    log.fails()
    run = log.add("compacted", outcome="give_up", error={})
    assert (run.state, run.back) == ("Short", "Look")


def test_errors_of_a_state_count_until_it_ends_otherwise() -> None:
    log = Log()
    for count in (1, 2):
        assert log.fails().failures == {"Look": count}
        assert log.run.in_a_row == count
        log.add("compacted", outcome="retry", error={})
    run = log.add("fetched", outcome="ok")
    assert (run.failures, run.in_a_row) == ({}, 0)


def test_an_answer_of_the_model_is_no_progress_and_a_person_or_an_event_is() -> None:
    log = Log(state="Think")
    log.fails("asked")
    log.add("compacted", outcome="retry", error={})
    run = log.picks("phone")
    assert (run.failures, run.in_a_row) == ({}, 1)
    log.opens()
    assert log.add("decided", outcome="rejected").in_a_row == 0


def test_what_expired_is_no_progress() -> None:
    log = Log(state="Think")
    log.fails("asked")
    log.add("compacted", outcome="retry", error={})
    log.picks("phone")
    log.opens()
    assert log.add("expired", outcome="expired").in_a_row == 1


def test_unknown_resets_nothing_and_what_it_turns_out_to_be_counts_for_or_against_the_act() -> None:
    log = Log(state="Send")
    log.builds()
    log.fails("acted")
    log.add("compacted", outcome="retry", error={})
    log.builds()
    run = log.add("acted", outcome="unknown", effect="once")
    assert (run.failures, run.in_a_row) == ({"Send": 1}, 1)
    run = log.add("fetched", outcome="not_happened")
    assert (run.failures, run.in_a_row, run.back) == ({"Send": 2}, 2, "Send")
    log.add("compacted", outcome="retry", error={})
    log.builds()
    log.add("acted", outcome="unknown", effect="once")
    assert log.add("fetched", outcome="happened").failures == {}


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def limited(limits: Limits) -> Definition:
    return Anywhere("every", memory=Desk, edges=every.edges, limits=limits).definition(MACHINES)


def test_a_limit_of_steps_lets_so_many_states_run_and_no_more() -> None:
    log = Log(limited(Limits(steps=3)))
    log.add("fetched", outcome="ok")
    log.picks()
    run = log.add("worked", outcome="large")
    assert (run.steps, run.status, run.state, run.reason) == (3, "attention", "Sign", "limit reached: steps")
    log.add("retried", grant=1)
    assert log.need().kind == "open"


def test_the_drawn_edge_grants_steps_and_days_once_more_and_the_next_trip_needs_a_person() -> None:
    log = Log(limited(Limits(days=1, exceeded=Person)))
    log.at = DAY
    run = log.add("fetched", outcome="ok")
    assert (run.state, run.status, run.exceeded) == ("Person", "ready", True)
    log.opens("answer")
    assert log.add("answered", outcome="again").state == "Think"
    log.at = 2 * DAY
    run = log.picks()
    assert (run.state, run.status, run.reason) == ("Check", "attention", "limit reached: days")


def test_the_drawn_edge_grants_no_more_model_calls_and_no_more_money() -> None:
    log = Log(limited(Limits(model_calls=1, cost_usd=0.5, exceeded=Person)))
    log.add("fetched", outcome="ok")
    log.picks("phone")
    log.opens()
    run = log.add("decided", outcome="rejected")
    assert (run.state, run.exceeded) == ("Person", True)
    log.opens("answer")
    run = log.add("answered", outcome="again")
    assert (run.state, run.status, run.reason) == ("Think", "attention", "limit reached: model_calls")


class Loop(Ask[Desk]):
    prompt = "desk/think"
    replies = (Again,)


def test_a_drawn_edge_that_leads_to_the_model_does_not_ask_it_for_ever() -> None:
    loop = Anywhere(
        "loop",
        memory=Desk,
        edges={Loop: {"again": Loop, "error": Short}, Short: {"retry": Back, "give_up": Done}},
        limits=Limits(model_calls=2, exceeded=Loop),
    )
    log = Log(loop.definition(), asks=True)
    log.add("asked", outcome="again")
    run = log.add("asked", outcome="again")
    assert (run.model_calls, run.exceeded, run.status) == (3, True, "ready")
    run = log.add("asked", outcome="again")
    assert (run.state, run.status, run.reason) == ("Loop", "attention", "limit reached: model_calls")
    log.add("retried", grant=1)
    assert fold(lambda hash: log.definition, log.events) == log.run


def test_costs_add_up_and_stop_the_next_question() -> None:
    log = Log(limited(Limits(cost_usd=0.5)), "Think")
    log.add("asked", outcome="error", error={}, usage={"cost": 500_000})
    run = log.add("compacted", outcome="retry", error={})
    assert (run.cost, run.status, run.reason) == (500_000, "attention", "limit reached: cost")


def test_a_limit_is_never_checked_over_a_result_and_never_keeps_a_run_from_its_end() -> None:
    log = Log(limited(Limits(steps=2)), "Send")
    log.builds()
    log.add("marked")
    log.at = 99 * DAY
    run = log.add("acted", outcome="ok", effect="once")
    assert (run.state, run.did, run.pending) == ("Pause", True, None)
    log.opens("wait")
    run = log.add("expired", outcome="expired")
    assert (run.state, run.status) == ("Done", "ready")


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rule_is_kept_for_each_call_and_not_once_for_the_run() -> None:
    again = Anywhere(
        "again",
        memory=Desk,
        edges={
            Think: {"pay": Check, "phone": Sign, "rest": Done, "unsure": Person, "error": Short},
            Check: {"small": Do, "large": Sign},
            Sign: {"approved": Do, "rejected": Think, "expired": Lost},
            Do: {"ok": Think, "error": Short, "unknown": Find},
            Find: {"happened": Think, "not_happened": Short, "expired": Person},
            Short: {"retry": Back, "give_up": Person},
            Person: {"handled": Done, "again": Think, "expired": Lost},
        },
        rules=[Precedence((Sign, "approved"), before=pay)],
    )
    log = Log(again.definition(MACHINES))
    log.picks()
    log.add("worked", outcome="large")
    log.opens()
    log.add("decided", outcome="approved", by="ann")
    assert log.need().kind == "call"
    log.add("acted", outcome="ok", effect="keyed")
    log.picks(digest="d2")
    log.add("worked", outcome="small")
    assert log.need() == Need("refuse", why="pay needs Sign: approved first")


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["ready", "waiting", "attention"])
def test_a_paused_run_goes_on_as_what_it_was(status: str) -> None:
    log = at_sign() if status == "waiting" else Log()
    if status == "attention":
        log.add("stuck", reason="it raised")
    assert log.add("paused").status == "paused"
    assert log.need().kind == "nothing"
    assert log.add("resumed").status == status


def test_a_run_that_is_over_needs_nothing() -> None:
    log = Log(state="Done")
    assert log.need().kind == "end"
    run = log.add("ended", success=True, result={"n": 1})
    assert (run.status, run.result, log.need().kind) == ("done", {"n": 1}, "nothing")


def test_children_are_collected_when_all_of_them_are_over() -> None:
    log = Log(state="Split")
    log.opens("children", children=["a", "b"])
    assert log.need() == Need("wait", 9)
    assert log.add("child_ended", success=False, did=True).did
    assert log.need() == Need("wait", 9)
    log.add("child_ended", success=True)
    assert (log.need(), log.run.waiting and log.run.waiting.failed) == (Need("collect"), 1)


def test_a_forked_run_begins_with_nothing_pending_and_nothing_in_doubt() -> None:
    log = in_doubt()
    body: Object = {
        "run": "fork",
        "machine": "every",
        "definition": EVERY.hash,
        "state": "Think",
        "memory": {"note": "a"},
        "at": 5,
    }
    run = begin(Event(1, 5, "forked", "human:ann", body, "", "", "h"))
    assert (run.state, run.pending, run.doubts, run.memory, run.seq, run.head) == ("Think", None, (), {"note": "a"}, 1, "h")
    assert log.run.doubts


class Lonely(Act[Desk]):
    runs = (pay,)


def test_an_act_without_a_call_is_refused() -> None:
    definition = Machine(
        "lonely",
        memory=Desk,
        edges={
            Check: {"small": Lonely, "large": Done},
            Lonely: {"ok": Done, "error": Short, "unknown": Find},
            Find: {"happened": Done, "not_happened": Short, "expired": Lost},
            Short: {"retry": Back, "give_up": Lost},
        },
    ).definition()
    log = Log(definition)
    log.add("worked", outcome="small")
    assert log.need() == Need("refuse", why="state Lonely executes a pending call, and none is pending")
