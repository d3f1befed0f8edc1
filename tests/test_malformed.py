"""Whatever is wrong with what is given: the right exit code, a line on the cause, a line on what to do, no traceback,
and nothing on the disk is changed."""

import fcntl
import os
import pickle
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import save_file

from randhead import datasets

USAGE, DATA, RUN, DIVERGED = 2, 3, 4, 5
TRAIN = ("train", "--data", "images", "--batch-size", "8", "--device", "cpu", "--precision", "fp32", "--epochs", "1")
AGAIN = (*TRAIN[:-1], "3", "--set", "optim.lr=0.05", "--name", "stopped")
VECTORS = "file:w.npy"


def nothing(world):
    """The world as it is."""


@dataclass
class Case:
    """What is wrong, the exit code, our words ("" where Typer speaks), the command, and how the world gets there."""

    name: str
    code: int
    words: str
    command: tuple[str, ...]
    spoil: object = nothing


CASES: list[Case] = []


def case(name, code, words, *command, spoil=nothing):
    CASES.append(Case(name, code, words, command, spoil))


def setting(text, words):
    case(f"--set {text}", USAGE, words, *TRAIN, "--set", text)


# Settings

setting("optim.lr", "has no value")
setting("=3", "has no value")
setting("optim.lrr=0.1", "unknown setting 'optim.lrr'")
setting("lr=0.1", "unknown setting 'lr'")
setting("optim=0.1", "unknown setting 'optim'")
setting("optim.lr=fast", "optim.lr must be a number")
setting("optim.lr=nan", "optim.lr must be a positive number")
setting("optim.lr=inf", "optim.lr must be a positive number")
setting("optim.lr=0", "optim.lr must be a positive number")
setting("optim.lr=-1", "optim.lr must be a positive number")
setting("optim.momentum=1", "optim.momentum must be in [0, 1)")
setting("optim.momentum=nan", "optim.momentum must be in [0, 1)")
setting("optim.weight_decay=-1", "optim.weight_decay must be")
setting("optim.label_smoothing=1", "optim.label_smoothing must be")
setting("optim.clip_norm=0", "optim.clip_norm must be")
setting("optim.accumulate=0", "optim.accumulate must be")
setting("optim.name=adam", "optim.name: unknown value 'adam'")
setting("optim.schedule=linear", "optim.schedule: unknown value")
setting("train.epochs=2.5", "train.epochs must be a whole number")
setting("train.epochs=0", "train.epochs must be from 1")
setting("train.batch_size=1", "train.batch_size must be from 2")
setting("train.seed=-1", "train.seed must be from 0")
setting("train.seed=9999999999999999999999", "train.seed must be from 0")
setting("data.split_seed=-1", "data.split_seed must be from 0")
setting("data.validation=1", "data.validation must be between 0 and 1")
setting("data.validation=nan", "data.validation must be between 0 and 1")
setting("data.image_size=4", "data.image_size must be from 8")
setting("data.crop_padding=-1", "data.crop_padding must be")
setting("data.normalise=zca", "data.normalise: unknown value")
setting("data.name=", "data.name must be a dataset or a folder")
setting("head.trainable=perhaps", "head.trainable must be true or false")
setting("head.bias=inf", "head.bias must be a finite number")
setting("head.normaliser=_rows", "unknown normaliser")
setting("machine.workers=0", "machine.workers must be from 1")
setting("machine.keep_checkpoints=0", "machine.keep_checkpoints must be")
setting("machine.checkpoint_minutes=nan", "machine.checkpoint_minutes must be")

for option, value, words in (
    ("--scoring", "dots", "--scoring: unknown value 'dots'"),
    ("--neck", "wide", "--neck: unknown value"),
    ("--class-keys", "id", "--class-keys: unknown value"),
    ("--scale", "0", "--scale must be a positive number"),
    ("--scale", "nan", "--scale must be a positive number"),
    ("--scale", "big", "--scale must be a number"),
    ("--precision", "fp8", "--precision: unknown value"),
    ("--device", "tpu", "--device: unknown value"),
    ("--recipe", "papr", "unknown recipe 'papr'"),
    ("--backbone", "resnet81", "unknown backbone 'resnet81'"),
    ("--backbone", "../../../etc/passwd", "unknown backbone"),
    ("--backbone", "_residual", "unknown backbone"),
    ("--backbone", "resnet18:wide", "resnet18 has no variants"),
    ("--backbone", "torchvision:nothing", "unknown torchvision model"),
    ("--vectors", "nonsense", "unknown geometry"),
    ("--vectors", "os.system", "unknown geometry"),
    ("--vectors", "uniform:x", "only the file geometry takes a path"),
    ("--vectors", "file:", "only the file geometry takes a path"),
    ("--data", "digit", "unknown dataset 'digit'"),
    ("--data", "x" * 300, "unknown dataset"),
    ("--data", "image_folder", "image_folder is not a dataset by itself"),
    ("--hold-out-classes", "unicorn", "unknown class to hold out"),
):
    case(f"{option} {value[:20]}", USAGE, words, *TRAIN, option, value)
case("--pretrained without weights", USAGE, "no pretrained weights", *TRAIN, "--pretrained")
case("keyed simplex", USAGE, "cannot be keyed by class name", *TRAIN, "--vectors", "simplex", "--class-keys", "name")
case("a geometry that is full", USAGE, "at most 11 classes", "vectors", "simplex", "--classes", "100", "--dim", "10")
case("vectors of no geometry", USAGE, "unknown geometry", "vectors", "unifrom")
case("vectors of no scale", USAGE, "--scale must be", "vectors", "uniform", "--scale", "-1")
if not torch.cuda.is_available():
    case("no CUDA here", USAGE, "no CUDA device", *TRAIN, "--device", "cuda")

# Typer's own refusals: only the exit code is ours
case("an unknown command", USAGE, "", "tarin")
case("an unknown option", USAGE, "", *TRAIN, "--epoch-count", "3")
case("epochs that are no number", USAGE, "", *TRAIN, "--epochs", "many")
case("predict without images", USAGE, "", "predict", "good")
case("no best class at all", USAGE, "", "predict", "good", "images", "--k", "0")

# TOML


def toml(name, words, content):
    def spoil(world):
        if content is not None:
            (world / "run.toml").write_bytes(content)

    case(f"TOML: {name}", USAGE, words, *TRAIN, "--config", "run.toml", spoil=spoil)


toml("missing", "run.toml: No such file", None)
toml("cut short", "not a TOML file", b"[optim")
toml("YAML", "not a TOML file", b"optim:\n  lr: 0.1\n")
toml("binary", "not a TOML file", b"\xff\xfe\x00")
toml("a key twice", "not a TOML file", b"[optim]\nlr = 1\nlr = 2\n")
toml("an unknown section", "unknown setting", b"[optimiser]\nlr = 0.1\n")
toml("too deep", "unknown setting 'optim.sgd'", b"[optim.sgd]\nlr = 0.1\n")
toml("a list for a number", "optim.lr must be a number", b"[optim]\nlr = [0.1]\n")
toml("a date for a text", "head.vectors must be text", b"[head]\nvectors = 2020-01-01\n")
toml("not a number", "optim.lr must be a positive number", b"[optim]\nlr = nan\n")
toml("a list for the recipe", "unknown recipe", b'recipe = ["paper"]\n')
case("a folder as TOML", USAGE, "Is a directory", *TRAIN, "--config", "images")

# Names of runs

for trick in ("", "..", "../x", "a/b", "/etc", ".hidden", "-x", "a b", "last", "é", "x" * 201, "a\nb"):
    case(f"--name {trick[:9]!r}", USAGE, "a run cannot be named", *TRAIN, f"--name={trick}")

# Images


def image(name, code, words, spoil, *options):
    case(f"images: {name}", code, words, *TRAIN, *options, spoil=spoil)


def write(path, content):
    def spoil(world):
        (world / path).parent.mkdir(parents=True, exist_ok=True)
        (world / path).write_bytes(content)

    return spoil


def png_header(width, height):
    """A PNG file that promises more than it holds."""
    import zlib

    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def only(*kept):
    def spoil(world):
        for path in (world / "images").iterdir():
            if path.name not in kept:
                shutil.rmtree(path)

    return spoil


def emptied(world):
    for path in (world / "images" / "cat").iterdir():
        path.unlink()


def all_bad(world):
    for path in (world / "images" / "cat").iterdir():
        path.write_bytes(b"no image")


def cut(world):
    path = world / "images" / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:-30])


def floats(world):
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(world / "images" / "cat" / "f.tiff")


def loose(world):
    shutil.rmtree(world / "images")
    (world / "images").mkdir()
    Image.new("RGB", (8, 8)).save(world / "images" / "a.png")


def parts(*names):
    """Classes below train/, test/ and the like; a name may list the classes it lacks after a minus."""

    def spoil(world):
        shutil.rmtree(world / "images")
        for name in names:
            split, _, lacking = name.partition("-")
            tiny.image_folder(world / "images", [c for c in ("cat", "dog", "eel") if c != lacking], 4, split=split)

    return spoil


def looped(world):
    (world / "images" / "loop").symlink_to(world / "images")


image("a missing folder", DATA, "nothing: no such folder", nothing, "--data", "./nothing")
image("an image for a folder", DATA, "0.png: a file, not a folder", nothing, "--data", "images/cat/0.png")
image("an empty folder", DATA, "no class folders", only())
image("one class", DATA, "only one class, 'cat'", only("cat"))
image("a class without images", DATA, "cat: a class without images", emptied)
image("no class folders", DATA, "images are directly in it", loose)
image("train without test", DATA, "neither val nor test", parts("train"))
image("test without train", DATA, "but no train", parts("test", "val"))
image("val twice", DATA, "are the same split", parts("train", "val", "valid"))
image("a class that test lacks", DATA, "test lacks the class folders eel", parts("train", "test-eel"))
image("a class that train lacks", DATA, "test also has", parts("train-eel", "test"))
image("a link to itself", DATA, "a link back", looped)
image("0 bytes", DATA, "z.png", write("images/cat/z.png", b""))
image("text named .jpg", DATA, "z.jpg", write("images/cat/z.jpg", b"I am not an image"))
image("a page named .png", DATA, "z.png", write("images/cat/z.png", b"<!DOCTYPE html><html></html>"))
image(
    "PostScript named .jpg",
    DATA,
    "z.jpg",
    write("images/cat/z.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
)
image("only a header", DATA, "z.png", write("images/cat/z.png", png_header(8, 8)))
image("a bomb", DATA, "z.png", write("images/cat/z.png", png_header(60_000, 60_000)))
image("cut short", DATA, "0.png", cut)
image("floating-point pixels", DATA, "f.tiff", floats)
image("a whole class bad", DATA, "every image of class 'cat'", all_bad, "--skip-bad-images")
image("a folder of nobody", DATA, "no such user", nothing, "--data", "~nobody-of-that-name/images")
case("doctor on a missing folder", DATA, "no such folder", "doctor", "--data", "nothing")

# Class vectors from a file


def vectors(name, code, words, content, path="w.npy"):
    def spoil(world):
        if isinstance(content, np.ndarray):
            np.save(world / path, content, allow_pickle=True)
        elif isinstance(content, dict):
            save_file(content, world / path)
        elif content is not None:
            (world / path).write_bytes(content)

    case(f"vectors: {name}", code, words, *TRAIN, "--vectors", f"file:{path}", spoil=spoil)


D, ROWS = 32, np.ones((3, 32), dtype=np.float32)
vectors("missing", DATA, "w.npy: no such file", None)
vectors("text", DATA, "not a .npy file", b"1 2 3\n")
vectors("of another kind", DATA, "not a .safetensors or .npy file", b"1,2\n", "w.csv")
vectors("objects", DATA, "not a .npy file", np.array([[object()] * D] * 3))
vectors("words", DATA, "entries are", np.array([["a"] * D] * 3))
vectors("of another shape", DATA, "shape (4, 32)", np.ones((4, D)))
vectors("transposed", DATA, "shape (32, 3)", np.ones((D, 3)))
vectors("a row of zeros", DATA, "row 1 is zero", ROWS * [[1], [0], [1]])
vectors("a row that is no number", DATA, "row 2 is NaN", ROWS * [[1], [1], [np.nan]])
vectors("a pickle", DATA, "not a safetensors file", pickle.dumps(ROWS), "w.safetensors")
vectors("a header that lies", DATA, "not a safetensors file", struct.pack("<Q", 1 << 60) + b"{}", "w.safetensors")
vectors("without a name", DATA, "named 'vectors'", {"a": torch.ones(3, D), "b": torch.ones(3, D)}, "w.safetensors")
vectors(
    "half a npy",
    DATA,
    "not a .npy file",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, ",
)

# Runs

EVAL = ("eval", "good")
PREDICT = ("predict", "good", "images/cat/0.png")


def model(change):
    def spoil(world):
        path = world / "runs" / "good" / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def flip(place):
    return lambda content: content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def renamed_class(content):
    """A class name in the document becomes a path; the hash no longer fits."""
    assert b'\\"eel\\"' in content
    return content.replace(b'\\"eel\\"', b'\\"../\\"')


class Trap:
    """Unpickling this would leave a file behind."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def foreign(world):
    save_file({"weight": torch.ones(3)}, world / "runs" / "good" / "model.safetensors", {"format": "pt"})


def saved_by_torch(world):
    torch.save({"weight": torch.ones(3), "trap": Trap()}, world / "runs" / "good" / "model.safetensors")


def a_folder(world):
    (world / "runs" / "good" / "model.safetensors").unlink()
    (world / "runs" / "good" / "model.safetensors").mkdir()


def without(path):
    return lambda world: (world / "runs" / path).unlink()


def size():
    return (HOME.template / "runs" / "good" / "model.safetensors").stat().st_size


for command in (EVAL, PREDICT):
    verb = command[0]
    for share in (0, 0.001, 0.5, 0.999):
        spoil = model(lambda content, share=share: content[: int(share * len(content))])
        case(f"{verb}: a model cut at {share}", RUN, "not a complete safetensors file", *command, spoil=spoil)
    case(f"{verb}: a flipped bit in the weights", RUN, "damaged", *command, spoil=model(lambda c: flip(len(c) - 9)(c)))
    case(f"{verb}: a flipped bit in the header", RUN, "model.safetensors", *command, spoil=model(flip(40)))
    case(f"{verb}: a class renamed to a path", RUN, "damaged", *command, spoil=model(renamed_class))
    case(f"{verb}: a pickle as a model", RUN, "safetensors", *command, spoil=model(lambda c: pickle.dumps(Trap())))
    case(f"{verb}: torch.save as a model", RUN, "safetensors", *command, spoil=saved_by_torch)
    case(f"{verb}: a foreign model", RUN, "not a checkpoint of randhead", *command, spoil=foreign)
    case(f"{verb}: a folder as a model", RUN, "model.safetensors", *command, spoil=a_folder)
    case(f"{verb}: no model", RUN, "no trained model yet", *command, spoil=without("good/model.safetensors"))

case("a run that is not there", RUN, "there is no run godo in runs", "eval", "godo")
case("a run outside", RUN, "is not a run", "eval", "../../../etc")
case(
    "a run that is not finished",
    RUN,
    "no trained model yet",
    "eval",
    "stopped",
    spoil=without("stopped/model.safetensors"),
)
case("no runs", RUN, "there is no run in nowhere", "eval", "--runs", "nowhere")
case("runs in a file", RUN, "there is no run good in", "eval", "good", "--runs", "images/cat/0.png")
case("no latest run", RUN, "there is no run", "eval", spoil=without("last"))
case("a latest run that is a path", RUN, "there is no run", "eval", spoil=write("runs/last", b"../../etc\n"))
case("an unknown split", USAGE, "--split: unknown value 'tset'", "eval", "--split", "tset")


def other_classes(world):
    tiny.image_folder(world / "others", ("cat", "dog", "fox"))


case("images of other classes", DATA, "other classes", *EVAL, "--data", "others", spoil=other_classes)
case("evaluation images that are not there", DATA, "no such folder", *EVAL, "--data", "./others")
case("strange images that are not there", DATA, "no such folder", *EVAL, "--ood", "./others")
case("an image that is not there", DATA, "missing.png: no such file or folder", "predict", "good", "missing.png")
case("an image that is none", DATA, "z.jpg", "predict", "good", "z.jpg", spoil=write("z.jpg", b"text"))
case(
    "a folder without images", DATA, "has no images", "predict", "good", "empty", spoil=lambda w: (w / "empty").mkdir()
)
case("two formats at once", USAGE, "cannot be used together", *PREDICT, "--csv", "--json")
case("predict with no run", RUN, "there is no run", "predict", "last", "images", "--runs", "nowhere")


def checkpoints(change):
    def spoil(world):
        for path in (world / "runs" / "stopped" / "checkpoints").iterdir():
            path.write_bytes(change(path.read_bytes()))

    return spoil


none_left = "no checkpoint can be used"
case("checkpoints cut short", RUN, none_left, *AGAIN, spoil=checkpoints(lambda c: c[: len(c) // 2]))
case("checkpoints with a flipped bit", RUN, none_left, *AGAIN, spoil=checkpoints(lambda c: flip(len(c) // 2)(c)))
case("checkpoints that are pickles", RUN, none_left, *AGAIN, spoil=checkpoints(lambda c: pickle.dumps(Trap())))
case("checkpoints that are empty", RUN, none_left, *AGAIN, spoil=checkpoints(lambda c: b""))
case(
    "images that have changed",
    RUN,
    "was trained on other images",
    *AGAIN,
    spoil=lambda w: (w / "images" / "cat" / "0.png").unlink(),
)


def foreign_checkpoint(world):
    (other,) = (world / "runs" / "good" / "checkpoints").iterdir()
    for path in (world / "runs" / "stopped" / "checkpoints").iterdir():
        shutil.copy(other, path)


case("checkpoints of another run", RUN, none_left, *AGAIN, spoil=foreign_checkpoint)
case("another configuration", RUN, "optim.lr: saved 0.05, requested 0.1", *AGAIN, "--set", "optim.lr=0.1")
case("a damaged configuration", RUN, "config.json", *AGAIN, spoil=write("runs/stopped/config.json", b"{"))
case("a damaged summary", RUN, "summary.json", *AGAIN, spoil=write("runs/stopped/summary.json", b"{}"))
case("a folder that is no run", RUN, "is not a run", *TRAIN, "--name", "thesis", spoil=write("runs/thesis/a.tex", b""))
case("a file where the run goes", RUN, "Not a directory", *TRAIN, "--name", "f", spoil=write("runs/f", b""))
case("a file where the runs go", RUN, "Not a directory", *TRAIN, "--out", "images/cat/0.png")


def held(world):
    HOME.file = (world / "runs" / "stopped" / ".lock").open("w")
    fcntl.flock(HOME.file, fcntl.LOCK_EX)


case("a run that is being trained", RUN, "being trained by another process", *AGAIN, spoil=held)

# Nothing is lost by starting over with something that cannot be

for name, words, options in (
    ("data", "no such folder", ("--data", "./nothing")),
    ("a geometry", "unknown geometry", ("--vectors", "nonsense")),
    ("a backbone", "unknown backbone", ("--backbone", "nonsense")),
):
    code = DATA if name == "data" else USAGE
    case(f"--fresh with {name} that is not there", code, words, *TRAIN, "--name", "good", "--fresh", *options)

# Divergence

TOO_FAST = ("--set", "optim.lr=1e30", "--set", "optim.schedule=constant", "--epochs", "9")
case("a learning rate that is far too high", DIVERGED, "not finite", *TRAIN, *TOO_FAST)
case("the same in small batches", DIVERGED, "not finite", *TRAIN, *TOO_FAST, "--set", "train.batch_size=2")


@dataclass
class Home:
    """Where the commands run, and what the folder is made from before each."""

    world: Path | None = None
    template: Path | None = None
    file: object = None
    touched: bool = True


HOME = Home()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images, a finished run and one that was stopped after three steps."""
    root = tmp_path_factory.mktemp("malformed")
    world = root / "world"
    tiny.image_folder(world / "images", images=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        for name, epochs, steps in (("stopped", 3, 4), ("good", 1, 99)):
            settings = tiny.config(
                data__name=str((world / "images").resolve()),
                train__epochs=epochs,
                train__batch_size=8,
                machine__checkpoint_minutes=0,
                optim__lr=0.05 if name == "stopped" else 0.1,
            )
            asked = iter([False] * steps)
            dataset = datasets.from_config(settings)
            tiny.fit(world / "runs" / name, settings, dataset, should_stop=lambda asked=asked: next(asked, True))
    world.rename(root / "template")
    HOME.world, HOME.template = world, root / "template"
    return HOME


@pytest.fixture
def world(home, monkeypatch):
    """The folder in its original state, and the current one; class vectors have 32 dimensions."""
    if home.touched:
        shutil.rmtree(home.world, ignore_errors=True)
        shutil.copytree(home.template, home.world)
    home.touched = True
    monkeypatch.chdir(home.world)
    return home.world


def test_the_table_is_long_enough_and_its_names_differ():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_malformed_is_refused(case, world, monkeypatch, capsys):
    case.spoil(world)
    before = tiny.tree(world)
    try:
        code = tiny.main(*case.command)
    finally:
        if HOME.file:
            HOME.file.close()
            HOME.file = None
    out, err = capsys.readouterr()
    assert code == case.code, err
    assert "Traceback" not in out + err
    assert out == "" or not case.words
    if case.words:
        lines = err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == [lines[-2]], err
        assert case.words in lines[-2]
        assert lines[-1].startswith("  ")
        assert len(lines[-1]) > len("  keep one") - 1
    after = tiny.tree(world)
    if case.code == DIVERGED:  # it had begun: its own folder is new, and it is the latest run
        after = {path: content for path, content in after.items() if path in before} | {"runs/last": b"good\n"}
    assert after == before
    assert not os.path.lexists(world / "executed")
    HOME.touched = case.spoil is not nothing or case.code == DIVERGED


@pytest.mark.slow
def test_without_anything_malformed_the_same_commands_work(world, monkeypatch, capsys):
    """So that the table cannot pass because everything is refused."""
    for command in (TRAIN, AGAIN, EVAL, PREDICT, ("vectors", "simplex", "--classes", "11", "--dim", "10")):
        assert tiny.main(*command) == 0, capsys.readouterr().err


FINE = {
    "CMYK": lambda path: Image.new("CMYK", (9, 9)).save(path.with_suffix(".jpg")),
    "16 bits": lambda path: Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)).save(path.with_suffix(".png")),
    "one pixel": lambda path: Image.new("RGB", (1, 1)).save(path.with_suffix(".png")),
    "greyscale": lambda path: Image.new("L", (9, 5)).save(path.with_suffix(".png")),
    "a palette": lambda path: Image.new("P", (5, 9)).save(path.with_suffix(".gif")),
    "transparency": lambda path: Image.new("RGBA", (9, 9)).save(path.with_suffix(".png")),
    "a very long one": lambda path: Image.new("RGB", (5000, 1)).save(path.with_suffix(".png")),
    "a copy of another": lambda path: shutil.copy(path.parent / "0.png", path.with_suffix(".png")),
    "an extension in capitals": lambda path: Image.new("RGB", (9, 9)).save(path.with_suffix(".JPEG")),
    "a hidden file": lambda path: (path.parent / ".DS_Store").write_bytes(b"x"),
    "another kind of file": lambda path: (path.parent / "notes.txt").write_bytes(b"x"),
}


def test_unusual_images_are_no_mistake(world, monkeypatch, capsys):
    for make in FINE.values():
        make(world / "images" / "cat" / f"new{len(list((world / 'images' / 'cat').iterdir()))}")
    assert tiny.main(*TRAIN) == 0
    assert "test accuracy" in capsys.readouterr().out
