"""Arms of a study: what is compared, as a name and the settings in which an arm differs from the others."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from randhead import registry
from randhead.config.parse import parse_assignment
from randhead.errors import UsageError, guess
from randhead.study import setting_values
from randhead.study.documents import SETTING, TEXT, entries

DEFAULT = ("dot-fixed", "dot-learned", "cosine-fixed", "cosine-learned")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,59}")  # part of the name of a run folder
SCORINGS = ("dot", "cosine")
KINDS = {"fixed": False, "learned": True}
EXAMPLE = '"sharp: head.scoring=cosine head.scale=64"'


@dataclass(frozen=True)
class StudyArm:
    """An arm: all its runs have the settings of the study, and these.

    Attributes:
        name: letters, digits and . _ + = -
        settings: dotted names with values, which are converted to the types of the settings; no seeds, which belong to
            the study.
    """

    name: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UsageError(f"an arm cannot be named {self.name!r}", hint="use letters, digits and . _ + = -")
        object.__setattr__(self, "settings", setting_values.convert(f"arm {self.name}", self.settings))

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"name": self.name, "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, document: Any) -> "StudyArm":
        """The inverse of `to_json`.  Raises UsageError for a document of another form."""
        return cls(**entries("an arm", document, {"name": TEXT, "settings": SETTING.by_name()}))


def named(name: str, others: Iterable[str] = ()) -> StudyArm:
    """An arm by a name that says what it is: SCORING-fixed or SCORING-learned, and the geometry if not the default.

    Args:
        name: the name.
        others: names of arms that are known too, for the message.

    Raises:
        UsageError: for any other name.

    Example:
        >>> named("cosine-fixed-simplex").settings
        {'head.scoring': 'cosine', 'head.trainable': False, 'head.vectors': 'simplex'}
    """
    found = said(name)
    if not found:
        names = list(dict.fromkeys([*others, *DEFAULT]))
        known = f"known: {', '.join(names)}; SCORING-fixed and SCORING-learned also with -GEOMETRY"
        raise UsageError(f"unknown arm {name!r}", hint=f"{guess(name, names)}{known}; others need settings")
    if geometry := "-".join(name.split("-")[2:]):
        registry.check("vectors", geometry)
    return StudyArm(name, found)


def said(name: str) -> dict[str, Any]:
    """The settings that the name of an arm speaks of, which its runs must have; none for most names.

    Example:
        >>> said("cosine-learned-64"), said("sharp")
        ({'head.scoring': 'cosine', 'head.trainable': True}, {})
    """
    scoring, _, rest = name.partition("-")
    kind, _, geometry = rest.partition("-")
    if scoring not in SCORINGS or kind not in KINDS:
        return {}
    found: dict[str, Any] = {"head.scoring": scoring, "head.trainable": KINDS[kind]}
    return found | ({"head.vectors": geometry} if geometry in registry.names("vectors") else {})


def parse(text: str) -> StudyArm:
    """An arm from text: "name: key=value key=value"; a value with spaces is in quotes.

    Raises:
        UsageError: for text without a name or with a setting that does not exist.

    Example:
        >>> parse("sharp: head.scoring=cosine head.scale=64").settings
        {'head.scoring': 'cosine', 'head.scale': 64.0}
    """
    name, given = parts(text)
    return StudyArm(name, given)


def parts(text: str) -> tuple[str, dict[str, str]]:
    """The name and the settings, as they are typed, of an arm as text.  Raises UsageError for text of another form."""
    name, colon, rest = text.partition(":")
    if not colon:
        raise UsageError(f"arm {text!r} has no settings", hint=f"write for example {EXAMPLE}")
    words = shlex.shlex(rest, posix=True)
    words.whitespace_split, words.escape, words.commenters = True, "", ""  # paths of Windows have backslashes
    try:
        found = list(words)
    except ValueError:
        raise UsageError(f"arm {text!r}: a quotation mark is not closed", hint=f"write for example {EXAMPLE}") from None
    given = dict(parse_assignment(word, example=EXAMPLE) for word in found)
    if len(given) < len(found):
        raise UsageError(f"arm {text!r} has a setting twice", hint="leave one of them out")
    return name.strip(), given
