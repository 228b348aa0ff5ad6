"""One model or three: joint against per-type training, and a machine type that the training never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from longexposure.study.pictures import dots
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.scores import Means, as_dict, both_means, noise_of, shown_noise, verdict_on
from longexposure.study.sets import TYPES, Stock
from longexposure.study.settings import FULL_ROW
from longexposure.study.views import comparison_pictures
from longexposure.study.workbench import StudyRun, Workbench

QUESTION = (
    "The paper trains one network for all three machine types and says that this needs no model for each, "
    "without having trained one for each. Its full setting with the same number of steps, seeds and sizes: "
    "on all types, on each alone, and on all but one; every network is scored on every type."
)


def run(bench: Workbench, stock: Stock) -> StudyResult:
    """Train on every selection of types and score on all of them."""
    test = stock.tests()
    trained = {
        name: [
            bench.train(
                f"{FULL_ROW}, {name}, seed {seed}", bench.row(FULL_ROW, seed=seed), stock.selection(*types)
            )
            for seed in bench.other_seeds
        ]
        for name, types in selections().items()
    }
    found = {name: both_means([bench.score(one, test) for one in runs]) for name, runs in trained.items()}
    lq = both_means([bench.score("lq", test)])
    return StudyResult(
        name="one-model",
        title="One model or three",
        question=QUESTION,
        statements=statements(found),
        tables=[_table(found, lq, metric, digits) for metric, digits in (("psnr", 2), ("ssim", 4))],
        figures=[_plot(found, lq), *_pictures(bench, stock, trained)],
        results={
            "ours": {name: {at: as_dict(one) for at, one in both.items()} for name, both in found.items()},
            "LQ": {at: as_dict(one) for at, one in lq.items()},
            "hashes": {name: [one.key for one in runs] for name, runs in trained.items()},
            "seeds": list(bench.other_seeds),
        },
        trainings=[one for runs in trained.values() for one in runs],
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


def statements(found: Mapping[str, Mapping[str, Means]]) -> list[str]:
    """What joint training costs or gains, and what a type costs that was not seen."""
    lines = []
    for name in TYPES:
        joint, own, unseen = (
            found[key]["hq"][name]["psnr"] for key in ("all", f"{name} alone", f"without {name}")
        )
        margin, noise = joint.mean - own.mean, noise_of(joint, own)
        lines.append(
            f"{name}: one network for all {verdict_on(margin, noise)} one trained on {name} alone, "
            f"{margin:+.2f} dB, spread {shown_noise(noise, 2)}."
        )
        margin, noise = unseen.mean - joint.mean, noise_of(unseen, joint)
        lines.append(
            f"{name}: a network that never saw {name} {verdict_on(margin, noise)} the joint one, "
            f"{margin:+.2f} dB, spread {shown_noise(noise, 2)}."
        )
    return lines


def _table(
    found: Mapping[str, Mapping[str, Means]], lq: Mapping[str, Means], metric: str, digits: int
) -> Table:
    rows = []
    for name, both in {"LQ": lq, **found}.items():
        cells = [both["hq"][at][metric].text(digits) for at in TYPES]
        cells += [both["clean"][at][metric].text(digits) if at in both["clean"] else "" for at in TYPES]
        rows.append((name, *cells))
    columns = ("trained on", *TYPES, *(f"{at} against clean" for at in TYPES))
    note = "A column is what was scored, a row what was trained on. " + (
        "Against the long exposure unless the column says clean."
    )
    return Table(metric.upper(), columns, tuple(rows), note)


def _plot(found: Mapping[str, Mapping[str, Means]], lq: Mapping[str, Means]) -> Figure:
    rows = {}
    for name in TYPES:
        kinds: Sequence[tuple[str, str]] = (
            ("all types", "all"),
            ("this type alone", f"{name} alone"),
            ("all but this type", f"without {name}"),
        )
        before = lq["hq"][name]["psnr"].mean
        rows[name] = {
            label: (found[key]["hq"][name]["psnr"].mean - before, found[key]["hq"][name]["psnr"].spread)
            for label, key in kinds
        }
    return Figure(
        "one-model.svg",
        "Gain in PSNR over the short exposure, by what the network was trained on.",
        dots(rows, unit="gain in PSNR over LQ, dB").encode(),
    )


def _pictures(bench: Workbench, stock: Stock, trained: Mapping[str, Sequence[StudyRun]]) -> list[Figure]:
    figures = []
    for name in TYPES:
        models: dict[str, StudyRun | str] = {
            key: trained[key][0] for key in ("all", f"{name} alone", f"without {name}")
        }
        figures += comparison_pictures(bench, models, stock.tests(), name="one-model", types=[name])
    return figures
