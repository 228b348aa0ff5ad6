"""The guard: erasures and inventions are found, noise is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from longexposure import load_enhancer, read_radiograph, write_radiograph
from longexposure.enhance import guard
from longexposure.enhance.bad_pixels import SINGLE, BadPixels
from longexposure.enhance.enhancer import Enhancer
from longexposure.enhance.files import enhance_files
from longexposure.enhance.flags import MOST_TOLD, Flag, flags_in, in_words, recorded
from longexposure.enhance.guard import LEAST_ROWS, THRESHOLD, _responses, _sums, flags_of
from longexposure.enhance.statistics import ImageStatistics, examine
from longexposure.models.classical import Gaussian
from longexposure.noise import NoiseProfile
from longexposure.radiograph import Radiograph

N = 1024
SIGMA = 300.0
LEVEL = 20000.0
NOISES = ("white", "with the signal", "along lines")


def scene() -> np.ndarray:
    """Lines of 4 px on a slope, and flat ground."""
    y, x = np.mgrid[:N, :N]
    lines = 8000.0 * ((y % 24 < 4) & (x > N // 2))
    return ndimage.gaussian_filter(LEVEL + 4 * x + lines, 0.6)


def noise_of(kind: str, clean: np.ndarray, seed: int) -> tuple[np.ndarray, NoiseProfile]:
    """Noise of one deviation, and what a measurement would find."""
    white = np.random.default_rng(seed).normal(size=clean.shape)
    if kind == "with the signal":
        told = NoiseProfile(level=LEVEL, sigma=SIGMA, slope=SIGMA**2 / LEVEL)
        return white * np.sqrt(told.variance(clean)), told
    if kind == "along lines":
        beside = np.array([0.268, 1, 0.268])
        white = ndimage.convolve1d(white, beside / np.linalg.norm(beside), axis=1)
        return SIGMA * white, NoiseProfile(level=LEVEL, sigma=SIGMA, corr_x=0.5)
    return SIGMA * white, NoiseProfile(level=LEVEL, sigma=SIGMA)


def seen(kind: str, clean: np.ndarray, seed: int = 0) -> tuple[np.ndarray, ImageStatistics]:
    noise, told = noise_of(kind, clean, seed)
    page = np.rint(clean + noise).clip(0, 65535).astype(np.uint16)
    found = examine(page, told)
    nowhere = np.zeros(0, np.intp)
    faultless = BadPixels(nowhere, nowhere, np.zeros(0, np.float32), np.zeros(0, np.uint8), ())
    return page, replace(found, bad_pixels=faultless)


def shapes() -> dict[str, np.ndarray]:
    """A void of 6 px, a gap of 3 px in a line of 4, strokes of 1.5 x 12 px, as the detector sees them."""
    y, x = (each / 4 for each in np.mgrid[-34:34, -34:34])
    drawn = {"void": x**2 + y**2 < 9, "gap": (abs(x) < 1.5) & (abs(y) < 2)}
    for angle in (0, 30, 45, 60, 90, 135):
        turn = np.deg2rad(angle)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        drawn[f"stroke, {angle} degrees"] = (abs(along) < 6) & (abs(across) < 0.75)
    return {name: each.reshape(17, 4, 17, 4).mean((1, 3)) for name, each in drawn.items()}


def planted(noise: NoiseProfile, clean: np.ndarray, sign: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Every shape many times, at 3 standard deviations of the noise, on a grid."""
    added, places = np.zeros_like(clean), []
    several = list(shapes().values())
    for number, (y, x) in enumerate((y, x) for y in range(30, N - 30, 60) for x in range(30, N - 30, 60)):
        box = slice(y - 8, y + 9), slice(x - 8, x + 9)
        added[box] = sign * 3 * np.sqrt(noise.variance(clean[y, x])) * several[number % len(several)]
        places.append((y, x))
    return added, places


def near(flags: tuple[Flag, ...], y: int, x: int) -> list[Flag]:
    return [
        each
        for each in flags
        if each.y - 8 <= y <= each.y + each.height + 8 and each.x - 8 <= x <= each.x + each.width + 8
    ]


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("sign", [-1, 1], ids=["darker", "brighter"])
def test_19_of_20_erasures_and_inventions_are_found(kind: str, sign: int) -> None:
    clean = scene()
    _, told = noise_of(kind, clean, 0)
    added, places = planted(told, clean, sign)
    page, found = seen(kind, clean + added)  # in the data, and not in the enhanced image: erased
    erased = flags_of(page, clean.astype(np.uint16), found)
    page, found = seen(kind, clean, seed=1)  # the other way round: invented
    invented = flags_of(page, (clean + added).astype(np.uint16), found)
    for flags, says in ((erased, sign), (invented, -sign)):
        hit = [near(flags, y, x) for y, x in places]
        assert np.mean([bool(each) for each in hit]) >= 0.95
        said = [max(each, key=lambda flag: flag.deviations).data for each in hit if each]
        assert np.mean([word == ("brighter" if says > 0 else "darker") for word in said]) > 0.99


@pytest.mark.parametrize("kind", NOISES)
def test_what_is_noise_is_flagged_less_than_once_a_megapixel(kind: str) -> None:
    clean, count = scene(), 4
    flags = [
        flags_of(page, clean.astype(np.uint16), found)
        for page, found in (seen(kind, clean, s) for s in range(count))
    ]
    assert sum(map(len, flags)) <= count * N**2 / 1e6


def test_a_whole_default_enhancement_of_noise_is_not_flagged(default_enhancer: Enhancer) -> None:
    page, found = seen("white", np.full((N, N), LEVEL))
    enhanced, [statistics] = default_enhancer.enhance_pages(page, statistics=[found], guard=True)
    assert statistics.flags is not None
    assert len(statistics.flags) <= 1
    added, places = planted(found.noise, np.full((N, N), LEVEL), -1)
    flags = flags_of(page, (enhanced + added).astype(np.uint16), found)
    assert np.mean([bool(near(flags, y, x)) for y, x in places]) >= 0.95


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 12])
@pytest.mark.parametrize("axis", [0, 1])
def test_sums_are_those_of_windows(length: int, axis: int) -> None:
    values = np.random.default_rng(0).random((40, 30), dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values, length, axis)
    np.testing.assert_allclose(_sums(values, length, axis), windows.sum(-1), rtol=1e-5)


def test_every_response_lies_where_its_shape_is() -> None:
    white = np.zeros((61, 61), np.float32)
    white[30, 30] = 1
    for name, response, (row, column) in _responses(white):
        y, x = np.nonzero(response)
        assert abs(y.mean() + row - 30) <= 0.5, name
        assert abs(x.mean() + column - 30) <= 0.5, name


def test_strips_meet_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = np.full((3 * LEAST_ROWS + 20, 256), LEVEL)
    added = np.zeros_like(clean)
    added[LEAST_ROWS - 3 : LEAST_ROWS + 3, 100:106] = 3 * SIGMA
    added[2 * LEAST_ROWS - 8 : 2 * LEAST_ROWS - 2, 20:26] = -3 * SIGMA
    page, found = seen("white", clean + added)
    whole = flags_of(page, clean.astype(np.uint16), found)
    assert len(whole) == 2
    assert any(flag.y < LEAST_ROWS < flag.y + flag.height for flag in whole)
    monkeypatch.setattr(guard, "STRIP_PX", 1)
    assert flags_of(page, clean.astype(np.uint16), found) == whole


def test_faulty_pixels_and_what_is_set_aside_are_no_flags() -> None:
    clean = np.full((256, 256), LEVEL)
    page, found = seen("white", clean)
    y, x = (each.ravel() for each in np.mgrid[100:104, 100:104])
    page[y, x] = 0
    assert len(flags_of(page, clean.astype(np.uint16), found)) == 1
    bad = BadPixels(y, x, np.full(len(y), LEVEL), np.full(len(y), SINGLE, np.uint8), ())
    assert flags_of(page, clean.astype(np.uint16), replace(found, bad_pixels=bad)) == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_it_looks_at_every_type_and_at_less_than_full_strength(dtype: type) -> None:
    level, sigma = (120, 5) if dtype is np.uint8 else (LEVEL, SIGMA)
    clean = np.full((256, 256), float(level))
    clean[100:106, 100:106] -= 4 * sigma
    noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
    page: np.ndarray = (noisy if dtype is np.float32 else np.rint(noisy)).astype(dtype)
    found = examine(page, NoiseProfile(level=level, sigma=sigma))
    half: np.ndarray = (0.5 * page + 0.5 * level).astype(dtype)
    [flag] = flags_of(page, half, found)
    assert flag.data == "darker"
    assert flags_of(page, page, found) == ()
    assert flags_of(page[:20], half[:20], found) == ()


def test_flags_go_into_history_json_table_and_warnings(tmp_path: Path) -> None:
    clean = np.full((512, 512), LEVEL)
    for y, x in ((y, x) for y in range(40, 500, 80) for x in range(40, 500, 80)):
        clean[y : y + 5, x : x + 5] -= 8 * SIGMA
    page, _ = seen("white", ndimage.gaussian_filter(clean, 1.0))
    write_radiograph(Radiograph(page), tmp_path / "a.tif")
    smeared = Enhancer(Gaussian(sigma_px=4), name="smeared")
    [result] = enhance_files([tmp_path / "a.tif"], tmp_path / "out", smeared, guard=True)
    assert result.flags is not None
    assert result.flags >= 30
    assert result.as_row()["flags"] == result.flags == result.as_dict()["flags"]
    strongest = result.as_dict()["strongest_flags"]
    assert strongest[0]["deviations"] == max(each["deviations"] for each in strongest) > THRESHOLD
    [page_told] = read_radiograph(tmp_path / "out" / "a.tif").history[-1].settings["pages"]
    assert page_told["flags"]["count"] == result.flags
    assert f"{result.flags} places where what was taken away is not noise" in " ".join(result.warnings)
    [again] = enhance_files([tmp_path / "a.tif"], tmp_path / "out", smeared, guard=True)
    assert (again.status, again.flags) == ("skipped", result.flags)
    [unguarded] = enhance_files([tmp_path / "a.tif"], tmp_path / "plain", smeared)
    assert (unguarded.flags, unguarded.as_dict()["strongest_flags"]) == (None, [])
    assert "flags" not in unguarded.as_row()
    [late] = enhance_files([tmp_path / "a.tif"], tmp_path / "plain", smeared, guard=True)
    assert "guard None, not True" in str(late.error)


def test_a_history_holds_the_strongest_and_counts_all() -> None:
    flags = [Flag(0, number, 1, 1, 300.0 - number, "darker") for number in range(MOST_TOLD + 50)]
    told = recorded(flags)
    assert (told["count"], len(told["strongest"])) == (MOST_TOLD + 50, MOST_TOLD)
    assert flags_in([{}, {"flags": told}]) == (
        MOST_TOLD + 50,
        [{"page": 2, **each} for each in told["strongest"]],
    )
    assert flags_in([{}, {}]) is None
    assert "one place where" in in_words(1, {"page": 1, **told["strongest"][0]}, pages=1)
    assert "on page 2" in in_words(9, {"page": 2, **told["strongest"][0]}, pages=3)


def test_arrays_and_radiographs_are_enhanced_to_the_same_pixels_with_it() -> None:
    page, _ = seen("white", scene()[:256, :256])
    enhancer = load_enhancer("gaussian")
    plain, guarded = enhancer.enhance(Radiograph(page)), enhancer.enhance(Radiograph(page), guard=True)
    np.testing.assert_array_equal(plain.pixels, guarded.pixels)
    assert "flags" in guarded.history[-1].settings["pages"][0]
    assert "flags" not in plain.history[-1].settings["pages"][0]
