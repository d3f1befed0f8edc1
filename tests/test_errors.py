"""Errors are what Python itself would raise, and survive the way back from a worker."""

import copy
import importlib
import pickle
import pkgutil
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import randhead
from randhead import config, datasets, errors, vectors
from randhead.config import parse
from randhead.datasets._decode import BadImage
from randhead.errors import DataError, DataFileError, DivergedError, RandheadError, RunError, StopRequested, UsageError

for module in pkgutil.walk_packages(randhead.__path__, "randhead."):
    if module.name != "randhead.__main__":
        importlib.import_module(module.name)


def below(kind):
    """A class and all that are derived from it."""
    return [kind, *(found for child in kind.__subclasses__() for found in below(child))]


# Constructors that take more than a message and a hint.
MAKE = {BadImage: lambda: BadImage(Path("a/b.png"), "truncated")}
KINDS = below(RandheadError)


def example(kind):
    return MAKE[kind]() if kind in MAKE else kind("what and where", hint="what next")


def contents(error):
    return type(error), str(error), error.args, error.message, error.hint, error.exit_code, vars(error)


def test_all_errors_of_the_package_are_found():
    assert {UsageError, DataError, DataFileError, RunError, DivergedError, StopRequested, BadImage} <= set(KINDS)


def test_a_traceback_shows_the_hint_below_the_message():
    error = UsageError("what and where", hint="what next")
    for found in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        lines = traceback.format_exception_only(found)
        assert lines == ["randhead.errors.UsageError: what and where\n", "hint: what next\n"]
    assert traceback.format_exception_only(error.with_hint("else"))[1:] == ["hint: else\n"]
    assert len(traceback.format_exception_only(UsageError("what and where"))) == 1


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("kind", KINDS)
def test_every_error_can_be_copied_and_pickled(kind, again):
    error = example(kind)
    assert contents(again(error)) == contents(error)
    assert error.message and error.hint and str(error) == error.message


@pytest.mark.parametrize(
    ("kind", "python", "code"),
    [
        (UsageError, ValueError, 2),
        (DataError, ValueError, 3),
        (BadImage, ValueError, 3),
        (DataFileError, OSError, 3),
        (DivergedError, ArithmeticError, 5),
        (RunError, RandheadError, 4),
        (StopRequested, RandheadError, 130),
    ],
)
def test_an_error_is_also_what_python_would_raise(kind, python, code):
    assert issubclass(kind, python)
    assert kind.exit_code == code


def test_a_run_error_is_neither_a_value_error_nor_an_os_error():
    assert not issubclass(RunError, ValueError | OSError)


def raise_one(path):
    raise BadImage(path, "truncated")


@pytest.mark.slow
def test_a_bad_image_comes_back_from_another_process():
    with ProcessPoolExecutor(1) as pool, pytest.raises(BadImage, match=r"a\.png: not a usable image") as caught:
        pool.submit(raise_one, Path("a.png")).result()
    assert caught.value.path == Path("a.png") and "doctor" in caught.value.hint


def test_python_users_catch_what_they_expect(tmp_path):
    with pytest.raises(ValueError, match="positive number"):
        config.OptimConfig(lr=-1)
    with pytest.raises(OSError, match="no such folder"):
        datasets.load(tmp_path / "missing")
    with pytest.raises(OSError, match="no such file"):
        vectors.draw(f"file:{tmp_path / 'missing.npy'}", [0], dim=2, num_classes=1)
    with pytest.raises(ValueError, match="dim must be at least 1"):
        vectors.draw("uniform", [0], dim=0)


def test_there_is_one_did_you_mean():
    with pytest.raises(UsageError) as caught:
        parse.build({"optim.momentun": 1})
    assert caught.value.hint == "did you mean 'optim.momentum'?"
    with pytest.raises(UsageError) as caught:
        parse.build({"lr": 1})
    assert caught.value.hint == "did you mean 'optim.lr'?"
    with pytest.raises(UsageError) as caught:
        parse.build({"zzzz": 1})
    assert caught.value.hint.startswith("sections: data, ")
    assert errors.guess("zzzz", ["optim.lr"]) == ""
