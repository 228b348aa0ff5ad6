"""A machine's own enhancer: what `longexposure adapt` gains from short exposures alone.

- `machines`: short exposures of the test splits of S1 and S3, without drift of tube and offset. The default is
  adapted to them, and the true PSNR before and after is that against the noise-free image, data range from the
  dark level to the open beam: of the shots that were held out, and of as many fresh ones of the same machine. What
  `adapt` itself decided on without the truth stands beside it.
- `real`: the seven example radiographs, whose truth is not known: the risk on the held-out ones alone.

    python benchmarks/adapt.py [--minutes 15] [--shots 12] [--size 480] [--model fast] [--out benchmarks/adapt.json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from quality import CASES, RADIOGRAPHS, Example, examples

from longexposure import load_enhancer, write_radiograph
from longexposure.data.shots import ShotsConfig, load_shots
from longexposure.metrics import psnr
from longexposure.radiograph import Radiograph
from longexposure.system import host_facts
from longexposure.train.adapt import JUDGEMENT, adapt
from longexposure.train.run import recipe_of

MACHINES = ("S1", "S3")


def true_psnr(model: str | Path, shots: list[Example]) -> float:
    """Mean PSNR of enhanced short exposures against the noise-free images, dB."""
    enhancer = load_enhancer(model, engine="torch")
    return float(np.mean([psnr(enhancer.enhance(p.lq), p.clean, data_range=p.data_range) for p in shots]))


def adapted(shots: list[Path], run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Adapt, and give what was decided."""
    result = adapt(
        shots, run, minutes=arguments.minutes, model=arguments.model, overrides=arguments.set, tell=print
    )
    print(run.name, result.in_words(), flush=True)
    return {"steps": result.steps, **json.loads((run / JUDGEMENT).read_text())}


def machine(name: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """What adapting to a simulated machine gains, by the truth."""
    case, count = CASES[f"test split of {name}"], arguments.shots
    shots = examples(case, count=2 * count, size=arguments.size, seed=70_000)
    files = [folder / name / f"{number:02}.tif" for number in range(count)]
    for shot, file in zip(shots, files, strict=False):
        file.parent.mkdir(exist_ok=True)
        write_radiograph(Radiograph(shot.lq), file)
    run = folder / f"adapted to {name}"
    found = adapted(files, run, arguments)
    recipe = recipe_of(run)
    if not isinstance(recipe.data, ShotsConfig):
        raise TypeError(recipe.data.kind)
    names = {Path(one.shot) for one in load_shots(recipe.data, seed=recipe.validation.seed).held_out}
    sets = {
        "held out": [shot for shot, file in zip(shots, files, strict=False) if file in names],
        "fresh": shots[count:],
    }
    rows = {}
    for kind, members in sets.items():
        before, after = (true_psnr(model, members) for model in (arguments.model, run / "last.safetensors"))
        rows[kind] = {"shots": len(members), "before": before, "adapted": after, "gain_db": after - before}
    print(name, {kind: round(row["gain_db"], 3) for kind, row in rows.items()}, flush=True)
    return {"by_truth": rows, "without_truth": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--shots", type=int, default=12)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--set", action="append", default=[], help="override a value of the recipe adapt")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        machines = {name: machine(name, Path(folder), arguments) for name in MACHINES}
        views = sorted(RADIOGRAPHS.glob("*.tif"))
        real = adapted(views, Path(folder) / "adapted to the views", arguments)
    settings = {key: value for key, value in vars(arguments).items() if key != "out"}
    result = {
        "what": (__doc__ or "").split("\n")[0],
        "host": host_facts(),
        "settings": settings,
        "machines": machines,
        "real": real,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
