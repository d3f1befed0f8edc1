"""Download of published datasets: from an address or a mirror, checked by MD5 sum, never half written."""

import functools
import hashlib
import http.client
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from randhead.datasets._options import Progress
from randhead.errors import DataFileError
from randhead.files import atomic_write, scratch_folder, sweep, way_out

TIMEOUT_S = 30
CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Source:
    """A file to fetch: its path in the download folder, its addresses (mirrors), and its published MD5 sum."""

    path: str
    urls: tuple[str, ...]
    md5: str


class Unreachable(Exception):
    """An address that gave no file, or a wrong one; the message has the reason."""


def fetch(sources: Sequence[Source], root: Path, progress: Progress | None = None) -> None:
    """Download the files that are missing or damaged.

    Raises DataError: with the address and the path of every missing file if an address cannot be reached, and with the
    system's message if a file cannot be written.
    """
    missing = list(sources)
    try:
        missing = [source for source in sources if not _intact(root / source.path, source.md5)]
        while missing:
            _fetch_one(missing[0], root / missing[0].path, progress)
            missing.pop(0)
    except OSError as error:
        raise cannot_write(root / missing[0].path, error) from error
    except Unreachable as error:
        by_hand = "; ".join(f"{source.urls[0]} to {root / source.path}" for source in missing)
        raise DataFileError(str(error), hint=f"fetch by hand: {by_hand}") from error


def _fetch_one(source: Source, target: Path, progress: Progress | None) -> None:
    sweep(target.parent, lambda name: name == target.name)
    reasons = [f"{target} is incomplete or another file"] if target.is_file() else []
    for url in source.urls:
        try:
            return atomic_write(target, functools.partial(_save, url, source.md5, progress))
        except Unreachable as error:
            reasons.append(f"{url}: {error}")
    raise Unreachable(f"{target.name} cannot be downloaded ({'; '.join(reasons)})")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ZIP file that contains one folder to `folder`, completely or not at all.  Raises DataError."""
    try:
        sweep(folder.parent, lambda name: name == folder.name)
        with scratch_folder(folder.parent, folder.name) as scratch:
            with zipfile.ZipFile(archive) as content:
                content.extractall(scratch)
            (scratch / folder.name).rename(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(target: Path, error: OSError) -> DataFileError:
    """The error for a full disk, a folder without permission, and similar problems."""
    hint = f"{way_out(error)}, or choose another folder for downloads: `machine.data_root=...`"
    return DataFileError(f"{target}: {error.strerror or error}", hint=hint)


def _save(url: str, md5: str, progress: Progress | None, target: Path) -> None:
    """Write the content of an address to a file.  Raises Unreachable, also for content that is not the expected one."""
    found, done = hashlib.md5(usedforsecurity=False), 0
    with target.open("wb") as file:
        for chunk, total in _chunks(url):
            file.write(chunk)
            found.update(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    if found.hexdigest() != md5:
        raise Unreachable(f"gave {done:,} bytes with another MD5 sum")


def _chunks(url: str) -> Iterator[tuple[bytes, int]]:
    """The content of an address in pieces, each with the total size in bytes (0: unknown).

    Only errors of the network become Unreachable: a full disk is an error of the caller, outside this function.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "randhead"})  # noqa: S310 - addresses are constants
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(CHUNK):
                yield chunk, total
    except urllib.error.URLError as error:
        raise Unreachable(str(getattr(error, "reason", error))) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(str(error) or type(error).__name__) from error


def _intact(path: Path, md5: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5
