"""longexposure makes a short X-ray exposure of a chip or board look and measure like a long one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longexposure.enhance.enhancer import Enhancer as Enhancer
    from longexposure.enhance.enhancer import enhance as enhance
    from longexposure.enhance.enhancer import load_enhancer as load_enhancer
    from longexposure.errors import LongExposureError as LongExposureError
    from longexposure.io import read_radiograph as read_radiograph
    from longexposure.io import write_radiograph as write_radiograph
    from longexposure.noise import NoiseProfile as NoiseProfile
    from longexposure.noise import estimate_noise as estimate_noise
    from longexposure.radiograph import Radiograph as Radiograph

    __version__: str

_HOME = {
    "Enhancer": "longexposure.enhance.enhancer",
    "LongExposureError": "longexposure.errors",
    "NoiseProfile": "longexposure.noise",
    "Radiograph": "longexposure.radiograph",
    "estimate_noise": "longexposure.noise",
    "load_enhancer": "longexposure.enhance.enhancer",
    "read_radiograph": "longexposure.io",
    "write_radiograph": "longexposure.io",
}

__all__ = [
    "Enhancer",
    "LongExposureError",
    "NoiseProfile",
    "Radiograph",
    "__version__",
    "enhance",
    "estimate_noise",
    "load_enhancer",
    "read_radiograph",
    "write_radiograph",
]


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `--help` does not wait for torch (PEP 562)."""
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    if name == "enhance":
        return import_module("longexposure.enhance")  # a room that can be called
    if name not in _HOME:
        raise AttributeError(f"module 'longexposure' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
