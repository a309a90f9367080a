"""Spinning: the same call (tool and arguments) fails with the same fault again and again, whatever else works in between.

Counted by call and fault since that call last worked: `failures` of a state forgets as soon as the state does anything else well, and so
never sees a model that tries A, B, A, B, A. The `times` of the error says how often; a Compact gives up at it as at the others.
"""

from collections.abc import Iterator
from typing import cast

from leverframe.canon import Json, Object, digest
from leverframe.faults import fingerprint
from leverframe.run import Pending, Run, but

_MOST = 32
"""Faults of calls that a run remembers: the newest."""


def spun(run: Run, kind: str, outcome: str, body: Object, settled: Pending | None) -> Run:
    """The run with what its state's calls add to the count, or take from it: after the run's `error` is known."""
    failed = outcome == "error" or (settled is not None and outcome == "not_happened")
    if outcome == "unknown" or not (failed or run.spins):
        return run
    spins, times = dict(run.spins), 0
    for call, error in _calls(run, kind, body, settled, failed):
        if error is None:
            spins = {key: count for key, count in spins.items() if not key.startswith(call)}
        else:
            key = f"{call}:{fingerprint(error)}"
            spins[key] = spins.pop(key, 0) + 1  # to the end: it is the newest
            times = max(times, spins[key])
    if spins == run.spins:
        return run
    error = {**run.error, "times": times} if run.error and times > 1 else run.error
    return but(run, spins=dict(list(spins.items())[-_MOST:]), error=error)


def _calls(run: Run, kind: str, body: Object, settled: Pending | None, failed: bool) -> Iterator[tuple[str, Object | None]]:
    """Each call that came to an end, and its error if it failed."""
    one = settled or (run.pending if kind == "act" else None)
    if one is not None:
        yield one.digest[:12], run.error if failed else None
    if settled is None:
        for call in cast("list[Object]", body.get("calls") or []):
            name: Json = call["tool_name"]
            yield digest({"tool_name": name, "arguments": call.get("arguments")})[:12], cast("Object | None", call.get("error"))
