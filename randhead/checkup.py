"""A check of this machine: versions, devices, write access, and a self-test of its random numbers."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from randhead import registry, rng, vectors
from randhead.ambient import indices
from randhead.datasets import DecodedCache, decoded_cache
from randhead.device import device_name, resolve_device, resolve_dtype, versions
from randhead.jpeg_library import simplejpeg
from randhead.tables import Cell, Result, Table, rows

# Computed once from the published definition of Philox4x32-10; every device has to give the same bits.
PHILOX_OF_ZEROS = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)


@dataclass(frozen=True)
class Checkup(Result):
    """The result of the check of this machine."""

    versions: dict[str, str]
    device: str  # the one that "auto" chooses
    precision: str  # and its arithmetic
    cuda_devices: list[str]
    processors: int | None
    jpeg_decoder: str
    writable: bool
    philox_known_answer: bool
    same_bits_on_every_device: bool
    decoded_cache: DecodedCache = field(default_factory=decoded_cache)

    def to_json(self) -> dict[str, Any]:
        """One key per field."""
        return {**vars(self), "decoded_cache": self.decoded_cache.to_json()}

    def tables(self) -> Iterator[Table]:
        """One row per check, and one per set of decoded images that is kept."""
        checks, cache = dict(vars(self)), self.decoded_cache
        del checks["versions"], checks["decoded_cache"]
        found = {**self.versions, **{_label(key): _in_words(value) for key, value in checks.items()}}
        if self.same_bits_on_every_device and not self.cuda_devices:
            found[_label("same_bits_on_every_device")] = "one device only: nothing to compare"
        found["decoded images"] = cache.summary()
        parts = [Table("", ("check", "result"), rows(found.items())), *cache.tables()]
        parts[-1] = replace(parts[-1], notes=("all is well",) if self.all_is_well else ())
        yield from parts

    @property
    def all_is_well(self) -> bool:
        """Whether randhead works here: the folder of the runs is writable, and random numbers are as expected."""
        return self.writable and self.philox_known_answer and self.same_bits_on_every_device


def check_machine(folder: Path) -> Checkup:
    """Check this machine, and whether a folder can be written to."""
    device = resolve_device("auto")
    known = knows_philox()
    return Checkup(
        versions=versions(),
        device=device_name(device),
        precision=str(resolve_dtype("auto", device)).removeprefix("torch."),
        cuda_devices=[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        processors=os.cpu_count(),
        jpeg_decoder=f"simplejpeg {version('simplejpeg')}" if simplejpeg else "Pillow (slower: simplejpeg is missing)",
        writable=is_writable(folder),
        philox_known_answer=known,
        same_bits_on_every_device=known and draws_equal_rows(),
    )


def is_writable(folder: Path) -> bool:
    """Whether a file can be created in the folder, or in its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def knows_philox() -> bool:
    """Whether the random generator gives its published test values."""
    zero = torch.zeros(1, dtype=torch.int64, device="cpu")
    return tuple(int(word) for word in rng.philox((zero,) * 4, (0, 0))) == PHILOX_OF_ZEROS


def draws_equal_rows() -> bool:
    """Whether class vectors are equal however many are drawn at once, and on the GPU if there is one."""
    ids, same = indices(1000), True
    for name in registry.builtin_names("vectors"):
        if vectors.is_stored(name):  # as they may differ between machines
            continue
        drawn = vectors.draw(name, ids, dim=256, seed=1)
        same &= drawn[500:].equal(vectors.draw(name, ids[500:], dim=256, seed=1))
        if torch.cuda.is_available():
            same &= drawn.equal(vectors.draw(name, ids.cuda(), dim=256, seed=1).cpu())
    return same


def _label(key: str) -> str:
    """The row of a field in the table."""
    words = {"philox_known_answer": "random numbers as expected", "jpeg_decoder": "JPEG decoder"}
    return words.get(key, key.replace("_", " "))


def _in_words(value: Any) -> Cell:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
