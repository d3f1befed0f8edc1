"""The class vectors of a head: drawing, moving, saving and recognising them."""

from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from randhead import rng, vectors
from randhead.arguments import whole
from randhead.errors import RunError, UsageError
from randhead.head.spec import VectorsSpec, pack_spec, unpack_spec, vectors_sha256
from randhead.losses import ClassRows, DrawnRows, StoredRows
from randhead.vectors import Geometry

DRAWN_AT_ONCE_BYTES = 16 << 20  # of rows: materialised before torch.compile or torch.export traces the head


class ClassVectors(nn.Module):
    """K class vectors, fixed or learned; `ClassVectorHead` scores features against them.

    Args:
        num_classes: K, at least 2.
        dim: D.
        geometry: how they are drawn.
        seed: of the class vectors.
        trainable: learn them, from the same start.
        class_names: names to key the vectors by; None keys them by index.

    Attributes:
        spec: everything that is needed to draw the vectors again.
        vectors: learned class vectors (K, D); fixed ones are not a parameter.
    """

    vectors: nn.Parameter

    def __init__(
        self,
        num_classes: int,
        dim: int,
        geometry: Geometry,
        *,
        seed: int,
        trainable: bool,
        class_names: tuple[str, ...] | None,
    ):
        super().__init__()
        num_classes, dim = whole("num_classes", num_classes, 2), whole("dim", dim, 1)
        self.num_classes, self.dim, self.geometry = num_classes, dim, geometry
        self.seed, self.trainable, self.class_names = seed, trainable, class_names
        source = self._source()
        if isinstance(source, DrawnRows) and 4 * num_classes * dim <= DRAWN_AT_ONCE_BYTES:
            source.matrix()
        keys = "index" if class_names is None else "name"
        self.spec = VectorsSpec(str(geometry), seed, num_classes, dim, keys, vectors_sha256(source))
        self._rows = None if trainable else source
        if trainable:
            self.vectors = nn.Parameter(source.matrix().clone())

    def draw(self) -> Tensor:
        """Draw the initial class vectors: (K, D) float32.  Fixed ones never differ from this."""
        return vectors.draw(self.geometry, self.ids(), dim=self.dim, seed=self.seed, num_classes=self.num_classes)

    def ids(self) -> Tensor:
        """The ids that class vectors are drawn for, class indices or hashed class names: (K,) int64."""
        indices = torch.arange(self.num_classes, device="cpu")
        if self.class_names is None:
            return indices
        if len(set(self.class_names)) != self.num_classes:
            raise UsageError(f"{self.num_classes} different class names are needed, got {len(set(self.class_names))}")
        if self.geometry.matrix is not None:  # in the order of the names
            return indices
        if not self.geometry.by_row:
            raise UsageError(
                f"{self.geometry} vectors are drawn as a set and cannot be keyed by class name",
                hint=f'use `class_keys="index"`, or other `vectors`: {vectors.NEAREST_WITHOUT_LIMIT}',
            )
        return torch.tensor([rng.name_id(name) for name in self.class_names], device="cpu")

    def raw_rows(self) -> ClassRows:
        """The class vectors as they were drawn, stored or learned, of any norm."""
        return StoredRows(self.vectors) if self._rows is None else self._rows

    def _source(self) -> ClassRows:
        """The class vectors before training."""
        if vectors.is_stored(self.geometry):
            return StoredRows(self.draw(), geometry=self.geometry)
        vectors.check(self.geometry, dim=self.dim, num_classes=self.num_classes)
        ids = None if self.class_names is None else self.ids()
        return DrawnRows(self.geometry, self.num_classes, self.dim, seed=self.seed, ids=ids)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move fixed vectors with the module, but never round them: `half()` leaves them in float32."""
        super()._apply(fn, recurse)
        if self._rows is not None:
            self._rows = self._rows.to(fn(torch.empty(0, device=self._rows.device)).device)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "spec"] = pack_spec(self.spec)
        if self._rows is not None and vectors.is_stored(self.geometry):
            destination[prefix + "vectors"] = self._rows.matrix()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Check that the class vectors are those of the checkpoint before anything is loaded.

        Learned ones have changed since they were drawn, so only the spec has to agree, not the hash.
        """
        packed = state_dict.pop(prefix + "spec", None)
        if packed is None:
            raise RunError("the checkpoint has no spec of its class vectors", hint="use a checkpoint of randhead")
        saved = unpack_spec(packed)
        if self.trainable:
            self.spec = replace(self.spec, sha256=saved.sha256)
        if saved != self.spec:
            raise RunError(
                f"the class vectors are not those of the checkpoint (checkpoint: {saved}, this head: {self.spec})",
                hint="give the head the geometry, seed, classes and dimensions of the checkpoint",
            )
        if not self.trainable:  # this head has them already
            state_dict.pop(prefix + "vectors", None)
        super()._load_from_state_dict(state_dict, prefix, *args)
