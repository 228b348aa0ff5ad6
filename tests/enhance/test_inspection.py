"""Every enhanced page is looked at, whatever the weights: harm is told, ordinary images give no warning."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.files import enhance_files
from longexposure.errors import OutputError
from longexposure.io import read_radiograph, write_radiograph
from longexposure.models.base import ModelSpec
from longexposure.radiograph import Radiograph

VIEWS = sorted((Path(__file__).parents[2] / "examples" / "radiographs").glob("ic_5s_view*.tif"))
N = 256
Y, X = np.mgrid[:N, :N]


def balls(sigma: float = 500.0, seed: int = 0) -> np.ndarray:
    scene = np.full((N, N), 30000.0)
    for cy, cx in itertools.product(range(30, N, 50), repeat=2):
        scene[(Y - cy) ** 2 + (X - cx) ** 2 <= 15**2] = 12000
    return np.rint(np.random.default_rng(seed).normal(gaussian_filter(scene, 1.0), sigma)).astype(np.uint16)


class Harmful:
    """An engine that smooths and then does harm."""

    info = None
    spec = ModelSpec(size_multiple=1, receptive_field=8, conditioned=True)

    def __init__(self, harm) -> None:
        self.harm = harm

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        smooth = tile + 0.5 * (gaussian_filter(tile, (0, 1.0, 1.0)) - tile)
        return self.harm(smooth).astype(np.float32)


def with_block(value: float):
    def harm(tile: np.ndarray) -> np.ndarray:
        tile = tile.copy()
        tile[:, 96:112, 160:176] = value
        return tile

    return harm


HARMS = {
    "an offset": lambda tile: tile + 0.2,
    "a wrong scale": lambda tile: 1.2 * tile,
    "a block of zeros": with_block(0.0),
    "a block of another value": with_block(1.5),
    "nothing but a constant": lambda tile: 0 * tile + 0.5,
    "upside down": lambda tile: tile[:, ::-1],
    "twice the contrast": lambda tile: 2 * tile - 0.5,
    "noise added": lambda tile: tile + np.random.default_rng(3).normal(0, 0.2, tile.shape),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_harm_is_told_with_its_share_and_place(harm, dtype):
    image = balls()
    image = (image // 257).astype(np.uint8) if dtype == "uint8" else image.astype(dtype)
    _, (found,) = Enhancer(Harmful(harm), name="harmful").enhance_pages(image)
    (caution,) = found.cautions
    assert "% of the image was changed by more than its noise allows, most around y=" in caution


def test_the_place_is_right():
    after = Enhancer(Harmful(with_block(3.0)), name="harmful").enhance(Radiograph(balls()))
    (caution,) = after.history[-1].settings["pages"][0]["cautions"]
    assert caution.startswith("0.39 % of the image was changed")
    assert "most around y=104, x=168 (" in caution


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_what_is_not_finite_is_an_error_and_nothing_is_written(value, dtype, tmp_path):
    harmful = Enhancer(Harmful(with_block(value)), name="harmful")
    image = (balls() // 257).astype(dtype)
    with pytest.raises(OutputError, match="what harmful makes of the image: expected finite grey values"):
        harmful.enhance(image)
    for name, pixels in {"a": image, "b": image[:90]}.items():
        write_radiograph(Radiograph(pixels), tmp_path / f"{name}.tif")
    files = [tmp_path / "a.tif", tmp_path / "b.tif"]
    bad, good = enhance_files(files, tmp_path / "out", harmful)
    assert isinstance(bad.error, OutputError)
    assert good.error is None
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["b.tif"]


def test_files_tell_of_harm(tmp_path):
    write_radiograph(Radiograph(balls()), tmp_path / "a.tif")
    (result,) = enhance_files(
        [tmp_path / "a.tif"], tmp_path / "out", Enhancer(Harmful(HARMS["an offset"]), name="harmful")
    )
    assert any("changed by more than its noise allows" in warning for warning in result.warnings)


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.stem)
def test_real_views_give_no_warning(default_enhancer, path):
    _, (found,) = default_enhancer.enhance_pages(read_radiograph(path).pixels)
    assert found.cautions == ()


EDGE = gaussian_filter(np.where(X < 130, 5000.0, 50000.0), 0.7)
ORDINARY = {
    "balls": balls(),
    "strong noise": balls(5000, 1),
    "faint noise": balls(40, 2),
    "8 bits": (balls() // 257).astype(np.uint8),
    "float": (balls() / 65535).astype(np.float32),
    "an edge": np.random.default_rng(0).normal(EDGE, 600).astype(np.uint16),
    "flat": np.random.default_rng(0).normal(30000, 173, (N, N)).astype(np.uint16),
    "quanta": np.random.default_rng(0).poisson(balls(0) / 300).astype(np.uint16),
    "a hot pixel": np.where((X == 100) & (Y == 77), 65535, balls()).astype(np.uint16),
    "a fill": np.where((X < 60) & (Y < 60), 65535, balls()).astype(np.uint16),
    "NaN": np.where((X % 37 == 0) & (Y % 29 == 0), np.nan, balls()).astype(np.float32),
    "coloured": gaussian_filter(balls(3000).astype(float), 0.7).astype(np.uint16),
}


@pytest.mark.parametrize("image", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_images_give_no_warning(default_enhancer, image):
    for strength in (0.5, 1.0):
        _, (found,) = default_enhancer.enhance_pages(image, strength=strength)
        assert found.cautions == ()


def test_images_smaller_than_a_block_are_taken():
    assert load_enhancer("gaussian").enhance(balls()[:9]).shape == (9, N)


class Rounding:
    """An engine that takes all noise of a flat image away."""

    info = None
    spec = ModelSpec(size_multiple=1, receptive_field=N, conditioned=True)

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        return np.full_like(tile, tile.mean())


@pytest.mark.parametrize("level", [100.3, 100.45, 180.6])
@pytest.mark.parametrize("sigma", [0.5, 0.8])
def test_a_mean_that_rounding_moves_gives_no_warning(level, sigma):
    image = np.rint(level + sigma * np.random.default_rng(0).standard_normal((N, N))).astype(np.uint8)
    _, (found,) = Enhancer(Rounding(), name="rounding").enhance_pages(image)
    assert not found.noiseless
    assert found.cautions == ()
