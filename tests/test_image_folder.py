"""A user's own images: every layout, format and damage, decoded alike and named where they cannot be used."""

import os
import re
import struct
import unicodedata
import warnings
import zlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from randhead import datasets
from randhead.cli.hints import as_options
from randhead.datasets import _decode, _hold_out, _opening
from randhead.errors import DataError
from randhead.jpeg_library import simplejpeg
from randhead.train.trainer import Trainer


@pytest.fixture(autouse=True)
def pillow_is_quiet():
    _decode.ignore_pillow_warnings()


def pixels_of(split):
    return torch.cat(list(split.images.batches(torch.arange(len(split)), 100)))


def load_one(path, size=4):
    """The centre pixel of a file, as a list, after checking that the image is uint8 (3, size, size)."""
    image = datasets.read_image(path, size)
    assert (image.dtype, image.shape) == (torch.uint8, (3, size, size))
    return image[:, size // 2, size // 2].tolist()


# Formats: each colour is uniform, so that lossy compression and resizing keep it


def uniform(mode, colour, **save):
    return lambda path: Image.new(mode, (6, 6), colour).save(path, **save)


def wide_grey(value, dtype):
    return lambda path: Image.fromarray(np.full((6, 6), value, dtype)).save(path)


def palette(colour, transparency=None):
    def write(path):
        image = Image.new("P", (6, 6), 1)
        image.putpalette([0, 0, 0, *colour])
        image.save(path, **({} if transparency is None else {"transparency": transparency}))

    return write


def animation(path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def png16_rgb(path):
    """16-bit colour, which Pillow reads but does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">3H", 0x1234, 0xABCD, 0xFFFF) * 6
    header = struct.pack(">IIBBBBB", 6, 6, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 6)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


FORMATS = {
    "rgb.png": (uniform("RGB", (10, 20, 30)), (10, 20, 30), 0),
    "rgb.bmp": (uniform("RGB", (10, 20, 30)), (10, 20, 30), 0),
    "rgb.ppm": (uniform("RGB", (10, 20, 30)), (10, 20, 30), 0),
    "rgb.tiff": (uniform("RGB", (10, 20, 30)), (10, 20, 30), 0),
    "rgb.jpg": (uniform("RGB", (100, 120, 140), quality=100), (100, 120, 140), 2),
    "rgb.webp": (uniform("RGB", (100, 120, 140), lossless=True), (100, 120, 140), 0),
    "grey.png": (uniform("L", 77), (77, 77, 77), 0),
    "grey.JPEG": (uniform("L", 77, quality=100), (77, 77, 77), 1),
    "black_and_white.png": (uniform("1", 1), (255, 255, 255), 0),
    "palette.png": (palette((9, 8, 7)), (9, 8, 7), 0),
    "palette.gif": (palette((9, 8, 7)), (9, 8, 7), 0),
    "palette_index_transparent.png": (palette((9, 8, 7), 1), (255, 255, 255), 0),
    "palette_other_transparent.png": (palette((9, 8, 7), 0), (9, 8, 7), 0),
    "palette_half_transparent.png": (palette((9, 8, 7), b"\xff\x80"), (132, 131, 131), 1),
    "transparent.gif": (palette((9, 8, 7), 1), (255, 255, 255), 0),
    "opaque.png": (uniform("RGBA", (10, 20, 30, 255)), (10, 20, 30), 0),
    "half.png": (uniform("RGBA", (0, 100, 200, 128)), (127, 177, 227), 1),
    "clear.png": (uniform("RGBA", (10, 20, 30, 0)), (255, 255, 255), 0),
    "grey_half.png": (uniform("LA", (0, 128)), (127, 127, 127), 0),
    "grey_key.png": (uniform("L", 77, transparency=77), (255, 255, 255), 0),
    "rgb_key.png": (uniform("RGB", (1, 2, 3), transparency=(1, 2, 3)), (255, 255, 255), 0),
    "clear.webp": (uniform("RGBA", (10, 20, 30, 0), lossless=True), (255, 255, 255), 0),
    "cmyk.jpg": (uniform("CMYK", (0, 255, 255, 0), quality=100), (255, 0, 0), 3),
    "cmyk.tif": (uniform("CMYK", (255, 0, 0, 0)), (0, 255, 255), 0),
    "grey16.png": (wide_grey(0x9234, np.uint16), (0x92,) * 3, 0),
    "grey16_bright.png": (wide_grey(0xFFFF, np.uint16), (255,) * 3, 0),
    "grey16.tif": (wide_grey(0xABCD, np.uint16), (0xAB,) * 3, 0),
    "grey16.pgm": (wide_grey(0x8000, np.uint16), (0x80,) * 3, 0),
    "integers.tif": (wide_grey(0x9234, np.int32), (0x92,) * 3, 0),
    "colour16.png": (png16_rgb, (0x12, 0xAB, 0xFF), 0),
    "animation.gif": (animation, (255, 0, 0), 0),
    "animation.png": (animation, (255, 0, 0), 0),
    "animation.webp": (animation, (255, 0, 0), 3),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_becomes_rgb_of_8_bits(name, tmp_path):
    write, colour, error = FORMATS[name]
    write(tmp_path / name)
    for size in (4, 6, 9):
        assert load_one(tmp_path / name, size) == pytest.approx(colour, abs=error)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied(orientation, ending, tmp_path):
    upright = Image.new("RGB", (32, 32), (255, 255, 255))
    upright.paste((255, 0, 0), (0, 0, 16, 16))
    upright.paste((0, 0, 255), (16, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.save(tmp_path / f"turned.{ending}", exif=exif, quality=100)
    with Image.open(tmp_path / f"turned.{ending}") as stored:
        want = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    assert (datasets.read_image(tmp_path / f"turned.{ending}", 32).permute(1, 2, 0).numpy() == want).all()
    corners = {tuple(int(v > 128) for v in want[y, x]): (y, x) for y in (4, 28) for x in (4, 28)}
    places = [(4, 4), (4, 28), (28, 28), (28, 4), (4, 4), (4, 28), (28, 28), (28, 4)]
    assert corners[1, 0, 0] == places[orientation - 1]  # where the stored top left corner belongs, by the standard


@pytest.mark.parametrize(("width", "height"), [(40, 24), (24, 40), (97, 24), (24, 24), (12, 12), (8, 5)])
def test_the_shorter_side_is_resized_and_the_centre_cropped(width, height, tmp_path):
    slope = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    Image.fromarray(slope).save(tmp_path / "slope.png")
    scale = 12 / min(width, height)
    whole = Image.fromarray(slope).resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - 12) // 2, (whole.height - 12) // 2
    want = np.asarray(whole)[top : top + 12, left : left + 12].astype(int)
    found = datasets.read_image(tmp_path / "slope.png", 12).permute(1, 2, 0).numpy()
    # The crop is taken between pixels where the margin is odd, so neighbouring pixels' difference is allowed.
    assert np.abs(found - want).max() <= 1 + 255 / min(width, height) / 2


def test_large_photographs_are_read_faster_without_looking_different(tmp_path):
    coarse = np.random.default_rng(0).integers(0, 256, (150, 200), dtype=np.uint8)
    photograph = Image.fromarray(coarse).resize((800, 600), Image.Resampling.BICUBIC).convert("RGB")
    photograph.save(tmp_path / "photo.jpg", quality=95)
    photograph.save(tmp_path / "photo.png", compress_level=1)
    fast, full = (datasets.read_image(tmp_path / f"photo.{kind}", 32).int() for kind in ("jpg", "png"))
    assert (fast - full).abs().max() <= 2  # 7 where the JPEG is read at the smallest sufficient size


# Layouts


def names_of(loaded):
    return {
        split: Counter(loaded.class_names[label] for label in loaded.splits[split].labels) for split in loaded.splits
    }


@pytest.mark.parametrize("held_out", ["test", "val", "valid", "Validation"])
def test_the_only_held_out_folder_is_the_test_split(held_out, tmp_path, make_images):
    make_images(tmp_path / "train", {"cat": 20, "dog": 10})
    make_images(tmp_path / held_out, {"cat": 3, "dog": 4})
    assert names_of(datasets.load(tmp_path)) == {
        "train": {"cat": 18, "dog": 9},
        "val": {"cat": 2, "dog": 1},
        "test": {"cat": 3, "dog": 4},
    }


def test_where_val_and_test_exist_both_are_used_and_train_stays_whole(tmp_path, make_images):
    for split, count in (("Train", 6), ("validation", 2), ("TEST", 3)):
        make_images(tmp_path / split, {"cat": count, "dog": count})
    make_images(tmp_path / "unlabelled", {"all": 9})
    assert names_of(datasets.load(tmp_path)) == {
        "train": {"cat": 6, "dog": 6},
        "val": {"cat": 2, "dog": 2},
        "test": {"cat": 3, "dog": 3},
    }


def test_one_folder_is_split_by_seed_in_eight_one_and_one_tenth(flat_folder):
    loaded = datasets.load(flat_folder)
    assert names_of(loaded) == {
        "train": {"left": 16, "right": 24},
        "val": {"left": 2, "right": 3},
        "test": {"left": 2, "right": 3},
    }
    every = [row.numpy().tobytes() for split in loaded.splits.values() for row in pixels_of(split)]
    assert len(set(every)) == 50
    other = datasets.load(flat_folder, split_seed=1)
    assert not pixels_of(other.splits["test"]).equal(pixels_of(loaded.splits["test"]))


def test_images_added_to_a_folder_move_few_others_between_splits(tmp_path, make_images):
    make_images(tmp_path / "data", {"a": 40, "b": 40})
    before = {row.numpy().tobytes() for row in pixels_of(datasets.load(tmp_path / "data").splits["test"])}
    Image.new("RGB", (16, 16)).save(tmp_path / "data" / "a" / "000 first.png")
    after = {row.numpy().tobytes() for row in pixels_of(datasets.load(tmp_path / "data").splits["test"])}
    assert len(before - after) <= 1


def test_classes_are_sorted_by_name_whatever_the_names_are(tmp_path, make_images):
    names = ["Zebra", "apple", "été", "猫", "a b", "10", "9", "👩‍🔬", "می‌خواهم"]
    make_images(tmp_path / "data", dict.fromkeys(names, 3))
    assert datasets.load(tmp_path / "data").class_names == tuple(sorted(names))


def test_composed_and_decomposed_names_are_the_same_classes_in_the_same_order_with_the_same_split(tmp_path):
    # macOS unpacks decomposed: "é" is "e" with an accent of its own, which comes before "f".
    loaded = []
    for form in ("NFC", "NFD"):
        for name, colour in {"café": 0, "cafz": 100}.items():
            folder = tmp_path / form / unicodedata.normalize(form, name)
            folder.mkdir(parents=True)
            for i in range(20):
                Image.new("RGB", (4, 4), (colour, i, 0)).save(folder / unicodedata.normalize(form, f"é{i}.png"))
        loaded.append(datasets.load(tmp_path / form))
    assert loaded[0].class_names == loaded[1].class_names == ("cafz", "caf\u00e9")
    for split in ("train", "val", "test"):
        one, other = (dataset.splits[split] for dataset in loaded)
        assert sorted(pixels_of(one).flatten(1).tolist()) == sorted(pixels_of(other).flatten(1).tolist())


def test_classes_to_hold_out_may_be_typed_in_either_form_of_unicode():
    names = ("caf\u00e9", "cat", "dog", "eel")
    for typed in ("caf\u00e9, dog", "cafe\u0301, dog"):
        assert _hold_out.chosen(typed, names, seed=0) == [0, 2]


def test_images_are_found_at_any_depth_and_hidden_and_other_files_are_left_out(tmp_path, make_images):
    make_images(tmp_path / "data", {"a": 5, "b": 5})
    make_images(tmp_path / "data" / "a", {"deep/deeper": 5, ".hidden": 5})
    Image.new("RGB", (16, 16)).save(tmp_path / "data" / "b" / "LOUD.PNG")
    for junk in ("a/.DS_Store", "a/._00.png", "b/notes.txt", "b/Thumbs.db", ".cache.png"):
        (tmp_path / "data" / junk).write_bytes(b"junk")
    (tmp_path / "data" / ".git").mkdir()
    counts = sum(names_of(datasets.load(tmp_path / "data")).values(), Counter())
    assert counts == {"a": 10, "b": 6}


def test_links_to_files_and_class_folders_are_followed_and_loops_are_not(tmp_path, make_images):
    make_images(tmp_path / "away", {"a": 6, "b": 6})
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    for file in (tmp_path / "away" / "a").iterdir():
        (data / "a" / file.name).symlink_to(file)
    (data / "b").symlink_to(tmp_path / "away" / "b")
    (data / "a" / "loop").symlink_to(data)
    (data / "a" / "itself").symlink_to(data / "a" / "itself")
    counts = sum(names_of(datasets.load(data)).values(), Counter())
    assert counts == {"a": 6, "b": 6}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([(16, 16), (16, 16)], 16), ([(128, 128)] * 2, 128), ([(129, 129)] * 2, 64), ([(16, 16), (17, 17)], 64),
     ([(16, 12)] * 2, 64)],
)  # fmt: skip
def test_a_common_square_size_up_to_128_is_kept(sizes, expected, tmp_path):
    for name in ("a", "b"):
        for copy in range(3):
            (tmp_path / name).mkdir(exist_ok=True)
            for i, size in enumerate(sizes):
                Image.new("L", size).save(tmp_path / name / f"{copy}{i}.png")
    loaded = datasets.load(tmp_path)
    assert (loaded.image_size, loaded.splits["test"].images.shape) == (expected, (3, expected, expected))
    assert datasets.load(tmp_path, image_size=20).image_size == 20


def jpeg(path, mode="RGB", size=16, wide=0, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (size, size + wide, 4), dtype=np.uint8)
    pixels = {"RGB": pixels[..., :3], "L": pixels[..., 0], "CMYK": pixels}[mode]
    Image.fromarray(pixels, mode if mode == "CMYK" else None).save(path, "JPEG", **options)


def noise(size):
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
# What a file is, and whether simplejpeg decodes it.
JPEGS = {
    "usual": (lambda path: jpeg(path), True),
    "fine": (lambda path: jpeg(path, quality=98, subsampling=0), True),
    "4:2:2": (lambda path: jpeg(path, quality=5, subsampling=1), True),
    "4:2:0 of odd sides": (lambda path: jpeg(path, quality=70, subsampling=2, size=17), True),
    "4:4:0": (lambda path: path.write_bytes(simplejpeg.encode_jpeg(noise(31), 80, "RGB", "440")), True),
    "4:1:1": (lambda path: path.write_bytes(simplejpeg.encode_jpeg(noise(31), 80, "RGB", "411")), True),
    "progressive": (lambda path: jpeg(path, progressive=True), True),
    "with restart markers": (lambda path: jpeg(path, restart_marker_blocks=1), True),
    "as RGB": (lambda path: jpeg(path, keep_rgb=True), True),
    "with a profile": (lambda path: jpeg(path, icc_profile=bytes(3000)), True),
    "with a long profile": (lambda path: jpeg(path, icc_profile=bytes(90000)), True),
    "with words after its end": (lambda path: (jpeg(path), path.write_bytes(path.read_bytes() + b"more")), True),
    "grey": (lambda path: jpeg(path, "L"), True),
    "of another size": (lambda path: jpeg(path, size=24), True),
    "of a half of its size": (lambda path: jpeg(path, size=131), True),
    "of an eighth of its size, wide": (lambda path: jpeg(path, size=513, wide=100), True),
    "CMYK": (lambda path: jpeg(path, "CMYK"), False),
    "turned by EXIF": (lambda path: jpeg(path, exif=turned()), False),
    "turned by XMP": (lambda path: jpeg(path, xmp=XMP), False),
    "a PNG by another name": (lambda path: Image.new("RGB", (16, 16), "red").save(path, "PNG"), False),
    "cut": (lambda path: (jpeg(path), path.write_bytes(path.read_bytes()[:-200])), False),
    "cut, and larger": (lambda path: (jpeg(path, size=200), path.write_bytes(path.read_bytes()[:5000])), False),
    "damaged": (
        lambda path: (jpeg(path), path.write_bytes(path.read_bytes().replace(b"\xff\xc4", b"\xff\x01", 1))),
        False,
    ),
    "without its end": (lambda path: (jpeg(path), path.write_bytes(path.read_bytes()[:-2])), False),
    "a header": (lambda path: (jpeg(path), path.write_bytes(path.read_bytes()[:300])), False),
    "empty": (lambda path: path.touch(), False),
    "missing": (lambda path: None, False),
    "a folder": (lambda path: path.mkdir(), False),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_simplejpeg_gives_what_pillow_gives_to_the_bit(kind, tmp_path, monkeypatch):
    make, sound = JPEGS[kind]
    path = tmp_path / "0.jpg"
    make(path)
    used, found, ours = [], [], _decode.decode_jpeg
    for way in (lambda *given: used.append(ours(*given)) or used[-1], lambda *given: None):
        monkeypatch.setattr(_decode, "decode_jpeg", way)
        try:
            pixels, facts = _decode.inspect(path, 16)
            found.append((pixels.tolist(), facts))
        except DataError as error:
            found.append(error.reason)
    assert any(decoded is not None for decoded in used) is sound
    assert found[0] == found[1]


def test_pillow_decodes_without_simplejpeg(tmp_path, monkeypatch):
    path = tmp_path / "0.jpg"
    jpeg(path, size=24)
    before = _decode.decode(path, 16), _opening.dimensions(path)
    monkeypatch.setattr("randhead.datasets._jpeg.simplejpeg", None)
    assert (before[0] == _decode.decode(path, 16)).all()
    assert before[1] == _opening.dimensions(path) == (24, 24)


def test_a_jpeg_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    jpeg(tmp_path / "0.jpg", size=200)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"200 x 200 pixels, more than 0\.03 megapixels"):
        _decode.decode(tmp_path / "0.jpg", 16, _opening.Rules(max_megapixels=0.03))


def test_the_size_of_a_jpeg_is_the_one_pillow_tells(tmp_path):
    for kind, (make, _) in JPEGS.items():
        path = tmp_path / f"{kind}.jpg"
        make(path)
        found = _opening.dimensions(path)
        try:
            with Image.open(path) as image:
                assert found == image.size, kind
        except OSError:
            assert found in (None, (16, 16), (200, 200)), kind  # damaged after its header, which decoding will tell


def test_progress_ends_with_every_image(image_folder):
    for budget in (0, 1 << 30):
        seen = []
        datasets.load(
            image_folder, memory_budget=budget, progress=lambda done, total, seen=seen: seen.append((done, total))
        )
        assert seen == sorted(seen)
        assert seen[-1] == (42, 42)


# Bad images


def truncated(ending, keep=0.6, **save):
    def write(path):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path.with_suffix(f".whole.{ending}"), **save)
        whole = path.with_suffix(f".whole.{ending}")
        content = whole.read_bytes()
        whole.unlink()
        path.write_bytes(content[: int(len(content) * keep)])

    return write


def text(path):
    path.write_text("not an image")


def eps(path):
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


def png_header(width, height):
    """The first 60 bytes of a PNG file, which promise that many pixels."""

    def write(path):
        header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        data = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + data + struct.pack(">I", 0) + b"IDAT" + b"\0" * 8)

    return write


def dangling(path):
    path.symlink_to(path.with_name("missing.png"))


BAD = {
    "empty.jpg": (lambda path: path.touch(), "not an image of a known format"),
    "text.jpg": (text, "not an image of a known format"),
    "heic.jpg": (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(9)), "HEIC, which is not read; convert"),
    "script.jpg": (eps, "not an image of a known format"),
    "truncated.jpg": (truncated("jpg"), "truncated"),
    "truncated.png": (truncated("png"), ""),
    "truncated.bmp": (truncated("bmp"), "truncated"),
    "truncated.gif": (truncated("gif"), ""),
    "truncated.webp": (truncated("webp"), ""),
    "truncated.tif": (truncated("tif"), ""),
    "truncated.ppm": (truncated("ppm"), "truncated"),
    "header_only.png": (truncated("png", keep=0.003), ""),
    "giant.png": (png_header(200_000, 200_000), "pixels"),
    "large.png": (png_header(10_000, 9_000), "10000 x 9000 pixels"),
    "floats.tif": (wide_grey(0.5, np.float32), "floating-point"),
    "integers.tif": (wide_grey(70_000, np.int32), "beyond 16 bits"),
    "dangling.png": (dangling, "no such file"),
    "pipe.png": (os.mkfifo, "not a file"),
    "damaged.png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 99), ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_named_and_refused(name, image_folder):
    write, reason = BAD[name]
    write(image_folder / "train" / "cat" / name)
    with pytest.raises(DataError, match=rf"1 of 43 images.*train/cat/{name} \(.*{reason}.*\)") as error:
        datasets.load(image_folder, memory_budget=0)
    assert "skip_bad_images=True" in error.value.hint
    assert f"randhead doctor --data {image_folder}" in as_options(error.value.hint)
    assert [path.name for path, _ in scan(image_folder)] == [name]


@pytest.mark.parametrize("budget", [0, 1 << 30])
@pytest.mark.parametrize("name", ["floats.tif", "truncated.jpg"])  # of another size and of another content
def test_skipped_images_are_listed_and_have_no_influence(name, budget, image_folder):
    clean = datasets.load(image_folder)
    path = image_folder / "train" / "cat" / name
    BAD[name][0](path)
    loaded = datasets.load(image_folder, memory_budget=budget, skip_bad_images=True)
    assert [line.partition(": ")[0] for line in loaded.bad_images] == [str(path)]
    for split in ("train", "val", "test"):
        assert loaded.splits[split].labels.equal(clean.splits[split].labels)
        assert pixels_of(loaded.splits[split]).equal(pixels_of(clean.splits[split]))


def test_a_training_tells_which_images_were_skipped_before_it_starts(image_folder):
    for i in range(4):
        (image_folder / "train" / "cat" / f"bad{i}.png").touch()
    read = datasets.load(image_folder, skip_bad_images=True)
    said = next(Trainer.start(SimpleNamespace(dataset=read)))
    assert said.message.startswith(f"4 unreadable images left out: {image_folder / 'train' / 'cat' / 'bad0.png'}: its")
    assert said.message.endswith("; ...") and said.message.count("/bad") == 3


def scan(folder):
    return datasets.scan(folder, workers=2).bad_images


def test_many_bad_images_are_counted_and_the_first_are_named(image_folder):
    for i in range(7):
        text(image_folder / "test" / "dog" / f"bad{i}.jpg")
    with pytest.raises(DataError, match=r"7 of 49 images.*bad0\.jpg.*bad4\.jpg.*and 2 more") as error:
        datasets.load(image_folder)
    assert "bad5" not in error.value.message
    assert len(scan(image_folder)) == 7


def test_an_image_without_permission_is_named(image_folder, monkeypatch):
    locked, real = image_folder / "train" / "cat" / "03.png", os.open

    def refuse(path, *mode, **options):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *mode, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=r"train/cat/03\.png \(Permission denied\)"):
        datasets.load(image_folder)


def test_a_class_that_loses_all_its_images_is_an_error_even_when_skipping(image_folder):
    for path in (image_folder / "test" / "cat").iterdir():
        text(path)
    with pytest.raises(DataError, match="every image of class 'cat' in test is bad"):
        datasets.load(image_folder, skip_bad_images=True)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_damaged_bytes_give_an_image_or_a_data_error_and_nothing_else(ending, tmp_path):
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(tmp_path / f"good.{ending}")
    content = np.frombuffer((tmp_path / f"good.{ending}").read_bytes(), np.uint8)
    for _ in range(30):
        damaged = content.copy()
        places = random.integers(0, min(len(damaged), 400), random.integers(1, 6))
        damaged[places] = random.integers(0, 256, len(places))
        (tmp_path / f"bad.{ending}").write_bytes(damaged.tobytes())
        with warnings.catch_warnings(record=True) as warned:
            try:
                assert datasets.read_image(tmp_path / f"bad.{ending}", 16).shape == (3, 16, 16)
            except DataError as error:
                assert error.reason
        assert not warned


# Bad folders


def nothing(path):
    path.mkdir()


def loose_images(path):
    path.mkdir()
    Image.new("RGB", (9, 9)).save(path / "0.png")


def splits(path, *, make, **counts):
    for split, classes in counts.items():
        make(path / split, classes)


CATS, TWO = {"cat": 3}, {"cat": 3, "dog": 3}
FOLDERS = {
    "missing": (lambda path, make: None, "no such folder"),
    "a file": (lambda path, make: path.touch(), "a file, not a folder"),
    "empty": (lambda path, make: path.mkdir(), "no class folders"),
    "loose images": (lambda path, make: loose_images(path), "no class folders .*directly in it"),
    "one class": (lambda path, make: make(path, CATS), "only one class, 'cat'"),
    "empty class": (lambda path, make: make(path, {**TWO, "emu": 0}), "emu: a class without images"),
    "no images": (lambda path, make: make(path, {"cat": 0, "dog": 0}), "a class without images"),
    "one per class": (lambda path, make: make(path, {"cat": 1, "dog": 1}), "no images are left for the val split"),
    "two per class": (lambda path, make: make(path, {"cat": 2, "dog": 2}), "no images are left for the val split"),
    "only train": (lambda path, make: splits(path, make=make, train=TWO), "neither val nor test"),
    "only test": (lambda path, make: splits(path, make=make, test=TWO), "test but no train"),
    "no train": (lambda path, make: splits(path, make=make, test=TWO, val=TWO), "test and val but no train"),
    "class missing in test": (lambda path, make: splits(path, make=make, train=TWO, test=CATS), "test lacks .*dog"),
    "class only in test": (
        lambda path, make: splits(path, make=make, train=TWO, test={**TWO, "emu": 3}), "test also has .*emu"),
    "class missing in val": (
        lambda path, make: splits(path, make=make, train=TWO, test=TWO, val=CATS), "val lacks .*dog"),
    "empty train": (lambda path, make: (splits(path, make=make, test=TWO), nothing(path / "train")), "train: no class"),
    "empty test": (lambda path, make: (splits(path, make=make, train=TWO), nothing(path / "test")), "test: no class"),
    "empty class in test": (
        lambda path, make: splits(path, make=make, train=TWO, test={"cat": 3, "dog": 0}), "dog: a class without"),
    "two folders for one split": (
        lambda path, make: splits(path, make=make, train=TWO, val=TWO, valid=TWO), "are the same split"),
    "link to itself": (
        lambda path, make: (make(path, TWO), (path / "loop").symlink_to(path)), "a link back"),
    "control character": (lambda path, make: make(path, {**TWO, "new\nline": 3}), "cannot be printed"),
    "one class in two forms of Unicode": (
        lambda path, make: make(path, {**TWO, "caf\u00e9": 3, "cafe\u0301": 3}), "two folders of class"),
    "bytes that are not UTF-8": (lambda path, make: make(path, {**TWO, "\udcff": 3}), "cannot be printed"),
    "unsupported format": (
        lambda path, make: (make(path, {**TWO, "emu": 0}), (path / "emu" / "0.heic").touch()), "emu: a class without"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_cannot_be_used_is_a_data_error_with_a_hint(case, tmp_path, make_images):
    make, message = FOLDERS[case]
    make(tmp_path / "data", make_images)
    with pytest.raises(DataError, match=message) as error:
        datasets.load(tmp_path / "data")
    assert error.value.hint
    assert "data" in error.value.message


def test_a_folder_without_permission_is_a_data_error(image_folder, monkeypatch):
    real = os.scandir

    def refuse(path):
        if Path(path) == image_folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=re.escape(f"{image_folder}: Permission denied")):
        datasets.load(image_folder)
