"""What an enhancer draws by itself: in places where there is nothing, or nothing but a slope.

Images hold nothing that a pattern could come from, and the models are told the true noise. Deviations are given
in standard deviations of the noise of one pixel at that place.

- `hairlines`: regions of 6 or more neighbouring pixels that end more than 0.3 from a flat field, per megapixel;
  white noise, and noise that is correlated along the lines (lag 1: 0.5). `left` is the noise that is left there.
- `slopes`: what is added to a noise-free slope, rms, of all periods of 2 to 16 px; the worst of the slopes
  from 0.02 to 0.4 a pixel along either axis.
- `dark parts`: the same in a noise-free dark part, flat or sloping, under bright air whose noise is as much
  stronger as quanta make it; the worst.
- `shift`: how far the enhanced image of a view that is shifted by one pixel is from the shifted enhanced image,
  rms, over the standard deviation of the error that is left; mean over both axes and the views of a machine.
- `lines`: contrast that is kept of square waves across noise, by their period in px, at a CNR of 1.

    python benchmarks/artefacts.py [--models fast best] [--out benchmarks/artefacts.json]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from limit import DARK, GREY, LAG, OPEN, SIGMA
from quality import along_lines, described
from scipy import ndimage

from longexposure import load_enhancer
from longexposure.enhance.enhancer import Enhancer
from longexposure.models.registry import shipped_weights
from longexposure.noise import NoiseProfile
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.system import host_facts

SIDE_PX, SMALL_PX, EDGE_PX = 512, 256, 24
FIELDS = {"white": (0.0, 4), "along lines": (LAG, 4)}
"""Correlation of the noise along the lines, and number of fields."""
STANDS_OUT, LEAST_PX = 0.3, 6
SLOPES = (0.02, 0.05, 0.1, 0.2, 0.4)
LONGEST_PERIOD_PX = 16
AIR, DARK_PART = 60000.0, 4000.0
DARK_SLOPES = (0.0, 0.05, 0.2)
PERIODS = (2.5, 3.0, 4.0, 6.0)
ANGLES = (0.0, 90.0)
VIEWS = 6

Array = np.ndarray


def framed(image: Array) -> Array:
    """The image with a dark and a bright edge, so that all have the same contrast."""
    image[:6], image[-6:] = DARK, OPEN
    return image


def profile(lag: float = 0.0) -> NoiseProfile:
    return NoiseProfile(level=GREY, sigma=SIGMA, slope=0.0, corr_x=lag)


def inner(image: Array) -> Array:
    return image[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]


def flat_fields(enhancer: Enhancer, lag: float, *, count: int, seed: int = 0) -> dict[str, float]:
    """Hairlines per megapixel, and the noise that is left, on flat fields."""
    random, regions, area, left = np.random.default_rng(seed), 0, 0, []
    for _ in range(count):
        clean = framed(np.full((SIDE_PX, SIDE_PX), GREY))
        noisy = (clean + SIGMA * along_lines(clean.shape, lag, random)).astype(np.float32)
        off = inner((enhancer.enhance(noisy, noise=profile(lag)) - clean) / SIGMA)
        labels, _ = ndimage.label(np.abs(off) > STANDS_OUT, np.ones((3, 3)))
        regions += int(np.count_nonzero(np.bincount(labels.ravel())[1:] >= LEAST_PX))
        area += off.size
        left.append(float(off.std()))
    return {"hairlines": 1e6 * regions / area, "left": float(np.mean(left))}


def pattern(added: Array) -> float:
    """Root mean square of what has a period of 2 to `LONGEST_PERIOD_PX` px along any direction."""
    y, x = (np.linspace(-1, 1, side) for side in added.shape)
    terms = [np.ones(added.shape)] + [
        np.broadcast_to(part, added.shape)
        for part in (y[:, None], x[None, :], y[:, None] ** 2, x[None, :] ** 2)
    ]
    basis = np.stack([term.ravel() for term in terms], axis=1)
    rest = added.ravel() - basis @ np.linalg.lstsq(basis, added.ravel(), rcond=None)[0]
    window = np.hanning(added.shape[0])[:, None] * np.hanning(added.shape[1])
    power = np.abs(np.fft.fft2(rest.reshape(added.shape) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in added.shape), indexing="ij"))
    chosen = power[frequency >= 1 / LONGEST_PERIOD_PX].sum()
    return float(np.sqrt(chosen / added.size / np.square(window).sum()))


def on_slopes(enhancer: Enhancer) -> float:
    """The strongest pattern on noise-free slopes."""
    worst = 0.0
    along = np.arange(SMALL_PX) - SMALL_PX / 2
    for slope in SLOPES:
        for axis in (0, 1):
            ramp = GREY + slope * SIGMA * (along[:, None] if axis == 0 else along[None, :])
            clean = np.clip(np.broadcast_to(ramp, (SMALL_PX, SMALL_PX)), DARK, OPEN).astype(np.float32)
            clean[:, :2], clean[:, -2:] = DARK, OPEN
            added = enhancer.enhance(clean, noise=profile()) - clean
            inside = np.abs(along) < (OPEN - GREY) / (slope * SIGMA) - EDGE_PX  # where it was not cut off
            inside[:EDGE_PX] = inside[-EDGE_PX:] = False
            part = added[inside] if axis == 0 else added[:, inside]
            part = part[:, EDGE_PX:-EDGE_PX] if axis == 0 else part[EDGE_PX:-EDGE_PX]
            if min(part.shape) >= 2 * LONGEST_PERIOD_PX:
                worst = max(worst, pattern(part.astype(float) / SIGMA))
    return worst


def in_dark_parts(enhancer: Enhancer) -> float:
    """The strongest pattern in dark parts under bright air, in the noise of the dark."""
    quanta = NoiseProfile(level=AIR, sigma=SIGMA, slope=SIGMA**2 / AIR)
    sigma = float(np.sqrt(quanta.variance(np.array([DARK_PART]))[0]))
    worst, along = 0.0, np.arange(SMALL_PX) - SMALL_PX / 2
    for slope in DARK_SLOPES:
        for axis in (0, 1):
            clean = np.full((SMALL_PX, SMALL_PX), AIR)
            part = slice(SMALL_PX // 4, 3 * SMALL_PX // 4), slice(SMALL_PX // 4, 3 * SMALL_PX // 4)
            ramp = DARK_PART + slope * sigma * (along[:, None] if axis == 0 else along[None, :])
            clean[part] = np.broadcast_to(ramp, clean.shape)[part]
            clean = clean.astype(np.float32)
            added = (enhancer.enhance(clean, noise=quanta) - clean)[part]
            worst = max(worst, pattern(added[16:-16, 16:-16].astype(float) / sigma))
    return worst


def under_shift(enhancer: Enhancer, machine: str, *, count: int = VIEWS) -> float:
    """Change of the enhanced image under a shift by one pixel, over the error that is left."""
    ratios = []
    for index in range(count):
        view = draw_pair(load_machine(machine), seed=7, index=index, size_px=(SMALL_PX, SMALL_PX))
        whole = enhancer.enhance(view.lq, noise=view.noise).astype(float)
        left = float(inner(whole - view.clean).std())  # an exposure that drifts is off as a whole
        for axis in (0, 1):
            rest = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
            shifted = enhancer.enhance(np.ascontiguousarray(view.lq[rest]), noise=view.noise).astype(float)
            ratios.append(float(np.sqrt(np.square(inner(shifted - whole[rest])).mean())) / left)
    return float(np.mean(ratios))


def fine_lines(enhancer: Enhancer, period: float, *, cnr: float = 1.0, count: int = 3) -> float:
    """Fraction that is kept of the contrast of a square wave across white noise."""
    kept = []
    y, x = np.mgrid[:SMALL_PX, :SMALL_PX].astype(float)
    for number in range(count):
        for angle in ANGLES:
            random = np.random.default_rng([number, int(angle)])
            across = x * np.cos(np.deg2rad(angle)) + y * np.sin(np.deg2rad(angle))
            # area of each pixel that lies under the bright half, exact along the axes
            edges = np.stack([across - 0.5, across + 0.5]) / period + random.uniform()
            whole = np.floor(edges)
            under = 0.5 * whole + np.minimum(edges - whole, 0.5)
            wave = (under[1] - under[0]) * period - 0.5
            clean = framed(GREY + cnr * SIGMA * wave)
            noisy = (clean + SIGMA * random.normal(size=clean.shape)).astype(np.float32)
            out = inner(enhancer.enhance(noisy, noise=profile()).astype(float))
            before, shape = inner(noisy.astype(float)), inner(wave)
            kept.append(float(np.sum((out - GREY) * shape) / np.sum((before - GREY) * shape)))
    return float(np.mean(kept))


def measure(enhancer: Enhancer) -> dict[str, Any]:
    """All of it for one model."""
    return {
        "flat fields": {
            name: flat_fields(enhancer, lag, count=count) for name, (lag, count) in FIELDS.items()
        },
        "slopes": on_slopes(enhancer),
        "dark parts": in_dark_parts(enhancer),
        "shift": {machine: under_shift(enhancer, machine) for machine in ("S1", "S3")},
        "lines": {str(period): fine_lines(enhancer, period) for period in PERIODS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=sorted(shipped_weights(), key="fast".__ne__))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    started = time.perf_counter()
    models = {name: load_enhancer(name, device="cpu") for name in arguments.models}
    result = {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": described(models),
        "measured": {name: measure(enhancer) for name, enhancer in models.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    for name, found in result["measured"].items():
        print(name, json.dumps(found))


if __name__ == "__main__":
    main()
