"""randhead evaluate, also spelled eval: figures of a trained run on a split."""

from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import FLAG, IMAGES, DeviceOption, JsonOption, RunArgument, RunsOption, SplitOption


def evaluate(
    run: RunArgument = None,
    split: SplitOption = "test",
    data: Annotated[str | None, typer.Option(help="Other images with the same classes.", metavar=IMAGES)] = None,
    ood: Annotated[
        str | None, typer.Option(help="Images of other classes: does the run tell them from its own?", metavar=IMAGES)
    ] = None,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions", help="Add the accuracy under 15 image corruptions at 5 severities.", metavar=FLAG
        ),
    ] = False,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Evaluate a run: accuracy, negative log-likelihood, calibration error, confusion of classes."""
    from randhead.cli.options import check

    check([run], runs, device=device, split=split)  # before torch is imported: a typing error is told at once

    from randhead.cli._evaluation import run_evaluation

    run_evaluation(
        run, split=split, data=data, ood=ood, corruptions=corruptions, root=runs, device=device, as_json=json
    )
