"""What `print(head)` shows of a head."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from randhead.head.head import ClassVectorHead


def summary(head: "ClassVectorHead") -> str:
    """A line with what a head is: of its scale and its bias only what is not the usual.  Reads no tensor."""
    kind = f"{'learned' if head.trainable else 'fixed'} {head.geometry}"
    parts = [f"{head.num_classes} classes", f"D={head.dim}", kind, head.scoring, f"seed={head.seed}"]
    if head.class_names is not None:
        parts.append("keyed by name")
    if head.log_scale is not None:
        parts.append("learned scale")
    elif head.initial_scale != 1:
        parts.append(f"scale={head.initial_scale:g}")
    if head.bias is not None:
        parts.append("learned bias")
    elif head.constant:
        parts.append(f"bias={head.constant:g}")
    return ", ".join(parts)
