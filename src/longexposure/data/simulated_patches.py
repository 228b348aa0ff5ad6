"""Training patches drawn on the fly: scenes of simulated machines, exposed anew for every patch."""

from __future__ import annotations

import itertools
import signal
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator, model_validator

from longexposure.data.patterns import PatternsConfig, with_pattern
from longexposure.errors import RecipeError
from longexposure.grey import PERCENTILES, GreyMap, measure_grey
from longexposure.noise import NoiseProfile
from longexposure.noise.estimator import CORRELATION
from longexposure.simulation.detector.panel import Panel
from longexposure.simulation.exposure import SPLITS, Acquisition, draw_acquisition
from longexposure.simulation.machine import Machine, Split, load_machine
from longexposure.simulation.random_source import NumpyRandom, RandomSource, TorchRandom
from longexposure.simulation.recipe import RecipeTable, refused

Random = np.random.Generator
Sample = dict[str, torch.Tensor]

# The second number of a stream's seed, where those of `simulation.exposure` have 0 or 1.
_CHOICE, _GROUP, _GREY, _IMAGE, _PIXELS = range(11, 16)
# Where an image is constant (all of it clipped, say), the scene this much further on takes its place.
_NEXT = 2**48
_TRIALS = 50


def start_worker(_: int) -> None:
    """One thread a worker; signals reach the whole group, and the parent alone decides when to stop."""
    torch.set_num_threads(1)
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)


class SimulatedPatchesConfig(RecipeTable):
    """Which machines, and how much is drawn from each scene.

    Attributes:
        machines: names or TOML files of machines, with how often each is drawn relative to the others.
        overrides: "dotted.key=value" on top of every machine's recipe.
        split: the machines' training or test scenes.
        target: what the network shall give: the noise-free image, or the long exposure.
        defects: fraction of the scenes that have defects.
        patch_px: side of a training patch.
        scene_px: side of a scene, from which patches are cut.
        pool: scenes kept at one time.
        reuse: groups of patches taken from each scene before a new one takes its place.
        group: patches that are exposed together, from one scene.
        told_error: standard deviation of ln(sigma told / true), as the estimator errs.
        patterns: fractions of the patches that show something else than the part; not on a device.
        exposed_on: where scenes become patches: in CPU workers, or on the device that trains. Scenes and
            places are the same, the noise is drawn by another generator.

    Raises:
        RecipeError: no such machine, an impossible one, or patches, scenes and images that do not fit.
    """

    kind: Literal["machines"] = "machines"
    machines: dict[str, float] = Field(default_factory=lambda: {"wide": 1.0})
    overrides: tuple[str, ...] = ()
    split: Split = "train"
    target: Literal["clean", "long"] = "clean"
    defects: float = Field(default=0.3, ge=0, le=1)
    patch_px: int = Field(default=144, ge=16, le=1024)
    scene_px: int = Field(default=320, ge=32, le=4096)
    pool: int = Field(default=64, ge=1, le=4096)
    reuse: int = Field(default=6, ge=1, le=1000)
    group: int = Field(default=4, ge=1, le=64)
    told_error: float = Field(default=0.12, ge=0, le=1)
    patterns: PatternsConfig = Field(default_factory=PatternsConfig)
    exposed_on: Literal["workers", "device"] = "workers"

    @field_validator("machines")
    @classmethod
    def _weights_are_weights(cls, machines: dict[str, float]) -> dict[str, float]:
        if not machines or min(machines.values()) < 0 or not sum(machines.values()) > 0:
            raise ValueError("machines with weights of 0 or more, one at least above 0")
        return machines

    @model_validator(mode="after")
    def _patches_fit(self) -> SimulatedPatchesConfig:
        if self.patch_px > self.scene_px:
            raise _too_large("data.patch_px", f"scene_px = {self.scene_px}", self.patch_px)
        self.check_fits(self.scene_px, where="data.scene_px")
        if self.patterns.any and (self.target, self.exposed_on) != ("clean", "workers"):
            raise refused(
                "data.patterns",
                'target = "clean" and exposed_on = "workers"',
                f"{self.target!r} and {self.exposed_on!r}",
                "leave [data.patterns] out, or train on noise-free targets from workers",
            )
        return self

    def check_fits(self, size_px: int, *, where: str) -> None:
        """Refuse scenes that are larger than a machine's images.

        Raises:
            RecipeError: as said, or no such machine.
        """
        for name in self.machines:
            image = _machine(name, self.overrides).image
            if size_px > min(image.height, image.width):
                raise _too_large(where, f"the {image.height} x {image.width} px of machine {name}", size_px)


def _too_large(where: str, largest: str, found: int) -> RecipeError:
    return refused(where, f"at most {largest}", found, "correct the recipe or the --set option")


@lru_cache(maxsize=32)
def _machine(name: str, overrides: tuple[str, ...]) -> Machine:
    return load_machine(name, overrides)


class _PreparedScene(NamedTuple):
    """An acquisition with what all its patches have in common; on a device every group has its own panel."""

    acquisition: Acquisition
    grey: GreyMap
    noise: NoiseProfile
    panel: Panel | None = None


def _prepared(config: SimulatedPatchesConfig, *, seed: int, number: int, size_px: int) -> _PreparedScene:
    """The acquisition of a number, without its primitives; the grey map is that of a short exposure of it.

    Raises:
        RecipeError: the machines give nothing but constant images.
    """
    for trial in range(_TRIALS):
        tried = number + trial * _NEXT
        acquisition = draw_training_acquisition(config, seed=seed, number=tried, size_px=size_px)
        lq = acquisition.expose_short(NumpyRandom((seed, _GREY, tried)))
        low, high = np.percentile(lq, PERCENTILES)
        if high > low:
            scene = replace(acquisition.scene, features=(), surroundings=())
            return _PreparedScene(replace(acquisition, scene=scene), measure_grey(lq), acquisition.noise)
    raise refused(
        "data.machines",
        "short exposures that show something",
        f"{_TRIALS} constant images in a row, the last at {low:g} counts",
        "look at `longexposure simulate --preview`; the exposure is far too high or too low",
    )


def draw_training_acquisition(
    config: SimulatedPatchesConfig, *, seed: int, number: int, size_px: int
) -> Acquisition:
    """The scene of this number in one of the machines; a function of its arguments alone."""
    random = np.random.default_rng((seed, _CHOICE, number))
    weights = np.array(list(config.machines.values()))
    name = list(config.machines)[int(random.choice(len(weights), p=weights / weights.sum()))]
    return draw_acquisition(
        _machine(name, config.overrides),
        key=(seed, SPLITS[config.split], number),
        size_px=(size_px, size_px),
        defects=bool(random.random() < config.defects),
    )


def estimated_condition(profile: NoiseProfile, random: Random, *, error: float) -> npt.NDArray[np.float32]:
    """What the network is told of noise in the unit domain: the truth, jittered as the estimator errs.

    Most images are measured well; in one of six that is full of texture the estimate is far off, more
    often too high than too low.
    """
    far = random.random() < 1 / 6
    shift = 0.2 + 0.4 * random.standard_normal() if far else error * random.standard_normal()
    factor = float(np.exp(shift))
    jitter = (0.2 if far else 0.6 * error) * random.standard_normal(3)
    variance = float(profile.variance(0.5))
    return NoiseProfile(
        level=0.5,
        sigma=variance**0.5 * factor,
        slope=(profile.slope + 4 * jitter[0] * variance) * factor**2,
        corr_x=float(np.clip(profile.corr_x + jitter[1], *CORRELATION)),
        corr_y=float(np.clip(profile.corr_y + jitter[2], *CORRELATION)),
    ).noise_condition()


class SimulatedPatches(torch.utils.data.Dataset[Sample]):
    """Training samples without end, for workers on the CPU; item i is a function of (config, seed, i) alone.

    Scenes stay for `reuse` groups, so that drawing them costs little, and change one at a time. Visit
    indices in increasing order for pool and groups to pay.
    """

    def __init__(self, config: SimulatedPatchesConfig, *, seed: int) -> None:
        self.config, self.seed = config, seed
        self._scenes: OrderedDict[int, _PreparedScene] = OrderedDict()
        self._group: tuple[int, list[Sample]] = (-1, [])

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Sample:
        config = self.config
        group, place = divmod(index, config.group)
        if self._group[0] != group:
            number = _scene_number(config, group)
            if number not in self._scenes:
                scene = _prepared(config, seed=self.seed, number=number, size_px=config.scene_px)
                pixels = NumpyRandom((self.seed, _PIXELS, number))
                panel = scene.acquisition.panel_of_crops(config.group, config.patch_px, pixels)
                self._scenes[number] = scene._replace(panel=panel)
                while len(self._scenes) > 2 * config.pool:
                    self._scenes.popitem(last=False)
            random = np.random.default_rng((self.seed, _GROUP, group))
            self._group = group, _samples(self._scenes[number], config, random, NumpyRandom(random))
        return self._group[1][place]


class SimulatedBatches(torch.utils.data.IterableDataset[Sample]):
    """Training batches without end, exposed on a device; batch i is a function of its arguments and i alone.

    The scenes lie on the device, the same ones in the same order as those of `SimulatedPatches`, and pieces
    are cut at the same places; the noise is that of the device's generator. Scenes are drawn on the CPU, in
    the order in which they are needed; nothing touches the disk.

    Args:
        config: which machines and scenes.
        seed: of everything.
        batch: patches in a batch, a multiple of `config.group`.
        device: "cuda", or "cpu" to try it.
        workers: processes that draw scenes in advance; 0 draws them between the batches.
        fraction: number and count of equal parts of each batch, of which this is one.

    Raises:
        RecipeError: a part of a batch that is no multiple of the group.
    """

    def __init__(
        self,
        config: SimulatedPatchesConfig,
        *,
        seed: int,
        batch: int,
        device: str | torch.device,
        workers: int = 0,
        fraction: tuple[int, int] = (0, 1),
    ) -> None:
        multiple = config.group * fraction[1]
        if batch < 1 or batch % multiple:
            raise RecipeError(
                where="optimiser.batch",
                expected=f"a multiple of data.group = {config.group}"
                + (f" times {fraction[1]} devices" if fraction[1] > 1 else ""),
                found=str(batch),
                advice="change one of them",
            )
        self.config, self.seed, self.batch, self.fraction = config, seed, batch, fraction
        self.device, self.workers = torch.device(device), workers

    def __iter__(self) -> Iterator[Sample]:
        return self.from_batch(0)

    def from_batch(self, number: int) -> Iterator[Sample]:
        """The batches from this one on; their scenes are drawn when they are first needed."""
        generator = torch.Generator(self.device)
        rng = TorchRandom(generator)
        fresh = iter(self._scenes(number))
        pool: dict[int, tuple[int, _PreparedScene]] = {}
        for groups in self._groups(number):
            samples = []
            for group in groups:
                slot, wanted = group % self.config.pool, _scene_number(self.config, group)
                if slot not in pool or pool[slot][0] != wanted:
                    scene = next(fresh)
                    pool[slot] = wanted, scene._replace(acquisition=scene.acquisition.on_device(rng))
                random = np.random.default_rng((self.seed, _GROUP, group))
                generator.manual_seed(int(random.spawn(1)[0].integers(2**62)))
                samples += _samples(pool[slot][1], self.config, random, rng)
            yield {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}

    def _groups(self, number: int) -> Iterator[range]:
        """The groups of this part of each batch."""
        part, parts = self.fraction
        of_batch = self.batch // self.config.group
        length = of_batch // parts
        for first in itertools.count(number * of_batch + part * length, of_batch):
            yield range(first, first + length)

    def _scenes(self, number: int) -> torch.utils.data.DataLoader[_PreparedScene]:
        return torch.utils.data.DataLoader(
            _Scenes(self.config, self.seed),
            batch_size=None,
            sampler=self._needed(number),
            collate_fn=_unchanged,
            num_workers=self.workers,
            worker_init_fn=start_worker,
            generator=torch.Generator().manual_seed(0),
        )

    def _needed(self, number: int) -> Iterator[int]:
        """Numbers of the scenes from a batch on, in the order in which they come into the pool."""
        pool: dict[int, int] = {}
        for group in itertools.chain.from_iterable(self._groups(number)):
            slot, wanted = group % self.config.pool, _scene_number(self.config, group)
            if pool.get(slot) != wanted:
                pool[slot] = wanted
                yield wanted


class _Scenes(torch.utils.data.Dataset[_PreparedScene]):
    """Scenes without end; each is a function of config, seed and number alone."""

    def __init__(self, config: SimulatedPatchesConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def __getitem__(self, number: int) -> _PreparedScene:
        return _prepared(self.config, seed=self.seed, number=number, size_px=self.config.scene_px)


def _unchanged(scene: Any) -> Any:
    """In place of torch's collation, which makes tensors of arrays."""
    return scene


class SimulatedImages(torch.utils.data.Dataset[Sample]):
    """A fixed set of whole images for validation.

    Raises:
        RecipeError: images larger than those of a machine.
    """

    def __init__(self, config: SimulatedPatchesConfig, *, seed: int, count: int, size_px: int) -> None:
        config.check_fits(size_px, where="validation.size_px")
        changes = {"patch_px": size_px, "group": 1, "patterns": PatternsConfig()}
        self.config = config.model_copy(update=changes)
        self.seed, self.count, self.size_px = seed, count, size_px

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        random = np.random.default_rng((self.seed, _IMAGE, index))
        scene = _prepared(self.config, seed=self.seed, number=index, size_px=self.size_px)
        return _samples(scene, self.config, random, NumpyRandom(random))[0]


def _scene_number(config: SimulatedPatchesConfig, group: int) -> int:
    """Number of the scene that a group is cut from: each slot of the pool changes in its own time."""
    slot, visit = group % config.pool, group // config.pool
    return slot + config.pool * ((visit + slot % config.reuse) // config.reuse)


def _samples(
    scene: _PreparedScene, config: SimulatedPatchesConfig, random: Random, rng: RandomSource
) -> list[Sample]:
    """A group of patches of one scene, exposed anew."""
    size = config.patch_px
    height, width = scene.acquisition.shape
    corners = [
        (int(random.integers(height - size + 1)), int(random.integers(width - size + 1)))
        for _ in range(config.group)
    ]
    long = config.target == "long"
    crops = scene.acquisition.crops(corners, size, rng=rng, long=long, panel=scene.panel)
    augmentations = [_Augmentation.drawn(scene, random) for _ in corners]
    scale, offset = (
        rng.array(np.array([getattr(one, name) for one in augmentations])[:, None, None])
        for name in ("scale", "offset")
    )
    target = crops.clean if config.target == "clean" else crops.long
    noisy, aim = (torch.as_tensor(image * scale + offset)[:, None] for image in (crops.short, target))
    profiles = [one.noise for one in augmentations]
    if config.patterns.any:
        for n, profile in enumerate(profiles):
            *pair, profiles[n] = with_pattern(
                noisy[n, 0].numpy(), aim[n, 0].numpy(), profile, random, config.patterns
            )
            noisy[n, 0], aim[n, 0] = map(torch.from_numpy, pair)
    conditions = [estimated_condition(one, random, error=config.told_error) for one in profiles]
    sigmas = [one.variance(0.5) ** 0.5 for one in profiles]
    noise_condition, sigma = (
        torch.as_tensor(rng.array(values)) for values in (np.stack(conditions), np.array(sigmas))
    )
    return [
        {
            "noisy": one.turned(noisy[n]),
            "target": one.turned(aim[n]),
            "noise_condition": noise_condition[n],
            "sigma": sigma[n],
        }
        for n, one in enumerate(augmentations)
    ]


class _Augmentation(NamedTuple):
    """How a patch is shown: unit = scale * grey + offset, then turned.

    Attributes:
        scale, offset: of the grey values; a scale below 0 exchanges black and white.
        turns: quarter turns.
        flip: whether left and right are exchanged after that.
        noise: true profile of what is shown.
    """

    scale: float
    offset: float
    turns: int
    flip: bool
    noise: NoiseProfile

    @classmethod
    def drawn(cls, scene: _PreparedScene, random: Random) -> _Augmentation:
        """The unit domain, at times with less contrast or with black and white exchanged.

        A large image has a wider range of grey values than a small scene; less contrast stands for that. The
        network is told the noise at 0.5. A real image has grey values there; so there shall be noise too: a
        patch of little contrast is moved up only while a fifth of its own variance is left at 0.5.
        """
        contrast = float(random.uniform(0.15, 1.0)) if random.random() < 0.5 else 1.0
        scale, offset = scene.grey.scale * contrast, scene.grey.offset * contrast
        noise = scene.noise.mapped(scale=scale, offset=offset)
        low, high = 0.0, 1 - contrast
        if noise.slope > 0:
            high = min(max(0.5 + 0.8 * noise.sigma**2 / noise.slope - noise.level, 0.0), high)
        elif noise.slope < 0:
            low = min(max(0.5 - 0.8 * noise.sigma**2 / -noise.slope - noise.level, 0.0), high)
        offset += float(random.uniform(low, high))
        noise = scene.noise.mapped(scale=scale, offset=offset)
        if random.random() < 0.15:
            scale, offset = -scale, 1 - offset
            noise = replace(noise, level=1 - noise.level, slope=-noise.slope)
        turns, flip = int(random.integers(4)), bool(random.random() < 0.5)
        if turns % 2:
            noise = replace(noise, corr_x=noise.corr_y, corr_y=noise.corr_x)
        return cls(scale, offset, turns, flip, noise)

    def turned(self, image: torch.Tensor) -> torch.Tensor:
        """One of the eight flips and quarter turns of (..., H, W)."""
        turned = torch.rot90(image, self.turns, (-2, -1))
        return (turned.flip(-1) if self.flip else turned).contiguous()
