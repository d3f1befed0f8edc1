"""randhead doctor: check this machine, or a folder of images."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from randhead.cli.options import JsonOption
from randhead.errors import DataError, RunError
from randhead.tables import Cell, Result, Table, rows

if TYPE_CHECKING:
    from randhead.cli.output import Output

# Computed once from the published definition of Philox4x32-10; every device has to give the same bits.
PHILOX_OF_ZEROS = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)


def doctor(
    data: Annotated[
        Path | None, typer.Option(help="Folder of images to search for unreadable ones.", metavar="FOLDER")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, which has to be writable.", metavar="FOLDER")] = Path(
        "runs"
    ),
    json: JsonOption = False,
) -> None:
    """Check this machine: versions, devices, write access, a self-test; with --data, a folder of images."""
    from randhead.cli.output import Output

    output = Output(as_json=json)
    if data is not None:
        scan(output, data)
        return
    found = check_machine(out)
    output.tables(found.tables())
    output.result(found.to_json())
    if not found.writable:
        raise RunError(f"{out} cannot be written to", hint="choose another folder with `out`")
    if not found.same_bits_on_every_device:
        raise RunError("this machine does not compute the known answers", hint="report it, with the output above")


@dataclass(frozen=True)
class Checkup(Result):
    """What this machine has, and whether it computes what it should."""

    versions: dict[str, str]
    device: str  # the one that "auto" chooses
    precision: str  # and its arithmetic
    cuda_devices: list[str]
    processors: int | None
    writable: bool
    philox_known_answer: bool
    same_bits_on_every_device: bool

    def to_json(self) -> dict[str, Any]:
        """One key per field."""
        return asdict(self)

    def tables(self) -> Iterator[Table]:
        """One row per check."""
        checks = self.to_json()
        found = {**checks.pop("versions"), **{key.replace("_", " "): _in_words(value) for key, value in checks.items()}}
        yield Table("", ("check", "result"), rows(found.items()))


def check_machine(folder: Path) -> Checkup:
    """Check the machine, and whether a folder can be written to."""
    import torch

    from randhead.device import device_name, resolve_device, resolve_dtype, versions

    device = resolve_device("auto")
    known = knows_philox()
    return Checkup(
        versions=versions(),
        device=device_name(device),
        precision=str(resolve_dtype("auto", device)).removeprefix("torch."),
        cuda_devices=[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        processors=os.cpu_count(),
        writable=is_writable(folder),
        philox_known_answer=known,
        same_bits_on_every_device=known and draws_equal_rows(),
    )


def scan(output: "Output", folder: Path) -> None:
    """List the unreadable images of a folder; exit with 3 if there are any."""
    from randhead.datasets import image_folder

    with output.progress("reading images") as progress:
        bad = image_folder.scan(folder, workers=os.cpu_count() or 1, progress=progress)
    if bad:
        unreadable = rows((str(path), reason) for path, reason in bad)
        output.tables([Table("", ("unreadable image", "reason"), unreadable)])
    else:
        output.say(f"every image of {folder} can be read")
    output.result({"folder": str(folder), "bad_images": [{"path": str(p), "reason": r} for p, r in bad]})
    if bad:
        raise typer.Exit(DataError.exit_code)


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in the folder, or in the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def knows_philox() -> bool:
    """Whether the generator gives its known answer."""
    import torch

    from randhead import rng

    zero = torch.zeros(1, dtype=torch.int64)
    return tuple(int(word) for word in rng.philox((zero,) * 4, (0, 0))) == PHILOX_OF_ZEROS


def draws_equal_rows() -> bool:
    """Whether class vectors are equal however many are drawn at once, and on the GPU if there is one."""
    import torch

    from randhead import vectors

    ids, same = torch.arange(1000), True
    for name in ("uniform", "gaussian", "rademacher"):
        drawn = vectors.draw(name, ids, dim=256, seed=1)
        same &= drawn[500:].equal(vectors.draw(name, ids[500:], dim=256, seed=1))
        if torch.cuda.is_available():
            same &= drawn.equal(vectors.draw(name, ids.cuda(), dim=256, seed=1).cpu())
    return same


def _in_words(value: Any) -> Cell:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
