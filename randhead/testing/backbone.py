"""The contract of the backbones."""

import torch
from torch import Tensor, nn

from randhead import backbones
from randhead.testing._members import Member, claim, known


def check_backbone(member: Member, *, image_size: int = 32) -> None:
    """Check that a member of `randhead.backbones` fulfils the contract of its family.

    Args:
        member: a module, the path of a Python file, or the name of a member, such as "timm:resnet18".
        image_size: side of the images in pixels.

    Raises:
        AssertionError: if the contract is broken.

    Example:
        >>> check_backbone("small_resnet", image_size=8)
    """
    with known("backbones", member) as (name, _):
        backbone = _built(name, image_size, seed=0)
        _check_as_built(backbone)
        _check_features(backbone, image_size)
        _check_gradients(backbone, image_size)
        weights = [_weights(_built(name, image_size, seed=seed)) for seed in (1, 1, 2)]
        claim(torch.equal(weights[0], weights[1]), "initial weights must be a function of torch's seed")
        claim(not torch.equal(weights[0], weights[2]), "another seed of torch must give other initial weights")


def _built(name: str, image_size: int, *, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return backbones.build(name, image_size=image_size)


def _weights(backbone: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(backbone.parameters())


def _check_as_built(backbone: nn.Module) -> None:
    claim(backbone.training, "a backbone must come in training mode")
    fresh = all(parameter.grad is None for parameter in backbone.parameters())
    claim(fresh, "a backbone must come without gradients")
    counts = [module.num_batches_tracked for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    claim(all(int(count) == 0 for count in counts if count is not None), "batch norms have seen batches already")


def _check_features(backbone: nn.Module, image_size: int) -> None:
    images = torch.linspace(-2, 2, 3 * 3 * image_size**2).reshape(3, 3, image_size, image_size)
    backbone.eval()
    with torch.no_grad():
        features, single = backbone(images), backbone(images[:1])
    backbone.train()
    claim(features.shape == (3, backbone.dim), f"3 images must give (3, dim), got {tuple(features.shape)}")
    claim(features.dtype == torch.float32, f"features must be float32, got {features.dtype}")
    claim(bool(features.isfinite().all()), "features must be finite")
    claim(not backbone.nonnegative or bool((features >= 0).all()), "nonnegative is True, but a feature is negative")
    claim(torch.allclose(single, features[:1], atol=1e-4), "in eval mode, features depend on the batch")


def _check_gradients(backbone: nn.Module, image_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, image_size, image_size, generator=generator)
    with torch.random.fork_rng(devices=[]):  # of dropout
        backbone.train()(images).square().sum().backward()
    missing = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    claim(not missing, f"parameters without a gradient: {', '.join(missing)}")
