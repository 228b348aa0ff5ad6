"""The machine: tube, geometry, detector, what lies in it and how it exposes, in one TOML document.

A machine's recipe may hold spans in place of numbers (`machines/spans.py`). `Machine.setting` draws them
and gives a `MachineParameters`, in which every value is fixed. The ends of the spans are checked when the recipe is
loaded, every setting when it is drawn; `simulating` draws all those of a set before it writes anything.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from longexposure.config import override, parsed, read_document
from longexposure.errors import RecipeError
from longexposure.simulation.detector.panel import PanelConfig
from longexposure.simulation.detector.video import VideoConfig
from longexposure.simulation.geometry.view import View
from longexposure.simulation.physics.materials import find_material
from longexposure.simulation.physics.optics import GeometryConfig, ScreenConfig
from longexposure.simulation.physics.scatter import ScatterConfig, ShadingConfig
from longexposure.simulation.physics.spectrum import (
    TUBE_KV_RANGE,
    Filter,
    Scintillator,
    XraySpectrum,
    tube_spectrum,
)
from longexposure.simulation.ranges import corners, drawn, range_keys
from longexposure.simulation.scenes.catalogue import SCENES

Split = Literal["train", "test"]

QUANTA_RANGE = (0.5, 1e9)
"""Quanta in an open pixel of the short exposure; exact Poisson numbers reach that far."""
MOST_PAIRS = 100_000
"""Pairs of a set; their names have five digits."""
WITHOUT_RANGES = ("name", "summary", "image", "set")
"""What is the same in all images of a machine."""
TRIED = 16
"""Settings that are drawn when a recipe is loaded."""
FOLLOWS = {"gain": "detector.open_fraction", "reference_s": "exposures.short_s", "swank": "scintillator"}


class RecipeTable(BaseModel):
    """A table of a machine's recipe: frozen, and it knows every key it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FilterConfig(RecipeTable):
    """A plate in the beam.

    Attributes:
        material: a name of the catalogue of materials.
        thickness_mm: mm.
    """

    material: str
    thickness_mm: float = Field(ge=0, le=100)

    @field_validator("material")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            find_material(name)
        except RecipeError as error:
            raise ValueError(error.expected) from error
        return name


class TubeConfig(RecipeTable):
    """The tube.

    Attributes:
        tube_kv: voltage, kV.
        current_ua: current, uA.
        filters: every plate in the beam, the tube's window first.
    """

    tube_kv: float = Field(ge=TUBE_KV_RANGE[0], le=TUBE_KV_RANGE[1])
    current_ua: float = Field(gt=0, le=1e5)
    filters: tuple[FilterConfig, ...] = (FilterConfig(material="Be", thickness_mm=0.2),)


class ScintillatorConfig(RecipeTable):
    """What stops the photons.

    Attributes:
        material: "CsI" or "Gd2O2S".
        thickness_um: of the layer.
        packing: fraction of the layer that is crystal.
        optical_swank: Swank factor of the light alone.
    """

    material: Literal["CsI", "Gd2O2S"] = "CsI"
    thickness_um: float = Field(default=600, gt=0, le=5000)
    packing: float = Field(default=0.8, gt=0, le=1)
    optical_swank: float = Field(default=0.92, gt=0, le=1)


class DetectorConfig(RecipeTable):
    """The detector's pixels and its brightness.

    Attributes:
        pitch_um: distance of the pixels.
        open_fraction: grey value of the open beam in the short exposure above the offset, as a fraction of full
            scale; the gain follows from it. 0 where `panel.gain` is given.
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
    scintillator: ScintillatorConfig = Field(default_factory=ScintillatorConfig)
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
        digitised = self.panel.bits if self.video == VideoConfig() else self.video.stored_bits
        faults = (
            (
                digitised is None,
                "panel.bits" if self.video == VideoConfig() else "video.stored_bits",
                "a depth, 8 to 16 bits, of what is stored",
                "none",
            ),
            (
                self.panel.bad.hot + self.panel.bad.noisy > 1,
                "panel.bad",
                "hot + noisy of 1 at most",
                f"{self.panel.bad.hot:g} + {self.panel.bad.noisy:g}",
            ),
        )
        for wrong, where, expected, found in faults:
            if wrong:
                raise RecipeError(
                    where=where, expected=expected, found=found, advice="correct the machine's recipe"
                )
        return self

    @field_validator("scenes")
    @classmethod
    def _known_scenes(cls, scenes: dict[str, float]) -> dict[str, float]:
        for name, weight in scenes.items():
            if name not in SCENES:
                raise RecipeError(
                    where="scenes",
                    expected=f"kinds among {', '.join(SCENES)}",
                    found=repr(name),
                    advice="write the name as in that list",
                )
            if weight < 0:
                raise RecipeError(
                    where=f"scenes.{name}",
                    expected="a weight of 0 or more",
                    found=f"{weight:g}",
                    advice="give 0 to leave the kind out, 2 to draw it twice as often as one with 1",
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
    def response(self) -> Scintillator:
        """The detector's response to photons."""
        return Scintillator(**self.scintillator.model_dump())

    @property
    def spectrum(self) -> XraySpectrum:
        """Photons per cm2 and mAs at 1 m behind the filters."""
        plates = tuple((plate.material, plate.thickness_mm) for plate in self.tube.filters)
        return _spectrum(self.tube.tube_kv, plates)

    @property
    def quanta_per_px_s(self) -> float:
        """Quanta that an open pixel absorbs each second: photons of the tube times those absorbed.

        N = sum_E n(E) a(E) * mA * pitch^2 / distance^2, with n per cm2 and mAs at 1 m.
        """
        spectrum = self.spectrum
        absorbed = float(spectrum.photons @ self.response.absorbed_fraction(spectrum.energy_kev))
        area_cm2 = (self.detector.pitch_um * 1e-4) ** 2
        distance_m = self.geometry.source_detector_mm * 1e-3
        return absorbed * self.tube.current_ua * 1e-3 * area_cm2 / distance_m**2

    @property
    def swank(self) -> float:
        """Share of the absorbed quanta's information that survives the screen, 0..1."""
        return self.response.swank_factor(self.spectrum)


@lru_cache(maxsize=256)
def _spectrum(tube_kv: float, plates: tuple[tuple[str, float], ...]) -> XraySpectrum:
    return tube_spectrum(tube_kv, [Filter(material, thickness) for material, thickness in plates])


@dataclass(frozen=True, eq=False)
class Machine:
    """A machine as its recipe describes it, spans included.

    Attributes:
        where: name or file of the recipe.
        document: the recipe's tables, with the overrides in place.
    """

    where: str
    document: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key in WITHOUT_RANGES:
            if ranges := list(range_keys(self.document.get(key), f"{key}.")):
                raise RecipeError(
                    where=f"{self.where}: {ranges[0]}",
                    expected="one value, the same for all images",
                    found="a span",
                    advice="write a value; make two recipes of two kinds of images",
                )
        for fixed in corners(self.document, where=self.where):
            _parsed(fixed, where=self.where)
        random = np.random.default_rng(0)
        for _ in range(TRIED if any(range_keys(self.document)) else 0):
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
        sizes = {
            "full": (self.set.train, self.set.test),
            "small": (self.set.small_train, self.set.small_test),
        }
        if wanted in sizes:
            return self._own_count(
                sizes[wanted][split == "test"], f"small_{split}" if wanted == "small" else split
            )
        if not (
            wanted.isdecimal() and len(wanted) <= len(str(MOST_PAIRS)) and 1 <= int(wanted) <= MOST_PAIRS
        ):
            raise RecipeError(
                where="count",
                expected=f"a whole number of 1 to {MOST_PAIRS}, small or full",
                found=repr(wanted),
                advice=f"correct --count; (train, test) are small {sizes['small']}, full {sizes['full']}",
            )
        return int(wanted)

    def _own_count(self, pairs: int, key: str) -> int:
        if not 1 <= pairs <= MOST_PAIRS:
            raise RecipeError(
                where=f"{self.where}: set.{key}",
                expected=f"a whole number of 1 to {MOST_PAIRS}",
                found=str(pairs),
                advice=f"correct set.{key}, or give a number as --count",
            )
        return pairs

    def parameters(self, random: np.random.Generator) -> MachineParameters:
        """One setting, with a value drawn for every span.

        Raises:
            RecipeError: values that each are possible, but not together.
        """
        return _parsed(drawn(self.document, random), where=self.where)


def _parsed(values: dict[str, Any], *, where: str) -> MachineParameters:
    """The setting, checked; a gain of 1 stands in `panel` until `MachineParameters.panel_config` fills it in."""
    panel, detector = values.get("panel", {}), values.get("detector", {})
    if isinstance(panel, dict) and isinstance(detector, dict):
        fraction = detector.get("open_fraction", DetectorConfig.model_fields["open_fraction"].default)
        filled = ("reference_s", "swank", *(("gain",) if fraction != 0 else ()))
        for key in filled:
            if key in panel:
                raise RecipeError(
                    where=f"{where}: panel.{key}",
                    expected="nothing, because it follows from other values"
                    + (" unless detector.open_fraction is 0" if key == "gain" else ""),
                    found=f"{panel[key]}",
                    advice=f"leave it out; {FOLLOWS[key]} decides",
                )
        if fraction == 0 and "gain" not in panel:
            raise RecipeError(
                where=f"{where}: panel.gain",
                expected="a value, because detector.open_fraction is 0",
                found="none",
                advice="give panel.gain, or an open_fraction above 0",
            )
        values = {**values, "panel": {"gain": 1.0, **panel} if fraction != 0 else panel}
    parameters = parsed(MachineParameters, values, where=where)
    _refuse_darkness(parameters, where=where)
    _refuse_emptiness(parameters, where=where)
    return parameters


def _refuse_darkness(parameters: MachineParameters, *, where: str) -> None:
    quanta = parameters.quanta_per_px_s * parameters.exposures.short_s
    if not QUANTA_RANGE[0] <= quanta <= QUANTA_RANGE[1]:
        raise RecipeError(
            where=f"{where}: tube.current_ua",
            expected="{:g} to {:g} quanta in an open pixel of the short exposure".format(*QUANTA_RANGE),
            found=f"{quanta:.3g} at {parameters.tube.current_ua:g} uA and {parameters.exposures.short_s:g} s",
            advice="change current, distance, filters, pixel pitch or exposure time",
        )


def _refuse_emptiness(parameters: MachineParameters, *, where: str) -> None:
    sizes = {name: SCENES[name].pixel_um for name, weight in parameters.scenes.items() if weight > 0}
    if not any(low <= parameters.pixel_um <= high for low, high in sizes.values()):
        takes = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in sizes.items())
        raise RecipeError(
            where=f"{where}: scenes",
            expected=f"a kind that takes pixels of {parameters.pixel_um:.3g} um in the part",
            found=f"those of {takes} um",
            advice="add a kind, or change geometry.source_object_mm, source_detector_mm or detector.pitch_um",
        )


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
        raise RecipeError(
            where="machine",
            expected=f"one of {', '.join(machine_names())}",
            found=repr(name),
            advice="choose one of these",
        )
    return (resources.files("longexposure.simulation") / "machines" / f"{name}.toml").read_text(
        encoding="utf-8"
    )


def load_machine(machine: str | Path, overrides: Sequence[str] = ()) -> Machine:
    """A machine that ships, by its name, or one of your own, by its TOML file.

    Args:
        machine: "S1", "S2", "S3", "wide", or a path that ends in .toml.
        overrides: "dotted.key=value" on top of the recipe, the value written as in TOML.

    Raises:
        RecipeError: no such machine, an unreadable file, an unknown key, or a value out of range anywhere
            in a span; with the key's path, the value and what is allowed there.
    """
    names = machine_names()
    if str(machine) in names:
        document = tomllib.loads(recipe_text(str(machine)))
        for line in overrides:
            override(document, line)
        return Machine(str(machine), document)
    if Path(machine).suffix.lower() != ".toml":
        raise RecipeError(
            where="machine",
            expected=f"one of {', '.join(names)}, or a file that ends in .toml",
            found=repr(str(machine)),
            advice="choose one of these, or write a recipe; `longexposure machines show S1` prints one",
        )
    document = read_document(Path(machine), overrides, advice="start from `longexposure machines show S1`")
    return Machine(str(machine), document)
