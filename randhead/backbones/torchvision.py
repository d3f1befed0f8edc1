"""The classification models of torchvision, without their last layer: `torchvision:resnet50`."""

from torch import hub, nn
from torchvision import models

from randhead.config.resolved import EncoderInput
from randhead.errors import DataFileError, UsageError, unknown
from randhead.files import expanded


def weights_input(*, name: str) -> EncoderInput:
    """The size and the normalisation of the transforms of the default weights."""
    _check(name)
    about = models.get_model_weights(name).DEFAULT.transforms()
    return EncoderInput(f"the weights of torchvision:{name}", about.crop_size[0], tuple(about.mean), tuple(about.std))


def build(*, name: str, image_size: int, pretrained: bool = False) -> nn.Module:
    """(B, 3, H, W) -> (B, D).  Raises UsageError for an unknown model, DataError if weights cannot be fetched."""
    _check(name)
    if not pretrained:
        return _without_classifier(models.get_model(name, weights=None, **_quiet(name)), name)
    folder = expanded(hub.get_dir(), "set the environment variable HOME or TORCH_HOME") / "checkpoints"
    try:
        model = models.get_model(name, weights="DEFAULT")
    except Exception as error:  # no network, no folder, a damaged file: loading raises errors of many kinds
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise DataFileError(
            f"the weights of torchvision:{name} cannot be fetched ({reason})",
            hint=f"train without `pretrained`, or put the file into {folder} (TORCH_HOME is another folder)",
        ) from None
    return _without_classifier(model, name)


def _check(name: str) -> None:
    known = models.list_models(module=models)
    if name not in known:
        raise unknown("torchvision model", name, known)


def _quiet(name: str) -> dict[str, bool]:
    """GoogLeNet and Inception have auxiliary classifiers, which are not used, and a slow default initialisation."""
    return {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}


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
