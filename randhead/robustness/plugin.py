"""A user's own corruption: a Python file that they name and that is executed because they name it.

The file defines corrupt(images, severity, ids, seed) -> images: uint8 tensors (B, 3, H, W), severity 1 to 5, ids (B,)
int64, the indices of the images in their split.  For a result that does not depend on the batch, let random numbers be
a function of seed and ids (`randhead.rng`).
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from randhead import corruptions
from randhead.errors import RandheadError, UsageError
from randhead.files import sha256

RESERVED = ("clean", "mean")
SIGNATURE = "define: def corrupt(images, severity, ids, seed), which returns a uint8 tensor of the same shape"


def load(path: Path) -> tuple[str, Callable[..., Any], str]:
    """Execute a file: the name of its corruption, which is the file's, its function, and the hash of the file.

    Raises UsageError where there is no such function, and, then and later, for whatever it raises.
    """
    name = path.stem
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint=SIGNATURE)
    if name in corruptions.names() or name in RESERVED or not name.isidentifier():
        raise UsageError(f"a corruption cannot be named {name!r}", hint="rename the file: its name is the corruption's")
    spec = importlib.util.spec_from_file_location(f"randhead_own_{name}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file", hint=SIGNATURE)
    module = importlib.util.module_from_spec(spec)
    _guarded(path, spec.loader.exec_module)(module)
    function = getattr(module, "corrupt", None)
    if not callable(function):
        raise UsageError(f"{path}: no function named corrupt", hint=SIGNATURE)
    return name, _guarded(path, function), sha256(path)


def _guarded(path: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose errors are the user's to mend and say so, with the line where they arose."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RandheadError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UsageError(f"{path}{_line(path, error)}: {type(error).__name__}: {reason}", hint=SIGNATURE) from error

    return call


def _line(path: Path, error: Exception) -> str:
    line, trace = "", error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line
