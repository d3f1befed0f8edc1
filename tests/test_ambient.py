"""Torch's ambient state changes no bit: default dtype and device, inference mode, deterministic algorithms, threads."""

import ast
import contextlib
import importlib
import random
import types
import warnings

import numpy as np
import pytest
import torch
from test_layers import NODES, ROOT
from tiny import config, default_dtype, fit
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from randhead import ambient, datasets, evaluation, losses, metrics, registry, rng, robustness, runs, vectors
from randhead.augment import crop, cutout, views
from randhead.corruptions import corrupt, corrupt_each, frost, names
from randhead.losses import dense, expected, streaming
from randhead.preprocess import Preprocess
from randhead.robustness.comparison import difference
from randhead.testing.analysis import example_arguments
from randhead.testing.corruption import pictures

AMBIENT_FREE = (
    *("rng.py", "preprocess.py", "checkup.py", "vectors", "losses", "corruptions", "analyses", "augment"),
    *("datasets", "backbones", "evaluation", "robustness", "train"),
)
FACTORIES = {f"torch.{function.__name__}" for function in _device_constructors() if function.__module__ == "torch"}
IDS, IMAGES = torch.tensor([0, 3, 2**40]), pictures(3)
PIXELS = datasets.TensorImages(IMAGES, torch.arange(3))
QUERIES = torch.arange(24.0).view(3, 8) / 7
DRAWS = (rng.words, rng.halves, rng.octets, rng.bits, rng.uniforms, rng.normals, rng.long_words, rng.long_normals)


class NoDefault(TorchDispatchMode):
    """No operation may give tensors of the caller's default dtype."""

    def __init__(self):
        super().__init__()
        self.dtype = torch.get_default_dtype()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, torch.Tensor):
                assert value.dtype != self.dtype, f"{func} gives the default dtype"
        return out


@contextlib.contextmanager
def never_used():
    """A default dtype that no operation may give."""
    with default_dtype(torch.bfloat16), NoDefault():
        yield


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def coarse_products():
    """Products of float32 matrices in bfloat16, which is what "medium" is on processors that have it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def flushed():
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def strict():
    """Floating-point events of NumPy, and warnings, are errors; torch looks for anomalies in gradients."""
    with np.errstate(all="raise"), warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("error")
        yield


@contextlib.contextmanager
def seeded():
    """Other states of the global generators, which must be what they were afterwards."""
    states = random.getstate(), np.random.get_state()
    torch.manual_seed(77)
    np.random.seed(77)
    random.seed(77)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    yield
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    assert torch.equal(before[0], after[0]) and (before[1] == after[1]).all() and before[2] == after[2]
    random.setstate(states[0])
    np.random.set_state(states[1])


@contextlib.contextmanager
def all_at_once():
    with contextlib.ExitStack() as stack:
        for state in (never_used, deterministic, threads, coarse_products, flushed):
            stack.enter_context(state())
        for state in (strict, seeded, torch.inference_mode, lambda: torch.device("meta")):
            stack.enter_context(state())
        yield


STATES = {
    "bfloat16": never_used,
    "float16": lambda: default_dtype(torch.float16),
    "float64": lambda: default_dtype(torch.float64),
    "meta device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": deterministic,
    "threads": threads,
    "coarse products": coarse_products,
    "denormals": flushed,
    "strict": strict,
    "generators": seeded,
}


def drawn():
    found = {draw.__name__: draw(1, "test", IDS, 9) for draw in DRAWS}
    found["integers"] = rng.integers(1, "test", IDS, 9, high=1000)
    found["permutation"] = rng.permutation(1, "test", 9)
    found["as tensors"] = ambient.as_tensor([0.25, 1.5])
    return found


def corrupted():
    return {name: torch.stack([out for _, out in corrupt_each(IMAGES[:2], name, [3])]) for name in names()}


def augmented():
    ids = torch.arange(3, dtype=torch.int64, device="cpu")
    crops = crop.draw(ids, seed=0, epoch=1, padding=4)
    seen = views.apply(IMAGES, views.draw(ids, seed=0, epoch=1, size=(32, 32)))
    corners = cutout.draw(ids, seed=0, epoch=1, image_size=32, side=8)
    prepared = Preprocess.of((0.4, 0.5, 0.6), (0.2, 0.2, 0.3), precision="fp32", device=torch.device("cpu"))
    return {
        "crops": crop.crop_flip(IMAGES, crops, 4),
        "views": seen,
        "cutout": cutout.apply(IMAGES, corners, 8, IMAGES[0, :, 0, 0]),
        "prepared": prepared.prepare(IMAGES),
    }


def class_vectors():
    found = {}
    for name in registry.builtin_names("vectors"):
        if name == "file":
            continue
        geometry = vectors.geometry(name)
        rows = vectors.draw(name, IDS[:2], dim=8, seed=1, num_classes=5)
        found |= {name: rows, f"{name} of a list": vectors.draw(geometry, [0, 3], dim=8, seed=1, num_classes=5)}
        if geometry.by_row:
            drawn = losses.DrawnRows(name, 70, 8, seed=1)
            found |= {f"{name} {key}": value for key, value in of_rows(drawn).items()}
        if geometry.log_mean_exp:
            found |= {f"{name} mean row": geometry.mean_row(8), f"{name} expected mean": expected.mean_row(drawn)}
            found[f"{name} expected"] = expected.scores(QUERIES, IDS[:3] % 7, drawn).non_target
    return found | {"matrix": vectors.draw(vectors.from_matrix(QUERIES), [0, 2], dim=8, num_classes=3)}


def of_rows(rows):
    labels, single = IDS[:3] % 7, torch.float32
    found = streaming.sweep(QUERIES, labels, rows, precision=single)._asdict()
    found["best"], found["best logits"] = losses.top(QUERIES, rows, None, k=5)
    found |= {"dense": dense.scores(QUERIES, labels, rows).non_target, "mean": rows.mean()}
    return found | {"scale": rows.row_scale(torch.bfloat16), "tile": rows.tile(3, 9, single)}


def measured():
    probabilities = rng.uniforms(0, "test/probabilities", ambient.indices(60), 1)[:, 0].double()
    labels = ambient.indices(60) % 4
    predicted = torch.where(probabilities > 0.3, labels, (labels + 1) % 4)
    right = predicted == labels
    found = {
        "accuracy": metrics.accuracy(predicted, labels),
        "calibration": metrics.calibration_error(probabilities, right),
        "equal mass": metrics.calibration_error(probabilities, right, scheme="equal mass"),
        "gaps": metrics.calibration_gaps(probabilities, right),
        "confusion": metrics.confusion(labels, predicted, 4),
        "by class": metrics.per_class_accuracy(labels, predicted, 4),
        "auroc": metrics.auroc(probabilities[:30], probabilities[30:]),
        "fpr": metrics.fpr_at(probabilities[:30], probabilities[30:]),
        "diagnostics": metrics.diagnostics(probabilities[:, None], probabilities, right),
        "interval": tuple(vars(difference(right.double() - probabilities)).values())[:3],
    }
    return {**found, "statistics": torch.stack(datasets.channel_statistics(PIXELS))}


def analyzed():
    found = {}
    for name in registry.builtin_names("analyses"):
        module = registry.load("analyses", name)
        result = module.measure(**ARGUMENTS[name])
        found |= {f"{name} {key}": value for key, value in (result.metrics | result.arrays).items()}
    return found


ARGUMENTS = {
    name: example_arguments(registry.load("analyses", name).measure, registry.load("analyses", name).INPUT)
    for name in registry.builtin_names("analyses")
}
RESULTS = {
    "random numbers": drawn,
    "class vectors": class_vectors,
    "corruptions": corrupted,
    "augmentation": augmented,
    "analyses": analyzed,
    "metrics": measured,
}


@pytest.fixture(scope="module")
def unchanged():
    return {name: compute() for name, compute in RESULTS.items()}


def kept_functions():
    """The functions of the package that keep their tensors."""
    files = [path.relative_to(ROOT.parent).with_suffix("") for path in NODES if "ambient.kept" in path.read_text()]
    modules = [importlib.import_module(".".join(file.parts)) for file in files]
    return [value for module in modules for value in vars(module).values() if hasattr(value, "cache_clear")]


TABLES = kept_functions()
QUICK = [function for function in TABLES if function is not frost.procedural_frost_images]  # which takes a second


@pytest.mark.parametrize("name", RESULTS)
def test_no_bit_depends_on_the_ambient_state(name, unchanged):
    check(name, all_at_once, unchanged[name], QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", RESULTS)
def test_no_bit_depends_on_one_of_its_parts(name, state, unchanged):
    if (name, state) == ("class vectors", "autocast"):
        pytest.skip("autocast is there to change the dtype of logits")
    check(name, STATES[state], unchanged[name], TABLES)


def check(name, state, expected, tables):
    for function in tables:
        function.cache_clear()
    with state():
        found = RESULTS[name]()
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert found[key].dtype == value.dtype, key
            assert torch.equal(found[key].nan_to_num(7), value.nan_to_num(7)), key
        else:
            assert found[key] == value, key


def test_what_is_kept_is_made_outside_of_inference_mode():
    table = ambient.kept(maxsize=1)(lambda: torch.arange(3))
    with torch.inference_mode():
        assert torch.arange(3).is_inference() and not table().is_inference()
    assert len(TABLES) > 6


def factory_calls(path):
    """The calls of a file that make tensors and leave their dtype or device to the ambient state."""
    for node in NODES[path]:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in FACTORIES:
            missing = {"dtype", "device"} - {keyword.arg for keyword in node.keywords}
            if missing:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


def test_every_new_tensor_names_its_dtype_and_its_device():
    files = [path for path in NODES if path.relative_to(ROOT).parts[0] in AMBIENT_FREE]
    assert len(files) > 40
    assert [call for path in files for call in factory_calls(path)] == []


def test_a_corruption_of_a_user_has_the_ordinary_state():
    module = types.ModuleType("ramp")
    module.SEVERITY_PARAMETERS = dict.fromkeys(("32", "64", "224"), (1, 2, 3, 4, 5))
    module.sample = lambda ids, size, **_: {"ramp": torch.linspace(0, 1, size[1]).expand(len(ids), -1)}
    module.apply = lambda images, noise, by: (images + by * noise["ramp"][:, None, None]).clamp(0, 255).to(torch.uint8)
    with registry.registered("corruptions", module):
        found = corrupt(IMAGES, "ramp", 5)
        with default_dtype(torch.float16), torch.device("meta"):
            assert torch.equal(corrupt(IMAGES, "ramp", 5), found)


def test_class_vectors_are_drawn_in_float32_under_autocast():
    for name in ("uniform", "gaussian", "packed"):
        rows = vectors.draw(name, [0, 3], dim=128, seed=1, num_classes=5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(vectors.draw(name, [0, 3], dim=128, seed=1, num_classes=5), rows)


@pytest.mark.parametrize("outer", [{"enabled": False}, {"dtype": torch.bfloat16}])
def test_a_step_within_another_autocast_context_uses_the_weights_of_its_time(outer):
    layer, ones = torch.nn.Linear(1, 1, bias=False), torch.ones(1, 1)
    preprocess = Preprocess.of((0.4,) * 3, (0.2,) * 3, precision="bf16", device=torch.device("cpu"))
    with torch.autocast("cpu", **outer):
        for weight in (1.0, 2.0):
            torch.nn.init.constant_(layer.weight, weight)
            with preprocess.autocast():
                assert layer(ones).item() == weight and layer(ones).dtype == torch.bfloat16


def state_of_torch():
    autocast, inference = torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()
    return torch.get_default_dtype(), torch.get_float32_matmul_precision(), autocast, inference, torch.is_grad_enabled()


def test_whole_jobs_have_torch_as_it_starts_and_restore_what_they_found():
    plain = state_of_torch()

    @ambient.settled_steps
    def job():
        for _ in range(2):
            torch.rand(1)
            yield state_of_torch()

    with coarse_products(), default_dtype(torch.float64), torch.autocast("cpu"), torch.inference_mode(), seeded():
        found, state = state_of_torch(), torch.get_rng_state()
        assert found != plain
        for seen in job():
            assert seen == plain and state_of_torch() == found and torch.equal(torch.get_rng_state(), state)
        with ambient.settled():
            assert state_of_torch() == plain
        with pytest.raises(KeyError), ambient.settled():
            raise KeyError
        assert state_of_torch() == found


JOB_STATES = {
    "precision": ("float16", "autocast", "coarse products", "denormals", "generators"),
    "modes": ("float64", "inference mode", "no gradients", "meta device", "deterministic", "strict"),
}


@pytest.mark.slow
@pytest.mark.parametrize("states", JOB_STATES)
def test_a_training_and_its_results_do_not_depend_on_the_ambient_state(states, tmp_path):
    """The number of threads does change the bits of convolutions."""

    def results(name):
        fit(tmp_path / name, config(train__epochs=1), datasets.load("digits"))
        loaded = runs.load(tmp_path / name)
        found = evaluation.evaluate(loaded).to_json()
        analysis = evaluation.analyze("separability", loaded).to_json()
        cells = robustness.benchmark(loaded, corruptions="fog,pixelate", severities=[3], limit=30).corruptions
        return loaded.model.state_dict(), found["nll"], analysis["separability"], cells

    weights, *plain = results("plain")
    with contextlib.ExitStack() as stack:
        for state in JOB_STATES[states]:
            stack.enter_context(STATES[state]())
        found, *numbers = results("other")
    assert numbers == plain
    for key, value in weights.items():
        assert found[key].dtype == value.dtype and torch.equal(found[key], value), key
