"""Analyses: one file, one question about what was learned, one verb.

An analysis is a module with

* `INPUT`: what its arguments are read from; `randhead.evaluation.measuring` supplies them by name.  "run": one run on
  images of its own classes; "training": the log of one run; "new classes": one run on images of other classes;
  "runs": several runs at once, so that `features` is a list, or a tensor holds one value per run;
* optionally `HEADLINES`, the metrics that a short table shows, in their order; without it, all of them;
* `measure(...)` -> `Findings`.  It takes tensors, never a config or a path, and has no state.  The names mean the same
  everywhere: features (N, D), labels (N,) int64, class_vectors (K, D), bias (K,), predictions (N,) int64, num_classes.

Everything is computed in float64.  Means over classes give every class the same weight; classes without a sample are
left out, and a note says so.  A figure that has no value, the spread of a single class for example, is None; a note
says why.  Input that cannot be meant, NaN features or labels of other classes, is a DataError or UsageError.
"""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Findings:
    """What an analysis found.

    `figures`: name -> number, or a word, or None where it is undefined; ready for JSON.  `arrays`: what a picture or a
    long table needs; entries without a value are NaN.  `notes`: sentences for the reader about what was left out.
    """

    figures: dict[str, float | int | str | None]
    arrays: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def number(self, name: str) -> float | None:
        """A metric if it is a number: None for words, and if it does not exist."""
        value = self.figures.get(name)
        return float(value) if isinstance(value, int | float) else None
