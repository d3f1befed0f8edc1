"""`run`: train and measure what a study lacks, and return its result."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from randhead.arguments import check_functions, check_type, whole
from randhead.study import folder as folders
from randhead.study.design import Study
from randhead.study.events import RunDone
from randhead.study.folder import ROOT, StudyFolder

if TYPE_CHECKING:
    from randhead.study.result import StudyResult


def run(
    study: Study,
    *,
    root: str | Path = ROOT,
    jobs: int = 1,
    device: str = "auto",
    minutes: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    on_event: Callable[[Any], None] = lambda event: None,
) -> "StudyResult":
    """Run a study: train every arm with every seed, measure the runs, and compare the arms.

    Every training is an ordinary run folder in studies/NAME/runs.  A study that was stopped is resumed, and finished
    runs are never repeated; other workers may be at work in the same folder.

    Args:
        study: the design.
        root: folder of the studies.
        jobs: number of trainings at the same time; more than one are processes of their own.
        device: "auto", "cpu" or "cuda"; "auto" is the device of the design.
        minutes: after this time what is running is saved, and the result is that of the finished runs.
        should_stop: polled between batches; if it returns True, trainings are saved and the study stops.
        warn: called with each warning, once.
        on_event: called with `RunStarted` and `RunDone`, and with a single job with the events of each training.

    Returns:
        The result, which is also in the folder of the study as result.json; while the study runs, that of the finished
        runs is there.

    Raises:
        UsageError: for settings that cannot be used.
        DataError: if images are missing or cannot be used.
        RunError: if a run could not be finished, after all others are; and if the folder cannot be used.
        StopRequested: if `should_stop` returned True; the same call resumes.

    Example:
        >>> from randhead import study
        >>> result = study.run(study.Study("digits", seeds=(0, 1, 2)))  # doctest: +SKIP
        >>> result.verdicts  # doctest: +SKIP
    """
    from randhead.study import jobs as processes
    from randhead.study import worker

    check_type("study", study, Study, "a `Study`", hint='for example `Study("digits")`')
    check_functions(should_stop=should_stop, warn=warn, on_event=on_event)
    number, folder = whole("jobs", jobs, 1, 256), folders.open_study(study, root)
    options: dict[str, Any] = {"device": device, "minutes": minutes}
    options |= {"should_stop": should_stop, "warn": warn, "on_event": _saving(folder, study, on_event)}
    if number == 1:
        worker.work(folder, study, **options)
    else:
        processes.work_in_processes(folder, study, number, **options)
    result = collect(folder, study)
    result.save(folder.path)
    return result


def _saving(folder: StudyFolder, study: Study, on_event: Callable[[Any], None]) -> Callable[[Any], None]:
    """A function that passes events on, and writes the result of what is finished after each run."""

    def passed_on(event: Any) -> None:
        on_event(event)
        if isinstance(event, RunDone):
            collect(folder, study).save(folder.path)

    return passed_on


def collect(folder: StudyFolder, study: Study) -> "StudyResult":
    """The result of the finished runs of a study."""
    from randhead.study.result import StudyResult

    reported, sweep = folders.records(folder, study)
    return StudyResult(study, tuple(reported), tuple(sweep))
