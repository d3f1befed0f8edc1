"""Resolving a configuration for its images: class names, normalisation, augmentation."""

from randhead import backbones, runs
from randhead.config import Config
from randhead.config.resolved import EncoderInput, ResolvedSettings
from randhead.datasets import Dataset, channel_statistics, fingerprints
from randhead.errors import RunError, UsageError
from randhead.runs import Run
from randhead.runs.steps import saved_steps
from randhead.train import tasks

# Mean and standard deviation of ImageNet's channels, which torchvision's and most of timm's weights expect.
IMAGE_NET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def encoder_input(config: Config) -> EncoderInput | None:
    """The images that the encoder of a training is used to: those of the run it continues, or of published weights.

    Args:
        config: the configuration.

    Returns:
        Their size and normalisation; None for an encoder that starts from nothing, and if they are not known.
    """
    if config.train.start_from:
        run = _source(config.train.start_from)
        old = run.resolved()
        return EncoderInput(f"run {run.name}", old.image_size, old.mean, old.std)
    return backbones.weights_input(config.backbone.name) if config.backbone.pretrained else None


def _source(start_from: str) -> Run:
    """The run to start from.  Raises UsageError, as for any setting with a value that cannot be used."""
    try:
        return runs.find(start_from)
    except RunError as error:
        raise UsageError(f"train.start_from: {error.message}", hint=error.hint) from None


def begun_settings(run: Run, *, fresh: bool) -> ResolvedSettings | None:
    """The settings of a training that is resumed from a checkpoint; None for one that begins."""
    return run.resolved() if saved_steps(run.checkpoints) and not fresh else None


def begun_size(config: Config, run: Run, *, fresh: bool = False) -> int | None:
    """The size in pixels at which the images of a training are read; None for that of its settings or the dataset.

    A trained encoder is used at the size that it is used to, and a training that is resumed keeps its size.
    """
    encoder = encoder_input(config)
    used_to = begun_settings(run, fresh=fresh) or encoder
    return used_to.image_size if encoder and used_to and not config.data.image_size else None


def resolve_settings(
    config: Config, dataset: Dataset, encoder: EncoderInput | None = None, begun: ResolvedSettings | None = None
) -> ResolvedSettings:
    """Choose the values for settings that are "auto", from the images.

    Args:
        config: the configuration.
        dataset: the images.
        encoder: the images that its encoder is used to, if it is trained already.
        begun: the settings of the training that is resumed.  A trained encoder keeps the normalisation that it began
            with, whatever has become of the run that it came from.

    Raises:
        UsageError: if the dataset has fewer than two classes.
    """
    if len(dataset.class_names) < 2:
        raise UsageError(f"{dataset.name} has {len(dataset.class_names)} class; a classifier needs two")
    data = config.data
    mean, std = (begun.mean, begun.std) if begun and encoder else _normalisation(config, dataset, encoder)
    return ResolvedSettings(
        class_names=tuple(dataset.class_names),
        num_classes=tasks.of(config, dataset).num_classes,
        image_size=dataset.image_size,
        mean=mean,
        std=std,
        augment=data.augment or tasks.usual_augmentation(config),
        crop_padding=dataset.image_size // 8 if data.crop_padding is None else data.crop_padding,
        flip=dataset.mirrors if data.flip is None else data.flip,
        cutout=round(data.cutout * dataset.image_size),
        images={name: len(split) for name, split in dataset.splits.items()},
        fingerprints=fingerprints(dataset),
        input_of=encoder.source if encoder else "",
        bit_depth=dataset.bit_depth,
    )


def _normalisation(
    config: Config, dataset: Dataset, encoder: EncoderInput | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels, of pixels in [0, 1]."""
    if encoder and not config.data.normalise:
        return encoder.mean, encoder.std
    kind = config.data.normalise or ("imagenet" if config.backbone.pretrained else "dataset")
    if kind == "imagenet":
        return IMAGE_NET
    if kind == "half":
        return HALF
    mean, std = channel_statistics(dataset.splits["train"].images)
    return tuple(mean.tolist()), tuple(std.clamp_min(1 / 255).tolist())
