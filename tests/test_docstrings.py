"""The examples in the docstrings of the package are run."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

from randhead import registry

ROOT = Path(registry.__file__).parent


def has_examples(path):
    """Whether a docstring of a file has an example.  Only such modules are imported: others may need extras."""
    text = path.read_text(encoding="utf-8")
    nodes = ast.walk(ast.parse(text)) if ">>>" in text else ()
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return any(">>>" in (ast.get_docstring(node) or "") for node in nodes if isinstance(node, kinds))


def module_name(path):
    """The name under which a file of the package is imported."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [module_name(path) for path in sorted(ROOT.rglob("*.py")) if has_examples(path)]
# Their examples check whole members, which test_contracts does too.
CONTRACTS = [name for name in MODULES if name.startswith("randhead.testing.")]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in CONTRACTS else ()) for name in MODULES]
)
def test_examples_of_a_module_print_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_registered", {family: {} for family in registry.FAMILIES})
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert not found.failed


def test_the_main_names_have_an_example():
    for name in ("randhead.vectors", "randhead.head.head", "randhead.corruptions", "randhead.testing.geometry"):
        assert name in MODULES
