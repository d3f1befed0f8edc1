"""randhead settings: every setting of a training with its default and what it does."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from randhead.cli.options import JsonOption
from randhead.config import settings

if TYPE_CHECKING:
    from randhead.cli.output import Output

INDENT = "    "


def settings_command(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORD", help="Only settings with such a word in their name or their help."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the settings of a training: default, allowed values, option, and what each does.

    Each can be set by --set KEY=VALUE, or in a file for --config.
    """
    from randhead.cli.output import Output

    list_settings(Output(as_json=json), words or ())


def list_settings(output: "Output", words: "list[str] | tuple[str, ...]" = ()) -> None:
    """Print every setting with its default, its allowed values, its option if it has one, and its help text.

    Args:
        output: where to print.
        words: a setting is listed if one of them is in its name or its help; without words, every setting.
    """
    from randhead.cli.output import wrapped
    from randhead.errors import UsageError

    document, width = {}, output.console.width
    for key, about in settings().items():
        if words and not any(
            re.search(rf"(?<![^\W_]){re.escape(word)}", f"{key} {about.help}", re.IGNORECASE) for word in words
        ):
            continue
        default, values = about.shown(about.default), about.domain()
        flags = about.option.flags if about.option else None
        document[key] = {"default": about.default, "values": values, "help": about.help, "option": flags}
        head = f"{key} = {default}  ({values})" + (f"  {flags}" if flags else "")
        for text, indent in ((head, ""), (about.help, INDENT)):
            output.say(wrapped(text, width, indent=indent, hanging=INDENT))
    if not document:
        missed = " or ".join(f"'{word}'" for word in words)
        raise UsageError(f"no setting has {missed} in its name or its help", hint="list all: randhead settings")
    output.result(document)
