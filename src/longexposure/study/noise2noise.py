"""Noise2Noise: training towards a second noisy exposure against training towards the noise-free image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longexposure.data.pairs import PairedFolder
from longexposure.data.simulated_sets import SetPlan, write_set
from longexposure.io import png_bytes
from longexposure.report.pictures import strip
from longexposure.simulation.machine import Split
from longexposure.study.budgets import Noise2NoiseBudget
from longexposure.study.pictures import dots
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import Spread, means, noise_of, shown_noise
from longexposure.study.sets import TestSet, pairs_of_folder, short_hash
from longexposure.study.settings import Document
from longexposure.study.views import shown_region
from longexposure.study.workbench import StudyRun, Workbench

LIMIT_DB = 0.3
"""How close to clean targets noisy ones must come."""
SHORT_S = 1.5
"""Seconds of both exposures: so short that noise, and what is done about it, decide."""

QUESTION = (
    "Equations 1 and 2 of the paper, after Lehtinen et al. (2018): a network trained towards targets that "
    "are noisy themselves becomes the same as one trained towards noise-free targets, if the target's noise "
    "has mean zero and is independent of the input's. On simulated pairs of two short exposures of equal "
    "length, whose noise-free image is known, the same network is trained towards the second exposure and "
    "towards the noise-free image, and both are scored against the noise-free image. Then the assumption is "
    "broken in five ways."
)


@dataclass(frozen=True)
class Condition:
    """How the two exposures of a pair differ from the ideal.

    Attributes:
        what: in words.
        overrides: on top of the ideal machine.
    """

    what: str
    overrides: tuple[str, ...] = ()


IDEAL = (
    f"exposures.short_s={SHORT_S}",
    f"exposures.long_s={SHORT_S}",
    "exposures.drift=0.0",
    "exposures.shift_x_px=0.0",
    "exposures.shift_y_px=0.0",
    "panel={ read_noise = 600, offset = 1500 }",
    "video={}",
    "detector.open_fraction=0.8",
)
"""Two equal exposures, no movement, no drift, no fixed pattern; quanta, screen and read noise alone."""

CONDITIONS: dict[str, Condition] = {
    "independent": Condition("two independent exposures, nothing else in the way"),
    "clipping": Condition(
        "the open beam lies 20 % above full scale, so that noise in bright parts is cut off on one side",
        ("detector.open_fraction=1.2",),
    ),
    "stretch": Condition(
        "a camera's gamma of 0.45, a gain that differs by 3 % from exposure to exposure, and 8 bits",
        ("video.gamma=0.45", "video.agc=0.03", "video.bits=8", "video.stored_bits=16"),
    ),
    "drift": Condition(
        "the tube's output differs by up to 10 % between the two exposures",
        ("exposures.drift={ uniform = [-0.1, 0.1] }",),
    ),
    "shared exposure": Condition(
        "the target is the sum of the input's own exposure and another of equal length",
        (f"exposures.long_s={2 * SHORT_S}", "exposures.shared=true"),
    ),
    "fixed pattern": Condition(
        "pixel gains of 2 %, corrected with flats of 4 frames, are the same in both exposures",
        ("panel.pixel_gain=0.02", "panel.flat_frames=4"),
    ),
}
TARGETS = {"noisy": "hq", "clean": "clean"}


def run(bench: Workbench) -> StudyResult:
    """Simulate, train and score every condition."""
    trial = bench.budget.noise2noise
    found: dict[str, dict[str, dict[str, Spread]]] = {}
    trainings: dict[str, dict[str, list[StudyRun]]] = {}
    figures = []
    for name, condition in CONDITIONS.items():
        folders = {split: _simulated(bench, name, condition, split) for split in ("train", "test")}
        test = TestSet(PairedFolder(folders["test"], clean=True).pairs, None)
        selection = pairs_of_folder(folders["train"], val_pairs=max(1, trial.train // 8))
        runs = {
            label: [
                bench.train(
                    f"{name}, {label} targets, seed {seed}", _document(bench, seed, target), selection
                )
                for seed in bench.other_seeds
            ]
            for label, target in TARGETS.items()
        }
        scores = {label: [_mean(bench, one, test) for one in some] for label, some in runs.items()}
        scores["LQ"] = [_mean(bench, "lq", test)]
        found[name] = {
            label: {metric: Spread.of([one[metric] for one in some]) for metric in some[0]}
            for label, some in scores.items()
        }
        trainings[name] = runs
        figures.append(_picture(bench, name, runs, test))
    return StudyResult(
        name="noise2noise",
        title="Noise2Noise: noisy targets against clean ones",
        question=QUESTION,
        statements=statements(found),
        tables=[_table(found)],
        figures=[_plot(found), *figures],
        results={
            name: {
                "condition": CONDITIONS[name].what,
                "overrides": [*IDEAL, *_size(trial), *CONDITIONS[name].overrides],
                "scores": {
                    label: {metric: value.as_dict() for metric, value in row.items()}
                    for label, row in rows.items()
                },
                "noisy minus clean, dB": rows["noisy"]["psnr"].mean - rows["clean"]["psnr"].mean,
                "hashes": {label: [one.key for one in runs] for label, runs in trainings[name].items()},
            }
            for name, rows in found.items()
        }
        | {"limit, dB": LIMIT_DB, "seeds": list(bench.other_seeds)},
        trainings=[one for runs in trainings.values() for some in runs.values() for one in some],
        limits=[
            "Simulated exposures alone: the paper's set holds no second short exposure and no noise-free "
            "image.",
            f"One simulated machine ({trial.machine}), two exposures of {SHORT_S:g} s, images of "
            f"{trial.size_px} px, the network {trial.network.kind}; the framework's loss, whose pixel term "
            "is L1 and tends to the median.",
        ],
        data={"machine": trial.machine, "training pairs": trial.train, "test pairs": trial.test},
    )


def statements(found: Mapping[str, Mapping[str, Mapping[str, Spread]]]) -> list[str]:
    """Whether noisy targets come within `LIMIT_DB` of clean ones, condition by condition."""
    lines = []
    for name, rows in found.items():
        margin, noise = margin_of(rows)
        inside = "within" if margin >= -LIMIT_DB else "NOT within"
        bias = 100 * (rows["noisy"]["bias"].mean - rows["clean"]["bias"].mean)
        lines.append(
            f"{name}: noisy targets are {margin:+.2f} dB against clean ones, {inside} {LIMIT_DB} dB, spread "
            f"{shown_noise(noise, 2)}; they shift the brightness by {bias:+.3f} % of full scale."
        )
    return lines


def margin_of(rows: Mapping[str, Mapping[str, Spread]]) -> tuple[float, float | None]:
    """PSNR with noisy targets less PSNR with clean ones, and its spread over random starts."""
    noisy, clean = rows["noisy"]["psnr"], rows["clean"]["psnr"]
    return noisy.mean - clean.mean, noise_of(noisy, clean)


def _size(trial: Noise2NoiseBudget) -> tuple[str, ...]:
    return f"image.height={trial.size_px}", f"image.width={trial.size_px}"


def _simulated(bench: Workbench, name: str, condition: Condition, split: Split) -> Path:
    """The folder of a condition's pairs, simulated now or before."""
    trial = bench.budget.noise2noise
    overrides = (*IDEAL, *_size(trial), *condition.overrides)
    count = trial.train if split == "train" else trial.test
    key = short_hash([trial.machine, overrides])[:8]
    out = bench.out / "stand-ins" / f"{name.replace(' ', '-')}-{key}-{count}"
    bench.tell(f"simulating {name}, {split}: {count} pairs")
    plan = SetPlan(machine=trial.machine, split=split, count=count, seed=7, out=out, overrides=overrides)
    return write_set(plan, workers=trial.workers).parent


def _document(bench: Workbench, seed: int, target: str) -> Document:
    trial = bench.budget.noise2noise
    framework = bench.document("framework", seed=seed, steps=trial.steps)
    kind: Any = trial.network.kind
    values = bench.document(kind, seed=seed, steps=trial.steps)
    values["network"] = trial.network.model_dump(mode="json")
    values["loss"] = framework["loss"]
    values["optimiser"]["batch"] = trial.batch
    values["data"] = {**values["data"], "patch_px": trial.patch_px, "target": target}
    return values


def _mean(bench: Workbench, model: StudyRun | str, test: TestSet) -> dict[str, float]:
    """Mean scores against the noise-free image."""
    found = means(bench.score(model, test), "clean")
    return next(iter(found.values()))


def _table(found: Mapping[str, Mapping[str, Mapping[str, Spread]]]) -> Table:
    rows = []
    for name, scores in found.items():
        margin, _ = margin_of(scores)
        rows.append(
            (
                name,
                scores["LQ"]["psnr"].text(2),
                scores["clean"]["psnr"].text(2),
                scores["noisy"]["psnr"].text(2),
                f"{margin:+.2f}",
                "yes" if margin >= -LIMIT_DB else "no",
                scores["clean"]["ssim"].text(4),
                scores["noisy"]["ssim"].text(4),
                f"{100 * scores['clean']['bias'].mean:+.3f}",
                f"{100 * scores['noisy']['bias'].mean:+.3f}",
            )
        )
    columns = (
        "condition",
        "PSNR LQ",
        "PSNR, clean targets",
        "PSNR, noisy targets",
        "difference, dB",
        f"within {LIMIT_DB} dB",
        "SSIM, clean targets",
        "SSIM, noisy targets",
        "bias, clean targets, %",
        "bias, noisy targets, %",
    )
    note = " ".join(f"{name.capitalize()}: {condition.what}." for name, condition in CONDITIONS.items())
    return Table("Against the noise-free image", columns, tuple(rows), f"{note} Bias in % of full scale.")


def _plot(found: Mapping[str, Mapping[str, Mapping[str, Spread]]]) -> Figure:
    rows: dict[str, dict[str, tuple[float, float | None]]] = {
        name: {"noisy less clean targets": margin_of(scores)} for name, scores in found.items()
    }
    content = dots(rows, unit="difference in PSNR, dB", mark={f"-{LIMIT_DB} dB": -LIMIT_DB, "0": 0.0})
    return Figure("noise2noise.svg", "What noisy targets cost, in PSNR.", content.encode())


def _picture(bench: Workbench, name: str, runs: Mapping[str, list[StudyRun]], test: TestSet) -> Figure:
    machine = test.pairs[0].machine
    _, clean, _ = shown_region(bench, test, machine)
    images = {"LQ": bench.picture("lq", test, machine)}
    images |= {f"{label} targets": bench.picture(some[0], test, machine) for label, some in runs.items()}
    images["clean"] = clean
    there = {label: image for label, image in images.items() if image is not None}
    content = png_bytes(strip(there, reference=there["clean"]))
    return Figure(f"noise2noise-{name.replace(' ', '-')}.png", f"{name}: {', '.join(there)}.", content)
