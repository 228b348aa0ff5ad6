"""Demonstrating: the example radiographs and one simulated pair, enhanced, in a table and on a page.

`make demo` runs this. The real radiographs have no long exposure to be held against; the simulated pair
has one, so only there PSNR and SSIM can be told.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.enhancing import FileResult, enhance_files, load_enhancer
from longexposure.errors import InputError, LongExposureError
from longexposure.metrics import psnr, ssim
from longexposure.physics.canvas import Canvas
from longexposure.physics.detector import Detector
from longexposure.physics.scenes import weave
from longexposure.printing import print_table
from longexposure.radiograph import Pixels
from longexposure.reporting import comparisons_of, row_of, write_report
from longexposure.simulating import Pair, simulate_pair, write_pairs

FULL_SCALE = 65535.0
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "radiographs"
BOARD = Detector(
    quanta_per_s=200.0, gain=42.0, offset=800.0, read_noise=300.0, colour=0.45, pattern=0.004, hot=2e-4
)
"""A flat panel after 5 s: 1000 quanta a pixel in the open beam, 42,000 of 65,535 grey values."""
BOARD_SEED = 3


def demonstrate(out: Path, *, examples: Path = EXAMPLES) -> list[dict[str, Any]]:
    """Enhance the examples and a simulated pair into `out`, write `out/report.html`, return the table.

    Files from an earlier demonstration in the same folder are replaced.

    Raises:
        InputError: the examples are not there.
    """
    sources = sorted(examples.glob("*.tif"))
    if not sources:
        raise InputError(
            where=str(examples),
            expected="the example radiographs of the repository",
            found="no .tif file",
            advice="run the demonstration from a clone of the repository",
        )
    pair = simulate_board()
    write_pairs([pair], out / "simulated", overwrite=True)
    lq = out / "simulated" / "LQ" / "00000.tif"
    simulated = lq.rename(lq.with_name("simulated_board_5s.tif"))
    enhancer = load_enhancer()
    rows: list[dict[str, Any]] = []

    def results() -> Iterator[FileResult]:
        yield from enhance_files([*sources, simulated], out / "enhanced", enhancer, overwrite=True)

    def comparisons() -> Iterator[Any]:
        for result in results():
            known = result.source == simulated
            facts = against_long(result, pair) if known else {}
            rows.append({**row_of(result), **facts})
            yield from comparisons_of(result, reference=pair.hq.pixels if known else None, facts=facts)

    write_report(comparisons(), out / "report.html", title="longexposure demonstration", overwrite=True)
    return rows


def simulate_board(detector: Detector = BOARD) -> Pair:
    """The pair of the demonstration: solder balls with voids, a bridge, a wire fan, traces, over laminate."""
    parts = (weave, _die_with_wires, _solder_balls, _traces)
    return simulate_pair(detector, seed=BOARD_SEED, size_px=(768, 768), blur_px=0.7, parts=parts)


def _solder_balls(canvas: Canvas, random: np.random.Generator) -> None:
    """A corner of a ball grid, 64 px pitch: voids of 2 to 8 px, one ball missing, two bridged."""
    for row in range(6):
        for column in range(12):
            y, x = 432.0 + 64 * row, 32.0 + 64 * column
            if (row, column) == (2, 7):
                continue
            canvas.ball(y, x, 22.0, 1.5, flat=0.8)
            for _ in range(int(random.integers(0, 4))):
                size, turn = random.uniform(2, 8), random.uniform(0, 2 * np.pi)
                away = random.uniform(0, 20 - size)
                canvas.ball(y + away * np.sin(turn), x + away * np.cos(turn), size, -1.5 * size / 22)
    canvas.line((496.0, 224.0), (496.0, 288.0), 14.0, 0.9)


def _die_with_wires(canvas: Canvas, random: np.random.Generator) -> None:
    """A die, and a fan of wires of 2 px to its lead fingers, one of them broken."""
    canvas.slab(110.0, 384.0, (150.0, 330.0), 0.0, 0.25)
    for number in range(31):
        share = number / 30 - 0.5
        start, end = (165.0, 384.0 + 290 * share), (345.0 + 10 * abs(share), 384.0 + 700 * share)
        if number == 19:
            end = (262.0, start[1] + (end[1] - start[1]) * 0.54)
        canvas.wire(start, end, 2.0, 0.45)
        canvas.ball(*start, 3.5, 0.9)
        if number != 19:
            canvas.line(end, (end[0] + 30, end[1] + 4 * share), 12.0, 0.5)


def _traces(canvas: Canvas, random: np.random.Generator) -> None:
    """Copper traces of 3 px, 7 px apart, with one open, and vias seen from above."""
    for number in range(16):
        x = 20.0 + 7 * number
        corner = 190.0 + 2.9 * number
        canvas.line((10.0, x), (corner, x), 3.0, 0.12)
        canvas.line((corner, x), (corner + 160.0, x - 160.0), 3.0, 0.12)
    canvas.disc(120.0, 62.0, 2.6, -0.12)
    for number in range(24):
        canvas.ring(30.0 + 22 * (number % 12), 600.0 + 60 * (number // 12), 6.0, 3.0, 0.25)


def against_long(result: FileResult, pair: Pair) -> dict[str, float]:
    """PSNR and SSIM against the long exposure, before and after; data range 65535."""
    if result.before is None or result.after is None:
        return {}
    long: Pixels = pair.hq.pixels
    before, after = result.before.pixels, result.after.pixels
    return {
        "PSNR before": psnr(before, long, data_range=FULL_SCALE),
        "PSNR after": psnr(after, long, data_range=FULL_SCALE),
        "SSIM before": ssim(before, long, data_range=FULL_SCALE),
        "SSIM after": ssim(after, long, data_range=FULL_SCALE),
    }


def main() -> None:
    """Run the demonstration from the command line."""
    parser = argparse.ArgumentParser(description="Enhance the example radiographs.")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything it writes")
    arguments = parser.parse_args()
    started = time.perf_counter()
    try:
        rows = demonstrate(arguments.out)
    except LongExposureError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(error.exit_code) from None
    print_table(rows)
    seconds = time.perf_counter() - started
    sys.stdout.write(
        f"\n{len(rows)} files in {seconds:.1f} s; noise is the standard deviation in flat areas, in grey "
        f"values.\nEnhanced TIFFs: {arguments.out / 'enhanced'}\n"
        f"Before/after page, open it in a browser: {arguments.out / 'report.html'}\n"
    )
    if any(row["output"] == "failed" for row in rows):
        raise SystemExit(InputError.exit_code)


if __name__ == "__main__":
    main()
