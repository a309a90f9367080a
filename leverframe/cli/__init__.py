"""The commands. Each prints for people, or with `--json` one object with stable keys; errors go to stderr.

app         the group of commands, how errors end, exit codes
doors       the project, its store and engine, for one command; ids as people give them
shown       a run, its tasks and effects as JSON
printed     the same for people, and a run as it happens
goes_on     the exact commands that go on with a run
words       words from outside, made safe to print
interrupts  Ctrl-C
runs        run, start, advance, runs, show, signal
people      tasks, approve, reject, answer
operate     pause, resume, cancel, retry, fork, migrate, verify, work, db
draw        graph
rooms       new, init
prompts     prompts, prompts pin, unpin, eval, prefetch
review      check, schema
compare     diff, definition
records     export, replay
context     context
page        what a model saw, as HTML
spending    budget
"""

from leverframe.cli import compare, context, draw, operate, people, prompts, records, review, rooms, runs, spending
from leverframe.cli.app import app, main

__all__ = [
    "app",
    "compare",
    "context",
    "draw",
    "main",
    "operate",
    "people",
    "prompts",
    "records",
    "review",
    "rooms",
    "runs",
    "spending",
]
