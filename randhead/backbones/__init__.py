"""Encoders from images to features: one file per backbone, each with one function, `build`.

`torchvision:NAME` and `timm:NAME` reach the models of those libraries.
"""

import contextlib
import sys
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from randhead import registry
from randhead.backbones._strided import avoid_broken_kernel
from randhead.config.resolved import EncoderInput
from randhead.errors import RandheadError, UsageError

__all__ = ["Backbone", "BackboneBuilder", "EncoderInput", "build", "weights_input"]


class Backbone(nn.Module):
    """An encoder as `build` returns it, whatever its class: images (B, 3, H, W) -> features (B, D).

    Attributes:
        dim: D, measured by running the module.
        nonnegative: whether its features are never negative, as after a ReLU.
    """

    dim: int
    nonnegative: bool


class BackboneBuilder(Protocol):
    """The interface of a backbone: a module with this function.

    A module with published weights also says what they were trained with, for `randhead.train`:

        def weights_input(*, name: str) -> EncoderInput: ...
    """

    @staticmethod
    def build(*, name: str, image_size: int, pretrained: bool) -> nn.Module:
        """Build a module that maps images (B, 3, H, W) to features (B, D).

        Args:
            name: what follows the colon in "member:name", or "".
            image_size: side of the images in pixels.
            pretrained: load published weights.
        """
        ...


def build(name: str, *, image_size: int, pretrained: bool = False) -> Backbone:
    """Build an encoder.  Its initial weights come from torch's global generator: seed that first.

    Args:
        name: a member of `randhead.backbones`, "torchvision:NAME" or "timm:NAME".
        image_size: side of the images in pixels.
        pretrained: start from published weights; only models of torchvision and timm have some.

    Returns:
        The encoder, in training mode.

    Raises:
        UsageError: for an unknown name, and for images that the backbone cannot take.
        DataError: if published weights cannot be fetched.

    Example:
        >>> build("small_resnet", image_size=8).nonnegative
        True
    """
    member, model = registry.split(name)
    module = registry.load("backbones", member)
    with contextlib.redirect_stdout(sys.stderr):  # torch.hub says there what it fetches; stdout is for results
        backbone = module.build(name=model, image_size=image_size, pretrained=pretrained)
    if not isinstance(backbone, nn.Module):
        registry.expect("backbones", member, f"build must return a torch.nn.Module, got {type(backbone).__name__}")
    avoid_broken_kernel(backbone)
    features = _probe(backbone, name, image_size)
    found = cast(Backbone, backbone)
    found.dim, found.nonnegative = features.shape[1], bool((features >= 0).all())
    return found


def weights_input(name: str) -> EncoderInput | None:
    """The images that the published weights of an encoder were trained with; None if it does not say.

    Its member says it with a function `weights_input(name=...)`.  Fetches nothing.

    Args:
        name: as for `build`.

    Raises:
        UsageError: for an unknown name.

    Example:
        >>> weights_input("torchvision:inception_v3").image_size
        299
    """
    member, model = registry.split(name)
    module = registry.load("backbones", member)
    return module.weights_input(name=model) if hasattr(module, "weights_input") else None


@torch.no_grad()
def _probe(backbone: nn.Module, name: str, image_size: int) -> Tensor:
    """Features of a few ordinary images: (3, D)."""
    training = backbone.training
    values = torch.linspace(-2, 2, 3 * 3 * image_size**2, dtype=torch.float32, device="cpu")
    images = values.reshape(3, 3, image_size, image_size)
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
    if not isinstance(features, Tensor) or features.ndim != 2:
        got = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else f"type {type(features).__name__}"
        raise UsageError(f"backbone {name} gives features of {got}, not (B, D)")
    return features
