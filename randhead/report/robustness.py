"""Pictures of a grid of corruptions: severity curves, a heat map, the difference to another run, a contact sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from randhead.corruptions import groups, names
from randhead.report.canvas import BLUE, COLOURS, INK, ORANGE, look, picture, png

CUSTOM = "custom"
TILE_PX = 96  # about the side of an image on the contact sheet
GAP_PX = 6


@look()
def curves(path: Path, document: Mapping[str, Any]) -> Path:
    """Error by severity, a panel a group of corruptions, with the error on clean images."""
    panels = _panels(document["cells"])
    figure = Figure(figsize=(2.9 * len(panels) + 0.4, 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (group, members) in zip(axes, panels.items(), strict=True):
        for name, colour in zip(members, _cycle(len(members)), strict=True):
            row = document["cells"][name]
            xs, ys = [int(s) for s in row], [100 * f["error"] for f in row.values()]
            bars = [100 * f["standard_error"] for f in row.values()]
            ax.errorbar(
                xs, ys, bars, color=colour, marker="o", markersize=3, linewidth=1.5, label=_label(name, document)
            )
        ax.axhline(100 * document["clean"]["error"], color=INK, linestyle="--", linewidth=1, label="clean")
        ax.set(title=group, xlabel="severity", xticks=sorted({int(s) for n in members for s in document["cells"][n]}))
        ax.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    axes[0].set(ylabel="error (percent)", ylim=(0, None))
    figure.suptitle(_title(document), fontsize=10)
    return png(figure, path)


def heat_map(path: Path, document: Mapping[str, Any]) -> Path:
    """Error of every corruption at every severity."""
    cells = document["cells"]
    severities = sorted({int(s) for row in cells.values() for s in row})
    values = np.array(
        [[100 * row[str(s)]["error"] if str(s) in row else np.nan for s in severities] for row in cells.values()]
    )
    with picture(path, 2.6 + 0.75 * len(severities), 1.5 + 0.3 * len(cells)) as axes:
        image = axes.imshow(values, cmap="YlOrRd", vmin=0, vmax=100, aspect="auto")
        axes.figure.colorbar(image, ax=axes, label="error (percent)", shrink=0.8)
        axes.set_xticks(range(len(severities)), severities)
        axes.set_yticks(range(len(cells)), [_label(name, document) for name in cells], fontsize=8)
        axes.set(xlabel="severity")
        axes.set_title(_title(document), fontsize=9)
        axes.spines[:].set_visible(False)
        for row, column in np.argwhere(~np.isnan(values)):
            colour = "white" if values[row, column] > 65 else INK
            axes.text(column, row, f"{values[row, column]:.1f}", ha="center", va="center", color=colour, fontsize=7.5)
        _separate_groups(axes, list(cells))
    return path


def differences(path: Path, document: Mapping[str, Any]) -> Path:
    """Difference in accuracy to another run, by corruption and in the mean, with 95 percent intervals."""
    other = document["compared_with"]
    rows = {"clean": other["accuracy"]}
    if other["mean_corruption_accuracy"]:
        rows["mean of " + other["mean_over"].split(" corruptions")[0]] = other["mean_corruption_accuracy"]
    strong = len(rows)
    rows |= {_label(name, document): row for name, row in other["corruptions"].items()}
    with picture(path, 6.4, 1.5 + 0.27 * len(rows)) as axes:
        for place, row in enumerate(rows.values()):
            colour = INK if place < strong else BLUE
            axes.plot([100 * row["low"], 100 * row["high"]], [place, place], color=colour, linewidth=2)
            axes.plot(100 * row["difference"], place, "o", color=colour, markersize=5)
        axes.axvline(0, color=ORANGE, linewidth=1, linestyle="--")
        axes.axhline(strong - 0.5, color=INK, linewidth=0.5)
        axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel="difference in accuracy (percentage points), 95 percent interval")
        axes.set_title(f"{document['run']}\nminus {other['run']}, n = {document['n']}", fontsize=9)
    return path


def published(path: Path, document: Mapping[str, Any]) -> Path:
    """Mean error of each corruption on the released set beside that on our own corruptions."""
    theirs = document["published"]["corruptions"]
    rows = [name for name in document["corruptions"] if name in theirs]
    with picture(path, 6.4, 1.5 + 0.3 * len(rows)) as axes:
        for table, colour, label, mark in (
            (theirs, ORANGE, f"{document['published']['name']}, released", "s"),
            (document["corruptions"], BLUE, "randhead's own", "o"),
        ):
            values = [100 - 100 * sum(table[name].values()) / len(table[name]) for name in rows]
            axes.plot(values, range(len(rows)), mark, color=colour, label=label, markersize=5)
        labels = [_label(name, document).replace("(procedural)", "(ours procedural)") for name in rows]
        axes.set_yticks(range(len(rows)), labels, fontsize=8)
        axes.invert_yaxis()
        axes.grid(axis="y", linewidth=0.3)
        axes.set(xlabel="error, mean over severities (percent)")
        axes.set_title(document["run"], fontsize=9)
        axes.legend(fontsize=8)
    return path


@look()
def contact_sheet(path: Path, tiles: np.ndarray, rows: Sequence[str], columns: Sequence[str], *, title: str) -> Path:
    """Images (R, C, 3, H, W) uint8 in a grid, enlarged without smoothing, with a label a row and a column."""
    height, width = tiles.shape[3:]
    times = max(1, round(TILE_PX / max(height, width)))
    tiles = tiles.repeat(times, axis=3).repeat(times, axis=4).transpose(0, 1, 3, 4, 2)
    height, width = height * times + GAP_PX, width * times + GAP_PX
    canvas = np.full((len(rows) * height, len(columns) * width, 3), 255, dtype=np.uint8)
    for r, c in np.ndindex(len(rows), len(columns)):
        top, left = r * height + GAP_PX // 2, c * width + GAP_PX // 2
        canvas[top : top + height - GAP_PX, left : left + width - GAP_PX] = tiles[r, c]
    inches = canvas.shape[1] / 100, canvas.shape[0] / 100
    figure = Figure(figsize=(inches[0] + 1.7, inches[1] + 0.7))
    box = (1.6 / figure.get_figwidth(), 0.1 / figure.get_figheight())
    axes = figure.add_axes((*box, inches[0] / figure.get_figwidth(), inches[1] / figure.get_figheight()))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_xticks([(c + 0.5) * width for c in range(len(columns))], columns, fontsize=9)
    axes.set_yticks([(r + 0.5) * height for r in range(len(rows))], rows, fontsize=9)
    figure.suptitle(title, fontsize=9, y=1 - 0.12 / figure.get_figheight(), va="top")
    return png(figure, path)


def _panels(cells: Mapping[str, Any]) -> dict[str, list[str]]:
    panels = {group: [name for name in members if name in cells] for group, members in groups().items()}
    panels[CUSTOM] = [name for name in cells if name not in names()]
    return {group: members for group, members in panels.items() if members}


def _separate_groups(axes: Axes, rows: list[str]) -> None:
    """A line below the last corruption of the benchmark: what follows is not in the mean."""
    inside = sum(name in names("benchmark") for name in rows)
    if 0 < inside < len(rows):
        axes.axhline(inside - 0.5, color=INK, linewidth=1)


def _label(name: str, document: Mapping[str, Any]) -> str:
    """A corruption as people write it; frost says so where its textures are made up."""
    label = name.replace("_", " ")
    return f"{label} (procedural)" if name == "frost" and document["frost"] == "procedural" else label


def _title(document: Mapping[str, Any]) -> str:
    return (
        f"{document['run']}\n{document['split']} split, n = {document['n']}, parameters of {document['parameters']} px"
    )


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]
