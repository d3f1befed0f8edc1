"""Checks of what a geometry of class vectors may state beyond its rows, against draws of them."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from randhead import vectors
from randhead.arguments import shown
from randhead.testing._members import claim
from randhead.vectors import FastTiles, Geometry, LogMeanExp

DIMS = (16, 64)  # of the draws
DRAWS = 1 << 15
NORMS = (0.0, 1.0, 4.0)  # of queries: at 4 the mean over draws is known to one percent, over all queries to 0.3
QUERIES = 15  # beside the first axis
DEVIATIONS = 5.0  # of a mean over draws that count as chance


def check_stated(geometry: Geometry) -> None:
    """Raise AssertionError if a geometry whose rows depend only on their ids states something wrong about them."""
    for dim in DIMS:
        limit = geometry.limit(dim)
        count = DRAWS if limit is None else min(DRAWS, limit)
        rows = vectors.draw(geometry, torch.arange(count), dim=dim, seed=1).double()
        if geometry.signs:
            off = float((rows.abs() - dim**-0.5).abs().max())
            claim(off < 1e-7, f"SIGNS: entries must be +-1/sqrt(D), one differs by {off:.1e}")
        if geometry.independent or geometry.log_mean_exp:
            _check_independent(geometry, rows)
        if geometry.mean_row:
            _check_mean_row(geometry.mean_row, rows)
        if geometry.log_mean_exp:
            _check_log_mean_exp(geometry.log_mean_exp, rows)
        if geometry.fast_tiles:
            _check_fast_tiles(geometry, geometry.fast_tiles, 3 * dim + 1, dim)


def _check_independent(geometry: Geometry, rows: Tensor) -> None:
    """Neighbouring ids must have cosines as rows of two seeds have."""
    other = vectors.draw(geometry, torch.arange(len(rows)), dim=rows.shape[1], seed=2).double()
    for gap in (1, 2, rows.shape[1]):
        same = (rows[gap:] * rows[:-gap]).sum(dim=1).square()
        apart = (rows[gap:] * other[:-gap]).sum(dim=1).square()
        error = DEVIATIONS * math.sqrt((same.var() + apart.var()) / len(same))
        claim(
            abs(same.mean() - apart.mean()) <= error,
            f"INDEPENDENT: the mean square of cosines between ids {gap} apart is {float(same.mean()):.3g}, between "
            f"rows of two seeds {float(apart.mean()):.3g}: rows are not independent draws",
        )


def _check_mean_row(mean_row: Callable[[int], Tensor], rows: Tensor) -> None:
    dim = rows.shape[1]
    stated = mean_row(dim)
    fits = isinstance(stated, Tensor) and stated.shape == (dim,) and stated.dtype == torch.float32
    claim(fits, f"mean_row({dim}) must be a float32 tensor of shape ({dim},), got {shown(stated)}")
    error = DEVIATIONS * rows.std(dim=0) / math.sqrt(len(rows))
    off = (stated.double().cpu() - rows.mean(dim=0)).abs()
    claim((off <= error).all(), f"mean_row: differs from the mean of {len(rows)} draws by {float(off.max()):.2g}")


def _check_log_mean_exp(log_mean_exp: LogMeanExp, rows: Tensor) -> None:
    dim = rows.shape[1]
    directions = torch.nn.functional.normalize(torch.cat((torch.eye(dim)[:1], rows[:QUERIES])), dim=1).float()
    for norm in NORMS:
        queries = norm * directions
        found = log_mean_exp(queries.requires_grad_())
        value, bound = found if isinstance(found, tuple) else (found, torch.zeros(len(queries)))
        fits = isinstance(value, Tensor) and isinstance(bound, Tensor) and value.shape == bound.shape == (len(queries),)
        claim(fits, f"log_mean_exp: queries ({len(queries)}, {dim}) must give ({len(queries)},), or two of them")
        (gradient,) = torch.autograd.grad(value.sum(), queries)
        finite = value.isfinite().all() and gradient.isfinite().all()
        claim(finite, f"log_mean_exp: queries of norm {norm:g} must give finite numbers and gradients")
        terms = (rows[QUERIES:] @ queries.detach().double().T).exp()
        terms /= (mean := terms.mean(dim=0))
        off, chance = value.detach().double() - mean.log(), DEVIATIONS / math.sqrt(len(terms))
        of_each = off.abs() <= bound.double() + chance * terms.std(dim=0) + 1e-5
        of_all = off.mean().abs() <= bound.double().mean() + chance * terms.mean(dim=1).std() + 1e-5
        claim(
            of_each.all() and of_all,
            f"log_mean_exp: for queries of norm {norm:g} it differs by up to {float(off.abs().max()):.2g}, and by "
            f"{float(off.mean()):.2g} in the mean, from the logarithm of the mean over {len(terms)} draws",
        )


def _check_fast_tiles(geometry: Geometry, fast_tiles: FastTiles, count: int, dim: int) -> None:
    rows = vectors.draw(geometry, torch.arange(count), dim=dim, seed=1)
    queries, weights = rows[:4] + 0.5, torch.linspace(-1, 1, 4 * count).view(4, count)
    logits, summed = torch.full((4, count), torch.nan), torch.zeros(4, dim)
    draw = partial(vectors.draw, geometry, dim=dim, seed=1)
    precision = {"row_scale": 1.0, "dtype": torch.float32, "device": torch.device("cpu")}
    for start, tile in fast_tiles(draw, count, dim, **precision):
        part = slice(start, start + tile.classes)
        logits[:, part] = tile.logits(queries, torch.empty(4, tile.classes))
        tile.add(summed, weights[:, part].contiguous())
    same = torch.allclose(logits, queries @ rows.T, atol=1e-5)
    claim(same, "fast_tiles: the logits must be those of the plain product")
    claim(torch.allclose(summed, weights @ rows, atol=1e-4), "fast_tiles: weighted sums must be those of the rows")
