"""One checkpoint is one file: whole or refused, whatever happens to it or to the disk."""

import errno
import os
import pickle
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from randhead import files
from randhead.errors import RunError
from randhead.runs import checkpoint

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
DOCUMENT = {"config": {"name": 'ünïcode \n "quoted" ../../x'}, "numbers": [1, 2.5, None, True, 1e-300]}
BLOCK = 4096  # bytes; what disks and file systems lose at once


def tensors():
    """Several blocks of tensors of every type, among them an empty one, a scalar and a view."""
    ramp = torch.arange(1500)
    found = {f"x/{str(dtype).removeprefix('torch.')}": (ramp % 120).to(dtype).reshape(3, 500) for dtype in DTYPES}
    found |= {"empty": torch.empty(0, 7), "scalar": torch.tensor(3.25), "view": ramp.float()[::2].view(25, 30).T}
    return found | {"odd": torch.tensor([float("nan"), float("inf"), -0.0])}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "step-00000001.safetensors"
    checkpoint.save(path, tensors(), DOCUMENT)
    return path


def same(ours, theirs):
    """Bit for bit, NaN and the sign of zero included."""
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert (tensor.dtype, tensor.shape) == (theirs[name].dtype, theirs[name].shape), name
        assert tensor.contiguous().reshape(-1).view(torch.uint8).equal(theirs[name].reshape(-1).view(torch.uint8)), name


def is_refused(path):
    with pytest.raises(RunError) as caught:
        checkpoint.load(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_tensors_of_every_type_come_back_bit_for_bit(saved):
    loaded, document = checkpoint.load(saved)
    same(tensors(), loaded)
    assert document == DOCUMENT


def test_any_program_that_reads_safetensors_reads_it_too(saved):
    with safe_open(saved, framework="np") as file:
        assert file.metadata()["format"] == "randhead 1"
        assert file.get_tensor("x/int16").tolist() == tensors()["x/int16"].tolist()


def test_tensors_that_share_memory_are_saved_apart(tmp_path):
    shared = torch.arange(6.0)
    checkpoint.save(tmp_path / "a", {"one": shared, "two": shared, "three": shared[2:]}, {})
    same({"one": shared, "two": shared, "three": shared[2:].clone()}, checkpoint.load(tmp_path / "a")[0])


def test_truncation_at_every_block_is_refused(saved):
    content = saved.read_bytes()
    assert len(content) > 10 * BLOCK
    for length in [*range(0, len(content), BLOCK), 1, 7, 8, 9, len(content) - 1]:
        saved.write_bytes(content[:length])
        is_refused(saved)


def test_bytes_at_the_end_are_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    is_refused(saved)


@pytest.mark.slow
def test_a_flipped_bit_is_refused_wherever_it_is(saved):
    content = saved.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    draw = random.Random(0)
    places = [*range(64), *(draw.randrange(8 * header) for _ in range(500))]
    places += [draw.randrange(8 * header, 8 * len(content)) for _ in range(500)]
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        saved.write_bytes(flipped)
        is_refused(saved)


def test_a_block_of_zeros_is_refused(saved):
    content = saved.read_bytes()
    for start in range(0, len(content), BLOCK):
        part = content[start : start + BLOCK]
        if any(part):
            saved.write_bytes(content[:start] + bytes(len(part)) + content[start + BLOCK :])
            is_refused(saved)


class Payload:
    """Unpickling this would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("write", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_a_pickle_is_refused_and_not_unpickled(tmp_path, write):
    path, trace = tmp_path / "model.safetensors", tmp_path / "executed"
    write({"weights": Payload(trace)}, path)
    is_refused(path)
    assert not trace.exists()


def test_a_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    for metadata in (None, {"format": "pt"}, {"format": "randhead 2"}):
        save_file({"weights": torch.zeros(3)}, path, metadata)
        assert "not a checkpoint of randhead" in is_refused(path).message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in is_refused(tmp_path / "nothing").message
    is_refused(tmp_path)


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.save(tmp_path / "a", {}, {"nll": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_older_file_and_no_fragment(saved, monkeypatch, moment):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = saved.read_bytes()
    target = {"write": (checkpoint, "save_file"), "fsync": (os, "fsync"), "replace": (os, "replace")}[moment]
    if moment == "replace":
        target = (files.Path, "replace")
    monkeypatch.setattr(*target, full)
    with pytest.raises(RunError, match=r"cannot be written.*No space left on device") as caught:
        checkpoint.save(saved, {"weights": torch.zeros(9)}, {})
    monkeypatch.undo()
    assert "free some space" in caught.value.hint
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    same(tensors(), checkpoint.load(saved)[0])


def test_a_limit_on_the_size_of_files_does_the_same(saved):
    """The real thing: the system itself cuts the write short, in the middle of the file."""
    resource = pytest.importorskip("resource")
    before, limits = saved.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK, limits[1]))
    try:
        with pytest.raises(RunError, match="cannot be written"):
            checkpoint.save(saved, tensors(), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_the_content_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    """fsync of the temporary file, rename of that file, fsync of the folder, in this order."""
    happened = []
    fsync, replace = os.fsync, files.Path.replace
    path = tmp_path / "step-00000002.safetensors"

    def synced(handle):
        happened.append(("fsync", Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def renamed(self, target):
        happened.append(("rename", self, target))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(files.Path, "replace", renamed)
    checkpoint.save(path, tensors(), {})
    temporary = happened[0][1]
    assert temporary != path and files.FRAGMENT.fullmatch(temporary.parent.name)["name"] == path.name
    assert happened == [("fsync", temporary), ("rename", temporary, path), ("fsync", tmp_path)]


def test_only_whole_checkpoints_count(tmp_path):
    for name in ("step-00000010.safetensors", "step-123456789.safetensors", "step-00000009.safetensors"):
        (tmp_path / name).touch()
    for name in (".step-00000011.safetensors.x.tmp", "step-12.safetensors", "step-00000012.safetensors.bak", "step-"):
        (tmp_path / name).touch()
    assert checkpoint.saved_steps(tmp_path) == [9, 10, 123456789]
    assert checkpoint.saved_steps(tmp_path / "nothing") == []
    assert checkpoint.step_path(tmp_path, 10).exists()


def test_pruning_keeps_the_newest_and_spares_later_ones_that_were_passed_over(tmp_path):
    for step in range(1, 8):
        checkpoint.step_path(tmp_path, step).touch()
    checkpoint.prune(tmp_path, 2, step=5)
    assert checkpoint.saved_steps(tmp_path) == [4, 5, 6, 7]
    checkpoint.prune(tmp_path, 2, step=7)
    assert checkpoint.saved_steps(tmp_path) == [6, 7]


def test_a_checkpoint_that_cannot_be_deleted_stops_nothing(tmp_path, monkeypatch):
    for step in (1, 2):
        checkpoint.step_path(tmp_path, step).touch()

    def refuse(self):
        raise PermissionError

    monkeypatch.setattr(files.Path, "unlink", refuse)
    checkpoint.prune(tmp_path, 1, step=2)
    assert checkpoint.saved_steps(tmp_path) == [1, 2]


def test_the_hash_of_a_state_depends_on_name_type_shape_and_bits_and_not_on_order():
    zero = torch.zeros(4)
    states = [
        {"a": zero},
        {"b": zero},
        {"a": zero.view(2, 2)},
        {"a": zero.int()},
        {"a": -zero},
        {"a": zero, "b": zero},
        {},
    ]
    assert len({checkpoint.state_sha256(state) for state in states}) == len(states)
    forwards, backwards = {"a": zero, "b": zero + 1}, {"b": zero + 1, "a": zero}
    assert checkpoint.state_sha256(forwards) == checkpoint.state_sha256(backwards)


def test_prefixes_come_and_go():
    state = {"a/x": torch.ones(1), "b/x": torch.zeros(1)}
    assert checkpoint.select(state, "a/") == {"x": state["a/x"]}
    assert checkpoint.prefixed({"x": state["a/x"]}, "a/") == {"a/x": state["a/x"]}
