"""A corruption as a transform of torchvision, for single images of PIL, NumPy and torch.  Imports torchvision."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from randhead import registry, rng
from randhead.arguments import whole
from randhead.corruptions import corrupt
from randhead.corruptions._arguments import check_bytes, check_frost_images, check_parameters, check_severity
from randhead.corruptions._arrays import is_array, opened
from randhead.corruptions.frost import FrostImages
from randhead.errors import UsageError


class Corrupt(v2.Transform):
    """`corrupt` as a transform, in `v2.Compose`, in workers of a `DataLoader` and in webdataset's `map`.

    It takes images of uint8: of PIL (RGB or L), arrays of NumPy (H, W, 3), (H, W, 1) or (H, W), tensors and
    `tv_tensors.Image` (3, H, W) or (1, H, W); tensors and arrays can have leading dimensions.  The result has the same
    type, mode, layout and device.  In a sample, such as (image, label), what is no image passes unchanged; arrays and
    tensors are images by the rule of torchvision: only the first, and only if there is no image of PIL or tv_tensors.

    With `id`, the result has the bits of `corrupt` for this id.  Without it, the id of an image is made from its
    pixels, so that every image has its own noise, which does not depend on order, worker or batch: the first 8 bytes
    of the SHA-256 of its bytes in the order (C, H, W), as a little-endian number, without its lowest bit.  Images that
    are equal have equal noise.

    A corruption that was registered in this process has to be registered in workers that are spawned too.

    Args:
        name: one of `names()`.
        severity: 1 (weakest) to 5 (strongest); 0 returns the images unchanged.
        seed: of the random numbers.
        parameters: the published parameter set, "32", "64" or "224"; by default the set of the nearest image size.
        frost_images: the pictures that frost overlays; by default procedural ones.

    Raises:
        UsageError: for an unknown name or another wrong argument, at once; for images of other kinds when it is called.

    Example:
        >>> transform = Corrupt("fog", severity=3)
        >>> transform
        Corrupt('fog', severity=3, seed=0)
        >>> transform(np.zeros((32, 40, 3), dtype=np.uint8), id=7).shape
        (32, 40, 3)
    """

    def __init__(
        self,
        name: str,
        severity: int,
        seed: int = 0,
        *,
        parameters: str | None = None,
        frost_images: FrostImages | None = None,
    ):
        super().__init__()
        registry.load("corruptions", name)
        check_severity(severity)
        check_parameters(parameters)
        check_frost_images(frost_images)
        self.name, self.severity, self.seed = name, int(severity), whole("seed", seed)
        self.parameter_set, self.frost_images = parameters, frost_images  # a Module has a method `parameters`

    def forward(self, *inputs: Any, id: int | Iterable[int] | None = None) -> Any:
        """Corrupt the images of a sample.

        Args:
            inputs: an image, or a sample with images: several arguments, or nested tuples, lists and dictionaries.
            id: of the image, from 0 on; for a batch one per image.  All images of a sample share it.

        Returns:
            The same, with its images corrupted.

        Raises:
            UsageError: without an image, for images of other kinds, and for ids that do not fit.
        """
        if isinstance(id, Iterator):  # several images share it
            id = tuple(id)
        values, structure = tree_flatten(inputs if len(inputs) != 1 else inputs[0])
        chosen = _images(values)
        if not chosen:
            given = ", ".join(type(value).__name__ for value in values) or "nothing"
            raise UsageError(f"no image to corrupt, got {given}", hint="give an image of PIL, an array or a tensor")
        return tree_unflatten([self._corrupted(v, id) if i in chosen else v for i, v in enumerate(values)], structure)

    def extra_repr(self) -> str:
        """The arguments, as in a call."""
        parameters = "" if self.parameter_set is None else f", parameters={self.parameter_set!r}"
        frost_images = "" if self.frost_images is None else f", frost_images=<{self.frost_images.name}>"
        return f"{self.name!r}, severity={self.severity}, seed={self.seed}{parameters}{frost_images}"

    def _corrupted(self, image: Any, id: int | Iterable[int] | None) -> Any:
        channels_first, back = _opened(image)
        batch = channels_first.reshape(-1, *channels_first.shape[-3:])
        ids: Any = [whole("id", id)] if id is not None and channels_first.ndim == 3 else id
        if ids is None and batch.is_meta:  # only shapes are asked for
            return back(channels_first.clone())
        if ids is None:
            ids = [rng.bytes_id(one.cpu().numpy().tobytes()) for one in batch]
        how: dict[str, Any] = {"parameters": self.parameter_set, "frost_images": self.frost_images}
        return back(corrupt(batch, self.name, self.severity, self.seed, ids, **how).view(channels_first.shape))


def _images(values: list[Any]) -> set[int]:
    """Positions of the images among the values of a sample."""
    explicit = {i for i, v in enumerate(values) if isinstance(v, tv_tensors.Image | tv_tensors.Video | Image.Image)}
    arrays = [i for i, value in enumerate(values) if _is_array(value)]
    return explicit or set(arrays[:1])


def _is_array(value: object) -> bool:
    """Whether a value may be an image: labels have fewer dimensions, and tv_tensors that are no images say so."""
    if not isinstance(value, Tensor | np.ndarray) or isinstance(value, tv_tensors.TVTensor):
        return False
    return value.ndim >= 2


def _opened(image: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """An image as uint8 (..., C, H, W), and the function that gives a result of this shape its type and layout."""
    if is_array(image):
        return opened(image)
    check_bytes("image", image.dtype, "(image * 255).round().to(torch.uint8)")
    if image.ndim < 3 or image.shape[-3] not in (1, 3):
        raise UsageError(f"image must be (3, H, W), got {tuple(image.shape)}", hint=_hint_for_tensor(image))
    if isinstance(image, tv_tensors.TVTensor):
        return image.as_subclass(Tensor), lambda out: tv_tensors.wrap(out, like=image)
    return image, lambda out: out


def _hint_for_tensor(image: Tensor) -> str:
    if image.ndim == 2:
        return "`image[None]` adds the channel"
    if image.shape[-1] in (1, 3):
        return "`image.permute(2, 0, 1)` puts channels first"
    return "`image[:3]` leaves out the alpha channel" if image.shape[-3] == 4 else "channels come first: RGB or grey"
