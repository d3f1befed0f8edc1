"""Which folders are splits: by their names, or refused because all of them hold the same class folders."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from randhead.arguments import composed
from randhead.config import data_source
from randhead.datasets._folders import has_images, subfolders
from randhead.datasets._split_names import IMAGES, NO_CLASSES, SplitName, split_name
from randhead.errors import DataError

ALIKE = 2  # class folders that splits must share if their names say something else too
FIRST = 20  # folders that are searched for equal sub-folders: a set has few splits
NAMED = 5  # folders that a message names
DEEPEST = 8  # folders around a set; links may lead back
AS_CLASSES = "if these are classes, put all of them into a folder named train/, and give that folder"


def split_folders(base: Path) -> dict[str, Path] | None:
    """The folder of each split, train first; None if the folders in `base` are classes.

    Raises DataError if they can be neither.
    """
    folders = subfolders(base)
    names = {path: name for path in folders if (name := split_name(path.name))}
    plain = [path for path, name in names.items() if not name.rest]
    train = _train(names, plain)
    if train is None:
        if plain and len(plain) == len(folders):
            found = " and ".join(path.name for path in plain)
            raise DataError(f"{base}: there is {found} but no train", hint=data_source.LAYOUT)
        _refuse_split_names(base, names, len(folders))
        _refuse_equal_contents(base, folders)
        return None
    if train in plain and not class_like(train) and _is_class(base, train, [p for p in folders if p not in plain]):
        return None
    held_out = [path for path in plain if names[path].split != "train"]
    if not held_out:
        held_out = [path for path in names if path != train and _belongs(path, train, names)]
    if not held_out:
        others = [path for path in folders if path != train]
        beside = f" ({listed(others)}: not named as a split)" if others else ""
        raise DataError(
            f"{base}: there is {train.name} but neither val nor test{beside}",
            hint=f"add one, or give {train} to have it split by seed",
        )
    return {"train": train, **_by_split(base, held_out, names)}


def unwrapped(folder: Path) -> Path:
    """The folder below one that has a single folder in it, as archives are often unpacked, if it has several.

    A folder that is a split by its name is not entered, unless it is in a folder of the same name.
    """
    base = folder
    for _ in range(DEEPEST):
        inside = subfolders(base)
        if len(inside) != 1 or (is_split(inside[0]) and inside[0].name != base.name):
            break
        base = inside[0]
    return base if inside else folder


def class_like(folder: Path) -> list[Path]:
    """The folders in the folder of a split."""
    return subfolders(unwrapped(folder))


def is_split(folder: Path) -> bool:
    """Whether the name of a folder says that it is a split, and nothing else."""
    name = split_name(folder.name)
    return name is not None and not name.rest


def is_unlabelled(folder: Path, classes: Iterable[str]) -> bool:
    """Whether a split has images, but no class folders: they are loose, or all in one folder."""
    inside = class_like(folder)
    return len(inside) <= 1 and not _names(inside) & set(classes) and has_images(folder)


def listed(folders: Iterable[Path | str]) -> str:
    """The first names of folders, for a message: `a/, b/ and 3 more`."""
    names = [f"{path.name if isinstance(path, Path) else path}/" for path in folders]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _names(folders: Iterable[Path]) -> set[str]:
    return {composed(path.name) for path in folders}


def _train(names: dict[Path, SplitName], plain: list[Path]) -> Path | None:
    """The folder of the training split, if there is one."""
    trains = [path for path, name in names.items() if name.split == "train"]
    exact = [path for path in trains if path in plain]
    if len(exact) > 1:
        raise _same_split(*exact[:2])
    if exact:
        return exact[0]
    # bullet_train/ beside test_tube/ is a class: images are directly in it.
    found = [path for path in trains if any(_belongs(other, path, names) for other in names if other not in trains)]
    return found[0] if len(found) == 1 else None


def _belongs(path: Path, train: Path, names: dict[Path, SplitName]) -> bool:
    """Whether a folder is a split beside `train`, as seg_test/ beside seg_train/."""
    classes = _names(class_like(train))
    if len(classes) < ALIKE or names[path].split == "train":
        return False
    same = len(classes & _names(class_like(path))) >= ALIKE
    return same or (names[train].rest in ((), names[path].rest) and is_unlabelled(path, classes))


def _is_class(base: Path, train: Path, others: list[Path]) -> bool:
    """Whether a folder named train/ that has no class folders is a class.  Raises DataError if that is not clear."""
    if is_split(base):  # `data/train` with the classes bus/, car/, train/
        return True
    if not others:
        return False
    raise DataError(
        f"{base}: {train.name}/ is taken for a split because of its name, but it has no class folders, and beside it "
        f"there is {listed(others)}",
        hint="if it is a class, rename it, or put all classes into a folder named train/ and give that folder; if it "
        "is a split, sort its images into class folders",
    )


def _by_split(base: Path, held_out: list[Path], names: dict[Path, SplitName]) -> dict[str, Path]:
    """The folders of val and test, in this order.  "eval" is what is missing, test first."""
    found: dict[str, Path] = {}
    for path in sorted(held_out, key=lambda path: (names[path].split == "eval", path.name)):
        split = names[path].split
        if split == "eval":
            split = "val" if "test" in found and "val" not in found else "test"
        if split in found:
            raise _same_split(found[split], path)
        found[split] = path
    return {split: found[split] for split in ("val", "test") if split in found}


def _same_split(one: Path, other: Path) -> DataError:
    return DataError(f"{one.parent}: {one.name}/ and {other.name}/ are the same split", hint="keep one")


def _refuse_split_names(base: Path, names: dict[Path, SplitName], number: int) -> None:
    """Raise DataError for names of a split and a class, as train_cats/ and test_cats/: the same class in two splits.

    Two such names among as many others may be a coincidence: train_model/ and model_test/
    """
    if is_split(base):
        return
    splits: dict[tuple[str, ...], set[str]] = {}
    for name in names.values():
        splits.setdefault(name.rest, set()).add(name.split)
    shared = {rest for rest, found in splits.items() if rest and len(found) > 1}
    paired = [path for path, name in names.items() if name.rest in shared]
    if paired and (len(shared) >= ALIKE or 2 * len(names) > number):
        raise DataError(
            f"{base}: {listed(paired)}: each name is that of a split and of something else, which is in two splits",
            hint=f"sort the images into one folder per class in each split: {data_source.LAYOUT}; {AS_CLASSES}",
        )


def _refuse_equal_contents(base: Path, folders: list[Path]) -> None:
    """Raise DataError for folders that hold the same sub-folders: splits by other names, or splits inside of classes.

    The children of a folder named train/ are classes, whatever they hold.
    """
    if is_split(base):
        return
    contents = {path: _names(class_like(path)) for path in folders[:FIRST]}
    alike = [
        path for path, inside in contents.items() if any(_alike(inside, contents[p]) for p in contents if p != path)
    ]
    if not alike or 2 * len(alike) < len(contents):
        return
    counts = Counter(name for path in alike for name in contents[path])
    common = sorted(name for name, number in counts.items() if 2 * number > len(alike))
    held = f"{base}: {listed(alike)}: all hold the same sub-folders {listed(common)}"
    if all(is_split(Path(name)) for name in common):
        hint = f"put the classes into the splits: {data_source.LAYOUT}"
        raise DataError(f"{held}, so there are splits inside of classes", hint=hint)
    if {name.lower() for name in common} <= NO_CLASSES:
        if any(has_images(alike[0] / name) for name in common if name.lower() not in IMAGES):
            raise DataError(f"{held}", hint="leave only images/ in each class: masks would be read as images of it")
        return
    hint = f"rename them to train/, val/ and test/, or give one of them; {AS_CLASSES}"
    raise DataError(f"{held}, so they look like splits, not classes", hint=hint)


def _alike(one: set[str], other: set[str]) -> bool:
    """Whether two folders hold the same sub-folders, though some may be missing."""
    return len(one & other) >= max(ALIKE, len(one) / 2, len(other) / 2)
