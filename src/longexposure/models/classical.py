"""Enhancers without a network: what any enhancer must beat, and a way to work without weights.

Each gives for every pixel a function of its neighbourhood alone, so that a large image can be cut
into tiles with a halo. Beyond the edge of the array it is given, a filter sees a mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError, RecipeError
from longexposure.models.base import ModelSpec

Tile = npt.NDArray[np.float32]
"""A batch of tiles (B, H, W) in the unit domain."""
Condition = npt.NDArray[np.float32]
"""The noise, five numbers, see `longexposure.noise.NOISE_CONDITION`; the first is sigma, in tile units."""

_TRUNCATE = 4.0


@dataclass(frozen=True)
class Identity:
    """Leaves every pixel as it is."""

    info = None

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(size_multiple=1, receptive_field=0, conditioned=False)

    def run(self, tile: Tile, noise_condition: Condition) -> Tile:
        """A copy of the tiles (B, H, W).

        Raises:
            InputError: not a batch of tiles.
        """
        return _checked(tile).copy()


@dataclass(frozen=True)
class Gaussian:
    """Gaussian smoothing, cut off at four sigma.

    Attributes:
        sigma_px: standard deviation of the kernel in pixels, above 0, at most 50.
    """

    sigma_px: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_px <= 50:
            raise RecipeError(
                where="gaussian, sigma_px",
                expected="a number above 0 and at most 50",
                found=str(self.sigma_px),
                advice="use about 1, or the identity to smooth nothing",
            )

    info = None

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(size_multiple=1, receptive_field=self._radius, conditioned=False)

    def run(self, tile: Tile, noise_condition: Condition) -> Tile:
        """Smooth the tiles (B, H, W), whatever their noise.

        Raises:
            InputError: not a batch of tiles.
        """
        from scipy.ndimage import gaussian_filter  # slow to load, and seldom wanted

        smoothed: Tile = gaussian_filter(
            _checked(tile), self.sigma_px, axes=(1, 2), mode="reflect", radius=self._radius
        )
        return smoothed

    @property
    def _radius(self) -> int:
        return int(_TRUNCATE * self.sigma_px + 0.5)


@dataclass(frozen=True)
class NonLocalMeans:
    """Non-local means for a known noise: averages pixels whose surroundings look alike.

    Source: Buades et al., CVPR 2005; Darbon et al., ISBI 2008 (integral images), as in scikit-image.

    Attributes:
        strength: filter parameter h in units of the noise sigma, above 0.
        patch_px: side of the surroundings compared, odd, at least 3.
        distance_px: how far away similar pixels are looked for, at least 1.
    """

    strength: float = 0.8
    patch_px: int = 5
    distance_px: int = 6

    def __post_init__(self) -> None:
        patch_fits = self.patch_px >= 3 and self.patch_px % 2 == 1
        if not (0 < self.strength < np.inf and patch_fits and self.distance_px >= 1):
            raise RecipeError(
                where="non-local means",
                expected="strength above 0, an odd patch_px of at least 3, distance_px of at least 1",
                found=f"strength {self.strength}, patch_px {self.patch_px}, distance_px {self.distance_px}",
                advice="start from the defaults 0.8, 5 and 6",
            )

    info = None

    @property
    def spec(self) -> ModelSpec:
        radius = self.patch_px // 2 + self.distance_px
        return ModelSpec(size_multiple=1, receptive_field=radius, conditioned=True)

    def run(self, tile: Tile, noise_condition: Condition) -> Tile:
        """Denoise the tiles (B, H, W) of noise sigma `noise_condition[0]`; sigma 0 leaves them as they are.

        Raises:
            InputError: not a batch of tiles, or a sigma that is negative or not finite.
        """
        sigma = float(noise_condition[0])
        if not (np.isfinite(sigma) and sigma >= 0):
            raise InputError(
                where="non-local means, noise sigma",
                expected="a finite number of at least 0",
                found=str(sigma),
                advice="measure the noise again or pass it by hand",
            )
        if sigma == 0:
            return _checked(tile).copy()
        from skimage.restoration import denoise_nl_means  # slow to load, and seldom wanted

        result = np.empty_like(_checked(tile))
        for page, denoised in zip(tile, result, strict=True):
            denoised[:] = denoise_nl_means(
                page.astype(np.float64),  # in float32 its integral images would round differently by tile
                patch_size=self.patch_px,
                patch_distance=self.distance_px,
                h=self.strength * sigma,
                sigma=sigma,
                fast_mode=True,
                preserve_range=True,
            )
        return result


def _checked(tile: Tile) -> Tile:
    if tile.ndim != 3 or tile.dtype != np.float32 or tile.size == 0:
        raise InputError(
            where="tile",
            expected="a batch (B, H, W) of float32 tiles with at least one pixel",
            found=f"shape {tile.shape} of {tile.dtype}",
            advice="use `load_enhancer`, which takes any radiograph",
        )
    return tile
