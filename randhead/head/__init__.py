"""The last layer: class vectors that are fixed or learned, what a checkpoint stores of them, and what they allow."""

from randhead.head.head import ClassVectorHead
from randhead.head.preflight_check import angle_histogram, preflight
from randhead.head.preflight_result import Preflight
from randhead.head.scale import default_scale

__all__ = ["ClassVectorHead", "Preflight", "angle_histogram", "default_scale", "preflight"]
