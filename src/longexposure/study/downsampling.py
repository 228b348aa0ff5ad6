"""Figure 4: bicubic shrinking by 1, 2 and 4 before the network, and nothing else changed."""

from __future__ import annotations

from collections.abc import Mapping

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
from longexposure.study.sets import TYPES, Stock
from longexposure.study.views import comparison_pictures
from longexposure.study.workbench import Workbench

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
        f"DS {scale}x": [
            bench.train(
                f"bicubic, DS {scale}x, seed {seed}", bench.row("bicubic", seed=seed, scale=scale), selection
            )
            for seed in bench.other_seeds
        ]
        for scale in SCALES
    }
    records = {name: [bench.score(one, test) for one in runs] for name, runs in trained.items()}
    found = {name: both_means(some) for name, some in records.items()}
    speed = {name: s_per_mpx(some[0]) for name, some in records.items()}
    return StudyResult(
        name="downsampling",
        title="Figure 4: the effect of downsampling",
        question=QUESTION,
        statements=statements(found),
        tables=[_table(found, both_means([bench.score("lq", test)]), speed)],
        figures=[
            _plot(found),
            *comparison_pictures(
                bench, {name: runs[0] for name, runs in trained.items()}, test, name="downsampling"
            ),
        ],
        results={
            "ours": {name: {at: as_dict(one) for at, one in both.items()} for name, both in found.items()},
            "s per Mpx": speed,
            "seconds of training": {
                name: [one.facts["seconds"] for one in runs] for name, runs in trained.items()
            },
            "hashes": {name: [one.key for one in runs] for name, runs in trained.items()},
            "seeds": list(bench.other_seeds),
        },
        trainings=[one for runs in trained.values() for one in runs],
        limits=stock.limits(),
        data=stock.facts(),
    )


def statements(found: Mapping[str, Mapping[str, Means]]) -> list[str]:
    """Whether shrinking by 4 is the best, as the paper says, for each type."""
    ours = f"DS {SCALES[-1]}x"
    lines = []
    for name in (*TYPES, WEIGHTED):
        for metric, digits in (("psnr", 2), ("ssim", 4)):
            scores = {row: both["hq"][name][metric] for row, both in found.items()}
            best = max((row for row in scores if row != ours), key=lambda row: scores[row].mean)
            margin, noise = scores[ours].mean - scores[best].mean, noise_of(scores[ours], scores[best])
            lines.append(
                f"{name}, {metric.upper()}: {ours} {verdict_on(margin, noise)} the best other ({best}), "
                f"{margin:+.{digits}f}, spread {shown_noise(noise, digits)}."
            )
    return lines


def _table(
    found: Mapping[str, Mapping[str, Means]], lq: Mapping[str, Means], speed: Mapping[str, float]
) -> Table:
    rows = []
    for row, both in {"LQ": lq, **found}.items():
        for name in (*TYPES, *AVERAGES):
            scores, clean = both["hq"][name], both["clean"].get(name)
            rows.append(
                (
                    row,
                    name,
                    scores["psnr"].text(2),
                    scores["ssim"].text(4),
                    scores["psnr_bias_removed"].text(2),
                    "" if clean is None else clean["psnr"].text(2),
                    "" if clean is None else clean["ssim"].text(4),
                    f"{speed[row]:.2f}" if row in speed else "",
                )
            )
    columns = (
        "input",
        "type",
        "PSNR",
        "SSIM",
        "PSNR without bias",
        "PSNR against clean",
        "SSIM against clean",
        "s/Mpx",
    )
    note = (
        "The paper shows a picture of S1, no numbers. Against the long exposure unless a column says clean."
    )
    return Table("Shrinking by 1, 2 and 4", columns, tuple(rows), note)


def _plot(found: Mapping[str, Mapping[str, Means]]) -> Figure:
    rows = {
        name: {
            row: (both["hq"][name]["psnr"].mean, both["hq"][name]["psnr"].spread)
            for row, both in found.items()
        }
        for name in (*TYPES, *AVERAGES)
    }
    return Figure("downsampling.svg", "PSNR against the long exposure.", dots(rows, unit="PSNR, dB").encode())
