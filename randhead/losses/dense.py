"""The exact normaliser with all logits in memory: O(KD + BK).  For small K."""

import torch
from torch import Tensor

from randhead.losses._rows import Rows
from randhead.losses._scores import Scores


def scores(queries: Tensor, labels: Tensor, rows: Rows, bias: Tensor | None = None) -> Scores:
    """Queries (B, D), labels (B,) int64, rows of K classes, bias (K,) -> own (B,), others (B,)."""
    logits = queries @ rows.matrix().to(queries.dtype).T
    return split(logits if bias is None else logits + bias, labels)


def split(logits: Tensor, labels: Tensor) -> Scores:
    """Logits (B, K), labels (B,) -> the own logit (B,) and the log-sum-exp over the other classes (B,)."""
    labels = labels[:, None]
    own = logits.gather(1, labels).squeeze(1)
    others = torch.logsumexp(logits.scatter(1, labels, -torch.inf), dim=1)
    return Scores(own, others)
