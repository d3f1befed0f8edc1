"""randhead: image classifiers whose class vectors are drawn at random and fixed.

The public names load on first use (PEP 562), so `import randhead` does not import torch.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "ClassVectorHead": "randhead.head",
    "build_model": "randhead.model",
    "draw": "randhead.vectors",
    "load_run": "randhead.runs.loaded:load",
    "RandheadError": "randhead.errors",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'randhead' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__():
    return sorted(__all__)
