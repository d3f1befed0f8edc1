"""Every image its own class: as many classes as images, learned with fixed class vectors, judged by the real labels.

    python examples/instance_discrimination.py FOLDER [--images 5000] [--epochs 20] [--seeds 0 1 2]
                                               [--arms untrained dense expected] [--json FILE]

FOLDER is an image folder (train/CLASS/..., test/CLASS/...).  Instance discrimination (Dosovitskiy et al. 2014; Wu et
al. 2018) gives every training image a class of its own; crops and mirrored copies are its samples.  The real labels are
used only to judge: the share of test images whose nearest training images have the same label (cosine of pooled
features, 1 and 20 neighbours).

Arms are normalisers of `ClassVectorHead`: "dense" is exact, "expected" does no work that grows with the number of
images, "hard" is expected with the classes of the batch summed one by one, "learned" learns the class vectors (exact),
"hadamard" takes Hadamard vectors for random signs (exact), and "untrained" is the network as it was drawn.  All arms of
a seed start from the same weights and see the same crops.
"""

import argparse
import itertools
import json
import math
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from randhead import ClassVectorHead, augment, datasets, seeds
from randhead.analyses import transfer

WIDTHS = (3, 48, 96, 192)
DIM, SCALE, BATCH = 512, 14.0, 128  # 1/14 is the temperature of Wu et al.
LR, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
ARMS = ("dense", "streaming", "expected", "hard", "learned", "hadamard", "untrained")


def network(seed: int) -> nn.Sequential:
    """Three strided convolutions and a linear layer: 1,500 images a second on one CPU core."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layers = []
        for before, after in itertools.pairwise(WIDTHS):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], DIM))


def new_head(arm: str, images: int, seed: int) -> ClassVectorHead:
    normaliser = {"hard": "expected", "learned": "dense", "hadamard": "streaming", "untrained": "dense"}.get(arm, arm)
    geometry = "hadamard" if arm == "hadamard" else "rademacher"
    return ClassVectorHead(
        images, DIM, geometry, "cosine", trainable=arm == "learned", scale=SCALE, seed=seed, normaliser=normaliser
    )


def train(net, head, images, statistics_of, *, arm, epochs, seed):
    """Returns the last epoch's mean loss and mean error bound."""
    optimiser = torch.optim.SGD(
        [*net.parameters(), *head.parameters()], LR, MOMENTUM, weight_decay=DECAY, nesterov=True
    )
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=steps + 1, pct_start=0.1)
    for epoch in range(epochs):
        order, losses, bounds = seeds.permutation(seed, "order", len(images), stream=epoch), [], []
        crops = augment.draw(order, seed=seed, epoch=epoch, padding=4)
        for first in range(0, len(images) - BATCH + 1, BATCH):
            chosen = slice(first, first + BATCH)
            batch = augment.crop_flip(images[order[chosen]], crops[chosen], 4)
            features = net(augment.normalise(batch, *statistics_of))
            labels = order[chosen]
            loss = head.loss(features, labels, exact_classes=labels if arm == "hard" else None)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            bounds.append(head.last_error_bound)
    return statistics.mean(losses), statistics.mean(bounds)


@torch.no_grad()
def embed(net, images, statistics_of):
    pooled = net.eval()[:-1]
    return torch.cat([pooled(augment.normalise(part, *statistics_of)) for part in images.split(500)])


def run(arm, seed, train_split, test_split, statistics_of, epochs):
    (images, labels), (test_images, test_labels) = train_split, test_split
    net, head, begun = network(seed), new_head(arm, len(images), seed), time.process_time()
    loss = bound = None
    if arm != "untrained":
        loss, bound = train(net, head, images, statistics_of, arm=arm, epochs=epochs, seed=seed)
    seconds = time.process_time() - begun
    features, test_features = (embed(net, part, statistics_of) for part in (images, test_images))
    count = int(labels.max()) + 1
    found = transfer.neighbours(test_features, test_labels, features, labels, num_classes=count)
    return {"arm": arm, "seed": seed, **found, "loss": loss, "error bound": bound, "seconds": seconds}


def take(split, count, seed):
    """Some images of a split (N, 3, H, W) and their labels, drawn at random."""
    chosen = seeds.permutation(seed, "instances", len(split))[:count].sort().values
    images = torch.cat(list(split.images.batches(chosen, 1000))).cpu()
    return images, split.labels.cpu()[chosen]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["untrained", "dense", "expected"])
    parser.add_argument("--json")
    arguments = parser.parse_args()
    dataset = datasets.load(arguments.folder)
    train_split = take(dataset.splits["train"], arguments.images, 0)
    test_split = take(dataset.splits["test"], 2000, 0)
    statistics_of = datasets.channel_statistics(dataset.splits["train"].images)
    rows = []
    for seed in arguments.seeds:
        for arm in arguments.arms:
            rows.append(run(arm, seed, train_split, test_split, statistics_of, arguments.epochs))
            print(
                ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()),
                flush=True,
            )
    print(f"\n{len(train_split[0])} images, {arguments.epochs} epochs, {len(arguments.seeds)} seeds, "
          f"{len(test_split[0])} test images\n| arm | 1 neighbour | 20 neighbours |\n|---|---|---|")  # fmt: skip
    for arm in arguments.arms:
        cells = []
        for figure in ("knn_1", "knn_20"):
            found = [100 * row[figure] for row in rows if row["arm"] == arm]
            spread = statistics.stdev(found) if len(found) > 1 else math.nan
            cells.append(f"{statistics.mean(found):.1f} +- {spread:.1f} %")
        print(f"| {arm} | {' | '.join(cells)} |")
    if arguments.json:
        options = {key: value for key, value in vars(arguments).items() if key not in ("folder", "json")}
        document = {"options": options, "torch": torch.__version__, "runs": rows}
        Path(arguments.json).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
