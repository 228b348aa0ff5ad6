"""What `import longexposure` promises."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import pytest

import longexposure

PUBLIC = [
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
HEAVY = ("torch", "numpy", "scipy", "skimage", "tifffile", "PIL", "pydantic", "typer")


def test_public_names_are_exactly_these() -> None:
    assert sorted(longexposure.__all__) == sorted(PUBLIC)
    assert dir(longexposure) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_there_and_named_as_such(name: str) -> None:
    thing = getattr(longexposure, name)
    if name == "enhance":  # a room that can be called
        assert callable(thing)
    elif name != "__version__":
        assert thing.__name__ == name
        assert thing.__module__.startswith("longexposure.")
        assert thing.__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="enhance_everything"):
        longexposure.enhance_everything  # noqa: B018


def test_version_is_the_installed_one() -> None:
    assert longexposure.__version__ == version("longexposure")


def test_types_ship_with_the_package() -> None:
    assert files("longexposure").joinpath("py.typed").is_file()


def test_import_loads_nothing_heavy() -> None:
    code = f"import longexposure, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
