"""randhead predict: the classes of image files."""

import mimetypes
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from randhead.cli.options import FLAG, DeviceOption, JsonOption, MegapixelsOption, RunsOption, check, option
from randhead.errors import UsageError
from randhead.escapes import csv_text

if TYPE_CHECKING:
    from randhead.evaluation.prediction import Predictions


def _not_an_image(run: str) -> str:
    """Refuse an image in the place of the run, which was forgotten."""
    if (mimetypes.guess_type(run)[0] or "").startswith("image/") and Path(run).is_file():
        raise UsageError(
            f"{run} is an image, not a run", hint=f"give the run first: `randhead predict last {shlex.quote(run)}`"
        )
    return run


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run: its name or its folder, or last for the latest.", callback=_not_an_image
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    k: Annotated[int, typer.Option(help="Number of classes listed per image.", min=1, metavar="N")] = 1,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.", metavar=FLAG)] = False,
    json: JsonOption = False,
    skip_bad_images: Annotated[bool, option("data.skip_bad_images")] = False,
    max_megapixels: MegapixelsOption = None,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
) -> None:
    """Classify images: the most probable classes, with probability and cosine to the class vector."""
    check([run], runs, device=device)  # before torch is imported: a mistake is found at once
    if as_csv and json:
        raise UsageError("--csv and --json cannot be used together", hint="choose one")

    from randhead.cli.output import Output
    from randhead.evaluation import prediction
    from randhead.runs import load

    output = Output(as_json=json or as_csv)
    loaded = load(run, root=runs, device=device).allowing(max_megapixels)
    with output.progress("reading images") as progress:
        found = prediction.predict(
            images,
            loaded,
            k=k,
            skip_bad_images=skip_bad_images,
            warn=output.warn,
            progress=progress,
        )
    if as_csv:
        _print_csv(found)
    elif json:
        output.result(found.to_json())
    else:
        output.tables(found.tables())


def _print_csv(found: "Predictions") -> None:
    """One row per image and class."""
    from randhead.evaluation.prediction import COLUMNS

    sys.stdout.write(csv_text([COLUMNS, *found.rows()]))
