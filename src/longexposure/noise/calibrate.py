"""Calibrating a machine's noise: flats and darks, repeats or single images in, a noise calibration out.

The files are read and hashed, checked to be of one size and type and no copies of each other, sorted into
series, and measured; the result says how sure it is and from which files it came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from longexposure.errors import InputError, ResourceError
from longexposure.grey import measure_grey
from longexposure.io import read_finite
from longexposure.noise import estimate_noise
from longexposure.noise.calibration import (
    FileTable,
    MeasuredTable,
    NoiseCalibration,
    NoiseTable,
    Source,
)
from longexposure.noise.photon_transfer import measure_flats, measure_repeats
from longexposure.radiograph import Pixels

SAME_LEVEL = (0.05, 0.3)
"""Flats count as one brightness where their means, sorted, are nowhere further apart than the first fraction
and all within the second; pages of one file within the second. Lamps flicker, and automatic gains more so."""
FEWEST_IMAGES = 3
"""From so many single images on, their spread gives the error of their median."""


@dataclass(frozen=True, eq=False)
class _Frame:
    """One exposure.

    Attributes:
        name: file and page, for messages.
        file: the file.
        paged: whether that holds more than one.
        pixels: (H, W).
        exposure_s: seconds; None where the file does not say.
    """

    name: str
    file: FileTable
    paged: bool
    pixels: Pixels
    exposure_s: float | None


def measure_calibration(
    files: Sequence[Path],
    *,
    source: Source,
    darks: Sequence[Path] = (),
    machine: str = "",
    exposure_s: float | None = None,
    pattern: bool = True,
    on_file: Callable[[str], None] | None = None,
) -> NoiseCalibration:
    """Measure the noise of a machine from files; all frames are in memory at once.

    Args:
        files: of "flats": exposures of the open beam or of something uniform, two or more of every
            brightness, in any mixture of single and multi-page files. Of "repeats": each multi-page file
            is a series of exposures of one part, the single ones together are another. Of "image": any
            images of the machine.
        source: what they are.
        darks: two or more exposures without X-rays; not for "image".
        machine: its name, free text.
        exposure_s: seconds of an exposure; None takes what the files say, where they agree.
        pattern: whether to measure the fixed pattern of flats too, which one image shows as noise.
        on_file: called with the name of each file that has been read.

    Raises:
        InputError: a file that cannot be read, sizes or types that differ, copies, a part that moved, and
            all else that `longexposure.noise.frames.compare_frames` refuses.
        ResourceError: too little memory for all frames.
    """
    try:
        bright, dark = _read(files, source, on_file), _read(darks, "darks", on_file)
        _check_frames([*bright, *dark])
        if source == "image":
            noise = measure_images([frame.pixels for frame in bright])
        else:
            noise = _from_series(bright, dark, source=source, pattern=pattern)
    except MemoryError as error:
        raise ResourceError(
            where=source,
            expected="memory for all frames at once",
            found="too little",
            advice="give fewer frames; ten of each brightness are plenty",
        ) from error
    if exposure_s is None:
        known = {frame.exposure_s for frame in bright} - {None}
        exposure_s = known.pop() if len(known) == 1 else None
    read = tuple(dict.fromkeys(frame.file for frame in (*bright, *dark)))
    facts = {"machine": machine, "exposure_s": exposure_s, "files": read}
    return NoiseCalibration.model_validate({**dict(noise), **facts})


def _read(files: Iterable[Path], role: str, on_file: Callable[[str], None] | None) -> list[_Frame]:
    frames = []
    for path in files:
        radiograph = read_finite(path)
        if radiograph.enhanced_by:
            raise InputError(
                where=str(path),
                expected="images as the detector gave them",
                found=f"one that was enhanced before ({radiograph.enhanced_by})",
                advice="measure the noise on the originals",
            )
        sha256 = radiograph.source.sha256 if radiograph.source else ""
        file = FileTable.model_validate({"name": path.name, "role": role, "sha256": sha256})
        seconds = radiograph.exposure.get("exposure_s")
        known = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None
        pages = radiograph.pixels if radiograph.pixels.ndim == 3 else radiograph.pixels[None]
        for page, pixels in enumerate(pages, start=1):
            name = f"{path}, page {page}" if len(pages) > 1 else str(path)
            frames.append(_Frame(name, file, len(pages) > 1, pixels, known))
        if on_file is not None:
            on_file(path.name)
    return frames


def _check_frames(frames: Sequence[_Frame]) -> None:
    """Refuse frames that differ in size or type, and copies."""
    if not frames:
        raise InputError(where="noise", expected="at least one file", found="none", advice="name some")
    kinds = ["{} x {} {}".format(*frame.pixels.shape, frame.pixels.dtype.name) for frame in frames]
    for frame, kind in zip(frames, kinds, strict=True):
        if kind != kinds[0]:
            raise InputError(
                where=frame.name,
                expected=f"{kinds[0]}, as {frames[0].name}",
                found=kind,
                advice="measure exposures of one machine, uncropped and in one type, together",
            )
    seen: dict[bytes, str] = {}
    for frame in frames:
        digest = hashlib.sha256(np.ascontiguousarray(frame.pixels).data).digest()
        if digest in seen:
            raise InputError(
                where=frame.name,
                expected="an exposure of its own",
                found=f"the same pixels as in {seen[digest]}",
                advice="a copy is not a repeat: leave it out, or expose again",
            )
        seen[digest] = frame.name


def _from_series(
    frames: Sequence[_Frame], darks: Sequence[_Frame], *, source: Source, pattern: bool
) -> NoiseCalibration:
    scenes: dict[
        FileTable | None, list[_Frame]
    ] = {}  # the pages of every file, and all files of one page together
    for frame in frames:
        scenes.setdefault(frame.file if frame.paged else None, []).append(frame)
    groups = list(scenes.values())
    if source == "flats":
        groups = [group for scene in groups for group in _by_brightness(scene)]
    alone = [group[0].name for group in groups if len(group) == 1]
    series = [[frame.pixels for frame in group] for group in groups if len(group) > 1]
    if not series:
        raise InputError(
            where=source,
            expected="two or more exposures of " + ("one brightness" if source == "flats" else "one part"),
            found=f"one each of {len(alone)}" if len(alone) > 1 else "one",
            advice="expose again, or measure the noise roughly from single images with --from image",
        )
    without_light = [frame.pixels for frame in darks]
    if source == "flats":
        noise = measure_flats(series, without_light, pattern=pattern)
    else:
        noise = measure_repeats(series, without_light)
    if not alone:
        return noise
    some = ", ".join(Path(name).name for name in alone[:3])
    note = f"{len(alone)} left out for want of a second exposure like it: {some}"
    measured = noise.measured.model_copy(update={"notes": (*noise.measured.notes, note)})
    return noise.model_copy(update={"measured": measured})


def _by_brightness(scene: Sequence[_Frame]) -> list[list[_Frame]]:
    """Frames of about one brightness together, each group in the order given."""
    means = np.array([float(frame.pixels.mean(dtype=np.float64)) for frame in scene])
    if scene[0].paged and np.ptp(means) <= SAME_LEVEL[1] * float(np.abs(means).max()):
        return [list(scene)]
    groups: list[list[int]] = []
    for index in map(int, np.argsort(means, kind="stable")):
        mean = float(means[index])
        last, first = (float(means[groups[-1][place]]) for place in (-1, 0)) if groups else (np.inf, np.inf)
        if abs(mean - last) > SAME_LEVEL[0] * abs(mean) or abs(mean - first) > SAME_LEVEL[1] * abs(mean):
            groups.append([])
        groups[-1].append(index)
    return [[scene[index] for index in sorted(group)] for group in groups]


def measure_images(images: Sequence[Pixels]) -> NoiseCalibration:
    """Medians over the estimates of single images (H, W) of a machine, and how far they agree.

    Raises:
        InputError: images without noise.
    """
    profiles = [estimate_noise(image) for image in images]
    spans = [measure_grey(image) for image in images]
    level, slope, corr_x, corr_y = (
        np.array([getattr(profile, name) for profile in profiles])
        for name in ("level", "slope", "corr_x", "corr_y")
    )
    middle, tilt = float(np.median(level)), float(np.median(slope))
    variance = np.array([profile.sigma**2 for profile in profiles]) + tilt * (middle - level)
    at_middle = float(np.median(variance))
    if at_middle <= 0:
        raise InputError(
            where="image",
            expected="images with noise",
            found="none",
            advice="give images as the machine takes them, neither drawn nor denoised",
        )
    variance_error, slope_error, corr_x_error, corr_y_error = map(_error, (variance, slope, corr_x, corr_y))
    first, sigma = images[0], at_middle**0.5
    return NoiseCalibration(
        dtype=first.dtype.name,  # type: ignore[arg-type]  # checked by the model
        noise=NoiseTable(
            level=middle,
            sigma=sigma,
            sigma_error=None if variance_error is None else variance_error / (2 * sigma),
            slope=tilt,
            slope_error=slope_error,
            corr_x=float(np.median(corr_x)),
            corr_x_error=corr_x_error,
            corr_y=float(np.median(corr_y)),
            corr_y_error=corr_y_error,
        ),
        measured=MeasuredTable.today(
            source="image",
            grey=(
                float(min(-grey.offset / grey.scale for grey in spans)),
                float(max((1 - grey.offset) / grey.scale for grey in spans)),
            ),
            frames=len(images),
            size_px=(first.shape[0], first.shape[1]),
            notes=("estimated from single images: less sure than flats or repeats",),
        ),
    )


def _error(values: npt.NDArray[np.float64]) -> float | None:
    """Standard error of the median, from the median deviation; None for fewer than three."""
    if len(values) < FEWEST_IMAGES:
        return None
    apart = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return 1.2533 * apart / len(values) ** 0.5
