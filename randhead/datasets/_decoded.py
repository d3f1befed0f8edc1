"""Decoding all files of a set, or taking what was kept of that: the second start decodes nothing.

A set is the files of a folder in their order, of all splits at once: the report, the files that cannot be used and the
bits of 16-bit images need all of them.  It is identified by the paths, sizes, times and inodes of its files
(`_file_states`) and by what decodes them; how classes and splits are made of it does not matter.  It is kept only if
no file has changed while it was read, or so shortly before that the times of the file system might not show it.

Files that cannot be used are tried again every time: the reason may have been one of the system.
"""

import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import features

from randhead.datasets import _kept_set
from randhead.datasets._cache_folder import VARIABLE, cache_folder, kept_sets, mark_used, new_set, publish, remove
from randhead.datasets._decode import BadImage, ignore_pillow_warnings, inspect
from randhead.datasets._file_states import FileStates, states_of
from randhead.datasets._image_size import at_chosen_size, size_in_common
from randhead.datasets._kept_set import PIXELS, Damaged, Description
from randhead.datasets._options import Options
from randhead.datasets._pixel_file import PixelFile, mapped
from randhead.datasets._reading import Bad, FilesRead, read_files
from randhead.files import FULL
from randhead.jpeg_library import simplejpeg

READING = 1  # raise it if a file decodes to other pixels or facts than before; test_decoded_cache.py shows it
CLOCK_NS = 2_000_000_000  # by which the times of a file system may lag behind the clock
INDEX_BYTES = 256  # per image, at most, of what is kept beside the pixels
CODECS = ("jpg", "libjpeg_turbo", "zlib", "libtiff", "webp", "avif")


@dataclass(frozen=True)
class Decoded:
    """N files, decoded.

    Attributes:
        read: what reading them has found.
        size: side of the images in pixels.
        pixels: (N, 3, size, size) uint8, in memory or memory-mapped; None if they are decoded when they are used.
        is_resident: whether the pixels fit into the memory budget.
        remark: what a user has to know about the cache, in a sentence; empty if there is nothing to say.
    """

    read: FilesRead
    size: int
    pixels: np.ndarray | None
    is_resident: bool
    remark: str = ""


def decode_files(root: Path, paths: list[Path], options: Options) -> Decoded:
    """Decode files, or take what is kept of them.

    Args:
        root: the folder that they are in, as the user named it.
        paths: N files, at least one.
        options: size, bit depth, memory and disk space.
    """
    folder = cache_folder() if options.decoded_cache else None
    states = None if folder is None else _states(paths, options)
    if folder is None or states is None:
        return at_chosen_size(paths, options, lambda size, alike: _decode(paths, size, options, alike))
    return _Keeper(folder, root, paths, options, states).decoded()


@dataclass(frozen=True)
class _Keeper:
    """Decoding of files of which something is kept, or will be."""

    folder: Path
    root: Path
    paths: list[Path]
    options: Options
    states: FileStates

    def decoded(self) -> Decoded:
        sets = list(kept_sets(self.folder, self.states.key))
        size = self.options.image_size or next((found.default_size for _, found in sets), None)
        remark = ""
        for path, found in sets:
            if not size or not self._can_use(found, size):
                continue
            try:
                if decoded := self._load(path, found):
                    return decoded
            except Damaged as error:
                if path.exists():  # else another process has removed it
                    remark = f"{path}: damaged ({error}), so the images were decoded again"
            remove(path)
        made = self._make(size, False) if size else at_chosen_size(self.paths, self.options, self._make)
        return replace(made, remark=made.remark or remark)

    def _load(self, path: Path, found: Description) -> Decoded | None:
        """What is kept; None if a file that could not be used can be used now.  Raises Damaged."""
        fits = _fits_memory(self.paths, found.image_size, self.options)
        read, pixels = _kept_set.load(path, found, self.paths, self.options.rules, writable=fits)
        bad = [*self._tried_again(read, found.image_size)]
        if len(bad) < len(read.bad):
            return None
        mark_used(path)
        return Decoded(replace(read, bad=bad), found.image_size, pixels, is_resident=fits)

    def _tried_again(self, read: FilesRead, size: int) -> Iterator[Bad]:
        ignore_pillow_warnings()
        for path, _ in read.bad:
            try:
                inspect(path, size, read.rules)
            except BadImage as error:
                yield error.path, error.reason

    def _make(self, size: int, alike: bool) -> Decoded:
        """Decode the files, and keep what was found."""
        if self._fits_disk(size) and not _fits_memory(self.paths, size, self.options):
            try:
                return self._streamed(size, alike)
            except OSError as error:
                return replace(_decode(self.paths, size, self.options, alike), remark=self._not_kept(error))
        made = _decode(self.paths, size, self.options, alike)
        if self._fits_disk(size if made.is_resident else None) and self._can_be_kept():
            try:
                self._keep(made)
            except OSError as error:
                return replace(made, remark=self._not_kept(error))
        return made

    def _keep(self, made: Decoded) -> None:
        with self._new_set(made.size if made.is_resident else None) as scratch:
            if made.pixels is not None:
                with PixelFile(scratch / PIXELS, made.pixels.shape) as file:
                    file.fill(made.pixels)
            self._publish(scratch, made.read, made.size, has_pixels=made.is_resident)

    def _streamed(self, size: int, alike: bool) -> Decoded:
        """Decode files to the disk: more than fit into the memory budget.  Raises OSError if that fails."""
        shape = _shape(self.paths, size)
        with self._new_set(size) as scratch:
            with PixelFile(scratch / PIXELS, shape) as file:
                read = _read(self.paths, size, file, self.options, alike)
            kept = self._publish(scratch, read, size, has_pixels=True) if self._can_be_kept() else scratch
            pixels = mapped(kept / PIXELS, shape, writable=False)  # which stays valid if it is deleted now
            return Decoded(read, size, pixels, is_resident=False)

    def _new_set(self, size: int | None) -> AbstractContextManager[Path]:
        return new_set(self.folder, self.states.key, self._bytes(size), self.options.decoded_cache)

    def _publish(self, scratch: Path, read: FilesRead, size: int, *, has_pixels: bool) -> Path:
        """Add the index to a new set, and give it its name.  Returns where it is."""
        bits = read.rules.bit_depth if any(found and found.bits for found in read.facts) else None
        default = size
        if self.options.image_size is not None:
            default = size_in_common(found.size for found in read.facts if found)
        automatic = self.options.bit_depth is None
        root = str(self.root.absolute())
        _kept_set.save(scratch, Description(root, len(self.paths), size, default, bits, automatic, has_pixels), read)
        name = f"{self.states.key}-{size}" + (f"-{bits}" if bits else "")
        return publish(scratch, self.folder / name, self.options.decoded_cache)

    def _can_be_kept(self) -> bool:
        """Whether what was read is certainly the content of the files as they are now."""
        settled = self.states.newest_ns < self.states.taken_ns - CLOCK_NS
        return settled and _states(self.paths, self.options) == self.states

    def _not_kept(self, error: OSError) -> str:
        full = "free some space" if error.errno in FULL else f"let {VARIABLE} name a folder that can be written to"
        reason = f"{self.folder}: {error.strerror or error}"
        hint = f"{full}, or use `machine.decoded_cache_mb=0`"
        return f"decoded images are not kept, and the next start decodes them again ({reason}): {hint}"

    def _bytes(self, size: int | None) -> int:
        """What a set needs on disk, at most; without its pixels if `size` is None."""
        return INDEX_BYTES * len(self.paths) + (math.prod(_shape(self.paths, size)) if size else 0)

    def _fits_disk(self, size: int | None) -> bool:
        return self._bytes(size) <= self.options.decoded_cache

    def _can_use(self, found: Description, size: int) -> bool:
        """Whether a set has images of this size, and pixels unless there is no room for them."""
        has_room = _fits_memory(self.paths, size, self.options) or self._fits_disk(size)
        return found.serves(size, self.options.bit_depth) and (found.has_pixels or not has_room)


def _decode(paths: list[Path], size: int, options: Options, alike: bool) -> Decoded:
    """Decode files into memory, if they fit, else only to find out what is in them."""
    resident = _fits_memory(paths, size, options)
    pixels = np.zeros(_shape(paths, size), dtype=np.uint8) if resident else None
    return Decoded(_read(paths, size, pixels, options, alike), size, pixels, resident)


def _read(
    paths: list[Path], size: int, pixels: np.ndarray | PixelFile | None, options: Options, alike: bool
) -> FilesRead:
    workers, progress = options.workers, options.progress
    return read_files(paths, size, pixels, options.rules, workers=workers, alike=alike, progress=progress)


def _shape(paths: list[Path], size: int) -> tuple[int, ...]:
    return (len(paths), 3, size, size)


def _fits_memory(paths: list[Path], size: int, options: Options) -> bool:
    return math.prod(_shape(paths, size)) <= options.memory_budget


def _states(paths: list[Path], options: Options) -> FileStates | None:
    """The states of the files; None if they are in a folder that is gone.

    Each user has sets of their own: nobody else can read or replace them.
    """
    user = os.geteuid() if hasattr(os, "geteuid") else None
    try:
        return states_of(paths, _decoders(), options.max_megapixels, user)
    except OSError:
        return None


@cache
def _decoders() -> tuple[object, ...]:
    """The versions of what decodes."""
    codecs = [features.version(name) for name in CODECS]
    return (READING, _kept_set.FORMAT, version("pillow"), simplejpeg and version("simplejpeg"), *codecs)
