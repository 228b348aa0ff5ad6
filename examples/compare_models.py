"""Score models on a folder of pairs of short and long exposures."""

from pathlib import Path

from longexposure.cli.terminal import print_table
from longexposure.data.evaluate import evaluate, write_evaluation
from longexposure.data.simulated_sets import SetPlan, write_set

small = ("image.height=160", "image.width=160")
plan = SetPlan(machine="S1", split="test", count=2, seed=11, out=Path("test-pairs"), overrides=small)
write_set(plan, workers=0)  # or any folder with LQ/name and HQ/name

evaluation = evaluate(Path("test-pairs"), ["fast", "nlm", "gaussian", "identity"])
print_table(evaluation.summary())
write_evaluation(evaluation, Path("scores.json"))
