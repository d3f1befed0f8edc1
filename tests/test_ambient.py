"""Torch's ambient state changes no bit: default dtype and device, inference mode, deterministic algorithms, threads."""

import ast
import contextlib
import importlib
import types

import pytest
import torch
from test_layers import NODES, ROOT
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from randhead import ambient, datasets, losses, registry, rng, vectors
from randhead.augment import crop, views
from randhead.corruptions import corrupt, corrupt_each, frost, names
from randhead.evaluation import metrics
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
    """No operation may give tensors of the default dtype: that dtype would come from the caller's state."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, torch.Tensor):
                assert value.dtype != torch.get_default_dtype(), f"{func} gives the default dtype"
        return out


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with NoDefault() if dtype == torch.bfloat16 else contextlib.nullcontext():
            yield
    finally:
        torch.set_default_dtype(before)


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
def all_at_once():
    with default_dtype(torch.bfloat16), deterministic(), threads(), torch.inference_mode(), torch.device("meta"):
        yield


STATES = {
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "float64": lambda: default_dtype(torch.float64),
    "meta device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": deterministic,
    "threads": threads,
}


def drawn():
    found = {draw.__name__: draw(1, "test", IDS, 9) for draw in DRAWS}
    found["integers"] = rng.integers(1, "test", IDS, 9, high=1000)
    found["permutation"] = rng.permutation(1, "test", 9)
    found["as tensors"] = ambient.as_tensor([0.25, 1.5])
    return found


def corrupted():
    return {name: torch.stack([out for _, out in corrupt_each(IMAGES[:2], name, (2, 4))]) for name in names()}


def augmented():
    ids = torch.arange(3, dtype=torch.int64, device="cpu")
    crops = crop.draw(ids, seed=0, epoch=1, padding=4)
    seen = views.apply(IMAGES, views.draw(ids, seed=0, epoch=1, size=(32, 32)))
    prepared = Preprocess.of((0.4, 0.5, 0.6), (0.2, 0.2, 0.3), precision="fp32", device=torch.device("cpu"))
    return {"crops": crop.crop_flip(IMAGES, crops, 4), "views": seen, "prepared": prepared.prepare(IMAGES)}


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
