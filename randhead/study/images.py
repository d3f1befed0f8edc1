"""The images of a study, which all of its runs share: they are read once per worker."""

from dataclasses import replace
from typing import Any

from randhead import datasets
from randhead.config import Config
from randhead.datasets import Dataset
from randhead.device import resolve_device
from randhead.runs import Run
from randhead.train.resolve import begun_size

# Settings that come after reading, so that arms that differ in them share their images.
LATER: dict[str, Any] = {"augment": None, "crop_padding": None, "flip": None, "normalise": None, "cutout": 0.0}


class ImageCache:
    """The datasets that were read, by the settings that they depend on."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Dataset, Dataset | None]] = {}

    def dataset(self, config: Config, run: Run) -> Dataset:
        """The images that a run is trained and tested on."""
        return self._read(config, run)[0]

    def held_out(self, config: Config, run: Run) -> Dataset | None:
        """The classes that the training of a run leaves out; None if it has all."""
        return self._read(config, run)[1]

    def _read(self, config: Config, run: Run) -> tuple[Dataset, Dataset | None]:
        size, data = begun_size(config, run), config.data
        device = resolve_device(config.machine.device)
        key = (replace(data, **LATER), size, device)
        if key not in self._kept:
            whole = replace(config, data=replace(data, hold_out_classes=None))
            found = datasets.from_config(whole, device=device, image_size=size)
            if data.hold_out_classes:
                self._kept[key] = datasets.divide_classes(found, data.hold_out_classes, seed=data.split_seed)
            else:
                self._kept[key] = found, None
        return self._kept[key]
