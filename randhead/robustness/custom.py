"""Custom corruptions: a Python file of the user, which is executed only if the user gives its path.

The file defines corrupt(images, severity, ids, seed) -> images: uint8 tensors (B, 3, H, W), severity 1 to 5, ids (B,)
int64, the indices of the images in their split.  So that the result does not depend on the batch, random numbers should
be a function of seed and ids (`randhead.rng`).
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
    """Load a custom corruption by executing a file.

    Returns:
        The name of the corruption, which is that of the file; its function; and the hash of the file.

    Raises:
        UsageError: if there is no such function, and for every exception of the file, also when the function is called.
    """
    name, path = path.stem, path.absolute()
    if path.is_file() and (name in corruptions.names() or name in RESERVED or not name.isidentifier()):
        raise UsageError(f"a corruption cannot be named {name!r}", hint="rename the file: its name is the corruption's")
    function = getattr(execute(path, hint=SIGNATURE), "corrupt", None)
    if not callable(function):
        raise UsageError(f"{path}: no function named corrupt", hint=SIGNATURE)
    return name, guarded(path, function, hint=SIGNATURE), sha256(path)
