"""Translation of messages and hints: the library names Python arguments, the command line shows its options.

In hints they are in backticks:

"use `class_keys="name"` and the same `vectors`"  ->  "use --class-keys name and the same --vectors"
"start over with `fresh=True`"                    ->  "start over with --fresh"
"try a lower `optim.lr`"                          ->  "try a lower --set optim.lr=..."

In messages, the dotted name of a setting becomes the option that the user has typed for it, if any:

"head.scale must be a positive number, got 0.0"   ->  "--scale must be a positive number, got 0.0"
"""

import functools
import re
import shlex
from collections.abc import Iterable

from randhead.config import Setting, settings

BACKTICKED = re.compile(r"`([^`]*)`")
BOTH_WAYS = re.compile("in Python, (.*); on the command line, (.*)")
ARGUMENT = re.compile(r"(?P<name>[a-z_][a-z_0-9.]*)(?:=(?P<value>.+))?")
# Arguments of the library whose option has another name.  Hints about `root` come from training.
ALIASES = {"root": "out"}


def as_options(text: str) -> str:
    """Replace backticked Python arguments in a text by options; other backticked text only loses the backticks.

    Of "in Python, THIS; on the command line, THAT", the command line comes first.
    """
    text = BOTH_WAYS.sub(r"\2; in Python, \1", text)
    return BACKTICKED.sub(lambda found: _typed(found[1]), text)


def with_typed_options(message: str, words: Iterable[str]) -> str:
    """Replace dotted names of settings by the options that were typed for them, unless `--set` has the last word.

    Args:
        message: the message of an error.
        words: the command line.
    """
    words = list(words)
    typed = {word.partition("=")[0] for word in words}
    for key, about in settings().items():
        is_set = any(word.removeprefix("--set=").startswith(f"{key}=") for word in words)
        used = typed.intersection(about.option.names()) if about.option and "." in key and not is_set else ()
        for option in used:
            message = re.sub(rf"(?<![\w./'\"]){re.escape(key)}(?![\w./'\"=])", option, message)
    return message


def _typed(code: str) -> str:
    """One argument as an option, or the code itself if it names no option and no setting."""
    found = ARGUMENT.fullmatch(code)
    if not found:
        return code
    name, value = found["name"], found["value"]
    about, option = _by_name().get(name), _of_commands().get(ALIASES.get(name, name))
    if about is not None and about.option:
        option = about.option.names()
    elif about is not None:
        return f"--set {about.key}={'...' if value is None else _word(value)}"
    return code if option is None else _option(option, value)


def _option(option: tuple[str, ...], value: str | None) -> str:
    """An option, ("--scale",) or ("--learned", "--fixed"), with its value."""
    if value == "True" or value is None:
        return option[0]
    if value == "False":
        return option[1] if len(option) > 1 else f"no {option[0]}"
    return f"{option[0]} {_word(value)}"


def _word(value: str) -> str:
    """A Python literal as a word of a shell."""
    text = value[1:-1] if value[:1] == value[-1:] in ("'", '"') and len(value) > 1 else value
    return text if text == "..." or text.isupper() else shlex.quote(text)


@functools.cache
def _by_name() -> dict[str, Setting]:
    """Settings by their names in the library: the dotted key, the field, the name of the option."""
    fields = [about.name for about in settings().values()]
    found = {about.name: about for about in settings().values() if fields.count(about.name) == 1}
    for about in settings().values():
        if about.option:
            found[about.option.flags.strip("-").replace("-", "_")] = about
    return found | settings()


@functools.cache
def _of_commands() -> dict[str, tuple[str, ...]]:
    """The options of all commands by the names of their arguments."""
    from typer.core import TyperGroup
    from typer.main import get_command

    from randhead.cli import app

    group = get_command(app)
    assert isinstance(group, TyperGroup)  # noqa: S101 (several commands make a group)
    parameters = [item for command in group.commands.values() for item in command.params]
    options = [item for item in parameters if item.param_type_name == "option"]
    return {item.name: (item.opts[0], *item.secondary_opts[:1]) for item in reversed(options)}
