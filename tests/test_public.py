"""The public names: typed, complete, lazy, and what the wheel ships."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import randhead

SOURCE = Path(randhead.__file__)
TREE = ast.parse(SOURCE.read_text())


def typed():
    """What the `if TYPE_CHECKING` block imports: public name -> (module, name there)."""
    [block] = [node for node in TREE.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {
        alias.asname or alias.name: (statement.module, alias.name)
        for statement in block.body
        for alias in statement.names
    }


def test_all_is_literal_sorted_and_what_can_be_had():
    [listed] = [node.value for node in TREE.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    assert ast.literal_eval(listed) == randhead.__all__ == sorted(randhead.__all__) == dir(randhead)
    assert set(randhead.__all__) == {*randhead._HOMES, "__version__"}


def test_type_checkers_read_what_the_table_says():
    homes = {name: tuple(home.partition(":")[::2]) for name, home in randhead._HOMES.items()}
    assert typed() == {name: (module, original or name) for name, (module, original) in homes.items()}


@pytest.mark.parametrize("name", sorted(set(randhead.__all__) - {"__version__"}))
def test_every_name_is_there_and_documented(name):
    found = getattr(randhead, name)
    assert inspect.isclass(found) or inspect.isfunction(found)
    assert inspect.getdoc(found)


@pytest.mark.parametrize("name", sorted(set(randhead.__all__) - {"__version__"}))
def test_every_name_comes_from_a_package_that_lists_it(name):
    module, original = typed()[name]
    listed = getattr(sys.modules[getattr(randhead, name) and module], "__all__", None)
    assert listed is None or original in listed


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'tarin'"):
        _ = randhead.tarin


def test_the_package_says_that_it_is_typed():
    assert SOURCE.with_name("py.typed").read_bytes() == b""


@pytest.mark.slow
def test_a_type_checker_sees_the_types(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(
        "import randhead\n"
        "head = randhead.ClassVectorHead(10, 8)\n"
        "reveal_type(head)\n"
        "reveal_type(randhead.load_run())\n"
        "reveal_type(randhead.register_geometry('a.py'))\n"
        "randhead.load_run().colour\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "use.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    for revealed in ("ClassVectorHead", "LoadedRun", "str"):
        assert re.search(rf'Revealed type is "(.*\.)?{revealed}"', done.stdout), done.stdout
    assert '"LoadedRun" has no attribute "colour"' in done.stdout


@pytest.mark.slow
def test_the_wheel_ships_the_mark_and_the_contract_suite(tmp_path):
    hatch = pytest.importorskip("hatchling.build")
    done = subprocess.run(
        [sys.executable, "-c", f"import hatchling.build as b; print(b.build_wheel({str(tmp_path)!r}))"],
        cwd=SOURCE.parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert hatch
    import zipfile

    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    assert {"randhead/py.typed", "randhead/testing/geometry.py", "randhead/user_files.py"} <= names
