"""One model or three: joint against per-type training, and a machine type that the training never saw."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from longexposure.report.plots import dot_chart
from longexposure.study.figures import comparison_pictures
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import Scores, as_dict, cell, compared, psnr_gain
from longexposure.study.sets import TYPES, Stock
from longexposure.study.settings import FULL_ROW
from longexposure.study.workbench import Workbench

QUESTION = (
    "The paper trains one network for all three machine types and says that this needs no model for each, "
    "without having trained one for each. Its full setting with the same number of steps, seeds and sizes: "
    "on all types, on each alone, and on all but one; every network is scored on every type."
)


def run(bench: Workbench, stock: Stock) -> StudyResult:
    """Train on every selection of types and score on all of them."""
    test, values = stock.tests(), partial(bench.row, FULL_ROW)
    trained = {
        name: bench.trainings(f"{FULL_ROW}, {name}", values, stock.selection(*types))
        for name, types in selections().items()
    }
    found = {name: bench.scores(runs, test) for name, runs in trained.items()}
    lq = bench.scores(["lq"], test)
    figures = [chart(found, lq)]
    for name in TYPES:
        some = {key: trained[key][0] for key in ("all", f"{name} alone", f"without {name}")}
        figures += comparison_pictures(bench, some, test, name="one-model", types=[name])
    return StudyResult(
        name="one-model",
        title="One model or three",
        question=QUESTION,
        statements=statements(found),
        tables=[table(found, lq, metric) for metric in ("psnr", "ssim")],
        figures=figures,
        results={"ours": as_dict(found), "LQ": as_dict(lq), "seeds": list(bench.other_seeds)},
        trained=trained,
        limits=[
            *stock.limits(),
            "Equal steps mean that a network of one type sees each of its images more often than the joint "
            "one.",
        ],
        data=stock.facts(),
    )


def selections() -> dict[str, tuple[str, ...]]:
    """Machine types to train on, by name: all, each alone, all but one."""
    alone = {f"{name} alone": (name,) for name in TYPES}
    without = {f"without {name}": tuple(other for other in TYPES if other != name) for name in TYPES}
    return {"all": TYPES, **alone, **without}


def statements(found: Mapping[str, Scores]) -> list[str]:
    """What joint training costs or gains, and what a type costs that was not seen."""
    lines = []
    for name in TYPES:
        joint, own, unseen = (
            found[key]["hq"][name]["psnr"] for key in ("all", f"{name} alone", f"without {name}")
        )
        verdict, margin, spread = compared(joint, own, 2)
        lines.append(
            f"{name}: one network for all {verdict} one trained on {name} alone, {margin} dB, "
            f"spread {spread}."
        )
        verdict, margin, spread = compared(unseen, joint, 2)
        lines.append(
            f"{name}: a network that never saw {name} {verdict} the joint one, {margin} dB, spread {spread}."
        )
    return lines


def table(found: Mapping[str, Scores], lq: Scores, metric: str) -> Table:
    rows = [
        {
            "trained on": row,
            **{name: cell(both["hq"], name, metric) for name in TYPES},
            **{f"{name} against clean": cell(both["clean"], name, metric) for name in TYPES},
        }
        for row, both in {"LQ": lq, **found}.items()
    ]
    note = (
        "A column is what was scored, a row what was trained on. Against the long exposure unless the column "
        "says clean."
    )
    return Table(metric.upper(), rows, note)


def chart(found: Mapping[str, Scores], lq: Scores) -> Figure:
    rows = {
        name: {
            "all types": psnr_gain(found["all"], lq, name),
            "this type alone": psnr_gain(found[f"{name} alone"], lq, name),
            "all but this type": psnr_gain(found[f"without {name}"], lq, name),
        }
        for name in TYPES
    }
    return Figure(
        "one-model.svg",
        "Gain in PSNR over the short exposure, by what the network was trained on.",
        dot_chart(rows, unit="gain in PSNR over LQ, dB").encode(),
    )
