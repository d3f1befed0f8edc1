"""Conversion of settings: from dotted keys, TOML and JSON to a configuration and back.

An unknown key, a wrong type and a value out of bounds are errors that name the setting.
"""

import dataclasses
import difflib
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from randhead import registry
from randhead.config import data_source, recipes
from randhead.config.schema import SECTIONS, Config
from randhead.config.setting import Setting
from randhead.errors import UsageError, guess

MOST_SHOWN = 60  # characters of a line
OF_FILES = {"data.name": "datasets", "head.vectors": "vectors"}  # settings that may be the path of a Python file


@functools.cache
def settings() -> dict[str, Setting]:
    """All settings by their dotted names, in the order of the configuration."""
    return {about.key: about for part in (Config, *SECTIONS) for about in part.settings()}


def check_value(key: str, value: Any, name: str | None = None) -> None:
    """Check one value as the configuration does, for functions that take the same argument.

    Args:
        key: the dotted name of the setting.
        value: the value.
        name: the name in the error message; by default the key.

    Raises:
        UsageError: if the value has a wrong type, is out of bounds or is none of the choices.

    Example:
        >>> check_value("head.scoring", "cosine")
        >>> try:
        ...     check_value("head.scale", -1.0, "scale")
        ... except UsageError as error:
        ...     print(error)
        scale must be a positive number, got -1.0
    """
    settings()[key].check(value, name)


def configure(chosen: Mapping[str, Any]) -> Config:
    """Build the configuration that `randhead train` would use for these settings.

    Args:
        chosen: dotted names with values, which may be text; all other settings are those of the recipe, or defaults.

    Returns:
        The configuration; a folder of images is an absolute path in it.

    Raises:
        UsageError: for an unknown setting, a value that is not allowed, or an unknown member of a family.
        DataError: for a folder of images that does not exist.

    Example:
        >>> configure({"recipe": "fair", "train.epochs": "5"}).train.epochs
        5
    """
    config = build(recipes.settings(_with_absolute_folder(chosen)))
    flat = flatten(config)
    for key, about in settings().items():
        if about.family and flat[key] != about.default:
            registry.check(about.family, registry.split(flat[key])[0])
    return config


def use_files(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Register the members of Python files among the settings that the user has typed.

    Args:
        typed: dotted names with values.  Not settings that were read from a file, which must not execute another file.

    Returns:
        The settings, with absolute paths of Python files.
    """
    used = dict(typed)
    for key, family in OF_FILES.items():
        if registry.is_file(str(typed.get(key, ""))):
            registry.use(family, typed[key])
            used[key] = registry.absolute(typed[key])
    return used


def build(values: Mapping[str, Any]) -> Config:
    """Build a configuration from dotted keys; settings that are not given keep their default.

    Args:
        values: dotted names with values; strings ("0.1") are converted, as they come from the command line.

    Raises:
        UsageError: for an unknown key, and for a value of a wrong type or out of bounds.
    """
    known = settings()
    parts: dict[str, dict[str, Any]] = {part.section: {} for part in (Config, *SECTIONS)}
    for key, value in values.items():
        if key not in known:
            raise unknown_key(key)
        parts[key.rpartition(".")[0]][known[key].name] = known[key].convert(value)
    top = parts.pop("")
    made: dict[str, Any] = {part.section: part(**parts[part.section]) for part in SECTIONS}
    return Config(**top, **made)


def flatten(config: Config) -> dict[str, Any]:
    """A configuration as a flat dictionary with dotted keys."""
    return unnest(nest(config))


def nest(config: Config) -> dict[str, Any]:
    """A configuration as a nested dictionary for JSON: one object per section."""
    return dataclasses.asdict(config)


def unnest(content: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `nest`, up to types: sections to dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def read_file(path: Path) -> dict[str, Any]:
    """The dotted settings of a TOML file, or of the config.json of a run, which are all settings of that run.

    Raises:
        UsageError: if it cannot be read.
    """
    content = read_tables(path)
    if isinstance(of_run := content.get("config"), dict):  # settings that came after the run have their defaults
        return flatten(build(unnest(of_run)))
    found, of_run_too = unnest(content), path.parent / "config.json"
    if path.suffix == ".json" and not set(found) & set(settings()) and of_run_too != path and of_run_too.is_file():
        raise UsageError(f"{path}: not a file of settings", hint=f"give {of_run_too}")
    return found


def read_tables(path: Path) -> dict[str, Any]:
    """The content of a TOML or JSON file, as it is nested.  Raises UsageError if it cannot be read."""
    import tomllib  # takes 3 ms, and few commands read a file

    kind, line = ("JSON", '{"optim.lr": 0.1}') if path.suffix == ".json" else ("TOML", "optim.lr = 0.1")
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin files with a mark
        content = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except OSError as error:
        inside = path / "config.json"
        hint = f"give {inside}" if inside.is_file() else "give the path of a TOML file, or of the config.json of a run"
        raise UsageError(f"{path}: {error.strerror}", hint=hint) from None
    except (ValueError, RecursionError) as error:  # also of integers that have too many digits for Python
        stated = tomllib.TOMLDecodeError | UnicodeDecodeError | json.JSONDecodeError
        reason = error if isinstance(error, stated) else _beyond_limits(path)
        raise UsageError(f"{path}: not a {kind} file ({reason})", hint=f"it looks like: {line}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a file of settings", hint=f"it looks like: {line}")
    return content


def _beyond_limits(path: Path) -> str:
    """The line of a TOML file that is beyond the limits of Python: its longest."""
    lines = path.read_text(encoding="utf-8").splitlines()
    number = max(range(len(lines)), key=lambda i: len(lines[i]))
    key = lines[number].partition("=")[0].strip()[:MOST_SHOWN]
    return f"line {number + 1}, {key}: a number of too many digits, or too many brackets"


def parse_assignment(text: str, *, example: str = "`optim.momentum=0.8`") -> tuple[str, str]:
    """'optim.lr=0.1' -> ('optim.lr', '0.1').  Raises UsageError, with an example, for text without a key or a value."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"the setting {text!r} has no value", hint=f"write for example {example}")
    return key.strip(), value.strip()


def digest(config: Config) -> str:
    """Six hex digits that identify everything that changes the result."""
    import hashlib  # takes 3 ms, which `--help` would have to wait for

    def counts(key: str, value: Any) -> bool:
        about = settings()[key]
        return not key.startswith("machine.") and not (about.later and value == about.default)

    identity = {key: value for key, value in flatten(config).items() if counts(key, value)}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:6]


def differences(new: Config, old: Config) -> list[str]:
    """The settings in which two runs differ, one line per setting; settings of the machine do not count."""
    left, right = flatten(new), flatten(old)
    keys = (key for key in left if left[key] != right[key] and not key.startswith("machine."))
    return [f"{key}: saved {_shown(key, right[key])}, requested {_shown(key, left[key])}" for key in keys]


def _shown(key: str, value: Any) -> str:
    """A value in a message; class vectors are called by the names of the two arms."""
    return ("learned" if value else "fixed") if key == "head.trainable" else repr(value)


def unknown_key(key: str) -> UsageError:
    """The error for it: the setting that is probably meant, or the settings of its section, or the sections."""
    sections = {part.section: [about.name for about in part.settings()] for part in SECTIONS}
    section, _, name = key.partition(".") if "." in key else ("", "", key)
    if key in sections:
        hint = f"it is a section, with the settings {', '.join(sections[key])}"
    elif meant := _similar(key, name, 1.0) or _described(section, name) or _similar(key, name, 0.7):
        hint = guess(meant, [meant]).strip()
    elif section in sections:
        hint = f"settings in {section}: {', '.join(sections[section])}"
    else:
        hint = f"sections: {', '.join(sections)}"
    return UsageError(f"unknown setting {key!r}", hint=hint)


def _similar(key: str, name: str, cutoff: float) -> str | None:
    """The setting whose name, without its section, is most similar; of equal names, the one with the nearest key."""
    near = difflib.get_close_matches(name, {about.name for about in settings().values()}, n=1, cutoff=cutoff)
    same = [known for known, about in settings().items() if about.name in near]
    return next(iter(difflib.get_close_matches(key, same, n=1, cutoff=0)), None)


def _described(section: str, name: str) -> str | None:
    """The first setting whose help has the words of a name: "learning_rate" is optim.lr, "Learning rate; ...".

    A name of one word has to be in its section.
    """
    words = re.compile(rf"\b{re.escape(name.replace('_', ' '))}\b", re.IGNORECASE)
    found = [key for key, about in settings().items() if name and words.search(about.help)]
    own = [key for key in found if key.startswith(f"{section}.")]
    return next(iter(own or (found if "_" in name or not section else [])), None)


def _with_absolute_folder(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """A folder of images is part of a run's identity, so it is kept as an absolute path."""
    data = chosen.get("data.name")
    if data:
        check_value("data.name", data)
    found = data_source.find(data) if data and isinstance(data, str) else None
    return {**chosen, "data.name": str(found.resolve())} if isinstance(found, Path) else dict(chosen)
