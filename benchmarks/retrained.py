"""Networks trained from nothing beside the default: the same exposures, the same time on the same host.

Each network gets so many minutes. A step of it is timed first, its data included, and its schedule gets the
number of steps that fit, so that a training can be repeated step by step. Patches are those of
`fast`, the default's last go, drawn anew and never twice; loss and optimiser are each network's own, from its file in
`train/recipes/`. The slow ones take 4 patches a step where the others take 16: they would hardly take a step
otherwise.

- Peers: NAFNet of width 32, DnCNN, EDCNN (its mean squared error alone) and the paper's framework.
- Variants: what the choices of the default are worth, each changed alone (other forms: `variants.py`).

Scores, of whole images through the one enhance path (faulty pixels replaced for all, noise estimated where a
network wants to be told):

- `as the paper scores`: test splits of S1, S2 and S3 as their recipes say, drift and all, against the long
  exposure (HQ) and against the noise-free image, full scale as data range. `ceiling` is the noise-free image
  against HQ: what nobody can pass who does not predict the long exposure's own noise.
- `cases` and `conditions`: those of quality.py, against the noise-free image.
- `structures`: contrast that those of limit.py keep at a contrast of 3 times the noise, mean over noises and places.

The weights that ship are scored beside them; they were trained for longer. So is the mean over what they make of
an image turned and mirrored in eight ways, at eight times the time.

    OMP_NUM_THREADS=1 python benchmarks/retrained.py [--work DIR] train "NAFNet-w32" ... [--minutes 15]
    python benchmarks/retrained.py [--work runs/retrained] score [--out benchmarks/retrained.json]
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from limit import BACKGROUNDS, NOISES, background, judged, spots, trials, watched, wires
from quality import CASES, CONDITIONS, Example, examples, score, spoiled_examples
from variants import taken

from longexposure import load_enhancer
from longexposure.data.simulated_patches import SimulatedPatchesConfig
from longexposure.enhance.enhancer import Enhancer
from longexposure.metrics import psnr, ssim
from longexposure.models.checkpoint import sha256_of
from longexposure.models.networks import build_network, parse_config
from longexposure.models.registry import shipped_weights
from longexposure.simulation.exposure import draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.system import host_facts
from longexposure.train.loop import Progress, train
from longexposure.train.recipe import Recipe, recipe_from

RECIPES = Path(__file__).resolve().parents[1] / "src" / "longexposure" / "train" / "recipes"
TYPES = ("S1", "S2", "S3")
TIMED_STEPS = 20
"""Steps whose median is taken for a step's time."""
PROCESSES = 2
CNR = 3.0
SLOW = {"optimiser": {"batch": 4}, "data": {"group": 2}}
"""What the slow ones take of a step."""
PAPER_LOSS = {
    "kind": "l1",
    "focal_frequency_weight": 10.0,
    "wavelet_weight": 0.1,
    "wavelet_variant": "bands",
    "wavelet_levels": 3,
    "structure_weight": 0.0,
}

Document = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A network to train: its recipe, what is different from it, and its form where it has another."""

    recipe: str
    what: str
    changes: Document = field(default_factory=dict)
    form: str | None = None


PLANS: dict[str, Plan] = {
    "fast": Plan("fast-first", "the default's own recipe"),
    "NAFNet-w32": Plan("nafnet", "peer", {"network": {"patch_px": 144}, **SLOW}),
    "DnCNN": Plan("dncnn", "peer", SLOW),
    "EDCNN": Plan("edcnn", "peer", SLOW),
    "the paper's framework": Plan("paper", "peer", SLOW),
    "fast, told nothing": Plan("fast-first", "variant: blind", {"network": {"told": False}}),
    "fast, no second look": Plan(
        "fast-first",
        "variant: equal arithmetic",
        {"network": {"fine_width": 0, "fine_blocks": 0, "blocks": 10}},
    ),
    "fast, 2x first": Plan(
        "fast-first",
        "variant: equal arithmetic, all at half resolution",
        {"network": {"scale": 2, "width": 24, "blocks": 10, "fine_width": 0, "fine_blocks": 0}},
    ),
    "fast, wide and shallow": Plan(
        "fast-first", "variant: equal arithmetic", {"network": {"width": 68, "blocks": 4}}
    ),
    "fast, narrow and deep": Plan(
        "fast-first", "variant: equal arithmetic", {"network": {"width": 32, "blocks": 18}}
    ),
    "fast, gated": Plan("fast-first", "variant: equal arithmetic", {"network": {"blocks": 5}}, "gated"),
    "fast, modulated": Plan("fast-first", "variant: told in every block too", form="modulated"),
    "fast, merged": Plan("fast-first", "variant: the same network once trained", form="merged"),
    "fast, taught by best": Plan(
        "fast-first", "variant: half of its target is what best says", form="taught"
    ),
    "fast, the paper's losses": Plan("fast-first", "variant: L1 + FFL + WHFL", {"loss": PAPER_LOSS}),
    "fast, without WHFL": Plan(
        "fast-first", "variant: L1 + FFL", {"loss": PAPER_LOSS | {"wavelet_weight": 0.0}}
    ),
    "fast, L1": Plan("fast-first", "variant: absolute difference", {"loss": {"kind": "l1"}}),
    "fast, all pixels alike": Plan(
        "fast-first", "variant: structure_weight 0", {"loss": {"structure_weight": 0.0}}
    ),
    "fast, all images alike": Plan(
        "fast-first", "variant: noise_exponent 0", {"loss": {"noise_exponent": 0.0}}
    ),
}


def document(plan: Plan, *, steps: int) -> Document:
    """The recipe of a training: the network's own, with the data and validation of the default's."""
    own, last = (tomllib.loads((RECIPES / f"{name}.toml").read_text()) for name in (plan.recipe, "fast"))
    values = own | {key: copy.deepcopy(last[key]) for key in ("data", "validation", "workers", "precision")}
    for table, changes in plan.changes.items():
        values[table] = values[table] | changes
    warm_up = min(values["optimiser"].get("warmup_steps", 0), steps // 10)
    values["optimiser"] = values["optimiser"] | {"warmup_steps": warm_up}
    values["validation"] = values["validation"] | {"every_steps": steps}
    return values | {
        "steps": steps,
        "preview": {"every_steps": 0},
        "checkpoint_every_steps": max(1, steps // 10),
    }


def recipe_of(name: str, *, steps: int) -> Recipe:
    return recipe_from(document(PLANS[name], steps=steps), where=name)


# Training


class _Enough(Exception):  # noqa: N818 (no error)
    """Ends a training that only measures time."""


def seconds_per_step(name: str) -> float:
    """Median time of a step of a training that is thrown away, once all its scenes have been drawn."""
    ticks: list[float] = []
    recipe = recipe_of(name, steps=10_000)
    data = cast("SimulatedPatchesConfig", recipe.data)
    wanted = data.pool * data.group // recipe.optimiser.batch + TIMED_STEPS

    def on_step(at: Progress) -> None:
        ticks.append(time.perf_counter())
        if len(ticks) > wanted:
            raise _Enough

    with tempfile.TemporaryDirectory() as scratch, suppress(_Enough):
        train(recipe, Path(scratch) / "run", device="cpu", devices=PROCESSES, on_step=on_step)
    return float(np.median(np.diff(ticks)[-TIMED_STEPS:]))


def folder_of(name: str, work: Path) -> Path:
    return work / name.replace(",", "").replace("'", "").replace(" ", "-").lower()


def train_one(name: str, *, minutes: float, work: Path) -> None:
    """Train a network for so many minutes, or go on with the training that is there."""
    out = folder_of(name, work)
    if (out / "last.safetensors").exists():
        return
    with taken(PLANS[name].form):
        facts = out.with_suffix(".json")
        resume = facts.exists()
        if not resume:
            out.parent.mkdir(parents=True, exist_ok=True)
            step = seconds_per_step(name)
            plan = {
                "minutes": minutes,
                "seconds per step": step,
                "steps": max(10, round(60 * minutes / step)),
            }
            facts.write_text(json.dumps(plan | {"host": host_facts()}, indent=1) + "\n")
        recipe = recipe_of(name, steps=json.loads(facts.read_text())["steps"])

        def on_step(at: Progress) -> None:
            if at.step % max(1, at.steps // 20) == 0:
                print(name, f"step {at.step} of {at.steps}, loss {at.loss:.4g}", flush=True)

        train(recipe, out, resume=resume and out.exists(), device="cpu", devices=PROCESSES, on_step=on_step)


# Scoring


class Shown(NamedTuple):
    """A pair as the paper scores it: short and long exposure, what both expect, and full scale."""

    lq: np.ndarray
    hq: np.ndarray
    clean: np.ndarray
    full: float


def shown_pairs(name: str, *, count: int, size: int | None) -> list[Shown]:
    """Test pairs of a machine, whole or so many px of them."""
    crop = None if size is None else (size, size)
    pairs = [draw_pair(load_machine(name), seed=0, index=k, split="test", size_px=crop) for k in range(count)]
    return [Shown(p.lq, p.hq, p.clean, 2.0**p.parameters.bits - 1) for p in pairs]


Change = Callable[[Shown], np.ndarray]
Enhance = Callable[[np.ndarray], np.ndarray]


def in_eight_ways(enhance: Enhance, lq: np.ndarray) -> np.ndarray:
    """Mean of what is enhanced of the image as it is, turned and mirrored: a self-ensemble."""
    ways = []
    for flip in (False, True):
        for turns in range(4):
            turned = np.rot90(lq[:, ::-1] if flip else lq, turns)
            back = np.rot90(enhance(np.ascontiguousarray(turned)).astype(np.float64), -turns)
            ways.append(back[:, ::-1] if flip else back)
    return np.mean(ways, axis=0)


def against(pairs: list[Shown], change: Change, truth: Change) -> dict[str, float]:
    """Mean PSNR and SSIM over the pairs."""
    images = [(change(p).astype(np.float64), truth(p).astype(np.float64), p.full) for p in pairs]
    return {
        "psnr": float(np.mean([psnr(image, true, data_range=full) for image, true, full in images])),
        "ssim": float(np.mean([ssim(image, true, data_range=full) for image, true, full in images])),
    }


def as_the_paper_scores(pairs: list[Shown], change: Change) -> dict[str, dict[str, float]]:
    kept = {id(pair): change(pair) for pair in pairs}

    def once(pair: Shown) -> np.ndarray:
        return kept[id(pair)]

    return {
        "against HQ": against(pairs, once, lambda pair: pair.hq),
        "against clean": against(pairs, once, lambda pair: pair.clean),
    }


def structures(enhance: Enhance, *, draws: int) -> dict[str, float]:
    """Contrast that each kind of structure keeps, over that before."""
    found: dict[str, list[float]] = defaultdict(list)
    for place in BACKGROUNDS:
        clean = background(place)
        for noise in NOISES:
            for make in (spots, wires):
                drawn = trials(place, noise, draws, make)
                seen = watched(clean, drawn, noise=noise, cnr=CNR, enhance=enhance)
                for (kind, _), one in seen.items():
                    found[kind].append(judged(one, CNR)["recovery"])
    return {kind: float(np.mean(kept)) for kind, kept in found.items()}


class Sets(NamedTuple):
    """What every network is scored on."""

    paper: dict[str, list[Shown]]
    cases: dict[str, list[Example]]
    conditions: dict[str, list[Example]]
    draws: int

    @classmethod
    def drawn(cls, *, pairs: int, pair_px: int | None, scenes: int, size: int, draws: int) -> Sets:
        return cls(
            {name: shown_pairs(name, count=pairs, size=pair_px) for name in TYPES},
            {name: examples(CASES[name], count=scenes, size=size, seed=50_000) for name in CASES},
            {
                name: spoiled_examples(CONDITIONS[name], count=scenes, size=size, seed=60_000)
                for name in CONDITIONS
            },
            draws,
        )


def scored(sets: Sets, enhance: Enhance) -> dict[str, Any]:
    def psnr_of(some: dict[str, list[Example]]) -> dict[str, float]:
        return {name: score(pairs, lambda pair: enhance(pair.lq))["psnr"] for name, pairs in some.items()}

    return {
        "as the paper scores": {
            name: as_the_paper_scores(pairs, lambda pair: enhance(pair.lq))
            for name, pairs in sets.paper.items()
        },
        "cases": psnr_of(sets.cases),
        "conditions": psnr_of(sets.conditions),
        "structures": structures(enhance, draws=sets.draws),
    }


def trained(work: Path) -> Iterator[tuple[str, Document, Enhancer]]:
    """Finished trainings with their facts."""
    for name, plan in PLANS.items():
        out = folder_of(name, work)
        weights = out / "last.safetensors"
        if not weights.exists():
            continue
        facts = json.loads(out.with_suffix(".json").read_text())
        recipe = json.loads((out / "recipe.json").read_text())
        log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        patches = facts["steps"] * recipe["optimiser"]["batch"]
        with taken(plan.form):
            network = build_network(parse_config(recipe["network"]))
            yield (
                name,
                {
                    "what": plan.what,
                    **facts,
                    "seconds": log[-1]["seconds"],
                    "megapixels": patches * recipe["data"]["patch_px"] ** 2 / 1e6,
                    "parameters": sum(weights.numel() for weights in network.parameters()),
                    "recipe": recipe,
                    "weights_sha256": sha256_of(weights),
                },
                load_enhancer(weights),
            )


def run(
    *, work: Path, pairs: int, pair_px: int | None, scenes: int, size: int, draws: int, shipped_too: bool
) -> Document:
    sets = Sets.drawn(pairs=pairs, pair_px=pair_px, scenes=scenes, size=size, draws=draws)
    rows: Document = {}
    for name, facts, enhancer in trained(work):
        rows[name] = facts | scored(sets, enhancer.enhance)
        tell(name, rows[name])
    shipped: Document = {}
    eight_ways: Document = {}
    for name, weights in shipped_weights().items() if shipped_too else ():
        enhance = load_enhancer(name).enhance
        shipped[name] = {"weights_sha256": sha256_of(weights)} | scored(sets, enhance)
        tell(f"{name} as shipped", shipped[name])
        eight_ways[name] = scored(sets, partial(in_eight_ways, enhance))
        tell(f"{name} in eight ways", eight_ways[name])
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {"pairs": pairs, "pair_px": pair_px, "scenes": scenes, "size_px": size, "draws": draws},
        "5 s": {name: as_the_paper_scores(some, lambda pair: pair.lq) for name, some in sets.paper.items()},
        "90 s": {
            name: against(some, lambda pair: pair.hq, lambda pair: pair.clean)
            for name, some in sets.paper.items()
        },
        "ceiling": {
            name: against(some, lambda pair: pair.clean, lambda pair: pair.hq)
            for name, some in sets.paper.items()
        },
        "networks": rows,
        "shipped": shipped,
        "shipped, in eight ways": eight_ways,
    }


def tell(name: str, row: Document) -> None:
    paper = {key: round(value["against HQ"]["psnr"], 2) for key, value in row["as the paper scores"].items()}
    means = {
        key: round(float(np.mean(list(row[key].values()))), 2)
        for key in ("cases", "conditions", "structures")
    }
    print(name, paper, means, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/retrained"))
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train networks, by name")
    training.add_argument("names", nargs="+", choices=PLANS)
    training.add_argument("--minutes", type=float, default=15.0)
    scoring = commands.add_parser("score", help="score what has been trained")
    scoring.add_argument("--pairs", type=int, default=12)
    scoring.add_argument("--pair-px", type=int, help="side of the test images; left out: whole")
    scoring.add_argument("--scenes", type=int, default=8)
    scoring.add_argument("--size", type=int, default=320)
    scoring.add_argument("--draws", type=int, default=2, help="of noise, over the structures")
    scoring.add_argument(
        "--trained-only", action="store_true", help="leave out the weights that ship, which take longest"
    )
    scoring.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    if arguments.command == "train":
        for name in arguments.names:
            train_one(name, minutes=arguments.minutes, work=arguments.work)
        return
    result = run(
        work=arguments.work,
        pairs=arguments.pairs,
        pair_px=arguments.pair_px,
        scenes=arguments.scenes,
        size=arguments.size,
        draws=arguments.draws,
        shipped_too=not arguments.trained_only,
    )
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
