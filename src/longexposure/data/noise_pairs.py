"""Analysing: the noise between short and long exposures, Fig. 2 of the paper for any set of pairs.

Of each machine type, HQ - LQ is gathered over evenly spread pairs, one pair in memory at a time: histogram
beside a Gaussian, moments, how normal it is and what that means, variance and mean against the signal, and
the noise power spectrum. The signal is the mean of both exposures weighted so that its own noise does not
correlate with that of the difference; a bin of grey values taken from one exposure alone would pick its noise
along with it and show a bias that is not there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.data.listing import Listed, list_pairs
from longexposure.data.registration import fit_gain
from longexposure.errors import InputError, LongExposureError
from longexposure.format import finite
from longexposure.grey import evenly_sampled
from longexposure.io import read_radiograph
from longexposure.io.writing import Content, write_together
from longexposure.noise.distribution import Histogram, Moments, Normality, gaussian, normality
from longexposure.noise.separation import PairedBlocks, flatter_half_noise, paired_blocks
from longexposure.noise.spectrum import NoisePowerSpectrum, SpectrumSum
from longexposure.radiograph import Pixels
from longexposure.report.article import Section, page_html, page_markdown
from longexposure.report.plots import Series, line_chart, map_chart

PAIRS = 100
"""Pairs of each machine type that are analysed, as many as in the paper's Fig. 2."""
PEEKED = 8
"""Pairs that set the bins before all are gathered."""
LEVELS = 16
"""Bins of the signal, of about equal content."""
FEWEST_PAIRS = 4
"""A mean at one signal is worth a sentence where so many pairs have that signal."""
BLOCKS = 512
"""Blocks of each pair that are kept for variance against signal."""
PATCHES_PX = (128, 64, 32, 16)
MEDIAN_OF_CHI2 = (1 - 2 / (9 * 253)) ** 3
"""Median over mean of a variance estimate from a block of 16 x 16 pixels about its plane."""
GAIN_OFF = 0.02

_INTRODUCTION = (
    "HQ - LQ of every machine type. Statistics of tests (K2 of D'Agostino and Pearson, A2 of Anderson and "
    "Darling) grow with the number of pixels and say nothing by themselves at a million of them; skewness, "
    "excess kurtosis and the gap between the cumulative distributions (Kolmogorov) are sizes of effects and "
    "do not grow."
)

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ZeroMean:
    """Is the noise of zero mean, as Noise2Noise needs it?

    Attributes:
        mean: mean of HQ - LQ, grey values.
        error: its standard error from pair to pair, which drift and correlation are part of; infinite for
            one pair.
        error_if_independent: what it would be if pixels were independent.
        fraction_of_sd: mean over standard deviation: the effect.
        level: (K,) signal of the bins.
        by_level: (K,) mean of HQ - LQ there.
        error_by_level: (K,) standard error from pair to pair.
        pairs_by_level: (K,) how many pairs have that signal; from few of them the error says little.
    """

    mean: float
    error: float
    error_if_independent: float
    fraction_of_sd: float
    level: Numbers
    by_level: Numbers
    error_by_level: Numbers
    pairs_by_level: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NoiseAnalysis:
    """The noise of one machine type.

    Attributes:
        machine: machine type.
        pairs: pairs analysed.
        of_pairs: pairs there are.
        pixels: pixels analysed.
        moments: of HQ - LQ.
        histogram: of HQ - LQ.
        normality: how far that is from a Gaussian; None where all pixels are alike.
        within_skewness: skewness within one pair and one bin of the signal, averaged.
        within_kurtosis: excess kurtosis there.
        zero_mean: mean against its error and against the signal.
        signal: (K, 5) signal, and robust variance there of HQ - LQ, of LQ, of HQ, and number of blocks.
        line: variance of HQ - LQ at signal 0 and its slope; None where the signal hardly varies.
        gain: median gain of HQ on LQ.
        spectrum: noise power spectrum; None for images smaller than a patch.
    """

    machine: str
    pairs: int
    of_pairs: int
    pixels: int
    moments: Moments
    histogram: Histogram
    normality: Normality | None
    within_skewness: float
    within_kurtosis: float
    zero_mean: ZeroMean
    signal: Numbers
    line: tuple[float, float] | None
    gain: float | None
    spectrum: NoisePowerSpectrum | None


@dataclass(frozen=True, eq=False)
class Analysis:
    """Every machine type of a set, and what was left out of it."""

    path: str
    machines: tuple[NoiseAnalysis, ...]
    sampled: str
    left_out: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """The table: one row for each machine type."""
        return [_row(noise) for noise in self.machines]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "path": self.path,
            "version": metadata.version("longexposure"),
            "sampled": self.sampled,
            "left_out": dict(self.left_out),
            "machines": {noise.machine: analysis_dict(noise) for noise in self.machines},
        }


def analyse_noise(
    path: Path,
    *,
    pairs: int = PAIRS,
    include: Sequence[str] = ("*",),
    on_pair: Callable[[int, int, str], None] | None = None,
) -> Analysis:
    """Analyse HQ - LQ of every machine type of a set.

    Args:
        path: folder of pairs or manifest, see `longexposure.data.listing.list_pairs`.
        pairs: most pairs of each machine type, evenly spread over their names.
        include: patterns of the pairs to take.
        on_pair: called after each pair with the number done, the number of all, and its name.

    Raises:
        InputError: no pair that can be read, or a manifest that cannot.
    """
    listing = list_pairs(Path(path), include=include)
    left_out = {problem.name: problem.text for problem in listing.problems}
    machines = sorted({pair.machine for pair in listing.pairs})
    chosen = {
        machine: evenly_spread([pair for pair in listing.pairs if pair.machine == machine], pairs)
        for machine in machines
    }
    total, done = sum(map(len, chosen.values())), 0
    found = []
    for machine, some in chosen.items():
        gathered = _Gathered(machine, some, left_out)
        for pair in some:
            gathered.add(pair)
            done += 1
            if on_pair is not None:
                on_pair(done, total, pair.name)
        if gathered.pairs:
            of_pairs = sum(pair.machine == machine for pair in listing.pairs)
            found.append(gathered.result(of_pairs))
    if not found:
        raise _no_pairs(Path(path), left_out)
    words = ", ".join(f"{noise.pairs} of {noise.of_pairs} pairs of {noise.machine}" for noise in found)
    sampled = f"{words}, evenly spread, all their pixels; variance against signal from {BLOCKS} blocks each"
    return Analysis(str(path), tuple(found), sampled, left_out)


def evenly_spread(pairs: Sequence[Listed], count: int) -> list[Listed]:
    """At most so many, from the first to the last."""
    if len(pairs) <= count:
        return list(pairs)
    return [pairs[index] for index in np.linspace(0, len(pairs) - 1, count).round().astype(int)]


def meaning(noise: NoiseAnalysis) -> list[str]:
    """What the numbers say, a sentence each."""
    return [line for part in (_on_shape, _on_mean, _on_signal, _on_colour, _on_gain) for line in part(noise)]


def analysis_dict(noise: NoiseAnalysis) -> dict[str, Any]:
    """One machine type for JSON."""
    moments, normal, zero, spectrum = noise.moments, noise.normality, noise.zero_mean, noise.spectrum
    centres, density = noise.histogram.merged(120)
    return {
        "pairs": noise.pairs,
        "of_pairs": noise.of_pairs,
        "pixels": noise.pixels,
        "mean": moments.mean,
        "mean_error": zero.error,
        "mean_error_if_independent": zero.error_if_independent,
        "sd": moments.sd,
        "skewness": moments.skewness,
        "excess_kurtosis": moments.kurtosis,
        "skewness_within_signal": noise.within_skewness,
        "excess_kurtosis_within_signal": noise.within_kurtosis,
        "normality": None if normal is None else dict(vars(normal)),
        "histogram": {"hq_minus_lq": centres.tolist(), "density": density.tolist()},
        "zero_mean": {
            "signal": zero.level.tolist(),
            "mean": zero.by_level.tolist(),
            "error": zero.error_by_level.tolist(),
            "pairs": zero.pairs_by_level.tolist(),
        },
        "variance": {
            "columns": ["signal", "hq_minus_lq", "lq", "hq", "blocks"],
            "rows": noise.signal.tolist(),
            "line": None if noise.line is None else {"at_zero": noise.line[0], "slope": noise.line[1]},
        },
        "gain": noise.gain,
        "spectrum": None if spectrum is None else _spectrum_dict(spectrum),
        "meaning": meaning(noise),
    }


def json_text(analysis: Analysis) -> str:
    """The whole analysis as JSON; numbers that are not finite become null."""
    return json.dumps(finite(analysis.as_dict()), indent=1, allow_nan=False) + "\n"


def file_name(machine: str) -> str:
    """The machine type as part of a file name."""
    return re.sub(r"[^\w.-]+", "-", machine).strip("-.") or "set"


def write_analysis(analysis: Analysis, out: Path, *, overwrite: bool = False) -> list[Path]:
    """Write `noise.html`, `noise.md`, `noise.json` and the charts, all of them or none.

    Args:
        analysis: what `analyse_noise` found.
        out: folder; made where it is missing.
        overwrite: whether files of these names may be replaced.

    Returns:
        The files, the page first.

    Raises:
        OutputError: a file exists and may not be replaced, or cannot be written.
    """
    charts = {noise.machine: charts_of(noise) for noise in analysis.machines}
    sections = [
        Section("All machine types", [_INTRODUCTION, f"Analysed: {analysis.sampled}."], analysis.rows())
    ]
    if analysis.left_out:
        faults = [{"left out": name, "why": why} for name, why in analysis.left_out.items()]
        sections.append(Section("Left out", ["These were not analysed."], faults))
    for noise in analysis.machines:
        named = {f"{file_name(noise.machine)}-{name}.svg": svg for name, svg in charts[noise.machine].items()}
        sections.append(Section(noise.machine, meaning(noise), charts=named))
    title = "Noise between short and long exposures"
    texts = {
        "noise.html": page_html(title, sections),
        "noise.md": page_markdown(title, sections),
        "noise.json": json_text(analysis),
        **{name: svg for section in sections for name, svg in section.charts.items()},
    }
    contents: dict[Path, Content] = {
        Path(out) / name: text.encode(errors="replace") for name, text in texts.items()
    }
    write_together(contents, overwrite=overwrite, parents=True)
    return list(contents)


def charts_of(noise: NoiseAnalysis) -> dict[str, str]:
    """The charts of one machine type as SVG by their names."""
    charts = {**_shape_charts(noise), "mean": _mean_chart(noise)}
    if len(noise.signal):
        charts["variance"] = _variance_chart(noise)
    if noise.spectrum is not None:
        charts |= _spectrum_charts(noise.machine, noise.spectrum)
    return charts


def _shape_charts(noise: NoiseAnalysis) -> dict[str, str]:
    moments = noise.moments
    if moments.sum2 <= 0:
        return {}
    centres, density = noise.histogram.merged(120)
    fit = gaussian(centres, mean=moments.mean, sd=moments.sd)
    series = [
        Series("HQ - LQ", centres, density, "steps"),
        Series(f"Gaussian, sd {moments.sd:.4g}", centres, fit, "dashes"),
    ]
    return {
        f"histogram{name}": line_chart(
            series,
            title=f"{noise.machine}: histogram of HQ - LQ{', tails' if log else ''}",
            x_label="HQ - LQ (grey values)",
            y_label="density",
            log_y=log,
            from_zero=True,
        )
        for name, log in (("", False), ("-tails", True))
    }


def _mean_chart(noise: NoiseAnalysis) -> str:
    zero = noise.zero_mean
    error = np.where(np.isfinite(zero.error_by_level), zero.error_by_level, 0.0)
    return line_chart(
        [
            Series("mean, 2 standard errors", zero.level, zero.by_level, "points", error=2 * error),
            Series("zero", zero.level[[0, -1]], [0.0, 0.0], "dashes"),
        ],
        title=f"{noise.machine}: mean of HQ - LQ against signal",
        x_label="signal (grey values)",
        y_label="mean (grey values)",
    )


def _variance_chart(noise: NoiseAnalysis) -> str:
    level, apart, lq, hq = noise.signal[:, :4].T
    series = [
        Series("HQ - LQ", level, apart, "points"),
        Series("LQ", level, lq, "points"),
        Series("HQ", level, hq, "points"),
    ]
    if noise.line is not None:
        start, slope = noise.line
        series.append(Series("line", level, start + slope * level, "dashes"))
    return line_chart(
        series,
        title=f"{noise.machine}: variance against signal",
        x_label="signal (grey values)",
        y_label="variance (grey values squared)",
        from_zero=True,
    )


def _spectrum_charts(machine: str, spectrum: NoisePowerSpectrum) -> dict[str, str]:
    frequency, radial = spectrum.radial()
    along, horizontal, vertical = spectrum.axes()
    power = np.log10(np.maximum(spectrum.power, 1e-12 * max(spectrum.power.max(), 1e-300)))
    curves = line_chart(
        [
            Series("radial", frequency[1:], radial[1:]),
            Series("horizontal axis", along[1:], horizontal[1:], "dashes"),
            Series("vertical axis", along[1:], vertical[1:], "dashes"),
        ],
        title=f"{machine}: noise power spectrum of HQ - LQ",
        x_label="frequency (cycles per pixel)",
        y_label="power (grey values squared)",
        from_zero=True,
    )
    plane = map_chart(
        power,
        title=f"{machine}: noise power spectrum in two dimensions",
        x_label="horizontal frequency (cycles per pixel)",
        y_label="vertical frequency",
        extent=(-0.5, 0.5),
        unit="log10 of power",
    )
    return {"spectrum": curves, "spectrum-2d": plane}


class _Gathered:
    """What is gathered of one machine type, pair by pair."""

    def __init__(self, machine: str, chosen: Sequence[Listed], left_out: dict[str, str]) -> None:
        self.machine, self._left_out = machine, left_out
        self.pairs = 0
        self._pixels = 0
        seen = _peek(evenly_spread(chosen, PEEKED), left_out)
        self._edges, self._weight, self._gain = seen.edges, seen.weight, seen.gain
        self._histogram = Histogram(seen.width)
        self._bins = [Moments()] * (len(self._edges) + 1)
        self._sums = np.zeros(len(self._edges) + 1)
        self._within = np.zeros(2)
        self._by_pair: list[tuple[Numbers, Numbers]] = []
        self._pair_means: list[tuple[float, int]] = []
        self._blocks: list[PairedBlocks] = []
        patch = next((size for size in PATCHES_PX if 2 * size <= seen.side_px), PATCHES_PX[-1])
        self._spectrum = SpectrumSum(patch)

    def add(self, pair: Listed) -> None:
        """Gather one pair; one that cannot be used is noted and left out."""
        images = _images(pair, self._left_out)
        if images is None:
            return
        lq, hq = images
        difference = hq.astype(np.float64) - lq.astype(np.float64)
        signal = self._weight * lq.astype(np.float64) + (1 - self._weight) * hq.astype(np.float64)
        where = np.searchsorted(self._edges, signal.ravel())
        self._add_moments(difference.ravel(), where)
        self._sums += np.bincount(where, weights=signal.ravel(), minlength=len(self._sums))
        self._histogram.add(difference)
        self._spectrum.add(difference)
        self._blocks.append(_some(paired_blocks(lq, hq), BLOCKS))
        self._pair_means.append((float(difference.mean()), difference.size))
        self.pairs += 1
        self._pixels += difference.size

    def _add_moments(self, values: Numbers, where: npt.NDArray[np.intp]) -> None:
        """Moments of each bin of the signal, and this pair's means."""
        count = len(self._bins)
        order = np.argsort(where, kind="stable")
        cuts = np.searchsorted(where[order], np.arange(1, count))
        new = [Moments.of(part) for part in np.split(values[order], cuts)]
        self._bins = [old + more for old, more in zip(self._bins, new, strict=True)]
        self._within += [
            sum(m.count * shape for m, shape in zip(new, shapes, strict=True))
            for shapes in ([m.skewness for m in new], [m.kurtosis for m in new])
        ]
        self._by_pair.append((np.array([m.mean for m in new]), np.array([float(m.count) for m in new])))

    def result(self, of_pairs: int) -> NoiseAnalysis:
        moments = sum(self._bins, Moments())
        blocks = PairedBlocks.concatenated(self._blocks)
        signal = _by_signal(blocks, self._gain, self._weight)
        return NoiseAnalysis(
            machine=self.machine,
            pairs=self.pairs,
            of_pairs=of_pairs,
            pixels=self._pixels,
            moments=moments,
            histogram=self._histogram,
            normality=normality(moments, self._histogram),
            within_skewness=float(self._within[0]) / moments.count,
            within_kurtosis=float(self._within[1]) / moments.count,
            zero_mean=self._zero_mean(moments),
            signal=signal,
            line=_line(signal),
            gain=self._gain,
            spectrum=self._spectrum.result(),
        )

    def _zero_mean(self, moments: Moments) -> ZeroMean:
        means, counts = (np.array(part) for part in zip(*self._by_pair, strict=True))
        filled = counts.sum(axis=0) > 0
        by_level, errors = _clustered(means[:, filled], counts[:, filled])
        whole, sizes = (
            np.array(part, dtype=np.float64)[:, None] for part in zip(*self._pair_means, strict=True)
        )
        _, error = _clustered(whole, sizes)
        return ZeroMean(
            mean=moments.mean,
            error=float(error[0]),
            error_if_independent=moments.sd / math.sqrt(moments.count),
            fraction_of_sd=moments.mean / moments.sd if moments.sd > 0 else 0.0,
            level=(self._sums / np.maximum(counts.sum(axis=0), 1))[filled],
            by_level=by_level,
            error_by_level=errors,
            pairs_by_level=(counts[:, filled] > 0).sum(axis=0),
        )


def _images(pair: Listed, left_out: dict[str, str]) -> tuple[Pixels, Pixels] | None:
    """Both images of a pair; why they cannot be used goes to `left_out`."""
    if pair.name in left_out:
        return None
    try:
        lq, hq = (read_radiograph(file).pixels for file in (pair.lq, pair.hq))
    except LongExposureError as error:
        left_out[pair.name] = str(error)
        return None
    if lq.ndim != 2 or lq.shape != hq.shape or lq.dtype != hq.dtype:
        left_out[pair.name] = f"{pair.name}: sizes or types differ, or several images in one file"
        return None
    if lq.dtype.kind == "f" and not (np.isfinite(lq).all() and np.isfinite(hq).all()):
        left_out[pair.name] = f"{pair.name}: values that are no numbers"
        return None
    return lq, hq


@dataclass(frozen=True, eq=False)
class _Peeked:
    """What the bins are set by: inner edges of the signal's, weight of LQ in it, width of the histogram's."""

    edges: Numbers
    weight: float
    gain: float | None
    width: float
    side_px: int


def _peek(chosen: Sequence[Listed], left_out: dict[str, str]) -> _Peeked:
    blocks: list[PairedBlocks] = []
    samples: list[tuple[Numbers, Numbers]] = []
    sides: list[int] = []
    whole = True
    for pair in chosen:
        images = _images(pair, left_out)
        if images is None:
            continue
        lq, hq = images
        blocks.append(paired_blocks(lq, hq))
        few = (evenly_sampled(image, 1 << 16).astype(np.float64).ravel() for image in images)
        samples.append((next(few), next(few)))
        sides.append(min(lq.shape))
        whole &= lq.dtype.kind == "u"
    if not samples:
        return _Peeked(np.zeros(0), 0.5, None, 1.0, 0)
    gains = [found for part in blocks if (found := fit_gain(part)) is not None]
    gain = float(np.median([found.gain for found in gains])) if gains else None
    weight = _weight_of_lq(PairedBlocks.concatenated(blocks), gain)
    signal = np.concatenate([weight * lq + (1 - weight) * hq for lq, hq in samples])
    edges = np.unique(np.quantile(signal, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    apart = float(np.concatenate([hq - lq for lq, hq in samples]).std())
    return _Peeked(edges, weight, gain, 1.0 if whole else apart / 256 or 1.0, min(sides))


def _weight_of_lq(blocks: PairedBlocks, gain: float | None) -> float:
    """Weight under which the mean of both exposures has no noise in common with their difference."""
    if gain is None or gain <= 0 or not len(blocks):
        return 0.05
    _, *noises = flatter_half_noise(blocks, gain=gain)
    lq, hq = (max(float(np.median(part)), 0.0) for part in noises)
    return hq / (lq + hq) if lq + hq > 0 else 0.05


def _some(blocks: PairedBlocks, count: int) -> PairedBlocks:
    """At most so many blocks, evenly spread."""
    step = max(1, -(-len(blocks) // count))
    return PairedBlocks(**{name: numbers[::step] for name, numbers in vars(blocks).items()})


def _by_signal(blocks: PairedBlocks, gain: float | None, weight: float) -> Numbers:
    """Rows of `NoiseAnalysis.signal`: medians over blocks of about one brightness."""
    if len(blocks) < 16:
        return np.zeros((0, 5))
    level = weight * blocks.mean_lq + (1 - weight) * blocks.mean_hq
    apart = (blocks.var_lq + blocks.var_hq - 2 * blocks.cov).mean(axis=1) / MEDIAN_OF_CHI2
    which, lq, hq = flatter_half_noise(blocks, gain=gain if gain is not None and gain > 0 else 1.0)
    edges = np.quantile(level, np.linspace(0, 1, min(LEVELS, len(level) // 8) + 1)[1:-1])
    place, calm = np.searchsorted(edges, level), np.searchsorted(edges, level[which])
    rows = [
        [
            float(np.median(level[place == group])),
            float(np.median(apart[place == group])),
            *(
                float(np.median(noise[calm == group])) if (calm == group).any() else np.nan
                for noise in (lq, hq)
            ),
            float((place == group).sum()),
        ]
        for group in range(len(edges) + 1)
        if (place == group).any()
    ]
    return np.array(rows, dtype=np.float64)


def _line(signal: Numbers) -> tuple[float, float] | None:
    """Variance at signal 0 and slope, each group weighted by what its variance is worth."""
    if len(signal) < 3 or np.ptp(signal[:, 0]) <= 0 or signal[:, 1].max() <= 0:
        return None
    level, variance, count = signal[:, 0], signal[:, 1], signal[:, 4]
    worth = np.sqrt(count) / np.maximum(variance, 1e-3 * variance.max())
    slope, start = np.polyfit(level, variance, 1, w=worth)
    return float(start), float(slope)


def _clustered(means: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Mean over all pixels and its standard error from pair to pair, of (pairs, bins) each."""
    total = counts.sum(axis=0)
    mean = (means * counts).sum(axis=0) / total
    number = (counts > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (counts**2 * (means - mean) ** 2).sum(axis=0) * number / (number - 1)
        error = np.sqrt(spread) / total
    return mean, np.where(number > 1, error, np.inf)


def _spectrum_dict(spectrum: NoisePowerSpectrum) -> dict[str, Any]:
    f_radial, radial = spectrum.radial()
    f_axis, horizontal, vertical = spectrum.axes()
    return {
        "unit": "grey values^2 px^2 over cycles per px; the integral is the variance",
        "patch_px": len(spectrum.power),
        "patches": spectrum.patches,
        "variance": spectrum.variance,
        "radial": {"frequency": f_radial.tolist(), "power": radial.tolist()},
        "axes": {
            "frequency": f_axis.tolist(),
            "horizontal": horizontal.tolist(),
            "vertical": vertical.tolist(),
        },
        "power": [[float(f"{value:.4g}") for value in row] for row in spectrum.power],
        "autocorrelation": spectrum.autocorrelation(lags=2).tolist(),
    }


def _row(noise: NoiseAnalysis) -> dict[str, Any]:
    normal, spectrum = noise.normality, noise.spectrum
    lag = None if spectrum is None else spectrum.autocorrelation(lags=1)
    return {
        "machine": noise.machine,
        "pairs": noise.pairs,
        "mean": noise.moments.mean,
        "error of mean": noise.zero_mean.error,
        "sd": noise.moments.sd,
        "skewness": noise.moments.skewness,
        "excess kurtosis": noise.moments.kurtosis,
        "within pair and signal": noise.within_kurtosis,
        "gap to Gaussian": None if normal is None else normal.distance,
        "K2": None if normal is None else normal.k2,
        "A2": None if normal is None else normal.anderson_darling,
        "variance per grey": None if noise.line is None else noise.line[1],
        "lag 1 x": None if lag is None else float(lag[1, 2]),
        "lag 1 y": None if lag is None else float(lag[2, 1]),
    }


def _on_shape(noise: NoiseAnalysis) -> Iterator[str]:
    normal = noise.normality
    if normal is None:
        yield "HQ - LQ does not vary, so there is no distribution to speak of."
        return
    yield (
        "Against a Gaussian of the same mean and sd, the cumulative histogram is off by "
        f"{normal.distance:.4f} at most. A test at 5 % on {noise.pixels:.3g} independent pixels rejects from "
        f"{normal.chance_distance:.1g} on, so K2 = {normal.k2:.3g} and A2 = {normal.anderson_darling:.3g} "
        "say little more than that there are many pixels; the gap itself would go unnoticed in fewer than "
        f"{normal.noticed_from:.3g} of them."
    )
    mixed = noise.moments.kurtosis - noise.within_kurtosis
    if abs(noise.moments.kurtosis) < 0.05:
        yield "The tails are those of a Gaussian (excess kurtosis within 0.05)."
    elif mixed > 0.5 * noise.moments.kurtosis > 0:
        yield (
            f"The tails are heavier than a Gaussian's (excess kurtosis {noise.moments.kurtosis:.2f}), mostly "
            "because different noise is mixed: within one pair and signal it is "
            f"{noise.within_kurtosis:.2f}."
        )
    else:
        yield (
            f"Excess kurtosis is {noise.moments.kurtosis:.2f}, and {noise.within_kurtosis:.2f} within one "
            "pair and signal; what the first has beyond the second comes from brightness that differs from "
            "pair to pair, the second from the noise itself, edges that moved or faulty pixels."
        )


def _on_mean(noise: NoiseAnalysis) -> Iterator[str]:
    zero = noise.zero_mean
    if not math.isfinite(zero.error):
        yield f"The mean is {zero.mean:.4g}; how sure that is takes more than one pair to tell."
        return
    sure = abs(zero.mean) > 3 * zero.error
    enough = min(FEWEST_PAIRS, int(zero.pairs_by_level.max()))
    worst = int(np.argmax(np.where(zero.pairs_by_level >= enough, np.abs(zero.by_level), -1.0)))
    yield (
        f"Noise2Noise needs a zero mean: it is {zero.mean:.4g} +- {zero.error:.2g} grey values, the error "
        f"taken from pair to pair ({100 * zero.fraction_of_sd:.2g} % of the sd); it is "
        f"{'not zero' if sure else 'not to be told from zero'}. The largest at one signal, in {enough} pairs "
        f"or more, is "
        f"{zero.by_level[worst]:.4g} +- {zero.error_by_level[worst]:.2g} at {zero.level[worst]:.4g}."
    )


def _on_signal(noise: NoiseAnalysis) -> Iterator[str]:
    if noise.line is None:
        return
    start, slope = noise.line
    middle = float(np.median(noise.signal[:, 0]))
    fraction = slope * middle / (start + slope * middle) if start + slope * middle > 0 else 0.0
    yield (
        f"The variance is {start:.4g} {slope:+.4g} x signal; at the median signal "
        f"{100 * min(max(fraction, 0), 1):.0f} % of it goes with the signal, as quanta do."
    )


def _on_colour(noise: NoiseAnalysis) -> Iterator[str]:
    if noise.spectrum is None:
        return
    lag = noise.spectrum.autocorrelation(lags=1)
    x, y = float(lag[1, 2]), float(lag[2, 1])
    kind = "white" if max(abs(x), abs(y)) < 0.05 else "coloured"
    yield (
        f"The noise is {kind}: neighbours correlate by {x:+.2f} along rows and {y:+.2f} along columns. The "
        f"spectrum integrates to {noise.spectrum.variance:.4g}, the variance about the patches' own means."
    )


def _on_gain(noise: NoiseAnalysis) -> Iterator[str]:
    if noise.gain is not None and abs(noise.gain - 1) > GAIN_OFF:
        yield (
            f"The gain of HQ on LQ is {noise.gain:.3g}: the exposures are not on one grey scale, so HQ - LQ "
            "holds structure beside noise. See `longexposure check-pairs` for what to do."
        )


def _no_pairs(path: Path, left_out: Mapping[str, str]) -> InputError:
    some = "; ".join(list(left_out.values())[:3])
    return InputError(
        where=str(path),
        expected="pairs of readable images of one size in folders LQ and HQ",
        found=f"none that can be used: {some}" if some else "no pairs",
        advice="`longexposure check-pairs` lists everything that is wrong",
    )
