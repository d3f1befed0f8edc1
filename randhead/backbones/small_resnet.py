"""A small residual network that trains on two CPU cores: three stages of one block, 0.3 million parameters, D = 128."""

from torch import nn

from randhead.backbones._residual import convolution, refuse_variants, stages

WIDTHS = (32, 64, 128)


def build(*, name: str = "", image_size: int, pretrained: bool = False) -> nn.Module:
    """(B, 3, H, W) -> (B, 128), never negative.  Raises UsageError for `pretrained`: no such weights exist."""
    refuse_variants("small_resnet", name, pretrained)
    return nn.Sequential(convolution(3, WIDTHS[0]), stages(WIDTHS, 1, WIDTHS[0]), nn.AdaptiveAvgPool2d(1), nn.Flatten())
