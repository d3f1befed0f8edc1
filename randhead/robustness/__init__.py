"""Accuracy of runs under image corruptions: the benchmark of Hendrycks and Dietterich.

report = benchmark("my-run", limit=1000)
report.mean_corruption_accuracy
"""

from randhead.robustness.accumulator import CellMetrics
from randhead.robustness.benchmarking import benchmark
from randhead.robustness.comparison import Comparison, CorruptionDifference, Difference
from randhead.robustness.contact import contact_sheet
from randhead.robustness.grid import Advanced, GridEvent, GridStarted, RowDone
from randhead.robustness.grid_metrics import GridMetrics
from randhead.robustness.per_class import ClassAccuracy
from randhead.robustness.results import ContactSheet, CorruptionReport, ReleasedMetrics
from randhead.robustness.settings import CLEAN, CorruptionSettings

__all__ = [
    "CLEAN",
    "Advanced",
    "CellMetrics",
    "ClassAccuracy",
    "Comparison",
    "ContactSheet",
    "CorruptionDifference",
    "CorruptionReport",
    "CorruptionSettings",
    "Difference",
    "GridEvent",
    "GridMetrics",
    "GridStarted",
    "ReleasedMetrics",
    "RowDone",
    "benchmark",
    "contact_sheet",
]
