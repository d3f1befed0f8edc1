"""Geometries of class vectors beyond their contract (tests/test_contracts.py): limits, tiles, bits that stay."""

import dataclasses
import hashlib

import pytest
import torch
from safetensors.torch import save_file

from randhead import registry, vectors
from randhead.errors import UsageError

NAMES = registry.names("vectors")
BY_ROW = [name for name in NAMES if registry.load("vectors", name).BY_ROW]
TOGETHER = [name for name in NAMES if name not in BY_ROW]
FAR = [0, 1, 63, 64, 2**31, 2**32, 2**32 + 1, 2**33 + 7, 2**62 + 12345, 2**63 - 1]


@pytest.fixture
def spell(tmp_path):
    """How a user writes a geometry: its name, and for the file geometry the path of a file made for the purpose."""

    def of(name, k, d):
        if name != "file":
            return name
        save_file({"vectors": vectors.draw("gaussian", list(range(k)), dim=d)}, tmp_path / "w.safetensors")
        return f"file:{tmp_path / 'w.safetensors'}"

    return of


def matrix(name, k, d, seed=0):
    return vectors.draw(name, torch.arange(k), dim=d, seed=seed, num_classes=k)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("k", "d"), [(2, 2), (5, 8), (8, 8), (10, 64), (64, 64), (33, 512)])
def test_every_geometry_holds_as_many_classes_as_dimensions(name, k, d, spell):
    vectors.check(spell(name, k, d), dim=d, num_classes=k)


@pytest.mark.parametrize("name", NAMES)
def test_only_more_classes_than_dimensions_are_refused(name):
    limit = registry.load("vectors", name).limit(64)
    assert limit is None or limit >= 64


@pytest.mark.parametrize("name", [name for name in TOGETHER if registry.load("vectors", name).limit(8)])
def test_more_classes_than_fit_are_refused_with_the_limit_and_what_can(name):
    most = registry.load("vectors", name).limit(8)
    matrix(name, min(most, 16), 8)
    with pytest.raises(UsageError, match=f"at most {most} classes in 8 dimensions, {most + 1} were requested") as error:
        matrix(name, most + 1, 8)
    assert "uniform, gaussian and rademacher hold any number" in error.value.hint
    assert ("use packed" in error.value.hint) == (name not in ("packed", "equiangular"))  # as many as packed


# By row: a function of (seed, id, dim) alone


@pytest.mark.parametrize("name", BY_ROW)
def test_drawing_in_tiles_changes_nothing(name, monkeypatch):
    known, sizes = vectors.geometry(name), []
    whole = vectors.draw(known, list(range(50)), dim=64)

    def counted(ids, *rest, **named):
        sizes.append(len(ids))
        known.rows(ids, *rest, **named)

    monkeypatch.setattr(vectors, "TILE", 3 * 64)
    again = vectors.draw(dataclasses.replace(known, name="counted", rows=counted), list(range(50)), dim=64)
    assert torch.equal(again, whole)
    assert sizes == [3] * 16 + [2]


@pytest.mark.gpu
@pytest.mark.parametrize("name", BY_ROW)
@pytest.mark.parametrize("d", [1, 2, 64, 512])
def test_cuda_draws_the_same_bits(name, d):
    ids = torch.tensor(FAR) if d >= 64 else torch.arange(d)
    on_device = vectors.draw(name, ids.cuda(), dim=d, seed=7)
    assert on_device.is_cuda
    assert torch.equal(on_device.cpu(), vectors.draw(name, ids, dim=d, seed=7))


@pytest.mark.gpu
@pytest.mark.parametrize("name", TOGETHER)
def test_rows_come_back_on_the_device_of_the_ids(name, spell):
    rows = vectors.draw(spell(name, 4, 8), torch.arange(4).cuda(), dim=8, num_classes=4)
    assert rows.is_cuda


GOLDEN_BITS = {
    "gaussian": "8e73880a6a32d314b80f2f6841f081926cbe278b94446c4c579a75e0685723ce",
    "hadamard": "16224d44a950e7c7c0dda75ddd86d05f39bafb70c57ea288ad37921c8a1252c2",
    "rademacher": "3422522a8199590427b21710bf3a32445f8a8cbe74438bada165ce730f23efc8",
    "uniform": "40993dec725749698fc223fb1a9f26c6286789d51fd35eae21cbd588cd6de655",
}
GOLDEN_ROUNDED = {
    "equiangular": "525e9348e9ab326c7773f72940d8440338ca2e1b341c3c8f31ba5d62158163c9",
    "orthogonal": "08194f29f95e342542eedb8a4a20ef6c7fb12cea43cc6a3bc4fcf997f38596c8",
    "orthoplex": "c8c7142dd44d5c7f0fb38fdabcb99c33c43ba45026027cd7aed7a9955f261b23",
    "packed": "afa2f98c7ec801f224920fff984bb9c8ae9df22c9e09ecec17a6b8c9e41a897c",
    "simplex": "1b93ad3c842a2ab231c0debcd1bb9592b1cda60b970b4109e3dee65b00ba7521",
}


@pytest.mark.parametrize("name", BY_ROW)
def test_bits_stay_what_they_were(name):
    # A change here breaks every checkpoint that stores a seed instead of its class vectors.
    data = b"".join(vectors.draw(name, FAR, dim=d, seed=2024).numpy().astype("<f4").tobytes() for d in (64, 512))
    assert hashlib.sha256(data).hexdigest() == GOLDEN_BITS.get(name)


@pytest.mark.parametrize("name", [name for name in TOGETHER if name != "file"])
def test_numbers_stay_what_they_were_to_five_digits(name):
    optimised = name in ("packed", "equiangular")  # 20 classes in 4 dimensions
    w = matrix(name, 20 if optimised else 5, 4 if optimised else 8, seed=2024)
    data = (w.double() * 1e5).round().to(torch.int32).numpy().astype("<i4").tobytes()
    assert hashlib.sha256(data).hexdigest() == GOLDEN_ROUNDED.get(name)


# Asking wrongly


@pytest.mark.parametrize(
    ("geometry", "ids", "options", "said"),
    [
        ("gausian", [0], {}, "unknown geometry of class vectors 'gausian'"),
        ("gaussian:path", [0], {}, "only the file geometry takes a path"),
        ("file", [0], {"num_classes": 1}, "only the file geometry takes a path"),
        ("gaussian", [-1], {}, "must be non-negative, got -1..-1"),
        ("gaussian", [0.5], {}, "ids must be integers"),
        ("gaussian", [2**63], {}, "ids must be integers below"),
        ("gaussian", [[0]], {}, "ids must be integers of shape"),
        ("gaussian", [0], {"dim": 0}, "dim must be at least 1"),
        ("simplex", [], {"num_classes": 0}, "num_classes must be at least 1"),
        (None, [0], {}, "unknown geometry of class vectors None"),
        (torch.ones(3, 8), [0], {}, "geometry must be a name or a Geometry, got a tensor"),
        ("gaussian", [0], {"dim": 2.5}, "dim must be a whole number, got 2.5"),
        ("gaussian", [0], {"dim": "8"}, "dim must be a whole number, got '8'"),
        ("gaussian", [0], {"num_classes": "a"}, "num_classes must be a whole number, got 'a'"),
        ("gaussian", [0], {"out": torch.zeros(2, 8)}, "out must be a tensor of shape"),
        *(("gaussian", [0], {"seed": seed}, "seed must be") for seed in (1.5, -1, "a", float("nan"), 2**63)),
    ],
)
def test_wrong_requests_are_refused(geometry, ids, options, said):
    with pytest.raises(UsageError, match=said):
        vectors.draw(geometry, ids, **{"dim": 8, **options})
