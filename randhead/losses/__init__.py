"""How the softmax normaliser is computed: one file, one way.

Each member has the verb `scores(queries, labels, class_vectors, bias)` and returns, per sample, the logit of its own
class and the log-sum-exp over the *other* classes.  With these two, cross-entropy is softplus(others - own), which
keeps its digits where the sample is well fitted; the usual form subtracts two nearly equal numbers there.
"""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(own: Tensor, others: Tensor) -> Tensor:
    """Cross-entropy in the target-excluded form: own (B,) logits, others (B,) log-sum-exp of the rest -> (B,)."""
    return F.softplus(others - own)
