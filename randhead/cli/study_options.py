"""The options of `randhead study`, panel by panel."""

from pathlib import Path
from typing import Annotated, Any

import typer

from randhead.cli.options import FLAG, option

DESIGN, MEASURED, TRAININGS, RESULT = "Design", "Measurements and claims", "Trainings", "Result"


def _own(*flags: str, help: str, metavar: str, panel: str, **more: Any) -> Any:
    return typer.Option(*flags, help=help, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


def _setting(key: str, panel: str, help: str | None = None) -> Any:
    """The option of a setting; its text is converted and checked together with all other settings."""
    info = option(key, show_default=False)
    info.rich_help_panel, info.help = panel, help or info.help
    return info


WhatArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WHAT",
        help="A TOML file with a design, or the folder of a study, to resume or show it.  Without it: the four arms "
        "on the digits.",
        show_default=False,
    ),
]
DataOption = Annotated[str | None, _setting("data.name", DESIGN)]
ArmsOption = Annotated[
    str | None,
    _own(
        help="What is compared, with commas between: dot or cosine, fixed or learned, and the geometry if it is not "
        "the default, as in cosine-fixed-simplex.  Default: dot and cosine, fixed and learned.",
        metavar="A,B,...",
        panel=DESIGN,
    ),
]
ArmOption = Annotated[
    list[str] | None,
    _own(
        "--arm",
        help='One more arm, by its settings, as in "sharp: head.scoring=cosine head.scale=64"; may be given again.  '
        "--arms sharp,dot-learned leaves the others out.",
        metavar="'A: KEY=VALUE'",
        panel=DESIGN,
    ),
]
ControlOption = Annotated[
    str | None,
    _own(
        help="The arm that the others are compared with.  Default: the first learned one.", metavar="ARM", panel=DESIGN
    ),
]
SeedsOption = Annotated[
    str | None,
    _own(
        help="Number of training seeds, or the seeds with commas between; every arm has the same.  Default: 5.",
        metavar="N|A,B,...",
        panel=DESIGN,
    ),
]
HeadSeedsOption = Annotated[
    str | None,
    _own(
        help="Number of seeds of class vectors, each crossed with each training seed.  Default: one per training "
        "seed, equal to it.",
        metavar="N|A,B,...",
        panel=DESIGN,
    ),
]
TuneOption = Annotated[
    list[str] | None,
    _own(
        "--tune",
        help="Values of a setting that every arm tries on the validation split, with a seed that is not reported, as "
        "in optim.lr=0.01,0.03,0.1; may be given again for a grid.",
        metavar="KEY=A,B,...",
        panel=DESIGN,
    ),
]
EpochsOption = Annotated[str | None, _setting("train.epochs", DESIGN, "Number of training epochs of every run.")]
SetOption = Annotated[
    list[str] | None,
    _own("--set", help="Any setting, for all arms, as in --set optim.lr=0.05.", metavar="KEY=VALUE", panel=DESIGN),
]
NameOption = Annotated[
    str | None,
    _own(help="Name of the study and its folder.  By default made from the design.", metavar="NAME", panel=DESIGN),
]
CorruptionsOption = Annotated[
    bool | None,
    _own(
        "--corruptions",
        help="Measure the accuracy under 15 image corruptions at 5 severities too.",
        metavar=FLAG,
        panel=MEASURED,
    ),
]
CorruptionLimitOption = Annotated[
    int | None,
    _own(
        help="Number of test images that are corrupted, stratified by class.  Without it: all.",
        metavar="N",
        panel=MEASURED,
        min=1,
    ),
]
HoldOutOption = Annotated[
    str | None,
    _setting(
        "data.hold_out_classes",
        MEASURED,
        "Classes that training leaves out, by number or by names, to measure transfer to them.",
    ),
]
ClaimOption = Annotated[
    list[str] | None,
    _own(
        "--claim",
        help='What is tested, as in "dot-fixed > dot-learned on accuracy", "... on accuracy by 0.5" or '
        '"dot-fixed >= dot-learned on accuracy within 1"; > means better, also if less is better.  '
        "May be given again.",
        metavar="'A > B on METRIC'",
        panel=MEASURED,
    ),
]
OutOption = Annotated[
    Path | None,
    _own(
        help="Folder of the studies; of --merge, where its files go.  Default: studies.", metavar="FOLDER", panel=RESULT
    ),
]
JobsOption = Annotated[
    int | None,
    _own(
        help="Number of trainings at the same time.  Default: one on a GPU, one per core on a CPU.",
        metavar="N",
        panel=TRAININGS,
        min=1,
        max=256,
    ),
]
DeviceOption = Annotated[str, _setting("machine.device", TRAININGS)]
MinutesOption = Annotated[
    float | None,
    _own(
        help="Save and end after so many minutes; the same command goes on later.",
        metavar="N",
        panel=TRAININGS,
        min=0,
    ),
]
WorkerOption = Annotated[
    bool,
    _own(
        "--worker",
        help="Only train, beside other workers of the same study, on this machine or others that share its folder, "
        "until no run is left.",
        metavar=FLAG,
        panel=TRAININGS,
    ),
]
OnlyOption = Annotated[
    str | None, _own(help="Train only this run of the study.", metavar="RUN", panel=TRAININGS, hidden=True)
]
PrintCommandsOption = Annotated[
    bool,
    _own(
        "--print-commands",
        help="Train nothing; print one command per run, for a scheduler of jobs.",
        metavar=FLAG,
        panel=TRAININGS,
    ),
]
MergeOption = Annotated[
    bool,
    _own(
        "--merge",
        help="Make one table and page of the result.json files (or folders) given: parts of a study, or studies.",
        metavar=FLAG,
        panel=RESULT,
    ),
]
ExplainOption = Annotated[
    bool,
    _own(
        "--explain",
        help="Print what metrics, intervals, p-values and verdicts mean, and train nothing.",
        metavar=FLAG,
        panel=RESULT,
    ),
]
JsonOption = Annotated[bool, _own("--json", help="Print one JSON document.", metavar=FLAG, panel=RESULT)]
