"""The default model against filters that know more than it does, and the bench that compares them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from quality import (
    CASES,
    CONDITIONS,
    FRAMES,
    PEERS,
    SPREAD,
    Median,
    TotalVariation,
    along_lines,
    anscombe,
    averaged,
    best,
    examples,
    filters,
    halves,
    inverse_anscombe,
    measured_profile,
    merged,
    peers,
    score,
    told,
    wrong,
)
from scipy.ndimage import gaussian_filter, median_filter
from skimage.restoration import denoise_tv_chambolle

from longexposure.enhance.enhancer import Enhancer
from longexposure.metrics import psnr
from longexposure.models.classical import Gaussian, NonLocalMeans
from longexposure.noise import NoiseProfile


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["20 quanta, white", "3000 quanta, white", "100 quanta, blurred by the screen"]
)
def test_blind_it_beats_the_best_gaussian_and_the_best_non_local_means(
    name: str, default_enhancer: Enhancer
) -> None:
    pairs = examples(CASES[name], count=4, size=192, seed=90_000)
    ours = score(pairs, lambda pair: default_enhancer.enhance(pair.lq))
    for candidates in (
        {w: partial(told, Enhancer(Gaussian(sigma_px=w), name="filter")) for w in (0.6, 1.0, 1.7, 2.5)},
        {k: partial(told, Enhancer(NonLocalMeans(strength=k), name="filter")) for k in (0.6, 0.8, 1.0)},
    ):
        theirs = best(pairs, candidates)
        assert ours["psnr"] > theirs["psnr"]
        assert ours["ssim"] > theirs["ssim"]


@pytest.mark.parametrize("sigma", [20.0, 200.0, 2000.0])
def test_the_mean_of_a_large_flat_area_stays_within_0_15_percent_of_full_contrast(
    sigma: float, default_enhancer: Enhancer
) -> None:
    random = np.random.default_rng(4)
    scene = np.full((256, 256), 20000.0)
    scene[:, :64] = 12000.0
    scene[96:192, 112:224] = 28000.0
    noisy = np.rint(scene + sigma * random.standard_normal(scene.shape)).astype(np.uint16)
    enhanced = default_enhancer.enhance(noisy)
    for area in (np.s_[8:248, 6:58], np.s_[104:184, 120:216], np.s_[8:80, 80:248]):
        moved = enhanced[area].mean(dtype=float) - noisy[area].mean(dtype=float)
        assert abs(moved) < 0.0015 * 16000


@pytest.mark.parametrize(("sigma_greys", "most_lost_db"), [(0.3, 0.05), (0.6, 0.0), (1.0, 0.0)])
def test_an_image_that_is_nearly_clean_loses_nothing(
    sigma_greys: float, most_lost_db: float, default_enhancer: Enhancer
) -> None:
    """Noise of 0.3 to 1 grey value of 255, in 16 bits; at 0.3 one scene of these loses 0.004 dB."""
    scenes = examples(CASES["30000 quanta, white"], count=3, size=192, seed=91_000)
    for seed, scene in enumerate(scenes):
        clean = (5000 + 50000 * scene.clean / scene.data_range).astype(np.float32)
        noise = sigma_greys / 255 * 50000 * np.random.default_rng(seed).standard_normal(clean.shape)
        noisy = np.clip(np.rint(clean + noise), 0, 65535).astype(np.uint16)
        after = psnr(default_enhancer.enhance(noisy), clean, data_range=50000)
        assert after > psnr(noisy, clean, data_range=50000) - most_lost_db


def test_the_peers_compute_what_scipy_and_scikit_image_compute() -> None:
    tile = np.random.default_rng(6).random((1, 48, 40)).astype(np.float32)
    noise_condition = np.array([0.1, 0, 0, 0, 0], dtype=np.float32)
    np.testing.assert_array_equal(
        Median(size_px=5).run(tile, noise_condition)[0], median_filter(tile[0], size=5)
    )
    expected = denoise_tv_chambolle(tile[0], weight=0.12, eps=1e-5, max_num_iter=200)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(
        TotalVariation(strength=1.2).run(tile, noise_condition)[0], expected, rtol=1e-5
    )


def test_filters_as_peers_leave_an_image_without_noise_nearly_alone() -> None:
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0)).astype(np.float32)
    noise = NoiseProfile(level=64.0, sigma=1e-4)
    for name, engines in filters().items():
        gentlest = Enhancer(next(iter(engines.values())), name=name).enhance(ramp, noise=noise)
        assert abs(gentlest - ramp)[8:-8, 8:-8].max() < 0.1, name


def test_noise_of_known_strength_slope_and_correlation_is_measured_from_copies() -> None:
    random = np.random.default_rng(7)
    clean = np.tile(np.linspace(100.0, 900.0, 200), (200, 1))
    noise = np.sqrt(50 + 0.2 * clean) * along_lines((6, 200, 200), 0.5, random)
    found = measured_profile(clean + noise, clean)
    np.testing.assert_allclose(found.variance([200.0, 800.0]), [90.0, 210.0], rtol=0.03)
    assert found.corr_x == pytest.approx(0.5, abs=0.02)
    assert found.corr_y == pytest.approx(0.0, abs=0.02)


def test_noise_told_too_strong_is_so_at_every_grey_value() -> None:
    noise = NoiseProfile(level=500.0, sigma=20.0, slope=0.5, corr_x=0.3)
    greys = np.array([100.0, 500.0, 900.0])
    np.testing.assert_allclose(wrong(noise, 1.5).variance(greys), 2.25 * noise.variance(greys))
    assert wrong(noise, 1.5).corr_x == 0.3


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_a_function_of_its_seed_and_spoils_what_it_says(name: str) -> None:
    clean = np.tile(np.linspace(0.2, 0.9, 96), (96, 1))
    first, again = (CONDITIONS[name](clean, np.random.default_rng(8)) for _ in range(2))
    np.testing.assert_array_equal(first.lq, again.lq)
    assert first.lq.dtype in (np.uint8, np.uint16)
    before = psnr(first.faultless, first.clean, data_range=first.data_range)
    assert 15 < before < 20 * np.log10(1 / (0.2 * SPREAD))
    faulty = np.count_nonzero(first.lq != first.faultless)
    assert (faulty > 0) == any(word in name for word in ("hot", "zingers"))


def test_the_distance_from_an_independent_copy_ranks_as_the_truth_does() -> None:
    """A picture with edges, without faults and of white noise, so that all that `halves` assumes holds."""
    random = np.random.default_rng(9)
    clean = gaussian_filter(np.sign(gaussian_filter(random.standard_normal((256, 256)), 2.0)), 1.0)
    clean = 20000 + 3000 * clean / clean.std()
    noise = 1500.0
    pixels = np.rint(clean + noise * random.standard_normal(clean.shape)).astype(np.uint16)
    parts = halves(pixels, 0)
    assert parts.noise.sigma == pytest.approx(noise * np.sqrt(2), rel=0.1)
    for width in (0.5, 1.0, 2.0, 4.0):
        image = gaussian_filter(parts.lq.astype(float), width)
        truly = np.mean((image - clean)[parts.judged] ** 2)
        seen = np.mean((image - parts.other)[parts.judged] ** 2) - 2 * noise**2
        assert seen == pytest.approx(truly, abs=0.12 * noise**2), width


@pytest.mark.parametrize("name", ["100 quanta, white", "test split of S1"])
def test_frames_that_are_averaged_are_of_one_scene_and_of_independent_noise(name: str) -> None:
    pairs = examples(CASES[name], count=1, size=96, seed=90_000)
    np.testing.assert_array_equal(pairs[0].again(1), pairs[0].again(1))
    frames = [image["psnr"] for image in averaged(pairs).values()]
    assert len(frames) == len(FRAMES)
    assert frames[0] == pytest.approx(score(pairs, lambda pair: pair.lq)["psnr"] + 3, abs=1)
    assert frames == sorted(frames)


def test_a_peer_that_is_not_installed_is_named_in_one_line_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("quality.find_spec", lambda package: None)
    assert peers() == {}
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is left out")[0] for line in lines] == list(PEERS)
    assert ["pyoidn" in lines[0], "bmnd" in lines[1]] == [True, True]


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_takes_noise_out(name: str) -> None:
    package, make = PEERS[name]
    pytest.importorskip(package)
    clean = np.kron(np.array([[2000.0, 6000.0], [9000.0, 4000.0]]), np.ones((48, 48)))
    noise = NoiseProfile(level=5000.0, sigma=500.0, slope=50.0)
    noisy = clean + np.sqrt(noise.variance(clean)) * np.random.default_rng(10).standard_normal(clean.shape)
    enhanced = Enhancer(make(), name=name).enhance(noisy.astype(np.float32), noise=noise)
    assert psnr(enhanced, clean, data_range=9000) > psnr(noisy, clean, data_range=9000) + 6


def test_the_anscombe_transform_evens_quantum_noise_out_and_its_inverse_keeps_the_mean() -> None:
    gain, constant = 3.0, 20.0
    random = np.random.default_rng(11)
    for quanta in (4.0, 30.0):
        grey = gain * random.poisson(quanta, 200_000) + np.sqrt(constant) * random.standard_normal(200_000)
        even = anscombe(grey, gain, constant)
        assert even.std() == pytest.approx(1, abs=0.06)
        back = inverse_anscombe(np.array([even.mean()]), gain, constant)
        assert back[0] == pytest.approx(gain * quanta, rel=0.02)


def test_what_is_not_measured_again_stays() -> None:
    before = {"host": 1, "cases": {"a": {"methods": {"fast": 1, "frames": 2}}, "b": {}}}
    assert merged(before, {"cases": {"a": {"methods": {"frames": 3}}}}) == {
        "host": 1,
        "cases": {"a": {"methods": {"fast": 1, "frames": 3}}, "b": {}},
    }
