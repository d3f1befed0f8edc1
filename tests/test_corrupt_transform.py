"""`Corrupt`, a corruption as a transform of torchvision, and what `corrupt` says about images of other kinds."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_layers import NODES, ROOT, imported
from torchvision import tv_tensors
from torchvision.transforms import v2

from randhead.corruptions import Corrupt, FrostImages, corrupt, load_frost_images
from randhead.errors import UsageError
from randhead.testing.corruption import pictures

CHW = pictures(3, 32, 40)
RGB, GREY = CHW[0], CHW[0, :1]


def hwc(image):
    return image.permute(1, 2, 0).contiguous().numpy()


# What is given, and what makes of the result the tensor (C, H, W) or (..., C, H, W) that it shows.
FORMS = {
    "PIL, RGB": (RGB, Image.fromarray(hwc(RGB)), lambda out: torch.from_numpy(np.array(out)).permute(2, 0, 1)),
    "PIL, L": (GREY, Image.fromarray(hwc(GREY)[..., 0]), lambda out: torch.from_numpy(np.array(out))[None]),
    "NumPy (H, W, 3)": (RGB, hwc(RGB), lambda out: torch.from_numpy(out).permute(2, 0, 1)),
    "NumPy (H, W, 1)": (GREY, hwc(GREY), lambda out: torch.from_numpy(out).permute(2, 0, 1)),
    "NumPy (H, W)": (GREY, hwc(GREY)[..., 0], lambda out: torch.from_numpy(out)[None]),
    "tensor (3, H, W)": (RGB, RGB, lambda out: out),
    "tensor (1, H, W)": (GREY, GREY, lambda out: out),
    "tensor, not contiguous": (RGB, torch.from_numpy(hwc(RGB)).permute(2, 0, 1), lambda out: out),
    "tv_tensors.Image": (RGB, tv_tensors.Image(RGB), lambda out: out.as_subclass(torch.Tensor)),
}
forms = pytest.mark.parametrize(("pixels", "given", "shown"), FORMS.values(), ids=FORMS)


@forms
@pytest.mark.parametrize("name", ["gaussian_noise", "jpeg_compression"])
def test_an_image_with_an_id_has_the_bits_of_corrupt(name, pixels, given, shown):
    out = Corrupt(name, 3, seed=5)(given, id=7)
    assert torch.equal(shown(out), corrupt(pixels[None], name, 3, 5, ids=[7])[0])
    assert type(out) is (Image.Image if isinstance(given, Image.Image) else type(given))
    if isinstance(given, Image.Image):
        assert (out.mode, out.size) == (given.mode, given.size)
    else:
        assert (out.shape, out.dtype) == (given.shape, given.dtype)


@forms
def test_without_an_id_it_is_made_from_the_pixels_in_any_form(pixels, given, shown):
    before = pickle.dumps(given)
    digest = hashlib.sha256(pixels.numpy().tobytes()).digest()
    id = int.from_bytes(digest[:8], "little") >> 1
    found = shown(Corrupt("gaussian_noise", 3)(given))
    assert torch.equal(found, corrupt(pixels[None], "gaussian_noise", 3, ids=[id])[0])
    assert pickle.dumps(given) == before


def test_the_images_of_a_batch_have_their_own_ids():
    transform = Corrupt("fog", 2)
    single = torch.stack([transform(image) for image in CHW])
    assert torch.equal(transform(CHW), single) and torch.equal(transform(CHW.flip(0)), single.flip(0))
    assert torch.equal(transform(CHW, id=[4, 0, 2]), corrupt(CHW, "fog", 2, ids=[4, 0, 2]))
    arrays = transform(CHW.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(arrays, single.permute(0, 2, 3, 1).numpy())
    video = transform(tv_tensors.Video(CHW[None]))
    assert isinstance(video, tv_tensors.Video) and torch.equal(video[0].as_subclass(torch.Tensor), single)
    noise = [Corrupt("gaussian_noise", 3)(image).int() - 128 for image in (RGB * 0 + 128, RGB * 0 + 127)]
    assert not torch.equal(noise[0], noise[1] + 1)


def test_what_is_no_image_passes_unchanged():
    transform, label = Corrupt("contrast", 2), torch.tensor(3)
    expected = corrupt(RGB[None], "contrast", 2)[0]
    image, same = transform((RGB, label))
    assert torch.equal(image, expected) and same is label
    image, same = transform(RGB, label)
    assert torch.equal(image, expected) and same is label
    sample = {"cls": np.int64(3), "weights": torch.ones(4), "png": hwc(RGB), "extra": torch.ones(3, 3)}
    out = transform(sample)
    assert np.array_equal(out["png"], hwc(expected))
    assert all(out[key] is sample[key] for key in ("cls", "weights", "extra"))
    boxes = tv_tensors.BoundingBoxes([[0, 0, 4, 4]], format="XYXY", canvas_size=(32, 40))
    image, same, tensor = transform(tv_tensors.Image(RGB), boxes, CHW)
    assert torch.equal(image.as_subclass(torch.Tensor), expected) and same is boxes and tensor is CHW


def test_it_composes_with_transforms_of_torchvision():
    steps = [v2.ToImage(), v2.CenterCrop(32), Corrupt("jpeg_compression", 3), v2.ToDtype(torch.float32, scale=True)]
    out, label = v2.Compose(steps)(Image.fromarray(hwc(RGB)), 4)
    corrupted = corrupt(RGB[None, :, :, 4:36], "jpeg_compression", 3)[0]
    assert torch.equal(out, v2.functional.to_dtype(corrupted, torch.float32, scale=True)) and label == 4


class Numbered(torch.utils.data.Dataset):
    """Images with their indices as ids."""

    transform = Corrupt("glass_blur", 3)

    def __len__(self):
        return len(CHW)

    def __getitem__(self, index):
        return self.transform(CHW[index], id=index), self.transform(CHW[index])


@pytest.mark.parametrize("context", [None, *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("fork", "spawn"))])
def test_workers_give_the_same_images(context):
    workers = {} if context is None else {"num_workers": 2, "multiprocessing_context": context}
    by_id, by_pixels = zip(*torch.utils.data.DataLoader(Numbered(), 2, **workers), strict=True)
    assert torch.equal(torch.cat(by_id), corrupt(CHW, "glass_blur", 3))
    assert torch.equal(torch.cat(by_pixels), Corrupt("glass_blur", 3)(CHW))


def test_it_is_copied_and_shown_with_its_arguments():
    frost_images = FrostImages("folder", load_frost_images(None).images[:1])
    for transform, shown in (
        (Corrupt("fog", 3), "Corrupt('fog', severity=3, seed=0)"),
        (Corrupt("fog", 3, 2, parameters="64"), "Corrupt('fog', severity=3, seed=2, parameters='64')"),
        (Corrupt("frost", 1, frost_images=frost_images), "Corrupt('frost', severity=1, seed=0, frost_images=<folder>)"),
    ):
        copy = pickle.loads(pickle.dumps(transform))
        assert repr(transform) == repr(copy) == shown
        assert torch.equal(copy(RGB), transform(RGB))
        assert list(transform.parameters()) == []
    assert torch.equal(
        Corrupt("frost", 1, frost_images=frost_images)(RGB, id=0),
        corrupt(RGB[None], "frost", 1, frost_images=frost_images)[0],
    )
    assert torch.equal(Corrupt("fog", 3, parameters="64")(RGB, id=0), corrupt(RGB[None], "fog", 3, parameters="64")[0])


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        ({"name": "fgo"}, "unknown corruption 'fgo'", "did you mean 'fog'"),
        ({"name": 3}, "unknown corruption 3", "known: "),
        ({"severity": 6}, "severity must be 0 to 5, got 6", "5: the strongest"),
        ({"severity": "3"}, "severity must be 0 to 5, got '3'", "5: the strongest"),
        ({"seed": 1.5}, "seed must be", ""),
        ({"parameters": "128"}, "unknown parameter set '128'", "224"),
        ({"frost_images": "folder"}, "frost_images must be the result of `load_frost_images`", ""),
    ],
)
def test_wrong_arguments_are_refused_when_it_is_made(arguments, words, hint):
    with pytest.raises(UsageError, match=words) as caught:
        Corrupt(**{"name": "fog", "severity": 3} | arguments)
    assert hint in (caught.value.hint or "")


RGBA = torch.cat((RGB, GREY))


@pytest.mark.parametrize(
    ("image", "words", "hint"),
    [
        (RGB / 255, "image must be uint8, got float32", "(image * 255).round().to(torch.uint8)"),
        (hwc(RGB) / 255, "image must be uint8, got float64", "(image * 255).round().astype(np.uint8)"),
        (RGB.int(), "image must be uint8, got int32", "uint8 images"),
        (torch.from_numpy(hwc(RGB)), r"image must be \(3, H, W\), got \(32, 40, 3\)", "image.permute(2, 0, 1)"),
        (RGB[0], r"got \(32, 40\)", "image[None]"),
        (RGBA, r"got \(4, 32, 40\)", "image[:3]"),
        (RGB.numpy(), r"\(H, W, 3\) or \(H, W\), got \(3, 32, 40\)", "np.moveaxis(image, -3, -1)"),
        (hwc(RGBA), r"got \(32, 40, 4\)", "image[..., :3]"),
        (Image.fromarray(hwc(RGBA)), "mode RGBA of PIL", 'image.convert("RGB")'),
        (Image.fromarray(hwc(RGB)).convert("P"), "mode P of PIL", 'image.convert("RGB")'),
        (RGB[:, :4], "4x40 are too small", "8 pixels"),
        ("cat.png", "no image to corrupt, got str", "an array or a tensor"),
        (torch.tensor(3), "no image to corrupt, got Tensor", "an array or a tensor"),
        ((), "no image to corrupt, got nothing", "an array or a tensor"),
    ],
)
def test_images_of_other_kinds_are_refused_with_what_to_do(image, words, hint):
    with pytest.raises(UsageError, match=words) as caught:
        Corrupt("fog", 3)(image)
    assert hint in caught.value.hint


@pytest.mark.parametrize("id", [-1, 1.5, "7", [7], True, 2**63])
def test_an_id_is_a_whole_number(id):
    with pytest.raises(UsageError, match="id must be"):
        Corrupt("fog", 3)(RGB, id=id)


@pytest.mark.parametrize("id", [7, [7], [0, 1, 2.5], "abc"])
def test_ids_of_a_batch_are_whole_numbers_one_per_image(id):
    with pytest.raises(UsageError, match="ids must be 3 integers"):
        Corrupt("fog", 3)(CHW, id=id)


@pytest.mark.parametrize(
    ("images", "hint"),
    [
        (RGB, "`images[None]` is a batch of one"),
        (torch.from_numpy(hwc(RGB)), "`images.permute(2, 0, 1)[None]` is a batch of one"),
        (CHW.permute(0, 2, 3, 1), "`images.permute(0, 3, 1, 2)` puts channels first"),
        (CHW / 255, "`(images * 255).round().to(torch.uint8)`"),
        (RGBA[None], "`images[:, :3]` leaves out the alpha channel"),
        (CHW.numpy(), "`np.moveaxis(image, -3, -1)` puts channels last"),
        (Image.fromarray(hwc(RGB)).convert("CMYK"), '`image.convert("RGB")`'),
        ([hwc(RGB)], "`corrupt` takes images of PIL and NumPy"),
    ],
)
def test_corrupt_says_how_to_make_a_batch(images, hint):
    with pytest.raises(UsageError) as caught:
        corrupt(images, "fog", 3)
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["fog", "pixelate", "gaussian_noise"])
def test_corrupt_takes_one_image_of_numpy_or_pil_and_returns_the_same_kind(name):
    expected = corrupt(RGB[None], name, 3, seed=2, ids=[7])[0]
    found = corrupt(hwc(RGB), name, severity=3, seed=2, ids=[7])
    assert isinstance(found, np.ndarray) and found.dtype == np.uint8 and found.flags["C_CONTIGUOUS"]
    assert np.array_equal(found, hwc(expected))
    assert np.array_equal(corrupt(hwc(RGB)[::-1, ::-1][::-1, ::-1], name, 3, 2, [7]), found)  # negative strides
    picture = corrupt(Image.fromarray(hwc(RGB)), name, 3, 2, [7])
    assert isinstance(picture, Image.Image) and picture.mode == "RGB" and np.array_equal(np.asarray(picture), found)
    grey = corrupt(hwc(GREY)[..., 0], name, 3, 2, [7])
    assert np.array_equal(grey, corrupt(GREY[None], name, 3, 2, [7])[0, 0].numpy())
    batch = corrupt(CHW.permute(0, 2, 3, 1).numpy(), name, 3, seed=2)
    assert np.array_equal(batch, corrupt(CHW, name, 3, seed=2).permute(0, 2, 3, 1).numpy())
    assert corrupt(np.zeros((0, 32, 32, 3), np.uint8), name, 3).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("kept", [False, True])
def test_corrupt_keeps_the_type_of_a_batch(kept):
    with tv_tensors.set_return_type("TVTensor" if kept else "Tensor"):
        out = corrupt(tv_tensors.Image(CHW), "spatter", 3)
        assert type(out) is tv_tensors.Image
    assert torch.equal(out.as_subclass(torch.Tensor), corrupt(CHW, "spatter", 3))
    assert type(corrupt(CHW, "spatter", 0)) is torch.Tensor


def test_only_the_transform_imports_torchvision():
    files = [path for path in NODES if path.parent == ROOT / "corruptions"]
    importing = [path.name for path in files if any(target[0] == "torchvision" for target in imported(path))]
    assert importing == ["_transform.py"]


@pytest.mark.slow
def test_the_package_of_corruptions_does_not_import_torchvision():
    code = (
        "import sys; from randhead.corruptions import corrupt, names; names(); assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_images_of_a_sample_share_ids_of_an_iterator():
    images = tv_tensors.Image(torch.full((2, 3, 32, 32), 128, dtype=torch.uint8))
    first, second = Corrupt("gaussian_noise", 3)((images, images), id=iter([4, 5]))
    assert torch.equal(first, second)


def test_an_image_without_pixels_keeps_its_shape():
    assert Corrupt("fog", 3)(torch.zeros(3, 32, 40, dtype=torch.uint8, device="meta")).shape == (3, 32, 40)
