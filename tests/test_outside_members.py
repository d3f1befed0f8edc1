"""Members from outside the package, each one file, work on the command line and keep the contract of their family."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import main

import randhead
from randhead import corruptions, datasets, registry, runs
from randhead.testing import check_analysis, check_corruption, check_dataset, check_geometry

# torchvision's JPEG functions, which are a part of the benchmark, warn of their end in a future release.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")

GEOMETRY = '''
"""Random signs, of which every third is zero."""
import torch
from randhead import rng
BY_ROW = True
def rows(ids, dim, *, seed, out):
    signs = rng.normals(seed, "thirds", ids, dim).sign()
    signs[:, ::3] = 0
    out.copy_(torch.nn.functional.normalize(signs, dim=1))
def limit(dim):
    return None
'''
DATASET = '''
"""Horizontal and vertical stripes in noise, made up."""
import torch
from randhead import rng
from randhead.datasets import Dataset, Split, TensorImages
SIZES = {"train": 96, "val": 32, "test": 32}
def load(options):
    size, count = options.image_size or 8, sum(SIZES.values())
    stripes = 150 * (torch.arange(size) // 2 % 2)
    labels = torch.arange(count) % 2
    clean = torch.where(labels[:, None, None] == 0, stripes[:, None], stripes[None, :])
    noise = rng.uniforms(0, "stripes", torch.arange(count), size * size).view(count, size, size)
    pixels = (clean + 100 * noise).to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous()
    rows = dict(zip(SIZES, torch.arange(count).split(list(SIZES.values()))))
    splits = {name: Split(TensorImages(pixels, rows[name]), labels[rows[name]]) for name in SIZES}
    return Dataset("stripes", ("horizontal", "vertical"), splits, size, mirrors=True)
'''
CORRUPTION = '''
"""The negative of the image, mixed in."""
import torch
SEVERITY_PARAMETERS = dict.fromkeys(("32", "64", "224"), (0.1, 0.2, 0.3, 0.4, 0.45))
GROUP = "extra"
def sample(ids, size, *, seed, parameter_set):
    return {}
def apply(images, noise, share):
    return (images * (1 - share) + (255 - images) * share).to(torch.uint8)
'''
ANALYSIS = '''
"""Extent: how long are the features?"""
from randhead.analyses import Findings
from randhead.errors import DataError
INPUT = "run"
def measure(features, labels, *, num_classes):
    if not features.isfinite().all():
        raise DataError("features that are not finite")
    norms = features.double().norm(dim=1)
    return Findings({"mean_norm": float(norms.mean()), "classes": num_classes})
'''
FILES = {"thirds": GEOMETRY, "stripes": DATASET, "negative": CORRUPTION, "extent": ANALYSIS}
TRAP = "from pathlib import Path\nPath(__file__).with_suffix('.executed').touch()\nraise SystemExit('executed')\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the four files, in which a run was trained with the geometry and the dataset."""
    folder = tmp_path_factory.mktemp("outside")
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text.lstrip())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = (
            "--vectors",
            "./thirds.py",
            "--data",
            "./stripes.py",
            "--epochs",
            "2",
            "--device",
            "cpu",
            "--name",
            "own",
        )
        assert main("train", *words) == 0
        assert main("train", "--vectors", "./thirds.py", "--epochs", "1", "--device", "cpu", "--name", "digits") == 0
    forget()
    return folder


def forget():
    """What another process would not know."""
    for known in registry._registered.values():
        known.clear()


@pytest.fixture
def call(folder, capsys, monkeypatch):
    """A command in a process of its own, as far as members are concerned: its exit code, stdout and stderr."""
    monkeypatch.chdir(folder)

    def run(*words):
        forget()
        capsys.readouterr()
        code = main(*words)
        done = SimpleNamespace(code=code, **capsys.readouterr()._asdict())
        done.document = json.loads(done.out) if "--json" in words and code == 0 else None
        return done

    yield run
    forget()


@pytest.fixture
def trap(folder):
    """Replace files by code that must not run; they come back after the test."""
    kept = {}

    def replace(*names):
        for name in names:
            path = folder / f"{name}.py"
            kept[path] = path.read_text()
            path.write_text(TRAP)

    yield replace
    for path, text in kept.items():
        path.write_text(text)
        assert not path.with_suffix(".executed").exists()


@pytest.mark.parametrize(
    ("check", "name", "kind"),
    [
        (check_geometry, "thirds", str),
        (check_dataset, "stripes", Path),
        (check_corruption, "negative", str),
        (check_analysis, "extent", Path),
    ],
)
def test_each_passes_the_contract_suite(check, name, kind, folder):
    check(kind(folder / f"{name}.py"))
    assert not any(registry._registered.values())


def test_a_run_names_them_by_their_absolute_path_and_in_short(folder):
    found = json.loads((folder / "runs" / "own" / "config.json").read_text())["config"]
    assert (found["head"]["vectors"], found["data"]["name"]) == (str(folder / "thirds.py"), str(folder / "stripes.py"))
    assert runs.default_name(runs.Run(folder / "runs" / "own").config()).startswith(
        "stripes-small_resnet-dot-fixed-thirds-"
    )


def test_eval_needs_the_file_of_the_images_and_says_so(call, folder, trap):
    done = call("eval", "own", "--data", "./stripes.py", "--json")
    assert done.code == 0 and done.document["accuracy"] > 0.8
    trap("stripes", "thirds")
    done = call("eval", "own")
    assert done.code == 2
    assert f"{folder / 'stripes.py'}: a Python file is only executed if you name it" in done.err
    assert f"name it again: --data {folder / 'stripes.py'}" in done.err


@pytest.mark.slow
def test_a_run_with_a_geometry_from_outside_works_without_its_file(call, trap, folder):
    before = call("eval", "digits", "--json").document
    trap("thirds")
    done = call("eval", "digits", "--json")
    assert done.code == 0 and done.document["accuracy"] == before["accuracy"]
    head = runs.load(folder / "runs" / "digits", device="cpu").model.head
    assert str(head.geometry) == str(folder / "thirds.py")
    rows = head.class_vectors()
    assert (rows[:, ::3] == 0).all() and rows.norm(dim=1).allclose(torch.ones(10))


def test_training_on_with_another_version_of_the_geometry_is_refused(call, folder):
    path = folder / "thirds.py"
    text = path.read_text()
    try:
        path.write_text(text.replace('"thirds"', '"fourths"'))
        words = ("--vectors", "./thirds.py", "--epochs", "1", "--device", "cpu", "--name", "digits")
        (folder / "runs" / "digits" / "summary.json").rename(folder / "kept.json")
        done = call("train", *words)
    finally:
        path.write_text(text)
        (folder / "kept.json").rename(folder / "runs" / "digits" / "summary.json")
    assert done.code == 4 and "class vectors are not those of the checkpoint" in done.err


def test_a_settings_file_does_not_execute_another_file(call, folder, trap):
    (folder / "settings.toml").write_text('head.vectors = "./thirds.py"\n')
    trap("thirds")
    done = call("train", "--config", "settings.toml", "--epochs", "1")
    assert done.code == 2 and "only executed if you name it" in done.err
    assert f"  name it again: --vectors {folder / 'thirds.py'}; in Python, call" in done.err


@pytest.mark.slow
def test_corrupt_test_takes_a_file_among_names(call):
    words = ("corrupt-test", "digits", "--limit", "60", "--severities", "1,5", "--json", "--corruptions")
    document = call(*words, "fog,./negative.py").document
    assert list(document["corruptions"]) == ["fog", "negative"]
    assert document["corruptions"]["negative"]["5"] <= document["corruptions"]["negative"]["1"]
    assert document["groups"]["extra"]["corruptions"] == f"1 of {len(corruptions.names('extra'))}"
    assert list(call(*words, "fog").document["corruptions"]) == ["fog"]
    done = call(*words, "fog,negative")
    assert done.code == 2 and "unknown corruption 'negative'" in done.err


@pytest.mark.slow
def test_corrupt_test_needs_the_file_of_the_images_too(call, folder):
    words = ("corrupt-test", "own", "--limit", "8", "--severities", "1", "--corruptions", "fog", "--json")
    assert call(*words, "--data", "./stripes.py").document["data"] == "stripes"
    done = call(*words)
    assert done.code == 2 and f"name it again: --data {folder / 'stripes.py'}" in done.err


def test_vectors_takes_a_file(call, folder):
    assert call("vectors", "./thirds.py", "--classes", "5", "--dim", "12", "--json").document["angle_mean"]
    assert (folder / "vectors-thirds-5x12.png").is_file()


@pytest.mark.slow
def test_another_version_of_a_corruption_is_measured_anew(call, folder):
    words = ("corrupt-test", "digits", "--limit", "60", "--severities", "5", "--json", "--corruptions", "./negative.py")
    before = call(*words).document["cells"]["negative"]["5"]
    path = folder / "negative.py"
    text = path.read_text()
    try:
        path.write_text(text.replace("0.45", "0.95"))
        after = call(*words).document["cells"]["negative"]["5"]
    finally:
        path.write_text(text)
    assert after != before
    assert call(*words).document["cells"]["negative"]["5"] == before


@pytest.mark.slow
def test_a_table_of_corruptions_shows_the_outside_one_as_the_users_own(call, folder):
    (folder / "inverted.py").write_text("def corrupt(images, severity, ids, seed):\n    return 255 - images\n")
    words = ("corrupt-test", "digits", "--limit", "60", "--severities", "5")
    done = call(*words, "--corruptions", "./negative.py,saturate", "--corruption-file", "inverted.py")
    assert done.code == 0, done.err
    for label in ("negative (own)", "inverted (own)", "saturate (extra)"):
        assert label in done.out
    rows = [line.split() for line in done.out.splitlines()]
    assert ["2", "of", "2"] in [row[-3:] for row in rows if row[:1] == ["own"]]
    assert ["1", "of", "4"] in [row[-3:] for row in rows if row[:1] == ["extra"]]


def test_analyze_takes_a_file(call):
    done = call("analyze", "./extent.py", "digits", "--json")
    assert done.code == 0, done.err
    assert done.document["extent"]["mean_norm"] > 0 and done.document["extent"]["classes"] == 10
    assert "mean norm" in call("analyze", "./extent.py", "digits").out
    assert call("analyze", "extent", "digits").code == 2


@pytest.mark.parametrize(
    ("words", "file", "text", "message"),
    [
        (("train", "--vectors"), "bad", "import torch\n1 / 0\n", "bad.py, line 2: ZeroDivisionError"),
        (
            ("train", "--data"),
            "bad",
            "def load(options):\n    return options.colour\n",
            "bad.py, line 2: AttributeError",
        ),
        (("train", "--vectors"), "bad", "BY_ROW = True\n", "bad.py: not a geometry of class vectors: rows, limit"),
        (("train", "--vectors"), "uniform", GEOMETRY, "cannot be named 'uniform'"),
        (("train", "--backbone"), "bad", "", "bad.py: a backbone cannot be given as a Python file"),
        (("train", "--backbone"), "bad", "", "  install it as an entry point; in Python, call"),
        (("train", "--vectors"), "bad", "import sys\nsys.exit(3)\n", "bad.py, line 2: the file calls exit (code 3)"),
        (("eval", "digits", "--data"), "bad", "x = [\n", "bad.py, line 1: SyntaxError"),
        (
            ("corrupt-test", "digits", "--corruptions"),
            "bad",
            "x = 1\n",
            "bad.py: not a corruption: SEVERITY_PARAMETERS",
        ),
        (("analyze",), "bad", ANALYSIS.replace("float(norms.mean())", "norms[-1] / {}"), "bad.py, line 9: TypeError"),
        (("analyze",), "gone", None, "gone.py: no such file"),
    ],
)
def test_mistakes_in_a_file_are_the_users_and_name_the_line(call, folder, words, file, text, message):
    path = folder / f"{file}.py"
    if text is not None:
        path.write_text(text.lstrip())
    done = call(*words, f"./{file}.py")
    path.unlink(missing_ok=True)
    assert done.code == 2, done.err
    assert message in done.err and "bug in randhead" not in done.err


SETS = 'SEVERITY_PARAMETERS = dict.fromkeys(("32", "64", "224"), (0.1, 0.2, 0.3, 0.4, 0.45))'
RETURN = "    return Dataset("
COMMANDS = {
    GEOMETRY: ("vectors",),
    DATASET: ("train", "--epochs", "1", "--device", "cpu", "--data"),
    CORRUPTION: ("corrupt-test", "digits", "--limit", "8", "--severities", "1", "--corruptions"),
    ANALYSIS: ("analyze",),
}
TOGETHER = GEOMETRY.replace("BY_ROW = True", "BY_ROW = False").replace("*, seed, out", "*, seed, num_classes")
TOGETHER = TOGETHER.replace("    out.copy_(", "    return (")
COMMANDS[TOGETHER] = ("vectors",)
BROKEN = [
    # the text of a member, what is replaced in it, by what, and what the message says
    (GEOMETRY, "    out.copy_(", "    return (", "rows must write to `out` float32 of shape (10, 128)"),
    (GEOMETRY, "dim=1))", "dim=1) * float('nan'))", "row 0 has numbers that are not finite"),
    (GEOMETRY, "return None", "return 'many'", "limit(128) must be None or a number of classes, got 'many'"),
    (GEOMETRY, "def limit(dim):\n    return None", "limit = 3", "limit must be a function, got 3"),
    (GEOMETRY, "BY_ROW = True", "BY_ROW = 'yes'", "BY_ROW must be True or False, got 'yes'"),
    (TOGETHER, "    return (", "    return torch.ones(3, 3)\n    (", "shape (10, 128), got float32 of shape (3, 3)"),
    (TOGETHER, "    return (", "    (", "rows must return float32 of shape (10, 128), got NoneType"),
    (TOGETHER, "dim=1)", "dim=1).double()", "got float64 of shape (10, 128)"),
    (TOGETHER, "dim=1)", "dim=1).log()", "numbers that are not finite"),
    (DATASET, RETURN, "    return None and Dataset(", "load must return a randhead.datasets.Dataset, got NoneType"),
    (
        DATASET,
        RETURN,
        "    del splits['val']" + "\n" + RETURN,
        "splits must be ['train', 'val', 'test'], got ['train', ",
    ),
    (DATASET, "torch.uint8", "torch.float32", "split train: images must be uint8"),
    (DATASET, "(-1, 3, -1, -1)", "(-1, 4, -1, -1)", "split train: images must have the shape (3, 8, 8), got (4, 8, 8)"),
    (DATASET, "% 2\n    clean", "% 3\n    clean", "split train: labels of 2 classes must be 0 to 1, got 0 to 2"),
    (DATASET, "labels[rows[name]])", "labels[rows[name]].float())", "split train: labels must be int64 of shape (96,)"),
    (DATASET, '("horizontal", "vertical")', "2", "class_names must be a tuple of str, got 2"),
    (CORRUPTION, '("32", "64", "224")', '("32", "64")', "SEVERITY_PARAMETERS must have ['32', '64', '224'], got"),
    (CORRUPTION, ", 0.45", "", "SEVERITY_PARAMETERS['32'] must have 5 entries, one per severity"),
    (CORRUPTION, SETS, "SEVERITY_PARAMETERS = 3", "SEVERITY_PARAMETERS must have ['32', '64', '224'], got 3"),
    (CORRUPTION, ".to(torch.uint8)", ".float()", "corruption bad made torch.float32 (8, 3, 8, 8)"),
    (CORRUPTION, ".to(torch.uint8)", ".byte()[:, :1]", "corruption bad made torch.uint8 (8, 1, 8, 8)"),
    (ANALYSIS, 'INPUT = "run"', 'INPUT = "nope"', "INPUT must be one of run, training, new classes, runs, got 'nope'"),
    (ANALYSIS, "return Findings(", "return dict(", "measure must return randhead.analyses.Findings, got dict"),
    (ANALYSIS, "float(norms.mean())", "float('nan')", "metrics['mean_norm'] is nan"),
    (
        ANALYSIS,
        "float(norms.mean())",
        "norms.mean()",
        "metrics['mean_norm'] must be a number, a word or None, got Tensor",
    ),
    (ANALYSIS, 'INPUT = "run"', 'INPUT = "run"\nHEADLINES = 3', "HEADLINES must be a tuple of names of metrics, got 3"),
    (ANALYSIS, 'INPUT = "run"', 'INPUT = "run"\nMETRICS = {"a": 3}', "METRICS must be a dictionary of"),
    (ANALYSIS, '"mean_norm":', "3:", "the names of metrics must be str, got 3"),
    (ANALYSIS, "*, num_classes", "*, num_classes, colour", "asks for 'colour', which RunInputs does not have"),
    (ANALYSIS, "*, num_classes", "*, num_classes, colour", "can have the arguments accuracy, bias, class_means,"),
]


@pytest.mark.parametrize(("text", "old", "new", "message"), BROKEN, ids=[row[3] for row in BROKEN])
def test_a_member_that_breaks_its_contract_is_the_users_mistake(call, folder, text, old, new, message):
    path = folder / "bad.py"
    assert old in text
    path.write_text(text.replace(old, new).lstrip())
    done = call(*COMMANDS[text], "./bad.py")
    path.unlink()
    assert done.code == 2, done.err
    assert f"{path}" in done.err and message in done.err and "bug in randhead" not in done.err


@pytest.mark.parametrize("what", ["a file", "a member with an argument"])
def test_the_path_of_a_matrix_is_not_the_path_of_a_member(call, what):
    words = ("--vectors", "file:mine.py") if what == "a file" else ("--backbone", "timm:mine.py")
    done = call("train", *words, "--epochs", "1", "--device", "cpu")
    assert "cannot be named" not in done.err and "only executed" not in done.err
    if what == "a file":
        assert done.code == 3 and "mine.py: not a .safetensors or .npy file" in done.err


def test_options_without_files_say_so(call):
    done = call("train", "--set", "head.normaliser=x.py")
    assert done.code == 2 and "x.py: a normaliser cannot be given as a Python file" in done.err


def test_a_mistake_deeper_in_a_file_is_the_users_too(call, folder):
    broken = DATASET.replace("TensorImages(pixels, rows[name])", "Images(pixels, rows[name])")
    broken += "class Images(TensorImages):\n    def batches(self, order, batch_size):\n        return {}[0]\n"
    (folder / "deep.py").write_text(broken.lstrip())
    done = call("train", "--data", "./deep.py", "--epochs", "1", "--device", "cpu")
    assert done.code == 2, done.err
    assert "deep.py, line 18: KeyError: 0" in done.err and "in your file" in done.err and "bug" not in done.err


@pytest.mark.slow
def test_they_work_in_processes_of_their_own(folder):
    import subprocess

    def run(*words):
        done = subprocess.run([sys.executable, "-m", "randhead", *words], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    trained = run(
        "train", "--vectors", "thirds.py", "--data", "stripes.py", "--epochs", "2", "--device", "cpu", "--json"
    )
    assert trained["test"]["accuracy"] > 0.8
    name = trained["run"]
    assert run("eval", name, "--data", "stripes.py", "--json")["accuracy"] == trained["test"]["accuracy"]


def test_python_uses_them_once_they_are_registered(folder):
    try:
        randhead.register_geometry(folder / "thirds.py")
        randhead.register_dataset(folder / "stripes.py")
        randhead.register_corruption(folder / "negative.py")
        head = randhead.ClassVectorHead(5, 12, "thirds")
        assert (head.class_vectors()[:, ::3] == 0).all()
        assert datasets.load("stripes").class_names == ("horizontal", "vertical")
        grey = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
        assert randhead.corrupt(grey, "negative", 4).unique().tolist() == [153]
    finally:
        forget()
