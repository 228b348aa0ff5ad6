"""The machine: tube, geometry, detector, what lies in it and how it exposes, in one TOML document.

A machine's recipe may hold ranges in place of values (`simulation/ranges.py`). `Machine.parameters` draws
them and gives `MachineParameters`, in which every value is fixed. The ends of the ranges are checked when the
recipe is loaded, all parameters when they are drawn; `simulated_sets` draws those of a whole set before it
writes anything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from longexposure.config import override, parsed, read_document
from longexposure.errors import RecipeError, as_list, as_path
from longexposure.simulation.detector.panel_config import PanelConfig
from longexposure.simulation.detector.video import VideoConfig
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.optics import GeometryConfig, ScreenConfig
from longexposure.simulation.physics.scatter import ScatterConfig, ShadingConfig
from longexposure.simulation.physics.spectrum import (
    TUBE_KV_RANGE,
    Filter,
    Scintillator,
    XraySpectrum,
    tube_spectrum,
)
from longexposure.simulation.ranges import corners, ranges, with_drawn_values
from longexposure.simulation.recipe import RecipeTable, refused
from longexposure.simulation.scenes.catalogue import SCENES

Split = Literal["train", "test"]

QUANTA_RANGE = (0.5, 1e9)
"""Quanta in an open pixel of the short exposure; exact Poisson numbers reach that far."""
MOST_PAIRS = 100_000
"""Pairs of a set; their names have five digits."""
WITHOUT_RANGES = ("name", "summary", "image", "set")
"""What is the same in all images of a machine."""
TRIED = 16
"""Parameters that are drawn when a recipe is loaded."""
FOLLOWS = {"gain": "detector.open_fraction", "reference_s": "exposures.short_s", "swank": "scintillator"}
"""Keys of `panel` that follow from others."""


class TubeConfig(RecipeTable):
    """The tube.

    Attributes:
        tube_kv: voltage, kV.
        current_ua: current, uA.
        filters: every plate in the beam, the tube's window first.
    """

    tube_kv: float = Field(ge=TUBE_KV_RANGE[0], le=TUBE_KV_RANGE[1])
    current_ua: float = Field(gt=0, le=1e5)
    filters: tuple[Filter, ...] = (Filter(material="Be", thickness_mm=0.2),)


class DetectorConfig(RecipeTable):
    """The detector's pixels and its brightness.

    Attributes:
        pitch_um: distance of the pixels.
        open_fraction: grey value of the open beam in the short exposure above the offset, as a fraction of
            full scale; the gain follows from it. 0 where `panel.gain` is given.
    """

    pitch_um: float = Field(gt=0, le=5000)
    open_fraction: float = Field(default=0.8, ge=0, le=4)


class TwoExposuresConfig(RecipeTable):
    """How the two exposures of one scene differ.

    Attributes:
        short_s: time of the short exposure.
        long_s: time of the long one, at least as long.
        drift: relative change of the tube's output in the short exposure.
        shared: whether the short exposure is the first part of the long one.
        shift_x_px, shift_y_px: movement of the part from the short to the long exposure.
    """

    short_s: float = Field(default=5.0, gt=0, le=3600)
    long_s: float = Field(default=90.0, gt=0, le=36000)
    drift: float = Field(default=0.0, ge=-0.2, le=0.2)
    shared: bool = False
    shift_x_px: float = Field(default=0.0, ge=-20, le=20)
    shift_y_px: float = Field(default=0.0, ge=-20, le=20)

    @field_validator("long_s")
    @classmethod
    def _long_is_longer(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds < (short_s := info.data.get("short_s", 0.0)):
            raise ValueError(f"at least short_s = {short_s:g} s")
        return seconds


class ImageConfig(RecipeTable):
    """Size of the images in px."""

    height: int = Field(ge=16, le=32768)
    width: int = Field(ge=16, le=32768)


class SetConfig(RecipeTable):
    """How many pairs a set has.

    Attributes:
        train, test: the full set.
        small_train, small_test: the set that tests and studies use.
    """

    train: int = Field(default=800, ge=0)
    test: int = Field(default=200, ge=0)
    small_train: int = Field(default=160, ge=0)
    small_test: int = Field(default=40, ge=0)


class MachineParameters(RecipeTable):
    """One machine with every value fixed.

    Attributes:
        name: short name; also that of the folder that its images are written to.
        summary: one line: which real machine it resembles.
        image: size of the images.
        tube, geometry, scintillator, screen, scatter, shading, detector, panel, video: the imaging chain.
            Of `panel`, reference_s and swank follow from the others, and so does gain unless
            detector.open_fraction is 0; see `panel_config`.
        exposures: the two exposures.
        scenes: weight of each kind of scene; kinds that the pixel size does not suit are left out.
        set: how many pairs.
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=60,
        description="letters, digits, . _ -, at most 60, a letter or digit first",
    )
    summary: str = ""
    image: ImageConfig
    tube: TubeConfig
    geometry: GeometryConfig
    scintillator: Scintillator = Field(default_factory=Scintillator)
    screen: ScreenConfig = Field(default_factory=ScreenConfig)
    scatter: ScatterConfig = Field(default_factory=ScatterConfig)
    shading: ShadingConfig = Field(default_factory=ShadingConfig)
    detector: DetectorConfig
    panel: PanelConfig = Field(default_factory=lambda: PanelConfig(gain=1.0))
    video: VideoConfig = Field(default_factory=VideoConfig)
    exposures: TwoExposuresConfig = Field(default_factory=TwoExposuresConfig)
    scenes: dict[str, float]
    set: SetConfig = Field(default_factory=SetConfig)

    @model_validator(mode="after")
    def _fits_together(self) -> MachineParameters:
        if self.video == VideoConfig():
            digitiser, digitised = "panel.bits", self.panel.bits
        else:
            digitiser, digitised = "video.stored_bits", self.video.stored_bits
        if digitised is None:
            raise refused(digitiser, "a depth, 8 to 16 bits, of what is stored", "none")
        quanta = self.quanta_per_px_s * self.exposures.short_s
        if not QUANTA_RANGE[0] <= quanta <= QUANTA_RANGE[1]:
            raise refused(
                "tube.current_ua",
                "{:g} to {:g} quanta in an open pixel of the short exposure".format(*QUANTA_RANGE),
                f"{quanta:.3g} at {self.tube.current_ua:g} uA and {self.exposures.short_s:g} s",
                "change current, distance, filters, pixel pitch or exposure time",
            )
        sizes = {name: SCENES[name].pixel_um for name, weight in self.scenes.items() if weight > 0}
        if not any(low <= self.pixel_um <= high for low, high in sizes.values()):
            takes = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in sizes.items())
            raise refused(
                "scenes",
                f"a kind that takes pixels of {self.pixel_um:.3g} um in the part",
                f"those of {takes} um",
                "add a kind, or change geometry.source_object_mm, source_detector_mm or detector.pitch_um",
            )
        return self

    @field_validator("scenes")
    @classmethod
    def _known_scenes(cls, scenes: dict[str, float]) -> dict[str, float]:
        for name, weight in scenes.items():
            if name not in SCENES:
                kinds = f"kinds among {', '.join(SCENES)}"
                raise refused("scenes", kinds, repr(name), "write the name as in that list")
            if weight < 0:
                raise refused(
                    f"scenes.{name}",
                    "a weight of 0 or more",
                    f"{weight:g}",
                    "give 0 to leave the kind out, 2 to draw it twice as often as one with 1",
                )
        if not sum(scenes.values()) > 0:
            raise ValueError("at least one kind with a weight above 0")
        return scenes

    def view(self, size_px: tuple[int, int] | None = None) -> View:
        """The view of the part, of the whole image or of a piece of this height and width in its middle."""
        height, width = size_px or (self.image.height, self.image.width)
        return View(
            height=height,
            width=width,
            pixel_um=self.pixel_um,
            tilt_deg=self.geometry.tilt_deg,
            azimuth_deg=self.geometry.azimuth_deg,
            source_um=1000 * self.geometry.source_object_mm,
        )

    @property
    def bits(self) -> int:
        """Depth of the images."""
        return self.video.stored_bits or self.panel.bits or 16

    @property
    def panel_config(self) -> PanelConfig:
        """The panel with its gain, reference time and Swank factor."""
        filled: dict[str, Any] = {"reference_s": self.exposures.short_s, "swank": self.swank}
        if self.detector.open_fraction:
            full = 2.0 ** (self.panel.bits or 16) - 1
            filled["gain"] = (
                self.detector.open_fraction * full / (self.quanta_per_px_s * self.exposures.short_s)
            )
        return self.panel.model_copy(update=filled)

    @property
    def pixel_um(self) -> float:
        """Pitch of the pixels in the plane of the part, um."""
        return self.detector.pitch_um / self.geometry.magnification

    @property
    def spectrum(self) -> XraySpectrum:
        """Photons per cm2 and mAs at 1 m behind the filters."""
        return tube_spectrum(self.tube.tube_kv, self.tube.filters)

    @property
    def quanta_per_px_s(self) -> float:
        """Quanta that an open pixel absorbs each second: photons of the tube times those absorbed.

        N = sum_E n(E) a(E) * mA * pitch^2 / distance^2, with n per cm2 and mAs at 1 m.
        """
        spectrum = self.spectrum
        absorbed = float(spectrum.photons @ self.scintillator.absorbed_fraction(spectrum.energy_kev))
        area_cm2 = (self.detector.pitch_um * 1e-4) ** 2
        distance_m = self.geometry.source_detector_mm * 1e-3
        return absorbed * self.tube.current_ua * 1e-3 * area_cm2 / distance_m**2

    @property
    def swank(self) -> float:
        """Fraction of the absorbed quanta's information that survives the screen, 0..1."""
        return self.scintillator.swank_factor(self.spectrum)


@dataclass(frozen=True, eq=False)
class Machine:
    """A machine as its recipe describes it, ranges included.

    Attributes:
        where: name or file of the recipe.
        document: the recipe's tables, with the overrides in place.
    """

    where: str
    document: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key in WITHOUT_RANGES:
            for inner, _ in ranges(self.document.get(key), f"{key}."):
                raise refused(
                    f"{self.where}: {inner}",
                    "one value, the same for all images",
                    "a range",
                    "write a value; make two recipes of two kinds of images",
                )
        for fixed in corners(self.document, where=self.where):
            self._checked(fixed)
        random = np.random.default_rng(0)
        for _ in range(TRIED if any(ranges(self.document)) else 0):
            self.parameters(random)

    @property
    def name(self) -> str:
        """Short name, from the recipe."""
        return str(self.document["name"])

    @property
    def set(self) -> SetConfig:
        """How many pairs the sets have."""
        return parsed(SetConfig, self.document.get("set", {}), where=f"{self.where}: set")

    @property
    def image(self) -> ImageConfig:
        """Size of the images."""
        return parsed(ImageConfig, self.document["image"], where=f"{self.where}: image")

    def count(self, wanted: str, split: Split) -> int:
        """Number of pairs: "small" or "full", which the recipe tells, or a number of 1 to 100,000.

        Raises:
            RecipeError: neither, or the recipe's own number is out of range.
        """
        set_ = self.set
        sizes = {"full": (set_.train, set_.test), "small": (set_.small_train, set_.small_test)}
        whole = f"a whole number of 1 to {MOST_PAIRS}"
        if wanted in sizes:
            pairs = sizes[wanted][split == "test"]
            if not 1 <= pairs <= MOST_PAIRS:
                key = f"set.small_{split}" if wanted == "small" else f"set.{split}"
                advice = f"correct {key}, or give a number as --count"
                raise refused(f"{self.where}: {key}", whole, pairs, advice)
            return pairs
        if not (
            wanted.isdecimal() and len(wanted) <= len(str(MOST_PAIRS)) and 1 <= int(wanted) <= MOST_PAIRS
        ):
            raise refused(
                "count",
                f"{whole}, small or full",
                repr(wanted),
                f"correct --count; (train, test) are small {sizes['small']}, full {sizes['full']}",
            )
        return int(wanted)

    def parameters(self, random: np.random.Generator) -> MachineParameters:
        """The machine with a value drawn for every range.

        Raises:
            RecipeError: values that each are possible, but not together.
        """
        return self._checked(with_drawn_values(self.document, random))

    def _checked(self, values: dict[str, Any]) -> MachineParameters:
        """The parameters; a gain of 1 stands in `panel` until `panel_config` fills it in."""
        panel, detector = values.get("panel", {}), values.get("detector", {})
        if isinstance(panel, dict) and isinstance(detector, dict):
            fraction = detector.get("open_fraction", DetectorConfig.model_fields["open_fraction"].default)
            for key, source in FOLLOWS.items():
                if key in panel and (key != "gain" or fraction != 0):
                    unless = " unless detector.open_fraction is 0" if key == "gain" else ""
                    raise refused(
                        f"{self.where}: panel.{key}",
                        f"nothing, because it follows from other values{unless}",
                        panel[key],
                        f"leave it out; {source} decides",
                    )
            if fraction == 0 and "gain" not in panel:
                raise refused(
                    f"{self.where}: panel.gain",
                    "a value, because detector.open_fraction is 0",
                    "none",
                    "give panel.gain, or an open_fraction above 0",
                )
            values = {**values, "panel": {"gain": 1.0, **panel} if fraction != 0 else panel}
        return parsed(MachineParameters, values, where=self.where)


def machine_names() -> list[str]:
    """Names of the machines that ship."""
    files = (resources.files("longexposure.simulation") / "machines").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def recipe_text(name: str) -> str:
    """The recipe of a machine that ships, as TOML, to start your own from.

    Raises:
        RecipeError: no such machine.
    """
    if name not in machine_names():
        raise refused("machine", f"one of {', '.join(machine_names())}", repr(name), "choose one of these")
    file = resources.files("longexposure.simulation") / "machines" / f"{name}.toml"
    return file.read_text(encoding="utf-8")


def load_machine(machine: str | Path, overrides: Sequence[str] = ()) -> Machine:
    """A machine that ships, by its name, or one of your own, by its TOML file.

    Args:
        machine: "S1", "S2", "S3", "wide", or a path that ends in .toml.
        overrides: "dotted.key=value" on top of the recipe, the value written as in TOML.

    Raises:
        RecipeError: no such machine, an unreadable file, an unknown key, or a value out of range anywhere
            in a range; with the key's path, the value and what is allowed there.
    """
    names = machine_names()
    machine = as_path(machine, where="machine", error=RecipeError)
    if str(machine) in names:
        document = tomllib.loads(recipe_text(str(machine)))
        for line in as_list(overrides, where="--set"):
            override(document, line)
    elif Path(machine).suffix.lower() == ".toml":
        advice = "start from `longexposure machines show S1`"
        document = read_document(Path(machine), overrides, advice=advice)
    else:
        raise refused(
            "machine",
            f"one of {', '.join(names)}, or a file that ends in .toml",
            repr(str(machine)),
            "choose one of these, or write a recipe; `longexposure machines show S1` prints one",
        )
    return Machine(str(machine), document)
