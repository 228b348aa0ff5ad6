"""What is written of an assessment: JSON, tables, charts, one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.format import json_text
from longexposure.inspection.bench import RESULT
from longexposure.inspection.inputs import LONG, SHORT, frames_of
from longexposure.inspection.observers.programme import SCALES
from longexposure.inspection.pod import Pod
from longexposure.inspection.results import FALSE_ALARM, FIXED, MODEL, OBSERVERS, PROGRAMME, SURE, Assessment
from longexposure.io import write_whole
from longexposure.report.pages import Section, page_html, page_markdown
from longexposure.report.plots import Series, line_chart
from longexposure.system import host_facts

Numbers = npt.NDArray[np.float64]

PAGE, TABLES = "index.html", "assess.md"
TITLE = "What becomes of defects"
_LEVELS = np.linspace(0.05, 0.95, 10)


def write_results(assessments: Sequence[Assessment], out: Path) -> Path:
    """`assess.json`, `assess.md` with its charts, and `index.html`, which holds all of it.

    Returns:
        The page.

    Raises:
        OutputError: a file cannot be written.
        ResourceError: matplotlib is not installed.
    """
    document = {
        "what": TITLE,
        "version": metadata.version("longexposure"),
        "host": host_facts(),
        "machines": [each.as_dict() for each in assessments],
    }
    sections = [section for each in assessments for section in sections_of(each)]
    sections.append(_method(assessments[0]))
    for section in sections:
        for name, svg in section.charts.items():
            write_whole(out / name, svg.encode(), overwrite=True, parents=True)
    write_whole(out / RESULT, (json_text(document) + "\n").encode(), overwrite=True)
    write_whole(out / TABLES, page_markdown(TITLE, sections).encode(), overwrite=True)
    write_whole(out / PAGE, page_html(TITLE, sections).encode(), overwrite=True)
    return out / PAGE


def summary(assessment: Assessment) -> list[dict[str, Any]]:
    """A row for each input: what it is worth, false finds at equal POD, what was created."""
    plan, rows = assessment.seen.plan, []
    programme, fixed, model = (assessment.compared[observer] for observer in OBSERVERS)
    for name in plan.inputs:
        found = [cells[name].at_equal_pod for cells in assessment.cells[PROGRAMME].values()]
        equal = [count for count in found if count is not None]
        made = assessment.created.get(name, {})
        ratio = programme.sizes[name]
        rows.append(
            {
                "input": name,
                "worth in exposures, programme": str(programme.by_hits[name]),
                "with fixed smoothing": str(fixed.by_hits[name]),
                "model observer": str(model.by_hits[name]),
                "by d'": str(model.by_index[name]),
                "size over that of one exposure": f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
                "false finds at equal POD, per 100 Mpx": float(np.median(equal)) if equal else None,
                "created per Mpx, scenes": made.get("scenes"),
                "flat fields": made.get("flat fields"),
            }
        )
    return rows


def sections_of(assessment: Assessment) -> Iterator[Section]:
    """The sections of one machine."""
    plan = assessment.seen.plan
    machine = plan.load().name
    yield Section(
        machine,
        paragraphs=[
            *assessment.headline(),
            "Worth: number of single exposures whose mean shows defects as often, with a 95 % interval over "
            "cases; > and < stand where it lies beyond the numbers tried. Visibility: d' of an ideal "
            "observer of white noise in one short exposure.",
        ],
        rows=summary(assessment),
    )
    for observer in OBSERVERS:
        yield Section(
            f"{machine}, {observer}: probability of detection",
            rows=list(_rows(assessment, observer)),
            charts={
                f"pod-{machine}-{observer}-{kind}.svg".replace(",", "").replace(" ", "-"): _chart(
                    assessment, observer, kind
                )
                for kind in plan.kinds
            },
        )
    if assessment.sides:
        yield Section(
            f"{machine}: bridges and gaps that change sides",
            paragraphs=[
                f"Of cases with a visibility of {SURE:g} and more: images of a defect that are nearer to the "
                "part without it (lost), and images of the sound part that are nearer to it (created)."
            ],
            rows=[
                {"defect": kind, "input": name, **values}
                for kind, inputs in assessment.sides.items()
                for name, values in inputs.items()
            ],
        )


def _rows(assessment: Assessment, observer: str) -> Iterator[dict[str, Any]]:
    unit = "false finds per 100 Mpx" if observer != MODEL else "false alarms per 1000 places"
    factor = 1.0 if observer != MODEL else 1000.0
    digits = ".0f" if observer != MODEL else ".1f"
    for kind, inputs in assessment.cells[observer].items():
        for name, cell in inputs.items():
            told = cell.pod.as_dict()
            a90 = cell.pod.size_at(0.9)
            low, high = factor * cell.false_low, factor * cell.false_high
            row = {
                "defect": kind,
                "input": name,
                "a50": str(cell.pod.size_at(0.5)),
                "a90": str(a90),
                "a90/95": str(cell.pod.bounds(0.9)[1]),
                "um, about": _um(assessment.sizes[kind], a90.value) if a90.known else None,
                "floor": cell.pod.floor,
                "ceiling": cell.pod.ceiling,
                "found": f"{told['hits']} of {told['trials']}",
                "found where nothing is": f"{told['empty hits']} of {told['empty']}",
                unit: f"{factor * cell.false:{digits}} ({low:{digits}} to {high:{digits}})",
            }
            yield row | ({"at equal POD": cell.at_equal_pod} if observer != MODEL else {})


def _um(law: tuple[float, float] | None, a: float) -> float | None:
    return None if law is None else float(np.exp(law[0] + law[1] * np.log(a)))


def _chart(assessment: Assessment, observer: str, kind: str) -> str:
    """All inputs in one pair of axes; bounds of the single exposure, the models and the long exposure."""
    inputs = assessment.cells[observer][kind]
    low, high = next(iter(inputs.values())).pod.tried
    a = np.geomspace(low, high, 120)
    banded = (SHORT, *assessment.seen.plan.models, LONG)
    order = sorted(inputs, key=lambda name: (frames_of(name) or 0) > 1)
    series = [
        Series(
            name,
            a,
            inputs[name].pod.at(a),
            mark="dashes" if (frames_of(name) or 0) > 1 else "line",
            band=band(inputs[name].pod, a) if name in banded else None,
        )
        for name in order
    ]
    return line_chart(
        series,
        title=f"{kind}, {observer}",
        x_label="visibility in one short exposure",
        y_label="probability of detection",
        log_x=True,
        from_zero=True,
    )


def band(pod: Pod, sizes: Numbers) -> tuple[Numbers, Numbers]:
    """Lower and upper 95 % bound of POD at these sizes, from the bounds of the sizes at ten probabilities."""
    limits = [pod.bounds(level) for level in _LEVELS]
    upper = [(np.log(high.value), p) for (_, high), p in zip(limits, _LEVELS, strict=True) if high.known]
    lower = [(np.log(low.value), p) for (low, _), p in zip(limits, _LEVELS, strict=True) if low.known]
    x = np.log(sizes)

    def edge(points: list[tuple[float, float]], before: float, after: float) -> Numbers:
        if not points:
            return np.full(len(x), before if before == 0 else after)
        at, p = np.array(points).T
        return np.asarray(np.interp(x, np.maximum.accumulate(at), p, left=before, right=after))

    bottom = edge(upper, 0.0, upper[-1][1] if upper else 0.0)
    top = edge(lower, lower[0][1] if lower else 1.0, 1.0)
    return np.minimum(bottom, pod.at(sizes)), np.maximum(top, pod.at(sizes))


def _method(assessment: Assessment) -> Section:
    plan = assessment.seen.plan
    budget = plan.budget
    return Section(
        "How it was measured",
        paragraphs=[
            f"{budget.test} cases of each kind of defect, {budget.tuning} others to tune on, each a piece of "
            f"{plan.side_px} x {plan.side_px} px with the defect and the same without. Tube and part hold "
            "still and no pixel is faulty. All inputs show the same cases; filters and models measured the "
            "noise themselves.",
            "POD: hit/miss logistic regression in the manner of MIL-HDBK-1823A, with Firth's likelihood and "
            "bounds from its profile, one-sided 95 %; nothing is extrapolated beyond the visibilities tried.",
            f"{PROGRAMME}: rules on the difference to a good part; smoothing and threshold chosen for each "
            f"input on tuning scenes, {100 * budget.rate_per_mpx:g} false finds per 100 Mpx there.",
            f"{FIXED}: the same, every input smoothed by {SCALES[0]:g} px only.",
            f"{MODEL}: channelised Hotelling observer with Gabor channels and internal noise, who knows the "
            f"place; {FALSE_ALARM:g} false alarms a place on tuning scenes.",
            "At equal POD: false finds per 100 Mpx at the threshold at which the programme finds as many as "
            "in the single exposure. Created: connected regions of 6 px and more that are 0.3 of the input's "
            "noise off the truth, a measure for filters and models; exposures are grain all over.",
            "A part under test equals its reference but for the defect and the noise, which no real part "
            "does: compare inputs with each other, not these numbers with a line's.",
        ],
    )
