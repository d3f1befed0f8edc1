"""The settings of a run resolved for its images: values for "auto", and the sizes and names of the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from randhead.arguments import MOST_CLASSES, composed, has_controls, whole
from randhead.config.parse import check_value
from randhead.config.setting import require

LARGEST_SIDE = 1024  # pixels, as for data.image_size
CHANNELS = 3

ALL_BITS = 16  # of images of 16 bits: earlier versions took all as used, and wrote nothing about it


@dataclass(frozen=True)
class EncoderInput:
    """The images that an encoder was trained with: `source` says which encoder, for people."""

    source: str
    image_size: int  # pixels
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]


@dataclass(frozen=True)
class ResolvedSettings:
    """Everything that a model and its training need to know about the images, and the settings chosen for them.

    Raises:
        UsageError: for a value that no training could have: a file may come from anybody.
    """

    class_names: tuple[str, ...]
    num_classes: int  # number of class vectors: one per class, or one per training image with instance labels
    image_size: int  # pixels
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    augment: str = "crop"
    crop_padding: int = 0  # pixels
    flip: bool = False
    images: Mapping[str, int] = field(default_factory=dict)  # number of images per split
    fingerprints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of the images and labels, per split
    dim: int | None = None  # of the features; known when the model is built
    scale: float | None = None  # of the logits; known when the model is built
    input_of: str = ""  # the trained encoder whose image size and normalisation are used, if those were "auto"
    bit_depth: int | None = None  # in use by images of 16 bits; None if there are none
    cutout: int = 0  # pixels; side of the square that is blanked out in training images

    def __post_init__(self) -> None:
        for name in self.class_names:
            is_name = isinstance(name, str) and not has_controls(name)
            require(is_name, "the name of a class", "be text without control characters", name)
        require(
            len(set(self.class_names)) == len(self.class_names), "class_names", "be different names", self.class_names
        )
        whole("num_classes", self.num_classes, 1, MOST_CLASSES)
        whole("image_size", self.image_size, 1, LARGEST_SIDE)
        _check_channels("mean", self.mean, low=0)
        _check_channels("std", self.std, low=1e-6)
        for key, value in {"data.augment": self.augment, "data.flip": self.flip, "head.scale": self.scale}.items():
            check_value(key, value)
        check_value("data.crop_padding", self.crop_padding)
        whole("cutout", self.cutout, 0, self.image_size - 1)
        if self.dim is not None:
            whole("dim", self.dim, 1)
        if self.bit_depth is not None:
            whole("bit_depth", self.bit_depth, 1, 16)
        for split, count in self.images.items():
            whole(f"images[{split!r}]", count)
        require(_are_hashes(self.fingerprints), "fingerprints", "have texts per split", self.fingerprints)
        require(isinstance(self.input_of, str), "input_of", "be text", self.input_of)

    def to_json(self) -> dict[str, Any]:
        """The entry `resolved` of config.json and of checkpoints."""
        lists = {"class_names": list(self.class_names), "mean": list(self.mean), "std": list(self.std)}
        fingerprints = {name: dict(hashes) for name, hashes in self.fingerprints.items()}
        return {**vars(self), **lists, "images": dict(self.images), "fingerprints": fingerprints}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ResolvedSettings":
        """The inverse of `to_json`.

        Raises:
            KeyError: if a value is missing that is needed to build a model.
            TypeError, AttributeError: if a value has a wrong type.
            UsageError: for a value that no training could have.
        """
        values = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        values.setdefault("bit_depth", ALL_BITS)
        require(isinstance(content["class_names"], list | tuple), "class_names", "be a list", content["class_names"])
        lists = {name: tuple(content[name]) for name in ("class_names", "mean", "std")}
        lists["class_names"] = tuple(map(composed, lists["class_names"]))
        return cls(**{**values, **lists, "num_classes": content["num_classes"], "image_size": content["image_size"]})


def _are_hashes(found: Any) -> bool:
    """Whether a value has, for each split, texts by name."""
    splits = found.values() if isinstance(found, Mapping) else [None]
    return all(
        isinstance(split, Mapping) and all(isinstance(text, str) for text in (*split, *split.values()))
        for split in splits
    )


def _check_channels(name: str, values: tuple[Any, ...], *, low: float) -> None:
    """Raise UsageError unless there is a number from `low` to 1 per channel: pixels are in [0, 1]."""
    is_right = len(values) == CHANNELS and all(isinstance(value, int | float) and low <= value <= 1 for value in values)
    require(is_right, name, f"be {CHANNELS} numbers from {low:g} to 1", values)
