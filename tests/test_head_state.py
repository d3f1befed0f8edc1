"""The state of a head in other people's software: saved, averaged, cast, moved, loaded in part, and grown."""

import copy
import hashlib
import io
import json
import pickle
from dataclasses import asdict

import pytest
import torch
from tiny import default_dtype
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.swa_utils import AveragedModel

from randhead import ClassVectorHead, build_model, rng
from randhead.errors import RunError, UsageError
from randhead.head import class_vectors, recognise
from randhead.head.spec import VectorsSpec, pack_spec, unpack_spec, vectors_sha256
from randhead.vectors import Geometry

K, D = 6, 16
NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
REDRAWN = ("uniform", "gaussian", "rademacher", "hadamard")  # a checkpoint holds their spec
GIVEN = torch.linspace(-1, 1, K * D).reshape(K, D) + torch.eye(K, D)


def own_rows(ids, dim, *, seed, out):
    out.copy_(rng.normals(seed, "own", ids, dim))


def no_limit(dim):
    return None


OWN = Geometry("own", own_rows, no_limit, by_row=True)  # a checkpoint holds their numbers
KINDS = {
    "fixed": {},
    "named": {"class_names": NAMES, "vectors": "gaussian"},
    "simplex": {"vectors": "simplex", "scoring": "cosine"},
    "given": {"vectors": GIVEN},
    "own": {"vectors": OWN},
    "own, named": {"vectors": OWN, "class_names": NAMES},
    "learned": {"trainable": True, "bias": 0.1, "scoring": "cosine", "learn_scale": True},
    "learned, named": {"trainable": True, "bias": 0.1, "class_names": NAMES},
    "learned, simplex": {"trainable": True, "vectors": "simplex"},
    "learned, given": {"trainable": True, "vectors": GIVEN},
    "learned, own, named": {"trainable": True, "bias": 0.1, "vectors": OWN, "class_names": NAMES},
}
FIXED = [kind for kind in KINDS if not KINDS[kind].get("trainable")]
LEARNED = [kind for kind in KINDS if kind not in FIXED]
every_kind = pytest.mark.parametrize("kind", KINDS)
every_fixed_kind = pytest.mark.parametrize("kind", FIXED)


def make(kind, num_classes=K, **change):
    return ClassVectorHead(num_classes, D, **{**KINDS[kind], **change})


def other(kind):
    """A head of the same sizes with other class vectors."""
    if "class_names" in KINDS[kind]:
        return make(kind, class_names=(*NAMES[1:], "gnu"))
    return make(kind, vectors=-GIVEN) if "given" in kind else make(kind, seed=1)


def trained(kind):
    """A head that differs from `make(kind)` in all that is learned."""
    head = make(kind)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.25
    return head


def features(b=4):
    return torch.randn(b, D, generator=torch.Generator().manual_seed(0))


def json_spec(spec, **change):
    """A spec as checkpoints had it before `vectors_spec`."""
    return torch.tensor(list(json.dumps({**asdict(spec), **change}).encode()), dtype=torch.uint8)


# ---- the spec


@pytest.mark.parametrize(
    ("geometry", "names"),
    [(name, names) for name in REDRAWN for names in (None, NAMES) if not (name == "hadamard" and names)],
)
def test_the_state_of_a_head_that_can_be_drawn_again_is_below_a_kilobyte(geometry, names):
    head = ClassVectorHead(K, D, geometry, class_names=names)
    state = head.state_dict()
    assert not list(head.parameters()) and set(state) == {"vectors_spec"}
    assert state["vectors_spec"].dtype == torch.int64 and state["vectors_spec"].nbytes < 1000


@pytest.mark.parametrize("geometry", ["uniform", "file:/an/über/" + 90 * "long/" + "w.npy"])
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_a_spec_is_read_as_it_was_packed(geometry, seed):
    spec = VectorsSpec(geometry, seed, 100_000_000, 512, "name", "0f" * 32)
    for change in (0, 0.2, -0.2):
        assert unpack_spec(pack_spec(spec) + change) == spec


@every_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_state_that_was_averaged_or_cast_is_read(kind, dtype):
    states = [trained(kind).state_dict() for _ in range(3)]
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=dtype)
    mean = {key: sum(w * s[key].to(dtype) for w, s in zip(weights, states, strict=True)) for key in states[0]}
    head = make(kind)
    head.load_state_dict(mean)
    assert torch.equal(head.vectors_spec, make(kind).vectors_spec)
    torch.testing.assert_close(head(features()), trained(kind)(features()), rtol=0.1, atol=0.1)
    if kind in FIXED:
        assert torch.equal(head.weight, make(kind).weight)


def test_an_average_that_integers_have_truncated_is_read():
    state = make("fixed").state_dict()["vectors_spec"]
    make("fixed").load_state_dict({"vectors_spec": (0.9 * state + (0.1 - 1e-9) * state).long()})


@every_kind
def test_a_spec_of_zeros_says_nothing_and_becomes_that_of_the_head(kind):
    # flwr's FedAvg multiplies tensors of integers by a weight below 1 that it has made an integer.
    head, state = make(kind), trained(kind).state_dict()
    head.load_state_dict({**state, "vectors_spec": torch.zeros_like(state["vectors_spec"])})
    assert torch.equal(head.vectors_spec, state["vectors_spec"])
    assert torch.equal(head(features()), trained(kind)(features()))


@pytest.mark.parametrize("kind", ["fixed", "learned", "named"])
def test_an_average_of_different_heads_is_refused(kind):
    one, two = make(kind).state_dict(), other(kind).state_dict()
    with pytest.raises(RunError) as caught:
        make(kind).load_state_dict({key: (one[key] + two[key]) / 2 for key in one})
    assert "float32 of shape" in str(caught.value) and "same class vectors" in caught.value.hint


@pytest.mark.parametrize(
    "packed",
    [
        torch.tensor([1, 2, 3]),
        torch.zeros(85),
        torch.full((84,), torch.nan),
        torch.full((84,), 300),
        torch.ones(84, dtype=torch.bool),
        torch.ones(84, dtype=torch.complex64),
        torch.ones(2, 42),
    ],
)
def test_what_is_no_spec_is_named(packed):
    with pytest.raises(RunError, match="damaged") as caught:
        make("fixed").load_state_dict({"vectors_spec": packed})
    assert str(packed.dtype).removeprefix("torch.") in str(caught.value) and caught.value.hint


# ---- checkpoints before `vectors_spec`


@every_kind
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_the_spec_of_an_old_checkpoint_is_read(kind, dtype):
    state = trained(kind).state_dict()
    del state["vectors_spec"]
    state["spec"] = json_spec(make(kind).spec).to(dtype)
    head = make(kind)
    head.load_state_dict(state)
    assert torch.equal(head(features()), trained(kind)(features()))
    if "vectors" not in head._buffers:  # else these are compared
        with pytest.raises(RunError, match="not those of the checkpoint"):
            head.load_state_dict({**state, "spec": json_spec(make(kind).spec, seed=8, dim=D + 1)})


@pytest.mark.parametrize("kind", LEARNED)
def test_the_start_of_learned_vectors_may_be_another_in_old_checkpoints_and_is_known_if_they_are_a_set(kind):
    head, state = make(kind), trained(kind).state_dict()
    saved = json_spec(head.spec, sha256="0f" * 32)
    head.load_state_dict({**{key: value for key, value in state.items() if key != "vectors_spec"}, "spec": saved})
    assert torch.equal(head(features()), trained(kind)(features()))
    assert (head.spec.sha256 == "0f" * 32) is not head.geometry.by_row
    make(kind).load_state_dict(head.state_dict())


@pytest.mark.parametrize("values", [[1, 2, 3], list(b'{"seed": 3}'), list(b"[]"), [0.5] * 3])
def test_an_old_spec_that_is_damaged_is_named(values):
    with pytest.raises(RunError, match="damaged"):
        make("fixed").load_state_dict({"spec": torch.tensor(values)})
    strange = json_spec(make("fixed").spec, num_classes="many")
    with pytest.raises(RunError, match="damaged"):
        make("fixed").load_state_dict({"spec": strange})


# ---- loading


@every_kind
def test_a_missing_head_is_torchs_own_missing_key(kind):
    model = torch.nn.Sequential(torch.nn.Linear(3, D), make(kind))
    backbone = {"0.weight": torch.ones(D, 3), "0.bias": torch.ones(D)}
    missing = model.load_state_dict(backbone, strict=False).missing_keys
    assert set(missing) == {f"1.{key}" for key in make(kind).state_dict()}
    with pytest.raises(RuntimeError, match=r'Missing key\(s\).*"1.vectors_spec"'):
        model.load_state_dict(backbone)
    assert torch.equal(model[1].weight, make(kind).weight)


@every_kind
@pytest.mark.parametrize("assign", [False, True])
def test_the_state_of_another_head_is_refused_and_changes_nothing(kind, assign):
    head = make(kind)
    if kind != "learned, given":  # whose start may have been another
        with pytest.raises(RunError, match="not those of the checkpoint"):
            head.load_state_dict(other(kind).state_dict(), assign=assign)
    assert torch.equal(head(features()), make(kind)(features()))
    head.load_state_dict(trained(kind).state_dict(), assign=assign)
    assert torch.equal(head(features()), trained(kind)(features()))


def test_other_class_names_are_named_as_the_reason():
    for kind in ("named", "learned, named"):
        with pytest.raises(RunError) as caught:
            make(kind).load_state_dict(other(kind).state_dict())
        assert str(make(kind).spec) in str(caught.value) and str(other(kind).spec) in str(caught.value)
        assert "class names" in caught.value.hint


@pytest.mark.parametrize("kind", ["given", "simplex", "learned, given", "learned, simplex"])
def test_vectors_that_cannot_be_drawn_again_come_back_by_the_way_out_of_the_error(kind):
    state = {f"head.{key}": value for key, value in trained(kind).state_dict().items()}
    learned = KINDS[kind].get("trainable", False)
    model = torch.nn.ModuleDict({"head": ClassVectorHead(K, D, vectors=-GIVEN, scoring=make(kind).scoring)})
    if not learned:
        with pytest.raises(RunError) as caught:
            model.load_state_dict(state)
        assert '`ClassVectorHead(..., vectors=state["head.vectors"])`' in caught.value.hint
    arguments = {"vectors": state["head.vectors"], "trainable": learned, "scoring": make(kind).scoring}
    model["head"] = ClassVectorHead(K, D, **arguments)
    model.load_state_dict(state)
    assert torch.equal(model["head"](features()), trained(kind)(features()))


def test_a_given_matrix_is_named_and_copied():
    matrix = GIVEN.clone()
    head = ClassVectorHead(K, D, vectors=matrix)
    matrix.zero_()
    assert "fixed given" in repr(head) and "learned given" in repr(make("learned, given"))
    assert torch.equal(head.state_dict()["vectors"], GIVEN) and torch.equal(head.weight, GIVEN)


# ---- other software


@every_kind
def test_copies_and_pickles_are_equal(kind):
    head = trained(kind)
    saved = io.BytesIO()
    torch.save(head.state_dict(), saved)
    saved.seek(0)
    loaded = make(kind)
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    for same in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), loaded):
        assert torch.equal(same(features()), head(features()))
        assert same.spec == head.spec


@every_kind
def test_averaging_models_keeps_the_head(kind):
    head = torch.nn.Sequential(torch.nn.Linear(D, D), trained(kind))
    for options in ({"use_buffers": True}, {"use_buffers": False}, {"multi_avg_fn": None}):
        average = AveragedModel(head, **options)
        for _ in range(3):
            average.update_parameters(head)
        make(kind).load_state_dict(average.module[1].state_dict())
        torch.testing.assert_close(average(features()), head(features()))


@every_fixed_kind
def test_writing_to_the_tensors_of_a_state_dict_does_not_change_a_fixed_head(kind):
    head, before = make(kind), make(kind)(features())
    for _ in range(3):  # an exponential moving average of state_dicts, as timm's ModelEmaV2 makes it
        for average, value in zip(head.state_dict().values(), make(kind).state_dict().values(), strict=True):
            average.copy_(0.9 * average + 0.1 * value)
    assert torch.equal(head(features()), before)
    assert all(torch.equal(value, make(kind).state_dict()[key]) for key, value in head.state_dict().items())


@every_kind
@pytest.mark.parametrize("assign", [False, True])
def test_a_head_can_be_built_on_the_meta_device_and_loaded(kind, assign):
    with torch.device("meta"):
        head = make(kind)
    assert head.spec == make(kind).spec
    assert all(parameter.is_meta for parameter in head.parameters())
    if not assign:
        head.to_empty(device="cpu")
        if kind in FIXED:
            assert torch.equal(head(features()), make(kind)(features()))
    head.load_state_dict(trained(kind).state_dict(), assign=assign)
    assert torch.equal(head(features()), trained(kind)(features()))
    assert all(torch.equal(value, trained(kind).state_dict()[key]) for key, value in head.state_dict().items())


@every_kind
def test_reset_parameters_sets_a_head_to_its_start(kind):
    head = trained(kind).to("meta").to_empty(device="cpu")
    head.reset_parameters()
    assert all(torch.equal(value, make(kind).state_dict()[key]) for key, value in head.state_dict().items())
    assert torch.equal(head(features()), make(kind)(features()))


@every_kind
@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.float64])
def test_buffers_that_other_software_puts_in_are_checked_at_first_use(kind, dtype, monkeypatch):
    checks, check = [], recognise.check_buffers
    monkeypatch.setattr(recognise, "check_buffers", lambda *a: checks.append(a) or check(*a))
    head = make(kind)
    for name in head._buffers:
        head._buffers[name] = head._buffers[name].to(dtype if name == "vectors_spec" else torch.bfloat16, copy=True)
    for _ in range(3):
        assert torch.equal(head(features()), make(kind)(features()))
    assert len(checks) == 1
    assert all(torch.equal(value, make(kind).state_dict()[key]) for key, value in head.state_dict().items())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "learned, given"])
@pytest.mark.parametrize(
    "use", [lambda h: h(features()), lambda h: h.double(), lambda h: h.state_dict(), lambda h: h.weight]
)
def test_buffers_of_another_head_are_refused_whatever_comes_first(kind, use):
    head = make(kind)
    head._buffers.update({name: buffer.clone() for name, buffer in other(kind)._buffers.items()})
    with pytest.raises(RunError, match="not those of the checkpoint"):
        use(head)


def test_buffers_without_numbers_are_not_checked():
    head = make("given")
    head._buffers["vectors_spec"] = head.vectors_spec.to("meta")
    assert torch.equal(head(features()), make("given")(features()))


def test_what_transformers_has_not_loaded_is_not_taken_for_a_checkpoint():
    garbage = torch.full_like(make("fixed").vectors_spec, 7)
    head = make("fixed")
    head._is_hf_initialized, head._buffers["vectors_spec"] = True, garbage
    assert torch.equal(head(features()), make("fixed")(features()))
    head = make("learned")
    head._is_hf_initialized, head._buffers["vectors_spec"] = True, garbage
    with pytest.raises(RunError) as caught:
        head(features())
    assert "`head.reset_parameters()`" in caught.value.hint
    head.reset_parameters()
    assert torch.equal(head(features()), make("learned")(features()))
    head = make("learned, named")
    head._buffers["vectors_spec"] = other("learned, named").vectors_spec
    head.vectors._is_hf_initialized = head.vectors_spec._is_hf_initialized = True
    with pytest.raises(RunError, match="not those of the checkpoint"):
        head.reset_parameters()
    head = trained("learned")
    head.vectors._is_hf_initialized = True
    head.reset_parameters()
    assert torch.equal(head.vectors, trained("learned").vectors) and head.bias.eq(head.initial_bias).all()


@every_kind
def test_functions_of_a_state_compute_the_same(kind):
    head, models, x = make(kind), [trained(kind), make(kind)], features()
    assert torch.equal(functional_call(head, models[0].state_dict(), x), models[0](x))
    parameters, buffers = stack_module_state(models)
    both = vmap(lambda p, b: functional_call(head, (p, b), x))(parameters, buffers)
    torch.testing.assert_close(both[0], models[0](x))
    if kind != "learned, given":
        with pytest.raises(RunError):
            functional_call(head, other(kind).state_dict(), x)


@pytest.mark.slow
@every_kind
def test_a_state_of_distributed_checkpoints_is_carried(kind):
    dcp = pytest.importorskip("torch.distributed.checkpoint.state_dict")
    model = torch.nn.Sequential(torch.nn.Linear(3, D), make(kind))
    saved = {key: value.clone() for key, value in dcp.get_model_state_dict(model).items()}
    saved.update({f"1.{key}": value for key, value in trained(kind).state_dict().items()})
    dcp.set_model_state_dict(model, saved)
    assert torch.equal(model[1](features()), trained(kind)(features()))


@pytest.mark.slow
def test_a_learned_head_that_is_sharded_is_built_on_the_meta_device_reset_and_saved(tmp_path):
    dist = pytest.importorskip("torch.distributed")
    if not dist.is_gloo_available():
        pytest.skip("needs gloo")
    from torch.distributed.checkpoint.state_dict import get_model_state_dict
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with torch.device("meta"):
            model = torch.nn.Sequential(make("learned, named"))
        fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
        model.to_empty(device="cpu")
        model[0].reset_parameters()
        assert torch.equal(model(features()), make("learned, named")(features()))
        state = get_model_state_dict(model)
        assert torch.equal(state["0.vectors"].full_tensor(), make("learned, named").vectors)
        assert torch.equal(state["0.vectors_spec"], make("learned, named").vectors_spec)
    finally:
        dist.destroy_process_group()


# ---- the ambient state of torch


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_default_dtype_is_that_of_what_is_learned_only(kind, dtype):
    with default_dtype(dtype):
        head = make(kind)
    assert head.spec == make(kind).spec
    assert {parameter.dtype for parameter in head.parameters()} <= {dtype}
    assert torch.equal(head.weight, make(kind).weight.to(dtype) if head.trainable else make(kind).weight)
    assert head(features()).dtype == (
        torch.float64 if head.bias is not None and dtype == torch.float64 else torch.float32
    )


@every_kind
def test_a_head_of_inference_mode_can_be_trained(kind):
    with torch.inference_mode():
        built = make(kind, neck="linear")
        used = make(kind)
        used(features())
        used.double()
    assert not any(buffer.is_inference() for buffer in used.buffers())
    for head in (built, used.float()):
        x = features().requires_grad_()
        head.loss(x, torch.arange(4), label_smoothing=0.1).backward()
        assert x.grad is not None and all(p.grad is not None for p in head.parameters())
        assert not any(value.is_inference() for value in head.state_dict().values())


def test_a_classifier_is_built_on_the_cpu_and_can_be_trained_whatever_the_ambient_state():
    with torch.device("meta"), torch.inference_mode():
        model = build_model(num_classes=K, image_size=8, scoring="cosine")
    images = torch.ones(2, 3, 8, 8)
    same = build_model(num_classes=K, image_size=8, scoring="cosine")
    assert torch.equal(model(images), same(images))
    model(images).sum().backward()


def test_rows_that_are_drawn_in_inference_mode_can_be_trained_with(monkeypatch):
    monkeypatch.setattr(class_vectors, "DRAWN_AT_ONCE_BYTES", 0)
    for first in (lambda h: h(features()), lambda h: h.materialise(), lambda h: h.weight, lambda h: h.grow(2)):
        head = make("fixed")
        with torch.inference_mode():
            first(head)
        x = features().requires_grad_()
        head.loss(x, torch.arange(4), label_smoothing=0.1).backward()
        assert x.grad is not None and not head.class_vectors().is_inference()


@every_fixed_kind
def test_fixed_vectors_keep_their_numbers_on_the_meta_device(kind):
    head = make(kind).to("meta")
    rows = head.raw_rows(torch.device("meta"))
    assert rows.device.type == "meta" and rows.matrix().shape == (K, D)
    assert head(features().to("meta")).is_meta
    assert torch.equal(head(features()), make(kind)(features()))


# ---- large heads


def test_materialise_keeps_rows_of_any_size(monkeypatch):
    monkeypatch.setattr(class_vectors, "DRAWN_AT_ONCE_BYTES", 0)
    monkeypatch.setattr("randhead.losses._rows.MATERIALISED_BYTES", 0)
    head = make("fixed")
    with pytest.raises(UsageError) as caught:
        head.weight  # noqa: B018
    assert "head.materialise()" in caught.value.hint
    assert not head.raw_rows().is_materialisable
    assert head.materialise() is head and head.raw_rows().matrix() is head.raw_rows().matrix()
    assert torch.equal(head(features()), make("fixed")(features()))
    assert copy.deepcopy(head).double().raw_rows().is_kept
    assert not make("fixed", K + 1).raw_rows().is_kept
    head.grow(1)
    assert head.raw_rows().is_kept and torch.equal(head.weight, make("fixed", K + 1).materialise().weight)


@pytest.mark.slow
def test_large_heads_are_exported_after_materialise_and_refused_before(monkeypatch):
    monkeypatch.setattr(class_vectors, "DRAWN_AT_ONCE_BYTES", 0)
    head = make("fixed")
    with pytest.raises(UsageError) as caught:
        torch.export.export(head, (features(),))
    assert "head.materialise()" in caught.value.hint
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"head\.materialise\(\)"):
        torch.compile(make("fixed"), backend="eager", fullgraph=True)(features())
    compiled = torch.compile(make("fixed"), backend="eager")
    assert torch.equal(compiled(features()), make("fixed")(features()))
    exported = torch.export.export(head.materialise(), (features(),)).module()
    assert torch.equal(exported(features()), head(features()))


# ---- growth


GROWING = ["fixed", "named", "own", "own, named", "learned", "learned, named", "learned, own, named"]


@pytest.mark.parametrize("kind", GROWING)
@pytest.mark.parametrize("steps", [(2,), (1, 3)])
def test_a_head_grows_to_the_one_that_was_built_with_all_classes(kind, steps):
    head, before, more = trained(kind), trained(kind), sum(steps)
    names = tuple(f"new {k}" for k in range(more))
    named = head.class_names is not None
    full = make(kind, K + more, **({"class_names": NAMES + names} if named else {}))
    for start, stop in zip((0, steps[0]), (steps[0], more), strict=True):
        if stop > start:
            assert head.grow(list(names[start:stop]) if named else stop - start) == range(K + start, K + stop)
    assert head.num_classes == head.out_features == K + more and head.spec == full.spec
    assert torch.equal(head.weight[:K], before.weight) and torch.equal(head.weight[K:], full.weight[K:])
    torch.testing.assert_close(head(features())[:, :K], before(features()))
    if head.trainable:
        assert torch.equal(head.bias[:K], before.bias) and torch.equal(head.bias[K:], full.bias[K:])
    full.load_state_dict(head.state_dict())
    head.load_state_dict(full.state_dict())
    head.loss(features(), torch.full((4,), K + more - 1))


def test_new_parameters_of_a_grown_head_keep_their_dtype_and_learn():
    frozen = make("learned").requires_grad_(False)
    frozen.grow(1)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    head = trained("learned, named").double()
    old = head.vectors
    head.grow(["gnu"])
    assert head.vectors is not old and head.vectors.dtype == torch.float64 and head.vectors.requires_grad
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    head.loss(features(), torch.full((4,), K)).backward()
    optimiser.step()
    assert not torch.equal(head.vectors[K], make("learned, named", K + 1, class_names=(*NAMES, "gnu")).vectors[K])


@pytest.mark.parametrize(
    ("kind", "classes", "words"),
    [
        ("fixed", 0, "at least 1"),
        ("fixed", 1.5, "a whole number"),
        ("fixed", ["owl"], "the number of new classes"),
        ("fixed", "owl", "the number of new classes"),
        ("named", 2, "the names of the classes"),
        ("named", "owl", "the names of the classes"),
        ("named", [3], "as text, got 3"),
        ("named", [], "got none"),
        ("named", ["ant"], "'ant' already"),
        ("named", ["owl", "owl"], "'owl' already"),
        ("simplex", 1, "as a set"),
        ("given", 1, "as a set"),
        ("learned, simplex", 1, "as a set"),
    ],
)
def test_growth_that_cannot_be_is_refused_and_changes_nothing(kind, classes, words):
    head = make(kind)
    with pytest.raises(UsageError, match=words) as caught:
        head.grow(classes)
    assert caught.value.hint or "must be" in str(caught.value)
    assert head.spec == make(kind).spec and torch.equal(head(features()), make(kind)(features()))


def test_stored_vectors_stay_to_the_bit_although_they_would_be_drawn_otherwise_today():
    factor = [1.0]

    def rows(ids, dim, *, seed, out):
        out.copy_(rng.normals(seed, "own", ids, dim) * factor[0])

    head = ClassVectorHead(K, D, Geometry("own", rows, lambda dim: None, by_row=True))
    before, factor[0] = head.weight, 2.0
    head.grow(1)
    assert torch.equal(head.weight[:K], before) and torch.equal(head.state_dict()["vectors"], head.weight)


def test_a_head_does_not_grow_beyond_its_geometry():
    head = ClassVectorHead(K, 4, "hadamard")
    with pytest.raises(UsageError, match="holds at most"):
        head.grow(1000)
    assert head.num_classes == K and head(torch.ones(1, 4)).shape == (1, K)


@pytest.mark.parametrize("kind", ["named", "own, named", "learned, named", "learned, own, named"])
@pytest.mark.parametrize("old", [False, True])
def test_the_state_of_a_smaller_head_is_loaded_if_the_first_names_agree(kind, old):
    small = trained(kind)
    state = small.state_dict()
    if old:
        state["spec"] = json_spec(small.spec)
        del state["vectors_spec"]
    names = (*NAMES, "gnu", "hen")
    head, start = make(kind, K + 2, class_names=names), make(kind, K + 2, class_names=names)
    head.load_state_dict(state)
    small.grow(["gnu", "hen"])
    assert torch.equal(head(features()), small(features()))
    assert torch.equal(head.weight[K:], start.weight[K:])
    for wrong in (("gnu", *NAMES, "hen"), (*NAMES[:-1], "gnu", "hen", "fox")):
        with pytest.raises(RunError, match="not those of the checkpoint"):
            make(kind, K + 2, class_names=wrong).load_state_dict(state)


def test_the_spec_of_a_smaller_head_as_a_buffer_is_enough_for_fixed_vectors_only():
    for kind in ("named", "learned, named"):
        head = make(kind, K + 1, class_names=(*NAMES, "gnu"))
        head._buffers["vectors_spec"] = make(kind).vectors_spec.clone()
        if kind in FIXED:
            assert head(features()).shape == (4, K + 1)
        else:
            with pytest.raises(RunError, match="not those of the checkpoint"):
                head(features())


def test_the_state_of_a_smaller_head_without_names_or_of_a_larger_one_is_refused():
    with pytest.raises(RunError, match="not those of the checkpoint"):
        make("fixed", K + 1).load_state_dict(make("fixed").state_dict())
    with pytest.raises(RunError, match="not those of the checkpoint"):
        make("named").load_state_dict(make("named", K + 1, class_names=(*NAMES, "gnu")).state_dict())


# ---- what clients read


@every_kind
def test_the_weight_is_that_of_a_linear_layer_and_cannot_change_a_fixed_head(kind):
    head, before = make(kind), make(kind)(features())
    assert (head.in_features, head.out_features, head.weight.shape) == (D, K, (K, D))
    assert (head.weight is head._parameters.get("vectors")) is head.trainable
    if kind in FIXED:
        head.weight.zero_()
        assert torch.equal(head(features()), before)
    for value in (torch.zeros(K, D), torch.nn.Parameter(torch.zeros(K, D))):
        with pytest.raises((AttributeError, KeyError)):
            head.weight = value


@pytest.mark.parametrize("kind", LEARNED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_learned_vectors_of_another_dtype_are_scored(kind, dtype):
    logits = make(kind).to(dtype)(features())
    torch.testing.assert_close(logits.float(), make(kind)(features()), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("vectors", ["uniform", "simplex"])
def test_buffers_written_in_place_are_recognised_at_first_use(vectors):
    """DDP writes the buffers of its first process into those of the others; distributed checkpoints do so too."""
    head, other = (ClassVectorHead(10, 16, vectors=vectors, seed=seed) for seed in (0, 1))
    for own, theirs in zip(head.buffers(), other.buffers(), strict=True):
        own.copy_(theirs)
    with pytest.raises(RunError, match="not those of the checkpoint"):
        head(torch.ones(2, 16))


def test_buffers_of_a_learned_head_may_be_written_in_place():
    head, other = (ClassVectorHead(10, 16, seed=seed, trainable=True) for seed in (0, 1))
    head.vectors_spec.copy_(other.vectors_spec)
    assert head(torch.ones(2, 16)).shape == (2, 10)


@pytest.mark.parametrize("vectors", ["uniform", "simplex"])
def test_heads_with_different_fixed_vectors_cannot_be_stacked(vectors):
    heads = [ClassVectorHead(10, 16, vectors=vectors, seed=seed) for seed in (0, 1)]
    x = torch.randn(3, 16)

    def logits(stacked):
        def call(parameters, buffers):
            return torch.func.functional_call(heads[0], (parameters, buffers), (x,))

        return torch.func.vmap(call)(*torch.func.stack_module_state(stacked))

    with pytest.raises(RunError, match="seed 1"):
        logits(heads)
    assert torch.allclose(logits([heads[0], copy.deepcopy(heads[0])])[1], heads[0](x))


@pytest.mark.parametrize("transform", [torch.func.functionalize, torch.func.vmap, torch.func.jacrev])
def test_rows_that_are_first_drawn_in_a_transform_are_ordinary(transform):
    head, x = ClassVectorHead(500, 64), torch.randn(2, 64)
    transform(lambda a: head.loss(a, torch.zeros(a.shape[:-1], dtype=torch.int64), label_smoothing=0.1))(x)
    assert torch.equal(head(x), ClassVectorHead(500, 64)(x))
    copy.deepcopy(head)


@pytest.mark.parametrize("part", ["vectors_sha256", "extended", "pack_spec"])
def test_an_error_while_a_head_grows_leaves_it_as_it_was(part, monkeypatch):
    head, x = ClassVectorHead(3, 16, trainable=True, bias=0.5, class_names=["a", "b", "c"]), torch.randn(2, 16)
    before, names = head(x), list(head.state_dict())

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(f"randhead.head.class_vectors.{part}", fail)
    with pytest.raises(MemoryError):
        head.grow(["d"])
    monkeypatch.undo()
    assert (head.num_classes, head.class_names, head.spec.num_classes) == (3, ("a", "b", "c"), 3)
    assert torch.equal(head(x), before) and list(head.state_dict()) == names


def test_a_small_head_that_grows_large_does_not_draw_all_rows():
    head = ClassVectorHead(10, 16)
    head.grow(10**12)
    assert head.raw_rows().gather(torch.tensor([10**12])).shape == (1, 16)


def test_of_very_long_class_vectors_fewer_rows_are_hashed(monkeypatch):
    monkeypatch.setattr("randhead.head.spec.HASHED_ENTRIES", 3 * 4096)
    rows = ClassVectorHead(10**14, 4096, "rademacher").raw_rows()
    step = -(-(10**14) // 3)
    by_hand = hashlib.sha256(rows.gather(torch.tensor([0, step, 2 * step])).numpy().tobytes()).hexdigest()
    assert vectors_sha256(rows) == by_hand
