"""What a training is for: the labels the loss sees and the figures that judge, and training on from another run."""

from pathlib import Path

import pytest
import tiny
import torch
from sklearn.neighbors import KNeighborsClassifier

from randhead import model as models
from randhead import runs
from randhead.config.resolved import ResolvedSettings
from randhead.errors import RunError, UsageError
from randhead.evaluation import features
from randhead.train import tasks
from randhead.train.warm_start import init_from_run


@pytest.fixture(scope="module")
def instance_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("instance") / "run"
    config = tiny.config(data__labels="instance", head__scoring="cosine", head__neck="linear")
    tiny.fit(folder, config, tiny.digits())
    return folder


def test_every_training_image_is_a_class_of_its_own(instance_run):
    loaded = runs.load(str(instance_run))
    assert loaded.model.head.num_classes == 40
    assert loaded.class_names == tuple("0123456789")
    task = tasks.of(loaded.config, tiny.digits())
    assert task.labels.equal(torch.arange(40))


def test_instance_runs_are_judged_by_scikit_learns_nearest_neighbours(instance_run):
    loaded, images = runs.load(str(instance_run)), tiny.digits()
    found = tasks.of(loaded.config, images).evaluate(loaded.model, "test", loaded.preprocess)
    embedded = {
        name: torch.nn.functional.normalize(features.embeddings(loaded.model, split, loaded.preprocess), dim=1).numpy()
        for name, split in images.splits.items()
    }
    labels = {name: split.labels.numpy() for name, split in images.splits.items()}
    judge = KNeighborsClassifier(1).fit(embedded["train"], labels["train"])
    assert found.knn_1 == pytest.approx(judge.score(embedded["test"], labels["test"]))
    assert (found.n, found.to_json()["nll"], found.to_json()["ece"]) == (20, None, None)
    assert found.to_json() == runs.Run(instance_run).summary().test


def test_labels_never_seen_in_training_decide_nothing_but_the_judgement(tmp_path, instance_run):
    images = tiny.digits()
    images.splits["train"].labels[:] = 0
    config = tiny.config(data__labels="instance", head__scoring="cosine", head__neck="linear")
    tiny.fit(tmp_path / "other", config, images)
    losses = [[line["train_loss"] for line in tiny.log(folder)] for folder in (instance_run, tmp_path / "other")]
    assert losses[0] == losses[1]


def test_commands_that_need_classes_refuse_an_instance_run(instance_run):
    with pytest.raises(UsageError, match="one class vector per training image"):
        runs.load(str(instance_run)).require_classes()


def test_instance_labels_cannot_be_keyed_by_name():
    with pytest.raises(UsageError, match="no names"):
        tasks.of(tiny.config(data__labels="instance", head__class_keys="name"), tiny.digits())


def initial(names, **changes):
    """A model before training, for these classes."""
    settings = ResolvedSettings(tuple(names), len(names), 8, mean=(0.5,) * 3, std=(0.5,) * 3)
    return models.from_config(tiny.config(**changes), settings)


@pytest.fixture(scope="module")
def old_runs(tmp_path_factory):
    """Runs with vectors keyed by the names of their classes: fixed ones and learned ones."""
    folder, found = tmp_path_factory.mktemp("old"), {}
    for learned in (False, True):
        found[learned] = folder / str(learned)
        tiny.fit(found[learned], tiny.config(head__class_keys="name", head__trainable=learned), tiny.digits())
    return found


@pytest.mark.parametrize("learned", [False, True])
def test_training_on_leaves_the_vectors_of_old_classes_where_they_were(old_runs, learned):
    images, old = tiny.digits(), runs.load(str(old_runs[learned]))
    names = ("new", *reversed(images.class_names))
    changes = {"head__class_keys": "name", "head__trainable": learned}
    model = initial(names, **changes)
    init_from_run(model, names, old, tiny.config(**changes))
    moved = model.head.class_vectors()[1:].flip(0)
    assert moved.equal(old.model.head.class_vectors())
    ours, theirs = model.backbone.state_dict(), old.model.backbone.state_dict()
    assert all(ours[name].equal(theirs[name]) for name in theirs)


def test_training_on_is_refused_where_a_vector_would_move(tmp_path):
    images = tiny.digits()
    tiny.fit(tmp_path / "old", tiny.config(), images)
    old = runs.load(str(tmp_path / "old"))
    names = tuple(reversed(images.class_names))
    model = initial(names)
    with pytest.raises(UsageError, match="would get another vector"):
        init_from_run(model, names, old, tiny.config())
    other = initial(names, backbone__name="resnet18")
    with pytest.raises(RunError, match="encoder"):
        init_from_run(other, names, old, tiny.config(backbone__name="resnet18"))


def loaded(names, **changes):
    """A run that is not trained, for these classes."""
    model, config, found = initial(names, **changes), tiny.config(**changes), runs.SelectedEpoch(1, 0.5)
    return runs.LoadedRun(runs.Run(Path("old")), config, model, None, tuple(names), 8, found, "")


@pytest.mark.parametrize("learned", [False, True])
def test_a_new_class_never_starts_where_a_known_one_does(learned):
    """Drawn by index, `fox` would start with the vector that `dog` has from the run."""
    old = loaded(("cat", "dog", "owl"), head__trainable=learned)
    if learned:
        with torch.no_grad():
            old.model.head.vectors += 0.05 * torch.randn_like(old.model.head.vectors)
    names = ("dog", "fox", "owl", "cat", "bee")
    model = initial(names, head__trainable=True)
    drawn = model.head.draw()
    init_from_run(model, names, old, tiny.config(head__trainable=True))
    assert model.head.vectors[[3, 0, 2]].equal(old.model.head.class_vectors())
    assert model.head.vectors[4].equal(drawn[4])  # it was free
    assert model.head.vectors[1].equal(drawn[3])


def test_the_settings_of_a_run_are_not_the_way_out_if_its_vectors_would_move_with_them_too():
    old, names = loaded(("cat", "dog")), ("bee", "cat", "dog")
    for keys in ("index", "name"):
        with pytest.raises(UsageError, match="2 classes of old would get another vector") as caught:
            init_from_run(initial(names, head__class_keys=keys), names, old, tiny.config(head__class_keys=keys))
        hint = 'train old again with `class_keys="name"`, and use that here too; or use `trainable=True`'
        assert caught.value.hint == hint


def test_training_on_starts_from_what_was_learned(tmp_path, old_runs):
    old = old_runs[False]
    config = tiny.config(head__class_keys="name", train__start_from=str(old), train__epochs=1)
    tiny.fit(tmp_path / "new", config, tiny.digits())
    first = tiny.log(tmp_path / "new")[0]["train_loss"]
    assert first < tiny.log(old)[0]["train_loss"]
