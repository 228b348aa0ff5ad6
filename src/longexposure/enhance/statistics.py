"""What one image is found to be before anything is changed: grey map, noise, faulty pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from longexposure.enhance.areas import SetAside, find_set_aside
from longexposure.enhance.bad_pixels import CLUSTER, GIVEN, GRAPHICS, LINE, SINGLE, BadPixels, find_bad_pixels
from longexposure.enhance.bending import Bend
from longexposure.enhance.beyond import stuck_values
from longexposure.enhance.copies import mirrored_borders
from longexposure.enhance.flags import Flag
from longexposure.grey import GreyMap, measure_grey
from longexposure.masks import Mask
from longexposure.models.noise_range import Conditions
from longexposure.noise import NoiseProfile, estimate_noise
from longexposure.noise.calibration import NoiseCalibration
from longexposure.noise.resampling import INTERPOLATED, resampling_in_words
from longexposure.radiograph import Pages, Pixels, Radiograph

ENHANCED_TWICE = (
    "what is left of its noise is found too weak, and what was lost does not come back: use the original"
)
MUCH_ASIDE = 0.1
"""Where more than this share of an image is set aside, a warning says so."""
MIRRORED = "the border is a mirror image of the picture, and shows nothing of the part"
RESAMPLED = (
    "noise that neighbours share is left more than other noise; enhance the image as the detector gave it, "
    "and enlarge or turn the result"
)

MARKS = {
    SINGLE: "found alone or in a pair",
    CLUSTER: "found in a cluster",
    LINE: "found in a line",
    GIVEN: "given by a map",
    GRAPHICS: "no picture of the part",
}
"""What the values of a mask of faulty pixels mean; 0 is good."""
MANY_FAULTY = 0.005
"""A larger fraction of faulty pixels is warned of."""
PLACES_TOLD = 3
MARK_ROWS = 512


@dataclass(frozen=True)
class ImageStatistics:
    """What one image (H, W) was found to be before anything was changed.

    Attributes:
        grey: its grey map.
        noise: its noise.
        bad_pixels: its faulty pixels.
        aside: areas of it that are no picture of the part.
        calibration: what the noise was taken from, where it was not measured on the image.
        cautions: what speaks against that, or against what became of the image.
        resampled: what was done to the pixels before: "repeated 2 x 2" or "interpolated"; empty for nothing.
        flags: places where what was taken away is not noise; None where nobody looked for them.
    """

    grey: GreyMap
    noise: NoiseProfile
    bad_pixels: BadPixels
    aside: SetAside
    calibration: NoiseCalibration | None = None
    cautions: tuple[str, ...] = ()
    resampled: str = ""
    flags: tuple[Flag, ...] | None = None

    @property
    def bend(self) -> Bend | None:
        """How grey values of the unit domain are bent for a network that is told the noise, if they are."""
        unit = self.noise.mapped(scale=self.grey.scale, offset=self.grey.offset)
        return Bend(unit) if unit.curve else None

    @property
    def told(self) -> NoiseProfile:
        """The noise that such a network sees, in the unit domain."""
        unit = self.noise.mapped(scale=self.grey.scale, offset=self.grey.offset)
        return Bend(unit).even if unit.curve else unit

    @property
    def noise_condition(self) -> npt.NDArray[np.float32]:
        """The same as the network takes it, (5,)."""
        return self.told.noise_condition()

    @property
    def noiseless(self) -> bool:
        """Whether there is nothing to take away."""
        return self.noise.sigma == 0 and self.noise.slope == 0

    def without_places(self) -> ImageStatistics:
        """The same without the places of faulty pixels and of what is set aside: a small thing."""
        faulty, aside = self.bad_pixels, self.aside
        empty = Mask.empty(aside.mask.shape)
        return dataclasses.replace(
            self,
            bad_pixels=BadPixels(faulty.y[:0], faulty.x[:0], faulty.value[:0], faulty.kind, faulty.places),
            aside=SetAside(dataclasses.replace(empty, count=aside.mask.count), aside.kinds),
        )

    def with_cautions(self, cautions: tuple[str, ...]) -> ImageStatistics:
        """The same with more cautions."""
        return dataclasses.replace(self, cautions=(*self.cautions, *cautions)) if cautions else self

    @property
    def set_aside(self) -> dict[str, int]:
        """Number of pixels that are no picture of the part, by what they are, in words."""
        graphics = int(np.count_nonzero(self.bad_pixels.kind == GRAPHICS))
        return {**self.aside.kinds, **({"text and graphics": graphics} if graphics else {})}

    def replaced(self, strength: float) -> dict[str, Any]:
        """What an image's history says of its faulty pixels, and of what is no picture of the part."""
        counts = self.bad_pixels.counts if strength > 0 else {}
        return {
            "bad_pixels_replaced": sum(counts.values()),
            **({"bad_pixels": counts} if set(counts) - {"single"} else {}),
            **({"set_aside": self.set_aside} if self.set_aside else {}),
        }

    def marks(self) -> npt.NDArray[np.uint8]:
        """What every pixel (H, W) is: 0 a good one, or a number of `MARKS`."""
        marked = np.zeros(self.aside.mask.shape, np.uint8)
        for row in range(0, len(marked), MARK_ROWS):
            rows = slice(row, row + MARK_ROWS)
            marked[rows][self.aside.mask.within(rows)] = GRAPHICS
        faulty = self.bad_pixels
        keep = marked[faulty.y, faulty.x] == 0
        marked[faulty.y[keep], faulty.x[keep]] = faulty.kind[keep]
        return marked

    def _faults(self) -> tuple[str, ...]:
        """What is to be told of the faulty pixels."""
        told, places = [], self.bad_pixels.places
        if places:
            named = "; ".join(str(place) for place in places[:PLACES_TOLD])
            more = f" and {len(places) - PLACES_TOLD} more" if len(places) > PLACES_TOLD else ""
            told.append(
                f"faulty lines or clusters were found and filled, do not measure there: {named}{more}"
            )
        fraction = sum(self.bad_pixels.counts.values()) / (
            self.aside.mask.shape[0] * self.aside.mask.shape[1]
        )
        if fraction > MANY_FAULTY:
            told.append(f"{100 * fraction:.2g} % of the pixels are faulty and were filled")
        return tuple(told)

    def warnings(self, trained: Conditions | None, enhanced_by: str = "") -> tuple[str, ...]:
        """Where the noise lies outside what a network was trained for, if that is known, and the cautions.

        Args:
            trained: what the network was trained for.
            enhanced_by: what the image was enhanced with before: that leaves noise that neighbours share,
                and its pixels need not have been interpolated.
        """
        cautions = (*self._faults(), *self.cautions)
        if self.aside.mask.fraction > MUCH_ASIDE:
            cautions = (*cautions, f"no picture of the part, and set aside: {self.aside.in_words()}")
        if self.resampled and not (enhanced_by and self.resampled == INTERPOLATED):
            cautions = (*cautions, f"pixels were {self.resampled} before: {RESAMPLED}")
        if trained is None or self.noiseless:
            return cautions
        return (*trained.outside(self.told), *cautions)


def examine(
    pixels: Pixels,
    noise: NoiseProfile | NoiseCalibration | None = None,
    *,
    given: Mask | None = None,
    where: str = "image",
) -> ImageStatistics:
    """Measure one image (H, W); a given noise profile is taken as it is, a calibration where it applies.

    Args:
        pixels: the image.
        noise: its noise; None measures it.
        given: pixels that are known to be faulty.
        where: what it is called in errors.

    Raises:
        InputError: nothing of a picture is left, or a calibration of images of another type or of other grey
            values.
    """
    aside = find_set_aside(pixels, where)
    pixels = aside.sound(pixels)
    # many pixels that are stuck at an end of the scale would set both it and the noise
    sound = _without_stuck(pixels, aside.mask)
    grey = measure_grey(pixels, sound)
    cautions: tuple[str, ...] = ()
    calibration = noise if isinstance(noise, NoiseCalibration) else None
    if isinstance(noise, NoiseCalibration):
        noise, cautions = noise.profile_of(pixels, grey)
    profile = estimate_noise(pixels, grey, sound) if noise is None else noise
    bad = find_bad_pixels(pixels, profile, aside.mask, given)
    if np.any(bad.kind != SINGLE) or len(bad) > MANY_FAULTY * pixels.size:
        # they neither set the grey scale nor pass for structure; the rest may then show more of them
        mask = aside.mask.with_pixels(bad.y, bad.x)
        grey = measure_grey(pixels, mask)
        if noise is None:
            profile = estimate_noise(pixels, grey, mask)
        bad = find_bad_pixels(pixels, profile, aside.mask, given)
    mirrored = mirrored_borders(pixels)
    if mirrored:
        cautions = (*cautions, f"{MIRRORED}: {', '.join(mirrored)}")
    resampled = resampling_in_words(pixels, profile, aside.mask)
    return ImageStatistics(grey, profile, bad, aside, calibration, cautions, resampled)


def _without_stuck(pixels: Pixels, aside: Mask) -> Mask:
    """What is set aside, and pixels at the ends of the grey values where many are stuck."""
    stuck = stuck_values(pixels, aside)
    if not stuck:
        return aside
    return aside | Mask.of(np.isin(pixels, np.array(stuck, pixels.dtype)))


def marks_of(
    radiograph: Radiograph, statistics: Sequence[ImageStatistics], pages: Pages | None = None
) -> Radiograph:
    """What every pixel of a radiograph is, uint8 of the same shape: 0 a good one, or a number of `MARKS`.

    Args:
        radiograph: as it was read.
        statistics: of each page.
        pages: the marks of all pages, where statistics without places no longer tell them.
    """
    if pages is not None:
        marks = cast(Pixels, pages)
    else:
        marks = np.stack([found.marks() for found in statistics]).reshape(radiograph.pixels.shape)
    meaning = ", ".join(["0 good", *(f"{number} {words}" for number, words in MARKS.items())])
    return Radiograph(marks, pitch_um=radiograph.pitch_um, description=f"bad pixels: {meaning}")


def pages_of(pixels: Pixels) -> Pixels:
    """An image or a stack as (N, H, W)."""
    return pixels[None] if pixels.ndim == 2 else pixels
