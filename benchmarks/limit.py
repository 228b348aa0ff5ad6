"""Structures at the limit: what enhancing leaves of voids, wires, gaps and bridges, and what it makes up.

Known structures lie in known images, once with and once without, under the same noise. Their contrast is
given as contrast-to-noise ratio (CNR): the difference that a fully covered pixel makes, over the standard
deviation of the noise of one pixel there.

- Voids, discs of 4 and 6 px, brighter. Wires, 1.5 px wide and 88 px long, darker, along the axes and
  oblique, judged in pieces of 4 px. Gaps of 2 px, right across a line of 4 px. Bridges of 2 px between two
  such lines that are 6 px apart. All of them antialiased, at random fractions of a pixel.
- In a plain area, inside the shadows of balls, over routing; noise white, white with a variance that follows
  the grey value, or correlated along the lines (lag 1: 0.5). Each image spans 25 times its noise.

What is told of each method:

- `recovery`: the difference that the structure makes in the enhanced image, projected onto the structure,
  over the same in the input. 1 keeps the contrast, 0 loses the structure. `spread`: its standard deviation
  over noise and places.
- `matched`: d' of an observer who knows the place and looks through the filter that is ideal on the input
  (the structure, prewhitened; a piece of a wire as it is). `own`: d' of one who looks for what has become of
  the structure in this method's images, within 15 px, without prewhitening (NPW; the template and the trials
  come from different halves of the noise). Both fall below the input's where a method destroyed what these
  linear observers live on, and rise above it where the method drew on more of the image than they do.
- `search`: fraction of pairs of 17 x 17 places, one with the structure and one without, in which the place that
  looks most like it is more pronounced in the one with it. 0.5 is guessing.
- `false`: fraction of places without a structure in which a threshold that finds 95 % of the structures finds
  one too. `phantom`: the CNR that the most pronounced find of a place without any structure appears to have,
  99th percentile.
- `faded`: fraction of the structures whose own recovery is below a half; of a wire, fraction of its pieces that
  stand out from the known background, noise included, by less than half their contrast: where it is broken.

The strengths of the filters are chosen for each background and noise by PSNR against the truth.

    python benchmarks/limit.py [--draws 6] [--model fast] [--out benchmarks/limit.json]
        [--figure docs/images/limit.png]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from quality import along_lines, described, filters, shipped

from longexposure.enhance.enhancer import Enhancer
from longexposure.io import png_bytes
from longexposure.noise import NoiseProfile
from longexposure.report.pictures import GAP_PX, joined, windowed
from longexposure.system import host_facts

SIDE_PX = 256
DARK, OPEN, GREY, SIGMA = 10000.0, 40000.0, 30000.0, 1200.0
"""Grey values that every image reaches, and that at which the noise has the standard deviation SIGMA."""
LAG = 0.5
CNRS = (1.0, 2.0, 3.0, 5.0, 8.0)
FINE = 8
"""Subpixels along each axis when structures are drawn."""
REACH_PX = 15
"""Pixels around the middle of a structure that are kept."""
KERNEL_PX, WINDOW_PX = 7, 8
"""Reach of the template that is searched with, and of the search."""
PIECE_PX, PIECES = 4.0, 18
FOUND = 0.95
FIGURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "limit.png"

Inside = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Form(NamedTuple):
    """A structure in its own coordinates, along u and across v, in px from its middle.

    Attributes:
        inside: where it is.
        sign: 1 brighter, -1 darker.
        carrier: what it is a fault of, always darker; None for none.
        window: how far from its middle it is searched for, along and across.
    """

    inside: Inside
    sign: int
    carrier: Inside | None = None
    window: tuple[int, int] = (WINDOW_PX, WINDOW_PX)


FORMS: dict[str, Form] = {
    "void, 4 px": Form(lambda u, v: u**2 + v**2 <= 2.0**2, 1),
    "void, 6 px": Form(lambda u, v: u**2 + v**2 <= 3.0**2, 1),
    "gap, 2 px in a line of 4 px": Form(
        lambda u, v: (abs(u) <= 1) & (abs(v) <= 2),
        1,
        lambda u, v: (abs(u) <= 11) & (abs(v) <= 2),
        (WINDOW_PX, 0),
    ),
    "bridge, 2 px wide": Form(
        lambda u, v: (abs(u) <= 1) & (abs(v) <= 3),
        -1,
        lambda u, v: (abs(u) <= 11) & (abs(v) > 3) & (abs(v) <= 7),
        (WINDOW_PX, 0),
    ),
}
WIRES = {"wire, 1.5 px, along an axis": (0.0, 90.0), "wire, 1.5 px, oblique": (22.0, 58.0)}
WIRE = Form(lambda u, v: (abs(u) <= 44) & (abs(v) <= 0.75), -1)
TURNS = (0.0, 90.0)
"""Degrees by which gaps and bridges are turned."""


class Part(NamedTuple):
    """A structure, or a piece of one, that is judged by itself.

    Attributes:
        kind: what it is called.
        turn: degrees; parts of one kind and turn look the same but for fractions of a pixel.
        y: row of its middle.
        x: column of its middle.
        shape: what it adds to the image in units of its contrast, (31, 31) around its middle.
        window: rows and columns within which it is searched for; None where it is not.
    """

    kind: str
    turn: float
    y: int
    x: int
    shape: np.ndarray
    window: tuple[int, int] | None


class Layout(NamedTuple):
    """Structures of a field (H, W) in units of their contrast, what carries them, and the parts."""

    structures: np.ndarray
    carriers: np.ndarray
    parts: list[Part]


def coverage(inside: Inside, *, y: float, x: float, turn: float, reach: int) -> np.ndarray:
    """Fraction of each pixel that a form covers, (2 reach + 1) squared around the pixel in which (y, x) lies."""
    steps = (np.arange((2 * reach + 1) * FINE) + 0.5) / FINE - 0.5 - reach
    down, right = steps[:, None] - (y - round(y)), steps[None, :] - (x - round(x))
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    covered = inside(right * cos + down * sin, down * cos - right * sin)
    size = 2 * reach + 1
    fraction: np.ndarray = covered.reshape(size, FINE, size, FINE).mean(axis=(1, 3))
    return fraction


def background(name: str) -> np.ndarray:
    """One of the known images, with a dark and a bright edge, so that all have the same contrast."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(float)
    image = np.full((SIDE_PX, SIDE_PX), GREY)
    if name == "balls":
        through = np.zeros_like(image)
        for row in (64, 192):
            for column in (64, 192):
                through += np.sqrt(np.maximum(56.0**2 - (y - row) ** 2 - (x - column) ** 2, 0)) / 56
        image = (OPEN - 2000) * np.exp(-through)
    if name == "routing":
        for turn, pitch, width, fraction in ((0.0, 24.0, 9.0, 0.82), (45.0, 40.0, 12.0, 0.87)):
            across = y * np.cos(np.deg2rad(turn)) - x * np.sin(np.deg2rad(turn))
            away = abs(np.mod(across, pitch) - pitch / 2)
            image *= 1 - (1 - fraction) * np.clip(width / 2 + 0.5 - away, 0, 1)
    image[:, :6], image[:, -6:] = DARK, OPEN
    return image


BACKGROUNDS = ("plain", "balls", "routing")
NOISES = ("white", "follows the signal", "along lines")


def deviation(noise: str, image: np.ndarray) -> np.ndarray:
    """Standard deviation of the noise of each pixel."""
    fraction: np.ndarray = np.sqrt(image / GREY) if noise == "follows the signal" else np.ones(image.shape)
    spread: np.ndarray = SIGMA * fraction
    return spread


def standard_noise(noise: str, random: np.random.Generator) -> np.ndarray:
    """Noise of variance 1, (H, W)."""
    return along_lines((SIDE_PX, SIDE_PX), LAG if noise == "along lines" else 0.0, random)


def true_profile(noise: str) -> NoiseProfile:
    slope = SIGMA**2 / GREY if noise == "follows the signal" else 0.0
    return NoiseProfile(level=GREY, sigma=SIGMA, slope=slope, corr_x=LAG if noise == "along lines" else 0.0)


def noisy(clean: np.ndarray, noise: str, standard: np.ndarray) -> np.ndarray:
    grey: np.ndarray = np.clip(np.rint(clean + deviation(noise, clean) * standard), 0, 65535)
    return grey.astype(np.uint16)


def places(name: str) -> list[tuple[float, float]]:
    """Where small structures have their middles: a grid, or nine to a ball."""
    if name == "balls":
        near = (-27.0, 0.0, 27.0)
        middles = [(row, column) for row in (64.0, 192.0) for column in (64.0, 192.0)]
        return [(row + dy, column + dx) for row, column in middles for dy in near for dx in near]
    grid = np.arange(32.0, 225.0, 32.0)
    return [(y, x) for y in grid for x in grid]


def spots(name: str, random: np.random.Generator) -> Layout:
    """Voids, gaps and bridges, in turn."""
    shape = (SIDE_PX, SIDE_PX)
    structures, carriers = np.zeros(shape), np.zeros(shape)
    parts: list[Part] = []
    choices = [(kind, turn) for kind in FORMS for turn in (TURNS if FORMS[kind].carrier else (0.0,))]
    first = int(random.integers(len(choices)))
    for number, (row, column) in enumerate(places(name)):
        kind, turn = choices[(number + first) % len(choices)]
        form, (dy, dx) = FORMS[kind], random.uniform(-0.5, 0.5, 2)
        at = {"y": row + dy, "x": column + dx, "turn": turn, "reach": REACH_PX}
        y, x = round(row + dy), round(column + dx)
        box = np.s_[y - REACH_PX : y + REACH_PX + 1, x - REACH_PX : x + REACH_PX + 1]
        own = form.sign * coverage(form.inside, **at)
        structures[box] += own
        if form.carrier is not None:
            carriers[box] += coverage(form.carrier, **at)
        along, across = form.window
        window = (along, across) if turn == 90 else (across, along)
        parts.append(Part(kind, turn, y, x, own, window))
    return Layout(structures, carriers, parts)


def wires(name: str, random: np.random.Generator) -> Layout:
    """Three parallel wires in each quarter, each quarter with its own direction."""
    structures = np.zeros((SIDE_PX, SIDE_PX))
    parts: list[Part] = []
    quarters = ((64.0, 64.0), (64.0, 192.0), (192.0, 64.0), (192.0, 192.0))
    turns = [(kind, turn) for kind, both in WIRES.items() for turn in both]
    for (row, column), (kind, turn) in zip(quarters, turns, strict=True):
        along = np.array([np.sin(np.deg2rad(turn)), np.cos(np.deg2rad(turn))])
        for offset in (-32.0, 0.0, 32.0):
            aside = offset * np.array([along[1], -along[0]])
            middle = np.array([row, column]) + aside + random.uniform(-0.5, 0.5, 2)
            parts += _wire(structures, middle, along, kind, turn)
    return Layout(structures, np.zeros_like(structures), parts)


def _wire(
    structures: np.ndarray, middle: np.ndarray, along: np.ndarray, kind: str, turn: float
) -> Iterator[Part]:
    """Draw one wire and cut it into pieces."""
    reach = 48
    y, x = (round(float(number)) for number in middle)
    own = WIRE.sign * coverage(WIRE.inside, y=middle[0], x=middle[1], turn=turn, reach=reach)
    box = [slice(max(c - reach, 0), min(c + reach + 1, SIDE_PX)) for c in (y, x)]
    structures[box[0], box[1]] += own[
        box[0].start - y + reach : box[0].stop - y + reach, box[1].start - x + reach : box[1].stop - x + reach
    ]
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    at = (rows + y - middle[0]) * along[0] + (columns + x - middle[1]) * along[1]
    for number in range(PIECES):
        place = (number - (PIECES - 1) / 2) * PIECE_PX
        piece = np.where((at > place - PIECE_PX / 2) & (at <= place + PIECE_PX / 2), own, 0.0)
        dy, dx = (round(float(c)) for c in middle + place * along - (y, x))
        padded = np.pad(piece, REACH_PX)
        top, left = reach + dy, reach + dx
        shape = padded[top : top + 2 * REACH_PX + 1, left : left + 2 * REACH_PX + 1]
        yield Part(kind, turn, y + dy, x + dx, shape, None)


def images(
    clean: np.ndarray, layout: Layout, *, noise: str, cnr: float, carried: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The known image without and with the structures, before noise."""
    contrast = cnr * deviation(noise, clean)
    without = clean - contrast * layout.carriers if carried else clean
    return without, without + contrast * layout.structures


Enhance = Callable[[np.ndarray], np.ndarray]


def methods(
    models: dict[str, Enhancer], noise: str, tuning: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, Enhance]:
    """Every method; the filters with the setting that comes closest to the truth on (noisy, clean) pairs.

    The first of the models is told the noise as well.
    """
    profile = true_profile(noise)

    def told(enhancer: Enhancer) -> Enhance:
        return lambda image: enhancer.enhance(image, noise=profile)

    def error(enhance: Enhance) -> float:
        return float(np.mean([np.mean((enhance(image) - clean) ** 2) for image, clean in tuning]))

    found: dict[str, Enhance] = {"input": lambda image: image}
    for title, engines in filters().items():
        found[title] = min((told(Enhancer(e, name=title)) for e in engines.values()), key=error)
    name, model = next(iter(models.items()))
    found[name] = model.enhance
    found[f"{name}, told the noise"] = told(model)
    return found | {other: model.enhance for other, model in models.items()}


class Seen(NamedTuple):
    """What is around each of N parts of one kind and turn, (N, 31, 31), in units of the noise there.

    Attributes:
        shape: what the structure adds, for CNR 1.
        matched: the filter that is ideal on the input; what the whole structure shows it is 1.
        present: the image less the known one without structures.
        absent: the same of the image without structures.
        kept: what the structure adds to the input, noise alike.
        half: of the noise draws, 0 or 1, (N,).
        window: as in `Part`.
    """

    shape: np.ndarray
    matched: np.ndarray
    present: np.ndarray
    absent: np.ndarray
    kept: np.ndarray
    half: np.ndarray
    window: tuple[int, int] | None


def prewhitened(shape: np.ndarray, noise: str) -> np.ndarray:
    """The inverse covariance of the noise, applied to shapes (..., H, W) that do not reach the border."""
    if noise != "along lines":
        return shape
    result: np.ndarray = (1 + LAG**2) * shape
    result[..., 1:] -= LAG * shape[..., :-1]
    result[..., :-1] -= LAG * shape[..., 1:]
    return result / (1 - LAG**2)


def dprime(present: np.ndarray, absent: np.ndarray) -> float:
    """Distance of two samples (N,) in units of their standard deviation."""
    spread = np.sqrt(0.5 * (present.var(ddof=1) + absent.var(ddof=1)))
    return float((present.mean() - absent.mean()) / max(spread, 1e-9))


def exceeding(present: np.ndarray, absent: np.ndarray) -> float:
    """Fraction of pairs in which the first is larger: the area under the ROC curve."""
    larger = present[:, None] > absent[None, :]
    equal = present[:, None] == absent[None, :]
    return float(np.mean(larger + 0.5 * equal))


def _looked(patches: np.ndarray, filters_: np.ndarray) -> np.ndarray:
    looked: np.ndarray = (patches * filters_).sum(axis=(-2, -1))
    return looked


def own_template(seen: Seen) -> float:
    """d' of a non-prewhitening observer who learned on one half of the noise what to expect."""
    found = []
    present, absent = (_shifted(patches, 0, 0) for patches in (seen.present, seen.absent))
    for half in (0, 1):
        now = seen.half == half
        learned = (present - absent)[~now].mean(axis=0)
        found.append(dprime(_looked(present[now], learned), _looked(absent[now], learned)))
    return float(np.mean(found))


def searched(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """CNR that the most pronounced place around each part appears to have, with and without it."""
    assert seen.window is not None
    reach, (rows, columns) = KERNEL_PX, seen.window
    kernel = seen.shape[:, REACH_PX - reach : REACH_PX + reach + 1, REACH_PX - reach : REACH_PX + reach + 1]
    kernel = kernel - kernel.mean(axis=(1, 2), keepdims=True)
    kernel = kernel / (kernel**2).sum(axis=(1, 2), keepdims=True)
    found = []
    for patches in (seen.present, seen.absent):
        shifts = [
            _looked(_shifted(patches, dy, dx), kernel)
            for dy in range(-rows, rows + 1)
            for dx in range(-columns, columns + 1)
        ]
        found.append(np.max(shifts, axis=0))
    return found[0], found[1]


def _shifted(patches: np.ndarray, dy: int, dx: int) -> np.ndarray:
    top, left = REACH_PX + dy - KERNEL_PX, REACH_PX + dx - KERNEL_PX
    return patches[:, top : top + 2 * KERNEL_PX + 1, left : left + 2 * KERNEL_PX + 1]


def judged(seen: Seen, cnr: float) -> dict[str, float]:
    """Every number about one method, kind of structure, turn and CNR."""
    left, right = _looked(seen.present - seen.absent, seen.shape), _looked(seen.kept, seen.shape)
    strength = (seen.shape**2).sum(axis=(1, 2))
    shown = _looked(seen.present, seen.shape) / strength / cnr
    present, absent = (_looked(patches, seen.matched) for patches in (seen.present, seen.absent))
    found = {
        "recovery": float(left.sum() / right.sum()),
        "spread": float((left / right).std(ddof=1)),
        "faded": float(np.mean((shown if seen.window is None else left / right) < 0.5)),
        "matched": dprime(present, absent),
        "own": own_template(seen),
        "auc": exceeding(present, absent),
    }
    if seen.window is not None:
        most, none = searched(seen)
        found["search"] = exceeding(most, none)
        found["false"] = float(np.mean(none >= np.quantile(most, 1 - FOUND)))
        found["phantom"] = float(np.quantile(none, 0.99))
    return found


class Trial(NamedTuple):
    """One layout under one noise draw."""

    layout: Layout
    standard: np.ndarray
    half: int


def trials(background_name: str, noise: str, draws: int, make: Callable[..., Layout]) -> list[Trial]:
    """As many as there are draws, a function of the arguments alone."""
    found = []
    for draw in range(draws):
        key = (BACKGROUNDS.index(background_name), NOISES.index(noise), draw)
        layout = make(background_name, np.random.default_rng((key[0], draw, 1)))
        found.append(Trial(layout, standard_noise(noise, np.random.default_rng((*key, 2))), draw % 2))
    return found


def _boxes(image: np.ndarray, parts: list[Part]) -> np.ndarray:
    padded = np.pad(image, REACH_PX)
    size = 2 * REACH_PX + 1
    return np.stack([padded[part.y : part.y + size, part.x : part.x + size] for part in parts])


def observe(
    clean: np.ndarray, trial: Trial, *, noise: str, cnr: float, enhance: Enhance, empty: np.ndarray | None
) -> dict[tuple[str, float], Seen]:
    """What a method leaves of one trial; `empty` is the enhanced image without structures, if it is known."""
    without, with_ = images(clean, trial.layout, noise=noise, cnr=cnr)
    spread = deviation(noise, clean)
    inputs = [noisy(image, noise, trial.standard) for image in (with_, without)]
    outputs = [enhance(inputs[0]), enhance(inputs[1]) if empty is None else empty]
    differences = [(image.astype(np.float64) - without) / spread for image in (*outputs, *inputs)]
    groups: dict[tuple[str, float], list[Part]] = defaultdict(list)
    for part in trial.layout.parts:
        groups[part.kind, part.turn].append(part)
    found = {}
    for key, parts in groups.items():
        present, absent, before, before_empty = (_boxes(image, parts) for image in differences)
        shape = np.stack([part.shape for part in parts])
        matched = prewhitened(shape, noise) if parts[0].window is not None else shape
        whole = _looked(_boxes(trial.layout.structures, parts), matched)
        found[key] = Seen(
            shape=shape,
            matched=matched / whole[:, None, None],
            present=present,
            absent=absent,
            kept=before - before_empty,
            half=np.full(len(parts), trial.half),
            window=parts[0].window,
        )
    return found


def watched(
    clean: np.ndarray,
    drawn: list[Trial],
    *,
    noise: str,
    cnr: float,
    enhance: Enhance,
    empties: list[np.ndarray] | None = None,
) -> dict[tuple[str, float], Seen]:
    """`observe` for all trials together."""
    groups: dict[tuple[str, float], list[Seen]] = defaultdict(list)
    for number, trial in enumerate(drawn):
        empty = None if empties is None else empties[number]
        seen = observe(clean, trial, noise=noise, cnr=cnr, enhance=enhance, empty=empty)
        for key, one in seen.items():
            groups[key].append(one)
    return {key: _joined(several) for key, several in groups.items()}


def _joined(parts: list[Seen]) -> Seen:
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Seen._fields
        if name != "window"
    }
    return Seen(**joined, window=parts[0].window)


Record = dict[str, Any]


def measure(
    background_name: str,
    noise: str,
    *,
    models: dict[str, Enhancer],
    draws: int,
    cnrs: tuple[float, ...] = CNRS,
) -> list[Record]:
    """Every method on one background and noise: a record for each CNR, kind and turn."""
    clean = background(background_name)
    found: list[Record] = []
    layouts = [trials(background_name, noise, draws, make) for make in (spots, wires)]
    tuning = []
    for drawn in layouts:
        truth = images(clean, drawn[0].layout, noise=noise, cnr=3.0)[1]
        fresh = standard_noise(noise, np.random.default_rng((99, draws)))
        tuning.append((noisy(truth, noise, fresh), truth))
    for method, enhance in methods(models, noise, tuning).items():
        for drawn in layouts:
            empties = None
            if not any(trial.layout.carriers.any() for trial in drawn):
                empties = [enhance(noisy(clean, noise, trial.standard)) for trial in drawn]
            for cnr in cnrs:
                seen = watched(clean, drawn, noise=noise, cnr=cnr, enhance=enhance, empties=empties)
                where = {"background": background_name, "noise": noise, "cnr": cnr, "method": method}
                for (kind, turn), one in seen.items():
                    found.append({**where, "structure": kind, "turn": turn, **judged(one, cnr)})
    return found


NUMBERS = ("recovery", "spread", "faded", "matched", "own", "auc", "search", "false", "phantom")


def pooled(records: list[Record], keys: tuple[str, ...]) -> list[Record]:
    """Means over all that is not among the keys."""
    groups: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[tuple(record[key] for key in keys)].append(record)
    return [
        dict(zip(keys, key, strict=True))
        | {n: round(float(np.mean([r[n] for r in group])), 4) for n in NUMBERS if n in group[0]}
        for key, group in groups.items()
    ]


def run(*, draws: int, model: str) -> dict[str, Any]:
    models = shipped(model)
    started, records = time.perf_counter(), []
    for noise in NOISES:
        for name in BACKGROUNDS:
            records += measure(name, noise, models=models, draws=draws)
            print(f"{noise}, {name}: {time.perf_counter() - started:.0f} s", flush=True)
    order = [*FORMS, *WIRES]
    records.sort(key=lambda record: order.index(record["structure"]))
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {"draws": draws, "model": model, "side_px": SIDE_PX, **described(models)},
        "seconds": round(time.perf_counter() - started, 1),
        "by structure and CNR": pooled(records, ("structure", "cnr", "method")),
        "at CNR 3": pooled(
            [record for record in records if record["cnr"] == 3],
            ("structure", "noise", "background", "method"),
        ),
    }


def figure(models: dict[str, Enhancer], file: Path, *, cnr: float = 3.0) -> None:
    """The known images, the input and what methods make of it, side by side; one grey window a row."""
    rows = []
    chosen = (
        ("plain", "white", spots, np.s_[16:144, 16:144]),
        ("balls", "along lines", spots, np.s_[0:128, 8:136]),
        ("plain", "white", wires, np.s_[128:256, 8:136]),
        ("routing", "follows the signal", wires, np.s_[128:256, 120:248]),
    )
    for background_name, noise, make, crop in chosen:
        clean = background(background_name)
        (trial,) = trials(background_name, noise, 1, make)
        truth = images(clean, trial.layout, noise=noise, cnr=cnr)[1]
        image = noisy(truth, noise, trial.standard)
        done = methods(models, noise, [(image, truth)])
        shown = [truth, *(done[key](image) for key in ("input", *models, *list(filters())[1:]))]
        low, high = np.percentile(truth[crop], (0.2, 99.8)) + np.array([-1.5, 1.5]) * SIGMA
        rows.append(joined([windowed(picture[crop], low, high, zoom=2) for picture in shown], axis=1))
    sheet = joined(rows, axis=0)
    head = Image.new("L", (sheet.shape[1], 18), 255)
    titles = ["truth", f"input, CNR {cnr:g}", *models, "Gaussian", "total variation", "non-local means"]
    for column, title in enumerate(titles):
        place = (column * (2 * 128 + GAP_PX) + 4, 1)
        ImageDraw.Draw(head).text(place, title, fill=0, font=ImageFont.load_default(13))
    file.write_bytes(png_bytes(np.vstack([np.asarray(head), sheet])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--figure", type=Path, default=FIGURE)
    arguments = parser.parse_args()
    figure(shipped(arguments.model), arguments.figure)
    result = run(draws=arguments.draws, model=arguments.model)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
