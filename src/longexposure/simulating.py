"""Simulating pairs: a short and a long exposure of one scene, and the expectation of both.

A first simulator: parts of chips and boards under a parallel beam, one effective energy, Gaussian blur, a
detector that counts quanta. What it leaves out (spectrum, scatter, magnification, lag, video chains) is
listed in docs/limits.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from longexposure.errors import RecipeError
from longexposure.io import check_writable_folder, write_radiograph
from longexposure.noise import NoiseProfile
from longexposure.physics.detector import Detector, blurred, gaussian_kernel, lag_one
from longexposure.physics.scenes import Part, draw_scene
from longexposure.radiograph import Radiograph, Step

SHORT_S, LONG_S = 5.0, 90.0


@dataclass(frozen=True, eq=False)
class Pair:
    """Two exposures of one scene.

    Attributes:
        lq: the short exposure, (H, W) uint8 or uint16.
        hq: the long one, same grey scale.
        clean: the expectation of both, float32 grey values, not rounded.
        noise: the true profile of lq, in its grey values.
    """

    lq: Radiograph
    hq: Radiograph
    clean: Radiograph
    noise: NoiseProfile


def simulate_pair(
    detector: Detector,
    *,
    seed: int,
    size_px: tuple[int, int] = (512, 512),
    blur_px: float = 0.8,
    parts: Sequence[Part] | None = None,
) -> Pair:
    """A short and a long exposure of one random scene; equal arguments give equal pixels.

    Args:
        detector: the machine.
        seed: of scene, exposures and panel.
        size_px: height and width.
        blur_px: standard deviation of the unsharpness, px.
        parts: what the scene is made of, see `draw_scene`; None draws anything.

    Raises:
        RecipeError: no pixels, or a negative blur.
    """
    if min(size_px) < 1 or blur_px < 0:
        raise RecipeError(
            where="simulate_pair",
            expected="a size of at least 1 x 1 and a blur of 0 px or more",
            found=f"size {size_px} and blur {blur_px}",
            advice="correct the argument",
        )
    scene = draw_scene(np.random.default_rng((seed, 0)), size_px=size_px, parts=parts)
    transmission = blurred(scene, blur_px)
    exposures = [
        detector.expose(
            transmission,
            exposure_s=seconds,
            random=np.random.default_rng((seed, 1 + index)),
            panel=np.random.default_rng((seed, 9)),
        )
        for index, seconds in enumerate((SHORT_S, LONG_S))
    ]
    clean = detector.expectation(transmission)
    settings = {"seed": seed, "blur_px": blur_px, "detector": vars(detector)}
    return Pair(
        lq=_radiograph(exposures[0], SHORT_S, settings),
        hq=_radiograph(exposures[1], LONG_S, settings),
        clean=_radiograph(clean, float("inf"), settings),
        noise=true_profile(detector, clean),
    )


def true_profile(detector: Detector, clean: npt.NDArray[np.float32]) -> NoiseProfile:
    """Profile of a short exposure, from the detector's own numbers, at the mean grey of the scene."""
    level = float(clean.mean())
    gain = detector.gain * detector.reference_s / SHORT_S
    read = detector.read_noise * detector.reference_s / SHORT_S
    above = level - detector.offset
    quantum = gain * above
    pattern = (detector.pattern * above) ** 2
    variance = quantum + read**2 + pattern + 1 / 12
    corr = lag_one(gaussian_kernel(detector.colour)) * quantum / variance if detector.colour else 0.0
    return NoiseProfile(
        level=level,
        sigma=float(np.sqrt(variance)),
        slope=gain + 2 * detector.pattern**2 * above,
        corr_x=corr,
        corr_y=corr,
    )


def write_pairs(pairs: Sequence[Pair], out: Path, *, overwrite: bool = False) -> None:
    """Write pairs as `out/LQ/NNNNN.tif`, `out/HQ/NNNNN.tif` and `out/clean/NNNNN.tif`.

    Raises:
        OutputError: the folders cannot be written, or a file exists.
    """
    for folder in ("LQ", "HQ", "clean"):
        check_writable_folder(out / folder)
    for number, pair in enumerate(pairs):
        for folder, image in (("LQ", pair.lq), ("HQ", pair.hq), ("clean", pair.clean)):
            write_radiograph(image, out / folder / f"{number:05}.tif", overwrite=overwrite)


def _radiograph(
    pixels: npt.NDArray[np.uint8 | np.uint16 | np.float32], seconds: float, settings: dict[str, object]
) -> Radiograph:
    from longexposure import __version__

    exposure = {"exposure_s": seconds} if np.isfinite(seconds) else {}
    step = Step(
        tool="longexposure", version=__version__, action="simulate", settings={**settings, **exposure}
    )
    return Radiograph(pixels=pixels, exposure=exposure, history=(step,))
