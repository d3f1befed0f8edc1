"""What a person sees of a training while it runs: a progress bar and one line per epoch, on stderr."""

from contextlib import ExitStack
from typing import Any

from rich.progress import TaskID

from randhead.cli.output import Output, percent, progress_bar
from randhead.config import Config
from randhead.train import events


class TrainingDisplay:
    """A context that shows the events of a training."""

    def __init__(self, output: Output, config: Config):
        self.output, self.config = output, config
        self.summary: dict[str, Any] | None = None
        self.bar = progress_bar(output.log)
        self.task = TaskID(0)
        self.stack = ExitStack()

    def __enter__(self) -> "TrainingDisplay":
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
        """What is trained on what."""
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
            f"{self.config.backbone.name}: {event.parameters:,} parameters, {facts['dim']} features; {kind} "
            f"{head.vectors} class vectors, {head.scoring} scoring, scale {facts['scale']:g}; {event.device}"
        )
        if event.step:
            self.output.note(f"resuming from step {event.step} of {event.total_steps}")
        self.task = self.bar.add_task("", total=event.total_steps, completed=event.step)

    def _epoch(self, event: events.EpochDone) -> None:
        """One line; a star marks the best epoch so far."""
        metrics = event.figures
        mark = " *" if event.best else ""
        nll = f"NLL {metrics['val_nll']:.4f}  " if "val_nll" in metrics else ""
        self.output.note(
            f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}  loss {metrics['train_loss']:.4f}  "
            f"val accuracy {percent(metrics['val_accuracy']):>8}  {nll}"
            f"lr {metrics['lr']:.2g}{mark}"
        )
