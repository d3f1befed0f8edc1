"""The configuration of a run: fields with defaults and bounds, text to fields and back, recipes."""

from randhead.config.schema import (
    AUTO,
    DEVICES,
    BackboneConfig,
    Config,
    DataConfig,
    HeadConfig,
    MachineConfig,
    OptimConfig,
    TrainConfig,
    finite,
    one_of,
    require,
)

__all__ = [
    "AUTO",
    "DEVICES",
    "BackboneConfig",
    "Config",
    "DataConfig",
    "HeadConfig",
    "MachineConfig",
    "OptimConfig",
    "TrainConfig",
    "finite",
    "one_of",
    "require",
]
