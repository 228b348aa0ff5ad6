"""Pairs: a scene in a machine, exposed for a short and for a long time, and what is true of it.

An `Acquisition` is one scene in one machine, ready to be exposed as often as one likes; `draw_pair` makes
one from (machine, seed, split, index) alone and exposes it twice. The random streams of parameters, scene,
defects, panel and exposures are independent: without its defects a scene is otherwise the same, on the same
panel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from longexposure.noise.profile import NoiseProfile
from longexposure.simulation.defects.catalogue import add_defects
from longexposure.simulation.defects.visibility import SeenDefect, mask_of, see_all
from longexposure.simulation.detector.panel import Panel
from longexposure.simulation.detector.panel_config import PanelConfig
from longexposure.simulation.detector.panel_noise import PanelNoise
from longexposure.simulation.detector.video import VideoConfig
from longexposure.simulation.geometry.primitives import Scene
from longexposure.simulation.geometry.thickness import thickness_maps
from longexposure.simulation.geometry.view import View
from longexposure.simulation.machine import Machine, MachineParameters, Split
from longexposure.simulation.physics.attenuation import transmission
from longexposure.simulation.physics.optics import (
    GeometryConfig,
    ScreenConfig,
    filtered,
    frequencies,
    padded_shape,
    screen_mtf,
    transfer,
)
from longexposure.simulation.physics.scatter import ShadingConfig, open_beam_of_piece, scattered
from longexposure.simulation.random_source import Array, NumpyRandom, RandomSource, namespace
from longexposure.simulation.ranges import ranges, value_at
from longexposure.simulation.recipe import refused
from longexposure.simulation.scenes.catalogue import draw_scene

Image = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint8 | np.uint16]

CROP_MARGIN_PX = 12
"""Border around a crop that is exposed with it, so that the screen has something to blur in."""

PROFILED_PX = 256
"""Side of the piece of the panel whose noise stands for all of it; it has no large-scale structure."""

SPLITS = {"train": 0, "test": 1}
_PARAMETERS, _SCENE, _DEFECTS, _PANEL, _SHORT, _LONG = range(6)


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """Two exposures of one scene and the truth about them.

    Attributes:
        lq: the short exposure, (H, W), uint8 or uint16.
        hq: the long one, same grey scale; the part may have moved.
        clean: the expectation of lq at the tube's nominal output, without lag and faults, float32, not
            rounded; where nothing moves that of hq as well.
        noise: the true profile of lq at the mean of clean, in its grey values.
        parameters: the machine with every value fixed.
        scene: what lies in it, defects included.
        defects: the defects as they are seen, none if none were asked for.
        defect_free: clean without the defects, None if none were asked for.
        mask: (H, W), 0 or the number of the defect in `defects`, counted from 1; None likewise.
        drawn: dotted key and value of everything that the machine's recipe left open.
    """

    lq: Counts
    hq: Counts
    clean: Image
    noise: NoiseProfile
    parameters: MachineParameters
    scene: Scene
    defects: tuple[SeenDefect, ...] = ()
    defect_free: Image | None = None
    mask: npt.NDArray[np.uint8] | None = None
    drawn: Mapping[str, Any] = field(default_factory=dict)

    def truth(self) -> dict[str, Any]:
        """What is known of the pair, as JSON takes it."""
        parameters = self.parameters
        return {
            "drawn": dict(self.drawn),
            "scene": {"kind": self.scene.kind, **self.scene.facts},
            "pixel_um": parameters.pixel_um,
            "magnification": parameters.geometry.magnification,
            "quanta_per_px": {
                "LQ": parameters.quanta_per_px_s * parameters.exposures.short_s,
                "HQ": parameters.quanta_per_px_s * parameters.exposures.long_s,
            },
            "noise": self.noise.as_dict(),
            "defects": [seen.as_dict() for seen in self.defects],
        }


class Crops(NamedTuple):
    """Pieces of a scene, (N, size_px, size_px) float32 each, grey values.

    Attributes:
        short: short exposures, whole numbers.
        long: long exposures, whole numbers; None where they were not asked for.
        clean: expectations of the short ones, the drift of the tube included.
    """

    short: Array
    long: Array | None
    clean: Array


@dataclass(frozen=True, eq=False)
class Acquisition:
    """One scene in one machine.

    Attributes:
        parameters: the machine.
        scene: what lies in it.
        seed: of the panel.
        beam: intensity of the open beam, (H, W), mean 1 over the whole field.
        arriving: fraction of the open beam that reaches the screen, (H, W), in the short exposure.
        arriving_later: the same for the long exposure, where the part may have moved.
    """

    parameters: MachineParameters
    scene: Scene
    seed: int
    beam: Array
    arriving: Array
    arriving_later: Array

    def expose(self, short: RandomSource, long: RandomSource) -> tuple[Counts, Counts]:
        """A fresh pair of exposures, (H, W) each, in the machine's depth."""
        collected, lq = self._short(self.panel, short)
        return self._counts(lq), self._counts(self._long(self.panel, long, collected))

    def expose_short(self, rng: RandomSource) -> Counts:
        """A fresh short exposure, (H, W), in the machine's depth."""
        return self._counts(self._short(self.panel, rng)[1])

    @property
    def panel(self) -> Panel:
        """The machine's detector, or the piece of it that lies under the scene."""
        parameters = self.parameters
        return _panel(
            parameters.panel_config,
            parameters.screen,
            parameters.quanta_per_px_s,
            _field(parameters, self.shape),
            self.seed,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.arriving.shape
        return int(height), int(width)

    @property
    def clean(self) -> Image:
        """The expectation at the tube's nominal output, float32 grey values."""
        expected: Image = self._expected(self.panel)
        return expected

    @cached_property
    def noise(self) -> NoiseProfile:
        """True profile of the short exposure at its mean grey value."""
        parameters, side = self.parameters, min(PROFILED_PX, *self.shape)
        level = float(self.panel.expectation(self.arriving).mean())
        quanta = parameters.quanta_per_px_s * float(self.beam.mean())
        noise = PanelNoise(_small_panel(parameters, (1, side, side), quanta, NumpyRandom(_PANEL)))
        if parameters.video == VideoConfig():
            return noise.profile(level)
        return parameters.video.profile(
            level,
            spectrum=noise.power_spectrum,
            shape=(side, side),
            exposure_s=parameters.exposures.short_s,
        )

    def panel_of_crops(self, count: int, size_px: int, rng: RandomSource) -> Panel:
        """Pixels for so many pieces of the scene, under the mean of its open beam; see `crops`."""
        height, width = (size_px + 2 * margin for margin in self._margins(size_px))
        quanta = self.parameters.quanta_per_px_s * float(self.beam.mean())
        return _small_panel(self.parameters, (count, height, width), quanta, rng)

    def _margins(self, size_px: int) -> list[int]:
        """Rows and columns around a piece, as far as there is room for margins as wide at all pieces."""
        return [min(CROP_MARGIN_PX, (side - size_px) // 2) for side in self.shape]

    def crops(
        self,
        corners: Sequence[tuple[int, int]],
        size_px: int,
        *,
        rng: RandomSource,
        long: bool = True,
        panel: Panel | None = None,
    ) -> Crops:
        """Square pieces of the scene, each exposed anew by a panel of its own.

        The images may lie on a GPU as tensors (see `on_device`); then all is computed there.

        Args:
            corners: first row and column of each of N pieces.
            size_px: their side.
            rng: of panel and exposures, for the kind of array that the images are.
            long: whether long exposures are wanted too.
            panel: of `panel_of_crops`, which saves calibrating a new one; None draws one.
        """
        margins = self._margins(size_px)
        starts = [
            [
                min(max(first - margin, 0), side - size_px - 2 * margin)
                for first, side, margin in zip(corner, self.shape, margins, strict=True)
            ]
            for corner in corners
        ]
        height, width = (size_px + 2 * margin for margin in margins)
        stack = namespace(self.arriving).stack
        beam, arriving, later = (
            stack([image[y : y + height, x : x + width] for y, x in starts])
            for image in (self.beam, self.arriving, self.arriving_later)
        )
        quanta = self.parameters.quanta_per_px_s * beam
        if panel is None:
            panel = _small_panel(self.parameters, tuple(arriving.shape), quanta, rng)
        else:
            panel = panel.under(quanta)
        grown = replace(self, beam=beam, arriving=arriving, arriving_later=later)
        collected, short = grown._short(panel, rng)
        images = (
            short,
            grown._long(panel, rng, collected) if long else None,
            grown._expected(panel, dose=1.0 + self.parameters.exposures.drift),
        )
        cuts = [(y - top, x - left) for (y, x), (top, left) in zip(corners, starts, strict=True)]

        def cut(image: Array) -> Array:
            return stack([image[n, y : y + size_px, x : x + size_px] for n, (y, x) in enumerate(cuts)])

        return Crops(*(None if image is None else cut(image) for image in images))

    def on_device(self, rng: RandomSource) -> Acquisition:
        """The same acquisition with its images as arrays of the kind of this random source, for `crops`."""
        images = {name: rng.array(getattr(self, name)) for name in ("beam", "arriving", "arriving_later")}
        return replace(self, **images)

    def _short(self, panel: Panel, rng: RandomSource) -> tuple[Array, Array]:
        """Quanta that were collected and the image."""
        times = self.parameters.exposures
        collected = panel.collect(self.arriving, exposure_s=times.short_s, rng=rng, dose=1.0 + times.drift)
        return collected, self._image(panel, collected, times.short_s, rng)

    def _long(self, panel: Panel, rng: RandomSource, collected: Array) -> Array:
        times = self.parameters.exposures
        rest = times.long_s - times.short_s if times.shared else times.long_s
        quanta = panel.collect(self.arriving_later, exposure_s=rest, rng=rng) if rest else 0.0
        return self._image(panel, quanta + collected if times.shared else quanta, times.long_s, rng)

    def _image(self, panel: Panel, quanta: Array, seconds: float, rng: RandomSource) -> Array:
        raw = panel.read_out(quanta, exposure_s=seconds, rng=rng)
        return self.parameters.video.through(raw, exposure_s=seconds, rng=rng)

    def _expected(self, panel: Panel, *, dose: float = 1.0) -> Array:
        return self.parameters.video.expectation(panel.expectation(self.arriving * dose))

    def _counts(self, image: Array) -> Counts:
        counts: Counts = image.astype(np.uint8 if self.parameters.bits <= 8 else np.uint16)
        return counts


def draw_pair(
    machine: Machine,
    *,
    seed: int,
    index: int,
    split: Split = "test",
    size_px: tuple[int, int] | None = None,
    defects: bool = False,
) -> SimulatedPair:
    """One pair; equal arguments and versions give equal pixels.

    Args:
        machine: see `load_machine`.
        seed: of everything, 0 or more.
        index: number of the pair, 0 or more.
        split: train or test; they never share a scene.
        size_px: height and width of a piece of the field; None for the whole image.
        defects: whether to put defects in.

    Raises:
        RecipeError: a negative seed or index, or no kind of scene that suits the pixel size.
    """
    if min(seed, index) < 0:
        raise refused(
            "draw_pair", "a seed and an index of 0 or more", f"{seed} and {index}", "correct the argument"
        )
    key = _machine_key(machine, (seed, SPLITS[split], index))
    panel_seed = _panel_seed(machine, key)
    parameters, view, scene = _parameters_and_scene(machine, key, size_px)
    seen: tuple[SeenDefect, ...] = ()
    defect_free = mask = None
    if not defects:
        acquisition = prepare_acquisition(parameters, scene, view, panel_seed=panel_seed)
    else:
        faulty, records = add_defects(scene, _stream(key, _DEFECTS), view=view)
        maps = [thickness_maps(primitives, view) for primitives in (faulty.primitives, scene.primitives)]
        law = partial(transmission, parameters.spectrum, response=parameters.scintillator)
        seen = see_all(records, view, defect_free=maps[1], transmission=law)
        shadows = _shadows(parameters, maps, view)
        acquisition = _acquisition(parameters, faulty, shadows[0], seed=panel_seed)
        defect_free = _acquisition(parameters, scene, shadows[1], seed=panel_seed).clean
        mask = mask_of(seen, view)
    lq, hq = acquisition.expose(*(NumpyRandom(_stream(key, number)) for number in (_SHORT, _LONG)))
    document = parameters.model_dump(mode="json")
    return SimulatedPair(
        lq=lq,
        hq=hq,
        clean=acquisition.clean,
        noise=acquisition.noise,
        parameters=parameters,
        scene=acquisition.scene,
        defects=seen,
        defect_free=defect_free,
        mask=mask,
        drawn={name: value_at(document, name) for name, _ in ranges(machine.document)},
    )


def draw_acquisition(
    machine: Machine,
    *,
    key: tuple[int, int, int],
    size_px: tuple[int, int] | None = None,
    defects: bool = False,
) -> Acquisition:
    """The scene of this key (seed, number of the split, index) in the machine, ready to be exposed.

    Raises:
        RecipeError: no kind of scene that suits the pixel size, or a piece larger than the image.
    """
    own = _machine_key(machine, key)
    parameters, view, scene = _parameters_and_scene(machine, own, size_px)
    if defects:
        scene, _ = add_defects(scene, _stream(own, _DEFECTS), view=view)
    return prepare_acquisition(parameters, scene, view, panel_seed=_panel_seed(machine, own))


@dataclass(frozen=True, eq=False)
class Insertion:
    """A scene with one defect, and the same without it, to be prepared at any strength of the defect.

    Attributes:
        parameters: the machine.
        view: what is seen.
        scene: without the defect.
        defect: as it is seen at its full strength.
        maps: thickness of each material, (H, W) um, with the defect and without.
        panel_seed: of the panel.
    """

    parameters: MachineParameters
    view: View
    scene: Scene
    defect: SeenDefect
    maps: tuple[Mapping[str, Image], Mapping[str, Image]]
    panel_seed: int

    def prepared(self, strength: float = 1.0) -> tuple[Acquisition, Acquisition]:
        """The scene with the defect and without, ready to be exposed; same panel.

        Args:
            strength: 0 to 1, the fraction of the defect's change of thickness that is there: a flatter void,
                a thinner bridge, a wire that is parted in part.
        """
        if not 0 <= strength <= 1:
            raise refused("strength", "0 to 1", strength, "give the fraction of the defect that is there")
        faulty, sound = self.maps
        nothing = np.zeros((self.view.height, self.view.width), np.float32)
        part = np.float32(strength)
        mixed = {
            name: (1 - part) * sound.get(name, nothing) + part * faulty.get(name, nothing)
            for name in {**sound, **faulty}
        }
        shadows = _shadows(self.parameters, [mixed, sound], self.view)
        first, second = (
            _acquisition(self.parameters, self.scene, shadow, seed=self.panel_seed) for shadow in shadows
        )
        return first, second


def draw_insertion(
    machine: Machine, *, key: tuple[int, int, int], kind: str, size_px: tuple[int, int] | None = None
) -> Insertion | None:
    """One defect of this kind in the scene of this key; None where the scene cannot have one.

    Raises:
        RecipeError: an unknown kind of defect, no kind of scene that suits the pixel size, or a piece larger
            than the image.
    """
    own = _machine_key(machine, key)
    parameters, view, scene = _parameters_and_scene(machine, own, size_px)
    faulty, records = add_defects(scene, _stream(own, _DEFECTS), view=view, kinds=[kind], count=1)
    if not records:
        return None
    maps = [thickness_maps(primitives, view) for primitives in (faulty.primitives, scene.primitives)]
    law = partial(transmission, parameters.spectrum, response=parameters.scintillator)
    (seen,) = see_all(records, view, defect_free=maps[1], transmission=law)
    return Insertion(parameters, view, scene, seen, (maps[0], maps[1]), _panel_seed(machine, own))


def prepare_acquisition(
    parameters: MachineParameters, scene: Scene, view: View, *, panel_seed: int
) -> Acquisition:
    """Put a scene into a machine, whose panel has this seed."""
    (shadow,) = _shadows(parameters, [thickness_maps(scene.primitives, view)], view)
    return _acquisition(parameters, scene, shadow, seed=panel_seed)


def parameters_of(machine: Machine, key: tuple[int, int, int]) -> MachineParameters:
    """The machine with the values that the pair of this key has."""
    return machine.parameters(_stream(_machine_key(machine, key), _PARAMETERS))


def _machine_key(machine: Machine, key: tuple[int, int, int]) -> tuple[int, ...]:
    """The key with the machine's name in it, so that machines draw independently of each other."""
    return (*key, int.from_bytes(hashlib.sha256(machine.name.encode()).digest()[:8], "little"))


def _panel_seed(machine: Machine, own: tuple[int, ...]) -> int:
    """One panel for all pairs of a machine and seed, or one a pair where the recipe draws the detector."""
    seed, _, _, name = own
    drawn = any(key.startswith(("panel.", "detector.")) for key, _ in ranges(machine.document))
    parts = own if drawn else (seed, name)
    return int(np.random.SeedSequence((*parts, _PANEL)).generate_state(1, np.uint64)[0])


def _parameters_and_scene(
    machine: Machine, key: tuple[int, ...], size_px: tuple[int, int] | None
) -> tuple[MachineParameters, View, Scene]:
    """The machine's parameters, the view and the scene of a key, without defects."""
    parameters = machine.parameters(_stream(key, _PARAMETERS))
    image = parameters.image
    if size_px is not None and not (0 < size_px[0] <= image.height and 0 < size_px[1] <= image.width):
        raise refused(
            "size_px",
            f"1 x 1 to the {image.height} x {image.width} px of {machine.name}",
            f"{size_px[0]} x {size_px[1]}",
            "ask for a smaller piece, or give the machine a larger image",
        )
    view = parameters.view(size_px)
    return parameters, view, draw_scene(_stream(key, _SCENE), view=view, kinds=parameters.scenes)


def _shadows(parameters: MachineParameters, maps: Sequence[Mapping[str, Image]], view: View) -> list[Image]:
    """What passes each of several scenes without scatter and blur, as a fraction of the open beam's signal.

    One call for all: the polychromatic law is tabulated, and scenes that are alike in a place have equal
    values there only with equal tables.
    """
    shape = (len(maps), view.height, view.width)
    nothing = np.zeros(shape[1:], np.float32)
    names = dict.fromkeys(name for scene in maps for name in scene)
    if not names:
        return list(np.ones(shape, np.float32))
    stacked = {name: np.stack([scene.get(name, nothing) for scene in maps]) for name in names}
    return list(transmission(parameters.spectrum, stacked, parameters.scintillator))  # type: ignore[arg-type]


def _acquisition(parameters: MachineParameters, scene: Scene, shadow: Image, *, seed: int) -> Acquisition:
    shape = (shadow.shape[0], shadow.shape[1])
    pitch_um, times = parameters.detector.pitch_um, parameters.exposures
    light = scattered(shadow, parameters.scatter, pitch_um=pitch_um)
    moved = (times.shift_x_px, times.shift_y_px)
    optics = partial(transfer, shape, pitch_um=pitch_um, geometry=parameters.geometry)
    arriving = filtered(light, optics())
    later = filtered(light, optics(shift_px=moved)) if any(moved) else arriving
    return Acquisition(parameters, scene, seed, _beam(_field(parameters, shape)), arriving, later)


def _small_panel(
    parameters: MachineParameters, shape: tuple[int, ...], quanta: float | Array, rng: RandomSource
) -> Panel:
    """A panel of N small fields with the parameters of a large one."""
    otf = _small_screen((shape[1], shape[2]), parameters.screen, parameters.detector.pitch_um)
    screen = None if otf is None else partial(filtered, otf=rng.array(otf))
    return Panel(parameters.panel_config, shape=shape, quanta_per_px_s=quanta, rng=rng, screen=screen)


@lru_cache(maxsize=16)
def _small_screen(shape: tuple[int, int], screen: ScreenConfig, pitch_um: float) -> Image | None:
    """The screen's OTF with a border too narrow for all of the glare, which is even over a small field."""
    if screen.f50_lp_mm is None and not screen.glare:
        return None
    across, down = frequencies(padded_shape(shape, reach_px=CROP_MARGIN_PX))
    otf: Image = screen_mtf(np.hypot(across, down), screen, pitch_um=pitch_um).astype(np.float32)
    return otf


class _Field(NamedTuple):
    """All that the open beam of a piece from the middle of a field depends on."""

    shading: ShadingConfig
    geometry: GeometryConfig | None
    pitch_um: float
    whole: tuple[int, int]
    shape: tuple[int, int]


def _field(parameters: MachineParameters, shape: tuple[int, int]) -> _Field:
    geometry = None
    if parameters.shading.falloff:
        geometry = GeometryConfig(
            source_object_mm=parameters.geometry.source_detector_mm,
            source_detector_mm=parameters.geometry.source_detector_mm,
            tilt_deg=parameters.geometry.tilt_deg,
            azimuth_deg=parameters.geometry.azimuth_deg,
        )
    whole = (parameters.image.height, parameters.image.width)
    return _Field(parameters.shading, geometry, parameters.detector.pitch_um, whole, shape)


def _beam(field: _Field) -> Image:
    return open_beam_of_piece(
        field.shape, field.whole, field.shading, geometry=field.geometry, pitch_um=field.pitch_um
    )


@lru_cache(maxsize=2)
def _panel(
    config: PanelConfig, screen: ScreenConfig, quanta_per_px_s: float, field: _Field, seed: int
) -> Panel:
    """The machine's detector, or a piece from its middle; the same pixels for all pairs of one seed."""
    otf = transfer(field.shape, pitch_um=field.pitch_um, screen=screen)
    return Panel(
        config,
        shape=field.shape,
        quanta_per_px_s=quanta_per_px_s * _beam(field),
        rng=NumpyRandom((seed, _PANEL)),
        screen=None if otf is None else partial(filtered, otf=otf),
    )


def _stream(key: tuple[int, ...], number: int) -> np.random.Generator:
    return np.random.default_rng((*key, number))
