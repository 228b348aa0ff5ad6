"""Enhancing: the one path from a radiograph to an enhanced radiograph.

Every use of a model goes through `Enhancer.enhance`: command line, evaluation, reports. An image is
measured once as a whole (grey map, noise, faulty pixels); then it is computed tile by tile, each with the
same statistics, so that tiles meet without a seam. What a model changes is added to the original grey values,
so nothing is lost to the arithmetic in between.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import numpy.typing as npt

from longexposure.engines.base import Engine, Unit, run_any_size
from longexposure.enhance.areas import REACH
from longexposure.enhance.bad_pixels import GRAPHICS, BadPixels
from longexposure.enhance.bending import MEAN_PX, Bend
from longexposure.enhance.choices import ModelChoice, check_noise, check_strength
from longexposure.enhance.faint import REACH_PX, disturbance, faintness, worth
from longexposure.enhance.flags import recorded
from longexposure.enhance.guard import flags_of
from longexposure.enhance.inspection import inspect
from longexposure.enhance.statistics import ImageStatistics, examine, pages_of
from longexposure.enhance.tiles import Tile, beyond, core_size, plan, with_smaller_cores
from longexposure.errors import (
    CheckpointError,
    InputError,
    OutputError,
    RecipeError,
    as_count,
    as_kind,
    described,
)
from longexposure.grey import to_type
from longexposure.io import read_radiograph
from longexposure.io.defect_maps import DefectMap
from longexposure.io.spool import Spool
from longexposure.masks import Mask
from longexposure.models.checkpoint import read_header, sha256_of
from longexposure.models.noise_range import Conditions, conditions_of
from longexposure.models.registry import DEFAULT, shipped_weights
from longexposure.noise import NoiseProfile
from longexposure.noise.calibration import NoiseCalibration
from longexposure.radiograph import Pages, Pixels, Radiograph, Step, as_pixels, check_pixels
from longexposure.system import free_memory

KnownFaults = DefectMap | npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_] | None
"""Faulty pixels that are known."""
STRIP_PX = 1 << 17
"""Grey values are mapped there and back in strips of about so many pixels, which stay in the cache."""


class Enhancer:
    """Maps radiographs to radiographs with one model.

    Args:
        engine: what computes.
        name: the model's name or file, for the history.
        weights_sha256: SHA-256 of the checkpoint, None for models without weights.
        core_px: side of a tile without its halo; None chooses it from the memory there is.
        trained: the noise that the model was trained for; images with other noise get a warning. None is
            for models that do not say, and warns of nothing.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        weights_sha256: str | None = None,
        core_px: int | None = None,
        trained: Conditions | None = None,
    ) -> None:
        if not (hasattr(engine, "run") and hasattr(engine, "spec")):
            raise RecipeError(
                where="engine",
                expected="an engine, with run and spec",
                found=described(engine),
                advice="longexposure.load_enhancer makes enhancers by a model's name",
            )
        self.engine = engine
        self.name = as_kind(name, str, where="name", advice="give the model's name")
        self.weights_sha256 = weights_sha256
        self.core_px = None if core_px is None else as_count(core_px, where="core_px", low=1)
        self.trained = trained
        self._asked: dict[str, Any] | None = None
        """What `load_enhancer` was asked for."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Load what is missing of an enhancer that came from another process.

            Raises:
                CheckpointError: the file holds other weights by now, and all that `load_enhancer` raises.
            """
            if name not in ("engine", "trained") or self.__dict__.get("_asked") is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            loaded = load_enhancer(**self._asked)
            if loaded.weights_sha256 != self.weights_sha256:
                raise CheckpointError(
                    where=self.name,
                    expected=f"the weights that were pickled, SHA-256 {self.weights_sha256}",
                    found=str(loaded.weights_sha256),
                    advice="load the model anew in both processes",
                )
            self.engine, self.trained = loaded.engine, loaded.trained
            return self.__dict__[name]

    def __repr__(self) -> str:
        info = self.engine.info if "engine" in self.__dict__ else None
        by = f" with {info} on {info.device}" if info else ""
        weights = f", weights {self.weights_sha256[:12]}" if self.weights_sha256 else ""
        return f"<Enhancer {self.name}{by}{weights}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as what `load_enhancer` was asked for; the engine is loaded there."""
        if self._asked is None:
            raise RecipeError(
                where=repr(self),
                expected="an enhancer that load_enhancer made, to be pickled or copied",
                found="one round an engine of your own",
                advice="make it anew in the other process",
            )
        return _travelled, (self._asked, self.name, self.core_px, self.weights_sha256)

    def describe(self) -> dict[str, Any]:
        """What is written into the history of every image."""
        engine = asdict(self.engine.info) if self.engine.info else {}
        return {"model": self.name, "weights_sha256": self.weights_sha256, **engine}

    @overload
    def enhance(
        self,
        image: Radiograph,
        *,
        noise: NoiseProfile | NoiseCalibration | None = ...,
        strength: float = ...,
        bad_pixels: KnownFaults = ...,
        guard: bool = ...,
    ) -> Radiograph: ...
    @overload
    def enhance(
        self,
        image: Pixels,
        *,
        noise: NoiseProfile | NoiseCalibration | None = ...,
        strength: float = ...,
        bad_pixels: KnownFaults = ...,
        guard: bool = ...,
    ) -> Pixels: ...
    def enhance(
        self,
        image: Radiograph | Pixels,
        *,
        noise: NoiseProfile | NoiseCalibration | None = None,
        strength: float = 1.0,
        bad_pixels: KnownFaults = None,
        guard: bool = False,
    ) -> Radiograph | Pixels:
        """Enhance an image or a stack; kind, shape, type and grey scale stay, the input is untouched.

        Args:
            image: a radiograph, or an array (H, W) or (N, H, W) of uint8, uint16 or float32; each page
                of a stack is measured and enhanced for itself. Arrays of other libraries (torch, xarray,
                dask, ...) are taken where they hand themselves to NumPy; NumPy's come back. Where the last
                axis alone has four values or fewer, they are refused as colours.
            noise: its noise, where it is known better than one image can tell, in its grey values; or the
                calibration of its machine (`longexposure.noise.calibration.read_calibration`).
            strength: 0 gives the input back to the bit, 1 the full enhancement, between mixes the two.
            bad_pixels: faulty pixels that are known, which are filled besides those found: a map
                (`longexposure.io.defect_maps.read_defect_map`), or an array (H, W) that is not 0 there.
            guard: whether to look for places where what was taken away is not noise; a radiograph's history
                tells them (`flags` of its pages).

        Raises:
            InputError: wrong type or shape, colours, a masked array, no picture left beside what is set
                aside, or a calibration for other images.
            OutputError: the model gives NaN or infinity.
            RecipeError: strength that is no number from 0 to 1, or noise that is neither profile nor
                calibration.
            ResourceError: not even the smallest tile fits into memory.
        """
        if isinstance(image, Radiograph):
            pixels, statistics = self.enhance_pages(
                image.pixels, noise=noise, strength=strength, bad_pixels=bad_pixels, guard=guard
            )
            step = self.step(statistics, strength=float(strength))
            if isinstance(bad_pixels, DefectMap):
                step = replace(step, settings={**step.settings, "bad_pixel_map": bad_pixels.reference()})
            return image.with_pixels(pixels, step)
        taken = as_pixels(image, where="image")
        return self.enhance_pages(taken, noise=noise, strength=strength, bad_pixels=bad_pixels)[0]

    def enhance_pages(
        self,
        pixels: Pixels,
        *,
        noise: NoiseProfile | NoiseCalibration | None = None,
        strength: float = 1.0,
        bad_pixels: KnownFaults = None,
        statistics: Sequence[ImageStatistics] | None = None,
        on_progress: Callable[[float], object] = lambda share: None,
        on_page: Callable[[ImageStatistics], object] = lambda found: None,
        where: str = "image",
        folder: Path | None = None,
        guard: bool = False,
    ) -> tuple[Pixels, Sequence[ImageStatistics]]:
        """`enhance` for arrays, with the statistics of each page, measured where they are not given.

        Of `Pages` one is measured and computed at a time: what becomes of them are `Pages` too, which lie in
        a nameless file in `folder`, and of their statistics only the first page's have places. `on_progress`
        is told after every tile what share of all pages is computed, `on_page` of each page what it was found
        to be. The cautions of a page say where it was changed by more than its noise allows, and with `guard`
        its flags where what was taken away is not noise (`longexposure.enhance.guard`).
        """
        if not isinstance(pixels, Pages):
            check_pixels(pixels, where=where)
        strength = check_strength(strength)
        check_noise(noise)
        pages = pages_of(pixels)
        spool = Spool(pages.shape, pages.dtype, folder) if isinstance(pages, Pages) else None
        result = cast(Pixels, spool.pages) if spool else np.empty_like(pages)
        given = None if statistics else _given(bad_pixels, (pages.shape[1], pages.shape[2]), where)
        seen: list[ImageStatistics] = []
        for number, page in enumerate(pages):

            def told(share: float, number: int = number) -> None:
                on_progress((number + share) / len(pages))

            found = statistics[number] if statistics else examine(page, noise, given=given, where=where)
            out = np.empty_like(page) if spool else result[number]
            self._compute(page, found, strength=strength, out=out, on_progress=told)
            found = found.with_cautions(inspect(page, out, found))
            if guard:
                found = replace(found, flags=flags_of(page, out, found))
            on_page(found)
            if spool:
                spool.put(out)
            seen.append(found.without_places() if spool and number else found)
        return (result if spool else result.reshape(pixels.shape)), seen

    def step(self, statistics: Sequence[ImageStatistics], *, strength: float) -> Step:
        """The history's entry for an enhancement."""
        from longexposure import __version__

        return Step(
            tool="longexposure",
            version=__version__,
            action="enhance",
            settings={
                **self.describe(),
                "strength": strength,
                "pages": [
                    {
                        "unit_scale": found.grey.scale,
                        "unit_offset": found.grey.offset,
                        "noise": found.noise.as_dict(),
                        **({"calibration": found.calibration.reference()} if found.calibration else {}),
                        **found.replaced(strength),
                        **({"cautions": list(found.cautions)} if found.cautions else {}),
                        **({} if found.flags is None else {"flags": recorded(found.flags)}),
                    }
                    for found in statistics
                ],
            },
        )

    def _compute(
        self,
        page: Pixels,
        found: ImageStatistics,
        *,
        strength: float,
        out: Pixels,
        on_progress: Callable[[float], object],
    ) -> None:
        if strength == 0 or found.noiseless:
            out[...] = page
            return
        spec = self.engine.spec
        halo, beside = spec.halo, 0
        if faintness(self.trained, found.noise_condition):
            beside += REACH_PX
        if self._bend(found):
            beside += MEAN_PX
        halo += -(-beside // spec.size_multiple) * spec.size_multiple
        core = self.core_px or core_size(
            halo_px=halo,
            multiple=spec.size_multiple,
            bytes_per_px=spec.bytes_per_px,
            free_bytes=free_memory(),
            longest_px=max(page.shape),
        )
        if core < max(page.shape) and not self.core_px:
            core = 1 << core.bit_length() - 1  # so that a little more or less free memory changes no byte
        core = max(core // spec.size_multiple, 1) * spec.size_multiple

        def attempt(core_px: int) -> None:
            tiles = list(plan(*page.shape, core_px=core_px, halo_px=halo))
            for done, tile in enumerate(tiles, start=1):
                self._tile(page, found, tile, strength=strength, out=out)
                on_progress(done / len(tiles))

        engine = self.engine.info
        with_smaller_cores(core, spec.size_multiple, attempt)
        if self.engine.info != engine:  # which fell back in the midst of it: a page is of one engine
            self._compute(page, found, strength=strength, out=out, on_progress=on_progress)

    def _tile(
        self, page: Pixels, found: ImageStatistics, tile: Tile, *, strength: float, out: Pixels
    ) -> None:
        """Compute one tile and put its core in its place."""
        if found.aside.mask.count and found.aside.mask.within(*tile.core).all():
            out[tile.core] = page[tile.core]
            return
        window, bad = page[tile.window], found.bad_pixels.within(tile.window)
        unit, bend = in_units(page, found, tile.window), self._bend(found)
        if bend:
            unit = bend.bent(unit)
        output = run_any_size(self.engine, unit, found.noise_condition)
        if not np.isfinite(output[tile.inside]).all():
            raise OutputError(
                where=f"what {self.name} makes of the image",
                expected="finite grey values",
                found="NaN or infinity",
                advice="use another model; the weights or the engine are damaged",
            )
        gain = self._gain(unit, output, found, tile)
        unbent = bend.change(unit, output, gain) if bend else None
        rows, columns = tile.inside
        core = out[tile.core]
        for strip in _strips(rows, window.shape[1]):
            base = _replaced(window, bad, strip)[:, columns]
            if unbent is not None:
                change = unbent[strip, columns]
            else:
                change = (output[strip, columns] - unit[strip, columns]).astype(np.float64)
                if gain is not None:
                    change *= gain[strip, columns]
            enhanced = base + change / found.grey.scale
            if strength < 1:
                given = window[strip, columns]
                enhanced = given + strength * (enhanced - given)
            part = core[strip.start - rows.start : strip.stop - rows.start]
            part[...] = to_type(enhanced, page.dtype)
            drawn = bad.within((strip, columns))
            drawn = drawn.chosen(drawn.kind == GRAPHICS)
            part[drawn.y, drawn.x] = window[strip, columns][drawn.y, drawn.x]
            if found.aside.mask.count:
                top = tile.window[0].start
                place = slice(top + strip.start, top + strip.stop)
                np.copyto(part, window[strip, columns], where=found.aside.mask.within(place, tile.core[1]))

    def _bend(self, found: ImageStatistics) -> Bend | None:
        """How a page is bent for the model: not at all for one that is not told the noise."""
        return found.bend if self.engine.spec.conditioned else None

    def _gain(self, unit: Unit, output: Unit, found: ImageStatistics, tile: Tile) -> Unit | None:
        """How much of the change to apply, where the noise is fainter than any in the training."""
        faint = faintness(self.trained, found.noise_condition)
        if not faint:
            return None
        noise = found.told
        disturbed_by = disturbance(unit, noise, tile.window[0].start, tile.window[1].start)
        disturbed = unit + disturbed_by
        changed = run_any_size(self.engine, disturbed, found.noise_condition) - disturbed
        gain = worth(unit, noise, output - unit, changed, disturbed_by)
        return 1 - np.float32(faint) * (1 - gain)


def _given(bad_pixels: KnownFaults, shape: tuple[int, int], where: str) -> Mask | None:
    """The mask of faulty pixels that are known (raises InputError where it is of another size)."""
    if isinstance(bad_pixels, DefectMap):
        return bad_pixels.mask_for(shape, where=where)
    if bad_pixels is None:
        return None
    marked = np.asarray(bad_pixels)
    if marked.shape != shape or marked.dtype.kind not in "bui":
        raise InputError(
            where="bad_pixels",
            expected=f"a boolean or integer array of the image's shape {shape}",
            found=f"{marked.dtype} of shape {marked.shape}",
            advice="mark every faulty pixel of the image with something other than 0",
        )
    return Mask.of(marked != 0)


def _strips(rows: slice, width: int) -> Iterator[slice]:
    """Rows of an image of this width in strips of about `STRIP_PX` pixels."""
    step = max(STRIP_PX // width, 1)
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop))


def _replaced(window: Pixels, bad: BadPixels, rows: slice) -> npt.NDArray[np.float64]:
    """Some rows of a window with its faulty pixels replaced."""
    grey = window[rows].astype(np.float64)
    inside = bad.within((rows, slice(0, window.shape[1])))
    grey[inside.y, inside.x] = inside.value
    return grey


def in_units(page: Pixels, found: ImageStatistics, window: tuple[slice, slice]) -> npt.NDArray[np.float32]:
    """A window of a page as a model takes it: faulty pixels and what is set aside replaced, unit domain."""
    wide, inside = window, (slice(None), slice(None))
    if found.aside.mask.count:
        wide, inside = beyond(window, REACH, page.shape)
    pixels, bad = page[wide], found.bad_pixels.within(wide)
    if found.aside.mask.count:
        grey = _replaced(pixels, bad, slice(0, len(pixels)))
        found.aside.replace(grey, *wide)
        return found.grey.to_unit(grey[inside])
    unit = np.empty(pixels.shape, np.float32)
    for strip in _strips(slice(0, len(pixels)), pixels.shape[1]):
        unit[strip] = found.grey.to_unit(_replaced(pixels, bad, strip))
    return unit


def load_enhancer(
    model: str | Path = DEFAULT,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    core_px: int | None = None,
) -> Enhancer:
    """Load a model by name, checkpoint file or training run.

    Args:
        model: a name from `longexposure models`, a .safetensors file, or the folder of a run.
        engine: "auto", "torch", "openvino" or "onnx", see `longexposure.engines.choice.load_engine`;
            classical models have none.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "f32" or "bf16".
        core_px: side of a tile without its halo; None chooses it from the memory there is.

    Raises:
        CheckpointError: no such model, a file that is none, one that was not exported for the engine, or
            one whose header states conditions that are none.
        ResourceError: no such engine or device, or an engine whose results are not torch's.
        RecipeError: an unknown engine, device or precision, or ones that contradict each other.
    """
    choice = ModelChoice(model, engine=engine, device=device, precision=precision)
    return enhancer_of(choice, choice.load_engine, core_px=core_px)


def enhancer_of(choice: ModelChoice, load: Callable[[], Engine], *, core_px: int | None = None) -> Enhancer:
    """The enhancer with a model whose engine `load` gives; raises what `load_enhancer` raises."""
    choice.check()
    weights, model = choice.weights, choice.name
    if weights is None:
        found = Enhancer(load(), name=model, core_px=core_px)
    else:
        if model not in shipped_weights():
            model = str(weights.absolute())  # wherever the other process works
        found = Enhancer(
            load(),
            name=choice.name,
            weights_sha256=sha256_of(weights),
            core_px=core_px,
            trained=conditions_of(read_header(weights), model=choice.name),
        )
    found._asked = {
        "model": model,
        "engine": choice.engine,
        "device": choice.device,
        "precision": choice.precision,
    }
    return found


def _travelled(asked: dict[str, Any], name: str, core_px: int | None, weights_sha256: str | None) -> Enhancer:
    """What an enhancer is unpickled with: as it was, but for what it loads when it is first used.

    A pool of processes that unpickles its work breaks where that fails; where the work fails, it says why.
    """
    enhancer = Enhancer.__new__(Enhancer)
    enhancer.name, enhancer.core_px, enhancer.weights_sha256 = name, core_px, weights_sha256
    enhancer._asked = asked
    return enhancer


@functools.lru_cache(maxsize=4)
def _loaded_once(state: tuple[object, ...], model: str, **choices: Any) -> Enhancer:
    """The enhancer of a process, and of a file as it is now."""
    return load_enhancer(model, **choices)


def enhance(
    image: str | Path | Radiograph | Pixels,
    model: str | Path = DEFAULT,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    noise: NoiseProfile | NoiseCalibration | None = None,
    strength: float = 1.0,
) -> Radiograph | Pixels:
    """Enhance a file, a radiograph or an array in one call; a model is loaded once and kept.

    Args:
        image: a file's path or a radiograph, which give a radiograph, or an array as `Enhancer.enhance` takes
            it, which gives an array.
        model: as for `load_enhancer`.
        engine: the same.
        device: the same.
        precision: the same.
        noise: as for `Enhancer.enhance`.
        strength: the same.

    Raises:
        LongExposureError: as `load_enhancer`, `read_radiograph` and `Enhancer.enhance` raise it.
    """
    check_strength(strength)
    check_noise(noise)
    if isinstance(image, str | PathLike):
        image = read_radiograph(image)
    choice = ModelChoice(model, engine=engine, device=device, precision=precision)
    choice.check()
    weights = choice.weights
    state = () if weights is None else (weights.absolute(), weights.stat().st_mtime_ns)
    enhancer = _loaded_once(
        (os.getpid(), *state), choice.name, engine=engine, device=device, precision=precision
    )
    return enhancer.enhance(image, noise=noise, strength=strength)
