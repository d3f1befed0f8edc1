"""Dynamics: how training went, and whether and when it stopped converging.

The paper observes that cosine heads with a small scale do not converge.  The scale s sets a lower bound on their loss:
log(1 + (K-1) exp(-s K/(K-1))) for unit features and unit vectors (Wang et al. 2017, NormFace, arXiv 1704.06369).  It is
reported beside the loss that was reached.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from randhead.ambient import Array, mean, total
from randhead.analyses import Findings, Metric, Metrics
from randhead.analyses._inputs import as_mapping, degrees, finite, number, unit
from randhead.arguments import shown, whole
from randhead.arrays import as_numbers
from randhead.errors import DataError, UsageError
from randhead.tables import count

INPUT = "training"
HEADLINES = (
    "verdict",
    "stopped_at_step",
    "first_loss",
    "last_loss",
    "chance_loss",
    "reachable_loss",
    "val_accuracy_last",
    "val_accuracy_highest",
    "class_vector_drift",
    "class_vector_turn_deg",
)
SERIES = {  # what a training log has, by its key
    "val_accuracy": Metric("val accuracy", "on the validation split", "higher", "%"),
    "val_nll": Metric("val NLL", "negative log-likelihood on the validation split", "lower", "nats"),
    "val_knn_1": Metric("val 1-NN accuracy", "class of the nearest training sample by cosine", "higher", "%"),
    "val_logit_min": Metric("smallest logit", "on the validation split"),
    "val_logit_max": Metric("largest logit", "on the validation split"),
    "grad_norm_backbone": Metric("gradient norm, backbone", "in the last step of an epoch"),
    "grad_norm_vectors": Metric("gradient norm, class vectors", "in the last step of an epoch"),
    "lr": Metric("learning rate", "in the last step of an epoch"),
    "normaliser_error_bound": Metric("error bound of the loss", "of the normaliser, in the last step of an epoch"),
    "scale": Metric("logit scale", "at the end of an epoch"),
    "vector_drift_deg": Metric("turn of class vectors", "mean angle to their start", "", "deg"),
}
ENDS = {"first": "first epoch", "last": "last epoch", "lowest": "lowest", "highest": "highest"}
METRICS = {
    **{
        f"{key}_{end}": replace(about, name=f"{about.name}, {words}")
        for key, about in SERIES.items()
        for end, words in ENDS.items()
    },
    "verdict": Metric("verdict", "converged, still improving, did not converge, went back up, or diverged"),
    "stopped_at_step": Metric("stopped improving at step", "the step that nearly reached the lowest loss"),
    "first_loss": Metric("training loss, first epoch", "mean over the epoch", "", "nats"),
    "last_loss": Metric("training loss, last epoch", "mean over the epoch", "lower", "nats"),
    "lowest_loss": Metric("training loss, lowest", "of the smoothed curve", "lower", "nats"),
    "lowest_loss_step": Metric("step of the lowest training loss", "of the smoothed curve"),
    "chance_loss": Metric("loss of guessing", "log K", "", "nats"),
    "reachable_loss": Metric("lowest loss at this scale", "lower bound of a cosine head with its scale", "", "nats"),
    "val_accuracy_highest": Metric("val accuracy, best epoch", "on the validation split", "higher", "%"),
    "class_vector_drift": Metric("drift of class vectors", "length of their change over their length at the start"),
    "class_vector_turn_deg": Metric("turn of class vectors", "mean angle between start and end", "", "deg"),
}
FEW = 5  # points: with fewer, the last fifth of the run has none, and there is no verdict
WINDOW = 1 / 20  # share of the run: the window of the median that removes the noise of single batches
NOISE = 6.0  # standard deviations of the noise: a fall or a rise within this is none
TURNS = 0.5  # of independent values, what `wobble` measures in standard deviations
FLOOR = 0.01  # share of log K: a smaller rise is none
NEAR = 0.02  # share of the total drop of the loss: a value this close to the lowest counts as reaching it
PATIENCE = 1 / 5  # share of the run: if its last part of this length brings no progress, it has stopped improving
REBOUND = 0.1  # share of the total drop: ending this far above the lowest counts as going back up
PAIR = "a pair of the steps and what was logged at them"
SOLVED = 0.5  # share of log K, the loss of guessing: a run that stops above this has not converged


def measure(
    steps: Array,
    loss: Array,
    *,
    num_classes: int,
    class_vectors: tuple[Array, Array] | None = None,
    cosine_scale: float | None = None,
    series: dict[str, tuple[Array, Array]] | None = None,
) -> Findings:
    """Whether and when the training of a run converged.

    Metrics: verdict ("converged", "still improving", "did not converge", "went back up", "diverged"), None for fewer
    than five points; stopped_at_step, the step that nearly reached the lowest loss, None if still improving; first_loss
    and last_loss, as measured; lowest_loss and lowest_loss_step of the smoothed loss; chance_loss = log K;
    reachable_loss, the lower bound for a cosine head; NAME_first, _last, _lowest and _highest of every series; at the
    end class_vector_drift |W_t - W_0| / |W_0| and class_vector_turn_deg, the mean angle between w_t and w_0.
    Arrays: steps, loss, smoothed_loss, NAME and NAME_steps, drift and turn_deg with drift_steps.

    Args:
        steps: (T,), increasing.
        loss: training loss at these steps (T,).
        num_classes: K.
        class_vectors: steps (C,) and saved class vectors (C, K, D), the initial ones first.
        cosine_scale: scale of a cosine head.
        series: steps and values by name, such as accuracy, gradient norms, the range of the logits.

    Raises:
        DataError: for empty logs and steps that do not increase.
        UsageError: for shapes that do not fit.

    Example:
        >>> measure(torch.arange(100), 2 * 0.8 ** torch.arange(100), num_classes=10).metrics["verdict"]
        'converged'
    """
    steps, loss = _checked("loss", steps, loss)
    num_classes = whole("num_classes", num_classes, low=1)
    chance = math.log(num_classes)
    metrics, smoothed = convergence(steps, loss, chance)
    arrays = {"steps": steps, "loss": loss.double(), "smoothed_loss": smoothed}
    reachable = (
        None if cosine_scale is None else reachable_loss(finite("cosine_scale", cosine_scale, low=0), num_classes)
    )
    metrics["reachable_loss"] = reachable
    for name, pair in as_mapping("series", {} if series is None else series).items():
        at, values = _checked(name, *_pair(name, pair))
        metrics |= _ends(name, values.double())
        arrays |= {name: values.double(), f"{name}_steps": at}
    if class_vectors is not None:
        at, kept = _pair("class_vectors", class_vectors)
        kept = as_numbers("class_vectors", kept)
        if kept.ndim != 3:
            raise UsageError(f"class_vectors must be (C,) and (C, K, D), got {tuple(kept.shape)}", hint=PAIR)
        at, _ = _checked("class_vectors", at, kept[:, 0, 0])
        moved, turned = drift(kept)
        metrics |= {"class_vector_drift": number(moved[-1]), "class_vector_turn_deg": number(turned[-1])}
        arrays |= {"drift": moved, "turn_deg": turned, "drift_steps": at}
    return Findings(metrics, arrays, _notes(metrics, len(loss), reachable, chance))


def convergence(steps: Tensor, loss: Tensor, chance: float) -> tuple[Metrics, Tensor]:
    """The verdict on a loss curve (T,) and its other metrics, and the smoothed curve (T,)."""
    loss = loss.double()
    smoothed = running_median(loss, round(len(loss) * WINDOW))
    metrics: Metrics = {"first_loss": number(loss[0]), "last_loss": number(loss[-1]), "chance_loss": chance}
    broken = (~loss.isfinite()).nonzero().flatten()
    if len(broken):
        metrics |= dict.fromkeys(("lowest_loss", "lowest_loss_step"))
        return metrics | {"verdict": "diverged", "stopped_at_step": int(steps[broken[0]])}, smoothed
    lowest = smoothed.min()
    at = _measured(loss, int(smoothed.argmin()), lowest)
    metrics |= {"lowest_loss": number(lowest), "lowest_loss_step": int(steps[at])}
    if len(loss) < FEW:
        return metrics | dict.fromkeys(("verdict", "stopped_at_step")), smoothed
    noise, drop = NOISE * wobble(loss), float(loss[0] - lowest)
    limit = lowest + max(NEAR * drop, noise / 2)
    progress = int(steps[0 if drop <= noise else _measured(loss, last_progress(smoothed, limit), limit)])
    stopped = progress < int(steps[-1]) - PATIENCE * int(steps[-1] - steps[0])
    rose = loss[-1] - lowest > max(REBOUND * drop, noise, FLOOR * chance)
    if rose:
        verdict = "went back up"
    elif not stopped:
        verdict = "still improving"
    else:
        verdict = "converged" if smoothed[-1] <= SOLVED * chance else "did not converge"
    return metrics | {"verdict": verdict, "stopped_at_step": progress if rose or stopped else None}, smoothed


def running_median(values: Tensor, window: int) -> Tensor:
    """Median of each value and up to `window` values on both sides, equally many: (T,) -> (T,).

    Towards the ends they become fewer, and the ends are as measured.  So a window has always an odd number of values:
    of an even one, torch takes the lower of the middle two.
    """
    last = len(values) - 1
    reach = [min(window, i, last - i) for i in range(len(values))]
    return torch.stack([values[i - r : i + r + 1].median() for i, r in enumerate(reach)])


def wobble(loss: Tensor) -> float:
    """The noise of a curve (T,): how far it goes up and down again, as the standard deviation of independent values.

    At a turn, the smaller of the two steps there, elsewhere 0: the mean over all but the largest fifth, which leaves
    spikes out.  A curve that only falls, or turns once, has none, however steep it is.
    """
    steps = loss.diff()
    smaller = torch.minimum(steps[1:].abs(), steps[:-1].abs())
    turns = smaller.where(steps[1:] * steps[:-1] < 0, 0).sort().values
    return float(mean(turns[: math.ceil(0.8 * len(turns))])) / TURNS


def last_progress(values: Tensor, limit: Tensor | float) -> int:
    """Index of the first value that is not above a limit."""
    return int((values <= limit).nonzero()[0])


def _measured(loss: Tensor, index: int, limit: Tensor) -> int:
    """The nearest index at which the loss as measured is not above a limit, as its median at `index` is."""
    near = (loss <= limit).nonzero().flatten()
    return int(near[(near - index).abs().argmin()])


def reachable_loss(scale: float, num_classes: int) -> float:
    """The lowest mean cross-entropy of any K unit class vectors and unit features at a scale."""
    if num_classes == 1:
        return 0.0
    return math.log1p((num_classes - 1) * math.exp(-scale * num_classes / (num_classes - 1)))


def drift(kept: Tensor) -> tuple[Tensor, Tensor]:
    """Relative distance and mean angle in degrees of class vectors (C, K, D) to the first of them: (C,), (C,)."""
    first = kept[0].double()
    moved = torch.stack([(total((w.double() - first).square()) / total(first.square())).sqrt() for w in kept])
    turned = torch.stack([mean(degrees((unit(w) * unit(first)).sum(dim=1))) for w in kept])
    return moved, turned


def _ends(name: str, values: Tensor) -> Metrics:
    ends = {"first": values[0], "last": values[-1], "lowest": values.min(), "highest": values.max()}
    return {f"{name}_{end}": number(value) for end, value in ends.items()}


def _pair(name: str, given: Any) -> tuple[Any, Any]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError(f"{name} must be a pair, got {shown(given)}", hint=PAIR)
    return given[0], given[1]


def _checked(name: str, steps: Any, values: Any) -> tuple[Tensor, Tensor]:
    """Steps (T,), which increase, and their values (T,)."""
    steps, values = as_numbers("steps", steps), as_numbers(name, values)
    if steps.ndim != 1 or steps.shape != values.shape:
        raise UsageError(
            f"{name} must have one value per step, got {tuple(values.shape)} for {tuple(steps.shape)}", hint=PAIR
        )
    if not len(steps):
        raise DataError(f"{name} has no values: nothing was logged")
    if not steps.isfinite().all() or float(steps.min()) < 0:
        raise DataError(f"the steps of {name} must be numbers from 0 on", hint="is this the log of a run?")
    if (steps.diff() <= 0).any():
        raise DataError(f"the steps of {name} do not increase", hint="is this the log of one run?")
    return steps, values


def _notes(metrics: Metrics, points: int, reachable: float | None, chance: float) -> tuple[str, ...]:
    few = (f"no verdict on {count(points, 'point')}: it takes {FEW} or more",) if metrics["verdict"] is None else ()
    if reachable is None or reachable <= SOLVED * chance:
        return few
    return (
        *few,
        f"at this scale the loss cannot fall below {reachable:.3f} (guessing: {chance:.3f}): raise the scale",
    )
