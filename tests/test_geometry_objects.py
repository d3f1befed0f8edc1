"""Geometries as objects: what each states, geometries made by hand or of a matrix, and the closed forms of both."""

import ast
import copy
import dataclasses
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_layers import NODES, ROOT
from tiny import default_dtype

from randhead import ClassVectorHead, registry, rng, vectors
from randhead.errors import ContractError, UsageError
from randhead.evaluation.training_log import TrainingInputs
from randhead.losses import StoredRows, expected
from randhead.testing import check_geometry
from randhead.vectors import Geometry, from_matrix

NAMES = [name for name in registry.builtin_names("vectors") if name != "file"]
K, D = 7, 16
MATRIX = torch.arange(1.0, K * D + 1).view(K, D) / 50


def phases(ids, dim, *, seed, out):
    """Points on D/2 circles."""
    angles = 2 * math.pi * rng.uniforms(seed, "phases", ids, dim // 2)
    out.copy_(torch.cat((angles.cos(), angles.sin()), dim=1) * (2 / dim) ** 0.5)


def log_bessel(queries):
    """log E exp(z.w): the sum of log I_0 over the circles."""
    dim = queries.shape[1]
    radii = queries.unflatten(1, (2, dim // 2)).norm(dim=1) * (2 / dim) ** 0.5
    return (torch.special.i0e(radii).log() + radii).sum(dim=1)


def any_number(dim):
    return None


PHASES = Geometry("phases", phases, any_number, by_row=True, log_mean_exp=log_bessel, mean_row=torch.zeros)


def scaled(ids, dim, *, seed, out):
    """Normal entries of variance 1/D, not normalised."""
    out.copy_(rng.normals(seed, "scaled", ids, dim) / dim**0.5)


SCALED = Geometry(
    "scaled", scaled, any_number, by_row=True, log_mean_exp=lambda z: z.square().sum(1) / (2 * z.shape[1])
)


def batch(b=32, d=64, k=3000, norm=6.0):
    generator = torch.Generator().manual_seed(0)
    return norm * F.normalize(torch.randn(b, d, generator=generator)), torch.randint(k, (b,), generator=generator)


# What is known, in the geometry's own file


@pytest.mark.parametrize("name", NAMES)
def test_a_geometry_is_found_by_its_name_and_draws_as_its_name_does(name):
    known = vectors.geometry(name)
    assert str(known) == known.name == name and vectors.geometry(known) is known and known == vectors.geometry(name)
    assert known.by_row == registry.load("vectors", name).BY_ROW
    rows = vectors.draw(known, [3, 1], dim=D, seed=4, num_classes=5)
    assert torch.equal(rows, vectors.draw(name, [3, 1], dim=D, seed=4, num_classes=5))
    head, same = ClassVectorHead(5, D, known, seed=4), ClassVectorHead(5, D, name, seed=4)
    assert head.spec == same.spec and head.geometry == same.geometry
    assert f"fixed {name}" in repr(head)


def test_each_states_what_is_known_of_it():
    known = {name: vectors.geometry(name) for name in NAMES}
    assert {name for name in NAMES if known[name].log_mean_exp} == {"uniform", "gaussian", "rademacher"}
    assert {name for name in NAMES if known[name].cuda_draw} == {"uniform", "gaussian", "rademacher"}
    assert {name for name in NAMES if known[name].mean_row} == {"uniform", "gaussian", "rademacher"}
    assert {name for name in NAMES if known[name].signs} == {"rademacher", "hadamard"}
    assert {name for name in NAMES if known[name].fast_tiles} == {"hadamard"}
    assert {name: known[name].independent for name in NAMES if known[name].by_row} == {
        "uniform": True,
        "gaussian": True,
        "rademacher": True,
        "hadamard": False,
    }


def test_losses_know_no_geometry_by_name():
    docstrings = {id(node.value) for nodes in NODES.values() for node in nodes if isinstance(node, ast.Expr)}
    found = {
        f"{path.relative_to(ROOT)}: {node.value}"
        for path in NODES
        if path.is_relative_to(ROOT / "losses")
        for node in NODES[path]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if set(registry.builtin_names("vectors")) & set(node.value.replace('"', " ").split())
    }
    assert found == set()


@pytest.mark.parametrize("known", [*map(vectors.geometry, NAMES), PHASES, from_matrix(MATRIX, name="simplex")], ids=str)
def test_a_head_and_its_geometry_can_be_copied_and_pickled(known):
    head = ClassVectorHead(K, D, known, seed=2)
    for copied in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert torch.equal(copied.draw(), head.draw()) and copied.spec == head.spec
        assert torch.equal(copied.class_vectors(), head.class_vectors())
        copied.load_state_dict(head.state_dict())
        assert vectors.is_stored(copied.geometry) == vectors.is_stored(known)


# Made by hand


def test_a_geometry_made_by_hand_needs_no_registration():
    head = ClassVectorHead(K, D, PHASES, seed=3)
    torch.testing.assert_close(head.class_vectors().norm(dim=1), torch.ones(K))
    assert torch.equal(head.draw(), head.class_vectors()) and head.spec.geometry == "phases"
    assert torch.equal(head.state_dict()["vectors"], head.class_vectors())
    again = ClassVectorHead(K, D, PHASES, seed=3)
    again.load_state_dict(head.state_dict())
    named = ClassVectorHead(2, D, PHASES, seed=3, class_names=("a", "b"))
    assert torch.equal(named.draw()[1], vectors.draw(PHASES, [rng.name_id("b")], dim=D, seed=3)[0])
    learned = ClassVectorHead(K, D, PHASES, seed=3, trainable=True)
    assert torch.equal(learned.vectors, head.class_vectors()) and learned.vectors.requires_grad


@pytest.mark.parametrize(
    "known", [PHASES, dataclasses.replace(PHASES, mean_row=None), SCALED], ids=lambda known: repr(known)
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_closed_form_made_by_hand_is_within_its_bound_of_the_exact_loss(known, smoothing):
    (features, labels), k, d = batch(), 3000, 64
    head = ClassVectorHead(k, d, known, normaliser="expected")
    exact = ClassVectorHead(k, d, known, normaliser="dense")
    close = head.loss(features, labels, label_smoothing=smoothing)
    off = abs(close - exact.loss(features, labels, label_smoothing=smoothing))
    assert 0 < head.last_error_bound < 0.05 and off < head.last_error_bound
    wrong = dataclasses.replace(known, log_mean_exp=lambda z: known.log_mean_exp(z) + 0.5)
    with pytest.raises(ContractError, match="log_mean_exp"):
        ClassVectorHead(k, d, wrong, normaliser="expected")


@pytest.mark.parametrize("wrong", [lambda z: 99 + 0 * z.sum(1), lambda z: math.nan * z.sum(1), lambda z: z.norm(dim=1)])
def test_a_head_refuses_a_closed_form_of_other_vectors(wrong):
    ClassVectorHead(1000, 64, SCALED, normaliser="expected")
    with pytest.raises(ContractError, match="log_mean_exp"):
        ClassVectorHead(1000, 64, dataclasses.replace(SCALED, log_mean_exp=wrong), normaliser="expected")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (dataclasses.replace(PHASES, log_mean_exp=None), "phases vectors have no closed form"),
        ("hadamard", "hadamard vectors are not independent draws"),
        ("simplex", "simplex vectors are not independent draws"),
        (MATRIX, "given vectors are not independent draws"),
    ],
)
def test_what_has_no_closed_form_is_refused_with_that_reason(given, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        ClassVectorHead(K, D, given, normaliser="expected")
    assert "use fixed gaussian, rademacher, uniform vectors, or `normaliser=" in caught.value.hint
    assert ("`log_mean_exp`" in caught.value.hint) == ("phases" in reason)


def test_learned_rows_have_no_closed_form_whatever_they_started_from():
    with pytest.raises(UsageError, match="learned"):
        ClassVectorHead(K, D, PHASES, trainable=True, normaliser="expected")


def test_stored_rows_of_a_geometry_with_a_closed_form_have_it():
    features, labels = batch(d=D, k=K)
    rows = vectors.draw("gaussian", range(K), dim=D)
    stored = StoredRows(rows, geometry=vectors.geometry("gaussian"))
    drawn = ClassVectorHead(K, D, "gaussian").rows()
    for found, wanted in zip(
        expected.scores(features, labels, stored), expected.scores(features, labels, drawn), strict=True
    ):
        torch.testing.assert_close(found, wanted)


def test_a_closed_form_of_rows_of_other_norms_is_refused_for_cosines():
    ClassVectorHead(K, 512, PHASES, "cosine", normaliser="expected", normaliser_tolerance=math.inf)
    with pytest.raises(UsageError, match=r"closed form of scaled vectors .* norms, from 0\..* to 1\..*cosine"):
        ClassVectorHead(K, 512, SCALED, "cosine", normaliser="expected")


@pytest.mark.parametrize("wrong", [lambda z: z, lambda z: 0.0, lambda z: (z.sum(1), z)])
def test_a_closed_form_of_another_shape_is_named(wrong):
    with pytest.raises(ContractError, match=r"log_mean_exp of phases vectors must give one number per query \(8,\)"):
        ClassVectorHead(K, D, dataclasses.replace(PHASES, log_mean_exp=wrong), normaliser="expected")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "name of a geometry must be text, got ''"),
        ({"name": 3}, "name of a geometry must be text, got 3"),
        ({"rows": None}, "rows must be a function, got None"),
        ({"limit": 5}, "limit must be a function, got 5"),
        ({"by_row": 1}, "by_row must be True or False, got 1"),
        ({"signs": None}, "signs must be True or False, got None"),
        ({"independent": "yes"}, "independent must be True or False, got 'yes'"),
        ({"log_mean_exp": 0.5}, "log_mean_exp must be a function, got 0.5"),
        ({"mean_row": torch.zeros(3)}, "mean_row must be a function"),
        ({"cuda_draw": "signs"}, "cuda_draw must be a CudaDraw, got 'signs'"),
        ({"by_row": False}, "closed form for rows that are independent draws"),
        ({"independent": False}, "closed form for rows that are independent draws"),
    ],
)
def test_wrong_statements_are_refused(change, words):
    with pytest.raises(UsageError, match=words) as caught:
        dataclasses.replace(PHASES, **change)
    assert words.startswith("name") or caught.value.hint


@pytest.mark.parametrize(
    "make",
    [
        *(lambda name=name: dataclasses.replace(PHASES, name=name) for name in ("uniform", "simplex", "file:w.npy")),
        lambda: dataclasses.replace(vectors.geometry("uniform"), log_mean_exp=log_bessel),
        lambda: dataclasses.replace(vectors.geometry("uniform"), name="uniform:1"),
        lambda: dataclasses.replace(vectors.geometry("simplex"), rows=phases),
        lambda: from_matrix(MATRIX, name="uniform"),
    ],
)
def test_nothing_else_takes_the_name_of_a_geometry_of_the_package(make):
    with pytest.raises(UsageError, match="a geometry of randhead is named") as caught:
        make()
    assert "another `name`" in caught.value.hint


def test_rows_of_users_need_not_mind_the_ambient_state():
    axes = Geometry("axes", lambda ids, dim, *, seed, num_classes: torch.eye(dim)[ids], lambda dim: dim, by_row=False)
    with default_dtype(torch.float64), torch.device("meta"), torch.inference_mode():
        rows = vectors.draw(axes, [2, 0], dim=3, num_classes=3)
        assert torch.get_default_dtype() == torch.float64 and torch.ones(1).is_meta
    assert torch.equal(rows, torch.eye(3)[[2, 0]]) and rows.dtype == torch.float32


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            lambda ids, dim, *, seed, num_classes: torch.ones(2, dim),
            r"geometry 'mine': rows must return float32 of shape",
        ),
        (lambda ids, dim, *, seed, num_classes: torch.ones(len(ids), dim).long(), "got int64"),
        (
            lambda ids, dim, *, seed, num_classes: torch.full((len(ids), dim), math.nan),
            "row 0 has numbers that are not",
        ),
        (
            lambda ids, dim, *, seed, num_classes: torch.ones(len(ids), dim, device="meta"),
            "device of the ids, cpu, got meta",
        ),
    ],
)
def test_wrong_rows_of_a_geometry_made_by_hand_are_named(rows, words):
    with pytest.raises(ContractError, match=words):
        ClassVectorHead(K, D, Geometry("mine", rows, any_number, by_row=False))


def fails(*given, **options):
    return 1 // 0


@pytest.mark.parametrize(
    ("changed", "words", "hint"),
    [
        ({"rows": fails}, "rows raised ZeroDivisionError: integer", "`rows(ids, dim, seed=seed, out=out)`"),
        ({"rows": lambda ids, dim: None}, "rows raised TypeError: ", "`rows(ids, dim, seed=seed, out=out)`"),
        ({"rows": lambda ids: None, "by_row": False}, "rows raised TypeError: ", "num_classes=num_classes)`"),
        ({"limit": lambda: None}, "limit raised TypeError: ", "`limit(dim)`"),
        ({"check_size": fails}, "check_size raised ZeroDivisionError", "`check_size(dim, num_classes)`"),
        ({"log_mean_exp": fails}, "log_mean_exp raised ZeroDivisionError", "`log_mean_exp(queries)`"),
        ({"log_mean_exp": log_bessel, "mean_row": fails}, "mean_row raised ZeroDivisionError", "`mean_row(dim)`"),
    ],
)
def test_an_exception_of_a_geometry_made_by_hand_is_an_error_of_its_contract(changed, words, hint):
    made = Geometry(**{"name": "mine", "rows": phases, "limit": any_number, "by_row": True, **changed})
    with pytest.raises(ContractError, match=f"the geometry 'mine': {words}") as found:
        head = ClassVectorHead(K, D, made, normaliser="expected" if made.log_mean_exp else "auto")
        head.loss(torch.zeros(2, D), torch.tensor([0, 1]), label_smoothing=0.1)
    assert hint in found.value.hint and isinstance(found.value.__cause__, (TypeError, ZeroDivisionError))


def test_a_file_can_state_a_closed_form_and_its_errors_name_the_line(tmp_path):
    lines = ["import torch", "BY_ROW = True", "def rows(ids, dim, *, seed, out):", "    out.copy_(torch.eye(dim)[ids])"]
    lines += ["def limit(dim):", "    return dim", "def log_mean_exp(queries):", "    return queries.missing()"]
    (tmp_path / "stated.py").write_text("\n".join(lines))
    with registry.registered("vectors", tmp_path / "stated.py") as name:
        assert vectors.geometry(name).log_mean_exp and vectors.geometry(name).origin == str(tmp_path / "stated.py")
        with pytest.raises(UsageError, match=r"stated\.py, line 8: AttributeError"):
            ClassVectorHead(K, D, name, normaliser="expected")
    (tmp_path / "stated.py").write_text("\n".join(lines).replace("BY_ROW = True", "BY_ROW = False"))
    with (
        pytest.raises(
            ContractError, match=r"stated\.py: log_mean_exp is the closed form for rows that are independent"
        ),
        registry.registered("vectors", tmp_path / "stated.py"),
    ):
        pytest.fail("registered")


# Checked by the contract


def test_the_contract_holds_for_geometries_made_by_hand():
    check_geometry(PHASES)
    check_geometry(
        dataclasses.replace(PHASES, log_mean_exp=lambda z: (log_bessel(z) + 0.01, 0.02 + 0 * z[:, 0].detach()))
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"log_mean_exp": lambda z: z.square().sum(1) / z.shape[1]}, "log_mean_exp: for queries of norm"),
        ({"log_mean_exp": lambda z: log_bessel(z) + 0.05}, "log_mean_exp: for queries of norm"),
        ({"log_mean_exp": lambda z: z.norm(dim=1).log()}, "finite"),
        ({"log_mean_exp": lambda z: log_bessel(z)[:, None]}, "must give"),
        ({"mean_row": lambda dim: torch.full((dim,), 0.01)}, "mean_row: differs"),
        ({"mean_row": lambda dim: torch.zeros(dim + 1)}, "mean_row.* must be a float32 tensor"),
        ({"mean_row": lambda dim: torch.zeros(dim, dtype=torch.float64)}, "mean_row.* must be a float32 tensor"),
        ({"signs": True}, "SIGNS: entries"),
    ],
)
def test_the_contract_finds_what_is_stated_wrongly(change, words):
    with pytest.raises(AssertionError, match=words):
        check_geometry(dataclasses.replace(PHASES, **change))


def test_the_contract_finds_rows_that_are_not_independent():
    known = vectors.geometry("hadamard")
    claimed = dataclasses.replace(known, name="claimed", independent=True)
    check_geometry(dataclasses.replace(known, name="same"))
    with pytest.raises(AssertionError, match="rows are not independent draws"):
        check_geometry(claimed)


# Of a matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_a_matrix_becomes_float32_and_is_a_copy(dtype):
    given = (MATRIX * 8).to(dtype)
    head, kept = ClassVectorHead(K, D, given), given.to(torch.float32).clone()
    given.zero_()
    assert torch.equal(head.class_vectors(), kept) and torch.equal(head.draw(), kept)
    assert str(head.geometry) == head.spec.geometry == "given"
    assert torch.equal(head.state_dict()["vectors"], kept)


def test_a_matrix_of_any_origin_can_be_trained_with():
    with torch.inference_mode():
        inference, built_there = MATRIX.clone(), from_matrix(MATRIX)
    assert not built_there.matrix.is_inference()
    for given in (inference, built_there, torch.nn.Parameter(MATRIX.clone()), MATRIX.t().contiguous().t()):
        head, (features, labels) = ClassVectorHead(K, D, given), batch(4, D, K)
        head.loss(features.requires_grad_(), labels).backward()
        assert features.grad.isfinite().all() and not list(head.parameters())
        learned = ClassVectorHead(K, D, given, trainable=True)
        learned.loss(features, labels).backward()
        assert learned.vectors.grad.any() and learned.vectors.is_leaf


def test_a_matrix_keeps_its_norms_for_dot_products_and_gives_directions_for_cosines():
    features, _ = batch(4, D, K)
    torch.testing.assert_close(ClassVectorHead(K, D, MATRIX)(features), features @ MATRIX.T)
    cosines = F.normalize(features) @ F.normalize(MATRIX).T
    torch.testing.assert_close(ClassVectorHead(K, D, MATRIX, "cosine", scale=1.0)(features), cosines)


def test_the_rows_of_a_matrix_are_in_the_order_of_the_class_names():
    names = tuple("gfedcba")
    head = ClassVectorHead(K, D, MATRIX, class_names=names)
    assert torch.equal(head.class_vectors(), MATRIX) and torch.equal(head.draw(), MATRIX)


def test_a_zero_row_has_no_cosine_but_is_a_class_of_dot_products():
    given = MATRIX.clone()
    given[3] = 0
    assert (ClassVectorHead(K, D, given)(batch(4, D, K)[0])[:, 3] == 0).all()
    with pytest.raises(UsageError, match="the class vector of class 3 is zero"):
        ClassVectorHead(K, D, given, "cosine")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (MATRIX[0], r"must have shape \(K, D\), got \(16,\)"),
        (MATRIX[None], r"must have shape \(K, D\), got \(1, 7, 16\)"),
        (MATRIX[:0], r"must have shape \(K, D\), got \(0, 16\)"),
        (MATRIX[1:], r"shape \(6, 16\) must be \(7, 16\), \(classes, dimensions\)"),
        (MATRIX.T, r"shape \(16, 7\) must be \(7, 16\), \(classes, dimensions\)"),
        (MATRIX.to(torch.complex64), "must be real numbers, got complex64"),
        (MATRIX > 1, "must be real numbers, got bool"),
        (MATRIX.to("meta"), "on the meta device, which holds no numbers"),
        (MATRIX.double() * 1e300, "row 0 of the class vectors has numbers that are not finite"),
        (MATRIX.where(MATRIX < 1, math.nan), "row 3 of the class vectors has numbers that are not finite"),
        (MATRIX.tolist(), "vectors must be the name of a geometry, such as 'uniform', a Geometry or a tensor"),
        (MATRIX.numpy(), "vectors must be the name of a geometry, such as 'uniform', a Geometry or a tensor"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_refused_with_what_is_wrong(given, words):
    with pytest.raises(UsageError, match=words) as caught:
        ClassVectorHead(K, D, given)
    assert caught.value.hint


def test_a_transposed_matrix_is_told():
    with pytest.raises(UsageError) as caught:
        ClassVectorHead(K, D, MATRIX.T)
    assert "transpose" in caught.value.hint


def test_the_start_of_learned_vectors_is_drawn_although_a_checkpoint_stores_them(tmp_path):
    learned = from_matrix(MATRIX, name="simplex")
    head = ClassVectorHead(K, D, learned, trainable=True, seed=3)
    config = SimpleNamespace(head=SimpleNamespace(vectors="simplex"))
    run = SimpleNamespace(checkpoints=tmp_path)
    loaded = SimpleNamespace(model=SimpleNamespace(head=head), config=config, run=run)
    steps, kept = TrainingInputs(None, loaded, None).class_vectors
    assert steps.tolist() == [0] and torch.equal(kept[0], ClassVectorHead(K, D, "simplex", seed=3).draw())


@pytest.mark.parametrize("row", [0.0, torch.zeros(1), torch.zeros(1, 16)])
def test_a_wrong_mean_row_is_an_error_of_the_geometry(row):
    def rows(ids, dim, *, seed, out):
        vectors.draw("gaussian", ids, dim=dim, seed=seed, out=out)

    known = vectors.geometry("gaussian")
    mine = Geometry("mine", rows, lambda dim: None, True, log_mean_exp=known.log_mean_exp, mean_row=lambda dim: row)
    head = ClassVectorHead(1000, 16, mine, normaliser="expected", normaliser_tolerance=math.inf)
    with pytest.raises(ContractError, match="mean_row"):
        head.loss(torch.randn(2, 16), torch.tensor([0, 1]), label_smoothing=0.1)
