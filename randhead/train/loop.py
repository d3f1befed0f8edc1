"""Training: `fit` yields what happens, and can be stopped and started again at any step without changing the result.

Every random number of a step is a function of the seed and the step, so a checkpoint keeps weights, optimiser state and
a step, and no generator.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from randhead import model, rng, runs
from randhead.config import Config, parse
from randhead.datasets import Dataset
from randhead.device import device_name, resolve_device, versions
from randhead.errors import DivergedError, RunError, StopRequested
from randhead.files import write_json
from randhead.head import preflight_check
from randhead.preprocess import Preprocess
from randhead.runs import Run, checkpoint
from randhead.train import batches, resolve, state, tasks, warm_start
from randhead.train.events import EpochDone, Event, Finished, Started, StepDone, Stopped, Warned
from randhead.train.optim import Schedule, optimiser
from randhead.train.state import Progress

CHECKED_CLASSES = 65_536  # of more, the pre-flight check looks at these


def fit(
    config: Config, dataset: Dataset, run: Run, *, fresh: bool = False, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Train a classifier into a run folder, from its newest checkpoint if it has one.

    With `fresh`, what a training left there is deleted, once the new one is known to be possible.
    `stop` is asked between batches; where it answers True, everything is saved and `Stopped` is the last event.  A
    finished run yields `Finished` at once.  Raises DivergedError before a step whose loss is not a finite number,
    RunError for a folder that is in use or has no readable checkpoint left.
    """
    summary = None if fresh else run.summary()
    if summary is not None:
        yield Finished(summary)
        return
    trainer = _Trainer(config, dataset, run, stop)  # before the folder is made: it refuses what cannot be built
    with runs.locked(run):
        if fresh:
            state.start_anew(run)
        yield from trainer.start()
        try:
            yield from trainer.train()
        except StopRequested:
            trainer.save()
            yield Stopped(trainer.progress.step)
            return
        try:
            yield Finished(trainer.finish())
        except StopRequested:
            yield Stopped(trainer.progress.step)


class _Trainer:
    """The parts of one training and the order in which they act."""

    def __init__(self, config: Config, dataset: Dataset, run: Run, stop: Callable[[], bool]):
        self.config, self.dataset, self.run, self.stop = config, dataset, run, stop
        self.place = resolve_device(config.machine.device)
        self.facts = resolve.resolve(config, dataset)
        self.task = tasks.of(config, dataset)
        self.model = model.from_config(
            config,
            class_names=dataset.class_names,
            num_classes=self.facts["num_classes"],
            image_size=dataset.image_size,
        )
        if config.train.start_from:
            warm_start.take_over(self.model, dataset.class_names, runs.load(config.train.start_from, device="cpu"))
        self.model.to(self.place).to(memory_format=torch.channels_last)
        self.backbone = torch.compile(self.model.backbone) if config.machine.compile else self.model.backbone
        self.facts |= {"dim": self.model.head.dim, "scale": float(self.model.head.scale)}
        self.optimizer = optimiser(self.model, config.optim)
        self.schedule = Schedule(self.optimizer, config.optim)
        self.preprocess = Preprocess.of(
            self.facts["mean"], self.facts["std"], precision=config.train.precision, device=self.place
        )
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] = {}
        self.train_split = dataset.splits["train"]
        self.batches_an_epoch = batches.count(len(self.train_split), config.train.batch_size)
        self.steps_an_epoch = -(-self.batches_an_epoch // config.optim.accumulate)
        self.total_steps = self.steps_an_epoch * config.train.epochs
        self.saved_at = time.monotonic()

    def start(self) -> Iterator[Event]:
        """Take up the newest readable checkpoint, write the configuration, and check the class vectors."""
        yield from self._resume()
        runs.write_config(self.run, self.config, self.facts)
        runs.set_last(self.run)
        head = self.model.head
        check = preflight_check.inspect(
            head.rows().tile(0, min(head.num_classes, CHECKED_CLASSES), torch.float32),
            scoring=head.scoring,
            scale=float(head.scale),
            nonnegative=self.model.backbone.nonnegative and self.config.head.neck == "none",
        )
        count = sum(p.numel() for p in self.model.parameters())
        name = device_name(self.place)
        yield Started(self.run, self.progress.step, self.total_steps, count, name, check, self.facts)
        for warning in check.warnings:
            yield Warned(warning)

    def train(self) -> Iterator[Event]:
        """All epochs that are left."""
        while self.progress.epoch < self.config.train.epochs:
            yield from self._steps()
            yield self._close_epoch()

    def finish(self) -> dict[str, Any]:
        """Read the test split, once, with the selected weights, and write what the run leaves."""
        self.model.load_state_dict(dict(self.best_weights))
        test = self.task.evaluate(self.model, "test", self.preprocess, stop=self.stop)
        self._write_model()
        progress = self.progress
        images = len(self.train_split) * self.config.train.epochs
        summary = {
            "run": self.run.name,
            "epochs": self.config.train.epochs,
            "selected": progress.best,
            "val": {key: progress.best.get(key) for key in ("accuracy", "nll")},
            "test": test,
            "seconds": round(progress.seconds, 3),
            "images_per_second": round(images / max(progress.seconds, 1e-9), 1),
            "device": device_name(self.place),
            "bad_images": list(self.dataset.bad_images),
            "weights_sha256": checkpoint.state_sha256(self.best_weights),
            "versions": versions(),
        }
        write_json(self.run.summary_path, summary)
        return summary

    def save(self) -> None:
        """Write a checkpoint of this step."""
        self.progress.schedule = self.schedule.state()
        path = checkpoint.step_path(self.run.checkpoints, self.progress.step)
        state.save(path, self.model, self.optimizer, self.best_weights, self.progress, self._description())
        checkpoint.prune(self.run.checkpoints, self.config.machine.keep_checkpoints, step=self.progress.step)
        self.saved_at = time.monotonic()

    def _steps(self) -> Iterator[Event]:
        """The steps that are left of the running epoch."""
        progress, accumulate = self.progress, self.config.optim.accumulate
        done = (progress.step - progress.epoch * self.steps_an_epoch) * accumulate
        coming = self._batches(progress.epoch, done)
        for first in range(done, self.batches_an_epoch, accumulate):
            if self.stop():
                raise StopRequested(f"stopped after step {progress.step}")
            begun = time.perf_counter()
            group = [next(coming) for _ in range(min(accumulate, self.batches_an_epoch - first))]
            loss = self._step(group)
            progress.seconds += time.perf_counter() - begun
            yield StepDone(progress.step, progress.epoch, loss)
            if time.monotonic() - self.saved_at > 60 * self.config.machine.checkpoint_minutes:
                self.save()

    def _batches(self, epoch: int, done: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Varied images (b, 3, H, W) and labels (b,) of an epoch, on the device, from batch `done` on."""
        labels = self.task.labels.to(self.place)
        return batches.of_epoch(self.train_split, labels, self.facts, self.config.train, epoch=epoch, first=done)

    def _step(self, group: list[tuple[Tensor, Tensor]]) -> float:
        """One step of the optimiser over one or more batches.  Returns the mean loss."""
        self.model.train()
        # Only dropout draws from torch's generators; seeded by the step, it too is the same after a resume.
        torch.manual_seed(rng.key(self.config.train.seed, f"step/{self.progress.step}")[0])
        self.schedule.before_step(self.progress.step / self.total_steps)
        self.optimizer.zero_grad(set_to_none=True)
        count = sum(len(labels) for _, labels in group)
        mean = 0.0
        for images, labels in group:
            loss = self._loss(images, labels) * (len(labels) / count)
            loss.backward()
            mean += loss.item()
        if not math.isfinite(mean):
            saved = checkpoint.saved_steps(self.run.checkpoints)
            where = f"the last checkpoint is of step {saved[-1]}" if saved else "there is no checkpoint yet"
            raise _diverged(f"the loss is {mean} in step {self.progress.step + 1} of {self.total_steps}; {where}")
        if self.config.optim.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.loss_sum += mean * count
        self.progress.images += count
        if self.progress.step % self.steps_an_epoch == 0:
            self.progress.last_step = self._step_figures()
        return mean

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of one batch of uint8 images."""
        with self.preprocess.autocast():
            features = self.backbone(self.preprocess.prepare(images))
            return self.model.head.loss(features, labels, label_smoothing=self.config.optim.label_smoothing)

    def _close_epoch(self) -> EpochDone:
        """Validate, select, log and save."""
        progress = self.progress
        val = self.task.validate(self.model, self.preprocess, stop=self.stop)
        if not all(map(math.isfinite, val.values())):
            raise _diverged(f"the validation figures are not finite after step {progress.step}")
        progress.epoch += 1
        best = not progress.best or tasks.rank(val) > tasks.rank(progress.best)
        if best:
            progress.best = {"epoch": progress.epoch, **{key: val[key] for key in ("accuracy", "nll") if key in val}}
            self.best_weights = {name: tensor.cpu().clone() for name, tensor in self.model.state_dict().items()}
        figures = {
            "epoch": progress.epoch,
            "step": progress.step,
            "train_loss": progress.loss_sum / progress.images,
            **{f"val_{key}": value for key, value in val.items()},
            **progress.last_step,
            **self._head_figures(),
            "seconds": round(progress.seconds, 3),
        }
        progress.loss_sum, progress.images = 0.0, 0
        self.schedule.after_epoch(val["accuracy"])
        self._log(figures)
        self.save()
        if best:
            self._write_model()
        return EpochDone(progress.epoch, self.config.train.epochs, figures, best)

    def _step_figures(self) -> dict[str, float]:
        """The learning rate and the gradient norms of the step that was just made."""
        backbone, head = self.model.backbone, self.model.head
        figures = {"lr": self.optimizer.param_groups[0]["lr"], "grad_norm_backbone": _norm(list(backbone.parameters()))}
        if head.trainable:
            figures["grad_norm_vectors"] = _norm([head.vectors])
        if head.normaliser == "expected":
            figures["normaliser_error_bound"] = head.last_error_bound
        return figures

    def _head_figures(self) -> dict[str, float]:
        """The scale, and how far learned class vectors have turned from their start."""
        head = self.model.head
        figures = {"scale": float(head.scale)}
        if head.trainable:
            cosines = torch.cosine_similarity(head.vectors.detach().cpu(), head.draw()).clamp(-1, 1)
            figures["vector_drift_deg"] = float(cosines.acos().rad2deg().mean())
        return figures

    def _log(self, figures: dict[str, Any]) -> None:
        with self.run.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
            file.flush()
            os.fsync(file.fileno())  # the checkpoint that follows must not outlive it

    def _description(self) -> dict[str, Any]:
        return {"config": parse.nest(self.config), "resolved": self.facts, "versions": versions()}

    def _write_model(self) -> None:
        """Write the selected weights with all that is needed to use them."""
        document = {**self._description(), "selected": self.progress.best}
        checkpoint.save(self.run.model_path, self.best_weights, document)

    def _resume(self) -> Iterator[Warned]:
        """Take up the newest checkpoint that can be read; name those that cannot."""
        steps, description = checkpoint.saved_steps(self.run.checkpoints), self._description()
        for step in reversed(steps):
            path = checkpoint.step_path(self.run.checkpoints, step)
            try:
                restored = state.restore(path, self.model, self.optimizer, description)
                self.progress, self.best_weights = restored
                self.schedule.restore(self.progress.schedule)
                break
            except RunError as error:
                yield Warned(f"{error.message}; looking for an older checkpoint")
        else:
            if steps:
                raise RunError(f"{self.run.checkpoints}: no checkpoint can be used", hint="start anew with --fresh")
        state.truncate_log(self.run.metrics_path, self.progress.epoch)


def _diverged(message: str) -> DivergedError:
    hint = "start again with a lower learning rate, --set optim.lr=..., or --set optim.clip_norm=1"
    return DivergedError(message, hint=hint)


def _norm(parameters: list[Tensor]) -> float:
    """The joint L2 norm of their gradients."""
    gradients = [p.grad.norm() for p in parameters if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(gradients))) if gradients else 0.0
