"""What `randhead study` does with a study: train it, as a worker or until it is done, and show its result."""

import json
import os
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from randhead.cli.output import Output, short_path
from randhead.cli.signals import saving
from randhead.report import study as pages
from randhead.study import python_files, running
from randhead.study.claims import UNDECIDED
from randhead.study.design import Study
from randhead.study.folder import StudyFolder
from randhead.tables import count

if TYPE_CHECKING:
    from randhead.study.result import StudyResult


def work(
    output: Output, folder: StudyFolder, design: Study, *, device: str, only: str | None, minutes: float | None
) -> None:
    """Train what is left of a study, or one run of it, beside other workers; show no result."""
    from randhead.cli.study_display import StudyDisplay
    from randhead.study import worker

    with saving(output.note, _saved(folder)) as should_stop, StudyDisplay(output) as display:
        worker.work(
            folder,
            design,
            device=device,
            only=only,
            minutes=minutes,
            should_stop=should_stop,
            warn=display.warn,
            on_event=display.event,
        )
    found = running.collect(folder, design)
    done, planned = len(found.records) + len(found.sweep), design.number_of_runs
    then = f"; the result: {command(folder, design)}" if done == planned else ""
    output.note(f"{done} of {count(planned, 'run')} done{then}")
    output.result({"study": design.name, "path": str(folder.path), "done": done, "planned": planned})


def run(
    output: Output, folder: StudyFolder, design: Study, *, device: str, jobs: int | None, minutes: float | None
) -> None:
    """Train what is left of a study, and show and keep its result; if nothing is left, torch is not imported."""
    found = running.collect(folder, design)
    if found.is_complete:
        _show(output, folder, found, is_new=not _is_written(folder, found))
        return
    from randhead.cli.study_display import StudyDisplay

    jobs = jobs or _jobs(design, device)
    with saving(output.note, _saved(folder)) as should_stop, StudyDisplay(output, jobs) as display:
        display.begin(design, folder)
        result = running.run(
            design,
            root=folder.path.parent,
            jobs=jobs,
            device=device,
            minutes=minutes,
            should_stop=should_stop,
            warn=display.warn,
            on_event=display.event,
        )
    _show(output, folder, result, is_new=True)


def _jobs(design: Study, device: str) -> int:
    """The number of trainings at the same time that suits a device: each uses `threads` of the usable cores."""
    from randhead.device import resolve_device

    chosen = design.common.get("machine.device", "auto") if device == "auto" else device
    if resolve_device(chosen).type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // design.threads)


def _is_written(folder: StudyFolder, result: "StudyResult") -> bool:
    """Whether the files of a result are there, so that nothing has to be drawn again."""
    try:
        written = json.loads(folder.result_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    is_same = written == json.loads(json.dumps(result.to_json()))
    return is_same and all(path.exists() for path in _files(folder))


def _files(folder: StudyFolder) -> list[Path]:
    """The files of a result."""
    return [folder.result_path, *(folder.path / name for name in pages.FILES)]


def _show(output: Output, folder: StudyFolder, result: "StudyResult", *, is_new: bool) -> None:
    """Show and keep the result of a study, and say how to go on."""
    output.tables(result.tables())
    if is_new:
        output.keep(lambda: result.save(folder.path), partial(pages.write, [result], folder.path, warn=output.warn))
    else:
        output.keep(lambda: _files(folder))
    output.say()
    output.whole(f"next   {_next(folder, result)}")
    output.result({**result.to_json(), "path": str(folder.path)})


def _saved(folder: StudyFolder) -> str:
    """What is said if a signal ends the command."""
    return f"saved in {short_path(folder.path)}; the same command resumes it"


def command(folder: StudyFolder, design: Study, *more: str) -> str:
    """The command that shows a study, after what is left of it is trained; it names the user's own Python files."""
    return shlex.join(["randhead", "study", short_path(folder.path), *python_files.words(design), *more])


def _next(folder: StudyFolder, result: "StudyResult") -> str:
    """The command that goes on: what is left, or more seeds if something is undecided, or what the words mean."""
    if not result.is_complete:
        return command(folder, result.study)
    if any(verdict.verdict == UNDECIDED for verdict in result.verdicts):
        return command(folder, result.study, "--seeds", _twice(result.study.seeds))
    return "randhead study --explain"


def _twice(seeds: Sequence[int]) -> str:
    """Twice as many seeds as an option, those that are there among them.

    Example:
        >>> _twice((0, 1, 2)), _twice((5, 6)), _twice((3, 9))
        ('6', '5-8', '3,9,10-11')
    """
    first, end = min(seeds), max(seeds) + len(seeds)
    if sorted(seeds) == list(range(first, first + len(seeds))):
        return f"{first}-{end}" if first else f"{end + 1}"
    return f"{','.join(map(str, seeds))},{max(seeds) + 1}-{end}"
