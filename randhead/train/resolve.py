"""What a configuration comes to on its images: sizes, class names, normalisation, how images are varied."""

from typing import Any

from randhead.config import Config
from randhead.datasets import Dataset, channel_statistics
from randhead.errors import UsageError
from randhead.train import tasks

IMAGE_NET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # what torchvision's and most of timm's weights expect


def resolve(config: Config, dataset: Dataset) -> dict[str, Any]:
    """What the configuration comes to on this data: sizes, class names, normalisation, and how images are varied."""
    if len(dataset.class_names) < 2:
        raise UsageError(f"{dataset.name} has {len(dataset.class_names)} class; a classifier needs two")
    data = config.data
    mean, std = _normalisation(config, dataset)
    return {
        "class_names": list(dataset.class_names),
        "num_classes": tasks.of(config, dataset).num_classes,
        "image_size": dataset.image_size,
        "mean": mean,
        "std": std,
        "augment": data.augment or tasks.usual_augmentation(config),
        "crop_padding": dataset.image_size // 8 if data.crop_padding is None else data.crop_padding,
        "flip": dataset.mirrors if data.flip is None else data.flip,
        "images": {name: len(split) for name, split in dataset.splits.items()},
    }


def _normalisation(config: Config, dataset: Dataset) -> tuple[list[float], list[float]]:
    """Mean and deviation of the channels, of pixels in [0, 1]."""
    kind = config.data.normalise or ("imagenet" if config.backbone.pretrained else "dataset")
    if kind == "imagenet":
        return IMAGE_NET
    if kind == "half":
        return [0.5] * 3, [0.5] * 3
    mean, std = channel_statistics(dataset.splits["train"].images)
    return mean.tolist(), std.clamp_min(1 / 255).tolist()
