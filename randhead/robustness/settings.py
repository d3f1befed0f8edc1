"""The settings of corruptions, and the choice of corruptions and severities of a benchmark.

A *cell* is a corruption at a severity; a *grid* is a set of cells: corruptions with their severities.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from randhead import ambient, corruptions
from randhead.arguments import check_functions, check_type, whole
from randhead.corruptions import SEVERITIES, FrostImages
from randhead.errors import UsageError, unknown

CLEAN = "clean"  # the row of a grid for the images without corruption, at severity 0

Grid = Mapping[str, Sequence[int]]
CorruptionFunction = Callable[[Tensor, int, Tensor, int], Tensor]
"""A custom corruption: uint8 images (B, 3, H, W), severity, ids (B,) and seed -> uint8 images of the same shape."""


@dataclass(frozen=True)
class CorruptionSettings:
    """The settings of corruptions: the same settings, image and image id always give the same corrupted image.

    Attributes:
        seed: seed of the random numbers.
        parameters: the published parameter set, "32", "64" or "224"; None for the set of the image size.
        frost_images: the pictures that frost overlays; None for procedural ones.
        custom: functions of the user that are corruptions, by name.
        custom_sha256: hashes of their files, to recognise the version.
    """

    seed: int = 0
    parameters: str | None = None
    frost_images: FrostImages | None = None
    custom: Mapping[str, CorruptionFunction] = field(default_factory=dict)
    custom_sha256: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", whole("seed", self.seed))
        corruptions.check_parameters(self.parameters)
        corruptions.check_frost_images(self.frost_images)
        check_type("custom", self.custom, Mapping, "a dictionary of functions")
        check_functions(**{f"custom corruption {name}": function for name, function in self.custom.items()})

    @property
    def frost(self) -> str:
        """The source of the frost images: procedural, originals or folder."""
        return self.frost_images.name if self.frost_images else "procedural"

    def parameter_set(self, size: tuple[int, int]) -> str:
        """The parameter set for images of height and width `size`."""
        return self.parameters or corruptions.parameters_for(size)

    def apply(self, images: Tensor, name: str, severities: Sequence[int], ids: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Corrupt images (B, 3, H, W) with ids (B,) at each severity: yields (severity, uint8 (B, 3, H, W)).

        Raises:
            UsageError: if a custom corruption returns something else.
        """
        if name in self.custom:
            for severity in severities:
                with ambient.ordinary(images.device):
                    out = self.custom[name](images.clone(), severity, ids, self.seed)
                yield severity, corruptions.checked_output(out, images, name)
        else:
            yield from corruptions.corrupt_each(
                images, name, severities, self.seed, ids, parameters=self.parameters, frost_images=self.frost_images
            )


def choose_grid(
    names: Sequence[str],
    severities: Sequence[int] = SEVERITIES,
    *,
    skip: Sequence[str] = (),
    custom: Sequence[str] = (),
) -> dict[str, tuple[int, ...]]:
    """Choose the grid of a benchmark: clean images first, then corruptions in the order of the benchmark's tables.

    Args:
        names: names of corruptions or groups, "benchmark" (15) or "all".
        severities: from 1 to 5.
        skip: corruptions to leave out.
        custom: names of custom corruptions, which always run.

    Raises:
        UsageError: for unknown names, for severities that are not 1 to 5, and if no corruption is left.
    """
    members = corruptions.names()
    known = [*members, *custom]
    groups = {"all": members, "benchmark": corruptions.names("benchmark"), **corruptions.groups()}
    for name in [*names, *skip]:
        if name not in known and (name not in groups or name in skip):
            raise unknown("corruption", name, known if name in skip else [*known, *groups])
    wanted = {member for name in names for member in groups.get(name, [name])} | set(custom)
    if not severities or not set(severities) <= set(SEVERITIES):
        given = ", ".join(map(str, severities)) or "none"
        raise UsageError(f"severities must be 1 to 5, got {given}", hint="5 is the strongest; clean images always run")
    rows = [name for name in known if name in wanted and name not in skip]
    if not rows:
        raise UsageError("no corruption is left", hint="skip fewer of them")
    return {CLEAN: (0,), **dict.fromkeys(rows, tuple(sorted(set(severities))))}
