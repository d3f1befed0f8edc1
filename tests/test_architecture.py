"""The page on the architecture says what is: its layers are those that are enforced, its files and functions exist."""

import ast
import re

import pages
import pytest
from test_layers import LAYERS, ROOT

PAGE = pages.read("randhead/README.md")
STOP = re.compile(r"`([\w/]+\.py)` `([\w.]+)`")


def definitions(path):
    """The functions, classes and methods of a file: {"load", "Run", "Run.config", ...}."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def test_the_drawing_has_the_layers_that_imports_keep():
    [drawing] = pages.blocks(PAGE, "")
    drawn = [set(line[1:].partition("]")[0].split()) for line in drawing.splitlines() if line.startswith("[")]
    assert drawn == [layer for layer in reversed(LAYERS) if layer != {"__main__"}]


def test_the_page_has_the_six_walks():
    walks = re.findall(r"^\*\*([^*]+)\*\*: .*\n\n((?:\d+\. .*\n?)+)", PAGE, flags=re.MULTILINE)
    names = [
        "Image to logit",
        "Class name to vector",
        "Setting to optimiser",
        "Corruption cell to report",
        "Resume",
        "Study",
    ]
    assert [name for name, _ in walks] == names
    for name, steps in walks:
        assert all(STOP.match(line.partition(". ")[2]) for line in steps.splitlines()), name


@pytest.mark.parametrize(("path", "name"), STOP.findall(PAGE))
def test_a_function_that_a_walk_passes_exists(path, name):
    assert name in definitions(path), path
