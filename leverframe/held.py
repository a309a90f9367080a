"""A run that this process holds, and what it knows of it beyond its row."""

from dataclasses import dataclass, field, replace

from leverframe.canon import stored
from leverframe.clock import Micros
from leverframe.ledger import reconcile_task
from leverframe.perform import Bound, Draft
from leverframe.reduce import Need, need_of
from leverframe.run import OVER, Run, but
from leverframe.store import Committed, Inbound, Row
from leverframe.window import Window


@dataclass
class Held:
    """A run this process holds the lease of."""

    row: Row  # as it was taken
    run: Run
    bound: Bound
    safe_until: float  # on the steady clock: past it the lease may be another's
    want: str | None = None
    want_by: str | None = None
    inbox: int = 0
    inbound: list[Inbound] = field(default_factory=list[Inbound])
    window: Window | None = None
    pins: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])  # for child runs, by their definition
    released: bool = False  # nothing more to do here; still to be given back
    given: bool = False  # given back, with the commit that came to rest
    over: Row | None = None  # its row, once the run is over: what nobody can change any more need not be read
    _needs: tuple[Run, Bound, Need] | None = None

    @property
    def fence(self) -> int:
        return self.row.fence

    @property
    def need(self) -> Need:
        """What the run needs; worked out once for a run as it is."""
        found = self._needs
        if found is None or found[0] is not self.run or found[1] is not self.bound:
            return self.will_need(self.run)
        return found[2]

    def will_need(self, run: Run) -> Need:
        """What it needs once it is this, which is remembered in place of what was."""
        need = need_of(self.bound.definition, run, self.fence)
        self._needs = run, self.bound, need
        return need

    def written(self, run: Run, committed: Committed) -> None:
        """The run is this now."""
        self.run = run
        self.want, self.want_by, self.inbox = committed.want, committed.want_by, committed.inbox
        self.inbound = []  # what is left or new is read where it is heeded
        ended = run.status in OVER and not run.doubts and not committed.inbox
        self.over = self._ended(run, committed.at) if ended and committed.at is not None else None

    def _ended(self, run: Run, at: Micros) -> Row:
        """The row as a commit left it, and as the database gives it back."""
        return replace(
            self.row,
            run=but(run, memory=stored(run.memory), result=stored(run.result), error=stored(run.error)),
            updated_at=at,
            lease_owner=None,
            lease_until=None,
            wake_at=None,
            want=None,
            want_by=None,
            inbox=0,
            claims=0,
        )

    def unsent(self) -> list[Draft]:
        """Takes back a mark that we set: nothing was sent, so that the call is not in doubt."""
        run, call = self.run, self.run.pending
        ours = call is not None and call.mark == self.fence and run.held is None
        return [Draft("withdrawn", {"state": run.state})] if ours else []

    def stale(self) -> list[Inbound]:
        """What can mean nothing to the run any more: ends of children and decisions that nobody waits for. Early signals are kept."""
        if not self.inbound:
            return []
        run, waiting = self.run, self.run.waiting
        awaited = {*(waiting.children if waiting else ()), *([waiting.id] if waiting else [])}
        doubted = {reconcile_task(call.key) for call in run.doubts}
        return [item for item in self.inbound if item.source in ("child", "task") and item.key not in awaited | doubted]
