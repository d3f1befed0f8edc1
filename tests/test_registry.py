"""The folder is the registry."""

import subprocess
import sys
from pathlib import Path

import pytest

import randhead
from randhead import errors, registry
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


@pytest.mark.parametrize("family", registry.KINDS)
def test_every_family_is_a_folder_whose_members_load(family):
    assert (PACKAGE / family).is_dir()
    for name in registry.names(family):
        assert registry.load(family, name).__name__ == f"randhead.{family}.{name}"


def test_names_are_read_without_importing_a_member():
    script = "import sys; from randhead import registry; registry.names('vectors'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(UsageError, match="unknown geometry of class vectors 'gausian'") as error:
        registry.load("vectors", "gausian")
    assert "did you mean 'gaussian'?" in error.value.hint
    assert ", ".join(registry.names("vectors")) in error.value.hint
    assert error.value.exit_code == 2


def test_a_name_like_no_other_is_told_what_there_is():
    with pytest.raises(UsageError) as error:
        registry.load("vectors", "zzz")
    assert "did you mean" not in error.value.hint
    assert "known: " in error.value.hint


def test_of_very_many_names_the_nearest_are_told():
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
