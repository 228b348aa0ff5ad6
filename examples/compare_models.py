"""Score models on a folder of pairs of short and long exposures."""

from pathlib import Path

from longexposure.evaluating import evaluate, write_evaluation
from longexposure.physics.detector import Detector
from longexposure.printing import print_table
from longexposure.simulating import simulate_pair, write_pairs

detector = Detector(quanta_per_s=60.0, gain=140.0, offset=800.0, read_noise=400.0)
pairs = [simulate_pair(detector, seed=seed, size_px=(128, 128)) for seed in (11, 12)]
write_pairs(pairs, Path("test-pairs"))  # or any folder with LQ/name and HQ/name

evaluation = evaluate(Path("test-pairs"), ["fast", "nlm", "gaussian", "identity"])
print_table(evaluation.summary())
write_evaluation(evaluation, Path("scores.json"))
