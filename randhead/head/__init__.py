"""The last layer: class vectors that are fixed or learned, what a checkpoint keeps of them, and what they allow."""

from randhead.head.head import ClassVectorHead

__all__ = ["ClassVectorHead"]
