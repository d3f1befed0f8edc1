"""The class vectors of a head: drawing, moving, saving, recognising and adding them."""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from randhead import ambient, rng, vectors
from randhead.arguments import MOST_CLASSES, whole
from randhead.errors import UsageError
from randhead.head import recognise
from randhead.head.checks import check_different, with_more
from randhead.head.parameters import extended, restored_on_error, write
from randhead.head.spec import VectorsSpec, pack_spec, vectors_sha256
from randhead.losses import ClassRows, DrawnRows, StoredRows, is_transformed
from randhead.vectors import Geometry

DRAWN_AT_ONCE_BYTES = 16 << 20  # of rows: materialised before torch.compile or torch.export traces the head


class ClassVectors(nn.Module):
    """K class vectors, fixed or learned; `ClassVectorHead` scores features against them.

    Fixed vectors are used as they were drawn.  What a state_dict holds of them, the buffers `vectors_spec` and, if they
    cannot be drawn again, `vectors`, only serves to recognise them: no average, cast or `to_empty` of other software
    changes them.

    Args:
        num_classes: K, at least 2.
        dim: D.
        geometry: how they are drawn.
        seed: of the class vectors.
        trainable: learn them, from the same start.
        class_names: names to key the vectors by; None keys them by index.
        bias: added to every score; learned if the vectors are.

    Attributes:
        spec: everything that is needed to draw the vectors again.
        vectors: learned class vectors (K, D), or a copy of fixed ones that cannot be drawn again; else there is none.
        bias: learned biases (K,); None if there are none.
        constant: the bias that is not learned.
        vectors_spec: `spec` as the state_dict holds it, (N,) int64.
    """

    vectors: Tensor
    bias: nn.Parameter | None
    vectors_spec: Tensor

    def __init__(
        self,
        num_classes: int,
        dim: int,
        geometry: Geometry,
        *,
        seed: int,
        trainable: bool,
        class_names: tuple[str, ...] | None,
        bias: float | None,
    ):
        super().__init__()
        self.num_classes, self.dim = whole("num_classes", num_classes, 2, MOST_CLASSES), whole("dim", dim, 1)
        self.geometry, self.seed, self.trainable, self.class_names = geometry, seed, trainable, class_names
        source = self._source()
        self.spec = self._spec_of(source)
        device = torch.empty(0, device=torch.get_default_device()).device
        real = torch.device("cpu") if device.type == "meta" else device  # where fixed vectors have numbers
        self._rows = None if trainable else source.to(real)
        self.register_buffer("vectors_spec", pack_spec(self.spec).to(real))
        if trainable:
            dtype = torch.get_default_dtype()
            self.vectors = nn.Parameter(source.matrix().to(device=device, dtype=dtype, copy=True))
        elif self.is_stored:
            self.register_buffer("vectors", source.matrix().to(real, copy=True))
        self.initial_bias, learned_bias = 0.0 if bias is None else float(bias), trainable and bias is not None
        self.bias = nn.Parameter(torch.full((self.num_classes,), self.initial_bias)) if learned_bias else None
        self.constant = 0.0 if learned_bias else self.initial_bias
        self._seen = recognise.held(self)

    @property
    def is_stored(self) -> bool:
        """Whether a state_dict stores the vectors although they are fixed, because they cannot be drawn again."""
        return vectors.is_stored(self.geometry)

    @property
    def in_features(self) -> int:
        """D, as `nn.Linear` calls it."""
        return self.dim

    @property
    def out_features(self) -> int:
        """K, as `nn.Linear` calls it."""
        return self.num_classes

    @property
    def weight(self) -> Tensor:
        """The class vectors (K, D): the parameter if they are learned, else a copy, as nothing may change them.

        Raises:
            UsageError: for fixed vectors that are neither kept nor small enough to be (256 MiB).
        """
        rows = self.raw_rows()
        if self._rows is None:
            return self.vectors
        if not rows.is_materialisable:
            hint = "call `head.materialise()` first; or draw some: `head.raw_rows().gather(classes)`"
            raise UsageError(f"{self.num_classes} class vectors are not kept in memory", hint=hint)
        return rows.gather(ambient.indices(self.num_classes, rows.device))

    def draw(self, start: int = 0) -> Tensor:
        """Draw the initial class vectors from class `start` on: (K - start, D) float32.  Fixed ones never differ."""
        ids = self.ids()[start:]
        return vectors.draw(self.geometry, ids, dim=self.dim, seed=self.seed, num_classes=self.num_classes)

    def ids(self) -> Tensor:
        """The ids that class vectors are drawn for, class indices or hashed class names: (K,) int64."""
        indices = ambient.indices(self.num_classes)
        if self.class_names is None:
            return indices
        check_different(self.class_names, self.num_classes)
        if self.geometry.matrix is not None:  # in the order of the names
            return indices
        if not self.geometry.by_row:
            raise UsageError(
                f"{self.geometry} vectors are drawn as a set and cannot be keyed by class name",
                hint='leave out the class names (in a configuration: `class_keys="index"`), or use other `vectors`: '
                f"{vectors.NEAREST_WITHOUT_LIMIT}",
            )
        return torch.tensor([rng.name_id(name) for name in self.class_names], dtype=torch.int64, device="cpu")

    def raw_rows(self, device: torch.device | None = None) -> ClassRows:
        """The class vectors as they were drawn, stored or learned, of any norm.

        Args:
            device: where the features are, for fixed vectors to follow them; None for where the vectors are.
        """
        self._recognise()
        if self._rows is None:
            return StoredRows(self.vectors.float())
        if device is None or device == self._rows.device:
            return self._rows
        if device.type == "meta":  # only shapes are asked for
            return StoredRows(torch.empty(self.num_classes, self.dim, dtype=torch.float32, device=device))
        self._rows = self._rows.to(device)
        return self._rows

    def materialise(self) -> Self:
        """Draw all fixed class vectors now and keep them, in 4 K D bytes.

        A head does so by itself if they take at most 16 MiB, and up to 256 MiB as soon as logits need all of them.
        `torch.export` and `torch.jit.trace` need it before they start.

        Returns:
            The head.

        Example:
            >>> from randhead import ClassVectorHead
            >>> ClassVectorHead(9000, 512).materialise().weight.shape
            torch.Size([9000, 512])
        """
        if isinstance(self._rows, DrawnRows):
            self._rows.materialise()
        return self

    @torch.inference_mode(False)  # the new parameters can be trained
    def grow(self, classes: int | Iterable[str]) -> range:
        """Add classes, as incremental learning does in every session.

        What the head has learned and the vectors of its classes stay equal to the bit; new vectors are those of a head
        that was built with all classes.  The scale stays, although the default depends on the number of classes.

        Learned vectors and biases are in new parameters, of another shape, which an optimiser that was made before does
        not train: make a new one, or give it the new `head.weight`, and `head.bias` if it is learned.

        Args:
            classes: the number of new classes, or their names if the head has `class_names`.

        Returns:
            The indices of the new classes.

        Raises:
            UsageError: for names that the head has already, for more classes than the geometry holds, and for class
                vectors that are drawn or given as a set.

        Example:
            >>> from randhead import ClassVectorHead
            >>> head = ClassVectorHead(2, 64, trainable=True, class_names=["cat", "dog"])
            >>> optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
            >>> head.grow(["owl", "ant"])
            range(2, 4)
            >>> optimiser.add_param_group({"params": [head.weight]})
        """
        before = self.num_classes, self.class_names
        if not self.geometry.by_row:
            raise UsageError(
                f"no class can be added to {self.geometry} vectors, which are drawn or given as a set",
                hint=f"make a new head for all classes; or use other `vectors`: {vectors.NEAREST_WITHOUT_LIMIT}",
            )
        with restored_on_error(self):
            self.num_classes, self.class_names = with_more(classes, *before)
            source = self._source(self._rows)
            self.spec, added = self._spec_of(source), range(before[0], self.num_classes)
            if self._rows is None:
                new = source.gather(torch.arange(added.start, added.stop, dtype=torch.int64, device="cpu"))
                self.vectors = extended(self.vectors, new)
            else:
                old, self._rows = self._rows, source.to(self._rows.device)
                if isinstance(old, DrawnRows) and old.is_kept and (source.is_materialisable or not old.is_small):
                    self.materialise()
            if self.bias is not None:
                self.bias = extended(self.bias, torch.full((len(added),), self.initial_bias, device="cpu"))
            self._renew_buffers()
        return added

    def use_names(self, names: tuple[str, ...]) -> None:
        """Use the class vectors of other names of the same classes; learned ones stay."""
        self.class_names, rows = names, self._rows
        source = self._source()
        self.spec, self._rows = self._spec_of(source), None if rows is None else source.to(rows.device)

    def initial_rows(self) -> ClassRows:
        """The class vectors before training, in float32."""
        return self._source() if self._rows is None else self._rows

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set what is learned to its start, for example after `to_empty`, but not what transformers marks as loaded."""
        if self.trainable and not recognise.is_marked(self.vectors):
            write(self.vectors, self._source().matrix())
        elif recognise.is_marked(self.vectors_spec):
            self._recognise()
        if self.bias is not None and not recognise.is_marked(self.bias):
            self.bias.fill_(self.initial_bias)
        self._renew_buffers()

    def _source(self, first: ClassRows | None = None) -> ClassRows:
        """The class vectors before training, in float32 on the CPU; of stored ones, those of `first` stay."""
        if self.is_stored:
            drawn = self.draw(first.num_classes if first else 0)
            return StoredRows(torch.cat([first.matrix().cpu(), drawn]) if first else drawn, geometry=self.geometry)
        vectors.check(self.geometry, dim=self.dim, num_classes=self.num_classes)
        ids = None if self.class_names is None else self.ids()
        rows = DrawnRows(self.geometry, self.num_classes, self.dim, seed=self.seed, ids=ids)
        if 4 * self.num_classes * self.dim <= DRAWN_AT_ONCE_BYTES:
            rows.materialise()
        return rows

    def _spec_of(self, rows: ClassRows) -> VectorsSpec:
        keys = "index" if self.class_names is None else "name"
        return VectorsSpec(str(self.geometry), self.seed, self.num_classes, self.dim, keys, vectors_sha256(rows))

    def _recognise(self) -> None:
        """Check buffers that other software has replaced or written (transformers, accelerate, DDP), at first use."""
        if recognise.is_traced(self) or recognise.are_same(found := recognise.held(self), self._seen):
            return
        try:
            recognise.check_buffers(self, found[0], found[1])
        except RuntimeError:  # there are no numbers to read: meta or fake tensors
            return
        if not is_transformed():
            self._seen = found

    @torch.inference_mode(False)
    def _renew_buffers(self) -> None:
        """Set buffers to this head's own, which averages and casts change."""
        own = {"vectors_spec": pack_spec(self.spec)}
        if "vectors" in self._buffers:
            own["vectors"] = self.initial_rows().matrix()
        for name, value in own.items():
            buffer = self._buffers[name]
            if type(buffer) is not Tensor or buffer.is_meta:
                continue
            if (buffer.dtype, buffer.shape, buffer.is_inference()) == (value.dtype, value.shape, False):
                buffer.copy_(value)  # it may be shared with other processes
            else:
                self._buffers[name] = value.to(buffer.device, copy=True)
        self._seen = recognise.held(self)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Move fixed vectors with the module, but never round them: `half()` leaves them in float32."""
        self._recognise()
        super()._apply(fn, recurse)
        if self._rows is not None:
            device = fn(torch.empty(0, dtype=torch.float32, device=self._rows.device)).device
            if device.type != "meta":  # their numbers would be lost
                self._rows = self._rows.to(device)
        self._renew_buffers()
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self._recognise()
        if not recognise.is_traced(self):
            self._renew_buffers()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Check that the class vectors are those of the checkpoint before anything is loaded."""
        recognise.check_state(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._renew_buffers()
