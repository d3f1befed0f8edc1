"""Every command and every Python example of the README is run, in the order in which a reader would."""

import re
from pathlib import Path

import pages
import pytest
import tiny
import torch
from PIL import Image

from randhead import rng

README = pages.read("README.md")
SETUP = ["pip install . && randhead train", "pip install '.[test]' && pytest"]


def make_photos(folder: Path, classes: tuple[str, ...]) -> None:
    """A folder of images that the README's commands speak of."""
    for split, count in (("train", 24), ("test", 8)):
        for label, name in enumerate(classes):
            target = folder / split / name
            target.mkdir(parents=True)
            pixels = rng.integers(label, f"photos/{split}", torch.arange(count), 16 * 16 * 3, high=256)
            for i, image in enumerate(pixels.reshape(count, 16, 16, 3).to(torch.uint8).numpy()):
                Image.fromarray(image).save(target / f"{i}.png")


def test_the_readme_has_exactly_two_set_up_commands():
    assert [block.strip() for block in pages.blocks(README, "") if "pip install" in block] == SETUP


def test_the_readme_says_what_it_is_for_in_its_first_three_lines():
    first = " ".join([line for line in README.splitlines() if line.strip()][1:4])
    for word in ("classifiers", "class vectors", "random"):
        assert word in first


def test_pictures_and_scripts_of_the_readme_exist():
    linked = re.findall(r"\]\((?!http|#)([^)]+)\)", README)
    named = re.findall(r"`(examples/[^`\s]+)`", README)
    assert linked
    for path in linked + named:
        assert (pages.ROOT / path).exists(), path


@pytest.mark.slow
def test_every_command_of_the_readme_works(tmp_path):
    make_photos(tmp_path / "photos", ("cats", "dogs"))
    make_photos(tmp_path / "more", ("birds", "cats", "dogs"))
    assert len(pages.commands(README)) >= 8
    pages.run_commands(README, tmp_path)


@pytest.mark.slow
def test_every_python_example_of_the_readme_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tiny.main("train", "--epochs", "1") == 0
    assert pages.blocks(README, "python")
    for example in pages.blocks(README, "python"):
        exec(compile(example, "README.md", "exec"), {})
