"""The commands as a person or a program uses them: the JSON contract, tables, CSV, and what goes where."""

import contextlib
import csv
import io
import json
import re
import shlex
import shutil
import sys

import pytest
import tiny
import torch
from PIL import Image

from randhead import cli, runs
from randhead.cli.output import Output
from randhead.evaluation.prediction import predict
from randhead.head import ClassVectorHead, preflight
from randhead.tables import Table

TRAIN = ("train", "--data", "images", "--batch-size", "8", "--epochs", "2", "--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with images of three classes and a run trained on them."""
    root = tmp_path_factory.mktemp("cli") / "world"
    tiny.image_folder(root / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert tiny.main(*TRAIN, "--name", "good") == 0
    return root


@pytest.fixture
def world(template, monkeypatch, no_pictures):
    """The folder as the current one, as it was made."""
    kept = template.parent / "kept"
    shutil.copytree(template, kept)
    monkeypatch.chdir(template)
    yield template
    shutil.rmtree(template)
    kept.rename(template)


@pytest.fixture
def call(capsys):
    """Run a command: (exit code, stdout, stderr)."""

    def run(*words):
        return tiny.main(*words), *capsys.readouterr()

    return run


@pytest.fixture
def document(call):
    """The JSON document that is all of a command's stdout."""

    def read(*words):
        code, out, err = call(*words, "--json")
        assert code == 0, err
        return json.loads(out)

    return read


# The contract of --json


def test_train_prints_one_document_with_the_keys_that_others_use(world, document):
    found = document(*TRAIN)
    assert found["run"].startswith("images-small_resnet-dot-fixed-uniform-seed0-")
    assert 0 <= found["test"]["accuracy"] <= 1
    assert 0 <= found["val"]["accuracy"] <= 1
    assert found["seconds"] > 0
    assert found["images_per_second"] > 0
    assert (world / "runs" / "last").read_text().strip() == found["run"]


def test_a_finished_run_prints_the_same_document_again(world, document):
    assert document(*TRAIN, "--name", "good") == document(*TRAIN, "--name", "good")


@pytest.mark.parametrize("verb", ["eval", pytest.param("evaluate", marks=pytest.mark.slow)])
@pytest.mark.pictures
def test_evaluate_agrees_with_training(world, document, verb):
    trained = document(*TRAIN, "--name", "good")
    found = document(verb, "good")
    assert (found["run"], found["split"]) == ("good", "test")
    for key in ("accuracy", "nll", "ece", "ece_equal_mass", "diagnostics"):
        assert found[key] == trained["test"][key], key
    assert found["class_names"] == ["cat", "dog", "eel"]
    report = json.loads((world / "runs" / "good" / "reports" / "evaluate-test.json").read_text())
    assert {key: report[key] for key in found if key in report} == {key: found[key] for key in found if key in report}
    with Image.open(world / "runs" / "good" / "reports" / "evaluate-test.png") as picture:
        picture.load()
    assert document(verb, "--split", "val")["accuracy"] == trained["val"]["accuracy"]


def test_evaluate_measures_other_images_and_strange_ones(world, document):
    tiny.image_folder(world / "more", images=20)
    tiny.image_folder(world / "strange", ("oak", "pine"), images=20)
    found = document("eval", "good", "--data", "more", "--ood", "strange")
    assert (found["data"], found["n"]) == ("more", 6)
    assert (found["ood"]["data"], found["ood"]["n"]) == ("strange", 40)
    for score in ("maximum_probability", "maximum_logit", "energy", "maximum_cosine"):
        assert 0 <= found["ood"][score]["auroc"] <= 1
        assert 0 <= found["ood"][score]["fpr_at_95_recall"] <= 1


def test_list_names_the_runs_and_the_latest(world, document, call):
    assert call(*TRAIN, "--name", "second")[0] == 0
    found = document("list")
    assert [line["run"] for line in found["runs"]] == ["good", "second"]
    assert found["last"] == "second"
    assert found["runs"][0]["state"] == "finished"
    assert 0 <= found["runs"][0]["test"]["accuracy"] <= 1
    assert document("list", "--runs", "nowhere") == {"runs": [], "last": None}


def test_the_command_and_its_function_give_the_same_document(world, document):
    assert document("list") == runs.list_runs().to_json()
    predicted = predict(["images/dog", "images/cat/1.png"], "good", k=2, warn=pytest.fail)
    assert document("predict", "good", "images/dog", "images/cat/1.png", "--k", "2") == predicted.to_json()


def test_list_passes_over_a_run_that_cannot_be_read_and_names_it(world, call):
    (world / "runs" / "good" / "summary.json").write_text("{")
    code, out, err = call("list")
    assert code == 0
    assert "summary.json" in err
    assert "Traceback" not in out + err


def test_doctor_tells_versions_devices_and_what_it_tested(world, document):
    found = document("doctor")
    assert {"randhead", "torch", "torchvision", "python"} <= set(found["versions"])
    assert found["writable"]
    assert found["philox_known_answer"]
    assert found["same_bits_on_every_device"]


def test_doctor_sums_up_in_words(world, call):
    _, out, _ = call("doctor")
    assert "random numbers as expected" in out and "philox" not in out
    assert torch.cuda.is_available() or "one device only: nothing to compare" in out
    assert out.splitlines()[-1] == "all is well"


def test_doctor_lists_the_bad_images_of_a_folder(world, call):
    assert call("doctor", "--data", "images")[0] == 0
    (world / "images" / "cat" / "bad.jpg").write_bytes(b"text")
    code, out, _ = call("doctor", "--data", "images", "--json")
    assert code == 3
    (bad,) = json.loads(out)["bad_images"]
    assert bad["path"].endswith("bad.jpg")
    assert bad["reason"]


def test_bad_images_can_be_left_out_and_are_listed(world, document):
    (world / "images" / "cat" / "bad.jpg").write_bytes(b"text")
    (found,) = document(*TRAIN, "--skip-bad-images")["bad_images"]
    assert "bad.jpg" in found


@pytest.mark.pictures
def test_vectors_checks_a_geometry_and_draws_its_angles(world, document):
    found = document("vectors", "simplex", "--classes", "10", "--dim", "64", "--picture", "angles.png")
    assert found["duplicates"] == 0
    assert found["cosine_max"] == pytest.approx(-1 / 9, abs=1e-6)
    assert found["picture"] == "angles.png"
    with Image.open(world / "angles.png") as picture:
        picture.load()
    check = preflight(ClassVectorHead(10, 64, "simplex"))
    assert found == json.loads(json.dumps(check.to_json())) | {"picture": "angles.png"}


def test_vectors_warns_where_training_cannot_work(world, call):
    code, _, err = call("vectors", "uniform", "--classes", "100", "--dim", "512", "--scoring", "cosine", "--scale", "1")
    assert code == 0
    assert "warning: at scale 1 with 100 cosine classes" in err


@pytest.mark.slow
def test_more_epochs_than_a_finished_run_are_refused_with_a_command_that_works(world, call):
    code, _, err = call(*TRAIN, "--name", "good", "--epochs", "3")
    assert code == 4 and "--epochs: saved 2, requested 3" in err
    hint = err.splitlines()[-1].removeprefix("  to train on from it: randhead ")
    assert hint.endswith("--epochs 3 --from good --name good2")
    code, _, err = call(*shlex.split(hint))
    assert code == 0, err
    assert "starts from the encoder of run good, with sgd and a learning rate of 0.1" in err
    again = call(*TRAIN, "--name=good2", "--epochs", "4")[2]  # it started from another run: that does not count
    assert again.splitlines()[-1].endswith("--epochs 4 --from good2 --name good3")
    assert "use another --name" in call(*TRAIN, "--name", "good", "--epochs", "3", "--learned")[2]
    assert "trainable: saved fixed, requested learned" in call(*TRAIN, "--name", "good", "--set", "head.trainable=1")[2]


def test_a_finished_run_says_on_what_it_was_trained_and_that_the_device_changes_nothing(world, call):
    code, _, err = call(*TRAIN, "--name", "good", "--device", "cuda")
    assert code == 0
    assert re.search(r"runs/good is finished: it was trained on CPU .*, so that --device cuda changes nothing", err)


def test_list_says_which_runs_diverged_run_now_and_stopped(world, document, call):
    good, states = world / "runs" / "good", {}
    for name in ("diverged", "running", "stopped", "begun"):
        shutil.copytree(good, world / "runs" / name)
        (world / "runs" / name / "summary.json").unlink()
    shutil.rmtree(world / "runs" / "begun" / "checkpoints")
    (world / "runs" / "diverged" / "diverged.json").write_text("{}")
    with runs.locked(runs.Run(world / "runs" / "running")):
        states = {line["run"]: line["state"] for line in document("list")["runs"]}
    step = runs.steps.saved_steps(good / "checkpoints")[-1]
    assert states == {
        "good": "finished",
        "diverged": "diverged",
        "running": "running",
        "stopped": f"stopped after step {step}",
        "begun": "not begun",
    }
    with runs.locked(runs.Run(world / "runs" / "running")):  # looking at a lock does not keep it
        pass


@pytest.mark.slow
def test_a_run_that_diverged_is_listed_as_such_until_it_is_trained_again(world, document, call):
    words = (*TRAIN, "--name", "high", "--set", "optim.lr=1e30")
    assert call(*words)[0] == 5
    assert {line["run"]: line["state"] for line in document("list")["runs"]}["high"] == "diverged"
    assert call(*TRAIN, "--name", "high", "--fresh")[0] == 0
    assert not (world / "runs" / "high" / "diverged.json").exists()


# predict


def by_hand(path):
    """Class, probability and cosine of an image, from the parts of the run."""
    loaded = runs.load("good", device="cpu")
    with Image.open(path) as image:
        pixels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    batch = loaded.preprocess.prepare(pixels.view(8, 8, 3).permute(2, 0, 1)[None])
    with torch.no_grad():
        embedded, rows = loaded.model.embed(batch)[0], loaded.model.head.class_vectors()
        probabilities = loaded.model(batch)[0].softmax(dim=0)
    best = int(probabilities.argmax())
    cosine = torch.cosine_similarity(embedded, rows[best], dim=0)
    return loaded.class_names[best], probabilities[best].item(), cosine.item()


def test_predict_gives_class_probability_and_cosine_in_json(world, document):
    found = document("predict", "good", "images/dog/3.png", "images/cat", "--k", "9")
    assert found["run"] == "good"
    lines = found["predictions"]
    assert [line["image"] for line in lines] == ["images/dog/3.png", *(f"images/cat/{i}.png" for i in range(10))]
    for line in lines:
        assert len(line["classes"]) == 3  # there are no more
        assert sum(answer["probability"] for answer in line["classes"]) == pytest.approx(1)
        label, probability, cosine = by_hand(line["image"])
        best = line["classes"][0]
        assert best["class"] == label
        assert best["probability"] == pytest.approx(probability, abs=1e-5)
        assert best["cosine"] == pytest.approx(cosine, abs=1e-5)


def test_predict_in_csv_and_as_a_table_says_the_same(world, document, call):
    (line,) = document("predict", "last", "images/cat/0.png")["predictions"]
    best = line["classes"][0]
    code, out, _ = call("predict", "last", "images/cat/0.png", "--csv")
    assert code == 0
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["image"], row["rank"], row["class"]) == ("images/cat/0.png", "1", best["class"])
    assert float(row["probability"]) == best["probability"]
    assert float(row["cosine"]) == best["cosine"]
    code, out, _ = call("predict", "last", "images/cat/0.png")
    assert code == 0
    assert best["class"] in out
    assert f"{100 * best['probability']:.2f} %" in out


def test_predict_leaves_out_what_it_cannot_read_where_it_may(world, call):
    (world / "images" / "cat" / "bad.jpg").write_bytes(b"text")
    code, out, err = call("predict", "good", "images/cat", "--skip-bad-images", "--json")
    assert code == 0
    assert len(json.loads(out)["predictions"]) == 10
    assert "bad.jpg" in err


def test_predict_without_a_run_says_what_to_type(world, call):
    code, _, err = call("predict", "images/cat/0.png")
    assert code == 2
    assert err == (
        "error: images/cat/0.png is an image, not a run\n  give the run first: randhead predict last images/cat/0.png\n"
    )


def test_one_file_that_is_no_image_can_be_left_out(world, call):
    (world / "letter.txt").write_bytes(b"text")
    code, _, err = call("predict", "good", "letter.txt")
    assert code == 3
    assert err.splitlines()[1] == "  leave it out, or set --skip-bad-images"


# What goes where


def test_a_person_gets_the_result_on_stdout_and_progress_on_stderr(world, call):
    code, out, err = call(*TRAIN)
    assert code == 0
    assert "test accuracy" in out
    assert "randhead eval" in out
    assert "epoch 1/2" not in out
    assert "epoch 1/2" in err
    assert "\x1b" not in out + err  # no colours or bars where there is no terminal


def test_debug_shows_the_traceback_and_nothing_else_does(world, call):
    for words, shown in (((), False), (("--debug",), True)):
        code, _, err = call("eval", "nothing", *words)
        assert code == 4
        assert ("Traceback" in err) is shown


def test_a_bug_of_ours_is_one_line_and_exit_code_1(world, call, monkeypatch):
    def broken(*args, **options):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(runs, "load", broken)
    code, _, err = call("eval", "good")
    assert code == 1
    assert err.splitlines() == [
        "error: a bug in randhead: ZeroDivisionError: two lines",
        "  run again with --debug and report it",
    ]


def test_a_recipe_is_in_the_card_and_says_what_is_unequal(world, call):
    options = ("--recipe", "paper", "--backbone", "small_resnet", "--name", "paper")
    assert call(*TRAIN, *options)[0] == 0
    card = (world / "runs" / "paper" / "README.md").read_text()
    assert "validation split selects" in card
    config = json.loads((world / "runs" / "paper" / "config.json").read_text())["config"]
    assert (config["train"]["batch_size"], config["optim"]["schedule"]) == (8, "plateau")


def test_a_file_of_settings_gives_way_to_options_and_those_to_set(world, call):
    (world / "run.toml").write_text("[optim]\nlr = 0.01\nmomentum = 0.5\n[train]\nseed = 3\nepochs = 7\n")
    options = ("--config", "run.toml", "--name", "toml", "--set", "optim.lr=0.02")
    assert call(*TRAIN, *options)[0] == 0
    config = json.loads((world / "runs" / "toml" / "config.json").read_text())["config"]
    assert (config["optim"]["lr"], config["optim"]["momentum"]) == (0.02, 0.5)
    assert (config["train"]["seed"], config["train"]["epochs"]) == (3, 2)


@pytest.mark.slow
def test_the_default_training_reaches_97_percent_on_the_digits_without_a_warning(tmp_path, monkeypatch, call, document):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("train", "--json")
    assert code == 0 and "warning" not in err, err  # nothing is wrong with the defaults
    trained = json.loads(out)
    assert trained["warnings"] == trained["notes"] == []
    assert trained["test"]["n"] == 359
    assert trained["test"]["accuracy"] >= 0.97
    assert document("eval")["accuracy"] == trained["test"]["accuracy"]


@pytest.mark.parametrize("run", ["good", "runs/good"])
def test_training_on_takes_a_run_by_name_or_folder(world, call, run):
    code, _, err = call(*TRAIN, "--from", run, "--name", "on", "--epochs", "1", "--json")
    assert code == 0, err
    started = json.loads((world / "runs" / "on" / "config.json").read_text())["config"]["train"]["start_from"]
    assert started == str((world / "runs" / "good").resolve())


def test_the_next_command_evaluates_the_run_that_was_trained(world, call, monkeypatch):
    """Whatever the folder, and even if another run is the latest."""

    def next_command(*words):
        return call(*TRAIN, "--epochs", "1", *words)[1].splitlines()[-1]

    assert next_command("--name", "second") == "next   randhead eval"
    assert next_command("--name", "second", "--out", "my runs") == "next   randhead eval 'my runs/second'"
    monkeypatch.setattr(runs, "last", lambda: "third")  # another command has trained it meanwhile
    assert next_command("--name", "second") == "next   randhead eval second"


def test_a_mistyped_run_is_named(world, call):
    _, _, err = call("eval", "god")
    assert err == "error: there is no run god in runs\n  did you mean 'good'? runs there: good\n"


def test_training_on_from_no_run_names_the_runs_there(world, call):
    code, _, err = call(*TRAIN, "--from", "god")
    assert code == 4 and "there is no run god in runs" in err and "runs there: good" in err


# Terminals


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 80 columns in place of stdout and stderr: what it was given, a line each."""
    written = io.StringIO()
    written.isatty = lambda: True
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    def run(*words):
        written.seek(0)
        written.truncate()
        monkeypatch.setattr(sys, "argv", ["randhead", *words])
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", written)
            patch.setattr(sys, "stderr", written)
            with contextlib.suppress(SystemExit):
                cli.main()
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()).splitlines()

    return run


@pytest.mark.parametrize(
    "words",
    [
        (*TRAIN, "--name", "good"),
        ("eval", "good"),
        ("analyze", "separability", "good"),
        ("list",),
        ("vectors", "uniform", "--classes", "300", "--dim", "64", "--scoring", "cosine", "--scale", "4"),
        ("doctor",),
        ("train", "--data", "nowhere"),
        ("analyze", "nothing"),
        ("eval", "--ood", "nowhere"),
        ("study", "--explain"),
        ("study", "--lr", "0.1", "--seed", "3"),
        *(
            ((command, "--help"))
            for command in ("train", "eval", "corrupt-test", "analyze", "study", "vectors", "predict")
        ),
    ],
    ids=" ".join,
)
def test_no_line_but_that_of_a_path_is_wider_than_the_terminal(world, narrow, words):
    lines = narrow(*words)
    assert lines
    assert [line for line in lines if len(line) > 80 and "reports/" not in line] == []
    assert [line for line in lines if line.rstrip(" │").endswith("[default:")] == []


def test_the_default_name_of_a_run_fits_a_line_of_the_list(world, narrow):
    name = "digits-small_resnet-dot-fixed-uniform-seed0-59bbf3"
    (world / "runs" / "good").rename(world / "runs" / name)
    (world / "runs" / "last").write_text(name)
    summary = world / "runs" / name / "summary.json"
    content = json.loads(summary.read_text())
    figures = {key: {**content[key], "accuracy": 1.0} for key in ("test", "val")}
    summary.write_text(json.dumps({**content, **figures}))
    (line,) = [line for line in narrow("list") if name in line]
    assert line.split() == ["*", name, "finished", "100.00", "100.00"]
    assert len(line) <= 80


def test_a_path_in_a_table_stays_in_one_piece(world, narrow):
    """It is wider than the terminal, which may break the line; copied, it is still the path."""
    folder = world / ("a" * 60) / ("b" * 60)
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "picture.png")
    path = f"{'a' * 60}/{'b' * 60}/picture.png"
    (line,) = [line for line in narrow("predict", "good", "a" * 60) if "picture" in line]
    assert line.split()[:2] == [path, "1"]


def test_paths_and_commands_to_be_copied_are_never_folded(world, narrow):
    folder = "runs " * 20 + "here"
    shutil.copytree(world / "runs", world / folder)
    lines = narrow(*TRAIN, "--out", folder, "--name", "good")
    assert lines[-2:] == [f"run    {folder}/good", f"next   randhead eval '{folder}/good'"]
    *_, hint = narrow(*TRAIN, "--out", folder, "--name", "good", "--epochs", "3")
    assert hint.endswith(f"--out '{folder}' --epochs 3 --from good --name good2")


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize("runs", [1, 2, 4, 12])
def test_no_number_of_a_wide_table_is_cut(capsys, monkeypatch, columns, runs):
    """It is printed in parts, each with the names of its rows; an interval stays beside its number."""
    monkeypatch.setenv("COLUMNS", str(columns))
    cells = [f"{-i}.25 [-{i}.50, +{i}.00]" for i in range(runs)]
    table = Table("wide", ("metric", *(f"arm {i}" for i in range(runs))), (("some metric", *cells), ("x", *cells)))
    Output(as_json=False).tables([table])
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == "wide"
    assert max(map(len, lines)) <= columns
    shown = [line for line in lines if line.startswith("some metric")]
    assert [cell for line in shown for cell in re.findall(r"\S+ \[.*?\]", line)] == cells
    assert len(shown) == len([line for line in lines if line.startswith("x")])


LONG = "n" * 56


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        (("", "run", "state", "test %", "val %"), (("*", LONG, "finished", "9.00", "8.00"),)),
        (("", "run", "state", "test %", "val %"), (("*", "a" + LONG, "done", "9.00", "8.00"), ("", LONG, "", "", ""))),
        (("", "arm", "answer", "difference"), tuple(("kept?", arm, 20 * "b", 40 * "1") for arm in ("one", "two"))),
    ],
)
def test_each_part_of_a_wide_table_names_its_rows(capsys, monkeypatch, columns, rows):
    monkeypatch.setenv("COLUMNS", "76" if rows[0][0] == "*" else "60")
    Output(as_json=False).tables([Table("", columns, rows)])
    parts = capsys.readouterr().out.split("\n\n")
    assert len(parts) > 1
    assert all(row[0] in part and row[1] in part for row in rows for part in parts)


def test_a_console_without_arrows_shows_others(monkeypatch):
    written = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", written)
    Output(as_json=False).tables(
        [Table("t", ("metric", "v"), (("R\u00b2 \u2191", 1), ("x \u2193", 2)), ("\u2191 is better",))]
    )
    written.flush()
    lines = written.buffer.getvalue().decode("latin-1").split("\n")
    assert [line.split() for line in lines[2:5]] == [["R\u00b2", "^", "1"], ["x", "v", "2"], ["^", "is", "better"]]


@pytest.mark.parametrize("command", [("eval",), ("analyze", "collapse"), ("corrupt-test",)])
def test_last_is_the_latest_run_for_every_command(world, call, command):
    assert call(*command, "last", *(("--severities", "1") if command[0] == "corrupt-test" else ()))[0] == 0


@pytest.mark.parametrize(
    "command", [("eval",), ("analyze", "collapse"), ("corrupt-test",), ("predict", "good", "images")]
)
def test_a_device_that_does_not_exist_is_refused(world, call, command):
    code, _, err = call(*command, "--device", "gpu")
    assert code == 2
    assert "--device: unknown value 'gpu'" in err
    assert "did you mean 'cpu'" in err
