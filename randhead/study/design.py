"""The design of a study: which arms are compared, over which seeds, what is measured, and which claims are tested."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import prod
from pathlib import PurePath
from typing import Any

from randhead.config.parse import OF_FILES
from randhead.errors import unknown
from randhead.study import arms, checks, setting_values
from randhead.study.arms import StudyArm
from randhead.study.claims import Claim
from randhead.study.documents import ANYTHING, FLAG, FOLDER, SETTING, TEXT, WHOLE, check_format, entries

TUNING_SEED = 1_000_000  # the first seed of tuning runs, which are not reported
FORMAT = "randhead study 1"
RECIPE = {"recipe": "fair"}  # of a study that names none: equal settings in all arms
SMALL = {"backbone.name": "small_resnet", "train.epochs": 20, "train.batch_size": 64}  # of digits, unless set
DATA = "digits"
KINDS = {
    "name": FOLDER,
    "arms": ANYTHING.list(),
    "settings": SETTING.by_name(),
    "seeds": WHOLE.list(),
    "head_seeds": WHOLE.list().or_none(),
    "control": TEXT,
    "tune": SETTING.list().by_name(),
    "tune_seeds": WHOLE.list(),
    "corruptions": FLAG,
    "severities": WHOLE.list(),
    "corruption_limit": WHOLE.or_none(),
    "claims": ANYTHING.list(),
    "title": TEXT,
    "source": TEXT,
    "differs": TEXT,
    "cost": TEXT,
    "threads": WHOLE,
}
PARTS = ("name", "seeds", "head_seeds", "claims", "title", "source", "differs", "cost", "threads")


@dataclass(frozen=True)
class Study:
    """The design of a study.

    Attributes:
        name: of the study, and of its folder.
        arms: what is compared.
        settings: dotted settings of all arms: data, network, recipe, epochs; those of an arm have precedence.  Values
            are converted to the types of the settings.
        seeds: training seeds; every arm is trained with each.
        head_seeds: seeds of the class vectors, each crossed with each training seed; None for one per training seed,
            equal to it.
        control: the arm that all others are compared with; "" for the first learned arm, or the first.
        tune: settings with the values that every arm tries, all combinations, on the validation split.
        tune_seeds: seeds of these runs; no seed of a reported run.
        corruptions: whether accuracy under the 15 corruptions of the benchmark is measured.
        severities: the severities of these corruptions, in ascending order.
        corruption_limit: number of test images that are corrupted, stratified by class; None for all.
        claims: what is tested.
        title: what is compared, in words.
        source: where the claims are from.
        differs: what differs here from the source.
        cost: what a study of this size takes, in words.
        threads: threads of a training on the CPU; the last bits of a result depend on them.

    Raises:
        UsageError: for a design that cannot be run, or whose claims cannot be tested.
    """

    name: str
    arms: tuple[StudyArm, ...] = tuple(map(arms.named, arms.DEFAULT))
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    head_seeds: tuple[int, ...] | None = None
    control: str = ""
    tune: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    tune_seeds: tuple[int, ...] = (TUNING_SEED,)
    corruptions: bool = False
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    corruption_limit: int | None = None
    claims: tuple[Claim, ...] = ()
    title: str = ""
    source: str = ""
    differs: str = ""
    cost: str = ""
    threads: int = 1

    def __post_init__(self) -> None:
        tune = {
            key: tuple(setting_values.convert_value("tune", key, v) for v in given) for key, given in self.tune.items()
        }
        checked: dict[str, Any] = {
            "settings": setting_values.convert(f"study {self.name}", self.settings),
            "tune": tune,
        }
        learned = [arm.name for arm in self.arms if arm.settings.get("head.trainable") is True]
        checked["control"] = self.control or next(iter((*learned, *(arm.name for arm in self.arms))), "")
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        checks.check(self)
        object.__setattr__(self, "severities", tuple(sorted(self.severities)))  # as in records

    def arm(self, name: str) -> StudyArm:
        """The arm with a name.  Raises UsageError if there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise unknown("arm", name, [arm.name for arm in self.arms])

    @property
    def pairs_of_seeds(self) -> tuple[tuple[int, int], ...]:
        """(head seed, training seed) of the reported runs of every arm."""
        if self.head_seeds is None:
            return tuple((seed, seed) for seed in self.seeds)
        return tuple((head, seed) for head in self.head_seeds for seed in self.seeds)

    @property
    def number_of_reported_runs(self) -> int:
        """The number of trainings that are reported."""
        return len(self.arms) * len(self.pairs_of_seeds)

    @property
    def number_of_tuning_runs(self) -> int:
        """The number of trainings of the sweep."""
        return len(self.arms) * len(self.tune_seeds) * prod(map(len, self.tune.values())) if self.tune else 0

    @property
    def number_of_runs(self) -> int:
        """The number of trainings.

        Example:
            >>> Study("a").number_of_runs, Study("a", tune={"optim.lr": (0.01, 0.1)}).number_of_runs
            (20, 28)
        """
        return self.number_of_reported_runs + self.number_of_tuning_runs

    @property
    def common(self) -> dict[str, Any]:
        """The settings of all arms with those that a study has by default, but without those that are tuned.

        Without a recipe it is `fair`; that of digits, if no recipe is set, has a network and a length that suit its
        1,259 training images.

        Example:
            >>> Study("a").common["backbone.name"], Study("a", settings={"data.name": "cifar10"}).common
            ('small_resnet', {'recipe': 'fair', 'data.name': 'cifar10'})
        """
        small = SMALL if self.settings.get("data.name", DATA) == DATA and "recipe" not in self.settings else {}
        fixed = {key: value for key, value in {**small, **self.settings}.items() if key not in self.tune}
        return {**RECIPE, **fixed}

    def settings_of(self, arm: str) -> dict[str, Any]:
        """The settings of an arm, with those of all arms; without what is tuned, and without seeds."""
        return {**self.common, **self.arm(arm).settings}

    def identity(self) -> dict[str, Any]:
        """What is equal in the parts of one study, which may have other seeds, claims, texts and machines.

        A folder of images and a Python file count by their names only, since they are elsewhere on another machine;
        records have a fingerprint of the images.
        """
        found = {key: value for key, value in self.to_json().items() if key not in PARTS}
        return {
            **found,
            "name": self.name,
            "settings": _portable({"data.name": DATA, **self.common}),
            "arms": {arm.name: _portable(arm.settings) for arm in self.arms},
            "crossed": self.head_seeds is not None,
        }

    def to_json(self) -> dict[str, Any]:
        """The document, ready for JSON; floats keep every bit there."""
        lists = {name: list(getattr(self, name)) for name in ("seeds", "tune_seeds", "severities")}
        return {
            "format": FORMAT,
            **{f.name: getattr(self, f.name) for f in fields(self)},
            **lists,
            "head_seeds": None if self.head_seeds is None else list(self.head_seeds),
            "arms": [arm.to_json() for arm in self.arms],
            "settings": dict(self.settings),
            "tune": {key: list(given) for key, given in self.tune.items()},
            "claims": [claim.to_json() for claim in self.claims],
        }

    @classmethod
    def from_json(cls, document: Any) -> "Study":
        """The inverse of `to_json`, for a document that may come from anybody.

        Raises:
            UsageError: for a document of another format, an entry that is missing, unknown or of another type, and a
                design that cannot be run.
        """
        content = entries("the design of a study", check_format("the design of a study", document, FORMAT), KINDS)
        lists = ("seeds", "tune_seeds", "severities", "head_seeds")
        content |= {name: None if content[name] is None else tuple(content[name]) for name in lists}
        content["arms"] = tuple(map(StudyArm.from_json, content["arms"]))
        content["claims"] = tuple(map(Claim.from_json, content["claims"]))
        content["tune"] = {key: tuple(given) for key, given in content["tune"].items()}
        return cls(**content)


def _portable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that change the result, with the name of a file or a folder instead of its path."""
    return {
        key: PurePath(value).name if key in OF_FILES else value
        for key, value in sorted(settings.items())
        if not key.startswith("machine.")
    }
