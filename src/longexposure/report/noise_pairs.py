"""The page about the noise between short and long exposures: statements, table, charts, and JSON with it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.format import finite
from longexposure.io.writing import Content, write_together
from longexposure.noise.distribution import gaussian
from longexposure.noise.pair_statistics import NoiseAnalysis, SetAnalysis
from longexposure.noise.spectrum import NoisePowerSpectrum
from longexposure.report.pages import Section, page_html, page_markdown
from longexposure.report.plots import Series, line_chart, map_chart

FEWEST_PAIRS = 4
"""A mean at one signal is worth a sentence where so many pairs have that signal."""
GAIN_OFF = 0.02

_INTRODUCTION = (
    "HQ - LQ of every machine type. Statistics of tests (K2 of D'Agostino and Pearson, A2 of Anderson and "
    "Darling) grow with the number of pixels and say nothing by themselves at a million of them; skewness, "
    "excess kurtosis and the gap between the cumulative distributions (Kolmogorov) are sizes of effects and "
    "do not grow."
)


def write_analysis(analysis: SetAnalysis, out: Path, *, overwrite: bool = False) -> list[Path]:
    """Write `noise.html`, `noise.md`, `noise.json` and the charts, all of them or none.

    Args:
        analysis: what `longexposure.data.noise_pairs.analyse_noise` found.
        out: folder; made where it is missing.
        overwrite: whether files of these names may be replaced.

    Returns:
        The files, the page first.

    Raises:
        OutputError: a file exists and may not be replaced, or cannot be written.
    """
    introduction = [_INTRODUCTION, f"Analysed: {analysis.sampled}."]
    sections = [Section("All machine types", introduction, table_rows(analysis))]
    if analysis.left_out:
        faults = [{"left out": name, "why": why} for name, why in analysis.left_out.items()]
        sections.append(Section("Left out", ["These were not analysed."], faults))
    for noise in analysis.machines:
        named = {f"{file_name(noise.machine)}-{name}.svg": svg for name, svg in charts_of(noise).items()}
        sections.append(Section(noise.machine, meaning(noise), charts=named))
    title = "Noise between short and long exposures"
    texts = {
        "noise.html": page_html(title, sections),
        "noise.md": page_markdown(title, sections),
        "noise.json": json.dumps(finite(analysis_dict(analysis)), indent=1, allow_nan=False) + "\n",
        **{name: svg for section in sections for name, svg in section.charts.items()},
    }
    contents: dict[Path, Content] = {
        Path(out) / name: text.encode(errors="replace") for name, text in texts.items()
    }
    write_together(contents, overwrite=overwrite, parents=True)
    return list(contents)


def analysis_dict(analysis: SetAnalysis) -> dict[str, Any]:
    """Everything, for JSON."""
    return {
        "path": analysis.path,
        "version": metadata.version("longexposure"),
        "sampled": analysis.sampled,
        "left_out": dict(analysis.left_out),
        "machines": {noise.machine: machine_dict(noise) for noise in analysis.machines},
    }


def machine_dict(noise: NoiseAnalysis) -> dict[str, Any]:
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


def table_rows(analysis: SetAnalysis) -> list[dict[str, Any]]:
    """The table: one row for each machine type."""
    rows = []
    for noise in analysis.machines:
        normal, spectrum = noise.normality, noise.spectrum
        lag = None if spectrum is None else spectrum.autocorrelation(lags=1)
        rows.append(
            {
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
        )
    return rows


def file_name(machine: str) -> str:
    """The machine type as part of a file name."""
    return re.sub(r"[^\w.-]+", "-", machine).strip("-.") or "set"


def meaning(noise: NoiseAnalysis) -> list[str]:
    """What the numbers say, a sentence each."""
    return [line for part in (on_shape, on_mean, on_signal, on_colour, on_gain) for line in part(noise)]


def on_shape(noise: NoiseAnalysis) -> Iterator[str]:
    """How far HQ - LQ is from a Gaussian, and whether its tails are the noise's own."""
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


def on_mean(noise: NoiseAnalysis) -> Iterator[str]:
    """Whether the mean is zero, as Noise2Noise needs it."""
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


def on_signal(noise: NoiseAnalysis) -> Iterator[str]:
    """How the variance goes with the signal."""
    if noise.line is None:
        return
    start, slope = noise.line
    middle = float(np.median(noise.signal[:, 0]))
    fraction = slope * middle / (start + slope * middle) if start + slope * middle > 0 else 0.0
    yield (
        f"The variance is {start:.4g} {slope:+.4g} x signal; at the median signal "
        f"{100 * min(max(fraction, 0), 1):.0f} % of it goes with the signal, as quanta do."
    )


def on_colour(noise: NoiseAnalysis) -> Iterator[str]:
    """How neighbours correlate."""
    if noise.spectrum is None:
        return
    lag = noise.spectrum.autocorrelation(lags=1)
    x, y = float(lag[1, 2]), float(lag[2, 1])
    kind = "white" if max(abs(x), abs(y)) < 0.05 else "coloured"
    yield (
        f"The noise is {kind}: neighbours correlate by {x:+.2f} along rows and {y:+.2f} along columns. The "
        f"spectrum integrates to {noise.spectrum.variance:.4g}, the variance about the patches' own means."
    )


def on_gain(noise: NoiseAnalysis) -> Iterator[str]:
    """Whether both exposures are on one grey scale."""
    if noise.gain is not None and abs(noise.gain - 1) > GAIN_OFF:
        yield (
            f"The gain of HQ on LQ is {noise.gain:.3g}: the exposures are not on one grey scale, so HQ - LQ "
            "holds structure beside noise. See `longexposure check-pairs` for what to do."
        )


def charts_of(noise: NoiseAnalysis) -> dict[str, str]:
    """The charts of one machine type as SVG by their names."""
    makers = (histogram_charts, mean_chart, variance_chart, spectrum_charts)
    return {name: svg for maker in makers for name, svg in maker(noise).items()}


def histogram_charts(noise: NoiseAnalysis) -> dict[str, str]:
    """The histogram of HQ - LQ beside a Gaussian, on a linear and on a logarithmic scale."""
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


def mean_chart(noise: NoiseAnalysis) -> dict[str, str]:
    """Mean of HQ - LQ against the signal."""
    zero = noise.zero_mean
    error = np.where(np.isfinite(zero.error_by_level), zero.error_by_level, 0.0)
    chart = line_chart(
        [
            Series("mean, 2 standard errors", zero.level, zero.by_level, "points", error=2 * error),
            Series("zero", zero.level[[0, -1]], [0.0, 0.0], "dashes"),
        ],
        title=f"{noise.machine}: mean of HQ - LQ against signal",
        x_label="signal (grey values)",
        y_label="mean (grey values)",
    )
    return {"mean": chart}


def variance_chart(noise: NoiseAnalysis) -> dict[str, str]:
    """Variance of HQ - LQ and of either exposure against the signal."""
    if not len(noise.signal):
        return {}
    level, apart, lq, hq = noise.signal[:, :4].T
    series = [
        Series("HQ - LQ", level, apart, "points"),
        Series("LQ", level, lq, "points"),
        Series("HQ", level, hq, "points"),
    ]
    if noise.line is not None:
        start, slope = noise.line
        series.append(Series("line", level, start + slope * level, "dashes"))
    chart = line_chart(
        series,
        title=f"{noise.machine}: variance against signal",
        x_label="signal (grey values)",
        y_label="variance (grey values squared)",
        from_zero=True,
    )
    return {"variance": chart}


def spectrum_charts(noise: NoiseAnalysis) -> dict[str, str]:
    """The noise power spectrum, along its axes and as a map."""
    machine, spectrum = noise.machine, noise.spectrum
    if spectrum is None:
        return {}
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
