"""Features and class vectors in two dimensions: principal components, and t-SNE (van der Maaten and Hinton 2008).

Both show directions: features and class vectors are normalised to length 1, since a cosine compares directions and
since this brings both to the same scale.
"""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor
from torch.nn.functional import normalize

from randhead import rng
from randhead.report._matplotlib import Figure, matplotlib
from randhead.report.canvas import INK, look, panels, short
from randhead.report.sections import Picture

SAMPLES, CLASSES = 1500, 20  # more samples or classes cannot be distinguished
FEWER = 500  # samples of each of several runs in one page: their pictures take a quarter of the time
PERPLEXITY = 30
STEPS = 500  # in 1,000, the default, as many points (97 %) have the class of their neighbours in the picture


def pictures(
    features: Tensor,
    labels: Tensor,
    class_vectors: Tensor,
    names: Sequence[str],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> list[Picture]:
    """Both projections of features (N, D) and class vectors (K, D), CLASSES classes and `samples` samples at most."""
    classes, rows = choose(labels, len(class_vectors), samples=samples, seed=seed)
    points, vectors = normalize(features[rows].double()), normalize(class_vectors[classes].double())
    indices, chosen = torch.searchsorted(classes, labels[rows]), [names[k] for k in classes.tolist()]
    seen, shares = principal(points, vectors)
    whole = len(classes) == len(class_vectors)
    some = "" if whole else f" {len(classes)} of {len(class_vectors)} classes, drawn by seed."
    of = f"{len(rows)} of {len(labels)} samples; stars are class vectors.{some}"
    captions = {
        "t-sne": f"t-SNE of directions: neighbours matter, distances do not. {of}",
        "pca": f"Principal components of the features' directions, {100 * shares.sum():.0f} % of their variance. {of}",
    }
    with look():
        figures = draw(*t_sne(points, vectors, seed=seed), indices, chosen), draw(*seen, indices, chosen)
    return [Picture(name, text, figure) for (name, text), figure in zip(captions.items(), figures, strict=True)]


def choose(labels: Tensor, num_classes: int, *, samples: int = SAMPLES, seed: int) -> tuple[Tensor, Tensor]:
    """The classes (sorted) and the samples (in order) that are shown."""
    classes = rng.permutation(seed, "report/classes", num_classes)[:CLASSES].sort().values
    rows = torch.isin(labels, classes).nonzero().flatten()
    order = rng.permutation(seed, "report/samples", len(rows))[:samples].sort().values
    return classes, rows[order]


def principal(points: Tensor, vectors: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Coordinates of points (n, D) and vectors (k, D) along the two directions of largest variance of the points.

    Returns also the shares of the variance of these two directions, (2,).
    """
    middle = points.mean(dim=0)
    _, lengths, directions = torch.linalg.svd(points - middle, full_matrices=False)
    shares = lengths[:2].square() / lengths.square().sum().clamp_min(torch.finfo(torch.float64).tiny)
    return ((points - middle) @ directions[:2].T, (vectors - middle) @ directions[:2].T), shares


def t_sne(points: Tensor, vectors: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Coordinates of points (n, D) and vectors (k, D), embedded together."""
    both = torch.cat((points, vectors)).numpy()
    state = rng.key(seed, "report/t-sne")[0]
    perplexity = min(PERPLEXITY, (len(both) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", max_iter=STEPS, random_state=state)
    found = torch.from_numpy(model.fit_transform(both))
    return found[: len(points)], found[len(points) :]


def draw(points: Tensor, ends: Tensor, labels: Tensor, names: Sequence[str]) -> Figure:
    """A scatter (n, 2) coloured by class (n,), with a star at each class vector (k, 2)."""
    figure, (axes,) = panels(height=4.4)
    colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"](np.arange(len(names)))
    x, y = points.T.numpy()
    axes.scatter(
        x,
        y,
        s=7 if len(points) > SAMPLES // 5 else 18,
        c=colours[labels],
        alpha=0.7,
        linewidths=0,
        rasterized=True,
    )
    for k, end in enumerate(ends.tolist()):
        axes.plot(*end, "*", color=colours[k], markersize=12, markeredgecolor=INK, markeredgewidth=0.8)
        axes.annotate(short(names[k]), tuple(end), (5, 5), textcoords="offset points", fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return figure
