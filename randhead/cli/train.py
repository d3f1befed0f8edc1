"""randhead train: train a classifier and save it in a run folder."""

import inspect
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from randhead.cli.options import FLAG, option
from randhead.config import Config, Setting, configure, settings
from randhead.config.schema import PANELS, RUN
from randhead.config.setting import Option

if TYPE_CHECKING:
    from randhead.cli.output import Output
    from randhead.runs import Run


def train(
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with settings.", rich_help_panel=RUN, metavar="FILE")
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
    from randhead.config.parse import parse_assignment, read_toml, use_files

    output = Output(as_json=json)
    if show_settings:
        list_settings(output)
        return
    chosen = read_toml(config) if config else {}
    typed = {OPTIONS[key][0].key: value for key, value in options.items() if value is not None}
    if options.get("train_start_from") is not None:
        typed["train.start_from"] = str(runs.find(options["train_start_from"], root=out).path.resolve())
    chosen |= use_files(typed | dict(parse_assignment(text) for text in set_ or []))
    configured = configure(chosen)  # before torch is imported: a typing error is found at once
    run = runs.open_run(out, runs.default_name(configured) if name is None else name, configured, fresh=fresh)
    run_training(output, configured, run, fresh=fresh)


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


def list_settings(output: "Output") -> None:
    """Print every setting with its default, its allowed values, its option if it has one, and its help text."""
    from randhead.cli.output import wrapped

    document = {}
    for key, about in settings().items():
        default, values = about.shown(about.default), about.domain()
        document[key] = {"default": about.default, "values": values, "help": about.help}
        flags = f"  {about.option.flags}" if about.option else ""
        output.say(f"{key} = {default}  ({values}){flags}")
        output.say(wrapped(about.help, output.console.width, indent="    ", hanging="    "))
    output.result(document)


def run_training(output: "Output", config: Config, run: "Run", *, fresh: bool) -> None:
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
                    on_event=on_event,
                    should_stop=stop,
                    warn=output.warn,
                    progress=display.reading,
                )
        except StopRequested:
            output.note(f"saved in {short_path(run.path)}; the same command resumes it")
            raise typer.Exit(stop.exit_code) from None
    if not display.started:
        output.note(f"{short_path(run.path)} is finished; --fresh trains it again")
    output.tables(summary.tables())
    output.say(f"\nrun    {short_path(run.path)}\nnext   {_evaluation_of(run)}")
    output.result({**summary.to_json(), "path": str(run.path)})


def _evaluation_of(run: "Run") -> str:
    """The shortest command that evaluates a run."""
    from randhead import runs
    from randhead.cli.output import short_path

    if run.path.parent.resolve() != runs.ROOT.resolve():
        return f"randhead eval {shlex.quote(short_path(run.path))}"
    return "randhead eval" if runs.last() == run.name else f"randhead eval {run.name}"
