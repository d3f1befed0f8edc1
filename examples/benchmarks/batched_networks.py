"""Three ways to train S networks of one architecture, for `batched_training.py`: alone, stacked and grouped.

* `Alone` is one network, as `randhead train` has it.
* `Stacked` has all weights with a leading dimension S (`torch.func.stack_module_state`) and runs under `vmap`.
* `Grouped` is one network with S times the channels, each convolution in S times the groups.

SGD works weight by weight, so one optimiser over all of them is S optimisers.  Every network has its own seed: initial
weights, order of the images, class vectors.  Images are (B, S * 3, H, W), the channels of each network side by side;
features are (B, S, D).

Networks trained together are those trained alone: to 1e-11 in float64, and in float32 about as close as one network is
to itself in another memory layout (`tests/test_batched_benchmark.py`).  Under autocast vmap has float32 after a batch
normalisation, since it applies weight and bias in steps of their own.  It has no rule for a step of the average pooling
of channels-last maps, and does that network by network.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from randhead import backbones
from randhead.preprocess import normalise
from randhead.vectors import draw

CLASSES = 10
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 5e-4
BY_CHANNEL = (nn.ReLU, nn.GELU, nn.CELU, nn.SiLU, nn.Identity, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
              nn.AdaptiveMaxPool2d, nn.Flatten)  # fmt: skip
State = dict[str, Tensor]


@dataclass(frozen=True)
class Setting:
    """What all ways have in common."""

    network: str
    batch: int
    layout: str = "channels_last"  # or "contiguous"
    image_size: int = 32
    images: int = 2048
    device: str = "cpu"
    dtype: torch.dtype = torch.float32  # of weights and images
    autocast: bool = False  # compute in bfloat16

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch names it."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format


def grouped(modules: Sequence[nn.Module]) -> nn.Module:
    """One module that does with (B, S * C, H, W) what each of S modules of one architecture does with its C channels.

    Containers keep their own forward, which has to treat channels separately, as additions and activations do.

    Raises:
        TypeError: for a layer that is not known to be a convolution, a batch normalisation, or to work by channel.
    """
    first, count = modules[0], len(modules)
    joined = copy.copy(first)  # with its hooks
    joined._parameters = {name: _joined(modules, name) for name in first._parameters}
    joined._buffers = {name: _joined(modules, name) for name in first._buffers}
    joined._modules = {name: grouped([module._modules[name] for module in modules]) for name in first._modules}
    if isinstance(first, nn.Conv2d):
        joined.in_channels, joined.out_channels = count * first.in_channels, count * first.out_channels
        joined.groups = count * first.groups
    elif isinstance(first, nn.BatchNorm2d):
        joined.num_features = count * first.num_features
    elif not isinstance(first, BY_CHANNEL) and (not first._modules or first._parameters or first._buffers):
        raise TypeError(f"{type(first).__name__} has no grouped form here")
    return joined


def _joined(modules: Sequence[nn.Module], name: str) -> Tensor | None:
    values = [getattr(module, name) for module in modules]
    if values[0] is None:
        return None
    if values[0].dim() == 0:  # the number of batches that a normalisation has seen
        return values[0].clone()
    joined = torch.cat([value.detach() for value in values])
    return nn.Parameter(joined) if isinstance(values[0], nn.Parameter) else joined


class Alone:
    """One network."""

    def __init__(self, networks: list[nn.Module], memory_format: torch.memory_format):
        (self.network,) = networks
        self.network.to(memory_format=memory_format)
        self.parameters = list(self.network.parameters())

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, D)."""
        return self.network(images).unsqueeze(1)

    def states(self) -> list[State]:
        """The weights and running statistics of each network."""
        return [self.network.state_dict()]


class Grouped:
    """All networks as one network of groups."""

    def __init__(self, networks: list[nn.Module], memory_format: torch.memory_format):
        self.network, self.count = grouped(networks).to(memory_format=memory_format), len(networks)
        self.parameters = list(self.network.parameters())

    def features(self, images: Tensor) -> Tensor:
        """(B, S * 3, H, W) -> (B, S, D)."""
        return self.network(images).unflatten(1, (self.count, -1))

    def states(self) -> list[State]:
        """As of `Alone`."""
        whole = self.network.state_dict()
        split = {
            name: value.chunk(self.count) if value.dim() else [value] * self.count for name, value in whole.items()
        }
        return [{name: parts[index] for name, parts in split.items()} for index in range(self.count)]


class Stacked:
    """All networks under vmap.  Running statistics are stacked too, and change in place, each network's its own."""

    def __init__(self, networks: list[nn.Module], memory_format: torch.memory_format):
        self.count = len(networks)
        parameters, self.buffers = stack_module_state(networks)
        self.named = {name: _laid_out(value.detach(), memory_format) for name, value in parameters.items()}
        self.parameters = [value.requires_grad_() for value in self.named.values()]
        skeleton = copy.deepcopy(networks[0]).to("meta")
        one = lambda weights, buffers, images: functional_call(skeleton, (weights, buffers), (images,))  # noqa: E731
        self.all = vmap(one, in_dims=(0, 0, 1), out_dims=1)

    def features(self, images: Tensor) -> Tensor:
        """(B, S * 3, H, W) -> (B, S, D)."""
        return self.all(self.named, self.buffers, images.unflatten(1, (self.count, -1)))

    def states(self) -> list[State]:
        """As of `Alone`."""
        return [{name: value[i] for name, value in (self.named | self.buffers).items()} for i in range(self.count)]


def _laid_out(stack: Tensor, memory_format: torch.memory_format) -> Tensor:
    """(S, O, I, h, w) such that (S * O, I, h, w), of which vmap makes one convolution, has the layout."""
    if stack.dim() != 5:
        return stack
    return stack.flatten(0, 1).contiguous(memory_format=memory_format).unflatten(0, stack.shape[:2])


WAYS = {"alone": Alone, "vmap": Stacked, "grouped": Grouped}


class Training:
    """The training of the networks of some seeds in one way, on random images that are on the device."""

    def __init__(self, way: str, setting: Setting, seeds: Sequence[int]):
        self.setting, self.count, self.steps = setting, len(seeds), 0
        networks = [self._network(seed) for seed in seeds]
        dim = networks[0].dim
        self.way = WAYS[way](networks, setting.memory_format)
        self.optimizer = torch.optim.SGD(
            self.way.parameters, lr=LEARNING_RATE, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
        )
        vectors = [draw("uniform", torch.arange(CLASSES), dim=dim, seed=seed) for seed in seeds]
        self.vectors = torch.stack(vectors).to(setting.device, setting.dtype)
        shape = (setting.images, 3, setting.image_size, setting.image_size)
        self.images = torch.randint(256, shape, generator=_generator(0), dtype=torch.uint8).to(setting.device)
        self.labels = torch.randint(CLASSES, shape[:1], generator=_generator(1)).to(setting.device)
        orders = [torch.randperm(setting.images, generator=_generator(seed)) for seed in seeds]
        self.orders = torch.stack(orders, dim=1).to(setting.device)  # (images, S)
        self.mean, self.std = torch.full((2, 3), 0.5, device=setting.device)

    def _network(self, seed: int) -> backbones.Backbone:
        torch.manual_seed(seed)
        network = backbones.build(self.setting.network, image_size=self.setting.image_size)
        return network.to(self.setting.device, self.setting.dtype).train()

    def batch(self) -> tuple[Tensor, Tensor]:
        """Images (B, S * 3, H, W) as the networks take them and labels (B, S): each network has its own."""
        setting = self.setting
        start = self.steps * setting.batch % (setting.images - setting.batch + 1)
        chosen = self.orders[start : start + setting.batch].flatten()
        images = normalise(self.images[chosen], self.mean, self.std, dtype=setting.dtype)
        images = images.view(setting.batch, -1, *images.shape[2:])
        return images.contiguous(memory_format=setting.memory_format), self.labels[chosen].view(setting.batch, -1)

    def step(self) -> None:
        """One step of every network.  The sum of their losses gives each the gradient of its own."""
        images, labels = self.batch()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.setting.device, dtype=torch.bfloat16, enabled=self.setting.autocast):
            logits = torch.einsum("bsd,skd->bsk", self.way.features(images), self.vectors)
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / self.setting.batch
        loss.backward()
        self.optimizer.step()
        self.steps += 1


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def differences(setting: Setting, *, networks: int, steps: int) -> dict[str, float]:
    """Way -> the largest difference of a weight or running statistic from the network that was trained alone.

    "noise" is that of training alone in the other memory layout: the same sums in another order.  "other seed" is the
    difference between two networks.
    """
    layout = {"channels_last": "contiguous", "contiguous": "channels_last"}[setting.layout]
    alone = [_trained("alone", setting, [seed], steps)[0] for seed in range(networks)]
    found = {way: _largest(_trained(way, setting, range(networks), steps), alone) for way in ("vmap", "grouped")}
    other = replace(setting, layout=layout)
    found["noise"] = _largest([_trained("alone", other, [seed], steps)[0] for seed in range(networks)], alone)
    return {**found, "other seed": _largest(alone[1:], alone[:-1])}


def _trained(way: str, setting: Setting, seeds: Sequence[int], steps: int) -> list[State]:
    training = Training(way, setting, seeds)
    for _ in range(steps):
        training.step()
    return training.way.states()


def _largest(states: list[State], others: list[State]) -> float:
    return max(
        float((state[name] - other[name]).detach().abs().max())
        for state, other in zip(states, others, strict=True)
        for name in other
    )
