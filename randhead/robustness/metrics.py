"""Metrics over a grid of corruptions: mean error, errors relative to a baseline, and mCE.

Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019.
Errors are shares in [0, 1]: for each corruption a list with one number per severity, in ascending order.  A mean over
the benchmark is always over its 15 corruptions only; if some are missing, `partial=True` is needed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from randhead import corruptions
from randhead.arguments import as_share, check_type, is_number, several, shown
from randhead.errors import UsageError, guess
from randhead.files import sha256

# AlexNet's error in percent on ImageNet-C, mean over severities: the denominators of the published mCE, from the code
# of google-research/augmix (imagenet.py).  A retrained AlexNet has different errors.
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
# SHA-256 of the 1,000 WordNet ids of ImageNet-1k, sorted, one per line.
IMAGENET_CLASSES = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
ROUNDING = 1e-9  # errors are shares of at most millions of images: a value below this is only rounding

Errors = Mapping[str, Sequence[float]]


def benchmark() -> list[str]:
    """The names of the benchmark's 15 corruptions."""
    return corruptions.names("benchmark")


def coverage(names: Errors | Sequence[str], group: Sequence[str] | None = None) -> str:
    """The number of a group's corruptions among `names`: "14 of 15"; the default group is the benchmark."""
    names = several("names", names, "a list of names", kinds=str)
    group = benchmark() if group is None else several("group", group, "a list of names", kinds=str)
    return f"{sum(name in names for name in group)} of {len(group)}"


def mean_error(errors: Errors, *, partial: bool = False) -> float:
    """Mean error over the benchmark's 15 corruptions and their severities, unnormalised.

    Args:
        errors: errors of each corruption, by severity.
        partial: whether to take the mean over the available ones if some are missing.

    Raises:
        UsageError: if corruptions are missing and the mean is not `partial`; for errors that are no shares, and for
            unknown names.
    """
    errors = _known(errors)
    return _mean({name: _mean_of(errors[name]) for name in _members(errors, partial)})


def group_errors(errors: Errors) -> dict[str, tuple[float, str]]:
    """Mean error of each group that has a corruption in `errors`, and the number of its corruptions: "3 of 4".

    Raises:
        UsageError: for errors that are no shares, and for unknown names.
    """
    errors = _known(errors)
    found = {}
    for group, members in corruptions.groups().items():
        means = {name: _mean_of(errors[name]) for name in members if name in errors}
        if means:
            found[group] = _mean(means), coverage(list(means), members)
    return found


def corruption_errors(errors: Errors, baseline: Errors) -> dict[str, float | None]:
    """CE of each corruption: the ratio of the sums of errors over severities; 1 if both models have equal errors.

    Returns:
        CE by corruption; None if the baseline makes no error.

    Raises:
        UsageError: if the baseline lacks a corruption or a severity, and for errors that are no shares.
    """
    return _ratios(errors, 0.0, baseline, 0.0)


def relative_corruption_errors(
    errors: Errors, clean: float, baseline: Errors, baseline_clean: float
) -> dict[str, float | None]:
    """Relative CE of each corruption: the ratio of the increases in error compared with clean images.

    Args:
        errors: of the model, by corruption and severity.
        clean: error of the model on clean images.
        baseline: errors of the baseline.
        baseline_clean: error of the baseline on clean images.

    Returns:
        Relative CE by corruption; None if the error of the baseline does not increase.

    Raises:
        UsageError: if the baseline lacks a corruption or a severity, and for errors that are no shares.
    """
    return _ratios(errors, clean, baseline, baseline_clean)


def mean_corruption_error(ratios: Mapping[str, float | None], *, partial: bool = False) -> float | None:
    """Mean of CE, or of relative CE, over the benchmark, in percent; None if one of the ratios is None.

    Raises:
        UsageError: if corruptions are missing and the mean is not `partial`, and for ratios that are no numbers.
    """
    check_type("ratios", ratios, Mapping, "a dictionary of ratios by corruption")
    for name, ratio in ratios.items():
        if ratio is not None and not (is_number(ratio) and abs(ratio) < float("inf")):
            raise UsageError(f"the ratio of {name} must be a number or None, got {shown(ratio)}")
    values = {name: ratio for name in _members(ratios, partial) if (ratio := ratios[name]) is not None}
    return 100 * _mean(values) if len(values) == len(_members(ratios, partial)) else None


def alexnet_errors() -> dict[str, list[float]]:
    """AlexNet's errors on ImageNet-C as shares: the mean over severities at each of the five, so their sum is right."""
    return {name: [percent / 100] * len(corruptions.SEVERITIES) for name, percent in ALEXNET.items()}


def imagenet_errors(errors: Errors, clean: float) -> dict[str, float]:
    """`mce` and `relative_mce` in percent, relative to AlexNet's published errors; for ImageNet-1k only.

    Raises:
        UsageError: for fewer than 15 corruptions at five severities, and for errors that are no shares.
    """
    errors = _checked("errors", errors)
    errors = {name: errors[name] for name in _members(errors, partial=False)}
    alexnet = alexnet_errors()
    relative = relative_corruption_errors(errors, clean, alexnet, ALEXNET_CLEAN / 100)
    found = {"mce": mean_corruption_error(corruption_errors(errors, alexnet))}
    found["relative_mce"] = mean_corruption_error(relative)
    return {key: value for key, value in found.items() if value is not None}  # AlexNet's errors are never 0


def is_imagenet(class_names: Sequence[str]) -> bool:
    """Whether the classes are the 1,000 of ImageNet-1k, by their WordNet ids, in any order."""
    names = several("class_names", class_names, "a list of names", kinds=str)
    return len(names) == 1000 and sha256("\n".join(sorted(names)).encode()) == IMAGENET_CLASSES


def _members(values: Mapping[str, object], partial: bool) -> list[str]:
    """The benchmark's corruptions among `values`.  Raises UsageError if some are missing, unless `partial`."""
    missing = [name for name in benchmark() if name not in values]
    found = [name for name in benchmark() if name in values]
    if not found or (missing and not partial):
        raise UsageError(
            f"a mean over the benchmark needs its 15 corruptions; missing: {', '.join(missing)}",
            hint="run them too, or use `partial=True` for the mean over the others",
        )
    return found


def _ratios(errors: Errors, clean: float, baseline: Errors, baseline_clean: float) -> dict[str, float | None]:
    errors, baseline = _checked("errors", errors), _checked("baseline", baseline)
    clean, baseline_clean = as_share("clean", clean, ROUNDING), as_share("baseline_clean", baseline_clean, ROUNDING)
    ratios = {}
    for name, row in errors.items():
        baseline_row = baseline.get(name, ())
        if len(baseline_row) != len(row):
            raise UsageError(f"the baseline must have {len(row)} severities of {name}, got {len(baseline_row)}")
        increase = sum(baseline_row) - len(baseline_row) * baseline_clean
        ratios[name] = (sum(row) - len(row) * clean) / increase if increase > ROUNDING else None
    return ratios


def _known(errors: Errors) -> dict[str, list[float]]:
    """Errors of corruptions that have a group.  Raises UsageError as `_checked` does, and for unknown names."""
    found, known = _checked("errors", errors), corruptions.names()
    for name in found:
        if name not in known:
            raise UsageError(f"errors: unknown corruption {name!r}", hint=f"{guess(name, known)}leave it out")
    return found


def _checked(argument: str, errors: Any) -> dict[str, list[float]]:
    """Errors as lists of numbers, by name.  Raises UsageError for what are no shares by severity."""
    check_type(argument, errors, Mapping, "a dictionary of errors by corruption")
    found = {}
    for name, row in errors.items():
        check_type(f"a name in {argument}", name, str, "text")
        rule = "a list with one number per severity"
        values = several(f"{argument}: {name}", row.tolist() if hasattr(row, "tolist") else row, rule)
        if not values:
            raise UsageError(f"{argument}: {name} must be {rule}, got {shown(row)}")
        found[name] = [as_share(f"{argument}: {name}", value, ROUNDING) for value in values]
    return found


def _mean_of(row: Sequence[float]) -> float:
    return sum(row) / len(row)


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
