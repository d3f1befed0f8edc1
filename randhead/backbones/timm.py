"""The models of timm without their classifier: `timm:convnext_tiny`.  Needs `pip install 'randhead[timm]'`."""

from torch import nn

from randhead.errors import DataError, UsageError, unknown


def build(*, name: str, image_size: int, pretrained: bool = False) -> nn.Module:
    """(B, 3, H, W) -> (B, D).  Raises UsageError for an unknown model, DataError where weights cannot be fetched."""
    try:
        import timm
    except ModuleNotFoundError:
        raise UsageError("backbone timm:... needs timm", hint="pip install 'randhead[timm]'") from None
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())
    try:
        return _create(timm, name, image_size, pretrained)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the weights of timm:{name} cannot be fetched ({reason})", hint="train without --pretrained"
        ) from None


def _create(timm: object, name: str, image_size: int, pretrained: bool) -> nn.Module:
    """Models whose weights depend on the image size (ViT) take it as an argument, the others refuse the argument."""
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=image_size)
    except TypeError:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
