"""Demonstrating: the example radiographs and one simulated pair, enhanced, in a table and on a page.

`make demo` runs this. The real radiographs have no long exposure to be held against; the simulated pair
has one, so only there PSNR and SSIM can be told.

The simulated board lies in machine S1, 12.5 um a pixel: balls of 0.52 mm every 0.8 mm with voids, one
missing, two bridged; a die on a lead frame with gold wires of 25 um, one broken; traces of 50 um, one open;
vias; glass cloth. z = 0 is the face of the laminate, and the origin is in the middle of the image.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from longexposure.cli.terminal import print_table
from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.files import FileResult, enhance_files
from longexposure.errors import InputError, LongExposureError
from longexposure.io import check_writable_folder, write_radiograph
from longexposure.metrics import psnr, ssim
from longexposure.radiograph import Pixels, Radiograph
from longexposure.report.comparison import comparisons_of, write_report
from longexposure.simulation.exposure import prepare_acquisition
from longexposure.simulation.geometry.primitives import (
    Ball,
    Cylinder,
    Ellipsoid,
    Primitive,
    Scene,
    Slab,
    Track,
    Weave,
    Wire,
)
from longexposure.simulation.machine import MachineParameters, load_machine
from longexposure.simulation.random_source import NumpyRandom
from longexposure.simulation.scenes.components.bonds import Loop, loop_points

FULL_SCALE = 65535.0
EXAMPLES = Path(__file__).resolve().parent / "radiographs"
BOARD = (
    "image.height=768",
    "image.width=768",
    "geometry.tilt_deg=0",
    "panel.read_noise=300",
    "panel.offset_drift=0",
    "panel.gain_drift=0.002",
    "exposures.drift=0",
    "exposures.shift_x_px=0",
    "exposures.shift_y_px=0",
)
"""What the demonstration sets in S1: 768 px, seen from straight above, quiet electronics."""
BOARD_PIXEL_UM = 12.5
"""Pixels in the plane of the board; sets the magnification."""
BOARD_QUANTA = 200.0
"""In an open pixel after 5 s, less than S1 has, so that there is noise to take out."""
BOARD_SEED = 3


class BoardPair(NamedTuple):
    """The simulated board: 5 s, 90 s and the noise-free image, (768, 768) each, uint16 and float32."""

    lq: Pixels
    hq: Pixels
    clean: Pixels


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
    simulated = _written(pair, out / "simulated")
    enhancer = load_enhancer()
    rows: list[dict[str, Any]] = []

    def comparisons() -> Iterator[Any]:
        for result in enhance_files([*sources, simulated], out / "enhanced", enhancer, force=True):
            known = result.source == simulated
            facts = against_long(result, pair) if known else {}
            rows.append({**result.as_row(), **facts})
            yield from comparisons_of(result, reference=pair.hq if known else None, facts=facts)

    write_report(comparisons(), out / "report.html", title="longexposure demonstration", overwrite=True)
    return rows


def simulate_board(quanta: float = BOARD_QUANTA) -> BoardPair:
    """The pair of the demonstration, with so many quanta in an open pixel after 5 s."""
    parameters = _machine(quanta)
    random = np.random.default_rng(BOARD_SEED)
    yarns = (470.0, 520.0)  # of the glass cloth in one millimetre of laminate
    laminate = Weave(material="FR-4", period=yarns, mean=1000.0, swing=90.0, turn_deg=1.5, seed=BOARD_SEED)
    scene = Scene("board", (), (laminate, *_balls(random), *_die_with_wires(), *_traces(), *_vias()), {})
    acquisition = prepare_acquisition(parameters, scene, parameters.view(), panel_seed=BOARD_SEED)
    lq, hq = acquisition.expose(*(NumpyRandom((BOARD_SEED, number)) for number in range(2)))
    return BoardPair(lq, hq, acquisition.clean)


def _machine(quanta: float) -> MachineParameters:
    """S1 at the demonstration's magnification and dose."""
    parameters = load_machine("S1", BOARD).parameters(np.random.default_rng(0))
    geometry = parameters.geometry
    nearer = geometry.source_detector_mm * BOARD_PIXEL_UM / parameters.detector.pitch_um
    fraction = quanta / (parameters.quanta_per_px_s * parameters.exposures.short_s)
    return parameters.model_copy(
        update={
            "geometry": geometry.model_copy(update={"source_object_mm": nearer}),
            "tube": parameters.tube.model_copy(update={"current_ua": fraction * parameters.tube.current_ua}),
        }
    )


def _balls(random: np.random.Generator) -> Iterator[Primitive]:
    """A corner of a ball grid under its substrate: voids of 50 to 200 um, one ball missing, two bridged."""
    yield Slab(material="FR-4", at=(0.0, 2700.0), sides=(9600.0, 4900.0), bottom=360.0, top=620.0)
    for row, column in product(range(6), range(12)):
        x, y = -4400.0 + 800 * column, 600.0 + 800 * row
        yield Cylinder(material="Cu", at=(x, y), radius=210.0, bottom=-15.0, top=10.0)
        yield Cylinder(material="Cu", at=(x, y), radius=210.0, bottom=340.0, top=360.0)
        if (row, column) == (2, 7):
            continue
        yield Ball(material="SAC305", at=(x, y, 175.0), radius=260.0, bottom=10.0, top=340.0)
        for _ in range(int(random.integers(0, 4))):
            radius, turn = random.uniform(25, 100), random.uniform(0, 2 * np.pi)
            away = random.uniform(0, 230 - radius)
            at = (x + away * np.cos(turn), y + away * np.sin(turn), random.uniform(110, 240))
            yield Ball(material="SAC305", amount=-1.0, at=at, radius=radius)
    yield Wire(material="SAC305", points=((-1830.0, 1400.0, 110.0), (-1370.0, 1400.0, 110.0)), diameter=170.0)


def _die_with_wires() -> Iterator[Primitive]:
    """A die on its paddle, and a fan of wires of 25 um to the fingers of a lead frame, one of them broken."""
    yield Slab(material="EMC", at=(0.0, -2500.0), sides=(9600.0, 4900.0), bottom=0.0, top=900.0)
    yield Slab(material="Cu", at=(0.0, -3500.0), sides=(4700.0, 2100.0), bottom=200.0, top=327.0)
    yield Slab(material="Ag", at=(0.0, -3500.0), sides=(4100.0, 1700.0), bottom=327.0, top=332.0)
    yield Slab(material="Si", at=(0.0, -3500.0), sides=(4100.0, 1700.0), bottom=335.0, top=585.0)
    for number in range(31):
        fraction = number / 30 - 0.5
        pad, finger = (3600 * fraction, -2730.0), (8700 * fraction, -480.0 + 250 * abs(fraction))
        first, last = (*pad, 600.0), (*finger, 340.0)
        points = loop_points(first, last, height=180.0, loop=Loop())
        yield Ellipsoid(material="Au", at=(*pad, 595.0), radii=(36.0, 36.0, 22.0), bottom=585.0)
        pieces = (points[:9], points[11:]) if number == 19 else (points,)
        for piece in pieces:
            yield Wire(material="Au", points=piece, diameter=25.0)
        ends = (finger, (finger[0] + 100 * fraction, finger[1] + 600))
        yield Track(material="Cu", points=ends, width=150.0, bottom=200.0, top=327.0)


def _traces() -> Iterator[Primitive]:
    """Copper traces of 50 um, 100 um apart, one with a gap of 60 um."""
    for number in range(16):
        x, corner = -4600.0 + 100 * number, -2450.0 + 41 * number
        points = ((x, -4900.0), (x, corner), (x - 2000, corner + 2000))
        if number != 6:
            yield Track(material="Cu", points=points, width=50.0, bottom=0.0, top=25.0)
            continue
        yield Track(material="Cu", points=((x, -4900.0), (x, -3355.0)), width=50.0, bottom=0.0, top=25.0)
        yield Track(material="Cu", points=((x, -3245.0), *points[1:]), width=50.0, bottom=0.0, top=25.0)


def _vias() -> Iterator[Primitive]:
    """Plated holes through the laminate, which the central beam shows obliquely, with lands on both faces."""
    for row, column in product(range(5), range(5)):
        at = 2800.0 + 430 * column, -4500.0 + 430 * row
        barrel = Cylinder(material="Cu", at=at, radius=110.0, inner_radius=88.0, bottom=-1000.0, top=25.0)
        lands = (
            Cylinder(material="Cu", at=at, radius=180.0, inner_radius=110.0, bottom=low, top=low + 25)
            for low in (-1000.0, 0.0)
        )
        yield from (barrel, *lands)


def _written(pair: BoardPair, out: Path) -> Path:
    """The pair in folders as `evaluate` reads them; gives the short exposure's file."""
    name = "simulated_board_5s.tif"
    for folder, pixels in zip(("LQ", "HQ", "clean"), pair, strict=True):
        check_writable_folder(out / folder)
        write_radiograph(Radiograph(pixels=pixels), out / folder / name, overwrite=True)
    return out / "LQ" / name


def against_long(result: FileResult, pair: BoardPair) -> dict[str, float]:
    """PSNR and SSIM against the long exposure, before and after; data range 65535."""
    if result.before is None or result.after is None:
        return {}
    before, after, long = result.before.pixels, result.after.pixels, pair.hq
    return {
        f"{name} {when}": metric(pixels, long, data_range=FULL_SCALE)
        for name, metric in (("PSNR", psnr), ("SSIM", ssim))
        for when, pixels in (("before", before), ("after", after))
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
