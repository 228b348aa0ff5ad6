"""Table I: the paper's four settings on three machine types, beside the paper's numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from longexposure.study.budgets import BUDGETS
from longexposure.study.pictures import dots
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import (
    AVERAGES,
    WEIGHTED,
    Means,
    as_dict,
    both_means,
    noise_of,
    shown_noise,
    verdict_on,
)
from longexposure.study.sets import TYPES, Stock, TestSet
from longexposure.study.settings import FULL_ROW, ROWS
from longexposure.study.views import comparison_pictures
from longexposure.study.workbench import StudyRun, Workbench

PAPER: dict[str, dict[str, tuple[float, float]]] = {
    "bicubic": {
        "S1": (34.91, 0.9264),
        "S2": (33.76, 0.8603),
        "S3": (33.94, 0.8824),
        WEIGHTED: (34.39, 0.8996),
    },
    "bicubic + FFL": {
        "S1": (37.20, 0.9296),
        "S2": (33.79, 0.8600),
        "S3": (34.04, 0.8819),
        WEIGHTED: (35.60, 0.9010),
    },
    "DM + FFL": {
        "S1": (35.29, 0.9310),
        "S2": (33.97, 0.8659),
        "S3": (34.62, 0.8838),
        WEIGHTED: (34.80, 0.9036),
    },
    "DM + FFL + WHFL": {
        "S1": (35.34, 0.9324),
        "S2": (33.91, 0.8662),
        "S3": (34.68, 0.8851),
        WEIGHTED: (34.83, 0.9048),
    },
}
"""PSNR in dB and SSIM that the paper prints in its Table I; its averages weigh the types with 427:200:208."""
PAPER_LQ = {
    "S1": (31.69, 0.7046),
    "S2": (28.13, 0.6707),
    "S3": (20.32, 0.1666),
    WEIGHTED: (28.00, 0.5624),
}
"""Its short exposures: its values less its gains, which agree over the four rows."""
METRICS = {"psnr": 0, "ssim": 1}

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
        row: [
            bench.train(f"{row}, seed {seed}", bench.row(row, seed=seed), selection) for seed in bench.seeds
        ]
        for row in ROWS
    }
    records = {row: [bench.score(one, test) for one in runs] for row, runs in trained.items()}
    found = {row: both_means(some) for row, some in records.items()}
    known = {
        "LQ": both_means([bench.score("lq", test)]),
        "ceiling (clean)": both_means([bench.score("clean", test)]) if _has_clean(test) else None,
    }
    agreements = {metric: agreement(found, metric) for metric in METRICS}
    return StudyResult(
        name="table1",
        title="Table I: four settings on three machine types",
        question=QUESTION,
        statements=[
            *full_row_against_others(found),
            *why_not(found, trained, steps=bench.budget.steps),
            *(text for text, _ in agreements.values()),
        ],
        tables=[_table(found, known), _averages(found, known)],
        figures=[_plot(found, known), *_pictures(bench, trained, test)],
        results={
            "ours": {row: {at: as_dict(one) for at, one in both.items()} for row, both in found.items()},
            "known": {
                row: None if both is None else {at: as_dict(one) for at, one in both.items()}
                for row, both in known.items()
            },
            "paper": {"rows": PAPER, "LQ": PAPER_LQ},
            "agreement": {metric: pairs for metric, (_, pairs) in agreements.items()},
            "seeds": list(bench.seeds),
            "hashes": {row: [one.key for one in runs] for row, runs in trained.items()},
        },
        trainings=[one for runs in trained.values() for one in runs],
        limits=stock.limits(),
        data=stock.facts(),
    )


def full_row_against_others(found: Mapping[str, Mapping[str, Means]]) -> list[str]:
    """Whether the full setting beats every other row in SSIM, type by type, and by how much."""
    lines = []
    for name in (*TYPES, WEIGHTED):
        ours = found[FULL_ROW]["hq"][name]["ssim"]
        others = {row: both["hq"][name]["ssim"] for row, both in found.items() if row != FULL_ROW}
        best = max(others, key=lambda row: others[row].mean)
        margin, noise = ours.mean - others[best].mean, noise_of(ours, others[best])
        verdict = verdict_on(margin, noise)
        lines.append(
            f"{name}: SSIM of {FULL_ROW} {verdict} the best other row ({best}): {margin:+.4f}, "
            f"spread between random starts {shown_noise(noise, 4)}."
        )
    return lines


def why_not(
    found: Mapping[str, Mapping[str, Means]], trained: Mapping[str, Sequence[StudyRun]], *, steps: int
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


def agreement(found: Mapping[str, Mapping[str, Means]], metric: str) -> tuple[str, list[dict[str, Any]]]:
    """How many of the paper's pairwise rankings ours share, with each of them.

    A pair of rows counts as undecided where our means differ by no more than the spread of that difference
    between random starts (or where there is one start alone and so no spread), or the paper's are equal.
    """
    pairs = []
    for name in (*TYPES, WEIGHTED):
        for one, other in itertools.combinations(ROWS, 2):
            ours = [found[row]["hq"][name][metric] for row in (one, other)]
            difference, noise = ours[0].mean - ours[1].mean, noise_of(*ours)
            theirs = PAPER[one][name][METRICS[metric]] - PAPER[other][name][METRICS[metric]]
            decided = noise is not None and abs(difference) > noise and theirs != 0
            verdict = ("agrees" if difference * theirs > 0 else "contradicts") if decided else "undecided"
            pairs.append(
                {
                    "type": name,
                    "rows": [one, other],
                    "ours": difference,
                    "spread": noise,
                    "paper": theirs,
                    "verdict": verdict,
                }
            )
    count = {
        verdict: sum(pair["verdict"] == verdict for pair in pairs)
        for verdict in ("agrees", "contradicts", "undecided")
    }
    orders = "; ".join(f"{name}: {_order(found, name, metric)}" for name in (*TYPES, WEIGHTED))
    undecided = "lie within the spread of our random starts"
    if all(pair["spread"] is None for pair in pairs):
        undecided = "cannot be decided, because one random start tells no spread"
    text = (
        f"{metric.upper()}, our ranking against the paper's over {len(pairs)} pairs of rows: "
        f"{count['agrees']} agree, {count['contradicts']} contradict, {count['undecided']} {undecided}. "
        f"Ours, best first: {orders}."
    )
    return text, pairs


def _order(found: Mapping[str, Mapping[str, Means]], name: str, metric: str) -> str:
    rows = sorted(found, key=lambda row: -found[row]["hq"][name][metric].mean)
    return ", ".join(rows)


def _has_clean(test: TestSet) -> bool:
    return all(pair.clean is not None for pair in test.pairs)


COLUMNS = (
    "setting",
    "type",
    "PSNR",
    "gain",
    "paper PSNR",
    "paper gain",
    "SSIM",
    "gain ",
    "paper SSIM",
    "PSNR without bias",
    "PSNR against clean",
    "SSIM against clean",
)


def _table(found: Mapping[str, Mapping[str, Means]], known: Mapping[str, Any]) -> Table:
    return Table(
        "By machine type",
        COLUMNS,
        tuple(
            _line(row, name, both, known["LQ"])
            for row, both in (
                {**{"LQ": known["LQ"]}, **found, "ceiling (clean)": known["ceiling (clean)"]}
            ).items()
            for name in TYPES
        ),
        "Mean ± standard deviation over random starts. Gains are over the short exposure (LQ). The ceiling "
        "is the noise-free image scored against the long exposure, whose own noise no method can predict.",
    )


def _averages(found: Mapping[str, Mapping[str, Means]], known: Mapping[str, Any]) -> Table:
    rows = {**{"LQ": known["LQ"]}, **found, "ceiling (clean)": known["ceiling (clean)"]}
    return Table(
        "Averages",
        COLUMNS,
        tuple(_line(row, name, both, known["LQ"]) for row, both in rows.items() for name in AVERAGES),
        "Image-weighted is the paper's average, with its test counts 427:200:208; the plain mean counts the "
        "types alike.",
    )


def _line(row: str, name: str, both: Mapping[str, Means] | None, lq: Mapping[str, Means]) -> tuple[str, ...]:
    if both is None or name not in both["hq"]:
        return (row, name, "not known", *[""] * (len(COLUMNS) - 3))
    ours, before, clean = both["hq"][name], lq["hq"][name], both["clean"].get(name)
    paper = PAPER_LQ.get(name) if row == "LQ" else PAPER.get(row, {}).get(name)
    gains = [
        "" if row == "LQ" else f"{ours[m].mean - before[m].mean:+.{d}f}"
        for m, d in (("psnr", 2), ("ssim", 4))
    ]
    theirs = ["" if paper is None else f"{paper[0]:.2f}", "" if paper is None else f"{paper[1]:.4f}"]
    gain = "" if paper is None or row == "LQ" else f"{paper[0] - PAPER_LQ[name][0]:+.2f}"
    return (
        row,
        name,
        ours["psnr"].text(2),
        gains[0],
        theirs[0],
        gain,
        ours["ssim"].text(4),
        gains[1],
        theirs[1],
        ours["psnr_bias_removed"].text(2),
        "" if clean is None else clean["psnr"].text(2),
        "" if clean is None else clean["ssim"].text(4),
    )


def _plot(found: Mapping[str, Mapping[str, Means]], known: Mapping[str, Any]) -> Figure:
    rows: dict[str, dict[str, tuple[float, float | None]]] = {}
    for name in (*TYPES, *AVERAGES):
        rows[name] = {
            row: (
                both["hq"][name]["psnr"].mean - known["LQ"]["hq"][name]["psnr"].mean,
                both["hq"][name]["psnr"].spread,
            )
            for row, both in found.items()
        }
        if name in PAPER[FULL_ROW]:
            rows[name]["paper, full"] = (PAPER[FULL_ROW][name][0] - PAPER_LQ[name][0], None)
    return Figure(
        "table1.svg",
        "Gain in PSNR over the short exposure, dB; bars are the spread over random starts.",
        dots(rows, unit="gain in PSNR over LQ, dB").encode(),
    )


def _pictures(bench: Workbench, trained: Mapping[str, Sequence[StudyRun]], test: TestSet) -> list[Figure]:
    models: dict[str, StudyRun | str] = {row: runs[0] for row, runs in trained.items()}
    return comparison_pictures(bench, models, test, name="table1")
