"""randhead doctor: check this machine, or a folder of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from randhead.cli.options import FLAG, IMAGES, JsonOption, MegapixelsOption
from randhead.errors import DataError, RunError, UsageError

if TYPE_CHECKING:
    from randhead.cli.output import Output


def doctor(
    data: Annotated[
        str | None, typer.Option(help="Images to describe: a folder or a dataset.  All are read.", metavar=IMAGES)
    ] = None,
    max_megapixels: MegapixelsOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs, which must be writable.", metavar="FOLDER")] = Path(
        "runs"
    ),
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Only delete the decoded images that are kept on disk.", metavar=FLAG)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check this machine: versions, devices, write access, a self-test; with --data, describe and check images."""
    from randhead import checkup
    from randhead.cli.output import Output

    output = Output(as_json=json)
    if clear_cache:
        if data is not None:
            hint = "give it alone; they only save time"
            raise UsageError("--clear-cache deletes the decoded images of all folders, and takes no --data", hint=hint)
        clear(output)
        return
    if data is not None:
        scan(output, data, max_megapixels)
        return
    found = checkup.check_machine(out)
    output.show(found)
    if not found.writable:
        raise RunError(f"{out} cannot be written to", hint="choose another folder with `out`")
    if not found.same_bits_on_every_device:
        raise RunError("the self-test of this machine failed", hint="report it, with the output above")


def clear(output: "Output") -> None:
    """Delete the decoded images that are kept, and say what was deleted."""
    from randhead import datasets

    deleted = datasets.clear_decoded_cache()
    output.say(f"deleted decoded images: {deleted.summary()}")
    output.result({"deleted": deleted.to_json()})
    left = datasets.decoded_cache()
    if left.sets:
        raise RunError(f"not deleted: {left.summary()}", hint="check the permissions of the folder")


def scan(output: "Output", data: str, max_megapixels: float | None) -> None:
    """Describe images; exit with 3 if some of them are unreadable."""
    from randhead import datasets, registry

    known: str | Path = Path(data)  # what is no dataset is a folder, which may be missing
    if registry.is_file(data):
        known = registry.use("datasets", data)
    elif data in registry.names("datasets"):
        known = data
    with output.progress("reading images") as progress:
        found = datasets.scan(known, max_megapixels=max_megapixels, progress=progress)
    if not found.bad_images:
        blank = sum(found.report.one_colour.values())
        but = f", but {blank:,} of {found.report.images:,} have a single colour, or almost" if blank else ""
        output.say(f"every image of {data} can be read{but}")
    output.show(found)
    if found.bad_images:
        output.say()
        output.say("training refuses them, or leaves them out with --skip-bad-images")
        raise typer.Exit(DataError.exit_code)
