"""The definition of a setting of a run: its help text, its bounds or choices, and its option.

Everything about a setting is defined once, on its field in `randhead.config.schema`:

    epochs: int = setting(20, "Number of training epochs.", bounds=AT_LEAST_ONE, option=Option("--epochs", TRAINING))

The checks, the options of `randhead train`, and the list of `randhead train --settings` are derived from it.
"""

import dataclasses
import functools
import math
import numbers
import types
from dataclasses import dataclass
from typing import Any, TypeVar

from randhead.arguments import is_whole, one_of, shown
from randhead.errors import UsageError

T = TypeVar("T")
SETTING = "setting"  # the key of a field's metadata
UNSET_WORDS = ("none", "auto")  # the words for None in `--set KEY=` and in TOML, which has no null
LARGEST = {int: 2**63 - 1, float: (2 - 2**-23) * 2.0**127}  # of torch's int64 and float32
SMALLEST = 2.0**-126  # of float32: less is 0, or loses digits
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Interval:
    """An interval of finite numbers from `low` to `high`; an open end does not belong to it.

    Example:
        >>> 1.0 in Interval(0, 1, open_high=True), str(Interval(8, 1024, unit="pixels"))
        (False, 'from 8 to 1024 pixels')
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    unit: str = ""

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, numbers.Real):  # true also for the numbers of NumPy
            return False
        number = int(value) if isinstance(value, numbers.Integral) else float(value)  # a seed has more bits than floats
        if isinstance(number, float) and not math.isfinite(number):
            return False
        above = number > self.low if self.open_low else number >= self.low
        return above and (number < self.high if self.open_high else number <= self.high)

    def __str__(self) -> str:
        """The interval in words, to be put after "must be"."""
        if math.isinf(self.high):
            at_least = {-math.inf: "a finite number", 0: "a positive number" if self.open_low else "zero or more"}
            return at_least.get(self.low, f"at least {self.low}")
        if self.open_low:
            return f"between {self.low} and {self.high}"
        if self.open_high:
            return f"in [{self.low}, {self.high})"
        high = "2^63 - 1" if self.high == 2**63 - 1 else self.high
        return f"from {self.low} to {high} {self.unit}".rstrip()


FINITE = Interval()
POSITIVE = Interval(0, open_low=True)
NOT_NEGATIVE = Interval(0)
AT_LEAST_ONE = Interval(1)
BELOW_ONE = Interval(0, 1, open_high=True)
WITHIN_ONE = Interval(0, 1, open_low=True, open_high=True)
SEED = Interval(0, 2**63 - 1)


@dataclass(frozen=True)
class Option:
    """The option of `randhead train` for a setting.

    Args:
        flags: its name as in Typer: "--scale", "--learned/--fixed".
        panel: the group of options that it belongs to.
        metavar: the placeholder for a value in `--help`; by default the type.
        hidden: whether `--help` leaves it out.
    """

    flags: str
    panel: str
    metavar: str = ""
    hidden: bool = False

    def names(self) -> tuple[str, ...]:
        """("--scale",) or, for a flag that can be negated, ("--learned", "--fixed")."""
        return tuple(self.flags.split("/"))


@dataclass(frozen=True)
class Setting:
    """One setting of a run.

    Args:
        help: one sentence for the reader of `--help`.
        bounds: the numbers that are allowed, or None for words.
        choices: the words that are allowed; empty if any text is allowed.
        family: the family whose members are the values, if there is one; a value may have an argument ("file:PATH").
        unset: the word for None: "auto" if a value is then chosen, "none" if the feature is off.
        option: its option, or None if it can be set only with `--set`.
        later: whether it came after 0.1.0: with its default, it changes no name of a run (`parse.digest`).
        key: the dotted name, such as "head.scoring".
        kind: the type of a value that is not None.
        optional: whether None is allowed.
        default: the default value.
    """

    help: str
    bounds: Interval | None = None
    choices: tuple[str, ...] = ()
    family: str = ""
    unset: str = "none"
    option: Option | None = None
    later: bool = False
    key: str = ""
    kind: type = str
    optional: bool = False
    default: Any = None

    @property
    def name(self) -> str:
        """The last part of the key, which is the name of the field."""
        return self.key.rpartition(".")[2]

    def check(self, value: Any, name: str | None = None) -> None:
        """Check a value.

        Args:
            value: the value.
            name: the name in the error message; by default the key.

        Raises:
            UsageError: if the value has a wrong type, is out of bounds or is none of the choices.
        """
        if value is None and self.optional:
            return
        name = name or self.key
        if self.kind in (bool, str) and not self.choices:
            require(isinstance(value, self.kind), name, f"be {_CONVERTERS[self.kind][1]}", value)
            require(self.kind is bool or "\0" not in value, name, "be text without NUL characters", value)
        if self.bounds is not None:
            require(self.kind is not int or is_whole(value), name, "be a whole number", value)
            require(not isinstance(value, bool) and value in self.bounds, name, f"be {self.bounds}", value)
            require(abs(value) <= LARGEST[self.kind], name, f"be at most {LARGEST[self.kind]:.3g}", value)
            require(not 0 < abs(value) < SMALLEST, name, f"be at least {SMALLEST:.3g}", value)
        if self.choices:
            one_of(name, value, self.choices)

    def convert(self, value: Any) -> Any:
        """Convert a value, or its text, to the type of the field; its bounds are not checked.

        Raises:
            UsageError: if it cannot be converted.
        """
        if self.optional and (value is None or (isinstance(value, str) and value in UNSET_WORDS)):
            return None
        try:
            return _CONVERTERS[self.kind][0](value)
        except (ValueError, TypeError, OverflowError, RecursionError):
            word = _CONVERTERS[self.kind][1]
            raise UsageError(f"{self.key} must be {word}, got {shown(value)}", hint=_another(self.key)) from None

    def shown(self, value: Any) -> str:
        """A value as the command line and TOML write it."""
        if value is None:
            return self.unset
        return str(value).lower() if self.kind is bool else f"{value:g}" if self.kind is float else str(value)

    def domain(self) -> str:
        """The values that are allowed, in a few words."""
        words = ("true", "false") if self.kind is bool else self.choices
        last = (self.unset,) if self.optional else ()
        if words:
            return " | ".join((*words, *last))
        metavar = self.option.metavar if self.option else ""
        return ", or ".join((str(self.bounds or metavar or _CONVERTERS[self.kind][1]), *last))


def setting(
    default: T,
    help: str,
    *,
    bounds: Interval | None = None,
    choices: tuple[str, ...] = (),
    family: str = "",
    unset: str = "none",
    option: Option | None = None,
    later: bool = False,
) -> T:
    """Define a field of a configuration with its bounds, its help text and its option.  Arguments as for `Setting`.

    Returns:
        The result of `dataclasses.field`, typed as the default, so that the annotation of the field is checked.
    """
    about = Setting(help, bounds, choices, family, unset, option, later)
    return dataclasses.field(default=default, metadata={SETTING: about})


@dataclass(frozen=True)
class Section:
    """Base class of the sections of a configuration: checks each field against its bounds and choices."""

    section = ""

    def __init_subclass__(cls, section: str = "") -> None:
        cls.section = section

    def __post_init__(self) -> None:
        for about in self.settings():
            about.check(getattr(self, about.name))

    @classmethod
    @functools.cache
    def settings(cls) -> tuple[Setting, ...]:
        """The settings of this section, each complete with its key, type and default."""
        found = [field for field in dataclasses.fields(cls) if SETTING in field.metadata]
        return tuple(_complete(field, cls.section) for field in found)


def _complete(field: "dataclasses.Field[Any]", section: str) -> Setting:
    kinds: list[Any] = [kind for kind in getattr(field.type, "__args__", (field.type,)) if kind is not types.NoneType]
    key = f"{section}.{field.name}" if section else field.name
    optional = isinstance(field.type, types.UnionType)
    about: Setting = field.metadata[SETTING]
    return dataclasses.replace(about, key=key, kind=kinds[0], optional=optional, default=field.default)


def require(condition: bool, key: str, rule: str, value: Any) -> None:
    """Raise UsageError unless the condition holds: "<key> must <rule>, got <value>"."""
    if not condition:
        raise UsageError(f"{key} must {rule}, got {shown(value)}", hint=_another(key))


def _another(key: str) -> str:
    return f"give another value: `{key}=...`"


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    return text in TRUE if text in (*TRUE, *FALSE) else _refuse()


def _whole(value: Any) -> int:
    fractional = isinstance(value, float) and not value.is_integer()
    return _refuse() if isinstance(value, bool) or fractional else int(value)


def _number(value: Any) -> float:
    return _refuse() if isinstance(value, bool) else float(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _refuse()


def _refuse() -> Any:
    raise ValueError


_CONVERTERS: dict[type, Any] = {
    bool: (_boolean, "true or false"),
    int: (_whole, "a whole number"),
    float: (_number, "a number"),
    str: (_text, "text"),
}
