"""Probability of detection from hits and misses, in the manner of MIL-HDBK-1823A.

    POD(a) = floor + (ceiling - floor) / (1 + exp(-(b0 + b1 ln a))),   b1 >= 0

Floor and ceiling are 0 and 1 unless the data speak against it: a floor where something was found in trials of
size 0, where nothing is; a ceiling where misses stay at large sizes (likelihood ratio, one-sided 1 %).

The likelihood is Firth's, with Jeffreys' prior: half the logarithm of the determinant of the information is
added. Without it a90 comes out too small where trials are few: of 60 trials its 95 % bound would hold in
90 %. It also keeps the slope finite where all hits lie above all misses. Bounds are those of the profile of
that likelihood, one-sided 95 % each, so that a90/95 is the upper bound of a90. Nothing is extrapolated:
what lies beyond the sizes that were tried is said to lie there.

Firth, Biometrika 80 (1993) 27; Heinze and Schemper, Statistics in Medicine 21 (2002) 2409.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, inf, log
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit, logit
from scipy.stats import chi2

from longexposure.errors import InputError

Numbers = npt.NDArray[np.float64]
Relation = Literal["=", "<", ">"]

CONFIDENCE = 0.95
LEAST_SIZES = 4
"""Trials with something there, below which there is no curve."""
STEEPEST = 100.0
"""Largest b1: a rise within a twentieth of a size is a step."""
EVIDENCE = float(chi2.ppf(0.98, 1))
"""Twice the gain of log-likelihood that a ceiling must bring; one-sided 1 %."""
_STEEP = (-6.0, log(STEEPEST))
"""Where ln b1 is sought."""
_MOST_END, _STEPS, _LONGEST = 0.6, 60, 5.0
"""Largest floor (and 1 less the smallest ceiling), Newton's steps, and the longest of them."""


@dataclass(frozen=True)
class Limit:
    """A size, or the end of the sizes tried that it lies beyond.

    Attributes:
        value: the size.
        relation: "=", or "<" and ">" where all that is known is on which side of `value` it lies.
    """

    value: float
    relation: Relation = "="

    def __str__(self) -> str:
        return f"{'' if self.relation == '=' else self.relation}{self.value:.3g}"

    @property
    def known(self) -> bool:
        """Whether it lies among the sizes tried."""
        return self.relation == "="

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"value": self.value, "relation": self.relation}


@dataclass(frozen=True, eq=False)
class Pod:
    """A fitted curve and the trials it was fitted to.

    Attributes:
        sizes: (N,) sizes, 0 where nothing was there.
        hits: (N,) bool, what was found.
        intercept, slope: b0 and b1, the slope at most `STEEPEST`.
        floor, ceiling: probability at size 0 and at large sizes.
        log_likelihood: at the maximum.
        free: which of floor and ceiling were fitted.
    """

    sizes: Numbers
    hits: npt.NDArray[np.bool_]
    intercept: float
    slope: float
    floor: float = 0.0
    ceiling: float = 1.0
    log_likelihood: float = -inf
    free: tuple[str, ...] = ()

    def at(self, size: npt.ArrayLike) -> Numbers:
        """Probability of detection at these sizes (0 or more), same shape."""
        a = np.asarray(size, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            rise = np.where(a > 0, expit(self.intercept + self.slope * np.log(a)), 0.0)
        return np.asarray(self.floor + (self.ceiling - self.floor) * rise)

    @cached_property
    def tried(self) -> tuple[float, float]:
        """Smallest and largest size above 0 that was tried."""
        there = self.sizes[self.sizes > 0]
        return float(there.min()), float(there.max())

    def size_at(self, probability: float) -> Limit:
        """The size that is detected with this probability; a50 and a90 are those of 0.5 and 0.9."""
        low, high = self.tried
        if probability >= self.ceiling:
            return Limit(high, ">")
        if probability <= self.floor:
            return Limit(low, "<")
        rise = float(logit((probability - self.floor) / (self.ceiling - self.floor))) - self.intercept
        if rise > self.slope * log(high):
            return Limit(high, ">")
        return (
            Limit(low, "<")
            if rise < self.slope * log(low) or not self.slope
            else Limit(exp(rise / self.slope))
        )

    def bounds(self, probability: float, confidence: float = CONFIDENCE) -> tuple[Limit, Limit]:
        """Lower and upper bound of that size, each one-sided at this confidence.

        Of the sizes s those belong between them for which a curve through (s, probability) is not much less
        likely than the best one: 2 (log L_max - log L_profile(s)) <= chi2_1(2 confidence - 1).
        """
        cut = self.log_likelihood - float(chi2.ppf(2 * confidence - 1, 1)) / 2
        profile = _profile(self, probability)
        best = self.size_at(probability)
        (low, high), middle = (log(end) for end in self.tried), log(best.value)

        def excess(x: float) -> float:
            return profile(x) - cut

        if best.known or excess(middle) >= 0:
            lower, upper = Limit(self.tried[0], "<"), Limit(self.tried[1], ">")
            if middle > low and excess(low) < 0:
                lower = Limit(exp(brentq(excess, low, middle, xtol=1e-4)))
            if middle < high and excess(high) < 0:
                upper = Limit(exp(brentq(excess, middle, high, xtol=1e-4)))
            return lower, upper
        return best, best  # the whole interval lies beyond the sizes tried

    def as_dict(self) -> dict[str, Any]:
        """The curve, a50, a90 and a90/95 with their lower ends, as JSON takes them."""
        half, most = self.bounds(0.5), self.bounds(0.9)
        there = self.sizes > 0
        return {
            "a50": self.size_at(0.5).as_dict(),
            "a50 from": half[0].as_dict(),
            "a50 to": half[1].as_dict(),
            "a90": self.size_at(0.9).as_dict(),
            "a90 from": most[0].as_dict(),
            "a90/95": most[1].as_dict(),
            "b0": self.intercept,
            "b1": self.slope,
            "floor": self.floor,
            "ceiling": self.ceiling,
            "separated": bool(
                self.hits[there].any()
                and not self.hits[there].all()
                and self.sizes[there & self.hits].min() > self.sizes[there & ~self.hits].max()
            ),
            "trials": int(there.sum()),
            "hits": int(self.hits[there].sum()),
            "empty": int((~there).sum()),
            "empty hits": int(self.hits[~there].sum()),
        }


def fit_pod(sizes: npt.ArrayLike, hits: npt.ArrayLike) -> Pod:
    """The most likely curve.

    Args:
        sizes: (N,) sizes in any unit, above 0 where a defect was there, 0 where none was.
        hits: (N,) whether each was found; at size 0 whether something was found that is not there.

    Raises:
        InputError: sizes that are negative or not finite, other counts of both, or fewer than `LEAST_SIZES`
            trials with something there.
    """
    a, found = np.asarray(sizes, np.float64).ravel(), np.asarray(hits, bool).ravel()
    if a.shape != found.shape or not np.isfinite(a).all() or np.any(a < 0):
        raise InputError(
            where="trials",
            expected="as many hits as sizes, which are finite and 0 or more",
            found=f"{a.size} sizes, {found.size} hits",
            advice="correct the trials",
        )
    if np.count_nonzero(a) < LEAST_SIZES:
        raise InputError(
            where="trials",
            expected=f"at least {LEAST_SIZES} with a defect",
            found=str(np.count_nonzero(a)),
            advice="try more cases",
        )
    best = plain = _rising(a, found)
    speaking = {"floor": found[a == 0].any(), "ceiling": _missed_beyond(plain)}
    for name in (name for name, speaks in speaking.items() if speaks):
        more = _with_ends(a, found, (*best.free, name), start=plain)
        if 2 * (more.log_likelihood - best.log_likelihood) > EVIDENCE:
            best = more
    return best


def _missed_beyond(pod: Pod) -> bool:
    """Whether misses stay where the plain curve has none left: the score of the ceiling at 1 is below 0."""
    there = pod.sizes > 0
    p = np.clip(pod.at(pod.sizes[there]), 1e-12, 1 - 1e-12)
    return bool(((pod.hits[there] - p) / (1 - p)).sum() < 0)


def _rising(sizes: Numbers, hits: npt.NDArray[np.bool_]) -> Pod:
    """The curve from 0 to 1: Newton's method on Firth's score, sum of (y - p + h (1/2 - p)) (1, ln a)."""
    there = sizes > 0
    x, y = np.log(sizes[there]), hits[there]
    shift = float(x.mean())
    terms, b = np.column_stack([np.ones(len(x)), x - shift]), np.array([0.0, 1.0])

    def value(b: Numbers) -> float:
        eta = terms @ b
        return _likelihood(expit(eta), y) + _information(expit(eta), x - shift)

    for _ in range(_STEPS):
        p = expit(terms @ b)
        weight = p * (1 - p)
        inverse = np.linalg.inv((terms * weight[:, None]).T @ terms + 1e-12 * np.eye(2))
        leverage = weight * np.einsum("ni,ij,nj->n", terms, inverse, terms)
        step = inverse @ (terms.T @ (y - p + leverage * (0.5 - p)))
        step *= min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-12))
        while value(b + step) < value(b) and np.abs(step).max() > 1e-9:
            step = step / 2
        b = b + step
        if np.abs(step).max() < 1e-7:
            break
    slope = float(min(b[1], STEEPEST))
    intercept = float(b[0]) - slope * shift
    if slope <= 0:  # a curve that falls is none
        intercept, slope = float(logit((y.sum() + 0.5) / (len(y) + 1))), 0.0
    plain = Pod(sizes, hits, intercept, slope)
    value_ = _likelihood(plain.at(sizes), hits) + _information(expit(intercept + slope * x), x)
    return replace(plain, log_likelihood=value_)


def _likelihood(p: Numbers, hits: npt.NDArray[np.bool_]) -> float:
    p = np.clip(p, 1e-300, 1 - 1e-15)
    return float(np.where(hits, np.log(p), np.log1p(-p)).sum())


def _information(rise: Numbers, x: Numbers, weight: Numbers | None = None) -> float:
    """Half the logarithm of the determinant of Fisher's information about b0 and b1: Firth's term."""
    w = rise * (1 - rise) if weight is None else weight
    total, first, second = w.sum(), (w * x).sum(), (w * x * x).sum()
    return 0.5 * log(max(float(total * second - first**2), 1e-200))


def _value(
    values: Sequence[float], x: Numbers, there: npt.NDArray[np.bool_], hits: npt.NDArray[np.bool_]
) -> float:
    """Penalised log-likelihood of a curve with these b0, b1, floor and ceiling."""
    intercept, slope, floor, ceiling = values
    rise = expit(intercept + slope * x) * there
    p = np.clip(floor + (ceiling - floor) * rise, 1e-12, 1 - 1e-12)
    weight = np.square((ceiling - floor) * rise * (1 - rise)) / (p * (1 - p))
    return _likelihood(p, hits) + _information(rise, x, weight)


def _with_ends(sizes: Numbers, hits: npt.NDArray[np.bool_], free: tuple[str, ...], *, start: Pod) -> Pod:
    """The curve with a floor, a ceiling or both, from several starts."""
    there = sizes > 0
    x = np.log(np.where(there, sizes, 1.0))
    low, high = float(x[there].min()), float(x[there].max())

    def curve(values: Numbers) -> tuple[float, float, float, float]:
        slope = exp(values[1])
        floor = float(values[2]) if "floor" in free else 0.0
        return -slope * float(values[0]), slope, floor, float(values[3]) if "ceiling" in free else 1.0

    limits = [(low - 1, high + 1), (log(0.05), log(STEEPEST)), (0.0, _MOST_END), (1 - _MOST_END, 1.0)]
    middles = (
        low,
        float(np.median(x[there])),
        float(np.median(x[there & hits])) if hits[there].any() else high,
    )
    tried = [
        minimize(
            lambda values: -_value(curve(values), x, there, hits),
            np.array([middle, log(3.0), 0.05, 0.9]),
            method="L-BFGS-B",
            bounds=limits,
        )
        for middle in middles
    ]
    best = min(tried, key=lambda done: float(done.fun))
    return Pod(sizes, hits, *curve(best.x), -float(best.fun), free)


def _profile(pod: Pod, probability: float) -> Callable[[float], float]:
    """Largest penalised log-likelihood of a curve through (exp(x), probability), as a function of x."""
    there, hits = pod.sizes > 0, pod.hits
    x = np.log(np.where(there, pod.sizes, 1.0))

    def through(at: float, steep: float, floor: float, ceiling: float) -> float:
        slope = exp(steep)
        level = float(logit((probability - floor) / (ceiling - floor)))
        return -_value((level - slope * at, slope, floor, ceiling), x, there, hits)

    if not pod.free:

        def plain(at: float) -> float:
            done = minimize_scalar(
                lambda steep: through(at, steep, 0.0, 1.0),
                bounds=_STEEP,
                method="bounded",
                options={"xatol": 1e-3},
            )
            return -float(done.fun)

        return plain
    eps = 1e-3
    ends = [
        (0.0, min(_MOST_END, probability - eps)),
        (min(max(1 - _MOST_END, probability + eps), 1 - eps), 1.0),
    ]

    def with_ends(at: float) -> float:
        def loss(values: Numbers) -> float:
            floor = float(values[1]) if "floor" in pod.free else 0.0
            return through(at, values[0], floor, float(values[2]) if "ceiling" in pod.free else 1.0)

        limits = [_STEEP, *ends]
        guesses = ([log(max(pod.slope, 0.1)), pod.floor, pod.ceiling], [0.0, pod.floor, pod.ceiling])
        starts = [np.clip(guess, *np.array(limits).T) for guess in guesses]
        return -min(float(minimize(loss, at, method="L-BFGS-B", bounds=limits).fun) for at in starts)

    return with_ends
