"""Enhancing: the one path from a radiograph to an enhanced radiograph.

Every use of a model goes through `Enhancer.enhance`: command line, evaluation, reports. An image is
examined once as a whole (grey map, noise, faulty pixels); then it is computed tile by tile, each told the
same, so that tiles meet without a seam. What a model changes is added to the original grey values, so
nothing is lost to the arithmetic in between.

Of several files, the next is read and examined and the one before is written while one is computed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from longexposure.engines.base import ENGINES, Engine
from longexposure.engines.choice import Loaded, load_engine
from longexposure.enhance.bad_pixels import BadPixels
from longexposure.enhance.job import Enhanced, Examined, Job
from longexposure.enhance.pipeline import Pipeline
from longexposure.enhance.result import FileResult
from longexposure.enhance.statistics import ImageStatistics, examine, pages_of
from longexposure.enhance.tiles import Tile, core_size, plan, with_smaller_cores
from longexposure.errors import RecipeError, ResourceError
from longexposure.grey import GreyMap, to_type
from longexposure.io import check_writable_folder
from longexposure.io.checks import check_finite
from longexposure.models.checkpoint import read_header
from longexposure.models.noise_range import Conditions, conditions_of
from longexposure.models.registry import CLASSICAL, DEFAULT, find_weights
from longexposure.noise import NoiseProfile
from longexposure.noise.calibration import NoiseCalibration
from longexposure.radiograph import Pixels, Radiograph, Step, check_pixels
from longexposure.system import free_memory

__all__ = ["Enhancer", "FileResult", "ImageStatistics", "enhance_files", "examine", "load_enhancer"]

logger = logging.getLogger(__name__)

STRIP_PX = 1 << 17
"""Grey values are mapped there and back in strips of about so many pixels, which stay in the cache."""


class Enhancer:
    """Maps radiographs to radiographs with one model.

    Args:
        engine: what computes.
        name: the model's name or file, for the history.
        weights_sha256: SHA-256 of the checkpoint, None for models without weights.
        settings: further settings for the history (engine, device, precision).
        core_px: side of a tile without its halo; None chooses it from the memory there is.
        trained: the noise that the model was trained for; images with other noise get a warning. None is
            for models that do not say, and warns of nothing.
        spare: loads what computes from where not even the smallest tile fits into the device's memory.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        weights_sha256: str | None = None,
        settings: dict[str, Any] | None = None,
        core_px: int | None = None,
        trained: Conditions | None = None,
        spare: Callable[[], Loaded] | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.weights_sha256 = weights_sha256
        self.settings = dict(settings or {})
        self.core_px = core_px
        self.trained = trained
        self._spare = spare

    @property
    def engine_name(self) -> str | None:
        """What computes and in which precision, in two words; None for models without an engine."""
        if "engine" not in self.settings:
            return None
        return f"{self.settings['engine']} {self.settings['precision']}"

    def describe(self) -> dict[str, Any]:
        """What is written into the history of every image."""
        return {"model": self.name, "weights_sha256": self.weights_sha256, **self.settings}

    @overload
    def enhance(
        self, image: Radiograph, *, noise: NoiseProfile | NoiseCalibration | None = ..., strength: float = ...
    ) -> Radiograph: ...
    @overload
    def enhance(
        self, image: Pixels, *, noise: NoiseProfile | NoiseCalibration | None = ..., strength: float = ...
    ) -> Pixels: ...
    def enhance(
        self,
        image: Radiograph | Pixels,
        *,
        noise: NoiseProfile | NoiseCalibration | None = None,
        strength: float = 1.0,
    ) -> Radiograph | Pixels:
        """Enhance an image or a stack; kind, shape, type and grey scale stay, the input is untouched.

        Args:
            image: a radiograph, or an array (H, W) or (N, H, W) of uint8, uint16 or float32. Each page
                of a stack is measured and enhanced for itself.
            noise: its noise, where it is known better than one image can tell, in its grey values; or the
                fingerprint of its machine (`longexposure.noise.calibration.read_calibration`).
            strength: 0 gives the input back to the bit, 1 the full enhancement, between mixes the two.

        Raises:
            InputError: wrong type or shape, NaN or infinity, or a fingerprint of other images.
            RecipeError: strength outside 0..1.
            ResourceError: not even the smallest tile fits into memory.
        """
        if isinstance(image, Radiograph):
            pixels, statistics = self.enhance_pages(image.pixels, noise=noise, strength=strength)
            return image.with_pixels(pixels, self.step(statistics, strength=strength))
        return self.enhance_pages(image, noise=noise, strength=strength)[0]

    def enhance_pages(
        self,
        pixels: Pixels,
        *,
        noise: NoiseProfile | NoiseCalibration | None = None,
        strength: float = 1.0,
        statistics: Sequence[ImageStatistics] | None = None,
    ) -> tuple[Pixels, Sequence[ImageStatistics]]:
        """`enhance` for arrays, with what was found on each page; findings already there are used."""
        check_pixels(pixels, where="image")
        check_finite(pixels, "image")
        _check_strength(strength)
        pages = pages_of(pixels)
        found = [examine(page, noise) for page in pages] if statistics is None else statistics
        found = [dataclasses.replace(of_page, trained=self.trained) for of_page in found]
        result = np.empty_like(pages)
        for page, of_page, out in zip(pages, found, result, strict=True):
            self._compute(page, of_page, strength=strength, out=out)
        return result.reshape(pixels.shape), found

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
                        "bad_pixels_replaced": len(found.bad_pixels) if strength > 0 else 0,
                    }
                    for found in statistics
                ],
            },
        )

    def _compute(self, page: Pixels, found: ImageStatistics, *, strength: float, out: Pixels) -> None:
        if strength == 0 or found.noiseless:
            out[...] = page
            return
        spec = self.engine.spec
        core = self.core_px or core_size(
            halo_px=spec.halo,
            multiple=spec.size_multiple,
            bytes_per_px=spec.bytes_per_px,
            free_bytes=free_memory(),
            longest_px=max(page.shape),
        )
        if core < max(page.shape) and not self.core_px:
            core = 1 << core.bit_length() - 1  # so that a little more or less free memory changes no byte
        core = max(core // spec.size_multiple, 1) * spec.size_multiple

        def attempt(core_px: int) -> None:
            for tile in plan(*page.shape, core_px=core_px, halo_px=spec.halo):
                self._tile(page, found, tile, strength=strength, out=out)

        try:
            with_smaller_cores(core, spec.size_multiple, attempt)
        except ResourceError:
            if not self._go_on_with_spare():
                raise
            self._compute(page, found, strength=strength, out=out)

    def _go_on_with_spare(self) -> bool:
        """Take what computes where the device has no memory left, if there is such a thing."""
        if self._spare is None:
            return False
        load, self._spare = self._spare, None
        spare, full = load(), self.settings.get("device")
        self.engine, self.settings = spare.engine, dict(spare.settings)
        device = self.settings.get("device")
        logger.warning("no memory left on %s: going on with %s on %s", full, self.engine_name, device)
        return True

    def _tile(
        self, page: Pixels, found: ImageStatistics, tile: Tile, *, strength: float, out: Pixels
    ) -> None:
        """Compute one tile and put its core in its place."""
        window, bad = page[tile.window], found.bad_pixels.within(tile.window)
        unit = self._unit(window, found.grey, bad)
        output = self.engine.run(unit[None], found.noise_condition)[0]
        rows, columns = tile.inside
        core = out[tile.core]
        for strip in _strips(rows, window.shape[1]):
            base = _replaced(window, bad, strip)[:, columns]
            change = (output[strip, columns] - unit[strip, columns]).astype(np.float64)
            enhanced = base + change / found.grey.scale
            if strength < 1:
                given = window[strip, columns]
                enhanced = given + strength * (enhanced - given)
            core[strip.start - rows.start : strip.stop - rows.start] = to_type(enhanced, page.dtype)

    def _unit(self, window: Pixels, grey: GreyMap, bad: BadPixels) -> npt.NDArray[np.float32]:
        """A window in the unit domain, its last row and column repeated up to the model's grid."""
        multiple = self.engine.spec.size_multiple
        height, width = window.shape
        unit = np.empty((height + -height % multiple, width + -width % multiple), np.float32)
        for strip in _strips(slice(0, height), width):
            unit[strip, :width] = grey.to_unit(_replaced(window, bad, strip))
        unit[:height, width:] = unit[:height, width - 1 : width]
        unit[height:] = unit[height - 1]
        return unit


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
    _check_choice("engine", engine, ("auto", *ENGINES))
    _check_choice("device", device, ("auto", "cpu", "cuda"))
    _check_choice("precision", precision, ("auto", "f32", "bf16"))
    if str(model) in CLASSICAL:
        return Enhancer(CLASSICAL[str(model)], name=str(model), core_px=core_px)
    weights = find_weights(model)
    loaded = load_engine(weights, engine=engine, device=device, precision=precision)
    on_cpu = functools.partial(load_engine, weights, engine=engine, device="cpu", precision=precision)
    return Enhancer(
        loaded.engine,
        name=str(model),
        weights_sha256=loaded.weights_sha256,
        settings=dict(loaded.settings),
        core_px=core_px,
        trained=conditions_of(read_header(weights), model=str(model)),
        spare=on_cpu if device == "auto" and loaded.settings["device"] != "cpu" else None,
    )


def enhance_files(
    inputs: Sequence[Path],
    out: Path,
    enhancer: Enhancer | Callable[[], Enhancer],
    *,
    noise: NoiseProfile | NoiseCalibration | None = None,
    strength: float = 1.0,
    overwrite: bool = False,
    sidecar: bool = False,
) -> Iterator[FileResult]:
    """Enhance files into a folder, in their order; a bad file is reported and the others go on.

    An enhanced file keeps its name; formats that cannot be written (.xrm, .txrm) become TIFF. While a file
    is computed, the next one is read and the one before is written, where there is memory for that; a file
    is there when its result is, and the results are those of one file at a time.

    Args:
        inputs: image files.
        out: output folder, made where it is missing; never the folder of an input.
        enhancer: the model, or what loads it, which is called while the first file is read.
        noise: see `Enhancer.enhance`; None measures it on every image.
        strength: see `Enhancer.enhance`.
        overwrite: replace enhanced files from an earlier run, which their history tells; nothing else is
            ever replaced.
        sidecar: write each history beside the image too, as JSON.

    Raises:
        OutputError: the folder cannot be made or written, or holds an input.
        RecipeError: strength outside 0..1.
    """
    _check_strength(strength)
    sources = [Path(source) for source in inputs]
    job = Job(Path(out), noise=noise, overwrite=overwrite, sidecar=sidecar)
    job.check_apart(sources)
    with contextlib.closing(Pipeline(job)) as pipeline:
        if sources:
            pipeline.read_ahead(sources[0])
        loaded = enhancer if isinstance(enhancer, Enhancer) else enhancer()
        check_writable_folder(job.out)
        yield from pipeline.results(sources, functools.partial(_enhanced, enhancer=loaded, strength=strength))


def _enhanced(examined: Examined, *, enhancer: Enhancer, strength: float) -> Enhanced:
    """Enhance what was read."""
    started = time.perf_counter()
    pixels, statistics = enhancer.enhance_pages(
        examined.before.pixels, strength=strength, statistics=examined.statistics
    )
    step = enhancer.step(statistics, strength=strength)
    seconds = examined.seconds + time.perf_counter() - started
    after = examined.before.with_pixels(pixels, step)
    return Enhanced(examined, after, statistics, enhancer.engine_name, seconds)


def _check_strength(strength: float) -> None:
    if not 0.0 <= strength <= 1.0:
        raise RecipeError(
            where="strength",
            expected="a number from 0 to 1",
            found=str(strength),
            advice="choose one of these",
        )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise RecipeError(
            where=name, expected=" or ".join(choices), found=repr(value), advice="choose one of these"
        )
