"""The command line: one file per command.  Only this package prints and exits.

Commands import what they need when they run: `randhead --help` must not wait for torch.
"""

import atexit
import gc
import sys
from functools import partial
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from randhead.cli import analyze, corrupt_test, doctor, evaluate, list, predict, settings, study, train, vectors
from randhead.cli.options import FLAG


class _Command(TyperCommand):
    """A command whose help shows --help as an option without a value, and no Python types of arguments."""

    def get_help_option(self, ctx: Any) -> Any:
        return _flag(super().get_help_option(ctx))

    def get_params(self, ctx: Any) -> Any:
        found = super().get_params(ctx)
        for parameter in found:
            if isinstance(parameter, TyperArgument):
                parameter.display_type_rich = _no_type  # type: ignore  # their metavars say it
        return found


class _Group(TyperGroup):
    """The commands together; their help shows --help as an option without a value."""

    def get_help_option(self, ctx: Any) -> Any:
        return _flag(super().get_help_option(ctx))


def _no_type(ctx: Any) -> None:
    """The type of an argument, as its help shows it."""


def _flag(option: Any) -> Any:
    if option is not None:
        option.metavar = FLAG
    return option


app = typer.Typer(
    cls=_Group,
    help="Train, evaluate and analyze image classifiers whose class vectors are drawn at random and fixed.",
    epilog="Add --debug to any command to see the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
command = partial(app.command, cls=_Command)
command(
    "train",
    epilog="More options and all settings: randhead settings",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},  # cli/near_misses.py refuses them
)(train.train)
command("settings")(settings.settings_command)
command("evaluate")(evaluate.evaluate)
command("eval", short_help="The same as evaluate.")(evaluate.evaluate)
command("corrupt-test")(corrupt_test.corrupt_test)
command("analyze")(analyze.analyze)
command("study", context_settings={"ignore_unknown_options": True})(study.study)  # near_misses refuses them
command("vectors")(vectors.vectors)
command("predict")(predict.predict)
command("list")(list.list_command)
command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version and end.", metavar="")) -> None:
    if version:
        from randhead import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the console script `randhead`.

    A lost stream ends nothing (`streams`); a signal or an exception becomes a message and an exit code
    (`errors.guard`); output that is not complete changes exit code 0 (`errors.with_lost_output`); after Ctrl-C the
    process dies of SIGINT (`signals.leave`).
    """
    from randhead.cli import errors, signals, streams

    streams.protect()
    streams.forget_impossible_sizes()
    # At exit Python searches the million objects of torch for cycles: 1.3 s instead of 0.3 s.
    atexit.register(gc.freeze)
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    code = 0
    try:
        errors.guard(lambda: app(args=arguments, prog_name="randhead"), debug="--debug" in sys.argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    signals.leave(errors.with_lost_output(code))
