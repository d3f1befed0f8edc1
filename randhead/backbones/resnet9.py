"""David Page's network for CIFAR-10 in seconds on a GPU: eight convolutions, 6,568,000 parameters, D = 512.

From "How to train your ResNet 4: Architecture" (myrtle.ai, 2018), the best single-GPU entry of DAWNBench at its time.
Convolutions of 64, 128, 256 and 512 channels, each of the last three followed by a max pool that halves the image; two
residual blocks, after the first and the last of these pools; and the maximum over the last 4x4 pixels.  All
convolutions are 3x3 and of stride 1.

Page multiplies his logits by 0.125, because maxima are large (a norm of 74 at first).  Here features
are, which gives the same logits, so that heads keep their usual scale: 1 for dot products.
"""

from torch import Tensor, nn

from randhead.backbones._residual import convolution, refuse_variants

WIDTHS = (64, 128, 256, 512)
FACTOR = 0.125  # on the features; `weight` in Page's code
SMALLEST = 2  # pixels; in a map of one pixel a 3x3 convolution sees only padding around it


def build(*, name: str = "", image_size: int, pretrained: bool = False) -> nn.Module:
    """(B, 3, H, W) -> (B, 512), never negative.  Raises UsageError for `pretrained`: no such weights exist.

    Pools that would leave less than 2x2 pixels are left out: the third one for images below 16 px.
    """
    refuse_variants("resnet9", name, pretrained)
    layers: list[nn.Module] = [convolution(3, WIDTHS[0])]
    side = image_size
    for i in range(1, len(WIDTHS)):
        layers.append(convolution(WIDTHS[i - 1], WIDTHS[i]))
        if side // 2 >= SMALLEST:
            layers.append(nn.MaxPool2d(2))
            side //= 2
        if i != 2:
            layers.append(Residual(WIDTHS[i]))
    return ResNet9(*layers, nn.MaxPool2d(side), nn.Flatten())


class ResNet9(nn.Sequential):
    """The layers of the network, and the factor on its features."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 512)."""
        return FACTOR * super().forward(images)


class Residual(nn.Module):
    """Two convolutions, added to the input after their last ReLU."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Sequential(convolution(width, width), convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.inner(x)
