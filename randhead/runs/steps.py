"""The checkpoints in a folder: their names contain their steps.  Needs no torch, so listing runs does not wait."""

import re
from pathlib import Path

NAME = re.compile(r"step-(\d{8,})\.safetensors")


def step_path(folder: Path, step: int) -> Path:
    """The path of the checkpoint of a step."""
    return folder / f"step-{step:08d}.safetensors"


def saved_steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in the folder, oldest first.  Fragments and other files do not count."""
    matches = (NAME.fullmatch(file.name) for file in folder.glob("step-*"))
    return sorted(int(match[1]) for match in matches if match)


def prune(folder: Path, keep: int, *, step: int) -> None:
    """Delete all but the newest `keep` checkpoints up to a step.  A file that cannot be deleted stays.

    Later ones do not count: they are damaged ones, from which a training fell back, and must not displace sound ones.
    """
    for step in [saved for saved in saved_steps(folder) if saved <= step][:-keep]:
        try:
            step_path(folder, step).unlink()
        except OSError:
            continue
