"""How long `randhead --help` takes: the median of five processes, and whether it imported torch.

python examples/benchmarks/help_time.py --out examples/benchmarks/results/help_time.json
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

HELP = "import sys; sys.argv = ['randhead', '--help']; from randhead.cli import main; main()"
CHECK = HELP.replace("; main()", "\ntry:\n    main()\nfinally:\n    sys.exit('torch' in sys.modules)")
TRIES = 5


def once(code: str = HELP) -> dict[str, float]:
    """Wall and process seconds of one process."""
    begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall_s": wall, "process_s": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    arguments = parser.parse_args()
    once()  # the first start compiles to bytecode
    tries = [once() for _ in range(TRIES)]
    once(CHECK)
    result = {f"median_{key}": round(statistics.median(each[key] for each in tries), 3) for key in tries[0]}
    print(f"randhead --help: {result['median_wall_s']} s, {result['median_process_s']} s of the processor; no torch")
    result |= {
        "tries": TRIES,
        "torch_imported": False,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
