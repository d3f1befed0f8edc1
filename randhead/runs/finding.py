"""Finding runs: by name, by path, by configuration."""

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import NoneType

from randhead import registry
from randhead.arguments import check_paths, check_type
from randhead.config import Config, parse
from randhead.errors import RunError, UsageError, guess
from randhead.runs.folder import ALLOWED, CONFIGURE, LAST, ROOT, Run, last, root_of
from randhead.runs.lock import repair
from randhead.runs.replacement import interrupted, is_remainder

TRAIN_FIRST = "train one first: `randhead train`"


def default_name(config: Config) -> str:
    """The default name of a run: equal configurations have equal names, different ones have different names.

    It is <dataset>-<backbone>-<scoring>-<fixed|learned>-<geometry>-seed<seed>-<digest of all settings>.
    """
    _check_config(config)
    head = config.head
    kind = "learned" if head.trainable else "fixed"
    parts = [
        data_label(config),
        config.backbone.name,
        head.scoring,
        kind,
        registry.split(registry.label(head.vectors))[0],
    ]
    return "-".join([*map(slug, parts), f"seed{config.train.seed}", parse.digest(config)])


def data_label(config: Config) -> str:
    """The short name of the data for people: that of a folder without where it is."""
    data = config.data.name
    return Path(data).name if "/" in data and not registry.is_file(data) else registry.label(data)


def open_run(root: str | Path, name: str, config: Config, *, fresh: bool = False) -> Run:
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
    check_type("name", name, str, "text")
    _check_config(config)
    if not ALLOWED.fullmatch(name) or name == LAST:
        raise UsageError(f"a run cannot be named {name!r}", hint="use letters, digits and . _ + = -, no path")
    run = Run(root_of(root) / name)
    repair(run, also_begun=True)
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
    _check_config(config)
    check_type("run", run, Run, "a `Run`")
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
    check_paths(root=root)
    if isinstance(run, Run):
        return run
    check_type("run", run, (str, os.PathLike, NoneType), "a run: a name or a folder")
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


def all_runs(root: str | Path = ROOT) -> list[Run]:
    """The runs of a folder, sorted by name.  One whose replacement was interrupted is repaired first."""
    for path in interrupted(root_of(root)):
        repair(Run(path))
    return [Run(file.parent) for file in sorted(root_of(root).glob("*/config.json"))]


def check_different(runs: Iterable[Run]) -> None:
    """Raise UsageError for a run that is given twice."""
    folders = [run.path.resolve() for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError(f"run {folder.name} is given twice", hint="give different runs")


def slug(text: str) -> str:
    """A text as part of a file name, of at most 60 characters."""
    check_type("text", text, str, "text")
    return re.sub(r"[^A-Za-z0-9._]+", "_", text).strip("._")[:60] or "data"


def _check_config(config: object) -> None:
    check_type("config", config, Config, "a configuration", hint=CONFIGURE)


def _is_path(text: str) -> bool:
    """Whether a text names a folder by its path, not by its name in the folder of the runs."""
    return "/" in text or os.sep in text
