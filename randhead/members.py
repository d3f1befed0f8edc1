"""Registration of members from outside the package, in this process: one function per family.

`randhead.testing` checks that a member fulfils the contract of its family.
"""

from pathlib import Path
from types import ModuleType

from randhead.registry import register

__all__ = [
    "register_analysis",
    "register_backbone",
    "register_corruption",
    "register_dataset",
    "register_geometry",
    "register_loss",
]


def register_geometry(member: ModuleType | str | Path, *, name: str | None = None) -> str:
    """Register a geometry of class vectors in this process.

    Args:
        member: a module with the contract of `randhead.vectors`, or the path of a Python file, which is executed.
        name: its name; by default the name of the module or file.  The path of a file is a second name.

    Returns:
        The name.

    Raises:
        UsageError: if the file cannot be executed, if a part of the contract is missing, or if the name is taken.

    Example:
        >>> import types, torch
        >>> mine = types.ModuleType("axes")
        >>> mine.BY_ROW, mine.limit = False, lambda dim: dim
        >>> mine.rows = lambda ids, dim, *, seed, num_classes: torch.eye(dim)[ids]
        >>> register_geometry(mine)
        'axes'
        >>> import randhead
        >>> randhead.draw("axes", [1], dim=3, num_classes=2)
        tensor([[0., 1., 0.]])
    """
    return register("vectors", member, name=name)


def register_dataset(member: ModuleType | str | Path, *, name: str | None = None) -> str:
    """Register a dataset in this process.

    Args:
        member: a module with the contract of `randhead.datasets`, or the path of a Python file, which is executed.
        name: its name; by default the name of the module or file.  The path of a file is a second name.

    Returns:
        The name.

    Raises:
        UsageError: if the file cannot be executed, if a part of the contract is missing, or if the name is taken.
    """
    return register("datasets", member, name=name)


def register_corruption(member: ModuleType | str | Path, *, name: str | None = None) -> str:
    """Register an image corruption in this process.

    Args:
        member: a module with the contract of `randhead.corruptions`, or the path of a Python file, which is executed.
        name: its name; by default the name of the module or file.  The path of a file is a second name.

    Returns:
        The name.

    Raises:
        UsageError: if the file cannot be executed, if a part of the contract is missing, or if the name is taken.
    """
    return register("corruptions", member, name=name)


def register_analysis(member: ModuleType | str | Path, *, name: str | None = None) -> str:
    """Register an analysis in this process.

    Args:
        member: a module with the contract of `randhead.analyses`, or the path of a Python file, which is executed.
        name: its name; by default the name of the module or file.  The path of a file is a second name.

    Returns:
        The name.

    Raises:
        UsageError: if the file cannot be executed, if a part of the contract is missing, or if the name is taken.
    """
    return register("analyses", member, name=name)


def register_backbone(member: ModuleType | str | Path, *, name: str | None = None) -> str:
    """Register a backbone in this process.

    Args:
        member: a module with the contract of `randhead.backbones`, or the path of a Python file, which is executed.
        name: its name; by default the name of the module or file.  The path of a file is a second name.

    Returns:
        The name.

    Raises:
        UsageError: if the file cannot be executed, if a part of the contract is missing, or if the name is taken.
    """
    return register("backbones", member, name=name)


def register_loss(member: ModuleType | str | Path, *, name: str | None = None) -> str:
    """Register a softmax method in this process.

    Args:
        member: a module with the contract of `randhead.losses`, or the path of a Python file, which is executed.
        name: its name; by default the name of the module or file.  The path of a file is a second name.

    Returns:
        The name.

    Raises:
        UsageError: if the file cannot be executed, if a part of the contract is missing, or if the name is taken.
    """
    return register("losses", member, name=name)
