"""randhead train: fit a classifier and keep it in a run folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from randhead import registry

GEOMETRIES = ", ".join(name for name in registry.names("vectors") if name != "file")
DATA, HEAD, TRAINING, RUN = "Data and encoder", "Head", "Training", "Run"


def train(
    data: Annotated[
        str | None, typer.Option(help="digits (the default), cifar10, ... or a folder of images.", rich_help_panel=DATA)
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="class (the default), or instance: every image its own class.", rich_help_panel=DATA),
    ] = None,
    skip_bad_images: Annotated[
        bool | None, typer.Option("--skip-bad-images", help="Leave unreadable images out.", rich_help_panel=DATA)
    ] = None,
    hold_out_classes: Annotated[
        str | None,
        typer.Option(
            metavar="N|NAMES", help="Leave classes out, for analyze transfer: how many, or a,b.", rich_help_panel=DATA
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="small_resnet (the default), resnet18, torchvision:NAME or timm:NAME.", rich_help_panel=DATA),
    ] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained", help="Start from published weights.", rich_help_panel=DATA)
    ] = None,
    scoring: Annotated[str | None, typer.Option(help="dot (the default) or cosine.", rich_help_panel=HEAD)] = None,
    learned: Annotated[
        bool | None,
        typer.Option(
            "--learned/--fixed", help="Learn the class vectors, or keep them fixed (the default).", rich_help_panel=HEAD
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(help=f"{GEOMETRIES} or file:PATH. The default is the paper's, uniform.", rich_help_panel=HEAD),
    ] = None,
    class_keys: Annotated[
        str | None,
        typer.Option(
            help="What a vector belongs to: the class's index (the default) or its name.", rich_help_panel=HEAD
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help="What multiplies the scores. By default 1 for dot, 16 or more for cosine.", rich_help_panel=HEAD
        ),
    ] = None,
    neck: Annotated[
        str | None,
        typer.Option(
            help="What comes before the scores: none (the default), linear or batchnorm.", rich_help_panel=HEAD
        ),
    ] = None,
    normaliser: Annotated[
        str | None,
        typer.Option(
            help="How the softmax is summed: auto (the default), dense, streaming or expected.", rich_help_panel=HEAD
        ),
    ] = None,
    head_seed: Annotated[
        int | None, typer.Option(help="Seed of the class vectors (default 0).", rich_help_panel=HEAD)
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="default, paper (the official code's settings) or fair (equal for all).", rich_help_panel=TRAINING
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="How often all images are seen (default 20).", rich_help_panel=TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step (default 64).", rich_help_panel=TRAINING)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything else (default 0).", rich_help_panel=TRAINING)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto (the default), cpu or cuda.", rich_help_panel=TRAINING)
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto (bf16 where it is native), fp32 or bf16.", rich_help_panel=TRAINING)
    ] = None,
    compile_: Annotated[
        bool | None, typer.Option("--compile", help="Compile the encoder.", rich_help_panel=TRAINING)
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="RUN", help="A run to train on from, with new classes too.", rich_help_panel=RUN
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.", rich_help_panel=RUN)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting: optim.lr=0.1.", rich_help_panel=RUN),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.", rich_help_panel=RUN)] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run folder.", rich_help_panel=RUN)] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Start anew, or go on where the run stopped.", rich_help_panel=RUN)
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.", rich_help_panel=RUN)] = False,
) -> None:
    """Train a classifier.  Without arguments: fixed random class vectors on 1,797 handwritten digits.

    The same command started again goes on where it stopped, and shows the result of a finished run.
    """
    from randhead import runs
    from randhead.cli.choices import configuration
    from randhead.config.parse import parse_assignment, read_toml

    options: dict[str, Any] = {
        "data.name": data,
        "data.labels": labels,
        "data.skip_bad_images": skip_bad_images,
        "data.hold_out_classes": hold_out_classes,
        "backbone.name": backbone,
        "backbone.pretrained": pretrained,
        "head.scoring": scoring,
        "head.trainable": learned,
        "head.vectors": vectors,
        "head.class_keys": class_keys,
        "head.scale": scale,
        "head.neck": neck,
        "head.normaliser": normaliser,
        "train.head_seed": head_seed,
        "recipe": recipe,
        "train.epochs": epochs,
        "train.batch_size": batch_size,
        "train.seed": seed,
        "train.start_from": None if from_ is None else str(runs.find(from_, root=out).path.resolve()),
        "machine.device": device,
        "train.precision": precision,
        "machine.compile": compile_,
    }
    chosen = read_toml(config) if config else {}
    chosen |= {key: value for key, value in options.items() if value is not None}
    chosen |= dict(parse_assignment(text) for text in set_ or [])
    configured = configuration(chosen)  # before torch is imported: a typing error is told at once

    from randhead.cli._training import run_training

    run_training(configured, out=out, name=name, fresh=fresh, as_json=json)
