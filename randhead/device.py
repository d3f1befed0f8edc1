"""The devices of this machine, the precision that is fast on them, and the versions of libraries."""

import platform
import re
from importlib.metadata import version

import torch

import randhead
from randhead.arguments import DEVICES, one_of
from randhead.errors import UsageError
from randhead.tables import count

NUMBERED = re.compile(r"^cuda:\d+$")


def resolve_device(name: str | torch.device) -> torch.device:
    """Find the device for a name.

    Args:
        name: "cpu", "cuda", "cuda:1" for one of several, or "auto", which is CUDA if it can be used; or a device.

    Raises:
        UsageError: for another name, and for CUDA if it cannot be used.
    """
    name = str(name) if isinstance(name, torch.device) else name
    one_of("device", NUMBERED.sub("cuda", name) if isinstance(name, str) else name, DEVICES)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("no CUDA device can be used here", hint='use `device="cpu"`, or look at `randhead doctor`')
    return torch.device(name)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Find the dtype for a precision.

    Args:
        name: "fp32", "bf16", or "auto", which is bfloat16 if the processor multiplies it natively.
        device: the device that computes.
    """
    if name == "auto":
        return torch.bfloat16 if has_fast_bf16(device) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[name]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 on the device; on others it is emulated, and slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return any(_has(feature) for feature in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))


def device_name(device: torch.device) -> str:
    """The device in words, for reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.processor() or platform.machine()}, {count(torch.get_num_threads(), 'thread')})"


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return {
        "randhead": randhead.__version__,
        "torch": torch.__version__,
        "torchvision": version("torchvision"),  # importing it takes a second and 150 MiB
        "python": platform.python_version(),
    }


def _has(feature: str) -> bool:
    """Whether the processor has a feature; torch.cpu has private functions for it, but not in every version."""
    return bool(getattr(torch.cpu, feature, lambda: False)())
