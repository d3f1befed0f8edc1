"""Training: `fit` trains a classifier and saves it in a run folder; `fit_events` also yields events."""

from randhead.train.fitting import fit
from randhead.train.loop import fit_events

__all__ = ["fit", "fit_events"]
