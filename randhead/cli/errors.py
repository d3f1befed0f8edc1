"""Every error ends in one line that says what is wrong, one that says what to do, and the right exit code."""

import os
import shutil
import sys
import traceback
from collections.abc import Callable

from randhead import user_files
from randhead.cli.hints import as_options
from randhead.cli.signals import Ended, ending_at_once
from randhead.errors import RandheadError, RunError, UsageError


def guard(command: Callable[[], None], *, debug: bool) -> None:
    """Run a command; turn what it raises into a message on stderr and an exit code."""
    try:
        with ending_at_once():
            command()
    except RandheadError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {error.message}", as_options(error.hint) if error.hint else None)
        sys.exit(error.exit_code)
    except Ended as end:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # after the ^C that the terminal shows
        _say(end.word, None)
        sys.exit(end.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and nothing can be said any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {_system_message(error)}", "check the path, its permissions and the space left on the disk")
        sys.exit(RunError.exit_code)  # what is written is the run folder's, and what is read there
    except Exception as error:  # a bug, ours or in a file of the user: a line is enough, --debug shows the traceback
        if debug:
            traceback.print_exc()
        reason = " ".join(str(error).split())[:500]
        if place := user_files.origin(error):
            _say(f"error: {place}: {type(error).__name__}: {reason}", user_files.YOURS)
            sys.exit(UsageError.exit_code)
        _say(f"error: a bug in randhead: {type(error).__name__}: {reason}", "run again with --debug and report it")
        sys.exit(RandheadError.exit_code)


def _say(message: str, hint: str | None) -> None:
    """Print both on stderr; a terminal gets no line that breaks within a word, a program gets one line of each."""
    from randhead.cli.output import wrapped  # rich takes time, and most commands say nothing here

    for text, indent in ((message, ""), (hint, "  ")):
        if text and sys.stderr.isatty():
            print(wrapped(text, shutil.get_terminal_size().columns, indent=indent, hanging="  "), file=sys.stderr)
        elif text:
            print(indent + text, file=sys.stderr)


def _system_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
