"""What a file's one free text says of a radiograph: the source's own description, and our history as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, get_args

import numpy as np

from longexposure.errors import OutputError
from longexposure.io.checks import upright_resolution
from longexposure.radiograph import Domain, Pixels, Polarity, Radiograph, Resolution, Source, Step

KEY = "longexposure"

_STEP = ("tool", "version", "action")
_MISREAD = ("{", "<", "ImageJ=")
"""Starts of descriptions that make a reader look for more than text; written inside our JSON."""


def stated_resolution(radiograph: Radiograph) -> Resolution | None:
    """The resolution to write: the source's own, or the one that the known pitch amounts to."""
    if radiograph.resolution is not None or radiograph.pitch_um is None or min(radiograph.pitch_um) <= 0:
        return radiograph.resolution
    y, x = radiograph.pitch_um
    return Resolution(x=10000.0 / x, y=10000.0 / y, unit="cm")


def record_text(radiograph: Radiograph, *, resolution: Resolution | None, polarity: Polarity) -> str:
    """The text to write: the plain description where nothing else would be lost, else our JSON (ASCII).

    Args:
        radiograph: what is being written.
        resolution: what the file's own fields will give back, after their rounding.
        polarity: the same.

    Raises:
        OutputError: a step of the history has a setting named as one of its own fields.
    """
    pitch_um = resolution.pitch_um if resolution else None
    text = radiograph.description
    plain = (
        radiograph.domain == "counts"
        and radiograph.polarity == polarity
        and radiograph.pitch_um in (None, pitch_um)
        and stated_resolution(radiograph) == resolution
        and not radiograph.history
        and not radiograph.exposure
        and all(c.isprintable() or c in "\n\t" for c in text)
        and text == text.strip()
        and not text.startswith(_MISREAD)
    )
    return text if plain else json.dumps({"description": text, KEY: record_fields(radiograph)})


def record_fields(radiograph: Radiograph) -> dict[str, Any]:
    """Everything but pixels and description, as plain JSON values.

    Raises:
        OutputError: as `record_text`.
    """
    for step in radiograph.history:
        if taken := sorted(set(_STEP) & set(step.settings)):
            raise OutputError(
                where=f"history step {step.action!r}",
                expected=f"settings with names other than {', '.join(_STEP)}",
                found=", ".join(taken),
                advice="rename the setting",
            )
    source, resolution = radiograph.source, radiograph.resolution
    return {
        "history": [_jsonable(step.as_dict()) for step in radiograph.history],
        "source": source
        and {"name": PurePath(source.path).name, "sha256": source.sha256, "format": source.format},
        "domain": radiograph.domain,
        "polarity": radiograph.polarity,
        "pitch_um": _jsonable(radiograph.pitch_um),
        "resolution": _jsonable(dataclasses.asdict(resolution)) if resolution else None,
        "exposure": _jsonable(radiograph.exposure),
    }


def radiograph_of(
    pixels: Pixels,
    source: Source,
    *,
    text: str,
    resolution: Resolution | None,
    rounded: Callable[[Resolution], Resolution | None],
    orientation: int,
    polarity: Polarity | None = None,
) -> Radiograph:
    """A file's radiograph, with all that `record_text` wrote into its text.

    Args:
        pixels: upright already.
        source: the file.
        text: any other than `record_text` wrote is a plain description.
        resolution: as the file's own fields say, not yet upright.
        rounded: what these fields keep of a resolution; one in the text that they round to `resolution` is
            the same, but exact.
        orientation: tag 274 of TIFF 6.0.
        polarity: as the file's own fields say, None where they cannot.
    """
    known = _parsed(text)
    exact = known.pop("resolution", None)
    if exact is not None and rounded(exact) == resolution:
        resolution = exact
    resolution = upright_resolution(resolution, orientation)
    known["pitch_um"] = known.get("pitch_um") or (resolution.pitch_um if resolution else None)
    if polarity is not None:
        known["polarity"] = polarity
    return Radiograph(pixels=pixels, resolution=resolution, source=source, **known)


def _parsed(text: str) -> dict[str, Any]:
    """Fields of a radiograph that a text tells."""
    plain = {"description": text}
    if not text.startswith("{") or KEY not in text:
        return plain
    try:
        values = json.loads(text)
        fields, description = values[KEY], values["description"]
        domain, polarity, exposure = (fields[name] for name in ("domain", "polarity", "exposure"))
        resolution, pitch = fields["resolution"], fields["pitch_um"]
        if pitch is not None:
            y, x = pitch
            pitch = float(y), float(x)
        steps = [(*(step.pop(name) for name in _STEP), step) for step in fields["history"]]
        texts = [description, *(each for step in steps for each in step[:3])]
        if not all(isinstance(each, str) for each in texts) or not isinstance(exposure, dict):
            return plain
        if domain not in get_args(Domain) or polarity not in get_args(Polarity):
            return plain
        return {
            "description": description,
            "domain": domain,
            "polarity": polarity,
            "pitch_um": pitch,
            "resolution": None if resolution is None else Resolution(**resolution),
            "exposure": exposure,
            "history": tuple(Step(*step) for step in steps),
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return plain


def _jsonable(value: Any) -> Any:
    """Plain JSON values; NaN and infinity, which JSON has not, and foreign objects become text."""
    if isinstance(value, Mapping):
        return {str(name): _jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
