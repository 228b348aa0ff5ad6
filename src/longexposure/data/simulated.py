"""Training data drawn on the fly: scenes from physics/scenes.py under noise that is drawn as widely."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from longexposure.errors import RecipeError
from longexposure.noise import NoiseProfile
from longexposure.physics.canvas import Image
from longexposure.physics.detector import Noise, blurred, exponential_kernel, gaussian_kernel
from longexposure.physics.scenes import draw_scene

Random = np.random.Generator
Sample = dict[str, torch.Tensor]


class SimulatedConfig(BaseModel):
    """How widely to draw.

    Attributes:
        patch_px: side of a training patch.
        scene_px: side of a scene, from which patches are cut.
        pool: scenes held at one time.
        reuse: patches taken from each scene before a new one takes its place.
        sigma: lowest and highest noise in the unit domain, drawn log-uniformly.
        blur_px: lowest and highest sigma of the blur, log-uniform.
        told_error: standard deviation of ln(sigma told / true), as the estimator errs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["simulated"] = "simulated"
    patch_px: int = Field(default=160, ge=16, le=1024)
    scene_px: int = Field(default=320, ge=32, le=4096)
    pool: int = Field(default=64, ge=1, le=4096)
    reuse: int = Field(default=6, ge=1, le=1000)
    sigma: tuple[float, float] = (0.0015, 0.35)
    blur_px: tuple[float, float] = (0.35, 1.8)
    told_error: float = Field(default=0.12, ge=0, le=1)

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> SimulatedConfig:
        for name in ("sigma", "blur_px"):
            low, high = getattr(self, name)
            if not 0 < low < high < np.inf:
                raise _out_of_range(name, "two finite numbers above 0, the smaller one first", [low, high])
        if self.patch_px > self.scene_px:
            raise _out_of_range("patch_px", f"at most scene_px = {self.scene_px}", self.patch_px)
        return self


def _out_of_range(key: str, expected: str, found: object) -> RecipeError:
    return RecipeError(
        where=f"data.{key}",
        expected=expected,
        found=str(found),
        advice="correct the recipe or the --set option",
    )


def draw_clean(random: Random, *, config: SimulatedConfig, size_px: int) -> Image:
    """A blurred scene (H, W) scaled as the grey map scales an image: 1st to 99th percentile to 0..1."""
    scene = draw_scene(random, size_px=(size_px, size_px))
    low, high = np.log(config.blur_px)
    image = blurred(scene, float(np.exp(random.uniform(low, high))))
    if random.random() < 0.15:
        image = np.maximum(image, 1e-3) ** np.float32(random.uniform(0.45, 1.5))
    bottom, top = np.percentile(image[::2, ::2], (1, 99))
    span = max(float(top - bottom), 1e-3)
    image = (image - np.float32(bottom)) / np.float32(span)
    return -(image - 1) if random.random() < 0.15 else image


def draw_noise(random: Random, *, config: SimulatedConfig) -> Noise:
    """Noise of a machine that nobody described: any level, colour, dependence on signal and digitiser."""
    low, high = np.log(config.sigma)
    sigma = float(np.exp(random.uniform(low, high)))
    step = random.choice([0.0, 0.0, 1 / 255, 1 / 120, 0.02]) if random.random() < 0.5 else 0.0
    kind = random.random()
    share = 0.0 if kind < 0.3 else (1.0 if kind < 0.5 else float(random.uniform(-0.2, 1.0)))
    along_x, along_y = _colour(random)
    return Noise(
        sigma=sigma,
        signal_share=share,
        along_x=along_x,
        along_y=along_y,
        bands=(random.uniform(0, 0.3), 0.0) if random.random() < 0.12 else (0.0, 0.0),
        pattern=float(random.uniform(0, 0.015)) if random.random() < 0.3 else 0.0,
        outliers=float(random.uniform(0, 1e-3)) if random.random() < 0.3 else 0.0,
        step=step if step < 3 * sigma else 0.0,
        clip=(float(random.uniform(-0.1, 0.05)), float(random.uniform(0.95, 1.2)))
        if random.random() < 0.12
        else None,
    )


def _colour(random: Random) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """White, blurred by a screen, or smeared along lines."""
    kind = random.random()
    if kind < 0.45:
        return (1.0,), (1.0,)
    if kind < 0.75:
        sigma = float(random.uniform(0.3, 1.1))
        return gaussian_kernel(sigma), gaussian_kernel(sigma * float(random.uniform(0.8, 1.2)))
    along = exponential_kernel(float(random.uniform(0.1, 0.8)))
    across = exponential_kernel(float(random.uniform(0.0, 0.45)))
    return (along, across) if random.random() < 0.75 else (across, along)


def told(profile: NoiseProfile, random: Random, *, error: float) -> np.ndarray:
    """What the network is told of this noise: the truth, jittered as the estimator errs.

    Most images are measured well; in one of six that is full of texture the estimate is far off, more
    often too high than too low.
    """
    far = random.random() < 1 / 6
    shift = 0.2 + 0.4 * random.standard_normal() if far else error * random.standard_normal()
    factor = float(np.exp(shift))
    jitter = (0.2 if far else 0.4 * error) * random.standard_normal(3)
    return NoiseProfile(
        level=0.5,
        sigma=profile.sigma * factor,
        slope=(profile.slope + 4 * jitter[0] * profile.sigma**2) * factor**2,
        corr_x=float(np.clip(profile.corr_x + jitter[1], -0.5, 0.95)),
        corr_y=float(np.clip(profile.corr_y + jitter[2], -0.5, 0.95)),
    ).condition()


class SimulatedPatches(torch.utils.data.Dataset[Sample]):
    """Training samples without end; item i is a function of (config, seed, i) alone.

    A pool of scenes is kept; each stays for `reuse` visits, so that drawing costs little. Scenes change one
    at a time, not all at once. Visit indices in increasing order, from one worker, for the pool to pay.
    """

    def __init__(self, config: SimulatedConfig, *, seed: int) -> None:
        self.config, self.seed = config, seed
        self._scenes: OrderedDict[int, Image] = OrderedDict()

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Sample:
        config = self.config
        random = np.random.default_rng((self.seed, 1, index))
        image = self._scene(index)
        size = config.patch_px
        y, x = random.integers(0, config.scene_px - size + 1, 2)
        clean = _turned(image[y : y + size, x : x + size], random)
        contrast = float(random.uniform(0.1, 1.0)) if random.random() < 0.6 else 1.0
        clean = clean * np.float32(contrast) + np.float32(random.uniform(0, 1 - contrast))
        return _sample(clean, random, config)

    def _scene(self, index: int) -> Image:
        pool, reuse = self.config.pool, self.config.reuse
        slot, visit = index % pool, index // pool
        number = slot + pool * ((visit + slot % reuse) // reuse)
        if number not in self._scenes:
            random = np.random.default_rng((self.seed, 0, number))
            self._scenes[number] = draw_clean(random, config=self.config, size_px=self.config.scene_px)
            while len(self._scenes) > 2 * pool:
                self._scenes.popitem(last=False)
        return self._scenes[number]


class SimulatedImages(torch.utils.data.Dataset[Sample]):
    """A fixed set of whole images for validation; the noise steps evenly through the range."""

    def __init__(self, config: SimulatedConfig, *, seed: int, count: int, size_px: int) -> None:
        self.config, self.seed, self.count, self.size_px = config, seed, count, size_px

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        random = np.random.default_rng((self.seed, 2, index))
        clean = draw_clean(random, config=self.config, size_px=self.size_px)
        low, high = np.log(self.config.sigma)
        level = float(np.exp(low + (high - low) * (index + 0.5) / self.count))
        narrowed = self.config.model_copy(update={"sigma": (level * 0.999, level * 1.001)})
        return _sample(clean, random, narrowed)


def _turned(image: Image, random: Random) -> Image:
    """One of the eight flips and quarter turns."""
    turned = np.rot90(image, int(random.integers(4)))
    return turned[:, ::-1] if random.random() < 0.5 else turned


def _sample(clean: Image, random: Random, config: SimulatedConfig) -> Sample:
    clean = np.ascontiguousarray(clean, dtype=np.float32)
    noise = draw_noise(random, config=config)
    noisy = noise.add_to(clean, random)
    condition = told(noise.profile(), random, error=config.told_error)
    return {
        "noisy": torch.from_numpy(noisy)[None],
        "target": torch.from_numpy(clean)[None],
        "condition": torch.from_numpy(condition),
        "sigma": torch.tensor(noise.profile().sigma, dtype=torch.float32),
    }
