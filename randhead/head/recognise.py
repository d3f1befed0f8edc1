"""Recognising the class vectors of a checkpoint: are they those of the head that it is loaded into?"""

import unicodedata
from dataclasses import replace
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor

from randhead.errors import RunError
from randhead.head.spec import VectorsSpec, pack_spec, read_spec, unpack_json_spec, vectors_sha256
from randhead.losses import ClassRows, is_recorded, is_transformed, untransformed
from randhead.vectors import Geometry

# Stored vectors are the same if they differ by no more than a cast to bfloat16 and averages change them.
RELATIVE_ROUNDING, ROUNDING = 2.0**-6, 2.0**-20
PER_CLASS = ("vectors", "bias")  # parameters and buffers with an entry per class
Held = tuple[Tensor, Tensor | None, int, int]


class Recognisable(Protocol):
    """What the class vectors of a head are recognised by."""

    spec: VectorsSpec
    geometry: Geometry
    trainable: bool
    class_names: tuple[str, ...] | None
    vectors: Tensor
    _buffers: dict[str, Any]

    @property
    def is_stored(self) -> bool:
        """Whether fixed vectors are in the state_dict, because they cannot be drawn again."""
        ...

    def initial_rows(self) -> ClassRows:
        """The class vectors before training."""
        ...

    def use_names(self, names: tuple[str, ...]) -> None:
        """Use the class vectors of other names of the same classes."""
        ...

    def named_parameters(self) -> Any:
        """The parameters by name."""
        ...


def check_state(head: Recognisable, state_dict: dict[str, Any], prefix: str) -> None:
    """Raise RunError unless a state_dict has the class vectors of a head; then make it fit the head.

    Whatever it lacks stays missing.  A spec of the format before `vectors_spec` is read too.  One of zeros says
    nothing: flwr's FedAvg with `inplace=True`, its default, returns zeros for all tensors of integers.  Learned vectors
    of the first classes of a head that has grown since become those of all its classes.

    Args:
        head: the head that it is for.
        state_dict: changed in place.
        prefix: of the head's keys.
    """
    old, packed = state_dict.pop(prefix + "spec", None), state_dict.get(prefix + "vectors_spec")
    key = prefix + "vectors"
    stored = state_dict.get(key) if not head.trainable and has_numbers(state_dict.get(key)) else None
    saved, device = None, None
    if old is not None:
        saved, device = unpack_json_spec(old), old.device
    elif has_numbers(packed) and (packed.any() or packed.shape != pack_spec(head.spec).shape):
        saved, device = read_spec(packed, head.spec), packed.device
    if saved is not None:
        _check(head, saved, stored, key=key, old=old is not None, may_have_grown=True)
        state_dict[prefix + "vectors_spec"] = pack_spec(head.spec).to(device)
        if saved.num_classes < head.spec.num_classes:
            _complete(head, saved.num_classes, state_dict, prefix)
    elif stored is not None and head.is_stored and not _same(head, stored):
        raise _error(f"others, {tuple(stored.shape)}", head.spec, hint=_way_out(key))


def check_buffers(head: Recognisable, packed: Tensor, stored: Tensor | None) -> None:
    """Raise RunError unless buffers that other software has put into a head hold its class vectors.

    transformers fills buffers that a checkpoint lacks with memory that was never written, but marks what it has loaded.

    Raises:
        RunError: see above.
        RuntimeError: of torch, for tensors without numbers.
    """
    if is_transformed():
        _check_wrapped(head, packed, stored)
    elif not is_marked(head) or is_marked(packed):
        _check(head, read_spec(packed, head.spec), stored)
    elif head.trainable and not is_marked(head.vectors):
        raise RunError(
            "the checkpoint has no class vectors for this head, and learned ones have no values",
            hint="call `head.reset_parameters()` in `_init_weights`, or after loading",
        )


def held(head: Recognisable) -> Held:
    """The buffers of a head, `vectors_spec` and `vectors`, each with the number of times that it was written in place.

    DDP writes those of its first process into the others.  It does the same with learned vectors, so these are equal.
    """
    spec, stored = head._buffers["vectors_spec"], head._buffers.get("vectors")
    if head.trainable:
        return spec, stored, 0, 0
    return spec, stored, _writes(spec), 0 if stored is None else _writes(stored)


def are_same(a: Held, b: Held) -> bool:
    """Whether these are the same buffers, and none was written since."""
    return a[0] is b[0] and a[1] is b[1] and a[2:] == b[2:]


def _writes(buffer: Tensor) -> int:
    return 0 if buffer.is_inference() else buffer._version


def is_marked(loaded: Any) -> bool:
    """Whether transformers has marked a parameter or buffer as loaded, or a module as ready."""
    return bool(getattr(loaded, "_is_hf_initialized", False))


def has_numbers(value: object) -> TypeGuard[Tensor]:
    """Whether something is a tensor whose numbers can be read."""
    return isinstance(value, Tensor) and not value.is_meta


def is_traced(head: object) -> bool:
    """Whether torch records what a head does, or runs a replica of it, so that nothing of it can be kept."""
    return is_recorded() or getattr(head, "_is_replica", False)


def _check(
    head: Recognisable,
    saved: VectorsSpec,
    stored: Tensor | None,
    *,
    key: str = "head.vectors",
    old: bool = False,
    may_have_grown: bool = False,
) -> None:
    """Raise RunError unless the class vectors of a checkpoint are those of a head.

    Args:
        head: the head.
        saved: the spec of the checkpoint.
        stored: its class vectors (K, D), if it has any.
        key: of `stored` in the checkpoint.
        old: whether the spec is of the format before `vectors_spec`.
        may_have_grown: whether learned vectors may be those of the first classes only; fixed ones always may.
    """
    own = head.spec
    if not head.trainable and head.is_stored and stored is not None:
        fits = _same(head, stored)
    elif head.trainable and (not head.geometry.by_row or old):  # they have changed since they were drawn or given
        given = head.geometry.matrix is not None
        size = saved.num_classes == own.num_classes and saved.dim == own.dim
        fits = size and (given or replace(saved, sha256=own.sha256) == own)
        if fits and not head.geometry.by_row:
            head.spec = replace(own, sha256=saved.sha256)
    else:
        fits = saved == own
    if fits or ((may_have_grown or not head.trainable) and _are_first(head, saved, stored)):
        return
    if _have_decomposed_names(head, saved):
        return
    if stored is not None and not head.trainable:
        hint = _way_out(key)
    elif saved.keys == "name" and replace(saved, sha256=own.sha256) == own:
        hint = "give the head the class names of the checkpoint, in the same order"
    else:
        hint = "give the head the geometry, seed, classes and dimensions of the checkpoint"
    raise _error(str(saved) if saved != own else f"{saved}, but with other numbers", own, hint=hint)


def _check_wrapped(head: Recognisable, packed: Tensor, stored: Tensor | None) -> None:
    """As `_check`, for buffers of `torch.func`: `stack_module_state` stacks those of several heads.

    Fixed vectors are not in what it stacks: all heads would score with those of this one.
    """
    if head.trainable:
        return
    with untransformed():
        specs, matrices = _unstacked(packed, 1), None if stored is None else _unstacked(stored, 2)
        for number in range(max(len(specs), 0 if matrices is None else len(matrices))):
            matrix = None if matrices is None else matrices[number % len(matrices)]
            _check(head, read_spec(specs[number % len(specs)], head.spec), matrix)


def _unstacked(buffer: Tensor, ndim: int) -> Tensor:
    """The tensor with numbers behind the wrappers of torch.func: (M, ...) with `ndim` dimensions after the first."""
    while torch._C._functorch.is_functorch_wrapped_tensor(buffer):
        batch = torch._C._functorch.maybe_get_bdim(buffer)
        buffer = torch._C._functorch.get_unwrapped(buffer)
        buffer = buffer if batch < 0 else buffer.movedim(batch, 0)
    return buffer.reshape(-1, *buffer.shape[buffer.ndim - ndim :])


def _are_first(head: Recognisable, saved: VectorsSpec, stored: Tensor | None) -> bool:
    """Whether a checkpoint has the first classes of a head whose classes have names."""
    own = head.spec
    if own.keys != "name" or not head.geometry.by_row or saved.num_classes >= own.num_classes:
        return False
    if replace(saved, num_classes=own.num_classes, sha256=own.sha256) != own:
        return False
    if stored is not None and head.is_stored:
        return _same(head, stored, saved.num_classes)
    return vectors_sha256(head.initial_rows(), saved.num_classes) == saved.sha256


def _have_decomposed_names(head: Recognisable, saved: VectorsSpec) -> bool:
    """Whether a checkpoint was written when names were not composed yet, on macOS; the head then uses its names."""
    names = head.class_names
    if names is None or saved.keys != "name" or saved.num_classes != head.spec.num_classes:
        return False
    head.use_names(tuple(unicodedata.normalize("NFD", name) for name in names))
    if saved == head.spec:
        return True
    head.use_names(names)
    return False


def _complete(head: Recognisable, count: int, state_dict: dict[str, Any], prefix: str) -> None:
    """Put the head's own entries behind those of the first `count` classes that a state_dict has."""
    entries = dict(head.named_parameters())
    if not head.trainable and head.is_stored:
        entries["vectors"] = head.initial_rows().matrix()
    for name in PER_CLASS:
        first, own = state_dict.get(prefix + name), entries.get(name)
        if isinstance(first, Tensor) and own is not None and len(first) == count:
            state_dict[prefix + name] = torch.cat([first, own.detach()[count:].to(first)])


def _same(head: Recognisable, stored: Tensor, count: int | None = None) -> bool:
    """Whether stored vectors (K, D) are those of a head, or of its first `count` classes, up to rounding."""
    rows = head.initial_rows().matrix()[:count]
    found = stored.detach().to(rows)
    return rows.shape == found.shape and torch.allclose(rows, found, RELATIVE_ROUNDING, ROUNDING)


def _error(saved: str, own: VectorsSpec, *, hint: str) -> RunError:
    message = f"the class vectors are not those of the checkpoint (checkpoint: {saved}; this head: {own})"
    return RunError(message, hint=hint)


def _way_out(key: str) -> str:
    return f'for those of the checkpoint: `ClassVectorHead(..., vectors=state["{key}"])`'
