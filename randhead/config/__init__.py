"""The configuration of a run: fields with defaults, bounds and help, conversion from and to text, and recipes.

It does not import torch, so that the command line shows help and finds mistakes at once.
"""

from randhead.arguments import DEVICES, one_of
from randhead.config.parse import check_value, configure, settings
from randhead.config.schema import (
    AUTO,
    SPLITS,
    BackboneConfig,
    Config,
    DataConfig,
    HeadConfig,
    MachineConfig,
    OptimConfig,
    TrainConfig,
)
from randhead.config.setting import Setting

__all__ = [
    "AUTO",
    "DEVICES",
    "SPLITS",
    "BackboneConfig",
    "Config",
    "DataConfig",
    "HeadConfig",
    "MachineConfig",
    "OptimConfig",
    "Setting",
    "TrainConfig",
    "check_value",
    "configure",
    "one_of",
    "settings",
]
