"""Neighbours found with float32 products are those of the float64 matrix of all cosines, bit for bit, ties included."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from randhead import rng
from randhead.analyses import _neighbours, _retrieval

N = 140


def normals(n, d, purpose="test/neighbours"):
    return rng.normals(0, purpose, torch.arange(n), d).double()


def near_ties(n=N, d=48):
    """Copies of a few directions, moved by 0 to 1e-5: most cosines are closer than float32 can tell."""
    ids = torch.arange(n)
    size = 10.0 ** -(5 + ids % 7)[:, None].double()
    size[ids % 7 == 6] = 0
    scale = 1 + ids[:, None] % 3
    return scale * (normals(5, d)[ids % 5] + size * normals(n, d, "test/moved"))


def duplicates(n=N, d=33):
    return normals(40, d)[torch.arange(n) % 40]


def with_zeros(n=N, d=16):
    h = normals(n, d)
    h[::7] = 0
    return h


def lattice(n=N, d=3):
    return rng.integers(0, "test/lattice", torch.arange(n), d, high=3).double() - 1


def collapsed(n=N, d=24):
    return (normals(4, d)[torch.arange(n) % 4] + 1e-3 * normals(n, d, "test/moved")).relu()


def equal(n=N, d=7):
    return torch.ones(n, d, dtype=torch.float64)


DATA = (near_ties, duplicates, with_zeros, lattice, collapsed, equal, lambda: normals(N, 64))
LABELS = torch.arange(N) % 6


def in_float64(queries, gallery, excluded=None):
    """All neighbours (B, G): the definition, from the float64 matrix of all cosines."""
    unit = [
        h.numpy() / np.maximum(np.linalg.norm(h.numpy(), axis=1, keepdims=True), 1e-300) for h in (queries, gallery)
    ]
    keys = np.round(unit[0] @ unit[1].T * 2.0**36)
    if excluded is not None:
        keys[np.arange(len(keys)), excluded] = -np.inf
    return torch.from_numpy(np.argsort(-keys, axis=1, kind="stable"))


@pytest.mark.parametrize("k", [1, 20, N - 1])
@pytest.mark.parametrize("data", DATA)
def test_the_order_of_neighbours_is_that_of_float64(data, k):
    h = data()
    gallery, own = _neighbours.Gallery(h), torch.arange(N)
    assert torch.equal(gallery.nearest(h, k, excluded=own), in_float64(h, h, own)[:, :k])
    assert torch.equal(gallery.nearest(h[:9], k), in_float64(h[:9], h)[:, :k])


@pytest.mark.parametrize("data", DATA)
def test_retrieval_and_votes_are_those_of_float64_neighbours(data):
    h = data()
    found = _retrieval.retrieve(h, LABELS)
    hits = LABELS[in_float64(h, h, torch.arange(N))] == LABELS[:, None]
    ranks = torch.arange(1, N + 1).double()
    for q in range(0, N, 7):
        relevant = int((LABELS[q] == LABELS).sum()) - 1
        top = hits[q, :relevant].double()
        average = (top.cumsum(0) / ranks[:relevant] * top).sum() / relevant
        assert found.average_precision_at_r[q].item() == pytest.approx(average.item(), abs=1e-12)
        assert found.r_precision[q] == top.mean()
        assert found.hits[q].tolist() == [bool(hits[q, :k].any()) for k in _retrieval.RECALLS]
    ks = (1, 3, 20)
    voted = torch.cat(list(_retrieval.votes(h[:50], h, LABELS, ks=ks, num_classes=6)))
    labels = LABELS[in_float64(h[:50], h)]
    expected = [[np.bincount(row[:k], minlength=6).argmax() for k in ks] for row in labels.numpy()]
    assert voted.tolist() == expected


@pytest.mark.parametrize("dim", [2, 31, 512, 3000])
def test_no_product_in_float32_is_further_off_than_half_the_doubt(dim):
    # All terms of one sign, and of one size: the sum grows with every term, so that every addition rounds.
    rows = torch.cat((normals(40, dim).abs(), torch.ones(1, dim), 1 + 1e-3 * normals(40, dim), normals(40, dim)))
    gallery = _neighbours.Gallery(rows.double())
    cosines = gallery._cosines(gallery.rounded).double()
    error = (cosines - gallery.directions @ gallery.directions.T).abs().max()
    assert 0 < error < (gallery.doubt - 2.0**-36 - 2.0**-22) / 2 < 1e-6 * (dim + 5)


def test_few_cosines_are_computed_again_and_many_all_at_once(monkeypatch):
    counted = []
    vecdot = torch.linalg.vecdot
    monkeypatch.setattr(torch.linalg, "vecdot", lambda a, b: counted.append(len(a)) or vecdot(a, b))
    h = normals(N, 64)
    apart = _neighbours.Gallery(h)
    apart.nearest(h, 20, excluded=torch.arange(N))
    assert 0 < sum(counted) < N * 20 / 10 and not apart.doubtful
    counted.clear()
    hidden = _neighbours.Gallery(near_ties())
    for rows in torch.arange(N).split(50):
        found = hidden.nearest(near_ties()[rows], 20, excluded=rows)
        assert torch.equal(found, in_float64(near_ties()[rows], near_ties(), rows)[:, :20])
    assert hidden.doubtful and not counted


def test_settings_of_float32_products_do_not_change_neighbours():
    h = near_ties()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = _neighbours.Gallery(h).nearest(h, 20)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found, in_float64(h, h)[:, :20])


PEAK = """
import resource, torch
from randhead.analyses import transfer
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
h = torch.randn(30_000, 512, generator=torch.Generator().manual_seed(0))
y = torch.arange(30_000) % 100
print(transfer.neighbours(h, y, h, y, num_classes=100)["knn_1"])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
"""


@pytest.mark.slow
def test_neighbours_among_30000_features_take_less_than_a_gib_of_memory():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    accuracy, gib = map(float, done.stdout.split())
    assert accuracy == 1 and gib < 1


@pytest.mark.parametrize("k", [1, 3, 5])
def test_candidates_beyond_the_last_neighbour_can_still_be_among_them(k):
    # Cosines differ by about 1e-8, which float32 cannot tell, and labels are random.
    h = normals(1, 8) + 1e-4 * normals(40, 8, "test/moved")
    labels = rng.integers(0, "test/labels", torch.arange(40), 1, high=2).squeeze(1)

    def hits(found):
        return labels[found] == labels[:40, None]

    own = torch.arange(40)
    found = _neighbours.Gallery(h).nearest(h, k, excluded=own, matters=lambda f: hits(f)[:, :-1] != hits(f)[:, 1:])
    assert torch.equal(hits(found), hits(in_float64(h, h, own)[:, :k]))
