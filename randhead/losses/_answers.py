"""All that figures need of the logits, from one sweep over tiles of classes: memory does not grow with K.

A prediction, a loss, a confidence and a score of familiarity are functions of a few numbers a sample, and each of these
is a maximum, a minimum or a sum over classes: it can be gathered tile by tile.  Sums of exponentials are kept with the
largest logit as their shift (Milakov and Gimelshein 2018, arXiv 1805.02867), and without the label, so that the loss
and the confidence of a sample that is fitted well keep their digits.
"""

from typing import NamedTuple

import torch
from torch import Tensor

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


class _Seen(NamedTuple):
    """The same-named fields of `Answers`, of the classes seen so far."""

    own: Tensor
    other: Tensor
    others_sum: Tensor
    lowest: Tensor
    own_cosine: Tensor
    other_cosine: Tensor


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
    cosines = {"own_cosine": seen.own_cosine / lengths, "other_cosine": seen.other_cosine / lengths}
    return Answers(best.classes, best.logits.double(), *seen._replace(**cosines))


def _see(logits: Tensor, cosines: Tensor, places: Tensor) -> _Seen:
    """What one tile adds: logits (B, T) and cosines (B, T), which are written, and the columns of the labels (B,)."""
    lowest = logits.amin(dim=1)
    own, own_cosine = _take_out(logits, places), _take_out(cosines, places)
    wide = logits.double()
    # Finite also where the label is the tile's only class: -inf less -inf would be NaN.
    other = wide.amax(dim=1).clamp_min(torch.finfo(wide.dtype).min)
    others_sum = wide.sub_(other[:, None]).exp_().sum(dim=1)
    rest = (value.double() for value in (lowest, own_cosine, cosines.amax(dim=1)))
    return _Seen(own.double(), other, others_sum, *rest)


def _join(a: _Seen, b: _Seen) -> _Seen:
    """What two sets of classes say together."""
    other = torch.maximum(a.other, b.other)
    return _Seen(
        own=torch.maximum(a.own, b.own),
        other=other,
        others_sum=a.others_sum * (a.other - other).exp() + b.others_sum * (b.other - other).exp(),
        lowest=torch.minimum(a.lowest, b.lowest),
        own_cosine=torch.maximum(a.own_cosine, b.own_cosine),
        other_cosine=torch.maximum(a.other_cosine, b.other_cosine),
    )


def _take_out(values: Tensor, places: Tensor) -> Tensor:
    """Column places[i] of row i, (B, T) -> (B,), where -inf is left behind; -inf where there is no such column."""
    inside = ((places >= 0) & (places < values.shape[1]))[:, None]
    columns = places.clamp(0, values.shape[1] - 1)[:, None]
    found = values.gather(1, columns)
    values.scatter_(1, columns, found.masked_fill(inside, -torch.inf))
    return found.masked_fill(~inside, -torch.inf)[:, 0]
