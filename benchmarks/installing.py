"""What an installation weighs, and how soon one view is enhanced: this build beside an older one.

Each build is installed by pip into an empty environment, as its README says an engineer should, in the versions
of its `constraints.txt`. Sizes are those of all installed files, without pip and setuptools. One radiograph of
256 x 256 is enhanced as a process by both in turns; ratios are medians of those of neighbouring runs.

    python benchmarks/installing.py COMMIT [--extras engines] [--runs 9] [--out benchmarks/installing.json]

`--extras` are those that the older build was installed with.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from longexposure.system import host_facts

ROOT = Path(__file__).resolve().parents[1]
VIEW = ROOT / "examples" / "radiographs" / "ic_5s_view4.tif"
WEIGH = """
import json
from importlib.metadata import distributions
sizes = {}
for found in distributions():
    if found.name in ("pip", "setuptools"):
        continue
    files = {found.locate_file(file) for file in found.files or ()}
    sizes[found.name] = sum(file.stat().st_size for file in files if file.is_file())
print(json.dumps(sizes))
"""


def installed(commit: str, extras: str, folder: Path) -> Path:
    """An environment with the package of a commit; its Python."""
    source = folder / "source"
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = f"{source}[{extras}]" if extras else str(source)
    words = [str(python), "-m", "pip", "install", "--quiet", "-c", str(source / "constraints.txt"), wanted]
    subprocess.run(words, check=True)
    return python


def weighed(python: Path) -> dict[str, Any]:
    """Megabytes of all that is installed, and of the largest parts."""
    done = subprocess.run([str(python), "-c", WEIGH], check=True, capture_output=True, text=True)
    sizes = sorted(json.loads(done.stdout).items(), key=lambda each: -each[1])
    return {
        "MB": round(sum(size for _, size in sizes) / 1e6, 1),
        "packages": len(sizes),
        "largest, MB": {name: round(size / 1e6, 1) for name, size in sizes[:8]},
    }


def one_view(python: Path, out: Path) -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [str(python), "-m", "longexposure", "enhance", str(VIEW), "--out", str(out)]
    subprocess.run(words, check=True, capture_output=True, env=environment, cwd=out.parent)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": wall,
        "processor seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def run(old: str, *, extras: str, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        kinds = {"old": (old, extras), "new": ("HEAD", ""), "new, with openvino": ("HEAD", "openvino")}
        pythons = {
            name: installed(*kind, work / name.replace(", ", "-").replace(" ", "-"))
            for name, kind in kinds.items()
        }
        sizes = {name: weighed(python) for name, python in pythons.items()}
        print(json.dumps(sizes, indent=1), flush=True)
        rounds = []
        for number in range(runs + 1):
            order = list(pythons)[:: 1 if number % 2 else -1]
            rounds.append({name: one_view(pythons[name], work / f"{number}-{name}") for name in order})
        rounds = rounds[1:]  # the first fills caches
    times: dict[str, Any] = {}
    for figure in rounds[0]["old"]:
        times[figure] = {name: statistics.median(each[name][figure] for each in rounds) for name in pythons}
        times[figure] |= {
            f"{name} to old": statistics.median(each[name][figure] / each["old"][figure] for each in rounds)
            for name in pythons
            if name != "old"
        }
    return {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {"old commit": old, "old extras": extras, "runs": runs},
        "installed": sizes,
        "one view": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("commit", help="of the older build")
    parser.add_argument("--extras", default="engines")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    result = run(arguments.commit, extras=arguments.extras, runs=arguments.runs)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["one view"], indent=1))


if __name__ == "__main__":
    main()
