"""The fingerprint of images, which shows whether earlier results on them are still valid."""

import hashlib

from torch import Tensor

from randhead.ambient import indices
from randhead.datasets._hold_out import Subset
from randhead.datasets._images import FileImages, Images

BATCH = 1024


def fingerprint(images: Images, ids: Tensor | None = None) -> str:
    """A hash of images: of their pixels, or of the paths, sizes and times of the files that they are decoded from.

    Args:
        images: the images of a split.
        ids: (M,) int64, the images to include, in order; by default all.

    Returns:
        64 hexadecimal digits; the same without `ids` as with `ids` that name all images in order.
    """
    order = indices(len(images)) if ids is None else ids.cpu()
    digest = hashlib.sha256(repr(tuple(images.shape)).encode())
    if isinstance(images, Subset):
        digest.update(fingerprint(images.images).encode() + images.rows[order].numpy().tobytes())
    elif isinstance(images, FileImages):
        for path in (images.paths[i] for i in order.tolist()):
            state = path.stat()
            digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    else:
        for batch in images.batches(order, BATCH):
            digest.update(batch.cpu().contiguous().numpy().data)
    return digest.hexdigest()
