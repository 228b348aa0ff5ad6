"""Simulate: a set on disk with defects and their truth, and one part that is exposed as often as you like."""

from pathlib import Path

import numpy as np

from longexposure import read_radiograph
from longexposure.data.simulated_sets import SetPlan, read_truth, write_set
from longexposure.simulation.exposure import draw_acquisition, draw_pair
from longexposure.simulation.machine import load_machine
from longexposure.simulation.random_source import NumpyRandom

small = ("image.height=200", "image.width=240", "scenes={bga=1}")
plan = SetPlan(machine="S1", split="test", count=2, seed=7, out=Path("sets"), defects=True, overrides=small)
write_set(plan, workers=0)
truth = read_truth(plan.root / "truth" / "00000.json")
mask = read_radiograph(plan.root / "truth" / "00000.tif").pixels
for number, defect in enumerate(truth["defects"], start=1):
    print(f"{number}: {defect['kind']}, {defect['size_um']:.0f} um, contrast {defect['contrast']:+.2f}")
print(f"{np.count_nonzero(mask)} pixels of {mask.size} are defective")

machine = load_machine("wide", ["tube.tube_kv=90"])
pair = draw_pair(machine, seed=1, index=0, size_px=(160, 160))  # arrays, nothing on disk
print(f"{pair.scene.kind}, {pair.lq.dtype}, short - clean: {np.std(pair.lq - pair.clean):.0f} counts")

part = draw_acquisition(machine, key=(1, 0, 0), size_px=(160, 160))
shots = np.stack([part.expose_short(NumpyRandom(number)) for number in range(4)])
print(f"4 shots of it, mean {shots.mean():.0f}, noise {shots.std(axis=0, ddof=1).mean():.0f} counts")
