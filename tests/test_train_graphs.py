"""Steps that are recorded as a CUDA graph and replayed: here a recorder replays what it has seen on the CPU, as a graph
does: the same operations on the same memory, and nothing that Python computes.
"""

import pytest
import torch
from tiny import config, digits, fit, log
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from randhead.errors import DivergedError, UsageError
from randhead.runs import Run
from randhead.train import events, graphs
from randhead.train.trainer import Trainer

PATH = "run"
VARIANTS = {
    "dot": {},
    "learned": {"head__trainable": True, "head__scoring": "cosine", "head__learn_scale": True},
    "adamw": {"optim__name": "adamw", "optim__lr": 1e-3, "optim__clip_norm": 1.0},
    "plateau": {"optim__schedule": "plateau", "optim__plateau_patience": 0, "head__neck": "batchnorm"},
}


class Recorder(TorchDispatchMode):
    """Records operations, which run, and runs them again on the same tensors.  Its first replay is the recording."""

    def __init__(self):
        super().__init__()
        self.seen, self.replays = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        self.replays += 1
        if self.replays == 1:
            return
        with torch.no_grad():
            for func, args, kwargs, out in self.seen:
                new = func(*args, **kwargs)
                if not any(returned.alias_info for returned in func._schema.returns):  # neither in place nor a view
                    for old, value in zip(tree_leaves(out), tree_leaves(new), strict=True):
                        if isinstance(old, torch.Tensor):
                            old.copy_(value)


@pytest.fixture
def recorders(monkeypatch):
    """Steps are recorded on the CPU, after one ordinary step; the recorders that were made."""
    made = []

    def record(step, device):
        made.append(Recorder())
        with made[-1]:
            step()
        return made[-1].replay

    monkeypatch.setattr(graphs, "check", lambda *given: None)
    monkeypatch.setattr(graphs, "record", record)
    monkeypatch.setattr(graphs, "on_side_stream", lambda function, device: function())
    monkeypatch.setattr(graphs, "WARM_UP", 1)
    monkeypatch.setattr("randhead.train.step.waits_for_losses", lambda device: False)
    return made


@pytest.fixture(scope="module")
def images():
    return digits(train=56)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_replayed_steps_train_the_same_weights_to_the_bit(variant, tmp_path, images, recorders):
    found = []
    for recorded in (False, True):  # 56 images: 16, 16, 16, 8
        folder = tmp_path / str(recorded)
        happened = fit(folder, config(**VARIANTS[variant], machine__cuda_graphs=recorded, train__epochs=3), images)
        losses = [event.loss for event in happened if isinstance(event, events.StepDone)]
        found.append((happened[-1].summary.weights_sha256, log(folder), losses))
    assert found[0] == found[1]
    assert [recorder.replays for recorder in recorders] == [8]  # of 12 steps: not the first one, nor 3 short ones


@pytest.mark.slow
def test_one_step_is_recorded_and_its_gradients_are_those_of_the_last_step(tmp_path, images, recorders):
    steps = []
    for recorded in (False, True):
        made = Trainer(config(machine__cuda_graphs=recorded), images, Run(tmp_path / PATH), lambda: False)
        coming = made.steps()
        for _ in range(3):
            next(coming)
        steps.append((made.stepper.metrics(), [p.grad.clone() for p in made.model.parameters() if p.grad is not None]))
    assert steps[0][0] == steps[1][0] and recorders[0].replays == 2
    assert all(a.equal(b) for a, b in zip(steps[0][1], steps[1][1], strict=True))


@pytest.mark.slow
def test_a_replayed_step_whose_loss_is_no_number_changes_nothing(tmp_path, images, recorders):
    settings = config(machine__cuda_graphs=True, train__batch_size=8)
    made = Trainer(settings, images, Run(tmp_path / PATH), lambda: False)
    coming = made.steps()
    for _ in range(3):
        next(coming)
    first, *rest = made.model.parameters()
    first.detach().fill_(float("nan"))
    before = [parameter.detach().clone() for parameter in rest]
    for _ in range(2):
        next(coming)
    assert recorders[0].replays == 4 and made.stepper.diverged == 1
    assert all(a.equal(b) for a, b in zip(before, rest, strict=True))
    with pytest.raises(DivergedError, match="in step 4 of 14"):
        made.read_losses()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "machine.cuda_graphs needs a CUDA device, and this training is on cpu"),
        ({"optim__accumulate": 2}, "machine.cuda_graphs records steps of one batch"),
        ({"head__normaliser": "streaming"}, "machine.cuda_graphs records only the dense softmax"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_a_folder_is_made(changes, words, tmp_path, images, monkeypatch):
    settings, right = config(machine__cuda_graphs=True, **changes), graphs.check
    if changes:
        monkeypatch.setattr(graphs, "check", lambda config, model, device: right(config, model, torch.device("cuda")))
    with pytest.raises(UsageError, match=words):
        fit(tmp_path / PATH, settings, images)
    assert not (tmp_path / PATH).exists()


def test_graphs_of_a_compiled_network_are_refused():
    with pytest.raises(UsageError, match=r"machine.cuda_graphs must be false with machine.compile=true"):
        config(machine__cuda_graphs=True, machine__compile=True)


@pytest.mark.gpu
@pytest.mark.parametrize("variant", VARIANTS)
def test_replayed_steps_on_a_device_are_the_ordinary_ones_to_the_bit(variant, tmp_path, monkeypatch):
    settings, found = {**VARIANTS[variant], "machine__device": "cuda", "train__epochs": 3}, []
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    for recorded in (False, True):
        folder = tmp_path / str(recorded)
        summary = fit(folder, config(**settings, machine__cuda_graphs=recorded), digits(train=104))[-1].summary
        found.append((summary.weights_sha256, log(folder)))
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_a_network_that_cannot_be_compiled_is_no_bug(tmp_path, monkeypatch):
    from torch._dynamo.exc import TorchDynamoException

    def refuse(images):
        raise TorchDynamoException("InvalidCxxCompiler: No working C++ compiler found\n\nand many more lines")

    monkeypatch.setattr(torch, "compile", lambda network: refuse)
    with pytest.raises(
        UsageError, match=r"cannot be compiled: InvalidCxxCompiler: No working C\+\+ compiler found"
    ) as error:
        fit(tmp_path / PATH, config(machine__compile=True), digits())
    assert "machine.compile" in error.value.hint and "many more" not in error.value.message
