"""Values of settings in a study: typed once, so that "0.1" on the command line and 0.1 in a file are the same."""

from collections.abc import Mapping
from typing import Any

from randhead.arguments import is_whole
from randhead.config import settings
from randhead.config.parse import unknown_key
from randhead.errors import UsageError

SEEDS = ("train.seed", "train.head_seed")


def convert(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with values of the types of their fields, each checked against its bounds.

    Args:
        where: whose settings they are, in words: "arm sharp".
        given: dotted names with values, which may be text.

    Raises:
        UsageError: for an unknown setting, a seed, which belongs to the study, and a value that is not allowed.

    Example:
        >>> convert("arm sharp", {"head.scale": "64", "head.trainable": "yes"})
        {'head.scale': 64.0, 'head.trainable': True}
    """
    return {key: convert_value(where, key, value) for key, value in given.items()}


def convert_value(where: str, key: str, value: Any) -> Any:
    """A value of a setting in the type of its field.  Arguments and errors are those of `convert`."""
    if key in SEEDS:
        hint = "seeds belong to the study: `seeds=5` for the training, `head_seeds=5` for the class vectors"
        raise UsageError(f"{where} sets {key}", hint=hint)
    if key not in settings():
        error = unknown_key(key)
        raise UsageError(f"{where}: {error.message}", hint=error.hint)
    about = settings()[key]
    if about.kind is str and is_whole(value):  # a number of classes in TOML: data.hold_out_classes = 10
        value = str(value)
    try:
        converted = about.convert(value)
        about.check(converted)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
    return converted
