"""Execution of a Python file that the user has given; its errors name the file and the line."""

import functools
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import ParamSpec, TypeVar

from randhead.errors import RandheadError, UsageError
from randhead.files import sha256

P = ParamSpec("P")
R = TypeVar("R")
LONGEST_REASON = 300  # characters of an exception's text that are shown in a message
YOURS = "this is an error in your file"
_executed: set[Path] = set()


def execute(path: Path, *, hint: str) -> ModuleType:
    """Execute a file as a separate module.

    Args:
        path: absolute path of a Python file.
        hint: what the file must define, for error messages.

    Raises:
        UsageError: if the file does not exist, and for every exception that it raises.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint=hint)
    name = f"randhead_user_{path.stem}_{sha256(str(path).encode())[:8]}"
    loader = _WithoutBytecode(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader, is_package=False)
    assert spec is not None  # as the loader is given  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    _executed.add(path)
    sys.modules[name] = module  # dataclasses and pickle look here for the classes of the file
    guarded(path, loader.exec_module, hint=hint)(module)
    return module


def guarded(path: Path, function: Callable[P, R], *, hint: str | None = None) -> Callable[P, R]:
    """Wrap a function of a file, so that its exceptions become UsageErrors that name the file and the line.

    A KeyboardInterrupt passes.
    """

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        try:
            return function(*args, **options)
        except RandheadError:
            raise
        except SystemExit as error:
            message = f"{path}{_line(path, error)}: the file calls exit (code {error.code})"
            raise UsageError(message, hint=hint or YOURS) from error
        except Exception as error:
            message = f"{path}{_line(path, error)}: {described(error)}"
            raise UsageError(message, hint=hint or YOURS) from error

    return call


def described(error: BaseException) -> str:
    """The type and the text of an exception of other code, on one line."""
    reason = " ".join(str(error).split())[:LONGEST_REASON]
    return f"{type(error).__name__}: {reason}"


def origin(error: Exception) -> str | None:
    """The file and the line, as "FILE, line N", of an exception that passed through a file; None for others."""
    places = (f"{path}{line}" for path in sorted(_executed) if (line := _line(path, error)))
    return next(places, None)


class _WithoutBytecode(SourceFileLoader):
    """Leaves no `__pycache__` beside the file, and reads it again if it is edited twice within a second."""

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def _line(path: Path, error: BaseException) -> str:
    """The end of "FILE, line N" for an exception that passed through the file; nothing for others."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    line, trace = "", error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line
