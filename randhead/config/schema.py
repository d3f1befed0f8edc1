"""The configuration of a run: every setting lives on a field here, with its default and its bounds.

A setting has one dotted name ("optim.lr"), which is what `--set`, a TOML file and an error message use.  The section
`machine` holds what does not change the result; all the rest is the identity of a run.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from randhead.errors import UsageError, guess

DEVICES = ("auto", "cpu", "cuda")
AUTO = None  # "chosen for you, and printed": the value of a setting that depends on the data or the device


def require(condition: bool, key: str, rule: str, value: Any) -> None:
    """Raise UsageError unless the condition holds: '<key> must <rule>, got <value>'."""
    if not condition:
        raise UsageError(f"{key} must {rule}, got {value!r}", hint=f"give another value: --set {key}=...")


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise UsageError unless `value` is among the choices."""
    if value not in choices:
        hint = f"{guess(str(value), choices)}known: {', '.join(choices)}"
        raise UsageError(f"{key}: unknown value {value!r}", hint=hint)


def finite(value: float) -> bool:
    """Whether a number is neither infinite nor NaN."""
    return math.isfinite(value)


@dataclass(frozen=True)
class DataConfig:
    """Which images, how they are split, and how training varies them."""

    name: str = "digits"  # a member of randhead.datasets, or a folder
    image_size: int | None = AUTO  # pixels a side
    validation: float = 0.1  # share of the training images that selects the model
    split_seed: int = 0  # apart from train.seed, so that all runs share their splits
    augment: str | None = AUTO  # "crop", or "views": resized windows, colours, grey; the latter for labels "instance"
    crop_padding: int | None = AUTO  # pixels; an eighth of the side, as is usual for CIFAR
    flip: bool | None = AUTO  # mirror half of the images; not for digits
    normalise: str | None = AUTO  # by the training images' mean and deviation, or what pretrained weights expect
    skip_bad_images: bool = False
    labels: str = "class"  # or "instance": every training image is its own class
    hold_out_classes: str | None = None  # left out of training: a number, drawn by split_seed, or names with commas

    def __post_init__(self):
        require(bool(self.name), "data.name", "be a dataset or a folder", self.name)
        size = self.image_size
        require(size is None or 8 <= size <= 1024, "data.image_size", "be from 8 to 1024 pixels", size)
        one_of("data.labels", self.labels, ("class", "instance"))
        require(0 < self.validation < 1, "data.validation", "be between 0 and 1", self.validation)
        require(0 <= self.split_seed < 2**63, "data.split_seed", "be from 0 to 2^63 - 1", self.split_seed)
        padding = self.crop_padding
        require(padding is None or 0 <= padding <= 256, "data.crop_padding", "be from 0 to 256 pixels", padding)
        if self.augment is not None:
            one_of("data.augment", self.augment, ("crop", "views"))
            unused = self.augment == "views" and padding is not None
            require(not unused, "data.crop_padding", "be auto with data.augment=views, which do not pad", padding)
        if self.normalise is not None:
            one_of("data.normalise", self.normalise, ("dataset", "half", "imagenet"))


@dataclass(frozen=True)
class BackboneConfig:
    """The encoder."""

    name: str = "small_resnet"  # a member of randhead.backbones; torchvision:NAME and timm:NAME reach theirs
    pretrained: bool = False


@dataclass(frozen=True)
class HeadConfig:
    """The class vectors and how features are scored against them."""

    vectors: str = "uniform"  # a geometry of randhead.vectors, or file:PATH
    scoring: str = "dot"
    trainable: bool = False
    scale: float | None = AUTO
    learn_scale: bool = False
    bias: float | None = None  # the same constant for every class, or none
    neck: str = "none"
    class_keys: str = "index"  # what a class vector belongs to: the class's index or its name
    normaliser: str = "auto"
    normaliser_tolerance: float = 0.05  # nats: "expected" is refused where the loss may be off by more

    def __post_init__(self):
        one_of("head.scoring", self.scoring, ("dot", "cosine"))
        one_of("head.neck", self.neck, ("none", "linear", "batchnorm"))
        one_of("head.class_keys", self.class_keys, ("index", "name"))
        scale = self.scale
        require(scale is None or (finite(scale) and scale > 0), "head.scale", "be a positive number", scale)
        tolerance = self.normaliser_tolerance
        require(finite(tolerance) and tolerance > 0, "head.normaliser_tolerance", "be a positive number", tolerance)
        require(self.bias is None or finite(self.bias), "head.bias", "be a finite number", self.bias)


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser and the schedule of its learning rate."""

    name: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9  # Nesterov's; beta1 of AdamW
    weight_decay: float = 5e-4
    schedule: str = "onecycle"
    plateau_factor: float = 0.2
    plateau_patience: int = 3  # epochs
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    accumulate: int = 1  # batches a step

    def __post_init__(self):
        one_of("optim.name", self.name, ("sgd", "adamw"))
        one_of("optim.schedule", self.schedule, ("cosine", "onecycle", "plateau", "constant"))
        require(finite(self.lr) and self.lr > 0, "optim.lr", "be a positive number", self.lr)
        require(0 <= self.momentum < 1, "optim.momentum", "be in [0, 1)", self.momentum)
        decay = self.weight_decay
        require(finite(decay) and decay >= 0, "optim.weight_decay", "be zero or a positive number", decay)
        require(0 < self.plateau_factor < 1, "optim.plateau_factor", "be between 0 and 1", self.plateau_factor)
        require(self.plateau_patience >= 0, "optim.plateau_patience", "be zero or more", self.plateau_patience)
        require(0 <= self.label_smoothing < 1, "optim.label_smoothing", "be in [0, 1)", self.label_smoothing)
        clip = self.clip_norm
        require(clip is None or (finite(clip) and clip > 0), "optim.clip_norm", "be a positive number", clip)
        require(self.accumulate >= 1, "optim.accumulate", "be at least 1", self.accumulate)


@dataclass(frozen=True)
class TrainConfig:
    """How long, in which batches, from which seeds, with which arithmetic."""

    epochs: int = 20
    batch_size: int = 64
    seed: int = 0  # initial weights, order of the images, crops
    head_seed: int = 0  # class vectors
    precision: str = "auto"
    start_from: str | None = None  # folder of a run whose encoder is trained on, with other classes for example

    def __post_init__(self):
        require(1 <= self.epochs <= 100_000, "train.epochs", "be from 1 to 100000", self.epochs)
        require(2 <= self.batch_size <= 1_000_000, "train.batch_size", "be from 2 to 1000000", self.batch_size)
        for key in ("seed", "head_seed"):
            seed = getattr(self, key)
            require(0 <= seed < 2**63, f"train.{key}", "be from 0 to 2^63 - 1", seed)
        one_of("train.precision", self.precision, ("auto", "fp32", "bf16"))


@dataclass(frozen=True)
class MachineConfig:
    """What a run needs from the machine.  None of it changes the result, so none of it is part of a run's identity."""

    device: str = "auto"
    compile: bool = False
    data_root: str = "~/.cache/randhead"  # where downloaded sets are kept
    memory_budget_mb: int = 2048  # images that fit are decoded once and stay in memory
    workers: int = 2  # threads that decode images
    checkpoint_minutes: float = 10.0  # at most this much work is lost; every epoch's end is saved as well
    keep_checkpoints: int = 2

    def __post_init__(self):
        one_of("machine.device", self.device, DEVICES)
        budget = self.memory_budget_mb
        require(budget >= 0, "machine.memory_budget_mb", "be zero or more", budget)
        require(1 <= self.workers <= 256, "machine.workers", "be from 1 to 256", self.workers)
        minutes = self.checkpoint_minutes
        require(finite(minutes) and minutes >= 0, "machine.checkpoint_minutes", "be zero or more", minutes)
        require(self.keep_checkpoints >= 1, "machine.keep_checkpoints", "be at least 1", self.keep_checkpoints)


@dataclass(frozen=True)
class Config:
    """Everything that decides a run."""

    recipe: str = "default"
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)
