"""Write docs/results.md, docs/studies.md and the results in README.md from the JSON files of this folder.

No number by hand: the prose and the tables are templates/*.j2, and here is only what takes more than a lookup.

python benchmarks/tables.py [--check]
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from longexposure.study.result import markdown
from longexposure.study.suite import STUDIES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TYPES = ["S1", "S2", "S3"]
START, END = "<!-- results -->", "<!-- /results -->"
PEERS = [
    "best median",
    "best Gaussian",
    "best total variation, told the noise",
    "best non-local means, told the noise",
]
OTHERS = {"Open Image Denoise": "Open Image Denoise", "BM3D, told the noise": "BM3D"}
"""Denoisers of others, and what they are called for short."""
FRAMES = [f"mean of {count} frames" for count in (2, 4, 8, 18)]
FILES = (
    "quality",
    "speed",
    "machines",
    "simulation",
    "estimator",
    "limit",
    "retrained",
    "precision",
    "guard",
    "serving",
    "watching",
)


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return content


def short(method: str) -> str:
    """A peer's name without what all of them have in common."""
    if method in PEERS:
        return method.removeprefix("best ").removesuffix(", told the noise")
    return OTHERS.get(method, method)


def spread(values: dict[str, float]) -> dict[str, Any]:
    """Least, median and most of some numbers, and where the most is."""
    where = max(values, key=lambda name: values[name])
    return {
        "least": min(values.values()),
        "middle": statistics.median(values.values()),
        "most": values[where],
        "where": where,
    }


def leads(quality: dict[str, Any], kind: str = "cases") -> dict[str, float]:
    """By how many dB the default, which measures the noise itself, leads the best filter, case by case."""
    model = quality["settings"]["model"]
    return {
        name: case["methods"][model]["psnr"] - max(case["methods"][peer]["psnr"] for peer in PEERS)
        for name, case in quality[kind].items()
    }


def lead(quality: dict[str, Any]) -> dict[str, Any]:
    """Leads of the default over the best filter, dB; cases won in PSNR, and in PSNR and SSIM."""
    model, found = quality["settings"]["model"], leads(quality)
    methods = {name: case["methods"] for name, case in quality["cases"].items()}
    ahead = {name for name, value in found.items() if value > 0}
    won = [n for n in ahead if all(methods[n][model]["ssim"] > methods[n][peer]["ssim"] for peer in PEERS)]
    return {**spread(found), "ahead": len(ahead), "won": len(won), "cases": len(found)}


def behind(quality: dict[str, Any], kind: str = "cases", *, named: bool = True) -> str:
    """The rows in which a filter or a denoiser of others is ahead of the default, in sentences."""
    names = [f"{name} ({-value:.1f} dB)" for name, value in leads(quality, kind).items() if value <= 0]
    filters = [f"A filter is ahead on {', '.join(names)}."] if names else []
    return " ".join(filters + [against(quality, other, kind, named=named) for other in OTHERS])


def against(quality: dict[str, Any], other: str, kind: str, *, named: bool) -> str:
    """Where a denoiser of others is ahead of the default, and by how much it is behind elsewhere, in a sentence."""
    model = quality["settings"]["model"]
    gains = {
        name: case["methods"][other]["psnr"] - case["methods"][model]["psnr"]
        for name, case in quality[kind].items()
        if other in case["methods"]
    }
    if not gains:
        return f"{OTHERS[other]} is not measured on these rows."
    ahead = [f"{name} by {gain:.2f} dB" for name, gain in gains.items() if gain > 0]
    lost = [-gain for gain in gains.values() if gain <= 0]
    rows = f"{len(gains)} rows" if len(gains) == len(quality[kind]) else f"the {len(gains)} rows measured"
    told = f"ahead of the default on {len(ahead)} of {rows}"
    if ahead:
        told += f" ({'; '.join(ahead)})" if named else f", by up to {max(gains.values()):.2f} dB"
    rest = ""
    if lost:
        least, most = f"{min(lost):.2f}", f"{max(lost):.2f}"
        rest = f", behind by {least if least == most else f'{least} to {most}'} dB on the others"
    return f"{OTHERS[other]} is {told}{rest}."


def worth(quality: dict[str, Any], kind: str = "cases") -> str:
    """On how many rows one enhanced exposure is ahead of the mean of several, in a sentence."""
    model, parts = quality["settings"]["model"], []
    for frames in FRAMES:
        rows = [case["methods"] for case in quality[kind].values() if frames in case["methods"]]
        won = sum(row[model]["psnr"] > row[frames]["psnr"] for row in rows)
        parts.append(f"{frames.split()[2]} on {won} of {len(rows)}")
    return f"One enhanced exposure is ahead of the mean of {', of '.join(parts)} rows."


def costs(quality: dict[str, Any]) -> list[dict[str, Any]]:
    """What estimating and being told wrongly cost in dB."""
    told = {n: case["ablation"] for n, case in {**quality["cases"], **quality["conditions"]}.items()}
    rows = []
    for title in [title for title in next(iter(told.values())) if title != "told"]:
        lost = spread({name: case["told"]["psnr"] - case[title]["psnr"] for name, case in told.items()})
        rows.append({"title": title, **lost, "worst": lost["where"]})
    return rows


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
    sentences = [f"{verdict}."]
    for other, name in OTHERS.items():
        ahead = {
            factor: found["methods"][model] - found["methods"][other]
            for factor, found in quality["real"].items()
            if other in found["methods"]
        }
        parts = [
            f"{abs(gain):.1f} counts^2 {'nearer the truth' if gain > 0 else 'further off'} than {model} at {factor} times"
            for factor, gain in ahead.items()
        ]
        if parts:
            sentences.append(f"{name} is {' and '.join(parts)} the noise.")
    return " ".join(sentences)


def structures(limit: dict[str, Any]) -> dict[str, dict[float, dict[str, dict[str, float]]]]:
    """Rows of structures at the limit by structure, CNR and method."""
    found: dict[str, dict[float, dict[str, dict[str, float]]]] = {}
    for row in limit["by structure and CNR"]:
        found.setdefault(row["structure"], {}).setdefault(row["cnr"], {})[row["method"]] = row
    return found


def lost_sentence(limit: dict[str, Any]) -> str:
    """Where the default keeps less than half the contrast at CNR 3."""
    lost: dict[str, list[str]] = {}
    for row in limit["at CNR 3"]:
        if row["method"] == limit["settings"]["model"] and row["recovery"] < 0.5:
            place = f"{row['background']}, {row['noise']} {row['recovery']:.2f}"
            lost.setdefault(row["structure"], []).append(place)
    if not lost:
        return "At CNR 3 the default keeps at least half the contrast of every structure everywhere."
    parts = [f"{structure}: {'; '.join(places)}" for structure, places in lost.items()]
    return "At CNR 3 the default keeps less than half the contrast of: " + ". ".join(parts) + "."


def loss_verdict(estimator: dict[str, Any]) -> str:
    """On which machines the aim is met."""
    aim = estimator["settings"]["loss aim, dB"]
    losses = {name: row["mean"] for name, row in estimator["loss in dB"].items()}
    met = [name for name, loss in losses.items() if loss < aim]
    parts = [f"is met on {', '.join(met)}"] if met else []
    parts += [f"missed on {', '.join(n for n in losses if n not in met)}"] if len(met) < len(losses) else []
    return f"A mean below {aim:g} dB, the aim, {' and '.join(parts)}."


def equal_time(retrained: dict[str, Any]) -> dict[str, Any]:
    """How far the default is ahead of each peer that was trained for the same time, dB against noise-free."""

    def scores(row: dict[str, Any]) -> dict[str, float]:
        paper = {kind: row["as the paper scores"][kind]["against clean"]["psnr"] for kind in TYPES}
        return {**paper, **row["cases"], **row["conditions"]}

    own, peers = scores(retrained["networks"]["fast"]), {}
    for name, row in retrained["networks"].items():
        if row["what"] == "peer":
            ahead = {key: own[key] - value for key, value in scores(row).items()}
            peers[name] = {
                **spread(ahead),
                "ahead": sum(value > 0 for value in ahead.values()),
                "rows": len(ahead),
                "where": min(ahead, key=lambda key: ahead[key]),
                "behind": ", ".join(f"{key} ({-v:.2f} dB)" for key, v in ahead.items() if v <= 0),
            }
    return {"peers": peers, "minutes": retrained["networks"]["fast"]["minutes"]}


def peers_provenance(quality: dict[str, Any]) -> str:
    """Where and with which packages the peers and the frames were measured, in sentences."""
    told = {}
    for name, found in quality.get("peers", {}).items():
        packages = ", ".join(f"{package} {number}" for package, number in found["packages"].items())
        commit = found["host"]["commit"][:10]
        told[name] = f"{OTHERS.get(name, name)}: {packages + ', ' if name in OTHERS else ''}commit {commit}"
    return f"{'; '.join(told.values())}." if told else ""


def provenance(result: dict[str, Any]) -> str:
    at = result["host"]
    versions = ", ".join(f"{name} {number}" for name, number in at["versions"].items())
    changed = ", with uncommitted changes" if at["dirty"] else ""
    return f"Measured on {at['processor']}, {at['cores']} cores; {versions}; commit {at['commit'][:10]}{changed}."


def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters |= {
        "exp": math.exp,
        "f": lambda value, digits: f"{value:.{digits}f}" if isinstance(value, int | float) else "",
        "g": lambda value, digits=6: f"{value:.{digits}g}",
        "mean": statistics.mean,
        "median": statistics.median,
        "pct": lambda value: f"{100 * value:.0f} %" if isinstance(value, int | float) else "",
        "pct2": lambda value: f"{100 * value:.0f} %" if value > 0.095 else f"{100 * value:.2g} %",
        "short": short,
    }
    return made


def context() -> dict[str, Any]:
    """Everything that the templates name: the JSON files, and what is computed from them."""
    files = {name: load(name) for name in FILES}
    quality, precision, noise = files["quality"], files["precision"], load("noise_estimator")
    model = quality["settings"]["model"]
    cases = {**quality["cases"], **quality["conditions"]}
    limit = precision["settings"]["limit"]
    ways = {way: max(row["deviation over error left"].values()) for way, row in precision["ways"].items()}
    return files | {
        "noise": noise,
        "errors": noise["held-out scenes"]["mean absolute error"],
        "studies": [load(f"studies/{name}") for name in STUDIES],
        "structures": structures(files["limit"]),
        "all_cases": cases,
        "lead": lead(quality),
        "equal": equal_time(files["retrained"]),
        "exact": {
            "within": [way for way, most in ways.items() if most <= limit],
            "beyond": [way for way, most in ways.items() if most > limit],
        },
        "grown": spread(
            {n: c["methods"]["best"]["psnr"] - c["methods"]["fast"]["psnr"] for n, c in cases.items()}
        ),
        "peers": PEERS,
        "filtered": ["5 s", *PEERS, model, f"{model}, told the noise", "best", "90 s"],
        "beside": ["5 s", *OTHERS, model, "best", *FRAMES, "90 s"],
        "types": TYPES,
        **{made.__name__: made for made in (behind, worth, costs, real_verdict, lost_sentence, loss_verdict)},
        "provenance": provenance,
        "peers_provenance": peers_provenance,
    }


def documents() -> dict[Path, str]:
    made, values = environment(), context()
    pages = [markdown(s, level=2).replace("](figures/", "](images/studies/") for s in values["studies"]]
    readme = (ROOT / "README.md").read_text()
    before, after = readme.split(START)[0], readme.split(END)[1]

    def page(name: str) -> str:
        text = made.get_template(f"{name}.md.j2").render(values, pages=pages)
        return re.sub(r"\n{3,}", "\n\n", text).strip()

    return {
        ROOT / "docs" / "results.md": page("results") + "\n",
        ROOT / "docs" / "studies.md": page("studies") + "\n",
        ROOT / "README.md": before + page("readme") + after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a document is not what the JSON says")
    arguments = parser.parse_args()
    stale = {
        path: text for path, text in documents().items() if not path.exists() or path.read_text() != text
    }
    if arguments.check and stale:
        raise SystemExit("not up to date, run `make docs`: " + ", ".join(path.name for path in stale))
    for path, text in stale.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
