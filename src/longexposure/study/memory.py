"""How much main memory it takes to enhance an image, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from longexposure.errors import ResourceError
from longexposure.models.registry import CLASSICAL

if TYPE_CHECKING:
    from longexposure.study.workbench import StudyRun


def peak_memory(model: StudyRun | str, *, side_px: int) -> float:
    """Main memory in MiB that enhancing a square image takes at its peak, on the CPU, in a new process.

    What the process has taken before, for a tiny image, is taken off, so that the libraries do not count.

    Raises:
        ResourceError: the process failed.
    """
    name = model if isinstance(model, str) else str(model.checkpoint)
    command = [sys.executable, "-m", "longexposure.study.memory", name, str(side_px)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ResourceError(
            where=f"memory of {name}",
            expected="a process that enhances an image",
            found=(done.stderr.strip().splitlines() or ["nothing"])[-1],
            advice="free memory and run the same command again; what is done is kept",
        )
    return float(done.stdout.strip().splitlines()[-1])


def peak_kib() -> float:
    """Most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss starts at the peak of the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)


def main(name: str, side_px: int) -> None:
    """Write the MiB that enhancing takes in this process."""
    from longexposure.enhance.enhancer import load_enhancer

    if name in CLASSICAL:
        enhancer = load_enhancer(name)
    else:
        enhancer = load_enhancer(name, engine="torch", device="cpu", precision="f32")
    image = np.random.default_rng(0).normal(30000, 1500, (side_px, side_px)).astype(np.uint16)
    enhancer.enhance(image[:32, :32].copy())
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: libraries have theirs
    before = peak_kib()
    enhancer.enhance(image)
    sys.stdout.write(f"{(peak_kib() - before) / 1024}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
