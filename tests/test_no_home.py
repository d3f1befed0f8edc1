"""Containers without a home directory: what needs no folder of its own works, and the rest says which one it needs."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

import randhead
from randhead import backbones, datasets, registry
from randhead.cli.hints import as_options
from randhead.config import configure, data_source
from randhead.errors import DataError, UsageError

UNKNOWN = "the home directory is unknown"


@pytest.fixture(autouse=True)
def no_home(monkeypatch):
    """A user id that has no line in /etc/passwd, as `docker run --user 12345`, and no HOME."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "USER", "LOGNAME", "TORCH_HOME", "XDG_CACHE_HOME", "RANDHEAD_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_digits_and_folders_need_no_home(image_folder):
    assert datasets.from_config(configure({})).name == "digits"
    assert datasets.load("digits").image_size == 8
    images = datasets.from_config(configure({"data.name": str(image_folder)}))
    assert images.name == image_folder.name and images.notes() == ()
    assert datasets.decoded_cache().folder is None


@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet"])
def test_a_download_says_which_folder_it_needs(name):
    for load in (lambda: datasets.load(name), lambda: datasets.from_config(configure({"data.name": name}))):
        with pytest.raises(UsageError, match=UNKNOWN) as error:
            load()
        hint = as_options(error.value.hint)
        assert hint == "use --set machine.data_root=PATH, or set the environment variable HOME"


def test_a_folder_of_downloads_that_was_given_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(DataError, match=r"cannot be downloaded .*no network") as error:
        datasets.load("cifar10", root=tmp_path)
    assert str(tmp_path) in error.value.hint


def test_published_weights_say_which_folder_they_need(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=UNKNOWN) as error:
        backbones.build("torchvision:resnet18", image_size=32, pretrained=True)
    assert "TORCH_HOME" in error.value.hint
    assert not list(tmp_path.iterdir())  # torch would make a folder named ~ here


def test_a_folder_for_weights_that_cannot_be_written_is_a_data_error(monkeypatch):
    monkeypatch.setenv("TORCH_HOME", "/dev/null")
    with pytest.raises(DataError, match=r"cannot be fetched .*Not a directory"):
        backbones.build("torchvision:resnet18", image_size=32, pretrained=True)


def test_damaged_weights_are_a_data_error(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").write_bytes(b"half of it")
    with pytest.raises(DataError, match="resnet18 cannot be fetched") as error:
        backbones.build("torchvision:resnet18", image_size=32, pretrained=True)
    assert str(folder) in error.value.hint


def test_a_path_in_a_home_directory_names_it():
    with pytest.raises(DataError, match=f"~/photos: {UNKNOWN}"):
        data_source.folder("~/photos")
    with pytest.raises(DataError, match="~nobody_here/photos: no such user"):
        data_source.folder("~nobody_here/photos")
    with pytest.raises(UsageError, match=f"~/mine.py: {UNKNOWN}"):
        registry.use("datasets", "~/mine.py")


@pytest.mark.slow
def test_a_command_without_a_home_directory_trains(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import pwd\ndef getpwuid(uid):\n    raise KeyError(uid)\npwd.getpwuid = getpwuid\n"
    )
    gone = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "RANDHEAD_CACHE")
    here = {name: value for name, value in os.environ.items() if name not in gone}
    here["PYTHONPATH"] = f"{Path(randhead.__file__).parents[1]}:{tmp_path}"
    for words, code in ((["train", "--epochs", "1"], 0), (["train", "--data", "cifar10"], 2)):
        command = [sys.executable, "-m", "randhead", *words]
        done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("machine.data_root=PATH" in done.stderr) == (code == 2)
    assert not (tmp_path / "~").exists()
