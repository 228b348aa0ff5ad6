"""Quality where the truth is known: the default model against what an engineer has at hand.

For each machine and dose, the same short exposures go through the default model, which measures the noise
itself or is told the true profile, and through the best median, Gaussian, total variation and non-local
means, the last two told the true noise. Their size or strength is chosen for each case by looking at the
truth: the comparison leans towards the filters on purpose. The 90 s exposure is scored beside them: it is
what the enhanced 5 s image competes with, and so are means of 2 to 18 of the 5 s exposures, without drift or
motion. Beside them are two peers that are no dependencies, left out where they are not installed
(`pip install pyoidn bmnd`; both MIT): Intel's Open Image Denoise, a network for ray tracing that is told
nothing, and BM3D, told the true noise. PSNR and SSIM are against the noise-free image, data range from the
dark level to the open beam, means over the scenes. Networks of equal training are compared elsewhere, by
`longexposure study compare`.

- `cases`: plain panels with the scenes, voltages and magnifications of the machine `wide` and a focal spot
  of 1 to 3 px on the detector; then the test splits of S1, S2 and S3, without drift of tube and offset, which
  no filter can know.
- `conditions`: what else happens to real images, on noise-free scenes: gamma and clipping in 8 bit, very low
  counts, faulty pixels, zingers, stripes, noise along lines and fields.
- `ablation` in each of these: told the true noise, estimated, told 1.5 times too much and too little.
- `harm`: nearly clean images; enhanced they must not be further from the truth than before.
- `real`: the example radiographs. Their truth is not known, but noise of the same kind, added to an image
  once and taken from it once, gives two copies whose noise is independent, so that the distance of an
  enhanced copy from the other ranks the methods as the truth would (Pang et al., CVPR 2021).

    python benchmarks/quality.py [--scenes 8] [--size 320] [--model fast] [--out benchmarks/quality.json]
        [--only PART ...] [--rows ROW ...]

The peers do not depend on our weights and BM3D takes most of the time: `--only models` measures all but peers
and frames, `--only frames` or the name of a peer these, and what it does not measure stays in the file; `--rows` does so for some rows of `cases` and
`conditions` alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter
from scipy.signal import lfilter
from skimage.restoration import denoise_tv_chambolle

from longexposure import load_enhancer, read_radiograph
from longexposure.engines.base import Engine, threads
from longexposure.enhance.bad_pixels import find_bad_pixels
from longexposure.enhance.enhancer import Enhancer
from longexposure.metrics import psnr, rmse, ssim
from longexposure.models.base import ModelSpec
from longexposure.models.classical import Gaussian, Identity, NonLocalMeans
from longexposure.models.registry import shipped_weights
from longexposure.noise import NoiseProfile, estimate_noise
from longexposure.simulation.detector.video import VideoConfig
from longexposure.simulation.exposure import (
    SPLITS,
    Acquisition,
    draw_acquisition,
    draw_pair,
    prepare_acquisition,
)
from longexposure.simulation.machine import Machine, MachineParameters, load_machine, recipe_text
from longexposure.simulation.random_source import NumpyRandom
from longexposure.simulation.scenes.catalogue import draw_scene
from longexposure.system import host_facts

OPEN_FRACTION = 45000 / 65535
INDICATORS = {"hole_iqi": 3, "wire_iqi": 2, "line_iqi": 2}
"""How often image quality indicators are drawn: a third of the scenes. Trainings see more of them."""
SPOTS_PX = (1.2, 1.6, 2.1, 2.8)
"""Widths of the focal spot's image, FWHM in px of the detector, scene by scene."""
WIDTHS_PX = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)
STRENGTHS = (0.4, 0.6, 0.8, 1.0, 1.3)
VARIATIONS = (0.6, 0.8, 1.2, 1.8)
MEDIANS_PX = (3, 5, 7)
WRONG = 1.5
"""Factor by which the told noise is wrong in the ablation."""
HARMLESS_GREYS = (0.0, 0.3, 0.6, 1.0)
"""Noise of nearly clean images, in grey values of 255."""
FRAMES = (2, 4, 8, 18)
"""Short exposures that are averaged; 18 take as long as the 90 s exposure."""
BM3D_STEP_PX = 6
"""Every sixth block is a reference, as in the fast profile of BM3D's authors: every third one takes 3.5 times as
long and is 0.2 dB better at 500 quanta."""
COPIES = 6
"""Fresh exposures from which the true noise of a condition is measured."""
RADIOGRAPHS = Path(__file__).resolve().parents[1] / "examples" / "radiographs"
STEADY = (
    "exposures.drift=0",
    "exposures.shift_x_px=0",
    "exposures.shift_y_px=0",
    "panel.offset_drift=0",
    "panel.block_offset_drift=0",
)


class Case(NamedTuple):
    """A machine, and the quanta that an open pixel of it absorbs in 5 s; None leaves that to the machine."""

    machine: Machine
    quanta: float | None = None


class Example(NamedTuple):
    """Exposures of one scene, their expectation, the true noise and the grey values from dark to open beam.

    `again` gives further short exposures of the scene by their number, from 1.
    """

    lq: np.ndarray
    hq: np.ndarray | None
    clean: np.ndarray
    noise: NoiseProfile
    data_range: float
    again: Callable[[int], np.ndarray]


def panel(quanta: float, *, open_fraction: float = OPEN_FRACTION, f50: float = 0.0, **own: Any) -> Case:
    """A panel with white noise, or a screen that halves its MTF at f50 lp/mm, under the scenes of `wide`."""
    wide = tomllib.loads(recipe_text("wide"))
    placed = ("source_object_mm", "source_detector_mm", "tilt_deg", "azimuth_deg")
    document: dict[str, Any] = {
        "name": "panel",
        "image": wide["image"],
        "tube": wide["tube"],
        "geometry": {key: wide["geometry"][key] for key in placed},
        "screen": {"f50_lp_mm": f50, "lorentzian": 0.0} if f50 else {},
        "detector": {"pitch_um": wide["detector"]["pitch_um"], "open_fraction": open_fraction},
        "panel": {"offset": 1000, "gain_drift": 0.003, "bad": {"single": 1e-4, "hot": 1.0, "noisy": 0.0}}
        | own,
        "scenes": wide["scenes"] | INDICATORS,
    }
    return Case(Machine("panel", document), quanta)


CASES: dict[str, Case] = {
    "20 quanta, white": panel(20),
    "100 quanta, white": panel(100),
    "500 quanta, white": panel(500),
    "3000 quanta, white": panel(3000),
    "30000 quanta, white": panel(30000),
    "100 quanta, read noise": panel(100, read_noise=4500),
    "100 quanta, blurred by the screen": panel(100, f50=2.7),
    "3000 quanta, blurred by the screen": panel(3000, f50=2.7),
    "8 bit, 300 quanta": panel(300, open_fraction=210 / 255, bits=8, offset=12, read_noise=2),
    "mean near 90 counts": panel(400, open_fraction=132 / 65535, offset=2, read_noise=2.5),
    **{f"test split of {name}": Case(load_machine(name, STEADY)) for name in ("S1", "S2", "S3")},
}


def examples(case: Case, *, count: int, size: int, seed: int) -> list[Example]:
    """Scenes of a case, each exposed twice; a function of its arguments alone."""
    if case.quanta is None:
        return [_machine_example(case.machine, seed, k, size) for k in range(count)]
    return [_example(case, seed + k, size, SPOTS_PX[k % len(SPOTS_PX)]) for k in range(count)]


def _machine_example(machine: Machine, seed: int, index: int, size: int) -> Example:
    pair = draw_pair(machine, seed=seed, index=index, size_px=(size, size))

    @cache
    def acquisition() -> Acquisition:
        return draw_acquisition(machine, key=(seed, SPLITS["test"], index), size_px=(size, size))

    def again(number: int) -> np.ndarray:
        return acquisition().expose_short(NumpyRandom((seed, index, number)))

    return Example(pair.lq, pair.hq, pair.clean, pair.noise, _open_beam(pair.parameters), again)


def _example(case: Case, seed: int, size: int, spot_px: float) -> Example:
    drawn = case.machine.parameters(np.random.default_rng((seed, 0)))
    parameters = with_quanta(drawn, case.quanta or 1.0, spot_px)
    view = parameters.view((size, size))
    scene = draw_scene(np.random.default_rng((seed, 1)), view=view, kinds=parameters.scenes)
    acquisition = prepare_acquisition(parameters, scene, view, panel_seed=seed)
    lq, hq = acquisition.expose(*(NumpyRandom((seed, number)) for number in (2, 3)))

    def again(number: int) -> np.ndarray:
        return acquisition.expose_short(NumpyRandom((seed, 3 + number)))

    return Example(lq, hq, acquisition.clean, acquisition.noise, _open_beam(parameters), again)


def with_quanta(parameters: MachineParameters, quanta: float, spot_px: float) -> MachineParameters:
    fraction = quanta / (parameters.quanta_per_px_s * parameters.exposures.short_s)
    spot = spot_px * parameters.detector.pitch_um / max(parameters.geometry.magnification - 1, 0.1)
    return parameters.model_copy(
        update={
            "tube": parameters.tube.model_copy(update={"current_ua": fraction * parameters.tube.current_ua}),
            "geometry": parameters.geometry.model_copy(update={"focal_spot_um": spot}),
        }
    )


def _open_beam(parameters: MachineParameters) -> float:
    return parameters.detector.open_fraction * (2.0**parameters.bits - 1)


class Spoiled(NamedTuple):
    """A noisy image with its faults and without, what is true of it, and the grey values of the open beam."""

    lq: np.ndarray
    faultless: np.ndarray
    clean: np.ndarray
    data_range: float


Condition = Callable[[np.ndarray, np.random.Generator], Spoiled]
"""From a noise-free image in fractions of the open beam to a spoiled one."""

OPEN, QUANTA, SPREAD = 45000.0, 1100.0, 0.03
"""Grey value of the open beam; quanta of it that a pixel absorbs; the noise of as many."""


def quantum_noise(clean: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.poisson(QUANTA * clean) / QUANTA


def stored(noisy: np.ndarray, clean: np.ndarray, *, faults: np.ndarray | float = 0.0) -> Spoiled:
    """In 16 bits; faults are added."""

    def counts(image: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(OPEN * image + 1000), 0, 65535).astype(np.uint16)

    return Spoiled(counts(noisy + faults), counts(noisy), (OPEN * clean + 1000).astype(np.float32), OPEN)


def eight_bits(clean: np.ndarray, random: np.random.Generator) -> Spoiled:
    """What a viewer exports: windowed so that 2 % clip at either end, gamma 0.6, 256 grey values."""
    low, high = np.percentile(clean, (2, 98))

    def shown(image: np.ndarray) -> np.ndarray:
        grey: np.ndarray = 255 * np.clip((image - low) / (high - low), 0, 1) ** 0.6
        return grey

    grey = np.rint(shown(quantum_noise(clean, random))).astype(np.uint8)
    return Spoiled(grey, grey, shown(clean).astype(np.float32), 255.0)


def few_counts(clean: np.ndarray, random: np.random.Generator) -> Spoiled:
    """Like the example radiographs: mean 86 of 65535, 0.3 counts a quantum, 3 of read noise, hot pixels."""
    expected = 86 / clean.mean() * clean
    noisy = 0.3 * random.poisson(expected / 0.3) + 3 * random.standard_normal(clean.shape)
    hot = (random.random(clean.shape) < 1e-3) * random.uniform(60, 2000, clean.shape)
    grey, faultless = (np.rint(np.maximum(image, 0)).astype(np.uint16) for image in (noisy + hot, noisy))
    return Spoiled(grey, faultless, expected.astype(np.float32), float(86 / clean.mean()))


def faulty_pixels(clean: np.ndarray, random: np.random.Generator) -> Spoiled:
    """0.2 % hot and 0.2 % dead."""
    noisy, drawn = quantum_noise(clean, random), random.random(clean.shape)
    hot = (drawn < 0.002) * random.uniform(0.3, 1.0, clean.shape)
    return stored(noisy, clean, faults=hot - (drawn > 0.998) * noisy)


def zingers(clean: np.ndarray, random: np.random.Generator) -> Spoiled:
    """Stray quanta: tracks of 1 to 4 px, 4 in 10,000 pixels, 10 to 60 times the noise."""
    tracks = np.zeros(clean.shape)
    for y, x in zip(*np.nonzero(random.random(clean.shape) < 4e-4), strict=True):
        turn, strength = random.uniform(0, np.pi), SPREAD * random.uniform(10, 60)
        for step in range(random.integers(1, 5)):
            row, column = y + round(step * np.sin(turn)), x + round(step * np.cos(turn))
            if row < clean.shape[0] and 0 <= column < clean.shape[1]:
                tracks[row, column] = strength
    return stored(quantum_noise(clean, random), clean, faults=tracks)


def stripes(clean: np.ndarray, random: np.random.Generator) -> Spoiled:
    """Each column has an offset of its own, half as strong as the noise."""
    return stored(quantum_noise(clean, random) + 0.5 * SPREAD * random.standard_normal(clean.shape[1]), clean)


def along_lines(shape: tuple[int, ...], lag: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of variance 1 whose autocorrelation along the rows is lag ** distance."""
    fresh = random.standard_normal(shape)
    fresh[..., 1:] *= np.sqrt(1 - lag**2)
    smeared: np.ndarray = lfilter([1.0], [1.0, -lag], fresh, axis=-1)
    return smeared


def lines(clean: np.ndarray, random: np.random.Generator) -> Spoiled:
    """Noise that does not depend on the signal, correlated along lines by 0.5."""
    return stored(clean + SPREAD * along_lines(clean.shape, 0.5, random), clean)


def fields(clean: np.ndarray, random: np.random.Generator) -> Spoiled:
    """One frame of a video chain: line noise of lag 0.6, fields that are mixed and differ in offset."""
    noise = SPREAD * OPEN / 65535
    video = VideoConfig(
        noise=noise, noise_lag=0.6, field_mix=0.3, field_noise=0.3 * noise, field_offset=0.3 * noise
    )
    black_to_white = (OPEN * clean + 1000).astype(np.float32)
    rng = NumpyRandom((int(random.integers(2**32)),))
    frame = video.through(black_to_white, exposure_s=5.0, rng=rng)
    grey = np.clip(np.rint(frame), 0, 65535).astype(np.uint16)
    return Spoiled(grey, grey, video.expectation(black_to_white), OPEN)


CONDITIONS: dict[str, Condition] = {
    "8 bit, gamma 0.6, clipped at both ends": eight_bits,
    "mean 86 of 65535 counts, hot pixels": few_counts,
    "0.4 % hot and dead pixels": faulty_pixels,
    "zingers": zingers,
    "stripes along columns": stripes,
    "noise along lines, lag 0.5": lines,
    "noise along lines, and of fields": fields,
}


ROWS = (*CASES, *CONDITIONS)


def measured_profile(copies: np.ndarray, clean: np.ndarray) -> NoiseProfile:
    """The noise of exposures (N, H, W) of one scene, N > 1, whose noise-free image is known (H, W)."""
    noise = (copies - copies.mean(axis=0)) * np.sqrt(len(copies) / (len(copies) - 1))
    level, grey = float(clean.mean()), clean.astype(np.float64).ravel()
    slope, constant = np.polyfit(grey - level, (noise**2).mean(axis=0).ravel(), 1)
    power = (noise**2).mean()
    return NoiseProfile(
        level=level,
        sigma=float(np.sqrt(max(constant, 1e-3 * power))),
        slope=float(slope),
        corr_x=float((noise[..., 1:] * noise[..., :-1]).mean() / power),
        corr_y=float((noise[:, 1:] * noise[:, :-1]).mean() / power),
    )


def spoiled_examples(noise_condition: Condition, *, count: int, size: int, seed: int) -> list[Example]:
    """Noise-free scenes under a condition, with the noise that is measured on fresh copies."""
    found = []
    for k, scene in enumerate(examples(CASES["30000 quanta, white"], count=count, size=size, seed=seed)):
        clean = np.maximum(scene.clean - 1000.0, 0) / scene.data_range

        def spoiled(copy: int, clean: np.ndarray = clean, k: int = k) -> Spoiled:
            return noise_condition(clean, np.random.default_rng((seed, k, copy)))

        def again(number: int, spoiled: Callable[[int], Spoiled] = spoiled) -> np.ndarray:
            return spoiled(number).lq

        copies = [spoiled(copy) for copy in range(COPIES)]
        first = copies[0]
        noise = measured_profile(
            np.stack([copy.faultless.astype(np.float64) for copy in copies]), first.clean
        )
        found.append(Example(first.lq, None, first.clean, noise, first.data_range, again))
    return found


@dataclass(frozen=True)
class Median:
    """The median over a square of this side, odd."""

    size_px: int = 3

    info = None

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(size_multiple=1, receptive_field=self.size_px // 2, conditioned=False)

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        filtered_tile: np.ndarray = median_filter(tile, size=self.size_px, axes=(1, 2), mode="reflect")
        return filtered_tile


@dataclass(frozen=True)
class TotalVariation:
    """Total variation told the noise, its weight in units of sigma; for images that fit into one tile.

    Source: Chambolle, J. Math. Imaging Vision 2004, as in scikit-image.
    """

    strength: float = 1.0

    info = None

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(size_multiple=1, receptive_field=64, conditioned=True)

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        weight = self.strength * max(float(noise_condition[0]), 1e-6)
        smooth: Callable[..., np.ndarray] = denoise_tv_chambolle
        pages = [smooth(page, weight=weight, eps=1e-5, max_num_iter=200) for page in tile]
        return np.stack(pages).astype(np.float32)


class OpenImageDenoise:
    """Intel Open Image Denoise's filter for lightmaps, which is HDR; for images that fit into one tile.

    The grey image goes in as three equal channels, from black up, since HDR is never negative, and exposed by
    the filter itself; the mean of the three that come out is taken.
    """

    info = None
    spec = ModelSpec(size_multiple=1, receptive_field=64, conditioned=False)

    @cached_property
    def device(self) -> Any:
        import pyoidn

        device = pyoidn.Device()
        device.set_int("numThreads", threads())
        device.commit()
        return device

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        return np.stack([self._denoised(page) for page in tile])

    def _denoised(self, page: np.ndarray) -> np.ndarray:
        import pyoidn

        black = page.min()
        colour = np.ascontiguousarray(np.repeat((page - black)[..., np.newaxis], 3, axis=2))
        denoised = np.zeros_like(colour)
        with pyoidn.Filter(self.device, pyoidn.OIDN_FILTER_TYPE_RT_LIGHTMAP) as lightmap:
            lightmap.set_image(pyoidn.OIDN_IMAGE_COLOR, colour, pyoidn.OIDN_FORMAT_FLOAT3)
            lightmap.set_image(pyoidn.OIDN_IMAGE_OUTPUT, denoised, pyoidn.OIDN_FORMAT_FLOAT3)
            lightmap.commit()
            lightmap.execute()
        if error := self.device.get_error():
            raise RuntimeError(f"Open Image Denoise: {error}")
        grey: np.ndarray = denoised.mean(axis=2) + black
        return grey


class BM3D:
    """BM3D told the noise, its dependence on the signal and its correlation; for images that fit into one tile.

    Source: Dabov et al., IEEE TIP 2007; Makinen et al., IEEE TIP 2020 (correlated noise), as in bmnd. Noise that
    follows the signal is made even by the generalised Anscombe transform and its unbiased inverse (Makitalo and
    Foi, IEEE TIP 2013). Correlations are taken to fall off by the same factor from pixel to pixel.
    """

    info = None
    spec = ModelSpec(size_multiple=1, receptive_field=64, conditioned=True)

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        sigma, _, share, corr_x, corr_y = (float(value) for value in noise_condition)
        variance = max(sigma, 1e-6) ** 2
        spectrum = variance * np.multiply.outer(
            _spectrum_along(tile.shape[1], corr_y), _spectrum_along(tile.shape[2], corr_x)
        )
        if abs(share) < 0.01:
            return np.stack([_bm3d(page, spectrum) for page in tile])
        gain, constant = 2 * share * variance, (1 - share) * variance
        even = [anscombe(page, gain, constant) for page in tile]
        smooth = [_bm3d(page, spectrum / variance) for page in even]
        return np.stack([inverse_anscombe(page, gain, constant) for page in smooth]).astype(np.float32)


def _bm3d(page: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """`spectrum` is the variance of the noise by frequency, its mean that of a pixel."""
    from bmnd import BM3DProfile, bmnd

    step = (BM3D_STEP_PX, BM3D_STEP_PX)
    denoised: np.ndarray = bmnd(
        page.astype(np.float32),
        BM3DProfile(ht_step=step, wiener_step=step),
        sigma_psd=(page.size * spectrum).astype(np.float32),
    )
    return denoised


def _spectrum_along(length: int, lag: float) -> np.ndarray:
    """Mean 1, of noise whose autocorrelation is lag ** distance."""
    lag = float(np.clip(lag, -0.95, 0.95))
    spectrum: np.ndarray = (1 - lag**2) / (1 - 2 * lag * np.cos(2 * np.pi * np.fft.fftfreq(length)) + lag**2)
    return spectrum / spectrum.mean()


def anscombe(grey: np.ndarray, gain: float, constant: float) -> np.ndarray:
    """Noise of variance gain * grey + constant gets variance 1."""
    even: np.ndarray = 2 / gain * np.sqrt(np.maximum(gain * grey + constant + 0.375 * gain**2, 0))
    return even


def inverse_anscombe(even: np.ndarray, gain: float, constant: float) -> np.ndarray:
    x = np.maximum(abs(even.astype(np.float64)), 2 * np.sqrt(0.375))
    root = np.sqrt(1.5)
    counts = x**2 / 4 + root / (4 * x) - 11 / (8 * x**2) + 5 * root / (8 * x**3) - 1 / 8
    grey: np.ndarray = gain * counts - constant / gain
    return grey


PEERS: dict[str, tuple[str, Callable[[], Engine]]] = {
    "Open Image Denoise": ("pyoidn", OpenImageDenoise),
    "BM3D, told the noise": ("bmnd", BM3D),
}
"""Denoisers of others, with the package that each needs."""
PARTS = ("models", "frames", *PEERS)


def peers(names: Collection[str] = tuple(PEERS)) -> dict[str, Engine]:
    """Those of these peers whose package is installed; of the others it is said that they are left out."""
    found = {}
    for name in names:
        package, make = PEERS[name]
        if find_spec(package):
            found[name] = make()
        else:
            print(f"{name} is left out: no package {package} (pip install {package})", file=sys.stderr)
    return found


Method = Callable[[Example], np.ndarray]


def score(pairs: list[Example], method: Method) -> dict[str, float]:
    images = [(method(pair), pair.clean, pair.data_range) for pair in pairs]
    return {
        name: float(np.mean([metric(image, truth, data_range=full) for image, truth, full in images]))
        for name, metric in (("psnr", psnr), ("ssim", ssim))
    }


def best(pairs: list[Example], candidates: dict[float, Method]) -> dict[str, float]:
    """The candidate of highest PSNR, and the highest SSIM of any: both chosen by looking at the truth."""
    scores = {key: score(pairs, method) for key, method in candidates.items()}
    top = max(scores, key=lambda key: scores[key]["psnr"])
    return {"setting": top, "psnr": scores[top]["psnr"], "ssim": max(s["ssim"] for s in scores.values())}


def filters() -> dict[str, dict[float, Engine]]:
    """Every peer with the settings that are tried."""
    return {
        "best median": {size: Median(size_px=size) for size in MEDIANS_PX},
        "best Gaussian": {width: Gaussian(sigma_px=width) for width in WIDTHS_PX},
        "best total variation, told the noise": {k: TotalVariation(strength=k) for k in VARIATIONS},
        "best non-local means, told the noise": {h: NonLocalMeans(strength=h) for h in STRENGTHS},
    }


def told(enhancer: Enhancer, pair: Example, *, factor: float = 1.0) -> np.ndarray:
    """The short exposure, enhanced by what is told so many times its noise."""
    return enhancer.enhance(pair.lq, noise=wrong(pair.noise, factor))


def wrong(noise: NoiseProfile, factor: float) -> NoiseProfile:
    """The same noise, so many times as strong."""
    return replace(noise, sigma=factor * noise.sigma, slope=factor**2 * noise.slope, origin="given")


def repaired(pixels: np.ndarray) -> np.ndarray:
    """Hot pixels replaced, nothing else: every method gets this, so the exposures do too."""
    return Enhancer(Identity(), name="identity").enhance(pixels)


def averaged(pairs: list[Example]) -> dict[str, dict[str, float]]:
    """Means of as many short exposures as FRAMES says, the first among them, not rounded."""
    means = []
    for pair in pairs:
        total, kept = np.zeros(pair.lq.shape), {}
        for number in range(max(FRAMES)):
            total += repaired(pair.again(number) if number else pair.lq)
            if number + 1 in FRAMES:
                kept[number + 1] = total / (number + 1)
        means.append(kept)
    rows = {}
    for count in FRAMES:
        of_pairs = iter([kept[count] for kept in means])
        rows[f"mean of {count} frames"] = score(pairs, lambda _, of_pairs=of_pairs: next(of_pairs))
    return rows


def beside(pairs: list[Example], engines: dict[str, Engine]) -> dict[str, dict[str, float]]:
    """The peers on one case, told the noise."""
    return {
        name: score(pairs, partial(told, Enhancer(engine, name=name))) for name, engine in engines.items()
    }


def shipped(model: str) -> dict[str, Enhancer]:
    """This model first, then every other one that ships with weights."""
    return {name: load_enhancer(name) for name in (model, *(n for n in shipped_weights() if n != model))}


def described(models: dict[str, Enhancer]) -> dict[str, Any]:
    """What the first of the models is, and the weights of the others."""
    facts = {name: enhancer.describe() for name, enhancer in models.items()}
    first, *others = facts
    return {**facts[first], "others": {name: facts[name].get("weights_sha256") for name in others}}


def measured(pairs: list[Example], models: dict[str, Enhancer]) -> dict[str, Any]:
    """Every method on one case; the first of the models is told the noise, rightly and wrongly, as well."""
    model, enhancer = next(iter(models.items()))
    rows = {"5 s": score(pairs, lambda pair: repaired(pair.lq))}
    for name, engines in filters().items():
        rows[name] = best(
            pairs, {k: partial(told, Enhancer(engine, name=name)) for k, engine in engines.items()}
        )

    rows[model] = score(pairs, lambda pair: enhancer.enhance(pair.lq))
    rows[f"{model}, told the noise"] = score(pairs, partial(told, enhancer))
    for name in list(models)[1:]:
        rows[name] = score(pairs, lambda pair, by=models[name]: by.enhance(pair.lq))
    if all(pair.hq is not None for pair in pairs):
        rows["90 s"] = score(pairs, lambda pair: repaired(np.asarray(pair.hq)))
    errors = [
        float(np.log(np.sqrt(estimate_noise(pair.lq).variance(pair.noise.level)) / pair.noise.sigma))
        for pair in pairs
    ]
    return {
        "methods": rows,
        "ablation": {
            "told": rows[f"{model}, told the noise"],
            "estimated": rows[model],
            f"told {WRONG:g} times too much": score(pairs, partial(told, enhancer, factor=WRONG)),
            f"told {WRONG:g} times too little": score(pairs, partial(told, enhancer, factor=1 / WRONG)),
        },
        "ln sigma estimated / true": {"median": float(np.median(errors)), "worst": max(errors, key=abs)},
    }


def harm(enhancer: Enhancer, *, count: int, size: int) -> dict[str, dict[str, float | None]]:
    """Distance from the truth in grey values of 255, before and after, of nearly clean images.

    In 16 bits and rounded to 8; `gain_db` is of all scenes, `worst_gain_db` of the one that fared worst,
    both None where there was nothing to gain.
    """
    scenes = examples(CASES["30000 quanta, white"], count=count, size=size, seed=91_000)
    found: dict[str, dict[str, float | None]] = {}
    for bits, step in ((16, 200.0), (8, 1.0)):
        for sigma in HARMLESS_GREYS:
            errors = np.array(
                [_errors(enhancer, scene, sigma, step, seed) for seed, scene in enumerate(scenes)]
            )
            before, after = np.sqrt((errors**2).mean(axis=0))
            noisy = bool(errors[:, 0].all())
            found[f"{bits} bit, noise {sigma:g}"] = {
                "before": float(before),
                "after": float(after),
                "gain_db": float(20 * np.log10(before / after)) if noisy else None,
                "worst_gain_db": float(20 * np.log10(errors[:, 0] / errors[:, 1]).min()) if noisy else None,
            }
    return found


def _errors(enhancer: Enhancer, scene: Example, sigma: float, step: float, seed: int) -> tuple[float, float]:
    """RMSE of one nearly clean image, in grey values of 255, before and after; `step` counts make one."""
    clean = step * (25 + 205 * np.clip(scene.clean / scene.data_range, 0, 1.1)).astype(np.float64)
    noise = step * sigma * np.random.default_rng(seed).standard_normal(clean.shape)
    kind: type[np.unsignedinteger[Any]] = np.uint8 if step == 1 else np.uint16
    noisy = np.clip(np.rint(clean + noise), 0, np.iinfo(kind).max).astype(kind)
    if step > 1 and sigma == 0:
        clean = noisy.astype(np.float64)
    return rmse(noisy, clean) / step, rmse(enhancer.enhance(noisy), clean) / step


class Halves(NamedTuple):
    """A radiograph with noise added, the same with it taken away, and the pixels that are judged."""

    lq: np.ndarray
    other: np.ndarray
    judged: np.ndarray
    noise: NoiseProfile


def halves(pixels: np.ndarray, seed: int, *, factor: float = 1.0) -> Halves:
    """Two copies whose noise is independent where that of `pixels` is white and as strong as is said.

    That is `factor` times as strong as it is estimated to be; each copy has twice its variance.
    """
    found = wrong(estimate_noise(pixels), factor)
    image = repaired(pixels).astype(np.float64)
    level = gaussian_filter(image, 2.0)
    added = np.sqrt(found.variance(level)) * np.random.default_rng(seed).standard_normal(pixels.shape)
    judged = np.ones(pixels.shape, dtype=bool)
    faulty = find_bad_pixels(pixels, found)
    judged[faulty.y, faulty.x] = False
    noise = wrong(found, float(np.sqrt(2)))
    return Halves((image + added).astype(np.float32), image - added, judged, noise)


def real(models: dict[str, Enhancer], engines: dict[str, Engine], *, factor: float = 1.0) -> dict[str, Any]:
    """Mean square distance of each method from the independent copies of the example radiographs, counts^2.

    Without models nothing but the peers is measured.
    """
    views = sorted(RADIOGRAPHS.glob("*.tif"))
    parts = [halves(read_radiograph(v).pixels, seed, factor=factor) for seed, v in enumerate(views)]

    def error(method: Callable[[Halves], np.ndarray]) -> float:
        return float(np.mean([np.mean((method(part) - part.other)[part.judged] ** 2) for part in parts]))

    def run(enhancer: Enhancer) -> float:
        return error(lambda part: enhancer.enhance(part.lq, noise=part.noise))

    rows = {name: run(Enhancer(engine, name=name)) for name, engine in engines.items()}
    if not models:
        return {"methods": rows}
    rows["as taken"] = error(lambda part: part.lq)
    for name, settings in filters().items():
        rows[name] = min(run(Enhancer(engine, name=name)) for engine in settings.values())
    for name, enhancer in models.items():
        rows[name] = error(lambda part, by=enhancer: by.enhance(part.lq))
    model = next(iter(models))
    rows[f"{model}, told the noise"] = run(models[model])
    variance = np.mean([part.noise.variance(gaussian_filter(part.other, 2.0)).mean() for part in parts])
    return {"images": len(parts), "methods": rows, "noise of the other copy": float(variance)}


def run(
    *,
    scenes: int,
    size: int,
    model: str,
    only: Collection[str],
    rows: Collection[str],
    write: Callable[[dict[str, Any]], None],
) -> None:
    """Measure these parts on these rows, and write what there is after every row: all together take an hour.

    Nearly clean and real images belong to no row; they are measured where no row is left out.
    """
    models = shipped(model) if "models" in only else {}
    others = peers([name for name in PEERS if name in only])
    found: dict[str, Any] = {}
    if models:
        found |= {
            "what": __doc__.split("\n")[0],
            "host": host_facts(),
            "settings": {"scenes": scenes, "size_px": size, "model": model, **described(models)},
        }
    if others or "frames" in only:
        versions = {package: version(package) for package in (PEERS[name][0] for name in others)}
        measured_by = {"host": host_facts(), "scenes": scenes, "size_px": size, "packages": versions}
        found["peers"] = dict.fromkeys((*others, *(["frames"] if "frames" in only else [])), measured_by)
    for kind, names in (("cases", CASES), ("conditions", CONDITIONS)):
        for name in [name for name in names if name in rows]:
            if kind == "cases":
                pairs = examples(CASES[name], count=scenes, size=size, seed=50_000)
            else:
                pairs = spoiled_examples(CONDITIONS[name], count=scenes, size=size, seed=60_000)
            result = measured(pairs, models) if models else {"methods": {}}
            result["methods"] |= averaged(pairs) if "frames" in only else {}
            result["methods"] |= beside(pairs, others)
            found.setdefault(kind, {})[name] = result
            shown = {**result["methods"], **result.get("ablation", {})}
            print(name, {k: (round(v["psnr"], 2), round(v["ssim"], 3)) for k, v in shown.items()}, flush=True)
            write(found)
    whole = set(rows) == set(ROWS)
    if whole and models:
        found["harm"] = {name: harm(by, count=scenes, size=size) for name, by in models.items()}
    if whole and (models or others):
        found["real"] = {f"{factor:g}": real(models, others, factor=factor) for factor in (1.0, 1.1)}
    print(found.get("harm"), found.get("real"), sep="\n", flush=True)
    write(found)


def merged(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What was found, and of what was known before that which was not measured again."""
    both = {**before, **found}
    for key in before.keys() & found.keys():
        if isinstance(before[key], dict) and isinstance(found[key], dict):
            both[key] = merged(before[key], found[key])
    return both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    out, only = arguments.out, set(arguments.only)
    everything = only == set(PARTS) and set(arguments.rows) == set(ROWS)
    before = {} if everything or not out.exists() else json.loads(out.read_text())
    run(
        scenes=arguments.scenes,
        size=arguments.size,
        model=arguments.model,
        only=only,
        rows=arguments.rows,
        write=lambda found: _write(out, merged(before, found)),
    )


def _write(path: Path, result: dict[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
