"""The checkpoints in a folder, whose names contain their steps.  It does not import torch, so listing runs is fast."""

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
    """Delete all checkpoints up to a step except the newest `keep`.  A file that cannot be deleted is kept.

    Later checkpoints do not count: they are damaged, since training resumed from an older one, and must not replace
    intact ones.
    """
    for step in [saved for saved in saved_steps(folder) if saved <= step][:-keep]:
        try:
            step_path(folder, step).unlink()
        except OSError:
            continue
