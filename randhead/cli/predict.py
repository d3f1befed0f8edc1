"""randhead predict: the classes of image files."""

from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import FLAG, DeviceOption, JsonOption, RunsOption, option


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run: its name or its folder, or last for the latest.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files, or folders of them.")],
    k: Annotated[int, typer.Option(help="Number of classes listed per image.", min=1, metavar="N")] = 1,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.", metavar=FLAG)] = False,
    json: JsonOption = False,
    skip_bad_images: Annotated[bool, option("data.skip_bad_images")] = False,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
) -> None:
    """Classify images: the most probable classes, with probability and cosine to the class vector."""
    from randhead.cli.options import check

    check([run], runs, device=device)  # before torch is imported: a typing error is told at once

    from randhead.cli._prediction import run_prediction

    run_prediction(
        run, images, k=k, as_csv=csv, as_json=json, skip_bad_images=skip_bad_images, root=runs, device=device
    )
