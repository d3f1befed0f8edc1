"""Where the classes and splits of a folder are: train/CLASS/ with val/ or test/ beside it, or only CLASS/."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from randhead.arguments import composed, has_controls
from randhead.config import data_source
from randhead.datasets._folders import folders_of_runs, has_images, loose_images, subfolders
from randhead.datasets._split_folders import class_like, is_split, is_unlabelled, listed, split_folders, unwrapped
from randhead.datasets._split_names import IMAGES, NO_CLASSES
from randhead.errors import DataError
from randhead.tables import count

Classes = dict[str, Path]  # class name -> folder, sorted by name


@dataclass(frozen=True)
class Layout:
    """The class folders of each split, train first, and what else there is and is left out, in sentences."""

    splits: dict[str, Classes]
    notes: tuple[str, ...] = ()


def find_layout(folder: Path) -> Layout:
    """The classes and splits of a folder.  Raises DataError if they cannot be told, or if classes are missing."""
    base = _around_images(folder)
    found = split_folders(base)
    layout = _without_splits(base) if found is None else _with_splits(base, found)
    _check_classes(folder, layout.splits)
    return layout


def _around_images(folder: Path) -> Path:
    """The folder of the classes or splits, if what is beside it has no images: annotations, lists, metadata."""
    base = unwrapped(folder)
    folders = subfolders(base)
    named = [path for path in folders if path.name.lower() in IMAGES]
    if len(named) == 1 and class_like(named[0]) and not any(has_images(path) for path in folders if path not in named):
        return _around_images(named[0])
    return base


def class_folders(folder: Path) -> Classes:
    """Class name -> folder, sorted by name.  Raises DataError if there are none, or if they cannot be used."""
    found = sorted((composed(path.name), path) for path in subfolders(folder))
    folders = dict(found)
    if len(folders) < len(found):
        twice = next(name for (name, _), (other, _) in pairwise(found) if name == other)
        raise DataError(f"{folder}: two folders of class {twice!r}, in two forms of Unicode", hint="merge them")
    if not folders:
        loose = " (the images are directly in it)" if loose_images(folder) else ""
        raise DataError(f"{folder}: no class folders{loose}", hint=data_source.LAYOUT)
    for name, path in folders.items():
        if has_controls(name):
            raise DataError(f"{str(path)!r}: a class name with bytes that cannot be printed", hint="rename the folder")
        if path.is_symlink() and path.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise DataError(f"{path}: a link back to a folder that holds it", hint="remove the link")
    return folders


def _without_splits(base: Path) -> Layout:
    """All folders are classes."""
    classes = class_folders(base)
    odd = [] if is_split(base) else [path for path in classes.values() if is_split(path)]
    notes = [f"{listed(odd)} read as a class, not as a split: there is no train/ beside it"] if odd else []
    return Layout({"train": classes}, (*notes, *_beside([base])))


def _with_splits(base: Path, found: dict[str, Path]) -> Layout:
    """The folders of splits hold the classes; a test split without labels is left out."""
    places = {"train": unwrapped(found["train"])}
    splits = {"train": class_folders(places["train"])}
    unlabelled = {split: path for split, path in found.items() if is_unlabelled(path, splits["train"])}
    for split, path in found.items():
        if split not in (*splits, *unlabelled):
            places[split] = path if _has_any(path, splits["train"]) else unwrapped(path)
            splits[split] = class_folders(places[split])
    if "val" in unlabelled and "test" not in splits:
        raise DataError(
            f"{unlabelled['val']}: no class folders, so its images have no labels",
            hint="sort them into class folders; or rename the folder (say unlabelled/), to have splits drawn by seed",
        )
    if "val" in splits and "test" not in splits:
        splits["test"] = splits.pop("val")
    held_out = [path.name for split, path in found.items() if split not in ("train", *unlabelled)]
    instead = f"{held_out[-1]}/ is the test split" if held_out else "test images are drawn from the training images"
    no_labels = "has no class folders, so its images have no labels and are left out"
    notes = [f"{path} {no_labels}; {instead}" for path in unlabelled.values()]
    extra = [path for path in subfolders(base) if path not in found.values() and has_images(path)]
    if extra:
        notes.append(f"{base}: {listed(extra)} left out: not named as a split")
    return Layout(splits, (*notes, *_beside([base, *places.values()])))


def _beside(places: list[Path]) -> list[str]:
    """Notes about images and folders of runs that are beside class folders or splits."""
    folders = tuple(dict.fromkeys(places))
    found = [path for place in folders for path in loose_images(place)]
    notes = [f"{count(len(found), 'image')} in no class folder left out, as {found[0]}"] if found else []
    return notes + [f"{path} left out: it holds runs" for place in folders for path in folders_of_runs(place)]


def _has_any(folder: Path, classes: Classes) -> bool:
    return any(composed(path.name) in classes for path in subfolders(folder))


def _check_classes(folder: Path, splits: dict[str, Classes]) -> None:
    """Raise DataError unless there are two classes or more, the same in every split."""
    expected = set(splits["train"])
    if len(expected) < 2:
        raise DataError(f"{folder}: only one class, {min(expected)!r}", hint="classification needs two or more")
    if {name.lower() for name in expected} <= NO_CLASSES:
        raise DataError(f"{folder}: {listed(sorted(expected))} are no classes", hint=data_source.LAYOUT)
    for split, folders in splits.items():
        for problem, names in (("lacks", expected - set(folders)), ("also has", set(folders) - expected)):
            if names:
                shown = ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                hint = "every split needs the same classes"
                if {name.lower() for name in folders} == {name.lower() for name in expected}:
                    hint = "write the names alike: they differ in upper and lower case"
                raise DataError(f"{folder}: {split} {problem} the class folders {shown}", hint=hint)
