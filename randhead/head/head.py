"""The last layer: class vectors that are drawn at random and fixed, or learned from the same start."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from randhead import registry, rng, vectors
from randhead.errors import RunError, UsageError
from randhead.head import preflight_check
from randhead.head.spec import VectorsSpec, pack_spec, unpack_spec, vectors_sha256
from randhead.losses import DrawnRows, Rows, Scores, StoredRows, cross_entropy, dense, expected, streaming
from randhead.losses._answers import Answers, answers
from randhead.losses._checks import check_batch, check_exact_classes
from randhead.losses._topk import top

DENSE_BYTES = 64 << 20  # of logits: above, "auto" streams
DRAWN_AT_ONCE_BYTES = 16 << 20  # of rows: they are there before torch.compile or torch.export looks for them


class ClassVectorHead(nn.Module):
    """Scores features against one vector per class.

    Args:
        num_classes: K, at least 2.
        dim: D, the width of the features and of the class vectors.
        vectors: a geometry of `randhead.vectors`, or "file:PATH".
        scoring: "dot" for features . vector, "cosine" for the cosine of the two.
        trainable: learn the class vectors, from the same start; otherwise they are fixed.
        scale: multiplies the scores; None chooses `preflight_check.default_scale`.
        learn_scale: learn the scale, from that start.
        drawn: class vectors (K, D) that were drawn before, as a checkpoint stores them, instead of drawing them.
        bias: a constant added to every logit, None for none.  It is learned where the class vectors are.
        neck: "none", "linear" (D to D) or "batchnorm" between the features and the scores.
        seed: seed of the class vectors.
        class_names: key the vectors by these K names instead of by index, so that another set of classes does not
            move the vector of any class.
        normaliser: a member of `randhead.losses`; "auto" is dense where the logits of the batch take less than 64 MiB,
            else streaming.
        normaliser_tolerance: the error of the loss, in nats, above which "expected" refuses.

    Fixed vectors are float32 and stay so, whatever dtype the module is moved to.  Where their geometry can be drawn
    again from its seed they are not held at all if there are many, and a state_dict holds their spec and hash instead
    of their numbers; loading another head's is refused.  Raises UsageError for what cannot be built.

    After `loss`, `last_error_bound` says by how much it may differ from the exact one, in nats: 0 but for "expected".
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        vectors: str = "uniform",
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
        drawn: Tensor | None = None,
        normaliser_tolerance: float = expected.TOLERANCE,
    ):
        super().__init__()
        if num_classes < 2:
            raise UsageError(f"a head needs at least 2 classes, got {num_classes}")
        self.num_classes, self.dim, self.scoring = num_classes, dim, scoring
        self.geometry, self.seed, self.trainable = vectors, seed, trainable
        self.class_names = None if class_names is None else tuple(class_names)
        self.neck = _neck(neck, dim)
        source = self._source(drawn)
        if isinstance(source, DrawnRows) and 4 * num_classes * dim <= DRAWN_AT_ONCE_BYTES:
            source.matrix()
        keys = "index" if class_names is None else "name"
        self.spec = VectorsSpec(vectors, seed, num_classes, dim, keys, vectors_sha256(source))
        self._rows = None if trainable else source
        if trainable:
            self.vectors = nn.Parameter(source.matrix().clone())
        self.bias = nn.Parameter(torch.full((num_classes,), float(bias))) if trainable and bias is not None else None
        self.constant = 0.0 if bias is None or trainable else float(bias)
        scale = preflight_check.default_scale(num_classes, scoring) if scale is None else float(scale)
        self.fixed_scale = None if learn_scale else scale
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale))) if learn_scale else None
        self.normaliser, self.normaliser_tolerance = normaliser, normaliser_tolerance
        self.last_error_bound = 0.0
        if normaliser != "auto":
            registry.load("losses", normaliser)  # an unknown name is an error now, not at the first loss
        if normaliser == "expected":
            expected.check(self.rows())

    def draw(self) -> Tensor:
        """The class vectors as they are drawn: (K, D) float32.  Fixed ones never differ from this."""
        geometry, ids = self.geometry, self.ids()
        return vectors.draw(geometry, ids, dim=self.dim, seed=self.seed, num_classes=self.num_classes)

    def ids(self) -> Tensor:
        """What each class vector is drawn for: class indices, or hashed class names.  (K,) int64."""
        return torch.arange(self.num_classes) if self.class_names is None else self._name_ids()

    def rows(self) -> Rows:
        """The class vectors as the scores use them, of unit norm for the cosine, as a source of rows."""
        if isinstance(self._rows, DrawnRows):
            return self._rows
        matrix, cosine = self.vectors if self.trainable else self._rows.stored, self.scoring == "cosine"
        return StoredRows(F.normalize(matrix, dim=1) if cosine else matrix, unit_norm=cosine)

    def class_vectors(self) -> Tensor:
        """All class vectors as the scores use them: (K, D), of unit norm for the cosine."""
        return self.rows().matrix()

    @property
    def scale(self) -> float:
        """What multiplies the scores, as a number."""
        return self.fixed_scale if self.log_scale is None else self.log_scale.detach().exp().item()

    def embed(self, features: Tensor) -> Tensor:
        """Features as they meet the class vectors, after the neck: (B, D) -> (B, D)."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise UsageError(f"features must have shape (B, {self.dim}), got {tuple(features.shape)}")
        return self.neck(features)

    def queries(self, embedded: Tensor) -> Tensor:
        """What is multiplied with the class vectors, in float32 also under autocast: (B, D) -> (B, D)."""
        embedded = embedded.float()
        directions = F.normalize(embedded, dim=1) if self.scoring == "cosine" else embedded
        return directions if self.fixed_scale == 1 else self._multiplier() * directions

    def score(self, embedded: Tensor) -> Tensor:
        """The logits of embedded features: (B, D) -> (B, K) float32."""
        with torch.autocast(embedded.device.type, enabled=False):
            logits = self.queries(embedded) @ self.class_vectors().T
            return logits + (self.constant if self.bias is None else self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, K)."""
        return self.score(self.embed(features))

    def loss(
        self,
        features: Tensor,
        labels: Tensor,
        *,
        label_smoothing: float = 0.0,
        weights: Tensor | None = None,
        margin: Callable[[Tensor], Tensor] | None = None,
        exact_classes: Tensor | None = None,
    ) -> Tensor:
        """The mean cross-entropy: features (B, D), labels (B,) int64 -> scalar.

        Label smoothing spreads that share of the target over all classes (Szegedy et al. 2016, section 7).  `weights`
        (B,) make it a weighted mean; class weights are `class_weights[labels]`.  `margin` maps the cosines with the own
        class (B,) -> (B,): `losses.cosface` or `losses.arcface`.  `exact_classes` (N,) are summed one by one by the
        expected normaliser, the others at their expectation.  bfloat16 features make the streaming normaliser multiply
        in bfloat16.

        Raises UsageError for shapes and labels that do not fit and where the expected normaliser's error bound is above
        the tolerance, DivergedError for features that are not finite.
        """
        embedded = self.embed(features)
        check_batch(embedded, labels, self.num_classes)
        with torch.autocast(embedded.device.type, enabled=False):
            queries, rows = self.queries(embedded), self.rows()
            scores = self._scores(queries, labels, rows, embedded.dtype, exact_classes)
            own = scores.own if margin is None else self._with_margin(scores.own, labels, margin)
            losses = cross_entropy(own, scores.others)
            if label_smoothing:
                losses = losses + label_smoothing * (own - self._average_logit(queries, rows))
            mean = losses.mean() if weights is None else (weights * losses).sum() / weights.sum()
            return mean.to(queries.dtype)

    def normaliser_for(self, batch_size: int) -> str:
        """The member of `randhead.losses` that a batch of this size takes."""
        if self.normaliser != "auto":
            return self.normaliser
        held = self.trainable or isinstance(self._rows, StoredRows) or self._rows.holdable
        return "dense" if held and 4 * batch_size * self.num_classes <= DENSE_BYTES else "streaming"

    @torch.no_grad()
    def predict(self, features: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
        """The k best classes, best first, ties by class index: features (B, D) -> classes (B, k), logits (B, k).

        The classes are gone through in tiles, so memory does not grow with their number.
        """
        embedded = self.embed(features)
        with torch.autocast(embedded.device.type, enabled=False):
            classes, logits = top(self.queries(embedded), self.rows(), self.bias, k=k)
        return classes, logits + self.constant

    @torch.no_grad()
    def answers(self, embedded: Tensor, labels: Tensor | None = None, *, k: int = 5) -> Answers:
        """What the logits of embedded features (B, D) say, with labels (B,) also of these.  In tiles, as `predict`."""
        with torch.autocast(embedded.device.type, enabled=False):
            bias = self.constant if self.bias is None else self.bias
            return answers(self.queries(embedded), self.rows(), bias, labels, k=k)

    def _scores(
        self, queries: Tensor, labels: Tensor, rows: Rows, dtype: torch.dtype, exact_classes: Tensor | None
    ) -> Scores:
        """The scores by the normaliser that this batch takes.  Sets and checks `last_error_bound`."""
        name = self.normaliser_for(len(queries))
        if exact_classes is not None:
            check_exact_classes(exact_classes, self.num_classes, name)
        self.last_error_bound = 0.0
        if name == "dense":
            return dense.scores(queries, labels, rows, self.bias)
        if not registry.is_builtin("losses", name):
            return registry.load("losses", name).scores(queries, labels, rows, self.bias)
        if name == "streaming":
            precision = torch.bfloat16 if dtype == torch.bfloat16 else queries.dtype
            return streaming.scores(queries, labels, rows, self.bias, precision=precision)
        scores = expected.scores(queries, labels, rows, exact_classes=exact_classes)
        self.last_error_bound = expected.error_bound(scores).item()
        expected.refuse(self.last_error_bound, self.normaliser_tolerance, rows)
        return scores

    def _with_margin(self, own: Tensor, labels: Tensor, margin: Callable[[Tensor], Tensor]) -> Tensor:
        if self.scoring != "cosine":
            raise UsageError("a margin acts on cosines", hint='use scoring="cosine"')
        bias = 0.0 if self.bias is None else self.bias[labels]
        return self._multiplier() * margin((own - bias) / self._multiplier()) + bias

    def _average_logit(self, queries: Tensor, rows: Rows) -> Tensor:
        """The mean of a sample's logits over all classes: (B, D) -> (B,)."""
        mean = expected.mean_row(rows) if self.normaliser == "expected" else rows.mean()
        return queries @ mean.to(queries.dtype) + (0.0 if self.bias is None else self.bias.mean())

    def _multiplier(self) -> Tensor | float:
        return self.fixed_scale if self.log_scale is None else self.log_scale.exp()

    def _source(self, drawn: Tensor | None) -> Rows:
        """The class vectors before training."""
        if drawn is None and not vectors.is_stored(self.geometry):
            vectors.check(self.geometry, dim=self.dim, num_classes=self.num_classes)
            ids = None if self.class_names is None else self._name_ids()
            draw = partial(vectors.draw, self.geometry, dim=self.dim, seed=self.seed)
            return DrawnRows(draw, self.num_classes, self.dim, geometry=self.geometry, seed=self.seed, ids=ids)
        return StoredRows(self.draw() if drawn is None else drawn.float())

    def _name_ids(self) -> Tensor:
        """Hashed class names (K,) int64."""
        if len(set(self.class_names)) != self.num_classes:
            raise UsageError(f"{self.num_classes} different class names are needed, got {len(set(self.class_names))}")
        if not vectors.is_by_row(self.geometry):
            raise UsageError(
                f"{self.geometry} vectors belong together and cannot be keyed by class name",
                hint=f"use --class-keys index, or another geometry: {vectors.NEAREST_WITHOUT_LIMIT}",
            )
        return torch.tensor([rng.name_id(name) for name in self.class_names])

    def extra_repr(self) -> str:
        """What `print(head)` shows."""
        kind = "learned" if self.trainable else "fixed"
        return f"{self.num_classes} classes, D={self.dim}, {kind} {self.geometry}, {self.scoring}, seed={self.seed}"

    def _apply(self, fn: Any, recurse: bool = True) -> "ClassVectorHead":
        """Move fixed vectors with the module, but never round them: `half()` leaves them in float32."""
        super()._apply(fn, recurse)
        if not self.trainable:
            self._rows = self._rows.to(fn(torch.empty(0, device=self._rows.device)).device)
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "spec"] = pack_spec(self.spec)
        if not self.trainable and vectors.is_stored(self.geometry):
            destination[prefix + "vectors"] = self._rows.stored

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Check that the class vectors are the ones the checkpoint was trained with, before anything is taken over.

        Learned ones have left the place where they were drawn; there, only the recipe of the draw has to be the same.
        """
        packed = state_dict.pop(prefix + "spec", None)
        if packed is None:
            raise RunError("the checkpoint holds no spec of its class vectors", hint="it was not saved by randhead")
        theirs, ours = unpack_spec(packed), self.spec
        if self.trainable:
            self.spec = ours = replace(ours, sha256=theirs.sha256)
        if theirs != ours:
            raise RunError(
                f"the class vectors are not the ones of the checkpoint ({theirs} there, {ours} here)",
                hint="give the head the geometry, seed, classes and dimensions of the checkpoint",
            )
        if not self.trainable:  # those of the spec, which this head has
            state_dict.pop(prefix + "vectors", None)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _neck(kind: str, dim: int) -> nn.Module:
    necks = {"none": nn.Identity, "linear": lambda: nn.Linear(dim, dim), "batchnorm": lambda: nn.BatchNorm1d(dim)}
    return necks[kind]()
