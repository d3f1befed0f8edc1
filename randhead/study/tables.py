"""The tables of a study: claims, means per arm, differences from the control, tuning, variance, and the design.

A difference is an arm minus another one in the metric's own unit; the arrow of the metric says which sign is better.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from randhead import significance
from randhead.evaluation.estimates import seed_design
from randhead.evaluation.shown import INTERVAL, difference_shown, mean_shown, p_shown, percent_shown
from randhead.study import metrics
from randhead.study.arm_results import ArmResult
from randhead.study.claim_tables import of_claims, titled
from randhead.study.design_tables import notes, sweep
from randhead.study.differences import Difference, left_out
from randhead.study.metrics import CONVERGED, EPOCHS
from randhead.tables import ARROWS, Cell, Table, count, rows

if TYPE_CHECKING:
    from randhead.study.result import StudyResult

OF_TRAINING = (EPOCHS, "train_loss", CONVERGED)  # metrics with a table of their own
MOST_COLUMNS = 4  # arms beside each other; more of them are rows
SHARED = "no sign-flip p and no number of pairs: pairs share seeds, so they are not independent"


def tables(result: "StudyResult") -> Iterator[Table]:
    """The tables that a person sees, most important first."""
    if result.verdicts:
        yield of_claims([result], beside=False)
    yield from of_study(result)
    yield notes(result)


def of_study(result: "StudyResult", *, noted_each: bool = False) -> Iterator[Table]:
    """The tables of a study without those of its claims and of its design.

    Args:
        result: the study.
        noted_each: whether each table of differences has the notes on all of them, for tables that are not read
            together.
    """
    if result.records:
        yield from means(result, [key for key in result.keys if key not in OF_TRAINING], "means over runs")
        yield from differences(result, noted_each=noted_each)
        yield from means(result, [key for key in result.keys if key in OF_TRAINING], "training")
    yield sweep(result)
    yield from variance(result)


def means(result: "StudyResult", keys: Sequence[str], title: str) -> Iterator[Table]:
    """Means of some metrics with intervals: metrics as rows and arms as columns, or the other way for many arms.

    Args:
        result: the study.
        keys: of the metrics.
        title: what they are.
    """
    if not keys:
        return
    arms = result.arms
    sizes = {_runs(arm, keys) for arm in arms}
    same = f", {sizes.pop()} per arm" if len(sizes) == 1 else ""
    has_intervals = any(arm.means[key].interval for arm in arms for key in keys if key in arm.means)
    title = titled(result, f"{title}{f' {INTERVAL}' if has_intervals else ''}{same}")
    if len(arms) <= MOST_COLUMNS:
        cells: list[list[Cell]] = [[_title(key), *(_mean(arm, key, keys) for arm in arms)] for key in keys]
        columns = ("metric", *(arm.name if same else f"{arm.name}, {_runs(arm, keys)}" for arm in arms))
    else:
        cells = [
            [arm.name, None if same else _runs(arm, keys), *(_mean(arm, key, keys) for key in keys)] for arm in arms
        ]
        columns = ("arm", "n", *(_title(key) for key in keys))
    yield Table(title, columns, rows(cells), (ARROWS, *_of_means(result))).without_empty_columns()


def differences(result: "StudyResult", *, noted_each: bool = False) -> Iterator[Table]:
    """Differences from the control: a table per arm, or per metric if there are many arms; the last has the notes."""
    found = [each for each in result.differences if each.pairs and not _is_empty(each)]
    by_arm = len(result.study.arms) <= MOST_COLUMNS
    groups: dict[str, list[Difference]] = {}
    for each in found:
        groups.setdefault(each.first if by_arm else each.metric, []).append(each)
    control, single = result.study.control, len(result.study.arms) == 2
    inside = f" {INTERVAL}" if any(each.estimate and each.estimate.interval for each in found) else ""
    heads = ("metric" if by_arm else "arm", f"difference{inside}", "n", "p", "Holm", "flip", "pairs")
    for number, (name, members) in enumerate(groups.items(), start=1):
        whose = f"{name} minus {control}" if by_arm else f"{metrics.about(name).title}: difference from {control}"
        same = len({each.n for each in members}) == 1
        cells = [
            [metrics.about(each.metric).title if by_arm else each.first, *_tested(each, without_n=same, single=single)]
            for each in members
        ]
        over = f", {count(members[0].n, 'pair')}" if same else ""
        said = (*_left_out(members), *(_of_differences(result, found) if noted_each or number == len(groups) else ()))
        yield Table(f"{whose}{over}", heads, rows(cells), said).without_empty_columns()


def variance(result: "StudyResult") -> Iterator[Table]:
    """For crossed seeds, how much of the variance of the accuracy comes from each kind of seed, per arm."""
    if not result.variance:
        return
    from randhead.analyses import seeds

    cells: list[list[Cell]] = []
    for split in result.variance:
        percent = [percent_shown(split.figures[f"{kind}_share"], 0) for kind in ("head", "seed", "rest")]
        ps = (p_shown(split.figures[f"{kind}_p"]) for kind in ("head", "seed"))
        runs = len(split.head_seeds) * len(split.seeds)
        cells.append([split.arm, runs, percent_shown(split.figures["std"]), *percent, *ps])
    smallest = min(result.variance, key=lambda split: min(len(split.head_seeds), len(split.seeds)))
    columns = ("arm", "runs", "std (%)", "vectors (%)", "seed (%)", "rest (%)", "p, vectors", "p, seed")
    said = (
        "shares of the variance: vectors, from the draw of the class vectors; seed, from initial weights, order and "
        "augmentation; rest, everything else; p: F-tests of no variance from either",
        *seeds.few(len(smallest.head_seeds), len(smallest.seeds)),
    )
    yield Table("variance of the accuracy over crossed seeds", columns, rows(cells), said)


def _title(key: str) -> str:
    """The title of a metric; runs that converged are counted."""
    return "converged, runs" if key == CONVERGED else metrics.about(key).title


def _common_n(arm: ArmResult, keys: Iterable[str]) -> int | None:
    """The number of runs in each mean of an arm, if it is the same in all."""
    found = {arm.means[key].n for key in keys if key in arm.means and key != CONVERGED}
    return found.pop() if len(found) == 1 else None


def _runs(arm: ArmResult, keys: Iterable[str]) -> str:
    """The number of runs in the means of an arm: "5 runs", "3 of 5 runs"."""
    done, n = len(arm.records), _common_n(arm, keys)
    return count(done, "run") if n in (done, None) else f"{n} of {count(done, 'run')}"


def _mean(arm: ArmResult, key: str, keys: Iterable[str]) -> str:
    """A mean with its interval, and its n if that of other metrics of the arm is another one."""
    found = arm.means.get(key)
    if found is None:
        return "-"
    if key == CONVERGED:
        return f"{len(arm.records) - arm.not_converged} of {len(arm.records)}"
    n = f" (n = {found.n})" if found.n < len(arm.records) and _common_n(arm, keys) is None else ""
    return f"{mean_shown(metrics.about(key), found)}{n}"


def _tested(found: Difference, *, without_n: bool, single: bool) -> list[Cell]:
    """The cells of a difference; a single arm that is compared with the control has no corrected p-value."""
    ps = (found.p, None if single else found.holm_p, found.sign_flip_p)
    n = None if without_n else found.n
    return [difference_shown(metrics.about(found.metric), found.estimate), n, *map(p_shown, ps), found.pairs_needed]


def _is_empty(found: Difference) -> bool:
    """Whether in every pair both runs converged or neither did, which is nothing to compare."""
    return found.metric == CONVERGED and not any(pair.difference for pair in found.pairs)


def _of_means(result: "StudyResult") -> Iterator[str]:
    """What the reader of the means must know."""
    for arm in result.arms:
        if arm.diverged:
            yield f"{arm.diverged} of {count(len(arm.records), 'run')} of {arm.name} diverged: they are in no mean"
    seeds = {record.seeds for record in result.records}
    if note := seed_design(sorted(seeds)).note():
        yield note


def _left_out(found: Sequence[Difference]) -> tuple[str, ...]:
    """Which pairs are in no difference; for epochs only if they are others than for the other metrics."""
    failed = {(each.first, each.second, each.failed) for each in found if each.metric != EPOCHS}
    said = [
        note
        for each in found
        if each.metric != EPOCHS or (each.first, each.second, each.failed) not in failed
        for note in left_out(each)
    ]
    return tuple(dict.fromkeys(said))


def _of_differences(result: "StudyResult", found: Sequence[Difference]) -> Iterator[str]:
    """What the reader of the differences must know."""
    yield ARROWS
    if max(each.n for each in found) == 1:
        yield "one pair of runs has no interval and no p"
        return
    arms = len(result.study.arms) - 1
    crossed = "from the two-way random effects of the intervals"
    model = "paired t test" if all(each.independent for each in found) else crossed
    holm = f"; Holm: p corrected for {count(arms, 'arm')}, per metric" if arms > 1 else ""
    yield f"p: {model}{holm}"
    if flipped := [each.n for each in found if each.sign_flip_p is not None]:
        largest = max(flipped)
        least = p_shown(2 / 2**largest)
        yield f"flip: p of the exact sign-flip permutation test, {least} or more with {count(largest, 'pair')}"
    elif any(not each.independent for each in found):
        yield SHARED
    else:
        yield f"no sign-flip p: it is computed for {significance.MOST_FLIPPED} pairs at most"
    if any(each.pairs_needed is not None for each in found):
        yield (
            "pairs: number of pairs that would show a difference of 0.5 points with probability 0.8; rough if it is "
            "estimated from a few"
        )
