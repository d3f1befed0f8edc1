"""The runs, images and features that analyses need, each read once."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from randhead import runs
from randhead.analyses import similarity
from randhead.datasets import Dataset
from randhead.errors import StopRequested
from randhead.evaluation import class_similarity, feature_cache
from randhead.evaluation.feature_cache import Extracted
from randhead.runs import LoadedRun, RunLike


class AnalysisSession:
    """A cache of the runs, images and features that were read, with the callbacks of the caller.

    Args:
        root: folder of the runs.
        device: "auto", "cpu" or "cuda".
        should_stop: called between batches and between analyses.
        warn: called with each warning.
        progress: called with (done, total) while images are read.
        measuring: called with (done, total) while an analysis takes long.
    """

    def __init__(
        self,
        *,
        root: str | Path = runs.ROOT,
        device: str = "auto",
        should_stop: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = warnings.warn,
        progress: Callable[[int, int], None] | None = None,
        measuring: Callable[[int, int], None] = lambda done, total: None,
    ):
        self.root, self.device = root, device
        self.should_stop, self.warn, self.progress, self.measuring = should_stop, warn, progress, measuring
        self._datasets: dict[Any, Dataset] = {}
        self._features: dict[Any, Extracted] = {}
        self._pixels: dict[Any, Tensor] = {}
        self._unfinished: set[Path] = set()  # runs of which the reader has been told

    def check_stop(self) -> None:
        """Raise StopRequested if the caller asks to stop."""
        if self.should_stop():
            raise StopRequested("stopped between two analyses")

    def run(self, run: RunLike | None) -> LoadedRun:
        """A trained run.  Raises RunError if it is missing or damaged; warns, once, if it is not finished."""
        loaded = runs.load(run, root=self.root, device=self.device)
        unfinished = loaded.unfinished()
        if unfinished and loaded.run.path not in self._unfinished:
            self._unfinished.add(loaded.run.path)
            self.warn(unfinished)
        return loaded

    def dataset(self, loaded: LoadedRun, data: str | None = None, *, held_out: bool = False) -> Dataset:
        """The images of a run, or other images at the image size of the run."""
        key = (loaded.config.data, loaded.image_size, data, held_out)
        if key not in self._datasets:
            self._datasets[key] = loaded.dataset(data, held_out=held_out, progress=self.progress)
        return self._datasets[key]

    def features(self, loaded: LoadedRun, dataset: Dataset, split: str) -> Extracted:
        """The features of a split, from the run folder if they are kept there."""
        key = (loaded.run.path, id(dataset), split)
        if key not in self._features:
            self._features[key] = feature_cache.features(
                loaded, dataset, split, should_stop=self.should_stop, warn=self.warn
            )
        return self._features[key]

    def pixel_similarity(self, dataset: Dataset, classes: Tensor) -> Tensor:
        """Cosines of the mean training images of some classes: (M,) -> (M, M) float64."""
        key = (id(dataset), tuple(classes.tolist()))
        if key not in self._pixels:
            means = class_similarity.mean_images(dataset.splits["train"], classes, should_stop=self.should_stop)
            self._pixels[key] = similarity.cosines(means)
        return self._pixels[key]
