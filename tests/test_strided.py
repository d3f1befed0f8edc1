"""1x1 convolutions with a stride of 2: the kernel of torch 2.14's CPU that corrupts memory is never used."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from randhead import backbones
from randhead.backbones import small_resnet

# Widths and size at which the kernel ends the process.  Gradients of many steps, so that damage is found by malloc.
TRAINING = """
import torch
from randhead import backbones
from randhead.backbones import small_resnet

small_resnet.WIDTHS = (8, 12, 32)
network = backbones.build("small_resnet", image_size=64).to(memory_format=torch.channels_last)
for _ in range(20):
    network(torch.randn(8, 3, 64, 64).to(memory_format=torch.channels_last)).sum().backward()
print("done")
"""


class Convolutions(TorchDispatchMode):
    """The kernel sizes, strides and numbers of input channels of all convolutions."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            _, weight, _, stride = args[:4]
            self.seen.add((tuple(weight.shape[2:]), max(stride), weight.shape[1]))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("widths", [(8, 16, 32), (3, 15, 16), (32, 64, 128)])
def test_no_narrow_convolution_of_one_pixel_has_a_stride(monkeypatch, widths):
    monkeypatch.setattr(small_resnet, "WIDTHS", widths)
    network = backbones.build("small_resnet", image_size=16)
    with Convolutions() as convolutions:
        network(torch.randn(2, 3, 16, 16))
    strided = {seen for seen in convolutions.seen if seen[:2] == ((1, 1), 2)}
    assert strided == {((1, 1), 2, width) for width in widths[:2] if width >= 16}


@pytest.mark.parametrize("size", [16, 15])
def test_features_gradients_and_names_of_weights_stay(monkeypatch, size):
    """In double precision and contiguous, where the usual convolution is right."""
    monkeypatch.setattr(small_resnet, "WIDTHS", (4, 8, 16))
    network = backbones.build("small_resnet", image_size=size).double()
    monkeypatch.setattr("randhead.backbones.avoid_broken_kernel", lambda network: None)
    plain = backbones.build("small_resnet", image_size=size).double()
    plain.load_state_dict(network.state_dict())
    assert any(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride == (2, 2) for m in plain.modules())
    images = torch.randn(3, 3, size, size, dtype=torch.float64)
    gradients = []
    for each in (plain, copy.deepcopy(network)):
        features = each(images)
        features.square().sum().backward()
        gradients.append((features, *(parameter.grad for parameter in each.parameters())))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
def test_a_narrow_network_trains_on_large_images():
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
