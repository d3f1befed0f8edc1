"""randhead vectors: the pre-flight check of class vectors, before an hour of training is spent on them."""

from pathlib import Path
from typing import Annotated

import typer

from randhead.cli.options import JsonOption


def vectors(
    geometry: Annotated[str, typer.Argument(metavar="GEOMETRY", help="A geometry, or file:PATH.")] = "uniform",
    classes: Annotated[int, typer.Option(help="Number of classes, K.", min=2)] = 10,
    dim: Annotated[int, typer.Option(help="Width of the features, D.", min=1)] = 128,
    scoring: Annotated[str, typer.Option(help="dot or cosine.")] = "dot",
    scale: Annotated[float | None, typer.Option(help="What multiplies the scores; as in training without it.")] = None,
    neck: Annotated[str, typer.Option(help="none, linear or batchnorm: none leaves features non-negative.")] = "none",
    seed: Annotated[int, typer.Option(help="Seed of the class vectors.", min=0)] = 0,
    picture: Annotated[Path | None, typer.Option(help="Where the angle histogram goes.")] = None,
    json: JsonOption = False,
) -> None:
    """Draw class vectors and check them: angles, duplicates, reachable cosines and probabilities."""
    from randhead.cli._preflight import run_check

    picture = picture or Path(f"vectors-{geometry.partition(':')[0]}-{classes}x{dim}.png")
    run_check(
        geometry,
        num_classes=classes,
        dim=dim,
        scoring=scoring,
        scale=scale,
        neck=neck,
        seed=seed,
        picture=picture,
        as_json=json,
    )
