"""Table I: the paper's four settings on three machine types, beside the paper's numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from longexposure.report.plots import dot_chart
from longexposure.study.budgets import BUDGETS
from longexposure.study.figures import comparison_pictures
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import (
    AVERAGES,
    WEIGHTED,
    Scores,
    against_best,
    as_dict,
    cell,
    difference,
    psnr_gain,
)
from longexposure.study.sets import PAPER, TYPES, Stock
from longexposure.study.settings import FULL_ROW, ROWS
from longexposure.study.workbench import StudyRun, Workbench

QUESTION = (
    "The paper's ablation: bicubic shrinking or the denoising module (DM), with or without the focal "
    "frequency loss (FFL) and the wavelet high-frequency loss (WHFL, here a reconstruction), one network for "
    "all three machine types. PSNR and SSIM (Gaussian window, 11 px, sigma 1.5) of each image against its "
    "long exposure, data range the container's full scale, then the mean."
)


def run(bench: Workbench, stock: Stock) -> StudyResult:
    """Train the four rows from several random starts and score them on the test images."""
    selection, test = stock.selection(*TYPES), stock.tests()
    trained = {
        row: bench.trainings(row, partial(bench.row, row), selection, seeds=bench.seeds) for row in ROWS
    }
    found = {row: bench.scores(runs, test) for row, runs in trained.items()}
    has_clean = all(pair.clean is not None for pair in test.pairs)
    lq, ceiling = bench.scores(["lq"], test), bench.scores(["clean"], test) if has_clean else None
    agreements = {metric: agreement(found, metric) for metric in ("psnr", "ssim")}
    first = {row: runs[0] for row, runs in trained.items()}
    return StudyResult(
        name="table1",
        title="Table I: four settings on three machine types",
        question=QUESTION,
        statements=[
            *full_row_against_others(found),
            *why_not(found, trained, steps=bench.budget.steps),
            *(text for text, _ in agreements.values()),
        ],
        tables=[
            Table(
                "By machine type",
                lines(found, lq, ceiling, TYPES),
                "Mean ± standard deviation over random starts. Gains are over the short exposure (LQ). The "
                "ceiling is the noise-free image scored against the long exposure, whose own noise no method "
                "can predict.",
            ),
            Table(
                "Averages",
                lines(found, lq, ceiling, AVERAGES),
                "Image-weighted is the paper's average, with its test counts 427:200:208; the plain mean "
                "counts the types alike.",
            ),
        ],
        figures=[chart(found, lq), *comparison_pictures(bench, first, test, name="table1")],
        results={
            "ours": as_dict(found),
            "known": as_dict({"LQ": lq, "ceiling (clean)": ceiling}),
            "paper": {"rows": PAPER["rows"], "LQ": PAPER["lq"]},
            "agreement": {metric: pairs for metric, (_, pairs) in agreements.items()},
            "seeds": list(bench.seeds),
        },
        trained=trained,
        limits=stock.limits(),
        data=stock.facts(),
    )


def full_row_against_others(found: Mapping[str, Scores]) -> list[str]:
    """Whether the full setting beats every other row in SSIM, type by type, and by how much."""
    told = {name: against_best(found, FULL_ROW, name, "ssim") for name in (*TYPES, WEIGHTED)}
    return [
        f"{name}: SSIM of {FULL_ROW} {verdict} the best other row ({best}): {margin}, "
        f"spread between random starts {spread}."
        for name, (best, verdict, margin, spread) in told.items()
    ]


def why_not(
    found: Mapping[str, Scores], trained: Mapping[str, Sequence[StudyRun]], *, steps: int
) -> list[str]:
    """What stands behind a full setting that is not the best, where trainings are shorter than planned."""
    full = BUDGETS["full"].steps
    best = max(found, key=lambda row: found[row]["hq"][WEIGHTED]["ssim"].mean)
    if best == FULL_ROW or steps >= full:
        return []
    weights = {row: runs[0].facts["parameters"] for row, runs in trained.items()}
    more = weights[FULL_ROW] - weights["bicubic"]
    return [
        f"{FULL_ROW} is not the best here after {steps} steps, {100 * steps / full:.2g} % of the full "
        f"schedule. Its denoising module has {more:,} weights to learn where bicubic shrinking is right from "
        "the first step, so a short training favours the bicubic rows; only the full schedule can tell "
        "whether that stays."
    ]


def agreement(found: Mapping[str, Scores], metric: str) -> tuple[str, list[dict[str, Any]]]:
    """How many of the paper's pairwise rankings ours share, with each of them.

    A pair of rows counts as undecided where our means differ by no more than the spread of that difference
    between random starts (or where there is one start alone and so no spread), or the paper's are equal.
    """
    pairs, index = [], ("psnr", "ssim").index(metric)
    for name in (*TYPES, WEIGHTED):
        for one, other in itertools.combinations(ROWS, 2):
            ours, spread = difference(*(found[row]["hq"][name][metric] for row in (one, other)))
            theirs = PAPER["rows"][one][name][index] - PAPER["rows"][other][name][index]
            decided = spread is not None and abs(ours) > spread and theirs != 0
            verdict = ("agrees" if ours * theirs > 0 else "contradicts") if decided else "undecided"
            pairs.append(
                {
                    "type": name,
                    "rows": [one, other],
                    "ours": ours,
                    "spread": spread,
                    "paper": theirs,
                    "verdict": verdict,
                }
            )
    count = {
        verdict: sum(pair["verdict"] == verdict for pair in pairs)
        for verdict in ("agrees", "contradicts", "undecided")
    }
    orders = "; ".join(
        f"{name}: {', '.join(sorted(found, key=lambda row: -found[row]['hq'][name][metric].mean))}"
        for name in (*TYPES, WEIGHTED)
    )
    undecided = "lie within the spread of our random starts"
    if all(pair["spread"] is None for pair in pairs):
        undecided = "cannot be decided, because one random start tells no spread"
    text = (
        f"{metric.upper()}, our ranking against the paper's over {len(pairs)} pairs of rows: "
        f"{count['agrees']} agree, {count['contradicts']} contradict, {count['undecided']} {undecided}. "
        f"Ours, best first: {orders}."
    )
    return text, pairs


def lines(
    found: Mapping[str, Scores], lq: Scores, ceiling: Scores | None, names: Sequence[str]
) -> list[dict[str, str]]:
    """A table of every setting, the short exposure first and the ceiling last, in some types or averages."""
    settings = {"LQ": lq, **found, "ceiling (clean)": ceiling}
    return [_line(row, name, both, lq) for row, both in settings.items() for name in names]


def _line(row: str, name: str, both: Scores | None, lq: Scores) -> dict[str, str]:
    ours = {} if both is None else both["hq"]
    paper = PAPER["lq"].get(name) if row == "LQ" else PAPER["rows"].get(row, {}).get(name)
    gain = dict.fromkeys(("psnr", "ssim", "paper"), "")
    if row != "LQ" and name in ours:
        for metric, digits in (("psnr", 2), ("ssim", 4)):
            gain[metric] = f"{ours[name][metric].mean - lq['hq'][name][metric].mean:+.{digits}f}"
        if paper is not None:
            gain["paper"] = f"{paper[0] - PAPER['lq'][name][0]:+.2f}"
    clean = {} if both is None else both["clean"]
    return {
        "setting": row,
        "type": name,
        "PSNR": cell(ours, name, "psnr") or "not known",
        "gain": gain["psnr"],
        "paper PSNR": "" if paper is None else f"{paper[0]:.2f}",
        "paper gain": gain["paper"],
        "SSIM": cell(ours, name, "ssim"),
        "gain ": gain["ssim"],
        "paper SSIM": "" if paper is None else f"{paper[1]:.4f}",
        "PSNR without bias": cell(ours, name, "psnr_bias_removed"),
        "PSNR against clean": cell(clean, name, "psnr"),
        "SSIM against clean": cell(clean, name, "ssim"),
    }


def chart(found: Mapping[str, Scores], lq: Scores) -> Figure:
    rows: dict[str, dict[str, tuple[float, float | None]]] = {}
    for name in (*TYPES, *AVERAGES):
        rows[name] = {row: psnr_gain(both, lq, name) for row, both in found.items()}
        if name in PAPER["lq"]:
            rows[name]["paper, full"] = (PAPER["rows"][FULL_ROW][name][0] - PAPER["lq"][name][0], None)
    return Figure(
        "table1.svg",
        "Gain in PSNR over the short exposure, dB; bars are the spread over random starts.",
        dot_chart(rows, unit="gain in PSNR over LQ, dB").encode(),
    )
