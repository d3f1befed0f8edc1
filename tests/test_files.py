"""Files that are never half written."""

import json
import os
import stat
from pathlib import Path

import pytest

from randhead import files


class Stop(Exception):
    pass


def fail_after(content):
    def write(path):
        Path(path).write_bytes(content)
        raise Stop

    return write


def leave(path):
    """What is in the folder of a path."""
    return sorted(file.name for file in path.parent.iterdir())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"new \x00 bytes", b"new \x00 bytes"),
        ("\N{SNOWMAN} text", b"\xe2\x98\x83 text"),
        (lambda path: path.write_text("written"), b"written"),
    ],
)
def test_content_arrives_whole_with_nothing_else(tmp_path, content, expected):
    path = tmp_path / "sub" / "folder" / "file.bin"
    files.atomic_write(path, content)
    assert path.read_bytes() == expected
    assert leave(path) == ["file.bin"]


def test_old_content_is_replaced(tmp_path):
    path = tmp_path / "file"
    path.write_text("old and longer")
    files.atomic_write(path, "new")
    assert path.read_text() == "new"


def test_a_failing_writer_leaves_the_old_content_and_no_fragment(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(Stop):
        files.atomic_write(path, fail_after(b"half of the n"))
    assert path.read_text() == "old"
    assert leave(path) == ["file"]


def test_a_failing_writer_of_a_new_file_leaves_nothing(tmp_path):
    with pytest.raises(Stop):
        files.atomic_write(tmp_path / "file", fail_after(b"half"))
    assert leave(tmp_path / "file") == []


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory") as error:
        files.atomic_write(tmp_path / "folder", b"new")
    assert error.value.filename == str(tmp_path / "folder")
    assert error.value.filename2 is None


def test_an_error_of_an_open_file_names_the_file(tmp_path, monkeypatch):
    """A full disk is noticed by `write` and `fsync`, which know no name; not every OSError is one of the disk."""

    def write(path, error):
        with pytest.raises(OSError) as caught:
            files.atomic_write(path, lambda fragment: (_ for _ in ()).throw(error))
        return caught.value

    monkeypatch.chdir(tmp_path)
    full = write(Path("file"), OSError(28, "No space left on device"))
    assert files.described(full) == "file: No space left on device"
    assert write(Path("file"), TimeoutError("timed out")).filename is None
    hidden = write(Path("file"), OSError(30, "Read-only file system", "./.file.1-2.abc.tmp/file"))
    assert files.described(hidden) == "file: Read-only file system"
    other = write(Path("file"), OSError(2, "No such file or directory", "other"))
    assert other.filename == "other"


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_at_any_step_leaves_the_old_content_and_no_fragment(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*arguments, **options):
        raise error

    owner = os if step == "fsync" else Path
    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(type(error)):
        files.atomic_write(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert leave(path) == ["file"]


def test_the_bytes_are_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    steps = []
    sync, replace = os.fsync, Path.replace

    def note_sync(handle):
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"{os.fstat(handle).st_size} bytes")
        sync(handle)

    def note_replace(self, target):
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    files.atomic_write(tmp_path / "file", b"12345")
    assert steps == ["5 bytes", "rename", "folder"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        files.atomic_write(tmp_path / "file", "x")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_reader_sees_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        files.atomic_write(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_json_is_written_whole_and_refuses_not_a_number(tmp_path):
    path = tmp_path / "file.json"
    files.write_json(path, {"a": [1, 2.5, None, "\N{SNOWMAN}"]})
    assert json.loads(path.read_text()) == {"a": [1, 2.5, None, "\N{SNOWMAN}"]}
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            files.write_json(path, {"a": wrong})
    assert json.loads(path.read_text())["a"][0] == 1
    assert leave(path) == ["file.json"]


VALUES = [
    {}, [], {"a": {}, "b": []}, [[], {}], [{"a": 1}, {"b": [2, {"c": "\N{SNOWMAN}"}]}], {1: None, 2.5: 2.5, None: [3]},
    {"pairs": [[0, 1, 5], [1, 0, 2]], "names": ["a", 'b"'], "deep": {"er": {"est": [True]}}}, "text", 1e-300,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_json_has_the_content_that_the_standard_library_writes(value):
    assert json.loads(files.json_text(value)) == json.loads(json.dumps(value))
    for wrong in ({"a": [value, {"b": float("nan")}]}, [[1.0, float("inf")]], {"a": value, "b": float("-inf")}):
        with pytest.raises(ValueError, match="JSON"):
            files.json_text(wrong)


def test_json_has_one_line_for_each_entry_and_none_for_each_number():
    pairs = [[i, i + 1, 7] for i in range(1000)]
    text = files.json_text({"n": 1000, "pairs": pairs, "parts": [{"of": pairs}, {"of": []}]})
    assert text.count("\n") == 3 + 2 + 2 * 3
    assert len(text) < 1.1 * len(json.dumps([pairs, pairs]))


def test_sha256_of_bytes_and_of_a_file_is_the_standards(tmp_path):
    # FIPS 180-2, appendix B.1.
    answer = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "file").write_bytes(b"abc")
    assert files.sha256(b"abc") == files.sha256(tmp_path / "file") == answer
