"""Features of a run, extracted once per split and kept in the folder features/ of the run.

The name of a file has the dataset, the split and the hash of the weights; its metadata has a fingerprint of everything
that the features depend on.  If this does not match, the features are extracted again and the file is replaced.
"""

import contextlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from randhead.datasets import Dataset, Split, fingerprint
from randhead.errors import RunError
from randhead.evaluation.features import embeddings, extract
from randhead.files import leads_elsewhere
from randhead.runs import LoadedRun, checkpoint, slug

HEX = 12  # digits of the weights' hash in a file name


@dataclass(frozen=True)
class Extracted:
    """Features (N, D) of a split as the head scores them, with its labels (N,) and predictions (N,).

    Predictions are None for images of classes that the run does not have.
    """

    features: Tensor
    labels: Tensor
    predictions: Tensor | None = None


def features(
    loaded: LoadedRun,
    dataset: Dataset,
    split: str,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
) -> Extracted:
    """Features (float32), predictions and labels of a split, in the order of the split, on the CPU.

    They are read from the run folder if it has them.  If the file is damaged, they are extracted again; if the folder
    cannot be written to, they are not kept; both give a warning.

    Raises:
        RunError: if they are no finite numbers.
        StopRequested: if `should_stop` returns True.
    """
    path, identity = file_of(loaded, dataset, split), _identity(loaded, dataset.splits[split])
    found = _read(path, identity, warn)
    if found is not None:
        return found
    made = _extract(loaded, dataset, split, should_stop)
    loaded.check_features(made.features)
    try:
        checkpoint.save(path, {name: tensor for name, tensor in vars(made).items() if tensor is not None}, identity)
    except RunError as error:
        warn(f"features are not kept: {error.message}")
    _sweep(path)
    return made


def file_of(loaded: LoadedRun, dataset: Dataset, split: str) -> Path:
    """The file in which the features of a split are kept."""
    part = "" if _of_its_classes(loaded, dataset) else "others-"
    name = f"{slug(dataset.name)}-{part}{split}-{loaded.weights_sha256[:HEX]}.safetensors"
    return loaded.run.features / name


def _of_its_classes(loaded: LoadedRun, dataset: Dataset) -> bool:
    return loaded.config.data.labels == "class" and tuple(dataset.class_names) == loaded.class_names


def _extract(loaded: LoadedRun, dataset: Dataset, split: str, should_stop: Callable[[], bool]) -> Extracted:
    images = dataset.splits[split]
    if not _of_its_classes(loaded, dataset):
        return Extracted(
            embeddings(loaded.model, images, loaded.preprocess, should_stop=should_stop), images.labels.cpu()
        )
    found, scores = extract(loaded.model, images, loaded.preprocess, should_stop=should_stop)
    return Extracted(found, images.labels.cpu(), scores.predictions)


def _identity(loaded: LoadedRun, split: Split) -> dict[str, Any]:
    """Everything that the features depend on, ready for JSON."""
    preprocess = loaded.preprocess
    return {
        "weights": loaded.weights_sha256,
        "images": fingerprint(split),  # with their labels
        "normalisation": [preprocess.mean.tolist(), preprocess.std.tolist()],
        "precision": f"{preprocess.precision} on {preprocess.device.type}",
    }


def _read(path: Path, identity: dict[str, Any], warn: Callable[[str], None]) -> Extracted | None:
    if not path.exists():
        return None
    try:
        tensors, document = checkpoint.load(path)
        return Extracted(**tensors) if document == identity else None
    except (RunError, TypeError) as error:
        warn(f"{error.message if isinstance(error, RunError) else path}; the features are extracted again")
        return None


def _sweep(path: Path) -> None:
    """Delete the features of the same split from other weights."""
    if leads_elsewhere(path.parent):
        return
    stem = re.escape(path.name[: -len(".safetensors") - HEX])
    older = re.compile(rf"{stem}[0-9a-f]{{{HEX}}}\.safetensors")
    for file in path.parent.glob("*") if path.parent.is_dir() else ():
        if file != path and older.fullmatch(file.name):
            with contextlib.suppress(OSError):
                file.unlink()
