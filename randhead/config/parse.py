"""Settings as text: dotted keys, TOML and JSON to a configuration and back.

An unknown key, a wrong type and a value out of bounds are errors that name the setting.
"""

import dataclasses
import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from randhead.config import Config
from randhead.errors import UsageError, guess


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A configuration as one level of dotted keys."""
    flat = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{item.name}.")
        else:
            flat[prefix + item.name] = value
    return flat


def build(settings: Mapping[str, Any]) -> Config:
    """A configuration from dotted keys; what is not named keeps its default.

    Values may be strings ("0.1"), as they come from `--set`.  Raises UsageError for unknown keys, types and bounds.
    """
    kinds = _kinds(Config)
    sections: dict[str, dict[str, Any]] = {}
    top = {}
    for key, value in settings.items():
        if key not in kinds:
            hint = guess(key, kinds).strip() or f"sections: {', '.join(_sections())}"
            raise UsageError(f"unknown setting {key!r}", hint=hint)
        section, _, name = key.rpartition(".")
        target = sections.setdefault(section, {}) if section else top
        target[name] = _convert(key, value, kinds[key])
    parts = {name: kind(**sections.get(name, {})) for name, kind in _sections().items()}
    return Config(**top, **parts)


def read_toml(path: Path) -> dict[str, Any]:
    """The dotted settings of a TOML file.  Raises UsageError where it cannot be read."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="give the path of a TOML file to --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file ({error})", hint="a line looks like: optim.lr = 0.1") from None
    return unnest(content)


def nest(config: Config) -> dict[str, Any]:
    """A configuration as JSON shows it: one object a section."""
    return dataclasses.asdict(config)


def unnest(content: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `nest`, up to types: sections to dotted keys."""
    flat = {}
    for key, value in content.items():
        flat |= {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def parse_assignment(text: str) -> tuple[str, str]:
    """'optim.lr=0.1' -> ('optim.lr', '0.1')."""
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"--set {text!r} has no value", hint="write --set optim.momentum=0.8")
    return key.strip(), value.strip()


def digest(config: Config) -> str:
    """Six hex digits that stand for everything that changes the result."""
    identity = {key: value for key, value in flatten(config).items() if not key.startswith("machine.")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:6]


def differences(ours: Config, theirs: Config) -> list[str]:
    """The settings in which two runs differ, one line each; the machine's do not count."""
    left, right = flatten(ours), flatten(theirs)
    keys = (key for key in left if left[key] != right[key] and not key.startswith("machine."))
    return [f"{key}: {right[key]!r} there, {left[key]!r} here" for key in keys]


def _sections() -> dict[str, type]:
    hints = typing.get_type_hints(Config)
    return {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}


def _kinds(config: type, prefix: str = "") -> dict[str, Any]:
    """The type of every dotted key."""
    kinds: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(config).items():
        kinds |= _kinds(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else {prefix + name: kind}
    return kinds


def _convert(key: str, value: Any, kind: Any) -> Any:
    """A value, or the text of one, as the type of its field."""
    optional = isinstance(kind, types.UnionType)
    if optional:
        if value is None or value in ("none", "auto"):
            return None
        kind = next(option for option in kind.__args__ if option is not types.NoneType)
    try:
        return _TYPES[kind](value)
    except (ValueError, TypeError):
        word = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        raise UsageError(f"{key} must be {word}, got {value!r}", hint=f"give another value: --set {key}=...") from None


def _boolean(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    text = str(value).lower()
    if text not in words:
        raise ValueError
    return words[text]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_TYPES = {bool: _boolean, int: _whole, float: _number, str: _text}
