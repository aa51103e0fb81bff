"""Release medical images for training, with a privacy claim that is stated, kept and measured."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veilray.api import fit, open_release, release
    from veilray.estimator import TableCADP
    from veilray.images import FORMATS, Collection
    from veilray.methods import METHODS
    from veilray.privacy import MECHANISMS, Guarantee

__all__ = [
    "FORMATS",
    "MECHANISMS",
    "METHODS",
    "Collection",
    "Guarantee",
    "TableCADP",
    "__version__",
    "fit",
    "open_release",
    "release",
]

__version__ = version("veilray")

_HOME = {
    "Collection": "veilray.images",
    "FORMATS": "veilray.images",
    "Guarantee": "veilray.privacy",
    "MECHANISMS": "veilray.privacy",
    "METHODS": "veilray.methods",
    "TableCADP": "veilray.estimator",
    "fit": "veilray.api",
    "open_release": "veilray.api",
    "release": "veilray.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import veilray` does not load torch."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'veilray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
