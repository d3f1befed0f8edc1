"""randhead doctor: check this machine, and a folder of images."""

from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import JsonOption


def doctor(
    data: Annotated[
        Path | None, typer.Option(help="Folder of images to search for unreadable ones.", metavar="FOLDER")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, which has to be writable.", metavar="FOLDER")] = Path(
        "runs"
    ),
    json: JsonOption = False,
) -> None:
    """Check this machine: versions, devices, write access, a self-test; with --data, a folder of images."""
    from randhead.cli._checkup import run_checkup

    run_checkup(data, out=out, as_json=json)
