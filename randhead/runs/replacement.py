"""Starting over in the folder of a run (`fresh=True`): the old training stays until the new one has a checkpoint.

Until then the new one is in a hidden folder of the run folder.  It then takes the place of the old one in three steps,
each of which can be repeated, so that a process that is killed at any moment leaves a folder with one of the two:

    .fresh      the new training has begun; deleted if another one begins
    .replacing  it has a checkpoint: the old files are being deleted
    .moving     the old files are gone: the new ones are being moved to their place

A stage is deleted whatever it is: nobody else has a file of its name in a run folder.  Links are not followed.
"""

from pathlib import Path

from randhead.files import delete
from randhead.runs.folder import Run, set_last
from randhead.runs.own_files import FOLDERS, check_folders, delete_training, own_files

FRESH, REPLACING, MOVING = ".fresh", ".replacing", ".moving"
STAGES = (FRESH, REPLACING, MOVING)


def begin(run: Run, *, fresh: bool) -> Run:
    """The folder in which a training begins, as a run: a hidden one if it is to replace one that is there.

    The caller has the lock of the run.

    Raises:
        RunError: if it would write through a link that leaves the run folder.
    """
    if not fresh:
        check_folders(run)
        run.diverged_path.unlink(missing_ok=True)
        return run
    if not run.config_path.exists():
        delete_training(run)
        return run
    staged = run.path / FRESH
    delete(staged)
    staged.mkdir()
    return Run(staged)


def is_staged(run: Run) -> bool:
    """Whether a training is in the hidden folder."""
    return run.path.name == FRESH


def final(run: Run) -> Run:
    """The run that a training in the hidden folder will be; others are returned unchanged."""
    return Run(run.path.parent) if is_staged(run) else run


def commit(staged: Run) -> Run:
    """Replace the old training by a new one that has a checkpoint.  Returns the run; others are returned unchanged."""
    if not is_staged(staged):
        return staged
    run = final(staged)
    delete(run.path / REPLACING)
    staged.path.rename(run.path / REPLACING)
    finish(run)
    set_last(run)
    return run


def finish(run: Run) -> None:
    """Finish a replacement that was interrupted, and delete a new training that has not got to a checkpoint."""
    replacing, moving = run.path / REPLACING, run.path / MOVING
    if _is_real(replacing):
        delete_training(run)
        delete(moving)
        replacing.rename(moving)
    if _is_real(moving):
        for path in own_files(Run(moving)):
            target = run.path / path.relative_to(moving)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
    for stage in STAGES:
        delete(run.path / stage)


def was_interrupted(path: Path) -> bool:
    """Whether a folder without a configuration is a run that is being replaced."""
    return any((path / stage / "config.json").is_file() for stage in (REPLACING, MOVING))


def interrupted(root: Path) -> list[Path]:
    """The folders in a folder that are runs that are being replaced."""
    return sorted(
        {found.parent.parent for stage in (REPLACING, MOVING) for found in root.glob(f"*/{stage}/config.json")}
    )


def has_begun(path: Path) -> bool:
    """Whether a run is to be replaced by a training that has no checkpoint yet."""
    return (path / FRESH).is_dir()


def is_remainder(path: Path) -> bool:
    """Whether a folder without a configuration has nothing but what a killed start of randhead leaves."""
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    folders = [path / name for name in names & set(FOLDERS)]
    if names - set(FOLDERS) or any(folder.is_symlink() for folder in folders):
        return False
    return not folders or ((path / ".lock").exists() and not any(next(folder.iterdir(), None) for folder in folders))


def _is_real(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink()
