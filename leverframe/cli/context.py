"""context: what a model saw, rebuilt from the log and verified; what of the run it did not see, and why; and what two questions differ in."""

import asyncio
import difflib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from leverframe import project
from leverframe.canon import Json, Object
from leverframe.cli import printed
from leverframe.cli.app import AsJson, RunId, command, complain, print_json, write
from leverframe.cli.doors import loaded
from leverframe.cli.words import line, quoted
from leverframe.project import names

if TYPE_CHECKING:
    from leverframe.window.rebuild import Seen
    from leverframe.window.window import Fate

SHOWN = ("kept", "shortened")
LOOKS = {"kept": "", "shortened": "yellow", "dropped": "red", "hidden": "dim"}
SIGNS = {"+": "green", "-": "red", "@": "dim"}


@command()
def context(
    run: RunId,
    seq: Annotated[int | None, typer.Argument(metavar="SEQ", help="The event that asked; default: the last that did.")] = None,
    diff: Annotated[int | None, typer.Option(metavar="SEQ", help="Show what differs from the question of that event.")] = None,
    all_blocks: Annotated[bool, typer.Option("--all", help="List each block that was left out, not only how many.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there as a page that loads nothing.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show exactly what the model saw, rebuilt from the log and verified by its hash, and what it did not see and why.

    Ends with 1 where that cannot be rebuilt.
    """
    found = _found(run, [seq] if diff is None else [diff, seq])
    one, before = found[-1], found[0] if diff is not None else None
    if html is not None:
        _write(html, one, before)
    if as_json:
        print_json(_json(one, before))
    elif html is None:
        _print(printed.console(), one, before, whole=all_blocks)
    else:
        typer.echo(f"wrote {html}")
    broken = [each for each in found if each.verified is False]
    for each in broken:
        complain(f"run {each.run}, event {each.seq}: {each.why}")
    if broken:
        raise typer.Exit(1)


def _found(run: str, seqs: list[int | None]) -> "list[Seen]":
    from leverframe.context import at

    here = project.find()
    machines = loaded(here)

    async def look() -> "list[Seen]":
        store = here.store()
        try:
            return await at(store, machines, await names.run_id(store, run), seqs)
        finally:
            store.close()

    return asyncio.run(look())


def _write(file: Path, one: "Seen", before: "Seen | None") -> None:
    from leverframe.cli.page import page

    write(page(one, differing(before, one) if before else None), file, "--html")


def differing(before: "Seen", one: "Seen") -> list[str]:
    """The lines that differ between the messages of two questions, as a unified diff."""
    was, now = (
        [f"{message.role} │ {text}" for message in each.messages for text in message.content.split("\n")]
        for each in (before, one)
    )
    first, second = (f"{each.run} event {each.seq}" for each in (before, one))
    return list(difflib.unified_diff(was, now, first, second, lineterm="", n=2))


def _json(one: "Seen", before: "Seen | None") -> Object:
    if before is None:
        return one.json()
    lines: list[Json] = [*differing(before, one)]
    was, now = ({told.reference: told for told in each.blocks} for each in (before, one))
    return {
        **one.json(),
        "against": before.json(),
        "diff": lines,
        "came": [reference for reference in now if reference not in was],
        "went": [reference for reference in was if reference in now and was[reference].fate != now[reference].fate],
    }


def _print(to: Console, one: "Seen", before: "Seen | None", *, whole: bool) -> None:
    variant = f" ({one.kept.get('variant')})" if one.kept.get("variant") else ""
    prompt = f"{one.kept.get('name')}{variant} {one.prompt.hash[:12] if one.prompt else ''}"
    to.print(Text(line(f"{one.run}  event {one.seq}  {one.state}  {prompt}"), style="bold"))
    to.print(Text(line(sizes(one)), style="dim"))
    good = f"verified: sha256 {one.body.get('request')}"
    to.print(
        Text(
            good if one.verified else line(one.why),
            style="green" if one.verified else "bold red" if one.verified is False else "yellow",
        )
    )
    if before is not None:
        _print_difference(to, before, one)
        return
    for message in one.messages:
        to.print(Text(f"\n{message.role}", style="bold"))
        to.print(Text(quoted(message.content)))
    if one.blocks:
        to.print(Text("\nblocks of the window", style="bold"))
    for told in one.blocks:
        if whole or told.fate in SHOWN:
            words = (
                f"  {told.reference:<7} {told.name:<28.28} {told.score:>3} {told.tokens:>6,} tokens  {told.fate:<9} {told.why}"
            )
            to.print(Text(line(words), style=LOOKS[told.fate]))
    if whole:
        return
    for (name, fate, why), (count, tokens) in left_out(one).items():
        words = f"  {count:>6,} × {name:<27.27} {tokens:>8,} tokens  {fate:<9} {why}"
        to.print(Text(line(words), style=LOOKS[fate]))


def left_out(one: "Seen") -> "dict[tuple[str, Fate, str], tuple[int, int]]":
    """What was not shown: of each kind, and for each reason, how many blocks and tokens; the most first."""
    counts: Counter[tuple[str, Fate, str]] = Counter()
    tokens: Counter[tuple[str, Fate, str]] = Counter()
    for told in one.blocks:
        if told.fate not in SHOWN:
            row = (told.name, told.fate, told.why)
            counts[row] += 1
            tokens[row] += told.tokens
    return {row: (count, tokens[row]) for row, count in counts.most_common()}


def _print_difference(to: Console, before: "Seen", one: "Seen") -> None:
    for words in differing(before, one) or ["the same messages"]:
        to.print(Text(line(words), style=SIGNS.get(words[0], "")))


def sizes(one: "Seen") -> str:
    """The budget of the window, and how many tokens all messages had: estimated, and as the provider counted them."""
    usage = one.body.get("usage")
    counted = usage.get("input_tokens") if isinstance(usage, dict) and not usage.get("estimated") else None
    said = [f"model {one.body['model']}" if one.body.get("model") else ""]
    said += [f"window of {one.kept['budget']:,} tokens, messages of about {one.kept['tokens']:,}" if "budget" in one.kept else ""]
    said += [f"counted as {counted:,}" if counted else ""]
    return "; ".join(part for part in said if part)
