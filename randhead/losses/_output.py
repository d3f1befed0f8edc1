"""The numbers that metrics need, from one sweep over tiles of classes: memory does not grow with K.

A prediction, a loss, a confidence and an out-of-distribution score are functions of a few numbers per sample.  Each of
these is a maximum, a minimum or a sum over classes, which can be accumulated tile by tile.  Sums of exponentials are
relative to the largest logit (Milakov and Gimelshein 2018, arXiv 1805.02867) and leave out the target, so that the loss
and the confidence of a well-fitted sample stay precise.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from randhead.losses._rows import ClassRows
from randhead.losses._target import pop_target
from randhead.losses._topk import Best, tiles

TINY = 1e-30  # of a norm: the cosine of a zero vector is 0


class HeadOutput(NamedTuple):
    """The output of a head for B samples; numbers are float64, computed from float32 logits.

    Attributes:
        classes: the k best classes, best first, ties by class index (B, k) int64.
        logits: their logits (B, k).
        target: logit of the label (B,); -inf if there is no label, or the head does not have its class.
        non_target: the largest logit of any other class (B,).
        non_target_sum: sum of exp(logit - non_target) over all classes but the label (B,).
        lowest: the smallest logit (B,).
        target_cosine: cosine to the class vector of the label (B,).
        non_target_cosine: the largest cosine to any other class vector (B,).
        non_target_squares: sum of exp(2 (logit - non_target)) over all classes but the label (B,).
    """

    classes: Tensor
    logits: Tensor
    target: Tensor
    non_target: Tensor
    non_target_sum: Tensor
    lowest: Tensor
    target_cosine: Tensor
    non_target_cosine: Tensor
    non_target_squares: Tensor

    @property
    def losses(self) -> Tensor:
        """Cross-entropy per sample, softplus(log-sum-exp over the other classes - target): (B,)."""
        gap = self.non_target - self.target + self.non_target_sum.log()
        # logaddexp is exact for all x; F.softplus returns x above 20, an error of 1e-10.
        return torch.logaddexp(gap, torch.zeros_like(gap))

    @property
    def predictions(self) -> Tensor:
        """The best class: (B,) int64."""
        return self.classes[:, 0].contiguous()

    @property
    def confidences(self) -> Tensor:
        """The largest softmax probability: (B,)."""
        return 1 / self._total

    @property
    def brier_scores(self) -> Tensor:
        """Sum over classes of the squared difference of probability and truth, 0 to 2 (Brier 1950): (B,)."""
        best, total = self.logits[:, 0], self._total
        others = self.non_target_squares * (2 * (self.non_target - best)).exp() / total.square()
        # 1 - p of the label, without cancellation: the others' share.
        missed = self.non_target_sum * (self.non_target - best).exp() / total
        return missed.square() + others

    @property
    def probabilities(self) -> Tensor:
        """Softmax probabilities of `classes`: (B, k)."""
        return (self.logits - self.logits[:, :1]).exp() / self._total[:, None]

    @property
    def log_sum(self) -> Tensor:
        """Log-sum-exp over all classes: (B,)."""
        return self.logits[:, 0] + self._total.log()

    @property
    def largest_cosine(self) -> Tensor:
        """The largest cosine to a class vector: (B,)."""
        return torch.maximum(self.target_cosine, self.non_target_cosine)

    @property
    def _total(self) -> Tensor:
        """The sum of exp(logit - largest logit) over all classes, at least 1: (B,)."""
        best = self.logits[:, 0]
        return self.non_target_sum * (self.non_target - best).exp() + (self.target - best).exp()


@torch.no_grad()
def head_output(
    queries: Tensor, rows: ClassRows, bias: Tensor | float, labels: Tensor | None = None, *, k: int
) -> HeadOutput:
    """The output of a head, computed in tiles of classes.

    Args:
        queries: embedded, scaled features (B, D).
        rows: K class vectors.
        bias: added to the logits: (K,) or a number.
        labels: (B,) int64; a label outside 0..K-1 counts as no label.
        k: number of best classes to keep, at most K.

    Returns:
        The output for these B samples.
    """
    if labels is None:
        labels = torch.full((len(queries),), -1, dtype=torch.int64, device=queries.device)
    best = Best(queries, min(k, rows.num_classes))
    seen: dict[str, Tensor] = {}
    for start, tile in tiles(queries, rows):
        logits = queries @ tile.T
        cosines = logits / torch.linalg.vector_norm(tile, dim=1).clamp_min(TINY)
        logits += bias[start : start + len(tile)] if isinstance(bias, Tensor) else bias
        best.add(logits, start)
        found = _of_tile(logits, cosines, labels - start)
        seen = _joined(seen, found) if seen else found
    lengths = torch.linalg.vector_norm(queries, dim=1).double().clamp_min(TINY)
    seen |= {name: seen[name] / lengths for name in ("target_cosine", "non_target_cosine")}
    return HeadOutput(best.classes, best.logits.double(), **seen)


def _of_tile(logits: Tensor, cosines: Tensor, columns: Tensor) -> dict[str, Tensor]:
    """Fields of `HeadOutput` of one tile: logits and cosines (B, T), which are written, and columns of labels (B,)."""
    lowest = logits.amin(dim=1)
    target, target_cosine = pop_target(logits, columns), pop_target(cosines, columns)
    wide = logits.double()
    # Finite also if the label is the tile's only class: -inf less -inf would be NaN.
    non_target = wide.amax(dim=1).clamp_min(torch.finfo(wide.dtype).min)
    return {
        "target": target.double(),
        "non_target": non_target,
        "non_target_sum": wide.sub_(non_target[:, None]).exp_().sum(dim=1),
        "non_target_squares": torch.einsum("bt,bt->b", wide, wide),
        "lowest": lowest.double(),
        "target_cosine": target_cosine.double(),
        "non_target_cosine": cosines.amax(dim=1).double(),
    }


def _joined(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merge the fields of two sets of classes."""
    largest = ("target", "non_target", "target_cosine", "non_target_cosine")
    joined = {name: torch.maximum(a[name], b[name]) for name in largest}
    shares = [(part["non_target"] - joined["non_target"]).exp() for part in (a, b)]
    joined["non_target_sum"] = a["non_target_sum"] * shares[0] + b["non_target_sum"] * shares[1]
    squares = [part["non_target_squares"] * share.square() for part, share in zip((a, b), shares, strict=True)]
    joined["non_target_squares"] = squares[0] + squares[1]
    joined["lowest"] = torch.minimum(a["lowest"], b["lowest"])
    return joined
