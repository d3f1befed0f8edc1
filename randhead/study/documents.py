"""Strict reading of documents that may come from anybody: every entry is known, present, and of its type.

An error names the entry; the caller knows the file, and puts it before the message (`runs.folder.received`).
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from randhead.arguments import LARGEST, is_number, is_whole, shown
from randhead.errors import UsageError, unknown

LONGEST = 10_000  # characters of a text
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,199}")  # never a path
MOST = 100_000  # items of a list, or entries of an object


@dataclass(frozen=True)
class Kind:
    """A type of an entry: what it is in words, for one and for many of them, and a test."""

    words: str
    many: str
    accepts: Callable[[Any], bool]

    def list(self) -> "Kind":
        """A list of such values."""
        words = f"of {self.many}"
        return Kind(
            f"a list {words}", f"lists {words}", lambda value: _is_list(value) and all(map(self.accepts, value))
        )

    def by_name(self) -> "Kind":
        """An object with such values."""

        def accepts(value: Any) -> bool:
            return isinstance(value, Mapping) and len(value) <= MOST and all(map(self.accepts, value.values()))

        return Kind(f"a table of {self.many}", f"tables of {self.many}", accepts)

    def or_none(self) -> "Kind":
        """Such a value, or null."""
        words = f"{self.words}, or null"
        return Kind(words, f"{self.many}, or null", lambda value: value is None or self.accepts(value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) <= MOST


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST and "\0" not in value


def _is_folder_name(value: Any) -> bool:
    return _is_text(value) and FOLDER_NAME.fullmatch(value) is not None


def _is_setting(value: Any) -> bool:
    return value is None or isinstance(value, bool) or _is_text(value) or _is_finite(value)


def _is_flat(value: Any) -> bool:
    return _is_setting(value) or SETTING.by_name().accepts(value)


def _is_finite(value: Any) -> bool:
    return is_number(value) and abs(value) <= sys.float_info.max  # an integer may have thousands of digits


TEXT = Kind("text", "texts", _is_text)
FLAG = Kind("true or false", "true or false", lambda value: isinstance(value, bool))
WHOLE = Kind("a whole number", "whole numbers", lambda value: is_whole(value) and 0 <= value <= LARGEST)
NUMBER = Kind("a finite number", "finite numbers", _is_finite)
FOLDER = Kind("the name of a folder", "names of folders", _is_folder_name)
SETTING = Kind("the value of a setting", "values of settings", _is_setting)
FLAT = Kind("a value, or a table of values", "values and tables of values", _is_flat)
ANYTHING = Kind("a value", "values", lambda value: True)


def entries(what: str, content: Any, kinds: Mapping[str, Kind], *, optional: Mapping[str, Any] | None = None) -> Any:
    """The entries of an object, checked.

    Args:
        what: the object, in words, for messages.
        content: the object.
        kinds: the type of every entry that it can have.
        optional: the entries that may be missing, with their defaults.

    Returns:
        The entries with their values, a dictionary.

    Raises:
        UsageError: for what is no object, an entry that is not known, one that is missing, and one of another type.

    Example:
        >>> entries("arm", {"name": "a"}, {"name": TEXT, "title": TEXT}, optional={"title": ""})
        {'title': '', 'name': 'a'}
    """
    if not isinstance(content, Mapping):
        raise UsageError(f"{what}: not an object with entries, but {shown(content)}")
    found = {**(optional or {}), **content}
    for key in content:
        if key not in kinds:
            raise unknown(f"entry of {what}", key, kinds)
    for key, kind in kinds.items():
        if key not in found:
            raise UsageError(f"{what}: no {key!r}", hint=f"it needs {key}: {kind.words}")
        if key in content and not kind.accepts(found[key]):
            raise UsageError(f"{what}: {key} must be {kind.words}, got {shown(found[key])}")
    return found


def check_format(what: str, content: Any, wanted: str) -> dict[str, Any]:
    """The entries of a document without that of its format.  Raises UsageError for a document of another format."""
    found = content.get("format") if isinstance(content, Mapping) else None
    if found != wanted:
        hint = f"its format is {wanted!r} here; a newer version of randhead may have written it"
        raise UsageError(f"not {what} (its format is {shown(found)})", hint=hint)
    return {key: value for key, value in content.items() if key != "format"}
