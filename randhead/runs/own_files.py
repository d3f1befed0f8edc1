"""Which files of a run folder are randhead's: only these are ever deleted, and only in the run folder itself.

The folder may have notes of the user, or links: it may come from somebody else.  A run folder that is a link itself, or
that is below one, is no such case: people keep their runs on another disk.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from randhead.errors import RunError
from randhead.files import LINK_OUT, delete, leads_elsewhere, sweep
from randhead.runs.folder import LAST, Run
from randhead.runs.steps import NAME as CHECKPOINT

FOLDERS = {  # with the names of their files
    "checkpoints": CHECKPOINT,
    "reports": re.compile(
        r"(evaluate|analyze|corrupt-test|corruptions|corruption-cells|predictions|profile|report|study)(-.+)?"
        r"\.(json(\.gz)?|csv|png|html|tex|safetensors)"
    ),
    "features": re.compile(r".+-(train|val|test)-[0-9a-f]{12}\.safetensors"),
}
OF_TRAINING = "profile"  # reports whose names start so are on the training, whichever weights were selected
# The configuration is last: as long as it is there, the folder is known as a run.
FILES = ("summary.json", "diverged.json", "model.safetensors", "metrics.jsonl", "README.md", "config.json")
SAFETENSORS_FRAGMENT = re.compile(r"\.tmp\w{6}")  # that older versions could leave


def check_folders(run: Run) -> None:
    """Raise RunError if checkpoints or other files would be written through a link that leaves the run folder."""
    for name in FOLDERS:
        if leads_elsewhere(folder := run.path / name):
            raise RunError(
                f"{folder}: {LINK_OUT}",
                hint="remove the link, or link the whole run folder, or use another `root`",
            )


def own_files(run: Run) -> Iterator[Path]:
    """The files of a run that randhead wrote, the configuration last."""
    for name, pattern in FOLDERS.items():
        folder = run.path / name
        if folder.is_dir() and not leads_elsewhere(folder):
            yield from sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and _is_file(path))
    yield from (path for name in FILES if _is_file(path := run.path / name))


def delete_training(run: Run) -> None:
    """Delete the files of a training with the reports and features of its weights; links are deleted, not followed."""
    for path in own_files(run):
        path.unlink(missing_ok=True)
    for name in FOLDERS:
        folder = run.path / name
        if folder.is_symlink():
            if leads_elsewhere(folder):
                folder.unlink()
        elif folder.is_dir():
            with contextlib.suppress(OSError):  # it has files of the user
                folder.rmdir()


def delete_results(run: Run) -> None:
    """Delete the reports and features of a run, whose weights are about to be replaced by those of a later epoch."""
    weights = (run.checkpoints, run.path)
    for path in list(own_files(run)):
        if path.parent not in weights and not path.name.startswith(OF_TRAINING):
            path.unlink(missing_ok=True)


def sweep_fragments(run: Run) -> None:
    """Delete what killed processes left of files that they were writing in a run folder."""
    sweep(run.path, FILES.__contains__)
    sweep(run.path.parent, LAST.__eq__)
    for name, pattern in FOLDERS.items():
        folder = run.path / name
        if not leads_elsewhere(folder):
            sweep(folder, lambda name, pattern=pattern: bool(pattern.fullmatch(name)))  # type: ignore[misc]


def delete_fragments_of_trainings(run: Run) -> None:
    """Delete all fragments of files that only a training writes; the caller has the lock, so none is being written."""
    _delete_fragments(run.path, tuple(f".{name}." for name in FILES))
    if not leads_elsewhere(run.checkpoints):
        _delete_fragments(run.checkpoints, (".step-",))


def _delete_fragments(folder: Path, starts: tuple[str, ...]) -> None:
    for path in folder.glob(".*"):
        ours = path.name.startswith(starts) and path.name.endswith(".tmp")
        if ours or SAFETENSORS_FRAGMENT.fullmatch(path.name):
            delete(path)


def _is_file(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())
