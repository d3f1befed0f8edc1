"""Seeds of a study, as a user gives them: a number of seeds, or which."""

import re
from collections.abc import Sequence
from typing import Any

from randhead.arguments import is_whole, shown, whole
from randhead.errors import UsageError

MOST = 10_000
RANGE = re.compile(r"(\d{1,19})(?:-(\d{1,19}))?")


def as_seeds(name: str, given: int | str | Sequence[int]) -> tuple[int, ...]:
    """Seeds from a number of them, from text, or from a list.

    Args:
        name: of the argument, for messages.
        given: 5 or "5" for the seeds 0 to 4; "5-9", "0,3,7" and "0-2,8" or a list for these seeds; "7," for the seed 7.

    Raises:
        UsageError: for anything else, and for none.  A design refuses a seed that is given twice.

    Example:
        >>> as_seeds("seeds", 3), as_seeds("seeds", "5-7"), as_seeds("seeds", "7,")
        ((0, 1, 2), (5, 6, 7), (7,))
    """
    if isinstance(given, str):
        found = _from_text(name, given)
    elif is_whole(given):
        found = list(range(whole(name, given, 1, MOST)))
    elif isinstance(given, list | tuple) and all(map(is_whole, given)):
        found = [whole(name, seed) for seed in given]
    else:
        raise _refused(name, given)
    if not found or len(found) > MOST:
        raise UsageError(f"{name} must be 1 to {MOST:,} seeds, got {len(found)}", hint=f"for example `{name}=5`")
    return tuple(found)


def _from_text(name: str, text: str) -> list[int]:
    if text.strip().isdecimal():
        return list(range(whole(name, int(text), 1, MOST)))
    found: list[int] = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        match = RANGE.fullmatch(word)
        if not match:
            raise _refused(name, text)
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < MOST:
            raise _refused(name, text)
        found += [whole(name, seed) for seed in range(first, last + 1)]
    return found


def _refused(name: str, given: Any) -> UsageError:
    hint = "give a number of seeds, or which: 5, 5-9 or 0,3,7"
    return UsageError(f"{name} must be seeds, got {shown(given)}", hint=hint)
