"""corrupt-test and eval --corruptions as they are typed: what they print, keep and refuse."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from tiny import config, digits, fit, image_folder, main

from randhead import corruptions, datasets, registry, robustness
from randhead.cli.grid_display import LiveGrid
from randhead.errors import StopRequested, UsageError
from randhead.robustness import (
    Advanced,
    ClassAccuracy,
    Comparison,
    CorruptionDifference,
    GridStarted,
    RowDone,
    tables,
)
from randhead.robustness.images import CorruptedImages

# torchvision's JPEG functions, which are a part of the benchmark, warn of their end in a future release.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")
FAST = ("--corruptions", "gaussian_noise,pixelate", "--severities", "1,5", "--limit", "40")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of the digits: two seeds, one with learned vectors, one of another split; and one with 9 test images."""
    root = tmp_path_factory.mktemp("work") / "runs"
    few = config(data__name=str(image_folder(root.parent / "few")), train__epochs=1)
    fit(root / "few", few, datasets.from_config(few))
    for name, changes in {
        "first": {"train__seed": 0},
        "second": {"train__seed": 1},
        "learned": {"head__trainable": True},
        "foreign": {"data__split_seed": 1},
    }.items():
        configuration = config(**{"train__epochs": 1, "train__batch_size": 32, **changes})
        fit(root / name, configuration, digits(train=200, test=359))
    (root / "last").write_text("first\n")
    return root


@pytest.fixture
def call(folder, capsys, no_pictures):
    """Run a command line: its exit code, stdout, stderr, and what it printed as JSON."""

    def run(*words):
        code, (out, err) = main(*words, "--runs", folder), capsys.readouterr()
        document = json.loads(out) if "--json" in words and code == 0 else None
        return SimpleNamespace(code=code, out=out, err=err, document=document)

    return run


@pytest.mark.slow
def test_eval_with_corruptions_adds_15_by_5_accuracies_and_their_mean(call, folder):
    done = call("eval", "few", "--corruptions", "--json")
    found = done.document
    assert {"run", "split", "accuracy", "nll", "ece"} <= found.keys()
    assert list(found["corruptions"]) == corruptions.names("benchmark")
    cells = [[row[str(severity)] for severity in range(1, 6)] for row in found["corruptions"].values()]
    assert found["mean_corruption_accuracy"] == pytest.approx(np.mean(cells), abs=1e-12)
    assert found["robustness"]["clean"]["accuracy"] == found["accuracy"]
    assert found["robustness"]["parameters"] == "32"
    assert found["robustness"]["frost"] == "procedural"
    assert found["robustness"]["mean_over"] == "15 of 15 corruptions, all severities"
    for suffix in (".csv", "-curves.png", "-heat.png"):
        assert (folder / "few" / "reports" / f"evaluate-test-corruptions{suffix}").stat().st_size
    assert "corruptions" not in call("eval", "few", "--json").document


def test_the_table_names_the_parameters_the_frost_and_what_the_mean_is_over(call):
    shown = call("corrupt-test", "first", "--severities", "3", "--corruptions", "frost,fog,saturate").out
    assert "severity parameters for 32 px; corruption seed 0; frost: procedural pictures" in shown
    assert "frost (procedural)" in shown and "saturate (extra)" in shown
    assert "2 of 15, severity 3" in " ".join(shown.split())
    assert "the parameters were made for 32 px, and these images have 8: errors need" in " ".join(shown.split())
    assert "mean over 2 of 15 corruptions" in shown


@pytest.mark.slow
def test_a_skipped_frost_makes_14_of_15(call):
    found = call("corrupt-test", "first", "--skip", "frost", "--limit", "20", "--json").document
    assert found["mean_corruption_accuracy"] is None
    assert found["mean_over"] == "14 of 15 corruptions, all severities"
    assert found["groups"]["weather"]["corruptions"] == "3 of 4"
    assert found["frost"] is None


def test_json_has_the_promised_keys_and_the_report_is_the_same(call, folder):
    found = call("corrupt-test", "first", *FAST, "--per-class", "--json").document
    assert found["run"] == "first" and found["split"] == "test" and found["n"] == 40
    assert found["images"] == "40 of 359 images, stratified by class, seed 0"
    assert list(found["corruptions"]) == ["gaussian_noise", "pixelate"]
    cell = found["cells"]["pixelate"]["5"]
    figures = {
        "accuracy",
        "error",
        "standard_error",
        "accuracy_low",
        "accuracy_high",
        "nll",
        "ece",
        "feature_norm",
        "cosine",
        "margin",
    }
    assert cell.keys() == figures
    assert found["accuracy"] == found["clean"]["accuracy"]
    assert sum(row["n"] for row in found["per_class"].values()) == 40
    by_class = [row["mean_corruption_accuracy_interval"] for row in found["per_class"].values() if row["n"]]
    assert {tuple(row) for row in by_class if row} == {("low", "high", "level", "method")}
    kept = json.loads((folder / "first" / "reports" / "corrupt-test.json").read_text())
    assert {**kept, "others": []} == found
    with (folder / "first" / "reports" / "corrupt-test.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["corruption"], row["severity"]) for row in rows][:2] == [("clean", "0"), ("gaussian_noise", "1")]
    assert float(rows[-1]["accuracy"]) == cell["accuracy"]


def test_runs_are_compared_with_the_baseline_and_else_with_the_first(call):
    against = call("corrupt-test", "first", "--baseline", "second", *FAST, "--json").document
    assert against["compared_with"]["run"] == "second" and against["others"] == []
    both = call("corrupt-test", "first", "second", *FAST, "--json").document
    assert "compared_with" not in both
    (other,) = both["others"]
    assert other["run"] == "second" and other["compared_with"]["run"] == "first"
    for key in ("accuracy", "mean_corruption_accuracy"):
        ours, theirs = against["compared_with"][key], other["compared_with"][key]
        assert ours["difference"] == pytest.approx(-theirs["difference"])
        assert ours["low"] == pytest.approx(-theirs["high"], abs=1e-9)
    errors = [[row["error"] for row in run["cells"]["pixelate"].values()] for run in (both, other)]
    assert other["compared_with"]["corruptions"]["pixelate"]["ce"] == pytest.approx(sum(errors[1]) / sum(errors[0]))


@pytest.mark.slow
def test_several_runs_are_shown_by_arm_with_intervals_over_images_for_one_pair(call):
    both = call("corrupt-test", "first", "learned", *FAST, "--json").document
    [difference], each = both["comparison"]["differences"], [both, *both["others"]]
    compared = each[1]["compared_with"]
    for name, expected in {"clean": compared["accuracy"], "pixelate": compared["corruptions"]["pixelate"]}.items():
        found = difference["figures"][name]
        assert found["difference"] == pytest.approx(expected["difference"])
        assert found["interval"] == [expected["low"], expected["high"]]
    means = [arm["figures"]["mean"]["mean"] for arm in both["comparison"]["arms"]]
    assert means == pytest.approx([run["partial_mean_corruption_accuracy"] for run in each])
    back = call("corrupt-test", "first", "learned", "--baseline", "learned", *FAST, "--json").document["comparison"]
    assert back["arms"][0]["arm"] == both["comparison"]["arms"][1]["arm"]
    assert back["differences"][0]["figures"]["mean"]["difference"] == pytest.approx(
        -difference["figures"]["mean"]["difference"]
    )
    out = call("corrupt-test", "first", "learned", *FAST).out
    assert (
        "difference to fixed" in out
        and "accuracy in percent" in out
        and "clean images" in out.splitlines()[2]
        and "by severity" not in out
    )


def test_a_smaller_result_says_what_it_replaces_and_leaves_no_picture_of_the_larger(call, folder):
    few = ("corrupt-test", "second", "--corruptions", "pixelate", "--severities", "1", "--limit")
    picture = folder / "second" / "reports" / "corrupt-test-compared.png"
    call(*few, "20", "--baseline", "first")
    assert picture.exists()
    done = call(*few, "10")
    assert not picture.exists() and picture.with_name("corrupt-test-heat.png").exists()
    assert "second: replaces the result for 1 of 15 corruptions, severity 1, and 20 of 359 images" in done.err
    assert "replaces" not in call(*few, "20").err


def test_an_arm_is_a_baseline_and_each_run_is_compared_with_the_one_of_its_seeds(folder):
    options = {"corruptions": "pixelate", "severities": [1], "limit": 20, "root": folder, "device": "cpu"}
    found = robustness.benchmark("second", others=["first", "learned"], baseline="learned", **options)
    partners = {each.run: each.compared_with and each.compared_with.run for each in (found, *found.others)}
    assert partners == {"second": None, "first": "learned", "learned": None}  # second has another seed
    [difference] = found.by_arm.found.differences
    pixelate = next(each for each in found.others if each.run == "first").compared_with.corruptions["pixelate"]
    assert difference.minus.label == "learned"
    assert difference.metrics["pixelate"].value == pytest.approx(pixelate.difference)


@pytest.mark.slow
def test_the_comparison_of_several_runs_is_kept_as_document_table_and_latex(call, folder):
    done = call("corrupt-test", "first", "learned", "--baseline", "second", *FAST, "--json")
    kept = json.loads((folder / "first" / "reports" / "corrupt-test-arms.json").read_text())
    assert kept["runs"] == ["first", "learned", "second"] and kept["n"] == 40
    assert {key: kept[key] for key in done.document["comparison"]} == done.document["comparison"]
    with (folder / "first" / "reports" / "corrupt-test-arms.csv").open() as file:
        rows = {(row["arm"], row["metric"]): row for row in csv.DictReader(file)}
    for arm in kept["arms"]:
        assert float(rows[arm["arm"], "pixelate"]["mean"]) == arm["figures"]["pixelate"]["mean"]
    assert "difference to fixed" in (folder / "first" / "reports" / "corrupt-test-arms.tex").read_text()
    assert done.err.count("corrupt-test.json") == 1 and "corrupt-test.json (and of 1 other run)" in done.err


@pytest.mark.slow
def test_two_seeds_of_one_arm_have_a_mean_and_the_difference_of_the_two_runs(call):
    out = call("corrupt-test", "first", "second", *FAST).out
    assert "fixed, 2 runs" in out and "95 % interval of the mean" in out and "difference to first" in out


@pytest.mark.slow
def test_an_interrupted_grid_goes_on_and_ends_as_if_nothing_had_happened(call, folder, monkeypatch):
    words = ("corrupt-test", "second", "--seed", "7", *FAST)
    polls = iter(range(100))
    with monkeypatch.context() as patch:
        patch.setattr("randhead.cli.signals.GracefulStop.__call__", lambda self: next(polls) >= 2)
        patch.setattr("randhead.cli.signals.GracefulStop.exit_code", 143)
        stopped = call(*words)
    assert stopped.code == 143 and "the same command resumes" in stopped.err
    cells = []
    run = CorruptedImages.cells
    monkeypatch.setattr(
        CorruptedImages, "cells", lambda self, name, *rest: cells.append(name) or run(self, name, *rest)
    )
    assert call(*words).code == 0
    assert cells == ["pixelate"]
    done = json.loads((folder / "second" / "reports" / "corrupt-test.json").read_text())
    for file in (folder / "second" / "reports").glob("corruption-cells-*"):
        file.unlink()
    again = call(*words, "--json").document
    assert {**done, "others": []} == again


@pytest.mark.slow
def test_a_released_set_is_shown_beside_the_generated_one(call, folder, tmp_path):
    saved = call("corrupt-test", "first", *FAST, "--save", tmp_path / "set", "--json")
    found = call("corrupt-test", "first", *FAST, "--published", tmp_path / "set", "--json").document["published"]
    assert found["n"] == 40 and found["name"] == "set"
    assert found["corruptions"] == saved.document["corruptions"]
    assert found["same_images"] is False  # folders go by class, the digits' test split does not
    shown = call("corrupt-test", "first", *FAST, "--published", tmp_path / "set").out
    assert "released" in shown and "generated" in shown
    assert (folder / "first" / "reports" / "corrupt-test-published.png").exists()


@pytest.mark.slow
@pytest.mark.pictures
def test_the_contact_sheet_has_19_rows_and_6_columns_of_which_the_first_is_the_image(call, folder):
    assert call("corrupt-test", "first", *FAST, "--show").code == 0
    with Image.open(folder / "first" / "reports" / "corruptions.png") as picture:
        assert picture.height / picture.width > 2
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.std() > 30
    sheet = robustness.contact_sheet(image := torch.full((3, 32, 32), 128, dtype=torch.uint8))
    assert sheet.image.equal(image) and sheet.tiles.shape[:2] == (19, 5)


def test_a_users_own_corruption_is_run_and_stays_out_of_the_mean(call, tmp_path):
    file = tmp_path / "inverted.py"
    file.write_text("def corrupt(images, severity, ids, seed):\n    return 255 - images\n")
    found = call("corrupt-test", "first", *FAST, "--corruption-file", file, "--json").document
    assert list(found["corruptions"]) == ["gaussian_noise", "pixelate", "inverted"]
    assert found["mean_over"].startswith("2 of 15")
    assert found["corruptions"]["inverted"]["1"] == found["corruptions"]["inverted"]["5"]


MEMBER = """
GROUP = "noise"
SEVERITY_PARAMETERS = dict.fromkeys(("32", "64", "224"), (10, 20, 30, 40, 50))

def sample(ids, size, *, seed, parameter_set):
    return {}

def apply(images, noise, darker):
    return (images.int() - darker).clamp(0, 255).byte()
"""


@pytest.mark.slow
def test_a_corruption_from_a_file_is_a_member_of_the_extra_group(call, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {family: {} for family in registry.FAMILIES})
    file = tmp_path / "darker.py"
    file.write_text(MEMBER)
    words = ("corrupt-test", "first", "--corruptions", f"pixelate,{file}", "--limit", "20")
    found = call(*words, "--json").document
    assert list(found["corruptions"]) == ["pixelate", "darker"]
    assert found["mean_over"] == "1 of 15 corruptions, all severities"
    assert found["groups"]["extra"]["corruptions"] == f"1 of {len(corruptions.names('extra'))}"
    assert "darker (own)" in call(*words).out
    file.write_text(MEMBER.replace("images.int() - darker", "images.int() * 0"))  # a new version: no cell is reused
    changed = call(*words, "--json").document
    assert changed["cells"]["darker"]["1"] != found["cells"]["darker"]["1"]
    assert changed["cells"]["pixelate"] == found["cells"]["pixelate"]
    file.write_text(MEMBER.replace(".byte()", "[:, :1]"))
    broken = call(*words)
    assert broken.code == 2 and "corruption darker made torch.int32" in broken.err


def test_the_command_and_the_function_give_the_same_document(call, folder):
    printed = call(
        "corrupt-test", "first", "second", *FAST, "--per-class", "--baseline", "second", "--seed", "3", "--json"
    ).document
    report = robustness.benchmark(
        "first",
        others=["second"],
        corruptions=["gaussian_noise", "pixelate"],
        severities=(1, 5),
        limit=40,
        per_class=True,
        baseline="second",
        seed=3,
        root=folder,
    )
    assert report.to_json() == printed
    assert report.corruptions["pixelate"][5] == printed["corruptions"]["pixelate"]["5"]
    assert report.mean_corruption_accuracy is None
    assert report.partial_mean_corruption_accuracy == printed["partial_mean_corruption_accuracy"]
    assert json.loads(report.save(name="mine").read_text()) == {
        key: value for key, value in printed.items() if key not in ("others", "comparison")
    }
    assert "gaussian noise" in report._repr_html_() and "second: hardest classes" in report._repr_html_()


def test_a_live_table_higher_than_the_screen_leaves_nothing_on_it():
    """Lines that were printed above the screen cannot be removed."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    console = Console(file=screen, force_terminal=True, width=80, height=10)
    cells = dict.fromkeys(corruptions.names(), (1,))
    live = LiveGrid(console, GridStarted("first", "19 corruptions", cells))
    for name in cells:
        live.update(RowDone(name, {}, 1, 1))
    live.live.refresh()
    live.live.refresh()
    live.stop()
    written = console.file.getvalue()
    assert "gaussian noise" in written and corruptions.names()[-1] not in written
    assert written.count("\n") == written.count("\x1b[1A") > 0  # each line down is a line up again


def test_a_perfect_model_has_no_hardest_classes_and_no_ratios_of_errors():
    def classes(mean):
        return {"cat": ClassAccuracy(2, 1.0, mean, {"fog": mean}), "dog": ClassAccuracy(2, 1.0, 1.0, {"fog": 1.0})}

    assert list(tables.hardest_classes(classes(1.0))) == []
    [table] = tables.hardest_classes(classes(0.5))
    assert [row[0] for row in table.rows] == ["cat"]
    same = CorruptionDifference(0.0, 0.0, 0.0, ce=None, relative_ce=None)
    shown = tables.comparison(Comparison("other", "95 percent", same, None, "", {"fog": same}, None, None), None)
    assert shown.columns[-1] == "95 % interval" and not any("CE" in note for note in shown.notes)


def test_the_function_reports_what_happens(folder):
    events, warnings = [], []
    options = {"corruptions": "fog", "severities": [2], "limit": 30, "root": folder, "seed": 11}
    robustness.benchmark("first", **options, on_event=events.append, warn=warnings.append)
    kinds = [type(event) for event in events]
    assert kinds == [GridStarted, Advanced, RowDone, Advanced, RowDone]
    assert events[0].run == "first" and list(events[0].grid) == ["clean", "fog"]
    assert events[-2].done == events[-2].total == 60
    assert warnings == []
    with pytest.raises(StopRequested):
        robustness.benchmark("first", **{**options, "seed": 12}, should_stop=lambda: True)
    with pytest.raises(UsageError, match="tests"):
        robustness.benchmark("first", **options, split="tests")


@pytest.mark.slow
def test_pictures_of_frost_are_taken_from_a_folder_and_named(call, tmp_path):
    Image.new("RGB", (200, 200), (90, 140, 160)).save(tmp_path / "a.png")
    words = ("corrupt-test", "first", "--corruptions", "frost", "--limit", "20", "--frost-images", tmp_path)
    assert call(*words, "--json").document["frost"] == "folder"
    assert "frost: folder pictures" in call(*words).out


OWN = "def corrupt(images, severity, ids, seed):\n    return images[:, :1]\n"
RAISES = "def corrupt(images, severity, ids, seed):\n    x = 1\n    return images * (1 / 0)\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--corruptions", "gausian_noise"], 2, "did you mean 'gaussian_noise'?"),
        (["--skip", "frosty"], 2, "did you mean 'frost'?"),
        (["--severities", "6"], 2, "severities must be 1 to 5, got 6"),
        (["--severities", "high"], 2, "--severities must be numbers, got 'high'"),
        (["--parameters", "128"], 2, "unknown parameter set '128'"),
        (["--limit", "0"], 2, "limit must be at least 1"),
        (["--baseline", "first"], 2, "the baseline is the run itself"),
        (["first"], 2, "run first is given twice"),
        (["--baseline", "nobody"], 4, "there is no run nobody"),
        (["--baseline", "foreign"], 4, "run foreign has other test images than run first"),
        (["--published", "nowhere"], 3, "nowhere: no such folder"),
        (["--frost-images", "nowhere"], 3, "no pictures of frost"),
        (["--corruption-file", "nowhere.py"], 2, "no such file"),
        (["--corruption-file", "{tmp}/fog.py"], 2, "a corruption cannot be named 'fog'"),
        (["--corruption-file", "{tmp}/empty.py"], 2, "no function named corrupt"),
        (["--corruption-file", "{tmp}/typo.py"], 2, "SyntaxError"),
        (["--corruption-file", "{tmp}/grey.py"], 2, "corruption grey made torch.uint8 (40, 1, 8, 8)"),
        (["--corruption-file", "{tmp}/raises.py"], 2, "raises.py, line 3: ZeroDivisionError"),
        (["--save", "{tmp}"], 2, "has other content"),
    ],
)
def test_mistakes_end_in_a_line_a_hint_and_their_code(call, tmp_path, words, code, message):
    files = {"fog": OWN, "empty": "", "typo": "def corrupt(:", "grey": OWN, "raises": RAISES}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    done = call("corrupt-test", "first", *FAST, *[word.format(tmp=tmp_path) for word in words])
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err and "bug in randhead" not in done.err


@pytest.mark.slow
def test_all_corruptions_can_be_named_one_by_one(call):
    named = ",".join(corruptions.names())
    found = call(
        "corrupt-test", "first", "--corruptions", named, "--severities", "1", "--limit", "10", "--json"
    ).document
    assert list(found["corruptions"]) == corruptions.names()
