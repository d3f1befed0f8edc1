"""All 19 corruptions of one photograph at 5 severities, as the picture in the README.

    python examples/contact_sheet.py [PICTURE.jpg]

The photograph is scikit-learn's flower.jpg by vultilion (CC BY 2.0), its centre scaled to 224 pixels.
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms.functional import center_crop, resize

from randhead import robustness
from randhead.report.robustness import contact_sheet


def main(target: Path) -> None:
    """Draw the sheet and write it as a JPEG file 700 pixels wide."""
    photograph = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)
    image = resize(center_crop(photograph, [400, 400]), [224, 224], antialias=True)
    drawn = contact_sheet(target.with_suffix(".png"), robustness.contact_sheet(image))
    picture = Image.open(drawn).convert("RGB")
    picture.thumbnail((700, 4000))
    picture.save(target, quality=80)
    drawn.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "corruptions.jpg"))
