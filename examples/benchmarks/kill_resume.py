"""Kill a training with SIGKILL again and again, start it again each time, and compare it with an uninterrupted one.

Half of the kills are aimed at the window in which a checkpoint is being written: they fall when its fragment appears in
the folder.  The others fall at a random moment after the start of the process, or after its first step.  Every step is
saved, so that every start resumes from the step before the kill.  What has to be equal, bit for bit: the hash of the
final weights, the test figures, metrics.jsonl without its seconds, and the names of the files that are left.

    python examples/benchmarks/kill_resume.py --kills 200 --out examples/benchmarks/results/kill_resume.json

`--start fork` (the default) begins each training as a fork of a process that has imported torch but not used it, which
saves seconds a start; `--start command` begins it as `randhead train` itself.
"""

import argparse
import collections
import importlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

TRAINING = [
    "train",
    *("--data", "digits", "--epochs", "2", "--precision", "fp32", "--device", "cpu", "--name", "run"),
    *("--set", "machine.checkpoint_minutes=0", "--set", "data.validation=0.3"),
]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
AIMS = ("window", "start", "window", "step")  # a write; some time after the start; some time after a first step
LONGEST_WAIT_S = 1.0
POLL_S = 0.0005


class Trainer:
    """A training in a folder, in a process of its own."""

    def __init__(self, root: Path, start: str):
        self.root, self.folder = root, root / "run"
        with (root / "log.txt").open("a") as log:
            self.pid = self._fork(log) if start == "fork" else self._command(log)

    def _command(self, log) -> int:
        command = [sys.executable, "-c", "from randhead.cli import main; main()", *TRAINING, "--out", str(self.root)]
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **ONE_THREAD}).pid

    def _fork(self, log) -> int:
        from randhead import cli

        pid = os.fork()
        if pid:
            return pid
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            sys.argv = ["randhead", *TRAINING, "--out", str(self.root)]
            cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)
        finally:
            os._exit(1)

    def ended(self, wait: bool = False) -> int | None:
        """The exit code, or None while it runs."""
        pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def writes(self) -> bool:
        """Whether a checkpoint is being written."""
        try:
            return any(".tmp" in entry.name for entry in os.scandir(self.folder / "checkpoints"))
        except FileNotFoundError:
            return False

    def newest(self) -> str | None:
        """The newest whole checkpoint."""
        return max((path.name for path in self.folder.glob("checkpoints/step-*")), default=None)

    def kill(self) -> str:
        """End it with SIGKILL; says where that fell."""
        os.kill(self.pid, signal.SIGKILL)
        self.ended(wait=True)
        if not (self.folder / "config.json").exists():
            return "before the folder was written"
        if self.writes():
            return "while a checkpoint was written"
        return "between checkpoints" if self.newest() else "before the first step was saved"


def kill_once(trainer: Trainer, aim: str, chance: random.Random) -> tuple[str | None, int | None]:
    """Wait for the moment aimed at, then kill: (where it fell, None), or (None, exit code) where it had ended."""
    before, moment = trainer.newest(), chance.uniform(0, LONGEST_WAIT_S)
    begun = time.monotonic() if aim == "start" else None
    while (code := trainer.ended()) is None:
        if begun is None and trainer.newest() != before:
            begun = time.monotonic()  # a step has been made and saved
        if begun and (trainer.writes() if aim == "window" else time.monotonic() - begun > moment):
            return trainer.kill(), None
        time.sleep(POLL_S)
    return None, code


def figures(root: Path) -> dict:
    """What two trainings have to agree in."""
    summary = json.loads((root / "run" / "summary.json").read_text())
    log = [json.loads(line) for line in (root / "run" / "metrics.jsonl").read_text().splitlines()]
    for line in log:
        line.pop("seconds")
    left = sorted(str(path.relative_to(root)) for path in (root / "run").rglob("*") if path.is_file())
    return {"weights": summary["weights_sha256"], "test": summary["test"], "log": log, "files": left}


def killed_training(root: Path, start: str, chance: random.Random, kills: int, places: collections.Counter) -> int:
    """Train to the end, with up to `kills` kills; returns how many there were."""
    count = 0
    while True:
        trainer = Trainer(root, start)
        if count == kills:
            code = trainer.ended(wait=True)
        else:
            place, code = kill_once(trainer, AIMS[count % len(AIMS)], chance)
            if place:
                places[place] += 1
                count += 1
                continue
        if code:
            raise SystemExit(f"a training ended with {code}:\n{(root / 'log.txt').read_text()[-2000:]}")
        return count


def run(kills: int, start: str, seed: int) -> dict:
    """All kills, over as many trainings as they take."""
    chance, places, equal, different, trainings, done = random.Random(seed), collections.Counter(), 0, [], 0, 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        reference = Path(scratch) / "reference"
        killed_training_root = Path(scratch) / "killed"
        reference.mkdir()
        killed_training(reference, start, chance, 0, places)
        expected = figures(reference)
        while done < kills:
            killed_training_root.mkdir()
            done += killed_training(killed_training_root, start, chance, kills - done, places)
            trainings += 1
            found = figures(killed_training_root)
            equal += found == expected
            different += [
                f"{key}: {found[key]}, not {expected[key]}" for key in expected if found[key] != expected[key]
            ]
            shutil.rmtree(killed_training_root)
    return {
        "kills": done,
        "places": dict(places),
        "trainings": trainings,
        "equal_to_the_one_left_alone": equal,
        "different": different,
        "weights_sha256": expected["weights"],
        "start": start,
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
    }


def preload() -> None:
    """Import, once for all forks, what a training imports."""
    for name in (
        "randhead.cli.progress",
        "randhead.train",
        "randhead.datasets.digits",
        "randhead.backbones.small_resnet",
        "torch._dynamo",
    ):
        importlib.import_module(name)


def versions() -> dict:
    """Where the figures come from."""
    from randhead.device import versions

    return {"date": datetime.now(UTC).date().isoformat(), "machine": platform.machine(), **versions()}


def main() -> None:
    """Parse, run, print a table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--start", choices=["fork", "command"], default="fork")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    arguments = parser.parse_args()
    os.environ.update(ONE_THREAD)
    if arguments.start == "fork":
        preload()
    result = run(arguments.kills, arguments.start, arguments.seed) | versions()
    for place, count in sorted(result["places"].items()):
        print(f"{count:6}  killed {place}")
    print(f"{result['kills']:6}  kills in {result['trainings']} trainings, {result['seconds']} s")
    print(f"{result['equal_to_the_one_left_alone']:6}  of them equal to the uninterrupted one")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    if result["equal_to_the_one_left_alone"] != result["trainings"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
