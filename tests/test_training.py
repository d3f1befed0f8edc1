"""What training does step by step: events, selection, accumulation, divergence, stopping, and what it leaves."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import config, digits, fit, image_folder, log, tree
from torch import nn
from trained import command

from randhead import datasets, runs, train
from randhead.cli.output import Output
from randhead.cli.progress import TrainingDisplay
from randhead.config import configure
from randhead.datasets import Dataset, Split, TensorImages
from randhead.errors import DivergedError, RunError, StopRequested, UsageError
from randhead.evaluation import classification
from randhead.intervals import of_accuracy
from randhead.runs import Run, checkpoint
from randhead.train import events, fit_events
from randhead.train.resolve import resolve_settings
from randhead.train.saving import Saver
from randhead.train.step import Stepper
from randhead.train.trainer import Trainer

PATH = "run"


@pytest.fixture(scope="module")
def images():
    return digits()


def of(kind, happened):
    return [event for event in happened if isinstance(event, kind)]


class Plain(nn.Module):
    """A backbone without batch normalisation or chance, so that a batch is the sum of its parts."""

    dim, nonnegative = 192, True

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(self.dim))

    def forward(self, x):
        return x.flatten(1).abs() * self.gain


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr("randhead.backbones.build", lambda name, image_size, pretrained: Plain())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, images):
    """Folder and events of a training that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / PATH
    return folder, fit(folder, config(), images)


def weights(folder):
    return json.loads((folder / "summary.json").read_text())["weights_sha256"]


def test_events_come_in_order_and_count_every_step_and_epoch(whole):
    folder, happened = whole
    assert isinstance(happened[0], events.Started)
    assert isinstance(happened[-1], events.Finished)
    # 40 images in batches of 16: 16, 16 and 8.
    assert [event.step for event in of(events.StepDone, happened)] == [1, 2, 3, 4, 5, 6]
    assert [event.epoch for event in of(events.EpochDone, happened)] == [1, 2]
    assert happened[0].total_steps == 6
    assert all(math.isfinite(event.loss) for event in of(events.StepDone, happened))
    lines = log(folder)
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 3), (2, 6)]


def test_the_first_star_is_explained_and_vectors_by_class_name_are_said(whole, capsys):
    display = TrainingDisplay(Output(as_json=True), config(head__class_keys="name"))
    first, best, *_ = (whole[1][0], *(event for event in whole[1] if isinstance(event, events.EpochDone)))
    for event in (first, replace(best, best=False), replace(best, best=True), replace(best, best=True)):
        display.event(event)
    lines = capsys.readouterr().err.splitlines()
    assert any("class vectors drawn by class name, " in line for line in lines)
    assert not lines[-3].endswith("*") and lines[-2].endswith(" * best so far") and lines[-1].endswith(" *")


@pytest.mark.slow
def test_training_learns_what_it_is_shown(tmp_path):
    happened = fit(tmp_path / PATH, config(train__epochs=8), digits(train=160, val=60, test=60))
    assert happened[-1].summary.test["accuracy"] > 0.5  # chance is 0.1


def test_what_a_run_leaves_agrees_with_itself(whole, images):
    run, summary = Run(whole[0]), whole[1][-1].summary
    assert json.loads(run.summary_path.read_text()) == summary.to_json()
    loaded = runs.load(PATH, root=run.path.parent, device="cpu")
    assert loaded.weights_sha256 == summary.weights_sha256
    again = classification.full_metrics(loaded.model, images.splits["test"], loaded.preprocess).summary()
    assert again == summary.test
    val = classification.quick_metrics(loaded.model, images.splits["val"], loaded.preprocess)
    assert {key: val[key] for key in ("accuracy", "nll")} | {"n": len(images.splits["val"])} == {
        key: value for key, value in summary.val.items() if key != "accuracy_interval"
    }
    assert summary.val["accuracy_interval"] == of_accuracy(val["accuracy"], len(images.splits["val"])).to_json()
    assert loaded.class_names == images.class_names
    assert run.config() == config()


def test_the_same_seed_trains_the_same_weights_and_another_seed_others(tmp_path, images, whole):
    for name, seed in (("b", 0), ("c", 1)):
        fit(tmp_path / name, config(train__seed=seed), images)
    assert weights(whole[0]) == weights(tmp_path / "b") != weights(tmp_path / "c")
    assert log(whole[0]) == log(tmp_path / "b")


def test_torchs_global_generator_does_not_matter(tmp_path, images):
    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        fit(tmp_path / name, config(train__epochs=1), images)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_fixed_and_learned_runs_see_the_same_first_batch_from_the_same_weights(tmp_path, images):
    first = []
    for learned in (False, True):
        changes = config(head__trainable=learned, train__epochs=1)
        first.append(of(events.StepDone, fit(tmp_path / str(learned), changes, images))[0].loss)
    assert first[0] == pytest.approx(first[1], rel=1e-6)


@pytest.mark.parametrize("learned", [False, True])
def test_class_vectors_move_only_where_they_are_learned(tmp_path, images, learned):
    fit(tmp_path / PATH, config(head__trainable=learned), images)
    head = runs.load(PATH, root=tmp_path, device="cpu").model.head
    assert head.class_vectors().detach().equal(head.draw()) is not learned
    drift = [line.get("vector_drift_deg", 0) for line in log(tmp_path / PATH)]
    assert (drift[-1] > 0) is learned


# The verb


TIMES = ("seconds", "images_per_second", "path")


def quiet(text):
    """Where warnings go that are not tested."""


def test_the_function_gives_the_document_that_the_command_prints(tmp_path, monkeypatch, capsys):
    folder = image_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    options = ("--epochs", 2, "--batch-size", 16, "--precision", "fp32", "--device", "cpu", "--set", "optim.lr=0.05")
    words = ("train", "--data", "images", *options, "--out", "one", "--name", "a", "--json")
    code, out, _ = command(capsys, *words)
    summary = train.fit(config(data__name=str(folder)), root="two", name="a", warn=quiet)
    documents = [json.loads(out), summary.to_json()]
    assert code == 0
    assert documents[0]["path"] == "one/a" and str(summary.path) == "two/a"
    assert set(documents[0]) - set(documents[1]) == {"path"}
    without_times = [{key: value for key, value in d.items() if key not in TIMES} for d in documents]
    assert without_times[0] == without_times[1]
    left = [sorted(path.name for path in (tmp_path / root / "a").iterdir()) for root in ("one", "two")]
    assert left[0] == left[1]
    assert "README.md" in left[0]


def test_fit_reports_to_its_callbacks_and_returns_the_summary(tmp_path, images, whole):
    happened, warned = [], []
    summary = train.fit(
        config(), dataset=images, root=tmp_path, name=PATH, on_event=happened.append, warn=warned.append
    )
    assert [type(event) for event in happened] == [type(event) for event in whole[1]]
    assert warned == [event.message for event in of(events.Warned, happened)]
    assert happened[-1].summary is summary
    assert summary == Run(tmp_path / PATH).summary()
    assert f"{100 * summary.test['accuracy']:.2f} %" in summary._repr_html_()


def test_a_finished_run_needs_no_images_to_give_its_result(tmp_path, images):
    settings = config(data__name="./nowhere")
    first = train.fit(settings, dataset=images, root=tmp_path, warn=quiet)
    happened = []
    assert train.fit(settings, root=tmp_path, on_event=happened.append) == first
    assert happened == []


def test_fit_takes_settings_by_their_names_as_the_command_does(tmp_path, images):
    settings = {"train.epochs": 1, "train.batch_size": "16", "machine.device": "cpu"}
    summary = train.fit(settings, dataset=images, root=tmp_path, warn=quiet)
    assert Run(summary.path).config() == configure(settings)
    with pytest.raises(UsageError, match=r"unknown setting 'train\.epoch'"):
        train.fit({"train.epoch": 1}, root=tmp_path)


def test_fit_that_is_stopped_says_so_and_the_same_call_resumes(tmp_path, images, whole):
    asked = iter([False] * 4)
    with pytest.raises(StopRequested, match="stopped after step 3"):  # the fourth question is that of the validation
        train.fit(config(), dataset=images, root=tmp_path, warn=quiet, should_stop=lambda: next(asked, True))
    summary = train.fit(config(), dataset=images, root=tmp_path, warn=quiet)
    assert summary.weights_sha256 == weights(whole[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config": "x"}, "config must be a `Config` or settings by their dotted names, got 'x'"),
        ({"config": [1]}, "config must be"),
        ({"config": {1: 2}}, "config must be settings by their dotted names, which are text, got 1"),
        ({"name": 3}, "name must be text, got 3"),
        ({"root": None}, "root must be a path, got None"),
        ({"dataset": "digits"}, "dataset must be a `Dataset`, got 'digits'"),
        ({"should_stop": True}, "should_stop must be a function, got True"),
    ],
)
def test_fit_names_an_argument_of_another_type(tmp_path, arguments, words):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        train.fit(**{"root": tmp_path / "runs"} | arguments)
    assert "dataset" not in arguments or "`data.name`" in caught.value.hint
    assert not (tmp_path / "runs").exists()


def test_fit_starts_over_only_if_it_is_told_to(tmp_path, images):
    first = train.fit(config(), dataset=images, root=tmp_path, name=PATH, warn=quiet)
    with pytest.raises(RunError, match=r"optim\.lr"):
        train.fit(config(optim__lr=0.01), dataset=images, root=tmp_path, name=PATH, warn=quiet)
    other = train.fit(config(optim__lr=0.01), dataset=images, root=tmp_path, name=PATH, fresh=True, warn=quiet)
    assert other.weights_sha256 != first.weights_sha256


# Batches


def test_every_image_is_seen_once_an_epoch_in_another_order_each_time(tmp_path, images):
    trainer = Trainer(config(data__crop_padding=0), images, Run(tmp_path / PATH), lambda: False)
    split, orders = images.splits["train"], []
    pixels = next(split.images.batches(torch.arange(40), 40)).flatten(1)
    for epoch in (0, 1):
        batches = list(trainer.batches(epoch, 0))
        assert [len(labels) for _, labels in batches] == [16, 16, 8]
        seen = torch.cat([batch for batch, _ in batches]).flatten(1)
        order = [int((pixels == row).all(dim=1).nonzero()[0]) for row in seen]
        assert torch.cat([labels for _, labels in batches]).equal(split.labels[order])
        assert sorted(order) == list(range(40))
        orders.append(order)
    assert orders[0] != orders[1]


def test_an_epoch_can_begin_at_any_batch(tmp_path, images):
    trainer = Trainer(config(), images, Run(tmp_path / PATH), lambda: False)
    whole = list(trainer.batches(1, 0))
    for done in range(4):
        rest = list(trainer.batches(1, done))
        assert len(rest) == 3 - done
        for (ours, our_labels), (theirs, labels) in zip(rest, whole[done:], strict=True):
            assert ours.equal(theirs)
            assert our_labels.equal(labels)


@pytest.mark.parametrize(("count", "sizes"), [(32, [16, 16]), (33, [16, 16]), (34, [16, 16, 2]), (5, [5])])
def test_only_a_last_batch_of_one_image_is_left_out(tmp_path, count, sizes):
    trainer = Trainer(config(), digits(train=count), Run(tmp_path / PATH), lambda: False)
    assert [len(labels) for _, labels in trainer.batches(0, 0)] == sizes
    assert trainer.batches_per_epoch == len(sizes)


@pytest.mark.slow
def test_files_that_are_streamed_train_the_same_weights_as_files_in_memory(tmp_path):
    folder = image_folder(tmp_path / "images", images=15)
    found = {}
    for name, budget in (("resident", 64), ("streamed", 0)):
        settings = config(data__name=str(folder), machine__memory_budget_mb=budget)
        dataset = datasets.from_config(settings)
        assert isinstance(dataset.splits["train"].images, TensorImages) is (name == "resident")
        fit(tmp_path / name, settings, dataset)
        found[name] = (weights(tmp_path / name), log(tmp_path / name))
    assert found["resident"] == found["streamed"]


# Settings that change a step


@pytest.mark.usefixtures("plain")
def test_two_accumulated_batches_are_one_batch_of_twice_the_size(tmp_path, images):
    common = {"optim__lr": 0.01, "train__epochs": 3}
    whole = fit(tmp_path / "whole", config(train__batch_size=16, **common), images)
    parts = fit(tmp_path / "parts", config(train__batch_size=8, optim__accumulate=2, **common), images)
    ours, theirs = ([event.loss for event in of(events.StepDone, happened)] for happened in (parts, whole))
    # 40 images: 16, 16, 8 against 8+8, 8+8, 8.
    assert len(ours) == len(theirs) == 9
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(("count", "sizes"), [(40, [16, 16]), (10, [10])])
def test_a_network_is_compiled_for_one_size_of_batches(tmp_path, monkeypatch, count, sizes):
    seen = []

    def compiled(network):
        return lambda x: seen.append(len(x)) or network(x)

    monkeypatch.setattr(torch, "compile", compiled)
    ours = fit(tmp_path / "ours", config(machine__compile=True, train__epochs=1), digits(train=count))[-1].summary
    assert seen == sizes  # and not the last batch of 8
    assert (
        ours.weights_sha256
        == fit(tmp_path / "plain", config(train__epochs=1), digits(train=count))[-1].summary.weights_sha256
    )


@pytest.mark.usefixtures("plain")
def test_label_smoothing_is_torchs(tmp_path, images):
    trainer = Trainer(config(optim__label_smoothing=0.2), images, Run(tmp_path / PATH), lambda: False)
    batch, labels = next(trainer.batches(0, 0))
    logits = trainer.model(trainer.preprocess.prepare(batch))
    expected = F.cross_entropy(logits, labels, label_smoothing=0.2)
    assert trainer.stepper.loss(batch, labels).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("clip", [0.001, 1e9])
def test_clipping_bounds_the_gradient_and_leaves_a_small_one_as_it_is(tmp_path, images, clip):
    lr = 0.1
    settings = config(
        optim__clip_norm=clip, optim__lr=lr, optim__momentum=0, optim__weight_decay=0, optim__schedule="constant"
    )
    trainer = Trainer(settings, images, Run(tmp_path / PATH), lambda: False)
    batch = next(trainer.batches(0, 0))
    gain = trainer.model.backbone.gain
    before = gain.detach().clone()
    (whole,) = torch.autograd.grad(trainer.stepper.loss(*batch), [gain])
    trainer._step([batch])
    moved = (before - gain.detach()).norm().item() / lr
    assert moved == pytest.approx(min(clip, whole.norm().item()), rel=2e-3)


def test_the_paper_recipe_starts_and_lowers_its_rate_on_a_plateau(tmp_path, images, monkeypatch):
    monkeypatch.setattr(classification, "quick_metrics", lambda *args, **options: {"accuracy": 0.1, "nll": 1.0})
    settings = config(train__epochs=6, optim__schedule="plateau", optim__lr=0.1, optim__plateau_patience=1)
    fit(tmp_path / PATH, settings, images)
    assert [line["lr"] for line in log(tmp_path / PATH)] == pytest.approx([0.1, 0.1, 0.1, 0.02, 0.02, 0.004])


# Selection


@pytest.mark.parametrize(
    ("figures", "selected"),
    [
        ([(0.5, 1.0), (0.7, 1.0), (0.6, 0.1)], 2),  # accuracy first
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.95)], 2),  # then NLL
        ([(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], 1),  # then the earlier
    ],
)
def test_the_weights_of_the_best_epoch_are_kept(tmp_path, images, monkeypatch, figures, selected):
    states, answers = {}, iter(figures)

    def quick_metrics(model, split, preprocess, *, should_stop):
        assert split is images.splits["val"]  # the test split selects nothing
        states[len(states) + 1] = checkpoint.state_sha256(model.state_dict())
        accuracy, nll = next(answers)
        return {"accuracy": accuracy, "nll": nll, "logit_min": 0.0, "logit_max": 1.0}

    monkeypatch.setattr(classification, "quick_metrics", quick_metrics)
    happened = fit(tmp_path / PATH, config(train__epochs=3), images)
    summary = happened[-1].summary
    assert summary.selected.epoch == selected
    assert summary.weights_sha256 == states[selected]
    assert len(set(states.values())) == 3
    assert [event.epoch for event in of(events.EpochDone, happened) if event.best][-1] == selected


def test_the_test_split_is_read_once_at_the_end(tmp_path, images, monkeypatch):
    asked = []
    full_metrics = classification.full_metrics

    def watched(model, split, preprocess, *, should_stop):
        asked.append(split is images.splits["test"])
        return full_metrics(model, split, preprocess, should_stop=should_stop)

    monkeypatch.setattr(classification, "full_metrics", watched)
    fit(tmp_path / PATH, config(), images)
    assert asked == [True]


# Divergence


def test_a_loss_that_is_no_number_stops_before_its_step_and_the_last_checkpoint_is_finite(
    tmp_path, images, monkeypatch
):
    right, steps = Stepper.backward, iter(range(6))

    def poisoned(self, batches):
        loss, bound = right(self, batches)
        return loss * float("nan") if next(steps) == 4 else loss, bound

    settings = config(machine__checkpoint_minutes=0)
    words = "the loss is nan in step 5 of 6; the last checkpoint is of step 4"
    with monkeypatch.context() as patch, pytest.raises(DivergedError, match=words) as caught:
        patch.setattr(Stepper, "backward", poisoned)
        fit(tmp_path / PATH, settings, images)
    assert caught.value.exit_code == 5
    assert "optim.lr" in caught.value.hint
    run = Run(tmp_path / PATH)
    assert checkpoint.saved_steps(run.checkpoints) == [3, 4]
    tensors, document = checkpoint.load(checkpoint.step_path(run.checkpoints, 4))
    assert document["progress"]["step"] == 4
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert run.summary() is None
    assert isinstance(fit(tmp_path / PATH, settings, images)[-1], events.Finished)  # and it is as good as any


def test_a_learning_rate_that_is_far_too_high_ends_as_diverged_and_saves_nothing_bad(tmp_path, images):
    settings = config(optim__lr=1e30, optim__schedule="constant", machine__checkpoint_minutes=0, train__epochs=5)
    with pytest.raises(DivergedError):
        fit(tmp_path / PATH, settings, images)
    for step in checkpoint.saved_steps(Run(tmp_path / PATH).checkpoints):
        tensors, _ = checkpoint.load(checkpoint.step_path(Run(tmp_path / PATH).checkpoints, step))
        assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_validation_figures_that_are_not_finite_end_as_diverged_and_are_not_logged(tmp_path, images, monkeypatch):
    bad = {"accuracy": 0.1, "nll": float("nan")}
    monkeypatch.setattr(classification, "quick_metrics", lambda *args, **options: bad)
    with pytest.raises(DivergedError, match="validation metrics are not finite after step 3"):
        fit(tmp_path / PATH, config(), images)
    assert not (tmp_path / PATH / "metrics.jsonl").exists()


# Stopping and resuming


def interrupted(folder, settings, images, every):
    """Train with a stop after every `every` steps, each time begun again as by a new process."""
    for _ in range(100):
        asked = iter([False] * every)
        happened = fit(folder, settings, images, should_stop=lambda asked=asked: next(asked, True))
        if isinstance(happened[-1], events.Finished):
            return happened[-1].summary
        assert isinstance(happened[-1], events.Stopped)
    raise AssertionError("no end")


VARIANTS = {
    "sgd": {},
    "adamw": {"optim__name": "adamw", "optim__lr": 0.003},
    "plateau": {"optim__schedule": "plateau", "optim__plateau_patience": 0, "train__epochs": 3},
    "learned": {"head__trainable": True, "head__learn_scale": True, "head__scoring": "cosine", "head__neck": "linear"},
    "accumulated": {"optim__accumulate": 2, "train__batch_size": 8, "optim__clip_norm": 0.5},
}


QUICK = ("learned",)


@pytest.mark.parametrize(
    ("variant", "every"),
    [
        *(pytest.param(name, 1, marks=() if name in QUICK else pytest.mark.slow) for name in VARIANTS),
        pytest.param("sgd", 2, marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_again_and_again_equals_one_that_was_not(tmp_path, images, variant, every):
    settings = config(**VARIANTS[variant])
    whole = fit(tmp_path / "whole", settings, images)[-1].summary
    parts = interrupted(tmp_path / "parts", settings, images, every)
    assert parts.weights_sha256 == whole.weights_sha256
    assert parts.test == whole.test
    assert log(tmp_path / "parts") == log(tmp_path / "whole")


class Dropping(Plain):
    """Draws from torch's generator in every step."""

    def forward(self, x):
        return F.dropout(super().forward(x), 0.5, self.training)


def test_dropout_too_is_the_same_after_a_resume(tmp_path, images, monkeypatch):
    monkeypatch.setattr("randhead.backbones.build", lambda name, image_size, pretrained: Dropping())
    whole = fit(tmp_path / "whole", config(optim__lr=0.001), images)[-1].summary
    parts = interrupted(tmp_path / "parts", config(optim__lr=0.001), images, 1)
    assert parts.weights_sha256 == whole.weights_sha256


@pytest.mark.slow
def test_an_end_after_any_event_leaves_what_a_new_start_needs(tmp_path, images):
    """The generator is dropped after the first, second, ... event, without the save that a stop makes."""
    settings = config(machine__checkpoint_minutes=0)
    happened = fit(tmp_path / "whole", settings, images)
    for moment in range(1, len(happened)):
        folder = tmp_path / str(moment)
        steps = fit_events(settings, images, Run(folder))
        for _ in range(moment):
            next(steps)
        steps.close()
        again = fit(folder, settings, images)[-1].summary
        assert again.weights_sha256 == happened[-1].summary.weights_sha256
        assert log(folder) == log(tmp_path / "whole")


def test_a_finished_run_gives_its_result_again_and_touches_nothing(images, whole):
    folder, happened = whole
    before = tree(folder)
    assert fit(folder, config(), images) == [happened[-1]]
    assert tree(folder) == before


def test_reports_of_weights_that_a_better_epoch_replaces_are_deleted(tmp_path, images, monkeypatch):
    accuracies, kept, save = iter([0.5, 0.4, 0.6]), [], Saver.save
    reports = Run(tmp_path / PATH).reports

    def quick_metrics(*_, **__):
        return {"accuracy": next(accuracies), "nll": 1.0, "logit_min": 0.0, "logit_max": 1.0}

    def evaluate(event):
        if isinstance(event, events.EpochDone):
            kept.append((reports / "evaluate-test.json").exists())
            reports.mkdir(exist_ok=True)
            for name in ("evaluate-test.json", "mine.txt"):
                (reports / name).touch()

    def save_and_wait(self, *args, **options):
        run = save(self, *args, **options)
        return self.wait() or run

    monkeypatch.setattr(classification, "quick_metrics", quick_metrics)
    monkeypatch.setattr(Saver, "save", save_and_wait)
    train.fit(config(train__epochs=3), dataset=images, root=tmp_path, name=PATH, warn=quiet, on_event=evaluate)
    assert kept == [False, True, False]
    assert (reports / "mine.txt").exists()


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def stopped(folder, settings, images, after):
    asked = iter([False] * after)
    return fit(folder, settings, images, should_stop=lambda: next(asked, True))


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(tmp_path, images, whole):
    settings = config(machine__checkpoint_minutes=0)
    stopped(tmp_path / PATH, settings, images, 5)
    folder = Run(tmp_path / PATH).checkpoints
    assert checkpoint.saved_steps(folder) == [3, 4]
    damage(checkpoint.step_path(folder, 4))
    happened = fit(tmp_path / PATH, settings, images)
    assert any("step-00000004" in event.message and "damaged" in event.message for event in of(events.Warned, happened))
    assert of(events.Started, happened)[0].step == 3
    assert happened[-1].summary.weights_sha256 == weights(whole[0])
    assert log(tmp_path / PATH) == log(whole[0])


def test_a_damaged_newer_checkpoint_does_not_displace_the_sound_one(tmp_path, images):
    """Found by thought: with one checkpoint kept, the damaged one was it, and the step just saved was deleted."""
    settings = config(machine__checkpoint_minutes=0, machine__keep_checkpoints=1)
    stopped(tmp_path / PATH, settings, images, 3)
    folder = Run(tmp_path / PATH).checkpoints
    checkpoint.step_path(folder, 6).write_bytes(b"damaged")
    stopped(tmp_path / PATH, settings, images, 1)
    assert 3 in checkpoint.saved_steps(folder)
    assert of(events.Started, fit(tmp_path / PATH, settings, images))[0].step == 3


def test_without_any_sound_checkpoint_nothing_is_trained_over_them(tmp_path, images):
    settings = config(machine__checkpoint_minutes=0)
    stopped(tmp_path / PATH, settings, images, 5)
    folder = Run(tmp_path / PATH).checkpoints
    for step in checkpoint.saved_steps(folder):
        damage(checkpoint.step_path(folder, step))
    before = tree(folder)
    with pytest.raises(RunError, match="no checkpoint can be used") as caught:
        fit(tmp_path / PATH, settings, images)
    assert "fresh=True" in caught.value.hint
    assert tree(folder) == before


def test_a_training_that_saves_fewer_epochs_loses_more_to_a_kill_and_ends_the_same(tmp_path, images):
    every = fit(tmp_path / "every", config(train__epochs=5), images)[-1].summary
    rarely, run = (
        config(train__epochs=5, machine__checkpoint_epochs=2, machine__keep_checkpoints=9),
        Run(tmp_path / PATH),
    )
    coming = fit_events(rarely, images, run)
    while not isinstance(next(coming), events.EpochDone):
        pass
    assert not run.model_path.exists()
    assert checkpoint.saved_steps(run.checkpoints) == []
    for event in coming:
        if isinstance(event, events.EpochDone) and event.epoch == 3:
            break
    coming.close()  # as if it were killed
    run.reports.mkdir()
    (run.reports / "evaluate-test.json").write_text("{}", encoding="utf-8")
    assert checkpoint.saved_steps(run.checkpoints) == [6]
    happened = fit(run.path, rarely, images)
    assert of(events.Started, happened)[0].step == 6
    assert checkpoint.saved_steps(run.checkpoints) == [6, 12, 15]
    assert happened[-1].summary.weights_sha256 == every.weights_sha256 == runs.load(run, device="cpu").weights_sha256
    assert log(run.path) == log(tmp_path / "every")
    assert not (run.reports / "evaluate-test.json").exists()  # of weights that were replaced


@pytest.mark.parametrize("change", [{"optim__lr": 0.01}, {"head__vectors": "gaussian"}, {"train__epochs": 3}])
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, images, change):
    stopped(tmp_path / PATH, config(), images, 3)
    other = config(**change)
    with pytest.raises(RunError, match="no checkpoint can be used"):
        fit(tmp_path / PATH, other, images)


def test_fragments_of_killed_writers_are_swept_up(tmp_path, images):
    run = Run(tmp_path / PATH)
    run.checkpoints.mkdir(parents=True)
    fragments = [run.path / ".config.json.abc.tmp", run.checkpoints / ".step-00000009.safetensors.abc.tmp"]
    fragments += [run.path / ".tmpAbCdEf", run.checkpoints / ".tmpAbCdEf"]  # as safetensors names them
    for fragment in fragments:
        fragment.write_bytes(b"half")
    fit(run.path, config(), images)
    assert not any(fragment.exists() for fragment in fragments)


def test_a_stop_before_the_first_step_and_in_the_last_evaluation_are_stops_too(tmp_path, images):
    assert isinstance(stopped(tmp_path / PATH, config(), images, 0)[-1], events.Stopped)
    # 6 steps and 2 validations are asked about, then the evaluation of the test split.
    happened = stopped(tmp_path / PATH, config(), images, 8)
    assert isinstance(happened[-1], events.Stopped)
    assert [event.epoch for event in of(events.EpochDone, happened)] == [1, 2]
    assert isinstance(fit(tmp_path / PATH, config(), images)[-1], events.Finished)


def test_a_folder_can_be_trained_by_one_process_at_a_time(tmp_path, images):
    first = fit_events(config(), images, Run(tmp_path / PATH))
    next(first)
    with pytest.raises(RunError, match="being trained by another process"):
        fit(tmp_path / PATH, config(), images)
    first.close()
    assert isinstance(fit(tmp_path / PATH, config(), images)[-1], events.Finished)


def test_a_full_disk_ends_the_training_and_the_older_checkpoint_resumes(tmp_path, images, whole, monkeypatch):
    settings = config(machine__checkpoint_minutes=0)
    write = checkpoint.save_file

    def full(tensors, path, metadata):
        if "step-00000004" in str(path):
            raise OSError(28, "No space left on device")
        write(tensors, path, metadata)

    with monkeypatch.context() as patch, pytest.raises(RunError, match="No space left on device"):
        patch.setattr(checkpoint, "save_file", full)
        fit(tmp_path / PATH, settings, images)
    assert checkpoint.saved_steps(Run(tmp_path / PATH).checkpoints) == [2, 3]
    assert fit(tmp_path / PATH, settings, images)[-1].summary.weights_sha256 == weights(whole[0])


def test_what_cannot_be_built_leaves_no_folder(tmp_path, images):
    for change in ({"head__vectors": "nonsense"}, {"backbone__name": "nonsense"}, {"head__normaliser": "nonsense"}):
        with pytest.raises(UsageError, match="unknown"):
            fit(tmp_path / PATH, config(**change), images)
    assert list(tmp_path.iterdir()) == []


# What a configuration comes to on its images


def test_sizes_and_variation_follow_the_images_unless_they_are_set(images):
    found = resolve_settings(config(), images)
    assert (found.image_size, found.crop_padding, found.flip, found.cutout) == (8, 1, False, 0)
    assert found.images == {"train": 40, "val": 20, "test": 20}
    found = resolve_settings(config(data__crop_padding=3, data__flip=True, data__cutout=0.25), images)
    assert (found.crop_padding, found.flip, found.cutout) == (3, True, 2)
    assert resolve_settings(config(data__cutout=0.9), images).cutout == 7  # never the whole image


def test_normalisation_is_of_the_training_images_of_pretrained_weights_or_half(images):
    pixels = next(images.splits["train"].images.batches(torch.arange(40), 40)).double() / 255
    found = resolve_settings(config(), images)
    assert found.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), rel=1e-6)
    assert found.std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-6)
    assert resolve_settings(config(data__normalise="half"), images).mean == (0.5,) * 3
    assert resolve_settings(config(backbone__pretrained=True), images).mean[0] == 0.485


def test_one_class_is_refused(images):
    single = Dataset("single", ("cat",), images.splits, 8)
    with pytest.raises(UsageError, match="1 class"):
        resolve_settings(config(), single)


def test_images_of_one_value_can_be_normalised():
    split = Split(TensorImages(torch.full((4, 3, 8, 8), 7, dtype=torch.uint8), torch.arange(4)), torch.arange(4) % 2)
    flat = Dataset("flat", ("a", "b"), {"train": split, "val": split, "test": split}, 8)
    assert all(value > 0 for value in resolve_settings(config(), flat).std)
    assert datasets.channel_statistics(split.images)[0].tolist() == pytest.approx([7 / 255] * 3)
