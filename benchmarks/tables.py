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

from longexposure.study.result import markdown
from longexposure.study.suite import STUDIES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TYPES = ("S1", "S2", "S3")
FRAMEWORK = "the paper's framework"
START, END = "<!-- results -->", "<!-- /results -->"


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((HERE / name).read_text())
    return content


def table(titles: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|" + "|".join("---" for _ in titles) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


PEERS = (
    "best median",
    "best Gaussian",
    "best total variation, told the noise",
    "best non-local means, told the noise",
)


def short(method: str) -> str:
    """A peer's name without what all of them have in common."""
    return method.removeprefix("best ").removesuffix(", told the noise") if method in PEERS else method


def quality_table(cases: dict[str, Any], methods: tuple[str, ...] = ()) -> str:
    """PSNR / SSIM of these methods, or of all."""
    titles = list(methods) or list(next(iter(cases.values()))["methods"])
    rows = [
        [name, *(f"{case['methods'][m]['psnr']:.2f} / {case['methods'][m]['ssim']:.3f}" for m in titles)]
        for name, case in cases.items()
    ]
    return table(["exposure", *map(short, titles)], rows)


def leads(quality: dict[str, Any], kind: str = "cases") -> dict[str, float]:
    """By how many dB the default, which measures the noise itself, leads the best filter, case by case."""
    model = quality["settings"]["model"]
    return {
        name: case["methods"][model]["psnr"] - max(case["methods"][peer]["psnr"] for peer in PEERS)
        for name, case in quality[kind].items()
    }


def gains(quality: dict[str, Any]) -> dict[str, float]:
    """Leads of the default over the best filter, dB; cases won in PSNR, and in PSNR and SSIM."""
    model, found = quality["settings"]["model"], leads(quality)
    won = 0
    for name, case in quality["cases"].items():
        methods = case["methods"]
        won += found[name] > 0 and all(methods[model]["ssim"] > methods[peer]["ssim"] for peer in PEERS)
    return {
        "least": min(found.values()),
        "middle": statistics.median(found.values()),
        "most": max(found.values()),
        "ahead": sum(lead > 0 for lead in found.values()),
        "won": won,
        "cases": len(found),
    }


def behind(quality: dict[str, Any], kind: str = "cases") -> str:
    """The rows in which a filter is ahead of the default, as a sentence."""
    names = [f"{name} ({lead:.1f} dB)" for name, lead in leads(quality, kind).items() if lead <= 0]
    return f"A filter is ahead on {', '.join(names)}." if names else "No filter is ahead anywhere."


def ablation_table(quality: dict[str, Any]) -> str:
    """PSNR of the default with what it is told about the noise."""
    cases = {**quality["cases"], **quality["conditions"]}
    titles = list(next(iter(cases.values()))["ablation"])
    rows = []
    for name, case in cases.items():
        ratio = math.exp(case["ln sigma estimated / true"]["median"])
        rows.append([name, *(f"{case['ablation'][title]['psnr']:.2f}" for title in titles), f"{ratio:.2f}"])
    return table(["exposure", *titles, "estimated / true, median"], rows)


def costs(quality: dict[str, Any]) -> str:
    """What estimating and being told wrongly cost, as a sentence."""
    cases = {**quality["cases"], **quality["conditions"]}
    titles = [title for title in next(iter(cases.values()))["ablation"] if title != "told"]
    parts = []
    for title in titles:
        lost = {n: c["ablation"]["told"]["psnr"] - c["ablation"][title]["psnr"] for n, c in cases.items()}
        worst = max(lost, key=lambda name: lost[name])
        middle = statistics.median(lost.values())
        parts.append(f"{title}: {middle:.2f} dB in the median, at most {lost[worst]:.2f} dB ({worst})")
    return "Cost against being told the truth: " + "; ".join(parts) + "."


def harm_table(quality: dict[str, Any]) -> str:
    def decibels(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    models = quality["harm"]
    rows = []
    for noise, first in next(iter(models.values())).items():
        cells = [f"{first['before']:.3f}"]
        for found in models.values():
            row = found[noise]
            cells += [f"{row['after']:.3f}", decibels(row["gain_db"]), decibels(row["worst_gain_db"])]
        rows.append([noise, *cells])
    titles = ["noise, grey values of 255", "RMSE before"]
    for name in models:
        titles += [f"after {name}", "gain, dB", "of the scene that fared worst, dB"]
    return table(titles, rows)


def real_table(quality: dict[str, Any]) -> str:
    both = quality["real"]
    methods = next(iter(both.values()))["methods"]
    rows = [[short(name), *(f"{found['methods'][name]:.1f}" for found in both.values())] for name in methods]
    rows.append(
        ["of that, noise of the other copy", *(f"{f['noise of the other copy']:.1f}" for f in both.values())]
    )
    return table(["counts^2", *(f"noise {factor} times as estimated" for factor in both)], rows)


def real_verdict(quality: dict[str, Any]) -> str:
    """How much nearer the truth the default, told nothing, is than the best filter."""
    model, parts = quality["settings"]["model"], []
    for factor, found in quality["real"].items():
        filters = {short(name): error for name, error in found["methods"].items() if name.startswith("best ")}
        nearest = min(filters, key=lambda name: filters[name])
        ahead = filters[nearest] - found["methods"][model]
        how = "nearer the truth" if ahead > 0 else "further off"
        apart = f"{abs(ahead):.1f} counts^2 {how} than" if abs(ahead) >= 0.05 else "level with"
        parts.append(f"{apart} the best filter ({nearest}) at {factor} times")
    verdict = f"{model}, told nothing, is {' and '.join(parts)} the noise"
    if len({"further off" in part for part in parts}) > 1:
        verdict += ": which of the two is better hangs on the strength that the noise is taken to have"
    return f"{verdict}."


def limit_rows(limit: dict[str, Any], key: str) -> dict[tuple[Any, ...], dict[str, float]]:
    names = {
        "by structure and CNR": ("structure", "cnr", "method"),
        "at CNR 3": ("structure", "noise", "background", "method"),
    }[key]
    return {tuple(row[name] for name in names): row for row in limit[key]}


def recovery_table(limit: dict[str, Any]) -> str:
    """Contrast recovery of the default and its spread."""
    rows, model = limit_rows(limit, "by structure and CNR"), limit["settings"]["model"]
    structures, cnrs = (list(dict.fromkeys(key[n] for key in rows)) for n in (0, 1))
    lines = []
    for structure in structures:
        cells = [rows[structure, cnr, model] for cnr in cnrs]
        lines.append([structure, *(f"{cell['recovery']:.2f} ± {cell['spread']:.2f}" for cell in cells)])
    return table([f"{model}, contrast recovery", *(f"CNR {cnr:g}" for cnr in cnrs)], lines)


def limit_methods_table(limit: dict[str, Any], number: str, cnr: float, *, fraction: bool = False) -> str:
    """One number of every method at one CNR, structure by structure."""
    rows = limit_rows(limit, "by structure and CNR")
    structures, methods = (list(dict.fromkeys(key[n] for key in rows)) for n in (0, 2))
    lines = []
    for structure in structures:
        cells = [rows[structure, cnr, method].get(number) for method in methods]
        if None not in cells:
            shown = [
                f"{100 * cell:.0f} %" if fraction else f"{cell:.2f}" for cell in cells if cell is not None
            ]
            lines.append([structure, *shown])
    return table(["structure", *map(short, methods)], lines)


def seen_table(limit: dict[str, Any], cnr: float) -> str:
    """d' of both observers in units of the input's."""
    rows = limit_rows(limit, "by structure and CNR")
    structures, methods = (list(dict.fromkeys(key[n] for key in rows)) for n in (0, 2))
    lines = []
    for structure in structures:
        before = rows[structure, cnr, "input"]
        cells = [f"{before['matched']:.1f} / {before['own']:.1f}"]
        for method in methods[1:]:
            now = rows[structure, cnr, method]
            cells.append(f"{now['matched'] / before['matched']:.2f} / {now['own'] / before['own']:.2f}")
        lines.append([structure, *cells])
    return table(["structure", "input, d'", *map(short, methods[1:])], lines)


def lost_sentence(limit: dict[str, Any]) -> str:
    """Where the default keeps less than half the contrast at CNR 3."""
    model = limit["settings"]["model"]
    lost: dict[str, list[str]] = {}
    for (structure, noise, background, method), row in limit_rows(limit, "at CNR 3").items():
        if method == model and row["recovery"] < 0.5:
            lost.setdefault(structure, []).append(f"{background}, {noise} {row['recovery']:.2f}")
    if not lost:
        return "At CNR 3 the default keeps at least half the contrast of every structure everywhere."
    parts = [f"{structure}: {'; '.join(places)}" for structure, places in lost.items()]
    return "At CNR 3 the default keeps less than half the contrast of: " + ". ".join(parts) + "."


def limit_section(limit: dict[str, Any]) -> str:
    model = limit["settings"]["model"]
    return f"""Known structures in known images, once with and once without, under the same noise ({limit["settings"]["draws"]} draws of it; plain
area, inside balls, over routing; noise white, following the signal, along lines; the image spans 25 times its noise).
CNR is the difference that a fully covered pixel makes over the standard deviation of the noise of one pixel; a wire is
judged in pieces of 4 px. Definitions: [limit.py](../benchmarks/limit.py).

![Structures at CNR 3](images/limit.png)

*At CNR 3, from the top: voids, gaps and bridges in a plain area, white noise; in a ball, noise along lines; wires in a
plain area, white noise; over routing, noise that follows the signal.*

Contrast recovery, the difference that a structure makes after enhancing over the same before, mean and standard
deviation from place to place and noise to noise:

{recovery_table(limit)}

{lost_sentence(limit)}

At CNR 3, of every method:

{limit_methods_table(limit, "recovery", 3.0)}

Share that comes out with less than half its contrast, at CNR 3 (of wires: pieces of 4 px, where the wire is broken):

{limit_methods_table(limit, "faded", 3.0, fraction=True)}

Whether the structure is still in the image, at CNR 3: d' of an observer who knows the place, with the filter that is
ideal on the input / with what the structure has become (NPW); the methods in units of the input. Below 1 these observers
see less than in the input, above 1 the method draws on more of the image than they do.

{seen_table(limit, 3.0)}

Structures of CNR 3 that are looked for, not known: fraction of places without any (17 x 17 px, or 17 px along a line) in
which a threshold that finds 95 % of the structures finds one too:

{limit_methods_table(limit, "false", 3.0, fraction=True)}

The same at CNR 2:

{limit_methods_table(limit, "false", 2.0, fraction=True)}

What is made up: the CNR that the most pronounced find in a place without any structure appears to have, exceeded in 1 %
of such places, beside lines of CNR 3. A fainter one in the enhanced image may be noise.

{limit_methods_table(limit, "phantom", 3.0)}

{provenance(limit)} {model}: {limit["settings"]["weights_sha256"][:12]}."""


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


def elsewhere_table(estimator: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{row['images']}",
            f"{row['median']:.2f}",
            f"{row['lowest']:.2f} to {row['highest']:.2f}",
            f"{row['below 0.7']}",
        ]
        for name, row in estimator["elsewhere"].items()
    ]
    return table(["where it is hard", "images", "median", "all", "below 0.7"], rows)


def simulation_table(simulation: dict[str, Any]) -> str:
    rows = [
        [name, figure if isinstance(figure, str) else f"{figure:.3g}", str(simulation["aims"].get(name, ""))]
        for name, figure in simulation["figures"].items()
    ]
    return table(["what", "median", "aim"], rows)


def speed_table(speed: dict[str, Any]) -> str:
    rows = []
    for name, figure in speed["figures"].items():
        fraction = figure.get("fraction_of_plain_convolutions")
        rows.append(
            [
                name,
                f"{figure['s_per_mpx']:.3g} s/Mpx",
                f"{figure['gflops']:.0f}" if "gflops" in figure else "",
                f"{figure['plain_gflops']:.0f}" if "plain_gflops" in figure else "",
                f"{100 * fraction:.0f} %" if fraction else "",
            ]
        )
    titles = ["what", "median", "GFLOP/s", "plain convolutions in the same engine, GFLOP/s", "fraction"]
    return table(titles, rows)


def peers_table(speed: dict[str, Any]) -> str:
    """Networks in the same engines: seconds per megapixel, and how many times the default's."""
    peers: dict[str, dict[str, float]] = speed["peers"]
    rows = [
        [
            name,
            *(
                f"{seconds:.3g} s/Mpx"
                + ("" if name == "fast" else f", {seconds / peers['fast'][case]:.0f} times")
                for case, seconds in cases.items()
            ),
        ]
        for name, cases in peers.items()
    ]
    return table(["network alone", *peers["fast"]], rows)


def fraction_text(fraction: float) -> str:
    return f"{100 * fraction:.0f} %" if fraction > 0.095 else f"{100 * fraction:.2g} %"


def precision_table(precision: dict[str, Any]) -> str:
    rows = []
    for way, row in precision["ways"].items():
        fractions, losses = row["deviation over error left"], row["loss in dB"]
        most = max(fractions, key=lambda key: fractions[key])
        rows.append(
            [
                way,
                f"{row['real']['largest']:.3g}",
                f"{row['real']['rms']:.3g}",
                fraction_text(statistics.median(fractions.values())),
                f"{fraction_text(fractions[most])} ({most})",
                f"{max(losses.values()):.2g}",
                f"{row['times openvino f32']:.2f}",
            ]
        )
    titles = [
        "engine and precision",
        "largest",
        "rms",
        "fraction of the error left, median",
        "most",
        "loss at most, dB",
        "time, openvino f32 = 1",
    ]
    return table(titles, rows)


def precision_section(precision: dict[str, Any]) -> str:
    settings = precision["settings"]
    limit, ways = settings["limit"], precision["ways"]
    within = [way for way, row in ways.items() if max(row["deviation over error left"].values()) <= limit]
    beyond = [way for way in ways if way not in within]
    return f"""How far the default is from torch in f32: the largest and the rms difference on the {settings["radiographs"]} example radiographs, in
their grey values, 16 bit; rms on the rows of the first two tables, as a fraction of the error that torch in f32 leaves there, and what
it costs in PSNR. The limit for bf16 and int8 is {100 * limit:.0f} % of that error on every row: {", ".join(within)} keep to it; of
the others, {len(beyond)} ways of quantising after training, none does
([decision 8](decisions/0008-one-export-beside-the-weights.md)). Spans of int8 are taken from {settings["calibration tiles"]} tiles of other scenes.

{precision_table(precision)}

{provenance(precision)}"""


def commands_table(speed: dict[str, Any]) -> str:
    """`longexposure enhance` as a process: seconds and peak of memory."""
    done, side = speed["commands"], speed["settings"]["side_px"]
    folder = done["folder"]
    rows = [
        [
            f"one {side} x {side} TIFF, engine {name}",
            f"{cost['seconds']:.2f} s",
            f"{cost['peak_mb']:.0f} MB",
            "",
        ]
        for name, cost in done["one file"].items()
    ]
    rows.append(
        [
            f"a folder of {folder['frames']} such frames",
            f"{folder['seconds']:.1f} s",
            f"{folder['peak_mb']:.0f} MB",
            f"{folder['to_network']:.2f} times the network's own time",
        ]
    )
    for name, cost in done["memory"].items():
        above = (
            f"{cost['above_input_mb']:.0f} MB above the pixels of the input"
            if "above_input_mb" in cost
            else ""
        )
        rows.append([name, f"{cost['seconds']:.1f} s", f"{cost['peak_mb']:.0f} MB", above])
    return table(
        ["`longexposure enhance`, start of the process included", "time", "peak of memory", ""], rows
    )


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
        "true sigma, fraction of the contrast",
        "images",
        "estimated / true, median",
        "nine in ten",
        "within 10 %",
    ]
    made = noise["provenance"]
    return f"""On {made["held-out scenes"]} scenes of the machines' test splits, each taken as it is and with other noise, and {made["held-out textures"]} drawn
textures, of {min(made["sizes_px"])} to {max(made["sizes_px"])} px and pieces of these, none of which it learned from (they chose how wide it is, a part of them which differences it looks at):

{table(titles, rows)}

Mean absolute error of the lag-1 correlations: {errors["corr_x"]:.3f} along x, {errors["corr_y"]:.3f} along y; of the fraction
that depends on the signal: {errors["signal_share"]:.3f}."""


def loss_table(estimator: dict[str, Any]) -> str:
    rows = [
        [name, f"{row['images']}", f"{row['mean']:.2f}", f"{row['median']:.2f}", f"{row['highest']:.2f}"]
        for name, row in estimator["loss in dB"].items()
    ]
    return table(["machine", "images", "mean", "median", "highest"], rows)


def loss_verdict(estimator: dict[str, Any]) -> str:
    """On which machines the aim is met."""
    aim = estimator["settings"]["loss aim, dB"]
    met: dict[bool, list[str]] = {True: [], False: []}
    for name, row in estimator["loss in dB"].items():
        met[row["mean"] < aim].append(name)
    parts = [f"is met on {', '.join(met[True])}"] if met[True] else []
    parts += [f"missed on {', '.join(met[False])}"] if met[False] else []
    return f"A mean below {aim:g} dB, the aim, {' and '.join(parts)}."


def mean_of(row: dict[str, Any], kind: str) -> float:
    return statistics.mean(row[kind].values())


def retrained_table(retrained: dict[str, Any]) -> str:
    """Every network that was trained for the same time: what it saw of data meanwhile, and what it came to."""

    def scores(row: dict[str, Any]) -> list[str]:
        paper = [row["as the paper scores"][kind]["against clean"]["psnr"] for kind in TYPES]
        return [
            f"{value:.2f}"
            for value in (*paper, *(mean_of(row, key) for key in ("cases", "conditions", "structures")))
        ]

    rows = [
        [
            name,
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['steps']:,} x {row['recipe']['optimiser']['batch']}",
            *scores(row),
        ]
        for name, row in retrained["networks"].items()
    ]
    for name, row in retrained["shipped"].items():
        rows.append([f"**{name}** as shipped", "", "", *scores(row)])
        rows.append(
            [f"{name} as shipped, eight ways", "", "", *scores(retrained["shipped, in eight ways"][name])]
        )
    return table(
        ["network", "weights", "steps x patches", *TYPES, "cases", "conditions", "contrast kept"], rows
    )


def ceiling_table(retrained: dict[str, Any]) -> str:
    """The paper's scores, against HQ, between those of LQ and the ceiling."""

    def cells(of: dict[str, Any]) -> list[str]:
        return [f"{of[kind]['psnr']:.2f} / {of[kind]['ssim']:.4f}" for kind in TYPES]

    def network(row: dict[str, Any]) -> list[str]:
        return cells({kind: row["as the paper scores"][kind]["against HQ"] for kind in TYPES})

    peers = {
        name: row for name, row in retrained["networks"].items() if row["what"] == "peer" or name == "fast"
    }
    rows = [
        ["5 s", *cells({kind: retrained["5 s"][kind]["against HQ"] for kind in TYPES})],
        *([f"{name}, {row['minutes']:g} minutes", *network(row)] for name, row in peers.items()),
        *([f"**{name}** as shipped", *network(row)] for name, row in retrained["shipped"].items()),
        ["ceiling: noise-free", *cells(retrained["ceiling"])],
    ]
    return table(["", *TYPES], rows)


def equal_time(retrained: dict[str, Any]) -> dict[str, Any]:
    """How far the default is ahead of each peer that was trained for the same time, dB against noise-free."""

    def row_scores(row: dict[str, Any]) -> dict[str, float]:
        paper = {kind: row["as the paper scores"][kind]["against clean"]["psnr"] for kind in TYPES}
        return {**paper, **row["cases"], **row["conditions"]}

    own = row_scores(retrained["networks"]["fast"])
    peers = {
        name: {key: own[key] - value for key, value in row_scores(row).items()}
        for name, row in retrained["networks"].items()
        if row["what"] == "peer"
    }
    return {"peers": peers, "rows": len(own), "minutes": retrained["networks"]["fast"]["minutes"]}


def equal_time_sentences(retrained: dict[str, Any]) -> str:
    found = equal_time(retrained)
    lines = []
    for name, leads_over in found["peers"].items():
        ahead = sum(value > 0 for value in leads_over.values())
        least = min(leads_over, key=lambda key: leads_over[key])
        lines.append(
            f"- {name}: the default is ahead in {ahead} of {found['rows']} rows, by "
            f"{statistics.median(leads_over.values()):.2f} dB in the median, "
            + (
                f"{leads_over[least]:.2f} dB at least ({least})."
                if leads_over[least] > 0
                else "behind in: "
                + ", ".join(f"{key} ({-lead:.2f} dB)" for key, lead in leads_over.items() if lead <= 0)
                + "."
            )
        )
    return "\n".join(lines)


def equal_time_for_all(retrained: dict[str, Any]) -> str:
    """The same in a sentence, for the README."""
    found = equal_time(retrained)
    ahead = {name: statistics.median(values.values()) for name, values in found["peers"].items()}
    return (
        f"Trained from nothing for the same {found['minutes']:g} minutes on the same exposures, its network is "
        f"{ahead['NAFNet-w32']:.1f} dB better in the median\nthan NAFNet-w32 and {ahead[FRAMEWORK]:.1f} dB "
        "better than the paper's framework, which see little in that time: "
        "[results](docs/results.md#trained-for-the-same-time)."
    )


def retrained_section(retrained: dict[str, Any]) -> str:
    settings, own = retrained["settings"], retrained["networks"]["fast"]
    side = "whole" if settings["pair_px"] is None else f"{settings['pair_px']} px of each"
    return f"""Networks trained from nothing for {own["minutes"]:g} minutes each on the same two cores, on the same exposures (`wide` and
the three machine types), every patch new; loss and optimiser are each network's own, and the slow ones take 4 patches a
step instead of 16. So short a training tells which network learns fastest, not which would be best after a week:
that is what a GPU is for, and none was at hand. One training each: differences below 0.1 dB mean nothing. The forms that the default does not have are in
[variants.py](../benchmarks/variants.py).

PSNR in dB against the noise-free image: of S1 to S3 as the paper scores, {settings["pairs"]} test images of each type, {side},
full scale as data range; means of the {len(own["cases"])} rows of the first table and the {len(own["conditions"])} of the second above, {settings["scenes"]} scenes of
{settings["size_px"]} px each. Contrast kept: by the six kinds of structures [above](#structures-at-the-limit) at CNR 3, mean.

{retrained_table(retrained)}

Noise-free as the truth, {len(TYPES)} + {len(own["cases"])} + {len(own["conditions"])} rows, the default against peers of equal time:

{equal_time_sentences(retrained)}

As the paper scores: PSNR in dB / SSIM against the long exposure (HQ) itself, which has noise of its own. Nobody who does
not guess that noise can pass the noise-free image, the ceiling.

{ceiling_table(retrained)}

All networks that are told the noise were told what the estimator of that commit found; the one that ships came later.

{provenance(retrained)}"""


def provenance(result: dict[str, Any]) -> str:
    at = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in at["versions"].items())
    changed = ", with uncommitted changes" if at["dirty"] else ""
    return f"Measured on {at['processor']}, {at['cores']} cores; {versions}; commit {at['commit'][:10]}{changed}."


def studies() -> list[dict[str, Any]]:
    """What `benchmarks/studies.py` kept, in the order of the commands."""
    return [load(f"studies/{name}.json") for name in STUDIES]


def studies_page() -> str:
    """docs/studies.md: every study with its tables and figures."""
    sections = [markdown(study, level=2).replace("](figures/", "](images/studies/") for study in studies()]
    return "\n".join(
        [
            "# The paper's experiments\n\nWritten by `python benchmarks/tables.py` from `benchmarks/studies/*.json`, "
            "which `python benchmarks/studies.py` measured;\nnothing is typed by hand. How to run them on your own "
            "data: [how-to.md](how-to.md).\n",
            *sections,
        ]
    )


def studies_summary() -> str:
    """For each study, what its numbers say."""
    parts = []
    for study in studies():
        lines = "\n".join(f"- {line}" for line in study["statements"])
        parts.append(f"### {study['title']}\n\n{lines}")
    return "\n\n".join(parts)


def results_page() -> str:
    quality, speed, noise = load("quality.json"), load("speed.json"), load("noise_estimator.json")
    machines, simulation = load("machines.json"), load("simulation.json")
    estimator, limit = load("estimator.json"), load("limit.json")
    lead = gains(quality)
    return f"""# Results

Written by `python benchmarks/tables.py` from the JSON files in `benchmarks/`; nothing is typed by hand.

## Quality, where the truth is known

PSNR in dB / SSIM against the noise-free image of simulated pairs ({quality["settings"]["scenes"]} scenes of
{quality["settings"]["size_px"]} px a row; data range: the open beam). All columns have had their hot pixels replaced.
Size or strength of the four filters were chosen for each row by looking at the truth, and total variation and non-local
means were told the true noise; the default model measures the noise itself unless the column says so. Networks of equal
training are compared [below](#trained-for-the-same-time).

The exposures are those of simulated machines ([simulation.md](simulation.md)); S1 to S3 are the paper's machine
types, their test scenes, here without what differs between their two exposures beside the noise (drift, shift). What the weights that ship were trained on is on their cards ([fast](../src/longexposure/models/weights/fast.md),
[best](../src/longexposure/models/weights/best.md)); `best` is the default grown, and measures the noise itself too.

{quality_table(quality["cases"])}

The default leads the best of the four filters by {lead["least"]:.2f} to {lead["most"]:.2f} dB, {lead["middle"]:.2f} dB in the
median; it is ahead in PSNR in {lead["ahead"]} of {lead["cases"]} rows, and in PSNR and SSIM in {lead["won"]}. {behind(quality)}

What else happens to real images, on noise-free scenes of the same kind: an export in 8 bit with gamma 0.6 that clips 2 %
at either end; very low counts with hot pixels; 0.2 % hot and 0.2 % dead pixels; zingers, tracks of 1 to 4 px, 10 to 60
times as strong as the noise; an offset of each column, half as strong as the noise; noise along lines; a video chain whose
noise runs along lines and whose fields are mixed and differ.

{quality_table(quality["conditions"])}

{behind(quality, "conditions")}

### Told the noise, estimating it, told it wrong

PSNR in dB of the same weights. A network that is never told the noise has to be trained for that:
[fast, told nothing](#trained-for-the-same-time).

{ablation_table(quality)}

{costs(quality)}

### Nearly clean images

Distance from the truth in grey values of 255, before and after; an enhanced image should not be further from the truth.
In 16 bits without noise the truth is the image itself.

{harm_table(quality)}

### Real radiographs

The truth of the example radiographs is not known. But where their noise is white and as strong as is assumed, adding
noise of the same kind once and taking it away once gives two copies whose noise is independent: one is enhanced, and
its mean square distance from the other is the distance from the truth plus the noise of the other copy, the same for
every method (Pang et al., CVPR 2021). The difference of two rows is therefore that of their distances from the truth.
The filters were chosen by looking at the other copy. {next(iter(quality["real"].values()))["images"]} images.

{real_table(quality)}

{real_verdict(quality)}

{provenance(quality)}

## Structures at the limit

{limit_section(limit)}

## Trained for the same time

{retrained_section(load("retrained.json"))}

## The noise estimator

{noise_paragraph(noise)}

{provenance(noise)}

On test scenes of the simulated machines it learned from, estimated sigma over true, fixed pattern included, pieces of
{estimator["settings"]["side_px"]} px in which less than 2 % of the pixels are clipped:

{estimator_table(estimator)}

What that costs: PSNR of the default told the true profile less that of the default told the estimated one, dB, of
these images, none of which was looked at before the estimator was trained. {loss_verdict(estimator)}

{loss_table(estimator)}

Estimated sigma over true where that is known to be hard; these images chose among ways to train the estimator:

{elsewhere_table(estimator)}

{provenance(estimator)}

## The machines, held against the paper

PSNR in dB / SSIM against HQ, full scale as data range, means over {machines["settings"]["count"]} whole test images. LQ shall lie within
0.3 dB and 0.02 of the paper's, and the noise-free image above the best network of the paper, since none can be better.

{machines_table(machines)}

{provenance(machines)}

## The paper's experiments

On simulated stand-ins of S1, S2 and S3, budget {studies()[0]["budget"]["name"]}: small networks, short trainings.
Tables, pictures, what was reduced, and machine, commit and date of each: [studies.md](studies.md).

{studies_summary()}

## Speed of simulation

{simulation_table(simulation)}

{provenance(simulation)}

## Speed

Of the network alone, one tile of {speed["settings"]["side_px"]} px, as `longexposure bench` measures it; of enhancing, one image of that size,
the filters' of what their rows say.

{speed_table(speed)}

Networks beside it, in the same engines, on one tile of {speed["settings"]["peers_side_px"]} px:

{peers_table(speed)}

{commands_table(speed)}

{provenance(speed)}

### How exact each engine and precision is

{precision_section(load("precision.json"))}

## Not measured

The paper's own data set, which could not be downloaded; a GPU; a processor with AMX; BM3D.
"""


def grown(quality: dict[str, Any], speed: dict[str, Any]) -> str:
    """What `best` adds to the default and costs, as the README must say."""
    cases = {**quality["cases"], **quality["conditions"]}
    more = {n: c["methods"]["best"]["psnr"] - c["methods"]["fast"]["psnr"] for n, c in cases.items()}
    most = max(more, key=lambda name: more[name])
    seconds = speed["peers"]["best"]["openvino f32"]
    return (
        f"`--model best` is the default grown: {statistics.median(more.values()):.1f} dB better in the median, "
        f"{min(more.values()):.1f} to {more[most]:.1f} dB ({most}),\nat {seconds:.2f} s a megapixel, "
        f"{speed['ratios']['best to fast, openvino f32']:.1f} times the default's."
    )


def weak_spot() -> str:
    """What becomes of small structures, as the README must say."""
    limit = load("limit.json")
    rows, model = limit_rows(limit, "by structure and CNR"), limit["settings"]["model"]

    def kept(structure: str, method: str = model) -> str:
        return f"{100 * rows[structure, 3.0, method]['recovery']:.0f} %"

    void, gap = "void, 4 px", "gap, 2 px in a line of 4 px"
    return (
        f"**Its weak spot: the smallest gaps.** At a contrast of 3 times the noise, gaps of 2 px in a line of 4 px keep\n"
        f"{kept(gap)} of their contrast ({kept(gap, 'best Gaussian')} under the best Gaussian), voids of 4 px "
        f"{kept(void)} ({kept(void, 'best Gaussian')}), voids of 6 px {kept('void, 6 px')},\noblique wires "
        f"of 1.5 px {kept('wire, 1.5 px, oblique')}. Where a verdict hangs on a few pixels, look at the original."
    )


def readme_section() -> str:
    quality, speed = load("quality.json"), load("speed.json")
    lead, model = gains(quality), quality["settings"]["model"]
    enhance = speed["figures"]["fast, enhance, openvino f32"]["s_per_mpx"]
    one = speed["commands"]["one file"]["auto"]["seconds"]
    nafnet = speed["ratios"]["NAFNet-w32 to fast, openvino f32"]
    shown = ("5 s", *PEERS[1:], model, "90 s")
    return f"""{START}

## How good, how fast

On simulated pairs of {lead["cases"]} machines and doses, the default model, told nothing, is ahead of the best median,
Gaussian, total variation and non-local means, which were tuned on the truth and told the true noise, in {lead["ahead"]} of
{lead["cases"]}; {lead["middle"]:.1f} dB in the median, {lead["least"]:.1f} to {lead["most"]:.1f} dB. {behind(quality)}
PSNR in dB / SSIM:

{quality_table(quality["cases"], shown)}

{weak_spot()}

What becomes of voids, wires, gaps and bridges at the limit of visibility, of stripes, zingers, clipping and nearly clean
images, and of real radiographs, is in [docs/results.md](docs/results.md), with machine and commit.

Enhancing takes {enhance:.2f} s a megapixel in exact single precision with OpenVINO on {speed["machine"]["cores"]} cores of
{speed["machine"]["processor"].split(" (")[0]}; the network is {nafnet:.0f} times as fast as NAFNet-w32 in the same engine.
One file of 1900 x 1900, start of the process included, takes {one:.1f} s.

{equal_time_for_all(load("retrained.json"))}

{grown(quality, speed)}

{END}"""


def documents() -> dict[Path, str]:
    readme = (ROOT / "README.md").read_text()
    before, after = readme.split(START)[0], readme.split(END)[1]
    return {
        ROOT / "docs" / "results.md": results_page(),
        ROOT / "docs" / "studies.md": studies_page(),
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
