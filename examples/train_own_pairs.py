"""Train on pairs in folders; these few are simulated and the two steps only show the way."""

from pathlib import Path

from longexposure import load_enhancer, read_radiograph
from longexposure.data.simulated_sets import SetPlan, write_set
from longexposure.train.loop import train
from longexposure.train.recipe import load_recipe

small = ("image.height=96", "image.width=96")
plan = SetPlan(machine="S1", split="train", count=4, seed=1, out=Path("pairs"), overrides=small)
write_set(plan, workers=0)  # pairs/S1/train/LQ/00000.tif, .../HQ/00000.tif, .../clean/00000.tif, ...

tiny = [
    "data.path=pairs",
    "data.patch_px=64",
    "steps=2",
    "optimiser.batch=2",
    "optimiser.warmup_steps=1",
    "workers=0",
]
recipe = load_recipe("own-pairs", tiny)  # leave `tiny` out for a real training
checkpoint = train(recipe, Path("runs/tiny"))

enhanced = load_enhancer(checkpoint).enhance(read_radiograph(plan.root / "LQ" / "00000.tif"))
print(f"{checkpoint}: {enhanced.pixels.dtype} {enhanced.pixels.shape}")
