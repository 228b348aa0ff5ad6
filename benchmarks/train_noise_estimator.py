"""Train the small regression by which the package measures the noise of an image, and score it on held-out scenes.

Scenes are drawn as for training (data/simulated.py), a tenth of them plain light without any part; each gets
three noises that are known, any level, colour, dependence on signal, digitiser and clipping as drawn. Half
of the images are rounded as 16-bit files are, a fifth get hot pixels far off the scale. What the network
sees is noise/blocks.py's features of the whole image, cut to -12..12 there; what it is to say is ln(sigma /
reference), both correlations and the share of signal, in the unit domain of the image as it would be
measured. Images whose sigma in that domain is below FLOOR are left out: there texture and rounding outweigh
the noise, and no enhancer of this package does anything at that level.

Against overfitting there are dropout, weight decay, noise on the inputs, weights averaged over the last steps,
and several networks from different starts whose answers are averaged; their average is again one network of
the same form, so that noise/estimator.py reads it as it is. Nothing is chosen by looking at held-out scenes.

    python benchmarks/train_noise_estimator.py [--scenes 8000] [--seed 7] [--workers 1] [--members 4]

Features are kept in runs/noise-estimator in parts of 100 scenes, so that a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine

import longexposure
from longexposure.data.simulated import SimulatedConfig, draw_clean, draw_noise
from longexposure.grey import measure_grey
from longexposure.noise.blocks import cut_blocks, features, unclipped
from longexposure.noise.estimator import FEWEST_BLOCKS
from longexposure.physics.scenes import illumination

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(longexposure.__file__).parent
SOURCES = (
    "grey.py",
    "noise/blocks.py",
    "noise/profile.py",
    "data/simulated.py",
    "physics/canvas.py",
    "physics/detector.py",
    "physics/scenes.py",
)
"""With the functions below, what decides on the features."""

CONFIG = SimulatedConfig(sigma=(0.001, 0.4))
SIZES = (128, 192, 256, 256, 320, 448)
NOISES = 3
PART = 100
FLOOR = 0.0007
TRAINING, HELD_OUT = 0, 1

TARGETS = ("log_ratio", "corr_x", "corr_y", "signal_share")
WEIGHT = (1.0, 0.7, 0.7, 0.4)
LEVELS = (0.0007, 0.003, 0.006, 0.02, 0.06, 1.0)
QUANTILES = (0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.98)

Array = np.ndarray
Layers = dict[str, Array]


@dataclass(frozen=True)
class Examples:
    """Features (N, F), targets (N, 4) and true sigma (N,) in the unit domain of each image."""

    inputs: Array
    targets: Array
    sigma: Array


# Features of images whose noise is known


def plain_light(random: np.random.Generator, size: int) -> Array:
    """An image of nothing but light, of any contrast from none to all of the domain."""
    light = illumination(random, size_px=(size, size))
    span = max(float(np.ptp(light)), 1e-6)
    contrast = np.float32(random.uniform(0, 1) ** 2)
    return np.asarray(contrast * (light - light.min()) / span, dtype=np.float32)


def with_faults(noisy: Array, random: np.random.Generator) -> Array:
    """As a file holds it: now and then hot pixels up to a thousand times the scale, half in 16 bits."""
    noisy = noisy.copy()
    if random.random() < 0.2:
        count = random.poisson(noisy.size * np.exp(random.uniform(np.log(5e-5), np.log(3e-3))))
        where = tuple(random.integers(0, side, count) for side in noisy.shape)
        noisy[where] = np.exp(random.uniform(np.log(2), np.log(1000), count)).astype(np.float32)
    return np.round(noisy * 60000) / 60000 if random.random() < 0.5 else noisy


def scene_examples(number: int, *, seed: int, part: int) -> Iterator[tuple[Array, Array, float]]:
    """Features, targets and sigma of one scene under each of its noises."""
    random = np.random.default_rng((seed, part, number))
    size = int(random.choice(SIZES))
    clean = (
        plain_light(random, size)
        if random.random() < 0.1
        else draw_clean(random, config=CONFIG, size_px=size)
    )
    for _ in range(NOISES):
        noise = draw_noise(random, config=CONFIG)
        noisy = with_faults(noise.add_to(clean, random), random)
        blocks = cut_blocks(noisy)
        usable = blocks[unclipped(blocks, low=float(noisy.min()), high=float(noisy.max()))]
        if len(usable) < FEWEST_BLOCKS:
            continue
        grey = measure_grey(noisy)
        span = 1.0 / grey.scale
        inputs, reference = features(usable, span=span, low=-grey.offset / grey.scale)
        truth = noise.profile().mapped(scale=grey.scale, offset=grey.offset)
        variance = max(float(truth.variance(0.5)), 1e-12)
        sigma = float(np.sqrt(variance))
        share = float(np.clip(truth.slope / (2 * variance), -1, 1))
        if sigma >= FLOOR:
            targets = np.array([np.log(sigma * span / reference), truth.corr_x, truth.corr_y, share])
            yield inputs, targets.astype(np.float32), sigma


def make_part(first: int, *, last: int, seed: int, part: int, folder: Path) -> Path:
    """Features of scenes first..last - 1, from the folder where they are there already."""
    file = folder / f"{digest()}-{seed}-{part}-{first:06}-{last:06}.npz"
    if not file.exists():
        rows = [row for number in range(first, last) for row in scene_examples(number, seed=seed, part=part)]
        inputs, targets, sigma = (np.array(column, dtype=np.float32) for column in zip(*rows, strict=True))
        temporary = file.with_name(f".{file.name}")
        np.savez(temporary, inputs=inputs, targets=targets, sigma=sigma)
        temporary.replace(file)
    return file


def make_examples(scenes: int, *, seed: int, part: int, folder: Path, workers: int) -> Examples:
    """Examples of this many scenes, which are the same whatever the number of workers."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, scenes, PART)
    files = []
    with ProcessPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(make_part, start, last=min(start + PART, scenes), seed=seed, part=part, folder=folder)
            for start in starts
        ]
        for number, job in enumerate(jobs, start=1):
            files.append(job.result())
            print(f"features: part {number} of {len(jobs)}", flush=True)
    loaded = [np.load(file, allow_pickle=False) for file in files]
    return Examples(
        *(np.concatenate([each[name] for each in loaded]) for name in ("inputs", "targets", "sigma"))
    )


def digest() -> str:
    """Of everything that decides on the features, so that stale ones are not taken."""
    texts = [(PACKAGE / name).read_text() for name in SOURCES]
    texts += [inspect.getsource(each) for each in (plain_light, with_faults, scene_examples)]
    texts.append(repr((CONFIG, SIZES, NOISES, FLOOR, FEWEST_BLOCKS)))
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
    mean = examples.inputs.mean(axis=0)
    spread = examples.inputs.std(axis=0) + np.float32(1e-3)
    inputs = (examples.inputs - mean) / spread
    trained = []
    for number in range(members):
        trained.append(train_member(inputs, examples.targets, seed=seed + number, **settings))
        print(f"network {number + 1} of {members} trained", flush=True)
    return {"mean": mean, "spread": spread, **merged(trained)}


# Scores


def predict(layers: Layers, inputs: Array) -> Array:
    """As noise/estimator.py computes it, before its limits."""
    x = (inputs.astype(np.float64) - layers["mean"]) / layers["spread"]
    x = np.maximum(x @ layers["w1"] + layers["b1"], 0)
    x = np.maximum(x @ layers["w2"] + layers["b2"], 0)
    return x @ layers["w3"] + layers["b3"]


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
    errors = predict(layers, examples.inputs) - examples.targets
    levels = {}
    for low, high in pairwise(LEVELS):
        inside = (examples.sigma >= low) & (examples.sigma < high)
        if inside.any():
            levels[f"{low} to {high}"] = log_ratio_scores(errors[inside, 0])
    return {
        "ln(sigma estimated / true)": {"all": log_ratio_scores(errors[:, 0]), "by true sigma": levels},
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
    parser.add_argument("--scenes", type=int, default=8000, help="to train on; an eighth more is held out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--members", type=int, default=4, help="networks to average")
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--hidden", type=int, default=48)
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "noise-estimator")
    parser.add_argument("--out", type=Path, default=PACKAGE / "noise" / "estimator.npz")
    parser.add_argument("--scores", type=Path, default=Path(__file__).with_name("noise_estimator.json"))
    asked = parser.parse_args()
    held_out = max(asked.scenes // 8, 1)
    drawn = partial(make_examples, seed=asked.seed, folder=asked.run, workers=asked.workers)
    training, unseen = drawn(asked.scenes, part=TRAINING), drawn(held_out, part=HELD_OUT)
    names = ("members", "epochs", "hidden", "dropout", "decay")
    settings = {name: getattr(asked, name) for name in names}
    layers = fit(training, seed=asked.seed, **settings)
    provenance = {
        "script": f"benchmarks/{Path(__file__).name}",
        "package version": longexposure.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "seed": asked.seed,
        "scenes": asked.scenes,
        "held-out scenes": held_out,
        "images": len(training.inputs),
        **settings,
    }
    np.savez_compressed(asked.out, **layers, provenance=np.array(json.dumps(provenance)))
    result: dict[str, Any] = {
        "what": __doc__.split("\n")[0],
        "machine": machine(),
        "provenance": provenance,
        "weights sha256": hashlib.sha256(asked.out.read_bytes()).hexdigest(),
        "held-out scenes": scores(layers, unseen),
        "training scenes": scores(layers, training),
    }
    asked.scores.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["held-out scenes"], indent=1))


if __name__ == "__main__":
    main()
