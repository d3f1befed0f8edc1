"""The folder is the registry, and members come from outside too: from packages, modules and files."""

import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import randhead
from randhead import backbones, corruptions, errors, registry
from randhead.errors import UsageError

PACKAGE = Path(randhead.__file__).parent


def test_names_are_the_files_of_the_folder_without_the_helpers(tmp_path, monkeypatch):
    (tmp_path / "vectors").mkdir()
    for name in ("square.py", "circle.py", "_helper.py", "__init__.py", "notes.txt"):
        (tmp_path / "vectors" / name).touch()
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    assert registry.names("vectors") == ["circle", "square"]


def test_the_geometries_are_found():
    assert {"uniform", "gaussian", "rademacher", "hadamard", "simplex", "file"} <= set(registry.names("vectors"))
    assert "_exact" not in registry.names("vectors")


@pytest.mark.parametrize("family", registry.FAMILIES)
def test_every_family_is_a_folder_whose_members_load(family):
    assert (PACKAGE / family).is_dir()
    for name in registry.names(family):
        assert registry.load(family, name).__name__ == f"randhead.{family}.{name}"


def test_names_are_read_without_importing_a_member():
    script = "import sys; from randhead import registry; registry.names('vectors'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_of_a_misspelt_name_the_nearest_is_named():
    with pytest.raises(UsageError, match="unknown geometry of class vectors 'gausian'") as error:
        registry.load("vectors", "gausian")
    assert "did you mean 'gaussian'?" in error.value.hint
    assert ", ".join(registry.names("vectors")) in error.value.hint
    assert error.value.exit_code == 2


def test_of_a_name_like_no_other_the_known_ones_are_named():
    with pytest.raises(UsageError) as error:
        registry.load("vectors", "zzz")
    assert "did you mean" not in error.value.hint
    assert "known: " in error.value.hint


def test_of_very_many_names_the_nearest_are_named():
    known = [f"model{i}" for i in range(2000)]
    hint = errors.unknown("model", "model1234x", known).hint
    assert hint.startswith("did you mean 'model1234'? known: model1234, ")
    assert hint.endswith(" and 1,995 more")
    hint = errors.unknown("model", "zzz", known).hint
    assert hint == "known: model0, model1, model10, model100, model1000 and 1,995 more"


@pytest.mark.parametrize("name", ["_exact", "__init__", "../seeds", "uniform.rows", "os", ""])
def test_only_members_load(name):
    with pytest.raises(UsageError):
        registry.load("vectors", name)


# Members from outside the package


GEOMETRY = """
import torch
BY_ROW = False
def rows(ids, dim, *, seed, num_classes):
    return torch.eye(dim)[ids]
def limit(dim):
    return dim
"""


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(registry, "_registered", {family: {} for family in registry.FAMILIES})


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(GEOMETRY)
    return tmp_path / "mine.py"


def test_a_file_that_is_registered_is_a_member(mine, monkeypatch):
    assert randhead.register_geometry(mine) == "mine"
    assert "mine" in registry.names("vectors") and "mine" not in registry.builtin_names("vectors")
    monkeypatch.chdir(mine.parent)
    for name in ("mine", str(mine), "mine.py", "./mine.py"):
        registry.check("vectors", name)
        assert registry.load("vectors", name).limit(7) == 7
    assert randhead.draw(str(mine), [1], dim=2, num_classes=2).tolist() == [[0, 1]]
    assert not (mine.parent / "__pycache__").exists()


def test_a_module_is_registered_under_its_name_or_another():
    module = types.ModuleType("package.mine")
    exec(GEOMETRY, module.__dict__)
    assert randhead.register_geometry(module) == "mine"
    assert randhead.register_geometry(module, name="other") == "other"
    assert registry.load("vectors", "mine") is registry.load("vectors", "other") is module


def test_a_file_that_is_edited_and_registered_again_replaces_itself(mine):
    randhead.register_geometry(mine)
    mine.write_text(GEOMETRY.replace("return dim\n", "return 99\n"))
    randhead.register_geometry(mine)
    assert registry.load("vectors", "mine").limit(7) == 99


def test_a_path_by_itself_is_never_executed(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    monkeypatch.chdir(tmp_path)
    for family, about in registry.FAMILIES.items():
        for question in (registry.check, registry.load):
            words = "a Python file is only executed if you name it" if about.argument else f"a {about.kind} cannot be"
            with pytest.raises(UsageError, match=rf"evil\.py: {words}") as caught:
                question(family, "./evil.py")
            assert f"randhead.{about.verb}(" in caught.value.hint
    with pytest.raises(UsageError, match="only executed if you name it"):
        randhead.draw("./evil.py", [0], dim=2)


@pytest.mark.parametrize("name", ["uniform", "two words", "_hidden", "", "a/b", "7up"])
def test_some_names_cannot_be_registered(name, mine):
    with pytest.raises(UsageError, match="cannot be named"):
        randhead.register_geometry(mine.rename(mine.with_name("first.py")), name=name or " ")


@pytest.mark.parametrize(("family", "name"), [("analyses", "all"), ("losses", "auto"), ("corruptions", "clean")])
def test_words_with_another_meaning_are_no_names(family, name, mine):
    with pytest.raises(UsageError, match="the name is taken"):
        registry.register(family, mine, name=name)


def test_groups_of_corruptions_are_no_names_of_corruptions():
    assert {"benchmark", *corruptions.groups()} <= set(registry.FAMILIES["corruptions"].reserved)


def test_two_files_cannot_share_a_name(mine):
    other = mine.parent / "sub" / "mine.py"
    other.parent.mkdir()
    other.write_text(GEOMETRY)
    randhead.register_geometry(mine)
    with pytest.raises(UsageError, match=rf"{mine} has the name"):
        randhead.register_geometry(other)
    assert randhead.register_geometry(other, name="other") == "other"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import torch\n\n1 / 0\n", r"mine\.py, line 3: ZeroDivisionError: division by zero"),
        ("import torch\ndef rows(:\n", r"mine\.py, line 2: SyntaxError"),
        ("import missing_module\n", r"mine\.py, line 1: ModuleNotFoundError"),
        ("BY_ROW = True\n", r"mine\.py: not a geometry of class vectors: rows, limit not defined"),
        (GEOMETRY + "rows = 3\n", r"mine\.py: rows must be a function, got 3"),
        (GEOMETRY + "BY_ROW = 1\n", r"mine\.py: BY_ROW must be True or False, got 1"),
        ("import sys\nsys.exit(3)\n", r"mine\.py, line 2: the file calls exit \(code 3\)"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(content, words, mine):
    mine.write_text(content)
    with pytest.raises(UsageError, match=words) as caught:
        randhead.register_geometry(mine)
    assert "a geometry of class vectors defines BY_ROW, rows, limit" in caught.value.hint
    assert "mine" not in registry.names("vectors")


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.py: no such file"):
        randhead.register_dataset(tmp_path / "gone.py")


def test_errors_of_a_member_name_the_line_in_its_file(mine):
    mine.write_text(GEOMETRY.replace("    return torch.eye(dim)[ids]", "    x = {}\n    return x['a']"))
    randhead.register_geometry(mine)
    with pytest.raises(UsageError, match=r"mine\.py, line 6: KeyError: 'a'") as caught:
        randhead.draw("mine", [0], dim=2, num_classes=1)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("member", [None, 3, len, object()], ids=["None", "3", "a function", "an object"])
def test_only_modules_and_paths_are_registered(member):
    for about in registry.FAMILIES.values():
        with pytest.raises(UsageError, match="is registered as a module or the path of a Python file, got"):
            getattr(randhead, about.verb)(member)


def test_names_that_are_no_text_are_unknown_names(mine):
    with pytest.raises(UsageError, match="cannot be named 3"):
        randhead.register_geometry(mine, name=3)
    for name in (3, None, ["uniform"]):
        assert "known: " in errors.unknown("geometry", name, ["uniform"]).hint
        with pytest.raises(UsageError, match="unknown geometry of class vectors"):
            randhead.draw(name, [0], dim=2)
        for function in (registry.check, registry.load):
            with pytest.raises(UsageError, match="unknown dataset"):
                function("datasets", name)


@pytest.mark.parametrize(
    ("returned", "words"),
    [("None", r"mine\.py: build must return a torch\.nn\.Module, got NoneType"), ("Pair()", "features of type tuple")],
)
def test_a_backbone_from_a_file_is_a_module_that_gives_features(mine, returned, words):
    mine.write_text(
        "from torch import nn\n"
        "class Pair(nn.Module):\n    def forward(self, images):\n        return images, images\n"
        f"def build(*, name, image_size, pretrained):\n    return {returned}\n"
    )
    randhead.register_backbone(mine)
    with pytest.raises(UsageError, match=words):
        backbones.build("mine", image_size=8)


def test_an_interrupt_in_a_file_is_an_interrupt(mine):
    mine.write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        randhead.register_geometry(mine)


def test_installed_packages_bring_members(monkeypatch):
    module = types.ModuleType("package.mine")
    exec(GEOMETRY, module.__dict__)
    monkeypatch.setitem(sys.modules, "package", types.ModuleType("package"))
    monkeypatch.setitem(sys.modules, "package.mine", module)
    points = [EntryPoint(name, "package.mine", "randhead.vectors") for name in ("theirs", "uniform")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: points if "vectors" in group else [])
    for cached in (registry._entry_points, registry._installed):
        cached.cache_clear()
    try:
        assert "theirs" in registry.names("vectors") and "theirs" not in registry.names("datasets")
        assert registry.load("vectors", "theirs") is module
        assert registry.load("vectors", "uniform") is not module
        assert randhead.draw("theirs", [0], dim=2, num_classes=1).tolist() == [[1, 0]]
    finally:
        for cached in (registry._entry_points, registry._installed):
            cached.cache_clear()


def test_the_parts_of_a_name():
    assert registry.split("torchvision:resnet50") == ("torchvision", "resnet50")
    assert registry.split("uniform") == ("uniform", "")
    assert registry.split("/a:b/mine.py") == ("/a:b/mine.py", "")
    assert registry.split("C:/mine.py") == ("C:/mine.py", "")
    assert [registry.split(f"{member}:mine.py") for member in ("file", "timm")] == [
        ("file", "mine.py"),
        ("timm", "mine.py"),
    ]
    assert [registry.label(name) for name in ("uniform", "file:w.npy", "/a/mine.py")] == [
        "uniform",
        "file:w.npy",
        "mine",
    ]
