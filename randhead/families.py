"""The families of members that can be chosen by name, and what a member of each defines."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MODEL_LIBRARIES = ("torchvision", "timm")
REGISTERED = re.compile(r"^@register_model.*\n(?:^@.*\n)*^def (\w+)", re.MULTILINE)  # as both libraries write it


@dataclass(frozen=True)
class Family:
    """The properties of a family."""

    kind: str  # the word for a member in messages
    verb: str  # the function of randhead that registers one
    argument: str  # the Python argument that takes the path of a user's file; "" if there is none
    contract: tuple[str, ...]  # the names that a member must define; those in lower case are functions
    reserved: tuple[str, ...] = ()  # names that a member cannot have, because they have another meaning
    optional: tuple[str, ...] = ()  # functions that a member may define


FAMILIES = {
    "vectors": Family(
        "geometry of class vectors",
        "register_geometry",
        "vectors",
        ("BY_ROW", "rows", "limit"),
        optional=("log_mean_exp", "mean_row", "check_size"),
    ),
    "losses": Family("normaliser", "register_loss", "", ("scores",), ("auto",)),
    "backbones": Family("backbone", "register_backbone", "", ("build",), optional=("weights_input",)),
    "datasets": Family("dataset", "register_dataset", "data", ("load",)),
    "corruptions": Family(
        "corruption",
        "register_corruption",
        "corruptions",
        ("SEVERITY_PARAMETERS", "sample", "apply"),
        ("all", "benchmark", "clean", "mean", "noise", "blur", "weather", "digital", "extra"),
    ),
    "analyses": Family("analysis", "register_analysis", "name", ("INPUT", "measure"), ("all",)),
}


def models_named(name: str) -> list[str]:
    """The backbones that a name without its library can mean: "ResNet-50" -> torchvision:resnet50 and timm:resnet50.

    For hints.  It reads the sources of the libraries, 0.1 s, since importing them takes seconds.
    """
    wanted, found = _bare(name), []
    for library in MODEL_LIBRARIES:
        spec = find_spec(library)
        for file in sorted(Path(spec.origin).with_name("models").glob("*.py")) if spec and spec.origin else ():
            models = REGISTERED.findall(file.read_text(encoding="utf-8", errors="replace"))
            found += [f"{library}:{model}" for model in models if wanted in (_bare(model), library + _bare(model))]
    return found


def _bare(name: str) -> str:
    """A name as it is compared with others: "ResNet-50" and "resnet_50" -> "resnet50"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
