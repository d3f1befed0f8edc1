"""The parts of the built-in networks: the basic residual block (He et al. 2016, arXiv 1512.03385), and others."""

import torch.nn.functional as F
from torch import Tensor, nn

from randhead.errors import UsageError


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation, added to the input or to its 1x1 projection."""

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width_in, H, W) -> (B, width, H/stride, W/stride)."""
        inner = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x), inplace=True)


def convolution(width_in: int, width: int) -> nn.Sequential:
    """A 3x3 convolution of stride 1, batch normalisation and ReLU: (B, width_in, H, W) -> (B, width, H, W).

    From 3 channels, it is the stem that fits small images, without a pool.
    """
    layer = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def stages(widths: tuple[int, ...], blocks: int, width_in: int) -> nn.Sequential:
    """Stages of `blocks` blocks each; all but the first halve the image."""
    layers = []
    for i, width in enumerate(widths):
        strides = [1 if i == 0 else 2] + [1] * (blocks - 1)
        for stride in strides:
            layers.append(Block(width_in, width, stride))
            width_in = width
    return nn.Sequential(*layers)


def refuse_variants(backbone: str, name: str, pretrained: bool) -> None:
    """Raise UsageError for a variant ("resnet18:x") or pretrained weights, which built-in networks do not have."""
    if name:
        raise UsageError(f"{backbone} has no variants, got {backbone}:{name}", hint=f'use `backbone="{backbone}"`')
    if pretrained:
        raise UsageError(f"there are no pretrained weights of {backbone}", hint="use torchvision:NAME or timm:NAME")
