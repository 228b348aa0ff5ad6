"""Our record in a file: as JSON the history, and whatever else the file has no field of its own for."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, get_args

import numpy as np

from longexposure.errors import OutputError
from longexposure.radiograph import Domain, Pixels, Polarity, Radiograph, Resolution, Source, Step, Stored

KEY = "longexposure"

_STEP = ("tool", "version", "action")
_MISREAD = ("{", "<", "ImageJ=", "shape=")

MOST_NESTED = 64
"""Lists and objects of a record are nested no deeper."""


def stated_resolution(radiograph: Radiograph) -> Resolution | None:
    """The resolution to write: the source's own, or the one that the known pitch amounts to."""
    if radiograph.resolution is not None or radiograph.pitch_um is None or min(radiograph.pitch_um) <= 0:
        return radiograph.resolution
    y, x = radiograph.pitch_um
    return Resolution(x=10000.0 / x, y=10000.0 / y, unit="cm")


def is_plain(text: str) -> bool:
    """Whether a file's own field gives a description back as it is."""
    return all(c.isprintable() or c in "\n\r\t" for c in text)


def is_misread(text: str) -> bool:
    """Whether readers of TIFF take a description for more than text: for what ImageJ, OME or others write."""
    return text.startswith(_MISREAD) or text.rstrip().endswith("OME>")


def record_json(
    radiograph: Radiograph,
    *,
    description: str,
    resolution: Resolution | None,
    pitch_um: tuple[float, float] | None,
    polarity: Polarity,
) -> str:
    """Our record as JSON (ASCII), nothing where the file's own fields say everything.

    Args:
        radiograph: what is being written.
        description: what the file's own field gives back.
        resolution: the same, after its rounding.
        pitch_um: the same.
        polarity: the same.

    Raises:
        OutputError: a history that cannot be written, see `record_fields`.
    """
    told = description == radiograph.description
    if (
        told
        and radiograph.domain == "counts"
        and radiograph.polarity == polarity
        and radiograph.pitch_um in (None, pitch_um)
        and radiograph.resolution in (None, resolution)
        and not radiograph.history
        and not radiograph.exposure
    ):
        return ""
    fields = record_fields(radiograph)
    return json.dumps({KEY: fields if told else {**fields, "description": radiograph.description}})


def record_fields(radiograph: Radiograph) -> dict[str, Any]:
    """Everything but pixels and description, as plain JSON values.

    Raises:
        OutputError: a step of the history has a setting named as one of its own fields, or is nested without
            end.
    """
    if _depth([step.settings for step in radiograph.history]) > MOST_NESTED - 2:
        raise OutputError(
            where="history",
            expected=f"settings nested at most {MOST_NESTED - 4} deep",
            found="deeper ones",
            advice="leave them out",
        )
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
        and {
            "name": PurePath(source.called or source.path).name,
            "sha256": source.sha256,
            "format": source.format,
        },
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
    told: Mapping[str, Any],
    resolution: Resolution | None,
    pitch_um: tuple[float, float] | None,
    rounded: Callable[[Resolution], Resolution | None],
    polarity: Polarity | None = None,
    stored: Stored | None = None,
) -> Radiograph:
    """A file's radiograph, with all that `record_json` wrote into it.

    Args:
        pixels: upright.
        source: the file.
        text: its description.
        told: what our record in it tells, as `fields_of` gives it.
        resolution: as the file's own fields say, upright.
        pitch_um: the same.
        rounded: what these fields keep of a resolution; one in the record that they round to `resolution` is
            the same, but exact.
        polarity: as the file's own fields say, None where they cannot.
        stored: how the file keeps all this.
    """
    known = {"description": text, **told}
    exact = known.pop("resolution", None)
    if exact is not None and rounded(exact) == resolution:
        resolution = exact
    known["pitch_um"] = known.get("pitch_um") or pitch_um
    if polarity is not None:
        known["polarity"] = polarity
    return Radiograph(pixels=pixels, resolution=resolution, source=source, stored=stored, **known)


def fields_of(record: str) -> dict[str, Any]:
    """Fields of a radiograph that our record tells; none of a text that is no record."""
    if not record.startswith(f'{{"{KEY}"'):
        return {}
    try:
        fields = json.loads(record)[KEY]
        if _depth(fields) > MOST_NESTED:
            return {}
        domain, polarity, exposure = (fields[name] for name in ("domain", "polarity", "exposure"))
        resolution, pitch = fields["resolution"], fields["pitch_um"]
        if pitch is not None:
            y, x = pitch
            pitch = float(y), float(x)
            if not all(0 < side < math.inf for side in pitch):
                return {}
        steps = [(*(step.pop(name) for name in _STEP), step) for step in fields["history"]]
        described = {"description": fields["description"]} if "description" in fields else {}
        texts = [*described.values(), *(each for step in steps for each in step[:3])]
        if not all(isinstance(each, str) for each in texts) or not isinstance(exposure, dict):
            return {}
        if domain not in get_args(Domain) or polarity not in get_args(Polarity):
            return {}
        return described | {
            "domain": domain,
            "polarity": polarity,
            "pitch_um": pitch,
            "resolution": None if resolution is None else Resolution(**resolution),
            "exposure": exposure,
            "history": tuple(Step(*step) for step in steps),
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, `MOST_NESTED` and one at most."""
    depth, level = 0, [value]
    while level and depth <= MOST_NESTED:
        inner = [list(each.values()) if isinstance(each, Mapping) else each for each in level]
        level = [each for group in inner if isinstance(group, (list, tuple)) for each in group]
        depth += 1
    return depth


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
