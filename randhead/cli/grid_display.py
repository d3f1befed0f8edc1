"""The live display of a grid of corruptions: a table of errors that fills up, and the time left."""

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from randhead.cli.output import Output, is_live, progress_bar
from randhead.escapes import printable
from randhead.robustness import CLEAN, Advanced, GridEvent, GridStarted, RowDone


class GridDisplay:
    """A context that shows grids filling up, with the time left, on stderr and only on a terminal."""

    def __init__(self, output: Output):
        self.console = output.log
        self.images: ImageBar | None = None
        self.grid: LiveGrid | None = None

    def __enter__(self) -> "GridDisplay":
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def progress(self, done: int, total: int) -> None:
        """Show that images are read or written."""
        if self.images is None:
            self._stop()
            self.images = ImageBar(self.console)
        self.images.update(done, total)

    def event(self, event: GridEvent) -> None:
        """Show one event of a grid."""
        if isinstance(event, GridStarted):
            self._stop()
            self.grid = LiveGrid(self.console, event)
        elif self.grid:
            self.grid.update(event)

    def _stop(self) -> None:
        """Remove the display."""
        for shown in (self.images, self.grid):
            if shown:
                shown.stop()
        self.images = self.grid = None


class ImageBar:
    """A progress bar of images that are read or written."""

    def __init__(self, console: Console):
        self.bar = progress_bar(console)
        self.task = self.bar.add_task("images", total=None)
        self.bar.start()

    def update(self, done: int, total: int) -> None:
        """Show how many are done."""
        self.bar.update(self.task, completed=done, total=total)

    def stop(self) -> None:
        """Remove it from the terminal."""
        self.bar.stop()


class LiveGrid:
    """A table of errors that fills up row by row, above a bar with the time left."""

    def __init__(self, console: Console, started: GridStarted):
        self.started = started
        self.rows: dict[str, RowDone] = {}
        columns = [BarColumn(), TaskProgressColumn(), TextColumn("time left"), TimeRemainingColumn()]
        self.bar = Progress(*columns, console=console)
        self.task = self.bar.add_task("", total=None)
        self.live = Live(console=console, transient=True, refresh_per_second=4) if is_live(console) else None
        if self.live:
            self.live.start()

    def update(self, event: Advanced | RowDone) -> None:
        """Show one event."""
        match event:
            case Advanced(done, total):
                self.bar.update(self.task, completed=done, total=total)
            case RowDone(name):
                self.rows[name] = event
        if self.live:
            self.live.update(self._view())

    def stop(self) -> None:
        """Remove it from the terminal."""
        if self.live:
            self.live.update("")  # Rich prints the last view in full, and lines above the screen cannot be removed
            self.live.stop()

    def _view(self) -> Group:
        grid = self.started.grid
        severities = sorted({severity for row in grid.values() for severity in row if severity})
        title = printable(f"{self.started.run}: {self.started.title}")
        table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="dim")
        table.add_column("error in percent, by severity")
        for severity in severities:
            table.add_column(str(severity), justify="right", min_width=5)
        for name in grid:
            metrics = self.rows[name].metrics if name in self.rows else {}
            shown = [0] if name == CLEAN else severities
            cells = [f"{100 * metrics[s].error:.1f}" if s in metrics else "" for s in shown]
            table.add_row(Text(printable(name.replace("_", " "))), *cells)
        return Group(table, self.bar)
