"""Lines that a terminal does not have to break within a word."""

import textwrap

NARROWEST = 20  # columns; a terminal that says less is wrong


def wrapped(text: str, width: int, *, indent: str = "", hanging: str = "") -> str:
    """The lines of a text, broken between words where they are wider; a word that is wider stays whole."""
    options = {"initial_indent": indent, "subsequent_indent": hanging}
    whole = {"break_long_words": False, "break_on_hyphens": False}
    lines = (textwrap.wrap(line, max(width, NARROWEST), **options, **whole) or [""] for line in text.split("\n"))
    return "\n".join(line for part in lines for line in part)
