"""Figure 2: the noise between short and long exposures, by machine type."""

from __future__ import annotations

from longexposure.data.noise_pairs import analyse_noise
from longexposure.format import shown
from longexposure.report.noise_pairs import analysis_dict, charts_of, file_name, meaning, table_rows
from longexposure.study.result import Figure, StudyResult, Table
from longexposure.study.sets import Stock
from longexposure.study.workbench import Workbench

QUESTION = (
    "The paper plots histograms of HQ - LQ of 100 training pairs of each machine type and calls them "
    "Gaussian. Here with moments, distance from a Gaussian, dependence on the signal, the noise power "
    "spectrum, and whether the mean is zero, which Noise2Noise needs. `longexposure noise pairs` gives the "
    "same for any folder of pairs."
)
CAPTIONS = {
    "histogram": "histogram of HQ - LQ beside a Gaussian",
    "histogram-tails": "the same on a logarithmic scale, which shows the tails",
    "mean": "mean of HQ - LQ against signal",
    "variance": "variance against signal",
    "spectrum": "noise power spectrum",
    "spectrum-2d": "noise power spectrum in two dimensions",
}


def run(bench: Workbench, stock: Stock) -> StudyResult:
    """Analyse the training pairs of every type."""
    include = ("*train/*",) if stock.declared else ("*",)
    analysis = analyse_noise(
        stock.path,
        pairs=bench.budget.noise_pairs,
        include=include,
        on_pair=lambda done, total, name: bench.tell(f"analysing {name}, {done} of {total}"),
    )
    rows = table_rows(analysis)
    titles = dict.fromkeys(title for row in rows for title in row)
    shown_rows = [{title: shown(row.get(title)) for title in titles} for row in rows]
    return StudyResult(
        name="noise",
        title="Figure 2: the noise of the three machine types",
        question=QUESTION,
        statements=[f"{noise.machine}: {line}" for noise in analysis.machines for line in meaning(noise)],
        tables=[Table("HQ - LQ", shown_rows, f"{analysis.sampled}.")],
        figures=[
            Figure(
                f"noise-{file_name(noise.machine)}-{name}.svg",
                f"{noise.machine}: {CAPTIONS[name]}.",
                svg.encode(),
            )
            for noise in analysis.machines
            for name, svg in charts_of(noise).items()
        ],
        results=analysis_dict(analysis),
        limits=[line for line in stock.limits() if "WHFL" not in line],
        data=stock.facts(),
    )
