"""How things look: a shape, a colour and a word for each kind of state, so that they are told apart in black and white too.

One palette serves every notation. Each colour has a counterpart on a dark ground; a picture names the light one, and its style sheet
puts the other in its place (`dark`), so no notation needs two drawings.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leverframe.graph.drawing import Style
from leverframe.graph.overlay import Mark

PAPER, INK, MUTED, FAINT = "#fdfdfe", "#18181b", "#62626c", "#a6a6b0"
NIGHT: dict[str, str] = {PAPER: "#101116", INK: "#ededf2", MUTED: "#a3a3b0", FAINT: "#62626f"}
"""The dark counterpart of each light colour."""


def _pair(light: str, dark: str) -> str:
    NIGHT[light] = dark
    return light


@dataclass(frozen=True, slots=True)
class Look:
    """Of one style: `shape` and `style` are Graphviz's words."""

    shape: str
    style: str
    fill: str
    stroke: str
    ink: str
    width: float
    means: str
    margin: str = ""  # inches beside and above the words, where a shape needs other than usual
    dashes: str = ""  # of Mermaid, which has no shapes


GREY = (_pair("#f4f4f5", "#222329"), _pair("#71717a", "#8d8d99"), _pair("#18181c", "#ededf0"))
CYAN = (_pair("#e9fbfe", "#0c2a33"), _pair("#0891b2", "#22b8d6"), _pair("#164e63", "#bdeefa"))
VIOLET = (_pair("#f3f0ff", "#271b45"), _pair("#7c3aed", "#a986ff"), _pair("#4c1d95", "#e0d4ff"))
ORANGE = (_pair("#fff4e8", "#3a1e0b"), _pair("#ea580c", "#fb8c3f"), _pair("#7c2d12", "#ffd9b8"))
GOLD = (_pair("#fef9db", "#332a06"), _pair("#b98a04", "#e3b61c"), _pair("#6b3a10", "#fbe9a0"))
SKY = (_pair("#eff8ff", "#0d2538"), _pair("#0284c7", "#3fb4f2"), _pair("#0c4a6e", "#c3e6fd"))
BLUE = (_pair("#edf3ff", "#14213f"), _pair("#2563eb", "#6796ff"), _pair("#1e3a8a", "#cfdfff"))
PALE = (_pair("#fafafb", "#18191e"), _pair("#a1a1aa", "#6a6a76"), _pair("#6e6e78", "#9c9ca8"))
GREEN = (_pair("#eefcf2", "#0e2a18"), _pair("#16a34a", "#35c46c"), _pair("#14532d", "#c2f2d2"))
RED = (_pair("#fef1f1", "#381414"), _pair("#dc2626", "#f5706f"), _pair("#7f1d1d", "#fdd0d0"))

LOOKS: Mapping[Style, Look] = {
    "work": Look("box", "filled", *GREY, 1, "plain code"),
    "fetch": Look("cylinder", "filled", *CYAN, 1, "reads, asks no model", "0.12,0.1"),
    "ask": Look("hexagon", "filled", *VIOLET, 2, "a model picks an edge", "0,0.03"),
    "act": Look("cds", "filled", *ORANGE, 2, "executes a call", "0.16,0.16"),
    "approve": Look("doubleoctagon", "filled", *GOLD, 2, "a person releases it", "0,0"),
    "consult": Look("note", "filled", *GOLD, 1, "a person answers"),
    "wait": Look("ellipse", "filled,dashed", *SKY, 1, "an event or a time", "0,0", "2 2"),
    "delegate": Look("box3d", "filled", *BLUE, 1.5, "another machine", "0.13,0.11"),
    "compact": Look("box", "filled,rounded,dashed", *PALE, 1, "shortens an error", dashes="5 5"),
    "end": Look("box", "filled,rounded", *GREEN, 1.5, "over, as wished"),
    "failure": Look("box", "filled,diagonals", *RED, 1.5, "over, failed"),
    "missing": Look("box", "dotted", *RED, 1.5, "named, not declared", dashes="1 3"),
    "limits": Look("plaintext", "", *PALE, 1, "a limit is reached", dashes="5 5"),
}
DOUBLE = frozenset({"end"})
"""Drawn with a second outline, as final states are in UML."""

MARKS: Mapping[Mark, tuple[str, str, str]] = {
    "path": (_pair("#1d4fd8", "#82a8ff"), "", "the way it went"),
    "here": (_pair("#c0177c", "#ff74c0"), "▶ ", "where it is"),
    "added": (_pair("#15803d", "#4fd886"), "+ ", "added"),
    "removed": (_pair("#b91c1c", "#ff8a8a"), "− ", "removed"),
    "changed": (_pair("#a35a05", "#f5b043"), "~ ", "changed"),
    "unused": (_pair("#a7a7b1", "#61616e"), "", "never taken"),
}
"""The colour of a mark, the sign before what it marks (it must show without colour, too), and what it means."""
