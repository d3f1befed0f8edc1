"""randhead vectors: the pre-flight check of class vectors, before training with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from randhead.cli.options import JsonOption, option
from randhead.config import settings

if TYPE_CHECKING:
    from randhead.head import ClassVectorHead, Preflight


def vectors(
    geometry: Annotated[str, typer.Argument(metavar="GEOMETRY", help=settings()["head.vectors"].help)] = "uniform",
    classes: Annotated[int, typer.Option(help="Number of classes, K.", min=2, metavar="K")] = 10,
    dim: Annotated[
        int, typer.Option(help="Number of features, D, the length of a class vector.", min=1, metavar="D")
    ] = 128,
    scoring: Annotated[str, option("head.scoring")] = "dot",
    scale: Annotated[float | None, option("head.scale")] = None,
    neck: Annotated[str, option("head.neck")] = "none",
    seed: Annotated[int, typer.Option(help=settings()["train.head_seed"].help, min=0, metavar="N")] = 0,
    picture: Annotated[
        Path | None,
        typer.Option(help="File for a histogram of the angles.  By default, one in this folder.", metavar="FILE"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Draw class vectors and check them before training: the angles, cosines and probabilities that they allow."""
    from randhead import registry
    from randhead.cli.output import Output
    from randhead.config import HeadConfig
    from randhead.head import ClassVectorHead, preflight

    geometry = registry.use("vectors", geometry)
    HeadConfig(vectors=geometry, scoring=scoring, scale=scale, neck=neck)  # refuses what training would refuse
    output = Output(as_json=json)
    head = ClassVectorHead(classes, dim, geometry, scoring, scale=scale, seed=seed)
    check = preflight(head, nonnegative=neck == "none")
    picture = picture or Path(f"vectors-{registry.split(geometry)[0]}-{classes}x{dim}.png")
    output.tables(check.tables())
    files = output.keep(lambda: _draw(picture, head, check))
    output.result({**check.to_json(), "picture": str(files[0]) if files else None})
    for warning in check.warnings:
        output.warn(warning)


def _draw(picture: Path, head: "ClassVectorHead", check: "Preflight") -> Path:
    """Draw the angles of class vectors.  Matplotlib is imported here: a fault of it must not cost the result."""
    from randhead.head import angle_histogram
    from randhead.report import angles

    edges, counts = angle_histogram(head)
    marks = {"smallest": check.angle_min, "mean": check.angle_mean}
    return angles.draw(picture, edges.tolist(), counts.tolist(), marks=marks)
