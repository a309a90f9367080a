"""A machine as a picture: Mermaid for pull requests, text for terminals, DOT, SVG, and a page to explore.

drawing     what is drawn, of a Machine or a Definition
overlay     what is laid over it: one run, the traffic of many, a path, a difference
look        shapes, colours and words of the kinds
diagram     Mermaid             listing     text
layout      DOT, and the program that lays it out
picture     SVG                 page        HTML
"""

from leverframe.graph.diagram import mermaid as mermaid
from leverframe.graph.drawing import Drawable as Drawable
from leverframe.graph.drawing import Drawing as Drawing
from leverframe.graph.drawing import Edge as Edge
from leverframe.graph.drawing import drawing as drawing
from leverframe.graph.drawing import union as union
from leverframe.graph.listing import text as text
from leverframe.graph.overlay import PLAIN as PLAIN
from leverframe.graph.overlay import Mark as Mark
from leverframe.graph.overlay import Note as Note
from leverframe.graph.overlay import Overlay as Overlay
from leverframe.graph.overlay import Traffic as Traffic
from leverframe.graph.overlay import of_path as of_path
from leverframe.graph.overlay import of_run as of_run


def dot(machine: Drawable, overlay: Overlay = PLAIN) -> str:
    """The drawing for Graphviz, with its legend."""
    from leverframe.graph.layout import dot as text_of

    return text_of(machine, overlay)


def svg(machine: Drawable, overlay: Overlay = PLAIN) -> str:
    """One self-contained picture, readable on light and dark ground. Raises ProjectError where no layout program is installed."""
    from leverframe.graph.picture import svg as picture_of

    return picture_of(machine, overlay)


def html(machine: Drawable, overlay: Overlay = PLAIN) -> str:
    """One self-contained page to explore: pan, zoom, search, and everything about each state. It loads nothing.

    Raises ProjectError where no layout program is installed.
    """
    from leverframe.graph.page import html as page_of

    return page_of(machine, overlay)
