"""Encoders from images to features: one file, one backbone, one verb.

`build(*, name, image_size, pretrained)` returns a module that maps (B, 3, H, W) to features (B, D).  D is found by
asking the module.  `torchvision:NAME` and `timm:NAME` reach the models of those libraries.
"""

import torch
from torch import Tensor, nn

from randhead import registry
from randhead.backbones._strided import avoid_broken_kernel
from randhead.errors import RandheadError, UsageError


def build(name: str, *, image_size: int, pretrained: bool = False) -> nn.Module:
    """An encoder with the attributes `dim` (D) and `nonnegative` (whether its features are, as after a ReLU).

    Initial weights come from torch's global generator: seed it first.  Raises UsageError for an unknown name, and for
    images that the backbone cannot take.
    """
    member, model = registry.split(name)
    module = registry.load("backbones", member)
    backbone = module.build(name=model, image_size=image_size, pretrained=pretrained)
    avoid_broken_kernel(backbone)
    features = _probe(backbone, name, image_size)
    backbone.dim, backbone.nonnegative = features.shape[1], bool((features >= 0).all())
    return backbone


@torch.no_grad()
def _probe(backbone: nn.Module, name: str, image_size: int) -> Tensor:
    """Features of a few unremarkable images: (3, D)."""
    training = backbone.training
    images = torch.linspace(-2, 2, 3 * 3 * image_size**2).reshape(3, 3, image_size, image_size)
    try:
        features = backbone.eval()(images)
    except RandheadError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"backbone {name} cannot take images of {image_size} px ({reason})",
            hint="use another size, `image_size=...`, or another `backbone`",
        ) from None
    finally:
        backbone.train(training)
    if features.ndim != 2:
        raise UsageError(f"backbone {name} gives features of shape {tuple(features.shape)}, not (B, D)")
    return features
