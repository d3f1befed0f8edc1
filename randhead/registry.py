"""The families and their members: a family is a subpackage of randhead, a member is a module with its contract.

Built-in members are the files of the subpackage; files whose names start with an underscore are helpers.  Members can
also come from outside:

* from an installed package, which declares an entry point in the group `randhead.FAMILY`;
* from the user, who registers a module or a Python file in this process: `randhead.register_geometry("mine.py")`.

Looking up a name never executes a file, because names are also read from files such as `config.json` and checkpoints.
Only `register` executes a file, and it is only called with a path that the user has given in this process.
"""

import contextlib
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from randhead.errors import ContractError, UsageError, unknown
from randhead.families import FAMILIES, models_named
from randhead.files import expanded, sha256
from randhead.user_files import execute, guarded

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


_MEMBER_AND_ARGUMENT = re.compile(r"[A-Za-z_]\w+:")  # two letters or more, since C: is a drive


@dataclass(frozen=True)
class _Registered:
    module: ModuleType
    path: Path | None = None  # of the file that the user has named

    @property
    def origin(self) -> str:
        return str(self.path or self.module.__name__)


_registered: dict[str, dict[str, _Registered]] = {family: {} for family in FAMILIES}


def names(family: str) -> list[str]:
    """All members of a family, sorted: built-in, installed and registered ones.  Imports none of them."""
    return sorted({*builtin_names(family), *_entry_points(family), *_registered[family]})


def builtin_names(family: str) -> list[str]:
    """The members that come with randhead, sorted.  Only reads the folder: nothing is imported."""
    return list(_files(__file__, family))


def is_builtin(family: str, name: str) -> bool:
    """Whether a member comes with randhead."""
    return name in _files(__file__, family)


def check(family: str, name: str) -> None:
    """Check that a family has a member of this name.  Imports nothing.

    Raises:
        UsageError: for an unknown name, with the nearest one; for the path of a file that is not registered.
    """
    name = _registered_name(family, name)
    if not is_builtin(family, name) and name not in names(family):
        error = unknown(FAMILIES[family].kind, name, names(family))
        if family == "vectors" and name.endswith((".npy", ".safetensors")):
            error = error.with_hint(f'for class vectors in a file, `vectors="file:{name}"`')
        elif models := models_named(name) if family == "backbones" else []:
            shown = " or ".join(f'`backbone="{model}"`' for model in models)
            error = error.with_hint(f"did you mean {shown}? known: {', '.join(names(family))}")
        raise error


def load(family: str, name: str) -> ModuleType:
    """The module of a member.

    Args:
        family: name of a subpackage, for example "vectors".
        name: name of a member, or the path of a file that is registered.

    Raises:
        UsageError: as `check` does.
    """
    name = _registered_name(family, name)
    found = _registered[family].get(name)
    return found.module if found else _installed(family, name)


def split(name: str) -> tuple[str, str]:
    """Split a name into member and argument: "timm:resnet50" -> ("timm", "resnet50"), "uniform" -> ("uniform", "").

    The path of a Python file is a member, even if it has colons.
    """
    if is_file(name) or not isinstance(name, str):
        return name, ""
    member, _, rest = name.partition(":")
    return member, rest


def label(name: str) -> str:
    """A short name for people: "mine" for "/home/me/mine.py", the name itself otherwise."""
    return Path(name).stem if is_file(name) else name


def is_file(name: str) -> bool:
    """Whether a name is the path of a Python file, not a member such as "file:mine.py", which takes an argument."""
    return isinstance(name, str) and name.endswith(".py") and not _MEMBER_AND_ARGUMENT.match(name)


def absolute(name: str) -> str:
    """A name as a configuration stores it: the path of a file becomes absolute, other names do not change."""
    return str(_absolute(name)) if is_file(name) else name


def source_sha256(family: str, name: str) -> str | None:
    """Hash of the source of a member from outside, to recognise its version; None for a built-in member."""
    name = _registered_name(family, name)
    if is_builtin(family, name):
        return None
    file = inspect.getsourcefile(load(family, name))
    return sha256(Path(file)) if file else None


def origin(family: str, name: str) -> str:
    """The file or the module of a member, for messages."""
    found = _registered[family].get(_registered_name(family, name))
    return found.origin if found else load(family, name).__name__


def expect(family: str, name: str, problem: str | None) -> None:
    """Raise ContractError, which names the file, if there is a problem with what a member from outside returned."""
    if problem:
        raise ContractError(f"{origin(family, name)}: {problem}", hint=_hint(family))


def use(family: str, name: str) -> str:
    """The name of a member that the user has given; if it is the path of a Python file, the file is registered first.

    Only for what the user has typed in this process, never for a name that is read from a file.
    """
    return register(family, name) if is_file(name) else name


def register(family: str, member: object, *, name: str | None = None) -> str:
    """Register a member of a family in this process.

    Args:
        family: name of a subpackage, for example "vectors".
        member: a module with the contract of the family, or the path of a Python file, which is executed.
        name: name of the member; by default that of the module or of the file.

    Returns:
        The name.  The path of a file is a second name of its member.

    Raises:
        UsageError: if the file cannot be executed, if a part of the contract is missing, or if the name cannot be used,
            for example because a built-in member or another registered member has it.
    """
    if not isinstance(member, ModuleType | str | Path):
        wanted = f"a {FAMILIES[family].kind} is registered as a module or the path of a Python file"
        raise UsageError(f"{wanted}, got {type(member).__name__}", hint=_hint(family))
    if isinstance(member, ModuleType):
        name = name or member.__name__.rpartition(".")[2]
        _check_name(family, name, member.__name__)
        _check_contract(family, member, where=member.__name__)
        _registered[family][name] = _Registered(member)
        return name
    path = _absolute(member)
    name = name or path.stem
    _check_name(family, name, str(path))
    module = execute(path, hint=_hint(family))
    _check_contract(family, module, where=str(path))
    for part in FAMILIES[family].contract + FAMILIES[family].optional:
        if callable(function := getattr(module, part, None)):
            setattr(module, part, guarded(path, function))
    _registered[family][name] = _Registered(module, path)
    return name


@contextlib.contextmanager
def registered(family: str, member: ModuleType | str | Path, *, name: str | None = None) -> Iterator[str]:
    """A context in which a member is registered; yields its name.  Arguments and errors are those of `register`."""
    before = dict(_registered[family])
    try:
        yield register(family, member, name=name)
    finally:
        _registered[family] = before


@functools.cache
def _files(beside: str, family: str) -> tuple[str, ...]:
    """The members in the folder of a family, cached.  Strings as arguments save 8 microseconds per call over a Path."""
    folder = Path(beside).parent / family
    return tuple(sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_")))


@functools.cache
def _installed(family: str, name: str) -> ModuleType:
    """A built-in member, or one of an installed package."""
    check(family, name)
    if is_builtin(family, name):
        return importlib.import_module(f"randhead.{family}.{name}")
    point = _entry_points(family)[name]
    module = point.load()
    _check_contract(family, module, where=f"the entry point {point.value}")
    return module


@functools.cache
def _entry_points(family: str) -> dict[str, "EntryPoint"]:
    """The members of installed packages.  A built-in member of the same name has precedence."""
    from importlib.metadata import entry_points  # takes 20 ms, which built-in names do not need

    return {point.name: point for point in entry_points(group=f"randhead.{family}")}


def _registered_name(family: str, name: str) -> str:
    """A name itself; for the path of a file, the name under which it is registered."""
    if not isinstance(name, str):
        raise unknown(FAMILIES[family].kind, name, names(family))
    if not is_file(name):
        return name
    path = _absolute(name)
    for registered, found in _registered[family].items():
        if found.path == path:
            return registered
    about = FAMILIES[family]
    reason = "a Python file is only executed if you name it in a command or register it"
    again = f'name it again: `{about.argument}="{path}"`'
    if not about.argument:
        reason, again = f"a {about.kind} cannot be given as a Python file", "install it as an entry point"
    raise UsageError(
        f"{path}: {reason}",
        hint=f'in Python, call `randhead.{about.verb}("{path}")` first; on the command line, {again}',
    )


def _absolute(path: str | Path) -> Path:
    return expanded(path, "give the path of the file without ~").resolve()


def _check_name(family: str, name: str, origin: str) -> None:
    """Raise UsageError for a name that a member from `origin` cannot have."""
    kind, reserved = FAMILIES[family].kind, FAMILIES[family].reserved
    hint = "give the member another name, or its file"
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
        raise UsageError(f"a {kind} cannot be named {name!r}: letters, digits and _ only", hint=hint)
    if name in reserved or is_builtin(family, name):
        raise UsageError(f"a {kind} cannot be named {name!r}: the name is taken", hint=hint)
    other = _registered[family].get(name)
    if other and other.origin != origin:
        raise UsageError(f"a {kind} cannot be named {name!r}: {other.origin} has the name", hint=hint)


def _check_contract(family: str, module: ModuleType, *, where: str) -> None:
    if problem := _problem(family, module):
        raise ContractError(f"{where}: {problem}", hint=_hint(family))


def _problem(family: str, module: ModuleType) -> str | None:
    parts = FAMILIES[family].contract
    if missing := [part for part in parts if not hasattr(module, part)]:
        return f"not a {FAMILIES[family].kind}: {', '.join(missing)} not defined"
    for part in filter(str.islower, parts):
        if not callable(value := getattr(module, part)):
            return f"{part} must be a function, got {value!r}"
    has_values = any(map(str.isupper, parts))  # about which the package of the family decides
    return importlib.import_module(f"randhead.{family}").wrong_value(module) if has_values else None


def _hint(family: str) -> str:
    parts = FAMILIES[family].contract
    return f"a {FAMILIES[family].kind} defines {', '.join(parts)}: see the docstring of randhead.{family}"
