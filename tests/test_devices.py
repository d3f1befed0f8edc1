"""No operation mixes devices: shapes and devices are followed through the code on a CUDA device that need not exist.

Numbers are not computed: what a CUDA device computes is tested on one, by the tests marked gpu.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from randhead import ClassVectorHead, corruptions, rng
from randhead.augment import crop, cutout, views
from randhead.losses import _topk, _values, streaming
from randhead.preprocess import normalise
from randhead.vectors import gaussian

pytestmark = pytest.mark.slow

# Their number of steps depends on pixels; frost also draws on the CPU, once for a machine.
DEPENDS_ON_NUMBERS = {"glass_blur", "spatter", "frost"}


@pytest.fixture
def device(monkeypatch):
    """A mode in which tensors have no numbers.  Where the code asks for one, the answer is no, 0 or 1."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with mode:
            torch.ones(1).to("cuda")
    except RuntimeError as error:
        pytest.skip(f"this torch needs a CUDA device for that: {error}")
    for name, answer in {"__bool__": False, "__int__": 0, "__float__": 1.0, "item": 1.0}.items():
        real = getattr(torch.Tensor, name)

        def ask(tensor, real=real, answer=answer):
            return answer if isinstance(tensor, FakeTensor) else real(tensor)

        monkeypatch.setattr(torch.Tensor, name, ask)
    monkeypatch.setattr(streaming, "_has_kernel", lambda *batch: False)
    # The values of a batch are compared, and found right: what follows if they are not depends on numbers.
    monkeypatch.setattr(_values, "_is_fine", lambda *batch, real=_values._is_fine: real(*batch) is not None)
    # The rows that have a better class are as many as the numbers say.
    monkeypatch.setattr(_topk.Best, "add", lambda best, logits, start: best.logits.add_(logits[:, :1]))
    yield mode
    views._colour_maps.cache_clear(), gaussian.gegenbauer.cache_clear()  # those that were made have no numbers


@pytest.mark.parametrize("scoring", ["dot", "cosine"])
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("normaliser", ["dense", "streaming", "expected"])
@pytest.mark.parametrize("geometry", ["uniform", "gaussian", "rademacher", "simplex"])
def test_a_head_stays_on_its_device(device, geometry, normaliser, trainable, scoring):
    if normaliser == "expected" and (trainable or geometry == "simplex"):
        pytest.skip("refused")
    options = {"trainable": trainable, "bias": 0.1 if trainable else None, "normaliser_tolerance": 1e9}
    head = ClassVectorHead(40, 64, geometry, scoring, normaliser=normaliser, neck="batchnorm", **options)
    with device:
        head = head.to("cuda")
        features = torch.empty(8, 64, device="cuda", requires_grad=True)
        labels = torch.zeros(8, dtype=torch.int64, device="cuda")
        loss = head.loss(features, labels, label_smoothing=0.1, weights=torch.ones(8, device="cuda"))
        output = head.output(features, labels)
        found = [loss, head(features), *output, output.losses, output.log_sum, *head.predict(features)]
    assert {str(tensor.device) for tensor in found} == {"cuda:0"}


@pytest.mark.slow
@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("name", sorted(set(corruptions.names()) - DEPENDS_ON_NUMBERS))
def test_a_corruption_stays_on_its_device(device, name, severity):
    with device:
        images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="cuda")
        out = corruptions.corrupt(images, name, severity=severity, seed=0)
    assert (out.device, out.shape, out.dtype) == (images.device, images.shape, images.dtype)


def test_varied_and_normalised_images_and_random_numbers_stay_on_their_device(device):
    with device:
        images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="cuda")
        ids, moments = torch.zeros(4, dtype=torch.int64, device="cuda"), torch.ones(3)
        found = [
            crop.crop_flip(images, crop.draw(ids, seed=0, epoch=0, padding=4), 4),
            views.apply(images, views.draw(ids, seed=0, epoch=0, size=(32, 32))),
            cutout.apply(images, cutout.draw(ids, seed=0, epoch=0, image_size=32, side=8), 8, images[0, :, 0, 0]),
            normalise(images, moments, moments, channels_last=True),
            rng.permutation(0, "order", 10, device="cuda"),
            rng.long_normals(0, "noise", ids, 10),
        ]
    assert {str(tensor.device) for tensor in found} == {"cuda:0"}
