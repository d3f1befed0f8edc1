"""Whether two runs can be compared: they have the same classes, image size and images."""

from collections.abc import Callable

from randhead.datasets import Dataset, fingerprint
from randhead.errors import RunError
from randhead.runs import LoadedRun


def check(
    first: LoadedRun,
    other: LoadedRun,
    dataset: Dataset,
    split: str,
    *,
    own_images: bool,
    progress: Callable[[int, int], None],
) -> None:
    """Check that two runs can be compared on a split.

    Args:
        first: a run.
        other: another run.
        dataset: the images on which they are compared.
        split: "test", "val" or "train".
        own_images: whether these are the images of the first run.
        progress: called with (done, total) while images of the other run are read.

    Raises:
        RunError: if the other run has other classes, another image size or other images than the first.
    """
    names = f"run {other.run.name}", f"run {first.run.name}"
    hint = "compare runs on the same data and image size; test others one by one"
    if other.class_names != first.class_names:
        raise RunError(f"{names[0]} has other classes than {names[1]}", hint=hint)
    if other.image_size != first.image_size:
        sizes = f"{other.image_size} px", f"{first.image_size} px"
        raise RunError(f"{names[0]} takes images of {sizes[0]}, {names[1]} of {sizes[1]}", hint=hint)
    if not own_images:
        return
    then = [each.fingerprints.get(split) for each in (first, other)]  # None in runs of older versions
    same = None in then or then[0] == then[1]
    if same and other.config.data != first.config.data:
        same = fingerprint(other.dataset(progress=progress).splits[split]) == fingerprint(dataset.splits[split])
    if not same:
        raise RunError(
            f"{names[0]} has other {split} images than {names[1]}, and may have been trained on these",
            hint="compare runs with the same `data` and `data.split_seed`",
        )
