"""Pairs on disk: how they are found, what is refused, and what patches are made of them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch

from longexposure.data import pair_patches as patches_module
from longexposure.data.pair_patches import PairImages, PairPatches
from longexposure.data.pairs import PairedFolder, PairsConfig, PairsError
from longexposure.enhance.bad_pixels import find_bad_pixels
from longexposure.errors import InputError
from longexposure.grey import measure_grey
from longexposure.noise import NoiseProfile, estimate_noise

Array = npt.NDArray[Any]


pytestmark = pytest.mark.usefixtures("one_thread")


def image(seed: int, *, shape: tuple[int, int] = (64, 96), noise: float = 400.0) -> Array:
    """A ramp with a disc in it, unlike itself in every turn, under white noise; uint16."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    clean = 20000 + 150.0 * x + 40.0 * y - 8000 * ((y - 20) ** 2 + (x - 30) ** 2 < 144)
    random = np.random.default_rng(seed)
    return np.clip(clean + random.normal(0, noise, shape), 0, 65535).astype(np.uint16)


def write(path: Path, pixels: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels)


def write_pairs(root: Path, names: list[str], *, clean: bool = False) -> None:
    for number, name in enumerate(names):
        write(root / "LQ" / f"{name}.tif", image(number))
        write(root / "HQ" / f"{name}.tif", image(number + 100, noise=40))
        if clean:
            write(root / "clean" / f"{name}.tif", image(0, noise=0))


def config(root: Path, **changes: Any) -> PairsConfig:
    return PairsConfig(path=str(root), **{"patch_px": 32, **changes})


def test_pairs_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_pairs(tmp_path / "S2" / "train", ["b", "a"])
    write_pairs(tmp_path / "S1" / "test", ["deep/c"])
    found = PairedFolder(tmp_path).pairs
    assert [pair.name for pair in found] == ["S1/test/deep/c", "S2/train/a", "S2/train/b"]
    assert found[0].lq == tmp_path / "S1/test/LQ/deep/c.tif"
    assert found[0].hq == tmp_path / "S1/test/HQ/deep/c.tif"
    assert (found[0].shape, found[0].dtype, found[0].clean) == ((64, 96), "uint16", None)


def test_case_of_the_folders_and_suffix_of_the_files_do_not_matter(tmp_path: Path) -> None:
    from PIL import Image

    write(tmp_path / "lq" / "a.tiff", image(0))
    (tmp_path / "Hq").mkdir()
    Image.fromarray(image(1)).save(tmp_path / "Hq" / "a.png")
    assert [pair.hq.name for pair in PairedFolder(tmp_path).pairs] == ["a.png"]


def test_clean_images_beside_the_pairs_are_taken(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"], clean=True)
    assert PairedFolder(tmp_path).pairs[0].clean == tmp_path / "clean" / "a.tif"


def test_notes_and_hidden_files_beside_the_images_are_left_alone(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"])
    (tmp_path / "LQ" / "a.tif.json").write_text("{}")
    (tmp_path / "LQ" / "readme.txt").write_text("notes")
    (tmp_path / "HQ" / ".hidden").write_text("")
    assert len(PairedFolder(tmp_path)) == 1


def test_include_takes_the_pairs_that_match(tmp_path: Path) -> None:
    write_pairs(tmp_path / "S1" / "train", ["a"])
    write_pairs(tmp_path / "S1" / "test", ["b"])
    assert [pair.name for pair in PairedFolder(tmp_path, include=["*/train/*"]).pairs] == ["S1/train/a"]


def test_all_problems_are_reported_at_once_in_one_line(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["good", "small", "type", "torn", "stack"])
    write(tmp_path / "LQ" / "alone.tif", image(0))
    write(tmp_path / "HQ" / "also-alone.tif", image(0))
    write(tmp_path / "HQ" / "small.tif", image(0, shape=(64, 95)))
    write(tmp_path / "HQ" / "type.tif", image(0).astype(np.uint8))
    (tmp_path / "LQ" / "torn.tif").write_bytes((tmp_path / "LQ" / "torn.tif").read_bytes()[:500])
    write(tmp_path / "HQ" / "stack.tif", np.stack([image(0)] * 2))
    write(tmp_path / "LQ" / "good.tiff", image(0))
    with pytest.raises(PairsError) as caught:
        PairedFolder(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "LQ/alone.tif has no partner in HQ",
        "HQ/also-alone.tif has no partner in LQ",
        "small: sizes or types differ: LQ 64 x 96 uint16, HQ 64 x 95 uint16",
        "type: sizes or types differ: LQ 64 x 96 uint16, HQ 64 x 96 uint8",
        "torn.tif",
        "stack: HQ holds 2 images where one is expected",
        "good.tif",
    ):
        assert part in message, part
    assert isinstance(caught.value, InputError)
    assert len(caught.value.problems) >= 7


def test_a_long_list_is_cut_in_the_line_but_whole_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "HQ").mkdir()
    for number in range(50):
        write(tmp_path / "LQ" / f"{number}.tif", np.zeros((8, 8), np.uint8))
    with pytest.raises(PairsError, match=r"50 problem\(s\).*and 30 more") as caught:
        PairedFolder(tmp_path)
    assert len(caught.value.problems) == 50


def test_an_error_survives_the_trip_between_processes() -> None:
    error = PairsError(where="w", expected="e", found="f", advice="a", problems=["p", "q"])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.problems) == (PairsError, str(error), ("p", "q"))


@pytest.mark.parametrize("folder", ["", "LQ", "none"])
def test_a_folder_without_pairs_is_refused(tmp_path: Path, folder: str) -> None:
    if folder == "LQ":
        (tmp_path / "LQ").mkdir()
    with pytest.raises(PairsError, match="folders LQ and HQ"):
        PairedFolder(tmp_path / "none" if folder == "none" else tmp_path)


def test_a_missing_clean_image_is_a_problem_where_it_is_the_target(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"], clean=True)
    write(tmp_path / "LQ" / "b.tif", image(0))
    write(tmp_path / "HQ" / "b.tif", image(0))
    assert len(PairedFolder(tmp_path)) == 2
    with pytest.raises(PairsError, match="b has no clean image"):
        PairedFolder(tmp_path, clean=True)


def test_the_split_keeps_every_pair_on_one_side(tmp_path: Path) -> None:
    write_pairs(tmp_path, [f"{number:02}" for number in range(10)])
    folder = PairedFolder(tmp_path)
    training, held = folder.split(0.3, seed=1)
    assert len(held) == 3
    assert sorted([*training, *held], key=lambda pair: pair.name) == list(folder.pairs)
    assert folder.split(0.3, seed=1) == (training, held)
    assert {folder.split(0.3, seed=seed)[1] for seed in range(8)} != {held}


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_the_split_leaves_a_pair_on_either_side(tmp_path: Path, fraction: float) -> None:
    write_pairs(tmp_path, ["a", "b", "c"])
    assert min(map(len, PairedFolder(tmp_path).split(fraction, seed=0))) == 1


def test_one_pair_cannot_be_split(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"])
    with pytest.raises(PairsError, match="at least two pairs"):
        PairedFolder(tmp_path).split(0.5, seed=0)


def test_a_whole_image_is_in_the_unit_domain_of_its_short_exposure(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"])
    sample = PairImages(PairedFolder(tmp_path).pairs, config(tmp_path))[0]
    lq, hq = (tifffile.imread(tmp_path / part / "a.tif") for part in ("LQ", "HQ"))
    grey = measure_grey(lq)
    profile = estimate_noise(lq).mapped(scale=grey.scale, offset=grey.offset)
    np.testing.assert_array_equal(sample["target"][0].numpy(), grey.to_unit(hq))
    np.testing.assert_array_equal(sample["noisy"][0].numpy(), grey.to_unit(lq))
    np.testing.assert_allclose(sample["noise_condition"].numpy(), profile.noise_condition())
    assert float(sample["sigma"]) == pytest.approx(float(profile.noise_condition()[0]))


def test_hot_pixels_of_the_short_exposure_are_replaced_as_when_enhancing(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"])
    lq = tifffile.imread(tmp_path / "LQ" / "a.tif")
    lq[40, 70] = 65535
    write(tmp_path / "LQ" / "a.tif", lq)
    found = find_bad_pixels(lq, estimate_noise(lq))
    assert (40, 70) in set(zip(found.y.tolist(), found.x.tolist(), strict=True))
    sample = PairImages(PairedFolder(tmp_path).pairs, config(tmp_path))[0]
    assert float(sample["noisy"][0, 40, 70]) < 1.2


def test_a_patch_is_cut_from_both_images_at_one_place_and_turned_alike(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :96]
    places = (100 * y + x).astype(np.uint16)
    write(tmp_path / "LQ" / "a.tif", places)
    write(tmp_path / "HQ" / "a.tif", places + np.uint16(7))
    patches = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=3)
    scale = measure_grey(places).scale
    turns = set()
    for index in range(60):
        sample = patches[index]
        gap = (sample["target"] - sample["noisy"]) / scale
        assert float((gap - 7).abs().max()) < 0.1
        down = float(sample["target"][0, 1, 0] - sample["target"][0, 0, 0]) / scale
        across = float(sample["target"][0, 0, 1] - sample["target"][0, 0, 0]) / scale
        turns.add((round(down), round(across)))
    assert turns == {(a, b) for a in (100, -100) for b in (1, -1)} | {
        (b, a) for a in (100, -100) for b in (1, -1)
    }


def test_turning_a_patch_on_its_side_swaps_the_correlations_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x = np.mgrid[:64, :96]
    write(tmp_path / "LQ" / "a.tif", (100 * y + x).astype(np.uint16))
    write(tmp_path / "HQ" / "a.tif", (100 * y + x).astype(np.uint16))
    profile = NoiseProfile(level=0.0, sigma=100.0, corr_x=0.5, corr_y=0.1)
    monkeypatch.setattr(patches_module, "estimate_noise", lambda pixels: profile)
    patches = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=3)
    for index in range(20):
        sample = patches[index]
        upright = abs(float(sample["target"][0, 1, 0] - sample["target"][0, 0, 0])) > abs(
            float(sample["target"][0, 0, 1] - sample["target"][0, 0, 0])
        )
        expected = [0.5, 0.1] if upright else [0.1, 0.5]
        assert sample["noise_condition"][3:].tolist() == pytest.approx(expected)


def test_a_patch_depends_on_seed_and_index_alone(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a", "b", "c"])
    found = PairedFolder(tmp_path).pairs
    forward, backward = (PairPatches(found, config(tmp_path), seed=1) for _ in range(2))
    ahead = [forward[index] for index in range(9)]
    back = [backward[index] for index in reversed(range(9))][::-1]
    for one, other in zip(ahead, back, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert not torch.equal(PairPatches(found, config(tmp_path), seed=2)[0]["noisy"], ahead[0]["noisy"])
    assert not torch.equal(ahead[0]["noisy"], ahead[3]["noisy"])


def test_every_pair_is_visited_once_before_any_is_visited_again(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / "LQ" / f"{number}.tif", image(number))
        write(tmp_path / "HQ" / f"{number}.tif", np.full((64, 96), 10000 * number, np.uint16))
    patches = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=1)
    for sweep in range(3):
        levels = {round(float(patches[5 * sweep + k]["target"].mean()), 2) for k in range(5)}
        assert len(levels) == 5


def test_shapes_and_types_of_a_sample(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"])
    sample = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=0)[0]
    assert {key: tuple(value.shape) for key, value in sample.items()} == {
        "noisy": (1, 32, 32),
        "target": (1, 32, 32),
        "noise_condition": (5,),
        "sigma": (),
    }
    assert {value.dtype for value in sample.values()} == {torch.float32}


def test_the_target_may_be_the_clean_image(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"], clean=True)
    sample = PairImages(PairedFolder(tmp_path).pairs, config(tmp_path, target="clean"))[0]
    grey = measure_grey(tifffile.imread(tmp_path / "LQ" / "a.tif"))
    np.testing.assert_array_equal(sample["target"][0].numpy(), grey.to_unit(image(0, noise=0)))


def test_images_smaller_than_a_patch_are_all_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a", "b"])
    with pytest.raises(PairsError, match=r"patch_px = 80 px.*a: 64 x 96 px; b: 64 x 96 px"):
        PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path, patch_px=80), seed=0)


def test_what_is_kept_in_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path, ["a", "b", "c"])
    size = 2 * 2 * 64 * 96  # two images of two bytes a pixel
    monkeypatch.setattr(patches_module, "CACHE_BYTES", 2 * size)
    patches = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=0)
    whole = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=0)
    for index in range(12):
        sample = patches[index]
        assert len(patches._images._images) <= 2
        monkeypatch.setattr(patches_module, "CACHE_BYTES", 2**30)
        assert torch.equal(sample["noisy"], whole[index]["noisy"])
        monkeypatch.setattr(patches_module, "CACHE_BYTES", 2 * size)


def test_a_bound_smaller_than_one_pair_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path, ["a"])
    monkeypatch.setattr(patches_module, "CACHE_BYTES", 1)
    patches = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=0)
    assert torch.equal(patches[0]["noisy"], patches[0]["noisy"])


def test_pairs_and_datasets_can_be_sent_to_workers(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["a"])
    patches = PairPatches(PairedFolder(tmp_path).pairs, config(tmp_path), seed=0)
    assert torch.equal(pickle.loads(pickle.dumps(patches))[4]["noisy"], patches[4]["noisy"])
