"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="A run: its name or its folder; the latest without it.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of the runs.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
