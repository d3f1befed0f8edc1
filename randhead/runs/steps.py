"""Which checkpoints a folder holds: their names say their steps.  Needs no torch: listing runs does not wait."""

import re
from pathlib import Path

NAME = re.compile(r"step-(\d{8,})\.safetensors")


def step_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step belongs."""
    return folder / f"step-{step:08d}.safetensors"


def saved_steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in the folder, oldest first.  Fragments and foreign files do not count."""
    matches = (NAME.fullmatch(file.name) for file in folder.glob("step-*"))
    return sorted(int(match[1]) for match in matches if match)


def prune(folder: Path, keep: int, *, step: int) -> None:
    """Delete all but the newest `keep` checkpoints up to a step.  A file that cannot be deleted stops nothing.

    Later ones do not count: they are damaged ones that a training fell back from, and must not displace sound ones.
    """
    for step in [saved for saved in saved_steps(folder) if saved <= step][:-keep]:
        try:
            step_path(folder, step).unlink()
        except OSError:
            continue
