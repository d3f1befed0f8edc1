"""The folder of a study: its design, the folders of its runs, and the records of those that are finished."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from randhead.arguments import check_paths, check_type
from randhead.errors import RandheadError, RunError
from randhead.files import described, way_out, write_json
from randhead.runs import Run
from randhead.runs.folder import read_json, received
from randhead.study import locks, tuning
from randhead.study.design import Study
from randhead.study.plan import PlannedRun, check, reported_runs, tuning_runs
from randhead.study.records import FILE, RunRecord

ROOT, DESIGN = Path("studies"), "study.json"
OTHER = "use another `name` for the study, or another `root`"
WAIT = "wait for it, or stop it; what is finished stays valid"


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study."""

    path: Path

    def __post_init__(self) -> None:
        check_type("path", self.path, (str, os.PathLike), "a path")
        object.__setattr__(self, "path", Path(self.path))

    @property
    def design_path(self) -> Path:
        """The design."""
        return self.path / DESIGN

    @property
    def runs(self) -> Path:
        """The folder of the run folders, in which every command finds them by their name."""
        return self.path / "runs"

    @property
    def locks(self) -> Path:
        """The folder of the locks by which workers claim runs."""
        return self.path / "locks"

    @property
    def result_path(self) -> Path:
        """The result, from which all tables can be made again."""
        return self.path / "result.json"

    def run(self, planned: PlannedRun) -> Run:
        """The folder of a run, which need not exist."""
        return Run(self.runs / planned.name)

    def lock(self, planned: PlannedRun) -> Path:
        """The file of the lock of a run."""
        return self.locks / f"{planned.name}{locks.ENDING}"

    def in_use(self) -> str | None:
        """The name of a run that a worker trains now; None if there is none."""
        files = sorted(self.locks.glob(f"*{locks.ENDING}")) if self.locks.is_dir() else []
        return next((file.name.removesuffix(locks.ENDING) for file in files if locks.is_claimed(file)), None)


def open_study(study: Study, root: str | Path = ROOT) -> StudyFolder:
    """Open the folder of a study and write its design there.

    Runs are found by a digest of their settings, so that those of an earlier design stay valid in another one.

    Args:
        study: the design.
        root: folder of the studies.

    Raises:
        UsageError: for settings of an arm that cannot be used.
        DataError: for a folder of images that does not exist.
        RunError: if the folder is not that of a study, or cannot be written to; and if a worker of another design of
            this study is at work, which would go on with runs that the new design may not have.
    """
    check_paths(root=root)
    check(study)
    folder = StudyFolder(Path(root) / study.name)
    document = json.loads(json.dumps(study.to_json()))
    if folder.design_path.exists():
        if read_json(folder.design_path, hint=OTHER) == document:
            return folder
        if busy := folder.in_use():
            raise RunError(f"{folder.path}: a worker trains {busy}, for another design of this study", hint=WAIT)
    elif folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
        raise RunError(f"{folder.path} exists and is not the folder of a study", hint=OTHER)
    try:
        write_json(folder.design_path, document)
    except OSError as error:
        raise RunError(f"{described(error)}: the study cannot be written", hint=way_out(error)) from None
    return folder


def studies(root: Path = ROOT) -> list[StudyFolder]:
    """The folders of the studies in a folder, by name."""
    return [StudyFolder(path.parent) for path in sorted(root.glob(f"*/{DESIGN}"))]


def read(path: str | Path) -> tuple[StudyFolder, Study]:
    """The folder of a study, and its design.  Raises RunError if it is not there, or cannot be read."""
    folder = StudyFolder(Path(path))
    if not folder.design_path.is_file():
        raise RunError(f"{folder.path} is not the folder of a study", hint=f"it would have {folder.design_path.name}")
    document = read_json(folder.design_path, hint=OTHER)
    with received(folder.design_path):
        try:
            return folder, Study.from_json(document)
        except RandheadError as error:  # with its own hint: nothing has to be trained again
            raise RunError(f"{folder.design_path}: {error.message}", hint=error.hint or OTHER) from None


def records(folder: StudyFolder, study: Study) -> tuple[list[RunRecord], list[RunRecord]]:
    """The records of the finished runs of a design: of those that are reported, and of the sweep, in plan order."""
    sweep = _found(folder, study, tuning_runs(study))
    return _found(folder, study, reported_runs(study, tuning.choices(study, sweep))), sweep


def record(folder: StudyFolder, study: Study, planned: PlannedRun) -> RunRecord | None:
    """The record of a run, with the measurements that a design asks for; None if it is not finished or not measured.

    A record of other weights than those in the run folder, and a file that cannot be read, count as none.
    """
    run = folder.run(planned)
    try:
        found = RunRecord.from_json(read_json(run.reports / FILE))
        weights = "" if found.diverged else read_json(run.summary_path)["weights_sha256"]
    except (RandheadError, KeyError):
        return None
    if (
        found.run != planned.name
        or found.weights_sha256 != weights
        or (found.diverged and not run.diverged_path.exists())
    ):
        return None
    tuned = dict(planned.tuned)  # the same run may have been trained when nothing was tuned
    return _as_asked(replace(found, tuned=tuned), study)


def _found(folder: StudyFolder, study: Study, runs: Iterable[PlannedRun]) -> list[RunRecord]:
    return [found for planned in runs if (found := record(folder, study, planned))]


def _as_asked(found: RunRecord, study: Study) -> RunRecord | None:
    """A record with the corrupted images that a design asks for only; None if it lacks some."""
    if not study.corruptions:
        counts = {name: n for name, n in found.counts.items() if name != "corrupted"}
        metrics = {key: value for key, value in found.metrics.items() if key != "corruption_accuracy"}
        return replace(found, counts=counts, metrics=metrics, corruptions={}, severities=())
    if found.diverged or found.tuning:
        return found
    limit, test = study.corruption_limit, found.counts.get("test", 0)
    n = test if limit is None else min(limit, test)
    return found if found.severities == study.severities and found.counts.get("corrupted") == n else None
