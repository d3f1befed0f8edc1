"""Errors of commands: one line says what is wrong, one says what to do, and the exit code says which kind it is."""

import os
import shutil
import sys
import traceback
from collections.abc import Callable

from randhead import user_files
from randhead.cli.hints import as_options, with_typed_options
from randhead.cli.signals import Ended, ending_at_once
from randhead.errors import RandheadError, RunError, UsageError


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
    except BrokenPipeError:
        # The reader of the output has exited (`| head`): this is no error, and no message can be shown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {_system_message(error)}", "check the path, its permissions and the space left on the disk")
        sys.exit(RunError.exit_code)  # commands write only to run folders, so the error is one of a run
    except Exception as error:  # a bug in randhead or in the user's file: one line; --debug shows the traceback
        if debug:
            traceback.print_exc()
        reason = " ".join(str(error).split())[:500]
        if place := user_files.origin(error):
            _say(f"error: {place}: {type(error).__name__}: {reason}", user_files.YOURS)
            sys.exit(UsageError.exit_code)
        _say(f"error: a bug in randhead: {type(error).__name__}: {reason}", "run again with --debug and report it")
        sys.exit(RandheadError.exit_code)


def _say(message: str, hint: str | None) -> None:
    """Print message and hint on stderr; on a terminal lines break only between words, elsewhere each is one line."""
    from randhead.cli.output import wrapped  # importing rich takes time, and most commands have no error

    for text, indent in ((message, ""), (hint, "  ")):
        if text and sys.stderr.isatty():
            print(wrapped(text, shutil.get_terminal_size().columns, indent=indent, hanging="  "), file=sys.stderr)
        elif text:
            print(indent + text, file=sys.stderr)


def _system_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
