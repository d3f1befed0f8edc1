"""Resolving `data.name`, which is a dataset of randhead or a folder of images, without importing torch."""

import os
import re
from pathlib import Path
from stat import S_ISDIR

from randhead import registry
from randhead.arguments import composed
from randhead.errors import DataFileError, UsageError, guess
from randhead.files import expanded

ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/+(?P<rest>.*)", re.DOTALL)  # a Path has one slash of it
LAYOUT = "a folder of images has one folder per class: train/CLASS/ and test/CLASS/ (or val/), or only CLASS/"


def find(name: str | Path) -> str | Path:
    """The name of a dataset, or a folder that exists.

    Args:
        name: a dataset, or a path.  A dataset has precedence over a folder of that name: write ./NAME for the folder.
            The path of a Python file is a dataset too, once it is registered.

    Raises:
        UsageError: for a name that is neither.
        DataError: for a path that is not a folder.
    """
    text = str(name)
    if "\0" in text:
        raise UsageError(f"unknown dataset {text!r}", hint="a name has no NUL character")
    if registry.is_file(text):
        registry.check("datasets", text)
        return text
    if text.isidentifier() and (registry.is_builtin("datasets", text) or text in registry.names("datasets")):
        return text
    if text and (isinstance(name, Path) or "/" in text or os.sep in text or os.access(text, os.F_OK)):
        return folder(text)
    datasets = [known for known in registry.names("datasets") if known != "image_folder"]
    hint = f"{guess(text, [*datasets, *_folders(Path())])}known: {', '.join(datasets)}; {LAYOUT}"
    raise UsageError(f"unknown dataset {text!r}, and no such folder", hint=hint)


def folder(name: str | Path) -> Path:
    """A folder that exists; its path may begin with ~ or ~USER.  Raises DataError if it does not exist."""
    path = Path(name)
    try:
        path = expanded(path, "give the path of a folder of images")
        mode = path.stat().st_mode
    except UsageError as error:
        raise DataFileError(error.message, hint=error.hint) from None
    except (FileNotFoundError, NotADirectoryError):
        for known in _folders(path.parent):
            if known != path.name and composed(known) == composed(path.name):  # typed in another form of Unicode
                return path.parent / known
        if address := ADDRESS.fullmatch(str(name)):
            message = f"{address['scheme']}://{address['rest']}: an address, not a folder"
            raise DataFileError(message, hint=f"download and unpack it first; {LAYOUT}") from None
        near = guess(path.name, _folders(path.parent), show=lambda name: str(path.parent / name))
        raise DataFileError(f"{path}: no such folder", hint=near + LAYOUT) from None
    except OSError as error:
        raise DataFileError(f"{path}: {error.strerror}", hint="give the path of a folder of images") from None
    if not S_ISDIR(mode):
        raise DataFileError(f"{path}: a file, not a folder", hint=f"unpack archives first; {LAYOUT}")
    return path


def _folders(parent: Path) -> list[str]:
    """The names of the folders in a folder; none if it cannot be read."""
    try:
        with os.scandir(parent) as found:
            return sorted(entry.name for entry in found if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []
