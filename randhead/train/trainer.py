"""One training: its parts, its steps and epochs, and its result.

Every random number of a step is a function of the seed and the step, so a checkpoint needs the weights, the state of
the optimiser and the step, but no state of a random generator.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from randhead import model, runs
from randhead.config import Config
from randhead.config.resolved import ResolvedSettings
from randhead.datasets import Dataset
from randhead.device import device_name, resolve_device, versions
from randhead.errors import DivergedError, RunError, StopRequested
from randhead.head import preflight
from randhead.intervals import of_accuracy
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.runs import Run, SelectedEpoch, TrainingSummary, checkpoint, replacement
from randhead.train import batch_norm, batches, chance, log, notes, resume, tasks
from randhead.train.events import EpochDone, Event, Started, StepDone, Warned
from randhead.train.graphs import Batch
from randhead.train.log import EpochMetrics
from randhead.train.phases import LOSSES, READING, SAVING, VALIDATING, phase
from randhead.train.resolve import begun_settings, encoder_input, resolve_settings
from randhead.train.saving import Saver, host_copies
from randhead.train.state import TrainState, restore_state
from randhead.train.step import Stepper
from randhead.train.tasks import ValidationMetrics
from randhead.train.unread import READ_EVERY, UnreadLosses
from randhead.train.warm_start import WarmStart, init_from_run


class Trainer:
    """One training, which can be stopped and resumed at any step with the same result.

    The caller has the lock of the run while it trains.
    """

    def __init__(
        self, config: Config, dataset: Dataset, run: Run, should_stop: Callable[[], bool], *, fresh: bool = False
    ):
        self.config, self.dataset, self.run, self.should_stop = config, dataset, run, should_stop
        self.device = resolve_device(config.machine.device)
        self.task = tasks.of(config, dataset)
        self.train_split = dataset.splits["train"]
        self.batches_per_epoch = batches.count(len(self.train_split), config.train.batch_size)
        self.steps_per_epoch = -(-self.batches_per_epoch // config.optim.accumulate)
        self.total_steps = self.steps_per_epoch * config.train.epochs
        encoder = encoder_input(config)
        settings = resolve_settings(config, dataset, encoder, begun_settings(run, fresh=fresh))
        model, warm = _initial_model(config, settings)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.settings = replace(settings, dim=self.model.head.dim, scale=float(self.model.head.scale))
        precision = config.train.precision
        self.preprocess = Preprocess.of(settings.mean, settings.std, precision=precision, device=self.device)
        self.notes = notes.of_training(config, self.settings, encoder, warm)
        self.notes += tuple(filter(None, [batch_norm.keep_up(self.model, self.batches_per_epoch)]))
        size = min(config.train.batch_size, len(self.train_split))
        self.stepper = Stepper(self.model, config, self.preprocess, self.total_steps, batch_size=size)
        self.state, self.unread = TrainState(), UnreadLosses()
        self.phase = phase  # of what is done once per epoch; a profile measures it
        self.saver = Saver(config, self.settings)
        self.saved_at = time.monotonic()

    def start(self) -> Iterator[Event]:
        """Restore the newest readable checkpoint, write the configuration, and check the class vectors."""
        yield from map(Warned, self.dataset.notes())
        yield from self._resume()
        runs.write_config(self.run, self.config, self.settings)
        runs.set_last(self.run)
        nonnegative = bool(self.model.backbone.nonnegative) and self.config.head.neck == "none"
        check = preflight(self.model.head, nonnegative=nonnegative)
        count = sum(p.numel() for p in self.model.parameters())
        yield Started(
            run=replacement.final(self.run),
            step=self.state.step,
            total_steps=self.total_steps,
            parameters=count,
            device=device_name(self.device),
            precision="fp32" if self.preprocess.precision == torch.float32 else "bf16",
            check=check,
            settings=self.settings,
            notes=self.notes,
        )
        yield from map(Warned, check.warnings)

    def train(self) -> Iterator[Event]:
        """Run the remaining epochs."""
        while not self.is_trained:
            yield from self.steps()
            yield self._close_epoch()

    @property
    def is_trained(self) -> bool:
        """Whether all epochs are finished."""
        return self.state.epoch == self.config.train.epochs

    def finish(self) -> TrainingSummary:
        """Evaluate the selected weights on the test split, once, and write them as the model of the run."""
        state, best = self.state, self.state.selected()
        doubt = chance.warning(log.read(self.run.metrics_path), self.model, self.dataset.splits["val"], self.preprocess)
        self.model.load_state_dict(dict(state.best_weights))
        test = self.task.evaluate(self.model, "test", self.preprocess, should_stop=self.should_stop)
        self.saver.save_model(self.run, state)
        images = len(self.train_split) * self.config.train.epochs
        return TrainingSummary(
            path=self.run.path,
            run=self.run.name,
            epochs=self.config.train.epochs,
            selected=best,
            val=self._validation(best),
            test=test.summary(),
            seconds=round(state.seconds, 3),
            images_per_second=round(images / max(state.seconds, 1e-9), 1),
            device=device_name(self.device),
            bad_images=self.dataset.bad_images,
            weights_sha256=checkpoint.state_sha256(state.best_weights),
            versions=versions(),
            notes=self.notes,
            warnings=(doubt,) if doubt else (),
        )

    def _validation(self, best: SelectedEpoch) -> dict[str, Any]:
        """The metrics of the selected weights on the validation split."""
        n = len(self.dataset.splits["val"])
        interval = of_accuracy(best.accuracy, n)
        found = {"accuracy": best.accuracy, "accuracy_interval": interval and interval.to_json()}
        return {**found, "nll": best.nll, "n": n}

    def save(self, *, is_best: bool = False) -> None:
        """Begin to write a checkpoint of this step; `is_best`: and the weights, which are the best so far.

        Raises as `read_losses`: what follows a loss that is not finite is never written.
        """
        self.read_losses()
        self.state.schedule = self.stepper.schedule.state()
        with self.phase(SAVING):
            self.run = self.saver.save(self.run, self.state, self.model, self.stepper.optimizer, is_best=is_best)
        self.saved_at = time.monotonic()

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `first` on, on the device."""
        labels = self.task.labels.to(self.device)
        return batches.of_epoch(self.train_split, labels, self.settings, self.config.train, epoch=epoch, first=first)

    def steps(self) -> Iterator[Event]:
        """Run the remaining steps of the current epoch."""
        state, accumulate = self.state, self.config.optim.accumulate
        done = (state.step - state.epoch * self.steps_per_epoch) * accumulate
        coming = self.batches(state.epoch, done)
        for first in range(done, self.batches_per_epoch, accumulate):
            if self.should_stop():
                self.read_losses()
                raise StopRequested(f"stopped after step {state.step}")
            begun = time.perf_counter()
            with phase(READING):
                group = [next(coming) for _ in range(min(accumulate, self.batches_per_epoch - first))]
            loss = self._step(group)
            state.seconds += time.perf_counter() - begun
            if isinstance(loss, float) or state.step % READ_EVERY == 0 or state.step % self.steps_per_epoch == 0:
                self.read_losses()
            yield StepDone(state.step, state.epoch, loss)
            if time.monotonic() - self.saved_at > 60 * self.config.machine.checkpoint_minutes:
                self.save()

    def _step(self, group: list[Batch]) -> Tensor | float:
        """Make one step of the optimiser over one or more batches, and return the mean loss, which is not checked."""
        state = self.state
        done = self.stepper.step(group, state.step)
        self.unread.add(done)
        state.step += 1
        if state.step % self.steps_per_epoch == 0:
            state.last_step = self.stepper.metrics()
        return done.loss

    def read_losses(self) -> None:
        """Check and sum the losses that have not been read; on a CUDA device this waits for the last step.

        Raises:
            DivergedError: for a loss that is not finite; the steps since then have changed nothing.
            UsageError: for an error bound above the tolerance.
        """
        state, begun = self.state, time.perf_counter()
        with phase(LOSSES):
            losses = self.unread.read()
        for step, loss, bound in losses:
            if not math.isfinite(loss):
                state.step = step.step
                self.saver.wait()
                saved = checkpoint.saved_steps(self.run.checkpoints)
                where = f"the last checkpoint is of step {saved[-1]}" if saved else "there is no checkpoint yet"
                raise _diverged(f"the loss is {loss} in step {step.step + 1} of {self.total_steps}; {where}")
            self.stepper.check_error_bound(bound)
            state.loss_sum += loss * step.images
            state.images += step.images
        state.seconds += time.perf_counter() - begun

    def _close_epoch(self) -> EpochDone:
        """Validate the model, select the best weights, log the epoch and save a checkpoint."""
        state = self.state
        with self.phase(VALIDATING):
            val = self.task.validate(self.model, self.preprocess, should_stop=self.should_stop)
        if not val.is_finite():
            raise _diverged(f"the validation metrics are not finite after step {state.step}")
        state.epoch += 1
        reached = SelectedEpoch(state.epoch, val.accuracy, val.nll)
        is_best = state.best is None or tasks.rank(reached) > tasks.rank(state.best)
        if is_best:
            state.best = reached
            state.best_weights = host_copies(self.model.state_dict())
        metrics = self._epoch_metrics(val)
        state.loss_sum, state.images = 0.0, 0
        self.stepper.schedule.after_epoch(reached.accuracy)
        log.append(self.run.metrics_path, metrics)
        if state.epoch % self.config.machine.checkpoint_epochs == 0 or self.is_trained:
            self.save(is_best=is_best)
        return EpochDone(state.epoch, self.config.train.epochs, metrics, is_best)

    def _epoch_metrics(self, val: ValidationMetrics) -> EpochMetrics:
        """The line of the log for an epoch with these validation metrics."""
        state, head = self.state, self.model.head
        drift = None
        if head.trainable:
            cosines = torch.cosine_similarity(head.vectors.detach().cpu(), head.draw()).clamp(-1, 1)
            drift = float(cosines.acos().rad2deg().mean())
        return EpochMetrics(
            epoch=state.epoch,
            step=state.step,
            train_loss=state.loss_sum / state.images,
            **{f"val_{name}": value for name, value in vars(val).items()},
            **vars(state.end_of_epoch()),
            scale=float(head.scale),
            vector_drift_deg=drift,
            seconds=round(state.seconds, 3),
        )

    def _resume(self) -> Iterator[Warned]:
        """Restore the newest checkpoint that can be read; warn about those that cannot."""
        steps = checkpoint.saved_steps(self.run.checkpoints)
        yield from map(Warned, resume.check(self.run, self.config, self.settings) if steps else ())
        for step in reversed(steps):
            path = checkpoint.step_path(self.run.checkpoints, step)
            try:
                self.state = restore_state(path, self.model, self.stepper.optimizer, self.config, self.settings)
                self.stepper.schedule.restore(self.state.schedule)
                break
            except RunError as error:
                yield Warned(f"{error.message}; looking for an older checkpoint")
        else:
            if steps:
                hint = "start over with `fresh=True`"
                raise RunError(f"{self.run.checkpoints}: no checkpoint can be used", hint=hint)
        log.truncate(self.run.metrics_path, self.state.epoch)


def _initial_model(config: Config, settings: ResolvedSettings) -> tuple[Classifier, WarmStart | None]:
    """The model before training, on the CPU, and what it has from another run."""
    if not config.train.start_from:
        return model.from_config(config, settings), None
    source = runs.load(config.train.start_from, device="cpu")
    # Published weights would only be replaced by those of the run.
    initial = model.from_config(replace(config, backbone=replace(config.backbone, pretrained=False)), settings)
    return initial, init_from_run(initial, settings.class_names, source, config)


def _diverged(message: str) -> DivergedError:
    return DivergedError(message, hint="start over with a lower `optim.lr`, or with `optim.clip_norm=1`")
