"""The last layer: class vectors that are drawn at random and fixed, or learned from the same start."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from randhead import losses, registry
from randhead.ambient import without_autocast
from randhead.arguments import whole
from randhead.head.checks import (
    as_geometry,
    check_directions,
    check_features,
    check_has_numbers,
    check_options,
    check_samples,
    composed_names,
)
from randhead.head.class_vectors import ClassVectors
from randhead.head.loss import losses_of
from randhead.head.neck import NECKS, apply_neck
from randhead.head.queries import directions
from randhead.head.recognise import is_marked
from randhead.head.scale import default_scale
from randhead.head.summary import summary
from randhead.losses import ClassRows, DrawnRows, HeadOutput, StoredRows, expected
from randhead.vectors import Geometry

DENSE_BYTES = 64 << 20  # of logits: above, "auto" streams


class ClassVectorHead(ClassVectors):
    """Scores features against one vector per class.

    Fixed vectors stay float32 with the same bits on a real device, whatever the module is cast to and whatever torch's
    default dtype and device are; they follow the device of the features.  If they can be drawn again from the seed, a
    large set of them is never materialised (see `materialise`), and a state_dict holds their spec and hash instead of
    their numbers.  Loading the state_dict of a head with other class vectors raises RunError; if other software puts
    its buffers into this head without `load_state_dict`, the first use does.  Learned vectors are a parameter.

    Args:
        num_classes: K, at least 2.
        dim: D, the width of the features and of the class vectors.
        vectors: how class vectors are drawn: a member of `randhead.vectors`, "file:PATH" or a `vectors.Geometry`; or
            the class vectors (K, D) themselves, of which the head keeps a copy in float32.
        scoring: "dot" for the dot product of features and class vector, "cosine" for their cosine.
        trainable: learn the class vectors, from the same start; otherwise they are fixed.
        scale: factor on the scores; None for 1 with dot products, and with cosines for at least 16, which grows with K
            (`randhead.head.default_scale`).
        bias: a number added to every logit, such as 0.0; None for no bias.  It is learned, from this value, if the
            class vectors are learned.
        neck: a layer between the features and the scores: "none", "linear" (D to D) or "batchnorm".
        seed: seed of the class vectors.
        class_names: key the vectors by these K names instead of by index, so that another set of classes does not
            move the vector of any class.
        normaliser: how the softmax over all classes is computed, a member of `randhead.losses`; "auto" is dense if the
            logits of the batch take less than 64 MiB, else streaming.
        learn_scale: learn the scale, starting from `scale`.
        normaliser_tolerance: for "expected", the largest error bound of the loss, in nats; UsageError above it.

    Attributes:
        last_error_bound: how far the last `loss` may be from the exact one, in nats; 0 except for "expected".

    Raises:
        UsageError: for an argument out of its bounds, and for arguments that do not fit together.

    Example:
        >>> head = ClassVectorHead(10, 64, scoring="cosine")
        >>> head(torch.ones(3, 64)).shape
        torch.Size([3, 10])
    """

    bias: nn.Parameter | None
    log_scale: nn.Parameter | None

    @torch.inference_mode(False)  # a head that is built in inference mode can be trained
    def __init__(
        self,
        num_classes: int,
        dim: int,
        vectors: str | Geometry | Tensor = "uniform",
        scoring: str = "dot",
        trainable: bool = False,
        scale: float | None = None,
        bias: float | None = None,
        neck: str = "none",
        seed: int = 0,
        class_names: tuple[str, ...] | list[str] | None = None,
        normaliser: str = "auto",
        *,
        learn_scale: bool = False,
        normaliser_tolerance: float = expected.TOLERANCE,
    ):
        check_options(
            scoring=scoring, scale=scale, bias=bias, neck=neck, normaliser_tolerance=normaliser_tolerance,
            normaliser=normaliser, trainable=trainable, learn_scale=learn_scale, seed=seed,
        )  # fmt: skip
        names = None if class_names is None else composed_names("class_names", class_names)
        known = as_geometry(vectors)
        super().__init__(num_classes, dim, known, seed=int(seed), trainable=trainable, class_names=names, bias=bias)
        self.scoring, self.neck = scoring, NECKS[neck](self.dim)
        self.initial_scale = default_scale(self.num_classes, scoring) if scale is None else float(scale)
        self.log_scale = nn.Parameter(torch.tensor(math.log(self.initial_scale))) if learn_scale else None
        self.normaliser, self.normaliser_tolerance = normaliser, normaliser_tolerance
        self.last_error_bound: Tensor | float = 0.0
        if normaliser != "auto":
            registry.load("losses", normaliser)  # an unknown name is an error now, not at the first loss
        if scoring == "cosine":
            check_directions(self.raw_rows())
        if normaliser == "expected":
            expected.check(self.raw_rows(), normalised=scoring == "cosine")

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As `ClassVectors.reset_parameters`, with the learned scale.  The neck's own method resets the neck."""
        super().reset_parameters()
        if self.log_scale is not None and not is_marked(self.log_scale):
            self.log_scale.fill_(math.log(self.initial_scale))

    def rows(self, device: torch.device | None = None) -> ClassRows:
        """The class vectors as the scores use them: with unit norm if scores are cosines.

        Args:
            device: where the features are, for fixed vectors to follow them; None for where the vectors are.
        """
        rows = self.raw_rows(device)
        if isinstance(rows, DrawnRows) or self.scoring != "cosine":  # drawn ones have unit norm anyway
            return rows
        return StoredRows(F.normalize(rows.matrix(), dim=1), unit_norm=True, geometry=rows.geometry)

    def class_vectors(self) -> Tensor:
        """All class vectors as the scores use them: (K, D), of unit norm for cosines; fixed ones as a copy."""
        matrix, kept = (rows := self.rows()).matrix(), isinstance(rows, StoredRows) or rows.is_materialisable
        return matrix.clone() if kept and not self.trainable else matrix

    @property
    def scale(self) -> float:
        """The factor on the scores, as a number."""
        return self.initial_scale if self.log_scale is None else self.log_scale.detach().exp().item()

    def embed(self, features: Tensor) -> Tensor:
        """Features after the neck: (..., D) -> (..., D).  Raises UsageError as `apply_neck`."""
        return apply_neck(self.neck, features, self.dim)

    def queries(self, embedded: Tensor) -> Tensor:
        """Embedded features, normalised for cosines, times the scale, in float32 also under autocast: (..., D).

        A row of zeros has no direction: its cosines and its gradient are 0 (its second derivative is nan).
        """
        embedded = embedded.float()
        scaled = directions(embedded) if self.scoring == "cosine" else embedded
        scale = self.multiplier()
        return scaled if isinstance(scale, float) and scale == 1 else scale * scaled

    def score(self, embedded: Tensor) -> Tensor:
        """The logits of embedded features: (..., D) -> (..., K) float32.  Raises UsageError for others."""
        check_features(embedded, self.dim, "embedded")
        with without_autocast(embedded.device):
            logits = self.queries(embedded) @ self.rows(embedded.device).matrix().T
            return logits + (self.constant if self.bias is None else self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features (..., D) -> logits (..., K)."""
        return self.score(self.embed(features))

    def loss(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        reduction: str = "mean",
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
        class_weights: Tensor | None = None,
        margin: Callable[[Tensor], Tensor] | None = None,
        exact_classes: Tensor | None = None,
        check_values: bool = True,
    ) -> Tensor:
        """The cross-entropy of a batch, as `F.cross_entropy(head(features), labels, weight=class_weights, ...)`.

        With the arguments that torch has too, the result and its gradients are those of torch, but for rounding (a
        well-fitted sample keeps its digits here) and for a mean over no sample, which is nan there and an error here.

        With the dense normaliser (`normaliser="dense"`, or "auto" for a small batch) the loss can be differentiated
        twice, be a function of `torch.func.grad` and `torch.func.vmap`, and be compiled with `fullgraph=True`.  While
        it is traced or transformed, values are not checked (labels out of range, features that are not finite, a mean
        over no sample).  With "streaming" and "expected", use `F.cross_entropy(head(features), labels)` for all that;
        "expected" has second derivatives.  bfloat16 features make the streaming method multiply in bfloat16.

        Args:
            features: (..., D), finite, also those of samples that are left out.
            labels: one class per sample (...), of any integer dtype, or its probabilities (..., K), which the expected
                normaliser refuses; streaming makes no other matrix of that shape if they are float32 or float64.  Only
                the dense normaliser has a gradient for them.
            reduction: "mean", "sum" or "none".  With hard labels the mean divides by the sum of weight times class
                weight over the samples that are not ignored; with soft labels by the sum of the weights.
            ignore_index: hard label of the samples that are left out.
            label_smoothing: share of the target probability that is spread over all classes (Szegedy et al. 2016,
                section 7), from 0 to 1.
            weights: factors on the samples (...), not negative.
            class_weights: factors on the classes (K,), not negative.  The expected normaliser refuses them together
                with label smoothing.
            margin: maps the cosines to the target class (B,) -> (B,): `losses.cosface` or `losses.arcface`; with
                another margin `functools.partial(losses.cosface, margin=0.2)`.  The loss is that of logits with the
                target's logit replaced.
            exact_classes: (N,) classes that the expected softmax sums one by one.
            check_values: False does not wait for a CUDA device (except streaming): labels must be classes, the loss of
                infinite features is NaN, and `last_error_bound`, now a tensor, can be above the tolerance.

        Returns:
            A scalar, in nats; for "none" the losses (...), 0 for a sample that is left out.

        Raises:
            UsageError: for arguments that do not fit, for a mean over no sample (an empty batch, all labels ignored,
                all weights 0), and if the error bound of the expected softmax is above the tolerance.
            DivergedError: for features that are not finite.

        Example:
            >>> head = ClassVectorHead(10, 64)
            >>> tokens, labels = torch.ones(2, 3, 64), torch.tensor([[0, 1, -100], [2, -100, -100]])
            >>> head.loss(tokens, labels, reduction="none").shape
            torch.Size([2, 3])
        """
        embedded = self.embed(features)
        batch = losses.check_batch(
            embedded, labels, self.num_classes, reduction=reduction, ignore_index=ignore_index,
            label_smoothing=label_smoothing, weights=weights, class_weights=class_weights, check_values=check_values,
        )  # fmt: skip
        with without_autocast(embedded.device):
            queries = self.queries(batch.features)
            each = losses_of(self, queries, batch, margin, exact_classes, check_bound=check_values)
            each = each if check_values else losses.nan_if_infinite(each, batch.features)
            return batch.reduced(each).to(queries.dtype)

    def normaliser_for(self, batch_size: int) -> str:
        """The softmax method, a member of `randhead.losses`, for a batch of this size."""
        if type(batch_size) not in (int, torch.SymInt) or batch_size < 0:
            batch_size = whole("batch_size", batch_size)
        if self.normaliser != "auto":
            return self.normaliser
        fits = self.raw_rows().is_materialisable
        return "dense" if fits and 4 * batch_size * self.num_classes <= DENSE_BYTES else "streaming"

    @torch.no_grad()
    def predict(self, features: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
        """The k best classes per sample, best first, ties by class index.

        Classes are scored in tiles, so memory does not grow with their number.

        Args:
            features: (..., D).
            k: number of classes to return, at most K.

        Returns:
            Classes (..., k) int64 and their logits (..., k).

        Raises:
            UsageError: for features of another shape or on the meta device, and for k below 1.
        """
        k = whole("k", k, 1)
        embedded = self.embed(features)
        check_has_numbers("features", embedded)
        with without_autocast(embedded.device):
            queries = self.queries(embedded).reshape(-1, self.dim)
            classes, logits = losses.top(queries, self.rows(queries.device), self.bias, k=k)
        shape = (*features.shape[:-1], classes.shape[1])
        return classes.reshape(shape), (logits + self.constant).reshape(shape)

    @torch.no_grad()
    def output(self, embedded: Tensor, labels: Tensor | None = None, *, k: int = 5) -> HeadOutput:
        """The numbers that metrics need for a batch, computed in tiles as in `predict`.

        Args:
            embedded: features after the neck (B, D), from `embed`.
            labels: target classes (B,) of any integer dtype, if there are any.
            k: number of best classes to keep, at most K.

        Raises:
            UsageError: for arguments of another type or shape, for features on the meta device, and for k below 1.
        """
        k = whole("k", k, 1)
        check_samples(embedded, self.dim)
        labels = None if labels is None else losses.check_hard_labels(labels, embedded)
        with without_autocast(embedded.device):
            bias = self.constant if self.bias is None else self.bias
            return losses.head_output(self.queries(embedded), self.rows(embedded.device), bias, labels, k=k)

    def multiplier(self) -> Tensor | float:
        """The factor on the scores: a number, or a tensor if it is learned."""
        return self.initial_scale if self.log_scale is None else self.log_scale.exp()

    def extra_repr(self) -> str:
        """The summary that `print(head)` shows."""
        return summary(self)
