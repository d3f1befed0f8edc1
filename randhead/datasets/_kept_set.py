"""The folder of one decoded set: its pixels, and an index with everything that reading its files has found.

The index is one safetensors file: arrays, a JSON document in its metadata, and a SHA-256 of both.  The pixels are bytes
(N, 3, size, size) in a file of their own, which is memory-mapped.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from randhead.datasets._decode import Facts
from randhead.datasets._images import DIGEST, digest
from randhead.datasets._opening import Rules
from randhead.datasets._pixel_file import mapped
from randhead.datasets._reading import FilesRead
from randhead.files import sync_file

INDEX, PIXELS = "index.safetensors", "pixels"
FORMAT = 1
# Bytes of pixels whose hashes are compared when a set is opened: 0.3 s.  Of a larger set these are images at equal
# distances, because a file that was written completely is damaged in large parts, if at all, and reading 20 GiB takes
# as long as decoding some of them.
CHECKED = 256 << 20
UNUSABLE = -1  # the number of a file that cannot be used, instead of that of its facts


class Damaged(ValueError):
    """A set that is not what was written; the message has the reason."""


@dataclass(frozen=True)
class Description:
    """What is known of a set without reading it.

    Attributes:
        folder: of the images, as the user named it.
        images: number of files.
        image_size: side of the decoded images in pixels.
        default_size: the size that they have if none is given.
        bit_depth: bits of 16-bit images that were used; None without such images.
        automatic: whether `bit_depth` is that of the brightest image.
        has_pixels: whether the pixels are kept too; not if they need more space than there is for all sets.
    """

    folder: str
    images: int
    image_size: int
    default_size: int
    bit_depth: int | None
    automatic: bool
    has_pixels: bool

    def serves(self, image_size: int, bit_depth: int | None) -> bool:
        """Whether images of a size and bit depth are these."""
        depths = (None, self.bit_depth) if self.automatic else (self.bit_depth,)
        return self.image_size == image_size and (self.bit_depth is None or bit_depth in depths)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the pixels."""
        return (self.images, 3, self.image_size, self.image_size)


def describe(folder: Path) -> Description | None:
    """The description of a set; None if there is none, or one of another version."""
    try:
        with safe_open(folder / INDEX, framework="numpy") as file:
            return Description(**json.loads((file.metadata() or {})["description"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def save(folder: Path, description: Description, read: FilesRead) -> None:
    """Write the index of a set into its folder.  Raises OSError."""
    known: dict[Facts, int] = {}
    numbers = [UNUSABLE if facts is None else known.setdefault(facts, len(known)) for facts in read.facts]
    arrays = {"digests": read.digests, "sums": read.sums, "facts": np.array(numbers, dtype=np.int32)}
    texts = {"format": str(FORMAT), "description": json.dumps(asdict(description)), "facts": json.dumps([*known])}
    try:
        save_file(arrays, folder / INDEX, {**texts, "sha256": _hash(arrays, texts)})
    except SafetensorError as error:
        raise OSError(str(error)) from None
    with (folder / INDEX).open("rb+") as file:
        sync_file(file.fileno())


def load(
    folder: Path, description: Description, paths: Sequence[Path], rules: Rules, *, writable: bool
) -> tuple[FilesRead, np.ndarray | None]:
    """What reading the files of a set has found, and their pixels (N, 3, size, size) uint8, if these are kept.

    The files that cannot be used are in `bad` without a reason.

    Args:
        folder: of the set.
        description: its description, which serves these rules.
        paths: the N files.
        rules: how they are read.
        writable: whether the pixels can be changed in memory.

    Raises:
        Damaged: if the set is not as it was written.
    """
    try:
        arrays, texts = _index(folder / INDEX)
        table = [
            Facts(mode, tuple(size), tuple(kinds), *rest) for mode, size, kinds, *rest in json.loads(texts["facts"])
        ]
        facts = [table[number] if number != UNUSABLE else None for number in arrays["facts"].tolist()]
        shape = description.shape
        pixels = mapped(folder / PIXELS, shape, writable=writable) if description.has_pixels else None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise Damaged(str(error)) from None
    bad = [(path, "") for path, found in zip(paths, facts, strict=True) if found is None]
    if description.bit_depth is not None:
        rules = Rules(description.bit_depth, rules.max_megapixels)
    if pixels is not None:
        _check_pixels(pixels, arrays["digests"], arrays["facts"] != UNUSABLE)
    return FilesRead(bad, facts, arrays["digests"], arrays["sums"], rules), pixels


def _index(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and texts of an index.  Raises Damaged if they do not have the hash that was written."""
    with safe_open(path, framework="numpy") as file:
        texts: dict[str, Any] = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if texts.pop("sha256", None) != _hash(arrays, texts):
        raise Damaged(f"{path.name} does not match its SHA-256")
    return arrays, texts


def _check_pixels(pixels: np.ndarray, digests: np.ndarray, usable: np.ndarray) -> None:
    """Raise Damaged if images do not have the digests that they had when they were decoded; see CHECKED."""
    rows = usable.nonzero()[0]
    most = max(1, CHECKED // pixels[0].size)
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    found = np.frombuffer(b"".join(digest(pixels[row]) for row in rows), dtype=np.uint8).reshape(-1, DIGEST)
    wrong = (found != digests[rows]).any(axis=1)
    if wrong.any():
        raise Damaged(f"image {rows[wrong.argmax()]} of {PIXELS} is another one")


def _hash(arrays: dict[str, np.ndarray], texts: dict[str, str]) -> str:
    described = {name: [str(array.dtype), array.shape] for name, array in sorted(arrays.items())}
    found = hashlib.sha256(json.dumps([described, dict(sorted(texts.items()))]).encode())
    for name in sorted(arrays):
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()
