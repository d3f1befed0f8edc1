"""The live display of a training on stderr: a progress bar and one line per epoch."""

import time

from rich.progress import TaskID

from randhead import registry
from randhead.cli.hints import as_options
from randhead.cli.output import Output, progress_bar
from randhead.config import Config
from randhead.escapes import printable
from randhead.runs.finding import data_label
from randhead.tables import few, percent
from randhead.train import events
from randhead.train.profile import TrainingProfile

NAMED = 5  # classes in the first line
READ_EVERY_S = 0.5


class TrainingDisplay:
    """A context that shows the events of a training."""

    def __init__(self, output: Output, config: Config):
        self.output, self.config = output, config
        self.started = self.starred = False
        self.bar = progress_bar(output.log)
        self.task: TaskID | None = None
        self.profile: TrainingProfile | None = None
        self.next_reading = 0.0  # of the loss
        self.warnings: list[str] = []  # about the images, which the first line describes

    def __enter__(self) -> "TrainingDisplay":
        self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()
        self._warn()

    def warn(self, text: str) -> None:
        """Show a warning, after the first line."""
        self.warnings.append(text)
        if self.started:
            self._warn()

    def reading(self, done: int, total: int) -> None:
        """Show how many images have been read."""
        if self.task is None:
            self.task = self.bar.add_task("reading images")
        self.bar.update(self.task, completed=done, total=total)

    def event(self, event: events.Event) -> None:
        """Show one event."""
        match event:
            case events.Started():
                self._start(event)
            case events.StepDone() if self.task is not None:
                self._step(event, self.task)
            case events.EpochDone():
                self._epoch(event)
            case events.Profiled(profile):  # which the command shows at the end
                self.profile = profile
            case _:  # warnings have their own callback, and the result is shown by the command
                pass

    def _start(self, event: events.Started) -> None:
        """Show the data, the network and the head."""
        self.started = True
        settings, head = event.settings, self.config.head
        images = settings.images
        instances = ", one per training image" if self.config.data.labels == "instance" else ""
        names = few(settings.class_names, NAMED)
        views = ", augmented by views" if settings.augment == "views" else ""
        data = printable(data_label(self.config))
        self.output.note(
            f"{data}: {images['train']} training, {images['val']} validation "
            f"and {images['test']} test images of {settings.image_size} px, {settings.num_classes} "
            f"classes{instances or f' ({names})'}{views}"
        )
        self._warn()
        kind = "learned" if head.trainable else "fixed"
        keyed = " drawn by class name" if head.class_keys == "name" else ""
        self.output.note(
            f"{self.config.backbone.name}: {event.parameters:,} parameters, {settings.dim} features\n"
            f"{kind} {registry.label(head.vectors)} class vectors{keyed}, {head.scoring} scoring, "
            f"scale {settings.scale:g}\n"
            f"{event.device}, {event.precision}"
        )
        for note in event.notes:
            self.output.note(as_options(note))
        if event.step:
            self.output.note(f"resuming from step {event.step} of {event.total_steps}")
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task("", total=event.total_steps, completed=event.step)

    def _step(self, event: events.StepDone, task: TaskID) -> None:
        """Advance the bar.  The loss is read now and then, and only if it is seen: on a GPU that waits for the step."""
        self.bar.update(task, completed=event.step)
        now = time.monotonic()
        if not self.bar.disable and now >= self.next_reading:
            self.bar.update(task, description=f"loss {event.loss:.3f}")
            self.next_reading = now + READ_EVERY_S

    def _warn(self) -> None:
        """Show the warnings that have waited."""
        while self.warnings:
            self.output.warn(self.warnings.pop(0))

    def _epoch(self, event: events.EpochDone) -> None:
        """Show one line; a star marks the best epoch so far, as the first one says."""
        metrics = event.metrics
        mark = (" *" if self.starred else " * best so far") if event.best else ""
        self.starred |= event.best
        nll = "" if metrics.val_nll is None else f"NLL {metrics.val_nll:.4f}  "
        self.output.note(
            f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}  loss {metrics.train_loss:.4f}  "
            f"val accuracy {percent(metrics.val_accuracy):>8}  {nll}"
            f"lr {metrics.lr:.2g}{mark}"
        )
