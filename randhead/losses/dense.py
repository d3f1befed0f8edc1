"""The exact normaliser with all logits in memory: O(KD + BK).  For small K."""

import torch
from torch import Tensor


def scores(queries: Tensor, labels: Tensor, class_vectors: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Queries (B, D), labels (B,) int64, class_vectors (K, D), bias (K,) -> own (B,), others (B,)."""
    logits = queries @ class_vectors.T
    return split(logits if bias is None else logits + bias, labels)


def split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K), labels (B,) -> the own logit (B,) and the log-sum-exp over the other classes (B,)."""
    labels = labels[:, None]
    own = logits.gather(1, labels).squeeze(1)
    others = torch.logsumexp(logits.scatter(1, labels, -torch.inf), dim=1)
    return own, others
