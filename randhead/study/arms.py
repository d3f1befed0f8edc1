"""Arms of a study: what is compared, as a name and the settings in which an arm differs from the others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from randhead import registry
from randhead.config import settings
from randhead.config.parse import parse_assignment
from randhead.errors import UsageError, unknown

DEFAULT = ("dot-fixed", "dot-learned", "cosine-fixed", "cosine-learned")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,59}")  # part of the name of a run folder
SCORINGS = ("dot", "cosine")
KINDS = {"fixed": False, "learned": True}
SEEDS = ("train.seed", "train.head_seed")


@dataclass(frozen=True)
class StudyArm:
    """An arm: all its runs have the settings of the study, and these.

    Attributes:
        name: letters, digits and . _ + = -
        settings: dotted names with values; no seeds, which belong to the study.
    """

    name: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UsageError(f"an arm cannot be named {self.name!r}", hint="use letters, digits and . _ + = -")
        for key in self.settings:
            if key in SEEDS:
                raise UsageError(f"arm {self.name} sets {key}", hint="seeds belong to the study: `seeds`, `head_seeds`")
            if key not in settings():
                raise unknown("setting", key, settings())

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"name": self.name, "settings": dict(self.settings)}


def named(name: str) -> StudyArm:
    """An arm by a name that says what it is: SCORING-fixed or SCORING-learned, and the geometry if not the default.

    Raises:
        UsageError: for any other name.

    Example:
        >>> named("cosine-fixed-simplex").settings
        {'head.scoring': 'cosine', 'head.trainable': False, 'head.vectors': 'simplex'}
    """
    scoring, _, rest = name.partition("-")
    kind, _, geometry = rest.partition("-")
    if scoring not in SCORINGS or kind not in KINDS:
        hint = f"arms with a name of their own: {', '.join(DEFAULT)}, each also with -GEOMETRY; others need settings"
        raise UsageError(f"unknown arm {name!r}", hint=hint)
    found: dict[str, Any] = {"head.scoring": scoring, "head.trainable": KINDS[kind]}
    if geometry:
        registry.check("vectors", geometry)
        found["head.vectors"] = geometry
    return StudyArm(name, found)


def parse(text: str) -> StudyArm:
    """An arm from text: "name: key=value key=value".

    Raises:
        UsageError: for text without a name or with a setting that does not exist.

    Example:
        >>> parse("sharp: head.scoring=cosine head.scale=64").settings
        {'head.scoring': 'cosine', 'head.scale': '64'}
    """
    name, colon, rest = text.partition(":")
    if not colon:
        raise UsageError(f"arm {text!r} has no settings", hint='write for example "sharp: head.scale=64"')
    return StudyArm(name.strip(), dict(parse_assignment(word) for word in rest.split()))
