"""Checks of a design that need nothing but the design: what cannot be run or tested is refused before any training."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from randhead.arguments import has_controls, shown, whole
from randhead.errors import UsageError, unknown
from randhead.study import metrics
from randhead.study.documents import FOLDER_NAME

if TYPE_CHECKING:
    from randhead.study.claims import Claim
    from randhead.study.design import Study

MOST_RUNS = 10_000
MOST_ARMS = 100
MOST_THREADS = 256
SEVERITIES = range(1, 6)
# All arms are compared on the same images, so no arm sets which they are.
OF_IMAGES = (
    "data.name",
    "data.split_seed",
    "data.validation",
    "data.hold_out_classes",
    "data.labels",
    "data.skip_bad_images",
)


def check(study: "Study") -> None:
    """Raise UsageError for a design that cannot be run, or whose claims cannot be tested."""
    if not FOLDER_NAME.fullmatch(study.name):
        raise UsageError(f"a study cannot be named {study.name!r}", hint="use letters, digits and . _ + = -")
    for key in ("title", "source", "differs", "cost"):
        if has_controls(getattr(study, key)):
            raise UsageError(f"study {study.name}: {key} has control characters, such as line breaks")
    whole("threads", study.threads, 1, MOST_THREADS)
    _check_arms(study)
    _check_seeds(study)
    _check_tuning(study)
    _check_corruptions(study)
    for claim in study.claims:
        _check_claim(study, claim)
    if (runs := study.number_of_runs) > MOST_RUNS:
        raise UsageError(f"a study of {runs:,} runs; {MOST_RUNS:,} at most", hint="give fewer arms, seeds or values")


def repeated(values: Iterable[Any]) -> list[Any]:
    """The values that are there twice or more, each once."""
    return [value for value, times in Counter(values).items() if times > 1]


def _check_arms(study: "Study") -> None:
    names = [arm.name for arm in study.arms]
    if twice := repeated(names):
        raise UsageError(f"two arms are named {twice[0]}", hint="give every arm a name of its own")
    if not 2 <= len(names) <= MOST_ARMS:
        got = ", ".join(names[:2]) or "none"
        message = f"a study needs two arms or more, {MOST_ARMS} at most; got {len(names)}: {got}"
        raise UsageError(message, hint="name all that are compared, for example `arms='dot-fixed,dot-learned'`")
    if study.control not in names:
        raise unknown("control arm", study.control, names)
    for arm in study.arms:
        for key in OF_IMAGES:
            if key in arm.settings:
                raise UsageError(
                    f"arm {arm.name} sets {key}; all arms are compared on the same images",
                    hint="make it a setting of the study",
                )
    if study.settings.get("data.labels", "class") != "class":
        raise UsageError("a study compares classifiers: data.labels must be class")


def _check_seeds(study: "Study") -> None:
    given = {"seeds": study.seeds, "tune_seeds": study.tune_seeds}
    for name, seeds in (given | ({} if study.head_seeds is None else {"head_seeds": study.head_seeds})).items():
        if not seeds:
            raise UsageError(f"{name} is empty", hint="give one seed or more")
        for seed in repeated(whole(name, seed) for seed in seeds):
            raise UsageError(f"{name} has the seed {seed} twice", hint="give every seed once")


def _check_tuning(study: "Study") -> None:
    for key, given in study.tune.items():
        if not given:
            raise UsageError(f"tune: {key} has no values", hint=f"for example {key}=0.01,0.03,0.1")
        if twice := repeated(given):
            raise UsageError(f"tune: {key} has the value {shown(twice[0])} twice", hint="give every value once")
        if key.startswith("machine."):
            raise UsageError(f"tune: {key} does not change the result", hint="leave it out")
        if key in OF_IMAGES:
            raise UsageError(f"tune: {key} is about the images, on which values would be compared")
        for arm in study.arms:
            if key in arm.settings:
                raise UsageError(f"arm {arm.name} sets {key}, which is tuned", hint="leave one of them out")
    reported = {seed for pair in study.pairs_of_seeds for seed in pair}
    both = sorted(reported & set(study.tune_seeds)) if study.tune else []
    if both:
        raise UsageError(
            f"seed {both[0]} is of the sweep and of a reported run",
            hint="tuning on what is reported would favour arms that are tuned more: give other `tune_seeds`",
        )


def _check_corruptions(study: "Study") -> None:
    if not study.severities or repeated(study.severities):
        raise UsageError("severities are empty, or one is there twice", hint="for example severities = [1, 3, 5]")
    for severity in study.severities:
        whole("severities", severity, SEVERITIES[0], SEVERITIES[-1])
    if study.corruption_limit is not None:
        whole("corruption_limit", study.corruption_limit, 1)


def _check_claim(study: "Study", claim: "Claim") -> None:
    names = [arm.name for arm in study.arms]
    for name in (claim.first, claim.second):
        if name not in names:
            error = unknown("arm", name, names)
            raise UsageError(f"claim {claim.text!r}: {error.message}", hint=error.hint)
    if missing := unmeasured(study, claim.metric):
        raise UsageError(f"claim {claim.text!r}: {claim.metric} is not measured", hint=missing)


def unmeasured(study: "Study", metric: str) -> str:
    """What to set so that a study measures a metric; "" if it does.  Raises UsageError for an unknown metric."""
    metrics.about(metric)
    if metric in metrics.OF_CORRUPTIONS and not study.corruptions:
        return "set `corruptions=True`"
    if metric in metrics.OF_NEW_CLASSES and not study.settings.get("data.hold_out_classes"):
        return "set `hold_out_classes=N`, so that some classes are left out of training"
    return ""
