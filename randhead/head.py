"""The last layer: class vectors that are drawn at random and fixed, or learned from the same start."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from randhead import catalog, preflight, seeds, vectors
from randhead.errors import RunError, UsageError
from randhead.files import sha256
from randhead.losses import cross_entropy

HASHED_ROWS = 65_536  # a hash of more rows than this would cost more than it tells


@dataclass(frozen=True)
class VectorsSpec:
    """What has to be known to draw a head's class vectors again, and to know them when one sees them."""

    geometry: str
    seed: int
    num_classes: int
    dim: int
    keys: str  # "index" or "name"
    sha256: str


class ClassVectorHead(nn.Module):
    """Scores features against one vector per class.

    Args:
        num_classes: K, at least 2.
        dim: D, the width of the features and of the class vectors.
        vectors: a geometry of `randhead.vectors`, or "file:PATH".
        scoring: "dot" for features . vector, "cosine" for the cosine of the two.
        trainable: learn the class vectors, from the same start; otherwise they are fixed.
        scale: multiplies the scores; None chooses `preflight.default_scale`.
        learn_scale: learn the scale, from that start.
        drawn: class vectors (K, D) that were drawn before, as a checkpoint stores them, instead of drawing them.
        bias: a constant added to every logit, None for none.  It is learned where the class vectors are.
        neck: "none", "linear" (D to D) or "batchnorm" between the features and the scores.
        seed: seed of the class vectors.
        class_names: key the vectors by these K names instead of by index, so that another set of classes does not
            move the vector of any class.
        normaliser: a member of `randhead.losses`, or "auto".

    Fixed vectors are float32 and stay so, whatever dtype the module is moved to.  Where their geometry can be drawn
    again from its seed, a state_dict holds their spec and hash instead of their numbers; loading another head's is
    refused.  Raises UsageError for what cannot be built.
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
    ):
        super().__init__()
        if num_classes < 2:
            raise UsageError(f"a head needs at least 2 classes, got {num_classes}")
        self.num_classes, self.dim, self.scoring = num_classes, dim, scoring
        self.geometry, self.seed, self.trainable = vectors, seed, trainable
        self.class_names = None if class_names is None else tuple(class_names)
        self.normaliser = "dense" if normaliser == "auto" else normaliser
        catalog.load("losses", self.normaliser)  # an unknown name is an error now, not at the first loss
        self.neck = _neck(neck, dim)
        drawn = self.draw() if drawn is None else drawn.float()
        keys = "index" if class_names is None else "name"
        self.spec = VectorsSpec(vectors, seed, num_classes, dim, keys, vectors_sha256(drawn))
        if trainable:
            self.vectors = nn.Parameter(drawn)
            self.bias = None if bias is None else nn.Parameter(torch.full((num_classes,), float(bias)))
        else:
            self._fixed = drawn
            self.bias = None
        self.constant = 0.0 if bias is None or trainable else float(bias)
        scale = preflight.default_scale(num_classes, scoring) if scale is None else float(scale)
        self.fixed_scale = None if learn_scale else scale
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale))) if learn_scale else None

    def draw(self) -> Tensor:
        """The class vectors as they are drawn: (K, D) float32.  Fixed ones never differ from this."""
        return vectors.draw(self.geometry, self.ids(), dim=self.dim, seed=self.seed, num_classes=self.num_classes)

    def ids(self) -> Tensor:
        """What each class vector is drawn for: class indices, or hashed class names.  (K,) int64."""
        if self.class_names is None:
            return torch.arange(self.num_classes)
        if len(set(self.class_names)) != self.num_classes:
            raise UsageError(f"{self.num_classes} different class names are needed, got {len(set(self.class_names))}")
        if not vectors.is_by_row(self.geometry):
            raise UsageError(
                f"{self.geometry} vectors belong together and cannot be keyed by class name",
                hint=f"use --class-keys index, or another geometry: {vectors.NEAREST_WITHOUT_LIMIT}",
            )
        return torch.tensor([seeds.name_id(name) for name in self.class_names])

    @property
    def scale(self) -> float:
        """What multiplies the scores, as a number."""
        return self.fixed_scale if self.log_scale is None else self.log_scale.detach().exp().item()

    def class_vectors(self) -> Tensor:
        """The class vectors as the scores use them: (K, D), of unit norm for the cosine."""
        rows = self.vectors if self.trainable else self._fixed
        return F.normalize(rows, dim=1) if self.scoring == "cosine" else rows

    def embed(self, features: Tensor) -> Tensor:
        """Features as they meet the class vectors, after the neck: (B, D) -> (B, D)."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise UsageError(f"features must have shape (B, {self.dim}), got {tuple(features.shape)}")
        return self.neck(features)

    def queries(self, embedded: Tensor) -> Tensor:
        """What is multiplied with the class vectors, in float32 also under autocast: (B, D) -> (B, D)."""
        embedded = embedded.float()
        scale = self.fixed_scale if self.log_scale is None else self.log_scale.exp()
        return scale * (F.normalize(embedded, dim=1) if self.scoring == "cosine" else embedded)

    def score(self, embedded: Tensor) -> Tensor:
        """The logits of embedded features: (B, D) -> (B, K) float32."""
        with torch.autocast(embedded.device.type, enabled=False):
            logits = self.queries(embedded) @ self.class_vectors().T
            return logits + (self.constant if self.bias is None else self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, K)."""
        return self.score(self.embed(features))

    def loss(self, features: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The mean cross-entropy: features (B, D), labels (B,) int64 -> scalar.

        Label smoothing spreads that share of the target over all classes (Szegedy et al. 2016, section 7).
        """
        embedded = self.embed(features)
        with torch.autocast(embedded.device.type, enabled=False):
            queries, rows = self.queries(embedded), self.class_vectors()
            own, others = catalog.load("losses", self.normaliser).scores(queries, labels, rows, self.bias)
            loss = cross_entropy(own, others)
            if label_smoothing:
                average = queries @ rows.mean(dim=0) + (0.0 if self.bias is None else self.bias.mean())
                loss = loss + label_smoothing * (own - average)
            return loss.mean()

    @torch.no_grad()
    def predict(self, features: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
        """The k best classes, best first, ties by class index: features (B, D) -> classes (B, k), logits (B, k)."""
        logits, classes = self(features).sort(dim=1, descending=True, stable=True)
        return classes[:, :k], logits[:, :k]

    def extra_repr(self) -> str:
        """What `print(head)` shows."""
        kind = "learned" if self.trainable else "fixed"
        return f"{self.num_classes} classes, D={self.dim}, {kind} {self.geometry}, {self.scoring}, seed={self.seed}"

    def _apply(self, fn: Any, recurse: bool = True) -> "ClassVectorHead":
        """Move fixed vectors with the module, but never round them: `half()` leaves them in float32."""
        super()._apply(fn, recurse)
        if not self.trainable:
            self._fixed = self._fixed.to(fn(self._fixed[:0]).device)
        return self

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "spec"] = _pack(self.spec)
        if not self.trainable and not vectors.is_by_row(self.geometry):
            destination[prefix + "vectors"] = self._fixed

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Check that the class vectors are the ones the checkpoint was trained with, before anything is taken over."""
        packed = state_dict.pop(prefix + "spec", None)
        if packed is None:
            raise RunError("the checkpoint holds no spec of its class vectors", hint="it was not saved by randhead")
        theirs, ours = unpack_spec(packed), self.spec
        if theirs != ours:
            raise RunError(
                f"the class vectors are not the ones of the checkpoint ({theirs} there, {ours} here)",
                hint="give the head the geometry, seed, classes and dimensions of the checkpoint",
            )
        if not self.trainable and state_dict.pop(prefix + "vectors", self._fixed).shape != self._fixed.shape:
            raise RunError("the checkpoint's class vectors have another shape")
        super()._load_from_state_dict(state_dict, prefix, *args)


def vectors_sha256(rows: Tensor) -> str:
    """Hash of class vectors (K, D) as little-endian float32, of at most HASHED_ROWS evenly spaced rows."""
    step = -(-len(rows) // HASHED_ROWS)
    return sha256(rows[::step].detach().cpu().contiguous().numpy().astype("<f4").tobytes())


def unpack_spec(packed: Tensor) -> VectorsSpec:
    """The spec that a state_dict holds as bytes.  Raises RunError where it is damaged."""
    try:
        return VectorsSpec(**json.loads(bytes(packed.tolist())))
    except (ValueError, TypeError):
        raise RunError("the spec of the class vectors is damaged", hint="use an older checkpoint of the run") from None


def _pack(spec: VectorsSpec) -> Tensor:
    return torch.tensor(list(json.dumps(asdict(spec)).encode()), dtype=torch.uint8)


def _neck(kind: str, dim: int) -> nn.Module:
    necks = {"none": nn.Identity, "linear": lambda: nn.Linear(dim, dim), "batchnorm": lambda: nn.BatchNorm1d(dim)}
    return necks[kind]()
