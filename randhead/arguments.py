"""Checks of the arguments of public functions: an error names the argument, what it must be, and what was given."""

import contextlib
import numbers
import os
import unicodedata
from types import NoneType
from typing import Any

from randhead.errors import UsageError, guess

DEVICES = ("auto", "cpu", "cuda")
LARGEST = 2**63 - 1  # of seeds and ids
MOST_CLASSES = 2**53  # beyond, floating-point numbers cannot count
LONGEST = 60  # characters of a value in a message


def check_type(name: str, value: object, kinds: type | tuple[type, ...], rule: str, *, hint: str | None = None) -> None:
    """Raise UsageError unless a value has one of the types: "<name> must be <rule>, got <value>".

    Example:
        >>> check_type("name", 3, str, "text")
        Traceback (most recent call last):
        randhead.errors.UsageError: name must be text, got 3
    """
    if not isinstance(value, kinds):
        raise UsageError(f"{name} must be {rule}, got {shown(value)}", hint=hint)


def whole(name: str, value: Any, low: int = 0, high: int = LARGEST) -> int:
    """A whole number from `low` to `high`, of Python or NumPy, as an int of Python.  Raises UsageError for others.

    Example:
        >>> try:
        ...     whole("seed", 1.5)
        ... except UsageError as error:
        ...     print(error)
        seed must be a whole number, got 1.5
    """
    hint = f"for example `{name}={max(low, 1)}`"
    if not is_whole(value):
        raise UsageError(f"{name} must be a whole number, got {shown(value)}", hint=hint)
    number = int(value)
    if not low <= number <= high:
        bound = f"at least {low}" if number < low else "below 2^63" if high == LARGEST else f"at most {high}"
        raise UsageError(f"{name} must be {bound}, got {number}", hint=hint)
    return number


def is_whole(value: object) -> bool:
    """Whether a value is an integer of Python or NumPy; True and False are none."""
    return not isinstance(value, bool) and isinstance(value, numbers.Integral)


def is_number(value: object) -> bool:
    """Whether a value is a real number of Python or NumPy, also NaN; True and False are none."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real)


def as_share(name: str, value: Any, slack: float = 0.0) -> float:
    """A share in [0, 1], or out of it by no more than `slack`, as a float of Python.  Raises UsageError for others."""
    if not is_number(value) or not -slack <= value <= 1 + slack:
        raise UsageError(f"{name} must be in [0, 1], got {shown(value)}", hint="a share, not percent")
    return float(value)


def several(name: str, value: Any, rule: str, *, kinds: type | tuple[type, ...] = object) -> tuple[Any, ...]:
    """The items of a collection, each of one of the types.  Raises UsageError for text, which is no collection here."""
    hint = f"give a list, `{name}=[...]`"
    try:
        items = None if isinstance(value, (str, bytes)) else tuple(value)
    except TypeError:  # arrays of no dimension have `__iter__` too
        items = None
    if items is None:
        raise UsageError(f"{name} must be {rule}, got {shown(value)}", hint=hint)
    for item in items:
        check_type(name, item, kinds, rule, hint=hint)
    return items


def has_controls(name: str) -> bool:
    """Whether a name has control characters, or bytes that are not UTF-8: no name of a class has.

    Example:
        >>> has_controls("caf" + chr(0xE9)), has_controls("a" + chr(27)), has_controls(chr(0xDCFF))
        (False, True, True)
    """
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def composed(name: str) -> str:
    """A name in the composed form of Unicode (NFC), in which names are compared: macOS unpacks archives decomposed.

    The name of a file whose bytes are UTF-8 is that text, also where the locale (LC_ALL=C) has another encoding.

    Example:
        >>> len("e" + chr(0x301)), len(composed("e" + chr(0x301)))
        (2, 1)
    """
    if not name.isprintable():  # Python decodes what the locale does not have as surrogates
        with contextlib.suppress(UnicodeError):
            name = os.fsencode(name).decode("utf-8")
    return unicodedata.normalize("NFC", name)


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UsageError, with the nearest choice, unless `value` is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        near = guess(value, choices) if isinstance(value, str) else ""
        hint = f"{near}known: {', '.join(choices)}"
        raise UsageError(f"{name}: unknown value {shown(value)}", hint=hint)


def check_paths(*, root: object, **given: object) -> None:
    """Raise UsageError unless the root is a path, and each other argument a path or None."""
    check_type("root", root, (str, os.PathLike), "a path")
    for name, value in given.items():
        check_type(name, value, (str, os.PathLike, NoneType), "a path")


def check_functions(*, progress: object = None, measuring: object = None, **given: object) -> None:
    """Raise UsageError unless each argument is a function; `progress` and `measuring` can be None."""
    optional = {"progress": progress, "measuring": measuring}
    for name, value in {**given, **{name: value for name, value in optional.items() if value is not None}}.items():
        if not callable(value):
            raise UsageError(f"{name} must be a function, got {shown(value)}", hint="give a function, or leave it out")


def shown(value: object) -> str:
    """A value in a message: as Python writes it; long text is cut, and other long values are named by their type."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits, or lists in lists without end
        return f"an object of type {type(value).__name__} that is too large to be shown"
    if len(text) <= LONGEST and "\n" not in text:
        return text
    return f"{text[:LONGEST]}..." if isinstance(value, str) else f"an object of type {type(value).__name__}"
