"""SVG: what the layout program drew, made self-contained, with tooltips, a legend beside it, and a style sheet for dark ground."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from leverframe.graph.drawing import Arrow, Box, Drawable, Drawing, drawing, line, plain
from leverframe.graph.layout import bare, legend, strokes, svg_of
from leverframe.graph.look import NIGHT, PAPER
from leverframe.graph.overlay import NOTHING, PLAIN, Note, Overlay

FONTS = 'Helvetica,Arial,"Liberation Sans",Arimo,"Noto Sans",sans-serif'
GAP = 10
SLACK = 0.94  # words are shown so much smaller than they were laid out: viewers have other fonts, some of them wider
STYLE = f"text{{font-family:{FONTS}}}.dim{{opacity:.3}}"

_HEAD = re.compile(r'<svg width="[^"]*" height="[^"]*"\s+viewBox="0\.00 0\.00 ([\d.]+) ([\d.]+)"[^>]*>')
_GROUND = re.compile(r'<polygon fill="[^"]*" stroke="(?:none|transparent)" points="[^"]*"/>\s*')
_GROUP = re.compile(r'<g id="([^"]*)" class="([^"]*)">\s*<title>[^<]*</title>')
_SIZE = re.compile(r'font-size="([\d.]+)"')
_NOISE = re.compile(r'<!--.*?-->\s*| font-family="[^"]*"| xml:space="preserve"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """A drawing without its frame, to be placed in another; width and height in points."""

    inner: str
    width: float
    height: float


def svg(machine: Drawable, overlay: Overlay = PLAIN) -> str:
    """One self-contained picture, readable on light and dark ground. Raises ProjectError where no layout program is installed."""
    drawn = drawing(machine)
    main, beside = drawn_part(drawn, overlay, titled=True), legend_part(drawn, overlay)
    width, height = main.width + GAP + beside.width, max(main.height, beside.height)
    body = f'{main.inner}<g transform="translate({main.width + GAP:.0f} 0)">{beside.inner}</g>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="img">\n<title>{_xml(f"{drawn.name}: {drawn.doc}" if drawn.doc else drawn.name)}</title>\n'
        f'<style>{STYLE}{night(body + PAPER)}</style>\n<rect width="100%" height="100%" fill="{PAPER}"/>\n{body}</svg>\n'
    )


def drawn_part(drawn: Drawing, overlay: Overlay, *, titled: bool) -> Part:
    """The drawing, every state and line of it with a tooltip."""
    return part_of(svg_of(bare(drawn, overlay, titled=titled)), tips(drawn, overlay))


def legend_part(drawn: Drawing, overlay: Overlay) -> Part:
    return part_of(svg_of(legend(drawn, overlay)), {})


def part_of(laid_out: str, tips: Mapping[str, str]) -> Part:
    """What a layout program wrote, without its frame, remarks and fonts, and with our tooltips."""
    head = _HEAD.search(laid_out)
    assert head, "the layout program writes another kind of SVG"
    inner = _NOISE.sub("", laid_out[head.end() : laid_out.rindex("</svg>")])
    inner = _GROUND.sub("", inner, count=1).replace('id="graph0" ', "", 1)

    def group(found: re.Match[str]) -> str:
        tip = tips.get(found[1], "")
        return f'<g id="{found[1]}" class="{found[2]}">' + (f"<title>{_xml(tip)}</title>" if tip else "")

    inner = re.sub(r"<title>machine</title>\s*", "", _GROUP.sub(group, inner))
    inner = _SIZE.sub(lambda size: f'font-size="{float(size[1]) * SLACK:.4g}"', inner)
    return Part(inner, float(head[1]), float(head[2]))


def night(body: str) -> str:
    """The rules that put dark colours in the place of the light ones that the body names."""
    used = [light for light in NIGHT if light in body]
    rules = "".join(f'[fill="{light}"]{{fill:{NIGHT[light]}}}[stroke="{light}"]{{stroke:{NIGHT[light]}}}' for light in used)
    return f"@media (prefers-color-scheme:dark){{{rules}}}"


def tips(drawn: Drawing, overlay: Overlay) -> dict[str, str]:
    """What is said of each state and line where the pointer rests on it, by its id."""
    found = {f"s{number}": _tip_of_state(box, overlay.states.get(box.name, NOTHING)) for number, box in enumerate(drawn.boxes)}
    for stroke in strokes(drawn):
        found[stroke.id] = "\n".join(_tip_of_arrow(arrow, overlay.edges.get(arrow.edge, NOTHING)) for arrow in stroke.arrows)
    for to in drawn.limits_to():
        now = to == drawn.exceeded
        found["exceeded" if now else "exceededwas"] = f"any state –exceeded→ {to}: a limit {'is' if now else 'was'} reached"
    for number, edge in enumerate(drawn.beginnings()):
        found["beginwas" if number else "begin"] = f"{'started' if number else 'starts'} in {edge[2]}"
    return found


def _tip_of_state(box: Box, note: Note) -> str:
    parts = [f"{box.name} ({box.about})", line(box.doc), *box.told, *(f"{box.verb} {pick}" for pick in box.picks), *note.lines]
    return _lines(parts)


def _tip_of_arrow(arrow: Arrow, note: Note) -> str:
    return _lines([f"{arrow.state} –{arrow.outcome}→ {arrow.to}", *note.lines])


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(plain(part) for part in parts if part)


def _xml(words: str) -> str:
    return escape("\n".join(plain(part) for part in words.split("\n")))
