"""The noise calibration of a machine: measured once and kept in a small TOML file.

The file says how the noise goes with the grey value, how sure each number is, from what it was measured and
for which grey values it holds. It is a function of the grey value, so it applies as it is to every image of
the same grey scale; images beyond what was measured cause a warning, those of another type or scale an error.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from longexposure.config import parsed, toml_values
from longexposure.errors import InputError, LongExposureError, as_path
from longexposure.grey import GreyMap
from longexposure.io import write_whole
from longexposure.noise.estimator import estimate_noise
from longexposure.noise.profile import NoiseProfile
from longexposure.radiograph import Pixels

FORMAT = 1
LARGEST_BYTES = 1 << 20
WIDENED = 0.1
"""A calibration holds for grey values beyond the measured ones by this fraction of their span."""
UNSURE = 0.3
"""Warn where the standard error of a variance is above this fraction of it."""
OTHERWISE = 2.0
"""Warn of an image whose own noise seems more than so many times that of the calibration, or less."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Correlation = Annotated[float, Field(ge=-1, le=1)]
Source = Literal["flats", "repeats", "image"]

_MEASURED_ON = {"flats": "flats", "repeats": "repeated exposures", "image": "single images"}


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NoiseTable(_Table):
    """The noise that differs from frame to frame; each number with its standard error where it is known.

    Attributes:
        level: grey value at which sigma holds.
        sigma: standard deviation of the noise there, in grey values.
        slope: change of the variance per grey value; absent where only one grey value was seen.
        error_correlation: correlation of the errors of variance and slope.
        corr_x: lag-1 autocorrelation along x.
        corr_y: the same along y.
        slope_x: change of the covariance of neighbours along x per grey value; without it the correlation
            is the same at every grey value.
        slope_y: the same along y.
    """

    level: float
    sigma: Positive
    sigma_error: NotNegative | None = None
    slope: float | None = None
    slope_error: NotNegative | None = None
    error_correlation: Correlation = 0.0
    corr_x: Correlation
    corr_x_error: NotNegative | None = None
    corr_y: Correlation
    corr_y_error: NotNegative | None = None
    slope_x: float | None = None
    slope_y: float | None = None


class FixedPattern(_Table):
    """The fixed pattern, which stands still from frame to frame and counts as noise of a single image.

    Attributes:
        fraction: standard deviation from pixel to pixel, as a fraction of the signal above `dark`.
        fraction_error: its standard error.
        corr_x: lag-1 autocorrelation along x.
        corr_y: the same along y.
        dark: grey value without signal.
    """

    fraction: NotNegative
    fraction_error: NotNegative | None = None
    corr_x: Correlation = 0.0
    corr_y: Correlation = 0.0
    dark: float = 0.0


class MeasuredTable(_Table):
    """How the numbers came about, and for what they hold.

    Attributes:
        source: flats, repeats of a part, or single images.
        grey: lowest and highest grey value that was seen.
        frames: exposures, darks apart.
        darks: dark frames.
        size_px: height and width.
        misfit: how far the variance is off the straight line, as a fraction.
        points: grey value, variance there and its standard error.
        notes: what a person should know.
        version: of longexposure.
        date: day, as 2026-01-31.
    """

    source: Source
    grey: tuple[float, float]
    frames: int = Field(ge=1)
    darks: int = Field(default=0, ge=0)
    size_px: tuple[int, int]
    misfit: NotNegative = 0.0
    points: tuple[tuple[float, float, NotNegative], ...] = ()
    notes: tuple[str, ...] = ()
    version: str
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="a day like 2026-01-31")

    @classmethod
    def today(cls, **facts: Any) -> MeasuredTable:
        """What was measured now, by this version."""
        date = datetime.now().astimezone().strftime("%Y-%m-%d")
        return cls(version=metadata.version("longexposure"), date=date, **facts)


class FileTable(_Table):
    """A file that was measured."""

    name: str
    role: Literal["flats", "repeats", "image", "darks"]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="64 hexadecimal digits")


class NoiseCalibration(_Table):
    """The noise of a machine.

    Attributes:
        format: version of the file's layout.
        machine: the machine's name, free text.
        dtype: type of the grey values it was measured on and holds for.
        exposure_s: seconds of an exposure, where they are known.
        noise: what differs from frame to frame.
        pattern: what does not, but looks like noise in one image.
        measured: how all this came about.
        files: what was measured.
    """

    format: Literal[1] = 1
    machine: str = ""
    dtype: Literal["uint8", "uint16", "float32"]
    exposure_s: Positive | None = None
    noise: NoiseTable
    pattern: FixedPattern | None = None
    measured: MeasuredTable
    files: tuple[FileTable, ...] = ()

    _file: str = PrivateAttr(default="")
    _sha256: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _holds_where_it_was_measured(self) -> NoiseCalibration:
        low, high = self.measured.grey
        if low > high:
            raise ValueError("measured.grey with the lower grey value first")
        if not low - self._margin <= self.noise.level <= high + self._margin:
            raise ValueError(f"noise.level between the measured grey values {low:g} and {high:g}")
        if float(self.temporal.variance(0.5 * (low + high))) <= 0:
            raise ValueError("a variance above 0 at the measured grey values")
        return self

    @property
    def name(self) -> str:
        """The machine, or else the file."""
        return self.machine or self._file or "calibration"

    @property
    def _margin(self) -> float:
        low, high = self.measured.grey
        return WIDENED * max(high - low, 0.5 * abs(self.noise.level))

    @property
    def temporal(self) -> NoiseProfile:
        """The profile of what differs from frame to frame, without the fixed pattern."""
        noise, origin = self.noise, self.measured.source
        slope = noise.slope or 0.0
        return NoiseProfile(noise.level, noise.sigma, slope, noise.corr_x, noise.corr_y, origin=origin)

    def profile_at(self, grey: float) -> NoiseProfile:
        """The profile around a grey value: temporal noise and, where it is known, the fixed pattern."""
        pattern, temporal = self.pattern or FixedPattern(fraction=0.0), self.temporal
        variance = float(temporal.variance(grey))
        signal = max(grey - pattern.dark, 0.0)
        fixed = (pattern.fraction * signal) ** 2
        weight = fixed / (variance + fixed) if variance + fixed > 0 else 0.0
        noise, found = self.noise, []
        for corr, slope, fixed_corr in (
            (noise.corr_x, noise.slope_x, pattern.corr_x),
            (noise.corr_y, noise.slope_y, pattern.corr_y),
        ):
            if slope is not None and variance > 0:
                corr = (corr * noise.sigma**2 + slope * (grey - noise.level)) / variance
            found.append((1 - weight) * min(max(corr, -1.0), 1.0) + weight * fixed_corr)
        return NoiseProfile(
            level=grey,
            sigma=(variance + fixed) ** 0.5,
            slope=temporal.slope + 2 * pattern.fraction**2 * signal,
            corr_x=found[0],
            corr_y=found[1],
            origin=self.measured.source,
        )

    def profile_of(self, pixels: Pixels, grey: GreyMap) -> tuple[NoiseProfile, tuple[str, ...]]:
        """The profile of an image (H, W) of this machine, and warnings, a line each.

        Args:
            pixels: the image.
            grey: its grey map.

        Raises:
            InputError: another type of grey values, none of those that were measured, or no noise there.
        """
        if pixels.dtype.name != self.dtype:
            raise self._unfit(f"{self.dtype} images, as it was measured on", pixels.dtype.name)
        low, high = (float((unit - grey.offset) / grey.scale) for unit in (0.0, 1.0))
        first, last = self.measured.grey
        if high < first - self._margin or low > last + self._margin:
            raise self._unfit(
                f"grey values between {first:.4g} and {last:.4g}, where it was measured",
                f"{low:.4g} to {high:.4g}",
            )
        profile = self.profile_at(0.5 * (low + high))
        if profile.sigma == 0:
            raise self._unfit("grey values at which it has noise", f"{low:.4g} to {high:.4g}")
        return profile, tuple(self._warnings(pixels, profile, low, high))

    def _warnings(self, pixels: Pixels, profile: NoiseProfile, low: float, high: float) -> Iterator[str]:
        first, last = self.measured.grey
        tail = 2.33 * profile.sigma  # as much of noise lies further out as of the image beyond low and high
        if min(low + tail, profile.level) < first - self._margin or (
            max(high - tail, profile.level) > last + self._margin
        ):
            yield (
                f"grey values {low:.4g} to {high:.4g} go beyond {first:.4g} to {last:.4g}, "
                f"where the noise of {self.name} was measured"
            )
        noise = self.noise
        height = 2 * noise.sigma * (noise.sigma_error or 0.0)
        tilt = (noise.slope_error or 0.0) * (profile.level - noise.level)
        together = 2 * noise.error_correlation * height * tilt
        error = max(height**2 + tilt**2 + together, 0.0) ** 0.5 / profile.sigma**2
        if error > UNSURE:
            yield f"sigma of {self.name} is unsure by {0.5 * error:.0%} at grey value {profile.level:.4g}"
        seen = float(estimate_noise(pixels).variance(profile.level)) ** 0.5
        if not profile.sigma / OTHERWISE <= seen <= profile.sigma * OTHERWISE:
            yield (
                f"the image itself seems to have noise of {seen:.3g} where {self.name} says "
                f"{profile.sigma:.3g}; was it exposed or corrected in another way?"
            )

    def _unfit(self, expected: str, found: str) -> InputError:
        return InputError(
            where=f"noise of {self.name}",
            expected=expected,
            found=found,
            advice="measure the noise on exposures like these, or leave --noise out",
        )

    def reference(self) -> dict[str, Any]:
        """Which calibration it is, for the history of an image."""
        return {
            "file": self._file,
            "machine": self.machine,
            "source": self.measured.source,
            "date": self.measured.date,
            "sha256": self._sha256 or hashlib.sha256(calibration_text(self).encode()).hexdigest(),
        }

    def facts(self) -> dict[str, Any]:
        """What a person wants to know of it, numbers with their uncertainty as text."""
        noise, pattern, measured = self.noise, self.pattern, self.measured
        first, last = measured.grey
        slope = "unknown: measured at one grey value only"
        if noise.slope is not None:
            slope = _with_error(noise.slope, noise.slope_error)
        facts = {
            "machine": self.machine,
            "exposure_s": self.exposure_s,
            "holds for": f"{self.dtype}, grey values {first:.4g} to {last:.4g}",
            "sigma": f"{_with_error(noise.sigma, noise.sigma_error)} at grey value {noise.level:.4g}",
            "variance per grey value": slope,
            "correlation along rows": _with_error(noise.corr_x, noise.corr_x_error),
            "correlation along columns": _with_error(noise.corr_y, noise.corr_y_error),
            "fixed pattern": "unknown" if measured.source != "flats" else "none seen, or not asked for",
            "measured on": f"{measured.frames} {_MEASURED_ON[measured.source]}, {measured.darks} darks, "
            f"{measured.size_px[0]} x {measured.size_px[1]} px, {measured.date}",
        }
        if pattern is not None:
            fraction = _with_error(pattern.fraction, pattern.fraction_error)
            facts["fixed pattern"] = f"{fraction} of what lies above {pattern.dark:.4g}"
        if measured.misfit > 0:
            facts["off a straight line by"] = f"{measured.misfit:.1%} of the variance"
        return {**facts, **{f"note {number}": note for number, note in enumerate(measured.notes, start=1)}}


def _with_error(value: float, error: float | None) -> str:
    """A number to the digits that its error leaves."""
    if error is None:
        return f"{value:.4g}"
    if error <= 0:
        return f"{value:.6g} +- 0"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def read_calibration(path: str | Path) -> NoiseCalibration:
    """Read a calibration file and check everything in it.

    Raises:
        InputError: not readable, no calibration, of another format, or with a value that cannot be.
    """
    path = as_path(path, where="calibration")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise _unusable(path, f"a file of more than {LARGEST_BYTES >> 20} MiB")
        values = toml_values(content.decode("utf-8"))
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unusable(path, "no text in UTF-8") from error
    except ValueError as error:
        raise _unusable(path, f"no TOML ({error})") from error
    if "noise" not in values or "measured" not in values:
        raise _unusable(path, "a TOML file of another kind")
    if values.get("format") != FORMAT:
        raise _unusable(path, f"format {values.get('format')} instead of {FORMAT}")
    try:
        calibration = parsed(NoiseCalibration, values, where=str(path))
    except LongExposureError as error:
        raise InputError(
            where=error.where,
            expected=error.expected,
            found=error.found,
            advice="correct the file, or measure again with `longexposure noise machine --from ...`",
        ) from error
    calibration._file = path.name
    calibration._sha256 = hashlib.sha256(content).hexdigest()
    return calibration


def write_calibration(calibration: NoiseCalibration, path: Path, *, overwrite: bool = False) -> None:
    """Write a calibration file, whole or not at all; missing folders are made.

    Raises:
        OutputError: the file exists and may not be overwritten, or cannot be written.
    """
    write_whole(path, calibration_text(calibration).encode(), overwrite=overwrite, parents=True)


def calibration_text(calibration: NoiseCalibration) -> str:
    """The content of a calibration file, TOML; numbers have eight digits that count."""
    values = calibration.model_dump(mode="json", exclude_none=True)
    title = f"# Noise of a machine, measured with longexposure {calibration.measured.version}.\n\n"
    return title + tomli_w.dumps(_rounded(values))


def _rounded(value: Any) -> Any:
    """The same with numbers of eight digits, and texts without what UTF-8 cannot hold."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.8g}")
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _unusable(path: Path, found: str) -> InputError:
    return InputError(
        where=str(path),
        expected="a noise calibration that `longexposure noise machine --from ... --out FILE.toml` wrote",
        found=found,
        advice="check the path, or measure again",
    )
