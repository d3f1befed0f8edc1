"""Dynamics: curves over training."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from randhead.analyses import Findings, dynamics
from randhead.report._matplotlib import Axes, Figure, matplotlib
from randhead.report.canvas import BLUE, COLOURS, GREY, ORANGE, PURPLE, log_scale, panels, short
from randhead.report.sections import Picture
from randhead.tables import Metric, Table, capitalised, rows, words

GROUPS = (
    ("accuracy", "Accuracy on the validation split.", ("val_accuracy",), False),
    ("gradients", "Gradient norms in the last step of each epoch.", ("grad_norm_backbone", "grad_norm_vectors"), True),
    ("logits", "Smallest and largest logit on the validation split.", ("val_logit_min", "val_logit_max"), False),
    ("rate", "Learning rate.", ("lr",), False),
)
LABELLED = 10  # most runs in one picture with a legend, which are also its colours


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """The loss with its bounds, the other logged series, and the change of learned class vectors."""
    verdict = findings.metrics["verdict"] or "too few epochs for a verdict"
    yield Picture("loss", f"Training loss: {verdict}.", _loss(findings))
    for name, caption, members, logarithmic in GROUPS:
        known = [member for member in members if member in findings.arrays]
        if known:
            figure, (axes,) = panels(height=2.6)
            for member, colour in zip(known, COLOURS, strict=False):
                _curve(axes, findings, member, colour)
            everything = torch.cat([findings.arrays[member] for member in known])
            axes.set_xlabel("step")
            if logarithmic and _decades(everything) > 1:
                log_scale(axes)
            axes.legend()
            yield Picture(name, caption, figure)
    if "drift" in findings.arrays:
        figure, (axes,) = panels(height=2.6)
        axes.plot(findings.arrays["drift_steps"], findings.arrays["turn_deg"], "o-", color=PURPLE, markersize=4)
        axes.set(xlabel="step", ylabel="mean angle to the start (degrees)")
        yield Picture("drift", "How far the learned class vectors have turned, at the kept checkpoints.", figure)


def of_runs(found: Mapping[str, Findings]) -> Iterator[Picture]:
    """The smoothed loss, the other logged series, and the turn of learned class vectors, with one line per run."""
    curves = [("loss", "smoothed_loss", "steps", "Training loss, smoothed.", "loss (nats)", 1.0)]
    for name in [member for *_, members, _ in GROUPS for member in members]:
        about = _about(name)
        caption = f"{capitalised(about.name)}, {about.definition}."
        curves.append((name, name, f"{name}_steps", caption, about.title, about.scale))
    turned = "mean angle to the start (degrees)"
    curves.append(("drift", "turn_deg", "drift_steps", "Turn of class vectors.", turned, 1.0))
    for name, values, steps, caption, axis, scale in curves:
        known = {run: findings.arrays for run, findings in found.items() if values in findings.arrays}
        if known:
            figure, (axes,) = panels(height=2.8)
            axes.set_prop_cycle(color=list(matplotlib.colormaps["tab10"](range(10))))
            for run, arrays in known.items():
                axes.plot(arrays[steps], scale * arrays[values], linewidth=1.2, label=short(run))
            axes.set(xlabel="step", ylabel=axis)
            if len(known) <= LABELLED:
                axes.legend()
            yield Picture(name, caption, figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """First and last, lowest and highest values of everything that was logged."""
    members = [
        name.removesuffix("_steps") for name in findings.arrays if name.endswith("_steps") and name != "drift_steps"
    ]
    about = {name: _about(name) for name in members}
    cells = [
        [each.title, *(each.shown(findings.metrics[f"{name}_{end}"]) for end in dynamics.ENDS)]
        for name, each in about.items()
    ]
    if cells:
        yield Table("What was logged", ("series", *dynamics.ENDS.values()), rows(cells))


def _loss(findings: Findings) -> Figure:
    figure, (axes,) = panels(height=2.8)
    steps = findings.arrays["steps"]
    axes.plot(steps, findings.arrays["loss"], ".", color=BLUE, markersize=4, alpha=0.7, label="per epoch")
    axes.plot(steps, findings.arrays["smoothed_loss"], color=BLUE, label="smoothed")
    chance, reachable, stopped = map(findings.number, ("chance_loss", "reachable_loss", "stopped_at_step"))
    if chance is not None:
        axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="guessing")
    if reachable is not None:
        axes.axhline(reachable, color=ORANGE, linestyle=":", label="lowest at this scale")
    if stopped is not None:
        axes.axvline(stopped, color=PURPLE, linewidth=1, label="stopped")
    axes.set(xlabel="step", ylabel="loss (nats)", ylim=(0, None))
    axes.legend()
    return figure


def _curve(axes: Axes, findings: Findings, name: str, colour: str) -> None:
    about = _about(name)
    axes.plot(findings.arrays[f"{name}_steps"], about.scale * findings.arrays[name], color=colour, label=about.title)


def _about(name: str) -> Metric:
    """How a series is shown."""
    return dynamics.SERIES.get(name) or Metric(words(name))


def _decades(values: Tensor) -> float:
    """The number of powers of ten that positive values span; 0 if a value is not positive."""
    return float((values.max() / values.min()).log10()) if values.min() > 0 else 0.0
