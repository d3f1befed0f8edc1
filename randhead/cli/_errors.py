"""Every error ends in one line that says what is wrong, one that says what to do, and the right exit code."""

import os
import sys
import traceback
from collections.abc import Callable

from randhead.errors import RandheadError, RunError

INTERRUPTED, TERMINATED = 130, 143


def guard(command: Callable[[], None], *, debug: bool) -> None:
    """Run a command; turn what it raises into a message on stderr and an exit code."""
    try:
        command()
    except RandheadError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {error.message}", error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted", None)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and nothing can be said any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {_system_message(error)}", "check the path, its permissions and the space left on the disk")
        sys.exit(RunError.exit_code)  # what is written is the run folder's, and what is read there
    except Exception as error:  # a bug of ours: one line is enough for the user, the traceback is for us
        if debug:
            traceback.print_exc()
        reason = " ".join(str(error).split())[:500]
        _say(f"error: a bug in randhead: {type(error).__name__}: {reason}", "run again with --debug and report it")
        sys.exit(RandheadError.exit_code)


def _say(message: str, hint: str | None) -> None:
    print(message, file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


def _system_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
