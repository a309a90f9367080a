"""What `recall` gives: a piece of the run's own log, as the window would show it in full."""

import re
from typing import cast

from leverframe.errors import NotDone
from leverframe.perform.step import Step
from leverframe.recollection import page
from leverframe.state import Call
from leverframe.window import Secrets, pieces

_REFERENCE = re.compile(r"#?([1-9]\d{0,9})(?:\.[1-9]\d{0,9})?")


async def recalled(step: Step, call: Call[object]) -> str:
    """Raises NotDone for a reference that means nothing here."""
    reference = str(call.arguments["reference"])
    wanted = _REFERENCE.fullmatch(reference)
    line = await step.log(int(wanted[1])) if wanted and step.log and int(wanted[1]) <= step.run.seq else None
    if wanted is not None and line is not None:
        found = pieces(line.seq, line.type, Secrets(step.bound.definition).without(line.body))
        for piece in found:
            if piece.reference.lstrip("#") == reference.lstrip("#"):
                return page(piece.body(), reference, cast("int", call.arguments["offset"]))
    raise NotDone(f"there is nothing called {reference[:20]!r}", remedy="give a reference as it is shown, like #12")
