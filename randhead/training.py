"""Training: `fit` yields what happens, and can be stopped and started again at any step without changing the result.

Every random number of a step is a function of the seed and the step, so a checkpoint keeps weights, optimiser state and
a step, and no generator.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from randhead import augment, checkpoint, config, evaluation, machine, preflight, runs, seeds
from randhead.config import Config
from randhead.datasets import Dataset, channel_statistics
from randhead.errors import DivergedError, RunError, UsageError
from randhead.features import StopRequested
from randhead.files import atomic_write, write_json
from randhead.optim import Schedule, optimiser
from randhead.preflight import Preflight
from randhead.runs import IMAGE_NET, Run


@dataclass(frozen=True)
class Started:
    """Training begins, or goes on after `step`."""

    run: Run
    step: int
    total_steps: int
    parameters: int
    device: str
    check: Preflight
    facts: dict[str, Any]


@dataclass(frozen=True)
class Warned:
    """Something the user should know; training goes on."""

    message: str


@dataclass(frozen=True)
class StepDone:
    """One step of the optimiser."""

    step: int
    epoch: int
    loss: float


@dataclass(frozen=True)
class EpochDone:
    """One epoch, with its validation.  `figures` is the line that goes into metrics.jsonl."""

    epoch: int
    epochs: int
    figures: dict[str, Any]
    best: bool


@dataclass(frozen=True)
class Stopped:
    """`stop` answered yes: everything up to `step` is saved."""

    step: int


@dataclass(frozen=True)
class Finished:
    """The final figures, as summary.json holds them."""

    summary: dict[str, Any]


Event = Started | Warned | StepDone | EpochDone | Stopped | Finished


@dataclass
class Progress:
    """How far a training is: with the weights and the optimiser's state, all that a checkpoint keeps."""

    step: int = 0
    epoch: int = 0  # epochs that are finished and validated
    loss_sum: float = 0.0  # of the running epoch, over images
    images: int = 0  # of the running epoch
    seconds: float = 0.0  # in steps, over all starts of this run
    best: dict[str, Any] = field(default_factory=dict)  # epoch, accuracy and nll of the selected weights
    schedule: dict[str, Any] = field(default_factory=dict)


def fit(settings: Config, dataset: Dataset, run: Run, *, stop: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """Train a classifier into a run folder, from its newest checkpoint if it has one.

    `stop` is asked between batches; where it answers True, everything is saved and `Stopped` is the last event.  A
    finished run yields `Finished` at once.  Raises DivergedError before a step whose loss is not a finite number,
    RunError for a folder that is in use or has no readable checkpoint left.
    """
    summary = run.summary()
    if summary is not None:
        yield Finished(summary)
        return
    with runs.locked(run):
        trainer = _Trainer(settings, dataset, run, stop)
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

    def __init__(self, settings: Config, dataset: Dataset, run: Run, stop: Callable[[], bool]):
        self.settings, self.dataset, self.run, self.stop = settings, dataset, run, stop
        self.place = machine.device(settings.machine.device)
        self.facts = resolve(settings, dataset)
        self.model = runs.new_model(settings, self.facts).to(self.place, memory_format=torch.channels_last)
        self.backbone = torch.compile(self.model.backbone) if settings.machine.compile else self.model.backbone
        self.facts |= {"dim": self.model.head.dim, "scale": float(self.model.head.scale)}
        self.optimizer = optimiser(self.model, settings.optim)
        self.schedule = Schedule(self.optimizer, settings.optim)
        self.inputs = runs.inputs_of(settings, self.facts, self.place)
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] = {}
        self.train_split = dataset.splits["train"]
        self.batches_an_epoch = _count_batches(len(self.train_split), settings.train.batch_size)
        self.steps_an_epoch = -(-self.batches_an_epoch // settings.optim.accumulate)
        self.total_steps = self.steps_an_epoch * settings.train.epochs
        self.saved_at = time.monotonic()

    def start(self) -> Iterator[Event]:
        """Write the configuration, take up the newest readable checkpoint, and check the class vectors."""
        runs.write_config(self.run, self.settings, self.facts)
        runs.set_last(self.run)
        yield from self._resume()
        head = self.model.head
        check = preflight.inspect(
            head.class_vectors().detach().cpu(),
            scoring=head.scoring,
            scale=float(head.scale),
            nonnegative=self.model.backbone.nonnegative and self.settings.head.neck == "none",
        )
        count = sum(p.numel() for p in self.model.parameters())
        name = machine.device_name(self.place)
        yield Started(self.run, self.progress.step, self.total_steps, count, name, check, self.facts)
        for warning in check.warnings:
            yield Warned(warning)

    def train(self) -> Iterator[Event]:
        """All epochs that are left."""
        while self.progress.epoch < self.settings.train.epochs:
            yield from self._steps()
            yield self._close_epoch()

    def finish(self) -> dict[str, Any]:
        """Read the test split, once, with the selected weights, and write what the run leaves."""
        self.model.load_state_dict(dict(self.best_weights))
        test = evaluation.evaluate(self.model, self.dataset.splits["test"], self.inputs, stop=self.stop)
        self._write_model()
        progress = self.progress
        images = len(self.train_split) * self.settings.train.epochs
        summary = {
            "run": self.run.name,
            "epochs": self.settings.train.epochs,
            "selected": progress.best,
            "val": {key: progress.best[key] for key in ("accuracy", "nll")},
            "test": test,
            "seconds": round(progress.seconds, 3),
            "images_per_second": round(images / max(progress.seconds, 1e-9), 1),
            "device": machine.device_name(self.place),
            "bad_images": list(self.dataset.bad_images),
            "weights_sha256": checkpoint.state_sha256(self.best_weights),
            "versions": machine.versions(),
        }
        write_json(self.run.summary_path, summary)
        return summary

    def save(self) -> None:
        """Write a checkpoint of this step.  Weights that are not finite are never written."""
        state = {name: tensor.detach().cpu() for name, tensor in self.model.state_dict().items()}
        if not all(tensor.isfinite().all() for tensor in state.values()):
            raise DivergedError(
                f"the weights are not finite after step {self.progress.step}",
                hint="start again with a lower learning rate: --set optim.lr=..., --fresh",
            )
        self.progress.schedule = self.schedule.state()
        tensors = {
            **checkpoint.prefixed(state, "model/"),
            **checkpoint.prefixed(self.best_weights, "best/"),
            **checkpoint.prefixed(_optimiser_tensors(self.optimizer), "optim/"),
        }
        document = {**self._description(), "progress": asdict(self.progress)}
        checkpoint.save(checkpoint.step_path(self.run.checkpoints, self.progress.step), tensors, document)
        checkpoint.prune(self.run.checkpoints, self.settings.machine.keep_checkpoints)
        self.saved_at = time.monotonic()

    def _steps(self) -> Iterator[Event]:
        """The steps that are left of the running epoch."""
        progress, accumulate = self.progress, self.settings.optim.accumulate
        done = (progress.step - progress.epoch * self.steps_an_epoch) * accumulate
        batches = self._batches(progress.epoch, done)
        for first in range(done, self.batches_an_epoch, accumulate):
            if self.stop():
                raise StopRequested(f"stopped after step {progress.step}")
            begun = time.perf_counter()
            group = [next(batches) for _ in range(min(accumulate, self.batches_an_epoch - first))]
            loss = self._step(group)
            progress.seconds += time.perf_counter() - begun
            yield StepDone(progress.step, progress.epoch, loss)
            if time.monotonic() - self.saved_at > 60 * self.settings.machine.checkpoint_minutes:
                self.save()

    def _batches(self, epoch: int, done: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Varied images (b, 3, H, W) and labels (b,) of an epoch, on the device, from batch `done` on."""
        train, size = self.settings.train, self.settings.train.batch_size
        order = seeds.permutation(train.seed, "order", len(self.train_split), stream=epoch)
        order = order[done * size : self.batches_an_epoch * size]
        padding = self.facts["crop_padding"]
        crops = augment.draw(order, seed=train.seed, epoch=epoch, padding=padding, flip=self.facts["flip"])
        labels = self.train_split.labels.cpu()[order].split(size)
        images = self.train_split.images.batches(order, size)
        for batch, batch_labels, batch_crops in zip(images, labels, crops.split(size), strict=True):
            batch = augment.crop_flip(batch.to(self.place, non_blocking=True), batch_crops, padding)
            yield batch, batch_labels.to(self.place, non_blocking=True)

    def _step(self, group: list[tuple[Tensor, Tensor]]) -> float:
        """One step of the optimiser over one or more batches.  Returns the mean loss."""
        self.model.train()
        # Only dropout draws from torch's generators; seeded by the step, it too is the same after a resume.
        torch.manual_seed(seeds.key(self.settings.train.seed, f"step/{self.progress.step}")[0])
        self.schedule.before_step(self.progress.step / self.total_steps)
        self.optimizer.zero_grad(set_to_none=True)
        count = sum(len(labels) for _, labels in group)
        mean = 0.0
        for images, labels in group:
            loss = self._loss(images, labels) * (len(labels) / count)
            loss.backward()
            mean += loss.item()
        if not math.isfinite(mean):
            self._diverged(mean)
        if self.settings.optim.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.optim.clip_norm)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.loss_sum += mean * count
        self.progress.images += count
        return mean

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of one batch of uint8 images."""
        with self.inputs.autocast():
            features = self.backbone(self.inputs.prepare(images))
            return self.model.head.loss(features, labels, label_smoothing=self.settings.optim.label_smoothing)

    def _diverged(self, loss: float) -> None:
        saved = checkpoint.saved_steps(self.run.checkpoints)
        where = f"the last checkpoint is of step {saved[-1]}" if saved else "there is no checkpoint yet"
        raise DivergedError(
            f"the loss is {loss} in step {self.progress.step + 1} of {self.total_steps}; {where}",
            hint="start again with a lower learning rate, --set optim.lr=..., or --set optim.clip_norm=1",
        )

    def _close_epoch(self) -> EpochDone:
        """Validate, select, log and save."""
        progress = self.progress
        val = evaluation.quick_figures(self.model, self.dataset.splits["val"], self.inputs, stop=self.stop)
        progress.epoch += 1
        best = not progress.best or (val["accuracy"], -val["nll"]) > (progress.best["accuracy"], -progress.best["nll"])
        if best:
            progress.best = {"epoch": progress.epoch, "accuracy": val["accuracy"], "nll": val["nll"]}
            self.best_weights = {name: tensor.cpu().clone() for name, tensor in self.model.state_dict().items()}
        figures = {
            "epoch": progress.epoch,
            "step": progress.step,
            "train_loss": progress.loss_sum / progress.images,
            **{f"val_{key}": value for key, value in val.items()},
            "lr": self.optimizer.param_groups[0]["lr"],
            **self._gradients(),
            "seconds": round(progress.seconds, 3),
        }
        progress.loss_sum, progress.images = 0.0, 0
        self.schedule.after_epoch(val["accuracy"])
        self._log(figures)
        self.save()
        if best:
            self._write_model()
        return EpochDone(progress.epoch, self.settings.train.epochs, figures, best)

    def _gradients(self) -> dict[str, float]:
        """Gradient norms of the epoch's last step, the scale, and how far the class vectors have turned."""
        head = self.model.head
        gradients = [p.grad for p in self.model.backbone.parameters() if p.grad is not None]
        figures = {"grad_norm_backbone": _norm(gradients), "scale": float(head.scale)}
        if head.trainable:
            figures["grad_norm_vectors"] = _norm([head.vectors.grad] if head.vectors.grad is not None else [])
            cosines = torch.cosine_similarity(head.vectors.detach().cpu(), head.draw()).clamp(-1, 1)
            figures["vector_drift_deg"] = float(cosines.acos().rad2deg().mean())
        return figures

    def _log(self, figures: dict[str, Any]) -> None:
        with self.run.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")

    def _description(self) -> dict[str, Any]:
        return {"config": config.nest(self.settings), "resolved": self.facts, "versions": machine.versions()}

    def _write_model(self) -> None:
        """Write the selected weights with all that is needed to use them."""
        document = {**self._description(), "selected": self.progress.best}
        checkpoint.save(self.run.model_path, self.best_weights, document)

    def _resume(self) -> Iterator[Warned]:
        """Take up the newest checkpoint that can be read; name those that cannot."""
        steps = checkpoint.saved_steps(self.run.checkpoints)
        for step in reversed(steps):
            try:
                tensors, document = checkpoint.load(checkpoint.step_path(self.run.checkpoints, step))
                self._restore(tensors, document)
                break
            except RunError as error:
                yield Warned(f"{error.message}; going on from an older checkpoint")
        else:
            if steps:
                raise RunError(f"{self.run.checkpoints} has no readable checkpoint", hint="start anew with --fresh")
        _truncate_log(self.run.metrics_path, self.progress.epoch)

    def _restore(self, tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
        try:
            progress = Progress(**document["progress"])
            self.model.load_state_dict(checkpoint.select(tensors, "model/"))
            _restore_optimiser(self.optimizer, checkpoint.select(tensors, "optim/"))
        except (KeyError, TypeError, RuntimeError) as error:
            raise RunError(f"the checkpoint does not fit this run ({' '.join(str(error).split())})") from None
        self.progress, self.best_weights = progress, checkpoint.select(tensors, "best/")
        self.schedule.restore(progress.schedule)


def resolve(settings: Config, dataset: Dataset) -> dict[str, Any]:
    """What the settings come to on this data: sizes, class names, normalisation, and how images are varied."""
    if len(dataset.class_names) < 2:
        raise UsageError(f"{dataset.name} has {len(dataset.class_names)} class; a classifier needs two")
    data = settings.data
    mean, std = _normalisation(settings, dataset)
    return {
        "class_names": list(dataset.class_names),
        "image_size": dataset.image_size,
        "mean": list(mean),
        "std": list(std),
        "crop_padding": dataset.image_size // 8 if data.crop_padding is None else data.crop_padding,
        "flip": dataset.mirrors if data.flip is None else data.flip,
        "images": {name: len(split) for name, split in dataset.splits.items()},
    }


def start_anew(run: Run) -> None:
    """Delete what a training left in a run folder (`--fresh`).  Reports of the old weights go as well."""
    for file in [run.summary_path, run.model_path, run.metrics_path, run.config_path]:
        file.unlink(missing_ok=True)
    for folder in (run.checkpoints, run.reports):
        for file in sorted(folder.rglob("*"), reverse=True) if folder.is_dir() else ():
            file.rmdir() if file.is_dir() else file.unlink()


def _normalisation(settings: Config, dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the channels, of pixels in [0, 1]."""
    kind = settings.data.normalise or ("imagenet" if settings.backbone.pretrained else "dataset")
    if kind == "imagenet":
        return IMAGE_NET
    if kind == "half":
        return (0.5,) * 3, (0.5,) * 3
    return channel_statistics(dataset.splits["train"].images)


def _count_batches(images: int, size: int) -> int:
    """Batches an epoch.  A last batch of a single image is left out: batch normalisation cannot use it."""
    return max(1, images // size + (images % size > 1))


def _norm(gradients: list[Tensor]) -> float:
    """The joint L2 norm."""
    return float(torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients]))) if gradients else 0.0


def _optimiser_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of SGD and AdamW, which is tensors only: "<parameter>/<name>"."""
    return {
        f"{index}/{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None
    }


def _restore_optimiser(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _truncate_log(path: Path, epochs: int) -> None:
    """Keep the lines of the epochs that are finished: a kill can leave a later one, or half of one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["epoch"] <= epochs:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    atomic_write(path, "".join(kept))
