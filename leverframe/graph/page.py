"""HTML: the picture as a page to explore, in one file that loads nothing.

The browser is told to trust only what was written here: a content security policy names the hashes of the one style sheet and the one
script, and forbids everything else. Words of the machine reach the script as JSON and are shown as text, never as markup.
"""

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files

from leverframe.canon import Json, Object
from leverframe.graph.drawing import Box, Drawable, Drawing, Pick, drawing, plain
from leverframe.graph.layout import strokes
from leverframe.graph.look import PAPER
from leverframe.graph.overlay import NOTHING, PLAIN, Note, Overlay
from leverframe.graph.picture import STYLE, drawn_part, legend_part, night


def html(machine: Drawable, overlay: Overlay = PLAIN) -> str:
    """One page: pan, zoom, search, and everything about each state. Raises ProjectError where no layout program is installed."""
    drawn = drawing(machine, details=True)
    main, legend = drawn_part(drawn, overlay, titled=False), legend_part(drawn, overlay)
    style = _asset("page.css") + STYLE + night(main.inner + legend.inner + PAPER)
    script = _asset("page.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    data = json.dumps(_data(drawn, overlay)).replace("<", "\\u003c")
    title = escape(plain(drawn.name))
    about = "".join(f"<p>{escape(plain(part))}</p>" for part in (drawn.doc, drawn.limits) if part)
    shown = f'<p class="overlay">{escape(plain(overlay.title))}</p>' if overlay.title else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main aria-label="The machine, drawn">
<svg id="canvas" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {main.width:.0f} {main.height:.0f}" role="group">
{main.inner}</svg>
<nav aria-label="Zoom"><button id="in" title="Zoom in (+)">+</button><button id="out" title="Zoom out (-)">−</button>\
<button id="fit" title="Show all (0)">fit</button></nav>
</main>
<aside>
<header><h1 dir="auto">{title}</h1>{about}{shown}</header>
<input id="search" type="search" placeholder="Search states, tools, prompts  ( / )" aria-label="Search" autocomplete="off">
<section id="details" aria-live="polite" hidden></section>
<ul id="list" aria-label="States"></ul>
<details id="legend" open><summary>Legend</summary>
<svg viewBox="0 0 {legend.width:.0f} {legend.height:.0f}" width="{legend.width:.0f}" role="img" aria-label="Legend">
{legend.inner}</svg></details>
</aside>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return files("leverframe.graph").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _data(drawn: Drawing, overlay: Overlay) -> Object:
    ids = {box.name: f"s{number}" for number, box in enumerate(drawn.boxes)}
    lines = {arrow.edge: stroke.id for stroke in strokes(drawn) for arrow in stroke.arrows}
    edges: list[Json] = []
    for arrow in drawn.arrows():
        said: list[Json] = [*overlay.edges.get(arrow.edge, NOTHING).lines]
        found: Object = {
            "id": lines[arrow.edge],
            "from": ids[arrow.state],
            "outcome": arrow.outcome,
            "to": ids[arrow.to],
            "said": said,
        }
        edges.append(found)
    states: list[Json] = [_state(ids[box.name], box, overlay.states.get(box.name, NOTHING)) for box in drawn.boxes]
    return {"states": states, "edges": edges}


def _state(id_: str, box: Box, note: Note) -> Object:
    details = box.details
    tools: list[Json] = [_tool(pick) for pick in box.picks]
    said: list[Json] = [*note.lines]
    return {
        "id": id_,
        "name": plain(box.name),
        "style": box.style,
        "about": box.about,
        "doc": box.doc,
        "said": said,
        "place": details.place if details else "",
        "prompt": box.prompt,
        "prompts": {**details.prompts} if details else {},
        "answers": {**details.answers} if details else {},
        "verb": box.verb,
        "tools": tools,
    }


def _tool(pick: Pick) -> Object:
    return {
        "name": pick.name,
        "effect": pick.effect,
        "approval": pick.approval,
        "untrusted": pick.untrusted,
        "doc": pick.doc,
        "schema": pick.schema,
    }
