"""A difference as text for terminals, and as Markdown that is made to be posted under a pull request."""

import re
from collections.abc import Iterable, Iterator, Sequence

from leverframe.check import Finding
from leverframe.diff.difference import Difference, detail, picture
from leverframe.diff.impact import FATES, Parked
from leverframe.diff.risk import LEVELS, Risk
from leverframe.graph import mermaid as drawn
from leverframe.words import cell, escaped, tagged

LONGEST = 60_000
"""Characters of a comment: GitHub takes 65,536."""
_LINES = 40


def headline(found: Difference) -> str:
    """`refund: 7 changes (2 high, 4 medium, 1 low), 3a1b2c4d5e6f → 9f8e7d6c5b4a`"""
    if found.before is None or found.after is None:
        one = found.after or found.before
        return (
            f"{found.name}: {'a new machine' if found.before is None else 'the machine is gone'}"
            + (f" ({_levels(found)})" if found.level and found.after else "")
            + (f", {one.hash[:12]}" if one else "")
        )
    if found.same:
        return f"{found.name}: nothing changed, {found.after.hash[:12]}"
    number = sum(map(found.count, LEVELS))
    levels = _levels(found)
    way = f"{found.before.hash[:12]} → {found.after.hash[:12]}"
    name = found.name if found.before.name == found.name else f"{found.name} (was {found.before.name})"
    return f"{name}: {number} change{'' if number == 1 else 's'} ({levels}), {way}"


def _levels(found: Difference) -> str:
    return ", ".join(f"{found.count(level)} {level}" for level in LEVELS if found.count(level))


# ── for terminals ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def text(found: Difference) -> str:
    """The riskiest first; texts line by line; then what becomes of the runs under way."""
    lines = [headline(found)]
    for level in LEVELS:
        changes, findings = found.of(level), found.found(level)
        if changes or findings:
            lines += ["", level]
        lines += [line for one in findings for line in _finding(found, one)]
        for judged, change in changes:
            lines.append(f"  {change}{_why(judged)}")
            lines += [f"      {line}" for line in _cut(detail(change))]
    if found.mended:
        lines += ["", "found before, and no longer", *(f"  {one.code} {_said(one)}" for one in found.mended)]
    if found.parked:
        lines += ["", "runs under way", *(f"  {one}" for one in found.parked)]
    return "\n".join(lines) + "\n"


def _finding(found: Difference, one: Finding) -> Iterator[str]:
    yield f"  {one.code} {_said(one)} ({_now(found, one)})"
    yield from (f"    {number:>3}. {hop}" for number, hop in enumerate(one.path, 1))


def _now(found: Difference, one: Finding) -> str:
    """What became of a finding; of a machine that is new there is no before."""
    what = "open" if one.accepted is None else f"accepted: {one.accepted}"
    return what if found.before is None else f"now {what}"


def _said(one: Finding) -> str:
    """Its message without the machine's name, which stands above."""
    return one.message.removeprefix(f"machine {one.machine}: ")


def _why(judged: Risk) -> str:
    return f" ({judged.why})" if judged.why else ""


def _cut(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _LINES:
        return list(lines)
    return [*lines[:_LINES], f"… {len(lines) - _LINES} lines more"]


# ── for a pull request ───────────────────────────────────────────────────────────────────────────────────────────────────────


def markdown(differences: Iterable[Difference], failed: Sequence[str] = ()) -> str:
    """One comment for all machines that changed; pictures and texts are folded where they are long. `failed`: what was not compared."""
    missing = "".join(f"**Not compared:** {escaped(error)}\n\n" for error in failed)
    return missing + _comment([found for found in differences if not found.same], LONGEST - len(missing), alone=not missing)


def _comment(changed: Sequence[Difference], longest: int, *, alone: bool) -> str:
    if not changed:
        return "No machine changed.\n" if alone else "No other machine changed.\n"
    comment = ""
    for parts in (_everything, _no_texts, _no_pictures):  # a comment that is too long loses what can be looked up elsewhere
        comment = "\n".join(line for found in changed for line in parts(found)) + "\n"
        if len(comment) <= longest:
            return comment
    return comment[:longest] + "\n\n… cut; `leverframe diff` shows all of it.\n"


def _everything(found: Difference) -> Iterator[str]:
    yield from _table(found)
    yield from _texts(found)
    yield from _picture(found)
    yield from _parked(found.parked)


def _no_texts(found: Difference) -> Iterator[str]:
    yield from _table(found)
    yield from _picture(found)
    yield from _parked(found.parked)


def _no_pictures(found: Difference) -> Iterator[str]:
    yield from _table(found)
    yield from _parked(found.parked)


def _table(found: Difference) -> Iterator[str]:
    yield f"### {escaped(headline(found))}"
    yield ""
    for one in (*found.lost, *found.accepted):
        yield f"**{one.code}** {escaped(f'{_said(one)} ({_now(found, one)})')}"
        yield ""
        yield from (f"{number}. {escaped(str(hop))}" for number, hop in enumerate(one.path, 1))
        yield ""
    if found.changes:
        yield "| risk | change | why |"
        yield "|---|---|---|"
        for judged, change in found.changes:
            level = f"**{judged.level}**" if judged.level == "high" else judged.level
            yield f"| {level} | {cell(str(change))} | {cell(judged.why)} |"
        yield ""
    if found.mended:
        yield "Found before, and no longer: " + ", ".join(f"{one.code} {escaped(_said(one))}" for one in found.mended)
        yield ""


def _texts(found: Difference) -> Iterator[str]:
    for _, change in found.changes:
        lines = detail(change)
        if not lines:
            continue
        fence = "`" * (max((len(run) for line in lines for run in re.findall("`+", line)), default=2) + 1)
        yield f"<details><summary>{tagged(str(change))}</summary>"
        yield ""
        yield f"{fence}diff"
        yield from lines
        yield fence
        yield "</details>"
        yield ""


def _picture(found: Difference) -> Iterator[str]:
    yield "<details><summary>Both as one picture</summary>"
    yield ""
    yield "```mermaid"
    yield drawn(*picture(found)).rstrip("\n")
    yield "```"
    yield "</details>"
    yield ""


def _parked(found: Sequence[Parked]) -> Iterator[str]:
    if not found:
        return
    yield "| runs under way | state | what becomes of them |"
    yield "|---|---|---|"
    for one in found:
        yield f"| {one.runs} | {cell(one.state)} | {cell(FATES[one.fate] + (f': {one.why}' if one.why else ''))} |"
    yield ""
