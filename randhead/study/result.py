"""The result of a study: means per arm, paired differences with tests, and verdicts, computed from the runs' records.

Everything but the records is computed again when a document is read, so that a result and the one that is read from
its JSON file are equal, and parts of a study that were made on several machines give one result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from randhead.errors import RunError, UsageError
from randhead.files import write_json
from randhead.study import metrics, plan
from randhead.study.arm_results import ArmResult, arm_result
from randhead.study.design import Study
from randhead.study.differences import Difference, difference, with_holm
from randhead.study.records import RunRecord
from randhead.study.variance import VarianceSplit, variance_split
from randhead.study.verdicts import Verdict
from randhead.tables import Result, Table

FORMAT = 1
FILE = "result.json"
HINT = "give the result.json of a study, or the folder that it is in"


@dataclass(frozen=True)
class StudyResult(Result):
    """The result of a study, which may lack runs that are not done yet.

    Attributes:
        study: the design.
        records: the reported runs that are done, in the order of the design.
        sweep: the tuning runs that are done, in the order of the arms.

    Raises:
        UsageError: for two records of the same run, and for one of an arm or of seeds that the design does not have.
        RunError: for runs of an arm that were trained on different images, or with different tuned settings.
    """

    study: Study
    records: tuple[RunRecord, ...] = field(repr=False)  # with all curves they fill many pages
    sweep: tuple[RunRecord, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for record in (*self.records, *self.sweep):
            self.study.arm(record.arm)
        for name, key in (("records", _order(self.study)), ("sweep", _sweep_order(self.study))):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name), key=key)))
        for arm, records in self.by_arm.items():
            _check(self.study, arm, records)

    @cached_property
    def by_arm(self) -> dict[str, list[RunRecord]]:
        """The reported runs of each arm that are done."""
        return {arm.name: [record for record in self.records if record.arm == arm.name] for arm in self.study.arms}

    @property
    def planned(self) -> int:
        """Number of reported runs that the design has."""
        return self.study.number_of_reported_runs

    @property
    def is_complete(self) -> bool:
        """Whether all runs are done."""
        return len(self.records) >= self.planned

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The metrics that any run has, in the order in which they are shown."""
        return tuple(key for key in metrics.METRICS if any(each.value(key) is not None for each in self.records))

    @cached_property
    def arms(self) -> tuple[ArmResult, ...]:
        """Each arm: its runs and the means of its metrics."""
        planned = len(self.study.pairs_of_seeds)
        return tuple(arm_result(name, records, planned, self.keys) for name, records in self.by_arm.items())

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Each other arm minus the control, in every metric; Holm's correction is over the arms."""
        others = [arm.name for arm in self.study.arms if arm.name != self.study.control]
        return tuple(with_holm([self.difference(arm, self.study.control, key) for arm in others for key in self.keys]))

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The claims of the study with their verdicts, each at 95 percent, without a correction."""
        claims = self.study.claims
        return tuple(Verdict(claim, self.difference(claim.first, claim.second, claim.metric)) for claim in claims)

    @cached_property
    def variance(self) -> tuple[VarianceSplit, ...]:
        """For crossed seeds, the variance components of the accuracy of each arm that has a grid of runs."""
        splits = (variance_split(name, records) for name, records in self.by_arm.items())
        return tuple(split for split in splits if split)

    def difference(self, first: str, second: str, metric: str) -> Difference:
        """The difference of a metric between any two arms, first minus second, over pairs with equal seeds.

        Args:
            first: name of an arm.
            second: name of the arm that is subtracted.
            metric: key of the metric.

        Raises:
            UsageError: for an unknown arm or metric.
        """
        metrics.about(metric)
        records = {name: self.by_arm[self.study.arm(name).name] for name in (first, second)}
        return difference(first, second, metric, records, len(self.study.pairs_of_seeds))

    def tables(self) -> Iterator[Table]:
        """The tables that a person sees, most important first."""
        from randhead.study import tables

        return tables.tables(self)

    def to_json(self) -> dict[str, Any]:
        """The document: the design and the records, from which `from_json` computes the rest, and the rest.

        Keys: format, study (the design), planned and done (numbers of reported runs); claims, arms and differences,
        in which shares are in [0, 1], with the names of the runs that each number is from; variance (of crossed seeds);
        records and sweep, one entry per run with all its metrics and curves.
        """
        return {
            "format": FORMAT,
            "study": self.study.to_json(),
            "planned": self.planned,
            "done": len(self.records),
            "claims": [verdict.to_json() for verdict in self.verdicts],
            "arms": [arm.to_json() for arm in self.arms],
            "differences": [each.to_json() for each in self.differences],
            "variance": [split.to_json() for split in self.variance],
            "records": [record.to_json() for record in self.records],
            "sweep": [record.to_json() for record in self.sweep],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], *, source: str = "the document") -> "StudyResult":
        """The result that a document describes; only its design and records are read.

        Args:
            document: as `to_json` makes it.
            source: where it is from, for messages.

        Raises:
            RunError: for a document that is no result of a study, or of another format.
        """
        if not isinstance(document, Mapping) or "study" not in document or "records" not in document:
            raise RunError(f"{source} is no result of a study", hint=HINT)
        check_format(document, source)
        try:
            study = Study.from_json(document["study"])
            records, sweep = (
                tuple(RunRecord.from_json(each) for each in document.get(key, ())) for key in ("records", "sweep")
            )
            return cls(study, records, sweep)
        except (UsageError, TypeError, KeyError) as error:
            raise RunError(f"{source} is no result of a study: {error}", hint=HINT) from error

    def save(self, folder: Path) -> Path:
        """Write result.json into a folder.

        Returns:
            The path of the file.
        """
        path = Path(folder) / FILE
        write_json(path, self.to_json())
        return path


def check_format(document: Mapping[str, Any], source: str) -> None:
    """Raise RunError for the document of one or several studies that another version of the format wrote."""
    found = document.get("format")
    if found != FORMAT:
        raise RunError(
            f"{source} has format {found!r}, and this version of randhead reads {FORMAT}",
            hint="use the version of randhead that wrote it",
        )


def _order(study: Study) -> Callable[[RunRecord], tuple[Any, ...]]:
    """The place of a reported run: by seeds, then by arm."""
    arms = {arm.name: i for i, arm in enumerate(study.arms)}
    seeds = {pair: i for i, pair in enumerate(study.pairs_of_seeds)}
    return lambda record: (seeds.get(record.seeds, len(seeds)), arms[record.arm])


def _sweep_order(study: Study) -> Callable[[RunRecord], tuple[Any, ...]]:
    """The place of a tuning run: by arm, then by the order of the grid, then by seed."""
    arms = {arm.name: i for i, arm in enumerate(study.arms)}
    combinations = plan.grid(study)

    def place(record: RunRecord) -> tuple[Any, ...]:
        tuned = dict(record.tuned)
        known = combinations.index(tuned) if tuned in combinations else len(combinations)
        return arms[record.arm], known, str(tuned), record.seeds

    return place


def _check(study: Study, arm: str, records: Sequence[RunRecord]) -> None:
    """Runs of an arm are different runs of the design, of the same images and tuned settings."""
    first: dict[tuple[int, int], RunRecord] = {}
    pairs = set(study.pairs_of_seeds)
    for record in records:
        if record.seeds not in pairs:
            raise UsageError(
                f"study {study.name}: {record.run} has seeds that the design does not have",
                hint="give the seeds of all runs to the design",
            )
        if (other := first.setdefault(record.seeds, record)) is not record:
            raise UsageError(
                f"study {study.name}: {other.run} and {record.run} are the same run of {arm}", hint="give each run once"
            )
        what = [
            words
            for words, same in (
                ("on the same images", record.images == records[0].images),
                ("with the same tuned settings", dict(record.tuned) == dict(records[0].tuned)),
            )
            if not same
        ]
        if what:
            raise RunError(
                f"study {study.name}: {records[0].run} and {record.run} were not trained {' and '.join(what)}",
                hint="remove the runs of one kind, and train them again",
            )
