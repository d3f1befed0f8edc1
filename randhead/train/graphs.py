"""Steps of one shape as a CUDA graph: the host launches it once per step, instead of hundreds of kernels.

The way of torch's notes on CUDA graphs for a whole network: a few ordinary steps on a side stream, in which libraries
set up what they use; then one step is recorded, with gradients in memory of the graph; from then on it is replayed on
what is copied to its inputs.  The learning rate, and whether a loss was not finite, are numbers on the device.
Torch fills in the seed of its generator at each replay, so dropout is that of the step.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from randhead.config import Config
from randhead.errors import UsageError
from randhead.model import Classifier

WARM_UP = 3  # ordinary steps before the recording

Batch = tuple[Tensor, Tensor]  # uint8 images (b, 3, H, W) and labels (b,)
Loss = tuple[Tensor | float, Tensor | float]  # and its error bound


def check(config: Config, model: Classifier, device: torch.device) -> None:
    """Raise UsageError if steps cannot be recorded."""
    method = model.head.normaliser_for(config.train.batch_size)
    reason = ""
    if device.type != "cuda":
        reason = f"needs a CUDA device, and this training is on {device.type}"
    elif config.optim.accumulate > 1:
        reason = "records steps of one batch, and `optim.accumulate` is larger than 1"
    elif method != "dense":
        reason = f"records only the dense softmax, and this training uses {method}"
    if reason:
        raise UsageError(f"machine.cuda_graphs {reason}", hint="leave it out")


class GraphedSteps:
    """A function that makes a step, which for full batches is recorded after some steps, then replayed.

    Args:
        run: makes a step of one or more batches, and returns its loss and its error bound.
        optimizer: the optimiser that `run` uses.
        parameters: those whose gradients `run` computes.
        batch_size: number of images of a full batch; other batches are ordinary steps.
        device: the CUDA device.
    """

    def __init__(
        self,
        run: Callable[[list[Batch]], Loss],
        optimizer: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        *,
        batch_size: int,
        device: torch.device,
    ):
        self.run, self.optimizer, self.parameters = run, optimizer, parameters
        self.batch_size, self.device = batch_size, device
        self.begun = 0  # steps of a full batch
        self.inputs: Batch | None = None
        self.gradients: list[Tensor | None] = []
        self.loss: Loss = 0.0, 0.0
        self.replay: Callable[[], object] | None = None

    def __call__(self, batches: list[Batch]) -> Loss:
        """Make a step."""
        images, labels = batches[0]
        if len(batches) > 1 or len(labels) != self.batch_size:
            return self.run(batches)
        self.begun += 1
        if self.begun <= WARM_UP:
            return on_side_stream(lambda: self.run(batches), self.device)
        if self.inputs is None:
            self.inputs = torch.empty_like(images), torch.empty_like(labels)
        for buffer, given in zip(self.inputs, (images, labels), strict=True):
            buffer.copy_(given)
        self.replay = self.replay or self._recorded()
        self.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient  # an ordinary step has others
        loss, bound = self.loss
        return loss.clone() if isinstance(loss, Tensor) else loss, bound

    def _recorded(self) -> Callable[[], object]:
        """The recorded step.  Raises UsageError for a network that cannot be recorded, such as one that reads."""
        adamw = [group for group in self.optimizer.param_groups if "capturable" in group]
        for group in adamw:  # else torch refuses; what a fused optimiser does is the same
            group["capturable"] = True
        try:
            return record(self._step, self.device)
        except RuntimeError as error:
            reason = str(error.__context__ or error).partition("\n")[0]  # the end of the recording fails too then
            hint = "leave out `machine.cuda_graphs`"
            raise UsageError(f"this network cannot be recorded as a CUDA graph: {reason}", hint=hint) from None
        finally:
            for group in adamw:
                group["capturable"] = False

    def _step(self) -> None:
        """The step on the inputs; its loss and gradients are where each replay leaves them."""
        assert self.inputs is not None  # noqa: S101
        self.loss = self.run([self.inputs])
        self.gradients = [parameter.grad for parameter in self.parameters]


def on_side_stream(function: Callable[[], Loss], device: torch.device) -> Loss:
    """Call a function on a side stream, after all earlier work of the current stream and before all later."""
    with torch.cuda.device(device):
        stream = _side_stream(device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            found = function()
        torch.cuda.current_stream().wait_stream(stream)
    return found


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def record(step: Callable[[], None], device: torch.device) -> Callable[[], object]:
    """Record what a function launches, which does not run yet, and return the function that runs it."""
    with torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        # Other threads decode images and write checkpoints meanwhile, which must not end the recording.
        with torch.cuda.graph(graph, stream=_side_stream(device), capture_error_mode="thread_local"):
            step()
    return graph.replay
