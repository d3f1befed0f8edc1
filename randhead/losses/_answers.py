"""All that figures need of the logits, from one sweep over tiles of classes: memory does not grow with K.

A prediction, a loss, a confidence and a score of familiarity are functions of a few numbers a sample, and each of these
is a maximum, a minimum or a sum over classes: it can be gathered tile by tile.  Sums of exponentials are kept with the
largest logit as their shift (Milakov and Gimelshein 2018, arXiv 1805.02867), and without the label, so that the loss
and the confidence of a sample that is fitted well keep their digits.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from randhead.losses._own import take_out
from randhead.losses._rows import Rows
from randhead.losses._topk import Best, tiles

TINY = 1e-30  # of a length: the cosine of a zero vector is 0


class Answers(NamedTuple):
    """What a head says of B samples: numbers in float64, of float32 logits.

    classes (B, k) int64, logits (B, k): the best, best first, ties by class index.
    own (B,): the logit of the label; -inf where there is no label, or it is no class of the head.
    other (B,): the largest logit of another class than the label.
    others_sum (B,): the sum of exp(logit - other) over all classes but the label.
    lowest (B,): the smallest logit.
    own_cosine (B,), other_cosine (B,): the cosine to the label's class vector, and the largest to another.
    """

    classes: Tensor
    logits: Tensor
    own: Tensor
    other: Tensor
    others_sum: Tensor
    lowest: Tensor
    own_cosine: Tensor
    other_cosine: Tensor

    @property
    def losses(self) -> Tensor:
        """Cross-entropy of each sample, softplus(log-sum-exp over the other classes - own): (B,)."""
        gap = self.other - self.own + self.others_sum.log()
        # logaddexp keeps log1p(exp(x)) exact for all x; F.softplus cuts over to x at 20, which costs 1e-10.
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
        return torch.maximum(self.own_cosine, self.other_cosine)

    @property
    def _total(self) -> Tensor:
        """The sum of exp(logit - largest logit) over all classes, at least 1: (B,)."""
        best = self.logits[:, 0]
        return self.others_sum * (self.other - best).exp() + (self.own - best).exp()


@torch.no_grad()
def answers(queries: Tensor, rows: Rows, bias: Tensor | float, labels: Tensor | None = None, *, k: int) -> Answers:
    """Queries (B, D), rows of K classes, bias (K,) or a number, labels (B,) int64 -> answers with the min(k, K) best.

    A label that is no class counts as none.
    """
    if labels is None:
        labels = torch.full((len(queries),), -1, device=queries.device)
    best, seen = Best(queries, min(k, rows.num_classes)), None
    for start, tile in tiles(queries, rows):
        logits = queries @ tile.T
        cosines = logits / torch.linalg.vector_norm(tile, dim=1).clamp_min(TINY)
        logits += bias[start : start + len(tile)] if isinstance(bias, Tensor) else bias
        best.add(logits, start)
        found = _see(logits, cosines, labels - start)
        seen = found if seen is None else _join(seen, found)
    lengths = torch.linalg.vector_norm(queries, dim=1).double().clamp_min(TINY)
    seen |= {name: seen[name] / lengths for name in ("own_cosine", "other_cosine")}
    return Answers(best.classes, best.logits.double(), **seen)


def _see(logits: Tensor, cosines: Tensor, places: Tensor) -> dict[str, Tensor]:
    """Fields of `Answers` of one tile: logits and cosines (B, T), which are written, and the labels' columns (B,)."""
    lowest = logits.amin(dim=1)
    own, own_cosine = take_out(logits, places), take_out(cosines, places)
    wide = logits.double()
    # Finite also where the label is the tile's only class: -inf less -inf would be NaN.
    other = wide.amax(dim=1).clamp_min(torch.finfo(wide.dtype).min)
    return {
        "own": own.double(),
        "other": other,
        "others_sum": wide.sub_(other[:, None]).exp_().sum(dim=1),
        "lowest": lowest.double(),
        "own_cosine": own_cosine.double(),
        "other_cosine": cosines.amax(dim=1).double(),
    }


def _join(a: dict[str, Tensor], b: dict[str, Tensor]) -> dict[str, Tensor]:
    """What two sets of classes say together."""
    joined = {name: torch.maximum(a[name], b[name]) for name in ("own", "other", "own_cosine", "other_cosine")}
    joined["others_sum"] = sum(part["others_sum"] * (part["other"] - joined["other"]).exp() for part in (a, b))
    joined["lowest"] = torch.minimum(a["lowest"], b["lowest"])
    return joined
