"""The last layer: fixed or learned class vectors, their spec in a checkpoint, and the pre-flight check."""

from randhead.head.head import ClassVectorHead
from randhead.head.preflight_check import angle_histogram, preflight
from randhead.head.preflight_result import Preflight
from randhead.head.scale import default_scale

__all__ = ["ClassVectorHead", "Preflight", "angle_histogram", "default_scale", "preflight"]
