"""What became of one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longexposure.errors import LongExposureError
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Radiograph


@dataclass(frozen=True, eq=False)
class FileResult:
    """What became of one file.

    `before` and `after` hold the pixels for a report; drop the result when done with it, so that a folder
    takes no more memory than its largest file. sigma_before and sigma_after are the standard deviation in
    flat areas, in grey values, of the first page (`longexposure.noise.flat_deviation`). `seconds` is what
    examining and computing took, `engine` is `Enhancer.engine_name`.
    """

    source: Path
    output: Path | None = None
    error: LongExposureError | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    sigma_before: float = 0.0
    sigma_after: float = 0.0
    bad_pixels: int = 0
    seconds: float = 0.0
    megapixels: float = 0.0
    engine: str | None = None
    noise: NoiseProfile | None = None
    warnings: tuple[str, ...] = ()
    before: Radiograph | None = None
    after: Radiograph | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything but the pixels, ready for JSON."""
        return {
            "source": str(self.source),
            "output": str(self.output) if self.output else None,
            "error": str(self.error) if self.error else None,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "sigma_before": self.sigma_before,
            "sigma_after": self.sigma_after,
            "bad_pixels": self.bad_pixels,
            "seconds": self.seconds,
            "megapixels": self.megapixels,
            "noise": self.noise.as_dict() if self.noise else None,
            "warnings": list(self.warnings),
            "history": [step.as_dict() for step in self.after.history] if self.after else [],
        }
