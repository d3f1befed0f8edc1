"""Options that several commands share, and the checks of them that need no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from randhead.config import DEVICES, SPLITS, one_of, settings

FLAG = ""  # the metavar of an option without a value
IMAGES = "NAME|FOLDER"  # a dataset, or a folder of images


def option(key: str, *, show_default: bool = True) -> typer.models.OptionInfo:
    """The option of a setting, as the field of the configuration describes it."""
    about = settings()[key]
    assert about.option is not None, key  # noqa: S101 (a mistake in the code)
    metavar = FLAG if about.kind is bool else about.option.metavar or about.kind.__name__.upper()
    return typer.Option(about.option.flags, help=about.help, metavar=metavar, show_default=show_default)


RunArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="A run: its name or its folder.  Without it: the latest run.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of the runs.", metavar="FOLDER")]
SplitOption = Annotated[str, typer.Option(help="Images of the run: test, val or train.", metavar="SPLIT")]
DeviceOption = Annotated[str, option("machine.device")]
MegapixelsOption = Annotated[float | None, option("machine.max_megapixels", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.", metavar=FLAG)]


def check(names: Iterable[str | None], root: Path, *, device: str, split: str = "test") -> None:
    """Raise UsageError for a device or split that does not exist, RunError for a run; before torch is imported."""
    from randhead import runs

    one_of("--split", split, SPLITS)
    one_of("--device", device, DEVICES)
    for name in names:
        runs.find(name, root=root)
