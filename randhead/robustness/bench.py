"""The images and cells on which all runs of a benchmark are tested, and the reports made of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from randhead import registry
from randhead.corruptions import names as corruption_names
from randhead.errors import DataError, StopRequested
from randhead.evaluation import comparison
from randhead.robustness import export, grid, released
from randhead.robustness.accumulator import Accumulator, open_accumulator
from randhead.robustness.by_arm import compare_arms
from randhead.robustness.comparison import compare
from randhead.robustness.contact import contact_sheet as make_contact_sheet
from randhead.robustness.grid import GridEvent, GridStarted
from randhead.robustness.grid_metrics import grid_metrics
from randhead.robustness.images import CorruptedImages, Source, subset
from randhead.robustness.matching import match
from randhead.robustness.per_class import class_accuracies
from randhead.robustness.results import ContactSheet, CorruptionReport, ReleasedMetrics
from randhead.robustness.settings import CLEAN, Grid
from randhead.runs import LoadedRun
from randhead.tables import count

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class Callbacks:
    """What a caller hears of a benchmark, and how it is stopped."""

    should_stop: Callable[[], bool]
    warn: Callable[[str], None]
    progress: ProgressCallback
    on_event: Callable[[GridEvent], None]

    def reading(self, done: int, total: int) -> None:
        """Report the progress of reading or writing images, and stop if requested."""
        if self.should_stop():
            raise StopRequested("stopped while reading or writing images")
        self.progress(done, total)


@dataclass(frozen=True)
class Bench:
    """The images and cells on which all runs are tested."""

    data: str
    split: str
    source: CorruptedImages
    grid: Grid
    limit: int | None
    callbacks: Callbacks

    def write(self, folder: Path, class_names: Sequence[str]) -> None:
        """Write the corrupted images."""
        for done, total in export.write(folder, self.source, self.grid, class_names):
            self.callbacks.reading(done, total)

    def contact_sheet(self, class_names: Sequence[str]) -> ContactSheet:
        """Make the contact sheet of the first image."""
        ((_, images),) = self.source.cells(CLEAN, (0,), 0, 1)
        number, label = int(self.source.ids[0]), class_names[int(self.source.labels[0])]
        name = f"{self.split} image {number}, class {label}"
        return make_contact_sheet(images[0], self.source.settings, image_id=number, name=name)

    def reports(self, tested: Sequence[LoadedRun], reference: LoadedRun, *, per_class: bool) -> list[CorruptionReport]:
        """Test the runs, and compare each with the reference, or of several runs with the one of its own seeds."""
        title = f"{count(len(self.grid) - 1, 'corruption')} of {count(len(self.source.ids), 'image')}"
        every = unique([*tested, reference])
        baseline = [path_of(each) for each in every].index(path_of(reference))
        filled = {path_of(each): self.fill(each, self.source, self.grid, title) for each in every}
        partners = _partners(every, baseline)
        reports = []
        for each in tested:
            accumulator = filled[path_of(each)]
            report = self.report(each, accumulator)
            if base := partners.get(path_of(each)):
                compared = compare(accumulator, filled[path_of(base)], self.grid, base.run.name)
                report = replace(report, compared_with=compared)
            if per_class:
                by_class = class_accuracies(accumulator, self.grid, self.source.labels, each.class_names)
                report = replace(report, per_class=by_class)
            reports.append(report)
        if len(tested) > 1:
            cells = [filled[path_of(each)] for each in every]
            reports[0] = replace(reports[0], by_arm=compare_arms(every, cells, self.grid, baseline=baseline))
        return reports

    def report(self, loaded: LoadedRun, accumulator: Accumulator) -> CorruptionReport:
        """Make the report of a run from its measured cells."""
        clean = accumulator.metrics(CLEAN, 0)
        settings = self.source.settings
        return CorruptionReport(
            run=loaded.run.name,
            data=self.data,
            split=self.split,
            n=len(self.source.ids),
            images=self.source.description,
            seed=settings.seed,
            parameters=settings.parameter_set(self.source.size),
            frost=settings.frost if "frost" in self.grid else None,
            clean=clean,
            grid=grid_metrics(accumulator, self.grid, loaded.class_names, clean_error=clean.error),
            folder=loaded.run,
            weights_sha256=loaded.weights_sha256,
            side=min(self.source.size),
        )

    def with_released(
        self, report: CorruptionReport, loaded: LoadedRun, found: released.ReleasedSet | None, *, folder: str
    ) -> CorruptionReport:
        """Add the metrics of a released set to a report, for the cells of the grid that the set has."""
        if found is None:
            return report
        cells = {name: tuple(s for s in self.grid.get(name, ()) if s in there) for name, there in found.grid.items()}
        cells = {name: severities for name, severities in cells.items() if severities}
        if not cells:
            have = sorted({severity for severities in found.grid.values() for severity in severities})
            hint = f"it has: {', '.join(map(str, have))}"
            raise DataError(f"{found.name} has none of the requested severities", hint=hint)
        chosen = found.take(subset(found.labels, self.limit, seed=report.seed))
        matched = match(chosen, self.source, cells)
        accumulator = self.fill(loaded, chosen, cells, f"{count(len(cells), 'corruption')} of {found.name}")
        metrics = grid_metrics(accumulator, cells, loaded.class_names, clean_error=report.clean.error)
        head = found.name, folder, len(chosen.labels), matched.same_images, matched.relation
        return replace(report, released=ReleasedMetrics(*head, (*found.notes, *matched.notes), metrics))

    def fill(self, loaded: LoadedRun, source: Source, cells: Grid, title: str) -> Accumulator:
        """Run a grid, or the remaining part of it."""
        identity = {
            "weights": loaded.weights_sha256,
            "device": loaded.preprocess.device.type,
            "precision": str(loaded.preprocess.precision),
            **source.identity(),
        }
        outside = {name: registry.source_sha256("corruptions", name) for name in cells if name in corruption_names()}
        if any(outside.values()):
            identity["outside"] = {name: digest for name, digest in outside.items() if digest}
        accumulator = open_accumulator(loaded.run.reports, len(source.labels), identity)
        self._warn(accumulator)
        self.callbacks.on_event(GridStarted(loaded.run.name, title, cells))
        stop = self.callbacks.should_stop
        try:
            for event in grid.run(loaded.model, source, cells, loaded.preprocess, accumulator, should_stop=stop):
                self.callbacks.on_event(event)
        finally:
            self._warn(accumulator)
        return accumulator

    def _warn(self, accumulator: Accumulator) -> None:
        """Warn once about a file that could not be read or written."""
        if accumulator.note:
            self.callbacks.warn(accumulator.note)
        accumulator.note = None


def _partners(every: list[LoadedRun], baseline: int) -> dict[Path, LoadedRun]:
    """The run that each is compared with; the seeds of two runs need not be equal, for they are compared as models."""
    if len(every) == 2:
        return {path_of(every[1 - baseline]): every[baseline]}
    return {path_of(every[j]): every[i] for j, i in comparison.pairs([e.config for e in every], baseline).items()}


def unique(loaded: Sequence[LoadedRun]) -> list[LoadedRun]:
    """The runs in order, each folder once."""
    return list({path_of(each): each for each in loaded}.values())


def path_of(loaded: LoadedRun) -> Path:
    """The folder of a run, which tells runs apart."""
    return loaded.run.path.resolve()
