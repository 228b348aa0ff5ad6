"""Write docs/results.md, and the results in README.md, from the JSON files of this folder. No number by hand.

python benchmarks/tables.py [--check]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START, END = "<!-- results -->", "<!-- /results -->"


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((HERE / name).read_text())
    return content


def table(titles: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|" + "|".join("---" for _ in titles) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def quality_table(quality: dict[str, Any]) -> str:
    cases = quality["cases"]
    methods = list(next(iter(cases.values()))["methods"])
    rows = [
        [name, *(f"{case['methods'][m]['psnr']:.2f} / {case['methods'][m]['ssim']:.3f}" for m in methods)]
        for name, case in cases.items()
    ]
    return table(["exposure", *methods], rows)


def gains(quality: dict[str, Any]) -> dict[str, float]:
    """Leads of the blind default over the better classical filter, dB; cases won in PSNR and SSIM."""
    model = quality["settings"]["model"]
    leads, wins = [], 0
    for case in quality["cases"].values():
        methods = case["methods"]
        ours = methods[f"{model}, blind"]
        others = [methods["best Gaussian"], methods["best non-local means, told the noise"]]
        leads.append(ours["psnr"] - max(other["psnr"] for other in others))
        wins += leads[-1] > 0 and all(ours["ssim"] > other["ssim"] for other in others)
    ahead = sum(lead > 0 for lead in leads)
    middle = statistics.median(leads)
    return {
        "least": min(leads),
        "middle": middle,
        "most": max(leads),
        "ahead": ahead,
        "won": wins,
        "cases": len(leads),
    }


def behind(quality: dict[str, Any]) -> str:
    """The rows in which a filter is ahead of the default, as a sentence."""
    model, names = quality["settings"]["model"], []
    for name, case in quality["cases"].items():
        methods = case["methods"]
        others = (methods["best Gaussian"], methods["best non-local means, told the noise"])
        lead = methods[f"{model}, blind"]["psnr"] - max(other["psnr"] for other in others)
        if lead <= 0:
            names.append(f"{name} ({lead:.1f} dB)")
    return f"A filter is ahead on {', '.join(names)}." if names else "No filter is ahead anywhere."


def machines_table(machines: dict[str, Any]) -> str:
    rows = []
    for name, found in machines["machines"].items():
        ours, paper = found["rows"], found["paper"]
        cells = [ours["LQ"], paper["LQ"], ours["clean"], paper["best"]]
        kept = found["LQ within tolerance"] and found["clean above the paper's best"]
        rows.append([name, *(f"{c['psnr']:.2f} / {c['ssim']:.4f}" for c in cells), "yes" if kept else "NO"])
    titles = ["machine", "LQ, ours", "LQ, paper", "noise-free, ours", "best network, paper", "as wanted"]
    return table(titles, rows)


def estimator_table(estimator: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{row['images']}",
            f"{row['median']:.2f}",
            f"{row['lowest tenth below']:.2f} to {row['highest tenth above']:.2f}",
            f"{100 * row['within a factor of 1.5']:.0f} %",
            f"{row['mean error of corr_x']:.2f}, {row['mean error of corr_y']:.2f}",
        ]
        for name, row in estimator["machines"].items()
    ]
    titles = [
        "machine",
        "images",
        "median",
        "eight in ten",
        "within a factor of 1.5",
        "error of corr_x, corr_y",
    ]
    return table(titles, rows)


def simulation_table(simulation: dict[str, Any]) -> str:
    rows = [
        [name, figure if isinstance(figure, str) else f"{figure:.3g}", str(simulation["aims"].get(name, ""))]
        for name, figure in simulation["figures"].items()
    ]
    return table(["what", "median", "aim"], rows)


def speed_table(speed: dict[str, Any]) -> str:
    rows = []
    for name, figure in speed["figures"].items():
        value = f"{figure['s_per_mpx']:.3g} s/Mpx" if "s_per_mpx" in figure else ""
        value = value or (
            f"{figure['seconds']:.3g} s" if "seconds" in figure else f"{figure['gflops']:.0f} GFLOP/s"
        )
        share = figure.get("share_of_plain_convolutions")
        rows.append([name, value, f"{100 * share:.0f} %" if share else ""])
    return table(["what", "median", "of this machine's convolution rate"], rows)


def noise_paragraph(noise: dict[str, Any]) -> str:
    unseen = noise["held-out scenes"]
    ratio, errors = unseen["ln(sigma estimated / true)"], unseen["mean absolute error"]
    rows = []
    for name, level in {"all": ratio["all"], **ratio["by true sigma"]}.items():
        low, high = level["quantiles"]["0.05"], level["quantiles"]["0.95"]
        spread = f"{math.exp(low):.2f} to {math.exp(high):.2f}"
        within = f"{100 * level['within 10 %']:.0f} %"
        rows.append([name, f"{level['images']}", f"{math.exp(level['bias']):.3f}", spread, within])
    titles = [
        "true sigma, share of the contrast",
        "images",
        "estimated / true, median",
        "nine in ten",
        "within 10 %",
    ]
    return f"""On {noise["provenance"]["held-out scenes"]} scenes that it never saw, three noises each, of sizes from 128 to 448 px and full of
texture:

{table(titles, rows)}

Mean absolute error of the lag-1 correlations: {errors["corr_x"]:.3f} along x, {errors["corr_y"]:.3f} along y; of the share
that depends on the signal: {errors["signal_share"]:.3f}. What this costs is the difference of the columns "blind" and
"told the noise" above."""


def provenance(result: dict[str, Any]) -> str:
    at = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in at["versions"].items())
    changed = ", with uncommitted changes" if at["dirty"] else ""
    return f"Measured on {at['processor']}, {at['cores']} cores; {versions}; commit {at['commit'][:10]}{changed}."


def results_page() -> str:
    quality, speed, noise = load("quality.json"), load("speed.json"), load("noise_estimator.json")
    machines, simulation = load("machines.json"), load("simulation.json")
    estimator = load("estimator.json")
    lead = gains(quality)
    return f"""# Results

Written by `python benchmarks/tables.py` from the JSON files in `benchmarks/`; nothing is typed by hand.

## Quality, where the truth is known

PSNR in dB / SSIM against the noise-free image of simulated pairs ({quality["settings"]["scenes"]} scenes of
{quality["settings"]["size_px"]} px a row; data range: the open beam). All columns have had their hot pixels replaced.
The width of the Gaussian and the strength of non-local means were chosen for each row by looking at the truth, and
non-local means were told the true noise; the default model was told nothing unless the column says so.

The exposures are those of simulated machines ([simulation.md](simulation.md)); S1 to S3 are the paper's machine
types, their test scenes. The weights that ship were trained on an older generator, with simpler parts and noise: they
saw neither these scenes nor this noise. On real radiographs there is no truth to compare with: look at the pictures.

{quality_table(quality)}

The default, blind, leads the better of the two filters by {lead["least"]:.2f} to {lead["most"]:.2f} dB, {lead["middle"]:.2f} dB in the
median; it is ahead in PSNR in {lead["ahead"]} of {lead["cases"]} rows, and in PSNR and SSIM in {lead["won"]}. {behind(quality)}

{provenance(quality)}

## The noise estimator

{noise_paragraph(noise)}

{provenance(noise)}

On simulated machines, which it never saw, estimated sigma over true, fixed pattern included, pieces of
{estimator["settings"]["side_px"]} px in which less than 2 % of the pixels are clipped:

{estimator_table(estimator)}

{provenance(estimator)}

## The machines, held against the paper

PSNR in dB / SSIM against HQ, full scale as data range, means over {machines["settings"]["count"]} whole test images. LQ shall lie within
0.3 dB and 0.02 of the paper's, and the noise-free image above the best network of the paper, since none can be better.

{machines_table(machines)}

{provenance(machines)}

## Speed of simulation

{simulation_table(simulation)}

{provenance(simulation)}

## Speed

{speed_table(speed)}

{provenance(speed)}

## Not measured

The paper's own data set, which could not be downloaded; a GPU; a processor with AMX; BM3D.
"""


def readme_section() -> str:
    quality, speed = load("quality.json"), load("speed.json")
    lead = gains(quality)
    enhance = speed["figures"]["fast, enhance, f32"]["s_per_mpx"]
    return f"""{START}

## How good, how fast

On simulated pairs of {lead["cases"]} machines and doses, the default model, told nothing, is ahead of the better of the
best Gaussian and the best non-local means, which were told the true noise and tuned on the truth, in {lead["ahead"]} of {lead["cases"]};
{lead["middle"]:.1f} dB in the median, {lead["least"]:.1f} to {lead["most"]:.1f} dB. {behind(quality)}
The weights never saw such scenes, nor line-correlated or extreme noise on top of them; retraining on these machines
comes next. Real radiographs with a known truth were not to be had. PSNR in dB / SSIM:

{quality_table(quality)}

Enhancing takes {enhance:.2f} s a megapixel in exact single precision on {speed["machine"]["cores"]} cores of
{speed["machine"]["processor"].split(" (")[0]}. All figures, with machine and commit: [docs/results.md](docs/results.md).

{END}"""


def documents() -> dict[Path, str]:
    readme = (ROOT / "README.md").read_text()
    before, after = readme.split(START)[0], readme.split(END)[1]
    return {
        ROOT / "docs" / "results.md": results_page(),
        ROOT / "README.md": before + readme_section() + after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a document is not what the JSON says")
    arguments = parser.parse_args()
    stale = [path for path, text in documents().items() if not path.exists() or path.read_text() != text]
    if arguments.check and stale:
        raise SystemExit("not up to date, run `make docs`: " + ", ".join(str(path.name) for path in stale))
    for path, text in documents().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
