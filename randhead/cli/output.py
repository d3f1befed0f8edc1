"""Output of commands: tables or one JSON document on stdout, everything else on stderr."""

import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from randhead import tables, user_files
from randhead.cli.hints import as_options
from randhead.errors import RunError
from randhead.escapes import printable
from randhead.files import described, json_text
from randhead.tables import Result, Table

KINDS = {".json": "report", ".csv": "table", ".tex": "latex", ".md": "markdown", ".png": "picture", ".html": "page"}
GAP = 2  # between columns of a table
NUMBER = re.compile(r"[+-]?\d[\d.]* [(\[]|[+-]?\d[\d.]* (to|%|nats)")  # with what belongs to it, on one line
ASCII = str.maketrans({"\u2191": "^", "\u2193": "v", "\u00b1": "+-"})
NARROWEST = 20  # columns; a terminal that says less is wrong


class Output:
    """Prints text and tables on stdout, or, with `as_json`, only one JSON document."""

    def __init__(self, *, as_json: bool):
        self.as_json = as_json
        # emoji=False, and no markup anywhere: ":bomb:" and "[red]" are names like any other
        self.log = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        self.console = self.log if as_json else Console(highlight=False, soft_wrap=True, emoji=False)

    def say(self, text: str = "", style: str | None = None) -> None:
        """Print a line of the result."""
        self._print(self.console, text, style)

    def whole(self, text: str) -> None:
        """Print a line of the result that is never broken, since it is to be copied: a path, a command."""
        self.console.print(printable(text), markup=False)

    def note(self, text: str, style: str | None = None) -> None:
        """Print a line about the progress of the command on stderr."""
        self._print(self.log, text, style)

    def _print(self, console: Console, text: str, style: str | None) -> None:
        """Print lines, of which each is broken between words on a terminal; names in them command no terminal."""
        text = self._drawn(printable(text, lines=True))
        console.print(wrapped(text, console.width) if is_terminal(console) else text, style=style, markup=False)

    def _drawn(self, text: str) -> str:
        """A text whose arrows and signs are of ASCII if the console has no others."""
        try:
            text.encode(self.console.encoding)
        except UnicodeEncodeError:
            return text.translate(ASCII)
        return text

    def warn(self, text: str) -> None:
        """Print a warning on one line of stderr; Python arguments in it become options."""
        self.note(f"warning: {as_options(printable(text))}", style="yellow")

    def show(self, result: Result) -> None:
        """Print a result: its tables, or its document."""
        self.tables(result.tables())
        self.result(result.to_json())

    def keep(self, *writers: Callable[[], Path | Iterable[Path]]) -> list[Path]:
        """Write and list the files of a result that has been shown, those of several runs in one line per name.

        What cannot be written or drawn costs a warning.

        Args:
            writers: functions that write, and return the paths of the files.

        Returns:
            The files.
        """
        files: list[Path] = []
        for write in writers:
            try:
                made = write()
                files += [made] if isinstance(made, Path) else made
            except Exception as error:  # the result must not be lost, whatever is wrong with a folder or a font
                if "--debug" in sys.argv:
                    traceback.print_exc()
                self.warn(_not_kept(error))
                if isinstance(error, OSError | RunError):
                    break  # the next file of this folder would fail too
        named: dict[str, list[Path]] = {}
        for path in files:
            named.setdefault(path.name, []).append(path)
        for number, (path, *others) in enumerate(named.values()):
            if not number:
                self.say()  # a path stays in one piece, to be copied
            more = f" (and of {tables.count(len(others), 'other run')})" if others else ""
            self.whole(f"{KINDS.get(path.suffix, 'images'):<8} {short_path(path)}{more}")
        return files

    def tables(self, found: Iterable[Table]) -> None:
        """Print tables with an empty line between them."""
        for number, table in enumerate(found):
            if number:
                self.say()
            self._table(table)

    def _table(self, table: Table) -> None:
        if table.title:
            self.say(table.title, style="bold")
        for number, part in enumerate(_parts(table, self.console.width)):
            if number:
                self.say()
            self._grid(part)
        for note in table.notes:
            self.say(as_options(note))

    def _grid(self, table: Table) -> None:
        columns, *cells = (
            [self._drawn(cell) for cell in row] for row in (map(tables.shown, table.columns), *_cells(table))
        )
        widths = _widths([columns, *cells], self.console.width)
        grid = rich_table.Table(box=None, pad_edge=False, width=sum(widths) + GAP * (len(widths) - 1))
        for i, width in enumerate(widths):
            justify: JustifyMethod = "right" if table.is_numeric(i) else "left"
            grid.add_column(Text(columns[i]), justify=justify, header_style="dim", overflow="fold", width=width)
        for row in cells:
            grid.add_row(*map(Text, row))
        if table.columns:
            self.console.print(grid)

    def result(self, document: dict[str, Any]) -> None:
        """Print the JSON document, if `--json` was given."""
        if self.as_json:
            print(json_text(document))

    @contextmanager
    def progress(self, what: str) -> Iterator[Any]:
        """Show a progress bar on stderr, on terminals only; yields a function of (done, total), or also of what."""
        with progress_bar(self.log) as bar:
            task = bar.add_task(what, total=None)

            def show(done: int, total: int, what: str = what) -> None:
                bar.update(task, description=what, completed=done, total=total)

            yield show


def _parts(table: Table, available: int) -> Iterator[Table]:
    """A table, or, if its words and numbers do not fit side by side, parts of it that repeat what names its rows.

    If they do not fit beside the first column one by one, because of a long path, the table stays whole.
    """
    columns = [list(column) for column in zip(table.columns, *_cells(table), strict=True)]
    needed = [max(map(_least, column)) for column in columns]
    if sum(needed) + GAP * (len(needed) - 1) <= available:
        yield table
        return
    for names in range(_naming(columns), 0, -1):
        largest = max(needed[names:]) + GAP * names if needed[names:] else available
        if sum(needed[:names]) + largest <= available:
            break
    else:
        yield table
        return
    whole = [max(map(cell_len, column)) for column in columns[:names]]
    needed[:names] = whole if sum(whole) + largest <= available else needed[:names]
    parts: list[list[int]] = [[*range(names)]]
    for i in range(names, len(columns)):
        if len(parts[-1]) > names and sum(needed[j] + GAP for j in parts[-1]) + needed[i] > available:
            parts.append([*range(names)])
        parts[-1].append(i)
    yield from (_columns_of(table, part) for part in parts)


def _naming(columns: list[list[str]]) -> int:
    """The number of first columns, with their titles, that tell the rows apart: a star names no run."""
    for i, column in enumerate(columns[:-1], start=1):
        rows = list(zip(*(cells[1:] for cells in columns[:i]), strict=True))
        if len(set(rows)) == len(rows) and all(re.search(r"\w", cell) for cell in column[1:]):
            return i
    return 1


def _columns_of(table: Table, chosen: list[int]) -> Table:
    return Table(
        "", tuple(table.columns[i] for i in chosen), tables.rows([row[i] for i in chosen] for row in table.rows)
    )


def _cells(table: Table) -> list[list[str]]:
    return [[tables.shown(value) for value in row] for row in table.rows]


def _least(text: str) -> int:
    """The least width of a cell: all of it if it starts as a number does, else its longest word."""
    return cell_len(text) if NUMBER.match(text) else _longest_word(text)


def _longest_word(text: str) -> int:
    return max(cell_len(word) for word in text.split() or [""])


def _widths(cells: list[list[str]], available: int) -> list[int]:
    """The width of each column of a table: as wide as its cells if all fit, but never so narrow that a word is broken.

    Paths are words that can be long, and lines longer than the terminal can still be copied.
    """
    columns = [list(column) for column in zip(*cells, strict=True)]
    widest = [max(map(cell_len, column)) for column in columns]
    widths = [max(map(_least, column)) for column in columns]
    spare = available - sum(widths) - GAP * (len(widths) - 1)
    for i in sorted(range(len(columns)), key=widest.__getitem__):  # the narrow ones, of numbers, stay on one line
        more = max(0, min(widest[i] - widths[i], spare))
        widths[i], spare = widths[i] + more, spare - more
    return [max(width, 1) for width in widths]  # a column without a word in it


def progress_bar(console: Console) -> Progress:
    """A progress bar with a count and the remaining time; it disappears at the end, and is shown only on a terminal."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console, transient=True, disable=not is_live(console))


def is_terminal(console: Console) -> bool:
    """Whether a person looks at a console.  Rich says so too if FORCE_COLOR asks for colours in a file."""
    return console.file.isatty()


def is_live(console: Console) -> bool:
    """Whether what a console shows can be redrawn."""
    return is_terminal(console) and not console.is_dumb_terminal


def short_path(path: Path) -> str:
    """A path as a user would type it: relative to the current folder if it is below it; printable."""
    try:
        return printable(str(path.resolve().relative_to(Path.cwd())))
    except (ValueError, OSError):  # elsewhere, or the current folder is gone
        return printable(str(path))


def _not_kept(error: Exception) -> str:
    """The warning for a file of a result that was shown."""
    if isinstance(error, RunError):
        return error.message
    if isinstance(error, OSError):
        return f"{described(error)}: the result is shown, and not kept"
    return f"the result is shown, and its pictures cannot be drawn: {user_files.described(error)}"


def wrapped(text: str, width: int, *, indent: str = "", hanging: str = "") -> str:
    """Break the lines of a text between words if they are wider than `width`; a wider word stays whole."""
    lines = (
        textwrap.wrap(
            line,
            max(width, NARROWEST),
            initial_indent=indent,
            subsequent_indent=hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or [""]
        for line in text.split("\n")
    )
    return "\n".join(line for part in lines for line in part)
