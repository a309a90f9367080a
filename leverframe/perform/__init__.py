"""Does what a state asks of the world: runs the user's code, tools and models, and says in an event what came of it.

A `Draft` is such an event without its place in the log: how the state ended and everything the reducer needs, so that it never has
to run this code again. What fails after something happened is no `error` (that would do it again): it is recorded, and a person looks.
"""

from leverframe.perform.again import kept
from leverframe.perform.asking import ask
from leverframe.perform.calls import act, built, call_body, calls_of, done, fetch, local, local_call, local_failed, recover
from leverframe.perform.memory import dumped
from leverframe.perform.plain import compacted, ended, work
from leverframe.perform.replies import answered, read_reply, received, reply_body
from leverframe.perform.step import WAITS_IN, AnyMachine, Bound, Draft, Step, Stuck
from leverframe.perform.waiting import inputs, returned, shown_edited, shown_to_person

__all__ = [
    "WAITS_IN",
    "AnyMachine",
    "Bound",
    "Draft",
    "Step",
    "Stuck",
    "act",
    "answered",
    "ask",
    "built",
    "call_body",
    "calls_of",
    "compacted",
    "done",
    "dumped",
    "ended",
    "fetch",
    "inputs",
    "kept",
    "local",
    "local_call",
    "local_failed",
    "read_reply",
    "received",
    "recover",
    "reply_body",
    "returned",
    "shown_edited",
    "shown_to_person",
    "work",
]
