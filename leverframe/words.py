"""Words in Markdown, as they are: nothing in a name or a docstring makes a link, a mention, a heading, a tag or another cell."""

import re
from html import escape


def escaped(words: str) -> str:
    """On one line. A mention is broken by a space of no width."""
    plain = re.sub(r"([\\`*_\[\]#<>~])", r"\\\1", " ".join(words.split()))
    return plain.replace("@", "@\u200b")


def tagged(words: str) -> str:
    """As `escaped`, for between tags of HTML, where Markdown is not read."""
    return escape(" ".join(words.split())).replace("@", "@\u200b")


def cell(words: str) -> str:
    """In a table."""
    return escaped(words).replace("|", "\\|")


def code(words: str) -> str:
    """As code, where Markdown can show it so."""
    return f"`{words}`" if words and not set("`|\n") & set(words) else cell(words)
