"""Quality on simulated pairs whose truth is known: the default model against what an engineer has at hand.

For each machine and dose, the same short exposures go through: the default model, blind (it measures the
noise itself) and told the true profile; the best Gaussian, whose width is chosen for each case by looking
at the truth; the best non-local means, told the true noise, whose strength is chosen by looking at the
truth too. The comparison leans towards the classical filters on purpose. The 90 s exposure is scored beside
them: it is what the enhanced 5 s image competes with. PSNR and SSIM are against the noise-free image, data
range from the dark level to the open beam, means over the scenes.

The first cases are plain panels with the scenes, voltages and magnifications of the machine `wide` and a
focal spot of 1 to 3 px on the detector; then come the test splits of S1, S2 and S3, without drift of tube and
offset, which no filter can know.

    python benchmarks/quality.py [--scenes 8] [--size 320] [--model fast] [--out benchmarks/quality.json]
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import machine

from longexposure import load_enhancer
from longexposure.enhancing import Enhancer
from longexposure.machines.machine import Machine, Setting, load_machine, recipe_text
from longexposure.machines.pairs import draw_pair, sit
from longexposure.metrics import psnr, ssim
from longexposure.models.classical import Gaussian, Identity, NonLocalMeans
from longexposure.noise import NoiseProfile, estimate_noise
from longexposure.physics.chance import NumpyChance
from longexposure.scenes.catalogue import draw_scene

OPEN_SHARE = 45000 / 65535
SPOTS_PX = (1.2, 1.6, 2.1, 2.8)
"""Widths of the focal spot's image, FWHM in px of the detector, scene by scene."""
WIDTHS_PX = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0)
STRENGTHS = (0.4, 0.6, 0.8, 1.0, 1.3)
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
    """Exposures of one scene, their expectation, the true noise and the grey values from dark to open beam."""

    lq: np.ndarray
    hq: np.ndarray
    clean: np.ndarray
    noise: NoiseProfile
    data_range: float


def panel(quanta: float, *, open_share: float = OPEN_SHARE, f50: float = 0.0, **own: Any) -> Case:
    """A panel with white noise, or a screen that halves its MTF at f50 lp/mm, under the scenes of `wide`."""
    wide = tomllib.loads(recipe_text("wide"))
    placed = ("source_object_mm", "source_detector_mm", "tilt_deg", "azimuth_deg")
    document: dict[str, Any] = {
        "name": "panel",
        "image": wide["image"],
        "tube": wide["tube"],
        "geometry": {key: wide["geometry"][key] for key in placed},
        "screen": {"f50_lp_mm": f50, "lorentzian": 0.0} if f50 else {},
        "detector": {"pitch_um": wide["detector"]["pitch_um"], "open_share": open_share},
        "panel": {"offset": 1000, "gain_drift": 0.003, "bad": {"single": 1e-4, "hot": 1.0, "noisy": 0.0}}
        | own,
        "scenes": wide["scenes"],
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
    "8 bit, 300 quanta": panel(300, open_share=210 / 255, bits=8, offset=12, read_noise=2),
    "mean near 90 counts": panel(400, open_share=132 / 65535, offset=2, read_noise=2.5),
    **{f"test split of {name}": Case(load_machine(name, STEADY)) for name in ("S1", "S2", "S3")},
}


def examples(case: Case, *, count: int, size: int, seed: int) -> list[Example]:
    """Scenes of a case, each exposed twice; a function of its arguments alone."""
    if case.quanta is None:
        pairs = [draw_pair(case.machine, seed=seed, index=k, size_px=(size, size)) for k in range(count)]
        return [Example(p.lq, p.hq, p.clean, p.noise, _open_beam(p.setting)) for p in pairs]
    return [_example(case, seed + k, size, SPOTS_PX[k % len(SPOTS_PX)]) for k in range(count)]


def _example(case: Case, seed: int, size: int, spot_px: float) -> Example:
    setting = with_quanta(case.machine.setting(np.random.default_rng((seed, 0))), case.quanta or 1.0, spot_px)
    view = setting.view((size, size))
    scene = draw_scene(np.random.default_rng((seed, 1)), view=view, kinds=setting.scenes)
    sitting = sit(setting, scene, view, panel_seed=seed)
    lq, hq = sitting.expose(*(NumpyChance((seed, number)) for number in (2, 3)))
    return Example(lq, hq, sitting.clean, sitting.noise, _open_beam(setting))


def with_quanta(setting: Setting, quanta: float, spot_px: float) -> Setting:
    share = quanta / (setting.quanta_per_px_s * setting.exposures.short_s)
    spot = spot_px * setting.detector.pitch_um / max(setting.geometry.magnification - 1, 0.1)
    return setting.model_copy(
        update={
            "tube": setting.tube.model_copy(update={"current_ua": share * setting.tube.current_ua}),
            "geometry": setting.geometry.model_copy(update={"focal_spot_um": spot}),
        }
    )


def _open_beam(setting: Setting) -> float:
    return setting.detector.open_share * (2.0**setting.bits - 1)


Method = Callable[[Example], np.ndarray]


def score(pairs: list[Example], method: Method) -> dict[str, float]:
    images = [(method(pair).astype(np.float64), pair.clean.astype(np.float64), pair) for pair in pairs]
    return {
        name: float(
            np.mean([metric(image, truth, data_range=pair.data_range) for image, truth, pair in images])
        )
        for name, metric in (("psnr", psnr), ("ssim", ssim))
    }


def best(pairs: list[Example], candidates: dict[float, Method]) -> dict[str, float]:
    """The candidate of highest PSNR, and the highest SSIM of any: both chosen by looking at the truth."""
    scores = {key: score(pairs, method) for key, method in candidates.items()}
    top = max(scores, key=lambda key: scores[key]["psnr"])
    return {"setting": top, "psnr": scores[top]["psnr"], "ssim": max(s["ssim"] for s in scores.values())}


def filtered(engine: Gaussian | NonLocalMeans) -> Method:
    enhancer = Enhancer(engine, name="filter")
    return lambda pair: enhancer.enhance(pair.lq, noise=pair.noise)


def repaired(pixels: np.ndarray) -> np.ndarray:
    """Hot pixels replaced, nothing else: every method gets this, so the exposures do too."""
    return Enhancer(Identity(), name="identity").enhance(pixels)


def estimate_error(pair: Example) -> float:
    found: NoiseProfile = estimate_noise(pair.lq)
    return float(np.log(np.sqrt(found.variance(pair.noise.level)) / pair.noise.sigma))


def run(*, scenes: int, size: int, model: str) -> dict[str, object]:
    enhancer = load_enhancer(model)
    cases = {}
    for number, (name, case) in enumerate(CASES.items()):
        pairs = examples(case, count=scenes, size=size, seed=50_000)
        gaussians: dict[float, Method] = {w: filtered(Gaussian(sigma_px=w)) for w in WIDTHS_PX}
        means: dict[float, Method] = {s: filtered(NonLocalMeans(strength=s)) for s in STRENGTHS}
        rows = {
            "5 s": score(pairs, lambda pair: repaired(pair.lq)),
            "best Gaussian": best(pairs, gaussians),
            "best non-local means, told the noise": best(pairs, means),
            f"{model}, blind": score(pairs, lambda p: enhancer.enhance(p.lq)),
            f"{model}, told the noise": score(pairs, lambda p: enhancer.enhance(p.lq, noise=p.noise)),
            "90 s": score(pairs, lambda pair: repaired(pair.hq)),
        }
        errors = [estimate_error(pair) for pair in pairs]
        cases[name] = {
            "methods": rows,
            "ln sigma estimated / true": {"median": float(np.median(errors)), "worst": max(errors, key=abs)},
        }
        print(
            number, name, {k: (round(v["psnr"], 2), round(v["ssim"], 4)) for k, v in rows.items()}, flush=True
        )
    return {
        "what": __doc__.split("\n")[0],
        "machine": machine(),
        "settings": {"scenes": scenes, "size_px": size, "model": model, **enhancer.describe()},
        "cases": cases,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    result = run(scenes=arguments.scenes, size=arguments.size, model=arguments.model)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
