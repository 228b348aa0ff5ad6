"""Is a set of pairs fit to train on? One verdict for each check and machine type, with reason and advice.

"fine" needs nothing. "fix" means that training would work but teach something wrong until it is put right.
"drop" means that the named pairs must not be trained on. The limits are the constants below.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from longexposure.data.check.examination import PairFacts
from longexposure.data.listing import Problem
from longexposure.format import shown

Verdict = Literal["fine", "fix", "drop"]
ALL = "all"
"""Stands for the machine type where a check is about the whole set."""

SHIFT_PX = 0.25
"""A shift that blurs what is learned: of the median pair, and of any pair."""
GAIN_OFF = 0.02
LEVEL_OFF = 0.01
"""Difference of brightness between the exposures, as a fraction of the short exposure's range of grey values:
of the median pair, and of any pair from the median."""
WANDER = 0.06
"""By more, as a standard deviation of the dose from pair to pair, no tube in order wanders."""
DOSE_OFF = 0.02
"""A difference of dose that is no fault, however well the others agree."""
FAR = 0.2
"""A difference of dose that no set excuses."""
FEWEST_FOR_SPREAD = 4
"""Pairs that show by how much pairs differ."""
FEWEST_THAT_WANDER = 8
"""Pairs that show that a tube does."""
CLIPPED = 1e-3
SPOILT = 0.5
"""Fractions of clipped pixels that ask for a fix and for dropping the pair."""
SAME_SCENE = 0.8
"""Least correlation of block means of one scene."""
SPREAD = 6.0
"""A pair does not fit where its block means scatter so many times as much as in the median pair."""
LAW_LOW, LAW_HIGH = 0.85, 1.15
"""Tolerance of the noise ratio about the square root of the ratio of times, and about the ratio itself."""
QUANTISED = 0.5
"""Noise below so many grey values is rounded away."""


@dataclass(frozen=True)
class Finding:
    """One check of one machine type.

    Attributes:
        check: its name.
        machine: machine type, or "all".
        verdict: fine, fix or drop.
        found: what was measured, in short.
        reason: why that is the verdict.
        advice: what to do; empty when fine.
        pairs: the pairs concerned and what is the matter with each.
    """

    check: str
    machine: str
    verdict: Verdict
    found: str
    reason: str
    advice: str = ""
    pairs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Group:
    """The examined pairs of one machine type, and the exposure times given for all."""

    machine: str
    pairs: Sequence[PairFacts]
    exposures_s: tuple[float, float] | None = None

    @property
    def sound(self) -> list[PairFacts]:
        """Pairs that show one scene twice: those that the statistics are about."""
        return [pair for pair in self.pairs if not content_fault(pair)]

    @property
    def time_ratio(self) -> float | None:
        """Seconds of the long exposure over those of the short one, of the median pair."""
        times = [self.exposures_s or pair.exposures_s for pair in self.pairs]
        ratios = [pair[1] / pair[0] for pair in times if pair is not None]
        return float(np.median(ratios)) if ratios else None


def judge_files(problems: Sequence[Problem], pairs: Sequence[PairFacts]) -> Iterator[Finding]:
    """What is wrong with names and files: everything at once."""
    faults = {pair.name: "; ".join(pair.problems) for pair in pairs if pair.problems}
    faults |= {problem.name: problem.text for problem in problems if problem.kind != "split"}
    if not faults:
        yield Finding("files", ALL, "fine", f"{len(pairs)} pairs", "every file has its partner and opens")
        return
    found = f"{len(faults)} of {len(pairs) + sum(p.kind == 'unpaired' for p in problems)} unusable"
    reason = "training refuses a set with unpaired, unreadable or unequal files"
    advice = "copy these files again, or leave the pairs out (--manifest writes a list without them)"
    yield Finding("files", ALL, "drop", found, reason, advice, faults)


def judge_depths(group: Group) -> Iterator[Finding]:
    names = defaultdict(list)
    for pair in group.pairs:
        names[pair.dtype].append(pair.name)
    sizes = Counter(pair.shape for pair in group.pairs)
    found = ", ".join(f"{count} of {h} x {w}" for (h, w), count in sizes.most_common(3))
    if len(names) == 1:
        found += f", {next(iter(names))}"
        yield Finding("size and depth", group.machine, "fine", found, "one depth; sizes may differ")
        return
    few = min(names, key=lambda dtype: len(names[dtype]))
    found += ", " + ", ".join(f"{len(pairs)} {dtype}" for dtype, pairs in names.items())
    reason = "one machine type has one depth; another one was exported differently"
    advice = f"export the {few} pairs again as the others, without a stretch of contrast, or leave them out"
    few_pairs = dict.fromkeys(names[few], few)
    yield Finding("size and depth", group.machine, "fix", found, reason, advice, few_pairs)


def content_fault(pair: PairFacts) -> str:
    """Why the images of a pair cannot be two exposures of one scene; empty when they can."""
    if pair.constant:
        return f"{' and '.join(pair.constant)} is constant"
    if pair.enhanced:
        return f"enhanced before: {pair.enhanced}"
    if pair.sha256[0] == pair.sha256[1]:
        return "LQ and HQ are the same image"
    if pair.scene is not None and pair.scene < SAME_SCENE:
        return f"LQ and HQ show different scenes (correlation {pair.scene:.2f})"
    return ""


def judge_content(group: Group) -> Iterator[Finding]:
    faults = {pair.name: fault for pair in group.pairs if (fault := content_fault(pair))}
    spreads = {p.name: p.gain.spread / p.span for p in group.sound if p.gain is not None and p.span > 0}
    usual = float(np.median(list(spreads.values()))) if spreads else 0.0
    for name, spread in spreads.items():
        if spread > max(SPREAD * usual, LEVEL_OFF):
            faults[name] = f"brightness scatters by {100 * spread:.1f} %: moved, changed, or another part"
    if faults:
        found = f"{len(faults)} of {len(group.pairs)} pairs"
        reason = "a network learns to draw what is not in its input from such pairs"
        advice = "find the right partner or drop the pair"
        yield Finding("same scene", group.machine, "drop", found, reason, advice, faults)
        return
    scenes = [pair.scene for pair in group.pairs if pair.scene is not None]
    found = f"correlation {np.median(scenes):.3f}" if scenes else "too little contrast to tell"
    yield Finding("same scene", group.machine, "fine", found, "both exposures show the same")


def judge_shift(group: Group) -> Iterator[Finding]:
    shifts = {pair.name: pair.shift for pair in group.sound if pair.shift is not None}
    if not shifts:
        yield Finding("shift", group.machine, "fine", "not measured", "no structure stands out of the noise")
        return
    dy, dx = (float(np.median([getattr(shift, axis) for shift in shifts.values()])) for axis in ("dy", "dx"))
    lengths = {name: shift.length for name, shift in shifts.items()}
    worst = max(lengths, key=lambda name: lengths[name])
    median = float(np.median(list(lengths.values())))
    found = f"median {median:.2f} px, worst {lengths[worst]:.2f} px ({worst})"
    off = {
        name: f"down {shift.dy:+.2f}, right {shift.dx:+.2f} px"
        for name, shift in shifts.items()
        if shift.length > max(SHIFT_PX + 2 * shift.error, 3 * shift.error)
    }
    if not off:
        reason = f"below {SHIFT_PX} px nothing is blurred"
        yield Finding("shift", group.machine, "fine", found, reason)
        return
    common = np.hypot(dy, dx) > SHIFT_PX
    advice = f"move every HQ by {-dy:+.2f} px down, {-dx:+.2f} px right" if common else "register them again"
    reason = "the pairs are shifted alike" if common else f"{len(off)} of {len(shifts)} pairs moved between"
    reason += "; what is learned is blurred by the shift"
    yield Finding("shift", group.machine, "fix", found, reason, f"{advice}, or leave them out", off)


def brightness_difference(pair: PairFacts) -> float | None:
    """HQ less LQ at the middle of the grey values, as a fraction of their range."""
    if pair.gain is None or pair.noise is None or pair.span <= 0:
        return None
    level = pair.noise.level
    return (pair.gain.gain * level + pair.gain.offset - level) / pair.span


def dose_difference(pair: PairFacts) -> float | None:
    """The same as a fraction of the grey value, where that is more than the range: doses change that."""
    level = brightness_difference(pair)
    if level is None or pair.noise is None:
        return None
    return level * pair.span / max(abs(pair.noise.level), pair.span)


def judge_gain(group: Group) -> Iterator[Finding]:
    pairs = [pair for pair in group.sound if brightness_difference(pair) is not None]
    gains = [pair.gain for pair in pairs if pair.gain is not None]
    if not gains:
        yield Finding("gain, offset", group.machine, "fine", "not measured", "too little contrast to tell")
        return
    slopes = np.array([line.gain for line in gains])
    levels = np.array([brightness_difference(pair) for pair in pairs], dtype=np.float64)
    gain, middle = _common(slopes), _common(levels)
    offset = float(np.median([line.offset for line in gains]))
    found = f"HQ = {gain:.4g} LQ {offset:+.4g}, brightness {100 * middle:+.2f} % of the range"
    # what tubes that wander leave of a mean is no difference of scales
    doses = np.array([dose_difference(pair) for pair in pairs], dtype=np.float64)
    spans = np.array([pair.span for pair in pairs])
    another_level = any(map(_certain, (levels, doses, levels * spans), (np.inf, WANDER, np.inf)))
    one_scale = (abs(gain - 1) <= GAIN_OFF or not _certain(slopes - 1, WANDER)) and (
        abs(middle) <= LEVEL_OFF or not another_level
    )
    if not one_scale:
        reason = "the exposures are not on one grey scale; a network would learn the difference"
        ratio = group.time_ratio
        if ratio is not None and abs(gain / ratio - 1) < 0.1:
            reason = f"raw counts: the gain is the ratio of the times, {ratio:.4g}"
        advice = f"put HQ on the scale of LQ: (HQ {-offset:+.4g}) / {gain:.4g}"
        yield Finding("gain, offset", group.machine, "fix", found, reason, advice)
    drift = next(judge_drift(group, pairs), None)
    if drift is not None:
        yield drift
    elif one_scale:
        yield Finding("gain, offset", group.machine, "fine", found, "both exposures are on one grey scale")


def judge_drift(group: Group, pairs: Sequence[PairFacts]) -> Iterator[Finding]:
    """Pairs whose brightness differs by more than their own error, and more than the others' does.

    Every tube wanders, and a network that is shown it learns nothing from it as long as it has no
    sign in common. What is judged is a pair that stands out of its set, with one chance in a hundred of
    naming any pair of a set that wanders evenly, and a set that wanders by more than tubes do.
    """
    levels = np.array([brightness_difference(pair) for pair in pairs], dtype=np.float64)
    doses = np.array([dose_difference(pair) for pair in pairs], dtype=np.float64)
    away, seen = np.abs(doses - _common(doses)), np.abs(levels - _common(levels)) > LEVEL_OFF
    errors = np.array(
        [
            pair.gain.error_at(pair.noise.level) / max(abs(pair.noise.level), pair.span)
            for pair in pairs
            if pair.gain is not None and pair.noise is not None
        ]
    )
    spread = float(doses[_usual(doses)].std())
    usual = np.maximum(_times(len(pairs)) * np.hypot(spread, errors), DOSE_OFF)
    stands_out = away > np.minimum(usual, FAR)
    wanders = len(pairs) >= FEWEST_THAT_WANDER and spread > WANDER * (1 + 1 / np.sqrt(2 * len(pairs)))
    off = seen & (stands_out | (wanders & (away > WANDER)))
    if off.any():
        named = {
            pair.name: f"brightness {100 * level:+.2f} % of the range"
            for pair, level, bad in zip(pairs, levels, off, strict=True)
            if bad
        }
        reason = "brightness differs from pair to pair, which no network can predict"
        advice = "correct the dose of these pairs by the open beam, or leave them out"
        found = f"{len(named)} of {len(pairs)} pairs; the others differ by {100 * spread:.2g} %"
        yield Finding("drift", group.machine, "fix", found, reason, advice, named)


def _robust_sd(values: npt.NDArray[np.float64]) -> float:
    """Standard deviation from the median distance to the median, which outliers do not move."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _times(count: int) -> float:
    """So many standard deviations no value of `count` exceeds but in one set of a hundred.

    Student's, with few degrees of freedom, since the deviation is known from the usual ones of them alone.
    """
    from scipy.stats import t

    return float(t.ppf(1 - 0.005 / count, max((count - 1) / 3, 1)))


def _common(values: npt.NDArray[np.float64]) -> float:
    """Mean of the values without outliers; unlike the median, in the middle also of two heaps."""
    return float(values[_usual(values)].mean())


def _usual(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.abs(values - np.median(values)) <= 4 * _robust_sd(values)


def _certain(values: npt.NDArray[np.float64], few: float) -> bool:
    """Whether they differ from 0 in common, by four standard errors.

    `few` is what the error is taken from where the values are too few to show it themselves.
    """
    kept = values[_usual(values)]
    spread = float(kept.std(ddof=1)) if len(kept) >= FEWEST_FOR_SPREAD else few
    return bool(abs(kept.mean()) > 4 * spread / np.sqrt(len(kept)))


def noise_ratio(group: Group) -> float | None:
    """Noise of the short exposure over that of the long one, on one grey scale, from median variances.

    Infinite where HQ's is too small to be seen.
    """
    noises = [(p.noise, p.gain.gain) for p in group.sound if p.noise is not None and p.gain is not None]
    if not noises:
        return None
    short = float(np.median([gain**2 * noise.var_lq for noise, gain in noises]))
    long = float(np.median([noise.var_hq for noise, _ in noises]))
    if short <= 0:
        return None
    return float(np.sqrt(short / long)) if long > 0 else float("inf")


def judge_law(group: Group) -> Iterator[Finding]:
    ratio, times = noise_ratio(group), group.time_ratio
    if ratio is None:
        yield Finding("sqrt(t) law", group.machine, "fine", "not measured", "no noise to be told apart")
        return
    if times is None:
        reason = "the times are not known; give them with --exposures 5 90"
        yield Finding("sqrt(t) law", group.machine, "fine", f"noise ratio {ratio:.2f}", reason)
        return
    root, advice = times**0.5, ""
    verdict: Verdict = "fine"
    if ratio < LAW_LOW * root:
        verdict = "fix"
        reason = (
            "the long exposure is noisier than its time allows: fixed pattern, drift, rounding or less time"
        )
        advice = (
            "check times and flat field, or take more frames; a target this noisy hides what a network gains"
        )
    elif ratio > LAW_HIGH * times:
        verdict = "fix"
        reason = "the long exposure is cleaner than any exposure of its time: it was smoothed or processed"
        advice = "export it without filters"
    elif ratio > LAW_HIGH * root:
        # variance ratio r^2 of noise with a fraction f of the short one's variance that falls as 1/t^2
        electronic = (1 / times - 1 / ratio**2) / (1 / times - 1 / times**2)
        reason = f"about {100 * min(electronic, 1):.0f} % of LQ's variance is electronic, not quanta"
    else:
        reason = "noise falls as the square root of the time: quanta"
    found = f"noise ratio {ratio:.2f}, sqrt({times:.4g}) = {root:.2f}"
    yield Finding("sqrt(t) law", group.machine, verdict, found, reason, advice)


def judge_clipping(group: Group) -> Iterator[Finding]:
    most = 0.0
    mild: dict[str, str] = {}
    spoilt: dict[str, str] = {}
    for pair in group.pairs:
        if pair.constant:
            continue
        ends = {
            f"{part} {end}": getattr(pair.clipping[part], end)
            for part in ("LQ", "HQ")
            for end in ("low", "high")
        }
        highest = max(ends.values())
        most = max(most, highest)
        if highest > CLIPPED:
            words = (f"{end} {100 * fraction:.2f} %" for end, fraction in ends.items() if fraction > CLIPPED)
            (spoilt if highest > SPOILT else mild)[pair.name] = ", ".join(words)
    found = f"at most {100 * most:.2g} % of an image"
    if spoilt:
        reason = "more than half of the pixels are clipped"
        yield Finding("clipping", group.machine, "drop", found, reason, "drop these pairs", spoilt)
    if mild:
        reason = "clipped noise has no zero mean, so targets are biased there"
        advice = "expose so that the open beam stays below saturation, or mask it"
        yield Finding("clipping", group.machine, "fix", f"{len(mild)} pairs, {found}", reason, advice, mild)
    if not spoilt and not mild:
        reason = "no grey values pile up at an end of the scale"
        yield Finding("clipping", group.machine, "fine", found, reason)


def judge_noise(group: Group) -> Iterator[Finding]:
    noises = [(pair, pair.noise) for pair in group.sound if pair.noise is not None]
    if not noises:
        reason = "too little contrast or too small"
        yield Finding("noise level", group.machine, "fine", "not measured", reason)
        return
    rows = [(noise.sigma_lq, noise.sigma_hq, noise.level, noise.sigma_lq / p.span) for p, noise in noises]
    lq, hq, level, fraction = np.median(rows, axis=0).tolist()
    found = f"LQ {lq:.4g}, HQ {hq:.4g} at {level:.4g}; LQ {100 * fraction:.2g} % of the range"
    swapped = {}
    for pair, noise in noises:
        if pair.gain is not None and noise.sigma_hq > 0:
            ratio = pair.gain.gain * noise.sigma_lq / noise.sigma_hq
            if ratio < 1:
                swapped[pair.name] = f"ratio {ratio:.2f}"
    if swapped:
        reason = "the short exposure is cleaner than the long one: swapped, or already processed"
        advice = "swap the files, or export LQ unprocessed"
        verdict: Verdict = "fix" if len(swapped) > len(noises) / 2 else "drop"
        yield Finding("noise level", group.machine, verdict, found, reason, advice, swapped)
    elif group.pairs[0].dtype != "float32" and lq < QUANTISED:
        reason = "the noise is below the steps of the grey scale and rounded away"
        yield Finding("noise level", group.machine, "fix", found, reason, "export with 16 bits")
    else:
        yield Finding("noise level", group.machine, "fine", found, "the short exposure is the noisier one")


def judge_signal(group: Group) -> Iterator[Finding]:
    line = variance_line(group)
    if line is None:
        yield Finding("signal", group.machine, "fine", "not measured", "the grey values hardly vary")
        return
    start, slope, level = line
    middle = start + slope * level
    fraction = slope * level / middle if middle > 0 else 0.0
    found = f"LQ variance {start:.4g} {slope:+.4g} x grey"
    reason = f"{100 * min(max(fraction, 0.0), 1.0):.0f} % of the variance at mid grey goes with the signal"
    yield Finding("signal", group.machine, "fine", found, reason)


def variance_line(group: Group) -> tuple[float, float, float] | None:
    """Variance of LQ's noise as a line of its grey value: at grey value 0, slope, and the median grey value.

    Lines through the medians of groups of blocks, each weighted by what a variance estimate is worth.
    """
    rows = [pair.noise.by_level for pair in group.sound if pair.noise is not None]
    if not rows:
        return None
    level, variance, _, count = np.concatenate(rows).T
    if len(level) < 3 or np.ptp(level) <= 0:
        return None
    order = np.argsort(level)
    middles = [order[part] for part in np.array_split(np.arange(len(order)), min(12, len(order)))]
    x, y = (np.array([np.median(values[part]) for part in middles]) for values in (level, variance))
    worth = (
        np.array([count[part].sum() for part in middles]) / np.maximum(y, np.median(y) * 1e-2 + 1e-30) ** 2
    )
    slope, start = np.polyfit(x, y, 1, w=np.sqrt(worth))
    return float(start), float(slope), float(np.median(level))


def judge_correlation(group: Group) -> Iterator[Finding]:
    pairs = [pair.noise.corr_lq for pair in group.sound if pair.noise is not None]
    if not pairs:
        reason = "too little contrast or too small"
        yield Finding("correlation", group.machine, "fine", "not measured", reason)
        return
    x, y = (float(value) for value in np.median(np.array(pairs), axis=0))
    kind = "white" if max(abs(x), abs(y)) < 0.05 else "blurred by the detector or a filter, as is usual"
    found = f"LQ lag 1: {x:+.2f} along rows, {y:+.2f} along columns"
    yield Finding("correlation", group.machine, "fine", found, kind)


CHECKS: tuple[Callable[[Group], Iterator[Finding]], ...] = (
    judge_depths,
    judge_content,
    judge_shift,
    judge_gain,
    judge_law,
    judge_clipping,
    judge_noise,
    judge_signal,
    judge_correlation,
)


def judge_splits(pairs: Sequence[PairFacts], problems: Sequence[Problem]) -> Iterator[Finding]:
    """Whether every machine type has the splits that the set declares."""
    counts = Counter((pair.machine, pair.split) for pair in pairs)
    machines = sorted({pair.machine for pair in pairs})
    declared = sorted({pair.split for pair in pairs if pair.split is not None})
    faults = {problem.name: problem.text for problem in problems if problem.kind == "split"}
    for machine in machines:
        bare = counts[machine, None]
        if declared and bare:
            faults[machine] = f"{machine}: {bare} pairs are in no split"
        for split in declared:
            if not counts[machine, split] and not bare:
                faults[f"{machine}/{split}"] = f"{machine}: no pairs to {split}"
    words = [f"{split} {sum(pair.split == split for pair in pairs)}" for split in declared]
    found = ", ".join(words) if declared else "none declared"
    if faults:
        reason = "an empty or half-declared split makes scores meaningless"
        advice = "fill the folder, correct the names, or let --manifest write a whole split"
        yield Finding("splits", ALL, "fix", found, reason, advice, faults)
    else:
        reason = "as declared" if declared else "one is drawn by a seed, whole objects at a time"
        yield Finding("splits", ALL, "fine", found, reason)


def judge_duplicates(
    pairs: Sequence[PairFacts], alike: Sequence[tuple[PairFacts, PairFacts, float]]
) -> Iterator[Finding]:
    """The same pixels twice, and the same scene twice where a split could tear it apart."""
    copies: dict[str, str] = {}
    seen: dict[str, str] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.split != "test", pair.name)):  # the test set stays whole
        first = next((seen[digest] for digest in pair.sha256 if digest in seen), None)
        if first is not None:
            copies[pair.name] = f"same pixels as {first}"
        seen |= {digest: pair.name for digest in pair.sha256 if digest not in seen}
    if copies:
        reason = "copies count double, and across splits they make scores meaningless"
        found = f"{len(copies)} of {len(pairs)} pairs"
        yield Finding("duplicates", ALL, "drop", found, reason, "drop all but one", copies)
    near = [found for found in alike if found[0].name not in copies and found[1].name not in copies]
    loose = {
        one.name: f"same scene as {other.name} (likeness {score:.2f})"
        for one, other, score in near
        if one.split is None and other.split is None and one.object != other.object
    }
    if loose:
        reason = "several pairs of one scene; a drawn split may tear them apart"
        advice = "name them one object in a manifest (--manifest does)"
        yield Finding("near duplicates", ALL, "fix", f"{len(loose)} pairs", reason, advice, loose)
    if not copies and not loose:
        more = f"; {len(near)} pairs of one scene stay together" if near else ""
        yield Finding("duplicates", ALL, "fine", "none" + more, "no pixels occur twice")


def judge_leakage(
    pairs: Sequence[PairFacts], alike: Sequence[tuple[PairFacts, PairFacts, float]]
) -> Iterator[Finding]:
    """Scenes and objects that are on both sides of a declared split."""
    scenes: dict[str, str] = {}
    for one, other, score in alike:
        if one.split is None or other.split is None or one.split == other.split:
            continue
        leaver, stays = (one, other) if other.split == "test" else (other, one)
        scenes[leaver.name] = f"same scene as {stays.name} (likeness {score:.2f})"
    if scenes:
        reason = "the test scene was seen in training, so its score means nothing"
        advice = "drop the pair from the split it is not tested in"
        yield Finding("leakage", ALL, "drop", f"{len(scenes)} pairs", reason, advice, scenes)
    divided, doubtful = _divided_objects(pairs)
    if divided:
        reason = "views of one object are on both sides of the split"
        advice = "move all views of an object to one side (a manifest says which)"
        yield Finding("leakage", ALL, "fix", f"{len(divided)} objects", reason, advice, divided)
    if not scenes and not divided:
        reason = "no scene is on two sides"
        if doubtful:
            some = ", ".join(list(doubtful)[:3])
            reason += f"; if names such as {some} mean one object each, write a manifest"
        yield Finding("leakage", ALL, "fine", "none", reason)


def _divided_objects(pairs: Sequence[PairFacts]) -> tuple[dict[str, str], dict[str, str]]:
    """Objects in several splits: those that names show for sure, and those that a bare number suggests."""
    sides: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        if pair.proof and pair.split is not None:
            sides[pair.machine, pair.object, pair.proof][pair.split] += 1
    divided: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    for (machine, item, proof), counts in sorted(sides.items()):
        if len(counts) > 1:
            (doubtful if proof == "number" else divided)[f"{machine}/{item}"] = shown(dict(counts))
    return divided, doubtful
