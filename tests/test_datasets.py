"""Data sets as they are loaded: splits, labels, statistics, and what a damaged or missing one says."""

import hashlib
import socket
import urllib.error
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from randhead import datasets, files, registry
from randhead.datasets import FileImages, Options, TensorImages, _build, _download, _torchvision, digits, tiny_imagenet
from randhead.errors import DataError, DataFileError, UsageError

KNOWN = ["cifar10", "cifar100", "fashion_mnist", "mnist", "stl10", "svhn", "tiny_imagenet"]
SOURCES = {  # of every set that is downloaded
    name: getattr(module, "SOURCES", None) or [module.SOURCE]
    for name, module in ((name, registry.load("datasets", name)) for name in registry.builtin_names("datasets"))
    if {"SOURCE", "SOURCES"} & set(vars(module))
}


@pytest.fixture
def offline(monkeypatch):
    """Any attempt to reach the network ends as it does on a machine without one."""

    def refuse(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def pixels_of(split):
    return torch.cat(list(split.images.batches(torch.arange(len(split)), 100)))


# Digits


def test_digits_are_those_of_scikit_learn_stretched_to_the_whole_range():
    loaded = datasets.load("digits")
    found = sorted(row.tobytes() for split in loaded.splits.values() for row in pixels_of(split).numpy())
    want = np.floor(load_digits().images * 255 / 16 + 0.5).astype(np.uint8)
    assert found == sorted(np.stack([digit] * 3).tobytes() for digit in want)
    assert loaded.class_names == tuple("0123456789")
    assert (loaded.image_size, loaded.bad_images) == (8, ())


def test_digits_keep_a_fifth_of_each_class_for_test_and_a_tenth_for_validation():
    loaded = datasets.load("digits")
    counts = {name: torch.bincount(split.labels).double() for name, split in loaded.splits.items()}
    total = sum(counts.values())
    assert list(counts) == ["train", "val", "test"]
    torch.testing.assert_close(counts["test"] / total, torch.full((10,), 0.2).double(), atol=0.005, rtol=0)
    torch.testing.assert_close(counts["val"] / total, torch.full((10,), 0.1).double(), atol=0.005, rtol=0)


def test_splits_are_a_function_of_the_split_seed():
    first, again, other = (datasets.load("digits", split_seed=seed) for seed in (0, 0, 1))
    for name in ("train", "val", "test"):
        assert pixels_of(first.splits[name]).equal(pixels_of(again.splits[name]))
        assert not pixels_of(first.splits[name]).equal(pixels_of(other.splits[name]))


def test_arrays_are_resized_like_pillow_does():
    small, large = datasets.load("digits").splits["val"], datasets.load("digits", image_size=20).splits["val"]
    assert large.images.shape == (3, 20, 20)
    want = [
        np.asarray(Image.fromarray(image[0]).resize((20, 20), Image.Resampling.BILINEAR)).astype(int)
        for image in pixels_of(small).numpy()
    ]
    assert np.abs(pixels_of(large)[:, 0].numpy() - np.stack(want)).max() <= 1


def test_arrays_that_resizing_would_enlarge_beyond_the_memory_budget_are_resized_batch_by_batch():
    resident, lazy = (datasets.load("digits", image_size=20, memory_budget=budget) for budget in (1 << 30, 1 << 20))
    assert type(lazy.splits["train"].images).__name__ == "ResizedImages"
    for name, split in resident.splits.items():
        order = torch.randperm(len(split), generator=seeded())
        assert lazy.splits[name].images.shape == split.images.shape
        for ours, theirs in zip(
            lazy.splits[name].images.batches(order, 64), split.images.batches(order, 64), strict=True
        ):
            assert ours.equal(theirs)


# Splits


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_every_class_is_held_out_and_kept_where_it_has_two_images(share):
    labels = torch.tensor([0] * 1 + [1] * 2 + [2] * 3 + [3] * 50 + [4] * 201)[torch.randperm(257, generator=seeded())]
    held = _build.held_out(labels, torch.arange(257), share, seed=0, purpose="test")
    out, kept = torch.bincount(labels[held], minlength=5), torch.bincount(labels[~held], minlength=5)
    assert (out[0], kept[0]) == (0, 1)
    assert (out[1:] >= 1).all()
    assert (kept[1:] >= 1).all()
    assert abs(out[4] - 201 * share) <= 1


def test_who_is_held_out_depends_on_ids_and_not_on_their_order():
    labels, ids, order = torch.arange(200) % 4, torch.arange(200) * 7 + 1, torch.randperm(200, generator=seeded())
    held = _build.held_out(labels, ids, 0.2, seed=0, purpose="test")
    shuffled = _build.held_out(labels[order], ids[order], 0.2, seed=0, purpose="test")
    assert shuffled.equal(held[order])


def seeded():
    return torch.Generator().manual_seed(0)


# Batches


def test_batches_follow_the_order_they_are_given():
    pixels = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1).expand(40, 3, 2, 2)
    images = TensorImages(pixels, torch.arange(39, -1, -1))
    order = torch.tensor([3, 3, 0, 39, 7])
    batches = list(images.batches(order, 2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.cat(batches)[:, 0, 0, 0].tolist() == [36, 36, 39, 0, 32]
    assert list(images.batches(torch.tensor([], dtype=torch.int64), 2)) == []


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_streamed_batches_equal_resident_ones(image_folder, workers, batch_size):
    resident = datasets.load(image_folder)
    streamed = datasets.load(image_folder, memory_budget=0, workers=workers)
    assert isinstance(resident.splits["train"].images, TensorImages)
    assert isinstance(streamed.splits["train"].images, FileImages)
    for name, split in resident.splits.items():
        other = streamed.splits[name]
        assert other.labels.equal(split.labels)
        order = torch.randperm(len(split), generator=seeded()).repeat(3)
        pairs = zip(split.images.batches(order, batch_size), other.images.batches(order, batch_size), strict=True)
        assert all(a.equal(b) for a, b in pairs)


def test_a_streamed_file_that_vanishes_is_named(image_folder):
    split = datasets.load(image_folder, memory_budget=0).splits["test"]
    (image_folder / "test" / "dog" / "03.png").unlink()
    with pytest.raises(DataError, match=r"dog/03\.png.*no such file"):
        list(split.images.batches(torch.arange(len(split)), 4))


def test_streaming_may_end_before_the_last_batch(image_folder):
    split = datasets.load(image_folder, memory_budget=0, workers=2).splits["train"]
    batches = split.images.batches(torch.arange(len(split)).repeat(200), 2)
    assert next(batches).shape == (2, 3, 16, 16)
    batches.close()


def test_the_memory_budget_counts_decoded_bytes_of_all_splits(image_folder):
    needed = 42 * 3 * 16 * 16
    for budget, kind in ((needed, TensorImages), (needed - 1, FileImages)):
        assert isinstance(datasets.load(image_folder, memory_budget=budget).splits["val"].images, kind)


# Names and options


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(UsageError, match="unknown dataset 'cifra10'") as error:
        datasets.load("cifra10")
    assert "did you mean 'cifar10'" in error.value.hint


def test_a_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch, make_images):
    make_images(tmp_path / "digits", {"a": 9, "b": 9})
    make_images(tmp_path / "mine", {"a": 9, "b": 9})
    monkeypatch.chdir(tmp_path)
    assert len(datasets.load("digits").class_names) == 10
    assert datasets.load("./digits").class_names == ("a", "b")
    assert datasets.load("mine").class_names == ("a", "b")


@pytest.mark.parametrize(
    ("name", "kind", "message", "hints"),
    [
        (
            "photso",
            UsageError,
            "unknown dataset 'photso', and no such folder",
            ["mean 'photos'?", "cifar10, ", "CLASS/"],
        ),
        ("zzzz", UsageError, "unknown dataset 'zzzz', and no such folder", ["known: cifar10, ", "train/CLASS/"]),
        ("./photso", DataError, "^photso: no such folder", ["mean 'photos'?", "train/CLASS/"]),
        ("in/phtos", DataError, "^in/phtos: no such folder", ["mean 'in/photos'?", "train/CLASS/"]),
        ("photos.zip/train", DataError, "no such folder", ["train/CLASS/"]),
        ("https://a.org/x.zip", DataError, "^https://a.org/x.zip: an address, not a folder", ["download", "CLASS/"]),
        (Path("https://a.org/x"), DataError, "^https://a.org/x: an address, not a folder", ["download", "CLASS/"]),
        ("photos.zip", DataError, "^photos.zip: a file, not a folder", ["unpack", "train/CLASS/"]),
    ],
)
def test_who_mistypes_a_folder_or_a_set_is_told_of_both(name, kind, message, hints, tmp_path, monkeypatch):
    for folder in ("photos", "in/photos"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "photos.zip").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message) as error:
        datasets.load(name)
    for hint in hints:
        assert hint in error.value.hint
    assert "image_folder" not in error.value.hint


@pytest.mark.parametrize("name", ["image_folder", ""])
def test_a_folder_has_to_be_given_by_its_path(name):
    with pytest.raises(UsageError):
        datasets.load(name)


@pytest.mark.parametrize(
    "options",
    [{"image_size": 0}, {"validation": 0}, {"validation": 1.0}, {"memory_budget": -1}, {"workers": 0}],
)
def test_options_out_of_bounds_are_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        datasets.load("digits", **options)


# Downloads


def test_every_set_but_the_bundled_one_and_folders_is_downloaded():
    assert set(KNOWN) <= set(SOURCES)
    assert not {"digits", "image_folder"} & set(SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_without_a_network_the_addresses_and_places_are_named(name, tmp_path, offline):
    with pytest.raises(DataError, match=r"cannot be downloaded.*Name or service not known") as error:
        datasets.load(name, root=tmp_path)
    for source in SOURCES[name]:
        assert f"{source.urls[0]} to {tmp_path / source.path}" in error.value.hint
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class Server:
    """Stands in for urllib's: address -> content, or the error it ends with."""

    def __init__(self, monkeypatch, answers):
        self.answers, self.asked = answers, []
        monkeypatch.setattr(_download.urllib.request, "urlopen", self.open)

    def open(self, request, timeout):
        self.asked.append(request.full_url)
        answer = self.answers[request.full_url]
        if isinstance(answer, Exception):
            raise answer
        return Response(answer)


class Response:
    def __init__(self, content):
        self.content, self.headers = content, {"Content-Length": str(len(content))}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def read(self, size):
        part, self.content = self.content[:size], self.content[size:]
        return part


CONTENT = b"images " * 300_000
SOURCE = _download.Source("set/file.bin", ("http://a/file.bin", "http://b/file.bin"), hashlib.md5(CONTENT).hexdigest())


def test_a_mirror_is_tried_where_an_address_fails_and_nothing_is_fetched_twice(tmp_path, monkeypatch):
    gone = urllib.error.HTTPError("http://a/file.bin", 404, "Not Found", {}, None)
    server, seen = Server(monkeypatch, {"http://a/file.bin": gone, "http://b/file.bin": CONTENT}), []
    for _ in range(2):
        _download.fetch([SOURCE], tmp_path, lambda done, total: seen.append((done, total)))
    gone.close()
    assert (tmp_path / "set/file.bin").read_bytes() == CONTENT
    assert server.asked == ["http://a/file.bin", "http://b/file.bin"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<html>moved</html>", "18 bytes with another MD5 sum"),
        (TimeoutError("timed out"), "timed out"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset"),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "Name or service"),
    ],
)
def test_what_a_failing_address_gave_is_said_and_an_older_file_is_kept(tmp_path, monkeypatch, answer, reason):
    Server(monkeypatch, dict.fromkeys(SOURCE.urls, answer))
    files.atomic_write(tmp_path / SOURCE.path, b"half")
    with pytest.raises(DataError, match=reason) as error:
        _download.fetch([SOURCE], tmp_path)
    assert "incomplete or another file" in error.value.message
    assert [path.read_bytes() for path in (tmp_path / "set").iterdir()] == [b"half"]


def test_a_full_disk_is_not_taken_for_a_missing_network(tmp_path, monkeypatch):
    Server(monkeypatch, dict.fromkeys(SOURCE.urls, CONTENT))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_download, "_save", full)
    with pytest.raises(DataError, match="No space left on device") as error:
        _download.fetch([SOURCE], tmp_path)
    assert "space" in error.value.hint
    assert "http" not in error.value.message


# Sets that torchvision reads


class Stub:
    """A torchvision set of 20 training and 6 test images, which appears once its file lies in the root."""

    def __init__(self, root, split, download, layout):
        if not (root / "file.bin").exists():
            raise RuntimeError("Dataset not found or corrupted.")
        count = {"train": 20, "test": 6}[split]
        grey = np.arange(count, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8)
        last = np.stack([grey, grey + 50, grey + 100], axis=-1)
        self.data = {"grey": torch.from_numpy(grey), "last": last, "first": last.transpose(0, 3, 1, 2)}[layout]
        labels = (np.arange(count) % 2).tolist()
        if layout == "last":
            self.targets = labels
        else:
            self.labels = np.array(labels)
        self.classes = ["even", "odd"]

    def __len__(self):
        return len(self.data)


def load_stub(root, layout="last", source=None):
    def open_split(root, split, download):
        return Stub(root, split, download, layout)

    return _torchvision.load_torchvision("stub", open_split, [source] if source else [], Options(root=root))


@pytest.mark.parametrize(("layout", "offsets"), [("grey", (0, 0, 0)), ("last", (0, 50, 100)), ("first", (0, 50, 100))])
def test_arrays_of_any_layout_become_rgb_with_their_labels(tmp_path, layout, offsets):
    (tmp_path / "file.bin").touch()
    loaded = load_stub(tmp_path, layout)
    test = loaded.splits["test"]
    assert loaded.class_names == ("even", "odd")
    assert pixels_of(test)[:, :, 3, 1].tolist() == [[i + offset for offset in offsets] for i in range(6)]
    assert test.labels.tolist() == [0, 1] * 3
    rest = [pixels_of(loaded.splits[name])[:, 0, 0, 0] for name in ("train", "val")]
    assert (len(rest[0]), len(rest[1])) == (18, 2)
    assert torch.cat(rest).sort().values.equal(torch.arange(20, dtype=torch.uint8))
    for name, values in zip(("train", "val"), rest, strict=True):
        assert loaded.splits[name].labels.equal(values.long() % 2)


def test_files_are_fetched_only_where_torchvision_does_not_find_them(tmp_path, monkeypatch):
    source = _download.Source("file.bin", ("http://a/f",), hashlib.md5(b"good").hexdigest())
    server = Server(monkeypatch, {"http://a/f": b"good"})
    assert len(load_stub(tmp_path, source=source).splits["test"]) == 6
    assert len(load_stub(tmp_path, source=source).splits["test"]) == 6
    assert server.asked == ["http://a/f"]


def test_damaged_files_are_a_data_error(tmp_path):
    def open_split(root, split, download):
        raise ValueError("buffer is smaller than requested size")

    with pytest.raises(DataError, match="are damaged") as error:
        _torchvision.load_torchvision("stub", open_split, [], Options(root=tmp_path))
    assert "delete" in error.value.hint


# Tiny ImageNet


@pytest.fixture
def tiny_archive(tmp_path, make_images, monkeypatch):
    """A ZIP file laid out as the published one, with two classes; it lies where it would be put by hand."""
    top = tmp_path / "made" / tiny_imagenet.FOLDER
    for wnid in ("n01", "n02"):
        make_images(top / "train" / wnid, {"images": 10})
    make_images(top / "val", {"images": 4})
    make_images(top / "test", {"images": 3})
    (top / "val" / "val_annotations.txt").write_text(
        "".join(f"0{i}.png\tn0{i % 2 + 1}\t0\t0\t9\t9\n" for i in range(4))
    )
    root = tmp_path / "root"
    root.mkdir()
    with zipfile.ZipFile(root / "tiny-imagenet-200.zip", "w") as archive:
        for path in top.rglob("*"):
            archive.write(path, path.relative_to(top.parent))
    md5 = hashlib.md5((root / "tiny-imagenet-200.zip").read_bytes()).hexdigest()
    monkeypatch.setattr(tiny_imagenet, "SOURCE", _download.Source("tiny-imagenet-200.zip", ("http://a/t.zip",), md5))
    return root, top


def test_tiny_imagenet_takes_its_labelled_validation_images_for_test(tiny_archive, offline):
    root, top = tiny_archive
    loaded = datasets.load("tiny_imagenet", root=root)
    assert loaded.class_names == ("n01", "n02")
    assert {name: len(split) for name, split in loaded.splits.items()} == {"train": 18, "val": 2, "test": 4}
    assert loaded.splits["test"].labels.tolist() == [0, 1, 0, 1]
    third = np.asarray(Image.open(top / "val" / "images" / "02.png")).transpose(2, 0, 1)
    assert (pixels_of(loaded.splits["test"])[2].numpy() == third).all()
    assert [path.name for path in root.iterdir() if path.is_dir()] == ["tiny-imagenet-200"]


def test_tiny_imagenet_with_a_damaged_list_of_labels_is_a_data_error(tiny_archive):
    root, _ = tiny_archive
    datasets.load("tiny_imagenet", root=root)
    notes = root / tiny_imagenet.FOLDER / "val" / "val_annotations.txt"
    notes.write_text(notes.read_text()[:20])
    with pytest.raises(DataError, match="do not belong together") as error:
        datasets.load("tiny_imagenet", root=root)
    assert "delete" in error.value.hint


def test_an_archive_is_unpacked_whole_or_not_at_all(tiny_archive, monkeypatch):
    root, _ = tiny_archive

    def full(self, path):
        (Path(path) / "fragment").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(DataError, match="No space left"):
        datasets.load("tiny_imagenet", root=root)
    assert [path.name for path in root.iterdir()] == ["tiny-imagenet-200.zip"]


def test_the_digits_are_those_that_scikit_learn_loads(tmp_path, monkeypatch):
    table, bundled = digits._table(), load_digits()
    assert np.array_equal(table[:, :-1].reshape(-1, 8, 8), bundled.images)
    assert np.array_equal(table[:, -1], bundled.target)
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(DataFileError, match="scikit-learn: it is missing"):
        digits._table()
    monkeypatch.setattr(digits, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    with pytest.raises(DataFileError, match=r"digits\.csv\.gz: the digits cannot be read"):
        digits._table()
