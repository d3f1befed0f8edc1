"""randhead analyze: the geometry of learned features, in numbers, pictures and one page."""

from pathlib import Path
from typing import Annotated

import typer

from randhead import registry
from randhead.cli.options import IMAGES, DeviceOption, JsonOption, RunsOption, SplitOption, check
from randhead.errors import unknown

BUILT_IN = ", ".join(registry.builtin_names("analyses"))  # finding those of other packages takes 20 ms


def analyze(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{BUILT_IN}, or all of them in one page.")],
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="Runs, by name or folder; several are compared.  Without one: the latest run."
        ),
    ] = None,
    split: SplitOption = "test",
    data: Annotated[
        str | None,
        typer.Option(help="Other images with the same classes; for transfer, with any classes.", metavar=IMAGES),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="For similarity: another run, which defines which classes look alike."),
    ] = None,
    taxonomy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="For similarity: similarities of classes as a K x K matrix (.npy, .csv), or a tree as "
            "lines 'class: a/b/c'.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of random samples, permutation tests and few-shot episodes.", min=0, metavar="N")
    ] = 0,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Analyze the features of runs: separability, compactness, similarity of classes, transfer, and more.

    With the name all, every analysis that applies is computed, and one page is
    written, report.html.

    Several runs are compared; their differences are paired by seed.
    """
    names = [*registry.names("analyses"), "all"]
    if name not in names and not registry.is_file(name):
        raise unknown("analysis", name, names)
    check(run or [None], runs, device=device, split=split)  # before torch is imported: mistakes are reported at once

    from randhead import evaluation, report
    from randhead.cli.output import Output

    output = Output(as_json=json)
    with output.progress("reading images") as progress:
        result = evaluation.analyze(
            name,
            run,
            split=split,
            data=data,
            reference=reference,
            taxonomy=taxonomy,
            seed=seed,
            root=runs,
            device=device,
            warn=output.warn,
            progress=progress,
        )
    first = result.members[0].loaded.run
    output.say(f"{first.name}\n" if len(result.members) == 1 else f"{len(result.members)} runs\n")
    output.show(result)
    output.keep(lambda: result.save(first), lambda: report.draw(result, first))
