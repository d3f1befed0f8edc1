"""Whether a training can be resumed: it must have the same images, and should have the same device and libraries."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from randhead import datasets, runs
from randhead.config import Config
from randhead.config.resolved import ResolvedSettings
from randhead.datasets import Dataset
from randhead.errors import DataError, RunError
from randhead.runs import Run
from randhead.tables import count

LIBRARIES = ("randhead", "torch")  # their versions decide about the last bits of a result


def check(run: Run, config: Config, settings: ResolvedSettings) -> Iterator[str]:
    """Compare the images and the environment of a training that has begun with those of now.

    Args:
        run: the run folder.
        config: the configuration.
        settings: the settings resolved for the images of now.

    Yields:
        Warnings: the environment differs, or the run does not say which images it was trained on.

    Raises:
        RunError: if the images or their labels are others.
    """
    if not run.config_path.exists():
        return
    document = run.document()
    saved = ResolvedSettings.from_json(document["resolved"])
    different = changed_images(saved, settings)
    if different:
        raise RunError(
            f"{run.path} was trained on other images: {'; '.join(different)}",
            hint="restore the images, use another `name`, or `fresh=True` to start over with these",
        )
    if not saved.fingerprints:
        yield (
            f"{run.path} does not say on which images it was trained, only how many there were; these are taken for "
            "the same, and are recorded now"
        )
    found = list(_other_environment(document, runs.describe(config, settings)))
    if found:
        yield f"resuming with {', '.join(found)}: the last bits of the result can differ"


def finished_on_other_images(
    run: Run, config: Config, dataset: Dataset | None, *, progress: Callable[[int, int], None] | None = None
) -> str | None:
    """A warning if the images of a finished run have changed since it was trained, else None.

    A folder is read again only if something in it was written since the training began, or was copied.

    Args:
        run: the finished run.
        config: its configuration.
        dataset: the images, if they have been loaded.
        progress: called with (done, total) while images are read.
    """
    saved, now = run.resolved(), time.time()
    if not saved.fingerprints:
        return None
    try:
        if dataset is None:
            if not datasets.changed_since(config.data.name, run.config_path.stat().st_mtime):
                return None
            dataset = datasets.from_config(config, image_size=saved.image_size, progress=progress)
        images = {name: len(split) for name, split in dataset.splits.items()}
        hashes = datasets.fingerprints(dataset)
    except (DataError, OSError):
        return None  # they cannot be read, and are not needed
    found = replace(saved, class_names=dataset.class_names, images=images, fingerprints=hashes)
    different = changed_images(saved, found)
    if different:
        return f"{run.path} was trained on other images: {'; '.join(different)}; `fresh=True` trains it on these"
    with contextlib.suppress(OSError):
        os.utime(run.config_path, (now, now))  # so that they need not be read again
    return None


def changed_images(saved: ResolvedSettings, settings: ResolvedSettings) -> list[str]:
    """What differs between the images of two trainings, in words."""
    different: list[str] = []
    if saved.class_names != settings.class_names:
        old, new = set(saved.class_names), set(settings.class_names)
        sides = [
            f"{word} {', '.join(sorted(names))}" for word, names in (("new", new - old), ("gone", old - new)) if names
        ]
        different.append(f"other classes ({'; '.join(sides) or 'in another order'})")
    if saved.image_size != settings.image_size:
        different.append(f"images of {settings.image_size} px instead of {saved.image_size} px")
    for split, name in datasets.SPLIT_WORDS.items():
        before, now = saved.images.get(split, 0), settings.images.get(split, 0)
        if before != now:
            different.append(f"{count(now, f'{name} image')} instead of {before}")
    found = {k: v for k, v in settings.fingerprints.items() if saved.images.get(k) == settings.images.get(k)}
    return [*different, *datasets.changes(saved.fingerprints, found)]


def _other_environment(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The properties of the machine that can change the last bits, where they differ and are known."""
    for key in LIBRARIES:
        old, new = saved.get("versions", {}).get(key), now["versions"][key]
        if old not in (None, new):
            yield f"{key} {new} after {old}"
    for key, new in now["environment"].items():
        old = saved.get("environment", {}).get(key)
        if old not in (None, new):
            yield f"{new} after {old}"
