"""The folder is the registry: a family is a subpackage of randhead, a member is a file in it.

To add a member, add a file.  Names that start with an underscore are helpers, not members.
"""

import functools
import importlib
from pathlib import Path
from types import ModuleType

from randhead.errors import unknown

KINDS = {
    "vectors": "geometry of class vectors",
    "losses": "normaliser",
    "backbones": "backbone",
    "datasets": "dataset",
    "corruptions": "corruption",
    "analyses": "analysis",
}


def names(family: str) -> list[str]:
    """The members of a family, sorted.  Reads the folder only: nothing is imported."""
    folder = Path(__file__).parent / family
    return sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))


def check(family: str, name: str) -> None:
    """Raise UsageError, with the nearest name, where a family has no such member.  Imports nothing."""
    if name not in names(family):
        raise unknown(KINDS[family], name, names(family))


@functools.cache
def load(family: str, name: str) -> ModuleType:
    """The module of one member.  Raises UsageError, with the nearest name, where there is none."""
    check(family, name)
    return importlib.import_module(f"randhead.{family}.{name}")
