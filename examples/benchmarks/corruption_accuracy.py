"""Error rates of one small classifier under every corruption: ours, the reference's, and with parameters of 224 px.

    python corruption_accuracy.py DATA --weights FILE [--reference FOLDER] [--corruptions snow,fog] [--step 2]

DATA is a folder of 32-pixel images, train/CLASS and test/CLASS, such as CIFAR-10.  The classifier, four layers of
convolutions and a linear one, is trained on it once and kept in FILE.  FOLDER is ImageNet-C/create_c of
hendrycks/robustness, see corruption_peers.py; frost takes the pictures in it where they are the originals, on both
sides, else our procedural ones.  --step 2 gives the reference every second test image only; its differences are over
these.  Numbers are errors in percent; they go to results/corruption_accuracy.json, those of a corruption as soon as
it is done, so that several calls can share the work.
"""

import argparse
import datetime
import functools
import hashlib
import json
import math
import platform
import statistics
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import corruption_peers as peers
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from randhead import datasets, registry, rng
from randhead.augment import crop
from randhead.corruptions import SEVERITIES, corrupt_each, frost, names
from randhead.preprocess import normalise
from randhead.train import optim

SIZE = 32
SEED = 0
EPOCHS, BATCH, RATE = 8, 128, 0.1
PADDING = 4  # pixels, of the random crops
CENTRE, SPREAD = torch.full((3,), 0.5), torch.full((3,), 0.25)
EXACT = 5  # images that may be wrong on one side only, in a cell without random numbers
CELL, MEAN = 1.1, 0.1  # points of percent: a cell with random numbers and one seed; the mean of 15 corruptions x 5
RESULTS = Path(__file__).parent / "results" / "corruption_accuracy.json"
PACKAGES = ("randhead", "torch", "numpy", "pillow", "scipy", "scikit-image", "opencv-python-headless", "Wand")
ARMS = {"ours": None, "ours, 224 px parameters": "224"}


def network(classes: int) -> nn.Sequential:
    """Images (B, 3, 32, 32) -> logits (B, classes); 3 million multiplications per image."""
    layers: list[nn.Module] = []
    for before, width, kernel in ((3, 32, 5), (32, 64, 3), (64, 128, 3)):
        convolution = nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                drawn = rng.normals(SEED, f"accuracy/{name}", torch.arange(len(weight)), weight[0].numel())
                weight.copy_(drawn.view_as(weight) * math.sqrt(2 / weight[0].numel()))
            elif name.endswith("bias"):
                weight.zero_()
    return model


def fit(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Train with random crops and mirroring; every random number is a function of SEED."""
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = math.ceil(len(images) / BATCH)
    for epoch in range(EPOCHS):
        order = rng.permutation(SEED, "accuracy/order", len(images), stream=epoch)
        crops = crop.draw(order, seed=SEED, epoch=epoch, padding=PADDING)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = RATE * optim.factor("onecycle", (epoch * steps + step) / (EPOCHS * steps))
            part = slice(step * BATCH, (step + 1) * BATCH)
            batch = crop.crop_flip(images[order[part]], crops[part], PADDING)
            loss = cross_entropy(model(normalise(batch, CENTRE, SPREAD)), labels[order[part]])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1} of {EPOCHS}, loss of the last batch {loss.item():.3f}", flush=True)


def classifier(data: datasets.Dataset, weights: Path) -> nn.Module:
    """The network with the weights of the file, which is made if it is not there."""
    model = network(len(data.class_names))
    if weights.exists():
        model.load_state_dict(load_file(weights))
    else:
        images, labels = pixels(data.splits["train"])
        fit(model.train(), images, labels)
        save_file(model.state_dict(), weights)
    return model.eval()


def pixels(split: datasets.Split) -> tuple[Tensor, Tensor]:
    """All images (N, 3, 32, 32) uint8 and labels (N,) of a split."""
    return next(split.images.batches(torch.arange(len(split)), len(split))), split.labels


@torch.inference_mode()
def wrong(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Which images get another class than their label, (N,) bool."""
    guesses = [model(normalise(part, CENTRE, SPREAD)).argmax(dim=1) for part in images.split(500)]
    return torch.cat(guesses) != labels


def percent(errors: Tensor) -> float:
    return 100 * errors.double().mean().item()


def random(name: str) -> bool:
    """Whether a corruption has random numbers."""
    return bool(registry.load("corruptions", name).sample(torch.arange(1), (SIZE, SIZE), seed=SEED, parameter_set="32"))


def prepared(folder: Path, frost_images: frost.FrostImages) -> ModuleType:
    """The reference, drawing from a generator that is seeded, with pictures of frost that stay decoded."""
    script = peers.reference(folder, SIZE)
    if frost_images.name == "procedural":
        pictures = [t.permute(1, 2, 0).flip(2).contiguous().numpy() for t in frost_images.images]
        script.cv2.imread = lambda path: pictures[int(Path(path).stem.removeprefix("frost")) - 1]
    else:
        script.cv2.imread = functools.cache(script.cv2.imread)
    salt = script.sk.util.random_noise
    # scikit-image has a generator of its own: without this, impulse noise would differ from run to run.
    script.sk.util.random_noise = lambda image, **how: salt(image, rng=np.random.randint(1 << 31), **how)
    return script


def theirs(script: ModuleType, images: Tensor, name: str) -> Iterator[Tensor]:
    """The reference's results at severities 1 to 5."""
    run = peers.one_by_one(script)
    for severity in SEVERITIES:
        np.random.seed(10 * registry.load("corruptions", name).ORDER + severity)
        yield run(images, name, severity)


def row(
    name: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    frost_images: frost.FrostImages,
    script: ModuleType | None,
    step: int,
) -> dict:
    """Errors of a corruption at severities 1 to 5 by arm, and how far ours are from the reference's."""
    found, errors = {}, {}
    for arm, parameters in ARMS.items():
        cells = corrupt_each(images, name, seed=SEED, parameters=parameters, frost_images=frost_images)
        found[arm] = [wrong(model, cell, labels) for _, cell in cells]
        errors[arm] = [percent(cell) for cell in found[arm]]
    result = {"random": random(name), "errors": errors}
    if script:
        chosen = slice(None, None, step)  # images are in the order of their classes: stratified
        cells = [wrong(model, cell, labels[chosen]) for cell in theirs(script, images[chosen], name)]
        pairs = list(zip(found["ours"], cells, strict=True))
        errors["reference"] = [percent(cell) for cell in cells]
        result["reference_images"] = len(cells[0])
        result["differences"] = [percent(our[chosen]) - percent(cell) for our, cell in pairs]
        result["one_side_only"] = [int((our[chosen] != cell).sum()) for our, cell in pairs]
        result["tolerance"] = CELL if result["random"] else 100 * EXACT / len(cells[0])
        result["holds"] = max(map(abs, result["differences"])) <= result["tolerance"] + 1e-9
    return result


def save(header: dict, name: str, result: dict) -> dict:
    """Put the row of a corruption into the file; rows there of another classifier or other versions are dropped."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    same = all(kept.get(key) == header[key] for key in ("versions", "classifier", "images", "frost"))
    rows = kept["corruptions"] if same else {}
    rows[name] = result
    ordered = {key: rows[key] for key in names() if key in rows}
    whole = header | {"mean": mean(ordered), "corruptions": ordered}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(whole, indent=1) + "\n")
    return whole


def mean(rows: dict[str, dict]) -> dict | None:
    """Means over the benchmark's 15 corruptions at 5 severities, or None before all are there."""
    if not set(names("benchmark")) <= set(rows):
        return None
    cells = [rows[name] for name in names("benchmark")]
    means = {arm: statistics.fmean(v for c in cells for v in c["errors"][arm]) for arm in ARMS}
    if not all("differences" in cell for cell in cells):
        return {"errors": means}
    means["reference"] = statistics.fmean(v for c in cells for v in c["errors"]["reference"])
    difference = statistics.fmean(v for c in cells for v in c["differences"])
    return {"errors": means, "difference": difference, "tolerance": MEAN, "holds": abs(difference) <= MEAN}


def table(whole: dict) -> str:
    """The file as a Markdown table: means over severities, and the difference at each."""
    columns = [*ARMS, "reference", "ours, same images", "differences at severities 1 to 5", "tolerance", "holds"]
    lines = ["| corruption | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, r in whole["corruptions"].items():
        errors = {arm: statistics.fmean(values) for arm, values in r["errors"].items()}
        count = r.get("reference_images", whole["images"])
        few = f" ({count:,} images)" if count < whole["images"] else ""
        gaps = r.get("differences", [])
        lines.append(line(name, errors, gaps, " ".join(f"{d:+.2f}" for d in gaps) + few, r))
    if whole["mean"]:
        m = whole["mean"]
        gaps = [m["difference"]] if "difference" in m else []
        lines.append(line("mean of 15", m["errors"], gaps, "".join(f"{d:+.3f}" for d in gaps), m))
    return "\n".join(lines)


def line(name: str, errors: dict[str, float], gaps: list[float], text: str, verdict: dict) -> str:
    """A row of the table, with dashes where there is no reference."""
    cells = [name, *(f"{errors[arm]:.2f}" for arm in ARMS)]
    if gaps:
        same = errors["reference"] + statistics.fmean(gaps)
        cells += [f"{errors['reference']:.2f}", f"{same:.2f}", text, f"{verdict['tolerance']:g}"]
        cells.append("yes" if verdict["holds"] else "NO")
    else:
        cells += ["–"] * 5
    return "| " + " | ".join(cells) + " |"


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="kept here; made where the file is not there")
    parser.add_argument("--reference", type=Path, default=None)
    parser.add_argument("--corruptions", default=None, help="some names, with commas")
    parser.add_argument("--step", type=int, default=1, help="the reference takes every STEP-th test image")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    data = datasets.load(options.data, validation=0.01)
    images, labels = pixels(data.splits["test"])
    model = classifier(data, options.weights)
    frost_images = frost.load_frost_images(options.reference)
    frost_images = frost_images if frost_images.name == "originals" else frost.procedural_frost_images()
    header = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version()} | {name: installed(name) for name in PACKAGES},
        "device": f"cpu, {platform.machine()}, 1 thread",
        "classifier": {
            "parameters": sum(p.numel() for p in model.parameters()),
            "epochs": EPOCHS,
            "sha256": hashlib.sha256(options.weights.read_bytes()).hexdigest(),
            "clean_error": percent(wrong(model, images, labels)),
        },
        "images": len(images),
        "frost": frost_images.name,
    }
    script = prepared(options.reference, frost_images) if options.reference else None
    print(f"clean error {header['classifier']['clean_error']:.2f} %, frost: {frost_images.name}", flush=True)
    for name in options.corruptions.split(",") if options.corruptions else names():
        result = row(name, model, images, labels, frost_images, script, options.step)
        whole = save(header, name, result)
        print(name, {arm: [round(e, 2) for e in errors] for arm, errors in result["errors"].items()}, flush=True)
    print(table(whole))


if __name__ == "__main__":
    main()
