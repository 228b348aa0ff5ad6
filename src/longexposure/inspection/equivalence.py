"""Exposure equivalence: how many short exposures an input is worth.

All inputs show the same cases, so their hits are fitted together,

    logit POD = c(kind) + g ln a + d(input),

with one slope g. The input is worth n exposures where their mean has the same d: between the numbers that
were tried d is followed along ln n, beyond them nothing is said. Likewise for d', which grows with a by a
factor of each input's own. Intervals are 95 %, from drawing cases anew, all inputs of a case together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from longexposure.inspection.pod import Limit

Numbers = npt.NDArray[np.float64]

PRIOR = 0.01
"""Precision of a normal prior of every coefficient, which keeps separated data finite."""
FAINTEST_PLAIN = 30.0
"""d' is taken over cases up to this visibility; plainer ones say nothing about it."""
_STEPS, _FAR = 40, 7.0


@dataclass(frozen=True)
class Worth:
    """So many short exposures, with a 95 % interval; each may lie beyond what was tried."""

    exposures: Limit
    low: Limit
    high: Limit

    def __str__(self) -> str:
        if self.low == self.high == self.exposures:
            return str(self.exposures)
        return f"{self.exposures} ({self.low} to {self.high})"

    def as_dict(self) -> dict[str, object]:
        """As JSON takes it."""
        return {name: limit.as_dict() for name, limit in vars(self).items()}


@dataclass(frozen=True)
class Ratio:
    """A size over that of the single short exposure, with a 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the inputs are worth.

    Attributes:
        by_hits: exposures with the same POD, by input.
        sizes: size that is found as often, over that in the single exposure, by input.
        by_index: exposures with the same d', by input.
        index: d' for each unit of visibility, by input.
    """

    by_hits: Mapping[str, Worth]
    sizes: Mapping[str, Ratio]
    by_index: Mapping[str, Worth]
    index: Mapping[str, float]


def compare(
    names: Sequence[str],
    frames: Mapping[str, int],
    *,
    kinds: Sequence[str],
    visibility: Numbers,
    hits: npt.NDArray[np.bool_],
    decisions: Numbers | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Comparison:
    """Compare inputs over the same cases.

    Args:
        names: of the inputs, the single exposure first.
        frames: of those that are means of exposures, how many; the single one is 1.
        kinds: of the defect of each of N cases.
        visibility: (N,).
        hits: (N, I).
        decisions: (N, I) what the model observer said of the case less what it said without the defect.
        draws: cases are drawn anew so often for the intervals.
        seed: of the drawing.
    """
    known = list(dict.fromkeys(kinds))
    groups = np.array([known.index(kind) for kind in kinds])
    random = np.random.default_rng(seed)
    every = np.arange(len(groups))
    drawn = [every]
    for _ in range(draws):
        drawn.append(
            np.concatenate(
                [random.choice(every[groups == g], np.count_nonzero(groups == g)) for g in range(len(known))]
            )
        )
    shifts, slopes, index = [], [], []
    for chosen in drawn:
        shift, slope = shifts_of(groups[chosen], visibility[chosen], hits[chosen])
        shifts.append(shift)
        slopes.append(slope)
        if decisions is not None:
            index.append(index_of(visibility[chosen], decisions[chosen]))
    ladder = sorted((count, list(names).index(name)) for name, count in frames.items())
    by_hits, sizes, by_index = {}, {}, {}
    for number, name in enumerate(names):
        by_hits[name] = _worth(np.array(shifts), number, ladder)
        ratio = np.exp(np.clip(-np.array(shifts)[:, number] / np.maximum(slopes, 1e-3), -_FAR, _FAR))
        sizes[name] = Ratio(float(ratio[0]), *np.percentile(ratio, (2.5, 97.5)).tolist())
        if decisions is not None:
            by_index[name] = _worth(np.array(index), number, ladder)
    found = dict(zip(names, index[0].tolist(), strict=True)) if index else {}
    return Comparison(by_hits, sizes, by_index, found)


def shifts_of(
    groups: npt.NDArray[np.int64], visibility: Numbers, hits: npt.NDArray[np.bool_]
) -> tuple[Numbers, float]:
    """The d of each input (I,), the first 0, and the slope g, by Newton's method."""
    count, inputs = hits.shape
    kinds = int(groups.max()) + 1
    terms = np.zeros((count * inputs, kinds + inputs))
    rows = np.arange(count * inputs)
    terms[rows, np.repeat(groups, inputs)] = 1
    terms[:, kinds] = np.repeat(np.log(visibility), inputs)
    which = np.tile(np.arange(inputs), count)
    terms[rows[which > 0], kinds + which[which > 0]] = 1
    y, b = hits.ravel(), np.zeros(kinds + inputs)

    def value(b: Numbers) -> float:
        eta = terms @ b
        return float(-np.logaddexp(0, np.where(y, -eta, eta)).sum() - PRIOR / 2 * (b @ b))

    for _ in range(_STEPS):
        p = expit(terms @ b)
        information = (terms * (p * (1 - p))[:, None]).T @ terms + PRIOR * np.eye(len(b))
        step = np.linalg.solve(information, terms.T @ (y - p) - PRIOR * b)
        while value(b + step) < value(b) and np.abs(step).max() > 1e-8:
            step = step / 2
        b = b + step
        if np.abs(step).max() < 1e-6:
            break
    return np.concatenate([[0.0], b[kinds + 1 :]]), float(b[kinds])


def index_of(visibility: Numbers, decisions: Numbers) -> Numbers:
    """The d' for each unit of visibility, (I,): least squares through 0 over cases that are not plain."""
    chosen = visibility <= FAINTEST_PLAIN
    a = visibility[chosen]
    return np.asarray(a @ decisions[chosen] / max(float(a @ a), 1e-12))


def _worth(values: Numbers, number: int, ladder: Sequence[tuple[int, int]]) -> Worth:
    """Exposures of one input from a table (draws, I), whose first row is the data's own."""
    counts = [count for count, _ in ladder]
    own = [Limit(float(count)) for count, place in ladder if place == number]
    if own:  # by definition
        return Worth(own[0], own[0], own[0])
    found = []
    for row in values:
        rungs = np.array([row[place] for _, place in ladder])
        # halfway between the rising curves that lie just above and just below
        steps = (np.maximum.accumulate(rungs) + np.minimum.accumulate(rungs[::-1])[::-1]) / 2
        wanted = row[number]
        if wanted > steps[-1]:
            found.append(np.inf)
        elif wanted < steps[0]:
            found.append(-np.inf)
        else:
            at = np.log(counts)
            last = np.interp(wanted, steps, at)
            first = np.interp(-wanted, -steps[::-1], at[::-1])  # which of equal steps begins
            found.append(float(first + last) / 2)
    low, high = np.quantile(found, (0.025, 0.975), method="nearest").tolist()
    return Worth(*(_limit(x, counts) for x in (found[0], low, high)))


def _limit(x: float, counts: Sequence[int]) -> Limit:
    if x == np.inf or x > log(counts[-1]):
        return Limit(float(counts[-1]), ">")
    return Limit(float(counts[0]), "<") if x == -np.inf else Limit(exp(x))
