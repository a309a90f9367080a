"""Every code that a finding can have: what it means, how bad it is, and what to do. docs/checks.md is held to this table by a test.

LF0xx: it cannot be read, or the review itself. LF1xx: structure. LF2xx: the card's rules. LF3xx: calls. LF4xx: secrets and strangers'
words. LF5xx: bounds. LF6xx: declared rules. Codes stay; one that is gone is not used again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from leverframe.check.finding import Finding, Hop, Level, Place


@dataclass(frozen=True, slots=True)
class Code:
    """`table`: what is wrong stands in the table of edges, so a finding about a state points to its row there and not to its class."""

    code: str
    level: Level
    title: str
    remedy: str
    table: bool = False


_ALL = (
    Code(
        "LF001", "error", "Not the shape of a definition", "write it as docs/definition.md says; `leverframe schema definition`"
    ),
    Code("LF002", "error", "A machine cannot be loaded", "make its file importable; nothing else can be said of it before"),
    Code("LF003", "warning", "An acceptance that nothing needs", "remove it, or correct its code or state"),
    Code("LF004", "error", "More than can be shown", "begin with what is shown, and check again"),
    Code("LF005", "error", "A card that is stale", "read what changed, then write it: `leverframe graph --write`"),
    Code("LF101", "error", "The start is no state", "name a state of the table as the start", table=True),
    Code("LF102", "error", "An edge leads to a state that does not exist", "declare that state, or correct the name", table=True),
    Code("LF103", "error", "A state that no path reaches", "lead an edge to it, or remove it", table=True),
    Code("LF104", "error", "A dead end: no End, and nothing leads out", "give it edges, or make it an End", table=True),
    Code("LF105", "error", "A trap: no path leads on to an End", "lead an edge out of it towards an End", table=True),
    Code("LF106", "warning", "Only a limit leads out", "lead an edge out of it, or accept this with a reason", table=True),
    Code("LF107", "error", "An outcome without an edge", "say in its row where the outcome leads", table=True),
    Code("LF108", "error", "An edge without an outcome", "correct the outcome, or remove the edge", table=True),
    Code("LF109", "error", "A reply that nothing handles", "add an edge for it, let `keep` take it, or no longer offer it"),
    Code("LF110", "error", "A name given twice", "rename one, or remove it"),
    Code("LF111", "error", "A prompt that is not there", "write the file, or correct the state's `prompt`"),
    Code("LF112", "warning", "A prompt file that nobody uses", "remove the file, or name it in a state's `prompt`"),
    Code(
        "LF113",
        "error",
        "A prompt uses what the machine does not have",
        "correct the name, or add the field to the machine's Memory",
    ),
    Code(
        "LF114",
        "error",
        "A prompt that cannot be read",
        "correct the file; it has front matter and the sections `# system` and `# user`",
    ),
    Code("LF115", "error", "A tool that does not exist", "list it under `tools`, or correct the name"),
    Code("LF116", "error", "A machine to delegate to that is not there", "declare it in machines/, or correct the name"),
    Code("LF117", "error", "An Act that runs no tool", "name in `runs` the tools whose calls it executes"),
    Code("LF118", "error", "A name that cannot be shown everywhere", "use 1 to 64 letters, digits, '_', '-', '.' or spaces"),
    Code("LF119", "error", "Not written yet", "write it, and take the `TODO:` away"),
    Code(
        "LF120",
        "warning",
        "A machine to delegate to that was not given",
        "give its definition, too: `--definition` may be repeated; until then, what is found says nothing of its runs",
    ),
    Code(
        "LF121",
        "error",
        "A prompt that is chosen by what never is",
        "name in `prompt_by` exactly the values of the field, or a default",
    ),
    Code(
        "LF122",
        "warning",
        "A prompt that may be missing while a run goes on",
        "give `prompt_by` a default, or the field a Literal",
    ),
    Code("LF201", "error", "A model call outside of an Ask", "move prompt and choices into an Ask that leads here"),
    Code(
        "LF202",
        "error",
        "An error that is not compacted",
        "lead 'error' to a Compact, which counts before it is tried again",
        table=True,
    ),
    Code("LF203", "error", "A Compact without a bound", "set `times` to 1 or more"),
    Code("LF204", "error", "A retry that tries nothing", "lead 'retry' Back, or to the state that shall try", table=True),
    Code("LF205", "error", "Giving up reaches nobody", "lead 'give_up' on to an End, an Approve or a Consult", table=True),
    Code("LF206", "error", "Back outside of a retry", "name the state; only the 'retry' of a Compact leads Back", table=True),
    Code("LF207", "error", "A wait without a deadline", "set a deadline"),
    Code("LF208", "error", "A deadline that leads nowhere", "say in its row where 'expired' leads", table=True),
    Code("LF209", "error", "A person is asked, and nobody is named", "name the person or role in `to`"),
    Code("LF210", "error", "A loop that no limit bounds", "set `limits.steps` to a number", table=True),
    Code(
        "LF211",
        "error",
        "A call that may end unknown, and no edge for it",
        "lead 'unknown' to a state that finds out",
        table=True,
    ),
    Code(
        "LF212",
        "error",
        "An unknown that nobody settles",
        "lead 'unknown' to a Fetch or Consult with the outcomes 'happened' and 'not_happened'",
        table=True,
    ),
    Code("LF213", "error", "A call that did not happen is not counted", "lead 'not_happened' to a Compact", table=True),
    Code("LF214", "error", "A limit that leads to a Compact", "name a state where a person decides, or an End", table=True),
    Code(
        "LF216",
        "error",
        "A Fetch that does more than read",
        "let an Ask choose the call, or an Act build it; a Fetch runs `read` tools only",
    ),
    Code(
        "LF301",
        "error",
        "A call that needs an approval executes without one",
        "lead the call through an Approve that ends in 'approved' right before, with nothing after it that voids the approval",
    ),
    Code(
        "LF302",
        "error",
        "A call that needs an approval and can have none",
        "let an Ask make the call, so that a person can see it before; or declare approval=False",
    ),
    Code("LF303", "error", "An Act without a call", "lead only states here that keep a call pending, or give the Act a build()"),
    Code(
        "LF304",
        "error",
        "An Act with a call it does not run",
        "list the tool in the Act's runs, or lead the call to the Act that runs it",
    ),
    Code(
        "LF305",
        "error",
        "A pending call where another is made",
        "lead the call to the Act that runs it, or end it (in an Ask, Consult or Compact) before another is made",
    ),
    Code("LF306", "error", "An Approve with nothing to approve", "lead only states here that keep a call pending"),
    Code(
        "LF307",
        "warning",
        "A call that is never executed",
        "lead the call to an Act that runs it, or let the Ask answer with a Reply in its place",
    ),
    Code(
        "LF308",
        "warning",
        "A settling state with nothing to settle",
        "enter this state by 'unknown' alone: it finds out what became of a call in doubt",
    ),
    Code(
        "LF309",
        "error",
        "One of several calls, and no way on to the next",
        "add 'next': Next to its row: the calls that wait would be dropped here",
        table=True,
    ),
    Code(
        "LF310",
        "error",
        "A `next` that cannot be",
        "keep it to Acts that run calls of an Ask with `many`, end in 'ok' and lead it to Next; remove it here",
        table=True,
    ),
    Code("LF401", "error", "A secret in a prompt", "keep the secret out of the template; give the prompt what it stands for"),
    Code(
        "LF403",
        "error",
        "A call that strangers' words may have led to",
        "lead the call through an Approve, or accept this with the reason why no text from outside can do harm here",
    ),
    Code(
        "LF404",
        "error",
        "Strangers' words handed to another machine",
        "give the other machine nothing that came from outside, let a person approve its call, or accept this with the reason",
    ),
    Code("LF501", "error", "A run without a bound", "set Limits(steps=…), or lead the cycle to an End"),
    Code("LF502", "warning", "Model calls without a bound", "set Limits(model_calls=…), Limits(tokens=…) or Limits(cost_usd=…)"),
    Code("LF503", "error", "A limit that no run can keep", "raise Limits(steps=…) above the length of this path"),
    Code(
        "LF601",
        "error",
        "A rule that a path breaks",
        "take an edge of this path away, lead it through a state that keeps the rule, or change the rule",
    ),
    Code(
        "LF602",
        "error",
        "A rule that an end leaves open",
        "lead this path through what the rule asks for before it ends, or give the rule a scope",
    ),
    Code(
        "LF603",
        "error",
        "A call that a rule does not let through",
        "lead every call through the outcomes the rule names before the Act that executes it",
    ),
    Code("LF604", "error", "A rule about what is not there", "name something that is there, or remove the rule"),
    Code(
        "LF605",
        "warning",
        "A rule that nothing can break",
        "check the names: a rule about what cannot happen keeps nothing from happening",
    ),
    Code(
        "LF606",
        "warning",
        "A rule that could not be proven",
        "give the definitions of all machines it is about; or let it not depend on what a run does after it was cut off",
    ),
)
CODES = {code.code: code for code in _ALL}


def finding(
    code: str,
    machine: str,
    message: str,
    *,
    state: str | None = None,
    outcome: str | None = None,
    path: Sequence[Hop] = (),
    place: Place | None = None,
    remedy: str = "",
) -> Finding:
    """A finding of a code of the table, at its level and with its remedy unless a better one is known. The message is what is wrong with
    the state, or with the machine where none is given; both are named before it."""
    whose = [f"machine {machine}"] if machine else []
    whose += [f"state {state}"] if state is not None else []
    return said(code, machine, ": ".join([*whose, message]), state=state, outcome=outcome, path=path, place=place, remedy=remedy)


def said(
    code: str,
    machine: str,
    message: str,
    *,
    state: str | None = None,
    outcome: str | None = None,
    path: Sequence[Hop] = (),
    place: Place | None = None,
    remedy: str = "",
) -> Finding:
    """As `finding`, of a message that names machine and state itself."""
    known = CODES[code]
    return Finding(code, known.level, machine, message, remedy or known.remedy, state, outcome, place, tuple(path))
