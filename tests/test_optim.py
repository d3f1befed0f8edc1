"""The optimiser and the schedules, against torch's own."""

import json
import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, SequentialLR

from randhead.config import OptimConfig
from randhead.head import ClassVectorHead
from randhead.train import optim

STEPS = 400


def schedule(**settings):
    """A schedule over one parameter, whose learning rate starts at 0.1."""
    config = OptimConfig(lr=0.1, **settings)
    return optim.Schedule(optim.optimiser(nn.Linear(1, 1), config), config)


def reference():
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)


def rates(scheduler, optimizer, steps):
    """The learning rate of each step under one of torch's schedulers."""
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_is_torchs_cosine_at_every_step():
    ours, optimizer = schedule(schedule="cosine"), reference()
    theirs = rates(CosineAnnealingLR(optimizer, T_max=STEPS), optimizer, STEPS)
    assert [ours.before_step(step / STEPS) for step in range(STEPS)] == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_one_cycle_is_torchs_one_cycle_up_to_where_its_ends_fall():
    """torch's phases end at steps 0.25 T - 1 and T - 1, ours at 0.25 T and T: our steps are mapped to those places."""
    optimizer = reference()
    scheduler = OneCycleLR(
        optimizer,
        max_lr=0.1,
        total_steps=STEPS,
        pct_start=optim.WARM_UP,
        div_factor=1 / optim.ONE_CYCLE_START,
        final_div_factor=optim.ONE_CYCLE_START / optim.ONE_CYCLE_END,
        cycle_momentum=False,
    )
    theirs = rates(scheduler, optimizer, STEPS - 1)
    top, end, ours = optim.WARM_UP * STEPS - 1, STEPS - 1, schedule(schedule="onecycle")
    for step, rate in enumerate(theirs):
        rising = step <= top
        progress = 0.25 * step / top if rising else 0.25 + 0.75 * (step - top) / (end - top)
        assert ours.before_step(progress) == pytest.approx(rate, rel=1e-6)


def test_one_cycle_rises_to_its_top_and_falls_to_nearly_nothing():
    ours = schedule(schedule="onecycle")
    assert ours.before_step(0.0) == pytest.approx(0.1 / 25)
    assert ours.before_step(0.25) == pytest.approx(0.1)
    assert ours.before_step(1 - 1e-9) == pytest.approx(1e-5, rel=1e-3)


def test_a_warm_up_and_cosine_are_torchs_linear_and_cosine_one_after_the_other():
    ours, optimizer, rising = schedule(schedule="cosine", warmup=0.1), reference(), STEPS // 10
    parts = [
        LinearLR(optimizer, start_factor=optim.ONE_CYCLE_START, total_iters=rising),
        CosineAnnealingLR(optimizer, T_max=STEPS - rising),
    ]
    theirs = rates(SequentialLR(optimizer, parts, milestones=[rising]), optimizer, STEPS)
    found = [ours.before_step(step / STEPS) for step in range(STEPS)]
    assert found == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    assert max(found) == found[rising] == pytest.approx(0.1) and found[0] == pytest.approx(0.1 / 25)


def test_a_warm_up_of_one_step_still_trains():
    assert schedule(schedule="cosine", warmup=0.9).before_step(0.0) > 0


def test_a_plateau_counts_from_the_end_of_the_warm_up():
    ours = schedule(schedule="plateau", warmup=0.5, plateau_patience=0)
    for step in range(5):
        rate = ours.before_step(step / 10)
        assert rate == pytest.approx(0.1 * (1 / 25 + 24 / 25 * step / 5))
        ours.after_epoch(0.5)  # equal accuracies, which would lower the rate
    assert ours.before_step(0.5) == 0.1
    ours.after_epoch(0.5)
    ours.after_epoch(0.5)
    assert ours.before_step(0.6) == pytest.approx(0.02)


def test_constant_is_constant():
    ours = schedule(schedule="constant")
    assert {ours.before_step(progress / 10) for progress in range(10)} == {0.1}


ACCURACIES = [0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.5, 0.5, 0.50005, 0.4, 0.3, 0.6, 0.6, 0.6, 0.6, 0.6, 0.1]


def test_plateau_is_torchs_plateau_of_the_official_code():
    ours, optimizer = schedule(schedule="plateau"), reference()
    theirs = ReduceLROnPlateau(optimizer, mode="max", factor=0.2, patience=3, threshold_mode="abs")
    seen = []
    for accuracy in ACCURACIES:
        ours.after_epoch(accuracy)
        theirs.step(accuracy)
        seen.append(ours.before_step(0.5))
        assert seen[-1] == optimizer.param_groups[0]["lr"]
    assert sorted(set(seen), reverse=True) == pytest.approx([0.1, 0.02, 0.004, 0.0008])


@pytest.mark.parametrize("stop", range(len(ACCURACIES)))
def test_a_plateau_saved_after_any_epoch_continues_as_if_nothing_had_been(stop):
    whole, first, second = (schedule(schedule="plateau") for _ in range(3))
    for accuracy in ACCURACIES[:stop]:
        whole.after_epoch(accuracy)
        first.after_epoch(accuracy)
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    for accuracy in ACCURACIES[stop:]:
        whole.after_epoch(accuracy)
        second.after_epoch(accuracy)
        assert second.before_step(0.5) == whole.before_step(0.5)


@pytest.mark.parametrize("name", ["cosine", "onecycle", "constant"])
def test_the_other_schedules_have_nothing_to_save(name):
    assert schedule(schedule=name).state() == {}


def test_sgd_is_nesterovs_and_without_momentum_plain():
    for momentum in (0.9, 0.0):
        group = optim.optimiser(nn.Linear(2, 2), OptimConfig(momentum=momentum)).param_groups[0]
        assert (group["momentum"], group["nesterov"]) == (momentum, momentum > 0)


def test_adamw_takes_the_momentum_as_its_first_beta():
    optimizer = optim.optimiser(nn.Linear(2, 2), OptimConfig(name="adamw", momentum=0.8, weight_decay=0.02))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.999)
    assert optimizer.param_groups[0]["weight_decay"] == 0.02


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_learned_scale_is_not_decayed_and_follows_the_schedule(name):
    head = ClassVectorHead(3, 8, scoring="cosine", trainable=True, scale=4.0, learn_scale=True)
    config = OptimConfig(name=name, lr=0.1, weight_decay=0.5, schedule="cosine")
    optimizer = optim.optimiser(head, config)
    optim.Schedule(optimizer, config).before_step(0.5)
    for parameter in head.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = head.vectors.detach().clone()
    optimizer.step()
    assert head.log_scale.item() == pytest.approx(math.log(4.0))
    assert head.vectors.detach().equal(before) is False
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.05])


def test_every_parameter_is_optimised_once():
    head = ClassVectorHead(3, 8, trainable=True, bias=0.01, neck="batchnorm", learn_scale=True)
    optimizer = optim.optimiser(head, OptimConfig())
    found = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(parameter) for parameter in head.parameters())


OF_TORCH = {
    "sgd": lambda layer: torch.optim.SGD(layer.parameters(), 0.01, 0.9, weight_decay=0.1, nesterov=True),
    "adamw": lambda layer: torch.optim.AdamW(layer.parameters(), 0.01, (0.9, 0.999), weight_decay=0.1),
}


@pytest.mark.parametrize("name", OF_TORCH)
def test_the_steps_are_those_of_torch_to_the_bit(name):
    def weights(make):
        layer = nn.Linear(5, 3)
        layer.load_state_dict({"weight": torch.arange(15.0).view(3, 5).sin(), "bias": torch.ones(3)})
        optimizer = make(layer)
        for step in range(3):
            optimizer.zero_grad()
            layer(torch.arange(10.0).view(2, 5).cos() + step).square().sum().backward()
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in layer.parameters()])

    config = OptimConfig(name=name, lr=0.01, weight_decay=0.1)
    assert torch.equal(weights(lambda layer: optim.optimiser(layer, config)), weights(OF_TORCH[name]))
