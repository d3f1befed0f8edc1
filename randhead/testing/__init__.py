"""Tests of the contracts of the families: one function per family, which checks a member without a test framework.

Your own member is tested with two lines:

    from randhead.testing import check_geometry
    check_geometry("mine.py")

A member is given as a module, as the path of a Python file, which is executed, or by its name.  A violation raises an
AssertionError that says what was expected and what was found.
"""

from randhead.testing.analysis import check_analysis
from randhead.testing.backbone import check_backbone
from randhead.testing.corruption import check_corruption
from randhead.testing.dataset import check_dataset
from randhead.testing.geometry import check_geometry
from randhead.testing.loss import check_loss

__all__ = [
    "check_analysis",
    "check_backbone",
    "check_corruption",
    "check_dataset",
    "check_geometry",
    "check_loss",
]
