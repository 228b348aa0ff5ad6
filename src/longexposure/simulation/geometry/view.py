"""The view: where source, part and detector stand, and which pixel a point of the part is seen in."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, radians, sin, tan

import numpy as np
import numpy.typing as npt

from longexposure.errors import RecipeError

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A central projection onto the plane z = 0, which the detector is parallel to.

    The origin of the part lies in that plane and is seen in the middle of the image; x runs to the right,
    y down, z towards the source, all in um. The detector of an oblique view is moved sideways and not
    turned, as in laminography, so that what lies in the plane keeps its shape.

    Attributes:
        height, width: of the image in px.
        pixel_um: pitch of the pixels as seen in the plane z = 0: detector pitch / magnification.
        tilt_deg: angle between the central ray and z, 0 to below 80 degrees.
        azimuth_deg: direction that the tops of things lean to, from x towards y.
        source_um: height of the source above the plane; infinity makes the beam parallel.

    Raises:
        RecipeError: no pixels, a pitch that is not positive, a tilt out of range, or no source above.
    """

    height: int
    width: int
    pixel_um: float
    tilt_deg: float = 0.0
    azimuth_deg: float = 0.0
    source_um: float = float("inf")

    def __post_init__(self) -> None:
        checks = (
            ("height and width", "at least 1 px", min(self.height, self.width) >= 1),
            ("pixel_um", "a finite pitch above 0 um", 0 < self.pixel_um < np.inf),
            ("tilt_deg", "0 to below 80 degrees", 0 <= self.tilt_deg < 80),
            ("azimuth_deg", "a finite angle in degrees", bool(np.isfinite(self.azimuth_deg))),
            ("source_um", "a height above 0 um", self.source_um > 0),
        )
        for name, expected, holds in checks:
            if not holds:
                found = (self.height, self.width) if " " in name else getattr(self, name)
                raise RecipeError(
                    where=f"view, {name}", expected=expected, found=str(found), advice="correct the geometry"
                )

    @property
    def extent_um(self) -> tuple[float, float]:
        """Width (along x) and height (along y) of what is seen in the plane z = 0, um."""
        return self.width * self.pixel_um, self.height * self.pixel_um

    @property
    def slope(self) -> tuple[float, float]:
        """How far along x and y the central ray leans for each um of height."""
        lean = tan(radians(self.tilt_deg))
        return lean * cos(radians(self.azimuth_deg)), lean * sin(radians(self.azimuth_deg))

    def slopes(self, points_um: npt.ArrayLike) -> Numbers:
        """How far a point's image moves along x and y for each um of height: (N, 3) to (N, 2).

        (x - x_source) / (z_source - z); for a parallel beam the slope of the central ray.
        """
        points = np.asarray(points_um, np.float64).reshape(-1, 3)
        central = np.array(self.slope)
        if np.isinf(self.source_um):
            return np.broadcast_to(central, (len(points), 2)).copy()
        source = -central * self.source_um
        return (points[:, :2] - source) / (self.source_um - points[:, 2:])

    def project(self, points_um: npt.ArrayLike) -> Numbers:
        """Pixel coordinates (N, 2), x and y, of points (N, 3) in um; (0, 0) is the first pixel's centre."""
        points = np.asarray(points_um, np.float64).reshape(-1, 3)
        flat = points[:, :2] + self.slopes(points) * points[:, 2:]
        return flat / self.pixel_um + (np.array([self.width, self.height]) - 1) / 2

    def path_factor(self, slope: tuple[float, float]) -> float:
        """Length of a ray of this slope for each um of height: 1 / cos(tilt)."""
        return hypot(1.0, *slope)
