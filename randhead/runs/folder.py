"""The run folder: the paths of its files, what its JSON files hold, and which run is the latest."""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from randhead.arguments import check_paths, check_type
from randhead.config import Config, parse
from randhead.config.resolved import ResolvedSettings
from randhead.errors import RandheadError, RunError
from randhead.files import atomic_write, write_json
from randhead.runs.summary import TrainingSummary, summary_text

ROOT = Path("runs")
LAST = "last"  # a file in the root that contains the name of the latest run
CONFIGURE = "`randhead.config.configure` makes one"
TRAIN_AGAIN = "train it again with `fresh=True`"
ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    def __post_init__(self) -> None:
        check_type("path", self.path, (str, os.PathLike), "a path")
        object.__setattr__(self, "path", Path(self.path))

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
        content = read_json(self.config_path)
        with received(self.config_path):
            _ = ResolvedSettings.from_json(content["resolved"]), content["config"]
        return content

    def config(self) -> Config:
        """The configuration.  Raises RunError if it cannot be read."""
        content = read_json(self.config_path)
        with received(self.config_path):
            return parse.build(parse.unnest(content["config"]))

    def resolved(self) -> ResolvedSettings:
        """The settings resolved for the images.  Raises RunError if they cannot be read."""
        content = read_json(self.config_path)
        with received(self.config_path):
            return ResolvedSettings.from_json(content["resolved"])

    def summary(self) -> TrainingSummary | None:
        """The result of the training, or None if it is not finished.

        Raises:
            RunError: if it cannot be read.
        """
        if not self.summary_path.exists():
            return None
        content = read_json(self.summary_path, text=summary_text)
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


def root_of(root: str | Path) -> Path:
    """A folder of runs as a Path.  Raises UsageError for what is no path."""
    check_paths(root=root)
    return Path(root)


def last(root: str | Path = ROOT) -> str | None:
    """The name of the latest run, if it is still there."""
    root = root_of(root)
    if not (root / LAST).is_file():
        return None
    try:
        name = (root / LAST).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name if ALLOWED.fullmatch(name) and (root / name).is_dir() else None


def set_last(run: Run) -> None:
    """Make a run the latest, unless it is in a hidden folder, which is that of a training that has just begun."""
    check_type("run", run, Run, "a `Run`", hint="`randhead.runs.find` finds it")
    if run.name.startswith("."):
        return
    atomic_write(run.path.parent / LAST, run.name + "\n")


def describe(config: Config, settings: ResolvedSettings) -> dict[str, Any]:
    """The content of config.json, also in every checkpoint.

    It has the configuration, the resolved settings, the versions of libraries, and the device with the number of its
    threads and the precision, on which the last bits of a result depend.
    """
    check_type("config", config, Config, "a configuration", hint=CONFIGURE)
    check_type("settings", settings, ResolvedSettings, "the settings resolved for the images")
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
    check_type("run", run, Run, "a `Run`")
    write_json(run.config_path, describe(config, settings))


def text_of(path: Path) -> str:
    """The text of a file in UTF-8."""
    return path.read_text(encoding="utf-8")


def read_json(path: Path, *, hint: str = TRAIN_AGAIN, text: Callable[[Path], str] = text_of) -> dict[str, Any]:
    """The content of a JSON file, which may come from anybody; `text` reads it.

    Raises:
        RunError: if it is no object of JSON.
    """
    if path.exists() and not path.is_file():  # reading a FIFO would wait for ever
        raise RunError(f"{path}: not a regular file", hint=hint)
    try:
        content = json.loads(text(path), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({error})", hint=hint) from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: not a file of randhead", hint=hint)
    return content


def _refuse(constant: str) -> None:
    """NaN and infinity, which are no JSON, and which no file of a run has."""
    raise ValueError(f"{constant} is no JSON")
