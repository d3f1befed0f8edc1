"""randhead evaluate, also spelled eval: metrics of a trained run on a split."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import (
    FLAG,
    IMAGES,
    DeviceOption,
    JsonOption,
    MegapixelsOption,
    RunArgument,
    RunsOption,
    SplitOption,
    check,
)


def evaluate(
    run: RunArgument = None,
    split: SplitOption = "test",
    data: Annotated[str | None, typer.Option(help="Other images with the same classes.", metavar=IMAGES)] = None,
    ood: Annotated[
        str | None, typer.Option(help="Images of other classes, for out-of-distribution detection.", metavar=IMAGES)
    ] = None,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions", help="Add the accuracy under 15 image corruptions at 5 severities.", metavar=FLAG
        ),
    ] = False,
    max_megapixels: MegapixelsOption = None,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Evaluate a run: accuracy, negative log-likelihood, calibration error, confusion of classes."""
    check([run], runs, device=device, split=split)  # before torch is imported: a typing error is reported at once

    from randhead import evaluation, report, robustness
    from randhead.cli.grid_display import GridDisplay
    from randhead.cli.output import Output
    from randhead.cli.signals import saving
    from randhead.runs import load

    output = Output(as_json=json)
    loaded = load(run, root=runs, device=device).allowing(max_megapixels)
    if corruptions:
        loaded.require_classes()
    with output.progress("reading images") as progress:
        images = loaded.dataset(data, progress=progress)  # once for all that follows
        if data is None and (changed := loaded.image_changes(images, split)):
            output.warn(changed)
        result = evaluation.evaluate(loaded, split=split, data=images, ood=ood, warn=output.warn, progress=progress)
        result = replace(result, given=data)
    if corruptions:
        with saving(output.note) as should_stop, GridDisplay(output) as display:
            benchmarked = robustness.benchmark(
                loaded,
                split=split,
                data=images,
                should_stop=should_stop,
                warn=output.warn,
                on_event=display.event,
            )
        result = result.with_corruptions(benchmarked)
    output.show(result)
    output.keep(lambda: result.save(loaded.run), lambda: report.draw(result, loaded.run, warn=output.warn))
