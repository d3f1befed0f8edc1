"""randhead analyze: the geometry of what a run learned, in figures, pictures and one page."""

from pathlib import Path
from typing import Annotated

import typer

from randhead import registry
from randhead.cli.options import DeviceOption, JsonOption, RunsOption
from randhead.errors import unknown

NAMES = (*registry.names("analyses"), "all")


def analyze(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(NAMES)}.")],
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs, by name or folder; the latest without any. Several are compared."),
    ] = None,
    split: Annotated[str, typer.Option(help="test, val or train.")] = "test",
    data: Annotated[
        str | None, typer.Option(help="Other images: with the same classes, or for transfer any classes.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="RUN", help="For similarity: a run that says which classes look alike.")
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For similarity: a K x K matrix (.npy, .csv), or lines 'class: a/b/c'."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of samples, permutations and episodes.", min=0)] = 0,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Look into what runs learned: how far apart and how tight their classes are, what looks alike, and more.

    The name all stands for everything that applies, and writes one page, report.html.

    Several runs are set side by side, with differences paired by seed.
    """
    from randhead.cli.options import check

    if name not in NAMES:
        raise unknown("analysis", name, NAMES)
    check(run or [None], runs, device=device, split=split)  # before torch is imported: a typing error is told at once

    from randhead.cli._analysis import run_analysis
    from randhead.evaluation.inputs import View

    view = View(split, data, data, reference, taxonomy, seed)
    run_analysis(name, run or [], view=view, root=runs, device=device, as_json=json)
