"""Options that several commands share, and the checks of them that need no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

FLAG = ""  # the metavar of an option without a value
RunArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="A run: its name or its folder.  Without it: the latest run.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of the runs.", metavar="FOLDER")]
DeviceOption = Annotated[
    str, typer.Option(help="Where to compute: cpu, cuda, or auto (cuda if there is a GPU).", metavar="DEVICE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.", metavar=FLAG)]
SPLITS = ("test", "val", "train")


def check(names: Iterable[str | None], root: Path, *, device: str, split: str = "test") -> None:
    """Raise UsageError for a device or split that does not exist, RunError for a run; before torch is imported."""
    from randhead import runs
    from randhead.config import DEVICES, one_of

    one_of("--split", split, SPLITS)
    one_of("--device", device, DEVICES)
    for name in names:
        runs.find(name, root=root)
