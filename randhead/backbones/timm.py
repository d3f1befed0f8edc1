"""The models of timm without their classifier: `timm:convnext_tiny`.  Needs `pip install 'randhead[timm]'`."""

import contextlib
import time
from collections.abc import Iterator
from types import ModuleType

from torch import nn

from randhead.config.resolved import EncoderInput
from randhead.errors import DataFileError, UsageError, unknown
from randhead.files import expanded

ATTEMPTS, TIMEOUT_S = 2, 5  # one lost reply does not mean that there is no network


def weights_input(*, name: str) -> EncoderInput:
    """The size and the normalisation of timm's description of the weights.  Raises UsageError if there are none."""
    about = _timm(name).get_pretrained_cfg(name)
    if about is None or not about.has_weights:
        raise UsageError(f"there are no pretrained weights of timm:{name}", hint="train without `pretrained`")
    return EncoderInput(f"the weights of timm:{name}", about.input_size[1], tuple(about.mean), tuple(about.std))


def build(*, name: str, image_size: int, pretrained: bool = False) -> nn.Module:
    """(B, 3, H, W) -> (B, D).  Raises UsageError for an unknown model, DataError if weights cannot be fetched."""
    timm = _timm(name)
    if not pretrained:
        return _create(timm, name, image_size, pretrained)
    from huggingface_hub import constants

    expanded(constants.HF_HUB_CACHE, "set the environment variable HOME or HF_HOME")
    try:
        with _offline_without_network():
            return _create(timm, name, image_size, pretrained)
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataFileError(
            f"the weights of timm:{name} cannot be fetched ({reason})",
            hint=f"train without `pretrained`, or fill {constants.HF_HUB_CACHE} from a machine that has fetched them",
        ) from None


def _timm(name: str) -> ModuleType:
    """The library.  Raises UsageError if it is not installed or has no such model."""
    try:
        import timm
    except ModuleNotFoundError:
        raise UsageError("backbone timm:... needs timm", hint="pip install 'randhead[timm]'") from None
    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models())
    return timm


@contextlib.contextmanager
def _offline_without_network() -> Iterator[None]:
    """If the hub cannot be reached, use its offline mode: weights come from its cache, or are refused.

    Otherwise it tries again for 45 seconds.  It is contacted through its own client, with its proxies and mirrors.
    """
    from huggingface_hub import constants

    reason = None if constants.HF_HUB_OFFLINE else _why_unreachable()
    if reason is None:
        yield
        return
    constants.HF_HUB_OFFLINE = True  # what the environment variable of that name sets, which is read on import
    try:
        yield
    except OSError:
        raise OSError(f"{constants.ENDPOINT} cannot be reached: {reason}") from None
    finally:
        constants.HF_HUB_OFFLINE = False


def _why_unreachable() -> str | None:
    """None if the hub replies, whatever the reply; else the reason."""
    import huggingface_hub

    reason = None
    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        try:
            huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=TIMEOUT_S)
            return None
        except Exception as error:  # its client was requests, then httpx, with exceptions of their own
            reason = str(error) or type(error).__name__
    return reason


def _create(timm: ModuleType, name: str, image_size: int, pretrained: bool) -> nn.Module:
    """Models whose weights depend on the image size (ViT) take it as an argument, the others refuse the argument."""
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=image_size)
    except TypeError:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
