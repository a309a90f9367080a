"""What a model saw, as one page: it loads nothing and runs nothing, and shows words from outside as words."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape

from leverframe.cli.context import SHOWN, left_out, sizes
from leverframe.cli.words import plain
from leverframe.window import Told
from leverframe.window.rebuild import Seen

STYLE = """
:root { --paper: #fdfdfe; --panel: #f4f4f7; --ink: #18181b; --muted: #5f5f69; --line: #dedee4;
  --good: #15803d; --bad: #b91c1c; --warn: #92600a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #101116; --panel: #191a21; --ink: #ededf2; --muted: #a3a3b0; --line: #30313c;
    --good: #4ade80; --bad: #fb8583; --warn: #f0b429; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 28px 22px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, Helvetica, Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 22px; margin: 0 0 2px; }
h2 { font-size: 12px; letter-spacing: .06em; text-transform: uppercase; color: var(--muted); margin: 28px 0 6px; }
p { margin: 0; color: var(--muted); }
.verdict { margin-top: 10px; padding: 8px 12px; border-left: 4px solid; background: var(--panel);
  font: 13px ui-monospace, monospace; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 700; } .none { color: var(--warn); }
pre { margin: 0; padding: 12px 14px; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; white-space: pre-wrap;
  font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--muted); }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.dropped td { color: var(--bad); } .hidden td { color: var(--muted); } .shortened td { color: var(--warn); }
details { margin-top: 14px; } summary { cursor: pointer; color: var(--muted); }
ins, del { text-decoration: none; display: block; } ins { color: var(--good); } del { color: var(--bad); }
"""


def page(one: Seen, difference: Sequence[str] | None = None) -> str:
    """With a difference, that in place of the messages."""
    policy = f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; base-uri 'none'; form-action 'none'"
    title = f"{one.state}, event {one.seq} of {one.run}"
    verdict, look = (
        (f"verified: sha256 {one.body.get('request')}", "good")
        if one.verified
        else (one.why, "none" if one.verified is None else "bad")
    )
    variant = f" ({one.kept['variant']})" if one.kept.get("variant") else ""
    prompt = f"{one.kept.get('name', '')}{variant} · {one.prompt.hash[:12] if one.prompt else ''}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_safe(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1 dir="auto">{_safe(title)}</h1>
<p>{_safe(prompt)}</p>
<p>{_safe(sizes(one))}</p>
<p class="verdict {look}">{_safe(verdict)}</p>
{_messages(one) if difference is None else _difference(difference)}
{_blocks(one)}
</body>
</html>
"""


def _messages(one: Seen) -> str:
    return "\n".join(f'<h2>{message.role}</h2>\n<pre dir="auto">{_safe(message.content)}</pre>' for message in one.messages)


def _difference(lines: Sequence[str]) -> str:
    tags = {"+": "ins", "-": "del"}
    shown = [f"<{tag}>{_safe(text)}</{tag}>" if (tag := tags.get(text[:1])) else f"{_safe(text)}\n" for text in lines]
    return f"<h2>Difference</h2>\n<pre>{''.join(shown) or 'the same messages'}</pre>"


def _blocks(one: Seen) -> str:
    if not one.blocks:
        return ""
    shown = [told for told in one.blocks if told.fate in SHOWN]
    head = '<th>Kind</th><th class="number">Score</th><th class="number">Tokens</th><th>Fate</th><th>Why</th>'
    found = f"<h2>Blocks of the window</h2>\n{_table(f'<th>Block</th>{head}', map(_block, shown))}"
    gone = len(one.blocks) - len(shown)
    if not gone:
        return found
    rows = (
        f'<tr class="{fate}"><td class="number">{count:,}</td><td>{_safe(name)}</td><td class="number">{tokens:,}</td><td>{fate}</td>'
        f"<td>{_safe(why)}</td></tr>"
        for (name, fate, why), (count, tokens) in left_out(one).items()
    )
    sums = '<th class="number">Blocks</th><th>Kind</th><th class="number">Tokens</th><th>Fate</th><th>Why</th>'
    each = _table(f"<th>Block</th>{head}", (_block(told) for told in one.blocks if told.fate not in SHOWN))
    return f"{found}\n<h2>Left out</h2>\n{_table(sums, rows)}\n<details><summary>Each of these {gone:,} blocks</summary>\n{each}</details>"


def _block(told: Told) -> str:
    return (
        f'<tr class="{told.fate}"><td>{_safe(told.reference)}</td><td>{_safe(told.name)}</td><td class="number">{told.score}</td>'
        f'<td class="number">{told.tokens:,}</td><td>{told.fate}</td><td>{_safe(told.why)}</td></tr>'
    )


def _table(head: str, rows: Iterable[str]) -> str:
    body = "\n".join(rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _safe(words: str) -> str:
    return escape(plain(words))


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
