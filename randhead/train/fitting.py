"""`fit`: train a classifier, save it in a run folder, and return the result."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from randhead import datasets, runs
from randhead.arguments import check_functions, check_paths, check_type, several
from randhead.config import Config, configure
from randhead.datasets import Dataset
from randhead.device import resolve_device
from randhead.errors import StopRequested
from randhead.files import described
from randhead.runs import ROOT, Run, TrainingSummary, card
from randhead.train import profiling, resume
from randhead.train.events import Event, Finished, Stopped, Warned
from randhead.train.loop import fit_events
from randhead.train.resolve import begun_size
from randhead.train.warm_start import check_settings


def fit(
    config: Config | Mapping[str, Any] | None = None,
    *,
    root: str | Path = ROOT,
    name: str | None = None,
    dataset: Dataset | None = None,
    fresh: bool = False,
    profile: bool = False,
    on_event: Callable[[Event], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingSummary:
    """Train a classifier and save it in a run folder, or resume a training; a finished run only returns its result.

    Args:
        config: the configuration, or some of its settings by their dotted names, such as {"data.name": "cifar10"};
            by default, fixed random class vectors on the digits.
        root: folder of the runs.
        name: name of the run folder; by default made from the configuration, so that the same configuration resumes
            its run.
        dataset: the images; by default those of the configuration.
        fresh: start over; an earlier training in that folder is replaced when the new one has its first checkpoint.
        profile: also find out where the time goes: torch's profiler records some steps.  `on_event` gets the answer as
            `Profiled`; a Chrome trace of these steps is in the folder reports/ of the run.
        on_event: called with each event of the training (see `randhead.train.events`).
        should_stop: called between batches; if it returns True, the training is saved and ends.
        warn: called with each warning.
        progress: called with (done, total) while images are read.

    Returns:
        The result, which is also in the run folder as summary.json.

    Raises:
        UsageError: if a setting cannot be used, or does not fit the images.
        DataError: if images are missing or cannot be used.
        RunError: if the folder is not a run or is in use, if none of its checkpoints can be read, or if the run is
            finished and to be profiled.
        DivergedError: if the loss is not a finite number.
        StopRequested: if `should_stop` returned True; the same call resumes the training.

    Example:
        >>> import tempfile
        >>> settings = {"data.name": "digits", "train.epochs": 1, "train.batch_size": 512}
        >>> with tempfile.TemporaryDirectory() as root:
        ...     summary = fit(settings, root=root, name="example", warn=lambda text: None)
        >>> summary.run, summary.test["n"]
        ('example', 359)
    """
    config = _checked(config, root=root, name=name, dataset=dataset)
    check_functions(on_event=on_event or _ignore, should_stop=should_stop, warn=warn, progress=progress)
    run = runs.open_run(Path(root), runs.default_name(config) if name is None else name, config, fresh=fresh)
    finished = None if fresh else run.summary()
    if profile:
        profiling.check(run, finished=finished is not None)
    if finished is None:
        if dataset is None:
            device = resolve_device(config.machine.device)
            if config.train.start_from:
                source = runs.find(config.train.start_from)
                check_settings(config, source.config(), source.name)  # before images are read
            size = begun_size(config, run, fresh=fresh)
            dataset = datasets.from_config(config, device=device, image_size=size, progress=progress)
        events = fit_events(config, dataset, run, fresh=fresh, profile=profile, should_stop=should_stop)
        with contextlib.closing(events):  # an error in `on_event` ends the training now
            summary = _last(events, on_event or _ignore, warn)
    else:
        summary = finished
        for warning in (*summary.warnings, resume.finished_on_other_images(run, config, dataset, progress=progress)):
            if warning:
                warn(warning)
    _write_rest(run, config, summary, warn, is_new=finished is None)
    return summary


def _write_rest(
    run: Run, config: Config, summary: TrainingSummary, warn: Callable[[str], None], *, is_new: bool
) -> None:
    """Write the card, and which run is the latest; the result is not lost if a disk is full or read-only."""
    try:
        if not is_new:
            runs.set_last(run)
        if is_new or not run.card_path.exists():  # a kill can prevent it
            card.write(run, config, summary)
    except OSError as error:
        warn(f"{described(error)}: not written; the training is finished")


def _checked(config: Any, *, root: object, name: object, dataset: object) -> Config:
    """The configuration.  Raises UsageError for arguments of a wrong type."""
    check_paths(root=root)
    check_type("name", name, (str, NoneType), "text", hint="leave it out to name the run by its configuration")
    hint = "for a dataset by its name or folder, set `data.name`: `fit({'data.name': 'digits'})`"
    check_type("dataset", dataset, (Dataset, NoneType), "a `Dataset`", hint=hint)
    if isinstance(config, Config):
        return config
    hint = "for example `fit({'data.name': 'digits'})`"
    check_type("config", config, (Mapping, NoneType), "a `Config` or settings by their dotted names", hint=hint)
    settings = dict(config or {})
    several("config", settings, "settings by their dotted names, which are text", kinds=str)
    return configure(settings)


def _last(events: Iterator[Event], on_event: Callable[[Event], None], warn: Callable[[str], None]) -> TrainingSummary:
    """Pass the events to the callbacks and return the result.  Raises StopRequested if the training was stopped."""
    for event in events:
        on_event(event)
        match event:
            case Warned(message):
                warn(message)
            case Stopped(step):
                raise StopRequested(f"stopped after step {step}, which is saved", hint="the same call resumes it")
            case Finished(summary):
                return summary
    raise RuntimeError("the last event is Stopped or Finished")


def _ignore(event: Event) -> None:
    """The default for `on_event`."""
