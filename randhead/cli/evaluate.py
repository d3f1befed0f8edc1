"""randhead evaluate, also spelled eval: figures of a trained run on a split."""

from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import DeviceOption, JsonOption, RunArgument, RunsOption


def evaluate(
    run: RunArgument = None,
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    data: Annotated[str | None, typer.Option(help="Other images with the same classes.")] = None,
    ood: Annotated[str | None, typer.Option(help="Images of other classes: can the run tell them apart?")] = None,
    corruptions: Annotated[bool, typer.Option("--corruptions", help="Also on 15 corruptions at 5 severities.")] = False,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Accuracy, NLL, calibration and confusion of a trained run; without RUN, of the latest."""
    from randhead.cli.options import check

    check([run], runs, device=device, split=split)  # before torch is imported: a typing error is told at once

    from randhead.cli._evaluation import run_evaluation

    run_evaluation(
        run, split=split, data=data, ood=ood, corruptions=corruptions, root=runs, device=device, as_json=json
    )
