"""Evaluating: scores against independent references, through the one enhance path."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from longexposure.data import evaluate as evaluating
from longexposure.data.evaluate import Evaluation, ImageScore, evaluate, write_evaluation
from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import CheckpointError, InputError, OutputError
from longexposure.io import png_bytes, write_radiograph
from longexposure.radiograph import Radiograph, Step

Array = npt.NDArray[Any]


def image(seed: int, noise: float, *, full_scale: float = 65535) -> Array:
    y, x = np.mgrid[:48, :64]
    clean = 0.3 + 0.004 * x - 0.1 * ((y - 20) ** 2 + (x - 30) ** 2 < 100)
    return full_scale * (clean + np.random.default_rng(seed).normal(0, noise, clean.shape))


def write(path: Path, pixels: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(["a", "b"]):
        write(tmp_path / "pairs/LQ" / f"{name}.tif", image(number, 0.03 + 0.03 * number).astype(np.uint16))
        write(tmp_path / "pairs/HQ" / f"{name}.tif", image(number + 9, 0.005).astype(np.uint16))
    return tmp_path / "pairs"


def read(folder: Path, part: str, name: str) -> Array:
    return np.asarray(tifffile.imread(folder / part / f"{name}.tif"))


def similarity(one: Array, other: Array, data_range: float) -> float:
    return float(
        structural_similarity(
            one.astype(float),
            other.astype(float),
            data_range=data_range,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def test_scores_are_those_of_scikit_image(folder: Path) -> None:
    evaluation = evaluate(folder, ["gaussian"], device="cpu")
    for score in evaluation.images:
        lq, hq = read(folder, "LQ", score.name), read(folder, "HQ", score.name)
        enhanced = load_enhancer("gaussian").enhance(lq)
        assert score.data_range == 65535
        assert score.lq.psnr == pytest.approx(peak_signal_noise_ratio(hq, lq, data_range=65535))
        assert score.enhanced.psnr == pytest.approx(peak_signal_noise_ratio(hq, enhanced, data_range=65535))
        assert score.lq.ssim == pytest.approx(similarity(lq, hq, 65535), abs=5e-3)
        assert score.enhanced.ssim == pytest.approx(similarity(enhanced, hq, 65535), abs=5e-3)
        assert score.enhanced.bias == pytest.approx(enhanced.astype(float).mean() - hq.astype(float).mean())
        assert score.lq_clean is None
        assert score.seconds > 0


def test_identity_scores_as_the_short_exposure(folder: Path) -> None:
    (row,) = evaluate(folder, ["identity"], device="cpu").summary()
    assert row["PSNR"] == row["PSNR LQ"]
    assert row["SSIM"] == row["SSIM LQ"]


def test_the_summary_averages_psnr_over_the_images_in_db(folder: Path) -> None:
    evaluation = evaluate(folder, ["identity"], device="cpu")
    expected = np.mean(
        [
            peak_signal_noise_ratio(read(folder, "HQ", name), read(folder, "LQ", name), data_range=65535)
            for name in "ab"
        ]
    )
    assert evaluation.summary()[0]["PSNR LQ"] == pytest.approx(expected)


def test_every_model_gets_a_row_in_the_order_asked_for(folder: Path) -> None:
    rows = evaluate(folder, ["nlm", "identity", "gaussian"], device="cpu").summary()
    assert [row["model"] for row in rows] == ["nlm", "identity", "gaussian"]
    assert all(row["images"] == 2 and row["s/Mpx"] > 0 and row["data range"] == "65535" for row in rows)


def test_a_smoother_scores_above_the_noisy_image(folder: Path) -> None:
    (row,) = evaluate(folder, ["gaussian"], device="cpu").summary()
    assert row["PSNR"] > row["PSNR LQ"]
    assert row["SSIM"] > row["SSIM LQ"]


def test_clean_images_are_scored_against_where_there_are_any(folder: Path) -> None:
    write(folder / "clean/a.tif", image(0, 0).astype(np.uint16))
    evaluation = evaluate(folder, ["identity"], device="cpu")
    with_clean, without = evaluation.images
    clean, lq = read(folder, "clean", "a"), read(folder, "LQ", "a")
    assert with_clean.lq_clean is not None
    assert with_clean.lq_clean.psnr == pytest.approx(peak_signal_noise_ratio(clean, lq, data_range=65535))
    assert without.lq_clean is None
    assert evaluation.summary()[0]["PSNR, clean"] == pytest.approx(with_clean.lq_clean.psnr)


def test_eight_bits_are_scored_on_their_own_full_scale(tmp_path: Path) -> None:
    lq, hq = (image(seed, 0.02, full_scale=255).astype(np.uint8) for seed in (0, 1))
    write(tmp_path / "LQ/a.tif", lq)
    write(tmp_path / "HQ/a.tif", hq)
    (score,) = evaluate(tmp_path, ["identity"], device="cpu").images
    assert score.data_range == 255
    assert score.lq.psnr == pytest.approx(peak_signal_noise_ratio(hq, lq, data_range=255))


def test_float_images_need_a_data_range(tmp_path: Path) -> None:
    for seed, part in enumerate(("LQ", "HQ")):
        write(tmp_path / part / "a.tif", image(seed, 0.02, full_scale=1).astype(np.float32))
    with pytest.raises(InputError, match="a data range"):
        evaluate(tmp_path, ["identity"], device="cpu")
    (score,) = evaluate(tmp_path, ["identity"], device="cpu", data_range=2.0).images
    assert score.data_range == 2.0


@pytest.mark.parametrize("data_range", [0.0, -1.0, float("nan"), float("inf")])
def test_a_data_range_that_is_none_is_refused(folder: Path, data_range: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        evaluate(folder, ["identity"], device="cpu", data_range=data_range)


@pytest.mark.parametrize("models", [[], ["nlm", "nlm"]])
def test_models_are_named_once(folder: Path, models: list[str]) -> None:
    with pytest.raises(InputError, match="each named once"):
        evaluate(folder, models)


def test_an_unknown_model_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing-like-it"):
        evaluate(folder, ["nothing-like-it"])


def test_a_folder_that_does_not_pair_up_is_refused(folder: Path) -> None:
    (folder / "HQ/a.tif").unlink()
    with pytest.raises(InputError, match="no partner"):
        evaluate(folder, ["identity"])


def test_each_image_is_told_as_it_is_done(folder: Path) -> None:
    told: list[ImageScore] = []
    evaluation = evaluate(folder, ["identity", "gaussian"], device="cpu", on_image=told.append)
    assert tuple(told) == evaluation.images
    assert [(score.model, score.name) for score in told] == [
        ("identity", "a"),
        ("identity", "b"),
        ("gaussian", "a"),
        ("gaussian", "b"),
    ]


def test_every_pixel_goes_through_the_one_enhance_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Black:
        name = "black"

        def enhance(self, pixels: Array) -> Array:
            return np.zeros_like(pixels)

        def describe(self) -> dict[str, Any]:
            return {"model": "black"}

    monkeypatch.setattr(evaluating, "load_enhancer", lambda *args, **kwargs: Black())
    (score, _) = evaluate(folder, ["black"]).images
    assert score.enhanced.bias == pytest.approx(-float(read(folder, "HQ", "a").mean(dtype=float)))


@pytest.fixture
def evaluation(folder: Path) -> Evaluation:
    return evaluate(folder, ["identity"], device="cpu")


def test_what_is_written_says_how_it_was_obtained(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(evaluation, tmp_path / "new" / "scores.json")
    content = json.loads((tmp_path / "new" / "scores.json").read_text())
    assert content["data"] == "pairs"
    assert content["setting"]["versions"]["longexposure"]
    assert content["setting"]["threads"] >= 1
    assert "weights_sha256" in content["models"]["identity"]
    assert content["summary"] == json.loads(json.dumps(evaluation.summary()))
    assert [entry["name"] for entry in content["images"]] == ["a", "b"]
    assert content["images"][0]["data_range"] == 65535


def test_equal_images_are_written_as_valid_json(tmp_path: Path) -> None:
    same = image(0, 0.02).astype(np.uint16)
    write(tmp_path / "LQ/a.tif", same)
    write(tmp_path / "HQ/a.tif", same)
    write_evaluation(evaluate(tmp_path, ["identity"], device="cpu"), tmp_path / "scores.json")
    content = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
    assert content["images"][0]["lq"]["psnr"] is None


def test_a_result_that_exists_is_kept_unless_overwriting(evaluation: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="an existing file"):
        write_evaluation(evaluation, path)
    assert path.read_text() == "mine"
    write_evaluation(evaluation, path, overwrite=True)
    assert json.loads(path.read_text())["data"] == "pairs"


def test_a_folder_in_the_way_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a folder"):
        write_evaluation(evaluation, tmp_path, overwrite=True)


def test_a_full_disk_leaves_the_old_result_and_no_partial_file(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "out" / "scores.json"
    write_evaluation(evaluation, path)
    before = path.read_bytes()
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_evaluation(evaluation, path, overwrite=True)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [before]


def pair_of(folder: Path, lq: Array, hq: Array, **options: Any) -> Path:
    for part, pixels in (("LQ", lq), ("HQ", hq)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / part / "a.tif", pixels, metadata=None, **options)
    return folder


def twelve_bits(*, bits: int = 12) -> tuple[Array, Array]:
    lq, hq = (image(seed, 0.02, full_scale=2**bits - 1) for seed in (0, 1))
    return lq.astype(np.uint16), hq.astype(np.uint16)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15])
def test_sixteen_bit_files_of_fewer_bits_are_asked_about(tmp_path: Path, bits: int) -> None:
    lq, hq = twelve_bits(bits=bits)
    folder = pair_of(tmp_path, lq, hq)
    with pytest.raises(InputError, match=f"up to {max(lq.max(), hq.max())} and no word.*--data-range.*65535"):
        evaluate(folder, ["identity"], device="cpu")
    (score,) = evaluate(folder, ["identity"], device="cpu", data_range=2**bits - 1).images
    assert score.lq.psnr == pytest.approx(peak_signal_noise_ratio(hq, lq, data_range=2**bits - 1))


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("by", ["tag", "packed", "ome"])
def test_significant_bits_that_the_files_tell_are_the_data_range(tmp_path: Path, bits: int, by: str) -> None:
    lq, hq = twelve_bits(bits=bits)
    options: dict[str, Any] = {"extratags": [(281, 3, 1, 2**bits - 1, True)]}
    if by == "packed":
        options = {"bitspersample": bits}
    elif by == "ome":
        options = {
            "description": '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="64" '
            f'SizeY="48" SizeZ="1" SizeC="1" SizeT="1" SignificantBits="{bits}">'
            "<TiffData/></Pixels></Image></OME>"
        }
    (score,) = evaluate(pair_of(tmp_path, lq, hq, **options), ["identity"], device="cpu").images
    assert score.data_range == 2**bits - 1
    assert score.lq.psnr == pytest.approx(peak_signal_noise_ratio(hq, lq, data_range=2**bits - 1))


@pytest.mark.parametrize("scaled", [False, True])
def test_significant_bits_of_a_png_count_unless_its_values_were_scaled_up(
    tmp_path: Path, scaled: bool
) -> None:
    chunk = struct.pack(">I", 1) + b"sBIT\x0a" + struct.pack(">I", zlib.crc32(b"sBIT\x0a"))
    for part, pixels in zip(("LQ", "HQ"), twelve_bits(bits=9 if scaled else 10), strict=True):
        encoded = png_bytes(pixels // 64 * 64 if scaled else pixels)
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.png").write_bytes(encoded[:33] + chunk + encoded[33:])
    if scaled:  # as the format wants it: dark, but not of 10 bits
        with pytest.raises(InputError, match="data range"):
            evaluate(tmp_path, ["identity"], device="cpu")
    else:
        assert evaluate(tmp_path, ["identity"], device="cpu").images[0].data_range == 1023


def test_files_that_say_sixteen_bits_are_believed_however_dark(tmp_path: Path) -> None:
    folder = pair_of(tmp_path, *twelve_bits(), extratags=[(281, 3, 1, 65535, True)])
    assert evaluate(folder, ["identity"], device="cpu").images[0].data_range == 65535


def test_files_that_say_fewer_bits_than_they_use_are_asked_about(tmp_path: Path) -> None:
    folder = pair_of(tmp_path, *twelve_bits(bits=14), extratags=[(281, 3, 1, 4095, True)])
    with pytest.raises(InputError, match="16383 or 65535"):
        evaluate(folder, ["identity"], device="cpu")


def test_each_machine_type_has_its_own_data_range(tmp_path: Path) -> None:
    pair_of(tmp_path / "S1", *twelve_bits(), extratags=[(281, 3, 1, 4095, True)])
    pair_of(tmp_path / "S2", *twelve_bits(bits=16))
    images = evaluate(tmp_path, ["identity"], device="cpu").images
    assert {score.name: score.data_range for score in images} == {"S1/a": 4095, "S2/a": 65535}


def test_one_bright_file_of_a_machine_type_shows_the_range_of_all(tmp_path: Path) -> None:
    pair_of(tmp_path / "one/S1", *twelve_bits())
    pair_of(tmp_path / "two/S1", *twelve_bits(bits=16))
    assert {score.data_range for score in evaluate(tmp_path, ["identity"], device="cpu").images} == {65535}


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_grey_values_that_are_no_counts_are_asked_about(tmp_path: Path, dtype: str) -> None:
    lq, hq = (pixels.astype(dtype) for pixels in twelve_bits())
    with pytest.raises(InputError, match="data range"):
        evaluate(pair_of(tmp_path, lq, hq), ["identity"], device="cpu")


def test_simulated_sets_say_their_own_bits(tmp_path: Path) -> None:
    step = Step("longexposure", "1", "simulate", {"machine": "x", "bits": 12})
    for part, pixels in zip(("LQ", "HQ"), twelve_bits(), strict=True):
        (tmp_path / part).mkdir()
        write_radiograph(Radiograph(pixels, history=(step,)), tmp_path / part / "a.tif")
    assert evaluate(tmp_path, ["identity"], device="cpu").images[0].data_range == 4095
