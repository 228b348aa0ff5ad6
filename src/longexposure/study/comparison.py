"""Figure 5: the framework against other networks and classical filters, with equal time to train."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from longexposure.errors import ResourceError
from longexposure.models.registry import CLASSICAL
from longexposure.study.pictures import dots
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import (
    AVERAGES,
    WEIGHTED,
    Means,
    as_dict,
    both_means,
    noise_of,
    s_per_mpx,
    shown_noise,
    verdict_on,
)
from longexposure.study.sets import TYPES, Selection, Stock, short_hash
from longexposure.study.settings import FULL_ROW, Kind
from longexposure.study.views import comparison_pictures
from longexposure.study.workbench import StudyRun, Workbench
from longexposure.train.losses import PerceptualConfig

PEERS: dict[str, Kind] = {"fast": "fast", "EDCNN": "edcnn", "NAFNet": "nafnet", "DnCNN": "dncnn"}
FILTERS = {"non-local means": "nlm", "Gaussian": "gaussian"}
OURS = "framework"
MEMORY = "peak MiB"
MSE_ALONE = (
    "EDCNN was trained with its mean squared error alone: the perceptual term of its loss needs ImageNet "
    "weights that do not come with the package; --edcnn-weights takes a file of them."
)
"""What is said of EDCNN without them."""

QUESTION = (
    "The paper compares its framework with EDCNN and NAFNet in pictures (figure 5), without numbers, and "
    "says that the others leave noise. Here every network is trained on the same pairs and patches for the "
    "same time on the same machine: the time that the full setting of Table I takes. A step of each network "
    "is timed first, and each gets the number of steps that fit, so that its schedule ends when its time "
    "does and a training can be repeated step by step. Each has its own loss, optimiser and schedule; the "
    "table says which loss. "
    "Two classical filters with fixed settings, which are told the estimated noise or nothing, show what "
    "needs no training."
)


def run(bench: Workbench, stock: Stock) -> StudyResult:
    """Train every network for equal time, score them and the filters, and measure speed and memory."""
    selection, test = stock.selection(*TYPES), stock.tests()
    trained, allotted = _trained(bench, selection)
    models: dict[str, list[StudyRun | str]] = {name: list(runs) for name, runs in trained.items()}
    models |= {name: [key] for name, key in FILTERS.items()}
    records = {name: [bench.score(one, test) for one in runs] for name, runs in models.items()}
    found = {name: both_means(some) for name, some in records.items()}
    lq = both_means([bench.score("lq", test)])
    speed = {name: s_per_mpx(some[0]) for name, some in records.items()}
    memory = {name: _memory(bench, name, runs[0]) for name, runs in models.items()}
    facts = {name: _facts(trained.get(name), speed[name], memory[name]) for name in models}
    return StudyResult(
        name="compare",
        title="Figure 5: comparison with other methods",
        question=QUESTION,
        statements=statements(found),
        tables=[
            _table(found, lq, facts, memory_px=bench.budget.memory_px, edcnn=_edcnn_loss(bench.perceptual)),
            _by_type(found, lq),
        ],
        figures=[
            _plot(found, lq),
            *comparison_pictures(
                bench, {name: runs[0] for name, runs in models.items()}, test, name="compare"
            ),
        ],
        results={
            "ours": {name: {at: as_dict(one) for at, one in both.items()} for name, both in found.items()},
            "LQ": {at: as_dict(one) for at, one in lq.items()},
            "cost": facts,
            "seconds allotted": allotted,
            "hashes": {name: [one.key for one in runs] for name, runs in trained.items()},
            "seeds": list(bench.other_seeds),
        },
        trainings=[one for runs in trained.values() for one in runs],
        limits=[
            *stock.limits(),
            _edcnn_loss(bench.perceptual),
            "The paper gives no numbers for EDCNN and NAFNet, so there are none beside ours.",
        ],
        data=stock.facts(),
    )


def _trained(bench: Workbench, selection: Selection) -> tuple[dict[str, list[StudyRun]], float]:
    """Every network's trainings, and the seconds that each was to take."""
    first = bench.row(FULL_ROW, seed=bench.other_seeds[0])
    seconds = bench.budget.steps * bench.seconds_per_step(OURS, first, selection)
    trained = {
        OURS: [
            bench.train(f"{FULL_ROW}, seed {seed}", bench.row(FULL_ROW, seed=seed), selection)
            for seed in bench.other_seeds
        ]
    }
    for name, kind in PEERS.items():
        if kind == "edcnn" and bench.perceptual is None:
            bench.tell(MSE_ALONE)
        step = bench.seconds_per_step(name, bench.document(kind, seed=1), selection)
        steps = max(2, round(seconds / step))
        trained[name] = [
            bench.train(f"{name}, seed {seed}", bench.document(kind, seed=seed, steps=steps), selection)
            for seed in bench.other_seeds
        ]
    return trained, seconds


_PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from longexposure.enhance.enhancer import load_enhancer
name, side = sys.argv[1], int(sys.argv[2])
settings = {} if name in sys.argv[3:] else {"engine": "torch", "device": "cpu", "precision": "f32"}
image = np.random.default_rng(0).normal(30000, 1500, (side, side)).astype(np.uint16)
enhancer = load_enhancer(name, **settings)
status = Path("/proc/self/status")
def peak():
    if status.exists():  # on Linux ru_maxrss starts at the peak of the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
enhancer.enhance(image[:32, :32].copy())
try:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: libraries have theirs
except OSError:
    pass
before = peak()
enhancer.enhance(image)
print((peak() - before) / 1024)
"""


def peak_memory(model: StudyRun | str, *, side_px: int) -> float:
    """Main memory in MiB that enhancing a square image takes at its peak, on the CPU, in a new process.

    What the process has taken before, for a tiny image, is taken off, so that the libraries do not count.

    Raises:
        ResourceError: the process failed.
    """
    name = model if isinstance(model, str) else str(model.checkpoint)
    command = [sys.executable, "-c", _PEAK, name, str(side_px), *CLASSICAL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ResourceError(
            where=f"memory of {name}",
            expected="a process that enhances an image",
            found=(done.stderr.strip().splitlines() or ["nothing"])[-1],
            advice="free memory and run the same command again; what is done is kept",
        )
    return float(done.stdout.strip().splitlines()[-1])


def _memory(bench: Workbench, name: str, model: StudyRun | str) -> float:
    side, key = bench.budget.memory_px, model if isinstance(model, str) else model.key
    return bench.kept(MEMORY, name, short_hash([MEMORY, key, side]), lambda: peak_memory(model, side_px=side))


def _facts(runs: list[StudyRun] | None, speed: float, memory: float) -> dict[str, Any]:
    return {
        "parameters": runs[0].facts["parameters"] if runs else None,
        "steps": runs[0].facts["recipe"]["steps"] if runs else None,
        "loss": _loss_words(runs[0].facts["recipe"]["loss"]) if runs else None,
        "seconds of training": [one.facts["seconds"] for one in runs] if runs else None,
        "s per Mpx": speed,
        MEMORY: memory,
    }


def _loss_words(loss: Mapping[str, Any]) -> str:
    """The terms of a loss with their weights."""
    terms = [{"l1": "L1", "l2": "MSE", "pseudo_huber": "pseudo-Huber"}.get(loss["kind"], loss["kind"])]
    for key, name in (("focal_frequency_weight", "FFL"), ("wavelet_weight", "WHFL")):
        if loss[key]:
            terms.append(f"{loss[key]:g} {name}")
    if "perceptual" in loss:
        terms.append(f"{loss['perceptual']['weight']:g} perceptual")
    words = " + ".join(terms) if len(terms) > 1 else f"{terms[0]} alone"
    exponent = loss["noise_exponent"]
    return f"{words}, weighed by noise^-{exponent:g}" if exponent else words


def _edcnn_loss(perceptual: PerceptualConfig | None) -> str:
    """What EDCNN was trained with."""
    if perceptual is None:
        return MSE_ALONE
    return (
        f"EDCNN was trained with its mean squared error and {perceptual.weight:g} of its perceptual term, of "
        f"features of a ResNet-50 whose weights were given (SHA-256 {perceptual.sha256}); nothing in a file "
        "tells whether they are those trained on ImageNet."
    )


def statements(found: Mapping[str, Mapping[str, Means]]) -> list[str]:
    """Where the framework stands, type by type."""
    lines = []
    for name in (*TYPES, WEIGHTED):
        for metric, digits in (("psnr", 2), ("ssim", 4)):
            scores = {row: both["hq"][name][metric] for row, both in found.items()}
            order = sorted(scores, key=lambda row: -scores[row].mean)
            best = next(row for row in order if row != OURS)
            margin, noise = scores[OURS].mean - scores[best].mean, noise_of(scores[OURS], scores[best])
            lines.append(
                f"{name}, {metric.upper()}: the framework is number {order.index(OURS) + 1} of {len(order)} "
                f"and {verdict_on(margin, noise)} the best other ({best}), {margin:+.{digits}f}, spread "
                f"{shown_noise(noise, digits)}."
            )
    return lines


def _table(
    found: Mapping[str, Mapping[str, Means]],
    lq: Mapping[str, Means],
    facts: Mapping[str, Mapping[str, Any]],
    *,
    memory_px: int,
    edcnn: str,
) -> Table:
    rows = []
    for row, both in {"LQ": lq, **found}.items():
        scores, clean, cost = both["hq"], both["clean"], facts.get(row, {})
        seconds = cost.get("seconds of training")
        rows.append(
            (
                row,
                *(scores[at]["psnr"].text(2) for at in AVERAGES),
                *(scores[at]["ssim"].text(4) for at in AVERAGES),
                clean[WEIGHTED]["psnr"].text(2) if WEIGHTED in clean else "",
                f"{cost['s per Mpx']:.2f}" if cost else "",
                f"{cost[MEMORY]:.0f}" if cost else "",
                f"{cost['parameters']:,}" if cost.get("parameters") else "",
                f"{cost['steps']}" if cost.get("steps") else "",
                f"{sum(seconds) / len(seconds):.0f}" if seconds else "",
                cost.get("loss") or "",
            )
        )
    columns = (
        "method",
        "PSNR, image-weighted",
        "PSNR, plain",
        "SSIM, image-weighted",
        "SSIM, plain",
        "PSNR against clean, image-weighted",
        "s/Mpx",
        "MiB",
        "parameters",
        "steps",
        "s trained",
        "loss",
    )
    note = (
        f"Speed and memory of enhancing in f32; memory for {memory_px} x {memory_px} px on the CPU beyond "
        "what the libraries take, in tiles as large as free memory allows. Seconds trained include reading "
        f"the pairs and choosing the weights. {edcnn}"
    )
    return Table("All methods", columns, tuple(rows), note)


def _by_type(found: Mapping[str, Mapping[str, Means]], lq: Mapping[str, Means]) -> Table:
    rows = []
    for row, both in {"LQ": lq, **found}.items():
        cells = []
        for name in TYPES:
            cells += [both["hq"][name]["psnr"].text(2), both["hq"][name]["ssim"].text(4)]
        rows.append((row, *cells))
    columns = ("method", *(f"{name} {metric}" for name in TYPES for metric in ("PSNR", "SSIM")))
    return Table("By machine type", columns, tuple(rows), "Against the long exposure.")


def _plot(found: Mapping[str, Mapping[str, Means]], lq: Mapping[str, Means]) -> Figure:
    rows = {
        row: {
            name: (
                both["hq"][name]["psnr"].mean - lq["hq"][name]["psnr"].mean,
                both["hq"][name]["psnr"].spread,
            )
            for name in TYPES
        }
        for row, both in found.items()
    }
    return Figure(
        "compare.svg",
        "Gain in PSNR over the short exposure.",
        dots(rows, unit="gain in PSNR over LQ, dB").encode(),
    )
