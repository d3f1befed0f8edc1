"""Training: `fit` trains a classifier into a run folder; `fit_events` yields what happens meanwhile."""

from randhead.train.fitting import fit
from randhead.train.loop import fit_events

__all__ = ["fit", "fit_events"]
