"""Noise2Noise: training towards a second noisy exposure against training towards the noise-free image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from longexposure.data.pairs import PairedFolder
from longexposure.data.simulated_sets import SetPlan, write_set
from longexposure.report.plots import dot_chart
from longexposure.simulation.machine import Split
from longexposure.study.figures import picture_strip, shown_region
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import Spread, as_dict, difference, spread_text
from longexposure.study.sets import TestSet, pairs_of_folder, short_hash
from longexposure.study.settings import Document
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

Rows = Mapping[str, Mapping[str, Spread]]
"""Noisy targets, clean targets and the short exposure ("LQ"), then metric: against the noise-free image."""


def run(bench: Workbench, stock: object = None) -> StudyResult:
    """Simulate, train and score every condition; it takes no pairs."""
    trial = bench.budget.noise2noise
    size = (f"image.height={trial.size_px}", f"image.width={trial.size_px}")
    found: dict[str, Rows] = {}
    trained: dict[str, list[StudyRun]] = {}
    pictures = []
    overrides = {name: (*IDEAL, *size, *condition.overrides) for name, condition in CONDITIONS.items()}
    for name in CONDITIONS:
        folders = {}
        counts: dict[Split, int] = {"train": trial.train, "test": trial.test}
        for split, count in counts.items():
            key = short_hash([trial.machine, overrides[name]])[:8]
            out = bench.out / "stand-ins" / f"{name.replace(' ', '-')}-{key}-{count}"
            bench.tell(f"simulating {name}, {split}: {count} pairs")
            plan = SetPlan(
                machine=trial.machine, split=split, count=count, seed=7, out=out, overrides=overrides[name]
            )
            folders[split] = write_set(plan, workers=trial.workers).parent
        test = TestSet(PairedFolder(folders["test"], clean=True).pairs, None)
        machine = test.pairs[0].machine
        selection = pairs_of_folder(folders["train"], val_pairs=max(1, trial.train // 8))
        models: dict[str, Sequence[StudyRun | str]] = {}
        for label, target in TARGETS.items():
            setting = f"{name}, {label} targets"
            trained[setting] = bench.trainings(setting, partial(document, bench, target=target), selection)
            models[label] = trained[setting]
        models["LQ"] = ["lq"]
        found[name] = {label: bench.scores(some, test)["clean"][machine] for label, some in models.items()}
        _, clean, _ = shown_region(bench, test, machine)
        images = {"LQ": bench.picture("lq", test, machine)}
        images |= {f"{label} targets": bench.picture(models[label][0], test, machine) for label in TARGETS}
        assert clean is not None  # noqa: S101 (every simulated pair has one)
        file = f"noise2noise-{name.replace(' ', '-')}.png"
        pictures.append(picture_strip(file, name, images | {"clean": clean}, reference=clean))
    return StudyResult(
        name="noise2noise",
        title="Noise2Noise: noisy targets against clean ones",
        question=QUESTION,
        statements=statements(found),
        tables=[table(found)],
        figures=[chart(found), *pictures],
        results={
            name: {
                "condition": CONDITIONS[name].what,
                "overrides": list(overrides[name]),
                "scores": as_dict(rows),
                "noisy minus clean, dB": difference(rows["noisy"]["psnr"], rows["clean"]["psnr"])[0],
            }
            for name, rows in found.items()
        }
        | {"limit, dB": LIMIT_DB, "seeds": list(bench.other_seeds)},
        trained=trained,
        limits=[
            "Simulated exposures alone: the paper's set holds no second short exposure and no noise-free "
            "image.",
            f"One simulated machine ({trial.machine}), two exposures of {SHORT_S:g} s, images of "
            f"{trial.size_px} px, the network {trial.network.kind}; the framework's loss, whose pixel term "
            "is L1 and tends to the median.",
        ],
        data={"machine": trial.machine, "training pairs": trial.train, "test pairs": trial.test},
    )


def document(bench: Workbench, seed: int, *, target: str) -> Document:
    """The recipe of a training towards a kind of target."""
    trial = bench.budget.noise2noise
    kind: Any = trial.network.kind
    values = bench.document(kind, seed=seed, steps=trial.steps)
    values["network"] = trial.network.model_dump(mode="json")
    values["loss"] = bench.document("framework", seed=seed, steps=trial.steps)["loss"]
    values["optimiser"]["batch"] = trial.batch
    values["data"] |= {"patch_px": trial.patch_px, "target": target}
    return values


def statements(found: Mapping[str, Rows]) -> list[str]:
    """Whether noisy targets come within `LIMIT_DB` of clean ones, condition by condition."""
    lines = []
    for name, rows in found.items():
        margin, spread = difference(rows["noisy"]["psnr"], rows["clean"]["psnr"])
        inside = "within" if margin >= -LIMIT_DB else "NOT within"
        bias = 100 * (rows["noisy"]["bias"].mean - rows["clean"]["bias"].mean)
        lines.append(
            f"{name}: noisy targets are {margin:+.2f} dB against clean ones, {inside} {LIMIT_DB} dB, spread "
            f"{spread_text(spread, 2)}; they shift the brightness by {bias:+.3f} % of full scale."
        )
    return lines


def table(found: Mapping[str, Rows]) -> Table:
    rows = []
    for name, scores in found.items():
        margin, _ = difference(scores["noisy"]["psnr"], scores["clean"]["psnr"])
        rows.append(
            {
                "condition": name,
                "PSNR LQ": scores["LQ"]["psnr"].text(2),
                "PSNR, clean targets": scores["clean"]["psnr"].text(2),
                "PSNR, noisy targets": scores["noisy"]["psnr"].text(2),
                "difference, dB": f"{margin:+.2f}",
                f"within {LIMIT_DB} dB": "yes" if margin >= -LIMIT_DB else "no",
                "SSIM, clean targets": scores["clean"]["ssim"].text(4),
                "SSIM, noisy targets": scores["noisy"]["ssim"].text(4),
                "bias, clean targets, %": f"{100 * scores['clean']['bias'].mean:+.3f}",
                "bias, noisy targets, %": f"{100 * scores['noisy']['bias'].mean:+.3f}",
            }
        )
    note = " ".join(f"{name.capitalize()}: {condition.what}." for name, condition in CONDITIONS.items())
    return Table("Against the noise-free image", rows, f"{note} Bias in % of full scale.")


def chart(found: Mapping[str, Rows]) -> Figure:
    rows = {
        name: {"noisy less clean targets": difference(scores["noisy"]["psnr"], scores["clean"]["psnr"])}
        for name, scores in found.items()
    }
    content = dot_chart(rows, unit="difference in PSNR, dB", marks={f"-{LIMIT_DB} dB": -LIMIT_DB, "0": 0.0})
    return Figure("noise2noise.svg", "What noisy targets cost, in PSNR.", content.encode())
