"""Shared helpers of the contracts: registering a member while it is checked, and claims with a message."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from randhead import registry
from randhead.errors import ContractError, RandheadError

Member = ModuleType | str | Path


def claim(condition: bool | Tensor, text: str) -> None:
    """Raise AssertionError unless the condition holds.  An `assert` statement would do nothing under `python -O`."""
    if not condition:
        raise AssertionError(text)


@contextlib.contextmanager
def known(family: str, member: Member) -> Iterator[tuple[str, ModuleType]]:
    """A context in which a member is registered; yields its name and its module."""
    if isinstance(member, str) and not registry.is_file(member):
        yield member, registry.load(family, registry.split(member)[0])
    elif isinstance(member, ModuleType) and member.__name__.rpartition(".")[0] == f"randhead.{family}":
        yield member.__name__.rpartition(".")[2], member
    else:
        try:
            with registry.registered(family, member) as name:
                yield name, registry.load(family, name)
        except ContractError as error:
            raise AssertionError(error.message) from error


@contextlib.contextmanager
def without_global_randomness(what: str) -> Iterator[None]:
    """A context that must not change torch's global generator, since random numbers are a function of seeds."""
    before = torch.get_rng_state()
    yield
    claim(torch.equal(before, torch.get_rng_state()), f"{what} uses torch's global generator: draw from `seed` instead")


@contextlib.contextmanager
def refused(kind: type[RandheadError], words: str, what: str) -> Iterator[None]:
    """A context that must raise an error of this kind, with these words in its message."""
    try:
        yield
    except kind as error:
        claim(words in error.message, f"{what}: expected {words!r} in the message, got {error.message!r}")
    else:
        raise AssertionError(f"{what}: expected {kind.__name__}, got no error")
