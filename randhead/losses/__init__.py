"""How the softmax normaliser is computed: one file, one way.

Each member has the verb `scores(queries, labels, rows, bias=None, ...)`: queries (B, D), labels (B,) int64, the class
vectors as a source of rows (`StoredRows` or `DrawnRows`) and a bias (K,) -> `Scores`.  Per sample these are the logit
of its own class and the log-sum-exp over the *other* classes.  With the two, cross-entropy is softplus(others - own),
which keeps its digits where the sample is well fitted; the usual form subtracts two nearly equal numbers there.
Margins, temperature, label smoothing and weights are ordinary autograd on top.
"""

import torch.nn.functional as F
from torch import Tensor

from randhead.losses._answers import Answers
from randhead.losses._margins import arcface, cosface
from randhead.losses._rows import DrawnRows, Rows, StoredRows
from randhead.losses._scores import Scores

__all__ = ["Answers", "DrawnRows", "Rows", "Scores", "StoredRows", "arcface", "cosface", "cross_entropy"]


def cross_entropy(own: Tensor, others: Tensor) -> Tensor:
    """Cross-entropy in the target-excluded form: own (B,) logits, others (B,) log-sum-exp of the rest -> (B,)."""
    return F.softplus(others - own)
