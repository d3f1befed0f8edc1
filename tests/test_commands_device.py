"""Every command from end to end on a device: on CUDA the answers are those of the CPU, within rounding."""

import json

import pytest
from tiny import image_folder
from trained import command, quick

DEVICES = [pytest.param("cuda", marks=pytest.mark.gpu), pytest.param("cpu", marks=pytest.mark.slow)]
STEP = ("--epochs", "2", "--batch-size", "16")
TRAININGS = {
    "fixed": ("--seed", "0"),
    "fixed1": ("--seed", "1"),
    "learned": ("--scoring", "cosine", "--learned", "--neck", "batchnorm"),
    "packed": ("--vectors", "packed", "--set", "data.hold_out_classes=2"),
    "expected": ("--vectors", "gaussian", "--scoring", "cosine", "--scale", "1", "--set", "head.normaliser=expected",
                 "--set", "head.normaliser_tolerance=100"),
    "views": ("--set", "data.labels=instance", "--set", "head.normaliser=streaming", "--vectors", "rademacher"),
    "adamw": ("--set", "optim.name=adamw", "--set", "optim.clip_norm=1", "--set", "optim.accumulate=2"),
}  # fmt: skip


@pytest.fixture(params=DEVICES)
def device(request, tmp_path, monkeypatch):
    image_folder(tmp_path / "images", classes=("cat", "dog", "eel", "fox"), images=20)
    monkeypatch.chdir(tmp_path)
    return request.param


@pytest.fixture
def run(capsys):
    def found(*words):
        code, out, err = command(capsys, *words, "--json")
        assert code == 0, f"randhead {' '.join(words)}: {err}"
        return json.loads(out)

    return found


def test_every_command_works_on_a_device(device, run):
    on = ("--device", device)
    for name, words in TRAININGS.items():
        document = run("train", "--data", "images", "--name", name, *words, *STEP, *on)
        assert document["images_per_second"] > 0
        assert 0 <= document["test"]["accuracy"] <= 1
    again = run("train", "--data", "images", "--name", "fixed", *TRAININGS["fixed"], *STEP, *on)
    assert again["run"] == "fixed"
    assert run("train", "--data", "images", "--name", "more", "--from", "fixed", *STEP, *on)["epochs"] == 2
    found = run("evaluate", "fixed", "--corruptions", *on)
    assert len(found["corruptions"]) == 15
    tested = run("corrupt-test", "fixed", "--corruptions", "all", "--severities", "1,5", "--save", "made", *on)
    assert len(tested["corruptions"]) == 19
    assert run("corrupt-test", "fixed", "learned", "--corruptions", "fog", "--baseline", "learned", *on)
    with quick():
        assert run("analyze", "all", "fixed", "fixed1", *on)
    assert run("analyze", "transfer", "packed", *on)
    assert run("predict", "fixed", "images/cat/0.png", *on)
    assert run("vectors", "--classes", "10", "--dim", "64")
    assert run("study", "--data", "images", "--arms", "dot-fixed,dot-learned", "--seeds", "2", "--epochs", "1", *on)
    assert run("doctor")
    assert len(run("list")["runs"]) == len(TRAININGS) + 1


@pytest.mark.gpu
def test_a_gpu_classifies_as_the_cpu_does(tmp_path, monkeypatch, run):
    image_folder(tmp_path / "images", classes=("cat", "dog"), images=20)
    monkeypatch.chdir(tmp_path)
    words = ("train", "--data", "images", "--set", "train.precision=fp32", *STEP, "--name", "run")
    run(*words, "--device", "cuda")
    here, there = (run("evaluate", "run", "--device", device) for device in ("cpu", "cuda"))
    assert here["accuracy"] == there["accuracy"]
    assert here["nll"] == pytest.approx(there["nll"], rel=1e-2)
    assert run("corrupt-test", "run", "--corruptions", "fog", "--device", "cuda")["corruptions"]["fog"]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_a_compiled_training_works_on_a_gpu(tmp_path, monkeypatch, run):
    image_folder(tmp_path / "images", classes=("cat", "dog"), images=20)
    monkeypatch.chdir(tmp_path)
    words = ("train", "--data", "images", "--set", "machine.compile=true", "--device", "cuda", *STEP)
    assert run(*words)["test"]["accuracy"] > 0
