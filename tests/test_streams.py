"""Output that is lost in a closed pipe, a closed terminal or a full disk ends nothing; a handler prints nothing."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny

from randhead.cli import signals, streams
from randhead.runs import Run, checkpoint

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHON": sys.executable}
TRAIN = '"$PYTHON" -m randhead train --data images --batch-size 8 --device cpu --precision fp32 --epochs'
LIMIT_S = 60


def text_on(handle):
    raw = streams.Stream(handle, "w", closefd=False)
    return raw, io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True)


# Streams


def test_a_reader_that_is_gone_is_no_error():
    reader, writer = os.pipe()
    raw, text = text_on(writer)
    print("read", file=text)
    assert os.read(reader, 100) == b"read\n"
    os.close(reader)
    for _ in range(3):
        print("x" * 100_000, file=text)
    text.flush()
    assert raw.reader_is_gone
    os.close(writer)
    print("closed", file=text)
    text.close()


def test_a_full_disk_is_remembered_and_ends_when_there_is_space():
    with Path("/dev/full").open("wb") as full:
        raw, text = text_on(full.fileno())
        print("lost", file=text)
        assert raw.error.strerror == "No space left on device"
        assert not raw.reader_is_gone
        reader, writer = os.pipe()
        os.dup2(writer, full.fileno())
        print("kept", file=text)
        assert os.read(reader, 100) == b"kept\n"
        for handle in (reader, writer):
            os.close(handle)


def test_a_descriptor_that_does_not_block_gets_everything():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    received = []
    thread = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reader, 65536), b"")))
    _, text = text_on(writer)
    thread.start()
    text.write("x" * 1_000_000)
    text.flush()
    os.close(writer)
    thread.join()
    assert sum(map(len, received)) == 1_000_000
    os.close(reader)


# Signals


def test_a_handler_prints_nothing_and_the_loop_says_once_that_it_is_heard():
    said = []
    with pytest.raises(KeyError), signals.GracefulStop(said.append) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR1)
        assert said == []
        assert stop() and stop()
        assert len(said) == 1
        assert stop.exit_code == 143
        raise KeyError


def test_a_signal_that_nobody_asked_about_is_not_lost():
    with pytest.raises(signals.Ended) as ended, signals.ending_at_once(), signals.GracefulStop([].append):
        signal.raise_signal(signal.SIGINT)
    assert ended.value.exit_code == 130


@pytest.mark.parametrize("name", signals.NAMES)
def test_every_signal_ends_a_command_with_its_code_and_the_old_handler_comes_back(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)  # nohup, under which tests may run, ignores SIGHUP
    try:
        with pytest.raises(signals.Ended) as ended, signals.ending_at_once():
            signal.raise_signal(number)
        assert ended.value.exit_code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_hangup_stays_ignored_if_it_is():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.ending_at_once(), signals.GracefulStop([].append) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


# Processes


@pytest.fixture
def world(tmp_path, monkeypatch):
    tiny.image_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bash(line, **options):
    return subprocess.Popen(["bash", "-c", line], env=ENVIRONMENT, **options)


def steps(run):
    return checkpoint.saved_steps(Run(Path("runs") / run).checkpoints)


def on_a_terminal(line, until, act):
    """Run a line in a shell on a terminal of its own; `act` on (process, terminal) when `until` has appeared."""
    process, terminal = pty.fork()
    if not process:
        for number in (*signals.SIGNALS, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execvpe("bash", ["bash", "-c", line], ENVIRONMENT)
    shown, limit, acted = b"", time.monotonic() + LIMIT_S, False
    while time.monotonic() < limit:
        if terminal is not None and select.select([terminal], [], [], 0.05)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
        if not acted and until.encode() in shown:
            acted, terminal = True, act(process, terminal)
            if terminal is None:
                break
    while time.monotonic() < limit:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    raise AssertionError(shown)


def ctrl_c(process, terminal):
    os.write(terminal, b"\x03")
    return terminal


def close(process, terminal):
    os.close(terminal)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_training_whose_reader_is_gone_saves_all_the_same(world, number, code):
    reader, writer = os.pipe()
    process = bash(f"exec {TRAIN} 4000 --name run", stderr=writer, stdout=writer)
    os.close(writer)
    seen = b""
    while b"epoch    2/" not in seen:
        seen += (part := os.read(reader, 4096))
        assert part, seen
    os.close(reader)
    before = steps("run")[-1]
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(LIMIT_S) == code
    assert steps("run")[-1] > before


@pytest.mark.slow
@pytest.mark.parametrize("pipe", ["2>&1 | head -1", ">&- 2>&-", "2>/dev/full"])
def test_a_lost_stream_ends_no_training(world, pipe):
    process = bash(f"{TRAIN} 3 --name run {pipe}; exit ${{PIPESTATUS[0]}}", stdout=subprocess.DEVNULL)
    assert process.wait(LIMIT_S) == 0
    assert Run(Path("runs/run")).summary() is not None


@pytest.mark.slow
def test_a_result_that_was_not_written_is_an_error(world):
    process = bash(f"{TRAIN} 1 --name run --json > /dev/full", stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 4
    assert b"error: the output is not complete: No space left on device" in errors
    assert Run(Path("runs/run")).summary() is not None


INTERRUPTED = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
runpy.run_module("randhead", run_name="__main__")
"""


@pytest.mark.slow
def test_ctrl_c_while_modules_are_imported_shows_no_traceback():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], env=ENVIRONMENT, capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.slow
def test_ctrl_c_with_tee_saves(world):
    line = f'{TRAIN} 4000 --name run 2>&1 | tee log; echo "${{PIPESTATUS[0]}}" > code'
    on_a_terminal(f"trap : INT; {line}", "epoch    2/", ctrl_c)
    assert Path("code").read_text() == "130\n"
    assert steps("run")


@pytest.mark.slow
def test_ctrl_c_ends_a_loop_of_a_shell_after_saving(world):
    code, shown = on_a_terminal(
        f"for name in a b c; do {TRAIN} 4000 --name $name; done; echo the loop went on", "epoch    2/", ctrl_c
    )
    assert code in (130, -signal.SIGINT)
    assert "the same command resumes it" in shown
    assert "the loop went on" not in shown
    assert steps("a")
    assert not Path("runs/b").exists()


@pytest.mark.slow
def test_a_terminal_that_is_closed_saves_and_with_nohup_ends_nothing(world):
    on_a_terminal(f"exec {TRAIN} 4000 --name run", "epoch    2/", close)
    stopped = steps("run")[-1]
    assert Run(Path("runs/run")).summary() is None
    code, _ = on_a_terminal(f"trap '' HUP; exec {TRAIN} 40 --name other", "epoch  2/", close)
    assert code == 0
    assert Run(Path("runs/other")).summary() is not None
    assert stopped > 0
