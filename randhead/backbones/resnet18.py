"""The paper's network: ResNet-18 for small images, 11,168,832 parameters.

A 3x3 stem of stride 1, no max pool, then 4x4 average pooling and flattening, as in the official code of
arXiv 2011.08704.  So D grows with the image: 512 at 32 px, 4608 at 96 px.  Features are never negative.
"""

from torch import nn

from randhead.backbones._residual import convolution, refuse_variants, stages

POOL = 4


def build(*, name: str = "", image_size: int, pretrained: bool = False) -> nn.Module:
    """(B, 3, H, W) -> (B, D).  Raises UsageError for `pretrained`: no such weights exist."""
    refuse_variants("resnet18", name, pretrained)
    side = -(-image_size // 8)  # of the last stage, after three halvings that round up
    pool = nn.AvgPool2d(min(POOL, side))  # below 25 px the image is smaller than a full window
    return nn.Sequential(convolution(3, 64), stages((64, 128, 256, 512), 2, 64), pool, nn.Flatten())
