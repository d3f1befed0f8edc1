#!/usr/bin/env bash
# Everything that needs a GPU, measured in under nine minutes: tests, head, corruptions, training, whole commands.
#
#     bash examples/benchmarks/on_device.sh DATA OUT [PART ...]
#
# DATA  an image folder with train/ and test/, such as CIFAR-10 as files
# OUT   what is kept: device.json, and of each part a log and its rows, one JSON object per line, written as they come
#
# A part that fails, hangs or is killed does not keep the others from being run: each has its share of the time.
#
# RANDHEAD_TINY=1   a try on a CPU: a few sizes of everything, nothing of it a measurement
# RANDHEAD_LIMIT=S  seconds of the call instead of 530
# PYTHON            the interpreter instead of python or python3
set -euo pipefail

# part        share of the time, in percent
readonly PARTS='
tests         24
head          20
training      26
corruptions   10
walk          20
'
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
readonly LIMIT_S=${RANDHEAD_LIMIT:-530}
readonly STOP_S=5  # that a part has between SIGTERM and SIGKILL
tiny=${RANDHEAD_TINY:-}
python=${PYTHON:-$(command -v python || command -v python3 || true)}

fail() {
    echo "on_device.sh: $*" >&2
    exit 2
}

names() { # of all parts
    awk 'NF {print $1}' <<<"$PARTS" | xargs
}

share() { # PART: its percent of the time
    awk -v part="$1" '$1 == part {print $2}' <<<"$PARTS"
}

describe() { # device, versions, commit and date as JSON
    "$python" - "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)" <<'PYTHON'
import datetime, json, platform, sys
from importlib.metadata import PackageNotFoundError, version
import torch

def of(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None

device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"no GPU ({platform.machine()})"
names = ("torch", "torchvision", "triton", "numpy", "pillow", "simplejpeg")
versions = {"python": platform.python_version(), **{name: of(name) for name in names}}
print(json.dumps({"device": device, "versions": versions, "commit": sys.argv[1],
                  "date": datetime.datetime.now(datetime.UTC).date().isoformat()}, indent=2))
PYTHON
}

command_of() { # PART SECONDS: sets `command`
    local rows=$out/$1.jsonl device=cuda
    if [ -n "$tiny" ]; then device=cpu; fi
    case $1 in
        tests)
            command=("$python" -m pytest -m gpu -q -p no:cacheprovider --durations=10 --junitxml "$out/tests.xml")
            if [ -n "$tiny" ]; then command+=(--collect-only); fi ;;
        head) command=("$python" "$here/head_cuda.py" --seconds "$2" --out "$rows") ;;
        training) command=("$python" "$here/train_cuda.py" --device "$device" --seconds "$2" --out "$rows") ;;
        corruptions) command=("$python" "$here/corruptions_cuda.py" --device "$device" --seconds "$2" --out "$rows") ;;
        walk) command=("$python" "$here/walk.py" "$data" --device "$device" --seconds "$2" --out "$rows") ;;
    esac
    if [ -n "$tiny" ] && [ "$1" != tests ]; then command+=(--tiny); fi
}

run_part() { # PART SECONDS
    local command begun=$SECONDS code=0
    rm -f "$out/$1.jsonl"
    command_of "$1" "$2"
    echo "== $1: at most $2 s"
    (cd "$root" && timeout -k "$STOP_S" "$2" "${command[@]}") 2>&1 | tee "$out/$1.log" || code=$?
    echo "== $1: ended with $code after $((SECONDS - begun)) s"
    return "$code"
}

main() {
    [ $# -ge 2 ] || fail "usage: on_device.sh DATA OUT [PART ...]
  DATA: an image folder with train/ and test/; OUT: a folder for the results; parts: $(names)"
    [ -n "$python" ] || fail 'there is no python; give its path as PYTHON'
    [ -d "$1" ] || fail "$1 is no folder"
    mkdir -p "$2" || fail "$2 cannot be made"
    data=$(cd "$1" && pwd) out=$(cd "$2" && pwd)
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 COLUMNS=120
    if [ -z "$tiny" ]; then
        "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
            fail 'torch finds no GPU; RANDHEAD_TINY=1 tries everything on a CPU'
    fi
    local part parts=("${@:3}") total=0 failed=()
    if [ ${#parts[@]} -eq 0 ]; then read -ra parts <<<"$(names)"; fi
    for part in "${parts[@]}"; do
        [ -n "$(share "$part")" ] || fail "there is no part $part; there are: $(names)"
        total=$((total + $(share "$part")))
    done
    describe | tee "$out/device.json"
    for part in "${parts[@]}"; do # a part has its share of what is left, so time that one leaves is the next one's
        run_part "$part" $(((LIMIT_S - SECONDS) * $(share "$part") / total - STOP_S)) || failed+=("$part")
        total=$((total - $(share "$part")))
    done
    if [ ${#failed[@]} -gt 0 ]; then
        echo "failed: ${failed[*]}" >&2
        return 1
    fi
}

main "$@"
