"""What the contracts share: a member that is known while it is checked, and claims with a text."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from randhead import registry
from randhead.errors import RandheadError

Member = ModuleType | str | Path


def claim(condition: bool | Tensor, text: str) -> None:
    """Raise AssertionError unless the condition holds.  A statement `assert` would do nothing under `python -O`."""
    if not condition:
        raise AssertionError(text)


@contextlib.contextmanager
def known(family: str, member: Member) -> Iterator[tuple[str, ModuleType]]:
    """The name and the module of a member, which the family knows as long as the context lasts."""
    if isinstance(member, str) and not registry.is_file(member):
        yield member, registry.load(family, registry.split(member)[0])
    elif isinstance(member, ModuleType) and member.__name__.rpartition(".")[0] == f"randhead.{family}":
        yield member.__name__.rpartition(".")[2], member
    else:
        with registry.registered(family, member) as name:
            yield name, registry.load(family, name)


@contextlib.contextmanager
def without_global_randomness(what: str) -> Iterator[None]:
    """A context that must leave torch's global generator as it is: randomness is a function of seeds."""
    before = torch.get_rng_state()
    yield
    claim(torch.equal(before, torch.get_rng_state()), f"{what} uses torch's global generator: draw from `seed` instead")


@contextlib.contextmanager
def refused(kind: type[RandheadError], words: str, what: str) -> Iterator[None]:
    """A context that must raise an error of a kind whose message has these words."""
    try:
        yield
    except kind as error:
        claim(words in error.message, f"{what}: expected {words!r} in the message, got {error.message!r}")
    else:
        raise AssertionError(f"{what}: expected {kind.__name__}, got no error")
