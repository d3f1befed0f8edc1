"""How costs grow: seconds and memory of one part at several sizes, and the slope between them.

    python examples/benchmarks/growth.py [CASE ...] [--beside FOLDER] [--limit 120] [--out FILE] [--list]

The cases are in the folder growing/, a file per subject.  Each size runs in a process of its own, on one thread;
seconds are process time, so that other programs matter less, and the memory is the peak above that before the measured
call.  The slope is that of the logarithms between two sizes: 1 is linear, 2 is quadratic.  A size that takes longer
than the limit ends its case.  With --beside, the package in that folder (another version's checkout) is measured in
turns with this one, size by size.  Rows are printed as they come; with --out, they are put into that file as they come,
in place of those of the same case, version and size.
"""

import argparse
import datetime
import importlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PACKAGES = ("randhead", "torch", "numpy", "pillow", "simplejpeg")
PREPARING_S = 240  # beyond the limit, for what is not measured
WIDTH = 46


class Case(NamedTuple):
    """One cost.

    Attributes:
        sizes: in ascending order.
        unit: what a size counts.
        prepare: maps a size and an empty folder to the call that is measured; it may return the bytes that it wrote.
    """

    sizes: tuple[int, ...]
    unit: str
    prepare: Callable[[int, Path], Callable[[], object]]


def cases() -> dict[str, Case]:
    """All cases by name; a file of growing/ has them as CASES."""
    sys.path.insert(0, str(HERE))
    found: dict[str, Case] = {}
    for path in sorted((HERE / "growing").glob("*.py")):
        found |= importlib.import_module(f"growing.{path.stem}").CASES
    return found


def measured(case: Case, size: int) -> dict:
    """Process seconds and MiB of one call, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        call = case.prepare(size, Path(folder))
        before = reset_peak()
        begun = time.process_time()
        found = call()
        row = {"seconds": round(time.process_time() - begun, 3), "mib": round(peak_mib() - before, 1)}
        return row | ({"written_mb": round(found / 1e6, 3)} if isinstance(found, int) else {})


def reset_peak() -> float:
    """Set the peak of this process's memory to what it has now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def peak_mib() -> float:
    """The peak of the resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def fresh(name: str, size: int, package: Path, limit: float) -> dict | None:
    """`measured` in a process of its own, None if it takes too long or fails."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = os.environ | single | {"PYTHONPATH": str(package)}
    command = [sys.executable, __file__, "--in-process", name, str(size)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=environment, timeout=PREPARING_S + 2 * limit
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def rows(name: str, case: Case, beside: Path | None, limit: float) -> Iterator[dict]:
    """The rows of a case: this version's and, size by size, the other's."""
    before: dict[str, dict] = {}
    versions = {"now": HERE.parents[1]} | ({"before": beside.resolve()} if beside else {})
    for size in case.sizes:
        for which, package in list(versions.items()):
            found = fresh(name, size, package, limit)
            if found is None:
                del versions[which]
                yield {"case": name, "version": which, "size": size, "unit": case.unit, "seconds": None}
                continue
            last, row = before.get(which), {"case": name, "version": which, "size": size, "unit": case.unit, **found}
            if last and min(last["seconds"], found["seconds"]) > 0:
                growth = math.log(found["seconds"] / last["seconds"]) / math.log(size / last["size"])
                row["slope"] = round(growth, 2)
            before[which] = row
            yield row
            if found["seconds"] > limit:
                del versions[which]


def show(row: dict) -> None:
    """Print one row."""
    name, size = f"{row['case']} ({row['version']})", f"{row['size']:,} {row['unit']}"
    if row["seconds"] is None:
        print(f"{name:{WIDTH}}{size:>22}   failed, or not in time", flush=True)
        return
    more = f"   slope {row['slope']:.2f}" if "slope" in row else ""
    more += f"   {row['written_mb']:.2f} MB written" if "written_mb" in row else ""
    print(f"{name:{WIDTH}}{size:>22}{row['seconds']:10.2f} s{row['mib']:9.0f} MiB{more}", flush=True)


def head() -> dict:
    """When and where: for the file of results."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version()} | {name: installed(name) for name in PACKAGES},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
    }


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write(row: dict, path: Path) -> None:
    """Put a row into a file of results."""
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    key = ("case", "version", "size")
    kept = [old for old in kept if any(old[k] != row[k] for k in key)] + [row | {"date": head()["date"]}]
    kept.sort(key=lambda old: (old["case"], old["version"], old["size"]))
    lines = ",\n".join("    " + json.dumps(old) for old in kept)
    about = json.dumps(head(), indent=2)[:-2]
    path.write_text(f'{about},\n  "rows": [\n{lines}\n  ]\n}}\n')


def main() -> None:
    """Measure the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="*", help="cases; by default all")
    parser.add_argument("--beside", type=Path, help="folder of another version of the package, measured too")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds of a size, above which its case ends")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--in-process", nargs=2, help=argparse.SUPPRESS)
    options, known = parser.parse_args(), cases()
    if options.in_process:
        name, size = options.in_process
        print(json.dumps(measured(known[name], int(size))))
        return
    unknown = sorted(set(options.case) - set(known))
    if unknown:
        parser.error(f"unknown: {'; '.join(unknown)}.  growth.py --list shows the cases; quote names with spaces")
    for name in options.case or known:
        if options.list:
            print(f"{name:{WIDTH}}{', '.join(f'{size:,}' for size in known[name].sizes)} {known[name].unit}")
            continue
        for row in rows(name, known[name], options.beside, options.limit):
            show(row)
            if options.out:
                write(row, options.out)


if __name__ == "__main__":
    main()
