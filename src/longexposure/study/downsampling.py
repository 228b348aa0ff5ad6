"""Figure 4: bicubic shrinking by 1, 2 and 4 before the network, and nothing else changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from longexposure.report.plots import dot_chart
from longexposure.study.figures import comparison_pictures
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import (
    AVERAGES,
    WEIGHTED,
    Scores,
    against_best,
    as_dict,
    cell,
    s_per_mpx,
)
from longexposure.study.sets import TYPES, Stock
from longexposure.study.workbench import StudyRun, Workbench

SCALES = (1, 2, 4)

QUESTION = (
    "The paper shrinks the short exposure bicubically by 4 before its network and shows (figure 4, one image "
    "of S1, no numbers) that shrinking by 2 or not at all leaves more noise. The same three trainings, L1 "
    "loss, equal steps, patches and batch; the shrinking is antialiased, which by itself removes most of the "
    "noise."
)


def run(bench: Workbench, stock: Stock) -> StudyResult:
    """Train the bicubic row with each factor and score it."""
    selection, test = stock.selection(*TYPES), stock.tests()
    trained = {
        f"DS {scale}x": bench.trainings(
            f"bicubic, DS {scale}x", partial(bench.row, "bicubic", scale=scale), selection
        )
        for scale in SCALES
    }
    found = {name: bench.scores(runs, test) for name, runs in trained.items()}
    first: dict[str, StudyRun | str] = {name: runs[0] for name, runs in trained.items()}
    speed = {name: s_per_mpx(bench.score(one, test)) for name, one in first.items()}
    return StudyResult(
        name="downsampling",
        title="Figure 4: the effect of downsampling",
        question=QUESTION,
        statements=statements(found),
        tables=[table(found, bench.scores(["lq"], test), speed)],
        figures=[chart(found), *comparison_pictures(bench, first, test, name="downsampling")],
        results={
            "ours": as_dict(found),
            "s per Mpx": speed,
            "seconds of training": {
                name: [one.facts["seconds"] for one in runs] for name, runs in trained.items()
            },
            "seeds": list(bench.other_seeds),
        },
        trained=trained,
        limits=stock.limits(),
        data=stock.facts(),
    )


def statements(found: Mapping[str, Scores]) -> list[str]:
    """Whether shrinking by 4 is the best, as the paper says, for each type."""
    ours = f"DS {SCALES[-1]}x"
    lines = []
    for name in (*TYPES, WEIGHTED):
        for metric in ("psnr", "ssim"):
            best, verdict, margin, spread = against_best(found, ours, name, metric)
            lines.append(
                f"{name}, {metric.upper()}: {ours} {verdict} the best other ({best}), {margin}, "
                f"spread {spread}."
            )
    return lines


def table(found: Mapping[str, Scores], lq: Scores, speed: Mapping[str, float]) -> Table:
    rows = [
        {
            "input": row,
            "type": name,
            "PSNR": cell(both["hq"], name, "psnr"),
            "SSIM": cell(both["hq"], name, "ssim"),
            "PSNR without bias": cell(both["hq"], name, "psnr_bias_removed"),
            "PSNR against clean": cell(both["clean"], name, "psnr"),
            "SSIM against clean": cell(both["clean"], name, "ssim"),
            "s/Mpx": f"{speed[row]:.2f}" if row in speed else "",
        }
        for row, both in {"LQ": lq, **found}.items()
        for name in (*TYPES, *AVERAGES)
    ]
    note = (
        "The paper shows a picture of S1, no numbers. Against the long exposure unless a column says clean."
    )
    return Table("Shrinking by 1, 2 and 4", rows, note)


def chart(found: Mapping[str, Scores]) -> Figure:
    rows = {
        name: {
            row: (both["hq"][name]["psnr"].mean, both["hq"][name]["psnr"].spread)
            for row, both in found.items()
        }
        for name in (*TYPES, *AVERAGES)
    }
    content = dot_chart(rows, unit="PSNR, dB").encode()
    return Figure("downsampling.svg", "PSNR against the long exposure.", content)
