"""A machine's own short exposures as training data: no clean image, but the noise is known.

Repeated exposures of one scene are each other's targets (Lehtinen and others, Noise2Noise, ICML 2018).
Of any other image two copies are made whose noise is independent: y + a n and y - n / a, where n is a fresh
draw of the noise that y has (Pang and others, Recorrupted-to-Recorrupted, CVPR 2021). Either way the least
square distance from the target is reached by the noise-free image. Simulated scenes under the same noise come
in between, so that what a network knows of scenes is not forgotten.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter, uniform_filter

from longexposure.data.simulated_patches import (
    SimulatedPatches,
    SimulatedPatchesConfig,
    estimated_condition,
)
from longexposure.data.splits import draw_groups
from longexposure.enhance.enhancer import in_units
from longexposure.enhance.statistics import ImageStatistics, examine, pages_of
from longexposure.errors import InputError
from longexposure.io import read_radiograph
from longexposure.io.files import expand_inputs
from longexposure.masks import Marked
from longexposure.noise import NoiseProfile
from longexposure.noise.calibration import NoiseCalibration, read_calibration
from longexposure.noise.draws import draw_noise, stronger
from longexposure.noise.frames import compare_frames
from longexposure.radiograph import Pixels
from longexposure.simulation.recipe import RecipeTable

Sample = dict[str, torch.Tensor]
Unit = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Window = tuple[slice, slice]

MOST_PX = 64e6
"""So many pixels are taken from all files together, files spread evenly; that is 0.8 GB."""
MOST_PAGES = 32
"""So many pages are taken from each file, spread evenly."""
LARGEST_PX = 4096
"""Of larger images the middle is taken."""
LEVEL_PX = 1.0
"""The noise of a pixel follows the grey value of a Gaussian mean of this width, px."""
MARGIN_PX = 16
"""Between what is trained on and what is held out of one image; noise does not reach as far."""
AGREE = 1.5
"""Pages are repeats where they differ by their own noise, within this factor of its standard deviation."""
COMPARED = 8
SMOOTHED_PX = 5
"""Their differences are looked at through square means of this side, px, in which what moved stands out."""
TAILED = 1.3
"""Of noise alone, the mean square of these is that of the Gaussian with their median deviation; up to so many
times that is noise."""
BLOCK_PX = 16
USABLE = 0.5
"""A patch has at least this share of pixels that count; elsewhere another one is drawn."""
TRIALS = 20

# The second number of a stream's seed, where those of simulated patches have others.
_SHOT, _SCENE, _HELD = range(21, 24)


class ShotsConfig(RecipeTable):
    """Short exposures of one machine, without clean images, mixed with simulated scenes under their noise.

    Attributes:
        paths: images and folders of images; the pages of a file count as repeats where they differ by no more
            than their noise.
        noise: calibration file of the machine's noise; left out, it is measured on each image.
        patch_px: side of a training patch.
        held_out: fraction of the exposures that is kept for validation; of a single one, a part.
        ratio: strength of the noise that is added to an exposure to make an input, over its own; what is
            taken away to make the target is stronger by as much.
        mix: fraction of the patches that are simulated scenes.
        machines: names or TOML files of the machines whose scenes these are, and how often each is drawn.
        overrides: "dotted.key=value" on top of every machine's recipe.
        defects: fraction of the scenes that have defects.
        scene_px: side of a scene, from which patches are cut.
        pool: scenes kept at one time.
        reuse: groups of patches taken from each scene before a new one takes its place.
        group: patches that are taken from one scene at a time.
        told_error: standard deviation of ln(sigma told / true) of a scene, as the estimator errs.

    Raises:
        RecipeError: no such machine, an impossible one, or patches and scenes that do not fit.
    """

    kind: Literal["shots"] = "shots"
    paths: tuple[str, ...] = Field(min_length=1)
    noise: str | None = None
    patch_px: int = Field(default=96, ge=16, le=1024)
    held_out: float = Field(default=0.25, gt=0, lt=1)
    ratio: float = Field(default=1.0, ge=0.1, le=2)
    mix: float = Field(default=0.5, ge=0, le=0.95)
    machines: dict[str, float] = Field(default_factory=lambda: {"wide": 1.0})
    overrides: tuple[str, ...] = ()
    defects: float = Field(default=0.3, ge=0, le=1)
    scene_px: int = Field(default=320, ge=32, le=4096)
    pool: int = Field(default=64, ge=1, le=4096)
    reuse: int = Field(default=6, ge=1, le=1000)
    group: int = Field(default=4, ge=1, le=64)
    told_error: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _scenes_fit(self) -> ShotsConfig:
        self.scenes()
        return self

    def scenes(self) -> SimulatedPatchesConfig:
        """What the simulated scenes are."""
        names = ("machines", "overrides", "defects", "patch_px", "scene_px", "pool", "reuse", "group")
        return SimulatedPatchesConfig(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, eq=False)
class Exposure:
    """One short exposure, or the part of it that is trained on or held out.

    Attributes:
        shot: file, and page where the pages are no repeats.
        pixels: (H, W) as stored.
        found: its grey map, noise, faulty pixels and areas set aside.
        unit: (H, W) in the unit domain; continuations stand in the place of pixels that do not count.
        good: (H, W) pixels that count.
        region: rows and columns that are used.
        target: (H, W) mean of the shot's other exposures in the unit domain; None where there are none.
        others: how many these are.
    """

    shot: str
    pixels: Pixels
    found: ImageStatistics
    unit: Unit
    good: Marked
    region: Window
    target: Unit | None = None
    others: int = 0

    @property
    def noise(self) -> NoiseProfile:
        """Its noise in the unit domain."""
        grey = self.found.grey
        return self.found.noise.mapped(scale=grey.scale, offset=grey.offset)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the region."""
        rows, columns = self.region
        return rows.stop - rows.start, columns.stop - columns.start

    def within(self, y: int, x: int, height: int, width: int) -> Window:
        """A window at this place of the region."""
        top, left = self.region[0].start + y, self.region[1].start + x
        return slice(top, top + height), slice(left, left + width)


@dataclass(frozen=True, eq=False)
class Shots:
    """What files of short exposures were found to be.

    Attributes:
        training: exposures, or parts of one, to train on.
        held_out: those that are kept.
        count: shots in all; repeats of one scene are one shot.
        told: what a person should know, a line each.
        calibration: where the noise is known from; None where it was measured on each image.
    """

    training: tuple[Exposure, ...]
    held_out: tuple[Exposure, ...]
    count: int
    told: tuple[str, ...]
    calibration: NoiseCalibration | None = None


def load_shots(config: ShotsConfig, *, seed: int) -> Shots:
    """Read, examine and split short exposures; what was read is kept for the next call.

    Args:
        config: which.
        seed: of the split.

    Raises:
        InputError: no image, one that cannot be read, is too small, was enhanced before or has no noise, or a
            calibration that is none or is one of other images.
    """
    files = expand_inputs(config.paths)
    named = files if config.noise is None else [*files, Path(config.noise)]
    state = tuple((path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None for path in named)
    return _loaded(config.model_dump_json(), tuple(files), seed, state)


@functools.lru_cache(maxsize=1)
def _loaded(config_text: str, files: tuple[Path, ...], seed: int, state: tuple[object, ...]) -> Shots:
    config = ShotsConfig.model_validate_json(config_text)
    calibration = None if config.noise is None else read_calibration(config.noise)
    told: list[str] = []
    shots = _pages(files[0], config)
    most = max(int(MOST_PX / sum(page.size for page in shots)), 2)
    if len(files) > most:
        told.append(f"{most} of {len(files)} files are used, spread evenly: memory for more is not taken")
        files = tuple(files[k] for k in np.linspace(0, len(files) - 1, most).round().astype(int))
    exposures: list[Exposure] = []
    groups: list[str] = []
    for file in files:
        found, words = _exposures(file, config, calibration)
        told += words
        exposures += found
        groups += [one.shot if len(files) == 1 else str(file) for one in found]
    count = len({one.shot for one in exposures})
    if len(set(groups)) == 1:
        parts = [_parted(one, config) for one in exposures]
        training, held_out = (tuple(part[k] for part in parts) for k in (0, 1))
        told.append(f"{groups[0]} is the only shot: a part of it is held out")
    else:
        held = draw_groups(groups, config.held_out, seed=seed)
        training, held_out = (
            tuple(one for k, one in enumerate(exposures) if (k in held) is kept) for kept in (False, True)
        )
    return Shots(training, held_out, count, tuple(told), calibration)


def _pages(file: Path, config: ShotsConfig) -> list[Pixels]:
    """The pages of a file that are used, or the middle of them."""
    radiograph = read_radiograph(file)
    if radiograph.enhanced_by:
        raise InputError(
            where=str(file),
            expected="a short exposure as the detector gave it",
            found=f"one that was enhanced before, by {radiograph.enhanced_by}",
            advice="use the original: what a network made has no noise to learn from",
        )
    pages = pages_of(radiograph.pixels)
    if min(pages.shape[1:]) < config.patch_px:
        raise InputError(
            where=str(file),
            expected=f"at least {config.patch_px} x {config.patch_px} px, a training patch",
            found=f"{pages.shape[1]} x {pages.shape[2]} px",
            advice="leave it out, or use smaller patches with --set data.patch_px=64",
        )
    chosen = np.unique(np.linspace(0, len(pages) - 1, min(len(pages), MOST_PAGES)).round().astype(int))
    top, left = (max(0, (side - LARGEST_PX) // 2) for side in pages.shape[1:])
    return [np.ascontiguousarray(pages[k, top : top + LARGEST_PX, left : left + LARGEST_PX]) for k in chosen]


def _exposures(
    file: Path, config: ShotsConfig, calibration: NoiseCalibration | None
) -> tuple[list[Exposure], list[str]]:
    """The exposures of a file, and what was decided."""
    pages, name = _pages(file, config), file.name
    found = [_examined(page, calibration, file) for page in pages]
    repeats, words = shows_one_scene(pages, found) if len(pages) > 1 else (False, "")
    told = [f"{name}: {words}"] if words else []
    exposures = []
    for number, (page, statistics) in enumerate(zip(pages, found, strict=True), start=1):
        whole = slice(0, page.shape[0]), slice(0, page.shape[1])
        exposures.append(
            Exposure(
                shot=str(file) if repeats or len(pages) == 1 else f"{file}, page {number}",
                pixels=page,
                found=statistics,
                unit=in_units(page, statistics, whole),
                good=_good(statistics),
                region=whole,
            )
        )
    return (_with_targets(exposures) if repeats else exposures), told


def _examined(page: Pixels, calibration: NoiseCalibration | None, file: Path) -> ImageStatistics:
    try:
        found = examine(page, calibration, where=str(file))
    except InputError as error:
        raise InputError(
            where=error.where if str(file) in error.where else f"{file}: {error.where}",
            expected=error.expected,
            found=error.found,
            advice=error.advice,
        ) from error
    if found.noiseless:
        raise InputError(
            where=str(file),
            expected="a short exposure, which has noise to learn from",
            found="an image without noise",
            advice="leave it out; give images as the detector gave them",
        )
    return found


def shows_one_scene(pages: Sequence[Pixels], found: Sequence[ImageStatistics]) -> tuple[bool, str]:
    """Whether pages (H, W) are repeated exposures of one scene, and why, in words.

    They are where nothing moves from page to page, and what they differ by is as strong as the noise that
    each of them has by itself.
    """
    sound = [one.aside.sound(page) for page, one in zip(pages, found, strict=True)][:COMPARED]
    try:
        series = compare_frames(sound, where="pages")
    except InputError as error:
        return False, f"its {len(pages)} pages are taken for different scenes ({error.found})"
    differ = series.sums.variances.sum() / max(series.sums.count.sum(), 1)
    expected = np.mean([one.noise.variance(series.level[series.kept]).mean() for one in found[:COMPARED]])
    factor = float(np.sqrt(differ / max(float(expected), 1e-30)))
    words = f"they differ by {factor:.2f} times their noise"
    moved = np.mean([_tails(*two) for two in itertools.pairwise(zip(sound, found, strict=False))]) > TAILED
    if moved:
        words += ", and by more at edges, as what moves does"
    if 1 / AGREE <= factor <= AGREE and not moved:
        return True, f"its {len(pages)} pages are repeats of one scene: {words}"
    return False, f"its {len(pages)} pages are taken for different scenes: {words}"


def _tails(first: tuple[Pixels, ImageStatistics], second: tuple[Pixels, ImageStatistics]) -> float:
    """How much further smoothed differences of two pages go than those of noise alone, which gives 1."""
    good = _good(first[1]) & _good(second[1])
    one, other = (page.astype(np.float64) for page, _ in (first, second))
    gain, offset = _brightness(other, one, good)
    sigma = np.sqrt(sum(found.noise.variance(gaussian_filter(one, LEVEL_PX)) for _, found in (first, second)))
    away = np.divide(one - gain * other - offset, sigma, out=np.zeros_like(one), where=good & (sigma > 0))
    smooth = uniform_filter(away, SMOOTHED_PX)[good]
    smooth -= np.median(smooth)
    expected = (1.4826 * np.median(np.abs(smooth))) ** 2
    return float(np.mean(smooth**2) / expected) if expected > 0 else np.inf


def _good(found: ImageStatistics) -> Marked:
    """Pixels (H, W) that count: neither faulty nor set aside."""
    good = ~found.aside.mask.within()
    good[found.bad_pixels.y, found.bad_pixels.x] = False
    return good


def _with_targets(exposures: Sequence[Exposure]) -> list[Exposure]:
    """Repeats with the mean of the others for a target, as bright as they are themselves."""
    total = np.sum([one.pixels.astype(np.float64) for one in exposures], axis=0)
    good = np.all([one.good for one in exposures], axis=0)
    others = len(exposures) - 1
    matched = []
    for one in exposures:
        mean = (total - one.pixels) / others
        gain, offset = _brightness(mean, one.pixels.astype(np.float64), good)
        target = np.where(good, one.found.grey.to_unit(gain * mean + offset), one.unit)
        matched.append(replace(one, good=good, target=target.astype(np.float32), others=others))
    return matched


def _brightness(image: Numbers, like: Numbers, good: Marked) -> tuple[float, float]:
    """Gain and offset that make an image (H, W) as bright as another one of the same scene."""
    means, wanted = (_block_means(each, good) for each in (image, like))
    if np.ptp(means) == 0:
        return 1.0, float(wanted.mean() - means.mean())
    gain, offset = np.polyfit(means, wanted, 1)
    return float(gain), float(offset)


def _block_means(image: Numbers, good: Marked) -> Numbers:
    """Means of blocks that are good throughout, or of the whole image where hardly one is."""
    rows, columns = (side // BLOCK_PX * BLOCK_PX for side in image.shape)
    shape = rows // BLOCK_PX, BLOCK_PX, columns // BLOCK_PX, BLOCK_PX
    sound = good[:rows, :columns].reshape(shape).all(axis=(1, 3))
    means = image[:rows, :columns].reshape(shape).mean(axis=(1, 3))
    return np.asarray(means[sound]) if sound.sum() > 3 else np.array([image[good].mean()])


def _parted(exposure: Exposure, config: ShotsConfig) -> tuple[Exposure, Exposure]:
    """The part of an exposure that is trained on, and the one at its end that is held out."""
    axis = int(np.argmax(exposure.unit.shape))
    length = exposure.unit.shape[axis]
    held = max(round(config.held_out * length), 1)
    left = length - held - MARGIN_PX
    if left < config.patch_px:
        needed = int((config.patch_px + MARGIN_PX) / (1 - config.held_out)) + 1
        raise InputError(
            where=exposure.shot,
            expected=f"at least {needed} px along one side of a single image, a part of which is held out",
            found=f"{exposure.unit.shape[0]} x {exposure.unit.shape[1]} px",
            advice="give several images, or use smaller patches with --set data.patch_px=64",
        )
    first, last = (
        tuple(part if k == axis else slice(0, side) for k, side in enumerate(exposure.unit.shape))
        for part in (slice(0, left), slice(length - held, length))
    )
    return replace(exposure, region=(first[0], first[1])), replace(exposure, region=(last[0], last[1]))


def recorrupted(
    exposure: Exposure, window: Window, random: np.random.Generator, *, ratio: float
) -> tuple[Unit, Unit, Unit]:
    """Two copies (h, w) of a window whose noise is independent, and the draw that tells them apart.

    Returns:
        y + ratio * n, y - n / ratio, and n, in the unit domain; n is 0 at pixels that do not count.
    """
    base = exposure.unit[window]
    fresh = draw_noise(exposure.noise, gaussian_filter(base, LEVEL_PX), random) * exposure.good[window]
    return base + ratio * fresh, base - fresh / ratio, fresh


def _sample(
    exposure: Exposure, window: Window, random: np.random.Generator, *, ratio: float
) -> tuple[Unit, Unit, Unit, NoiseProfile]:
    """Input, target, weight of each pixel, and the noise of the input."""
    weight = exposure.good[window].astype(np.float32)
    if exposure.target is not None:
        return exposure.unit[window], exposure.target[window], weight, exposure.noise
    noisy, target, _ = recorrupted(exposure, window, random, ratio=ratio)
    return noisy, target, weight, stronger(exposure.noise, float(np.hypot(1.0, ratio)))


class ShotPatches(torch.utils.data.Dataset[Sample]):
    """Training samples without end; item i is a function of (config, seed, i) and the files alone.

    Groups of patches of exposures and of simulated scenes take turns. A sample has the "weight" of each pixel
    beside what all have: 0 where a pixel is faulty or no picture of the part.

    Args:
        config: which shots.
        shots: as `load_shots` gives them.
        seed: of places and noise.
    """

    def __init__(self, config: ShotsConfig, shots: Shots, *, seed: int) -> None:
        self.config, self.exposures, self.seed = config, shots.training, seed
        self._scenes = SimulatedPatches(config.scenes(), seed=seed)
        areas = np.array([one.size[0] * one.size[1] for one in self.exposures], dtype=np.float64)
        self._share = areas / areas.sum()

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Sample:
        group, place = divmod(index, self.config.group)
        scenes = int(np.floor(group * self.config.mix))
        simulated = int(np.floor((group + 1) * self.config.mix)) > scenes
        random = np.random.default_rng((self.seed, _SCENE if simulated else _SHOT, index))
        exposure = self.exposures[int(random.choice(len(self.exposures), p=self._share))]
        if simulated:
            clean = self._scenes[scenes * self.config.group + place]["target"][0].numpy()
            return self._scene(clean, exposure.noise, random)
        noisy, target, weight, noise = _sample(
            exposure, self._window(exposure, random), random, ratio=self.config.ratio
        )
        turn = _Turn(random)
        return _tensors(turn(noisy), turn(target), turn(weight), turn.of(noise).noise_condition(), noise)

    def _window(self, exposure: Exposure, random: np.random.Generator) -> Window:
        side = self.config.patch_px
        for _ in range(TRIALS):
            y, x = (int(random.integers(length - side + 1)) for length in exposure.size)
            window = exposure.within(y, x, side, side)
            if exposure.good[window].mean() >= USABLE:
                break
        return window

    def _scene(self, clean: Unit, noise: NoiseProfile, random: np.random.Generator) -> Sample:
        """A simulated scene under the noise of an exposure, or that noise turned."""
        noise = _Turn(random).of(noise)
        noisy = clean + draw_noise(noise, clean, random)
        condition = estimated_condition(noise, random, error=self.config.told_error)
        return _tensors(noisy, clean, np.ones_like(clean), condition, noise)


class ShotImages(torch.utils.data.Dataset[Sample]):
    """The middles of held-out exposures, for validation: inputs and targets that are the same every time.

    Args:
        config: which shots.
        shots: as `load_shots` gives them.
        seed: of the noise.
        count: so many at most, spread evenly.
        size_px: and so large at most.
    """

    def __init__(self, config: ShotsConfig, shots: Shots, *, seed: int, count: int, size_px: int) -> None:
        chosen = np.linspace(0, len(shots.held_out) - 1, min(count, len(shots.held_out))).round()
        self.exposures = [shots.held_out[int(k)] for k in chosen]
        self.ratio, self.seed, self.size_px = config.ratio, seed, size_px

    def __len__(self) -> int:
        return len(self.exposures)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        exposure = self.exposures[index]
        height, width = (min(side, self.size_px) for side in exposure.size)
        y, x = ((side - used) // 2 for side, used in zip(exposure.size, (height, width), strict=True))
        random = np.random.default_rng((self.seed, _HELD, index))
        window = exposure.within(y, x, height, width)
        noisy, target, weight, noise = _sample(exposure, window, random, ratio=self.ratio)
        return _tensors(noisy, target, weight, noise.noise_condition(), noise)


class _Turn:
    """One of the eight flips and quarter turns of (H, W)."""

    def __init__(self, random: np.random.Generator) -> None:
        self.transposed, self.mirrored, self.flipped = (bool(bit) for bit in random.integers(0, 2, 3))

    def __call__(self, image: Unit) -> Unit:
        image = image.T if self.transposed else image
        return image[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1]

    def of(self, noise: NoiseProfile) -> NoiseProfile:
        """The noise of the turned image."""
        return replace(noise, corr_x=noise.corr_y, corr_y=noise.corr_x) if self.transposed else noise


def _tensors(
    noisy: Unit, target: Unit, weight: Unit, condition: npt.NDArray[np.float32], noise: NoiseProfile
) -> Sample:
    images = {"noisy": noisy, "target": target, "weight": weight}
    return {
        **{
            name: torch.from_numpy(np.array(one, np.float32, order="C"))[None] for name, one in images.items()
        },
        "noise_condition": torch.from_numpy(condition),
        "sigma": torch.tensor(noise.sigma_at(0.5), dtype=torch.float32),
    }
