"""What `randhead train` does with the events of a training: a progress bar, a line an epoch, and the result."""

from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from randhead import datasets, runs
from randhead.cli.output import Output, nats, percent, shown
from randhead.cli.signals import GracefulStop
from randhead.config import Config
from randhead.device import resolve_device
from randhead.report import card
from randhead.train import events, loop


def run_training(config: Config, *, out: Path, name: str | None, fresh: bool, as_json: bool) -> None:
    """Train, show how it goes, and exit with the code of what happened."""
    output = Output(as_json=as_json)
    run = runs.open_run(out, runs.default_name(config) if name is None else name, config, fresh=fresh)
    summary = None if fresh else run.summary()
    if summary is not None:
        output.note(f"{shown(run.path)} is finished; --fresh trains it anew")
        runs.set_last(run)
        if not (run.path / "README.md").exists():  # it was killed just before
            card.write(run, config, summary)
        show_summary(output, run, summary)
        return
    stop = GracefulStop()
    place = resolve_device(config.machine.device)
    with output.progress("reading images") as progress:
        dataset = datasets.from_config(config, device=place, progress=progress)
    with _Display(output, config) as show:
        happening = loop.fit(config, dataset, run, fresh=fresh, stop=stop)
        started = next(happening)  # up to here there is nothing to save, and a signal ends the command at once
        with stop:
            for event in chain([started], happening):
                show.event(event)
    if show.summary is None:
        output.note(f"saved in {shown(run.path)}; the same command goes on from there")
        raise typer.Exit(stop.exit_code)
    card.write(run, config, show.summary)
    show_summary(output, run, show.summary)


def show_summary(output: Output, run: runs.Run, summary: dict[str, Any]) -> None:
    """The result of a training, for a person or as JSON."""
    test, val = summary["test"], summary["val"]
    error = f"+- {100 * test['accuracy_standard_error']:.2f}"
    judges = ", by 20 nearest training images" if "knn_20" in test else ""
    rows = [
        ["test accuracy", f"{percent(test['accuracy'])} {error}", f"n = {test['n']}{judges}"],
        ["test NLL", nats(test["nll"]), ""],
        ["test ECE", percent(test["ece"]), "15 bins of equal width"],
        ["val accuracy", percent(val["accuracy"]), f"selected epoch {summary['selected']['epoch']}"],
        ["training", f"{summary['seconds']:.1f} s", f"{summary['images_per_second']:,.0f} images/s"],
    ]
    output.table("", ["figure", "value", ""], [row for row in rows if row[1]])
    output.say(f"\nrun    {shown(run.path)}\nnext   randhead eval")
    output.result({**summary, "path": str(run.path)})


class _Display:
    """A context that shows the events of a training on stderr."""

    def __init__(self, output: Output, config: Config):
        self.output, self.config = output, config
        self.summary: dict[str, Any] | None = None
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        terminal = output.log.is_terminal
        self.bar = Progress(*columns, console=output.log, transient=True, disable=not terminal)
        self.task: TaskID | None = None
        self.stack = ExitStack()

    def __enter__(self) -> "_Display":
        self.stack.enter_context(self.bar)
        return self

    def __exit__(self, *exc: object) -> None:
        self.stack.close()

    def event(self, event: events.Event) -> None:
        """Show one event."""
        match event:
            case events.Started():
                self._start(event)
            case events.Warned(message):
                self.output.warn(message)
            case events.StepDone(step, _, loss):
                self.bar.update(self.task, completed=step, description=f"loss {loss:.3f}")
            case events.EpochDone():
                self._epoch(event)
            case events.Finished(summary):
                self.summary = summary
            case events.Stopped():
                pass

    def _start(self, event: events.Started) -> None:
        facts, head = event.facts, self.config.head
        images = facts["images"]
        instances = ", every training image its own" if self.config.data.labels == "instance" else ""
        views = ", seen in views" if facts["augment"] == "views" else ""
        self.output.note(
            f"{self.config.data.name}: {images['train']} training, {images['val']} validation and {images['test']} "
            f"test images of {facts['image_size']} px, {facts['num_classes']} classes{instances}{views}"
        )
        kind = "learned" if head.trainable else "fixed"
        self.output.note(
            f"{self.config.backbone.name}: {event.parameters:,} parameters, D = {facts['dim']}; {kind} "
            f"{head.vectors} class vectors, {head.scoring}, scale {facts['scale']:g}; {event.device}"
        )
        if event.step:
            self.output.note(f"going on after step {event.step} of {event.total_steps}")
        self.task = self.bar.add_task("", total=event.total_steps, completed=event.step)

    def _epoch(self, event: events.EpochDone) -> None:
        figures = event.figures
        mark = " *" if event.best else ""
        nll = f"NLL {figures['val_nll']:.4f}  " if "val_nll" in figures else ""
        self.output.note(
            f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}  loss {figures['train_loss']:.4f}  "
            f"val accuracy {percent(figures['val_accuracy']):>8}  {nll}"
            f"lr {figures['lr']:.2g}{mark}"
        )
