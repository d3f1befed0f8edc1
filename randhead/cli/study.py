"""randhead study: arms trained with equal seeds, compared with intervals; claims get verdicts."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from randhead.cli import near_misses
from randhead.cli import study_options as option
from randhead.config import DEVICES, one_of
from randhead.errors import UsageError

if TYPE_CHECKING:
    from randhead.cli.output import Output
    from randhead.study.design import Study
    from randhead.study.folder import StudyFolder

MERGED = "merged"  # the folder of several results, among those of the studies
OF_DESIGN = (
    "name",
    "data",
    "arms",
    "arm",
    "control",
    "seeds",
    "head_seeds",
    "tune",
    "claim",
    "corruptions",
    "corruption_limit",
    "hold_out_classes",
)


def study(
    context: typer.Context,
    what: option.WhatArgument = None,
    data: option.DataOption = None,
    arms: option.ArmsOption = None,
    arm: option.ArmOption = None,
    control: option.ControlOption = None,
    seeds: option.SeedsOption = None,
    head_seeds: option.HeadSeedsOption = None,
    tune: option.TuneOption = None,
    epochs: option.EpochsOption = None,
    set_: option.SetOption = None,
    name: option.NameOption = None,
    corruptions: option.CorruptionsOption = None,
    corruption_limit: option.CorruptionLimitOption = None,
    hold_out_classes: option.HoldOutOption = None,
    claim: option.ClaimOption = None,
    jobs: option.JobsOption = None,
    device: option.DeviceOption = "auto",
    minutes: option.MinutesOption = None,
    worker: option.WorkerOption = False,
    only: option.OnlyOption = None,
    print_commands: option.PrintCommandsOption = False,
    merge: option.MergeOption = False,
    out: option.OutOption = None,
    explain: option.ExplainOption = False,
    json: option.JsonOption = False,
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
    from randhead.study.folder import ROOT

    given = _given(context.params)
    if merge:
        _merge(output, words, given, out or ROOT / MERGED)
        return
    folder, design = _opened(words, given, out or ROOT)
    if print_commands:
        _print_commands(output, folder, design)
        return
    from randhead.cli import study_running

    if worker or only is not None:
        study_running.work(output, folder, design, device=device, only=only, minutes=minutes)
    else:
        study_running.run(output, folder, design, device=device, jobs=jobs, minutes=minutes)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the design that were typed, as arguments of `study.options.designed`."""
    epochs = [f"train.epochs={params['epochs']}"] if params["epochs"] is not None else []
    named = {"set": [*epochs, *(params["set_"] or [])], **{name: params[name] for name in OF_DESIGN}}
    return {name: value for name, value in named.items() if value not in (None, [], ())}


def _merge(output: "Output", paths: Sequence[str], given: Mapping[str, Any], folder: Path) -> None:
    """Show several results as one, and write their page."""
    from randhead.report import study as pages
    from randhead.study import merging

    if not paths:
        hint = "for example: randhead study --merge studies/first studies/second/result.json"
        raise UsageError("--merge needs the files or folders of results", hint=hint)
    for key in given:
        raise UsageError(f"--merge takes no --{key.replace('_', '-')}", hint="the results have designs of their own")
    results = merging.merge(paths)
    output.tables(merging.tables(results))
    output.keep(lambda: merging.save(results, folder), partial(pages.write, results, folder, warn=output.warn))
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
            whole = folder.path.resolve()  # "." has neither a parent nor a name
            if not given and base.name == whole.name:
                return folder, base
            root, name = whole.parent if folder.path.name in ("", "..") else folder.path.parent, whole.name
        else:
            base = reading.read(path)
    design = options.designed(base, **{"name": name, **given})
    return folders.open_study(design, root), design


def _found(word: str, root: Path) -> Path:
    """The file or the folder of a study, which may also be given by its name."""
    from randhead import registry
    from randhead.study import folder as folders

    for path in (Path(word), root / word):
        if path.exists():
            return path
    if word in registry.names("datasets"):
        raise UsageError(f"{word} is a dataset, not a study", hint=f"write --data {word}")
    known = [folder.path.name for folder in folders.studies(root)]
    hint = f"studies there: {', '.join(known)}" if known else "give a TOML file, or the folder of a study"
    raise UsageError(f"there is no study {word}, neither a file nor a folder in {root}", hint=hint)


def _print_commands(output: "Output", folder: "StudyFolder", design: "Study") -> None:
    """Print one command per run; a scheduler can start them in any order."""
    from randhead.cli import study_running
    from randhead.study import plan

    commands = [study_running.command(folder, design, "--only", name) for name in plan.names(design)]
    for command in commands:
        output.whole(command)
    output.result({"commands": commands})
