"""randhead analyze: the geometry of learned features, in numbers, pictures and one page."""

from pathlib import Path
from typing import Annotated

import typer

from randhead import registry
from randhead.cli.options import FLAG, IMAGES, DeviceOption, JsonOption, RunsOption, SplitOption, check
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
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|ARM",
            help="Of several runs: the one whose arm the others are compared with, or that arm (fixed, learned, ...).  "
            "Without it: the first.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of random samples, permutation tests and few-shot episodes.", min=0, metavar="N")
    ] = 0,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what the metrics mean, and measure nothing.", metavar=FLAG)
    ] = False,
    json: JsonOption = False,
) -> None:
    """Analyze the features of runs: separability, compactness, similarity of classes, transfer, and more.

    With the name all, every analysis that applies is computed, and one page is
    written, report.html.

    Several runs are compared by arm: an arm is the runs that differ only in
    seeds, and differences are paired by seed.
    """
    names = [*registry.names("analyses"), "all"]
    if name not in names and not registry.is_file(name):
        raise unknown("analysis", name, names)
    if explain:
        from randhead import evaluation
        from randhead.cli.output import Output

        Output(as_json=json).show(evaluation.explain(name))
        return
    check(run or [None], runs, device=device, split=split)  # before torch is imported: mistakes are reported at once

    from randhead import evaluation, report
    from randhead.cli.output import Output

    output = Output(as_json=json)
    with output.progress("reading images") as progress:
        result = evaluation.analyze(
            name,
            run or None,
            split=split,
            data=data,
            reference=reference,
            taxonomy=taxonomy,
            baseline=baseline,
            seed=seed,
            root=runs,
            device=device,
            warn=output.warn,
            progress=progress,
            measuring=lambda done, total: progress(done, total, "analyzing"),
        )
    first = result.members[0].loaded.run
    output.say(f"{first.name}\n" if len(result.members) == 1 else f"{len(result.members)} runs\n")
    output.show(result)
    output.keep(
        lambda: result.save(first),
        lambda: report.export(result, first),
        lambda: report.draw(result, first, warn=output.warn),
    )
