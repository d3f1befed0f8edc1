"""Pixels that must survive: values of few bits in 16-bit files, transparency, bad metadata, very large images."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from randhead import datasets, evaluation, runs, train
from randhead.config.resolved import ResolvedSettings
from randhead.datasets import _decode, _opening
from randhead.errors import DataError, UsageError

SIDE = 24
GREY = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8) | 0x80  # 8 bits are in use
COLOURS = np.stack([GREY, GREY.T, GREY[::-1]], axis=-1)


@pytest.fixture(autouse=True)
def pillow_is_quiet():
    _decode.ignore_pillow_warnings()


def chunk(kind, data, crc=0):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ crc)


def png16(values, colour_type):
    """A PNG of 16 bits per value, which Pillow writes only for greyscale."""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(values, extra=None):
    """An uncompressed TIFF of RGB with a fourth band; `extra` says what that is, if it says so."""
    bits, data = values.dtype.itemsize * 8, values.astype(values.dtype.newbyteorder("<")).tobytes()
    shorts = {256: SIDE, 257: SIDE, 259: 1, 262: 2, 273: 8, 277: values.shape[2], 278: SIDE, 284: 1}
    tags = {**shorts, **({} if extra is None else {338: extra})}
    entries = [struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items()]
    directory = 8 + len(data)
    behind = directory + 2 + 12 * (len(entries) + 2) + 4
    entries += [struct.pack("<HHII", 279, 4, 1, len(data)), struct.pack("<HHII", 258, 3, values.shape[2], behind)]
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    tail = struct.pack(f"<{values.shape[2]}H", *[bits] * values.shape[2])
    return (
        struct.pack("<2sHI", b"II", 42, directory)
        + data
        + struct.pack("<H", len(entries))
        + b"".join(entries)
        + bytes(4)
        + tail
    )


def with_band(values, band):
    return np.concatenate([values, np.full((SIDE, SIDE, 1), band, values.dtype)], axis=-1)


# 16 bits


def wide(values, bits):
    """Values of 8 bits as values of `bits` bits, their high bits first."""
    return values.astype(np.uint16) << (bits - 8)


def netpbm(magic, values, largest):
    return f"{magic} {SIDE} {SIDE} {largest}\n".encode() + values.astype(">u2").tobytes()


STORED = {
    "grey.png": lambda bits: saved(Image.fromarray(wide(GREY, bits)), "PNG"),
    "grey.tif": lambda bits: saved(Image.fromarray(wide(GREY, bits)), "TIFF"),
    "grey of 32 bits.tif": lambda bits: saved(Image.fromarray(wide(GREY, bits).astype(np.int32)), "TIFF"),
    "grey.pgm": lambda bits: netpbm("P5", wide(GREY, bits), 0xFFFF),
    "colours.png": lambda bits: png16(wide(COLOURS, bits), 2),
    "opaque.png": lambda bits: png16(with_band(wide(COLOURS, bits), 0xFFFF), 6),
    "grey and opaque.png": lambda bits: png16(np.stack([wide(GREY, bits), np.full_like(GREY, 255, "u2") * 257], -1), 4),
    "colours.tif": lambda bits: tiff(wide(COLOURS, bits)),
    "colours and more.tif": lambda bits: tiff(with_band(wide(COLOURS, bits), 0), extra=0),
    "colours.ppm": lambda bits: netpbm("P6", wide(COLOURS, bits), 0xFFFF),
}


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("name", STORED)
def test_16_bit_files_that_use_only_low_bits_look_like_the_picture_of_8_bits(name, bits, tmp_path):
    (tmp_path / name).write_bytes(STORED[name](bits))
    want = COLOURS if name.startswith(("colours", "opaque")) else np.stack([GREY] * 3, axis=-1)
    found, facts = _decode.inspect(tmp_path / name, SIDE)
    assert np.abs(found.transpose(1, 2, 0).astype(int) - want).max() <= 1
    assert (facts.bits, facts.kinds, facts.flat) == (bits, (_decode.WIDE,), False)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("colour_type", [0, 2])
def test_images_of_16_bits_are_turned_too(bits, colour_type, tmp_path):
    values, want = (COLOURS, COLOURS) if colour_type else (GREY[..., None], np.stack([GREY] * 3, axis=-1))
    content = png16(wide(values, bits), colour_type)
    (tmp_path / "turned.png").write_bytes(content[:33] + chunk(b"eXIf", exif(TURNED)) + content[33:])
    found = datasets.read_image(tmp_path / "turned.png", SIDE).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - np.rot90(want, -1)).max() <= 1


def test_a_mask_of_0_and_1_is_black_and_white_and_a_stated_range_is_kept(tmp_path):
    Image.fromarray((GREY > 200).astype(np.uint16)).save(tmp_path / "mask.png")
    assert datasets.read_image(tmp_path / "mask.png", SIDE).unique().tolist() == [0, 255]
    (tmp_path / "dark.pgm").write_bytes(netpbm("P5", GREY.astype(np.uint16), 4095))
    assert datasets.read_image(tmp_path / "dark.pgm", SIDE).max() == 255 // 16


@pytest.fixture
def scans(tmp_path):
    """A folder of 16-bit scans that use 12 bits; those of one class are a quarter as bright."""
    for i, factor in enumerate((16, 4)):
        for k in range(4):
            path = tmp_path / "scans" / "ab"[i] / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.roll(GREY, k, axis=1).astype(np.uint16) * factor).save(path)
    return tmp_path / "scans"


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_the_scans_of_a_set_are_scaled_alike_so_that_dark_ones_stay_darker(scans, budget):
    loaded = datasets.load(scans, memory_budget=budget)
    assert loaded.bit_depth == 12
    assert loaded.report.converted == {f"{_decode.WIDE}, of which 4,095 becomes white": 8}
    for split in loaded.splits.values():
        (images,) = split.images.batches(torch.arange(len(split)), 99)
        for image, label in zip(images, split.labels.tolist(), strict=True):
            assert abs(int(image.max()) - GREY.max() / 4**label) <= 1


def test_a_run_reads_16_bit_images_as_its_training_images_were_read(scans):
    dark = scans / "b" / "0.png"
    assert datasets.read_image(dark, SIDE).max() == GREY.max()
    assert abs(int(datasets.read_image(dark, SIDE, bit_depth=12).max()) - GREY.max() / 4) <= 1
    assert datasets.load(scans, bit_depth=16).splits["train"].images.pixels.max() == GREY.max() >> 4


@pytest.mark.slow
def test_a_run_knows_the_bits_of_its_training_images(scans, tmp_path):
    settings = {"data.name": str(scans), "train.epochs": 1, "machine.device": "cpu"}
    train.fit(settings, root=tmp_path / "runs", name="scans", warn=lambda text: None)
    for dark in (scans / "a").iterdir():  # what is left uses 10 bits
        dark.unlink()
        Image.fromarray(GREY.astype(np.uint16) * 4).save(dark)
    loaded = runs.load("scans", root=tmp_path / "runs", device="cpu")
    assert loaded.dataset().splits["train"].images.pixels.max() <= GREY.max() / 4 + 1
    assert datasets.load(scans).splits["train"].images.pixels.max() == GREY.max()
    with pytest.raises(DataError, match=r"24 x 24 pixels, more than 0\.0001 megapixels"):
        loaded.allowing(0.0001).dataset()
    with pytest.raises(DataError, match=r"24 x 24 pixels, more than 0\.0001 megapixels"):
        evaluation.predict(scans / "a", loaded.allowing(0.0001))
    assert loaded.allowing(None) is loaded


def test_runs_of_earlier_versions_took_all_bits_as_used():
    old = {"class_names": ["a", "b"], "num_classes": 2, "image_size": 8, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert ResolvedSettings.from_json(old).bit_depth == 16
    new = ResolvedSettings.from_json({**old, "bit_depth": None})
    assert ResolvedSettings.from_json(new.to_json()).bit_depth is None


# Transparency


@pytest.mark.parametrize("extra", [None, 2])
def test_a_fourth_band_that_makes_the_whole_image_white_is_named(extra, tmp_path):
    path = tmp_path / "bands.tif"
    path.write_bytes(tiff(with_band(COLOURS, 0), extra))
    with pytest.warns(UserWarning, match=rf"bands\.tif has a single colour.*{_decode.TRANSPARENT}"):
        assert datasets.read_image(path, SIDE).unique().tolist() == [255]
    path.write_bytes(tiff(with_band(COLOURS, 0), extra=0))  # says that it is not transparency
    assert (datasets.read_image(path, SIDE).permute(1, 2, 0).numpy() == COLOURS).all()


def test_a_set_counts_what_was_converted_and_images_of_a_single_colour(image_folder):
    invisible = Image.fromarray(with_band(COLOURS, 0))
    invisible.save(image_folder / "train" / "cat" / "invisible.png")
    Image.fromarray(with_band(COLOURS, 128)).save(image_folder / "train" / "cat" / "half.png")
    Image.fromarray((GREY > 200).astype(np.uint8)).save(image_folder / "test" / "dog" / "mask.png")
    first = Image.fromarray(COLOURS)
    first.save(image_folder / "test" / "dog" / "pages.tif", save_all=True, append_images=[first.rotate(90)])
    report = datasets.load(image_folder).report
    assert report.converted == {_decode.TRANSPARENT: 2, _decode.FRAMES: 1}
    assert report.one_colour == {_decode.TRANSPARENT: 1, "": 1}
    assert any(note.startswith("2 of 46 images have a single colour, or almost") for note in report.notes())


# Metadata

PICTURE = Image.fromarray(COLOURS)
PNG, JPEG = saved(PICTURE, "PNG"), saved(PICTURE, "JPEG", quality=95)
LONG = zlib.compress(bytes(3 << 20))
RATIONAL = struct.pack("<2I", 72, 0)


def exif(*entries):
    """EXIF with entries (tag, type, count, four bytes of value)."""
    packed = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + packed + bytes(4)


TURNED = (0x0112, 3, 1, struct.pack("<H", 6))
EXIF = {
    "resolution as text": exif(TURNED, (282, 2, 4, b"72"), (283, 2, 4, b"72")),
    "unit as text": exif(TURNED, (296, 2, 2, b"2")),
    "unknown type": exif(TURNED, (0x9999, 99, 1, b"")),
    "huge count": exif(TURNED, (0x010E, 2, 0x7FFFFFFF, b"\xff\xff")),
    "pointer out of the file": exif(TURNED, (0x8769, 4, 1, b"\xf0\xff\xff\xff")),
    "pointer as text": exif(TURNED, (0x8825, 2, 4, b"abc")),
    "orientation as text": exif((0x0112, 2, 2, b"6")),
    "orientation as a byte": exif((0x0112, 1, 1, b"\6")),
    "orientation as a float": exif((0x0112, 11, 1, struct.pack("<f", 6))),
    "two orientations": exif((0x0112, 3, 2, struct.pack("<2H", 6, 1))),
}


def jpeg_with(*segments):
    packed = (bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments)
    return JPEG[:2] + b"".join(packed) + JPEG[2:]


METADATA = {
    **{f"{name}.jpg": (jpeg_with((0xE1, b"Exif\0\0" + content)), True) for name, content in EXIF.items()},
    **{f"{name}.png": (PNG[:33] + chunk(b"eXIf", content) + PNG[33:], True) for name, content in EXIF.items()},
    "profile.jpg": (jpeg_with((0xE2, b"ICC_PROFILE\0\5\1abc")), False),
    "pictures.jpg": (jpeg_with((0xE2, b"MPF\0garbage")), False),
    "photoshop.jpg": (jpeg_with((0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\xff\xff")), False),
    "no end.png": (PNG[:-12], False),
    "cut in a text.png": (PNG[:-12] + chunk(b"tEXt", b"a" * 100)[:-50], False),
}
for where, at in (("before", 33), ("after", -12)):
    for name, part in {
        "long text": chunk(b"zTXt", b"prompt\0\0" + LONG),
        "long international text": chunk(b"iTXt", b"prompt\0\1\0\0\0" + LONG),
        "long profile": chunk(b"iCCP", b"profile\0\0" + LONG),
        "text that is not compressed": chunk(b"zTXt", b"prompt\0\0garbage"),
        "wrong checksum of text": chunk(b"tEXt", b"a\0b", crc=1),
        "wrong checksum of gamma": chunk(b"gAMA", struct.pack(">I", 45455), crc=1),
        "wrong checksum of a private chunk": chunk(b"prVt", b"abc", crc=1),
        "short gamma": chunk(b"gAMA", b""),
        "short resolution": chunk(b"pHYs", b"abc"),
        "number of frames": chunk(b"acTL", b"\0"),
    }.items():
        METADATA[f"{name} {where}.png"] = (PNG[:at] + part + PNG[at:], False)


@pytest.mark.parametrize("name", METADATA)
def test_sound_pixels_are_read_whatever_their_metadata_are(name, tmp_path):
    content, turned = METADATA[name]
    (tmp_path / name).write_bytes(content)
    plain = np.asarray(Image.open(io.BytesIO(JPEG if name.endswith("jpg") else PNG)))
    want = np.rot90(plain, -1) if turned else plain  # orientation 6: turn it clockwise
    assert (datasets.read_image(tmp_path / name, SIDE).permute(1, 2, 0).numpy() == want).all()
    assert _opening.dimensions(tmp_path / name) == (SIDE, SIDE)


def test_a_wrong_checksum_of_what_pixels_need_is_a_reason_that_names_the_chunk(tmp_path):
    (tmp_path / "bad.png").write_bytes(PNG[:29] + bytes([PNG[29] ^ 1]) + PNG[30:])
    with pytest.raises(DataError, match="chunk IHDR has a wrong checksum; get the file again"):
        datasets.read_image(tmp_path / "bad.png", SIDE)


def test_a_tiff_with_odd_tags_is_read_upright(tmp_path):
    content = tiff(COLOURS)
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    entries = [content[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    entries += [
        struct.pack("<HHI4s", *entry)
        for entry in (TURNED, (282, 2, 4, b"72"), (296, 3, 1, b"\3"), (34665, 2, 3, b"ab"))
    ]
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    (tmp_path / "odd.tif").write_bytes(content[:4] + struct.pack("<I", len(content)) + content[8:] + directory)
    assert (datasets.read_image(tmp_path / "odd.tif", SIDE).permute(1, 2, 0).numpy() == np.rot90(COLOURS, -1)).all()


def test_stripping_metadata_keeps_every_pixel():
    for kind in ("PNG", "JPEG", "TIFF"):
        content = saved(PICTURE, kind)
        bare = _decode.without_metadata(content)
        assert (np.asarray(Image.open(io.BytesIO(bare))) == np.asarray(Image.open(io.BytesIO(content)))).all()
    turned = saved(PICTURE, "TIFF", exif=exif(TURNED))
    kept = ImageOps.exif_transpose(Image.open(io.BytesIO(_decode.without_metadata(turned))))
    assert (np.asarray(kept) == np.rot90(COLOURS, -1)).all()


# Size


@pytest.mark.slow
def test_large_images_are_refused_unless_a_setting_allows_them(tmp_path):
    Image.new("L", (12_000, 9_001), 9).save(tmp_path / "photo.png")  # 108 megapixels
    refusal = r"12000 x 9001 pixels, more than 89\.5 megapixels: .*machine\.max_megapixels"
    with pytest.raises(DataError, match=refusal):
        datasets.read_image(tmp_path / "photo.png", 8)
    assert datasets.read_image(tmp_path / "photo.png", 8, max_megapixels=110).unique().tolist() == [9]


def test_the_limit_is_not_that_of_pillow_for_the_whole_process(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0))
    (tmp_path / "panorama.png").write_bytes(PNG[:8] + header + chunk(b"IDAT", b""))  # larger than Pillow allows
    assert _opening.dimensions(tmp_path / "panorama.png") == (20_000, 10_000)
    with pytest.raises(DataError, match="20000 x 10000 pixels, more than 150 megapixels"):
        datasets.read_image(tmp_path / "panorama.png", 8, max_megapixels=150)
    for wrong in ({"max_megapixels": 2000}, {"bit_depth": 0}, {"bit_depth": 17}):
        with pytest.raises(UsageError, match="must be"):
            datasets.Options(**wrong)
        with pytest.raises(UsageError, match="must be"):
            datasets.read_image(tmp_path / "panorama.png", 8, **wrong)
    with pytest.raises(UsageError, match="size must be"):
        datasets.read_image(tmp_path / "panorama.png", 0)


def test_what_cannot_be_read_has_a_reason_and_a_way_out(tmp_path):
    for values in (COLOURS / 255, np.float32(COLOURS / 255)):
        (tmp_path / "floats.tif").write_bytes(tiff(values))
        with pytest.raises(DataError, match=re.escape("a TIFF of a kind that cannot be read") + ".*convert it"):
            datasets.read_image(tmp_path / "floats.tif", 8)
