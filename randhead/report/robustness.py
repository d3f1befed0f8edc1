"""Pictures of a corruption report: severity curves, a heat map, differences from another run, a contact sheet."""

from pathlib import Path

import numpy as np

from randhead.corruptions import SEVERITIES, names
from randhead.report._matplotlib import Axes, ConstrainedLayoutEngine, Figure
from randhead.report.canvas import BLUE, COLOURS, INK, ORANGE, heat_map, label, look, picture, png
from randhead.robustness import Comparison, ContactSheet, CorruptionReport, Difference, GridMetrics, ReleasedMetrics
from randhead.robustness.grid_metrics import mean_label
from randhead.robustness.results import display_groups

TILE_PX = 96  # approximate side of an image on the contact sheet
GAP_PX = 6
DODGE = 0.06  # horizontal shift between curves, in severities, so that equal curves are visible as several


def draw(report: CorruptionReport, base: Path) -> list[Path]:
    """Write the pictures of a report: BASE-curves.png, BASE-heat.png, and others if the report has their data.

    Those that an earlier report had, and this one has not, are deleted.

    Returns:
        The paths of the pictures.
    """
    curves_path, heat_path, compared_path, published_path = (
        base.with_name(f"{base.name}-{suffix}.png") for suffix in ("curves", "heat", "compared", "published")
    )
    files = [curves(curves_path, report), error_map(heat_path, report)]
    if report.compared_with:
        files.append(differences(compared_path, report, report.compared_with))
    if report.released:
        files.append(released(published_path, report, report.released))
    for old in {compared_path, published_path}.difference(files):  # of an earlier report, and not of this one
        old.unlink(missing_ok=True)
    return files


@look()
def curves(path: Path, report: CorruptionReport) -> Path:
    """Error by severity, one panel per group of corruptions, with the error on clean images."""
    panels, cells = _panels(report.grid), report.grid.cells
    layout = ConstrainedLayoutEngine(h_pad=0.12)  # inches; with less, the last line of a legend is cut
    figure = Figure(figsize=(2.9 * len(panels) + 0.4, 4.5), layout=layout)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (group, members) in zip(axes, panels.items(), strict=True):
        for i, name in enumerate(members):
            row, colour = cells[name], COLOURS[i % len(COLOURS)]
            errors = [100 * cell.error for cell in row.values()]
            low = [100 * (cell.accuracy_high - cell.accuracy) for cell in row.values()]
            high = [100 * (cell.accuracy - cell.accuracy_low) for cell in row.values()]
            xs = np.array(list(row)) + DODGE * (i - (len(members) - 1) / 2)
            text = _label(name, report)
            ax.errorbar(xs, errors, (low, high), color=colour, marker="o", markersize=3, linewidth=1.5, label=text)
        ax.axhline(100 * report.clean.error, color=INK, linestyle="--", linewidth=1, label="clean")
        ax.set(title=group, xlabel="severity", xticks=sorted({s for name in members for s in cells[name]}))
        ax.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    axes[0].set(ylabel="error (percent)", ylim=(0, None))
    figure.suptitle(f"{_title(report)}; bars: 95 % intervals", fontsize=10)
    return png(figure, path)


@look()
def error_map(path: Path, report: CorruptionReport) -> Path:
    """Error of every corruption at every severity."""
    cells, severities = report.grid.cells, report.grid.severities
    values = np.array([[100 * row[s].error if s in row else np.nan for s in severities] for row in cells.values()])
    texts = np.array([["" if np.isnan(value) else f"{value:.1f}" for value in row] for row in values])
    figure = heat_map(
        values,
        [_label(name, report) for name in cells],
        [str(severity) for severity in severities],
        label="error (percent)",
        colours="YlOrRd",
        limits=(0, 100),
        texts=texts,
        cell=0.3,
    )
    axes = figure.axes[0]
    axes.set_aspect("auto")
    axes.tick_params(axis="x", rotation=0)
    axes.set(xlabel="severity")
    axes.set_title(_title(report), fontsize=9)
    if _separate_benchmark(axes, list(cells)):
        axes.set(xlabel="severity (below the line: not in the mean over the benchmark)")
    return png(figure, path)


def differences(path: Path, report: CorruptionReport, compared: Comparison) -> Path:
    """Difference in accuracy from the baseline, per corruption and on average, with 95 percent intervals."""
    rows: dict[str, Difference] = {"clean": compared.accuracy}
    if compared.mean_corruption_accuracy:
        rows[mean_label(compared.mean_over)] = compared.mean_corruption_accuracy
    summary = len(rows)
    rows |= {_label(name, report): row for name, row in compared.corruptions.items()}
    with picture(path, 6.4, 1.5 + 0.27 * len(rows)) as axes:
        for y, row in enumerate(rows.values()):
            colour = INK if y < summary else BLUE
            axes.plot([100 * row.low, 100 * row.high], [y, y], color=colour, linewidth=2)
            axes.plot(100 * row.difference, y, "o", color=colour, markersize=5)
        axes.axvline(0, color=ORANGE, linewidth=1, linestyle="--")
        axes.axhline(summary - 0.5, color=INK, linewidth=0.5)
        axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel="difference in accuracy (percentage points), 95 percent interval\nright of 0: more accurate")
        axes.set_title(f"{label(report.run)}\ncompared with {label(compared.run)}, n = {report.n}", fontsize=9)
    return path


def released(path: Path, report: CorruptionReport, found: ReleasedMetrics) -> Path:
    """Mean error of each corruption on the released set, beside that on the images corrupted by randhead."""
    rows = [name for name in report.grid.cells if name in found.grid.cells]
    with picture(path, 6.4, 1.5 + 0.3 * len(rows)) as axes:
        for grid, colour, text, mark in (
            (found.grid, ORANGE, label(f"{found.name}, released"), "s"),
            (report.grid, BLUE, "generated by randhead", "o"),
        ):
            means = [100 * sum(grid.errors[name]) / len(grid.errors[name]) for name in rows]
            axes.plot(means, range(len(rows)), mark, color=colour, label=text, markersize=5)
        axes.set_yticks(range(len(rows)), [_label(name, report) for name in rows], fontsize=8)
        axes.invert_yaxis()
        axes.grid(axis="y", linewidth=0.3)
        axes.set(xlabel="error, mean over severities (percent)")
        axes.set_title(label(report.run), fontsize=9)
        axes.legend(fontsize=8)
    return path


@look()
def contact_sheet(path: Path, sheet: ContactSheet) -> Path:
    """One image, under all corruptions (rows) at all severities (columns), enlarged without smoothing."""
    clean = sheet.image.numpy()[None, None].repeat(len(sheet.names), axis=0)
    tiles = np.concatenate([clean, sheet.tiles.numpy()], axis=1)
    height, width = tiles.shape[3:]
    times = max(1, round(TILE_PX / max(height, width)))
    tiles = tiles.repeat(times, axis=3).repeat(times, axis=4).transpose(0, 1, 3, 4, 2)
    height, width = height * times + GAP_PX, width * times + GAP_PX
    columns = ["uncorrupted", *(f"severity {severity}" for severity in SEVERITIES)]
    canvas = np.full((len(sheet.names) * height, len(columns) * width, 3), 255, dtype=np.uint8)
    for r, c in np.ndindex(tiles.shape[:2]):
        top, left = r * height + GAP_PX // 2, c * width + GAP_PX // 2
        canvas[top : top + height - GAP_PX, left : left + width - GAP_PX] = tiles[r, c]
    inches = canvas.shape[1] / 100, canvas.shape[0] / 100
    figure = Figure(figsize=(inches[0] + 1.7, inches[1] + 0.7))
    corner = (1.6 / figure.get_figwidth(), 0.1 / figure.get_figheight())
    axes = figure.add_axes((*corner, inches[0] / figure.get_figwidth(), inches[1] / figure.get_figheight()))
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_xticks([(c + 0.5) * width for c in range(len(columns))], columns, fontsize=9)
    rows = [label(name.replace("_", " ")) for name in sheet.names]
    axes.set_yticks([(r + 0.5) * height for r in range(len(rows))], rows, fontsize=9)
    figure.suptitle(label(sheet.title), fontsize=9, y=1 - 0.12 / figure.get_figheight(), va="top")
    return png(figure, path)


def _panels(grid: GridMetrics) -> dict[str, list[str]]:
    """The corruptions of a grid by group."""
    groups = display_groups(grid.cells).items()
    panels = {group: [name for name in members if name in grid.cells] for group, members in groups}
    return {group: members for group, members in panels.items() if members}


def _separate_benchmark(axes: Axes, rows: list[str]) -> bool:
    """Draw a line below the last corruption of the benchmark if others follow; return whether it was drawn."""
    inside = sum(name in names("benchmark") for name in rows)
    separated = 0 < inside < len(rows)
    if separated:
        axes.axhline(inside - 0.5, color=INK, linewidth=1)
    return separated


def _label(name: str, report: CorruptionReport) -> str:
    """The name of a corruption in words, with a note if the pictures of frost are procedural."""
    words = label(name.replace("_", " "))
    return f"{words} (procedural)" if name == "frost" and report.frost == "procedural" else words


def _title(report: CorruptionReport) -> str:
    """The run, the images and the parameters, on lines that fit above a heat map."""
    smaller = f", images of {report.side} px" if report.parameters_note else ""
    parameters = f"severity parameters for {report.parameters} px{smaller}"
    return f"{label(report.run)}\n{report.split} split, n = {report.n}\n{parameters}"
