"""The largest cosine, and the largest absolute cosine, between the class vectors of each geometry, beside their bounds.

    python examples/benchmarks/geometries.py [--sizes 129x64,1000x100]

Prints a table and writes results/geometries.md beside this file.  Sizes are classes x dimensions.
"""

import argparse
from pathlib import Path

import torch

from randhead import vectors
from randhead.errors import UsageError
from randhead.files import atomic_write

GEOMETRIES = ("equiangular", "packed", "hadamard", "uniform", "gaussian")
SIZES = "65x64,100x64,129x64,200x64,300x128,1000x128,1000x100"
FILE = Path(__file__).parent / "results" / "geometries.md"
HEAD = """Largest cosine / largest absolute cosine between the class vectors of K classes in D dimensions, seed 0.
Lower bounds: Rankin's and Levenshtein's / Welch's.
Equiangular basis vectors (arXiv 2303.11637): 0.135 absolute at K = 1,000, D = 100.

| K x D | {} | bounds |
|---|{}
"""


def largest(name: str, classes: int, dim: int) -> str:
    """The largest cosine and the largest absolute cosine of a geometry; a dash if it cannot hold the classes."""
    try:
        drawn = vectors.draw(name, torch.arange(classes), dim=dim, num_classes=classes).double()
    except UsageError:
        return "–"
    cosines = (drawn @ drawn.T)[~torch.eye(classes, dtype=torch.bool)]
    return f"{cosines.max():.4f} / {cosines.abs().max():.4f}"


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    table = HEAD.format(" | ".join(GEOMETRIES), "---|" * (len(GEOMETRIES) + 1))
    for size in parser.parse_args().sizes.split(","):
        classes, dim = map(int, size.split("x"))
        bounds = f"{vectors.cosine_bound(classes, dim):.4f} / {vectors.welch_bound(classes, dim) or 0:.4f}"
        cells = [largest(name, classes, dim) for name in GEOMETRIES]
        table += f"| {classes:,} x {dim} | {' | '.join(cells)} | {bounds} |\n"
    print(table)
    atomic_write(FILE, table)


if __name__ == "__main__":
    main()
