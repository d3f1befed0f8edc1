"""A step on a CUDA device never waits for the device: the code of that path runs here on the CPU, where every read of a
number by the host is an error.
"""

import contextlib
from dataclasses import replace

import pytest
import torch
from tiny import config, digits, fit, log
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from randhead import ClassVectorHead
from randhead.augment import views
from randhead.datasets import TensorImages
from randhead.errors import DivergedError, UsageError
from randhead.preprocess import Preprocess
from randhead.runs import Run, checkpoint
from randhead.train import events, trainer
from randhead.train.step import Stepper
from randhead.train.trainer import Trainer
from randhead.vectors import gaussian

PATH = "run"
# Operations whose result, or the shape of it, the host reads; `lift_fresh` copies numbers of Python to the device.
READS = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero", "nonzero_numpy", "masked_select",
    "unique_dim", "_unique2", "unique_consecutive", "repeat_interleave", "bincount", "lift_fresh", "linalg_inv_ex",
    "linalg_eigh", "_linalg_check_errors", "histc",
}  # fmt: skip
METHODS = "tolist", "numpy", "cpu", "__array__"  # which read the memory of a tensor on the CPU without an operation


SLOW, QUICK = pytest.mark.slow, ("learned", "clipped")


class HostRead(Exception):
    """The host has read a number that a device computes."""


class NoHostReads(TorchDispatchMode):
    """A mode in which a read of a number by the host raises HostRead.

    Fused optimisers on the CPU read their learning rate within an operation of their own, which no mode sees.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.partition("::")[2]
        masks = [index for index in args[1] if index is not None] if name == "index" else []
        if name in READS or any(mask.dtype == torch.bool for mask in masks):
            raise HostRead(func)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def unwaiting(monkeypatch):
    """The path of a CUDA device, on the CPU."""
    monkeypatch.setattr("randhead.train.step.waits_for_losses", lambda device: False)


@pytest.fixture
def no_host_reads(monkeypatch):
    for name in METHODS:

        def refuse(*args, name=name, **options):
            raise HostRead(name)

        monkeypatch.setattr(torch.Tensor, name, refuse)
    return NoHostReads()


@pytest.fixture(scope="module")
def images():
    return digits()


VARIANTS = {
    "dot": {},
    "learned": {"head__trainable": True, "head__scoring": "cosine", "head__learn_scale": True},
    "batchnorm": {"head__scoring": "cosine", "head__neck": "batchnorm"},
    "adamw": {"optim__name": "adamw", "optim__lr": 1e-3},
    "clipped": {"optim__clip_norm": 1.0, "optim__label_smoothing": 0.1},
    "accumulated": {"optim__accumulate": 2},
    "expected": {"head__normaliser": "expected", "head__vectors": "gaussian", "head__normaliser_tolerance": 100.0},
    "views": {"data__labels": "instance"},
    "cutout": {"data__cutout": 0.5},
}


@pytest.mark.parametrize("variant", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in VARIANTS])
def test_no_step_waits_for_the_device(variant, tmp_path, images, unwaiting, request):
    settings = config(train__batch_size=8, **VARIANTS[variant])
    coming = Trainer(settings, images, Run(tmp_path / PATH), lambda: False).steps()
    next(coming)  # draws an epoch, and what is kept
    mode = request.getfixturevalue("no_host_reads")
    for _ in range(1 if variant == "accumulated" else 3):  # the last step of the epoch may read
        with mode:
            assert isinstance(next(coming), events.StepDone)


def test_the_mode_of_these_tests_sees_every_way_to_read_a_number(no_host_reads):
    mask, x = torch.tensor([True, False]), torch.ones(2)
    for read in (
        lambda: x.sum().item(), lambda: float(x.sum()), lambda: bool(mask.any()), lambda: x[mask], lambda: x.tolist(),
        lambda: mask.nonzero(), lambda: x.equal(x), lambda: torch.tensor([1.0]), lambda: x.cpu(), lambda: x.numpy(),
        lambda: torch.unique(x), lambda: torch.linalg.inv(torch.eye(2)),
    ):  # fmt: skip
        with pytest.raises(HostRead), no_host_reads:
            read()


class NoCopies(TorchDispatchMode):
    """A mode in which a copy from one device to another raises HostRead."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        devices = {part.device.type for part in (*args, out) if isinstance(part, torch.Tensor) and part.numel()}
        if func._schema.name in ("aten::_to_copy", "aten::copy_") and len(devices) > 1:
            raise HostRead(func)
        return out


@SLOW
@pytest.mark.parametrize("scoring", ["dot", "cosine"])
@pytest.mark.parametrize("normaliser", ["dense", "expected"])
def test_no_loss_of_a_batch_copies_anything_to_the_device(normaliser, scoring):
    mode = FakeTensorMode(allow_non_fake_inputs=True)  # a device that need not exist, and no numbers
    head = ClassVectorHead(40, 192, "gaussian", scoring, normaliser=normaliser)
    with mode:
        try:
            device = torch.ones(1).to("cuda").device
        except RuntimeError as error:
            pytest.skip(f"this torch needs a CUDA device for that: {error}")
        head = head.to(device)
        prepared = Preprocess.of([0.5] * 3, [0.25] * 3, precision="fp32", device=device)
        images = torch.zeros(8, 3, 8, 8, dtype=torch.uint8, device=device)
        labels = torch.zeros(8, dtype=torch.int64, device=device)
        drawn = views.draw(labels, seed=0, epoch=0, size=(8, 8))
        for watch in (contextlib.nullcontext(), NoCopies()):  # constants are kept the first time
            with watch:
                features = prepared.prepare(views.apply(images, drawn)).flatten(1)
                loss = head.loss(features, labels, check_values=False)
    assert loss.device.type == "cuda"
    views._colour_maps.cache_clear(), gaussian.gegenbauer.cache_clear()  # they have no numbers


@pytest.mark.gpu
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_step_on_a_device_waits_for_it(variant, tmp_path, images):
    splits = {}
    for name, split in images.splits.items():
        pixels = next(split.images.batches(torch.arange(len(split)), len(split))).to("cuda")
        splits[name] = replace(split, images=TensorImages(pixels, torch.arange(len(pixels), device="cuda")))
    settings = config(train__batch_size=8, machine__device="cuda", **VARIANTS[variant])
    coming = Trainer(settings, replace(images, splits=splits), Run(tmp_path / PATH), lambda: False).steps()
    next(coming)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(1 if variant == "accumulated" else 3):
            next(coming)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# The same training


@SLOW
@pytest.mark.parametrize("variant", ["dot", "learned", "clipped", "accumulated", "plateau"])
def test_a_training_whose_losses_are_read_later_is_the_same_to_the_bit(variant, tmp_path, images, monkeypatch):
    settings = {**VARIANTS, "plateau": {"optim__schedule": "plateau", "optim__plateau_patience": 0}}[variant]
    found = []
    for waits in (True, False):
        monkeypatch.setattr("randhead.train.step.waits_for_losses", lambda device, waits=waits: waits)
        folder = tmp_path / str(waits)
        happened = fit(folder, config(**settings), images)
        losses = [event.loss for event in happened if isinstance(event, events.StepDone)]
        found.append((happened[-1].summary.weights_sha256, log(folder), losses))
    assert found[0] == found[1]


@SLOW
def test_adamw_that_skips_steps_on_the_device_is_adamw(tmp_path, images, unwaiting):
    ours, theirs = (tmp_path / name for name in ("ours", "theirs"))
    fit(ours, config(**VARIANTS["adamw"]), images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("randhead.train.step.waits_for_losses", lambda device: True)
        fit(theirs, config(**VARIANTS["adamw"]), images)
    for mine, other in zip(log(ours), log(theirs), strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)


@SLOW
@pytest.mark.parametrize("stop", [1, 4])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_what_was_stopped_resumes_to_the_same_weights(name, stop, tmp_path, images, unwaiting):
    settings = config(optim__name=name, optim__lr=1e-3)
    whole = fit(tmp_path / "whole", settings, images)[-1].summary
    assert isinstance(fit(tmp_path / PATH, settings, images, steps=stop)[-1], events.Stopped)
    assert fit(tmp_path / PATH, settings, images)[-1].summary.weights_sha256 == whole.weights_sha256


# Divergence


def poison(monkeypatch, bad):
    """Make the loss of step `bad`, counted from 0, NaN, and with it all gradients."""
    right, steps = Stepper.loss, iter(range(1000))
    monkeypatch.setattr(Stepper, "loss", lambda *args: right(*args) * (float("nan") if next(steps) == bad else 1.0))


def contents(made):
    """The weights and the optimiser's state."""
    states = [value for state in made.stepper.optimizer.state.values() for value in state.values()]
    return [tensor.detach().clone() for tensor in (*made.model.parameters(), *states)]


@pytest.mark.parametrize(("name", "bad"), [("sgd", 1), pytest.param("adamw", 2, marks=SLOW)])
def test_after_a_loss_that_is_no_number_nothing_changes(name, bad, tmp_path, images, unwaiting, monkeypatch):
    poison(monkeypatch, bad)
    settings = config(optim__name=name, optim__lr=1e-3, train__batch_size=8, optim__clip_norm=1.0)
    made = Trainer(settings, images, Run(tmp_path / PATH), lambda: False)
    coming, seen = made.steps(), []
    for _ in range(4):
        next(coming)
        seen.append(contents(made))
    good = seen[bad - 1]
    assert all(a.equal(b) for later in seen[bad:] for a, b in zip(good, later, strict=True))
    with pytest.raises(DivergedError, match=rf"the loss is nan in step {bad + 1} of 10; there is no checkpoint yet"):
        next(coming)  # the last one of the epoch reads
    assert made.state.step == bad


@SLOW
@pytest.mark.parametrize("minutes", [0.0, 10.0])
def test_a_loss_that_is_no_number_is_told_as_ever_and_every_checkpoint_is_finite(
    minutes, tmp_path, images, unwaiting, monkeypatch
):
    settings, run = config(machine__checkpoint_minutes=minutes), Run(tmp_path / PATH)
    last = 4 if minutes == 0 else 3
    with monkeypatch.context() as patch, pytest.raises(DivergedError) as caught:
        poison(patch, 4)
        fit(run.path, settings, images)
    assert caught.value.message == f"the loss is nan in step 5 of 6; the last checkpoint is of step {last}"
    assert caught.value.exit_code == 5 and run.diverged_path.exists()
    for step in checkpoint.saved_steps(run.checkpoints):
        tensors, _ = checkpoint.load(checkpoint.step_path(run.checkpoints, step))
        assert step <= last and all(tensor.isfinite().all() for tensor in tensors.values())
    assert isinstance(fit(run.path, settings, images)[-1], events.Finished)


@SLOW
def test_a_stop_after_a_bad_loss_that_nobody_has_read_saves_nothing(tmp_path, images, unwaiting, monkeypatch):
    poison(monkeypatch, 1)
    with pytest.raises(DivergedError, match="in step 2 of 6"):
        fit(tmp_path / PATH, config(), images, steps=2)
    assert not checkpoint.saved_steps(Run(tmp_path / PATH).checkpoints)


def test_losses_are_read_every_so_many_steps(tmp_path, images, unwaiting, monkeypatch):
    monkeypatch.setattr(trainer, "READ_EVERY", 2)
    poison(monkeypatch, 0)
    coming = Trainer(config(train__batch_size=8), images, Run(tmp_path / PATH), lambda: False).steps()
    next(coming)
    with pytest.raises(DivergedError, match="in step 1 of 10"):
        next(coming)


@SLOW
def test_an_error_bound_above_the_tolerance_is_refused_as_ever_and_changes_nothing(tmp_path, images, monkeypatch):
    settings = config(head__normaliser="expected", head__vectors="gaussian", head__normaliser_tolerance=1e-9)
    messages = []
    for waits in (True, False):
        monkeypatch.setattr("randhead.train.step.waits_for_losses", lambda device, waits=waits: waits)
        made = Trainer(settings, images, Run(tmp_path / PATH), lambda: False)
        before = [parameter.detach().clone() for parameter in made.model.parameters()]
        with pytest.raises(UsageError) as caught:
            list(made.steps())
        messages.append(caught.value.message)
        assert all(a.equal(b) for a, b in zip(before, made.model.parameters(), strict=True))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("scoring", ["dot", "cosine"])
def test_features_that_are_not_finite_make_an_unchecked_loss_nan(scoring):
    head = ClassVectorHead(2, 3, torch.tensor([[1.0, 0, 0], [-1, 0, 0]]), scoring)
    features = torch.tensor([[torch.inf, 0.0, 0.0]])  # the loss of class 0 would be 0
    assert head.loss(features, torch.tensor([0]), check_values=False).isnan()
    good = torch.randn(4, 3)
    labels = torch.tensor([0, 1, 0, 1])
    assert head.loss(good, labels, check_values=False).equal(head.loss(good, labels))
    with pytest.raises(UsageError, match="check_values must be True or False, got 1"):
        head.loss(good, labels, check_values=1)
