"""A result is shown and no name is obeyed, whatever the console, the disk, the fonts and the settings of others are."""

import errno
import io
import json
import sys
import unicodedata
from dataclasses import replace

import pytest
import tiny
from rich.console import Console

from randhead import cli, files, runs
from randhead.arguments import composed
from randhead.cli import scarcity
from randhead.cli.output import Output, progress_bar
from randhead.report import drawing
from randhead.runs import card

TRAIN = ("train", "--data", "images", "--batch-size", "8", "--epochs", "1", "--device", "cpu", "--precision", "fp32")
NAMES = ("$5_$10", "猫", "[red]", "=1+1|*a*")
COMMANDS = {
    "eval": ("eval", "r"),
    "eval of corruptions": ("eval", "r", "--corruptions"),
    "corrupt-test": ("corrupt-test", "r", "--corruptions", "fog", "--severities", "1"),
    "analyze": ("analyze", "compactness", "r"),
    "vectors": ("vectors", "simplex", "--classes", "5", "--dim", "8"),
    "train": (*TRAIN, "--name", "r"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on classes with names that others take for markup."""
    root = tmp_path_factory.mktemp("hostile")
    tiny.image_folder(root / "images", NAMES, images=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert tiny.main(*TRAIN, "--name", "r") == 0
    return root


@pytest.fixture
def call(trained, monkeypatch, capsys, no_pictures):
    """Run a command in the folder of the run: exit code, stdout, stderr."""
    monkeypatch.chdir(trained)

    def run(*words):
        capsys.readouterr()
        return tiny.main(*words), *capsys.readouterr()

    return run


@pytest.fixture
def read_only(monkeypatch):
    """A disk on which nothing can be written."""

    def refuse(path, content):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(files, "_write", refuse)


# Consoles


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp932"])
@pytest.mark.parametrize(
    "words", [("eval", "r"), ("predict", "r", "images/猫"), ("predict", "r", "images/猫", "--csv")]
)
def test_a_console_that_cannot_encode_a_name_shows_an_escape(call, monkeypatch, encoding, words):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        assert tiny.main(*words) == 0
    assert ("\\u732b" in out.buffer.getvalue().decode(encoding)) is (encoding != "cp932")


def test_a_console_of_ascii_has_its_own_arrows_and_signs(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        Output(as_json=False).say("\u00b15 \u2191")
    assert out.buffer.getvalue() == b"+-5 ^\n"


def test_no_name_is_markup_of_the_terminal(call):
    _, out, _ = call("predict", "r", "images")
    assert all(name in out for name in NAMES)


def test_a_name_reaches_no_terminal_raw(trained, call):
    source = next((trained / "images" / "猫").iterdir())
    folder = trained / "odd"
    folder.mkdir(exist_ok=True)
    (folder / "a\x1b]0;PWNED\x07\x1b[2J\n\u202e.png").write_bytes(source.read_bytes())
    (folder / "b\x1b[2J\n.png").write_bytes(b"text")
    for words in (("--skip-bad-images",), ("--skip-bad-images", "--csv"), ("--skip-bad-images", "--json"), ()):
        _, out, err = call("predict", "r", "odd", *words)
        assert not [c for c in out + err if c in "\x1b\x07\u202e"]
        assert len(err.splitlines()) <= 2


@pytest.mark.parametrize("colours", [{"FORCE_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"COLUMNS": "5"}])
def test_only_a_terminal_gets_a_live_bar(monkeypatch, colours):
    for name, value in colours.items():
        monkeypatch.setenv(name, value)
    for is_terminal in (False, True):
        screen = io.StringIO()
        screen.isatty = lambda is_terminal=is_terminal: is_terminal
        shown = not progress_bar(Console(file=screen)).disable
        assert shown is (is_terminal and "TERM" not in colours)


@pytest.mark.parametrize("size", ["0", "-3", "", "many", "\u00b2", "1000000000"])
def test_a_size_that_no_terminal_has_is_no_size(monkeypatch, capsys, tmp_path, size):
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        monkeypatch.setenv(name, size)
    assert tiny.main("list") == 0
    assert "no runs" in "".join(capsys.readouterr())
    assert tiny.main("list", "--help") == 0
    assert "--json" in capsys.readouterr().out


def test_a_log_with_colours_has_no_carriage_return(call, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    _, out, err = call(*TRAIN, "--name", "colours")
    assert "\r" not in out + err
    assert "\x1b[1A" not in out + err


def test_a_name_is_the_same_text_in_every_locale():
    """In that of C, with the UTF-8 mode of Python off, file names are decoded as ASCII."""
    assert composed("猫".encode().decode("ascii", "surrogateescape")) == "猫"
    for name in ("a\udcff", "a\x1b", "\ud800", "e\u0301"):  # not UTF-8, or text as it is
        assert composed(name) == unicodedata.normalize("NFC", name)


# Files


@pytest.mark.parametrize("command", [pytest.param(c, marks=pytest.mark.slow if "of" in c else ()) for c in COMMANDS])
@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
def test_a_result_is_shown_before_it_is_written(call, read_only, command, as_json):
    code, out, err = call(*COMMANDS[command], *(["--json"] if as_json else []))
    assert code == 0
    assert "Read-only file system" in err and "free some space" not in err
    assert json.loads(out) if as_json else out


def test_a_picture_that_cannot_be_drawn_costs_a_warning(call, monkeypatch):
    monkeypatch.setattr(drawing, "draw", lambda result, run, warn: 1 / 0)
    code, out, err = call("eval", "r")
    assert code == 0 and "accuracy" in out
    assert "its pictures cannot be drawn: ZeroDivisionError" in err
    assert "reports/evaluate-test.json" in out


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "another"), (13, "perm")]
)
def test_the_way_out_of_a_failed_write_is_that_of_its_cause(number, hint):
    assert hint in files.way_out(OSError(number, "reason"))


def test_a_file_is_utf_8_also_with_bytes_of_a_name_that_are_not(tmp_path):
    files.atomic_write(tmp_path / "a", "\udcff猫")
    assert (tmp_path / "a").read_text("utf-8") == "\\udcff猫"


def test_the_card_is_a_table_whatever_the_names_are(trained):
    run = runs.Run(trained / "runs" / "r")
    summary = run.summary()
    summary = replace(summary, notes=("class a|b\n# *c* is new",), warnings=("<i>",), bad_images=("x`\n.png",))
    text = card.text(runs.Run(trained / "a|b<script>\n$x_"), run.config(), summary)
    assert {r"Class a&#124;b\\n\# \*c\* is new.", "**Warning**: &lt;i&gt;.", r"- x\`\\n.png"} <= {*text.splitlines()}
    assert text.splitlines()[0] == r"# a&#124;b&lt;script&gt;\\n\$x\_"


# What a machine lacks


@pytest.mark.parametrize(
    ("error", "what", "way_out"),
    [
        (MemoryError(), "not enough memory", "--batch-size"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "memory",
            "--batch",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), "not enough memory", "--batch-size"),
        (RuntimeError("can't start new thread"), "threads", "machine.workers"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory", "--batch-size"),
        (OSError(errno.EMFILE, "Too many open files"), "open files", "ulimit -n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory", "--batch-size"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "threads", "ulimit -u"),
        (RuntimeError("unable to open shared memory object </torch_1_2>"), "shared memory", "--batch-size"),
    ],
    ids=str,
)
def test_what_a_machine_lacks_is_no_bug(call, monkeypatch, error, what, way_out):
    def lacking(*args, **options):
        raise error

    monkeypatch.setattr(runs, "open_run", lacking)
    code, _, err = call(*TRAIN)
    assert code == 2 and "bug" not in err
    message, hint = err.splitlines()
    assert what in message and way_out in hint


def test_other_errors_are_bugs():
    assert scarcity.explained(RuntimeError("shapes do not fit"), "train") is None


@pytest.mark.parametrize(
    "error", [ImportError("no symbol", name="lxml.etree"), ModuleNotFoundError("none", name="lxml")]
)
def test_a_broken_package_is_no_bug(call, monkeypatch, error):
    def broken(*args, **options):
        raise error

    monkeypatch.setattr(runs, "open_run", broken)
    code, _, err = call(*TRAIN)
    assert code == 2 and "the package lxml cannot be imported" in err


def test_a_package_that_fails_while_it_is_imported_is_named(call, monkeypatch, tmp_path):
    (tmp_path / "broken_of_others.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)

    def broken(*args, **options):
        import broken_of_others  # noqa: F401

    monkeypatch.setattr(runs, "open_run", broken)
    code, _, err = call(*TRAIN)
    assert code == 2 and "the package broken_of_others cannot be imported: operator torchvision::nms" in err


def test_an_interrupt_of_others_is_an_interrupt(call, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.errors, "ending_at_once", interrupted)
    assert call("list")[::2] == (130, "interrupted\n")


def test_the_result_of_a_training_is_shown_if_the_disk_is_full_at_its_end(call, monkeypatch):
    write = files._write

    def full(path, content):
        if path.name in ("summary.json", "README.md"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", full)
        code, out, err = call(*TRAIN, "--name", "full")
    assert code == 0 and "test accuracy" in out
    assert "summary.json: No space left on device: not written" in err
    code, again, _ = call(*TRAIN, "--name", "full")
    assert code == 0 and "test accuracy" in again
