"""CONTRIBUTING.md: its members keep their contracts and work on the command line, its commands are those of .ci/run."""

import re
import runpy

import pages
import pytest

PAGE = pages.read("CONTRIBUTING.md")
MEMBERS = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files of the page, as the current one."""
    monkeypatch.chdir(tmp_path)
    for name, text in MEMBERS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_page_has_a_member_for_each_family_that_users_extend_most():
    assert list(MEMBERS) == ["phases.py", "shades.py", "dead_pixels.py", "feature_norms.py"]


def test_the_members_keep_their_contracts(folder):
    [script] = [block for block in pages.blocks(PAGE, "python") if block not in MEMBERS.values()]
    (folder / "check.py").write_text(script, encoding="utf-8")
    runpy.run_path("check.py")


@pytest.mark.slow
def test_the_members_work_on_the_command_line(folder):
    assert len(pages.commands(PAGE)) == 4
    pages.run_commands(PAGE, folder)


def test_the_commands_of_the_page_are_those_that_every_change_has_to_pass():
    lines = [line.partition("#")[0].strip() for block in pages.blocks(PAGE, "") for line in block.splitlines()]
    ours = pages.read(".ci/run").replace("pytest -q -m", "pytest -m")
    for command in ("ruff check .", 'pytest -m "slow and not gpu"', "mypy"):
        assert any(command in line for line in lines), command
        assert command in ours, command


def test_linked_files_exist():
    for path in re.findall(r"\]\((?!http|#)([^)]+)\)", PAGE) + re.findall(r"`((?:tests|randhead)/[\w./]+)`", PAGE):
        assert (pages.ROOT / path).exists(), path
