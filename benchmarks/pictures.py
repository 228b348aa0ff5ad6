"""Make the pictures of README and docs: originals and enhanced side by side, one window for all of a row.

python benchmarks/pictures.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from demo import EXAMPLES, simulate_board
from quality import repaired

from longexposure import load_enhancer, read_radiograph
from longexposure.io import png_bytes

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
GAP = 8
STARVED_QUANTA = 40.0
"""A fifth of the demonstration's dose."""


def windowed(pixels: np.ndarray, low: float, high: float, zoom: int) -> np.ndarray:
    grey = np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1)
    return np.kron(np.rint(255 * grey).astype(np.uint8), np.ones((zoom, zoom), np.uint8))


def row(images: list[np.ndarray], *, zoom: int, percentiles: tuple[float, float]) -> np.ndarray:
    """Images side by side, windowed by the first."""
    low, high = np.percentile(images[0], percentiles)
    shown = [windowed(image, low, high, zoom) for image in images]
    gap = np.full((shown[0].shape[0], GAP), 255, np.uint8)
    return np.hstack([part for image in shown for part in (gap, image)][1:])


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    enhancer = load_enhancer()
    view = read_radiograph(EXAMPLES / "ic_5s_view4.tif").pixels
    save(row([view, enhancer.enhance(view)], zoom=3, percentiles=(0.5, 99)), "before-after.png")
    views = [read_radiograph(EXAMPLES / f"ic_5s_view{n}.tif").pixels for n in (1, 2, 6, 7)]
    rows = [row([v, enhancer.enhance(v)], zoom=2, percentiles=(0.5, 99)) for v in views]
    space = np.full((GAP, rows[0].shape[1]), 255, np.uint8)
    save(np.vstack([part for each in rows for part in (space, each)][1:]), "more-views.png")
    for pair, name in (
        (simulate_board(), "simulated-board.png"),
        (simulate_board(STARVED_QUANTA), "too-little-dose.png"),
    ):
        images = [repaired(pair.lq), enhancer.enhance(pair.lq), repaired(pair.hq)]
        balls = [image[440:600, 180:500] for image in images]
        wires = [image[120:360, 180:500] for image in images]
        parts = [row(part, zoom=2, percentiles=(0.5, 99.5)) for part in (wires, balls)]
        space = np.full((GAP, parts[0].shape[1]), 255, np.uint8)
        save(np.vstack([parts[0], space, parts[1]]), name)


def save(picture: np.ndarray, name: str) -> None:
    (IMAGES / name).write_bytes(png_bytes(picture))


if __name__ == "__main__":
    main()
