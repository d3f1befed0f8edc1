"""randhead doctor: can this machine, and can this folder of images, be worked with?"""

from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import JsonOption


def doctor(
    data: Annotated[Path | None, typer.Option(help="A folder of images to scan for unreadable ones.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, which has to be writable.")] = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Versions, devices, write access and a self-test; with --data, the unreadable images of a folder."""
    from randhead.cli._checkup import run_checkup

    run_checkup(data, out=out, as_json=json)
