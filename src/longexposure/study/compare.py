"""Figure 5: the framework against other networks and classical filters, with equal time to train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longexposure.report.plots import dot_chart
from longexposure.study.figures import comparison_pictures
from longexposure.study.memory import peak_memory
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import (
    AVERAGES,
    WEIGHTED,
    Scores,
    against_best,
    as_dict,
    cell,
    psnr_gain,
    s_per_mpx,
)
from longexposure.study.sets import TYPES, Selection, Stock, TestSet, short_hash
from longexposure.study.settings import FULL_ROW, Document, Kind
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
    "same time on the same host: the time that the full setting of Table I takes. A step of each network "
    "is timed first, and each gets the number of steps that fit, so that its schedule ends when its time "
    "does and a training can be repeated step by step. Each has its own loss, optimiser and schedule; the "
    "table says which loss. "
    "Two classical filters with fixed settings, which are told the estimated noise or nothing, show what "
    "needs no training."
)


def run(bench: Workbench, stock: Stock) -> StudyResult:
    """Train every network for equal time, score them and the filters, and measure speed and memory."""
    test = stock.tests()
    trained, allotted = equal_time_trainings(bench, stock.selection(*TYPES))
    models: dict[str, list[StudyRun | str]] = {name: [*runs] for name, runs in trained.items()}
    models |= {name: [key] for name, key in FILTERS.items()}
    found = {name: bench.scores(runs, test) for name, runs in models.items()}
    lq = bench.scores(["lq"], test)
    cost = {name: cost_of(bench, name, runs[0], test) for name, runs in models.items()}
    for name, runs in trained.items():
        cost[name]["seconds of training"] = [one.facts["seconds"] for one in runs]
    edcnn = edcnn_loss(bench.perceptual)
    first = {name: runs[0] for name, runs in models.items()}
    return StudyResult(
        name="compare",
        title="Figure 5: comparison with other methods",
        question=QUESTION,
        statements=statements(found),
        tables=[
            all_methods(found, lq, cost, memory_px=bench.budget.memory_px, edcnn=edcnn),
            by_type(found, lq),
        ],
        figures=[chart(found, lq), *comparison_pictures(bench, first, test, name="compare")],
        results={
            "ours": as_dict(found),
            "LQ": as_dict(lq),
            "cost": cost,
            "seconds allotted": allotted,
            "seeds": list(bench.other_seeds),
        },
        trained=trained,
        limits=[
            *stock.limits(),
            edcnn,
            "The paper gives no numbers for EDCNN and NAFNet, so there are none beside ours.",
        ],
        data=stock.facts(),
    )


def equal_time_trainings(bench: Workbench, selection: Selection) -> tuple[dict[str, list[StudyRun]], float]:
    """Every network's trainings, and the seconds that each was to take."""
    first = bench.row(FULL_ROW, seed=bench.other_seeds[0])
    seconds = bench.budget.steps * bench.seconds_per_step(OURS, first, selection)
    trained = {OURS: bench.trainings(FULL_ROW, lambda seed: bench.row(FULL_ROW, seed=seed), selection)}
    for name, kind in PEERS.items():
        if kind == "edcnn" and bench.perceptual is None:
            bench.tell(MSE_ALONE)
        steps = max(2, round(seconds / bench.seconds_per_step(name, bench.document(kind, seed=1), selection)))

        def values(seed: int, kind: Kind = kind, steps: int = steps) -> Document:
            return bench.document(kind, seed=seed, steps=steps)

        trained[name] = bench.trainings(name, values, selection)
    return trained, seconds


def cost_of(bench: Workbench, name: str, model: StudyRun | str, test: TestSet) -> dict[str, Any]:
    """What a method costs: size, steps and loss of a network, speed and memory of enhancing."""
    facts = None if isinstance(model, str) else model.facts
    key = short_hash([MEMORY, model if isinstance(model, str) else model.key, bench.budget.memory_px])
    return {
        "parameters": facts and facts["parameters"],
        "steps": facts and facts["recipe"]["steps"],
        "loss": facts and loss_words(facts["recipe"]["loss"]),
        "seconds of training": None,
        "s per Mpx": s_per_mpx(bench.score(model, test)),
        MEMORY: bench.kept(MEMORY, name, key, lambda: peak_memory(model, side_px=bench.budget.memory_px)),
    }


def loss_words(loss: Mapping[str, Any]) -> str:
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


def edcnn_loss(perceptual: PerceptualConfig | None) -> str:
    """What EDCNN was trained with."""
    if perceptual is None:
        return MSE_ALONE
    return (
        f"EDCNN was trained with its mean squared error and {perceptual.weight:g} of its perceptual term, of "
        f"features of a ResNet-50 whose weights were given (SHA-256 {perceptual.sha256}); nothing in a file "
        "tells whether they are those trained on ImageNet."
    )


def statements(found: Mapping[str, Scores]) -> list[str]:
    """Where the framework stands, type by type."""
    lines = []
    for name in (*TYPES, WEIGHTED):
        for metric in ("psnr", "ssim"):
            best, verdict, margin, spread = against_best(found, OURS, name, metric)
            order = sorted(found, key=lambda row: -found[row]["hq"][name][metric].mean)
            lines.append(
                f"{name}, {metric.upper()}: the framework is number {order.index(OURS) + 1} of {len(order)} "
                f"and {verdict} the best other ({best}), {margin}, spread {spread}."
            )
    return lines


def all_methods(
    found: Mapping[str, Scores],
    lq: Scores,
    cost: Mapping[str, Mapping[str, Any]],
    *,
    memory_px: int,
    edcnn: str,
) -> Table:
    """Averages and cost of every method."""
    rows = []
    for row, both in {"LQ": lq, **found}.items():
        own = cost.get(row, {})
        seconds = own.get("seconds of training")
        weighted, plain = AVERAGES
        rows.append(
            {
                "method": row,
                "PSNR, image-weighted": cell(both["hq"], weighted, "psnr"),
                "PSNR, plain": cell(both["hq"], plain, "psnr"),
                "SSIM, image-weighted": cell(both["hq"], weighted, "ssim"),
                "SSIM, plain": cell(both["hq"], plain, "ssim"),
                "PSNR against clean, image-weighted": cell(both["clean"], weighted, "psnr"),
                "s/Mpx": f"{own['s per Mpx']:.2f}" if own else "",
                "MiB": f"{own[MEMORY]:.0f}" if own else "",
                "parameters": f"{own['parameters']:,}" if own.get("parameters") else "",
                "steps": f"{own['steps']}" if own.get("steps") else "",
                "s trained": f"{sum(seconds) / len(seconds):.0f}" if seconds else "",
                "loss": own.get("loss") or "",
            }
        )
    note = (
        f"Speed and memory of enhancing in f32; memory for {memory_px} x {memory_px} px on the CPU beyond "
        "what the libraries take, in tiles as large as free memory allows. Seconds trained include reading "
        f"the pairs and choosing the weights. {edcnn}"
    )
    return Table("All methods", rows, note)


def by_type(found: Mapping[str, Scores], lq: Scores) -> Table:
    """PSNR and SSIM of every method on every machine type."""
    rows = [
        {
            "method": row,
            **{
                f"{name} {metric.upper()}": cell(both["hq"], name, metric)
                for name in TYPES
                for metric in ("psnr", "ssim")
            },
        }
        for row, both in {"LQ": lq, **found}.items()
    ]
    return Table("By machine type", rows, "Against the long exposure.")


def chart(found: Mapping[str, Scores], lq: Scores) -> Figure:
    rows = {row: {name: psnr_gain(both, lq, name) for name in TYPES} for row, both in found.items()}
    content = dot_chart(rows, unit="gain in PSNR over LQ, dB").encode()
    return Figure("compare.svg", "Gain in PSNR over the short exposure.", content)
