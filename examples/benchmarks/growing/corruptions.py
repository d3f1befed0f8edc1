"""Corruptions of images over their pixels."""

from pathlib import Path

from growth import Case

CORRUPTIONS = ("pixelate", "jpeg_compression", "gaussian_blur", "glass_blur", "spatter", "saturate")


def corrupted(name: str):
    """Eight images of `size` pixels a side, at severity 3 of the parameters for 224 px."""

    def prepare(size: int, folder: Path):
        import torch

        from randhead import rng
        from randhead.corruptions import corrupt

        coarse = rng.octets(0, "growth/images", torch.arange(8), 3 * (size // 8) ** 2).view(8, 3, size // 8, size // 8)
        images = torch.nn.functional.interpolate(coarse.to(torch.float32), size=size, mode="bilinear").to(torch.uint8)
        corrupt(images[:1], name, 3, parameters="224")  # makes tables
        return lambda: corrupt(images, name, 3, parameters="224")

    return prepare


CASES = {f"corrupt {name}": Case((224, 448, 896), "pixels a side", corrupted(name)) for name in CORRUPTIONS}
