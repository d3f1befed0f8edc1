"""Figures over a grid of corruptions: mean error, errors relative to a baseline, mCE, and what tells two runs apart.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019.
Errors are shares in [0, 1], one list a corruption, one number a severity, in ascending order of severity.  The four
extra corruptions never enter a mean over the benchmark, and a mean over a part of it has to be asked for.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from randhead import rng
from randhead.errors import UsageError
from randhead.files import sha256

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
BENCHMARK = tuple(name for group in ("noise", "blur", "weather", "digital") for name in GROUPS[group])
SEVERITIES = 5
# AlexNet's error in percent on ImageNet-C, mean over severities: the denominators of the published mCE, as the authors
# gave them to google-research/augmix (imagenet.py).  A retrained AlexNet gives others.
ALEXNET = {
    "gaussian_noise": 88.6428,
    "shot_noise": 89.4468,
    "impulse_noise": 92.2640,
    "defocus_blur": 81.9880,
    "glass_blur": 82.6268,
    "motion_blur": 78.5948,
    "zoom_blur": 79.8360,
    "snow": 86.6816,
    "frost": 82.6572,
    "fog": 81.9324,
    "brightness": 56.4592,
    "contrast": 85.3204,
    "elastic_transform": 64.6056,
    "pixelate": 71.7840,
    "jpeg_compression": 60.6500,
}
ALEXNET_CLEAN = 43.5
# SHA-256 of the 1,000 WordNet ids of ImageNet-1k, sorted, one a line.
IMAGENET_CLASSES = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
DRAWS = 2000
DRAWN_AT_ONCE = 1 << 22  # indices of the bootstrap held at a time: 32 MiB

Errors = Mapping[str, Sequence[float]]


def coverage(names: Errors | Sequence[str], group: Sequence[str] = BENCHMARK) -> str:
    """How much of a group is there, in words: "14 of 15"."""
    return f"{sum(name in names for name in group)} of {len(group)}"


def mean_error(errors: Errors, *, partial: bool = False) -> float:
    """Mean error over the 15 corruptions of the benchmark and their severities, unnormalised.

    Raises UsageError where corruptions are missing, unless `partial`; then it is the mean over those that are there.
    """
    return _mean({name: sum(errors[name]) / len(errors[name]) for name in _benchmark(errors, partial)})


def group_errors(errors: Errors) -> dict[str, tuple[float, str]]:
    """Mean error of each group that has a corruption there, and how many it has: "3 of 4"."""
    there = {group: [name for name in members if name in errors] for group, members in GROUPS.items()}
    return {
        group: (_mean({n: sum(errors[n]) / len(errors[n]) for n in names}), coverage(names, GROUPS[group]))
        for group, names in there.items()
        if names
    }


def corruption_errors(errors: Errors, baseline: Errors) -> dict[str, float | None]:
    """CE of each corruption: the ratio of the two sums over severities, 1 where the model errs as the baseline does.

    None where the baseline makes no error.  Raises UsageError where the baseline lacks a corruption or a severity.
    """
    return _ratios(errors, 0.0, baseline, 0.0)


def relative_corruption_errors(
    errors: Errors, clean: float, baseline: Errors, baseline_clean: float
) -> dict[str, float | None]:
    """Relative CE of each corruption: the ratio of how far the two errors lie above those on clean images.

    None where the baseline does not get worse.  Raises UsageError as `corruption_errors` does.
    """
    return _ratios(errors, clean, baseline, baseline_clean)


def mean_corruption_error(ratios: Mapping[str, float | None], *, partial: bool = False) -> float | None:
    """Mean of CE, or of relative CE, over the 15 corruptions, in percent; None where one of them does not exist.

    Raises UsageError where corruptions are missing, unless `partial`.
    """
    values = {name: ratios[name] for name in _benchmark(ratios, partial)}
    return None if None in values.values() else 100 * _mean(values)


def alexnet_errors() -> dict[str, list[float]]:
    """AlexNet's errors on ImageNet-C as shares: at each severity the mean over all five, so that their sum is right."""
    return {name: [percent / 100] * SEVERITIES for name, percent in ALEXNET.items()}


def imagenet_figures(errors: Errors, clean: float) -> dict[str, float]:
    """The mCE and relative mCE in percent, with AlexNet's published errors; for ImageNet-1k only.

    Raises UsageError for less than 15 corruptions at five severities.
    """
    errors = {name: errors[name] for name in _benchmark(errors, partial=False)}
    alexnet = alexnet_errors()
    relative = relative_corruption_errors(errors, clean, alexnet, ALEXNET_CLEAN / 100)
    return {
        "mce": mean_corruption_error(corruption_errors(errors, alexnet)),
        "relative_mce": mean_corruption_error(relative),
    }


def is_imagenet(class_names: Sequence[str]) -> bool:
    """Whether classes are the 1,000 of ImageNet-1k, by their WordNet ids, in any order."""
    return len(class_names) == 1000 and sha256("\n".join(sorted(class_names)).encode()) == IMAGENET_CLASSES


def paired_bootstrap(
    ours: Tensor, theirs: Tensor, *, seed: int = 0, draws: int = DRAWS, level: float = 0.95
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean differences between two models on the same images, with their percentile intervals.

    ours, theirs (N, C): C scores of every image, for example its share of right answers over the severities of each
    corruption -> difference (C,), low (C,), high (C,), float64.  Whole images are drawn again, so that what an image
    contributes to several cells moves together.  Efron, "Bootstrap methods", 1979.
    """
    if ours.shape != theirs.shape or ours.ndim != 2 or not len(ours):
        raise UsageError(f"scores of the same images are needed, got {tuple(ours.shape)} and {tuple(theirs.shape)}")
    gaps = (ours.double() - theirs.double()).cpu()
    n = len(gaps)
    means = torch.cat(
        [
            _counts(seed, torch.arange(start, min(start + step, draws)), n) @ gaps / n
            for step in [max(1, DRAWN_AT_ONCE // n)]
            for start in range(0, draws, step)
        ]
    )
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = means.quantile(tails, dim=0)
    return gaps.mean(dim=0), low, high


def resampled(seed: int, ids: Tensor, n: int) -> Tensor:
    """The images of some draws of the bootstrap: ids (R,) -> indices (R, n) in 0..n-1."""
    words = rng.long_words(seed, "robustness/bootstrap", ids, -(-n // 2)).view(torch.int32)[:, :n]
    return (words.to(torch.int64) & rng.MASK) * n >> 32


def _counts(seed: int, ids: Tensor, n: int) -> Tensor:
    """How often each draw has each image: (R, n) float64."""
    drawn = resampled(seed, ids, n)
    return torch.zeros(drawn.shape, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones((), dtype=torch.float64).expand(drawn.shape)
    )


def _benchmark(values: Mapping[str, object], partial: bool) -> list[str]:
    there = [name for name in BENCHMARK if name in values]
    if not there or (len(there) < len(BENCHMARK) and not partial):
        missing = [name for name in BENCHMARK if name not in values]
        raise UsageError(
            f"a mean over the benchmark needs its 15 corruptions; missing: {', '.join(missing)}",
            hint="run them too, or ask for a partial mean, which says how many it has",
        )
    return there


def _ratios(errors: Errors, clean: float, baseline: Errors, baseline_clean: float) -> dict[str, float | None]:
    ratios = {}
    for name, ours in errors.items():
        theirs = baseline.get(name, ())
        if len(theirs) != len(ours):
            raise UsageError(f"the baseline has {len(theirs)} severities of {name}, {len(ours)} are needed")
        above = sum(theirs) - len(theirs) * baseline_clean
        # Errors are shares of at most millions of images: what lies below this is rounding.
        ratios[name] = (sum(ours) - len(ours) * clean) / above if above > 1e-9 else None
    return ratios


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
