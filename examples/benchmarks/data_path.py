"""Images per second of the training data path: one batched gather on a resident tensor, beside one PIL image at a time.

Both arms shuffle, pad by 4 pixels, crop, mirror and normalise the same 10,000 images of 32 x 32 pixels into float32
batches of 256, on one thread.  Ours includes drawing the epoch's order and crops.  The arms take turns; the figure is
the median of their processor times.

    python examples/benchmarks/data_path.py [--images FOLDER] [--epochs 7]

Writes examples/benchmarks/results/data_path.json.
"""

import argparse
import datetime
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from randhead import datasets, rng
from randhead.augment import crop
from randhead.files import write_json
from randhead.preprocess import normalise

COUNT, SIZE, PADDING, BATCH = 10_000, 32, 4, 256
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
RESULT = Path(__file__).parent / "results" / "data_path.json"


class PilImages(Dataset):
    """The usual torchvision pipeline, over images that are already decoded."""

    def __init__(self, pixels: Tensor):
        self.images = [to_pil_image(image) for image in pixels]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(SIZE, padding=PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.images[index])


def load_pixels(folder: Path | None) -> Tensor:
    """COUNT images (COUNT, 3, SIZE, SIZE): the first of a folder's training split, or random ones."""
    if folder is None:
        flat = rng.integers(0, "benchmark", torch.arange(COUNT), 3 * SIZE * SIZE, high=256)
        return flat.to(torch.uint8).view(COUNT, 3, SIZE, SIZE)
    images = datasets.load(folder, image_size=SIZE).splits["train"].images
    return next(images.batches(torch.arange(len(images))[:COUNT], COUNT))


def pil_epoch(loader: DataLoader, epoch: int) -> int:
    """Run one epoch; the number of images seen."""
    return sum(len(batch) for batch in loader)


def randhead_epoch(images: datasets.TensorImages, epoch: int) -> int:
    """Run one epoch; the number of images seen."""
    order = rng.permutation(0, "order", len(images), stream=epoch)
    crops = crop.draw(order, seed=0, epoch=epoch, padding=PADDING)
    mean, std, seen = torch.tensor(MEAN), torch.tensor(STD), 0
    for start, batch in zip(range(0, len(order), BATCH), images.batches(order, BATCH), strict=True):
        cropped = crop.crop_flip(batch, crops[start : start + BATCH], PADDING)
        seen += len(normalise(cropped, mean, std))
    return seen


def measure(arms: dict, epochs: int) -> dict[str, list[float]]:
    """Processor seconds of each epoch of each arm, the arms taking turns, after one epoch each to warm up."""
    seconds = {name: [] for name in arms}
    for epoch in range(epochs + 1):
        for name, run in arms.items():
            begun = time.process_time()
            seen = run(epoch)
            seconds[name].append(time.process_time() - begun)
            if seen != COUNT:
                raise SystemExit(f"{name} gave {seen} images, not {COUNT}")
    return {name: values[1:] for name, values in seconds.items()}


def report(seconds: dict[str, list[float]], images: str) -> dict:
    """The result as JSON."""
    median = {name: statistics.median(values) for name, values in seconds.items()}
    pairs = [pil / ours for pil, ours in zip(seconds["PIL DataLoader"], seconds["randhead"], strict=True)]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("randhead", "torch", "torchvision", "pillow")},
        "machine": {"system": platform.system(), "processor": platform.machine(), "threads": torch.get_num_threads()},
        "images": images,
        "epochs": len(pairs),
        "images_per_second": {name: round(COUNT / value) for name, value in median.items()},
        "microseconds_per_image": {name: round(value / COUNT * 1e6, 2) for name, value in median.items()},
        "speedup": round(median["PIL DataLoader"] / median["randhead"], 1),
        "speedup_range": [round(min(pairs), 1), round(max(pairs), 1)],
        "seconds": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
    }


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder of images; without it, random ones")
    parser.add_argument("--epochs", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pixels = load_pixels(options.images)
    resident = datasets.TensorImages(pixels, torch.arange(COUNT))
    loader = DataLoader(PilImages(pixels), batch_size=BATCH, shuffle=True, num_workers=0)
    arms = {
        "PIL DataLoader": lambda epoch: pil_epoch(loader, epoch),
        "randhead": lambda epoch: randhead_epoch(resident, epoch),
    }
    result = report(measure(arms, options.epochs), "an image folder" if options.images else "random")
    print(f"{COUNT:,} images of {SIZE} x {SIZE} ({result['images']}), one thread, {result['date']}")
    print(" ".join(f"{name} {number}" for name, number in result["versions"].items()))
    for name, rate in result["images_per_second"].items():
        print(f"{name:<16}{rate:>10,} images/s{result['microseconds_per_image'][name]:>10.2f} us an image")
    low, high = result["speedup_range"]
    print(f"speedup {result['speedup']} (per epoch {low} to {high})")
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
