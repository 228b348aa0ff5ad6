"""Train on pairs in folders; these few are simulated and the two steps only show the way."""

from pathlib import Path

from longexposure import load_enhancer
from longexposure.physics.detector import Detector
from longexposure.recipes import load_recipe
from longexposure.simulating import simulate_pair, write_pairs
from longexposure.training import train

detector = Detector(quanta_per_s=60.0, gain=140.0, offset=800.0, read_noise=400.0)
pairs = [simulate_pair(detector, seed=seed, size_px=(96, 96)) for seed in range(4)]
write_pairs(pairs, Path("pairs"))  # pairs/LQ/00000.tif, pairs/HQ/00000.tif, pairs/clean/00000.tif, ...

tiny = [
    "data.path=pairs",
    "data.patch_px=64",
    "steps=2",
    "optimiser.batch=2",
    "optimiser.warmup_steps=1",
    "workers=0",
]
recipe = load_recipe(Path("recipes/own-pairs.toml"), tiny)  # leave `tiny` out for a real training
checkpoint = train(recipe, Path("runs/tiny"))

enhanced = load_enhancer(checkpoint).enhance(pairs[0].lq)
print(f"{checkpoint}: {enhanced.pixels.dtype} {enhanced.pixels.shape}")
