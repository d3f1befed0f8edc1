"""Class vectors from the user's own file: what is kept, what is refused."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from randhead import vectors
from randhead.errors import DataError


def matrix(name, k, d):
    return vectors.draw(name, torch.arange(k), dim=d, num_classes=k)


def test_a_file_keeps_its_numbers_and_norms(tmp_path):
    w = np.arange(1, 13, dtype=">f8").reshape(4, 3) / 7
    np.save(tmp_path / "w.npy", w)
    drawn = matrix(f"file:{tmp_path / 'w.npy'}", 4, 3)
    assert np.array_equal(drawn.numpy(), w.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_a_safetensors_file_may_hold_one_tensor_or_one_named_vectors(tmp_path, dtype):
    w = torch.arange(1, 13).reshape(4, 3).to(dtype)
    save_file({"prototypes": w}, tmp_path / "one.safetensors")
    save_file({"other": torch.zeros(2), "vectors": w}, tmp_path / "two.safetensors")
    for name in ("one", "two"):
        assert torch.equal(matrix(f"file:{tmp_path / name}.safetensors", 4, 3), w.float())


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["w.npy", "w.safetensors"])
@pytest.mark.parametrize("make", ["pickle", "torch", "object array"])
def test_a_pickle_by_another_name_is_refused_and_not_run(tmp_path, name, make):
    path, sprung = tmp_path / name, tmp_path / "sprung"
    if make == "pickle":
        path.write_bytes(pickle.dumps(Trap(sprung)))
    elif make == "torch":
        torch.save({"vectors": Trap(sprung)}, path)
    else:
        with path.open("wb") as file:
            np.save(file, np.array([[Trap(sprung)] * 3] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not a"):
        matrix(f"file:{path}", 4, 3)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((4, 5)), r"shape \(4, 5\) must be \(4, 3\), \(classes, dimensions\)"),
        (np.ones((5, 3)), r"shape \(5, 3\)"),
        (np.ones((3, 4)), r"shape \(3, 4\)"),
        (np.ones(12), r"shape \(12,\)"),
        (np.ones((4, 3), dtype=complex), "entries are complex128"),
        (np.array([["a"] * 3] * 4), "entries are <U1"),
        (np.full((4, 3), np.nan), r"row 0 is NaN or infinite in float32 \(4 such rows\)"),
        (np.full((4, 3), 1e300), "NaN or infinite in float32"),
        (np.eye(4, 3), r"row 3 is zero in float32 \(1 such rows\)"),
        (np.full((4, 3), 1e-300), "zero in float32"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_is_wrong(tmp_path, array, said):
    np.save(tmp_path / "w.npy", array)
    with pytest.raises(DataError, match=said) as error:
        vectors.check(f"file:{tmp_path / 'w.npy'}", dim=3, num_classes=4)
    assert error.value.hint
    assert "w.npy" in error.value.message


@pytest.mark.parametrize("kept", [0, 5, 40, 200])
@pytest.mark.parametrize("name", ["w.npy", "w.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, np.ones((40, 3)))
    else:
        save_file({"vectors": torch.ones(40, 3)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=name):
        matrix(f"file:{path}", 40, 3)


def test_a_file_that_the_system_does_not_give_is_told(tmp_path, monkeypatch):
    np.save(tmp_path / "w.npy", np.ones((4, 3)))

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(np.lib.format, "open_memmap", refuse)
    with pytest.raises(DataError, match=r"w.npy: cannot be read \(Permission denied\)"):
        matrix(f"file:{tmp_path / 'w.npy'}", 4, 3)


def test_two_tensors_without_the_name_are_refused(tmp_path):
    save_file({"a": torch.ones(4, 3), "b": torch.ones(4, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="none of its 2 tensors is named 'vectors'"):
        matrix(f"file:{tmp_path / 'w.safetensors'}", 4, 3)


def test_a_missing_file_and_another_kind_of_file_are_refused(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    for name, said in (("none.npy", "no such file"), ("folder.npy", "no such file"), ("w.pt", "not a .safetensors or")):
        with pytest.raises(DataError, match=said):
            matrix(f"file:{tmp_path / name}", 4, 3)
