#!/usr/bin/env bash
# The studies of this folder at full size, in parts of at most nine minutes on one GPU (H100 or H200).
#
#     bash examples/studies/on_device.sh                            # list the parts
#     bash examples/studies/on_device.sh DATA OUT PART [PART ...]   # run one, or several one after another
#
# DATA  folder with cifar10.tar.xz and tiny50.tar.xz, or with the image folders cifar10 and tiny50
# OUT   what is kept: PART.json, which `randhead study --merge` reads, and PART.log; of the part speed, a folder
#
# All parts of a call share nine minutes.  A part needs no files of another part; what it trains is in a folder that is
# removed at the end.  PART.json is written again after every finished training, so that it is valid whenever the
# machine is taken away.  A part that fails does not keep the others from being run.
#
# RANDHEAD_TINY=1   a try on a CPU: the first seed of each part, few images, one epoch, the smallest network
# RANDHEAD_JOBS=N   trainings side by side instead of those of the table
# RANDHEAD_LIMIT=S  seconds of the call instead of 540
# PYTHON            the interpreter instead of python or python3
set -euo pipefail

# Minutes are estimates from rates, nothing was measured yet: 50,000 images/s of 32 px in all, whether one training or
# several, and a quarter of that at 64 px (resnet18 has 39,100 at 32 px, and half as many operations again as resnet9);
# 8 s for the corrupted images of a training; 40 s in all to unpack, start and decode.  Trainings of CIFAR-10 take 23 s of
# the device, 16 s without three held-out classes, and those of Tiny ImageNet 36 s.  Four side by side hide what does not
# need the device; more would leave less finished if the estimates are too low.  Parts of a study have other seeds.
#
# part            study          seeds  jobs  minutes
readonly PARTS='
speed             -              0-4    4     7
paper-cifar10-a   paper-cifar10  0-2    4     6
paper-cifar10-b   paper-cifar10  3-5    4     6
hadamard-a        hadamard       0-4    4     7
simplex-a         simplex        0-4    4     7
paper-tiny-a      paper-tiny     0-1    4     7
paper-tiny-b      paper-tiny     2-3    4     7
paper-tiny-c      paper-tiny     4-5    4     7
scale-a           scale          0,     4     7
scale-b           scale          1,     4     7
scale-c           scale          2,     4     7
scale-d           scale          3,     4     7
scale-e           scale          4,     4     7
paper-cifar10-c   paper-cifar10  6-8    4     6
paper-cifar10-d   paper-cifar10  9-11   4     6
hadamard-b        hadamard       5-9    4     7
simplex-b         simplex        5-9    4     7
'
readonly LIMIT_S=${RANDHEAD_LIMIT:-540}
readonly RESERVE_S=50      # to save what is running, and to write tables and page
readonly LEAST_S=60        # a part with less time than this is not started
readonly GOAL=0.935        # accuracy of the recipe fast with learned class vectors
readonly BENCHMARK_S=200   # of examples/benchmarks/batched_training.py

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-$(command -v python || command -v python3 || true)}
tiny=${RANDHEAD_TINY:-}
scratch='' stopped='' children=()

fail() {
    echo "on_device.sh: $*" >&2
    exit 2
}

list() { # the table of parts
    local part study seeds jobs minutes
    printf '%-17s %-14s %-6s %5s %8s\n' part study seeds jobs minutes
    while read -r part study seeds jobs minutes; do
        printf '%-17s %-14s %-6s %5s %8s\n' "$part" "${study/#-/(benchmarks)}" "${seeds%,}" "$jobs" "$minutes"
    done < <(grep . <<<"$PARTS")
}

left() { # seconds of the call
    echo $((LIMIT_S - SECONDS))
}

minutes() { # SECONDS as minutes
    awk -v s="$1" 'BEGIN {printf "%.2f", s / 60}'
}

prepare() { # DATA OUT: check what is needed before anything is unpacked
    [ -n "$python" ] || fail 'there is no python; give its path as PYTHON'
    [ -d "$1" ] || fail "$1 is no folder"
    mkdir -p "$2" || fail "$2 cannot be made"
    data=$(cd "$1" && pwd)
    out=$(cd "$2" && pwd)
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 COLUMNS=160
    if [ -z "$tiny" ]; then
        "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
            fail 'torch finds no GPU; RANDHEAD_TINY=1 tries everything on a CPU'
    fi
    scratch=$(mktemp -d "$(roomy)/randhead-studies-XXXXXX")
}

roomy() { # a folder in memory if it has 24 GB free, for checkpoints of 50 MB at a time; else on the disk
    local free
    free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $4}') || free=0
    if [ -z "$tiny" ] && [ -w /dev/shm ] && [ "${free:-0}" -gt 24000000 ]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

describe() { # device and versions
    nvidia-smi -L 2>/dev/null || echo 'no GPU'
    "$python" -c '
import os, platform, torch
from importlib.metadata import PackageNotFoundError, version
import randhead
def of(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
names = ["torchvision", "triton", "filelock", "scikit-learn"]
print(f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda},",
      ", ".join(f"{name} {of(name)}" for name in names) + f", randhead {randhead.__version__}, {os.cpu_count()} cores")
' || echo 'versions: unknown'
    echo "commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%FT%TZ)"
}

unpacked() { # NAME: sets `images` to the image folder of that name
    images=$data/$1
    [ -d "$images" ] && return
    images=$scratch/images/$1
    [ -d "$images" ] && return
    [ -f "$data/$1.tar.xz" ] || { echo "error: $data has neither $1 nor $1.tar.xz" && return 1; }
    mkdir -p "$images.part" || return 1
    if command -v xz >/dev/null; then
        tar -xJf "$data/$1.tar.xz" -C "$images.part" || return 1
    else
        "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="data")' \
            "$data/$1.tar.xz" "$images.part" || return 1
    fi
    mv "$images.part" "$images"
    echo "unpacked $1 after $SECONDS s"
}

keep() { # FROM TO: copy a file in one step, if it is newer
    [ "$1" -nt "$2" ] || return 0
    if ! { cp "$1" "$2.part" && mv "$2.part" "$2"; }; then echo "error: $2 cannot be written"; fi
}

ended() { # wait for all children, and keep copying FROM to TO if they are given; 1 if one of them failed
    local child code=0
    for child in "${children[@]}"; do
        while kill -0 "$child" 2>/dev/null; do
            if [ $# -eq 2 ]; then keep "$1" "$2"; fi
            sleep 1
        done
        wait "$child" || code=1
    done
    children=()
    if [ $# -eq 2 ]; then keep "$1" "$2"; fi
    return "$code"
}

stop() { # what is running saves and ends
    stopped=yes
    if [ ${#children[@]} -gt 0 ]; then kill -TERM "${children[@]}" 2>/dev/null || true; fi
}

run_study() { # PART STUDY SEEDS JOBS
    local options=(--seeds "$3" --jobs "${RANDHEAD_JOBS:-$4}" --device cuda) folder=cifar10 name=$2 code=0
    if [ "$2" = paper-tiny ]; then folder=tiny50 name=paper-tiny50 options+=(--hold-out-classes 10); fi
    unpacked "$folder" || return 1
    if [ -n "$tiny" ]; then
        options=(--seeds "${3%%[-,]*}," --jobs "${RANDHEAD_JOBS:-2}" --device cpu --epochs 1 --set backbone.name=small_resnet
            --set train.batch_size=32 --set data.train_images=100 --set data.validation=0.2)
        if grep -q '^corruptions = true' "$here/$2.toml"; then options+=(--corruption-limit 14); fi
        if grep -q '^data.hold_out_classes' "$here/$2.toml"; then options+=(--hold-out-classes 2); fi
    fi
    local time=$(($(left) - RESERVE_S))
    # A worker that hangs is ended by `timeout`, and what the others have finished is kept.
    timeout -k 15 $((time + RESERVE_S - 10)) "$python" -m randhead study "$here/$2.toml" --name "$name" \
        --data "$images" --out "$scratch/$1" --minutes "$(minutes "$time")" "${options[@]}" &
    children=($!)
    ended "$scratch/$1/$name/result.json" "$out/$1.json" || code=1
    rm -rf "${scratch:?}/$1"
    return "$code"
}

run_speed() { # the recipe fast against its goal, then many small trainings at once
    unpacked cifar10 || return 1
    local folder=$out/speed device=cuda limit=$BENCHMARK_S code=0 began seed
    local command=("$python" -m randhead train --data "$images" --recipe fast --learned --out "$scratch/speed" --json)
    if [ -n "$tiny" ]; then
        device=cpu limit=5
        command+=(--epochs 1 --set backbone.name=small_resnet --set data.train_images=100 --batch-size 32)
    fi
    command+=(--device "$device")
    mkdir -p "$folder" || return 1
    began=$SECONDS
    timeout -k 15 "$(left)" "${command[@]}" --seed 0 --head-seed 0 >"$folder/fast-seed0.json" &
    children=($!)
    ended || code=1
    echo "recipe fast, learned class vectors: $((SECONDS - began)) s from start to end"
    [ -z "$stopped" ] || return 1
    began=$SECONDS
    for seed in 1 2 3 4; do
        timeout -k 15 "$(left)" "${command[@]}" --seed "$seed" --head-seed "$seed" >"$folder/fast-seed$seed.json" &
        children+=($!)
    done
    ended || code=1
    echo "four side by side: $((SECONDS - began)) s"
    "$python" - "$GOAL" "$folder"/fast-seed*.json <<'PYTHON' || code=1
import json, sys
goal, found = float(sys.argv[1]), []
for path in sys.argv[2:]:
    try:
        found.append(json.load(open(path))["test"]["accuracy"])
    except (ValueError, KeyError) as error:
        print(f"{path}: {error!r}")
if found:
    mean = sum(found) / len(found)
    print("test accuracy, percent:", *(f"{100 * value:.2f}" for value in found), f"mean {100 * mean:.2f};",
          f"the goal of {100 * goal:.1f} is {'reached' if mean >= goal else 'missed'}")
PYTHON
    [ -z "$stopped" ] || return 1
    if [ $(($(left) - RESERVE_S)) -lt "$limit" ]; then limit=$(($(left) - RESERVE_S)); fi
    if [ "$limit" -le 0 ]; then echo 'no time is left for the benchmark' && return 1; fi
    command=("$python" "$root/examples/benchmarks/batched_training.py" --device "$device" --limit "$limit")
    if [ -n "$tiny" ]; then command+=(--cells small_resnet:4 --counts 2 --ways grouped --seconds 0.1); fi
    timeout -k 15 $(($(left) - 10)) "${command[@]}" --out "$folder/batched_training.json" &
    children=($!)
    ended || code=1
    return "$code"
}

finished() { # PART: how many of its trainings its JSON file has
    [ -f "$out/$1.json" ] || return 0
    "$python" -c 'import json, sys
found = json.load(open(sys.argv[1]))
print(", {done} of {planned} trainings finished".format(**found), end="")' "$out/$1.json"
}

run_part() { # PART
    local study seeds jobs estimate code=0
    read -r study seeds jobs estimate < <(awk -v part="$1" '$1 == part {print $2, $3, $4, $5}' <<<"$PARTS")
    echo "== $1: $study, seeds ${seeds%,}, about $estimate minutes; $(left) s are left"
    describe
    if [ "$(left)" -lt $((LEAST_S + RESERVE_S)) ]; then echo 'error: too little time is left' && return 1; fi
    if [ -f "$out/$1.json" ]; then mv "$out/$1.json" "$out/$1.json.old" || return 1; fi
    if [ "$study" = - ]; then run_speed || code=1; else run_study "$1" "$study" "$seeds" "$jobs" || code=1; fi
    echo "== $1: ended with $code after $SECONDS s$(finished "$1")"
    return "$code"
}

main() {
    if [ $# -eq 0 ] || [ "$1" = list ]; then
        list
        return
    fi
    if [ $# -lt 3 ]; then list && fail 'usage: on_device.sh DATA OUT PART [PART ...]'; fi
    local part failed=()
    for part in "${@:3}"; do
        awk -v part="$part" '$1 == part {found = 1} END {exit !found}' <<<"$PARTS" ||
            { list && fail "there is no part $part"; }
    done
    prepare "$1" "$2"
    trap stop TERM INT HUP
    trap 'rm -rf "${scratch:?}"' EXIT
    for part in "${@:3}"; do
        if [ -n "$stopped" ]; then failed+=("$part") && continue; fi
        local log=$out/$part.log
        : >"$log"
        tail -f --pid=$$ "$log" 2>/dev/null &
        local shown=$!
        run_part "$part" >>"$log" 2>&1 || failed+=("$part")
        sleep 0.5
        kill "$shown" 2>/dev/null || true
    done
    if [ ${#failed[@]} -gt 0 ]; then
        echo "failed: ${failed[*]}" >&2
        return 1
    fi
}

main "$@"
