"""Text of users (names of classes, runs, files, datasets) as text of others: one function per target.

Such a text may hold whatever its target takes for an instruction: control sequences of a terminal, Markdown, LaTeX,
formulas of a spreadsheet.  HTML is escaped by `html` and by the templates of pages; pictures have no markup
(`report.canvas`); JSON needs nothing, since everything beyond ASCII is escaped in it.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable

# Categories: control, surrogate, format (also of directions), line separator, paragraph separator.
CONTROLS = ("Cc", "Cs", "Cf", "Zl", "Zp")
JOINERS = ("\u200c", "\u200d")  # format characters of Persian, of Indian scripts and of emoji
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four: wide = + - @
NUMBER = re.compile(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)([eE][+-]?\d+)?( ?%)?")
MARKDOWN = re.compile(r"[\\`*{}\[\]<>#|~$!&]|(?<![^\W_])_|_(?![^\W_])|^[-+=]")
NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")  # an item of a list
ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def printable(text: str, *, lines: bool = False) -> str:
    r"""A text without control characters, which are written as Python writes them.

    Args:
        text: any text; also with bytes of a file name that are not UTF-8.
        lines: whether line feeds stay.

    Example:
        >>> print(printable("a\x1b[2Jb\nc" + chr(0x202E)))
        a\x1b[2Jb\nc\u202e
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if (lines and c == "\n") or not _is_control(c) else _escaped(c) for c in text)


def markdown(text: str) -> str:
    r"""A text as one line of Markdown that shows it as it is, also in a table.

    Example:
        >>> print(markdown("a|b *c* small_resnet\n<script>"))
        a&#124;b \*c\* small_resnet\\n&lt;script&gt;
    """
    escaped = MARKDOWN.sub(lambda found: ENTITIES.get(found[0], f"\\{found[0]}"), printable(text))
    return NUMBERED.sub(r"\1\\\2", escaped)


def latex(text: str) -> str:
    r"""A text as LaTeX that prints it as it is.

    Example:
        >>> print(latex("50% of a_b"))
        50\% of a\_b
    """
    return "".join(LATEX.get(c, c) for c in printable(text))


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Rows as comma-separated values; numbers are exact, and a text that a spreadsheet takes for a formula is quoted.

    Example:
        >>> csv_text([("class", "share"), ("=1+1", -0.5)])
        "class,share\n'=1+1,-0.5\n"
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([map(_csv_cell, row) for row in rows])
    return out.getvalue()


def _csv_cell(value: object) -> object:
    """A value as a cell: with an apostrophe before it if it is a text that a spreadsheet would compute."""
    if not isinstance(value, str):
        return value
    is_formula = value.lstrip(" ").startswith(FORMULA) and not NUMBER.fullmatch(value)
    return ("'" if is_formula else "") + printable(value, lines=True)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in CONTROLS and character not in JOINERS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
