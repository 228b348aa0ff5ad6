"""What a file's one free text says of a radiograph: the source's own description, and our history as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, get_args

import numpy as np

from longexposure.errors import OutputError
from longexposure.radiograph import Domain, Polarity, Radiograph, Resolution, Step

KEY = "longexposure"

_STEP = ("tool", "version", "action")
_MISREAD = ("{", "<", "ImageJ=")
"""Starts of descriptions that make a reader look for more than text; written inside our JSON."""


@dataclass(frozen=True)
class Record:
    """What the text gave back; `ours` is False for the plain description of another tool."""

    description: str = ""
    ours: bool = False
    domain: Domain = "counts"
    polarity: Polarity = "black-is-zero"
    pitch_um: tuple[float, float] | None = None
    resolution: Resolution | None = None
    exposure: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Step, ...] = ()


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
    told = (
        radiograph.domain == "counts"
        and radiograph.polarity == polarity
        and radiograph.pitch_um in (None, pitch_um)
        and stated_resolution(radiograph) == resolution
    )
    if told and not radiograph.history and not radiograph.exposure and _survives(radiograph.description):
        return radiograph.description
    return json.dumps({"description": radiograph.description, KEY: record_fields(radiograph)})


def record_fields(radiograph: Radiograph) -> dict[str, Any]:
    """Everything but pixels and description, as plain JSON values.

    Raises:
        OutputError: as `record_text`.
    """
    source, resolution = radiograph.source, radiograph.resolution
    fields: dict[str, Any] = {
        "history": [_step_fields(step) for step in radiograph.history],
        "source": None,
        "domain": radiograph.domain,
        "polarity": radiograph.polarity,
        "pitch_um": radiograph.pitch_um,
        "resolution": dataclasses.asdict(resolution) if resolution else None,
        "exposure": radiograph.exposure,
    }
    if source is not None:
        fields["source"] = {
            "name": PurePath(source.path).name,
            "sha256": source.sha256,
            "format": source.format,
        }
    return {name: _jsonable(value) for name, value in fields.items()}


def parse_record(text: str) -> Record:
    """Read back what `record_text` wrote; any other text is a plain description."""
    plain = Record(description=text)
    if not text.startswith("{") or KEY not in text:
        return plain
    try:
        values = json.loads(text)
        fields = values[KEY]
        return Record(
            description=_checked(values["description"], str),
            ours=True,
            domain=_one_of(fields["domain"], Domain),
            polarity=_one_of(fields["polarity"], Polarity),
            pitch_um=_pitch(fields["pitch_um"]),
            resolution=None if fields["resolution"] is None else Resolution(**fields["resolution"]),
            exposure=_checked(fields["exposure"], dict),
            history=tuple(_step(step) for step in fields["history"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return plain


def _survives(text: str) -> bool:
    """Whether a description comes back unchanged when it is written without our JSON around it."""
    printable = all(c.isprintable() or c in "\n\t" for c in text)
    return printable and text == text.strip() and not text.startswith(_MISREAD)


def _step_fields(step: Step) -> dict[str, Any]:
    taken = sorted(set(_STEP) & set(step.settings))
    if taken:
        raise OutputError(
            where=f"history step {step.action!r}",
            expected=f"settings with names other than {', '.join(_STEP)}",
            found=", ".join(taken),
            advice="rename the setting",
        )
    return step.as_dict()


def _step(values: Mapping[str, Any]) -> Step:
    settings = {name: value for name, value in values.items() if name not in _STEP}
    tool, version, action = (_checked(values[name], str) for name in _STEP)
    return Step(tool=tool, version=version, action=action, settings=settings)


def _pitch(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    y, x = value
    return float(y), float(x)


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


def _one_of(value: Any, literal: Any) -> Any:
    if value not in get_args(literal):
        raise ValueError(f"expected one of {get_args(literal)}, found {value!r}")
    return value


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
