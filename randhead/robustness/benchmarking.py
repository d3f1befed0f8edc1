"""`benchmark`: test a run under image corruptions."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from randhead import ambient, registry, runs
from randhead.arguments import check_functions, check_paths, several, whole
from randhead.config import SPLITS, one_of
from randhead.corruptions import SEVERITIES, load_frost_images
from randhead.datasets import Dataset
from randhead.errors import UsageError
from randhead.evaluation.comparison import first_of
from randhead.robustness import comparable, custom, export, released
from randhead.robustness.bench import Bench, Callbacks, ProgressCallback, path_of, unique
from randhead.robustness.grid import GridEvent
from randhead.robustness.images import CorruptedImages, subset
from randhead.robustness.results import CorruptionReport
from randhead.robustness.settings import CorruptionSettings, Grid, choose_grid
from randhead.runs import LoadedRun, RunLike


@ambient.settled()
def benchmark(
    run: RunLike | None = None,
    *,
    corruptions: str | Sequence[str] = "benchmark",
    severities: Sequence[int] = SEVERITIES,
    skip: str | Sequence[str] = (),
    parameters: str | None = None,
    frost_images: str | Path | None = None,
    corruption_file: str | Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    split: str = "test",
    data: str | Path | Dataset | None = None,
    others: Sequence[RunLike | None] = (),
    baseline: RunLike | None = None,
    published: str | Path | None = None,
    per_class: bool = False,
    contact_sheet: bool = False,
    save_images: str | Path | None = None,
    root: str | Path = runs.ROOT,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    progress: ProgressCallback | None = None,
    on_event: Callable[[GridEvent], None] = lambda event: None,
) -> CorruptionReport:
    """Test a run under image corruptions: by default 15 corruptions at 5 severities.

    Results are kept in the folder of the run, so that the same call resumes, or returns at once.

    Args:
        run: a run, by name, by folder or from `runs.load`; None for the latest.
        corruptions: names of corruptions, or of groups: "benchmark" (15), "extra" (4), "all", "noise", "blur",
            "weather", "digital"; or paths of Python files that define a `randhead.corruptions.Corruption`, which are
            executed.
        severities: from 1 (weakest) to 5 (strongest).
        skip: corruptions to leave out.
        parameters: the published parameter set, "32", "64" or "224"; None for the set of the image size.
        frost_images: folder of pictures of frost; None for procedural ones.
        corruption_file: a Python file with your own corruption, which is executed and tested too.  It defines
            `corrupt(images, severity, ids, seed)`, from and to uint8 tensors (B, 3, H, W).
        seed: of the noise, of `limit` and of the intervals.
        limit: number of images to use, stratified by class; None for all.
        split: "test", "val" or "train".
        data: other images of the same classes: the name of a dataset, a folder or a `Dataset`; None for the run's own.
        others: further runs to test on the same images.
        baseline: the run to compare with, or the label of an arm of the runs ("fixed", "learned"); None for `run`.  A
            run of several is compared with that run of the arm which has its seeds.
        published: folder of a released corrupted set (CIFAR-10-C, Tiny-ImageNet-C, ImageNet-C, ...) to test too.
        per_class: add the accuracies of each class.
        contact_sheet: add the first image under all corruptions.
        save_images: folder to write the corrupted images to.
        root: folder of the runs.
        device: "auto", "cpu" or "cuda".
        should_stop: called before each batch; if it returns True, the results are saved and the benchmark stops.
        warn: called with each warning.
        progress: called with (done, total) while images are read or written.
        on_event: called with each event of the grids: `GridStarted`, `Advanced`, `RowDone`.

    Returns:
        The report: `report.mean_corruption_accuracy`, `report.corruptions["fog"][3]`, `report.to_json()`,
        `report.save()`.

    Raises:
        UsageError: for arguments that cannot be used.
        DataError: for images, a released set or pictures of frost that cannot be used.
        RunError: for a run that cannot be loaded, and for runs that cannot be compared.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> from randhead import robustness
        >>> report = robustness.benchmark("digits-seed0", limit=1000)  # doctest: +SKIP
        >>> report.mean_corruption_accuracy, report.corruptions["fog"][3]  # doctest: +SKIP
        (0.7556, 0.4206)
    """
    one_of("split", split, SPLITS)
    paths = {"frost_images": frost_images, "corruption_file": corruption_file, "published": published}
    check_paths(root=root, **paths, save_images=save_images)
    check_functions(should_stop=should_stop, warn=warn, progress=progress, on_event=on_event)
    seed, limit = whole("seed", seed), None if limit is None else whole("limit", limit, 1)
    others = several("others", others, "a list of runs")
    severities = several("severities", severities, "a list of numbers from 1 to 5")
    severities = [whole("severities", severity) for severity in severities]
    settings = _settings(parameters, frost_images, corruption_file, seed)
    names = [registry.use("corruptions", name) for name in _names("corruptions", corruptions)]
    cells = choose_grid(names, severities, skip=_names("skip", skip), custom=tuple(settings.custom))
    tested = [runs.load(each, root=root, device=device).require_classes() for each in (run, *others)]
    runs.check_different(each.run for each in tested)
    reference = _reference(baseline, tested, root, device)
    if baseline is not None and [path_of(each) for each in tested] == [path_of(reference)]:
        raise UsageError(f"the baseline is the run itself, {reference.run.name}", hint="name another run")
    callbacks = Callbacks(should_stop, warn, progress or (lambda done, total: None), on_event)
    dataset = data if isinstance(data, Dataset) else tested[0].dataset(data, progress=callbacks.reading)
    tested[0].check_classes(dataset)
    for each in unique([*tested[1:], reference]):
        comparable.check(tested[0], each, dataset, split, own_images=data is None, progress=callbacks.reading)
    if not isinstance(data, Dataset):  # else the caller has them, and warns
        for warning in _warnings(unique([*tested, reference]), dataset if data is None else None, split):
            warn(warning)
    images = dataset.splits[split]
    source = CorruptedImages(images, settings, ids=subset(images.labels, limit, seed=seed))
    bench = Bench(dataset.name, split, source, cells, limit, callbacks)
    if save_images is not None:
        bench.write(Path(save_images), tested[0].class_names)
    sets = [None if published is None else _open_released(each, published, cells) for each in tested]
    reports = bench.reports(tested, reference, per_class=per_class)
    reports = [bench.with_released(*each, folder=str(published)) for each in zip(reports, tested, sets, strict=True)]
    sheet = bench.contact_sheet(tested[0].class_names) if contact_sheet else None
    saved = None if save_images is None else export.described_order(source)
    return replace(reports[0], others=tuple(reports[1:]), contact_sheet=sheet, saved=saved)


def _warnings(compared: list[LoadedRun], own: Dataset | None, split: str) -> Iterator[str]:
    """What the reader must know of runs: whether each is finished, and whether its own images have changed."""
    for each in compared:
        if unfinished := each.unfinished():
            yield unfinished
        if own is not None and (changed := each.image_changes(own, split)):
            yield changed


def _reference(baseline: RunLike | None, tested: list[LoadedRun], root: str | Path, device: str) -> LoadedRun:
    """The run to compare with: a run, or the first of an arm."""
    if baseline is None:
        return tested[0]
    arm = first_of(baseline, [each.config for each in tested]) if isinstance(baseline, str) else None
    if arm is not None and len(tested) > 1:
        return tested[arm]
    return runs.load(baseline, root=root, device=device).require_classes()


def _settings(
    parameters: str | None, frost_images: str | Path | None, corruption_file: str | Path | None, seed: int
) -> CorruptionSettings:
    pictures = load_frost_images(frost_images) if frost_images is not None else None
    if corruption_file is None:
        return CorruptionSettings(seed, parameters, pictures)
    name, function, digest = custom.load(Path(corruption_file))
    return CorruptionSettings(seed, parameters, pictures, {name: function}, digest)


def _open_released(loaded: LoadedRun, folder: str | Path, cells: Grid) -> released.ReleasedSet:
    names, device = list(cells), loaded.preprocess.device
    return released.open_set(Path(folder), loaded.class_names, loaded.image_size, names, device=device)


def _names(argument: str, given: str | Sequence[str]) -> list[str]:
    """A list of names, from a sequence or from a text with commas."""
    names = given.split(",") if isinstance(given, str) else given
    parts = several(argument, names, "names of corruptions: text, or a list", kinds=str)
    return [part.strip() for part in parts if part.strip()]
