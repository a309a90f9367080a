"""Where a test can stop the process: every exit of a transaction and both ends of every call outside pass `probe`.

Nothing commits and nothing is called without passing it. A hook that raises stops the engine as a crash would. Before the commit
nothing was written; after it everything was, and nobody was told. With no hook a probe costs one comparison.
"""

from collections.abc import Callable

BEFORE_COMMIT = "store.commit"
AFTER_COMMIT = "store.committed"
CALL, CALLED = "call ", "called "

hooks: list[Callable[[str], None]] = []


def probe(point: str) -> None:
    if hooks:
        for hook in tuple(hooks):
            hook(point)


class Outside:
    """Around a call that leaves the engine: a model's, a tool's, a `reconcile`'s."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        probe(CALL + self._what)

    def __exit__(self, *_: object) -> None:
        probe(CALLED + self._what)
