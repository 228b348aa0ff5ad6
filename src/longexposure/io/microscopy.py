"""What ImageJ and OME-TIFF (model 2016-06) say in the description of a file's first page."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np

from longexposure.radiograph import Resolution

_OME_TYPES = {"float32": "float", "float64": "double"}
_INCH, _CM = 25400.0, 1e4
_MICROMETRES = {
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("micrometers", "micrometres"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), _CM),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e6),
    **dict.fromkeys(("inch", "inches", "in"), _INCH),
    **dict.fromkeys(("\u00c5", "\u212b", "angstrom"), 1e-4),
    "pm": 1e-6,
    "dm": 1e5,
    "mil": 25.4,
    "thou": 25.4,
}


def is_imagej(text: str) -> bool:
    """Whether a description is ImageJ's."""
    return text.startswith("ImageJ=")


def is_ome(text: str) -> bool:
    """Whether a description is OME-XML."""
    return text[-10:].strip().endswith("OME>")


def is_shaped(text: str) -> bool:
    """Whether a description is the note on shape and axes that tifffile leaves."""
    return (text.startswith("{") and '"shape":' in text) or text.startswith("shape=")


Pitch = tuple[float, float]
"""Of pixels, (y, x), in um."""


def imagej_pitch(text: str, x: float, y: float, *, without_unit: Pitch | None) -> Pitch | None:
    """Pixel pitch of `x` and `y` pixels per unit of an ImageJ description.

    None for a unit that is no length, such as "pixel"; `without_unit` where none is named.
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name = values.get("unit", "").strip()
    if not name:
        return without_unit
    across, down = micrometres(name), micrometres(values.get("yunit", name))
    if not (x > 0 and y > 0 and across and down):
        return None
    if across == down == _INCH:
        return Resolution(x, y, "inch").pitch_um
    if across == down == _CM:
        return Resolution(x, y, "cm").pitch_um
    return down / y, across / x


def ome_facts(text: str) -> tuple[Pitch | None, int]:
    """Pixel pitch (y, x) in um and significant bits of an OME-XML, None and 0 where its images differ."""
    try:
        root = ElementTree.fromstring(text.encode())  # noqa: S314 (expat stops entities that grow)
    except ElementTree.ParseError:
        return None, 0
    pitches, bits = set(), set()
    for pixels in root.iter():
        if pixels.tag.rsplit("}", 1)[-1] == "Pixels":
            pitches.add(tuple(_length(pixels, f"PhysicalSize{axis}") for axis in "YX"))
            bits.add(pixels.get("SignificantBits", ""))
    y, x = pitches.pop() if len(pitches) == 1 else (0.0, 0.0)
    significant = bits.pop() if len(bits) == 1 else ""
    return (y, x) if y and x else None, int(significant) if significant.isdecimal() else 0


def ome_placed(text: str, dtype: np.dtype[Any], *, transposed: bool, samples: int) -> str:
    """An OME-XML that fits a file of any name whose images are grey and upright.

    A plane may say in which file it lies, by name and identifier. Where that is the file itself, the name is
    left out, so that a copy under another name is no riddle.

    Args:
        text: the XML of a file whose pages may be turned and of colour.
        dtype: type of the grey values, where they were colour.
        transposed: whether rows became columns.
        samples: of a pixel as the pages were stored, of which one is left.
    """
    if root := re.search(r"<(?:\w+:)?OME\b[^>]*?\sUUID\s*=\s*[\"']([^\"']+)[\"']", text):
        text = re.sub(
            rf"(<(?:\w+:)?UUID\b)\s+FileName\s*=\s*(?:\"[^\"]*\"|'[^']*')(\s*>\s*{re.escape(root[1])}\s*<)",
            r"\1\2",
            text,
        )

    def fitted(found: re.Match[str]) -> str:
        pixels = found[0]
        if transposed:
            other = {"X": "Y", "Y": "X"}
            pixels = re.sub(r"Size([XY])(?=\w*\s*=)", lambda axis: f"Size{other[axis[1]]}", pixels)
        if samples > 1:
            pixels = re.sub(
                r"(\sSizeC\s*=\s*[\"'])(\d+)", lambda size: f"{size[1]}{int(size[2]) // samples}", pixels
            )
            pixels = re.sub(
                r"(\sType\s*=\s*[\"'])\w+", rf"\1{_OME_TYPES.get(dtype.name, dtype.name)}", pixels
            )
        return pixels

    if transposed or samples > 1:
        text = re.sub(r"<(?:\w+:)?Pixels\b[^>]*>", fitted, text)
    if samples > 1:
        text = re.sub(rf"(\sSamplesPerPixel\s*=\s*[\"']){samples}(?=[\"'])", r"\g<1>1", text)
    return text


def whole_shape(text: str) -> str:
    """A note of tifffile on pages that are all written, not the first alone."""
    try:
        values = json.loads(text)
    except ValueError:
        return text
    return json.dumps({key: value for key, value in values.items() if key != "truncated"})


def micrometres(unit: str) -> float | None:
    """Length of a unit in um, None for what is none; ImageJ writes a micro sign as escaped digits."""
    name = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), unit).strip()
    return _MICROMETRES.get(name, _MICROMETRES.get(name.lower()))


def _length(pixels: ElementTree.Element, name: str) -> float:
    """A physical size in um; 0 where it is missing, no length or no number above 0."""
    unit = micrometres(pixels.get(f"{name}Unit", "um"))
    try:
        length = float(pixels.get(name, "")) * (unit or 0.0)
    except ValueError:
        return 0.0
    return length if 0 < length < math.inf else 0.0
