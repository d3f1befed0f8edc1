"""Errors of commands: one line says what is wrong, one says what to do, and the exit code says which kind it is."""

import shutil
import signal
import sys
import traceback
from collections.abc import Callable

from randhead import files, user_files
from randhead.cli import scarcity, streams
from randhead.cli.hints import as_options, with_typed_options
from randhead.cli.signals import EXIT_CODES, Ended, ending_at_once
from randhead.errors import RandheadError, RunError, UsageError
from randhead.escapes import printable


def guard(command: Callable[[], None], *, debug: bool) -> None:
    """Run a command; turn its exceptions into a message on stderr and an exit code."""
    try:
        with ending_at_once():
            command()
    except RandheadError as error:
        if debug:
            traceback.print_exc()
        message = with_typed_options(error.message, sys.argv[1:])
        _say(f"error: {message}", as_options(error.hint) if error.hint else None)
        sys.exit(error.exit_code)
    except Ended as end:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # after the ^C that the terminal shows
        _say(end.word, None)
        sys.exit(end.exit_code)
    except KeyboardInterrupt:  # raised by a user's file, or before the handlers of signals were there
        _say("interrupted", None)
        sys.exit(EXIT_CODES[signal.SIGINT])
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, hint, code = _explained(error)
        _say(f"error: {message}", hint)
        sys.exit(code)


def _explained(error: Exception) -> tuple[str, str, int]:
    """What to say about an exception that is not ours, what to do about it, and the exit code."""
    reason = " ".join(str(error).split())[:500]
    if place := user_files.origin(error):
        return f"{place}: {type(error).__name__}: {reason}", user_files.YOURS, UsageError.exit_code
    if found := scarcity.explained(error, next(iter(sys.argv[1:]), "")):
        return *found, UsageError.exit_code
    if isinstance(error, OSError):  # commands write only to run folders, so the error is one of a run
        return files.described(error), files.way_out(error), RunError.exit_code
    if package := _broken_package(error):
        hint = "it is damaged, or does not fit the other packages: install it again in this environment"
        return f"the package {package} cannot be imported: {reason}", hint, UsageError.exit_code
    return f"a bug in randhead: {type(error).__name__}: {reason}", "run again with --debug and report it", 1


def _broken_package(error: Exception) -> str | None:
    """The package, not of randhead, whose import raised an exception."""
    package, trace = None, error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == "randhead":
            package = None
        elif trace.tb_frame.f_code.co_name == "<module>":
            package = package or module.partition(".")[0]
        trace = trace.tb_next
    missing = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return package or (missing if missing != "randhead" else None) or None


def with_lost_output(code: int) -> int:
    """The exit code of a command that had `code`; it is not 0 if a part of its output is missing, as on a full disk."""
    streams.flush()
    lost = streams.lost_output()
    if code or lost is None:
        return code
    _say(f"error: the output is not complete: {lost.strerror}", "the work is done: the same command shows it again")
    return RunError.exit_code


def _say(message: str, hint: str | None) -> None:
    """Print message and hint on stderr; on a terminal lines break only between words, elsewhere each is one line.

    A line with a command stays whole, to be copied.
    """
    from randhead.cli.output import wrapped  # importing rich takes time, and most commands have no error

    for text, indent in ((printable(message), ""), (printable(hint or ""), "  ")):
        if text and sys.stderr.isatty() and not (indent and "randhead " in text):
            print(wrapped(text, shutil.get_terminal_size().columns, indent=indent, hanging="  "), file=sys.stderr)
        elif text:
            print(indent + text, file=sys.stderr)
