"""The classification models of torchvision, without their last layer: `torchvision:resnet50`."""

from urllib.error import URLError

from torch import nn
from torchvision import models

from randhead.config.resolved import EncoderInput
from randhead.errors import DataFileError, UsageError, unknown


def weights_input(*, name: str) -> EncoderInput:
    """The size and the normalisation of the transforms of the default weights."""
    _check(name)
    about = models.get_model_weights(name).DEFAULT.transforms()
    return EncoderInput(f"the weights of torchvision:{name}", about.crop_size[0], tuple(about.mean), tuple(about.std))


def build(*, name: str, image_size: int, pretrained: bool = False) -> nn.Module:
    """(B, 3, H, W) -> (B, D).  Raises UsageError for an unknown model, DataError if weights cannot be fetched."""
    _check(name)
    try:
        model = models.get_model(name, weights="DEFAULT" if pretrained else None, **_quiet(name, pretrained))
    except URLError as error:
        raise DataFileError(
            f"the weights of torchvision:{name} cannot be fetched ({error.reason})",
            hint="train without `pretrained`, or put the file into torch.hub.get_dir()/checkpoints",
        ) from None
    return _without_classifier(model, name)


def _check(name: str) -> None:
    known = models.list_models(module=models)
    if name not in known:
        raise unknown("torchvision model", name, known)


def _quiet(name: str, pretrained: bool) -> dict[str, bool]:
    """GoogLeNet and Inception have auxiliary classifiers, which are not used, and a slow default initialisation."""
    if name not in ("googlenet", "inception_v3") or pretrained:
        return {}
    return {"aux_logits": False, "init_weights": True}


def _without_classifier(model: nn.Module, name: str) -> nn.Module:
    """Replace the last linear layer by the identity; convolutional classifiers (SqueezeNet) are refused."""
    if getattr(model, "aux_logits", False):
        for attribute, value in {"aux_logits": False, "AuxLogits": None, "aux1": None, "aux2": None}.items():
            setattr(model, attribute, value)
    for path, module in reversed(list(model.named_modules())):
        if isinstance(module, nn.Linear):
            parent, _, attribute = path.rpartition(".")
            setattr(model.get_submodule(parent), attribute, nn.Identity())
            return model
    raise UsageError(f"torchvision:{name} has no linear last layer to replace", hint="use another model")
