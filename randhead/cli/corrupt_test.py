"""randhead corrupt-test: accuracy of trained runs under image corruptions."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from randhead.cli.options import FLAG, DeviceOption, JsonOption, RunsOption, check

if TYPE_CHECKING:
    from randhead.robustness import ContactSheet, CorruptionReport

WHAT, IMAGES, COMPARE = "Corruptions", "Images", "Comparison"

RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help="Runs, by name or folder.  Without one: the latest run.", show_default=False),
]
CorruptionsOption = Annotated[
    str,
    typer.Option(
        help="Corruptions or groups of them, with commas between: benchmark (15), extra (4), all, "
        "noise, blur, weather, digital; or Python files that define one (see randhead.corruptions).",
        metavar="NAMES",
        rich_help_panel=WHAT,
    ),
]
SeveritiesOption = Annotated[
    str, typer.Option(help="From 1 to 5, with commas between.", rich_help_panel=WHAT, metavar="NUMBERS")
]
SkipOption = Annotated[
    str,
    typer.Option(help="Corruptions to leave out, with commas between.", rich_help_panel=WHAT, metavar="NAMES"),
]
ParametersOption = Annotated[
    str | None,
    typer.Option(
        help="Published severity parameters for images of 32, 64 or 224 pixels.  By default, the size of the "
        "images decides.",
        rich_help_panel=WHAT,
        metavar="PIXELS",
    ),
]
FrostImagesOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of pictures of frost.  Without it: procedural pictures.",
        rich_help_panel=WHAT,
        metavar="FOLDER",
    ),
]
CorruptionFileOption = Annotated[
    Path | None,
    typer.Option(
        help="Python file with your own corruption, which is executed: corrupt(images, severity, ids, seed) -> images.",
        metavar="FILE",
        rich_help_panel=WHAT,
    ),
]
SeedOption = Annotated[int, typer.Option(help="Seed of the corruptions.", min=0, rich_help_panel=WHAT, metavar="N")]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="Other images with the classes of the run: a dataset, a folder, or a Python file, which is executed.  "
        "Without it: the run's own.",
        metavar="NAME|FOLDER",
        rich_help_panel=IMAGES,
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        help="Number of test images to use, stratified by class.  Without it: all.",
        rich_help_panel=IMAGES,
        metavar="N",
    ),
]
PublishedOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of a published corrupted dataset (CIFAR-10-C, ImageNet-C, ...), tested too.",
        rich_help_panel=IMAGES,
        metavar="FOLDER",
    ),
]
SaveOption = Annotated[
    Path | None,
    typer.Option(help="Folder to write the corrupted images to.", rich_help_panel=IMAGES, metavar="FOLDER"),
]
ShowOption = Annotated[
    bool,
    typer.Option(
        "--show",
        help="After the test, draw a test image under all corruptions, as a picture.",
        rich_help_panel=IMAGES,
        metavar=FLAG,
    ),
]
BaselineOption = Annotated[
    str | None,
    typer.Option(
        metavar="RUN|ARM",
        help="Run to compare with, or, of several runs, an arm (fixed, learned, ...).  Without it: the first.",
        rich_help_panel=COMPARE,
    ),
]
PerClassOption = Annotated[
    bool, typer.Option("--per-class", help="Add the accuracy per class.", rich_help_panel=COMPARE, metavar=FLAG)
]


def corrupt_test(
    names: RunsArgument = None,
    corruptions: CorruptionsOption = "benchmark",
    severities: SeveritiesOption = "1,2,3,4,5",
    skip: SkipOption = "",
    parameters: ParametersOption = None,
    frost_images: FrostImagesOption = None,
    corruption_file: CorruptionFileOption = None,
    seed: SeedOption = 0,
    data: DataOption = None,
    limit: LimitOption = None,
    published: PublishedOption = None,
    save: SaveOption = None,
    show: ShowOption = False,
    baseline: BaselineOption = None,
    per_class: PerClassOption = False,
    runs: RunsOption = Path("runs"),
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Accuracy under image corruptions: 15 kinds (noise, blur, weather, ...) at 5 severities, or those you choose."""
    tested: list[str | None] = [*names] if names else [None]
    check(tested, runs, device=device)  # before torch is imported

    from randhead import robustness
    from randhead.cli.grid_display import GridDisplay
    from randhead.cli.output import Output
    from randhead.cli.signals import saving

    output = Output(as_json=json)
    first, *others = tested
    with saving(output.note) as should_stop, GridDisplay(output) as display:
        report = robustness.benchmark(
            first,
            corruptions=corruptions,
            severities=_numbers(severities),
            skip=skip,
            parameters=parameters,
            frost_images=frost_images,
            corruption_file=corruption_file,
            seed=seed,
            limit=limit,
            data=data,
            others=others,
            baseline=baseline,
            published=published,
            per_class=per_class,
            contact_sheet=show,
            save_images=save,
            root=runs,
            device=device,
            should_stop=should_stop,
            warn=output.warn,
            progress=display.progress,
            on_event=display.event,
        )
    output.show(report)
    for replaced in filter(None, (each.replaces() for each in (report, *report.others))):
        output.note(replaced)
    output.keep(*_writers(report, save))


def _writers(report: "CorruptionReport", saved: Path | None) -> Iterator[Callable[[], Path | list[Path]]]:
    """The functions that write the files of a report; the corrupted images are written already."""
    from randhead.report import draw, export

    if saved is not None:
        yield lambda: saved
    if report.contact_sheet:
        yield partial(_draw_contact_sheet, report.folder.reports / "corruptions.png", report.contact_sheet)
    for each in (report, *report.others):
        yield from (each.save, partial(draw, each, each.folder))
    yield partial(export, report)


def _draw_contact_sheet(path: Path, sheet: "ContactSheet") -> Path:
    from randhead.report.robustness import contact_sheet  # imports Matplotlib, a fault of which costs no result

    return contact_sheet(path, sheet)


def _numbers(text: str) -> list[int]:
    """The numbers of a list with commas."""
    from randhead.errors import UsageError

    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise UsageError(f"--severities must be numbers, got {text!r}", hint="for example --severities 1,3,5") from None
