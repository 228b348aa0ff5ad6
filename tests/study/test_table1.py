"""Table I: every number against scikit-image on the kept weights, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from miniature import TINY, Array, document, spread, write_types
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from longexposure.study import scores, table1
from longexposure.study.sets import PAPER
from longexposure.study.suite import study

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_number_of_table_one_can_be_found_again_from_its_hash(everything: Path, data: Path) -> None:
    """PSNR and SSIM against scikit-image, on what the kept weights make of the test image."""
    from longexposure.enhance.enhancer import load_enhancer

    found = document(everything, "table1")["results"]
    row = "DM + FFL + WHFL"
    for number, key in enumerate(found["hashes"][row]):
        enhancer = load_enhancer(everything / "runs" / key, engine="torch", device="cpu")
        for machine in ("S1", "S3"):
            lq, hq, clean = (
                tifffile.imread(data / machine / "test" / part / "00000.tif")[4:36, 4:36]
                for part in ("LQ", "HQ", "clean")
            )
            image = enhancer.enhance(np.ascontiguousarray(lq))
            for reference, name in ((hq, "hq"), (clean, "clean")):
                ours = found["ours"][row][name][machine]
                assert ours["psnr"]["values"][number] == pytest.approx(psnr_of(image, reference), abs=1e-6)
                assert ours["ssim"]["values"][number] == pytest.approx(ssim_of(image, reference), abs=1e-6)
                shifted = image - (image.mean(dtype=float) - reference.mean(dtype=float))
                unbiased = ours["psnr_bias_removed"]["values"][number]
                assert unbiased == pytest.approx(psnr_of(shifted, reference), abs=1e-6)


def psnr_of(image: Array, reference: Array) -> float:
    return float(peak_signal_noise_ratio(reference.astype(float), image.astype(float), data_range=65535))


def ssim_of(image: Array, reference: Array) -> float:
    """Over the area that the Gaussian of 11 px covers whole."""
    found = structural_similarity(
        reference.astype(float),
        image.astype(float),
        data_range=65535,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )[1]
    return float(found[5:-5, 5:-5].mean())


def test_short_exposure_and_ceiling_rows_are_those_of_scikit_image(everything: Path, data: Path) -> None:
    known = document(everything, "table1")["results"]["known"]
    for machine in ("S1", "S2", "S3"):
        lq, hq, clean = (
            tifffile.imread(data / machine / "test" / part / "00000.tif")[4:36, 4:36]
            for part in ("LQ", "HQ", "clean")
        )
        assert known["LQ"]["hq"][machine]["psnr"]["mean"] == pytest.approx(psnr_of(lq, hq), abs=1e-6)
        assert known["LQ"]["clean"][machine]["ssim"]["mean"] == pytest.approx(ssim_of(lq, clean), abs=1e-6)
        ceiling = known["ceiling (clean)"]["hq"][machine]
        assert ceiling["psnr"]["mean"] == pytest.approx(psnr_of(clean, hq), abs=1e-6)


def test_averages_are_weighted_with_the_papers_test_counts(everything: Path) -> None:
    lq = document(everything, "table1")["results"]["known"]["LQ"]["hq"]
    one, two, three = (lq[machine]["psnr"]["mean"] for machine in ("S1", "S2", "S3"))
    weighted = (427 * one + 200 * two + 208 * three) / 835
    assert lq["image-weighted"]["psnr"]["mean"] == pytest.approx(weighted)
    assert lq["plain mean"]["psnr"]["mean"] == pytest.approx((one + two + three) / 3)


@pytest.mark.parametrize("row", PAPER["rows"])
def test_the_papers_averages_are_weighted_so(row: str) -> None:
    for metric, tolerance in ((0, 0.011), (1, 0.00011)):
        values = {name: numbers[metric] for name, numbers in PAPER["rows"][row].items()}
        weighted = (427 * values["S1"] + 200 * values["S2"] + 208 * values["S3"]) / 835
        assert weighted == pytest.approx(values[scores.WEIGHTED], abs=tolerance)


def test_the_mean_and_spread_over_random_starts_are_in_the_table(everything: Path) -> None:
    found = document(everything, "table1")
    numbers = found["results"]["ours"]["bicubic"]["hq"]["S1"]["psnr"]
    assert len(numbers["values"]) == 2
    assert numbers["values"][0] != numbers["values"][1]
    assert numbers["spread"] == pytest.approx(np.std(numbers["values"], ddof=1))
    shown = next(row for row in found["tables"][0]["rows"] if row[:2] == ["bicubic", "S1"])
    assert shown[2] == f"{np.mean(numbers['values']):.2f} ± {numbers['spread']:.2f}"
    assert shown[4] == "34.91"


def test_a_set_without_clean_images_has_no_ceiling(tmp_path: Path) -> None:
    """As the paper's own: then nothing is called a stand-in either."""
    write_types(tmp_path / "data", train=2, test=1, clean=False)
    (found,) = study(
        "table1", out=tmp_path / "out", data=tmp_path / "data", budget=TINY, device="cpu", seeds=1
    )
    assert found["results"]["known"]["ceiling (clean)"] is None
    assert found["results"]["known"]["LQ"]["clean"] == {}
    assert any(
        row[:3] == ("ceiling (clean)", "S1", "not known") for row in map(tuple, found["tables"][0]["rows"])
    )
    assert not found["data"]["simulated stand-ins"]
    assert all("spread between random starts unknown" in line for line in found["statements"][:4])


def rows(values: dict[str, float], by: float = 0.01) -> dict[str, Any]:
    names = ("S1", "S2", "S3", scores.WEIGHTED)
    return {
        row: {"hq": {name: {"psnr": spread(value, by), "ssim": spread(value, by)} for name in names}}
        for row, value in values.items()
    }


def test_agreement_with_the_paper_counts_what_lies_beyond_the_spread() -> None:
    order = ["bicubic", "bicubic + FFL", "DM + FFL", "DM + FFL + WHFL"]
    rising = rows({row: 1.0 + index for index, row in enumerate(order)})
    _, pairs = table1.agreement(rising, "ssim")
    paper = {
        name: [PAPER["rows"][row][name][1] for row in order] for name in ("S1", "S2", "S3", scores.WEIGHTED)
    }
    expected = sum(
        later > earlier
        for values in paper.values()
        for index, earlier in enumerate(values)
        for later in values[index + 1 :]
    )
    assert len(pairs) == 24
    assert sum(pair["verdict"] == "agrees" for pair in pairs) == expected == 22
    assert sum(pair["verdict"] == "contradicts" for pair in pairs) == 2  # FFL lowers SSIM in S2 and S3
    falling = rows({row: -1.0 * index for index, row in enumerate(order)})
    assert sum(pair["verdict"] == "agrees" for pair in table1.agreement(falling, "ssim")[1]) == 2
    wide = rows({row: 1.0 + index for index, row in enumerate(order)}, by=10.0)
    text, pairs = table1.agreement(wide, "ssim")
    assert {pair["verdict"] for pair in pairs} == {"undecided"}
    assert "0 agree, 0 contradict, 24 lie within" in text


def test_the_full_row_is_said_to_lose_where_it_loses() -> None:
    found = rows({"bicubic": 0.9, "bicubic + FFL": 0.8, "DM + FFL": 0.7, "DM + FFL + WHFL": 0.85})
    lines = table1.full_row_against_others(found)
    assert all("loses to the best other row (bicubic): -0.0500" in line for line in lines)
    found = rows({"bicubic": 0.9, "bicubic + FFL": 0.8, "DM + FFL": 0.7, "DM + FFL + WHFL": 0.95})
    assert all("beats" in line for line in table1.full_row_against_others(found))
