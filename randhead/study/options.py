"""A study from options: from the default, or from the study of a file, of which options have precedence."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from randhead import registry
from randhead.config import data_source, parse
from randhead.errors import UsageError
from randhead.study import arms as arms_
from randhead.study import checks, claims, plan
from randhead.study.arms import StudyArm
from randhead.study.claims import Claim
from randhead.study.design import DATA, Study
from randhead.study.documents import FOLDER_NAME
from randhead.study.seeds import as_seeds

CHANGED = "Options have changed these settings of the file:"
NAMED = "study"  # if nothing else names it


def designed(
    base: Study | None = None,
    *,
    name: str | None = None,
    data: str | Path | None = None,
    arms: str | Sequence[str] | None = None,
    arm: Sequence[str] = (),
    control: str | None = None,
    seeds: int | str | Sequence[int] | None = None,
    head_seeds: int | str | Sequence[int] | None = None,
    set: Sequence[str] = (),
    tune: Sequence[str] = (),
    claim: Sequence[str] = (),
    corruptions: bool | None = None,
    severities: Sequence[int] | None = None,
    corruption_limit: int | None = None,
    hold_out_classes: int | str | None = None,
    threads: int | None = None,
) -> Study:
    """The study that options describe; all are as a user types them, and None leaves what the base has.

    Args:
        base: the study of a file; None for the default: digits, four arms, five seeds.
        name: of the study; by default that of the base, or that of the images.
        data: a dataset, a folder of images, or a Python file, which is executed.
        arms: names of the arms, "a,b" or a list: of `arm`, of the base, or names that say what they are.
        arm: more arms as text, "name: key=value key=value"; one of a known name replaces that arm.
        control: the arm that the others are compared with.
        seeds: a number of training seeds, or which: 5, "5-9", "0,3,7".
        head_seeds: the same for seeds of the class vectors, which are then crossed with the training seeds.
        set: settings of all arms, "key=value".
        tune: settings with the values that every arm tries, "key=value,value".
        claim: claims, added to those of the base.  A claim of the base is dropped if the options leave out what it is
            about: one of its arms, or the corruptions.
        corruptions: whether accuracy under image corruptions is measured.
        severities: of the corruptions.
        corruption_limit: number of test images that are corrupted.
        hold_out_classes: classes left out of training, on which transfer is measured: a number, or names.
        threads: of a training on the CPU.

    Raises:
        UsageError: for what cannot be read, run or tested.
        DataError: for a folder of images that does not exist.

    Example:
        >>> study = designed(arms="dot-fixed,dot-learned", seeds=3, set=["train.epochs=5"])
        >>> study.name, study.seeds, dict(study.settings)
        ('digits', (0, 1, 2), {'train.epochs': 5})
    """
    found = base or Study(NAMED)
    typed = dict(map(parse.parse_assignment, set))
    typed |= {} if data is None else {"data.name": str(data)}
    typed |= {} if hold_out_classes is None else {"data.hold_out_classes": str(hold_out_classes)}
    settings = {**found.settings, **parse.use_files(typed)}
    if "data.name" in settings:
        settings["data.name"] = _absolute(settings["data.name"])
    chosen: dict[str, Any] = {
        "name": name or (base.name if base else _name(settings.get("data.name", DATA))),
        "arms": _arms(found, arms, arm),
        "settings": settings,
        "seeds": None if seeds is None else as_seeds("seeds", seeds),
        "head_seeds": None if head_seeds is None else as_seeds("head_seeds", head_seeds),
        "tune": {**found.tune, **_grid(tune)},
        "corruptions": corruptions,
        "severities": None if severities is None else tuple(severities),
        "corruption_limit": corruption_limit,
        "threads": threads,
    }
    made = replace(found, **{key: value for key, value in chosen.items() if value is not None}, control="", claims=())
    made = _with_claims(made, found, control, claim)
    if corruption_limit is not None and not made.corruptions:
        raise UsageError("corruption_limit without corruptions", hint="add `corruptions=True`")
    plan.check(made)
    return made


def _with_claims(made: Study, base: Study, control: str | None, claim: Sequence[str]) -> Study:
    """A study with its control arm, the claims of the base that it can test, and those that were typed."""
    names = [arm.name for arm in made.arms]
    kept = [c for c in base.claims if {c.first, c.second} <= {*names} and not checks.unmeasured(made, c.metric)]
    typed = [claims.parse(text) for text in claim]
    known = {c.text for c in kept}
    all_claims: tuple[Claim, ...] = (*kept, *(c for c in typed if c.text not in known))
    inherited = base.control if base.control in names else ""
    trainings = ("settings", "arms", "seeds", "head_seeds", "tune", "corruptions", "corruption_limit")
    same = all(getattr(made, key) == getattr(base, key) for key in trainings)
    made = replace(made, cost=base.cost if same else "", differs=_with_changes(base, made))
    return replace(made, control=control or inherited, claims=all_claims)


def _with_changes(base: Study, made: Study) -> str:
    """What differs from the source, with the settings of the base that options have changed."""
    settings = {key: value for key, value in made.settings.items() if base.settings.get(key) != value}
    changed = [f"{key} = {value}" for key, value in settings.items() if key != "data.name"]
    if not base.differs or not changed:
        return base.differs
    return f"{base.differs} {CHANGED} {', '.join(changed)}."


def _arms(base: Study, names: str | Sequence[str] | None, texts: Sequence[str]) -> tuple[StudyArm, ...]:
    """The arms: those that are named, or all of the base; then those that are given as text."""
    given = dict(map(arms_.parts, texts))
    made = {arm: StudyArm(arm, parse.use_files(settings)) for arm, settings in given.items()}
    if len(made) < len(texts):
        raise UsageError("two arms have the same name", hint="give every arm a name of its own")
    known = {**{arm.name: arm for arm in base.arms}, **made}
    if names is None:
        return tuple(known.values())
    listed = list(_split(names))
    chosen = [known.get(arm) or arms_.named(arm, known) for arm in listed]
    return (*chosen, *(arm for arm in made.values() if arm.name not in listed))


def _grid(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """['optim.lr=0.1,0.2'] -> {'optim.lr': ('0.1', '0.2')}.  Raises UsageError for a text of another form."""
    example = "`tune='optim.lr=0.01,0.03,0.1'`"
    given = [parse.parse_assignment(text, example=example) for text in texts]
    for key in checks.repeated(key for key, _ in given):
        raise UsageError(f"tune: {key} is given twice", hint=f"give all values at once: {key}=0.01,0.03,0.1")
    return {key: tuple(_split(values)) for key, values in given}


def _split(names: str | Sequence[str]) -> Iterable[str]:
    return filter(None, (word.strip() for word in (names.split(",") if isinstance(names, str) else names)))


def _absolute(data: str) -> str:
    """The name of a dataset, or the absolute path of a folder: workers may start elsewhere."""
    found = data_source.find(data)
    return str(found.resolve()) if isinstance(found, Path) else found


def _name(data: str) -> str:
    """The name of a study of some images: that of the dataset, of the folder or of the file, if it can be one."""
    label = Path(registry.label(data)).name
    return label if FOLDER_NAME.fullmatch(label) else NAMED
