"""Run the paper's experiments on simulated stand-ins of S1, S2 and S3, and keep what docs/studies.md shows.

The pairs are written once (a folder that has them is taken up), then `longexposure study all` runs on them;
its JSON goes to benchmarks/studies, its figures to docs/images/studies.

    python benchmarks/studies.py [--budget quick] [--work runs/studies] [--train 24] [--test 12] [--data DIR]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from longexposure.data.simulated_sets import SetPlan, write_set
from longexposure.study.budgets import BUDGETS
from longexposure.study.sets import TYPES
from longexposure.study.suite import ALL, STUDIES, study

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "studies"
FIGURES = ROOT / "docs" / "images" / "studies"
SEED = 0
DIGITS = 7
"""Significant digits of the numbers that are kept; the run's own files have them all."""


def stand_ins(folder: Path, *, train: int, test: int) -> Path:
    """Pairs of the three machine types, training and test, as `longexposure simulate` writes them."""
    for machine in TYPES:
        write_set(SetPlan(machine=machine, split="train", count=train, seed=SEED, out=folder))
        write_set(SetPlan(machine=machine, split="test", count=test, seed=SEED, out=folder))
    return folder


def keep(out: Path) -> None:
    """Copy the results of every study that is in `out`."""
    RESULTS.mkdir(exist_ok=True)
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name in STUDIES:
        found = out / f"{name}.json"
        if not found.exists():
            continue
        document = json.loads(found.read_text(), parse_float=lambda text: float(f"{float(text):.{DIGITS}g}"))
        (RESULTS / found.name).write_text(json.dumps(document, allow_nan=False, indent=1) + "\n")
        for figure in document["figures"]:
            (FIGURES / Path(figure["file"]).name).write_bytes((out / figure["file"]).read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--budget", default="quick", choices=BUDGETS)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "studies")
    parser.add_argument("--train", type=int, default=24)
    parser.add_argument("--test", type=int, default=12)
    parser.add_argument("--data", type=Path, help="pairs of your own instead of stand-ins")
    parser.add_argument("--keep-only", action="store_true", help="copy what --work has, run nothing")
    arguments = parser.parse_args()
    out = arguments.work / arguments.budget
    if not arguments.keep_only:
        data = arguments.data or stand_ins(
            arguments.work / "pairs", train=arguments.train, test=arguments.test
        )
        study(ALL, data=data, out=out, budget=arguments.budget, tell=lambda line: print(line, flush=True))
    keep(out)


if __name__ == "__main__":
    main()
