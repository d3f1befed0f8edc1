"""Contact sheets: one image under all corruptions at all severities."""

import torch
from torch import Tensor

from randhead import corruptions
from randhead.ambient import as_tensor
from randhead.arguments import check_type, whole
from randhead.robustness.results import ContactSheet
from randhead.robustness.settings import CorruptionSettings


def contact_sheet(
    image: Tensor, settings: CorruptionSettings | None = None, *, image_id: int = 0, name: str = ""
) -> ContactSheet:
    """Make a contact sheet: one image under all corruptions, custom ones last, at severities 1 to 5.

    Args:
        image: uint8 (3, H, W).
        settings: settings of the corruptions.
        image_id: id of the image, which determines the noise.
        name: name of the image, for the title.

    Returns:
        The contact sheet.

    Example:
        >>> sheet = contact_sheet(torch.full((3, 32, 32), 128, dtype=torch.uint8))
        >>> sheet.tiles.shape
        torch.Size([19, 5, 3, 32, 32])
    """
    settings = settings or CorruptionSettings()
    check_type("settings", settings, CorruptionSettings, "`CorruptionSettings`")
    check_type("image", image, Tensor, "a tensor (3, H, W)")
    corruptions.check_images(batch := image[None])
    ids = as_tensor([whole("image_id", image_id)])
    names = (*corruptions.names(), *settings.custom)
    rows = [settings.apply(batch, each, corruptions.SEVERITIES, ids) for each in names]
    tiles = torch.stack([torch.cat([out for _, out in row]) for row in rows]).cpu()
    parameters = settings.parameter_set((image.shape[1], image.shape[2]))
    described = f"severity parameters for {parameters} px; frost: {settings.frost} pictures"
    return ContactSheet(tiles, names, f"{name}; {described}" if name else described, image.cpu())
