"""Pairs: what both exposures have in common, what sets them apart, and that the truth about them is true."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from quick import BALL_GRID
from scipy import ndimage

from longexposure.errors import RecipeError
from longexposure.simulation.exposure import Acquisition, draw_acquisition, draw_pair, prepare_acquisition
from longexposure.simulation.geometry.primitives import Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.machine import Machine, load_machine
from longexposure.simulation.random_source import NumpyRandom, TorchRandom
from longexposure.simulation.scenes.catalogue import SCENES

PLAIN = (
    BALL_GRID.replace('"small"', '"plain"')
    .replace("height = 48\nwidth = 64", "height = 64\nwidth = 80")
    .replace("pitch_um = 200\n", "pitch_um = 200\nopen_fraction = 0.5\n")
)
"""Quanta alone."""

PANEL = """
[screen]
f50_lp_mm = 1.4
glare = 0.05
[shading]
heel = 0.05
falloff = 3
[panel]
frame_s = 0.5
read_noise = 60
row_noise = 20
offset = 1500
pixel_gain = 0.01
flat_frames = 20
gain_drift = 0.004
lag = 0.02
"""

FEW = PLAIN.replace("current_ua = 30", "current_ua = 0.1") + "[panel]\nbits = 8\nflat_frames = 2\n"
"""So few quanta that an 8-bit image shows their noise; the pattern of few flats shows as well."""

VIDEO = """
[screen]
f50_lp_mm = 1.0
[panel]
bits = "none"
[video]
white = 50000
gamma = 0.8
line_lag = 0.3
field_mix = 0.2
noise = 0.02
noise_lag = 0.4
frame_s = 0.04
most_frames = 4
bits = 8
stored_bits = 8
"""

EMPTY = Scene("empty", (), (), {})


def _machine(path: Path, text: str = PLAIN, *overrides: str) -> Machine:
    file = path / "own.toml"
    file.write_text(text.replace('bits = "none"\n', ""))
    return load_machine(file, overrides)


def _acquisition(
    machine: Machine, *, seed: int = 0, scene: Scene = EMPTY, shape: tuple[int, int] | None = None
) -> Acquisition:
    parameters = machine.parameters(np.random.default_rng(0))
    return prepare_acquisition(parameters, scene, parameters.view(shape), panel_seed=seed)


def _exposed(acquisition: Acquisition, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeats of both exposures, (count, H, W) float64."""
    pairs = [acquisition.expose(NumpyRandom((n, 0)), NumpyRandom((n, 1))) for n in range(count)]
    return tuple(np.stack(images).astype(np.float64) for images in zip(*pairs, strict=True))  # type: ignore[return-value]


@pytest.fixture
def plain(tmp_path: Path) -> Machine:
    return _machine(tmp_path)


def test_equal_arguments_give_equal_pairs_and_others_give_others(plain: Machine) -> None:
    first, again = (draw_pair(plain, seed=3, index=1) for _ in range(2))
    for name in ("lq", "hq", "clean"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.truth() == again.truth()
    others = [
        draw_pair(plain, seed=4, index=1),
        draw_pair(plain, seed=3, index=2),
        draw_pair(plain, seed=3, index=1, split="train"),
    ]
    for other in others:
        assert other.scene != first.scene
        assert not np.array_equal(other.clean, first.clean)


def test_train_and_test_never_have_a_scene_in_common(plain: Machine) -> None:
    scenes = [
        draw_acquisition(plain, key=(0, split, index), size_px=(16, 16)).scene
        for split in (0, 1)
        for index in range(12)
    ]
    assert len({repr(scene) for scene in scenes}) == 24


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_images_have_the_machines_size_and_depth(tmp_path: Path, bits: int, kind: type) -> None:
    pair = draw_pair(_machine(tmp_path, PLAIN, f"panel.bits={bits}"), seed=0, index=0)
    for image in (pair.lq, pair.hq):
        assert (image.shape, image.dtype) == ((64, 80), kind)
        assert image.max() <= 2**bits - 1
    assert (pair.clean.shape, pair.clean.dtype) == ((64, 80), np.float32)
    assert 0.2 < pair.clean.max() / (2**bits - 1) < 0.5


def test_a_video_machine_stores_whole_numbers_of_its_own_depth(tmp_path: Path) -> None:
    pair = draw_pair(_machine(tmp_path, PLAIN + VIDEO), seed=0, index=0)
    assert pair.lq.dtype == np.uint8
    assert pair.lq.std() > 3


def test_clean_is_the_expectation_of_both_exposures(tmp_path: Path) -> None:
    machine = _machine(
        tmp_path, PLAIN + "[screen]\nf50_lp_mm = 1.4\n[panel]\nread_noise = 60\noffset = 1500\n"
    )
    acquisition = draw_acquisition(machine, key=(0, 1, 0))
    count = 60
    for images in _exposed(acquisition, count):
        errors = (images.mean(0) - acquisition.clean) / (images.std(0) / count**0.5)
        assert abs(errors.mean()) < 0.1
        assert 0.9 < errors.std() < 1.15


def test_pure_quanta_differ_in_noise_by_the_root_of_the_times(plain: Machine) -> None:
    acquisition = draw_acquisition(plain, key=(0, 1, 0))
    short, long = (images - acquisition.clean for images in _exposed(acquisition, 40))
    assert short.std() / long.std() == pytest.approx((90 / 5) ** 0.5, rel=0.01)
    assert abs((short * long).mean() / (short.std() * long.std())) < 0.01


def test_noise_of_pure_quanta_follows_their_number_and_the_swank_factor(plain: Machine) -> None:
    acquisition = _acquisition(plain)
    short, _ = _exposed(acquisition, 40)
    parameters = acquisition.parameters
    snr_squared = parameters.quanta_per_px_s * 5 * parameters.swank
    assert (short.mean() / short.std()) ** 2 == pytest.approx(snr_squared, rel=0.02)


def test_a_shared_exposure_is_part_of_the_long_one(tmp_path: Path) -> None:
    acquisition = _acquisition(_machine(tmp_path, PLAIN, "exposures.shared=true"))
    short, long = (images - acquisition.clean for images in _exposed(acquisition, 40))
    assert (short * long).mean() / (short.std() * long.std()) == pytest.approx((5 / 90) ** 0.5, abs=0.01)
    assert short.std() / long.std() == pytest.approx((90 / 5) ** 0.5, rel=0.01)


def test_a_shared_exposure_as_long_as_the_long_one_is_the_long_one(tmp_path: Path) -> None:
    acquisition = _acquisition(_machine(tmp_path, PLAIN, "exposures.shared=true", "exposures.long_s=5"))
    short, long = _exposed(acquisition, 1)
    assert np.array_equal(short, long)


def test_drift_dims_the_short_exposure_alone(tmp_path: Path) -> None:
    machine = _machine(tmp_path, PLAIN, "exposures.drift=-0.03", "panel.offset=2000")
    acquisition = draw_acquisition(machine, key=(0, 1, 0))
    short, long = (images.mean() - 2000 for images in _exposed(acquisition, 10))
    expected = acquisition.clean.mean() - 2000
    assert short / expected == pytest.approx(0.97, abs=5e-4)
    assert long / expected == pytest.approx(1.0, abs=2e-4)


def test_the_shift_moves_the_long_exposure_by_exactly_that(tmp_path: Path) -> None:
    lines = (
        "exposures.shift_x_px=1.5",
        "exposures.shift_y_px=-0.7",
        "tube.current_ua=50000",
        "geometry.focal_spot_um=15",
    )
    acquisition = draw_acquisition(_machine(tmp_path, PLAIN, *lines), key=(0, 1, 0))
    short, long = _exposed(acquisition, 1)
    inner = (slice(8, -8), slice(8, -8))

    def missed(y: float, x: float) -> float:
        moved = ndimage.shift(acquisition.clean, (y, x), order=5, mode="mirror")
        return float(np.abs(long[0] - moved)[inner].mean())

    there = missed(-0.7, 1.5)
    assert there < 0.1 * missed(0, 0)
    assert there < min(missed(-0.6, 1.5), missed(-0.8, 1.5), missed(-0.7, 1.4), missed(-0.7, 1.6))
    assert np.abs(short[0] - acquisition.clean)[inner].mean() < 0.1 * missed(0, 0)


def test_the_defect_free_image_is_clean_but_for_the_defects(tmp_path: Path) -> None:
    machine = _machine(tmp_path, PLAIN, "image.height=200", "image.width=200", "screen.f50_lp_mm=1.4")
    found = 0
    for index in range(3):
        pair = draw_pair(machine, seed=0, index=index, defects=True)
        assert pair.defect_free is not None
        assert pair.mask is not None
        assert pair.defects
        difference = np.abs(pair.defect_free - pair.clean)
        near = ndimage.binary_dilation(pair.mask > 0, iterations=12)
        assert difference[~near].max() < 0.02 * difference.max()
        for number, seen in enumerate(pair.defects, start=1):
            if (pair.mask == number).any() and abs(seen.contrast) > 0.05:
                found += 1
                inside = pair.mask == number
                assert difference[inside].max() > 10 * np.median(difference[~near]) + 1
                x, y, width, height = seen.box_px
                rows, columns = np.nonzero(inside)
                assert x <= columns.min() <= columns.max() < x + width
                assert y <= rows.min() <= rows.max() < y + height
    assert found >= 2


def test_without_its_defects_a_pair_has_the_same_scene_parameters_and_brightness(tmp_path: Path) -> None:
    machine = _machine(tmp_path, PLAIN, "geometry.source_object_mm={uniform=[40, 60]}")
    bare, faulty = (draw_pair(machine, seed=2, index=5, defects=defects) for defects in (False, True))
    assert bare.parameters == faulty.parameters
    assert bare.scene.facts == faulty.scene.facts
    assert np.abs(faulty.defect_free / bare.clean - 1).max() < 2e-3
    assert (bare.defect_free, bare.mask, bare.defects) == (None, None, ())


def test_the_truth_is_json_with_everything_that_was_drawn(tmp_path: Path) -> None:
    machine = _machine(
        tmp_path,
        PLAIN,
        "geometry.source_object_mm={uniform=[40, 60]}",
        'tube.filters=[{material="Al", thickness_mm={log=[0.1, 1]}}]',
    )
    pair = draw_pair(machine, seed=0, index=0, defects=True)
    truth = json.loads(json.dumps(pair.truth(), allow_nan=False))
    assert truth["drawn"] == {
        "geometry.source_object_mm": pair.parameters.geometry.source_object_mm,
        "tube.filters.0.thickness_mm": pair.parameters.tube.filters[0].thickness_mm,
    }
    assert truth["pixel_um"] == pair.parameters.pixel_um
    assert truth["quanta_per_px"]["HQ"] == pytest.approx(18 * truth["quanta_per_px"]["LQ"])
    assert len(truth["defects"]) == len(pair.defects) > 0
    assert truth["scene"]["kind"] == "bga"


@pytest.mark.parametrize("kind", SCENES)
def test_the_facts_of_every_scene_are_json(kind: str) -> None:
    low, high = SCENES[kind].pixel_um
    view = View(height=64, width=64, pixel_um=(low * high) ** 0.5)
    facts = SCENES[kind].builder(np.random.default_rng(0), view=view).facts
    json.dumps(dict(facts), allow_nan=False)


def _noise(
    machine: Machine, level: float, count: int, shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Mean, variance and correlations of short exposures of an even image on `count` panels."""
    found = []
    for seed in range(count):
        acquisition = _acquisition(machine, seed=seed, shape=shape)
        even = replace(
            acquisition, arriving=np.full(shape, level, np.float32), beam=np.ones(shape, np.float32)
        )
        crops = even.crops([(0, 0)], shape[0], rng=NumpyRandom(seed), long=False)
        found.append((crops.short - crops.clean)[0].astype(np.float64))
        mean = float(crops.clean.mean())
    noise = np.stack(found)
    noise -= noise.mean()  # what lag leaves of the open beam
    variance = float(noise.var())
    along_x, along_y = (
        (a * b).mean() / variance
        for a, b in ((noise[..., 1:], noise[..., :-1]), (noise[:, 1:], noise[:, :-1]))
    )
    return mean, variance, float(along_x), float(along_y)


@pytest.mark.parametrize("text", [PLAIN + PANEL, PLAIN + VIDEO, FEW], ids=["panel", "video", "eight bits"])
def test_the_true_profile_is_what_repeats_on_many_panels_show(tmp_path: Path, text: str) -> None:
    shape = (64, 64)
    machine = _machine(tmp_path, text)
    acquisition = _acquisition(machine, shape=shape)
    acquisition = replace(acquisition, arriving=np.full(shape, 0.5, np.float32))
    profile = acquisition.noise
    mean, variance, along_x, along_y = _noise(machine, 0.5, 80, shape)
    assert profile.level == pytest.approx(mean, rel=0.01)
    assert profile.sigma == pytest.approx(variance**0.5, rel=0.03)
    assert profile.corr_x == pytest.approx(along_x, abs=0.02)
    assert profile.corr_y == pytest.approx(along_y, abs=0.02)
    below, above = (_noise(machine, level, 80, shape) for level in (0.4, 0.6))
    slope = (above[1] - below[1]) / (above[0] - below[0])
    assert profile.slope == pytest.approx(slope, rel=0.1, abs=0.02 * variance / mean)


def test_exposures_of_whole_fields_have_the_noise_of_the_profile(tmp_path: Path) -> None:
    machine = _machine(tmp_path, PLAIN + PANEL, "shading.heel=0", "shading.falloff=0")
    noise = np.stack([
        acquisition.expose_short(NumpyRandom(seed)) - acquisition.clean
        for seed in range(60)
        if (acquisition := _acquisition(machine, seed=seed))
    ])  # fmt: skip
    profile = _acquisition(machine).noise
    assert noise.std() == pytest.approx(profile.sigma, rel=0.03)
    assert (noise[..., 1:] * noise[..., :-1]).mean() / noise.var() == pytest.approx(profile.corr_x, abs=0.02)


def test_crops_are_pieces_of_the_scene_exposed_as_the_whole_is(tmp_path: Path) -> None:
    machine = _machine(
        tmp_path, PLAIN + PANEL.replace("lag = 0.02\n", ""), "image.height=128", "image.width=160"
    )
    acquisition = draw_acquisition(machine, key=(0, 1, 0))
    corners = [(0, 0), (13, 70), (80, 112), (40, 56)]
    runs = [acquisition.crops(corners, 48, rng=NumpyRandom(n)) for n in range(60)]
    whole = acquisition.clean
    for n, (y, x) in enumerate(corners):
        piece = whole[y : y + 48, x : x + 48]
        assert np.abs(runs[0].clean[n] / piece - 1).max() < 0.02
        assert np.abs(runs[0].clean[n] / piece - 1).mean() < 2e-3
    for name, exposed in zip(("short", "long"), _exposed(acquisition, 60), strict=True):
        crops = np.stack([getattr(run, name) - run.clean for run in runs])
        pieces = np.stack([(exposed - whole)[:, y : y + 48, x : x + 48] for y, x in corners], 1)
        spread = [(images - images.mean(0)).var(0).mean() for images in (crops, pieces)]
        # Each crop has a panel of its own, so that its fixed pattern varies as well.
        pattern = (pieces.mean(0)).var() if name == "short" else None
        if pattern is not None:
            assert spread[0] == pytest.approx(spread[1] + pattern, rel=0.05)
        assert abs(crops.mean()) < 0.002 * whole.mean()


def test_a_crop_as_large_as_the_scene_is_the_scene(plain: Machine) -> None:
    acquisition = draw_acquisition(plain, key=(0, 1, 0), size_px=(48, 48))
    crops = acquisition.crops([(0, 0)], 48, rng=NumpyRandom(0))
    assert crops.short.shape == (1, 48, 48)
    assert np.allclose(crops.clean[0], acquisition.clean, rtol=1e-5)


def test_crops_leave_out_the_long_exposure_and_carry_the_drift(tmp_path: Path) -> None:
    acquisition = draw_acquisition(_machine(tmp_path, PLAIN, "exposures.drift=0.03"), key=(0, 1, 0))
    crops = acquisition.crops([(0, 0), (8, 8)], 32, rng=NumpyRandom(0), long=False)
    assert crops.long is None
    assert crops.clean[1] == pytest.approx(1.03 * acquisition.clean[8:40, 8:40], rel=1e-4)
    assert (crops.short - crops.clean).mean() / crops.short.std() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("text", [PLAIN + PANEL, PLAIN + VIDEO], ids=["panel", "video"])
def test_tensors_give_what_arrays_give(tmp_path: Path, text: str) -> None:
    acquisition = draw_acquisition(_machine(tmp_path, text), key=(0, 1, 0))
    corners = [(0, 0), (10, 20)]
    rng = TorchRandom(torch.Generator().manual_seed(0))
    there = acquisition.on_device(rng)
    runs = [there.crops(corners, 40, rng=rng) for _ in range(40)]
    here = [acquisition.crops(corners, 40, rng=NumpyRandom(n)) for n in range(40)]
    assert all(isinstance(image, torch.Tensor) and image.dtype == torch.float32 for image in runs[0])
    assert np.allclose(runs[0].clean.numpy(), here[0].clean, rtol=1e-4)
    for name in ("short", "long"):
        ours = np.stack([getattr(run, name).numpy() - run.clean.numpy() for run in runs])
        theirs = np.stack([getattr(run, name) - run.clean for run in here])
        assert ours.std() == pytest.approx(theirs.std(), rel=0.03)
        assert abs(ours.mean() - theirs.mean()) < 0.03 * theirs.std()
        lags = [(noise[..., 1:] * noise[..., :-1]).mean() / noise.var() for noise in (ours, theirs)]
        assert lags[0] == pytest.approx(lags[1], abs=0.02)


def test_a_piece_of_the_field_lies_under_the_middle_of_the_beam(tmp_path: Path) -> None:
    lines = (
        "image.height=300",
        "image.width=420",
        "shading.vignetting=0.3",
        "geometry.tilt_deg=30",
        "geometry.azimuth_deg=70",
    )
    machine = _machine(tmp_path, PLAIN + PANEL, *lines)
    whole, piece = (_acquisition(machine, shape=shape) for shape in (None, (100, 96)))
    middle = whole.beam[100:200, 162:258]
    assert whole.beam.mean() == pytest.approx(1, abs=1e-4)
    assert np.abs(piece.beam / middle - 1).max() < 3e-3
    assert np.ptp(middle) > 0.02


def test_the_panel_is_the_same_for_all_pairs_of_a_seed(tmp_path: Path) -> None:
    machine = _machine(
        tmp_path, PLAIN, "panel.flat_frames=0", "panel.pixel_gain=0.05", "tube.current_ua=50000"
    )
    patterns = [
        acquisition.expose_short(NumpyRandom(9)) / acquisition.clean
        for seed, index in ((0, 0), (0, 1), (1, 0))
        if (acquisition := draw_acquisition(machine, key=(seed, 1, index)))
    ]
    alike, other = (np.corrcoef(patterns[0].ravel(), patterns[n].ravel())[0, 1] for n in (1, 2))
    assert alike > 0.9
    assert abs(other) < 0.1


def test_what_cannot_be_drawn_is_refused(plain: Machine) -> None:
    for wrong in ({"seed": -1, "index": 0}, {"seed": 0, "index": -1}):
        with pytest.raises(RecipeError, match="0 or more"):
            draw_pair(plain, **wrong)
    for size in ((65, 80), (64, 81), (0, 10)):
        with pytest.raises(RecipeError, match="64 x 80"):
            draw_pair(plain, seed=0, index=0, size_px=size)


def test_machines_of_one_seed_share_neither_scene_nor_panel(tmp_path):
    machines = [_machine(tmp_path, PLAIN, f"name={name}") for name in ("one", "two")]
    one, two = (draw_pair(machine, seed=3, index=1) for machine in machines)
    assert one.scene.facts != two.scene.facts
    assert not np.array_equal(one.hq, two.hq)


def test_a_long_exposure_of_the_wide_machine_is_less_noisy_in_nearly_every_pair():
    wide, ratios = load_machine("wide"), []
    for index in range(24):
        pair = draw_pair(wide, seed=5, index=index, size_px=(64, 64))
        errors = [
            np.std(np.diff(image.astype(np.float64) - pair.clean, axis=0)) for image in (pair.lq, pair.hq)
        ]
        if errors[0] > 0:
            ratios.append(errors[1] / errors[0])
    assert np.median(ratios) < 0.45
    assert np.mean(np.array(ratios) > 0.9) <= 0.1
