"""From what was typed to a configuration, as far as it can be judged without torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from randhead import registry, runs
from randhead.config import DEVICES, Config, data_source, one_of, parse, recipes

SPLITS = ("test", "val", "train")


def configuration(chosen: Mapping[str, Any]) -> Config:
    """The configuration of dotted settings.  Raises UsageError or DataError for names that stand for nothing."""
    config = parse.build(recipes.settings(_with_absolute_folder(chosen)))
    registry.check("backbones", config.backbone.name.partition(":")[0])
    registry.check("vectors", config.head.vectors.partition(":")[0])
    if config.head.normaliser != "auto":
        registry.check("losses", config.head.normaliser)
    return config


def check(names: Iterable[str | None], root: Path, *, device: str, split: str = "test") -> None:
    """Raise UsageError for a device or split there is not, RunError for a run."""
    one_of("--split", split, SPLITS)
    one_of("--device", device, DEVICES)
    for name in names:
        runs.find(name, root=root)


def _with_absolute_folder(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A folder of images is part of a run's identity, so it is kept as an absolute path."""
    data = chosen.get("data.name")
    found = data_source.find(data) if data and isinstance(data, str) else None
    return {**chosen, "data.name": str(found.resolve())} if isinstance(found, Path) else dict(chosen)
