"""randhead study: arms trained with equal seeds, compared with intervals; claims get verdicts."""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from randhead.cli import near_misses
from randhead.cli.signals import GracefulStop
from randhead.cli.study_options import (
    ArmOption,
    ArmsOption,
    ClaimOption,
    ControlOption,
    CorruptionLimitOption,
    CorruptionsOption,
    DataOption,
    DeviceOption,
    EpochsOption,
    ExplainOption,
    HeadSeedsOption,
    HoldOutOption,
    JobsOption,
    JsonOption,
    MergeOption,
    MinutesOption,
    NameOption,
    OnlyOption,
    OutOption,
    PrintCommandsOption,
    SeedsOption,
    SetOption,
    TuneOption,
    WhatArgument,
    WorkerOption,
)
from randhead.config import DEVICES, one_of
from randhead.errors import StopRequested, UsageError

if TYPE_CHECKING:
    from randhead.cli.output import Output
    from randhead.study.design import Study
    from randhead.study.folder import StudyFolder
    from randhead.study.result import StudyResult

STUDIES, MERGED = Path("studies"), "merged"


def study(
    context: typer.Context,
    what: WhatArgument = None,
    data: DataOption = None,
    arms: ArmsOption = None,
    arm: ArmOption = None,
    control: ControlOption = None,
    seeds: SeedsOption = None,
    head_seeds: HeadSeedsOption = None,
    tune: TuneOption = None,
    epochs: EpochsOption = None,
    set_: SetOption = None,
    name: NameOption = None,
    corruptions: CorruptionsOption = None,
    corruption_limit: CorruptionLimitOption = None,
    hold_out_classes: HoldOutOption = None,
    claim: ClaimOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    minutes: MinutesOption = None,
    worker: WorkerOption = False,
    only: OnlyOption = None,
    print_commands: PrintCommandsOption = False,
    merge: MergeOption = False,
    out: OutOption = None,
    explain: ExplainOption = False,
    json: JsonOption = False,
) -> None:
    """Compare fixed and learned class vectors: train both with equal seeds, and say what pays.

    Arms differ in their heads only.  Each is trained with the same seeds; every
    figure has an interval, every difference a p-value, every claim a verdict.

    The same command again resumes a study, or shows the result of a finished
    one, which is also a page, report.html.
    """
    from randhead.cli.output import Output

    output, words = Output(as_json=json), what or []
    unknown = list(dropwhile(lambda word: not word.startswith("-"), words))
    near_misses.refuse(unknown, context.command.params, command="study")
    if explain:
        from randhead.study import explanation

        output.show(explanation.explain())
        return
    one_of("--device", device, DEVICES)  # before torch is imported: a typing error is reported at once
    settings = [*([] if epochs is None else [f"train.epochs={epochs}"]), *(set_ or [])]
    typed = {
        "name": name,
        "data": data,
        "arms": arms,
        "arm": arm,
        "control": control,
        "seeds": seeds,
        "head_seeds": head_seeds,
        "set": settings or None,
        "tune": tune,
        "claim": claim,
        "corruptions": corruptions,
        "corruption_limit": corruption_limit,
        "hold_out_classes": hold_out_classes,
    }
    given = {key: value for key, value in typed.items() if value is not None}
    if merge:
        _merge(output, words, given, out or STUDIES / MERGED)
        return
    folder, design = _opened(words, given, out or STUDIES)
    if print_commands:
        _print_commands(output, folder, design)
    elif worker or only is not None:
        _work(output, folder, design, device=device, only=only, minutes=minutes)
    elif result := _finished(folder, design):
        _show(output, folder, result)
    else:
        _run(output, folder, design, device=device, jobs=jobs, minutes=minutes)


def _merge(output: "Output", paths: Sequence[str], given: Mapping[str, Any], folder: Path) -> None:
    """Show several results as one, and write their page."""
    from randhead.study import merging

    if not paths:
        hint = "for example: randhead study --merge studies/first studies/second/result.json"
        raise UsageError("--merge needs the files or folders of results", hint=hint)
    for key in given:
        raise UsageError(f"--merge takes no --{key.replace('_', '-')}", hint="the results have designs of their own")
    results = merging.merge(paths)
    output.tables(merging.tables(results))
    output.keep(lambda: merging.save(results, folder), partial(_write, results, folder, output.warn))
    output.result(merging.document(results))


def _opened(words: Sequence[str], given: Mapping[str, Any], root: Path) -> "tuple[StudyFolder, Study]":
    """The folder and the design of a study: that of a file or a folder, or the default, with what options change."""
    from randhead.study import folder as folders
    from randhead.study import options, reading

    if len(words) > 1:
        raise UsageError(f"one study at a time, got {' and '.join(words)}", hint="to put results together: --merge")
    base, name = None, None
    if words:
        path = _found(words[0], root)
        if path.is_dir():
            folder, base = folders.read(path)
            if not given and base.name == folder.path.resolve().name:
                return folder, base
            root, name = folder.path.parent, folder.path.resolve().name
        else:
            base = reading.read(path)
    design = options.designed(base, **{"name": name, **given})
    return folders.open_study(design, root), design


def _found(word: str, root: Path) -> Path:
    """The file or the folder of a study, which may also be given by its name."""
    from randhead import registry

    for path in (Path(word), root / word):
        if path.exists():
            return path
    if word in registry.names("datasets"):
        raise UsageError(f"{word} is a dataset, not a study", hint=f"write --data {word}")
    known = sorted(path.parent.name for path in root.glob("*/study.json"))
    hint = f"studies there: {', '.join(known)}" if known else "give a TOML file, or the folder of a study"
    raise UsageError(f"there is no study {word}, neither a file nor a folder in {root}", hint=hint)


def _print_commands(output: "Output", folder: "StudyFolder", design: "Study") -> None:
    """Print one command per run; a scheduler can start them in any order."""
    from randhead.cli.output import short_path
    from randhead.study import plan, python_files

    words = [short_path(folder.path), *python_files.words(design), "--only"]
    start = f"randhead study {shlex.join(words)}"
    commands = [f"{start} {name}" for name in plan.names(design)]
    for command in commands:
        output.whole(command)
    output.result({"commands": commands})


def _finished(folder: "StudyFolder", design: "Study") -> "StudyResult | None":
    """The result of a study of which no run is left, for which nothing is trained and torch is not imported."""
    from randhead.study import running

    result = running.collect(folder, design)
    return result if result.is_complete else None


@contextmanager
def _saving(output: "Output", folder: "StudyFolder") -> Iterator[GracefulStop]:
    """A context in which a signal ends the command after what is trained is saved."""
    from randhead.cli.output import short_path

    with GracefulStop(output.note) as should_stop:
        try:
            yield should_stop
        except StopRequested:
            output.note(f"saved in {short_path(folder.path)}; the same command resumes it")
            raise typer.Exit(should_stop.exit_code) from None


def _work(
    output: "Output", folder: "StudyFolder", design: "Study", *, device: str, only: str | None, minutes: float | None
) -> None:
    """Train what is left of a study, or one run of it, beside other workers; show no result."""
    from randhead.cli.study_display import StudyDisplay
    from randhead.study import jobs, worker

    with _saving(output, folder) as should_stop, StudyDisplay(output) as display:
        worker.work(
            folder,
            design,
            device=device,
            only=only,
            minutes=minutes,
            should_stop=lambda: should_stop() or jobs.parent_is_gone(),
            warn=display.warn,
            on_event=display.event,
        )


def _run(
    output: "Output", folder: "StudyFolder", design: "Study", *, device: str, jobs: int | None, minutes: float | None
) -> None:
    """Train what is left of a study, and show and keep its result."""
    from randhead import study as studies
    from randhead.cli.study_display import StudyDisplay

    jobs = jobs or _jobs(design, device)
    with _saving(output, folder) as should_stop, StudyDisplay(output, jobs) as display:
        display.begin(design, folder)
        result = studies.run(
            design,
            root=folder.path.parent,
            jobs=jobs,
            device=device,
            minutes=minutes,
            should_stop=should_stop,
            warn=display.warn,
            on_event=display.event,
        )
    _show(output, folder, result)


def _jobs(design: "Study", device: str) -> int:
    """The number of trainings at the same time that suits a device: each uses `threads` of the usable cores."""
    from randhead.device import resolve_device

    if resolve_device(device).type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // design.threads)


def _show(output: "Output", folder: "StudyFolder", result: "StudyResult") -> None:
    """Show and keep the result of a study, and say how to go on."""
    output.tables(result.tables())
    output.keep(lambda: result.save(folder.path), partial(_write, [result], folder.path, output.warn))
    output.say()
    output.whole(f"next   {_next(folder, result)}")
    output.result({**result.to_json(), "path": str(folder.path)})


def _write(results: "Sequence[StudyResult]", folder: Path, warn: Callable[[str], None]) -> list[Path]:
    """Write the page and the tables of results as files."""
    from randhead.report import study as pages  # imports Matplotlib, a fault of which costs no result

    return pages.write(results, folder, warn=warn)


def _next(folder: "StudyFolder", result: "StudyResult") -> str:
    """The command that goes on: what is left, or more seeds if something is undecided, or what the words mean."""
    from randhead.cli.output import short_path
    from randhead.study.claims import UNDECIDED

    command = f"randhead study {shlex.quote(short_path(folder.path))}"
    if not result.is_complete:
        return command
    if any(verdict.verdict == UNDECIDED for verdict in result.verdicts):
        return f"{command} --seeds {2 * len(result.study.seeds)}"
    return "randhead study --explain"
