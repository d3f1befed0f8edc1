"""What a checkpoint costs: how long the next step waits for it, and what writing it takes beside the training.

On a CPU the clocks are those of the thread that trains and of the whole process, so that other programs matter less; on
a GPU it is wall time.  The package that is imported is measured, so that another version's checkout can be too:

    python examples/benchmarks/checkpoint.py --out examples/benchmarks/results/checkpoint.json
    PYTHONPATH=OTHER python examples/benchmarks/checkpoint.py
"""

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from randhead import datasets
from randhead.config import parse
from randhead.device import device_name, versions
from randhead.runs import Run
from randhead.train.trainer import Trainer


def measured(network: str, device: torch.device, rounds: int, folder: Path) -> dict:
    """Milliseconds of the loop and of the whole process per checkpoint, after a first one that gets its memory."""
    settings = {"backbone.name": network, "train.batch_size": 64, "machine.device": device.type}
    run = Run(folder)
    run.path.mkdir()
    run.config_path.write_text("{}")  # nothing is saved in a folder without one
    trainer = Trainer(parse.build(settings), datasets.load("digits"), run, lambda: False)
    trainer.saved_at = time.monotonic() + 1e9
    next(trainer.steps())
    trainer.state.best_weights = {name: value.cpu().clone() for name, value in trainer.model.state_dict().items()}
    on_gpu = device.type == "cuda"
    loop, whole = (time.perf_counter, time.perf_counter) if on_gpu else (time.thread_time, time.process_time)
    waits, all_of_it = [], []
    for _ in range(rounds + 1):
        trainer.state.step += 1
        if on_gpu:
            torch.cuda.synchronize()
        begun = loop(), whole()
        trainer.save()
        waits.append(1000 * (loop() - begun[0]))
        if hasattr(trainer, "saver"):  # older versions wrote it in the loop
            trainer.saver.wait()
        all_of_it.append(1000 * (whole() - begun[1]))
    size = max(path.stat().st_size for path in trainer.run.checkpoints.iterdir())
    return {
        "network": network,
        "megabytes": round(size / 1e6, 1),
        "loop_ms": round(statistics.median(waits[1:]), 1),
        "all_ms": round(statistics.median(all_of_it[1:]), 1),
        "first_loop_ms": round(waits[0], 1),
    }


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["small_resnet", "resnet18"], help="backbones")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=7, help="checkpoints per network, of which the median counts")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    arguments = parser.parse_args()
    device, results = torch.device(arguments.device), []
    for network in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            results.append(row := measured(network, device, arguments.rounds, Path(folder) / "run"))
        print(
            f"{network:14} {row['megabytes']:7.1f} MB: the loop waits {row['loop_ms']:.1f} ms (the first time "
            f"{row['first_loop_ms']:.1f}), all of it takes {row['all_ms']:.1f} ms",
            flush=True,
        )
    if arguments.out:
        about = {"clock": "wall time" if device.type == "cuda" else "time of the thread and of the process"}
        about |= {"device": device_name(device), "date": datetime.now(UTC).date().isoformat(), **versions()}
        arguments.out.write_text(json.dumps({"results": results, **about}, indent=2) + "\n")


if __name__ == "__main__":
    main()
