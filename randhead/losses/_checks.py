"""Checks of the arguments of a loss: types, shapes and devices here, values in `_values`."""

import numbers
from typing import Any

import torch
from torch import Tensor

from randhead.arguments import check_type, is_whole, one_of, shown
from randhead.errors import UsageError
from randhead.losses import _values
from randhead.losses._batch import LossBatch
from randhead.losses._tracing import is_traced

REDUCTIONS = ("mean", "sum", "none")
SIGNED, UNSIGNED = ("int64", "int32", "int16", "int8"), ("uint8", "uint16", "uint32", "uint64")
INTEGERS = tuple(getattr(torch, name) for name in SIGNED + UNSIGNED)
TENSOR = "`torch.as_tensor` makes one"


def check_batch(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    reduction: str = "mean",
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
    class_weights: Tensor | None = None,
    check_values: bool = True,
) -> LossBatch:
    """The batch without leading dimensions, if every argument fits.  The arguments are those of `ClassVectorHead.loss`.

    Args:
        features: after the neck (..., D).
        labels: hard (...) of any integer dtype, or soft (..., K).
        num_classes: K.
        reduction: "mean", "sum" or "none".
        ignore_index: label of the samples that are left out.
        label_smoothing: from 0 to 1.
        weights: of the samples (...).
        class_weights: (K,).
        check_values: whether to check values too, for which the host waits for the device.

    Raises:
        UsageError: for an argument that does not fit, and for a mean over no sample.
        DivergedError: for features that are not finite.

    Example:
        >>> check_batch(torch.zeros(2, 3, 4), torch.tensor([[0, 1, 2], [2, 1, 0]]), 3).labels
        tensor([0, 1, 2, 2, 1, 0])
    """
    _check_options(reduction, ignore_index, label_smoothing, check_values)
    shape = features.shape[:-1]
    is_soft = _check_labels(labels, features, num_classes, ignore_index)
    if weights is not None:
        _check_weights("weights", weights, features, tuple(shape), num_classes)
    if class_weights is not None:
        _check_weights("class_weights", class_weights, features, (num_classes,), num_classes)
    batch = LossBatch(
        features if features.ndim == 2 else features.reshape(-1, features.shape[-1]),
        num_classes,
        labels.reshape(-1, num_classes).argmax(dim=1) if is_soft else _flat(labels).long(),
        _wide(labels.reshape(-1, num_classes)) if is_soft else None,
        None if weights is None else _wide(_flat(weights)),
        None if class_weights is None else _wide(class_weights),
        float(label_smoothing),
        reduction,
        shape,
    )
    if is_traced() or features.is_meta:
        return batch if is_soft else _values.without(batch, batch.labels == ignore_index)
    return _values.check_values(batch, ignore_index) if check_values else batch


def check_hard_labels(labels: Any, features: Tensor) -> Tensor:
    """Labels (B,) of any integer dtype as int64.  Raises UsageError unless they fit the features (B, D)."""
    shape = tuple(features.shape[:1])
    rule = f"an integer tensor of shape {shape}"
    check_type("labels", labels, Tensor, rule, hint=TENSOR)
    if labels.dtype not in INTEGERS or labels.shape != shape:
        hint = "`labels.long()` if they are classes" if labels.shape == shape else "one label per sample"
        raise UsageError(f"labels must be {rule}, got {labels.dtype} of shape {tuple(labels.shape)}", hint=hint)
    _check_device("labels", labels, features)
    return labels.long()


def check_margin(margin: object, scoring: str, *, soft: bool) -> None:
    """Raise UsageError unless a margin is a function, scores are cosines, and labels are hard."""
    if not callable(margin):
        hint = f"`functools.partial(randhead.losses.cosface, margin={shown(margin)})`"
        is_number = isinstance(margin, numbers.Real)
        raise UsageError(
            f"margin must be a function of the cosines to the target class, got {shown(margin)}",
            hint=hint if is_number else "`randhead.losses.cosface` is one",
        )
    if soft:
        raise UsageError("a margin needs one class per sample, not soft labels", hint="`labels.argmax(dim=-1)`")
    if scoring != "cosine":
        raise UsageError(f"a margin needs cosine scoring, this head uses {scoring}", hint='use `scoring="cosine"`')


def check_exact_classes(classes: Any, num_classes: int, normaliser: str) -> Tensor:
    """The classes as int64.  Raises UsageError for repeated or unknown ones, or if the softmax method is exact anyway.

    Args:
        classes: the classes that the expected softmax is to sum one by one (N,), integers.
        num_classes: K.
        normaliser: name of the softmax method.
    """
    if normaliser != "expected":
        raise UsageError(
            f'`exact_classes` needs `normaliser="expected"`, this head uses {normaliser}', hint="leave it out"
        )
    hint = "`labels.unique()` gives the classes of the batch, with `ignore_index` if it is among the labels"
    check_type("exact_classes", classes, Tensor, "a tensor of different classes (N,)", hint=hint)
    if classes.ndim != 1 or classes.dtype not in INTEGERS or len(classes.long().unique()) != len(classes):
        raise UsageError("exact_classes must be different classes, integers (N,)", hint=hint)
    classes = classes.long()
    if len(classes) and (int(classes.min()) < 0 or int(classes.max()) >= num_classes):
        raise UsageError(f"exact_classes must be in 0..{num_classes - 1}", hint=hint)
    return classes


def _check_options(reduction: object, ignore_index: object, label_smoothing: object, check_values: object) -> None:
    check_type("check_values", check_values, bool, "True or False")
    one_of("reduction", reduction, REDUCTIONS)
    if not is_whole(ignore_index):
        hint = "the label of the samples to leave out, -100 by default"
        raise UsageError(f"ignore_index must be a whole number, got {shown(ignore_index)}", hint=hint)
    is_number = isinstance(label_smoothing, numbers.Real) and not isinstance(label_smoothing, bool)
    if not is_number or not 0 <= label_smoothing <= 1:  # type: ignore[operator]
        hint = "0 for none; 0.1 is usual"
        raise UsageError(f"label_smoothing must be a number from 0 to 1, got {shown(label_smoothing)}", hint=hint)


def _check_labels(labels: Tensor, features: Tensor, num_classes: int, ignore_index: int) -> bool:
    """Whether labels are soft.  Raises UsageError unless they fit the features (..., D)."""
    shape = tuple(features.shape[:-1])
    wide = (*shape, num_classes)
    rule = f"an integer tensor of shape {shape}, or soft labels of shape {wide}"
    check_type("labels", labels, Tensor, rule, hint=TENSOR)
    is_soft = labels.is_floating_point() and labels.shape == wide
    if not is_soft and (labels.dtype not in INTEGERS or labels.shape != shape):
        hint = "one label per sample"
        if labels.shape == shape:
            hint = "`labels.long()` if they are classes"
        elif labels.shape == wide:
            hint = "`labels.float()` if they are probabilities of the classes"
        elif labels.shape == (*shape, 1):
            hint = "`labels.squeeze(-1)`"
        got = f"{labels.dtype} of shape {tuple(labels.shape)} for features {tuple(features.shape)}"
        raise UsageError(f"labels must be {rule}, got {got}", hint=hint)
    if is_soft and ignore_index >= 0:
        hint = "leave it out, and give such samples a weight of 0 in `weights`"
        raise UsageError("ignore_index is a label, soft labels have none", hint=hint)
    _check_device("labels", labels, features)
    return is_soft


def _check_weights(name: str, weights: Any, features: Tensor, shape: tuple[int, ...], num_classes: int) -> None:
    """Raise UsageError unless weights are a real tensor of this shape on the device of the features."""
    check_type(name, weights, Tensor, f"a tensor of shape {shape}", hint=TENSOR)
    if weights.shape != shape:
        hint = "one weight per sample; class weights are `class_weights`"
        if name == "class_weights":
            hint = "one weight per class; weights of the samples are `weights`"
        raise UsageError(f"{name} must have shape {shape}, got {tuple(weights.shape)}", hint=hint)
    if not weights.is_floating_point():
        raise UsageError(f"{name} must be floating-point, got {weights.dtype}", hint=f"`{name}.float()`")
    if name == "class_weights" and weights.requires_grad:
        raise UsageError("class_weights are constants, these require a gradient", hint="`class_weights.detach()`")
    _check_device(name, weights, features)


def _check_device(name: str, tensor: Tensor, features: Tensor) -> None:
    if tensor.device != features.device:
        hint = f"`{name}.to(features.device)`"
        raise UsageError(f"{name} are on {tensor.device}, the features on {features.device}", hint=hint)
    if tensor.layout != torch.strided:
        raise UsageError(f"{name} must be a dense tensor, got {tensor.layout}", hint=f"`{name}.to_dense()`")


def _flat(given: Tensor) -> Tensor:
    return given if given.ndim == 1 else given.reshape(-1)


def _wide(given: Tensor) -> Tensor:
    """At least float32: sums of bfloat16 numbers have 8 bits."""
    return given.to(torch.promote_types(given.dtype, torch.float32))
