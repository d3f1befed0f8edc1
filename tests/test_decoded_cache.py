"""Decoded images are kept on disk: the second reading decodes nothing, and never gives anything else than the first."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import write_images
from PIL import Image

from randhead import datasets, evaluation, robustness, train
from randhead.cli.doctor import clear, doctor
from randhead.cli.output import Output
from randhead.config import configure
from randhead.datasets import FileImages, TensorImages, _cache_folder, _decoded, _images, _kept_set, _reading
from randhead.errors import DataError, RunError, UsageError

MIB = 1 << 20


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of its own, in which also files that have just been written are kept."""
    monkeypatch.setenv("RANDHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_decoded, "CLOCK_NS", -(10**15))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def decoded(monkeypatch) -> list[Path]:
    """The files that were decoded, and those whose headers were read."""
    found: list[Path] = []

    def counted(function):
        def call(path, *rest):
            found.append(path)
            return function(path, *rest)

        return call

    for module, name in ((_reading, "inspect"), (_images, "decode"), (_decoded, "inspect")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    monkeypatch.setattr("randhead.datasets._image_size.dimensions", counted(datasets._image_size.dimensions))
    return found


def content(dataset):
    """All that a user can see of a dataset."""
    splits = {
        name: (torch.cat([*split.images.batches(torch.arange(len(split)), 7)]).tolist(), split.labels.tolist())
        for name, split in dataset.splits.items()
    }
    statistics = [part.tolist() for part in datasets.channel_statistics(dataset.splits["train"].images)]
    described = dataset.image_size, dataset.bit_depth, dataset.class_names, dataset.drawn_test
    return splits, statistics, datasets.fingerprints(dataset), dataset.report, dataset.notes(), described


def sets(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Images of many kinds: of 16 bits, transparent, of one colour, in two splits or classes, and one that is none."""
    folder = write_images(tmp_path / "mixed", {"cat": 12, "dog": 12})
    wide = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for i, name in enumerate(("cat", "dog")):
        Image.fromarray(wide * (1 + 7 * i)).save(folder / name / "wide.png")
        Image.new("RGB", (16, 16), "red").save(folder / name / "red.png")
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(folder / "cat" / "clear.png")
    shutil.copy(folder / "cat" / "00.png", folder / "dog" / "copy.png")
    shutil.copy(folder / "cat" / "01.png", folder / "cat" / "copy.png")
    (folder / "dog" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("budget", [1 << 30, 0], ids=["resident", "streamed"])
def test_everything_is_the_same_with_the_cache_and_without(mixed, cache, decoded, budget):
    options = {"memory_budget": budget, "skip_bad_images": True}
    without = content(datasets.load(mixed, decoded_cache=0, **options))
    assert sets(cache) == []
    first = content(datasets.load(mixed, **options))
    decoded.clear()
    assert content(datasets.load(mixed, **options)) == first == without
    assert decoded == [mixed / "dog" / "broken.png"]  # which is tried again
    assert len(sets(cache)) == 1


def test_a_set_in_memory_is_one_for_every_later_question(image_folder, cache, decoded):
    """The size that a run has resolved, other splits and seeds, and a streamed reading use what was kept."""
    first = datasets.load(image_folder)
    for options in ({"image_size": 16}, {"validation": 0.3, "split_seed": 4}, {"bit_depth": 12}, {"memory_budget": 0}):
        decoded.clear()
        found = datasets.load(image_folder, **options)
        if "validation" not in options:
            assert content(found)[0] == content(first)[0]
        assert decoded == [] and found.image_size == 16
    assert len(sets(cache)) == 1
    assert datasets.load(image_folder, image_size=8).image_size == 8 and len(decoded) == 42
    assert len(sets(cache)) == 2


def test_fewer_images_are_a_set_of_their_own(image_folder, cache, decoded):
    for number in (6, 12):
        without = content_of(image_folder, train_images=number, decoded_cache=0)
        decoded.clear()
        first, used = content_of(image_folder, train_images=number), set(decoded)
        decoded.clear()
        assert content_of(image_folder, train_images=number) == first == without
        assert decoded == [] and len(used) < 42
    assert len(sets(cache)) == 2


def test_the_bits_of_wide_images_belong_to_the_set(mixed, cache, decoded):
    options = {"skip_bad_images": True}
    found = content(datasets.load(mixed, **options))
    decoded.clear()
    resolved = content(datasets.load(mixed, bit_depth=11, **options))
    assert len(decoded) == 1 and resolved == found  # 11 bits are what the brightest image uses
    other = content(datasets.load(mixed, bit_depth=16, **options))
    assert len(decoded) > 20 and other != found
    assert content(datasets.load(mixed, **options)) == found and len(sets(cache)) == 2


def test_images_that_do_not_fit_into_memory_are_mapped(image_folder, cache, decoded):
    streamed = datasets.load(image_folder, memory_budget=0).splits["train"]
    decoded.clear()
    again = datasets.load(image_folder, memory_budget=0, workers=2).splits["train"]
    order = torch.randperm(len(again), generator=torch.Generator().manual_seed(0))
    wanted = datasets.load(image_folder, decoded_cache=0).splits["train"].images.pixels
    decoded.clear()
    for split in (streamed, again):
        assert isinstance(split.images, FileImages)
        rows = datasets.load(image_folder).splits["train"].images.rows
        assert torch.cat([*split.images.batches(order, 5)]).equal(wanted[rows[order]])
    assert decoded == []


def test_images_that_do_not_fit_into_the_cache_are_only_described(image_folder, cache, decoded, monkeypatch):
    monkeypatch.setattr(_decoded, "INDEX_BYTES", 1)
    options = {"memory_budget": 0, "decoded_cache": 1000}
    first = datasets.load(image_folder, **options)
    decoded.clear()
    again = datasets.load(image_folder, **options)
    assert decoded == [] and again.report == first.report
    assert datasets.fingerprints(again) == datasets.fingerprints(first)
    assert len([*again.splits["test"].images.batches(torch.arange(3), 1)]) == 3 == len(decoded)
    assert [each.description.has_pixels for each in datasets.decoded_cache().sets] == [False]
    datasets.load(image_folder)  # where there is room, the pixels are kept too
    assert [each.description.has_pixels for each in datasets.decoded_cache().sets] == [True]


def test_changes_of_the_array_do_not_reach_the_file(image_folder, cache):
    datasets.load(image_folder)
    images = datasets.load(image_folder).splits["train"].images
    before = images.pixels.clone()
    images.pixels.zero_()
    again = datasets.load(image_folder)
    assert again.splits["train"].images.pixels.equal(before) and again.notes() == ()


# Files that change


def test_a_file_with_other_pixels_of_the_same_size_and_time_is_noticed(image_folder, cache):
    path = image_folder / "train" / "cat" / "00.png"
    for kind in ("png", "bmp"):
        Image.open(path).save(path, kind)
        datasets.load(image_folder)
        before = path.stat()
        content = path.read_bytes()
        Image.fromarray(255 - np.asarray(Image.open(path))).save(buffer := io.BytesIO(), kind)
        path.write_bytes(buffer.getvalue()[: len(content)].ljust(len(content), b"\0"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
        assert content_of(image_folder) == content_of(image_folder, decoded_cache=0)


def content_of(folder, **options):
    return content(datasets.load(folder, **options))


def test_folders_that_swap_their_names_are_noticed(flat_folder, cache, monkeypatch):
    """The times of the files in them stay the same; here all files have the same times and sizes."""
    folder = flat_folder
    for path in (folder / "left").iterdir():
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    shutil.rmtree(folder / "right")
    (folder / "right").mkdir()
    for path in (folder / "left").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(folder / "right" / path.name)
    real = os.stat

    def same_times(path, **options):
        found = list(real(path, **options))
        return os.stat_result([*found[:7], 0, 0, 0], {"st_mtime_ns": 0, "st_ctime_ns": 0})

    monkeypatch.setattr("randhead.datasets._file_states.os.stat", same_times)
    before = content_of(folder)
    for old, new in (("left", "x"), ("right", "left"), ("x", "right")):
        (folder / old).rename(folder / new)
    after = content_of(folder)
    assert after != before
    assert after == content_of(folder, decoded_cache=0)


def test_files_that_were_added_or_removed_are_noticed(image_folder, cache):
    datasets.load(image_folder)
    shutil.copy(image_folder / "train" / "cat" / "00.png", image_folder / "train" / "dog" / "new.png")
    assert len(datasets.load(image_folder).splits["train"]) == 28
    (image_folder / "train" / "dog" / "new.png").unlink()
    assert len(datasets.load(image_folder).splits["train"]) == 27


def test_a_file_that_changes_while_the_set_is_read_leaves_nothing(image_folder, cache, monkeypatch):
    path, read = image_folder / "train" / "cat" / "00.png", _reading.inspect

    def changing(file, *rest):
        found = read(file, *rest)
        if file == image_folder / "train" / "dog" / "00.png":
            Image.new("RGB", (16, 16), "red").save(path)
        return found

    monkeypatch.setattr(_reading, "inspect", changing)
    for budget in (1 << 30, 0):
        datasets.load(image_folder, memory_budget=budget, workers=1)
        assert sets(cache) == []


def test_files_that_have_just_been_written_are_not_kept_yet(image_folder, cache, monkeypatch):
    """Within a tick of the clock of the file system, a file can change and have the same times."""
    monkeypatch.setattr(_decoded, "CLOCK_NS", 10**12)
    datasets.load(image_folder)
    streamed = datasets.load(image_folder, memory_budget=0)
    assert sets(cache) == [] and content(streamed) == content_of(image_folder, decoded_cache=0)


def test_a_file_that_can_be_used_again_is_used(image_folder, cache, monkeypatch):
    """What the system refused once, such as a file on a disk that was not there, is no property of the file."""
    read, path = _reading.inspect, image_folder / "train" / "cat" / "03.png"

    def failing(file, *rest):
        if file == path:
            raise _decoded.BadImage(file, "Input/output error")
        return read(file, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(_reading, "inspect", failing)
        patch.setattr(_decoded, "inspect", failing)
        for _ in range(2):
            with pytest.raises(DataError, match="Input/output error"):
                datasets.load(image_folder)
            assert len(datasets.load(image_folder, skip_bad_images=True).splits["train"]) == 26
    assert len(datasets.load(image_folder).splits["train"]) == 27
    assert content_of(image_folder) == content_of(image_folder, decoded_cache=0)


def test_bad_files_are_named_as_without_the_cache(mixed, cache):
    messages = []
    for cached in (0, 20 << 30, 20 << 30):
        with pytest.raises(DataError) as error:
            datasets.load(mixed, decoded_cache=cached)
        messages.append(str(error.value))
    assert len(set(messages)) == 1 and "broken.png" in messages[0]


def test_a_bad_file_of_another_size_does_not_decide(tmp_path, image_folder, cache, decoded):
    Image.new("RGB", (40, 40)).save(image_folder / "test" / "cat" / "odd.png")
    whole = (image_folder / "test" / "cat" / "odd.png").read_bytes()
    (image_folder / "test" / "cat" / "odd.png").write_bytes(whole[:60])
    found = [datasets.load(image_folder, skip_bad_images=True, decoded_cache=mib * MIB) for mib in (0, 100)]
    decoded.clear()
    found.append(datasets.load(image_folder, skip_bad_images=True))
    assert {each.image_size for each in found} == {16} and decoded == [image_folder / "test" / "cat" / "odd.png"]
    assert content(found[0]) == content(found[1]) == content(found[2])


def test_other_limits_and_decoders_decode_again(image_folder, cache, decoded, monkeypatch):
    datasets.load(image_folder)
    decoded.clear()
    datasets.load(image_folder, max_megapixels=1)
    assert len(decoded) >= 42
    decoded.clear()
    monkeypatch.setattr(_decoded, "_decoders", lambda: ("another Pillow",))
    datasets.load(image_folder)
    assert len(decoded) >= 42


# Damaged files, full disks, several processes


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1 << 30, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("file", [_kept_set.INDEX, _kept_set.PIXELS])
def test_a_damaged_set_is_noticed_and_made_again(image_folder, cache, decoded, file, budget):
    options = {"memory_budget": budget}
    wanted = content(datasets.load(image_folder, **options))
    (kept,) = cache.iterdir()
    whole = (kept / file).read_bytes()
    damages = [whole[: len(whole) // 2], b"", whole + b"\0"]
    damages += [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(1, len(whole), len(whole) // 3)]
    for damage in [*damages, None]:
        (kept / file).unlink()
        if damage is not None:
            (kept / file).write_bytes(damage)
        decoded.clear()
        found = datasets.load(image_folder, **options)
        assert len(decoded) >= 42
        assert (kept / file).stat().st_size == len(whole)
        assert content(found)[:4] == wanted[:4]
    decoded.clear()
    assert content(datasets.load(image_folder, **options)) == wanted and decoded == []


def test_a_damaged_set_is_said_to_be_damaged(image_folder, cache):
    datasets.load(image_folder)
    (kept,) = cache.iterdir()
    pixels = bytearray((kept / _kept_set.PIXELS).read_bytes())
    pixels[-1] ^= 1
    (kept / _kept_set.PIXELS).write_bytes(pixels)
    assert "damaged (image 41 of pixels is another one)" in datasets.load(image_folder).notes()[-1]
    assert datasets.load(image_folder).notes() == ()


def test_of_a_large_set_images_at_equal_distances_are_checked(image_folder, cache, monkeypatch):
    datasets.load(image_folder)
    (kept,) = cache.iterdir()
    pixels = bytearray((kept / _kept_set.PIXELS).read_bytes())
    pixels[len(pixels) // 2 :] = bytes(len(pixels) - len(pixels) // 2)
    (kept / _kept_set.PIXELS).write_bytes(pixels)
    monkeypatch.setattr(_kept_set, "CHECKED", 5 * 3 * 16 * 16)
    hashed = []
    monkeypatch.setattr(_kept_set, "digest", lambda image: hashed.append(image) or _images.digest(image))
    assert "damaged" in datasets.load(image_folder).notes()[-1] and len(hashed) == 5


@pytest.mark.parametrize("budget", [1 << 30, 0], ids=["resident", "streamed"])
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_costs_a_warning(image_folder, cache, monkeypatch, budget, reason):
    wanted = content_of(image_folder, decoded_cache=0)
    write, calls = _decoded.PixelFile._write, []

    def full(self, at, pixels):
        calls.append(at)
        if at:
            raise OSError(reason, os.strerror(reason))
        write(self, at, pixels)

    monkeypatch.setattr("randhead.datasets._pixel_file.PIECE", 1)
    monkeypatch.setattr(_decoded.PixelFile, "_write", full)
    found = datasets.load(image_folder, memory_budget=budget)
    assert content(found)[:4] == wanted[:4] and sets(cache) == [] and calls
    (note,) = found.notes()
    assert os.strerror(reason) in note and "machine.decoded_cache_mb=0" in note and str(cache) in note
    assert ("free some space" in note) == (reason == errno.ENOSPC)


@pytest.mark.parametrize(
    ("total", "free", "kept"),
    [(1 << 40, 10, False), (1 << 40, 1 << 30, False), (1 << 40, 2 << 30, True), (10**6, 200_000, True)],
)
def test_too_little_space_is_known_before_anything_is_written(image_folder, cache, monkeypatch, total, free, kept):
    """A GiB is left to others, or a tenth of a small disk."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(total, total - free, free))
    notes = datasets.load(image_folder, memory_budget=0).notes()
    assert len(sets(cache)) == kept and ("No space left" in "".join(notes)) != kept


def test_a_file_system_without_fsync_keeps_images_too(image_folder, cache, monkeypatch):
    def unsupported(handle):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unsupported)
    assert datasets.load(image_folder).notes() == () and len(sets(cache)) == 1


def test_a_folder_that_cannot_be_made_costs_a_warning(image_folder, cache):
    cache.parent.write_text("a file")
    found = datasets.load(image_folder)
    assert "RANDHEAD_CACHE" in found.notes()[0]
    assert content(found)[0] == content_of(image_folder, decoded_cache=0)[0]


@pytest.fixture
def other_user():
    """A context in which this process is another user's."""
    if getattr(os, "geteuid", lambda: 1)() != 0:
        pytest.skip("only root can be another user")

    @contextmanager
    def being_other():
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return being_other


@pytest.fixture
def open_to_all(tmp_path):
    """The folders of pytest can be entered by other users."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o777)


def test_a_folder_that_must_not_be_entered_costs_a_warning(image_folder, cache, open_to_all, other_user):
    cache.mkdir(parents=True)
    cache.parent.chmod(0o700)  # as a home directory that is another user's: in a container with another user id
    with other_user():
        found = datasets.load(image_folder)
    assert "Permission denied" in found.notes()[0]
    assert content(found)[0] == content_of(image_folder, decoded_cache=0)[0]


def test_each_user_of_a_folder_has_sets_of_their_own(image_folder, cache, decoded, open_to_all, other_user):
    """Those of others cannot be read, so that the same files would be decoded by every start."""
    datasets.load(image_folder)
    cache.chmod(0o777)
    with other_user():
        assert content(datasets.load(image_folder)) == content_of(image_folder, decoded_cache=0)
        decoded.clear()
        assert datasets.load(image_folder).notes() == () and decoded == []
    assert len(sets(cache)) == 2


def test_the_folder_is_that_of_the_variable_or_of_the_xdg_specification(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch/me")
    assert datasets.decoded_cache().folder is None  # RANDHEAD_CACHE is empty
    monkeypatch.setenv("RANDHEAD_CACHE", "~/own")
    assert datasets.decoded_cache().folder == Path("/home/me/own/decoded")
    monkeypatch.delenv("RANDHEAD_CACHE")
    assert datasets.decoded_cache().folder == Path("/scratch/me/randhead/decoded")
    for invalid in ("", "relative"):  # which are to be ignored
        monkeypatch.setenv("XDG_CACHE_HOME", invalid)
        assert datasets.decoded_cache().folder == Path("/home/me/.cache/randhead/decoded")


def test_sets_that_were_not_used_for_the_longest_time_are_removed_first(tmp_path, cache, decoded):
    """Of a size for two; the map of a set that is in use stays valid when it is removed."""
    folders = [write_images(tmp_path / name, {"a": 6, "b": 6}, size=16) for name in "xyz"]
    bound = int(2.9 * 12 * 3 * 16 * 16)
    in_use = datasets.load(folders[0], decoded_cache=bound)
    in_use = datasets.load(folders[0], decoded_cache=bound)  # now of the map
    wanted = content(in_use)
    datasets.load(folders[1], decoded_cache=bound)
    for number, each in enumerate(reversed(datasets.decoded_cache().sets)):
        os.utime(each.path / _kept_set.INDEX, (number, number))
        os.utime(each.path / _kept_set.PIXELS, (0, 0))
    datasets.load(folders[2], decoded_cache=bound)
    assert [Path(each.description.folder).name for each in datasets.decoded_cache().sets] == ["z", "y"]
    datasets.load(folders[1], decoded_cache=bound)  # which uses it
    datasets.load(folders[0], decoded_cache=bound)
    assert {Path(each.description.folder).name for each in datasets.decoded_cache().sets} == {"x", "y"}
    assert datasets.decoded_cache().bytes <= bound
    datasets.clear_decoded_cache()
    assert sets(cache) == [] and content(in_use) == wanted


def test_what_others_keep_at_the_same_time_counts(tmp_path, cache, monkeypatch):
    one, other = (write_images(tmp_path / name, {"a": 6, "b": 6}, size=16) for name in "xy")
    read, bound = _reading.inspect, int(1.9 * 12 * 3 * 16 * 16)

    def meanwhile(path, *rest):
        if path.parent.parent == one:
            monkeypatch.setattr(_reading, "inspect", read)
            datasets.load(other, decoded_cache=bound)
        return read(path, *rest)

    monkeypatch.setattr(_reading, "inspect", meanwhile)
    datasets.load(one, memory_budget=0, decoded_cache=bound, workers=1)
    (kept,) = datasets.decoded_cache().sets
    assert kept.description.folder == str(one)


def test_the_number_of_the_reading_is_raised_if_the_pixels_change(tmp_path):
    """If this fails, files decode to other pixels than before: raise `_decoded.READING`, and write the new hash here.

    The set would be wrong in the cache of everybody who has it.
    """
    random = np.random.default_rng(0)
    grey, rgba = random.integers(0, 4096, (9, 12), np.uint16), random.integers(0, 256, (12, 9, 4), np.uint8)
    (tmp_path / "a.pgm").write_bytes(b"P5 12 9 4095\n" + grey.astype(">u2").tobytes())
    Image.fromarray(grey).save(tmp_path / "b.png")
    Image.fromarray(rgba).save(tmp_path / "c.png")
    Image.fromarray(rgba[..., :3]).save(tmp_path / "d.bmp")
    for name, size in (("e", (70, 80)), ("f", (8, 8))):  # larger, and as large as the result
        Image.fromarray(rgba[..., :3]).resize(size).save(tmp_path / f"{name}.jpg", quality=90)
    paths = sorted(tmp_path.iterdir())
    found = _decoded.decode_files(tmp_path, paths, datasets.Options(image_size=8, decoded_cache=0))
    facts = repr([tuple(each) for each in found.read.facts]).encode()
    hashes = [_images.digest(part).hex()[:16] for part in (found.pixels, np.frombuffer(facts, np.uint8))]
    assert (_decoded.READING, *hashes) == (1, "961f6848a6413c29", "0b96327a5fbca21f")


PROGRAM = """
import sys, time
from randhead import datasets, evaluation, robustness, train
from randhead.datasets import _decoded, _pixel_file
_decoded.CLOCK_NS = -10**15
found = datasets.load(sys.argv[1], memory_budget=int(sys.argv[2]))
print(datasets.fingerprints(found)["train"]["images"], len(found.notes()))
"""


def start(tmp_path, folder, budget, before=""):
    environment = {**os.environ, "RANDHEAD_CACHE": str(tmp_path / "kept")}
    command = [sys.executable, "-c", before + PROGRAM, str(folder), str(budget)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)


@pytest.mark.slow
def test_two_processes_at_once_leave_one_whole_set(tmp_path):
    folder = write_images(tmp_path / "images", {"a": 200, "b": 200}, size=32)
    wanted = datasets.fingerprints(datasets.load(folder))["train"]["images"]
    jobs = [start(tmp_path, folder, budget) for budget in (0, 1 << 30)]
    assert {job.communicate()[0] for job in jobs} == {f"{wanted} 0\n"}
    kept = tmp_path / "kept" / "decoded"
    assert len(sets(kept)) == 1 and not sets(kept)[0].startswith(".")
    assert start(tmp_path, folder, 0).communicate()[0] == f"{wanted} 0\n"


SLOWLY = """
import time
from randhead.datasets import _pixel_file
write = _pixel_file.PixelFile._write
def slow(*arguments):
    write(*arguments)
    time.sleep(0.005)
_pixel_file.PixelFile._write = slow
_pixel_file.PIECE = 1
print("reading", flush=True)
"""


@pytest.mark.slow
def test_kill_9_while_a_set_is_written_leaves_no_part_of_it(tmp_path):
    folder = write_images(tmp_path / "images", {"a": 200, "b": 200}, size=32)
    kept = tmp_path / "kept" / "decoded"
    wanted = datasets.fingerprints(datasets.load(folder))["train"]["images"]
    for moment, budget in ((0.1, 1 << 30), (1.2, 0)):  # of the 2 seconds that writing takes
        job = start(tmp_path, folder, budget, SLOWLY)
        assert job.stdout.readline() == "reading\n"
        until = time.monotonic() + 60
        while not sets(kept) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(moment)
        job.send_signal(signal.SIGKILL)
        job.wait()
        job.stdout.close()
        (left,) = sets(kept)  # what the one before has left is swept
        assert left.startswith(".") and left.endswith(".tmp")
        for path in kept.iterdir():
            assert _kept_set.describe(path) is None
    assert start(tmp_path, folder, budget).communicate()[0] == f"{wanted} 0\n"
    assert len(sets(kept)) == 1 and not sets(kept)[0].startswith(".")


def test_what_a_killed_process_left_is_swept(image_folder, cache):
    cache.mkdir(parents=True)
    from randhead.files import _host

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (cache / f".{'0' * 32}.{_host()}-{dead.pid}.abcd1234.tmp").mkdir()
    mine = cache / f".{'1' * 32}.{_host()}-{os.getpid()}.abcd1234.tmp"
    mine.mkdir()
    datasets.load(image_folder)
    assert [path.name for path in cache.iterdir() if path.name.startswith(".")] == [mine.name]


# Commands


def test_a_configuration_says_how_much_is_kept(image_folder, cache):
    datasets.from_config(configure({"data.name": str(image_folder), "machine.decoded_cache_mb": 0}))
    assert sets(cache) == []
    datasets.from_config(configure({"data.name": str(image_folder), "machine.decoded_cache_mb": 1}))
    assert len(sets(cache)) == 1
    found = json.loads(json.dumps(datasets.decoded_cache().to_json()))
    (kept,) = found["sets"]
    assert (kept["folder"], kept["images"], kept["image_size"]) == (str(image_folder), 42, 16)
    assert found["bytes"] == kept["bytes"] > 42 * 3 * 16 * 16


def test_doctor_shows_what_is_kept_and_deletes_it(image_folder, cache, capsys, monkeypatch):
    monkeypatch.setattr("randhead.checkup.draws_equal_rows", lambda: True)  # which takes 0.1 s each time

    def doctor(*words):
        assert not tiny.main("doctor", *words)
        return capsys.readouterr().out

    assert "0 sets, 0.0 MiB, in" in doctor()
    datasets.load(image_folder)
    shown = doctor()
    assert "1 set, 0.0 MiB" in shown and str(image_folder) in shown and " 42 " in shown
    assert shown.splitlines()[-1] == "all is well"
    (kept,) = json.loads(doctor("--json"))["decoded_cache"]["sets"]
    assert kept["images"] == 42
    deleted = json.loads(doctor("--clear-cache", "--json"))["deleted"]
    assert [each["folder"] for each in deleted["sets"]] == [str(image_folder)] and sets(cache) == []
    assert "deleted decoded images: 0 sets" in doctor("--clear-cache")


def test_the_images_of_one_folder_are_not_deleted_alone(image_folder, cache):
    """Whoever names a folder would lose all others."""
    datasets.load(image_folder)
    with pytest.raises(UsageError, match="takes no --data"):
        doctor(data=str(image_folder), clear_cache=True)
    assert len(sets(cache)) == 1


def test_what_cannot_be_deleted_is_an_error(image_folder, cache, monkeypatch):
    datasets.load(image_folder)
    monkeypatch.setattr(_cache_folder, "remove", lambda path: None)
    with pytest.raises(RunError, match="not deleted: 1 set"):
        clear(Output(as_json=True))


def test_no_part_of_the_data_decides_where_images_are_resident(image_folder, cache):
    for _ in range(2):
        assert isinstance(datasets.load(image_folder).splits["train"].images, TensorImages)
        assert isinstance(datasets.load(image_folder, memory_budget=0).splits["train"].images, FileImages)


@pytest.mark.slow
def test_commands_decode_a_set_once(tmp_path, image_folder, cache, decoded):
    """Training decodes it; evaluating, analyzing and resuming decode nothing, and find the same."""
    root, settings = tmp_path / "runs", {"data.name": str(image_folder), "train.epochs": 1, "train.batch_size": 8}
    run = train.fit(settings, root=root).run
    assert len(decoded) == 1 + 42  # the size of the first, then all
    decoded.clear()
    found = evaluation.evaluate(run, root=root)
    evaluation.analyze("separability", [run], root=root)
    robustness.benchmark(run, root=root, corruptions="fog", severities=[1])
    train.fit({**settings, "train.epochs": 2}, root=root)
    assert decoded == [] and found.metrics.n == 12
    datasets.clear_decoded_cache()
    assert evaluation.evaluate(run, root=root).to_json() == found.to_json() and len(decoded) == 42
