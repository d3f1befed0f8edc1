"""Matplotlib as randhead uses it: imported here, once, and whatever the environment says about it.

A notebook sets MPLBACKEND for all processes that it starts, and people keep styles in a matplotlibrc.  The first ends
the import if that backend is missing, the second may ask for LaTeX.  Pictures are files here: no backend is needed, and
`randhead.report.canvas` draws with the settings that Matplotlib comes with.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

__all__ = [
    "Axes",
    "ConstrainedLayoutEngine",
    "Figure",
    "FT2Font",
    "FigureCanvasSVG",
    "LogFormatter",
    "MaxNLocator",
    "Text",
    "fontManager",
    "matplotlib",
    "quiet",
]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context without warnings of Matplotlib: about fonts, about its cache, about settings of the user."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            warnings.filterwarnings("ignore", message=".*matplotlib", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _without_backend() -> Iterator[None]:
    """A context without MPLBACKEND; afterwards Matplotlib has that backend, if it knows it, as after any import."""
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend is not None:
        with contextlib.suppress(ValueError, ImportError):
            matplotlib.rcParams["backend"] = backend


with quiet(), _without_backend():
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter, MaxNLocator
