"""Calibration files: what is written is what is read, what is wrong is said, and where one applies."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.statistics import examine
from longexposure.errors import InputError
from longexposure.grey import measure_grey
from longexposure.noise.calibration import NoiseCalibration, calibration_text, read_calibration
from longexposure.radiograph import Radiograph

GAIN, READ, DARK = 2.0, 10.0, 300.0
"""Variance GAIN * (grey - DARK) + READ^2."""

Values = dict[str, Any]


def values(**changes: Any) -> Values:
    """A calibration of a machine with this noise, measured between 300 and 20300."""
    level = 10300.0
    document: Values = {
        "format": 1,
        "machine": "AXI 3",
        "dtype": "uint16",
        "exposure_s": 5.0,
        "noise": {
            "level": level,
            "sigma": (GAIN * (level - DARK) + READ**2) ** 0.5,
            "sigma_error": 0.2,
            "slope": GAIN,
            "slope_error": 0.01,
            "error_correlation": 0.0,
            "corr_x": 0.3,
            "corr_x_error": 0.01,
            "corr_y": 0.1,
            "corr_y_error": 0.01,
        },
        "measured": {
            "source": "flats",
            "grey": [DARK, 20300.0],
            "frames": 12,
            "darks": 4,
            "size_px": [512, 640],
            "points": [[300.0, 100.0, 1.0], [20300.0, 40100.0, 80.0]],
            "notes": ["brightness changed by 1.0% between frames, which was taken off"],
            "version": "0.1.0",
            "date": "2026-01-31",
        },
        "files": [{"name": "flat.tif", "role": "flats", "sha256": "0" * 64}],
    }
    for key, value in changes.items():
        table = document
        *tables, last = key.split("__")
        for name in tables:
            table = table.setdefault(name, {})
        if value is None:
            del table[last]
        else:
            table[last] = value
    return document


def calibration(**changes: Any) -> NoiseCalibration:
    document = values(**changes)
    document["measured"]["grey"] = tuple(document["measured"]["grey"])
    return NoiseCalibration.model_validate(document)


def image(
    low: float, high: float, *, seed: int = 0, factor: float = 1.0, dtype: type = np.uint16
) -> np.ndarray:
    """Two halves of these grey values with the machine's noise, or `factor` times as much."""
    scene = np.where(np.arange(96)[None] < 48, low, high) * np.ones((96, 1))
    sigma = factor * np.sqrt(np.maximum(GAIN * (scene - DARK) + READ**2, 1))
    noisy = scene + sigma * np.random.default_rng(seed).standard_normal(scene.shape)
    return np.rint(noisy).clip(0).astype(dtype)


# The file


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    for found in (
        calibration(),
        calibration(pattern={"fraction": 0.01, "fraction_error": 0.001, "dark": DARK}),
    ):
        path = tmp_path / "axi3.toml"
        path.write_text(calibration_text(found), encoding="utf-8")
        again = read_calibration(path)
        assert again.model_dump() == NoiseCalibration.model_validate_json(
            found.model_dump_json()
        ).model_dump() or (again.noise.sigma == pytest.approx(found.noise.sigma, rel=1e-7))
        assert again.files == found.files
        assert again.measured == found.measured
        assert again.pattern == found.pattern


def test_it_is_plain_toml_that_a_person_can_read() -> None:
    text = calibration_text(calibration())
    document = tomllib.loads(text)
    assert document["machine"] == "AXI 3"
    assert document["noise"]["slope"] == 2
    assert document["measured"]["grey"] == [300, 20300]
    assert document["measured"]["points"] == [[300, 100, 1], [20300, 40100, 80]]
    assert all(len(line) < 160 for line in text.splitlines())
    assert "pattern" not in document


@pytest.mark.parametrize(
    "name",
    ['say "cheese"', "back\\slash", "two\nlines", "Prüfstand 5 Ω", "tab\tand \x07 bell \x7f", "'", ""],
)
def test_any_name_of_a_machine_survives(name: str, tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_text(calibration_text(calibration(machine=name)), encoding="utf-8")
    assert read_calibration(path).machine == name


WRONG: dict[str, tuple[Values, str]] = {
    "another format": ({"format": 2}, "format 2 instead of 1"),
    "an unknown key": ({"noise__sigmas": 3.0}, "unknown key 'noise.sigmas'"),
    "a missing number": ({"noise__sigma": None}, "a value for 'noise.sigma', found none"),
    "a text for a number": ({"noise__sigma": "10"}, "noise.sigma: expected a valid number, found '10'"),
    "no noise": ({"noise__sigma": 0.0}, "noise.sigma: expected greater than 0"),
    "a correlation above 1": ({"noise__corr_x": 1.5}, "noise.corr_x: expected greater than or equal to -1"),
    "a negative error": ({"noise__slope_error": -1.0}, "noise.slope_error"),
    "an unknown type": ({"dtype": "float64"}, "dtype: expected 'uint8', 'uint16' or 'float32'"),
    "grey values upside down": ({"measured__grey": [20300.0, 300.0]}, "lower grey value first"),
    "a level that was not seen": ({"noise__level": 40000.0}, "noise.level between the measured grey values"),
    "a variance below 0": ({"noise__slope": -50.0, "noise__level": 1000.0}, "a variance above 0"),
    "no hash": ({"files": [{"name": "a", "role": "flats", "sha256": "abc"}]}, "64 hexadecimal digits"),
    "no day": ({"measured__date": "yesterday"}, "a day like 2026-01-31"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_in_one_line_with_its_place(name: str, tmp_path: Path) -> None:
    changes, message = WRONG[name]
    path = tmp_path / "wrong.toml"
    path.write_text(toml_of(values(**changes)), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_calibration(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert message in line
    assert "measure again" in line
    assert "\n" not in line


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_what_is_no_finite_number_is_refused(number: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    text = toml_of(values())
    path.write_text(text.replace("slope = 2.0", f"slope = {number}"), encoding="utf-8")
    with pytest.raises(InputError, match=r"noise\.slope"):
        read_calibration(path)


def toml_of(document: Values) -> str:
    """By another writer than the package's own."""
    lines = [f"{key} = {inline(value)}" for key, value in document.items()]
    return "\n".join(lines)


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a TOML file of another kind"),
        (b"name = 'tiny'\n[network]\nkind = 'fast'\n", "a TOML file of another kind"),
        (b"noise = 3\nmeasured = 1\nformat = 1", "noise"),
        (b"this is no toml", "no TOML"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "no text in UTF-8"),
        (b"#" * (1 << 20) + b"##", "a file of more than 1 MiB"),
        (b"a = " + b"[" * 5000, "no TOML"),
    ],
)
def test_what_is_no_calibration_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "no.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_calibration(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_calibration(tmp_path / "none.toml")
    with pytest.raises(InputError, match="a noise calibration that"):
        read_calibration(tmp_path)


# Where it applies


def test_the_profile_is_that_of_the_image_s_own_brightness() -> None:
    pixels = image(4000, 12000)
    grey = measure_grey(pixels)
    profile, cautions = calibration().profile_of(pixels, grey)
    middle = (0.5 - grey.offset) / grey.scale
    assert cautions == ()
    assert profile.level == pytest.approx(middle)
    assert profile.sigma**2 == pytest.approx(GAIN * (middle - DARK) + READ**2)
    assert profile.slope == GAIN
    assert (profile.corr_x, profile.corr_y) == (0.3, 0.1)
    assert profile.origin == "flats"


def test_a_fixed_pattern_adds_its_variance_slope_and_colour() -> None:
    fraction = 0.02
    found = calibration(pattern={"fraction": fraction, "corr_x": 0.0, "corr_y": 0.8, "dark": DARK})

    def variance(grey: float) -> float:
        return GAIN * (grey - DARK) + READ**2 + (fraction * (grey - DARK)) ** 2

    profile = found.profile_at(8300.0)
    assert profile.sigma**2 == pytest.approx(variance(8300))
    assert profile.slope == pytest.approx((variance(8301) - variance(8299)) / 2)
    weight = (fraction * 8000) ** 2 / variance(8300)
    assert profile.corr_x == pytest.approx((1 - weight) * 0.3)
    assert profile.corr_y == pytest.approx((1 - weight) * 0.1 + weight * 0.8)
    assert found.profile_at(100.0).slope == GAIN, "below the dark there is no signal for a pattern"


def test_correlation_follows_the_fraction_of_coloured_noise() -> None:
    """Coloured quanta of lag 0.4 and white electronics."""
    at_level = 0.4 * GAIN * 10000 / (GAIN * 10000 + READ**2)
    found = calibration(noise__corr_x=at_level, noise__slope_x=0.4 * GAIN, noise__slope_y=0.0)
    for grey in (350.0, 1000.0, 20000.0):
        quanta = GAIN * (grey - DARK)
        assert found.profile_at(grey).corr_x == pytest.approx(0.4 * quanta / (quanta + READ**2), abs=1e-6)
    assert calibration().profile_at(350.0).corr_x == 0.3


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (image(100, 200, dtype=np.uint8), "expected uint16 images, as it was measured on, found uint8"),
        (image(4000, 9000).astype(np.float32), "found float32"),
        (image(30000, 60000), "expected grey values between 300 and 2.03e+04"),
    ],
    ids=["8 bits", "float", "another grey scale"],
)
def test_other_images_are_refused(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_enhancer("identity").enhance(pixels, noise=calibration())
    assert str(caught.value).startswith("noise of AXI 3: expected")
    assert message in str(caught.value)
    assert "leave --noise out" in str(caught.value)


WARNED: dict[str, tuple[Callable[[], tuple[NoiseCalibration, np.ndarray]], str]] = {
    "beyond": (
        lambda: (calibration(), image(15000, 30000)),
        "go beyond 300 to 2.03e+04, where the noise of AXI 3",
    ),
    "unsure": (
        lambda: (calibration(noise__slope_error=1.0), image(700, 1400)),
        "sigma of AXI 3 is unsure by",
    ),
    "one level": (
        lambda: (
            calibration(noise__slope=None, noise__slope_error=None, measured__grey=[10300.0, 10300.0]),
            image(8000, 12600),
        ),
        "go beyond 1.03e+04 to 1.03e+04",
    ),
    "noisier": (lambda: (calibration(), image(8000, 14000, factor=3.0)), "seems to have noise of"),
    "calmer": (lambda: (calibration(), image(8000, 14000, factor=0.3)), "seems to have noise of"),
}


@pytest.mark.parametrize("name", WARNED)
def test_an_image_that_does_not_fit_causes_a_warning(name: str) -> None:
    make, message = WARNED[name]
    found, pixels = make()
    (warning,) = examine(pixels, found).warnings(None)
    assert message in warning
    assert "\n" not in warning


def test_correlated_errors_of_height_and_slope_cancel() -> None:
    """At the dark level the line is known well, though its slope is not: the darks pin it there."""
    apart = 10000.0
    height = 0.1 * apart / (2 * calibration().noise.sigma)
    errors = {"noise__slope_error": 0.1, "noise__sigma_error": height}
    pixels = image(500, 900)
    assert examine(pixels, calibration(**errors, noise__error_correlation=1.0)).warnings(None) == ()
    (warning,) = examine(pixels, calibration(**errors)).warnings(None)
    assert "unsure" in warning


def test_a_uniform_image_of_the_measured_brightness_is_no_cause_for_warnings() -> None:
    one = calibration(noise__slope=None, noise__slope_error=None, measured__grey=[10300.0, 10300.0])
    assert examine(image(10300, 10300), one).cautions == ()


def test_the_history_says_where_the_noise_is_known_from(tmp_path: Path) -> None:
    path = tmp_path / "axi3.toml"
    path.write_text(calibration_text(calibration()), encoding="utf-8")
    after = load_enhancer("nlm").enhance(Radiograph(image(4000, 9000)), noise=read_calibration(path))
    (page,) = after.history[-1].settings["pages"]
    assert page["noise"]["origin"] == "flats"
    assert page["calibration"] == {
        "file": "axi3.toml",
        "machine": "AXI 3",
        "source": "flats",
        "date": "2026-01-31",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def test_pages_of_a_stack_each_take_it_at_their_own_brightness() -> None:
    stack = np.stack([image(2000, 6000), image(9000, 15000)])
    after = load_enhancer("identity").enhance(Radiograph(stack), noise=calibration())
    sigmas = [page["noise"]["sigma"] for page in after.history[-1].settings["pages"]]
    expected = [(GAIN * (middle - DARK) + READ**2) ** 0.5 for middle in (4000, 12000)]
    assert sigmas == pytest.approx(expected, rel=0.02)


def test_facts_have_each_number_to_the_digits_that_its_error_leaves() -> None:
    facts = calibration(pattern={"fraction": 0.01234, "fraction_error": 0.00061, "dark": DARK}).facts()
    assert facts["sigma"] == "141.77 +- 0.20 at grey value 1.03e+04"
    assert facts["variance per grey value"] == "2.000 +- 0.010"
    assert facts["fixed pattern"] == "0.01234 +- 0.00061 of what lies above 300"
    assert facts["holds for"] == "uint16, grey values 300 to 2.03e+04"
    assert facts["note 1"].startswith("brightness changed")
