"""Calibrations from files: which frames belong together, what is refused, how they compare with the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import tifffile

from longexposure import __version__
from longexposure.enhance.enhancer import Enhancer
from longexposure.errors import InputError, OutputError
from longexposure.io import read_radiograph
from longexposure.noise import estimate_noise
from longexposure.noise.calibrate import measure_calibration
from longexposure.noise.calibration import NoiseCalibration, read_calibration, write_calibration
from longexposure.noise.photon_transfer import measure_flats
from longexposure.simulation.exposure import Acquisition, draw_acquisition
from longexposure.simulation.machine import load_machine
from longexposure.simulation.random_source import NumpyRandom

ROOT = Path(__file__).parents[2]
VIEWS = sorted((ROOT / "examples" / "radiographs").glob("ic_5s_view*.tif"))
GAIN, READ, OFFSET = 2.0, 10.0, 300.0

Image = np.ndarray


def frame(random: np.random.Generator, quanta: float, *, side: int = 64) -> Image:
    grey = GAIN * random.poisson(quanta, (side, side)) + OFFSET + READ * random.standard_normal((side, side))
    return np.rint(grey).clip(0, 65535).astype(np.uint16)


def saved(path: Path, pixels: Image | Iterable[Image]) -> Path:
    stack = pixels if isinstance(pixels, np.ndarray) else np.stack(list(pixels))
    tifffile.imwrite(path, stack, photometric="minisblack", metadata=None)
    return path


@pytest.fixture
def flats(tmp_path: Path) -> list[Path]:
    """Three brightnesses: one as a stack, two as single files whose names do not say which is which."""
    random = np.random.default_rng(0)
    files = [saved(tmp_path / "stack.tif", [frame(random, 400) for _ in range(3)])]
    for number in range(6):
        quanta = (2000, 8000)[number % 2]
        files.append(saved(tmp_path / f"single{number}.tif", frame(random, quanta)))
    return files


@pytest.fixture
def darks(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(1)
    return [saved(tmp_path / "darks.tif", [frame(random, 0) for _ in range(3)])]


def test_frames_of_one_brightness_are_found_among_single_files_and_stacks(
    flats: list[Path], darks: list[Path]
) -> None:
    found = measure_calibration(flats, source="flats", darks=darks)
    levels = sorted(point[0] for point in found.measured.points)
    assert levels == pytest.approx([300, 1100, 4300, 16300], rel=0.01)
    assert found.noise.slope == pytest.approx(GAIN, rel=0.05)
    assert float(found.profile_at(OFFSET).sigma) == pytest.approx(READ, rel=0.05)
    by_hand = [[tifffile.imread(file) for file in flats[start::2]] for start in (1, 2)]
    expected = measure_flats([list(tifffile.imread(flats[0])), *by_hand], list(tifffile.imread(darks[0])))
    assert found.noise.sigma == pytest.approx(expected.noise.sigma, rel=1e-6)


def test_the_file_says_how_it_was_made(flats: list[Path], darks: list[Path]) -> None:
    names: list[str] = []
    found = measure_calibration(
        flats, source="flats", darks=darks, machine="AXI 3", exposure_s=5.0, on_file=names.append
    )
    assert (found.machine, found.exposure_s, found.dtype) == ("AXI 3", 5.0, "uint16")
    assert found.measured.frames == 9
    assert found.measured.darks == 3
    assert found.measured.size_px == (64, 64)
    assert found.measured.version == __version__
    assert datetime.fromisoformat(found.measured.date)
    assert [(file.name, file.role) for file in found.files] == [
        *((file.name, "flats") for file in flats),
        ("darks.tif", "darks"),
    ]
    assert all(
        entry.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        for entry, file in zip(found.files, [*flats, *darks], strict=True)
    )
    assert names == [file.name for file in (*flats, *darks)]


def test_it_is_read_as_it_was_written_and_never_overwritten_unasked(
    flats: list[Path], tmp_path: Path
) -> None:
    found = measure_calibration(flats, source="flats")
    path = tmp_path / "new" / "axi3.toml"
    write_calibration(found, path)
    again = read_calibration(path)
    assert again.noise.slope == pytest.approx(found.noise.slope, rel=1e-7)
    assert again.files == found.files
    with pytest.raises(OutputError, match="an existing file"):
        write_calibration(found, path)
    write_calibration(found, path, overwrite=True)


def test_a_brightness_with_one_frame_is_left_out_and_noted(flats: list[Path], tmp_path: Path) -> None:
    lone = saved(tmp_path / "lone.tif", frame(np.random.default_rng(2), 20000))
    found = measure_calibration([*flats, lone], source="flats")
    assert found.measured.grey[1] < 20000
    assert found.measured.notes[-1] == "1 left out for want of a second exposure like it: lone.tif"


def test_repeats_are_the_pages_of_a_file_or_all_single_files(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    scene = np.where(np.arange(64)[None] < 32, 1000, 4000) * np.ones((64, 1))

    def shot(by: float) -> Image:
        return np.rint(GAIN * random.poisson(by * scene) + OFFSET).astype(np.uint16)

    paged = saved(tmp_path / "paged.tif", [shot(1.0) for _ in range(4)])
    single = [saved(tmp_path / f"s{number}.tif", shot(3.0)) for number in range(3)]
    found = measure_calibration([paged, *single], source="repeats")
    assert found.measured.source == "repeats"
    assert found.measured.frames == 7
    assert found.noise.slope == pytest.approx(GAIN, rel=0.05)
    assert found.measured.grey == pytest.approx((2300, 24300), rel=0.02)
    assert found.pattern is None


def test_no_pattern_leaves_it_out(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    pixels = 1 + 0.03 * random.standard_normal((64, 64))
    shots = [np.rint(GAIN * random.poisson(8000 * pixels)).astype(np.uint16) for _ in range(4)]
    file = saved(tmp_path / "flats.tif", shots)
    with_pattern = measure_calibration([file], source="flats")
    assert with_pattern.pattern is not None
    assert with_pattern.pattern.fraction == pytest.approx(0.03, rel=0.1)
    without = measure_calibration([file], source="flats", pattern=False)
    assert without.pattern is None
    assert without.noise == with_pattern.noise


def test_exposure_time_comes_from_the_files_where_they_agree() -> None:
    found = measure_calibration([ROOT / "examples/radiographs/txrm_test_chip_tomo.txrm"], source="image")
    assert found.exposure_s == 5.0
    assert measure_calibration(VIEWS, source="image").exposure_s is None


def test_images_give_the_median_of_their_estimates() -> None:
    found = measure_calibration(VIEWS, source="image")
    alone = [estimate_noise(read_radiograph(view).pixels) for view in VIEWS]
    at_level = [float(profile.variance(found.noise.level)) ** 0.5 for profile in alone]
    assert min(at_level) <= found.noise.sigma <= max(at_level)
    assert found.noise.sigma == pytest.approx(np.median(at_level), rel=0.05)
    assert found.noise.sigma_error is not None
    assert found.noise.sigma_error < np.ptp(at_level)
    assert found.profile_at(130.0).origin == "image"
    one = measure_calibration(VIEWS[:1], source="image")
    assert one.noise.sigma == pytest.approx(alone[0].sigma, rel=1e-6)
    assert one.noise.sigma_error is None, "one image cannot say how sure it is"


def other_size(folder: Path) -> list[Path]:
    random = np.random.default_rng(5)
    return [saved(folder / f"s{side}.tif", frame(random, 500, side=side)) for side in (64, 66)]


def other_type(folder: Path) -> list[Path]:
    random = np.random.default_rng(6)
    one = saved(folder / "one.tif", frame(random, 500))
    return [one, saved(folder / "two.tif", frame(random, 500).astype(np.float32))]


def copied(folder: Path) -> list[Path]:
    random = np.random.default_rng(7)
    frames = [frame(random, 500) for _ in range(3)]
    names = ("a.tif", "b.tif", "c.tif")
    files = [saved(folder / name, pixels) for name, pixels in zip(names, frames, strict=True)]
    return [*files, saved(folder / "again.tif", frames[0])]


def single(folder: Path) -> list[Path]:
    return [saved(folder / "only.tif", frame(np.random.default_rng(8), 500))]


def one_of_each(folder: Path) -> list[Path]:
    random = np.random.default_rng(9)
    return [saved(folder / f"q{quanta}.tif", frame(random, quanta)) for quanta in (500, 1500, 5000)]


def no_number(folder: Path) -> list[Path]:
    pixels = np.ones((2, 64, 64), np.float32)
    pixels[1, 3, 4] = np.nan
    return [saved(folder / "nan.tif", pixels)]


REFUSED: dict[str, tuple[Callable[[Path], list[Path]], str]] = {
    "sizes differ": (other_size, r"s66\.tif: expected 64 x 64 uint16, as .*s64\.tif, found 66 x 66 uint16"),
    "types differ": (other_type, r"two\.tif: expected 64 x 64 uint16, as .*one\.tif, found 64 x 64 float32"),
    "a copy": (copied, r"again\.tif: expected an exposure of its own, found the same pixels as in .*a\.tif"),
    "one exposure": (single, "flats: expected two or more exposures of one brightness, found one"),
    "one of each": (one_of_each, "found one each of 3"),
    "not a number": (no_number, r"nan\.tif: expected finite grey values, found 1 .* page 2, y=3, x=4"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_measured_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        measure_calibration(make(tmp_path), source="flats")
    assert "\n" not in str(caught.value)


def test_views_from_several_angles_are_no_repeats() -> None:
    with pytest.raises(InputError, match="one part that does not move"):
        measure_calibration([ROOT / "examples/radiographs/txrm_test_chip_tomo.txrm"], source="repeats")


# Against machines that know the truth


def machine_flats(acquisition: Acquisition, folder: Path, *, seed: int) -> list[Path]:
    """Four flats at each of three brightnesses, taken with the detector and settings of an acquisition."""
    files = []
    for step, fraction in enumerate((0.9, 0.6, 0.3)):
        even = np.full_like(acquisition.arriving, fraction)
        lit = replace(acquisition, arriving=even, arriving_later=even)
        shots = [lit.expose_short(NumpyRandom((seed, step, number))) for number in range(4)]
        files.append(saved(folder / f"flats{step}.tif", shots))
    return files


@pytest.mark.parametrize("machine", ["S1", "S2"])
def test_flats_of_a_simulated_machine_give_its_true_noise(machine: str, tmp_path: Path) -> None:
    acquisition = draw_acquisition(load_machine(machine), key=(1, 0, 0), size_px=(128, 128))
    truth = acquisition.noise
    found = measure_calibration(machine_flats(acquisition, tmp_path, seed=1), source="flats").profile_at(
        truth.level
    )
    assert found.sigma == pytest.approx(truth.sigma, rel=0.03)
    assert found.slope == pytest.approx(truth.slope, rel=0.2)
    assert found.corr_x == pytest.approx(truth.corr_x, abs=0.04)
    assert found.corr_y == pytest.approx(truth.corr_y, abs=0.04)


def error_left(enhanced: Image, clean: Image) -> float:
    """Root mean square error but for brightness and contrast, which the lamp of the exposure set."""
    grey = enhanced.astype(float).ravel()
    design = np.stack([grey, np.ones_like(grey)], axis=1)
    coefficients = np.linalg.lstsq(design, clean.ravel().astype(float), rcond=None)[0]
    return float(np.sqrt(np.mean((design @ coefficients - clean.ravel()) ** 2)))


@pytest.mark.slow
def test_with_a_calibration_the_default_model_comes_close_to_one_with_the_true_noise(
    default_enhancer: Enhancer, tmp_path: Path
) -> None:
    """On the machine whose line-correlated noise is estimated worst from one image."""
    errors: dict[str, list[float]] = {"estimated": [], "calibration": [], "truth": []}
    for number in range(4):
        acquisition = draw_acquisition(load_machine("S2"), key=(number, 0, 0), size_px=(192, 192))
        found = measure_calibration(machine_flats(acquisition, tmp_path, seed=number), source="flats")
        exposure = acquisition.expose_short(NumpyRandom((number, 9)))
        given: dict[str, NoiseCalibration | None] = {"estimated": None, "calibration": found}
        for name, noise in given.items():
            errors[name].append(
                error_left(default_enhancer.enhance(exposure, noise=noise), acquisition.clean)
            )
        by_truth = default_enhancer.enhance(exposure, noise=acquisition.noise)
        errors["truth"].append(error_left(by_truth, acquisition.clean))
    means = {name: float(np.exp(np.mean(np.log(each)))) for name, each in errors.items()}
    assert means["calibration"] < 1.01 * means["estimated"]
    assert means["calibration"] < 1.08 * means["truth"]
