"""A classifier: a backbone that computes features, and a head that scores them against class vectors."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from randhead import ambient, backbones, rng
from randhead.arguments import check_type, whole
from randhead.backbones import Backbone
from randhead.config import Config
from randhead.config.resolved import ResolvedSettings
from randhead.head import ClassVectorHead
from randhead.vectors import Geometry


class Classifier(nn.Module):
    """Normalised images (B, 3, H, W) -> logits (B, K).

    Args:
        backbone: maps images to features (B, D).
        head: scores features against class vectors.
    """

    def __init__(self, backbone: Backbone, head: ClassVectorHead):
        super().__init__()
        self.backbone = backbone
        self.head = head

    def embed(self, images: Tensor) -> Tensor:
        """Features after the neck, as the head scores them: (B, 3, H, W) -> (B, D)."""
        return self.head.embed(self.backbone(images))

    def forward(self, images: Tensor) -> Tensor:
        """Logits: (B, 3, H, W) -> (B, K)."""
        return self.head(self.backbone(images))


def build_model(
    backbone: str = "small_resnet",
    *,
    num_classes: int,
    image_size: int,
    seed: int = 0,
    head_seed: int = 0,
    pretrained: bool = False,
    **head: Any,
) -> Classifier:
    """Build a classifier with initial weights from `seed` and class vectors from `head_seed`.

    The two seeds are independent.  The initial weights are the same whether class vectors are fixed or learned, so that
    both kinds of runs start from the same point.

    Args:
        backbone: a member of `randhead.backbones`, "torchvision:NAME" or "timm:NAME".
        num_classes: K.
        image_size: side of the images in pixels.
        seed: seed of the initial weights.
        head_seed: seed of the class vectors.
        pretrained: start the backbone from published weights.
        head: further arguments of `ClassVectorHead`.

    Returns:
        The classifier, on the CPU whatever torch's default device is, in training mode.

    Raises:
        UsageError: for arguments that are unknown, out of bounds or do not fit together.
        DataError: if published weights cannot be fetched.

    Example:
        >>> model = build_model(num_classes=10, image_size=8, scoring="cosine")
        >>> model(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """
    check_type("backbone", backbone, str, "the name of a backbone")
    check_type("pretrained", pretrained, bool, "True or False")
    image_size, seed = whole("image_size", image_size, 1), whole("seed", seed)
    # torch's initialisers use only its global generator, whose state is restored afterwards.
    with torch.random.fork_rng(devices=[]), ambient.ordinary(torch.device("cpu")), torch.inference_mode(False):
        torch.default_generator.manual_seed(rng.key(seed, "weights")[0])
        encoder = backbones.build(backbone, image_size=image_size, pretrained=pretrained)
        return Classifier(encoder, ClassVectorHead(num_classes, encoder.dim, seed=head_seed, **head))


def from_config(config: Config, settings: ResolvedSettings, *, vectors: Geometry | None = None) -> Classifier:
    """Build the classifier of a configuration, before training.

    Args:
        config: its sections `backbone` and `head`, and its seeds, are used.
        settings: the resolved settings; the names and number of the classes and the image size are used.
        vectors: the class vectors that a checkpoint stores, instead of the geometry of the configuration.
    """
    head: dict[str, Any] = asdict(config.head) | ({} if vectors is None else {"vectors": vectors})
    keys = head.pop("class_keys")
    return build_model(
        config.backbone.name,
        num_classes=settings.num_classes,
        image_size=settings.image_size,
        seed=config.train.seed,
        head_seed=config.train.head_seed,
        pretrained=config.backbone.pretrained,
        class_names=list(settings.class_names) if keys == "name" else None,
        **head,
    )
