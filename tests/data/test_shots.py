"""Short exposures alone: independent noise of input and target, repeats told from scenes, nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import quick
import tifffile
from scipy.signal import lfilter

from longexposure.data.shots import (
    MARGIN_PX,
    Exposure,
    ShotImages,
    ShotPatches,
    Shots,
    ShotsConfig,
    load_shots,
    recorrupted,
)
from longexposure.enhance.statistics import examine
from longexposure.errors import InputError, LongExposureError
from longexposure.io import write_radiograph
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Radiograph, Step

SCENES = {"machines": quick.DATA["machines"], "scene_px": 48, "pool": 2, "reuse": 2, "defects": 0.0}


def config(*paths: Path, **changes: object) -> ShotsConfig:
    values = {"paths": [str(path) for path in paths], "patch_px": 32, **SCENES, **changes}
    return ShotsConfig.model_validate(values)


def scene(seed: int, side: int = 128) -> np.ndarray:
    """Discs on even ground, grey values of a 16-bit detector."""
    random = np.random.default_rng((seed, 7))
    y, x = np.mgrid[:side, :side]
    image = np.full((side, side), 30000.0)
    for _ in range(6):
        row, column, radius = random.uniform(0, side), random.uniform(0, side), random.uniform(6, 20)
        image -= random.uniform(1000, 4000) / (1 + np.exp(np.hypot(y - row, x - column) - radius))
    return image


def exposed(clean: np.ndarray, seed: int, lag: float = 0.0) -> np.ndarray:
    """Noise whose variance goes with the signal and whose neighbours in a row correlate by `lag`."""
    fresh = np.random.default_rng((seed, 8)).standard_normal(clean.shape)
    fresh[:, 1:] *= np.sqrt(1 - lag**2)
    field = lfilter([1.0], [1.0, -lag], fresh, axis=-1)
    return np.rint(clean + np.sqrt(20 * clean) * field).astype(np.uint16)


def saved(path: Path, *pages: np.ndarray) -> Path:
    tifffile.imwrite(path, np.stack(pages) if len(pages) > 1 else pages[0], photometric="minisblack")
    return path


@pytest.fixture
def four(tmp_path: Path) -> list[Path]:
    """Exposures of four scenes."""
    return [saved(tmp_path / f"{k}.tif", exposed(scene(k), k)) for k in range(4)]


def known(clean: np.ndarray, image: np.ndarray, noise: NoiseProfile) -> Exposure:
    """An exposure whose noise is told."""
    found = examine(image, noise)
    whole = slice(0, image.shape[0]), slice(0, image.shape[1])
    unit = found.grey.to_unit(image)
    return Exposure("known", image, found, unit, np.ones(image.shape, bool), whole)


@pytest.mark.parametrize("lag", [0.0, 0.5])
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_input_and_target_of_a_recorrupted_pair_have_independent_noise(lag: float, ratio: float) -> None:
    """At every grey value, and from pixel to pixel; noise goes with the signal, along rows."""
    clean = np.repeat(np.linspace(8000, 40000, 192)[:, None], 192, axis=1)
    noise = NoiseProfile(level=20000, sigma=400000**0.5, slope=20, corr_x=lag)
    products = []
    for seed in range(16):
        exposure = known(clean, exposed(clean, seed, lag), noise)
        truth = exposure.found.grey.to_unit(clean)
        random = np.random.default_rng((seed, 9))
        noisy, target, fresh = recorrupted(exposure, exposure.region, random, ratio=ratio)
        assert np.allclose(noisy - target, (ratio + 1 / ratio) * fresh, atol=1e-5)
        given = noisy - truth, target - truth
        sigma = np.sqrt(exposure.noise.variance(truth))
        one, other = (error / sigma for error in given)
        for shift in (0, 1, 2):
            both = one[:, shift:] * other[:, : 192 - shift]
            products.append([part.mean() for part in np.array_split(both, 3)])
        assert (one**2).mean() == pytest.approx(1 + ratio**2, rel=0.1)
        assert (other**2).mean() == pytest.approx(1 + 1 / ratio**2, rel=0.1)
    covariance = np.reshape(products, (16, 3, 3)).mean(axis=0)
    assert np.abs(covariance).max() < 0.03, covariance


def test_pages_of_one_scene_are_each_others_targets(tmp_path: Path) -> None:
    pages = [exposed(scene(0), seed) for seed in range(4)]
    shots = load_shots(config(saved(tmp_path / "repeats.tif", *pages)), seed=0)
    assert shots.count == 1
    assert "4 pages are repeats of one scene" in shots.told[0]
    for one in shots.training:
        assert one.target is not None
        assert one.others == 3
        truth = one.found.grey.to_unit(scene(0))
        errors = one.unit - truth, one.target - truth
        sigma = one.noise.sigma_at(0.5)
        assert errors[1].std() == pytest.approx(sigma / 3**0.5, rel=0.2)
        assert abs((errors[0] * errors[1]).mean()) < 0.03 * sigma**2


def test_the_target_of_a_repeat_is_as_bright_as_the_repeat(tmp_path: Path) -> None:
    pages = [exposed(gain * scene(0), seed) for seed, gain in enumerate((1.0, 1.01, 0.99))]
    shots = load_shots(config(saved(tmp_path / "repeats.tif", *pages)), seed=0)
    for one in shots.training:
        assert one.target is not None
        assert one.target.mean() == pytest.approx(float(one.unit.mean()), abs=0.005)


@pytest.mark.parametrize("kind", ["other scenes", "moved", "copies", "under shading"])
def test_pages_that_are_no_repeats_are_images_of_their_own(kind: str, tmp_path: Path) -> None:
    first = scene(0)
    pages = {
        "other scenes": [exposed(scene(seed), seed) for seed in range(3)],
        "moved": [exposed(np.roll(first, 2 * seed, axis=1), seed) for seed in range(3)],
        "copies": [exposed(first, 0)] * 3,
        "under shading": [
            exposed(first + 2500 * np.sin(np.arange(128) / 9 + seed), seed) for seed in range(3)
        ],
    }[kind]
    shots = load_shots(config(saved(tmp_path / "stack.tif", *pages)), seed=0)
    assert shots.count == 3
    assert "taken for different scenes" in shots.told[0]
    assert all(one.target is None for one in (*shots.training, *shots.held_out))


def test_whole_shots_are_held_out(four: list[Path], tmp_path: Path) -> None:
    repeats = saved(tmp_path / "repeats.tif", *(exposed(scene(9), 90 + k) for k in range(3)))
    for seed in range(5):
        shots = load_shots(config(*four, repeats, held_out=0.4), seed=seed)
        trained, held = ({one.shot for one in part} for part in (shots.training, shots.held_out))
        assert trained
        assert held
        assert not trained & held
        assert len(trained | held) == shots.count == 5


def without_the_held_out_part(shots: Shots) -> None:
    """Make it impossible to use what is held out without being seen."""
    for one in shots.held_out:
        one.unit[one.region] = np.nan
        if one.target is not None:
            one.target[one.region] = np.nan


@pytest.mark.parametrize("pages", [1, 3])
def test_the_held_out_part_of_a_single_shot_is_never_trained_on(pages: int, tmp_path: Path) -> None:
    images = [exposed(scene(0), seed) for seed in range(pages)]
    settings = config(saved(tmp_path / "only.tif", *images), mix=0)
    shots = load_shots(settings, seed=0)
    rows, held = shots.training[0].region[0], shots.held_out[0].region[0]
    assert held.stop == 128
    assert held.start - rows.stop == MARGIN_PX
    assert "a part of it is held out" in shots.told[-1]
    without_the_held_out_part(shots)
    patches = ShotPatches(settings, shots, seed=1)
    for index in range(100):
        assert all(bool(value.isfinite().all()) for value in patches[index].values())


def test_held_out_shots_are_never_trained_on(four: list[Path]) -> None:
    settings = config(*four, mix=0.5)
    shots = load_shots(settings, seed=3)
    without_the_held_out_part(shots)
    patches = ShotPatches(settings, shots, seed=1)
    for index in range(100):
        assert all(bool(value.isfinite().all()) for value in patches[index].values())


def test_a_sample_is_a_function_of_its_number(four: list[Path]) -> None:
    settings = config(*four)
    first, second = (ShotPatches(settings, load_shots(settings, seed=0), seed=5) for _ in range(2))
    wanted = {index: first[index] for index in range(24)}
    for index in reversed(range(24)):
        found = second[index]
        assert all(found[name].numpy().tobytes() == wanted[index][name].numpy().tobytes() for name in found)


def test_half_of_the_patches_are_scenes_without_noise_in_the_target(four: list[Path]) -> None:
    """The targets of exposures carry more noise than their inputs."""
    settings = config(*four, mix=0.5, group=4, ratio=0.5)
    patches = ShotPatches(settings, load_shots(settings, seed=0), seed=5)
    rough = []
    for index in range(64):
        sample = patches[index]
        steps = [float(np.abs(np.diff(sample[n][0].numpy())).mean()) for n in ("noisy", "target")]
        rough.append(steps[1] > steps[0])
    groups = np.reshape(rough, (-1, 4))
    assert (groups.all(axis=1) | ~groups.any(axis=1)).all()
    assert groups.any(axis=1).mean() == 0.5


def test_scenes_are_under_the_noise_of_the_exposures(four: list[Path]) -> None:
    settings = config(*four, mix=0.9)
    shots = load_shots(settings, seed=0)
    sigmas = {round(one.noise.sigma_at(0.5), 6) for one in shots.training}
    patches = ShotPatches(settings, shots, seed=5)
    for index in range(12, 40):
        sample = patches[index]
        assert round(float(sample["sigma"]), 6) in sigmas
        error = (sample["noisy"] - sample["target"]).numpy()
        assert 0.3 < error.std() / float(sample["sigma"]) < 2.5


def test_the_network_is_told_the_noise_of_its_input(four: list[Path]) -> None:
    settings = config(*four, mix=0, ratio=0.5)
    shots = load_shots(settings, seed=0)
    sigmas = {round(1.25**0.5 * one.noise.sigma_at(0.5), 6) for one in shots.training}
    told = {round(float(ShotPatches(settings, shots, seed=5)[k]["noise_condition"][0]), 6) for k in range(30)}
    assert told == sigmas


def test_turned_patches_are_told_the_turned_noise(tmp_path: Path) -> None:
    image = exposed(scene(0), 0, lag=0.5)
    settings = config(saved(tmp_path / "lines.tif", image), mix=0)
    patches = ShotPatches(settings, load_shots(settings, seed=0), seed=5)
    seen = set()
    for index in range(40):
        sample = patches[index]
        corr_x, corr_y = sample["noise_condition"][3:].tolist()
        rough = np.array([np.diff(sample["noisy"][0].numpy(), axis=axis).std() for axis in (1, 0)])
        assert (corr_x > corr_y) == (rough[0] < rough[1])
        seen.add(corr_x > corr_y)
    assert seen == {True, False}


def test_faulty_pixels_and_areas_set_aside_do_not_count(tmp_path: Path) -> None:
    image = exposed(scene(0), 0)
    image[40:90, 10:60] = 65535
    image[100, 100] = 0
    settings = config(saved(tmp_path / "faulty.tif", image), held_out=0.2, mix=0)
    shots = load_shots(settings, seed=0)
    good = shots.training[0].good
    assert not good[45:85, 15:55].any()
    assert not good[100, 100]
    assert good[:30].mean() > 0.95
    patches = ShotPatches(settings, shots, seed=5)
    samples = [patches[index] for index in range(60)]
    assert min(float(sample["weight"].mean()) for sample in samples) >= 0.5
    for sample in samples:
        left = sample["weight"] == 0
        assert (sample["noisy"][left] == sample["target"][left]).all()
        assert sample["noisy"].abs().max() < 6


def test_validation_images_are_the_same_every_time(four: list[Path]) -> None:
    settings = config(*four)
    shots = load_shots(settings, seed=0)
    images = ShotImages(settings, shots, seed=4, count=8, size_px=64)
    assert len(images) == len(shots.held_out)
    assert images[0]["noisy"].shape == (1, 64, 64)
    assert images[0]["noisy"].numpy().tobytes() == images[0]["noisy"].numpy().tobytes()
    with pytest.raises(IndexError):
        images[len(images)]


def flat(value: int) -> np.ndarray:
    return np.full((64, 64), value, np.uint16)


def bad_shot(kind: str, folder: Path) -> Path:
    path = folder / "shot.tif"
    if kind == "small":
        return saved(path, exposed(scene(0), 0)[:31])
    if kind == "too small to part":
        return saved(path, exposed(scene(0), 0)[:40, :40])
    if kind == "colour":
        tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    elif kind == "noiseless":
        ramp = np.repeat(np.arange(64, dtype=np.uint16)[:, None], 64, axis=1)
        return saved(path, 1000 * (ramp // 16))
    elif kind == "enhanced":
        step = Step("longexposure", "1", "enhance", {"model": "fast"})
        write_radiograph(replace(Radiograph(exposed(scene(0), 0)), history=(step,)), path)
    return path


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("small", "expected at least 32 x 32 px"),
        ("too small to part", "along one side of a single image"),
        ("colour", "colour"),
        ("noiseless", "noise"),
        ("enhanced", "enhanced before"),
        ("missing", "shot.tif"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(kind: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_shots(config(bad_shot(kind, tmp_path)), seed=0)
    assert found in str(caught.value)
    assert "shot.tif" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder with images"):
        load_shots(config(tmp_path), seed=0)


def test_a_calibration_for_other_images_is_refused_by_the_files_name(four: list[Path]) -> None:
    calibration = four[0].with_name("other.toml")
    calibration.write_text(
        'format = 1\ndtype = "uint8"\n[noise]\nlevel = 100.0\nsigma = 3.0\ncorr_x = 0.0\ncorr_y = 0.0\n'
        '[measured]\nsource = "flats"\ngrey = [50.0, 200.0]\nframes = 4\nsize_px = [64, 64]\n'
        'version = "0.1.0"\ndate = "2026-01-31"\n'
    )
    with pytest.raises(LongExposureError, match=r"0\.tif: noise of other\.toml.*uint8.*uint16"):
        load_shots(config(*four, noise=str(calibration)), seed=0)
