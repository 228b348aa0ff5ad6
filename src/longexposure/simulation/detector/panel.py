"""A flat panel or camera: from transmission to grey values, quantum by quantum.

One exposure of t seconds passes, in this order,

1. quanta: the transmission (after focal spot, scatter and shading, before the screen) times the open beam's
   quanta per pixel is the mean of a Poisson number; the Swank factor A widens it to variance = mean / A;
2. the screen, which blurs the image and its noise alike, so that the noise is coloured: its power spectrum
   is the screen's |OTF|^2 times the white one (Cunningham, in Handbook of Medical Imaging 1, 2000, ch. 2);
3. gain to raw grey values, lag, the pixels' own gain, the full well;
4. electronics: read noise of every frame, shot noise of the dark current, noise of whole rows and columns,
   and zingers, the tracks of stray quanta that hit the sensor itself;
5. flat-field correction, which divides by gains that were measured with a finite number of flats and have
   drifted since, and normalisation to the reference exposure: a longer one has equal brightness, less noise;
6. the offset: its pattern left by a finite number of dark frames, its drift from exposure to exposure;
7. bad pixels, shown or interpolated, and the digitiser.

A sum of n frames has sqrt(n) times the noise of one; frames are not drawn one by one, so the full well cuts
their sum at n wells. Lag adds an after-image but takes no noise away. Everything works on (H, W) or
(B, H, W), on NumPy arrays and on PyTorch tensors on any device, and no argument is modified.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError
from longexposure.simulation.detector.bad_pixels import (
    DEAD,
    HOT,
    LINE,
    NOISY,
    draw_bad_pixels,
    good_neighbours,
)
from longexposure.simulation.detector.panel_config import PanelConfig
from longexposure.simulation.random_source import Array, RandomSource, Shape, as_numpy, floats, namespace
from longexposure.simulation.recipe import checked_seconds, refused

Screen = Callable[[Array], Array]
"""Linear blur of (H, W) and (B, H, W) that keeps the mean and leaves its argument alone."""


class Panel:
    """One panel with its own pixels: fixed pattern and bad pixels are the same in all its exposures.

    Args:
        config: the detector.
        shape: (H, W), or (B, H, W) for B panels at once; images have this shape, or (B, H, W) for (H, W).
        quanta_per_px_s: quanta that the open beam leaves in a pixel each second, above 0: a number or an
            array that broadcasts against the images.
        rng: the panel's own; equal sources make equal panels, and say what arrays it works on.
        screen: the screen's blur of image and noise; None for none.

    Attributes:
        correction: what the flat-field correction multiplies with; None for none.

    Raises:
        RecipeError: no pixels, or no quanta.
    """

    def __init__(
        self,
        config: PanelConfig,
        *,
        shape: Shape,
        quanta_per_px_s: float | Array,
        rng: RandomSource,
        screen: Screen | None = None,
    ) -> None:
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise refused(
                "panel, shape",
                "(H, W) or (B, H, W), each 1 or more",
                tuple(shape),
                "give the panel's size in pixels",
            )
        even = getattr(quanta_per_px_s, "ndim", 0) == 0
        lowest = float(np.min(quanta_per_px_s if even else as_numpy(quanta_per_px_s)))
        if not 0 < lowest < np.inf:
            raise refused(
                "panel, quanta_per_px_s",
                "a finite number above 0",
                f"{lowest:g}",
                "check tube current, distance and filters",
            )
        self.config, self.shape, self.screen, self.array = config, tuple(shape), screen, rng.array
        if even:
            self.quanta_per_px_s = float(quanta_per_px_s)
        else:
            as_array = rng.array if isinstance(quanta_per_px_s, np.ndarray) else floats
            self.quanta_per_px_s = as_array(quanta_per_px_s)
        self.correction: Array | None = None
        self._calibrate(rng)
        self._offset: Array | float = config.offset
        if config.offset_pattern:
            self._offset = config.offset + config.offset_pattern * rng.normal(self.shape)
        self._dark_pattern = rng.normal(self.shape) if config.dark_frames else None
        self._interpolation: tuple[Array, Array, Array] | None = None
        self._noisy: Array | None = None
        if config.bad.any:
            self._add_bad_pixels(rng)

    def under(self, quanta_per_px_s: Array) -> Panel:
        """The same pixels under another open beam; what was calibrated under the first one stays.

        Args:
            quanta_per_px_s: an array that broadcasts against the images, above 0.
        """
        panel = copy.copy(self)
        panel.quanta_per_px_s = self.array(quanta_per_px_s)
        return panel

    def collect(
        self, transmission: Array, *, exposure_s: float, rng: RandomSource, dose: float = 1.0
    ) -> Array:
        """Quanta per pixel, float32, before the screen. Exposures add up: sum what they collected.

        A long exposure that contains a short one is `read_out(short + rest)`.

        Args:
            transmission: I/I0 before the screen; what is below 0 counts as 0.
            exposure_s: seconds, above 0.
            rng: of this exposure.
            dose: the tube's output as a fraction of the nominal one.

        Raises:
            InputError: an image of another shape.
            RecipeError: an exposure time that is not above 0.
        """
        seconds, swank = checked_seconds(exposure_s), self.config.swank
        self._check_image(transmission, "transmission")
        mean = self.quanta_per_px_s * (float(dose) * (seconds * swank)) * floats(transmission)
        quanta = rng.poisson(namespace(mean).clip(mean, 0.0, None))
        return quanta if swank == 1 else quanta / swank

    def read_out(self, quanta: Array, *, exposure_s: float, rng: RandomSource) -> Array:
        """Grey values, float32, of quanta that were collected in `exposure_s` seconds after an open beam.

        Arguments and errors as for `collect`.
        """
        seconds = checked_seconds(exposure_s)
        self._check_image(quanta, "quanta")
        config, frames = self.config, self.config.frames(seconds)
        raw = self.blurred(floats(quanta)) * config.gain
        xp = namespace(raw)
        if config.lag:
            fraction = config.lag / frames
            raw = raw * (1 - fraction) + self.quanta_per_px_s * (config.gain * seconds) * fraction
        if self._gains is not None:
            raw = raw * self._gains
        if config.full_well is not None:
            raw = xp.clip(raw, None, config.full_well * frames)
        image = self._with_electronics(raw, seconds, rng) * (config.reference_s / seconds)
        if self.correction is not None:
            image = image * self.correction
        image = self._with_bad_pixels(self._with_offset(image, seconds, rng), seconds, rng)
        return image if config.bits is None else xp.clip(xp.round(image), 0.0, 2.0**config.bits - 1)

    def expectation(self, transmission: Array) -> Array:
        """Grey values without noise and faults, float32, not rounded: the `clean` image of any exposure.

        Raises:
            InputError: an image of another shape.
        """
        self._check_image(transmission, "transmission")
        config = self.config
        seconds = config.reference_s
        raw = self.blurred(self.quanta_per_px_s * (config.gain * seconds) * floats(transmission))
        highest = np.inf if config.full_well is None else config.full_well * config.frames(seconds)
        if config.bits is not None:
            highest = min(highest, 2**config.bits - 1 - config.offset)
        return namespace(raw).clip(raw, 0.0, float(highest)) + config.offset

    def blurred(self, image: Array) -> Array:
        """What the screen makes of an image."""
        return image if self.screen is None else self.screen(image)

    def mean_of_open_beam(self, factor: float) -> float:
        """Mean over the panel of the open beam's quanta per second times a factor."""
        open_beam = self.quanta_per_px_s * factor
        return open_beam if isinstance(open_beam, float) else float(open_beam.mean())

    def flat_variances(self) -> tuple[float, float]:
        """Relative variance of the averaged flats: of quanta before the screen, of the electronics."""
        config = self.config
        seconds, frames = config.frame_s or config.reference_s, config.flat_frames or 1
        quanta = self.mean_of_open_beam(seconds * frames)
        electronic = config.electronic_variance(seconds) * frames
        return 1 / (config.swank * quanta), electronic / (config.gain * quanta) ** 2

    # The panel's own pixels

    def _calibrate(self, rng: RandomSource) -> None:
        """Draw the pixels' gains, the flats that correct them, and their drift since."""
        config = self.config
        gains = self._uneven(rng, config.pixel_gain, config.block_gain)
        drift = self._uneven(rng, config.gain_drift, config.block_gain_drift)
        self._gains = drift if gains is None else gains if drift is None else gains * drift
        if config.flat_frames == 0:
            return
        flat = gains
        if config.flat_frames:
            seconds = (config.frame_s or config.reference_s) * config.flat_frames
            sigma = (config.swank * (self.quanta_per_px_s * seconds)) ** -0.5
            coloured = self.blurred(rng.normal(self.shape) * sigma)
            electronic = self.flat_variances()[1] ** 0.5
            averaged = 1.0 + coloured + electronic * rng.normal(self.shape)
            averaged = namespace(averaged).clip(averaged, 0.1, None)
            flat = averaged if flat is None else flat * averaged
        self.correction = None if flat is None else 1.0 / flat

    def _uneven(self, rng: RandomSource, pixel: float, block: float) -> Array | None:
        """Gains around 1, at least 0.1: white and by block; None where both are even."""
        if not pixel and not block:
            return None
        gains = 1.0 + pixel * rng.normal(self.shape)
        if block:
            gains = gains + block * self._blocks(rng, self.shape[:-2])
        return namespace(gains).clip(gains, 0.1, None)

    def _blocks(self, rng: RandomSource, leading: Shape) -> Array:
        """A normal number for each block of columns, (..., 1, W)."""
        width, block = self.shape[-1], self.config.block_px
        drawn = rng.normal((*leading, 1, -(-width // block)))
        return drawn[..., rng.array(np.arange(width) // block)]

    def _add_bad_pixels(self, rng: RandomSource) -> None:
        bad, random = self.config.bad, rng.host()
        maps = [draw_bad_pixels(bad, self.shape[-2:], random) for _ in range(int(np.prod(self.shape[:-2])))]
        kinds = np.stack(maps).reshape(self.shape)
        mapped = (kinds == LINE) | (random.random(self.shape) >= bad.unmapped)
        known = (kinds > 0) & mapped & bad.interpolated
        if known.any():
            at, near, weight = map(rng.array, good_neighbours(known))
            self._interpolation = at, near, weight
        shown = np.where(known, 0, kinds)
        if (shown == HOT).any():
            excess = np.zeros(self.shape, np.float32)
            count = int((shown == HOT).sum())
            excess[shown == HOT] = random.exponential(bad.hot_level * self._open_grey(), count)
            self._offset = self._offset + rng.array(excess)
        if (shown == NOISY).any():
            self._noisy = rng.array(np.flatnonzero(shown == NOISY))
        dead = (shown == DEAD) | (shown == LINE)
        if dead.any():
            alive = rng.array(~dead)
            self._gains = alive if self._gains is None else self._gains * alive
            if self.correction is not None:
                self.correction = self.correction * alive + (1 - alive)

    def _open_grey(self) -> float:
        """Mean grey value of the open beam above the offset."""
        return self.mean_of_open_beam(self.config.gain * self.config.reference_s)

    # Steps of the readout

    def _with_electronics(self, raw: Array, seconds: float, rng: RandomSource) -> Array:
        config, frames = self.config, self.config.frames(seconds)
        *leading, height, width = raw.shape
        sigma = (frames * config.electronic_variance(seconds / frames)) ** 0.5
        if sigma:
            raw = raw + sigma * rng.normal((*leading, height, width))
        if config.row_noise:
            raw = raw + config.row_noise * frames**0.5 * rng.normal((*leading, height, 1))
        if config.column_noise:
            raw = raw + config.column_noise * frames**0.5 * rng.normal((*leading, 1, width))
        if config.zingers:
            raw = raw + rng.array(self._tracks(tuple(raw.shape), seconds, rng.host()))
        return raw

    def _tracks(self, shape: Shape, seconds: float, random: np.random.Generator) -> npt.NDArray[np.float32]:
        """What stray quanta add, raw grey values; where two cross, one counts."""
        config = self.config
        added = np.zeros((int(np.prod(shape[:-2])), *shape[-2:]), np.float32)
        count = int(random.poisson(config.zingers * seconds * added.size))
        start = random.integers(0, added.shape, (count, 3))
        turn, length = random.uniform(0, 2 * np.pi, count), random.integers(1, config.zinger_px + 1, count)
        bright = random.exponential(config.zinger_level * self._open_grey(), count)
        for step in range(config.zinger_px):
            away = np.rint(step * np.stack([np.sin(turn), np.cos(turn)], -1)).astype(np.int64)
            at = start[:, 1:] + away
            hit = (step < length) & (at >= 0).all(-1) & (at < shape[-2:]).all(-1)
            added[start[hit, 0], at[hit, 0], at[hit, 1]] = bright[hit]
        return added.reshape(shape)

    def _with_offset(self, image: Array, seconds: float, rng: RandomSource) -> Array:
        config, leading = self.config, tuple(image.shape[:-2])
        image = image + self._offset
        if self._dark_pattern is not None:
            image = image + config.dark_pattern_sigma(seconds) * self._dark_pattern
        if config.offset_drift:
            image = image + config.offset_drift * rng.normal((*leading, 1, 1))
        if config.block_offset_drift:
            image = image + config.block_offset_drift * self._blocks(rng, leading)
        return image

    def _with_bad_pixels(self, image: Array, seconds: float, rng: RandomSource) -> Array:
        if self._noisy is None and self._interpolation is None:
            return image
        leading = tuple(image.shape[: image.ndim - len(self.shape)])
        flat = image.reshape((*leading, -1))
        if self._noisy is not None:
            reference = self.config.bad.noisy_level * self._open_grey()
            sigma = reference * (self.config.reference_s / seconds) ** 0.5
            flat[..., self._noisy] += sigma * rng.normal((*leading, len(self._noisy)))
        if self._interpolation is not None:
            at, near, weight = self._interpolation
            flat[..., at] = (flat[..., near] * weight).sum(-1)
        return flat.reshape(image.shape)

    def _check_image(self, image: Array, name: str) -> None:
        if tuple(image.shape[-len(self.shape) :]) != self.shape or image.ndim > 3:
            raise InputError(
                where=name,
                expected=f"the panel's shape {self.shape}",
                found=f"shape {tuple(image.shape)}",
                advice="make a panel for images of this size",
            )
