"""The design of a study: which arms are compared, over which seeds, what is measured, and which claims are tested."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from randhead.errors import UsageError, unknown
from randhead.study import arms
from randhead.study.arms import StudyArm
from randhead.study.claims import Claim

TUNING_SEED = 1_000_000  # the first seed of tuning runs, which are not reported


@dataclass(frozen=True)
class Study:
    """The design of a study.

    Attributes:
        name: of the study, and of its folder.
        arms: what is compared.
        settings: dotted settings of all arms: data, network, recipe, epochs; those of an arm have precedence.
        seeds: training seeds; every arm is trained with each.
        head_seeds: seeds of the class vectors, each crossed with each training seed; None for one per training seed,
            equal to it.
        control: the arm that all others are compared with.
        tune: settings with the values that every arm tries, all combinations, on the validation split.
        tune_seeds: seeds of these runs; no seed of a reported run.
        corruptions: whether accuracy under the 15 corruptions of the benchmark is measured.
        severities: the severities of these corruptions.
        corruption_limit: number of test images that are corrupted, stratified by class; None for all.
        claims: what is tested.
        title: what is compared, in words.
        source: where the claims are from.
        differs: what differs here from the source.
        cost: what a study of this size takes, in words.
        threads: threads of a training on the CPU; the last bits of a result depend on them.
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
        names = [arm.name for arm in self.arms]
        if len(set(names)) < max(len(names), 2):
            raise UsageError(f"a study needs two arms or more, of different names, got {', '.join(names) or 'none'}")
        learned = [arm.name for arm in self.arms if arm.settings.get("head.trainable") is True]
        object.__setattr__(self, "control", self.control or (learned or names)[0])
        for name in (self.control, *(arm for claim in self.claims for arm in (claim.first, claim.second))):
            if name not in names:
                raise unknown("arm", name, names)

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
