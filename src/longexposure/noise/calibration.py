"""A machine's fingerprint: its noise, measured once and kept in a small TOML file.

The file says how the noise goes with the grey value, how sure each number is, from what it was measured and
for which grey values it holds. A fingerprint is a function of the grey value, so it applies as it is to every
image of the same grey scale; what lies outside of what was measured is told, and what cannot be is refused.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from longexposure.config import parsed
from longexposure.errors import InputError, LongExposureError
from longexposure.grey import GreyMap
from longexposure.noise.estimator import estimate_noise
from longexposure.noise.profile import NoiseProfile
from longexposure.radiograph import Pixels

FORMAT = 1
LARGEST_BYTES = 1 << 20
WIDENED = 0.1
"""A fingerprint holds for grey values beyond the measured ones by this fraction of their span."""
UNSURE = 0.3
"""A profile is told as unsure when the standard error of its variance is above this fraction."""
OTHERWISE = 2.0
"""An image whose own noise seems more than so many times that of the fingerprint, or less, is told."""

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Correlation = Annotated[float, Field(ge=-1, le=1)]
Source = Literal["flats", "repeats", "image"]

_MEASURED_ON = {"flats": "flats", "repeats": "repeated exposures", "image": "single images"}

_CONFIG = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NoiseTable(BaseModel):
    """The noise that differs from frame to frame; each number with its standard error where it is known.

    Attributes:
        level: grey value at which sigma holds.
        sigma: standard deviation of the noise there, in grey values.
        slope: change of the variance per grey value; absent where only one grey value was seen.
        tied: correlation of the errors of variance and slope.
        corr_x: lag-1 autocorrelation along x.
        corr_y: the same along y.
        slope_x: change of the covariance of neighbours along x per grey value; without it the correlation
            is the same at every grey value.
        slope_y: the same along y.
    """

    model_config = _CONFIG

    level: float
    sigma: Positive
    sigma_error: NotNegative | None = None
    slope: float | None = None
    slope_error: NotNegative | None = None
    tied: Correlation = 0.0
    corr_x: Correlation
    corr_x_error: NotNegative | None = None
    corr_y: Correlation
    corr_y_error: NotNegative | None = None
    slope_x: float | None = None
    slope_y: float | None = None

    def correlations(self, grey: float, variance: float) -> tuple[float, float]:
        """Lag-1 autocorrelation along x and y at a grey value where the noise has this variance."""
        found = []
        for corr, slope in ((self.corr_x, self.slope_x), (self.corr_y, self.slope_y)):
            at_level = corr * self.sigma**2
            change = 0.0 if slope is None else slope * (grey - self.level)
            told = corr if slope is None or variance <= 0 else (at_level + change) / variance
            found.append(min(max(told, -1.0), 1.0))
        return found[0], found[1]


class PatternTable(BaseModel):
    """The fixed pattern, which stands still from frame to frame and counts as noise of a single image.

    Attributes:
        fraction: standard deviation from pixel to pixel, as a fraction of the signal above `dark`.
        fraction_error: its standard error.
        corr_x: lag-1 autocorrelation along x.
        corr_y: the same along y.
        dark: grey value without signal.
    """

    model_config = _CONFIG

    fraction: NotNegative
    fraction_error: NotNegative | None = None
    corr_x: Correlation = 0.0
    corr_y: Correlation = 0.0
    dark: float = 0.0


class MeasuredTable(BaseModel):
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

    model_config = _CONFIG

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


class FileTable(BaseModel):
    """A file that was measured."""

    model_config = _CONFIG

    name: str
    role: Literal["flats", "repeats", "image", "darks"]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="64 hexadecimal digits")


class NoiseCalibration(BaseModel):
    """The noise of a machine, as a fingerprint file tells it.

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

    model_config = _CONFIG

    format: Literal[1] = 1
    machine: str = ""
    dtype: Literal["uint8", "uint16", "float32"]
    exposure_s: Positive | None = None
    noise: NoiseTable
    pattern: PatternTable | None = None
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
        if float(self._temporal.variance(0.5 * (low + high))) <= 0:
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
    def _temporal(self) -> NoiseProfile:
        noise, origin = self.noise, self.measured.source
        slope = noise.slope or 0.0
        return NoiseProfile(noise.level, noise.sigma, slope, noise.corr_x, noise.corr_y, origin=origin)

    def profile_at(self, grey: float) -> NoiseProfile:
        """The profile around a grey value: temporal noise and, where it is known, the fixed pattern."""
        still_at, temporal = (
            self.pattern or PatternTable(fraction=0.0, corr_x=0.0, corr_y=0.0),
            self._temporal,
        )
        own = float(temporal.variance(grey))
        signal = max(grey - still_at.dark, 0.0)
        still = (still_at.fraction * signal) ** 2
        weight = still / (own + still) if own + still > 0 else 0.0
        corr_x, corr_y = self.noise.correlations(grey, own)
        return NoiseProfile(
            level=grey,
            sigma=(own + still) ** 0.5,
            slope=temporal.slope + 2 * still_at.fraction**2 * signal,
            corr_x=(1 - weight) * corr_x + weight * still_at.corr_x,
            corr_y=(1 - weight) * corr_y + weight * still_at.corr_y,
            origin=self.measured.source,
        )

    def profile_of(self, pixels: Pixels, grey: GreyMap) -> tuple[NoiseProfile, tuple[str, ...]]:
        """The profile of an image (H, W) of this machine, and what speaks against it, a line each.

        Args:
            pixels: the image.
            grey: its grey map.

        Raises:
            InputError: another type of grey values, none of those that were measured, or no noise there.
        """
        if pixels.dtype.name != self.dtype:
            raise self._other(f"{self.dtype} images, as it was measured on", pixels.dtype.name)
        low, high = (float((unit - grey.offset) / grey.scale) for unit in (0.0, 1.0))
        first, last = self.measured.grey
        if high < first - self._margin or low > last + self._margin:
            raise self._other(
                f"grey values between {first:.4g} and {last:.4g}, where it was measured",
                f"{low:.4g} to {high:.4g}",
            )
        profile = self.profile_at(0.5 * (low + high))
        if profile.sigma == 0:
            raise self._other("grey values at which it knows of noise", f"{low:.4g} to {high:.4g}")
        return profile, tuple(self._cautions(pixels, profile, low, high))

    def _cautions(self, pixels: Pixels, profile: NoiseProfile, low: float, high: float) -> Iterator[str]:
        first, last = self.measured.grey
        tail = (
            2.33 * profile.sigma
        )  # a hundredth of noise lies further out, as of the image beyond low and high
        if min(low + tail, profile.level) < first - self._margin or (
            max(high - tail, profile.level) > last + self._margin
        ):
            yield (
                f"grey values {low:.4g} to {high:.4g} go beyond {first:.4g} to {last:.4g}, "
                f"where the noise of {self.name} was measured"
            )
        error = self._variance_error(profile.level) / profile.sigma**2
        if error > UNSURE:
            yield f"sigma of {self.name} is unsure by {0.5 * error:.0%} at grey value {profile.level:.4g}"
        seen = float(estimate_noise(pixels).variance(profile.level)) ** 0.5
        if not profile.sigma / OTHERWISE <= seen <= profile.sigma * OTHERWISE:
            yield (
                f"the image itself seems to have noise of {seen:.3g} where {self.name} says "
                f"{profile.sigma:.3g}; was it exposed or corrected in another way?"
            )

    def _variance_error(self, grey: float) -> float:
        """Standard error of the variance at a grey value, as far as it is known."""
        noise = self.noise
        height = 2 * noise.sigma * (noise.sigma_error or 0.0)
        tilt = (noise.slope_error or 0.0) * (grey - noise.level)
        return max(height**2 + tilt**2 + 2 * noise.tied * height * tilt, 0.0) ** 0.5

    def _other(self, expected: str, found: str) -> InputError:
        return InputError(
            where=f"noise of {self.name}",
            expected=expected,
            found=found,
            advice="measure the noise on exposures like these, or leave --noise out",
        )

    def reference(self) -> dict[str, Any]:
        """What the history of an image says of it."""
        return {
            "file": self._file,
            "machine": self.machine,
            "source": self.measured.source,
            "date": self.measured.date,
            "sha256": self._sha256 or hashlib.sha256(calibration_text(self).encode()).hexdigest(),
        }

    def facts(self) -> dict[str, Any]:
        """What a person wants to know of it, numbers with their uncertainty as text."""
        noise, still, measured = self.noise, self.pattern, self.measured
        first, last = measured.grey
        slope = "unknown: measured at one grey value only"
        facts = {
            "machine": self.machine,
            "exposure_s": self.exposure_s,
            "holds for": f"{self.dtype}, grey values {first:.4g} to {last:.4g}",
            "sigma": f"{_sure(noise.sigma, noise.sigma_error)} at grey value {noise.level:.4g}",
            "variance per grey value": slope
            if noise.slope is None
            else _sure(noise.slope, noise.slope_error),
            "correlation along rows": _sure(noise.corr_x, noise.corr_x_error),
            "correlation along columns": _sure(noise.corr_y, noise.corr_y_error),
            "fixed pattern": "unknown" if measured.source != "flats" else "none seen, or not asked for",
            "measured on": f"{measured.frames} {_MEASURED_ON[measured.source]}, {measured.darks} darks, "
            f"{measured.size_px[0]} x {measured.size_px[1]} px, {measured.date}",
        }
        if still is not None:
            facts["fixed pattern"] = (
                f"{_sure(still.fraction, still.fraction_error)} of what lies above {still.dark:.4g}"
            )
        if measured.misfit > 0:
            facts["off a straight line by"] = f"{measured.misfit:.1%} of the variance"
        return {**facts, **{f"note {number}": note for number, note in enumerate(measured.notes, start=1)}}


def _sure(value: float, error: float | None) -> str:
    """A number to the digits that its error leaves."""
    if error is None:
        return f"{value:.4g}"
    if error <= 0:
        return f"{value:.6g} +- 0"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} +- {error:.{digits}f}"


def read_calibration(path: str | Path) -> NoiseCalibration:
    """Read a fingerprint file and check everything in it.

    Raises:
        InputError: not readable, no fingerprint, of another format, or with a value that cannot be.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise _unusable(path, f"a file of more than {LARGEST_BYTES >> 20} MiB")
        values = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unusable(path, "no text in UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _unusable(path, f"no TOML ({error})") from error
    if "noise" not in values or "measured" not in values:
        raise _unusable(path, "a TOML file of another kind")
    if values.get("format") != FORMAT:
        raise _unusable(path, f"format {values.get('format')} instead of {FORMAT}")
    calibration = _checked(values, where=str(path))
    calibration._file = path.name
    calibration._sha256 = hashlib.sha256(content).hexdigest()
    return calibration


def calibration_text(calibration: NoiseCalibration) -> str:
    """The content of a fingerprint file, TOML; numbers have eight digits that count."""
    values = calibration.model_dump(mode="json", exclude_none=True)
    title = f"# Noise of a machine, measured with longexposure {calibration.measured.version}.\n\n"
    return title + tomli_w.dumps(_rounded(values))


def _checked(values: Mapping[str, Any], *, where: str) -> NoiseCalibration:
    try:
        return parsed(NoiseCalibration, values, where=where)
    except LongExposureError as error:
        advice = "correct the file, or measure again with `longexposure noise machine --from ...`"
        raise InputError(
            where=error.where, expected=error.expected, found=error.found, advice=advice
        ) from error


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
        expected="a fingerprint that `longexposure noise machine --from ... --out FILE.toml` wrote",
        found=found,
        advice="check the path, or measure again",
    )
