"""Speed of the corruptions beside their peers: one thread, process time, arms taking turns within one run.

    python corruptions.py [--sizes 32,64,224] [--severity 3] [--reference FOLDER] [--head FOLDER] [--out results]

Every arm takes uint8 images and gives uint8 images back, its random numbers included.  A figure is the median over
rounds of microseconds per image; in each round every arm runs once, so that a busy machine slows all of them.  FOLDER
of --reference is ImageNet-C/create_c of hendrycks/robustness, that of --head a copy of bethgelab/imagecorruptions.
Those on a GPU are measured by `corruptions_cuda.py`.
"""

import argparse
import json
import platform
import statistics
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import corruption_peers as peers
import torch
from sklearn.datasets import load_sample_image
from torch.nn.functional import interpolate

from randhead.corruptions import corrupt, corrupt_each, names

COUNTS = {32: 256, 64: 64, 224: 8}  # images per block of ours and of batched peers
ONE_BY_ONE = {32: 16, 64: 8, 224: 2}  # images per block of a peer that takes one at a time


OTHERS = """Not all columns do the same work.  In torch-uncertainty, brightness, contrast, saturate, glass blur, motion
blur and frost differ from the reference in operator or parameters; in imagecorruptions, elastic_transform, fog below
224 px, and the parameters of every size but 224 px.  Saturate of torch-uncertainty is a mean of each pixel with its
grey value in float32; ours has the bytes of the reference, which depend on the rounding of its formulas in float64.
Without the library of ImageMagick, the reference has no motion_blur and snow.
"""


def pictures(size: int, count: int) -> torch.Tensor:
    """Crops of two photographs, (count, 3, size, size) uint8."""
    photos = [torch.from_numpy(load_sample_image(n).copy()).permute(2, 0, 1) for n in ("china.jpg", "flower.jpg")]
    crops = []
    for i in range(count):
        side, photo = min(2 * size, 420), photos[i % 2]
        top, left = 37 * i % (photo.shape[1] - side + 1), 61 * i % (photo.shape[2] - side + 1)
        crops.append(photo[:, top : top + side, left : left + side])
    small = interpolate(torch.stack(crops).float(), size=(size, size), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8)


def arms(size: int, options: argparse.Namespace) -> dict[str, tuple[peers.Peer, int]]:
    """Name -> (function, images per block)."""
    found = {"randhead": (corrupt, COUNTS[size])}
    modules = {"imagecorruptions": peers.imagecorruptions_release()}
    if options.head:
        modules["imagecorruptions head"] = peers.imagecorruptions_head(options.head)
    if options.reference:
        modules["reference"] = peers.reference(options.reference, size)
    found |= {name: (peers.one_by_one(m), ONE_BY_ONE[size]) for name, m in modules.items() if m is not None}
    uncertainty = peers.torch_uncertainty()
    if uncertainty is not None:
        found["torch-uncertainty"] = (peers.by_batch(uncertainty), 64 if size < 224 else 1)
    return found


def seconds(function: peers.Peer, images: torch.Tensor, name: str, severity: int) -> float:
    """Process seconds per image of one call."""
    start = time.process_time()
    function(images, name, severity)
    return (time.process_time() - start) / len(images)


def row(
    name: str, size: int, found: dict[str, tuple[peers.Peer, int]], options: argparse.Namespace
) -> dict[str, float]:
    """Microseconds per image by arm: the median over rounds in which every arm runs once."""
    images = pictures(size, COUNTS[size])
    taken: dict[str, list[float]] = {}
    for round_number in range(options.rounds + 1):
        for arm, (function, count) in found.items():
            if arm != "randhead" and round_number and not taken.get(arm):
                continue
            block = images[:count] if count <= len(images) else images
            if name == "glass_blur" and arm in ("reference", "imagecorruptions"):
                block = block[:1]
            try:
                spent = seconds(function, block, name, options.severity)
            except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
                if round_number == 0:
                    print(f"  {arm} cannot run {name} at {size} px: {type(error).__name__}: {error}")
                continue
            taken.setdefault(arm, []).append(spent)
    return {arm: 1e6 * statistics.median(spent[1:] or spent) for arm, spent in taken.items()}


def shared_noise(size: int) -> float:
    """Milliseconds per image of all 15 benchmark corruptions at all 5 severities, with noise drawn once."""
    images, start = pictures(size, COUNTS[size]), time.process_time()
    for name in names("benchmark"):
        for _ in corrupt_each(images, name):
            pass
    return 1e3 * (time.process_time() - start) / len(images)


def table(rows: dict[str, dict[str, float]], columns: list[str]) -> str:
    """Images per second as a Markdown table; the last column compares us with the fastest peer."""
    lines = ["| corruption | " + " | ".join(columns) + " | ours / fastest |", "|---" * (len(columns) + 2) + "|"]
    for name, row_ in rows.items():
        cells = [f"{1e6 / row_[c]:,.0f}" if c in row_ else "–" for c in columns]
        fastest = min((v for c, v in row_.items() if c != "randhead"), default=float("nan"))
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {fastest / row_['randhead']:.2f} |")
    return "\n".join(lines)


def conditions(rounds: int) -> str:
    """How the figures were taken."""
    return (
        f"Process time of one thread, medians of {rounds} rounds in which all take turns, torch {torch.__version__}, "
        f"{datetime.now(UTC):%Y-%m-%d}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="32,64,224")
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--corruptions", default=None, help="some names, with commas")
    parser.add_argument("--reference", type=Path, default=None)
    parser.add_argument("--head", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = options.corruptions.split(",") if options.corruptions else names()
    result = {"torch": torch.__version__, "machine": platform.machine(), "severity": options.severity, "sizes": {}}
    report = []
    for size in map(int, options.sizes.split(",")):
        found = arms(size, options)
        rows = {name: row(name, size, found, options) for name in chosen}
        grid = shared_noise(size)
        result["sizes"][size] = {"microseconds": rows, "grid of 75, ms per image": grid}
        total = sum(rows[name]["randhead"] for name in rows if name in names("benchmark")) / 1e3
        text = (
            f"### {size} px, images per second, severity {options.severity}\n\n{table(rows, list(found))}\n\n"
            f"Sum of the benchmark's corruptions: {total:.2f} ms per image.  "
            f"All 75 cells, with noise drawn once: {grid:.1f} ms per image.\n"
        )
        print(text)
        report.append(text)
    (options.out / "corruptions_speed_cpu.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.out / "corruptions_speed_cpu.md").write_text("\n".join([OTHERS, conditions(options.rounds), *report]))


if __name__ == "__main__":
    main()
