"""Files that are left out because of their endings: how many, and which are images by their content."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from randhead.datasets._folders import Found, find_images
from randhead.datasets._opening import NOT_READ
from randhead.datasets._report import ReadReport
from randhead.tables import count

ENDING = re.compile(r"\.[a-z0-9_-]{1,12}")  # "photo. A note" and "report.tar, copy" have none
OPENED = 3  # files per ending that are opened
# How the content of images begins.  Not TIFF, which is also the beginning of what cameras write (.nef, .cr2, .dng).
READ = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG",
    "GIF": rb"GIF8",
    "WebP": rb"RIFF....WEBP",
    "AVIF": rb"....ftypavif",
}
START = 16  # bytes


def image_files(folder: Path, warn: Callable[[str], None] | None = None) -> list[Path]:
    """The image files under a folder, sorted.  Links to files are included, links to folders and hidden files are not.

    Args:
        folder: the folder.
        warn: called with what is left out because of its ending.

    Raises:
        DataError: for a folder that cannot be read.
    """
    found = find_images(folder)
    if warn:
        for note in ReadReport(left_out=count_endings(found.others), folder=left_out_notes(found)).notes():
            warn(f"{folder}: {note}")
    return found.images


def ending_of(path: Path) -> str:
    """The ending of a file's name in lower case, with its dot; empty if there is none.

    Example:
        >>> ending_of(Path("IMG_1.HEIC")), ending_of(Path("Dr. Who")), ending_of(Path("a"))
        ('.heic', '', '')
    """
    ending = path.suffix.lower()
    return ending if ENDING.fullmatch(ending) else ""


def count_endings(files: Iterable[Path]) -> Counter[str]:
    """File ending -> number of files."""
    return Counter(map(ending_of, files))


def left_out_notes(found: Found) -> tuple[str, ...]:
    """What a user can do about files that were left out, in sentences."""
    renamed, converted = _by_content(found.others)
    notes = []
    if renamed:
        notes.append(f"files {_named(renamed)} hold images: rename them (.jpg, .png, ...) to have them read")
    if converted:
        notes.append(f"files {_named(converted)} hold images of a format that is not read: convert them to JPEG or PNG")
    if found.links:
        which = count(len(found.links), "link")
        notes.append(f"{which} to folders inside of classes not followed, as {found.links[0]}")
    if found.hidden:
        notes.append(f"{count(len(found.hidden), 'hidden image')} left out, as {found.hidden[0]}")
    notes += [f"{path} left out: it holds runs" for path in found.runs]
    return tuple(notes)


def _by_content(files: Sequence[Path]) -> tuple[list[str], list[str]]:
    """The endings of files whose first ones are images that could be read, and those of images of other formats."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        groups[ending_of(path)].append(path)
    kinds = {ending: {_kind(path) for path in group[:OPENED]} for ending, group in groups.items()}
    renamed, converted = (sorted(e for e, kind in kinds.items() if kind & set(known)) for known in (READ, NOT_READ))
    return renamed, converted


def _kind(path: Path) -> str:
    """The format of an image by its first bytes; empty if it is none."""
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            return ""
        with path.open("rb") as file:
            start = file.read(START)
    except OSError:
        return ""
    known = (READ | NOT_READ).items()
    return next((kind for kind, pattern in known if re.match(pattern, start, re.DOTALL)), "")


def _named(endings: list[str]) -> str:
    """`ending in .jpg_large or .heic`, `without an ending`."""
    with_dot = [ending for ending in endings if ending]
    parts = [f"ending in {' or '.join(with_dot)}"] if with_dot else []
    return " and those ".join([*parts, "without an ending"] if "" in endings else parts)
