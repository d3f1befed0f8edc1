"""randhead analyze: what it prints and writes, that figures are those of the images, and what it refuses."""

import json
import math
import re

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import config, image_folder
from trained import NAMES, command, train

from randhead import datasets, evaluation, intervals, metrics, registry, runs
from randhead.analyses import (
    Findings,
    class_statistics,
    collapse,
    compactness,
    compatibility,
    separability,
    similarity,
    transfer,
)
from randhead.config import parse
from randhead.datasets import Split, TensorImages
from randhead.errors import DataError, StopRequested, UsageError
from randhead.evaluation import class_similarity, comparison, feature_cache, measuring
from randhead.evaluation.inputs import AnalysisOptions, JointInputs, NewClassInputs, RunInputs
from randhead.evaluation.session import AnalysisSession
from randhead.runs import checkpoint

pytestmark = pytest.mark.usefixtures("few_permutations")
OF_ONE_RUN = ("separability", "compactness", "similarity", "collapse", "dynamics")


@pytest.fixture
def analyze(capsys, monkeypatch, root, no_pictures):
    """The command without its pictures, on the runs of the study: code, JSON document, stderr."""
    monkeypatch.setattr("randhead.report.draw", lambda *arguments, **options: [])

    def call(*words, place=root):
        code, out, err = command(capsys, "analyze", *words, "--runs", place, "--json")
        return code, json.loads(out) if code == 0 else out, err

    return call


def one_run(root, name, **options):
    session = AnalysisSession(root=root, device="cpu")
    return RunInputs(session, session.run(name), AnalysisOptions(**options))


def naive(run, split="test"):
    """Features, logits and labels, an image at a time."""
    images, labels = run.dataset.splits[split].images, run.dataset.splits[split].labels
    model, preprocess = run.loaded.model, run.loaded.preprocess
    with torch.no_grad():
        rows = [model.embed(preprocess.prepare(batch)) for batch in images.batches(torch.arange(len(images)), 1)]
        features = torch.cat(rows)
        return features, model.head.score(features), labels


@pytest.mark.parametrize("name", OF_ONE_RUN)
@pytest.mark.usefixtures("no_pictures")
def test_an_analysis_prints_its_figures_and_writes_json_and_pictures(capsys, monkeypatch, root, name):
    code, out, _ = command(capsys, "analyze", name, "fixed0", "--runs", root, "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["run"], document["split"]) == ("fixed0", "test")
    assert document[name]
    reports = root / "fixed0" / "reports"
    assert json.loads((reports / f"analyze-{name}-test.json").read_text()) == document
    pictures = list(reports.glob(f"analyze-{name}-test-*.png"))
    assert pictures
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_every_headline_of_a_built_in_analysis_has_a_name_and_a_definition():
    for name in registry.builtin_names("analyses"):
        module = registry.load("analyses", name)
        for key in module.HEADLINES:
            about = measuring.metric(name, key)
            assert about == module.METRICS[key]
            assert about.definition and about.name and "_" not in about.name, key
            assert len(about.title) <= 44, about.title
        titles = [about.title for about in module.METRICS.values()]
        assert len(set(titles)) == len(titles), name
    assert measuring.metric("collapse", "train_nc1").title == "NC1, variability, training \u2193"
    assert measuring.metric("newcomer", "some_figure").title == "some figure"


def test_without_a_run_the_latest_is_analyzed(analyze, root):
    runs.set_last(runs.Run(root / "learned0"))
    assert analyze("separability")[1]["run"] == "learned0"


def test_a_table_for_a_person_names_split_and_n(capsys, monkeypatch, root):
    code, out, _ = command(capsys, "analyze", "compactness", "fixed0", "--split", "train", "--runs", root)
    assert code == 0
    assert out.startswith("fixed0\n\ncompactness: train split of data, n = 56\n")
    assert "cosine to class mean" in out
    assert "picture" in out


def test_figures_are_those_of_features_extracted_one_image_at_a_time(analyze, root):
    run = one_run(root, "learned0")
    (features, logits, labels), vectors = naive(run), run.loaded.model.head.class_vectors().detach()
    train_features, _, train_labels = naive(run, "train")
    options = {"num_classes": 4, "class_vectors": vectors}
    expected = {
        "separability": separability.measure(features, labels, **options),
        "compactness": compactness.measure(features, labels, **options, predictions=logits.argmax(dim=1)),
        "collapse": collapse.measure(
            features,
            labels,
            class_vectors=vectors,
            train=class_statistics(train_features, train_labels, num_classes=4),
        ),
    }
    for name, findings in expected.items():
        found = analyze(name, "learned0")[1][name]
        for figure, value in findings.metrics.items():
            assert found[figure] == pytest.approx(value, rel=1e-4, abs=1e-4), figure
    on_train = collapse.measure(train_features, train_labels, class_vectors=vectors)
    assert analyze("collapse", "learned0")[1]["collapse"]["train_nc1"] == pytest.approx(
        on_train.metrics["nc1"], rel=1e-3
    )


@pytest.mark.slow
def test_the_arguments_of_a_head_are_those_its_logits_were_made_with(tmp_path, root):
    data = root.parent / "data"
    train(
        tmp_path, "cosine", data, head__scoring="cosine", head__trainable=True, head__bias=0.5, head__learn_scale=True
    )
    train(tmp_path, "dot", data, head__scale=3.0, head__bias=-0.25)
    for name in ("cosine", "dot"):
        run = one_run(tmp_path, name)
        features = torch.nn.functional.normalize(run.features) if run.scoring == "cosine" else run.features
        logits = naive(run)[1]
        assert torch.allclose(run.scale * features @ run.class_vectors.T + run.bias, logits, atol=1e-4)
        assert torch.equal(run.predictions, logits.argmax(dim=1))
        assert run.accuracy == metrics.accuracy(run.predictions, run.labels)
    assert one_run(root, "fixed0").bias is None


def test_features_are_extracted_once_and_kept(analyze, root, monkeypatch):
    first = analyze("separability", "fixed0")[1]
    assert list((root / "fixed0" / "features").glob("data-test-*.safetensors"))
    monkeypatch.setattr(feature_cache, "extract", lambda *a, **k: pytest.fail("extracted again"))
    assert analyze("separability", "fixed0")[1] == first


def test_damaged_features_are_extracted_anew_with_a_warning(analyze, root):
    first = analyze("separability", "fixed0")[1]
    [path] = (root / "fixed0" / "features").glob("data-test-*.safetensors")
    content = path.read_bytes()
    for damage in (content[: len(content) // 2], content[:-1] + bytes([content[-1] ^ 1]), b""):
        path.write_bytes(damage)
        code, document, err = analyze("separability", "fixed0")
        assert code == 0
        assert document == first
        assert "extracted again" in err
        assert checkpoint.load(path)[0]["features"].shape == (8, 32)


@pytest.mark.slow
def test_features_of_other_weights_or_other_images_are_never_used(tmp_path, root):
    data = image_folder(tmp_path / "data", classes=NAMES, images=20)
    train(tmp_path, "run", data)
    run = one_run(tmp_path, "run")
    before, old = run.features, feature_cache.file_of(run.loaded, run.dataset, "test")
    assert old.exists()
    stolen, document = checkpoint.load(feature_cache.file_of(run.loaded, run.dataset, "test"))
    image_folder(data, classes=reversed(NAMES), images=20)  # the same files with other colours
    changed = one_run(tmp_path, "run")
    with pytest.warns(UserWarning, match="has changed since run was trained"):
        assert feature_cache.file_of(changed.loaded, changed.dataset, "test") == old
    assert not torch.equal(changed.features, before)
    assert torch.allclose(changed.features, naive(changed)[0], atol=1e-5)
    for file in ("summary.json", "model.safetensors", "metrics.jsonl"):
        (tmp_path / "run" / file).unlink()
    for file in (tmp_path / "run" / "checkpoints").iterdir():
        file.unlink()
    (tmp_path / "run" / "config.json").unlink()
    train(tmp_path, "run", data, train__seed=5)
    other = one_run(tmp_path, "run")
    new = feature_cache.file_of(other.loaded, other.dataset, "test")
    checkpoint.save(new, stolen, document)  # the old file under the new name
    assert torch.allclose(other.features, naive(other)[0], atol=1e-5)
    assert new.exists()
    assert not old.exists()


def test_a_folder_that_cannot_be_written_to_is_worked_without(root, monkeypatch):
    run, warnings = one_run(root, "fixed1"), []
    monkeypatch.setattr(runs.Run, "features", property(lambda self: self.config_path / "features"))
    found = feature_cache.features(run.loaded, run.dataset, "test", warn=warnings.append)
    assert torch.allclose(found.features, naive(run)[0], atol=1e-5)
    assert "features are not kept" in warnings[0]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("separabilty", "fixed0"), 2, "did you mean 'separability'?"),
        (("separability", "fixed0", "--split", "tset"), 2, "did you mean 'test'?"),
        (("separability", "fixed0", "fixed0"), 2, "given twice"),
        (("separability", "nobody"), 4, "there is no run nobody"),
        (("transfer", "fixed0"), 2, "--hold-out-classes"),
        (("compatibility", "fixed0"), 2, "compatibility needs two runs or more"),
        (("seeds", "fixed0", "learned0"), 2, "give runs of one arm only (here: fixed; learned)"),
        (("seeds", "fixed0", "fixed1"), 3, "at least 2 head seeds"),
        (("similarity", "fixed0", "--reference", "fixed0"), 2, "its own reference"),
        (("similarity", "fixed0", "--taxonomy", "nowhere.txt"), 2, "nowhere.txt: No such file"),
    ],
)
def test_what_cannot_be_analyzed_is_said_with_its_code(analyze, words, code, message):
    found, _, err = analyze(*words)
    assert found == code, err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": None}, "name must be the name of one analysis, got None"),
        ({"name": ["separability", "collapse"]}, "name must be the name of one analysis"),
        ({"device": "gpu"}, "device: unknown value 'gpu'"),
        ({"runs": []}, "runs is empty"),
        ({"runs": ()}, "runs is empty"),
        ({"taxonomy": 3}, "taxonomy must be a path, got 3"),
        ({"warn": 3}, "warn must be a function, got 3"),
        *(({"seed": seed}, "seed must be") for seed in (1.5, -1, "a", math.nan)),
    ],
)
def test_an_argument_of_another_type_is_named(root, arguments, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        evaluation.analyze(**{"name": "separability", "runs": "fixed0", "root": root} | arguments)


@pytest.mark.slow
def test_images_or_runs_of_other_classes_are_refused(analyze, root, tmp_path):
    other = image_folder(tmp_path / "other", classes=("gnu", "hen"), images=10)
    train(root, "strange", other)
    for message, *words in (
        ("other classes", "separability", "fixed0", "--data", other),
        ("different classes", "compatibility", "fixed0", "strange"),
        ("different classes", "similarity", "fixed0", "--reference", "strange"),
    ):
        code, _, err = analyze(*words)
        assert code == 3
        assert message in err


@pytest.mark.slow
def test_two_classes_can_be_analyzed(analyze, tmp_path):
    data = image_folder(tmp_path / "data", classes=("left", "right"), images=20)
    train(tmp_path / "runs", "two", data)
    code, document, _ = analyze("all", "two", place=tmp_path / "runs")
    assert code == 0
    assert document["separability"]["mean_angle_deg"] > 0
    assert document["similarity"]["vectors_pixels"] is None
    assert set(document["not_applicable"]) == {"transfer", "compatibility", "seeds"}
    assert "no power" in " ".join(document["notes"]["similarity"])


def test_several_runs_are_compared_in_pairs_of_equal_seeds(analyze):
    names = ("learned1", "fixed0", "learned0", "fixed1")
    document = analyze("compactness", *names)[1]
    assert [run["run"] for run in document["runs"]] == list(names)
    value = {run["run"]: run["compactness"]["cosine_to_class_mean"] for run in document["runs"]}
    [arm] = document["comparison"]["compactness"]["differences"]
    assert (arm["arm"], arm["minus"], arm["pairs"]) == ("fixed", "learned", 2)
    found = arm["figures"]["cosine_to_class_mean"]
    test = stats.ttest_rel([value["fixed0"], value["fixed1"]], [value["learned0"], value["learned1"]])
    assert found["interval"] == pytest.approx(list(test.confidence_interval(0.95)))
    assert found["difference"] == pytest.approx(sum(found["interval"]) / 2)


def test_a_single_pair_has_a_difference_and_no_interval(analyze):
    document = analyze("compactness", "fixed0", "learned0")[1]
    found = document["comparison"]["compactness"]
    assert found["differences"][0]["figures"]["cdnv"]["interval"] is None
    assert found["differences"][0]["figures"]["cdnv"]["n"] == 1
    assert found["notes"] == ["no interval over seeds: only one pair of learned and fixed runs has the same seeds"]


@pytest.mark.parametrize("pairs", [1, 2, 7])
def test_intervals_are_students_t_over_pairs(pairs):
    random = np.random.default_rng(pairs)
    ours, theirs = random.normal(size=(2, pairs))
    configs = [config(head__trainable=arm, train__seed=seed) for arm in (False, True) for seed in range(pairs)]
    figures = [{"x": float(value), "word": "so", "none": None} for value in (*ours, *theirs)]
    found = comparison.compare(configs, figures).to_json()
    [arm] = found["differences"]
    assert set(arm["figures"]) == {"x"}
    assert arm["figures"]["x"]["difference"] == pytest.approx((theirs - ours).mean())
    if pairs > 1:
        expected = stats.ttest_1samp(theirs - ours, 0).confidence_interval(0.95)
        assert arm["figures"]["x"]["interval"] == pytest.approx(list(expected))
        mean = found["arms"][1]["figures"]["x"]
        assert mean["interval"] == pytest.approx(list(stats.ttest_1samp(theirs, 0).confidence_interval(0.95)))


def test_runs_without_a_common_seed_make_no_pair():
    configs = [config(train__seed=0), config(train__seed=1, head__scoring="cosine")]
    found = comparison.compare(configs, [{"x": 1.0}, {"x": 2.0}]).to_json()
    assert found["differences"][0]["pairs"] == 0
    assert found["differences"][0]["figures"] == {}
    assert "no two runs share their seeds" in found["notes"][0]


def test_an_arm_is_the_runs_that_differ_in_seeds_and_machine_only():
    configs = [config(train__seed=0), config(train__head_seed=4, machine__workers=3), config(optim__lr=0.2)]
    assert [(arm.label, arm.indices) for arm in comparison.arms(configs)] == [("lr=0.05", (0, 1)), ("lr=0.2", (2,))]


def test_arms_are_called_by_what_distinguishes_them():
    def labels(*configs):
        return [arm.label for arm in comparison.arms(list(configs))]

    assert labels(config()) == ["fixed"]
    assert labels(config(), config(head__trainable=True)) == ["fixed", "learned"]
    four = [config(head__trainable=t, head__scoring=s) for t in (False, True) for s in ("dot", "cosine")]
    assert labels(*four) == ["fixed, dot", "fixed, cosine", "learned, dot", "learned, cosine"]
    assert labels(config(), config(optim__lr=0.2, head__trainable=True)) == ["fixed, lr=0.05", "learned, lr=0.2"]
    many = {"head__trainable": True, "head__vectors": "simplex", "head__scoring": "cosine"}
    changed = [many, many | {"optim__lr": 0.2}, many | {"optim__lr": 0.3}]
    assert labels(config(), *(config(**each) for each in changed)) == [
        "fixed, uniform, dot, lr=0.05",
        *(f"learned, simplex, cosine, lr={lr}" for lr in (0.05, 0.2, 0.3)),
    ]


def test_the_accuracy_is_the_first_row_and_a_single_pair_has_an_interval_over_images(analyze, root):
    pair = [one_run(root, name) for name in ("fixed0", "learned0")]
    right = [run.predictions == run.labels for run in pair]
    first, second = (int((a & ~b).sum()) for a, b in (right, right[::-1]))
    document = analyze("compactness", "fixed0", "learned0")[1]
    assert [run["accuracy"] for run in document["runs"]] == [float(r.double().mean()) for r in right]
    found = document["comparison"]["accuracy"]["differences"][0]["figures"]["accuracy"]
    expected = intervals.paired(second, first, len(right[0]))
    assert (found["interval"], found["method"]) == ([expected.low, expected.high], "mcnemar")
    each = document["comparison"]["accuracy"]["arms"][1]["figures"]["accuracy"]
    expected = intervals.wilson(int(right[1].sum()), len(right[1]))
    assert each["interval"] == [expected.low, expected.high]
    for names in (["fixed0"], ["fixed0", "learned0"]):
        tables = list(evaluation.analyze("compactness", names, root=root, device="cpu").tables())
        body = next(table for table in tables if table.title.startswith("compactness"))
        assert body.rows[0][0] == "test accuracy (%) \u2191"
    assert "accuracy" not in analyze("dynamics", "fixed0")[1]  # its images are not read


def test_the_baseline_is_a_run_an_arm_or_the_first(analyze, root):
    names = ("fixed1", "learned1")
    for words, minus in (
        ((), "fixed"),
        (("--baseline", "learned"), "learned"),
        (("--baseline", "learned1"), "learned"),
        (("--baseline", root / "fixed1"), "fixed"),
    ):
        found = analyze("compactness", *names, *words)[1]["comparison"]["compactness"]
        assert {each["minus"] for each in found["differences"]} == {minus}
        assert found["arms"][0]["arm"] == minus
    code, _, err = analyze("compactness", "fixed0", "fixed1", "--baseline", "learned0")
    assert code == 2 and "none of the runs" in err and "fixed" in err


def test_metrics_are_explained_without_a_run(capsys):
    code, out, _ = command(capsys, "analyze", "compactness", "--explain", "--json")
    assert code == 0
    assert json.loads(out)["compactness"]["cdnv"]["better"] == "lower"
    out = command(capsys, "analyze", "all", "--explain")[1]
    assert "silhouette" in out and "NC1" in out


def test_a_long_analysis_says_how_far_it_is_and_stops_within(root):
    seen = []
    options = {"root": root, "device": "cpu", "measuring": lambda *counts: seen.append(counts)}
    evaluation.analyze("similarity", "fixed0", **options)
    assert seen == [(done, 19) for done in range(20)]
    with pytest.raises(StopRequested):
        evaluation.analyze("similarity", "fixed0", **options, should_stop=lambda: len(seen) > 30)
    assert len(seen) == 31


@pytest.mark.slow
def test_compatibility_tells_runs_that_share_their_vectors_from_others(analyze, root):
    train(root, "redrawn", root.parent / "data", train__head_seed=1)
    names = ("fixed0", "fixed1", "learned0", "redrawn")
    document = analyze("compatibility", *names)[1]
    assert [run["run"] for run in document["runs"]] == list(names)
    found = document["compatibility"]
    members = [one_run(root, name) for name in names]
    matrix = compatibility.measure([run.features for run in members], members[0].labels).arrays["map_at_r"]
    assert found["map_at_r_across_shared"] == pytest.approx(float(matrix[1, 0]))
    assert found["map_at_r_across_start"] == pytest.approx(float(matrix[2, :2].mean()))
    assert found["map_at_r_across_other"] == pytest.approx(float(matrix[3, :3].mean()))


@pytest.mark.slow
def test_the_variance_between_runs_is_shared_out_to_seeds(analyze, root, tmp_path):
    for seed in (0, 1):
        for head_seed in (0, 1):
            train(tmp_path, f"r{seed}{head_seed}", root.parent / "data", train__seed=seed, train__head_seed=head_seed)
    names = [f"r{seed}{head_seed}" for seed in (0, 1) for head_seed in (0, 1)]
    document = analyze("seeds", *names, place=tmp_path)[1]
    accuracies = [one_run(tmp_path, name).accuracy for name in names]
    assert document["seeds"]["accuracy_mean"] == pytest.approx(np.mean(accuracies))
    assert document["seeds"]["class_separation_r2_std"] > 0
    members = [one_run(tmp_path, name) for name in names]
    assert JointInputs(members).head_seeds.tolist() == [0, 1, 0, 1]
    assert JointInputs(members).seeds.tolist() == [0, 0, 1, 1]


def test_similarity_meets_pixels_a_reference_run_and_a_taxonomy(analyze, root, tmp_path):
    (tmp_path / "tree.txt").write_text("cat: mammal/pet\ndog: mammal/pet\nfox: mammal\neel: fish\nowl: bird\n")
    words = ("similarity", "fixed0", "--reference", "learned0", "--taxonomy", tmp_path / "tree.txt")
    figures = analyze(*words)[1]["similarity"]
    run, other = one_run(root, "fixed0"), one_run(root, "learned0")
    images, labels = run.dataset.splits["train"].images, run.dataset.splits["train"].labels
    pixels = next(images.batches(torch.arange(len(images)), len(images))).double().flatten(1)
    features, logits, truth = naive(other)
    counts = torch.zeros(4, 4)
    for y, answer in zip(truth.tolist(), logits.argmax(dim=1).tolist(), strict=True):
        counts[y, answer] += 1
    tree = [["mammal", "pet"], ["mammal", "pet"], ["fish"], ["mammal"]]
    expected = {
        "pixels": similarity.cosines(torch.stack([pixels[labels == k].mean(dim=0) for k in range(4)])),
        "reference_means": similarity.cosines(torch.stack([features[truth == k].mean(dim=0) for k in range(4)])),
        "reference_confusion": similarity.symmetrised(counts),
        "taxonomy": similarity.common_ancestry(tree),
    }
    for name, matrix in expected.items():
        rho = stats.spearmanr(*[m[np.triu_indices(4, 1)] for m in (similarity.cosines(run.class_vectors), matrix)])[0]
        assert (figures[f"vectors_{name}"] or 0) == pytest.approx(np.nan_to_num(rho), abs=1e-9), name


def test_a_taxonomy_file_is_a_matrix_or_paths(tmp_path):
    matrix = torch.tensor([[1, 0.5], [0.5, 1]], dtype=torch.float64)
    np.save(tmp_path / "m.npy", matrix.numpy())
    (tmp_path / "m.csv").write_text("1,0.5\n0.5,1\n")
    (tmp_path / "m.txt").write_text("b: x/y\n\na: x\n")
    for name in ("m.npy", "m.csv"):
        assert torch.equal(class_similarity.read(tmp_path / name, ("a", "b"))(torch.arange(2)), matrix)
        assert class_similarity.read(tmp_path / name, ("a", "b"))(torch.tensor([1])).tolist() == [[1]]
    assert class_similarity.read(tmp_path / "m.txt", ("a", "b"))(torch.arange(2))[0, 1] == pytest.approx(2 / 3)
    (tmp_path / "m.txt").write_text("b: x/y\n\ncafe\u0301: x\n")
    assert class_similarity.read(tmp_path / "m.txt", ("caf\u00e9", "b"))(torch.arange(2))[0, 1] == pytest.approx(2 / 3)
    wrong = {
        "three.csv": ("1,2,3\n", "must be"),
        "words.csv": ("a,b\n", "cannot be read"),
        "empty.npy": ("", "cannot be read"),
        "short.txt": ("a: x\n", "no line for class 'b'"),
        "twice.txt": ("a: x\na: y\n", "names 'a' again"),
        "bare.txt": ("a x\n", "line 1 is not a class and its path"),
    }
    for name, (content, message) in wrong.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(UsageError, match=message):
            class_similarity.read(tmp_path / name, ("a", "b"))


@pytest.mark.slow
def test_held_out_classes_are_left_out_of_training_and_searched_by_transfer(analyze, tmp_path):
    data = image_folder(tmp_path / "data", classes=("ant", "bee", "cat", "dog", "eel"), images=20)
    train(tmp_path / "runs", "held", data, data__hold_out_classes="dog, bee")
    run = one_run(tmp_path / "runs", "held")
    assert run.loaded.class_names == ("ant", "cat", "eel")
    assert run.loaded.model.head.num_classes == 3
    assert run.labels.unique().tolist() == [0, 1, 2]
    new = NewClassInputs(run.session, run.loaded, AnalysisOptions())
    assert new.dataset.class_names == ("bee", "dog")
    figures = analyze("transfer", "held", place=tmp_path / "runs")[1]["transfer"]
    queries, gallery = (RunInputs(run.session, run.loaded, AnalysisOptions()) for _ in range(2))
    queries.dataset = gallery.dataset = new.dataset
    (features, _, labels), (train_features, _, train_labels) = naive(queries), naive(gallery, "train")
    expected = transfer.measure(features, labels, train_features=train_features, train_labels=train_labels)
    undefined = {figure for figure, value in expected.metrics.items() if value is None}
    assert {figure for figure in figures if figures[figure] is None} == undefined
    for figure in expected.metrics.keys() - undefined:
        assert figures[figure] == pytest.approx(expected.metrics[figure], abs=1e-3), figure


def test_transfer_takes_another_data_set(analyze, tmp_path):
    other = image_folder(tmp_path / "other", classes=("gnu", "hen", "ibis"), images=20)
    document = analyze("transfer", "fixed0", "--data", other)[1]
    assert document["seen"]["transfer"] == {"data": "other", "split": "test", "n": 6, "classes": 3}
    code, document, err = analyze("all", "fixed0", "--data", other)
    assert "used for transfer, the run's own images for the rest" in err
    assert document["seen"]["transfer"]["data"] == "other"
    assert document["seen"]["separability"]["data"] == "data"
    code, _, err = analyze("transfer", "fixed0", "--data", other, "--split", "train")
    assert (code, "--split test" in err) == (2, True)


def test_a_number_of_classes_is_drawn_by_the_split_seed(root):
    def kept(**changes):
        changed = config(data__name=str(root.parent / "data"), **changes)
        return datasets.from_config(changed).class_names

    two = kept(data__hold_out_classes="2")
    assert len(two) == 2
    assert two == kept(data__hold_out_classes="2", train__seed=9)
    assert len({kept(data__hold_out_classes="2", data__split_seed=seed) for seed in range(8)}) > 2
    whole = datasets.from_config(config(data__name=str(root.parent / "data")))
    part = datasets.from_config(config(data__name=str(root.parent / "data"), data__hold_out_classes="cat,eel"))
    images, labels = whole.splits["val"].images, whole.splits["val"].labels
    expected = torch.cat(list(images.batches(torch.isin(labels, torch.tensor([1, 3])).nonzero().flatten(), 3)))
    found = torch.cat(list(part.splits["val"].images.batches(torch.arange(len(part.splits["val"])), 2)))
    assert torch.equal(found, expected)
    assert part.class_names == ("dog", "fox")


@pytest.mark.parametrize("setting", ["1", "3", "4", "cat", "cat,dog,eel", "0"])
def test_two_classes_or_more_are_needed_on_either_side(root, setting):
    with pytest.raises(UsageError, match=r"data\.hold_out_classes leaves"):
        datasets.from_config(config(data__name=str(root.parent / "data"), data__hold_out_classes=setting))


def test_a_class_to_hold_out_must_be_there(root):
    with pytest.raises(UsageError, match="unknown class to hold out 'cot'") as caught:
        datasets.from_config(config(data__name=str(root.parent / "data"), data__hold_out_classes="cot,eel"))
    assert "did you mean 'cat'?" in caught.value.hint


def test_dynamics_reads_the_log_and_the_kept_checkpoints(analyze, root):
    log = [json.loads(line) for line in (root / "learned0" / "metrics.jsonl").read_text().splitlines()]
    figures = analyze("dynamics", "learned0")[1]["dynamics"]
    assert figures["val_nll_last"] == log[-1]["val_nll"]
    assert figures["grad_norm_vectors_first"] == log[0]["grad_norm_vectors"]
    run = one_run(root, "learned0")
    step = checkpoint.saved_steps(run.loaded.run.checkpoints)[-1]
    tensors, _ = checkpoint.load(checkpoint.step_path(run.loaded.run.checkpoints, step))
    start, end = run.loaded.model.head.draw(), tensors["model/head.vectors"]
    assert figures["class_vector_drift"] == pytest.approx(float((end - start).norm() / start.norm()), rel=1e-6)
    assert "class_vector_drift" not in analyze("dynamics", "fixed0")[1]["dynamics"]


def test_a_newcomer_is_supplied_with_what_it_names(root):
    def measure(features, predictions, *, num_classes, scale, seed=0, tiles=3, bias=None):
        return Findings({"sum": float(features.sum()) + seed, "scale": scale, "tiles": tiles, "bias": bias})

    run = one_run(root, "fixed0", seed=7)
    given = measuring.arguments(measure, run)
    assert set(given) == {"features", "predictions", "num_classes", "scale", "seed"}
    assert given["seed"] == 7
    assert torch.equal(given["predictions"], naive(run)[1].argmax(dim=1))

    def other(weather):
        return Findings({})

    with pytest.raises(UsageError, match="asks for 'weather', which RunInputs does not have"):
        measuring.arguments(other, run)


def test_every_analysis_names_an_input_that_supplies_what_it_requires(root):
    run = one_run(root, "fixed0")
    for name in registry.names("analyses"):
        assert registry.load("analyses", name).INPUT in (*measuring.INPUTS, "runs")
    _, _, refused = measuring.measure_all(registry.names("analyses"), [run], strict=False)
    assert refused.keys() == {
        "transfer",
        "compatibility",
        "seeds",
    }


def test_the_likeness_of_a_class_without_samples_is_refused():
    with pytest.raises(DataError, match="class 1 has no sample"):
        class_similarity.class_means(torch.ones(2, 3), torch.tensor([0, 2]), 3)


def test_mean_images_are_means_of_pixels_whatever_the_counts():
    pixels = torch.randint(0, 256, (7, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, 0, 0, 2, 0, 0])
    found = class_similarity.mean_images(Split(TensorImages(pixels, torch.arange(7)), labels), torch.arange(3))
    for k in (0, 2):
        expected = np.stack([pixels[i].numpy().astype(float) for i in range(7) if labels[i] == k]).mean(axis=0)
        assert np.allclose(found[k].numpy(), expected.ravel())
    assert not found[1].any()
    split = Split(TensorImages(pixels, torch.arange(7)), labels)
    assert torch.equal(class_similarity.mean_images(split, torch.tensor([2])), found[2:])
    with pytest.raises(StopRequested):
        class_similarity.mean_images(split, torch.arange(3), should_stop=lambda: True)


def test_confusions_of_some_classes_are_rates_of_all_their_images():
    labels = torch.arange(60) % 6
    predictions = torch.where(torch.arange(60) % 4 == 0, (labels * 5 + 1) % 6, labels)
    classes = torch.tensor([0, 1, 4])
    whole = similarity.symmetrised(metrics.confusion(labels, predictions, 6))
    assert torch.equal(class_similarity.of_confusions(predictions, labels, classes), whole[classes][:, classes])
    assert torch.equal(class_similarity.of_confusions(predictions, labels, torch.arange(6)), whole)


def test_mean_images_are_read_once_for_several_runs(monkeypatch, root):
    calls, read = [], class_similarity.mean_images
    monkeypatch.setattr(class_similarity, "mean_images", lambda *args, **kw: calls.append(1) or read(*args, **kw))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(similarity.measure.__kwdefaults__, "permutations", 1)
        evaluation.analyze("similarity", ["fixed0", "learned0"], root=root, device="cpu")
    assert len(calls) == 1


def test_holding_out_is_part_of_a_runs_identity():
    assert parse.digest(config()) != parse.digest(config(data__hold_out_classes="2"))


@pytest.mark.slow
def test_a_run_that_tells_images_apart_meets_its_own_classes_as_new_ones(analyze, tmp_path, root):
    train(tmp_path, "instances", root.parent / "data", data__labels="instance")
    assert analyze("transfer", "instances", place=tmp_path)[1]["seen"]["transfer"]["classes"] == 4
    assert analyze("dynamics", "instances", place=tmp_path)[1]["dynamics"]["chance_loss"] == pytest.approx(np.log(56))
    code, _, err = analyze("separability", "instances", place=tmp_path)
    assert (code, "analyze transfer" in err) == (2, True)


@pytest.mark.parametrize("names", [("fixed0",), ("fixed0", "learned0", "fixed1", "learned1")])
def test_the_command_and_the_function_give_the_same_document(analyze, root, names):
    found = evaluation.analyze("compactness", names, root=root, device="cpu", seed=3)
    assert analyze("compactness", *names, "--seed", "3")[1] == found.to_json()
    assert json.loads(found.save(runs.Run(root / "fixed0")).read_text()) == found.to_json()


def test_a_notebook_shows_an_analysis_as_tables(root):
    shown = evaluation.analyze("compactness", ["fixed0", "learned0"], root=root, device="cpu")._repr_html_()
    for words in (
        "compactness: test split of data, n = 8",
        "<td>learned0</td>",
        "cosine to class vector",
        "no interval",
    ):
        assert words in shown
    assert "over images" in shown  # the only interval of a single pair, that of the accuracy


def test_a_note_about_the_pairs_of_runs_is_shown_once():
    found = comparison.Comparison((), (), ("no interval over seeds",))
    compared = {"collapse": found, "transfer": found}
    result = evaluation.Analysis("all", AnalysisOptions(), (), ({},), comparisons=compared)
    assert result.comparison_notes == found.notes
    assert [table.notes for table in result.tables()] == [found.notes]


def test_a_file_of_images_is_named_in_short_in_the_name_of_the_report():
    result = evaluation.Analysis("collapse", AnalysisOptions(data="/data/shades.py"), (), ({},))
    assert result.path(runs.Run(runs.ROOT / "run")).name == "analyze-collapse-shades-test.json"


def test_an_analysis_of_a_file_is_made_like_any_other(analyze, root, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {family: {} for family in registry.FAMILIES})
    file = tmp_path / "spread.py"
    file.write_text(
        '"""Spread: how far are the features from zero?"""\n'
        "from randhead.analyses import Findings\n"
        'INPUT = "run"\n'
        "def measure(features):\n"
        '    return Findings({"mean_norm": float(features.double().norm(dim=1).mean())})\n'
    )
    code, document, _ = analyze(file, "fixed0")
    assert code == 0
    assert document["spread"]["mean_norm"] == pytest.approx(
        float(naive(one_run(root, "fixed0"))[0].norm(dim=1).mean()), rel=1e-5
    )
    assert evaluation.analyze(str(file), "fixed0", root=root, device="cpu").to_json() == document
