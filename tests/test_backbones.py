"""Encoders: the paper's network by its numbers, what every backbone promises, and what is refused."""

import runpy
import socket
import sys
import types

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import nn

from randhead import backbones, families, registry
from randhead.backbones import small_resnet
from randhead.config import configure
from randhead.errors import DataError, UsageError

OWN = ["resnet18", "resnet9", "small_resnet"]
LIBRARIES = ["torchvision:resnet18", "torchvision:mobilenet_v3_small", "timm:resnet18", "timm:vit_tiny_patch16_224"]
WIDTHS = {
    "torchvision:resnet18": 512,
    "torchvision:mobilenet_v3_small": 1024,
    "timm:resnet18": 512,
    "timm:vit_tiny_patch16_224": 192,
}


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("size", "width"),
    [(8, 512), (64, 2048), *(pytest.param(*both, marks=pytest.mark.slow) for both in ((32, 512), (96, 4608)))],
)
def test_the_papers_network_has_its_parameters_and_its_width(size, width):
    network = backbones.build("resnet18", image_size=size)
    assert parameters(network) == 11_168_832
    assert network.dim == width


def test_the_papers_network_is_the_sum_of_its_layers():
    """Counted by hand: 3x3 convolutions, 1x1 projections, and two numbers a channel of every batch norm."""
    widths, count, before = (64, 128, 256, 512), 3 * 64 * 9 + 2 * 64, 64
    for width in widths:
        count += before * width * 9 + 3 * width * width * 9 + 4 * 2 * width
        count += before * width + 2 * width if width != before else 0
        before = width
    assert count == 11_168_832


@pytest.mark.parametrize("size", [8, *(pytest.param(size, marks=pytest.mark.slow) for size in (32, 64))])
def test_the_network_of_page_has_eight_convolutions_and_512_features_of_any_image(size):
    """Counted by hand: prep, layers 1 to 3, two convolutions in each residual block, and their batch norms."""
    pairs = [(3, 64), (64, 128), (128, 128), (128, 128), (128, 256), (256, 512), (512, 512), (512, 512)]
    network = backbones.build("resnet9", image_size=size)
    convolutions = [(m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == pairs
    assert parameters(network) == sum(9 * before * width + 2 * width for before, width in pairs) == 6_568_000
    assert network.dim == 512


def test_the_network_of_page_is_his_formula():
    torch.manual_seed(0)
    network = backbones.build("resnet9", image_size=32)
    weights = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    layers = [lambda x, i=i: F.relu(weights[2 * i + 1](weights[2 * i](x))) for i in range(8)]
    images = torch.randn(3, 3, 32, 32)
    first = F.max_pool2d(layers[1](layers[0](images)), 2)
    second = F.max_pool2d(layers[4](first + layers[3](layers[2](first))), 2)
    third = F.max_pool2d(layers[5](second), 2)
    features = (third + layers[7](layers[6](third))).amax((2, 3)) / 8
    torch.testing.assert_close(network(images), features)


def test_every_weight_of_a_residual_block_is_used_even_for_the_smallest_images():
    """In a map of one pixel, eight of the nine weights of a 3x3 convolution would only see padding."""
    network = backbones.build("resnet9", image_size=8)
    network(torch.randn(8, 3, 8, 8)).square().sum().backward()
    last = [m for m in network.modules() if isinstance(m, nn.Conv2d)][-1].weight.grad
    assert (last.abs().sum((0, 1)) > 0).all()


def test_the_small_network_has_128_features_of_any_image(monkeypatch):
    monkeypatch.setattr(small_resnet, "WIDTHS", runpy.run_path(small_resnet.__file__)["WIDTHS"])  # not those of tests
    for size in (8, 9, 32, 96):
        assert backbones.build("small_resnet", image_size=size).dim == 128
    assert parameters(backbones.build("small_resnet", image_size=8)) < 400_000


@pytest.mark.parametrize(
    ("size", "name"),
    [
        pytest.param(size, name, marks=pytest.mark.slow if name != "small_resnet" and size > 8 else ())
        for size in (8, 15, 32)
        for name in OWN
    ],
)
def test_our_networks_train_on_small_images_and_every_parameter_gets_a_gradient(name, size):
    torch.manual_seed(0)
    network = backbones.build(name, image_size=size)
    features = network.train()(torch.randn(2, 3, size, size))
    assert features.shape == (2, network.dim)
    assert features.dtype == torch.float32
    assert (features >= 0).all()
    assert network.nonnegative
    features.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "resnet18" in name else ()) for name in LIBRARIES]
)
def test_the_libraries_models_come_without_their_classifier(name):
    network = backbones.build(name, image_size=32)
    assert network.dim == WIDTHS[name]
    assert network.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, WIDTHS[name])
    assert all(getattr(module, "out_features", 0) != 1000 for module in network.modules())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", "did you mean 'resnet18'"),
        ("torchvision:resnet81", "did you mean 'resnet18'"),
        ("timm:resnet81", "did you mean 'resnet18'"),
        ("torchvision:", "known: "),
        ("", "known: "),
        ("../resnet18", "known: "),
        ("_residual", "known: "),
        ("os.system", "known: "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, words):
    with pytest.raises(UsageError, match="unknown") as caught:
        backbones.build(name, image_size=32)
    assert words in caught.value.hint


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ResNet-50", '`backbone="torchvision:resnet50"` or `backbone="timm:resnet50"`'),
        ("torchvision/resnet50", '`backbone="torchvision:resnet50"`'),
        pytest.param("vit_base_patch16_224", '`backbone="timm:vit_base_patch16_224"`', marks=pytest.mark.slow),
    ],
)
def test_the_name_of_a_model_without_its_library_is_refused_with_it(name, meant):
    with pytest.raises(UsageError, match="unknown backbone") as caught:
        configure({"backbone.name": name})
    assert caught.value.hint.startswith(f"did you mean {meant}? known: resnet18, ")


def test_the_names_of_models_are_those_that_their_libraries_list(monkeypatch):
    monkeypatch.setattr(families, "_bare", lambda name: "")  # every name is like every other
    found = set(families.models_named(""))
    torchvisions = torchvision.models.list_models(module=torchvision.models)
    assert found == {
        *(f"torchvision:{name}" for name in torchvisions),
        *(f"timm:{name}" for name in timm.list_models()),
    }


@pytest.mark.parametrize("name", OWN)
def test_our_networks_have_neither_variants_nor_published_weights(name):
    with pytest.raises(UsageError, match="no variants"):
        backbones.build(f"{name}:wide", image_size=32)
    with pytest.raises(UsageError, match="no pretrained weights"):
        backbones.build(name, image_size=32, pretrained=True)


@pytest.mark.slow
def test_images_too_small_for_a_model_are_refused_with_what_to_do():
    with pytest.raises(UsageError, match="cannot take images of 8 px") as caught:
        backbones.build("torchvision:alexnet", image_size=8)
    assert "`image_size=...`" in caught.value.hint


def test_a_model_without_a_linear_classifier_is_refused():
    with pytest.raises(UsageError, match="no linear last layer"):
        backbones.build("torchvision:squeezenet1_1", image_size=64)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of huggingface_hub, which is online."""
    huggingface = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface.constants, "HF_HUB_CACHE", str(tmp_path))
    return huggingface


@pytest.fixture
def waited(monkeypatch):
    """No network; the seconds that anybody waits for it to come back."""

    def unreachable(*args, **kwargs):
        raise OSError("Network is unreachable")

    seconds = []
    monkeypatch.setattr("time.sleep", seconds.append)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    return seconds


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_published_weights_without_a_network_are_a_data_error_at_once(name, monkeypatch, tmp_path, hub, waited):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DataError, match=f"weights of {name} cannot be fetched.*unreachable") as caught:
        backbones.build(name, image_size=32, pretrained=True)
    assert sum(waited) <= 1  # huggingface_hub by itself waits for 45 seconds
    assert "`pretrained`" in caught.value.hint
    assert "\n" not in caught.value.message
    assert not hub.constants.HF_HUB_OFFLINE
    assert str(tmp_path) in caught.value.hint


def test_what_a_library_prints_while_it_builds_is_no_result(capsys):
    """torch.hub prints what it downloads on stdout, where `--json` has its document."""

    def build(*, name, image_size, pretrained):
        sys.stdout.write("Downloading: weights\n")
        return nn.Flatten()

    module = types.ModuleType("talkative")
    module.build = build
    with registry.registered("backbones", module) as name:
        backbones.build(name, image_size=8, pretrained=True)
    assert capsys.readouterr() == ("", "Downloading: weights\n")


def test_weights_that_were_fetched_once_need_no_network(tmp_path, hub, waited):
    timm = pytest.importorskip("timm")
    published = timm.create_model("test_resnet")
    folder = tmp_path / f"models--{published.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
    for place in ("refs", "snapshots/abc"):
        (folder / place).mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    save_file(published.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    found = backbones.build("timm:test_resnet", image_size=32, pretrained=True)
    assert found.state_dict()["conv1.0.weight"].equal(published.state_dict()["conv1.0.weight"])


@pytest.mark.parametrize(("lost", "offline"), [(0, False), (1, False), (2, True)])
def test_a_hub_that_answers_is_used_as_ever(lost, offline, monkeypatch, hub, waited):
    timm = pytest.importorskip("timm")
    answers, seen = iter([ConnectionError("lost")] * lost), []

    class Session:
        def head(self, url, timeout):
            if error := next(answers, None):
                raise error

    def create(name, **options):
        seen.append(hub.constants.HF_HUB_OFFLINE)
        return nn.Flatten()

    monkeypatch.setattr(hub, "get_session", Session)
    monkeypatch.setattr(timm, "create_model", create)
    backbones.build("timm:resnet18", image_size=8, pretrained=True)
    assert seen == [offline]
