"""randhead corrupt-test: how trained runs bear corrupted images."""

from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import DeviceOption, JsonOption, RunsOption

WHAT, IMAGES, COMPARE, RUN = "Corruptions", "Images", "Comparison", "Run"


def corrupt_test(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs: names or folders; the latest without it.", show_default=False),
    ] = None,
    chosen: Annotated[
        str,
        typer.Option(
            "--corruptions",
            help="Names, or benchmark (15), extra (4), all, noise, blur, weather, digital; with commas between.",
            rich_help_panel=WHAT,
        ),
    ] = "benchmark",
    severities: Annotated[
        str, typer.Option(help="Of 1 to 5, with commas between.", rich_help_panel=WHAT)
    ] = "1,2,3,4,5",
    skip: Annotated[str | None, typer.Option(help="Corruptions to leave out.", rich_help_panel=WHAT)] = None,
    parameters: Annotated[
        str | None,
        typer.Option(help="32, 64 or 224: a published set. By default the image size chooses.", rich_help_panel=WHAT),
    ] = None,
    frost_images: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures of frost. Without it they are procedural.", rich_help_panel=WHAT),
    ] = None,
    corruption_file: Annotated[
        Path | None,
        typer.Option(
            help="Your own, a Python file that is executed: corrupt(images, severity, ids, seed) -> images.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random fields.", min=0, rich_help_panel=WHAT)] = 0,
    limit: Annotated[
        int | None, typer.Option(help="Take N test images, stratified by class.", rich_help_panel=IMAGES)
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a released set (CIFAR-10-C, ImageNet-C, ...) to test beside.", rich_help_panel=IMAGES
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the corrupted images to this folder.", rich_help_panel=IMAGES)
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Draw a contact sheet: 19 corruptions of a test image.", rich_help_panel=IMAGES),
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(metavar="RUN", help="Compare with this run.", rich_help_panel=COMPARE)
    ] = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Accuracy of each class.", rich_help_panel=COMPARE)
    ] = False,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Test runs on corrupted images: 15 corruptions at 5 severities, or those you choose."""
    from randhead.cli.options import check

    check([*(names or [None]), *([baseline] if baseline else [])], runs, device=device)  # before torch is imported

    from randhead.cli._corrupt_test import Choice, run_corrupt_test

    choice = Choice(
        corruptions=chosen,
        severities=severities,
        skip=skip,
        parameters=parameters,
        frost_images=frost_images,
        corruption_file=corruption_file,
        seed=seed,
        limit=limit,
        published=published,
        save=save,
        show=show,
        per_class=per_class,
    )
    run_corrupt_test(names or [None], choice, baseline=baseline, root=runs, device=device, as_json=json)
