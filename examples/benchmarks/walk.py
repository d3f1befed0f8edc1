"""Wall time of whole commands, as a user types them, on an image folder: training, corruptions, analyses.

    python examples/benchmarks/walk.py DATA [--device cuda] [--seconds 120] [--out walk.jsonl] [--tiny]

The first training finds its images not decoded yet, the second finds them decoded; "steps s" is what the steps of the
training took by its own account, and "of steps" how many times as long the command took.  Rows are printed, and
appended to the file, as they come; a command that fails or takes too long does not keep the others from being run.
Caches and runs are in a folder that is removed at the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TRAIN = ("train", "--backbone", "resnet18", "--epochs", "10", "--batch-size", "512")
TINY = ("train", "--epochs", "1", "--batch-size", "32", "--set", "data.validation=0.2")


def walk(data: Path, device: str, tiny: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is measured, and the command."""
    train = (*(TINY if tiny else TRAIN), "--data", str(data), "--device", device)
    yield "train, images not decoded", (*train, "--name", "first", "--seed", "0")
    yield "train, images decoded before", (*train, "--name", "second", "--seed", "1")
    on, few = ("--device", device), ("--limit", "14") if tiny else ()
    yield "evaluate", ("evaluate", "first", *on)
    if not tiny:
        yield "evaluate --corruptions", ("evaluate", "first", "--corruptions", *on)
    yield "corrupt-test --save", ("corrupt-test", "second", "--save", "corrupted", *few, *on)
    yield "analyze all", ("analyze", "all", "first", "second", *on)


def measured(words: tuple[str, ...], folder: str, limit: float) -> dict:
    """Wall seconds of a command, and those of the steps if it trains; the exit code if it fails."""
    environment = os.environ | {"RANDHEAD_CACHE": f"{folder}/cache"}
    command = [sys.executable, "-m", "randhead", *words, "--json"]
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {limit:.0f} s"}
    row: dict = {"wall s": round(time.perf_counter() - begun, 2)}
    if done.returncode:
        return row | {"failed": f"exit code {done.returncode}: {done.stderr.strip()[-400:]}"}
    found = json.loads(done.stdout)
    if words[0] == "train":
        row |= {"steps s": found["seconds"], "of steps": round(row["wall s"] / max(found["seconds"], 1e-9), 2)}
        row |= {"images/s": found["images_per_second"], "test accuracy": found["test"]["accuracy"]}
    return row


def main() -> None:
    """Run every command, as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="a folder of images")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=120.0, help="of all commands together")
    parser.add_argument("--out", type=Path, help="file for the rows, one JSON object per line")
    parser.add_argument("--tiny", action="store_true", help="few images and one epoch, to try the script")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        for name, words in walk(options.data.resolve(), options.device, options.tiny):
            left = until - time.monotonic()
            row = {"command": name} | (measured(words, folder, left) if left > 1 else {"failed": "no time was left"})
            line = json.dumps(row)
            print(line, flush=True)
            if options.out:
                with options.out.open("a") as file:
                    print(line, file=file)


if __name__ == "__main__":
    main()
