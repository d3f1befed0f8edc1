"""Few-shot episodes: can a new class be recognised from one or five examples?

Nearest prototype, as in Snell, Swersky and Zemel 2017 (arXiv 1703.05175), with the cosine to the mean of the unit
features.  The classes of an episode and their samples are a function of (seed, episode).  All numbers of shots use the
same queries, and fewer shots use the first examples of more shots, so that their accuracies are comparable.
"""

import torch
from torch import Tensor

from randhead import ambient, rng
from randhead.analyses._inputs import unit

WAYS, QUERIES = 5, 15


def accuracies(features: Tensor, labels: Tensor, *, shots: tuple[int, ...], episodes: int, seed: int) -> Tensor | None:
    """Accuracy of each episode: features (N, D), labels (N,) -> (episodes, len(shots)) float64.

    WAYS classes, or all if there are fewer, with QUERIES queries each.  None if fewer than two classes have
    max(shots) + QUERIES samples.
    """
    needed = max(shots) + QUERIES
    sizes = labels.unique(return_counts=True)[1].tolist()
    members = [ids for ids in labels.argsort(stable=True).split(sizes) if len(ids) >= needed]
    if len(members) < 2:
        return None
    directions = unit(features)
    return torch.stack([_episode(directions, _drawn(members, needed, e, seed), shots) for e in range(episodes)])


def _drawn(members: list[Tensor], needed: int, episode: int, seed: int) -> Tensor:
    """The samples of an episode: (ways, needed) indices, drawn without replacement."""
    classes = rng.permutation(seed, "analyses/few-shot/classes", len(members), stream=episode)[:WAYS]
    return torch.stack([_sample(members[c], needed, episode, seed) for c in classes.tolist()])


def _sample(ids: Tensor, needed: int, episode: int, seed: int) -> Tensor:
    drawn = rng.words(seed, "analyses/few-shot/samples", ids, 2, stream=episode)
    return ids[((drawn[:, 0] << 31) | (drawn[:, 1] >> 1)).argsort(stable=True)[:needed]]


def _episode(directions: Tensor, drawn: Tensor, shots: tuple[int, ...]) -> Tensor:
    queries = directions[drawn[:, max(shots) :]]  # (ways, QUERIES, D)
    truth = ambient.indices(len(drawn), drawn.device)[:, None]
    found = []
    for shot in shots:
        prototypes = unit(directions[drawn[:, :shot]].mean(dim=1))
        found.append(((queries @ prototypes.T).argmax(dim=2) == truth).double().mean())
    return torch.stack(found)
