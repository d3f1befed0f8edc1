"""Where things go: one JSON document or the tables of a person on stdout, everything else on stderr."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from randhead.cli.lines import wrapped

KINDS = {".json": "report", ".csv": "table", ".png": "picture", ".html": "page"}


class Output:
    """Prints for a person, or, with `as_json`, keeps stdout for one JSON document."""

    def __init__(self, *, as_json: bool):
        self.as_json = as_json
        self.log = Console(stderr=True, highlight=False, soft_wrap=True)
        self.console = self.log if as_json else Console(highlight=False, soft_wrap=True)

    def say(self, text: str = "", style: str | None = None) -> None:
        """A line of the result."""
        self._print(self.console, text, style)

    def note(self, text: str, style: str | None = None) -> None:
        """A line about what happens, on stderr."""
        self._print(self.log, text, style)

    def _print(self, console: Console, text: str, style: str | None) -> None:
        console.print(wrapped(text, console.width) if console.is_terminal else text, style=style, markup=False)

    def warn(self, text: str) -> None:
        """A warning, on stderr."""
        self.note(f"warning: {text}", style="yellow")

    def file(self, path: Path) -> None:
        """A file or folder that the command has left; its path stays in one piece, to be copied."""
        self.console.print(f"{KINDS.get(path.suffix, 'images'):<8} {shown(path)}", markup=False)

    def table(self, title: str, columns: list[str], rows: list[list[Any]]) -> None:
        """A table; numbers stand on the right."""
        if title:
            self.say(title, style="bold")
        table = Table(box=None, pad_edge=False)
        for i, column in enumerate(columns):
            numeric = bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
            table.add_column(column, justify="right" if numeric else "left", header_style="dim", overflow="fold")
        for row in rows:
            table.add_row(*[_cell(value) for value in row])
        self.console.print(table)

    def result(self, document: dict[str, Any]) -> None:
        """The JSON document, where one was asked for."""
        if self.as_json:
            print(json.dumps(document, indent=2, allow_nan=False))

    @contextmanager
    def progress(self, what: str) -> Iterator[Any]:
        """A progress bar on stderr, on terminals only: yields a function of (done, total)."""
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        with Progress(*columns, console=self.log, transient=True, disable=not self.log.is_terminal) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def percent(share: float | None) -> str:
    """0.9712 -> '97.12 %'; nothing for what does not exist."""
    return "" if share is None or math.isnan(share) else f"{100 * share:.2f} %"


def nats(loss: float | None) -> str:
    """0.0209 -> '0.0209 nats'; nothing for what does not exist."""
    return "" if loss is None else f"{loss:.4f} nats"


def shown(path: Path) -> str:
    """A path as a person would type it: from here, where it is below here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))
