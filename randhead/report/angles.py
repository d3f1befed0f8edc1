"""The picture of the angles between class vectors."""

from collections.abc import Sequence
from pathlib import Path

from randhead.report.canvas import BLUE, GREEN, INK, ORANGE, picture


def draw(path: Path, edges_deg: Sequence[float], counts: Sequence[int], *, marks: dict[str, float]) -> Path:
    """Write the histogram of pairwise angles of class vectors in degrees as PNG, with named angles marked."""
    with picture(path, 6.4, 3.6) as axes:
        axes.stairs(counts, edges_deg, fill=True, color=BLUE, alpha=0.8)
        for (name, angle), colour in zip(marks.items(), (INK, ORANGE, GREEN), strict=False):
            axes.axvline(angle, color=colour, linestyle="--", linewidth=1.2, label=f"{name} {angle:.1f}")
        axes.set(
            xlabel="angle between two class vectors (degrees)", ylabel="pairs", title="Angles of the class vectors"
        )
        axes.legend()
    return path
