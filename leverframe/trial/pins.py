"""Which variant new runs are told, said by a person: at once, without a deploy, and kept with who said so and why."""

from collections.abc import Mapping, Sequence

from leverframe.errors import Conflict, UnknownPrompt, did_you_mean
from leverframe.prompt import BASE, Prompt
from leverframe.store import Pin, Store

Files = Mapping[str, Sequence[Prompt]]


async def pin(store: Store, files: Files, name: str, variant: str, *, by: str, reason: str = "") -> Pin:
    """Every run that starts from now on is told this variant; those under way keep theirs.

    Raises UnknownPrompt for what is in no file, Conflict for a shadow, which never acts.
    """
    _refuse_unknown(files, name)
    known = {prompt.variant or BASE: prompt for prompt in files[name]}
    if variant not in known:
        hint = did_you_mean(variant, list(known))
        raise UnknownPrompt(f"prompt {name} has no variant {variant!r}; it has {', '.join(known)}.{hint}")
    if known[variant].shadow:
        raise Conflict(
            f"variant {variant!r} of prompt {name} is a shadow, which never acts; take `shadow` out of {known[variant].where}"
        )
    return await store.pin(name, known[variant].variant, by=by, reason=reason)


async def unpin(store: Store, files: Files, name: str, variant: str, *, by: str, reason: str = "") -> Pin:
    """By weight again, if it is this variant that is pinned. Also of a prompt or variant that is in no file any more.

    Raises UnknownPrompt, NotPinned, Conflict.
    """
    held = (await store.pins([name])).get(name)
    if held is None:
        _refuse_unknown(files, name)
    elif (held or BASE) != variant:
        raise Conflict(f"prompt {name}: {held or BASE!r} is pinned, not {variant!r}; nothing was changed")
    return await store.pin(name, None, by=by, reason=reason)


def _refuse_unknown(files: Files, name: str) -> None:
    if name not in files:
        listed = ", ".join(files)[:500] or "none"
        raise UnknownPrompt(f"no prompt is called {name!r}; there are {listed}.{did_you_mean(name, list(files))}")
