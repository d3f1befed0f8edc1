"""randhead train: train a classifier and save it in a run folder."""

import inspect
import os
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from randhead.cli import near_misses
from randhead.cli.options import FLAG, option
from randhead.cli.settings import list_settings
from randhead.config import Config, Setting, configure, settings
from randhead.config.schema import PANELS, RUN
from randhead.config.setting import UNSET_WORDS, Option
from randhead.errors import RunError, UsageError

SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # of torchrun and accelerate, of two kinds of MPI

if TYPE_CHECKING:
    from randhead.cli.output import Output
    from randhead.runs import Run
    from randhead.train.profile import TrainingProfile


def train(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with settings, or the config.json of a run, to repeat it.",
            rich_help_panel=RUN,
            metavar="FILE",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in --set optim.lr=0.05.", rich_help_panel=RUN),
    ] = None,
    show_settings: Annotated[
        bool, typer.Option("--settings", help="List all settings and end.", rich_help_panel=RUN, metavar=FLAG)
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the runs.", rich_help_panel=RUN, metavar="FOLDER")] = Path(
        "runs"
    ),
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the run's folder.  By default, it is made from the settings.",
            rich_help_panel=RUN,
            metavar="NAME",
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh/--resume", help="Start over, or resume a run that stopped.", rich_help_panel=RUN, metavar=FLAG
        ),
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Show where the time goes, and keep a Chrome trace of ten steps in reports/ of the run.",
            rich_help_panel=RUN,
            metavar=FLAG,
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=RUN, metavar=FLAG)
    ] = False,
    **options: Any,
) -> None:
    """Train a classifier.  Without options: fixed random class vectors on 1,797 handwritten digits.

    A network turns an image into a feature vector; the head scores it against
    one class vector per class, and the highest score wins.  Class vectors are
    drawn at random from a seed, and stay fixed unless you say --learned.

    The same command again resumes a run that stopped, and shows the result of
    a finished one.
    """
    from randhead import runs
    from randhead.cli.output import Output
    from randhead.config.parse import parse_assignment, read_file, use_files

    near_misses.refuse(context.args, context.command.params)
    refuse_launcher(os.environ)
    output = Output(as_json=json)
    if show_settings:
        list_settings(output)
        return
    chosen = read_file(config) if config else {}
    typed = {OPTIONS[key][0].key: value for key, value in options.items() if value is not None}
    typed |= dict(parse_assignment(text) for text in set_ or [])
    if settings().keys() <= chosen.keys() and typed.get("recipe", chosen["recipe"]) != chosen["recipe"]:
        hint = "change single settings, as in `optim.lr=0.05`, or give the recipe without that file"
        raise UsageError(f"{config} has every setting, so that the recipe {typed['recipe']} would set none", hint=hint)
    chosen |= use_files(typed)
    start = chosen.get("train.start_from")
    if isinstance(start, str) and start not in UNSET_WORDS and not Path(start).is_absolute():
        chosen["train.start_from"] = str(runs.find(start, root=out).path.resolve())
    configured = configure(chosen)  # before torch is imported: a typing error is found at once
    name = runs.default_name(configured) if name is None else name
    try:
        run = runs.open_run(out, name, configured, fresh=fresh)
    except RunError as error:
        raise error.with_hint(_train_on(configured, runs.Run(out / name)) or error.hint) from None
    run_training(output, configured, run, fresh=fresh, profile=profile)


OPTIONS = {key.replace(".", "_"): (about, about.option) for key, about in settings().items() if about.option}


def _parameter(name: str, about: Setting, declared: Option) -> inspect.Parameter:
    """A setting as an argument of the command.  Its text is converted and checked together with all other settings."""
    info = option(about.key, show_default=False)
    info.rich_help_panel, info.hidden = declared.panel, declared.hidden
    off = declared.names()[1:]  # of a flag with two names, the second is the default
    if off or about.kind is not bool:
        default = off[0].strip("-") if off else about.shown(about.default)
        info.help = rf"{about.help} [dim]\[default: {default}][/dim]"
    kind: Any = bool | None if about.kind is bool else str | None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])


def _signature() -> inspect.Signature:
    """The arguments of the command: the settings that are options, panel by panel, and those of the command itself."""
    built = [_parameter(name, *each) for name, each in OPTIONS.items()]
    built.sort(key=lambda item: PANELS.index(OPTIONS[item.name][1].panel))
    own = [item for item in inspect.signature(train).parameters.values() if item.kind is not item.VAR_KEYWORD]
    return inspect.Signature([*built, *(item.replace(kind=item.KEYWORD_ONLY) for item in own)])


train.__signature__ = _signature()  # type: ignore[attr-defined]  # what Typer reads


def refuse_launcher(environment: Mapping[str, str]) -> None:
    """Raise UsageError in a process that torchrun, accelerate or MPI has started as one of several.

    Args:
        environment: of the process.  A job of Slurm is no such launcher: it may have one task.
    """
    size = next((environment[name] for name in SIZES if environment.get(name)), None)
    if size is None and not environment.get("LOCAL_RANK"):
        return
    if size != "1":
        raise UsageError(
            f"this is one of {size or 'several'} processes of a launcher such as torchrun, and training uses one",
            hint="start it without the launcher: randhead train ...",
        )


def run_training(output: "Output", config: Config, run: "Run", *, fresh: bool, profile: bool = False) -> None:
    """Train, show the progress, and exit with the code of the outcome."""
    from randhead import train
    from randhead.cli.output import short_path
    from randhead.cli.progress import TrainingDisplay
    from randhead.cli.signals import GracefulStop
    from randhead.errors import StopRequested
    from randhead.train import events

    stop, display = GracefulStop(output.note), TrainingDisplay(output, config)
    with ExitStack() as signals:

        def on_event(event: events.Event) -> None:
            if isinstance(event, events.Started):  # before this there is nothing to save: a signal ends the command
                signals.enter_context(stop)
            display.event(event)

        try:
            with display:
                summary = train.fit(
                    config,
                    root=run.path.parent,
                    name=run.name,
                    fresh=fresh,
                    profile=profile,
                    on_event=on_event,
                    should_stop=stop,
                    warn=display.warn,
                    progress=display.reading,
                )
        except StopRequested:
            _show_profile(output, display.profile)
            output.note(_way_on(run, fresh=fresh))
            raise typer.Exit(stop.exit_code) from None
    if not display.started:
        asked = config.machine.device
        unused = f", so that --device {asked} changes nothing" if asked != "auto" else ""
        output.note(f"{short_path(run.path)} is finished: it was trained on {summary.device}{unused}")
        output.note("--fresh trains it again")
    output.tables(summary.tables())
    _show_profile(output, display.profile)
    output.say()
    output.whole(f"run    {short_path(run.path)}")
    output.whole(f"next   {_evaluation_of(run)}")
    profiled = {"profile": display.profile.to_json()} if display.profile else {}
    output.result({**summary.to_json(), "path": str(run.path), **profiled})


def _show_profile(output: "Output", profile: "TrainingProfile | None") -> None:
    """Show where the time went, if that was asked."""
    from randhead.cli.output import short_path

    if profile is not None:
        output.say()
        output.tables(profile.tables())
        if profile.trace is not None:
            output.say()
            output.whole(f"trace  {short_path(profile.trace)}")
            output.whole("       opens in https://ui.perfetto.dev and in chrome://tracing")


def _train_on(config: Config, run: "Run") -> str | None:
    """The command that trains on from a run, if more epochs are asked for than it has; what was typed stays."""
    from randhead.runs import is_longer

    if not run.config_path.exists() or not is_longer(config, run):
        return None
    stem, number = re.fullmatch(r"(.*?)(\d*)", run.name).groups()  # type: ignore[union-attr]  # matches every name
    later = int(number or 1) + 1
    while run.path.with_name(f"{stem}{later}").exists():
        later += 1
    words = [word for word in sys.argv[1:] if word not in ("--debug", "--resume") and not word.startswith("--name=")]
    if "--name" in words:
        at = words.index("--name")
        words = words[:at] + words[at + 2 :]
    command = shlex.join(["randhead", *words, "--from", run.name, "--name", f"{stem}{later}"])
    return f"to train on from it: {command}"


def _way_on(run: "Run", *, fresh: bool) -> str:
    """What a training that was stopped left, and how it is resumed."""
    from randhead.cli.output import short_path

    if fresh and run.summary() is not None:
        return f"stopped before its first step: {short_path(run.path)} is what it was"
    return f"saved in {short_path(run.path)}; the same command {'without --fresh ' if fresh else ''}resumes it"


def _evaluation_of(run: "Run") -> str:
    """The shortest command that evaluates a run."""
    from randhead import runs
    from randhead.cli.output import short_path

    if run.path.parent.resolve() != runs.ROOT.resolve():
        return f"randhead eval {shlex.quote(short_path(run.path))}"
    return "randhead eval" if runs.last() == run.name else f"randhead eval {run.name}"
