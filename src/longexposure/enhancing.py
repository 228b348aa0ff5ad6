"""Enhancing: the one path from a radiograph to an enhanced radiograph.

Every use of a model goes through `Enhancer.enhance`: command line, evaluation, reports. An image is
examined once as a whole (grey map, noise, faulty pixels); then it is computed tile by tile, each told the
same, so that tiles meet without a seam. What a model changes is added to the original grey values, so
nothing is lost to the arithmetic in between.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from longexposure.defects import Defects, find_defects
from longexposure.engines import ENGINES, Engine
from longexposure.engines.loading import load_engine
from longexposure.errors import LongExposureError, OutputError, RecipeError, ResourceError
from longexposure.grey import GreyMap, measure_grey, to_type
from longexposure.io import check_writable_folder, read_radiograph, writable_suffix, write_radiograph
from longexposure.io.checks import check_finite
from longexposure.models import CLASSICAL, DEFAULT, find_weights
from longexposure.noise import NoiseProfile, estimate_noise, flat_blocks, flat_deviation
from longexposure.radiograph import Pixels, Radiograph, Step, check_pixels
from longexposure.tiles import core_size, free_memory, plan, with_smaller_cores

logger = logging.getLogger(__name__)

TOLD_RANGE = (0.001, 0.4)
"""Noise, in the unit domain, that the shipped network was trained for."""


@dataclass(frozen=True)
class Findings:
    """What one image (H, W) was found to be before anything was changed."""

    grey: GreyMap
    noise: NoiseProfile
    defects: Defects

    @property
    def condition(self) -> npt.NDArray[np.float32]:
        """What a conditioned network is told."""
        return self.noise.mapped(scale=self.grey.scale, offset=self.grey.offset).condition()

    @property
    def noiseless(self) -> bool:
        """Whether there is nothing to take away."""
        return self.noise.sigma == 0 and self.noise.slope == 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where the image lies outside what the shipped network was trained for."""
        sigma = float(self.condition[0])
        if self.noiseless or TOLD_RANGE[0] <= sigma <= TOLD_RANGE[1]:
            return ()
        low, high = TOLD_RANGE
        kind = "fainter" if sigma < low else "stronger"
        return (
            f"noise is {sigma:.4f} of the image's contrast, {kind} than the {low} to {high} "
            "that the shipped network was trained for",
        )


def examine(pixels: Pixels, noise: NoiseProfile | None = None) -> Findings:
    """Measure one image (H, W); a given noise profile is taken as it is."""
    profile = estimate_noise(pixels) if noise is None else noise
    return Findings(grey=measure_grey(pixels), noise=profile, defects=find_defects(pixels, profile))


class Enhancer:
    """Maps radiographs to radiographs with one model.

    Args:
        engine: what computes.
        name: the model's name or file, for the history.
        weights_sha256: SHA-256 of the checkpoint, None for models without weights.
        settings: further settings for the history (engine, device, precision).
        core_px: side of a tile without its halo; None chooses it from the memory there is.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        weights_sha256: str | None = None,
        settings: dict[str, Any] | None = None,
        core_px: int | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self.weights_sha256 = weights_sha256
        self.settings = dict(settings or {})
        self.core_px = core_px

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
        self, image: Radiograph, *, noise: NoiseProfile | None = ..., strength: float = ...
    ) -> Radiograph: ...
    @overload
    def enhance(
        self, image: Pixels, *, noise: NoiseProfile | None = ..., strength: float = ...
    ) -> Pixels: ...
    def enhance(
        self,
        image: Radiograph | Pixels,
        *,
        noise: NoiseProfile | None = None,
        strength: float = 1.0,
    ) -> Radiograph | Pixels:
        """Enhance an image or a stack; kind, shape, type and grey scale stay, the input is untouched.

        Args:
            image: a radiograph, or an array (H, W) or (N, H, W) of uint8, uint16 or float32. Each page
                of a stack is measured and enhanced for itself.
            noise: its noise, where it is known better than one image can tell; in its grey values.
            strength: 0 gives the input back to the bit, 1 the full enhancement, between mixes the two.

        Raises:
            InputError: wrong type or shape, NaN or infinity.
            RecipeError: strength outside 0..1.
            ResourceError: not even the smallest tile fits into memory.
        """
        if isinstance(image, Radiograph):
            pixels, findings = self.enhance_pages(image.pixels, noise=noise, strength=strength)
            return image.with_pixels(pixels, self.step(findings, strength=strength))
        return self.enhance_pages(image, noise=noise, strength=strength)[0]

    def enhance_pages(
        self, pixels: Pixels, *, noise: NoiseProfile | None = None, strength: float = 1.0
    ) -> tuple[Pixels, list[Findings]]:
        """`enhance` for arrays, with what was found on each page."""
        check_pixels(pixels, where="image")
        check_finite(pixels, "image")
        _check_strength(strength)
        pages = pixels[None] if pixels.ndim == 2 else pixels
        result = np.empty_like(pages)
        findings = []
        for page, out in zip(pages, result, strict=True):
            found = examine(page, noise)
            self._compute(page, found, strength=strength, out=out)
            findings.append(found)
        return result.reshape(pixels.shape), findings

    def step(self, findings: Sequence[Findings], *, strength: float) -> Step:
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
                        "defect_pixels_replaced": len(found.defects) if strength > 0 else 0,
                    }
                    for found in findings
                ],
            },
        )

    def _compute(self, page: Pixels, found: Findings, *, strength: float, out: Pixels) -> None:
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
        core = max(core // spec.size_multiple, 1) * spec.size_multiple

        def attempt(core_px: int) -> None:
            for tile in plan(*page.shape, core_px=core_px, halo_px=spec.halo):
                window = page[tile.window]
                enhanced = self._window(window, found, found.defects.within(tile.window))
                mixed = window + strength * (enhanced - window) if strength < 1 else enhanced
                out[tile.core] = to_type(mixed[tile.inside], page.dtype)

        with_smaller_cores(core, spec.size_multiple, attempt)

    def _window(self, window: Pixels, found: Findings, defects: Defects) -> npt.NDArray[np.float64]:
        """Enhanced grey values of one window, not yet rounded."""
        base = window.astype(np.float64)
        base[defects.y, defects.x] = defects.value
        multiple = self.engine.spec.size_multiple
        height, width = base.shape
        padded = np.pad(base, ((0, -height % multiple), (0, -width % multiple)), mode="edge")
        unit = found.grey.to_unit(padded)
        output = self.engine.run(unit[None], found.condition)[0]
        change = (output - unit)[:height, :width].astype(np.float64)
        return base + change / found.grey.scale


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
        engine: "auto", "torch", "openvino" or "onnx", see `longexposure.engines.loading.load_engine`;
            classical models have none.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "f32" or "bf16".
        core_px: side of a tile without its halo; None chooses it from the memory there is.

    Raises:
        CheckpointError: no such model, a file that is none, or one that was not exported for the engine.
        ResourceError: no such engine or device, or an engine whose results are not torch's.
        RecipeError: an unknown engine, device or precision, or ones that contradict each other.
    """
    _check_choice("engine", engine, ("auto", *ENGINES))
    _check_choice("device", device, ("auto", "cpu", "cuda"))
    _check_choice("precision", precision, ("auto", "f32", "bf16"))
    if str(model) in CLASSICAL:
        return Enhancer(CLASSICAL[str(model)], name=str(model), core_px=core_px)
    loaded = load_engine(find_weights(model), engine=engine, device=device, precision=precision)
    return Enhancer(
        loaded.engine,
        name=str(model),
        weights_sha256=loaded.weights_sha256,
        settings=dict(loaded.settings),
        core_px=core_px,
    )


@dataclass(frozen=True, eq=False)
class FileResult:
    """What became of one file.

    `before` and `after` hold the pixels for a report; drop the result when done with it, so that a folder
    takes no more memory than its largest file. sigma_before and sigma_after are the standard deviation in
    flat areas, in grey values, of the first page (`longexposure.noise.flat_deviation`).
    """

    source: Path
    output: Path | None = None
    error: LongExposureError | None = None
    shape: tuple[int, ...] = ()
    dtype: str = ""
    sigma_before: float = 0.0
    sigma_after: float = 0.0
    defect_pixels: int = 0
    seconds: float = 0.0
    megapixels: float = 0.0
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
            "defect_pixels": self.defect_pixels,
            "seconds": self.seconds,
            "megapixels": self.megapixels,
            "noise": self.noise.as_dict() if self.noise else None,
            "warnings": list(self.warnings),
            "history": [step.as_dict() for step in self.after.history] if self.after else [],
        }


def enhance_files(
    inputs: Sequence[Path],
    out: Path,
    enhancer: Enhancer,
    *,
    strength: float = 1.0,
    overwrite: bool = False,
    sidecar: bool = False,
) -> Iterator[FileResult]:
    """Enhance files one after the other into a folder; a bad file is reported and the others go on.

    An enhanced file keeps its name; formats that cannot be written (.xrm, .txrm) become TIFF.

    Args:
        inputs: image files.
        out: output folder, made where it is missing; never the folder of an input.
        enhancer: the model.
        strength: see `Enhancer.enhance`.
        overwrite: replace enhanced files from an earlier run, which their history tells; nothing else is
            ever replaced.
        sidecar: write each history beside the image too, as JSON.

    Raises:
        OutputError: the folder cannot be made or written, or holds an input.
        RecipeError: strength outside 0..1.
    """
    _check_strength(strength)
    out = Path(out)
    check_writable_folder(out)
    for source in map(Path, inputs):
        if out.resolve() in _folders_of(source):
            raise OutputError(
                where=str(out),
                expected="an output folder that holds none of the inputs",
                found=f"the folder of {source.name}",
                advice="choose another folder for --out, so that no original is at risk",
            )
    written: dict[str, Path] = {}
    for source in map(Path, inputs):
        try:
            target = out / f"{source.stem}{writable_suffix(source)}"
            _check_new_name(source, target, written)
            yield _enhance_file(
                source, target, enhancer, strength=strength, overwrite=overwrite, sidecar=sidecar
            )
            written[target.name.lower()] = source
        except LongExposureError as error:
            yield FileResult(source=source, error=error)
        except MemoryError:
            yield FileResult(source=source, error=_no_memory(source))


def _enhance_file(
    source: Path, target: Path, enhancer: Enhancer, *, strength: float, overwrite: bool, sidecar: bool
) -> FileResult:
    before = read_radiograph(source)
    _refuse_taken(target, overwrite=overwrite)
    started = time.perf_counter()
    pixels, findings = enhancer.enhance_pages(before.pixels, strength=strength)
    seconds = time.perf_counter() - started
    after = before.with_pixels(pixels, enhancer.step(findings, strength=strength))
    write_radiograph(after, target, overwrite=overwrite, sidecar=sidecar)
    pages = before.pixels if before.pixels.ndim == 3 else before.pixels[None]
    flat = flat_blocks(pages[0], findings[0].noise)
    return FileResult(
        source=source,
        output=target,
        shape=before.pixels.shape,
        dtype=before.pixels.dtype.name,
        sigma_before=flat_deviation(pages[0], flat),
        sigma_after=flat_deviation(pixels if pixels.ndim == 2 else pixels[0], flat),
        defect_pixels=sum(len(found.defects) for found in findings),
        seconds=seconds,
        megapixels=before.pixels.size / 1e6,
        noise=findings[0].noise,
        warnings=tuple(dict.fromkeys(text for found in findings for text in found.warnings)),
        before=before,
        after=after,
    )


def _folders_of(source: Path) -> set[Path]:
    """Where a file lies, by its own name and by what it links to."""
    folders = set()
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # its reading will tell what is wrong
        folders.add(source.parent.resolve())
        folders.add(source.resolve().parent)
    return folders


def _refuse_taken(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unless that is asked for and the file is one that this package enhanced."""
    if not target.exists():
        return
    if not overwrite:
        raise OutputError(
            where=str(target),
            expected="a name that is free",
            found="an existing file",
            advice="use --overwrite or another --out",
        )
    try:
        ours = any(step.action == "enhance" for step in read_radiograph(target).history)
    except LongExposureError:
        ours = False
    if not ours:
        raise OutputError(
            where=str(target),
            expected="an enhanced file of an earlier run, which --overwrite may replace",
            found="a file without such a history, perhaps an original",
            advice="use another --out, or move that file away",
        )


def _check_new_name(source: Path, target: Path, written: dict[str, Path]) -> None:
    earlier = written.get(target.name.lower())
    if earlier is not None:
        raise OutputError(
            where=str(source),
            expected="inputs whose enhanced files have different names",
            found=f"{earlier}, which became {target} already",
            advice="enhance the folders one by one, each with its own --out",
        )


def _no_memory(source: Path) -> ResourceError:
    return ResourceError(
        where=str(source),
        expected="memory for the whole image and its enhanced copy",
        found="too little",
        advice="close other programs, or cut the image or the stack into several files",
    )


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
