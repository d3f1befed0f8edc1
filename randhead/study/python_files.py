"""The user's own Python files in a study: a process executes a file only if it is named to it.

So a command that goes on with a study names them again: one that starts a worker, and one that is printed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from randhead import registry
from randhead.config import settings
from randhead.config.parse import OF_FILES
from randhead.study.design import Study


def words(study: Study) -> list[str]:
    """The words of a command that name the Python files of a study, and change nothing else; none if it has none.

    Example:
        >>> words(Study("a", settings={"data.name": "/home/me/mine.py"}))
        ['--set', 'data.name=/home/me/mine.py']
    """
    found = [word for key in _files(study.settings) for word in ("--set", f"{key}={study.settings[key]}")]
    for arm in study.arms:
        if any(_files(arm.settings)):
            assigned = (f"{key}={_typed(key, value)}" for key, value in arm.settings.items())
            found += ["--arm", f"{arm.name}: {' '.join(assigned)}"]
    return found


def _files(chosen: Mapping[str, Any]) -> Iterator[str]:
    """The settings that are the path of a Python file."""
    return (key for key in OF_FILES if registry.is_file(chosen.get(key, "")))


def _typed(key: str, value: Any) -> str:
    """A value as it is typed in an arm, with every digit of a number."""
    text = repr(value) if isinstance(value, float) else settings()[key].shown(value)
    return f'"{text}"' if " " in text else text
