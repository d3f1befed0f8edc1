"""The run folder: the paths of its files, and finding runs."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from randhead import registry
from randhead.arguments import check_paths
from randhead.config import Config, parse
from randhead.config.resolved import ResolvedSettings
from randhead.errors import RandheadError, RunError, UsageError, guess
from randhead.files import atomic_write, write_json
from randhead.runs.summary import TrainingSummary

ROOT = Path("runs")
LAST = "last"  # a file in the root that contains the name of the latest run
TRAIN_FIRST = "train one first: `randhead train`"
TRAIN_AGAIN = "train it again with `fresh=True`"
ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The configuration, the resolved settings, and versions."""
        return self.path / "config.json"

    @property
    def model_path(self) -> Path:
        """The selected weights."""
        return self.path / "model.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics_path(self) -> Path:
        """One JSON object per line, one line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def summary_path(self) -> Path:
        """The result of the training.  A run that has this file is finished."""
        return self.path / "summary.json"

    @property
    def diverged_path(self) -> Path:
        """Why the training diverged.  It is there until the run is trained again."""
        return self.path / "diverged.json"

    @property
    def card_path(self) -> Path:
        """The model card, for people."""
        return self.path / "README.md"

    @property
    def reports(self) -> Path:
        """The reports of `evaluate`, `benchmark` and `analyze`."""
        return self.path / "reports"

    @property
    def features(self) -> Path:
        """Features of the splits, kept for further analyses."""
        return self.path / "features"

    def document(self) -> dict[str, Any]:
        """The content of config.json.  Raises RunError if it cannot be read, or lacks one of its parts."""
        content = _read_json(self.config_path)
        with received(self.config_path):
            _ = ResolvedSettings.from_json(content["resolved"]), content["config"]
        return content

    def config(self) -> Config:
        """The configuration.  Raises RunError if it cannot be read."""
        content = _read_json(self.config_path)
        with received(self.config_path):
            return parse.build(parse.unnest(content["config"]))

    def resolved(self) -> ResolvedSettings:
        """The settings resolved for the images.  Raises RunError if they cannot be read."""
        content = _read_json(self.config_path)
        with received(self.config_path):
            return ResolvedSettings.from_json(content["resolved"])

    def summary(self) -> TrainingSummary | None:
        """The result of the training, or None if it is not finished.

        Raises:
            RunError: if it cannot be read.
        """
        if not self.summary_path.exists():
            return None
        content = _read_json(self.summary_path)
        with received(self.summary_path):
            found = TrainingSummary.from_json(content, self.path)
            list(found.tables())  # which needs every number
            return found


@contextlib.contextmanager
def received(path: Path) -> Iterator[None]:
    """A context in which the content of a file is used, which may come from anybody.

    Raises:
        RunError: for what it lacks, and for values that cannot be used.
    """
    try:
        yield
    except RunError:
        raise
    except RandheadError as error:
        raise RunError(f"{path}: {error.message}", hint=TRAIN_AGAIN) from None
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else error
        raise RunError(f"{path}: not a file of randhead, or damaged ({reason})", hint=TRAIN_AGAIN) from None


def default_name(config: Config) -> str:
    """The default name of a run: equal configurations have equal names, different ones have different names.

    It is <dataset>-<backbone>-<scoring>-<fixed|learned>-<geometry>-seed<seed>-<digest of all settings>.
    """
    head = config.head
    data = config.data.name
    data = Path(data).name if "/" in data and not registry.is_file(data) else registry.label(data)
    kind = "learned" if head.trainable else "fixed"
    parts = [data, config.backbone.name, head.scoring, kind, registry.split(registry.label(head.vectors))[0]]
    return "-".join([*map(slug, parts), f"seed{config.train.seed}", parse.digest(config)])


def open_run(root: Path, name: str, config: Config, *, fresh: bool = False) -> Run:
    """Open the folder of a run that is to be trained; it need not exist yet.

    Args:
        root: folder of the runs.
        name: name of the run.
        config: its configuration.
        fresh: whether a run with another configuration may be replaced.

    Returns:
        The run folder.

    Raises:
        UsageError: if the name is not a plain folder name.
        RunError: if the folder is not a run, or, unless `fresh`, if it has another configuration; the message has the
            differences.
    """
    from randhead.runs.lock import repair
    from randhead.runs.replacement import is_remainder

    if not ALLOWED.fullmatch(name) or name == LAST:
        raise UsageError(f"a run cannot be named {name!r}", hint="use letters, digits and . _ + = -, no path")
    run = Run(root / name)
    repair(run)
    if run.config_path.exists():
        different = [] if fresh else parse.differences(config, run.config())
        if different:
            hint = "use another `name`, or `fresh=True` to replace that run"
            if is_longer(config, run):
                hint = f'to train on from it, use `start_from="{name}"` and another `name`; `fresh=True` replaces it'
            raise RunError(
                f"{run.path} holds a run with another configuration: {'; '.join(different)}",
                hint=hint,
            )
    elif run.path.exists() and not is_remainder(run.path):
        raise RunError(f"{run.path} exists and is not a run", hint="use another `name` or `root`")
    return run


def is_longer(config: Config, run: Run) -> bool:
    """Whether a configuration is that of a run that has a model, for more epochs, wherever each started from."""
    if not run.model_path.exists():
        return False
    old = run.config()
    same = replace(config, train=replace(config.train, epochs=old.train.epochs, start_from=old.train.start_from))
    return config.train.epochs > old.train.epochs and not parse.differences(same, old)


def find(run: "str | Path | Run | None" = None, *, root: str | Path = ROOT) -> Run:
    """Find a run folder.

    Args:
        run: name of a run in `root`, or the path of a run folder; None and "last" are the latest.
        root: folder of the runs.

    Returns:
        The run folder.

    Raises:
        RunError: if there is no such run; the hint lists those that exist.
    """
    from randhead.runs.lock import repair

    check_paths(root=root)
    if isinstance(run, Run):
        return run
    root, name = Path(root), None if run is None else str(run)
    if name in (None, LAST):
        name = last(root)
        if name is None:
            raise RunError(f"there is no run in {root}", hint=TRAIN_FIRST)
    candidates = [root / name, Path(name)] if not _is_path(name) else [Path(name)]
    for path in candidates:
        repair(Run(path))
        if (path / "config.json").is_file():
            return Run(path)
    known = [found.name for found in all_runs(root)]
    hint = f"{guess(name, known)}runs there: {', '.join(known)}" if known else TRAIN_FIRST
    message = f"{name} is not a run" if _is_path(name) else f"there is no run {name} in {root}"
    raise RunError(message, hint=hint)


def all_runs(root: Path = ROOT) -> list[Run]:
    """The runs of a folder, sorted by name."""
    return [Run(file.parent) for file in sorted(root.glob("*/config.json"))]


def last(root: Path = ROOT) -> str | None:
    """The name of the latest run, if it is still there."""
    if not (root / LAST).is_file():
        return None
    try:
        name = (root / LAST).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name if ALLOWED.fullmatch(name) and (root / name).is_dir() else None


def set_last(run: Run) -> None:
    """Make a run the latest, unless it is in a hidden folder, which is that of a training that has just begun."""
    if run.name.startswith("."):
        return
    atomic_write(run.path.parent / LAST, run.name + "\n")


def describe(config: Config, settings: ResolvedSettings) -> dict[str, Any]:
    """The content of config.json, also in every checkpoint.

    It has the configuration, the resolved settings, the versions of libraries, and the device with the number of its
    threads and the precision, on which the last bits of a result depend.
    """
    from randhead import device  # imports torch, which reading and listing runs do not need

    found = device.resolve_device(config.machine.device)
    precision = device.resolve_dtype(config.train.precision, found)
    return {
        "config": parse.nest(config),
        "resolved": settings.to_json(),
        "versions": device.versions(),
        "environment": {"device": device.device_name(found), "precision": str(precision).removeprefix("torch.")},
    }


def write_config(run: Run, config: Config, settings: ResolvedSettings) -> None:
    """Write config.json."""
    write_json(run.config_path, describe(config, settings))


def slug(text: str) -> str:
    """A text as part of a file name, of at most 60 characters."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip("._")[:60] or "data"


def _is_path(text: str) -> bool:
    """Whether a text names a folder by its path, not by its name in the folder of the runs."""
    return "/" in text or os.sep in text


def _read_json(path: Path) -> dict[str, Any]:
    if path.exists() and not path.is_file():  # reading a FIFO would wait for ever
        raise RunError(f"{path}: not a regular file", hint=TRAIN_AGAIN)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({error})", hint=TRAIN_AGAIN) from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: not a file of randhead", hint=TRAIN_AGAIN)
    return content


def _refuse(constant: str) -> None:
    """NaN and infinity, which are no JSON, and which no file of a run has."""
    raise ValueError(f"{constant} is no JSON")
