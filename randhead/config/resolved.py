"""The settings of a run resolved for its images: values for "auto", and the sizes and names of the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from randhead.arguments import composed

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
    """Everything that a model and its training need to know about the images, and the settings chosen for them."""

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
        """
        values = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        values.setdefault("bit_depth", ALL_BITS)
        lists = {name: tuple(content[name]) for name in ("class_names", "mean", "std")}
        lists["class_names"] = tuple(map(composed, lists["class_names"]))
        return cls(**{**values, **lists, "num_classes": content["num_classes"], "image_size": content["image_size"]})
