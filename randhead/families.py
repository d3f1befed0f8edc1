"""The families of members that can be chosen by name, and what a member of each defines."""

from dataclasses import dataclass


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
