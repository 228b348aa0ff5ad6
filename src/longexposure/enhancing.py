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
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from longexposure.bad_pixels import BadPixels, find_bad_pixels
from longexposure.engines import ENGINES, Engine
from longexposure.engines.loading import Loaded, load_engine
from longexposure.errors import LongExposureError, OutputError, RecipeError, ResourceError
from longexposure.grey import GreyMap, measure_grey, to_type
from longexposure.io import check_writable_folder, read_radiograph, writable_suffix, write_radiograph
from longexposure.io.checks import check_finite
from longexposure.models import CLASSICAL, DEFAULT, find_weights
from longexposure.models.checkpoint import read_header
from longexposure.models.conditions import Conditions, conditions_of
from longexposure.noise import NoiseProfile, estimate_noise, flat_blocks, flat_deviation
from longexposure.noise.fingerprint import Fingerprint
from longexposure.radiograph import Pixels, Radiograph, Step, check_pixels
from longexposure.tiles import Tile, core_size, free_memory, plan, with_smaller_cores

logger = logging.getLogger(__name__)

STRIP_PX = 1 << 17
"""Grey values are mapped there and back in strips of about so many pixels, which stay in the cache."""
AHEAD_SHARE = 16
"""The next image is read while one is computed where it takes less than this part of the free memory."""


@dataclass(frozen=True)
class Findings:
    """What one image (H, W) was found to be before anything was changed.

    Attributes:
        grey: its grey map.
        noise: its noise.
        bad_pixels: its faulty pixels.
        fingerprint: what the noise was taken from, where it was not measured on the image.
        cautions: what speaks against that.
        trained: the noise that the network was trained for; None where that is not known.
    """

    grey: GreyMap
    noise: NoiseProfile
    bad_pixels: BadPixels
    fingerprint: Fingerprint | None = None
    cautions: tuple[str, ...] = ()
    trained: Conditions | None = None

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
        """Where the image lies outside what the network was trained for, and what else speaks against it."""
        if self.trained is None or self.noiseless:
            return self.cautions
        unit = self.noise.mapped(scale=self.grey.scale, offset=self.grey.offset)
        return (*self.trained.outside(unit), *self.cautions)


def examine(
    pixels: Pixels, noise: NoiseProfile | Fingerprint | None = None, *, trained: Conditions | None = None
) -> Findings:
    """Measure one image (H, W); a given noise profile is taken as it is, a fingerprint where it applies.

    Args:
        pixels: the image.
        noise: its noise; None measures it.
        trained: the noise that a network was trained for, to warn of other noise; None warns of none.

    Raises:
        InputError: a fingerprint of images of another type or of other grey values.
    """
    grey = measure_grey(pixels)
    cautions: tuple[str, ...] = ()
    if isinstance(noise, Fingerprint):
        profile, cautions = noise.profile_of(pixels, grey)
    else:
        profile = estimate_noise(pixels, grey) if noise is None else noise
    return Findings(
        grey=grey,
        noise=profile,
        bad_pixels=find_bad_pixels(pixels, profile),
        fingerprint=noise if isinstance(noise, Fingerprint) else None,
        cautions=cautions,
        trained=trained,
    )


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
        self, image: Radiograph, *, noise: NoiseProfile | Fingerprint | None = ..., strength: float = ...
    ) -> Radiograph: ...
    @overload
    def enhance(
        self, image: Pixels, *, noise: NoiseProfile | Fingerprint | None = ..., strength: float = ...
    ) -> Pixels: ...
    def enhance(
        self,
        image: Radiograph | Pixels,
        *,
        noise: NoiseProfile | Fingerprint | None = None,
        strength: float = 1.0,
    ) -> Radiograph | Pixels:
        """Enhance an image or a stack; kind, shape, type and grey scale stay, the input is untouched.

        Args:
            image: a radiograph, or an array (H, W) or (N, H, W) of uint8, uint16 or float32. Each page
                of a stack is measured and enhanced for itself.
            noise: its noise, where it is known better than one image can tell, in its grey values; or the
                fingerprint of its machine (`longexposure.noise.fingerprint.read_fingerprint`).
            strength: 0 gives the input back to the bit, 1 the full enhancement, between mixes the two.

        Raises:
            InputError: wrong type or shape, NaN or infinity, or a fingerprint of other images.
            RecipeError: strength outside 0..1.
            ResourceError: not even the smallest tile fits into memory.
        """
        if isinstance(image, Radiograph):
            pixels, findings = self.enhance_pages(image.pixels, noise=noise, strength=strength)
            return image.with_pixels(pixels, self.step(findings, strength=strength))
        return self.enhance_pages(image, noise=noise, strength=strength)[0]

    def enhance_pages(
        self,
        pixels: Pixels,
        *,
        noise: NoiseProfile | Fingerprint | None = None,
        strength: float = 1.0,
        findings: Sequence[Findings] | None = None,
    ) -> tuple[Pixels, Sequence[Findings]]:
        """`enhance` for arrays, with what was found on each page; findings already there are used."""
        check_pixels(pixels, where="image")
        check_finite(pixels, "image")
        _check_strength(strength)
        pages = _pages_of(pixels)
        found = [examine(page, noise) for page in pages] if findings is None else findings
        found = [dataclasses.replace(of_page, trained=self.trained) for of_page in found]
        result = np.empty_like(pages)
        for page, of_page, out in zip(pages, found, result, strict=True):
            self._compute(page, of_page, strength=strength, out=out)
        return result.reshape(pixels.shape), found

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
                        **({"fingerprint": found.fingerprint.reference()} if found.fingerprint else {}),
                        "bad_pixels_replaced": len(found.bad_pixels) if strength > 0 else 0,
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

    def _tile(self, page: Pixels, found: Findings, tile: Tile, *, strength: float, out: Pixels) -> None:
        """Compute one tile and put its core in its place."""
        window, bad = page[tile.window], found.bad_pixels.within(tile.window)
        unit = self._unit(window, found.grey, bad)
        output = self.engine.run(unit[None], found.condition)[0]
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


def _pages_of(pixels: Pixels) -> Pixels:
    """An image or a stack as (N, H, W)."""
    return pixels[None] if pixels.ndim == 2 else pixels


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


def enhance_files(
    inputs: Sequence[Path],
    out: Path,
    enhancer: Enhancer | Callable[[], Enhancer],
    *,
    noise: NoiseProfile | Fingerprint | None = None,
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
    out = Path(out)
    sources = [Path(source) for source in inputs]
    for source in sources:
        if out.resolve() in _folders_of(source):
            raise OutputError(
                where=str(out),
                expected="an output folder that holds none of the inputs",
                found=f"the folder of {source.name}",
                advice="choose another folder for --out, so that no original is at risk",
            )
    order = _Order(out, noise=noise, strength=strength, overwrite=overwrite, sidecar=sidecar)
    with contextlib.closing(_Overlap(order)) as overlap:
        if sources:
            overlap.read_ahead(sources[0])
        loaded = enhancer if isinstance(enhancer, Enhancer) else enhancer()
        check_writable_folder(out)
        try:
            for source, following in zip(sources, [*sources[1:], None], strict=True):
                yield from overlap.enhance(source, loaded, following)
        except GeneratorExit:
            raise
        except BaseException:  # an interrupt, say: what was written before it is told
            yield from overlap.rest()
            raise
        yield from overlap.rest()


@dataclass(frozen=True)
class _Order:
    """What is asked for every file; see `enhance_files`."""

    out: Path
    noise: NoiseProfile | Fingerprint | None = None
    strength: float = 1.0
    overwrite: bool = False
    sidecar: bool = False

    def target(self, source: Path) -> Path:
        """The enhanced file's name."""
        return self.out / f"{source.stem}{writable_suffix(source)}"

    def read(self, source: Path) -> _Examined:
        """Read and examine a file whose enhanced one may be written."""
        before = read_radiograph(source)
        _refuse_taken(self.target(source), overwrite=self.overwrite)
        started = time.perf_counter()
        findings = [examine(page, self.noise) for page in _pages_of(before.pixels)]
        return _Examined(source, before, findings, seconds=time.perf_counter() - started)

    def compute(self, examined: _Examined, enhancer: Enhancer) -> _Enhanced:
        """Enhance what was read."""
        started = time.perf_counter()
        pixels, findings = enhancer.enhance_pages(
            examined.before.pixels, strength=self.strength, findings=examined.findings
        )
        step = enhancer.step(findings, strength=self.strength)
        seconds = examined.seconds + time.perf_counter() - started
        after = examined.before.with_pixels(pixels, step)
        return _Enhanced(examined, after, findings, enhancer.engine_name, seconds)

    def write(self, enhanced: _Enhanced) -> FileResult:
        """Write the enhanced file, and tell of it."""
        examined, after, findings = enhanced.examined, enhanced.after, enhanced.findings
        before = examined.before
        first = _pages_of(before.pixels)[0]
        flat = flat_blocks(first, findings[0].noise)
        result = FileResult(
            source=examined.source,
            output=self.target(examined.source),
            shape=before.pixels.shape,
            dtype=before.pixels.dtype.name,
            sigma_before=flat_deviation(first, flat),
            sigma_after=flat_deviation(_pages_of(after.pixels)[0], flat),
            bad_pixels=sum(len(found.bad_pixels) for found in findings),
            seconds=enhanced.seconds,
            megapixels=before.pixels.size / 1e6,
            engine=enhanced.engine,
            noise=findings[0].noise,
            warnings=tuple(dict.fromkeys(text for found in findings for text in found.warnings)),
            before=before,
            after=after,
        )
        write_radiograph(after, self.target(examined.source), overwrite=self.overwrite, sidecar=self.sidecar)
        return result


@dataclass(frozen=True, eq=False)
class _Examined:
    """A file as it was read, and what its pages were found to be in so many seconds."""

    source: Path
    before: Radiograph
    findings: Sequence[Findings]
    seconds: float


@dataclass(frozen=True, eq=False)
class _Enhanced:
    """What became of it in so many seconds, not yet written; the findings know the network by now."""

    examined: _Examined
    after: Radiograph
    findings: Sequence[Findings]
    engine: str | None
    seconds: float


class _Overlap:
    """Enhances files one after the other, with one thread that reads ahead and one that writes behind.

    At most one image waits on either side. Nothing is read ahead of an image that leaves too little memory,
    nor a file whose enhanced one would have the name of another's: what becomes of that decides about it.
    """

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._reader = ThreadPoolExecutor(1, "longexposure-reader")
        self._writer = ThreadPoolExecutor(1, "longexposure-writer")
        self._ahead: Future[_Examined] | None = None
        self._behind: list[tuple[Path, Future[FileResult]]] = []
        self._taken: dict[str, Path] = {}

    def close(self) -> None:
        """Let the threads finish what they are at, so that no file is left half written."""
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown()
        self._reader.shutdown()

    def read_ahead(self, source: Path) -> None:
        """Begin to read and examine the file that comes next."""
        self._ahead = self._reader.submit(self._order.read, source)

    def enhance(self, source: Path, enhancer: Enhancer, following: Path | None) -> Iterator[FileResult]:
        """Enhance one file while the one before is written, whose result comes first.

        Args:
            source: the file that was read ahead, if one was.
            enhancer: the model.
            following: the file to read ahead meanwhile.
        """
        if self._ahead is None:
            yield from self.rest()
        outcome = self._attempt(source, enhancer, following)
        crowded = bool(self._behind) or self._ahead is not None
        yield from self.rest()
        if isinstance(outcome, FileResult) and isinstance(outcome.error, ResourceError) and crowded:
            logger.info("%s: once more, with all the memory to itself", source)
            self._drop_ahead()
            outcome = self._attempt(source, enhancer, None)
        if isinstance(outcome, FileResult):
            yield outcome
            return
        self._taken[self._name(source)] = source
        self._behind.append((source, self._writer.submit(self._order.write, outcome)))

    def rest(self) -> Iterator[FileResult]:
        """The result of the file that is being written, if one is."""
        if self._behind:
            yield self._written()

    def _attempt(self, source: Path, enhancer: Enhancer, following: Path | None) -> _Enhanced | FileResult:
        """Enhance one file, or say why not."""
        try:
            examined = self._examined(source)
            if following is not None and self._may_be_ahead(following, source, examined.before.pixels.nbytes):
                self.read_ahead(following)
            return self._order.compute(examined, enhancer)
        except (LongExposureError, MemoryError) as error:
            return _failed(source, error)

    def _examined(self, source: Path) -> _Examined:
        if self._ahead is None:
            _check_new_name(source, self._order.target(source), self._taken)
            return self._order.read(source)
        ahead, self._ahead = self._ahead, None
        return ahead.result()

    def _written(self) -> FileResult:
        source, future = self._behind[0]
        wait([future])
        del self._behind[0]  # not before: an interrupt leaves it to be told
        try:
            return future.result()
        except (LongExposureError, MemoryError) as error:
            del self._taken[self._name(source)]
            return _failed(source, error)

    def _may_be_ahead(self, following: Path, source: Path, nbytes: int) -> bool:
        """Whether a file may be read while another, of so many bytes of pixels, is computed."""
        if self._name(following) in (*self._taken, self._name(source)):
            return False
        with contextlib.suppress(OSError, ValueError):  # its reading will tell what is wrong
            nbytes = max(nbytes, following.stat().st_size)
        return AHEAD_SHARE * nbytes <= free_memory()

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            wait([self._ahead])
            self._ahead = None

    def _name(self, source: Path) -> str:
        """What two enhanced files must not share, on any file system."""
        return self._order.target(source).name.lower()


def _failed(source: Path, error: LongExposureError | MemoryError) -> FileResult:
    """The result of a file that failed; the images on the way to its error are let go."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__
    return FileResult(source=source, error=_no_memory(source) if isinstance(error, MemoryError) else error)


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
