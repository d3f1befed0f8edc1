"""Errors of a machine that has too little of something: memory, threads, open files, processes.

They are neither a bug of randhead nor of the user's files.  The exit code is 2, that of settings: others need less.
"""

import errno
import re

MEMORY = re.compile(
    r"out of memory|not enough memory|cannot allocate memory|can't allocate memory|unable to allocate|bad_?alloc"
    r"|failed to map segment|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|DefaultCPUAllocator",
    re.IGNORECASE,
)
SHARED_MEMORY = re.compile(r"shared memory|/dev/shm|/torch_\d+|shm_open", re.IGNORECASE)
THREADS = re.compile(
    r"can't start new thread|unable to create (a )?new thread|thread constructor failed", re.IGNORECASE
)
NUMBERS = {  # of errors of the system
    errno.ENOMEM: "not enough memory",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files on this machine",
    errno.EAGAIN: "no more processes or threads can be started",
}
SMALLER = {
    "train": "use a smaller --batch-size, --set data.image_size=... or --set machine.memory_budget_mb=...",
    "study": "use fewer --jobs, a smaller --set train.batch_size=... or another --device",
    "predict": "give fewer images at once, or another --device",
    "corrupt-test": "use a smaller --limit, or another --device",
    "vectors": "use fewer --classes or a smaller --dim",
}
ELSE = "close other programs, or use another --device or a machine with more memory"
LIMITS = "raise the limits of this shell (ulimit -u, ulimit -n)"
FEWER = f"use fewer --set machine.workers=..., or {LIMITS}"
LONGEST = 200  # characters of the reason that is shown


def explained(error: Exception, command: str) -> tuple[str, str] | None:
    """What a machine has too little of, and the way out for a command; None for another error."""
    found = _lacking(error)
    if found is None:
        return None
    reason = " ".join(str(error).split())[:LONGEST]
    what = f"{found} ({reason})" if reason and not isinstance(error, OSError) else found
    if "memory" in found:
        return what, SMALLER.get(command, ELSE)
    return what, FEWER if command == "train" else LIMITS


def _lacking(error: Exception) -> str | None:
    """What a machine has too little of, in words; None for another error."""
    if isinstance(error, OSError):
        return NUMBERS.get(error.errno or 0)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter of torch
        return "not enough memory"
    if isinstance(error, RuntimeError | ImportError):  # the latter if a library finds no memory for its code
        kinds = {"no more threads can be started": THREADS, "not enough shared memory": SHARED_MEMORY}
        kinds["not enough memory"] = MEMORY
        return next((kind for kind, words in kinds.items() if words.search(str(error))), None)
    return None
