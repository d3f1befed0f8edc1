"""The contract of the analyses."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from randhead import rng
from randhead.ambient import as_tensor, indices
from randhead.analyses import Findings, class_statistics, similarity, wrong_findings
from randhead.errors import DataError, UsageError
from randhead.testing._members import Member, claim, known, without_global_randomness

K, D, N = 6, 10, 120  # classes, dimensions and samples of the examples
WORDS = ("path", "config", "device")  # names that its arguments cannot have: an analysis takes only tensors
FEW = {"permutations": 19, "episodes": 3}  # small numbers of repetitions, to save time


def check_analysis(member: Member, *, arguments: Mapping[str, Any] | None = None) -> None:
    """Check that a member of `randhead.analyses` fulfils the contract of its family.

    Args:
        member: a module, the path of a Python file or the name of a member.
        arguments: arguments of its `measure`; by default those of `example_arguments`.

    Raises:
        AssertionError: if the contract is broken.

    Example:
        >>> check_analysis("collapse")
    """
    with known("analyses", member) as (_, module):
        measure, kind = module.measure, module.INPUT
        examples = EXAMPLES.get(kind)
        if examples is None:
            raise AssertionError(f"INPUT must be one of {', '.join(EXAMPLES)}, got {kind!r}")
        claim(bool(module.__doc__), "the module has no docstring: its first line, 'Name: question', heads the report")
        given = {**arguments_for(measure, {**examples(), **FEW}), **(arguments or {})}
        _check_signature(measure, given, examples())
        with without_global_randomness("measure"):
            found = measure(**given)
        _check_findings(found)
        claim(measure(**given).metrics == found.metrics, "measure gives other metrics the second time")
        _check_precision(measure, given)
        _check_bad_features(measure, given)


def example_arguments(measure: Callable[..., Findings], kind: str) -> dict[str, Any]:
    """Arguments of `measure` from a small example, for an analysis with this kind of input: "run", "training", ..."""
    return arguments_for(measure, {**EXAMPLES[kind](), **FEW})


def arguments_for(measure: Callable[..., Findings], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are parameters of `measure`."""
    return {name: values[name] for name in inspect.signature(measure).parameters if name in values}


def _run() -> dict[str, Any]:
    vectors = rng.normals(0, "test/vectors", indices(K), D).double()
    labels = indices(N) % K
    features = vectors[labels] + rng.normals(0, "test/noise", indices(N), D).double()
    return {
        "features": features,
        "labels": labels,
        "predictions": (vectors @ features.T).argmax(dim=0),
        "num_classes": K,
        "class_vectors": vectors,
        "class_means": torch.stack([features[labels == k].mean(dim=0) for k in range(K)]),
        "bias": indices(K).double() / K - 0.5,
        "scale": 1.0,
        "scoring": "dot",
        "train": class_statistics(features + 0.1, labels, num_classes=K),
        "references": {"means": similarity.cosines(vectors.flip(1))},
        "accuracy": 0.5,
        "seed": 0,
    }


def _training() -> dict[str, Any]:
    steps = indices(50)
    kept = rng.normals(1, "test/vectors", indices(3 * K), D).double().view(3, K, D)
    return {
        "steps": steps,
        "loss": 2 / (1.0 + indices(50).double()),
        "num_classes": K,
        "cosine_scale": None,
        "series": {"val_accuracy": (steps, steps.double() / 50)},
        "class_vectors": (as_tensor([0, 25, 49]), kept),
    }


def _new_classes() -> dict[str, Any]:
    run = _run()
    features, labels = run["features"], run["labels"]
    return {
        "features": features,
        "labels": labels,
        "train_features": features + 0.1,
        "train_labels": labels,
        "num_classes": K,
        "seed": 0,
    }


def _runs() -> dict[str, Any]:
    run, grid = _run(), torch.cartesian_prod(indices(3), indices(4))
    return {
        "features": [run["features"], run["features"] + 0.1],
        "labels": run["labels"],
        "head_seeds": grid[:, 0],
        "seeds": grid[:, 1],
        "values": {"accuracy": grid.sum(dim=1).double().sin()},
    }


EXAMPLES: dict[str, Callable[[], dict[str, Any]]] = {
    "run": _run,
    "training": _training,
    "new classes": _new_classes,
    "runs": _runs,
}


def _check_signature(measure: Callable[..., Findings], given: Mapping[str, Any], available: Mapping[str, Any]) -> None:
    parameters = inspect.signature(measure).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    missing = [name for name in needed if name not in given]
    claim(not missing, f"measure needs {missing}, which its input does not have; it has: {', '.join(available)}")
    wrong = [name for name in WORDS if name in parameters]
    claim(not wrong, f"measure takes {wrong}: an analysis takes tensors, never a path, a configuration or a device")


def _check_findings(found: Findings) -> None:
    problem = wrong_findings(found)
    claim(problem is None, str(problem))


def _check_precision(measure: Callable[..., Findings], given: Mapping[str, Any]) -> None:
    """Metrics of float32 features must be computed in float64."""
    features = given.get("features")
    if not isinstance(features, Tensor):
        return
    single = measure(**{**given, "features": features.float()}).metrics
    exact = measure(**{**given, "features": features.float().double()}).metrics
    for name, value in exact.items():
        other = single[name]
        same = other == value
        if isinstance(value, float) and isinstance(other, float):
            same = math.isclose(other, value, abs_tol=1e-12, rel_tol=1e-9)
        claim(same, f"metrics[{name!r}] is {other} for float32 features, {value} for float64 ones: use float64")


def _check_bad_features(measure: Callable[..., Findings], given: Mapping[str, Any]) -> None:
    """Features that are not finite must be an error."""
    features = given.get("features")
    if not isinstance(features, Tensor):
        return
    for bad in (math.nan, math.inf):
        broken = features.clone()
        broken[[4, 8, 15], 2] = bad
        try:
            measure(**{**given, "features": broken})
        except (DataError, UsageError):
            continue
        raise AssertionError(f"features with {bad} must raise DataError")
