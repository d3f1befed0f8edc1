"""What `randhead doctor` does."""

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
import typer

from randhead import rng, vectors
from randhead.cli.output import Output
from randhead.datasets import image_folder
from randhead.device import device_name, resolve_device, resolve_dtype, versions
from randhead.errors import DataError, RunError

# Computed once from the published definition of Philox4x32-10; every device has to give the same bits.
PHILOX_OF_ZEROS = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)


def run_checkup(data: Path | None, *, out: Path, as_json: bool) -> None:
    """Check the machine, or a folder of images, and exit with the code of what is wrong."""
    output = Output(as_json=as_json)
    if data is not None:
        scan(output, data)
        return
    checks = {"versions": versions(), **device_facts(), "writable": is_writable(out), **self_test()}
    rows = [[key, value] for key, value in checks["versions"].items()]
    rows += [[key.replace("_", " "), _in_words(value)] for key, value in checks.items() if key != "versions"]
    output.table("", ["check", "result"], rows)
    output.result(checks)
    if not checks["writable"]:
        raise RunError(f"{out} cannot be written to", hint="choose another folder with --out")
    if not checks["same_bits_on_every_device"]:
        raise RunError("this machine does not compute the known answers", hint="report it, with the output above")


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)


def scan(output: Output, folder: Path) -> None:
    """List the unreadable images of a folder; exit with 3 where there are any."""
    with output.progress("reading images") as progress:
        bad = image_folder.scan(folder, workers=os.cpu_count() or 1, progress=progress)
    if bad:
        output.table("", ["unreadable image", "reason"], [[str(path), reason] for path, reason in bad])
    else:
        output.say(f"every image of {folder} can be read")
    output.result({"folder": str(folder), "bad_images": [{"path": str(p), "reason": r} for p, r in bad]})
    if bad:
        raise typer.Exit(DataError.exit_code)


def device_facts() -> dict[str, Any]:
    """Devices, and the arithmetic that "auto" chooses."""
    place = resolve_device("auto")
    return {
        "device": device_name(place),
        "precision": str(resolve_dtype("auto", place)).removeprefix("torch."),
        "cuda_devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "processors": os.cpu_count(),
    }


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in the folder, or in the nearest one above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def self_test() -> dict[str, bool]:
    """Known answers of the generator, and equal class vectors on every device."""
    zero = torch.zeros(1, dtype=torch.int64)
    known = tuple(int(word) for word in rng.philox((zero,) * 4, (0, 0))) == PHILOX_OF_ZEROS
    ids = torch.arange(1000)
    same = known
    for name in ("uniform", "gaussian", "rademacher"):
        rows = vectors.draw(name, ids, dim=256, seed=1)
        same &= rows[500:].equal(vectors.draw(name, ids[500:], dim=256, seed=1))
        if torch.cuda.is_available():
            same &= rows.equal(vectors.draw(name, ids.cuda(), dim=256, seed=1).cpu())
    return {"philox_known_answer": known, "same_bits_on_every_device": same}
