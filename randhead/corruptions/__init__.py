"""Image corruptions: one file, one corruption, two verbs.

The 15 corruptions of the benchmark of Hendrycks and Dietterich (ICLR 2019) and its 4 extras, as batched tensor
operations, with the parameters of the published 32, 64 and 224 px sets.  A corruption is a module with

* `GROUP`: noise, blur, weather, digital or extra; `ORDER`: its place in the benchmark's tables;
* `LEVELS`: for each parameter set, "32", "64" and "224", what `apply` needs at severities 1 to 5;
* `sample(ids, size, *, seed, parameters)`: ids (B,) int64 and (H, W) -> the random field, a dict of tensors with a
  row an image.  A row is a function of (seed, id, size, parameters): all severities share it;
* `apply(images, field, level)`: images (B, 3, H, W) uint8, a field and an entry of LEVELS -> uint8 of the same shape.

Both treat each image for itself, with the same bits in any batch, order, chunk and thread count.
"""

import functools
from collections.abc import Iterable, Iterator
from types import ModuleType

import torch
from torch import Tensor

from randhead import registry
from randhead.corruptions.frost import Textures
from randhead.errors import UsageError, unknown

GROUPS = ("noise", "blur", "weather", "digital", "extra")
SEVERITIES = (1, 2, 3, 4, 5)
SETS = {"32": 45, "64": 120, "224": None}  # the largest shorter side that takes a parameter set
SMALLEST_SIDE = 8
CHUNK_VALUES = 1 << 18  # values a chunk on a CPU: 1 MB of float32, so that a chain of operations stays in the cache


def names(group: str | None = None) -> list[str]:
    """Corruptions in the benchmark's order: all 19, "benchmark" (15), or noise, blur, weather, digital or extra (4).

    Raises UsageError for an unknown group.
    """
    members = sorted(registry.names("corruptions"), key=lambda name: _member(name).ORDER)
    if group is None:
        return members
    if group != "benchmark" and group not in GROUPS:
        raise unknown("group of corruptions", group, ("benchmark", *GROUPS))
    groups = set(GROUPS) - {"extra"} if group == "benchmark" else {group}
    return [name for name in members if _member(name).GROUP in groups]


def corrupt(
    images: Tensor,
    name: str,
    severity: int,
    seed: int = 0,
    ids: Tensor | Iterable[int] | None = None,
    *,
    parameters: str | None = None,
    textures: Textures | None = None,
) -> Tensor:
    """Corrupt images: (B, 3, H, W) uint8 -> the same shape, contiguous, on the same device.

    The result for an image depends on (seed, name, severity, its id) and the image alone; ids default to 0..B-1.
    Severity 0 gives the images back.  One channel, (B, 1, H, W), is run as three equal ones, of which the first is
    returned: a mean would weaken the noise.  `parameters` names a published set, "32", "64" or "224"; by default the
    shorter side chooses (up to 45, up to 120, beyond).  `textures` is for frost.  Raises UsageError for anything else.
    """
    return next(corrupt_each(images, name, (severity,), seed, ids, parameters=parameters, textures=textures))[1]


def corrupt_each(
    images: Tensor,
    name: str,
    severities: Iterable[int] = SEVERITIES,
    seed: int = 0,
    ids: Tensor | Iterable[int] | None = None,
    *,
    parameters: str | None = None,
    textures: Textures | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Corrupt at several severities, drawing the random field once: yields (severity, images) in the order asked for.

    Arguments, results and errors are those of `corrupt`, to the bit.
    """
    severities = tuple(severities)
    module = _member(name)
    _check_images(images)
    ids = _checked_ids(ids, images)
    parameters = parameters_for(images.shape[-2:]) if parameters is None else parameters
    if parameters not in SETS:
        raise unknown("parameter set", parameters, SETS)
    for severity in severities:
        if severity not in range(6) or isinstance(severity, bool):
            raise UsageError(f"severity must be 0 to 5, got {severity!r}", hint="0 is the clean image, 5 the strongest")
    coloured = images.expand(-1, 3, -1, -1)
    out = [torch.empty(coloured.shape, dtype=torch.uint8, device=images.device) for _ in severities]
    extra = {"textures": textures} if textures is not None and name == "frost" else {}
    for rows in _chunks(coloured):
        chunk = coloured[rows].contiguous()
        field = module.sample(ids[rows], tuple(images.shape[-2:]), seed=seed, parameters=parameters, **extra)
        for severity, place in zip(severities, out, strict=True):
            place[rows] = _at(module, chunk, field, severity, parameters)
    return ((s, o[:, : images.shape[1]].contiguous()) for s, o in zip(severities, out, strict=True))


@functools.cache
def _member(name: str) -> ModuleType:
    """The module of a corruption; kept, as reading the folder each time costs more than a small batch."""
    return registry.load("corruptions", name)


def _at(module: ModuleType, chunk: Tensor, field: dict[str, Tensor], severity: int, parameters: str) -> Tensor:
    return module.apply(chunk, field, module.LEVELS[parameters][severity - 1]) if severity else chunk


def parameters_for(size: tuple[int, int]) -> str:
    """The parameter set of an image size (H, W): that of the nearest published side, by the shorter side."""
    side = min(size)
    return next(name for name, largest in SETS.items() if largest is None or side <= largest)


def sheet(images: Tensor, *, seed: int = 0, textures: Textures | None = None) -> Tensor:
    """A contact sheet: one image (3, H, W) uint8 -> (19, 5, 3, H, W), corruptions in order by severities 1 to 5."""
    batch = images[None]
    return torch.stack(
        [torch.cat([out for _, out in corrupt_each(batch, n, seed=seed, textures=textures)]) for n in names()]
    )


def _chunks(images: Tensor) -> Iterator[slice]:
    """Slices of a batch: by size on a CPU, whole elsewhere."""
    step = (
        len(images) if images.device.type != "cpu" else max(1, CHUNK_VALUES // images[0].numel() if len(images) else 1)
    )
    return (slice(start, start + step) for start in range(0, len(images), max(step, 1)))


def _check_images(images: Tensor) -> None:
    hint = "corruptions take uint8 images (B, 3, H, W) in 0..255, after resizing and before normalisation"
    if not isinstance(images, Tensor):
        raise UsageError(f"images must be a tensor, got {type(images).__name__}", hint=hint)
    if images.dtype != torch.uint8:
        raise UsageError(f"images must be uint8, got {str(images.dtype).removeprefix('torch.')}", hint=hint)
    if images.ndim != 4:
        raise UsageError(f"images must have 4 dimensions, got shape {tuple(images.shape)}", hint=hint)
    if images.shape[1] not in (1, 3):
        more = "drop the alpha channel" if images.shape[1] == 4 else hint
        raise UsageError(f"images must have 1 or 3 channels, got {images.shape[1]}", hint=more)
    if min(images.shape[2:]) < SMALLEST_SIDE:
        height, width = images.shape[2:]
        raise UsageError(f"images of {height}x{width} are too small", hint=f"sides start at {SMALLEST_SIDE} pixels")


def _checked_ids(ids: Tensor | Iterable[int] | None, images: Tensor) -> Tensor:
    if ids is None:
        return torch.arange(len(images), device=images.device)
    ids = torch.as_tensor(ids if isinstance(ids, Tensor) else list(ids))
    if ids.shape != (len(images),) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise UsageError(
            f"ids must be {len(images)} integers, one an image, got {ids.dtype} of shape {tuple(ids.shape)}"
        )
    if len(ids) and int(ids.min()) < 0:
        raise UsageError(f"ids must not be negative, got {int(ids.min())}")
    return ids.to(torch.int64).to(images.device)
