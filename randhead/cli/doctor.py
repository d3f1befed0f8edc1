"""randhead doctor: check this machine, or a folder of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from randhead.cli.options import JsonOption
from randhead.errors import DataError, RunError

if TYPE_CHECKING:
    from randhead.cli.output import Output


def doctor(
    data: Annotated[
        Path | None, typer.Option(help="Folder of images to search for unreadable ones.", metavar="FOLDER")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, which must be writable.", metavar="FOLDER")] = Path(
        "runs"
    ),
    json: JsonOption = False,
) -> None:
    """Check this machine: versions, devices, write access, a self-test; with --data, a folder of images."""
    from randhead import checkup
    from randhead.cli.output import Output

    output = Output(as_json=json)
    if data is not None:
        scan(output, data)
        return
    found = checkup.check_machine(out)
    output.show(found)
    if not found.writable:
        raise RunError(f"{out} cannot be written to", hint="choose another folder with `out`")
    if not found.same_bits_on_every_device:
        raise RunError("the self-test of this machine failed", hint="report it, with the output above")


def scan(output: "Output", folder: Path) -> None:
    """List the unreadable images of a folder; exit with 3 if there are any."""
    from randhead.datasets import image_folder

    with output.progress("reading images") as progress:
        found = image_folder.scan(folder, progress=progress)
    if not found.bad_images:
        output.say(f"every image of {folder} can be read")
    output.show(found)
    if found.bad_images:
        raise typer.Exit(DataError.exit_code)
