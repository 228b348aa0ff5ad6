"""From what was observed to what is told: operating points, POD, false finds, worth in exposures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from longexposure.inspection.bench import Seen
from longexposure.inspection.equivalence import Comparison, compare
from longexposure.inspection.inputs import LONG, SHORT, frames_of
from longexposure.inspection.observed import Observed
from longexposure.inspection.observers.model import covariance, decisions
from longexposure.inspection.observers.programme import RULES, SCALES
from longexposure.inspection.pod import Pod, fit_pod

Numbers = npt.NDArray[np.float64]

PROGRAMME, FIXED, MODEL = "programme", "programme, fixed smoothing", "model observer"
OBSERVERS = (PROGRAMME, FIXED, MODEL)
FALSE_ALARM = 2e-3
"""Fraction of places without a defect at which the model observer says that there is one."""
SURE = 10.0
"""Which side a bridge or gap is on is counted from this visibility on; noise alone turns few over there."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One kind of defect in one input under one observer.

    Attributes:
        pod: the curve.
        false: false finds in `area`: of the programme those of the rule per 100 Mpx, of the model observer
            the fraction of places.
        false_low, false_high: 95 % interval.
        at_equal_pod: the programme's false finds per 100 Mpx where it finds as many as in the single
            exposure.
        scale_px: the programme's smoothing.
    """

    pod: Pod
    false: float
    false_low: float
    false_high: float
    at_equal_pod: float | None = None
    scale_px: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        told = {name: value for name, value in vars(self).items() if name != "pod"}
        return {**self.pod.as_dict(), **told}


@dataclass(frozen=True, eq=False)
class Assessment:
    """All results of one machine.

    Attributes:
        seen: what they follow from.
        cells: observer to kind to input.
        compared: observer to what the inputs are worth over all kinds.
        compared_by_kind: observer to kind to the same.
        created: filter or model to regions per Mpx on scenes and on flat fields.
        sides: kind to input to fractions: defects that an image shows as whole, whole parts shown as defects.
        sizes: kind to what a visibility means, see `_size_of`.
    """

    seen: Seen
    cells: Mapping[str, Mapping[str, Mapping[str, Cell]]]
    compared: Mapping[str, Comparison]
    compared_by_kind: Mapping[str, Mapping[str, Comparison]]
    created: Mapping[str, Mapping[str, float]]
    sides: Mapping[str, Mapping[str, Mapping[str, float]]]
    sizes: Mapping[str, tuple[float, float] | None]

    def headline(self) -> list[str]:
        """What each model's image is worth, a sentence each."""
        plan, lines = self.seen.plan, []
        seconds = _seconds(plan.load().document)
        for model in plan.models:
            worth = self.compared[PROGRAMME].by_hits[model]
            fixed, other = (self.compared[observer].by_hits[model] for observer in (FIXED, MODEL))
            ratio = self.compared[PROGRAMME].sizes[model]
            lines.append(
                f"{plan.load().name}, {model}: at equal POD, one enhanced exposure of {seconds:g} s is worth "
                f"{worth} such exposures to an inspection programme with smoothing chosen for each input, "
                f"{fixed} to one that hardly smooths, {other} to a model observer. The first finds defects "
                f"of {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) times the visibility as often "
                "as without enhancement."
            )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        plan = self.seen.plan
        return {
            "machine": plan.load().name,
            "hash": self.seen.key,
            "models": self.seen.weights,
            "filters": vars(self.seen.filters),
            "budget": vars(plan.budget),
            "defects": plan.kinds,
            "seed": plan.seed,
            "headline": self.headline(),
            "worth": {
                observer: {
                    name: {
                        "exposures": compared.by_hits[name].as_dict(),
                        "by index": compared.by_index[name].as_dict() if compared.by_index else None,
                        "size over that of one exposure": vars(compared.sizes[name]),
                        "index": compared.index.get(name),
                    }
                    for name in plan.inputs
                }
                for observer, compared in self.compared.items()
            },
            "worth by defect": {
                observer: {
                    kind: {name: worth.as_dict() for name, worth in compared.by_hits.items()}
                    for kind, compared in kinds.items()
                }
                for observer, kinds in self.compared_by_kind.items()
            },
            "pod": {
                observer: {
                    kind: {name: cell.as_dict() for name, cell in inputs.items()}
                    for kind, inputs in kinds.items()
                }
                for observer, kinds in self.cells.items()
            },
            "created per Mpx": self.created,
            "changed sides": self.sides,
            "size in um of a whole defect: exp(p + q ln a)": self.sizes,
        }


def assess(seen: Seen) -> Assessment:
    """All results from what was observed."""
    plan = seen.plan
    cells, compared, by_kind = {}, {}, {}
    frames = {name: count for name in plan.inputs if (count := frames_of(name)) is not None}
    sizes = {kind: np.array([case.visibility for case in seen.test[kind]]) for kind in plan.kinds}
    for observer, (found, hits, index) in (
        (PROGRAMME, _programme(seen)),
        (FIXED, _programme(seen, scale=0)),
        (MODEL, _model(seen)),
    ):
        cells[observer] = found
        settings: dict[str, Any] = {"draws": plan.budget.draws, "seed": plan.seed}
        by_kind[observer] = {
            kind: compare(
                plan.inputs,
                frames,
                kinds=[kind] * len(sizes[kind]),
                visibility=sizes[kind],
                hits=hits[kind],
                decisions=None if index is None else index[kind],
                **settings,
            )
            for kind in plan.kinds
        }
        compared[observer] = compare(
            plan.inputs,
            frames,
            kinds=[kind for kind in plan.kinds for _ in sizes[kind]],
            visibility=np.concatenate([sizes[kind] for kind in plan.kinds]),
            hits=np.concatenate([hits[kind] for kind in plan.kinds]),
            decisions=None if index is None else np.concatenate([index[kind] for kind in plan.kinds]),
            **settings,
        )
    return Assessment(
        seen,
        cells,
        compared,
        by_kind,
        _created(seen),
        _sides(seen),
        {k: _size_of(seen.test[k]) for k in plan.kinds},
    )


Found = tuple[dict[str, dict[str, Cell]], dict[str, npt.NDArray[np.bool_]], dict[str, Numbers] | None]


def _programme(seen: Seen, *, scale: int | None = None) -> Found:
    """Operating points from the tuning scenes, hits and false finds from the test scenes.

    Args:
        seen: what was observed.
        scale: which of `SCALES` is taken for every input; None chooses the best on the tuning scenes.
    """
    plan = seen.plan
    tuning, test = (
        [case for kind in plan.kinds for case in cases[kind]] for cases in (seen.tuning, seen.test)
    )
    thresholds = operating_points(
        np.stack([case.false for case in tuning]), sum(case.mpx for case in tuning), plan.budget.rate_per_mpx
    )
    area = sum(case.mpx for case in test)
    false = np.stack([case.false for case in test])
    cells: dict[str, dict[str, Cell]] = {}
    hits: dict[str, npt.NDArray[np.bool_]] = {}
    for kind in plan.kinds:
        rule = plan.rules.index(RULES[kind])
        limit = thresholds[:, rule]
        scales = best_scales(np.stack([case.hits for case in seen.tuning[kind]]), limit)
        if scale is not None:
            scales = np.full_like(scales, scale)
        row = np.arange(len(plan.inputs))
        level = limit[row, scales]
        score = np.stack([case.hits[row, scales] for case in seen.test[kind]])
        empty = np.stack([case.empty[row, scales] for case in seen.test[kind]])
        hits[kind] = score >= level
        visibility = [case.visibility for case in seen.test[kind]]
        wanted = int(hits[kind][:, plan.inputs.index(SHORT)].sum())
        cells[kind] = {}
        for number, name in enumerate(plan.inputs):
            quiet = false[:, number, rule, scales[number]]
            count = int((quiet >= level[number]).sum())
            low, high = _poisson(count)
            equal = None
            if wanted:
                there = np.sort(score[:, number])[::-1][wanted - 1]
                equal = 100 * float((quiet >= there).sum()) / area if there > 0 else None
            pod = fit_pod(
                np.concatenate([visibility, np.zeros(len(empty))]),
                np.concatenate([hits[kind][:, number], empty[:, number] >= level[number]]),
            )
            per = 100 / area
            cells[kind][name] = Cell(pod, per * count, per * low, per * high, equal, SCALES[scales[number]])
    return cells, hits, None


def operating_points(false: Numbers, mpx: float, rate_per_mpx: float) -> Numbers:
    """Thresholds (I, R, S) that let so many false finds a Mpx through.

    Args:
        false: (N, I, R, S, K) scores of false finds in N images.
        mpx: their area.
        rate_per_mpx: the rate.
    """
    whole = false.transpose(1, 2, 3, 0, 4).reshape(*false.shape[1:4], -1)
    ranked = -np.sort(-whole, axis=-1)
    allowed = max(rate_per_mpx * mpx, 1.0)
    place = int(allowed)
    below = ranked[..., min(place, ranked.shape[-1] - 1)]
    above = ranked[..., min(max(place - 1, 0), ranked.shape[-1] - 1)]
    return np.asarray(np.maximum((below + above) / 2, 1e-6))


def best_scales(hits: Numbers, thresholds: Numbers) -> npt.NDArray[np.int64]:
    """The scale (I,) that finds most of the tuning defects (N, I, S), by how much more where several do."""
    over = np.log(np.maximum(hits, 1e-6) / thresholds)
    found = (over >= 0).sum(axis=0) + 1e-3 * np.clip(over, -1, 1).mean(axis=0)
    return np.asarray(found.argmax(axis=1))


def _model(seen: Seen) -> Found:
    """The model observer: covariance and threshold from the tuning scenes."""
    plan = seen.plan
    tuning = [case for kind in plan.kinds for case in seen.tuning[kind]]
    test = [case for kind in plan.kinds for case in seen.test[kind]]
    window = float(np.median([case.window for case in tuning]))
    cells: dict[str, dict[str, Cell]] = {kind: {} for kind in plan.kinds}
    hits = {kind: np.zeros((len(seen.test[kind]), len(plan.inputs)), bool) for kind in plan.kinds}
    index = {kind: np.zeros((len(seen.test[kind]), len(plan.inputs))) for kind in plan.kinds}
    for number, name in enumerate(plan.inputs):
        empty = np.concatenate([case.places[number] for case in tuning])
        quiet = np.concatenate([case.places[number] for case in test])
        spread = covariance(empty)
        for kind in plan.kinds:
            cases = seen.test[kind]
            random = np.random.default_rng((plan.seed, number))
            said = np.concatenate(
                [decisions(case.signal, empty, spread, window, random) for case in seen.tuning[kind]]
            )
            level = float(np.quantile(said, 1 - FALSE_ALARM))
            pairs = np.array(
                [
                    decisions(
                        case.signal,
                        np.stack([case.faulty[number], case.sound[number]]),
                        spread,
                        window,
                        random,
                    )
                    for case in cases
                ]
            )
            alarms = np.concatenate([decisions(case.signal, quiet, spread, window, random) for case in cases])
            hits[kind][:, number] = pairs[:, 0] >= level
            index[kind][:, number] = pairs[:, 0] - pairs[:, 1]
            visibility = [case.visibility for case in cases]
            pod = fit_pod(
                np.concatenate([visibility, np.zeros(len(cases))]),
                np.concatenate([pairs[:, 0] >= level, pairs[:, 1] >= level]),
            )
            count = int((alarms >= level).sum())
            low, high = (value / len(alarms) for value in _poisson(count))
            cells[kind][name] = Cell(pod, count / len(alarms), low, high)
    return cells, hits, index


def _poisson(count: int) -> tuple[float, float]:
    """Exact 95 % interval of a mean of which so many were counted (Garwood)."""
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    return low, float(chi2.ppf(0.975, 2 * count + 2)) / 2


def _created(seen: Seen) -> dict[str, dict[str, float]]:
    test = [case for kind in seen.plan.kinds for case in seen.test[kind]]
    area = sum(case.mpx for case in test)
    regions = np.sum([case.created for case in test], axis=0)
    flat_area = sum(flat["mpx"] for flat in seen.flats)
    return {
        name: {
            "scenes": float(regions[number]) / area,
            **(
                {"flat fields": sum(flat["regions"][name] for flat in seen.flats) / flat_area}
                if seen.flats and name in seen.flats[0]["regions"]
                else {}
            ),
        }
        for number, name in enumerate(seen.plan.inputs)
        if frames_of(name) is None and name != LONG
    }


def _sides(seen: Seen) -> dict[str, dict[str, dict[str, float]]]:
    """Of bridges and gaps that are not faint: how often an image is on the other side."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind in seen.plan.kinds:
        if kind not in ("bridge", "shorted trace", "open trace", "broken wire"):
            continue
        sides = [case.sides for case in seen.test[kind] if case.visibility >= SURE]
        if sides:
            turned = np.stack(sides)
            found[kind] = {
                name: {
                    "cases": float(len(sides)),
                    "lost": float((turned[:, number, 0] < 0.5).mean()),
                    "created": float((turned[:, number, 1] > 0.5).mean()),
                }
                for number, name in enumerate(seen.plan.inputs)
            }
    return found


def _size_of(cases: Sequence[Observed]) -> tuple[float, float] | None:
    """(p, q) of ln size_um = p + q ln a over whole defects; None where size hardly decides about a."""
    a, size = (np.log([getattr(case, name) for case in cases]) for name in ("whole", "size_um"))
    if len(cases) < 8 or np.corrcoef(a, size)[0, 1] < 0.5:
        return None
    q, p = np.polyfit(a, size, 1).tolist()
    return float(p), float(q)


def _seconds(document: Mapping[str, Any]) -> float:
    short = document.get("exposures", {}).get("short_s", 5.0)
    return float(short) if isinstance(short, int | float) else 5.0
