"""Make the gallery of docs/how-it-works.md: sheets of simulated pairs, at a size at which a person can judge them.

One sheet for each of the machines S1, S2 and S3 (four scenes as LQ, HQ, clean, one pixel a pixel), one of 24
short exposures of `wide` beside their clean images, one of every kind of scene, one of every kind of defect.

    python benchmarks/gallery.py [--only machines wide scenes defects] [--out docs/images/gallery]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from quality import panel, with_quanta

from longexposure.report.pictures import joined, windowed
from longexposure.simulation.defects.catalogue import DEFECTS, add_defects
from longexposure.simulation.defects.visibility import SeenDefect, see_all
from longexposure.simulation.exposure import SimulatedPair, draw_pair, prepare_acquisition
from longexposure.simulation.geometry.primitives import Scene
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.machine import Machine, MachineParameters, load_machine
from longexposure.simulation.physics.attenuation import transmission
from longexposure.simulation.random_source import NumpyRandom
from longexposure.simulation.scenes.catalogue import SCENES, draw_scene

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "gallery"
SEED = 0
CROP, SMALL, LINE = 360, 216, 16
QUALITY = 90
WHERE = {
    "thermal pad": ("S1", "qfn"),
    "joint": ("S1", "chip_parts"),
    "ball": ("S1", "bga"),
    "bump": ("S2", "flip_chip"),
    "pillar": ("S2", "copper_pillars"),
    "wire": ("S2", "bond_wires"),
    "trace": ("S1", "traces"),
    "via": ("S1", "vias"),
    "die": ("S2", "bond_wires"),
    "": ("S1", "dense_board"),
}
"""Machine and scene in which defects of a kind of feature are shown."""
FEATURES = {"interface void": "thermal pad", "small": "joint", "crack": "die", "non-wet": "joint"}
"""The feature that a defect is shown on, where it is not the first that it applies to."""
SHOWN_PX = (5, 60)
"""Defects with such masks are shown, and of the first ones that come the strongest."""
CANDIDATES = 8

Grey = np.ndarray


def shown(images: Sequence[Grey], like: Grey) -> list[Grey]:
    """8-bit images, all in the window from the 0.3rd to the 99.7th percentile of one."""
    low, high = np.percentile(like, (0.3, 99.7))
    return [windowed(image, low, high) for image in images]


def titled(image: Grey, text: str) -> Grey:
    """The image below lines of text in black on white."""
    lines = text.split("\n")
    head = Image.new("L", (image.shape[1], LINE * len(lines)), 255)
    draw = ImageDraw.Draw(head)
    for number, line in enumerate(lines):
        draw.text((2, LINE * number), line, fill=0, font=ImageFont.load_default(size=12))
    return np.vstack([np.asarray(head), image])


def tabled(images: Sequence[Grey], columns: int) -> Grey:
    """Images of one size in rows; what is left of the last row stays white."""
    filled = [*images, *[np.full_like(images[0], 255)] * (-len(images) % columns)]
    rows = (filled[start : start + columns] for start in range(0, len(filled), columns))
    return joined((joined(row, axis=1) for row in rows), axis=0)


def detailed(clean: Grey, side: int) -> tuple[slice, slice]:
    """The square with the steepest structure."""
    slope = np.hypot(*np.gradient(clean.astype(float))) ** 0.5
    total = np.pad(slope.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    y, x = np.unravel_index(int(sums[::20, ::20].argmax()), sums[::20, ::20].shape)
    return np.s_[20 * y : 20 * y + side], np.s_[20 * x : 20 * x + side]


def named(scene: Scene) -> str:
    below = f" over {scene.facts['below']}" if "below" in scene.facts else ""
    return scene.kind + below


def machine_sheet(name: str) -> Grey:
    """Four scenes of different kinds, the first that come."""
    machine, rows, seen = load_machine(name), [], set[str]()
    for index in range(60):
        pair = draw_pair(machine, seed=SEED, index=index)
        if pair.scene.kind not in seen:
            seen.add(pair.scene.kind)
            rows.append(_pair_row(pair, f"{name}, test {index}"))
        if len(rows) == 4:
            break
    return joined(rows, axis=0)


def _pair_row(pair: SimulatedPair, title: str) -> Grey:
    where = detailed(pair.clean, CROP)
    images = shown([image[where] for image in (pair.lq, pair.hq, pair.clean)], pair.hq[where])
    geometry, exposures = pair.parameters.geometry, pair.parameters.exposures
    facts = (
        f"{named(pair.scene)}; {pair.parameters.pixel_um:.3g} um a pixel, tilt {geometry.tilt_deg:.0f} deg"
    )
    titles = (f"LQ, {exposures.short_s:g} s", f"HQ, {exposures.long_s:g} s", "clean")
    row = joined((titled(image, text) for image, text in zip(images, titles, strict=True)), axis=1)
    return titled(row, f"{title}: {facts}")


def wide_sheet() -> Grey:
    """24 pairs: the left half of each as short exposure, the right half clean."""
    machine, tiles = load_machine("wide"), []
    for index in range(24):
        pair = draw_pair(machine, seed=SEED, index=index)
        where = detailed(pair.clean, SMALL)
        lq, clean = shown([image[where] for image in (pair.lq, pair.clean)], pair.hq[where])
        half = np.hstack([lq[:, : SMALL // 2], clean[:, SMALL // 2 :]])
        quanta = pair.parameters.quanta_per_px_s * pair.parameters.exposures.short_s
        facts = (
            f"{pair.parameters.pixel_um:.2g} um, {pair.parameters.tube.tube_kv:.0f} kV, {quanta:,.0f} quanta"
        )
        tiles.append(titled(half, f"{named(pair.scene)}\n{facts}"))
    return tabled(tiles, 4)


def scenes_sheet() -> Grey:
    """Every kind of scene at 2000 quanta, in pixels that suit it."""
    case = panel(2000, f50=4.0)
    tiles = []
    for number, (name, kind) in enumerate(SCENES.items()):
        pixel = float(np.sqrt(kind.pixel_um[0] * kind.pixel_um[1]))
        parameters = with_quanta(case.machine.parameters(np.random.default_rng((SEED, number))), 2000, 1.2)
        away = parameters.geometry.source_detector_mm * pixel / parameters.detector.pitch_um
        update = {"source_object_mm": away, "focal_spot_um": pixel}
        parameters = parameters.model_copy(update={"geometry": parameters.geometry.model_copy(update=update)})
        view = parameters.view((2 * SMALL, 2 * SMALL))
        scene = draw_scene(np.random.default_rng((SEED, number, 1)), view=view, kinds={name: 1.0})
        lq, _ = prepare_acquisition(parameters, scene, view, panel_seed=SEED).expose(
            *map(NumpyRandom, (number, number + 100))
        )
        where = detailed(lq, int(1.4 * SMALL))
        (image,) = shown([lq[where]], lq[where])
        tilt = parameters.geometry.tilt_deg
        tiles.append(titled(image, f"{name}\n{pixel:.2g} um a pixel, tilt {tilt:.0f} deg"))
    return tabled(tiles, 3)


class Found(NamedTuple):
    """A defect and the images around it."""

    seen: SeenDefect
    without: Grey
    having: Grey
    lq: Grey
    hq: Grey
    pixel_um: float


def defects_sheet() -> Grey:
    """Every kind of defect: clean without, clean with, LQ, HQ."""
    rows = []
    for kind in DEFECTS:
        found = _found(kind)
        images = shown([found.without, found.having, found.lq, found.hq], found.hq)
        row = joined((np.kron(image, np.ones((2, 2), np.uint8)) for image in images), axis=1)
        seen, where = found.seen, f" ({found.seen.feature})" if found.seen.feature else ""
        facts = f"{seen.size_um:.0f} um, mask {seen.size_px:.0f} px across, contrast {seen.contrast:+.2f}"
        scale = f"clean without, with, LQ, HQ; {found.pixel_um:.3g} um a pixel, 2 x"
        rows.append(titled(row, f"{kind}{where}: {facts}\n{scale}"))
    return tabled(rows, 2)


def _found(kind: str) -> Found:
    feature = FEATURES.get(kind, DEFECTS[kind].features[0])
    name, scene = WHERE[feature]
    machine = load_machine(name, [f"scenes={{ {scene} = 1 }}", "image.height=512", "image.width=512"])
    candidates: list[tuple[float, int, int]] = []
    for seed in range(60):
        for number, seen in enumerate(_faulty(machine, kind, seed)[3]):
            if (
                seen.feature == feature
                and SHOWN_PX[0] <= seen.size_px
                and max(seen.box_px[2:]) <= SHOWN_PX[1]
            ):
                candidates.append((abs(np.log1p(seen.contrast)) * seen.size_px, seed, number))
        if len(candidates) >= CANDIDATES:
            break
    if not candidates:
        raise SystemExit(f"no {kind} on a {feature} in 60 scenes of {scene} on {name}")
    _, seed, number = max(candidates)
    parameters, plain, faulty, seen = _faulty(machine, kind, seed)
    return _around(parameters, plain, faulty, seen[number])


def _faulty(
    machine: Machine, kind: str, seed: int
) -> tuple[MachineParameters, Scene, Scene, Sequence[SeenDefect]]:
    """A scene without and with up to four defects of a kind, and what is seen of them."""
    parameters = machine.parameters(np.random.default_rng((SEED, seed)))
    view = parameters.view()
    plain = draw_scene(np.random.default_rng((SEED, seed, 1)), view=view, kinds=parameters.scenes)
    random = np.random.default_rng((SEED, seed, 2))
    faulty, records = add_defects(plain, random, view=view, kinds=[kind], count=4)
    law: Callable[..., Any] = partial(transmission, parameters.spectrum, response=parameters.scintillator)
    seen = see_all(records, view, defect_free=thickness_maps(plain.primitives, view), transmission=law)
    return parameters, plain, faulty, seen


def _around(parameters: MachineParameters, plain: Scene, faulty: Scene, seen: SeenDefect) -> Found:
    view = parameters.view()
    acquisitions = [
        prepare_acquisition(parameters, scene, view, panel_seed=SEED) for scene in (plain, faulty)
    ]
    lq, hq = acquisitions[1].expose(NumpyRandom(1), NumpyRandom(2))
    x, y, width, height = seen.box_px
    side = 72
    left = min(max(x + width // 2 - side // 2, 0), view.width - side)
    top = min(max(y + height // 2 - side // 2, 0), view.height - side)
    images = (acquisitions[0].clean, acquisitions[1].clean, lq, hq)
    crops = [image[top : top + side, left : left + side] for image in images]
    return Found(seen, *crops, pixel_um=parameters.pixel_um)


def sheets(only: Sequence[str]) -> Iterable[tuple[str, Grey]]:
    if "machines" in only:
        for name in ("S1", "S2", "S3"):
            yield name, machine_sheet(name)
    for name, made in (("wide", wide_sheet), ("scenes", scenes_sheet), ("defects", defects_sheet)):
        if name in only:
            yield name, made()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    kinds = ("machines", "wide", "scenes", "defects")
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, sheet in sheets(arguments.only):
        path = arguments.out / f"{name}.jpg"
        Image.fromarray(sheet).save(path, quality=QUALITY, optimize=True)
        print(f"{path.name}: {sheet.shape[1]} x {sheet.shape[0]} px, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
