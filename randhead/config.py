"""The configuration of a run: frozen dataclasses, TOML in, JSON out.

Every setting lives on a field here with its default and its bounds, and has one dotted name ("optim.lr"), which is what
`--set`, a TOML file and an error message use.  An unknown key, a wrong type and a value out of bounds are errors.
The section `machine` holds what does not change the result; all the rest is the identity of a run.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from randhead.errors import UsageError

AUTO = None  # "chosen for you, and printed": the value of a setting that depends on the data or the device


def require(condition: bool, key: str, rule: str, value: Any) -> None:
    """Raise UsageError unless the condition holds: '<key> must <rule>, got <value>'."""
    if not condition:
        raise UsageError(f"{key} must {rule}, got {value!r}", hint=f"give another value: --set {key}=...")


def one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise UsageError unless `value` is among the choices."""
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"{key}: unknown value {value!r}", hint=f"{guess}known: {', '.join(choices)}")


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
    crop_padding: int | None = AUTO  # pixels; an eighth of the side, as is usual for CIFAR
    flip: bool | None = AUTO  # mirror half of the images; not for digits
    normalise: str | None = AUTO  # by the training images' mean and deviation, or what pretrained weights expect
    skip_bad_images: bool = False

    def __post_init__(self):
        require(bool(self.name), "data.name", "be a dataset or a folder", self.name)
        size = self.image_size
        require(size is None or 8 <= size <= 1024, "data.image_size", "be from 8 to 1024 pixels", size)
        require(0 < self.validation < 1, "data.validation", "be between 0 and 1", self.validation)
        padding = self.crop_padding
        require(padding is None or 0 <= padding <= 256, "data.crop_padding", "be from 0 to 256 pixels", padding)
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

    def __post_init__(self):
        one_of("head.scoring", self.scoring, ("dot", "cosine"))
        one_of("head.neck", self.neck, ("none", "linear", "batchnorm"))
        one_of("head.class_keys", self.class_keys, ("index", "name"))
        scale = self.scale
        require(scale is None or (finite(scale) and scale > 0), "head.scale", "be a positive number", scale)
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

    epochs: int = 30
    batch_size: int = 64
    seed: int = 0  # initial weights, order of the images, crops
    head_seed: int = 0  # class vectors
    precision: str = "auto"

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
        one_of("machine.device", self.device, ("auto", "cpu", "cuda"))
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


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration as one level of dotted keys."""
    flat = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{item.name}.")
        else:
            flat[prefix + item.name] = value
    return flat


def build(settings: Mapping[str, Any]) -> Config:
    """A configuration from dotted keys; what is not named keeps its default.

    Values may be strings ("0.1"), as they come from `--set`.  Raises UsageError for unknown keys, types and bounds.
    """
    kinds = _kinds(Config)
    sections: dict[str, dict[str, Any]] = {}
    top = {}
    for key, value in settings.items():
        if key not in kinds:
            near = difflib.get_close_matches(key, kinds, n=1) or [k for k in kinds if k.split(".")[-1] == key]
            guess = f"did you mean {near[0]!r}?" if near else f"sections: {', '.join(_sections())}"
            raise UsageError(f"unknown setting {key!r}", hint=guess)
        section, _, name = key.rpartition(".")
        target = sections.setdefault(section, {}) if section else top
        target[name] = _convert(key, value, kinds[key])
    parts = {name: kind(**sections.get(name, {})) for name, kind in _sections().items()}
    return Config(**top, **parts)


def read_toml(path: Path) -> dict[str, Any]:
    """The dotted settings of a TOML file.  Raises UsageError where it cannot be read."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="give the path of a TOML file to --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file ({error})", hint="a line looks like: optim.lr = 0.1") from None
    return unnest(content)


def nest(config: Config) -> dict[str, Any]:
    """A configuration as JSON shows it: one object a section."""
    return dataclasses.asdict(config)


def unnest(content: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `nest`, up to types: sections to dotted keys."""
    flat = {}
    for key, value in content.items():
        flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def parse_assignment(text: str) -> tuple[str, str]:
    """'optim.lr=0.1' -> ('optim.lr', '0.1')."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"--set {text!r} has no value", hint="write --set optim.momentum=0.8")
    return key.strip(), value.strip()


def digest(config: Config) -> str:
    """Six hex digits that stand for everything that changes the result."""
    identity = {key: value for key, value in flatten(config).items() if not key.startswith("machine.")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:6]


def differences(ours: Config, theirs: Config) -> list[str]:
    """The settings in which two runs differ, one line each; the machine's do not count."""
    left, right = flatten(ours), flatten(theirs)
    keys = (key for key in left if left[key] != right[key] and not key.startswith("machine."))
    return [f"{key}: {right[key]!r} there, {left[key]!r} here" for key in keys]


def _sections() -> dict[str, type]:
    hints = typing.get_type_hints(Config)
    return {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}


def _kinds(config: type, prefix: str = "") -> dict[str, Any]:
    """The type of every dotted key."""
    kinds: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(config).items():
        kinds |= _kinds(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else {prefix + name: kind}
    return kinds


def _convert(key: str, value: Any, kind: Any) -> Any:
    """A value, or the text of one, as the type of its field."""
    optional = isinstance(kind, types.UnionType)
    if optional:
        if value is None or value in ("none", "auto"):
            return None
        kind = next(option for option in kind.__args__ if option is not types.NoneType)
    try:
        return _TYPES[kind](value)
    except (ValueError, TypeError):
        word = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        raise UsageError(f"{key} must be {word}, got {value!r}", hint=f"give another value: --set {key}=...") from None


def _boolean(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    text = str(value).lower()
    if text not in words:
        raise ValueError
    return words[text]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_TYPES = {bool: _boolean, int: _whole, float: _number, str: _text}
