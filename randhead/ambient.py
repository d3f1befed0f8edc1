"""What torch's ambient state must not change: its default dtype and device, inference mode, autocast, and so on.

Code of this package names dtype= and device= in every call that makes a tensor (tests/test_ambient.py); this module has
what a caller's state could change otherwise.
"""

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

Array = Tensor | np.ndarray | Sequence[Any]  # what `as_tensor` takes: numbers of any type
ONE_THREAD = 1 << 15  # values: torch sums fewer than this in one thread
P = ParamSpec("P")
T = TypeVar("T")


def kept(maxsize: int | None) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """`functools.lru_cache` for functions that make tensors, called with hashable arguments.

    They are made outside of inference mode: a tensor that is made in it could never be saved for a backward pass, and
    the first caller would decide that for all later ones.

    Example:
        >>> @kept(maxsize=1)
        ... def table():
        ...     return torch.arange(3)
        >>> with torch.inference_mode():
        ...     first = table()
        >>> first.is_inference(), table() is first
        (False, True)
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.lru_cache(maxsize=maxsize)
        @functools.wraps(function)
        def make(*args: P.args, **kwargs: P.kwargs) -> T:
            with torch.inference_mode(False):
                return function(*args, **kwargs)

        return make  # type: ignore[return-value]

    return decorate


@contextlib.contextmanager
def ordinary(device: torch.device) -> Iterator[None]:
    """A context for code of users, who rarely name a dtype or a device: float32, and this device, by default.

    Example:
        >>> with torch.device("meta"), ordinary(torch.device("cpu")):
        ...     torch.ones(2)
        tensor([1., 1.])
    """
    with _float32_by_default(), device:
        yield


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """A context, or decorator, for whole jobs: torch as it starts, so that no result depends on a caller's settings.

    The default dtype, the precision of float32 products, autocast, gradients and inference mode are those of a new
    process; the global random generators are as before afterwards.  Everything is restored.

    Example:
        >>> with torch.inference_mode(), settled():
        ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        (True, False)
    """
    state = torch.default_generator.get_state()
    on_cuda = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_float32_by_default())
        stack.enter_context(_whole_products())
        for device in ("cpu", "cuda"):
            stack.enter_context(without_autocast(torch.device(device)))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        try:
            yield
        finally:
            torch.default_generator.set_state(state)
            if on_cuda is not None:
                torch.cuda.set_rng_state(on_cuda)


@contextlib.contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """A context in which products of float32 matrices are computed in float32, and not in fewer bits.

    Example:
        >>> with whole_float32(torch.device("cpu")):
        ...     torch.get_float32_matmul_precision()
        'highest'
    """
    with without_autocast(device), _whole_products():
        yield


@contextlib.contextmanager
def _whole_products() -> Iterator[None]:
    """A context without TF32 in products, which is set only if need be: all threads share it."""
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        yield
        return
    try:
        torch.set_float32_matmul_precision("highest")
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def _float32_by_default() -> Iterator[None]:
    """A context in which float32 is the default dtype, which is set only if it is another: all threads share it."""
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    try:
        torch.set_default_dtype(torch.float32)
        yield
    finally:
        torch.set_default_dtype(before)


def settled_steps(function: Callable[P, Generator[T, None, None]]) -> Callable[P, Generator[T, None, None]]:
    """A decorator that runs every step of a generator in `settled`; whoever takes its values has their own settings."""

    @functools.wraps(function)
    def steps(*args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        values = function(*args, **kwargs)
        try:
            while True:
                with settled():
                    try:
                        value = next(values)
                    except StopIteration:
                        return
                yield value
        finally:
            with settled():
                values.close()

    return steps


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context in which products stay in float32.  One of autocast takes 6 us, so there is none without need."""
    needed = device.type != "meta" and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if needed else contextlib.nullcontext()


def as_tensor(values: Any) -> Tensor:
    """A tensor is returned as it is; an array of NumPy, a list or a number becomes a tensor on the CPU.

    Memory is shared with arrays that torch can use; numbers of Python become int64 or float64.

    Raises:
        TypeError, ValueError: for what is no array of numbers.

    Example:
        >>> as_tensor([1, 2]), as_tensor(np.float32(0.5)).dtype
        (tensor([1, 2]), torch.float32)
    """
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    return torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))


def indices(count: int, device: torch.device | str = "cpu") -> Tensor:
    """0, 1, ..., count - 1, int64.

    Example:
        >>> indices(3)
        tensor([0, 1, 2])
    """
    return torch.arange(count, dtype=torch.int64, device=device)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """A context in which torch uses so many threads: the last bits of a training or a decomposition depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def total(values: Tensor) -> Tensor:
    """The sum of all values, in an order that does not depend on the number of threads.

    Example:
        >>> total(torch.ones(2, 3))
        tensor(6.)
    """
    if values.numel() < ONE_THREAD:
        return values.sum()
    return torch.stack([part.sum() for part in values.flatten().split(ONE_THREAD // 2)]).sum()


def mean(values: Tensor) -> Tensor:
    """The mean of all values, in an order that does not depend on the number of threads; NaN without values.

    Example:
        >>> mean(torch.tensor([1.0, 2.0]))
        tensor(1.5000)
    """
    return total(values) / values.numel()
