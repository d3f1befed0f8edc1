"""Checkpoints: a safetensors file with named tensors and, in its metadata, a JSON document and one SHA-256 of both.

Nothing is pickled or unpickled.  safetensors does not detect flipped bits in the data, so the hash covers names, types,
shapes, numbers and the document; a damaged file raises an error and is never loaded in part.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from randhead.errors import RunError
from randhead.files import atomic_write, way_out
from randhead.runs.steps import prune, saved_steps, step_path

__all__ = [
    "load",
    "prefixed",
    "prune",
    "save",
    "saved_steps",
    "select",
    "state_sha256",
    "step_path",
]

FORMAT = 1
ERROR_NUMBER = re.compile(r"(?:os error|code:) (\d+)")  # in the texts of safetensors


def save(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Write tensors and a JSON document, atomically.

    Args:
        path: the file.
        tensors: named tensors.
        document: anything that JSON can represent.

    Raises:
        RunError: if the file cannot be written, for example on a full disk; an older file of that name is kept.
        ValueError: for NaN and infinity in the document, which JSON does not have.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(document), allow_nan=False)
    metadata = {"format": f"randhead {FORMAT}", "document": text, "sha256": _digest(plain, text)}
    try:
        atomic_write(path, lambda fragment: save_file(_apart(plain), fragment, metadata))
    except (SafetensorError, OSError) as error:
        found = _of_the_system(error)
        raise RunError(
            f"{path}: cannot be written ({found.strerror or found}); what was saved before is unchanged",
            hint=f"{way_out(found)}; the same call resumes from what was saved",
        ) from None


def load(path: Path, *, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the document of a checkpoint.

    Args:
        path: the file.
        device: the device of the tensors.

    Raises:
        RunError: if the file is missing, damaged, or not a checkpoint of randhead.
    """
    hint = "use another checkpoint, or train again with `fresh=True`"
    if path.exists() and not path.is_file():  # reading a FIFO would wait for ever
        raise RunError(f"{path}: not a regular file", hint=hint)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise RunError(f"{path}: no such file", hint="`randhead list` shows the runs") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{path}: not a complete safetensors file ({error})", hint=hint) from None
    if metadata.get("format") != f"randhead {FORMAT}":
        raise RunError(f"{path}: not a checkpoint of randhead (format {metadata.get('format')!r})", hint=hint)
    text = metadata.get("document", "null")
    try:
        if _digest(tensors, text) != metadata.get("sha256"):
            raise RunError(f"{path}: damaged, its content does not match its SHA-256", hint=hint)
        document = json.loads(text)
    except (ValueError, RuntimeError, RecursionError) as error:
        raise RunError(f"{path}: not a checkpoint of randhead ({error})", hint=hint) from None
    if not isinstance(document, dict):
        raise RunError(f"{path}: not a checkpoint of randhead, its description is no object", hint=hint)
    return {name: tensor.to(device) for name, tensor in tensors.items()}, document


def select(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, which is removed from the name."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The inverse of `select`."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def state_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of named tensors: equal if and only if every name, type, shape and bit is equal."""
    return _digest(tensors, "")


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without shared memory, which safetensors refuses: a model and its best weights can share it."""
    found, seen = {}, set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return found


def _of_the_system(error: SafetensorError | OSError) -> OSError:
    """The error of the system behind an error of safetensors, which has only its text."""
    if isinstance(error, OSError):
        return error
    number = ERROR_NUMBER.search(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
