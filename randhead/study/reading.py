"""A study from a TOML file, as in examples/studies.

title = "Fixed against learned"
seeds = 5
arms = ["dot-fixed", "sharp"]
control = "dot-fixed"

[settings]
recipe = "fair"
data.name = "cifar10"

[arm.sharp]
head.scale = 64

[tune]
optim.lr = [0.01, 0.03, 0.1]

[[claims]]
claim = "sharp > dot-fixed on accuracy"
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from randhead.config.parse import read_tables
from randhead.errors import RandheadError, UsageError
from randhead.study import arms
from randhead.study.arms import StudyArm
from randhead.study.claims import Claim
from randhead.study.design import Study
from randhead.study.documents import ANYTHING, FLAG, TEXT, WHOLE, Kind, entries
from randhead.study.seeds import as_seeds

TABLE = ANYTHING.by_name()
NUMBER_OF = "a number of seeds, or a list of seeds"
SEEDS = Kind(NUMBER_OF, NUMBER_OF, lambda value: WHOLE.accepts(value) or WHOLE.list().accepts(value))
KINDS = {
    "name": TEXT,
    "title": TEXT,
    "source": TEXT,
    "differs": TEXT,
    "cost": TEXT,
    "needs": TEXT,
    "seeds": SEEDS,
    "head_seeds": SEEDS,
    "tune_seeds": WHOLE.list(),
    "arms": TEXT.list(),
    "control": TEXT,
    "corruptions": FLAG,
    "severities": WHOLE.list(),
    "corruption_limit": WHOLE,
    "threads": WHOLE,
    "settings": TABLE,
    "arm": TABLE.by_name(),
    "tune": TABLE,
    "claims": TABLE.list(),
}
TEXTS = ("title", "source", "differs", "cost")
AS_THEY_ARE = ("control", "corruptions", "corruption_limit", "threads")


def read(path: str | Path) -> Study:
    """The study that a TOML file describes; what the file does not say has the defaults of `Study`.

    Args:
        path: the file.  Its name is that of the study, if it gives none.  It may also be the study.json of a study.

    Raises:
        UsageError: for a file that cannot be read, an unknown key, a value that cannot be used, a design that cannot be
            run, and a study that needs what randhead does not have yet.  The message begins with the path.
    """
    path = Path(path)
    content = read_tables(path)
    try:
        return Study.from_json(content) if path.suffix == ".json" else _study(path.stem, content)
    except RandheadError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from None


def _study(stem: str, content: Mapping[str, Any]) -> Study:
    found = entries("a study", content, KINDS, optional=dict.fromkeys(KINDS))
    if found["needs"]:
        raise UsageError(f"it cannot be run yet: it needs {_line(found['needs'])}", hint="choose another study")
    if not found["corruptions"]:
        for key in ("severities", "corruption_limit"):
            if found[key] is not None:
                raise UsageError(f"{key} without corruptions", hint="add: corruptions = true")
    chosen: dict[str, Any] = {key: _line(content[key]) for key in TEXTS if key in content}
    chosen |= {key: content[key] for key in AS_THEY_ARE if key in content}
    chosen |= {key: as_seeds(key, content[key]) for key in ("seeds", "head_seeds") if key in content}
    chosen |= {key: tuple(content[key]) for key in ("tune_seeds", "severities") if key in content}
    if "arms" in content or "arm" in content:
        chosen["arms"] = _arms(found["arms"] or (), found["arm"] or {})
    tune = flat(found["tune"] or {})
    return Study(
        name=found["name"] or stem,
        settings=flat(found["settings"] or {}),
        tune={key: tuple(value) if isinstance(value, list) else (value,) for key, value in tune.items()},
        claims=tuple(_claim(number, table) for number, table in enumerate(found["claims"] or (), start=1)),
        **chosen,
    )


def _arms(names: Sequence[str], tables: Mapping[str, Any]) -> tuple[StudyArm, ...]:
    """The arms of a list of names and of tables; a table that the list does not name is an arm too."""
    made = {name: StudyArm(name, flat(table)) for name, table in tables.items()}
    listed = tuple(made.get(name) or arms.named(name, made) for name in names)
    return (*listed, *(arm for name, arm in made.items() if name not in names))


def _claim(number: int, table: Mapping[str, Any]) -> Claim:
    texts = {key: _line(value) if isinstance(value, str) else value for key, value in table.items()}
    try:
        return Claim.from_json(texts)
    except UsageError as error:
        raise UsageError(f"claim {number}: {error.message}", hint=error.hint) from None


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings with dotted names, of a table that may be nested.

    Example:
        >>> flat({"head": {"scale": 8}, "recipe": "fair"})
        {'head.scale': 8, 'recipe': 'fair'}

    Raises:
        UsageError: for a setting that is there twice, as a dotted name in quotes and as an entry of a table.
    """
    found: dict[str, Any] = {}
    for key, value in table.items():
        new = flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
        if twice := found.keys() & new.keys():
            raise UsageError(f"{min(twice)} is there twice", hint="leave one of them out")
        found |= new
    return found


def _line(text: str) -> str:
    """A text of several lines as one."""
    return " ".join(text.split())
