"""Custom corruptions: a Python file of the user's, which is executed because they name it.

The file defines corrupt(images, severity, ids, seed) -> images: uint8 tensors (B, 3, H, W), severity 1 to 5, ids (B,)
int64, the indices of the images in their split.  For a result that does not depend on the batch, make random numbers a
function of seed and ids (`randhead.rng`).
"""

from pathlib import Path

from randhead import corruptions
from randhead.errors import UsageError
from randhead.files import sha256
from randhead.robustness.settings import CorruptionFunction
from randhead.user_files import execute, guarded

RESERVED = ("clean", "mean")
SIGNATURE = "define: def corrupt(images, severity, ids, seed), which returns a uint8 tensor of the same shape"


def load(path: Path) -> tuple[str, CorruptionFunction, str]:
    """Execute a file.

    Returns:
        The name of its corruption, which is the file's; its function; and the hash of the file.

    Raises:
        UsageError: if there is no such function, and, then and when it is called, for whatever it raises.
    """
    name, path = path.stem, path.absolute()
    if path.is_file() and (name in corruptions.names() or name in RESERVED or not name.isidentifier()):
        raise UsageError(f"a corruption cannot be named {name!r}", hint="rename the file: its name is the corruption's")
    function = getattr(execute(path, hint=SIGNATURE), "corrupt", None)
    if not callable(function):
        raise UsageError(f"{path}: no function named corrupt", hint=SIGNATURE)
    return name, guarded(path, function, hint=SIGNATURE), sha256(path)
