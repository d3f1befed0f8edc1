"""Image corruptions: one file per corruption.

These are the 15 corruptions of the benchmark of Hendrycks and Dietterich (ICLR 2019) and its 4 extra ones, as batched
tensor operations, with the parameters of the published 32, 64 and 224 px sets.  A corruption is a module with the
members of `Corruption`; to add one, add a file with them.  The result for an image has the same bits in any batch,
order, chunk and thread count.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from randhead import ambient, registry
from randhead.arguments import whole
from randhead.corruptions._arguments import (
    PARAMETER_SETS,
    check_frost_images,
    check_images,
    check_parameters,
    checked_ids,
    checked_severities,
    shorter_side,
)
from randhead.corruptions._arrays import is_array, opened
from randhead.corruptions._batches import chunks, like
from randhead.corruptions.frost import FrostImages, load_frost_images
from randhead.errors import UsageError, unknown

if TYPE_CHECKING:  # at run time `__getattr__` imports it, since torchvision takes half a second
    from randhead.corruptions._transform import Corrupt

__all__ = [
    "PARAMETER_SETS",
    "SEVERITIES",
    "Corrupt",
    "Corruption",
    "FrostImages",
    "check_frost_images",
    "check_images",
    "check_parameters",
    "checked_output",
    "corrupt",
    "corrupt_each",
    "group_of",
    "groups",
    "load_frost_images",
    "names",
    "parameters_for",
]

Images = TypeVar("Images")  # a tensor, an array of NumPy or an image of PIL
EXTRA = "extra"  # the group of everything that is not part of the benchmark
SEVERITIES = (1, 2, 3, 4, 5)


class Corruption(Protocol):
    """The interface of a corruption: a module with these members."""

    GROUP: str
    """noise, blur, weather or digital: one of the benchmark's 15; "extra": every other corruption.

    A corruption from outside this package is always extra; neither GROUP nor ORDER is needed there.
    """
    ORDER: int
    """Row in the tables of results: 1 to 15 are the benchmark's, 16 to 19 its extras."""
    SEVERITY_PARAMETERS: Mapping[str, Sequence[Any]]
    """The parameters of `apply` at severities 1 to 5, for each parameter set ("32", "64", "224")."""

    def sample(self, ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
        """Draw the random numbers of some images.

        Args:
            ids: int64 (B,), ids of the images.
            size: height and width of the images.
            seed: of the random numbers.
            parameter_set: "32", "64" or "224".

        Returns:
            The noise: tensors with one row per image, each a function of (seed, id, size, parameter set).  All
            severities share it.  It is empty if the corruption is not random.
        """
        ...

    def apply(self, images: Tensor, noise: dict[str, Tensor], parameters: Any, /) -> Tensor:
        """Corrupt images.

        Args:
            images: uint8 (B, 3, H, W), which must not be changed.
            noise: the result of `sample` for them.
            parameters: the entry of SEVERITY_PARAMETERS for the severity.

        Returns:
            uint8 of the same shape.
        """
        ...


def names(group: str | None = None) -> list[str]:
    """The names of the corruptions, in the order of the benchmark's tables.

    Args:
        group: noise, blur, weather, digital, extra, or "benchmark" for the first four of them; None for all.

    Raises:
        UsageError: for an unknown group.

    Example:
        >>> names("weather")
        ['snow', 'frost', 'fog', 'brightness']
        >>> len(names("benchmark")), len(names())
        (15, 19)
    """
    members = sorted(registry.names("corruptions"), key=lambda name: (_order(name), name))
    if group is None:
        return members
    if group == "benchmark":
        return [name for name in members if group_of(name) != EXTRA]
    chosen = [name for name in members if group_of(name) == group]
    if not chosen:
        raise unknown("group of corruptions", group, ("benchmark", *groups()))
    return chosen


def groups() -> dict[str, list[str]]:
    """The names of the corruptions by group, both in the order of the benchmark's tables.

    Example:
        >>> list(groups())
        ['noise', 'blur', 'weather', 'digital', 'extra']
    """
    found: dict[str, list[str]] = {}
    for name in names():
        found.setdefault(group_of(name), []).append(name)
    return found


def group_of(name: str) -> str:
    """The group of a corruption; always "extra" for one from outside this package, even if it has a GROUP.

    In this way means over the benchmark always contain only its 15 corruptions.

    Raises:
        UsageError: for an unknown corruption.
    """
    module = _member(name)
    return module.GROUP if registry.is_builtin("corruptions", name) else EXTRA


def corrupt(
    images: Images,
    name: str,
    severity: int,
    seed: int = 0,
    ids: Tensor | Iterable[int] | None = None,
    *,
    parameters: str | None = None,
    frost_images: FrostImages | None = None,
) -> Images:
    """Corrupt images.

    The result for an image depends only on the seed, the name, the severity, its id and the image.

    Args:
        images: uint8 (B, 3, H, W), after resizing and before normalisation.  A single channel, (B, 1, H, W), is
            repeated three times, and the first channel of the result is returned: a mean would weaken the noise.
            Also an image of NumPy, (H, W, 3) or (H, W), or of PIL (RGB or L), or a batch (B, H, W, 3) of NumPy.
        name: one of `names()`.
        severity: 1 (weakest) to 5 (strongest); 0 returns the images unchanged.
        seed: of the random numbers.
        ids: (B,) integers, ids of the images; 0..B-1 by default.
        parameters: the published parameter set, "32", "64" or "224"; by default the set of the nearest image size
            (shorter side up to 45, up to 120, or above).
        frost_images: the pictures that frost overlays; by default procedural ones.

    Returns:
        uint8 of the shape of `images`, contiguous, on the same device, and of their type: tensor, `tv_tensors.Image`,
        array or image of PIL.

    Raises:
        UsageError: for unknown names, severities and parameter sets, and for images and ids that do not fit.

    Example:
        >>> import torch
        >>> images = torch.full((2, 3, 32, 32), 128, dtype=torch.uint8)
        >>> out = corrupt(images, "gaussian_noise", severity=3)
        >>> out.shape, bool((out[0] == out[1]).all())
        (torch.Size([2, 3, 32, 32]), False)
    """
    how: dict[str, Any] = {"parameters": parameters, "frost_images": frost_images}
    if not is_array(images):
        return cast(Images, next(corrupt_each(cast(Tensor, images), name, (severity,), seed, ids, **how))[1])
    given, back = opened(images)
    batch = given[None] if given.ndim == 3 else given.flatten(0, -4)
    out = next(corrupt_each(batch, name, (severity,), seed, ids, **how))[1]
    return cast(Images, back(out.view(given.shape)))


def corrupt_each(
    images: Tensor,
    name: str,
    severities: Iterable[int] = SEVERITIES,
    seed: int = 0,
    ids: Tensor | Iterable[int] | None = None,
    *,
    parameters: str | None = None,
    frost_images: FrostImages | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Corrupt images at several severities with random numbers that are drawn once.

    Arguments, results and errors are those of `corrupt`, to the bit.

    Returns:
        (severity, images) for each severity, in the order of `severities`.
    """
    module = _member(name)
    check_images(images)
    ids, seed = checked_ids(ids, images), whole("seed", seed)
    check_parameters(parameters)
    parameter_set = parameters_for((images.shape[2], images.shape[3])) if parameters is None else parameters
    severities = checked_severities(severities)
    check_frost_images(frost_images)
    coloured = images.as_subclass(Tensor).expand(-1, 3, -1, -1)
    out = [torch.empty(coloured.shape, dtype=torch.uint8, device=images.device) for _ in severities]
    origin = "" if registry.is_builtin("corruptions", name) else f"{registry.origin('corruptions', name)}: "
    options = {"frost_images": frost_images} if frost_images is not None and name == "frost" else {}
    with ambient.ordinary(images.device) if origin else contextlib.nullcontext():
        for rows in chunks(coloured):
            chunk = coloured[rows].contiguous()
            size = (images.shape[2], images.shape[3])
            noise = module.sample(ids[rows], size, seed=seed, parameter_set=parameter_set, **options)
            for severity, target in zip(severities, out, strict=True):
                if severity == 0:
                    target[rows] = chunk
                    continue
                found = module.apply(chunk, noise, module.SEVERITY_PARAMETERS[parameter_set][severity - 1])
                target[rows] = checked_output(found, chunk, name, origin)
    return ((s, like(images, o[:, : images.shape[1]].contiguous())) for s, o in zip(severities, out, strict=True))


def wrong_value(member: ModuleType) -> str | None:
    """What is wrong with the values that a corruption from outside the package defines; None if they are right."""
    found = member.SEVERITY_PARAMETERS
    if not isinstance(found, Mapping) or not set(PARAMETER_SETS) <= set(found):
        return f"SEVERITY_PARAMETERS must have {[*PARAMETER_SETS]}, got {found!r}"
    wrong = [key for key in PARAMETER_SETS if not isinstance(found[key], Sized) or len(found[key]) != len(SEVERITIES)]
    return f"SEVERITY_PARAMETERS[{wrong[0]!r}] must have 5 entries, one per severity" if wrong else None


def _member(name: str) -> Corruption:
    """The module of a corruption."""
    return cast(Corruption, registry.load("corruptions", name))


def _order(name: str) -> float:
    """The row of a corruption in tables; those from outside this package come last."""
    return _member(name).ORDER if registry.is_builtin("corruptions", name) else math.inf


def parameters_for(size: tuple[int, int]) -> str:
    """The parameter set for an image size (H, W): that of the nearest published size, by the shorter side.

    Example:
        >>> parameters_for((32, 32)), parameters_for((240, 320))
        ('32', '224')
    """
    side = shorter_side(size)
    return next(name for name, largest in PARAMETER_SETS.items() if largest is None or side <= largest)


def checked_output(out: object, images: Tensor, name: str, origin: str = "") -> Tensor:
    """Check the result of the corruption `name`, and move it to the device of the images.

    Raises:
        UsageError: if it is not a uint8 tensor of the shape of the images.
    """
    if not isinstance(out, Tensor) or out.dtype != torch.uint8 or out.shape != images.shape:
        got = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        hint = "return a uint8 tensor of the shape of the images"
        raise UsageError(f"{origin}corruption {name} made {got} of torch.uint8 {tuple(images.shape)}", hint=hint)
    return out.to(images.device)


def __getattr__(name: str) -> Any:
    if name != "Corrupt":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from randhead.corruptions._transform import Corrupt

    return Corrupt
