"""Runs, images and features for a command that needs several of them, each read once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from randhead import runs
from randhead.datasets import Dataset
from randhead.errors import StopRequested
from randhead.evaluation import feature_cache
from randhead.evaluation.feature_cache import Extracted
from randhead.runs import LoadedRun


class Library:
    """What was read so far.  `stop`, `warn` and `progress` are the caller's."""

    def __init__(
        self,
        *,
        root: Path = runs.ROOT,
        device: str = "auto",
        stop: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = lambda text: None,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.root, self.device, self.stop, self.warn, self.progress = root, device, stop, warn, progress
        self._datasets: dict[Any, Dataset] = {}
        self._features: dict[Any, Extracted] = {}

    def check_stop(self) -> None:
        """Raise StopRequested where the caller asks to stop."""
        if self.stop():
            raise StopRequested("stopped between two analyses")

    def run(self, name: str | None) -> LoadedRun:
        """A trained run.  Raises RunError."""
        return runs.load(name, root=self.root, device=self.device)

    def dataset(self, loaded: LoadedRun, data: str | None = None, *, held_out: bool = False) -> Dataset:
        """The images of a run, or others, as large as it takes them."""
        key = (loaded.config.data, loaded.image_size, data, held_out)
        if key not in self._datasets:
            self._datasets[key] = loaded.dataset(data, held_out=held_out, progress=self.progress)
        return self._datasets[key]

    def features(self, loaded: LoadedRun, dataset: Dataset, split: str) -> Extracted:
        """What the run makes of a split, from its folder where it is kept."""
        key = (loaded.run.path, id(dataset), split)
        if key not in self._features:
            self._features[key] = feature_cache.features(loaded, dataset, split, stop=self.stop, warn=self.warn)
        return self._features[key]
