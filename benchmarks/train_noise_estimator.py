"""Train the small regression by which the package measures the noise of an image, and score it.

Pictures whose noise is known are exposures of simulated machines and what files do to them
(benchmarks/known_noise.py), and noise on drawn textures that are finer than any machine's
(benchmarks/drawn_textures.py). Training takes the machines' training split; the scenes held out are of another
seed and of the test split. Its inputs are noise/blocks.py's features of the whole image, cut to
-12..12 there, of every picture and of its transpose; its targets are ln(sigma / reference), both
correlations and the fraction of signal, in the unit domain of the image as it would be measured. Images whose
sigma in that domain is below FLOOR are left out: there texture and rounding outweigh the noise, and no
enhancer of this package does anything at that level.

Against overfitting there are dropout, weight decay, noise on the inputs, weights averaged over the last
steps, and several networks from different starts whose answers are averaged; their average is again one
network of the same form, so that noise/estimator.py reads it as it is. Which differences are taken was chosen
on 200 of the 800 held-out scenes, and how wide the networks are on all of them, so their scores lean to the
good side a little. Longer training gains a little more there and loses on photographs, which it never saw.

    python benchmarks/train_noise_estimator.py [--scenes 9000] [--textures 8000] [--seed 7] [--workers 1]

Scenes and features are kept in runs/noise-estimator in parts of 50 scenes, so that a run that was cut off
goes on; where machines or features changed since, they are drawn or computed anew. With --draw-only nothing
is trained.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawn_textures import texture_pictures
from known_noise import MACHINES, SIZES, Picture, keep_images, kept_images, pictures, probe, transposed

import longexposure
from longexposure.grey import measure_grey
from longexposure.masks import Mask
from longexposure.noise.blocks import features, picture_blocks
from longexposure.noise.estimator import CORRELATION, FEWEST_BLOCKS, regress
from longexposure.system import host_facts

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(longexposure.__file__).parent
SOURCES = (
    PACKAGE / "grey.py",
    PACKAGE / "noise" / "blocks.py",
    PACKAGE / "noise" / "profile.py",
    Path(__file__).with_name("known_noise.py"),
)
"""With the functions below, what decides on the features of kept scenes."""
TEXTURES = Path(__file__).with_name("drawn_textures.py")

PART = 50
FLOOR = 0.0007
PICTURES, DRAWN_TEXTURES = 33, 34
"""Numbers of the random streams of what is done to scenes, and of textures."""

TARGETS = ("log_ratio", "corr_x", "corr_y", "signal_share")
WEIGHT = (1.0, 3.0, 3.0, 0.4)
"""Of each in the loss: correlations 0.05 too low cost the default network more than a sigma a tenth too low."""
LEVELS = (0.0007, 0.003, 0.006, 0.02, 0.06, 1.0)
QUANTILES = (0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98)

Array = np.ndarray
Layers = dict[str, Array]
Row = tuple[Array, Array, Array, float, str]
COLUMNS = ("inputs", "across", "targets", "sigma", "kind")


@dataclass(frozen=True)
class Examples:
    """What is learned from.

    Attributes:
        inputs: features of pictures, (N, F).
        across: those of their transposes, (N, F).
        targets: (N, 4), see `TARGETS`.
        sigma: the true one in the unit domain of each image, (N,).
        kind: how each was made, (N,).
    """

    inputs: Array
    across: Array
    targets: Array
    sigma: Array
    kind: Array


# Features of images whose noise is known


def example(picture: Picture) -> tuple[Array, Array, float] | None:
    """Features, targets and sigma of a picture; None where there is nothing to learn from."""
    pixels, aside = picture.pixels, picture.aside
    known = pixels if aside is None or aside.mean() > 0.9 else pixels[~aside][None]
    usable = picture_blocks(pixels, None if aside is None else Mask.of(aside))
    if known.max() <= known.min() or len(usable) < FEWEST_BLOCKS:
        return None
    grey = measure_grey(known)
    span = 1.0 / grey.scale
    inputs, reference = features(usable, span=span, low=-grey.offset / grey.scale)
    truth = picture.noise.mapped(scale=grey.scale, offset=grey.offset)
    variance = max(float(truth.variance(0.5)), 1e-12)
    sigma = float(np.sqrt(variance))
    if sigma < FLOOR:
        return None
    fraction = float(np.clip(truth.slope / (2 * variance), -1, 1))
    along_x, along_y = np.clip((truth.corr_x, truth.corr_y), *CORRELATION)
    targets = np.array([np.log(sigma * span / reference), along_x, along_y, fraction])
    return inputs, targets.astype(np.float32), sigma


def both_ways(seen: Iterable[Picture]) -> list[Row]:
    """Features of each picture and of its transpose, targets, sigma and kind."""
    rows = []
    for picture in seen:
        straight, across = example(picture), example(transposed(picture))
        if straight is not None and across is not None:
            rows.append((straight[0], across[0], *straight[1:], picture.kind))
    return rows


def scene_part(first: int, *, last: int, seed: int, split: str, drawn: Path) -> Path:
    """Features of scenes first..last - 1, from the disk where they are there already."""
    scenes = keep_images(first, last=last, seed=seed, split=split, folder=drawn)
    file = drawn.with_name(f"features-{drawn.name}-{digest()}") / scenes.name

    def seen() -> Iterator[Picture]:
        for number, scene in enumerate(kept_images(scenes), start=first):
            yield from pictures(scene, np.random.default_rng((seed, PICTURES, number)))

    return kept_rows(file, seen)


def texture_part(first: int, *, last: int, seed: int, run: Path) -> Path:
    """Features of textures first..last - 1, likewise."""
    file = run / f"features-textures-{digest(TEXTURES)}" / f"{seed}-{first:06}-{last:06}.npz"

    def seen() -> Iterator[Picture]:
        for number in range(first, last):
            yield from texture_pictures(np.random.default_rng((seed, DRAWN_TEXTURES, number)))

    return kept_rows(file, seen)


def kept_rows(file: Path, seen: Callable[[], Iterable[Picture]]) -> Path:
    if not file.exists():
        columns = [np.array(column) for column in zip(*both_ways(seen()), strict=True)]
        temporary = file.with_name(f".{file.name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(temporary, **dict(zip(COLUMNS, columns, strict=True)))
        temporary.replace(file)
    return file


def make_examples(jobs: list[Callable[[], Path]], *, what: str, workers: int) -> Examples:
    """What these jobs leave on the disk; the same whatever the number of workers."""
    files = []
    with ProcessPoolExecutor(workers) as pool:
        for number, job in enumerate([pool.submit(each) for each in jobs], start=1):
            files.append(job.result())
            print(f"{what}: part {number} of {len(jobs)}", flush=True)
    loaded = [np.load(file, allow_pickle=False) for file in files]
    return Examples(*(np.concatenate([each[name] for each in loaded]) for name in COLUMNS))


def parts(make: Callable[..., Path], count: int) -> list[Callable[[], Path]]:
    return [partial(make, first, last=first + PART) for first in range(0, count, PART)]


def digest(*others: Path) -> str:
    """Of everything that decides on the features of kept scenes, so that stale ones are not taken."""
    texts = [file.read_text() for file in (*SOURCES, *others)]
    texts += [inspect.getsource(each) for each in (example, both_ways)]
    texts.append(repr((FLOOR, PICTURES, DRAWN_TEXTURES, FEWEST_BLOCKS, CORRELATION)))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


# Training


def network(inputs: int, hidden: int, *, dropout: float) -> torch.nn.Sequential:
    net = torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(hidden, hidden),
        torch.nn.ReLU(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(hidden, len(TARGETS)),
    )
    with torch.no_grad():
        net[6].weight.mul_(0.1)
    return net


def train_member(
    inputs: Array, targets: Array, *, seed: int, epochs: int, hidden: int, dropout: float, decay: float
) -> list[tuple[Array, Array]]:
    """Weights and biases of one network, averaged over about the last twentieth of the steps.

    Args:
        inputs: (N, F), of zero mean and unit spread.
        targets: (N, 4).
    """
    torch.manual_seed(seed)
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    net = network(x.shape[1], hidden, dropout=dropout)
    batch = min(256, len(x))
    steps = epochs * (len(x) // batch)
    keep = torch.optim.swa_utils.get_ema_multi_avg_fn(1 - 1 / max(steps // 20, 1))
    averaged = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=keep)
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    weight = torch.tensor(WEIGHT)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x))[: len(x) // batch * batch].split(batch):
            seen = x[chosen] + 0.03 * torch.randn_like(x[chosen])
            losses = torch.nn.functional.huber_loss(net(seen), y[chosen], delta=0.15, reduction="none")
            optimiser.zero_grad(set_to_none=True)
            (losses * weight).mean().backward()
            optimiser.step()
            schedule.step()
            averaged.update_parameters(net)
    linear = [layer for layer in averaged.module if isinstance(layer, torch.nn.Linear)]
    return [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in linear]


def merged(members: list[list[tuple[Array, Array]]]) -> Layers:
    """One network that says the mean of what these say: hidden units side by side, outputs averaged."""
    first, second, third = zip(*members, strict=True)
    side = first[0][0].shape[1]
    across = np.zeros((side * len(members), side * len(members)), dtype=np.float32)
    for number, (weight, _) in enumerate(second):
        at = slice(number * side, (number + 1) * side)
        across[at, at] = weight
    layers = {
        "w1": np.concatenate([weight for weight, _ in first], axis=1),
        "b1": np.concatenate([bias for _, bias in first]),
        "w2": across,
        "b2": np.concatenate([bias for _, bias in second]),
        "w3": np.concatenate([weight for weight, _ in third]) / len(members),
        "b3": np.mean([bias for _, bias in third], axis=0),
    }
    return {name: values.astype(np.float32) for name, values in layers.items()}


def fit(examples: Examples, *, seed: int, members: int, **settings: Any) -> Layers:
    """Everything that noise/estimator.py loads: mean, spread, w1, b1, w2, b2, w3, b3."""
    both = np.concatenate([examples.inputs, examples.across])
    targets = np.concatenate([examples.targets, examples.targets[:, (0, 2, 1, 3)]])
    mean, spread = both.mean(axis=0), both.std(axis=0) + np.float32(1e-3)
    trained = []
    for number in range(members):
        trained.append(train_member((both - mean) / spread, targets, seed=seed + number, **settings))
        print(f"network {number + 1} of {members} trained", flush=True)
    return {"mean": mean, "spread": spread, **merged(trained)}


# Scores


def log_ratio_scores(errors: Array) -> dict[str, Any]:
    """Of ln(sigma estimated / true): bias is the median."""
    return {
        "images": len(errors),
        "bias": float(np.median(errors)),
        "quantiles": {f"{q}": float(np.quantile(errors, q)) for q in QUANTILES},
        "within 10 %": float(np.mean(np.abs(errors) < np.log(1.10))),
        "within 25 %": float(np.mean(np.abs(errors) < np.log(1.25))),
    }


def scores(layers: Layers, examples: Examples) -> dict[str, Any]:
    errors = regress(layers, examples.inputs) - examples.targets
    kinds = {
        str(kind): log_ratio_scores(errors[examples.kind == kind, 0]) for kind in np.unique(examples.kind)
    }
    levels = {}
    for low, high in pairwise(LEVELS):
        inside = (examples.sigma >= low) & (examples.sigma < high)
        if inside.any():
            levels[f"{low} to {high}"] = log_ratio_scores(errors[inside, 0])
    return {
        "ln(sigma estimated / true)": {
            "all": log_ratio_scores(errors[:, 0]),
            "by kind": kinds,
            "by true sigma": levels,
        },
        "mean absolute error": {
            name: float(np.abs(errors[:, column]).mean()) for column, name in enumerate(TARGETS) if column
        },
        "95th percentile of absolute error": {
            name: float(np.quantile(np.abs(errors[:, column]), 0.95))
            for column, name in enumerate(TARGETS)
            if column
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=9000, help="to train on, in parts of 50")
    parser.add_argument("--textures", type=int, default=8000, help="drawn textures to train on")
    parser.add_argument(
        "--held-out", type=int, default=800, help="scenes to score it on, and half as many textures"
    )
    parser.add_argument(
        "--seed", type=int, default=7, help="of everything; held-out scenes have the next one"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--draw-only", action="store_true", help="draw scenes, compute features, then stop")
    parser.add_argument("--members", type=int, default=4, help="networks to average")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "noise-estimator")
    parser.add_argument("--out", type=Path, default=PACKAGE / "noise" / "estimator.npz")
    parser.add_argument("--scores", type=Path, default=Path(__file__).with_name("noise_estimator.json"))
    arguments = parser.parse_args()
    drawn = arguments.run / f"images-{probe(arguments.seed)}"
    drawn.mkdir(parents=True, exist_ok=True)
    jobs = {}
    for split, seed, scenes, textures in (
        ("test", arguments.seed + 1, arguments.held_out, arguments.held_out // 2),
        ("train", arguments.seed, arguments.scenes, arguments.textures),
    ):
        jobs[split] = parts(partial(scene_part, seed=seed, split=split, drawn=drawn), scenes)
        jobs[split] += parts(partial(texture_part, seed=seed, run=arguments.run), textures)
    unseen, training = (
        make_examples(each, what=name, workers=arguments.workers) for name, each in jobs.items()
    )
    if arguments.draw_only:
        return
    names = ("members", "epochs", "hidden", "dropout", "decay")
    settings = {name: getattr(arguments, name) for name in names}
    layers = fit(training, seed=arguments.seed, **settings)
    provenance = {
        "script": f"benchmarks/{Path(__file__).name}",
        "package version": longexposure.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "seed": arguments.seed,
        "scenes": arguments.scenes,
        "textures": arguments.textures,
        "held-out scenes": arguments.held_out,
        "held-out textures": arguments.held_out // 2,
        "images": len(training.inputs),
        "machines": MACHINES,
        "sizes_px": SIZES,
        **settings,
    }
    np.savez_compressed(arguments.out, **layers, provenance=np.array(json.dumps(provenance)))
    result: dict[str, Any] = {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "provenance": provenance,
        "weights sha256": hashlib.sha256(arguments.out.read_bytes()).hexdigest(),
        "held-out scenes": scores(layers, unseen),
        "training scenes": scores(layers, training),
    }
    arguments.scores.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["held-out scenes"], indent=1))


if __name__ == "__main__":
    main()
