"""Make the pictures of README and docs: originals and enhanced side by side, one window for all of a row.

python benchmarks/pictures.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from quality import repaired

from longexposure import load_enhancer, read_radiograph
from longexposure.io import png_bytes
from longexposure.report.pictures import joined, windowed

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from demo import EXAMPLES, simulate_board  # noqa: E402 (an example, not a package)

IMAGES = ROOT / "docs" / "images"
STARVED_QUANTA = 40.0
"""A fifth of the demonstration's dose."""


def row(images: list[np.ndarray], *, zoom: int, percentiles: tuple[float, float]) -> np.ndarray:
    """Images side by side, windowed by the first."""
    low, high = np.percentile(images[0], percentiles)
    return joined((windowed(image, low, high, zoom=zoom) for image in images), axis=1)


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    enhancer = load_enhancer()
    view = read_radiograph(EXAMPLES / "ic_5s_view4.tif").pixels
    save(row([view, enhancer.enhance(view)], zoom=3, percentiles=(0.5, 99)), "before-after.png")
    views = [read_radiograph(EXAMPLES / f"ic_5s_view{n}.tif").pixels for n in (1, 2, 6, 7)]
    rows = [row([v, enhancer.enhance(v)], zoom=2, percentiles=(0.5, 99)) for v in views]
    save(joined(rows, axis=0), "more-views.png")
    for pair, name in (
        (simulate_board(), "simulated-board.png"),
        (simulate_board(STARVED_QUANTA), "too-little-dose.png"),
    ):
        images = [repaired(pair.lq), enhancer.enhance(pair.lq), repaired(pair.hq)]
        balls = [image[440:600, 180:500] for image in images]
        wires = [image[120:360, 180:500] for image in images]
        save(joined((row(part, zoom=2, percentiles=(0.5, 99.5)) for part in (wires, balls)), axis=0), name)


def save(picture: np.ndarray, name: str) -> None:
    (IMAGES / name).write_bytes(png_bytes(picture))


if __name__ == "__main__":
    main()
