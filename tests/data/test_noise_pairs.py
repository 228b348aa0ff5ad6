"""Noise between exposures: every number against noise that was put in, and what is written."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from scipy import stats
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from longexposure.cli.app import app
from longexposure.data.noise_pairs import analyse_noise
from longexposure.errors import InputError, OutputError
from longexposure.noise.pair_statistics import NoiseAnalysis, SetAnalysis
from longexposure.report.noise_pairs import meaning, write_analysis

Array = npt.NDArray[Any]
SIZE = 160


def scene(seed: int) -> Array:
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=(SIZE, SIZE)), 12, mode="wrap")
    return 20000 + 5000 * smooth / smooth.std()


def put(root: Path, name: str, lq: Array, hq: Array) -> None:
    for part, image in (("LQ", lq), ("HQ", hq)):
        path = root / "S1" / "test" / part / f"{name}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = image if image.dtype == np.float32 else np.clip(np.rint(image), 0, 65535).astype(np.uint16)
        tifffile.imwrite(path, kept)


def quantum_set(
    root: Path, *, count: int = 6, blur: float = 0.0, bias: float = 0.0, drift: float = 0.0
) -> Path:
    for index in range(count):
        clean, random = scene(index), np.random.default_rng((5, index))
        grains = random.normal(size=(2, SIZE, SIZE))
        if blur:
            grains = (grains + blur * np.roll(grains, 1, axis=2)) / np.hypot(1, blur)
        lq = clean + grains[0] * np.sqrt(20 * clean)
        hq = clean + grains[1] * np.sqrt(20 * clean / 18) + bias + drift * (-1) ** index
        put(root, f"{index:05}", lq, hq)
    return root


@pytest.fixture(scope="module")
def quantum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantum_set(tmp_path_factory.mktemp("quantum"))


def only(analysis: SetAnalysis) -> NoiseAnalysis:
    (noise,) = analysis.machines
    return noise


def differences(root: Path) -> Array:
    folder = root / "S1" / "test"
    return np.stack(
        [
            tifffile.imread(folder / "HQ" / file.name).astype(float) - tifffile.imread(file)
            for file in sorted((folder / "LQ").iterdir())
        ]
    )


def test_moments_are_those_of_scipy_over_all_pixels(quantum: Path) -> None:
    noise, apart = only(analyse_noise(quantum)), differences(quantum)
    assert (noise.machine, noise.pairs, noise.of_pairs, noise.pixels) == ("S1", 6, 6, apart.size)
    assert noise.moments.mean == pytest.approx(apart.mean())
    assert noise.moments.sd == pytest.approx(apart.std())
    assert noise.moments.skewness == pytest.approx(stats.skew(apart.ravel()), abs=1e-9)
    assert noise.moments.kurtosis == pytest.approx(stats.kurtosis(apart.ravel()), abs=1e-9)
    assert noise.histogram.counts.sum() == apart.size
    assert noise.normality is not None
    assert noise.normality.k2 == pytest.approx(stats.normaltest(apart.ravel()).statistic, rel=1e-6)


def test_heavy_tails_of_mixed_grey_values_are_told_from_those_of_the_noise(
    quantum: Path, tmp_path: Path
) -> None:
    mixed = only(analyse_noise(quantum))
    assert mixed.moments.kurtosis > 0.1
    assert abs(mixed.within_kurtosis) < 0.05
    assert any("different noise is mixed" in line for line in meaning(mixed))
    for index in range(4):
        clean, random = scene(index), np.random.default_rng((6, index))
        put(tmp_path, f"{index}", clean + 300 * random.standard_t(6, clean.shape), clean)
    heavy = only(analyse_noise(tmp_path))
    assert heavy.within_kurtosis > 1
    assert not any("different noise is mixed" in line for line in meaning(heavy))


def test_variance_follows_the_signal_by_the_gain_put_in_for_either_exposure(quantum: Path) -> None:
    noise = only(analyse_noise(quantum))
    level, apart, lq, hq = noise.signal[:, :4].T
    np.testing.assert_allclose(apart, 20 * level * 19 / 18, rtol=0.08)
    np.testing.assert_allclose(lq, 20 * level, rtol=0.1)
    assert np.median(hq / level) == pytest.approx(20 / 18, rel=0.15)
    assert noise.line is not None
    assert noise.line[1] == pytest.approx(20 * 19 / 18, rel=0.1)


def test_zero_mean_noise_is_not_called_biased_anywhere(quantum: Path) -> None:
    zero = only(analyse_noise(quantum)).zero_mean
    assert abs(zero.mean) < 3.5 * zero.error_if_independent
    assert np.all(np.abs(zero.by_level) < 0.05 * 650)
    steep = np.polyfit(zero.level, zero.by_level, 1)[0]
    assert abs(steep) < 0.002  # bins taken from HQ alone would show a slope: its own noise sorts them
    apart = differences(scene_root := quantum)
    hq = np.stack([tifffile.imread(f) for f in sorted((scene_root / "S1/test/LQ").iterdir())]).astype(float)
    low, high = (apart[(hq > a) & (hq < b)].mean() for a, b in ((0, 13000), (27000, 65535)))
    assert low > 20 > -20 > high  # as it does when the bins come from LQ


def test_a_bias_is_found_and_a_drift_widens_its_error(tmp_path: Path) -> None:
    biased = only(analyse_noise(quantum_set(tmp_path / "bias", bias=50)))
    assert biased.zero_mean.mean == pytest.approx(50, abs=4)
    assert biased.zero_mean.mean > 5 * biased.zero_mean.error
    drifting = only(analyse_noise(quantum_set(tmp_path / "drift", drift=200)))
    assert drifting.zero_mean.error == pytest.approx(200 / np.sqrt(5), rel=0.15)
    assert drifting.zero_mean.error > 50 * drifting.zero_mean.error_if_independent
    assert any("not to be told from zero" in line for line in meaning(drifting))


def test_the_spectrum_is_that_of_the_filter_put_in_and_integrates_to_the_variance(tmp_path: Path) -> None:
    noise = only(analyse_noise(quantum_set(tmp_path, blur=0.5)))
    assert noise.spectrum is not None
    assert noise.spectrum.variance == pytest.approx(noise.moments.variance, rel=0.03)
    frequency, horizontal, vertical = noise.spectrum.axes()
    transfer = (1.25 + np.cos(2 * np.pi * frequency)) / 1.25
    shape = horizontal / horizontal[2:].mean()
    assert np.abs(shape[2:] - transfer[2:] / transfer[2:].mean()).mean() < 0.12
    assert vertical[2:].std() < 0.2 * vertical[2:].mean()
    assert noise.spectrum.autocorrelation(lags=1)[1, 2] == pytest.approx(0.4, abs=0.02)


def test_float_files_give_the_same_as_whole_numbers(quantum: Path, tmp_path: Path) -> None:
    for file in sorted((quantum / "S1/test/LQ").iterdir()):
        lq, hq = (tifffile.imread(quantum / "S1/test" / part / file.name) for part in ("LQ", "HQ"))
        put(tmp_path, file.stem, (lq / 65535).astype(np.float32), (hq / 65535).astype(np.float32))
    whole, small = only(analyse_noise(quantum)), only(analyse_noise(tmp_path))
    assert small.moments.sd * 65535 == pytest.approx(whole.moments.sd, rel=1e-4)
    assert small.normality is not None
    assert whole.normality is not None
    assert small.normality.distance == pytest.approx(whole.normality.distance, abs=2e-3)


def test_pairs_are_chosen_evenly_and_what_cannot_be_used_is_named(quantum: Path, tmp_path: Path) -> None:
    import shutil

    root = Path(shutil.copytree(quantum, tmp_path / "set"))
    (root / "S1/test/LQ/00001.tif").write_bytes(b"torn")
    (root / "S1/test/HQ/00002.tif").unlink()
    seen: list[str] = []
    analysis = analyse_noise(root, pairs=3, on_pair=lambda done, of, name: seen.append(name))
    assert seen == ["S1/test/00000", "S1/test/00003", "S1/test/00005"]
    assert set(analysis.left_out) == {"S1/test/00002"}
    everything = analyse_noise(root)
    assert set(everything.left_out) == {"S1/test/00001", "S1/test/00002"}
    assert only(everything).pairs == 4
    assert "4 of 5 pairs of S1" in everything.sampled


def test_a_folder_without_a_usable_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pairs"):
        analyse_noise(tmp_path)
    put(tmp_path, "a", scene(0), scene(0)[:80])
    with pytest.raises(InputError, match="sizes or types differ"):
        analyse_noise(tmp_path)


def test_page_table_json_and_charts_are_written_together_and_say_the_same(
    quantum: Path, tmp_path: Path
) -> None:
    analysis = analyse_noise(quantum)
    files = write_analysis(analysis, tmp_path / "out")
    names = {file.name for file in files}
    assert {"noise.html", "noise.md", "noise.json", "S1-histogram.svg", "S1-spectrum-2d.svg"} <= names
    written = json.loads((tmp_path / "out" / "noise.json").read_text())["machines"]["S1"]
    assert written["sd"] == only(analysis).moments.sd
    assert written["meaning"] == meaning(only(analysis))
    page, text = ((tmp_path / "out" / name).read_text() for name in ("noise.html", "noise.md"))
    for name in names:
        if name.endswith(".svg"):
            ElementTree.parse(tmp_path / "out" / name)
            assert f"]({name})" in text
            assert f'id="{name}"' in page
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", page)
    assert "<script" not in page
    HTMLParser().feed(page)
    with pytest.raises(OutputError, match="free"):
        write_analysis(analysis, tmp_path / "out")
    write_analysis(analysis, tmp_path / "out", overwrite=True)


def test_inputs_are_left_as_they_are(quantum: Path) -> None:
    before = {file: file.read_bytes() for file in sorted(quantum.rglob("*")) if file.is_file()}
    analyse_noise(quantum)
    assert {file: file.read_bytes() for file in sorted(quantum.rglob("*")) if file.is_file()} == before


def test_one_pair_of_equal_images_is_no_error(tmp_path: Path) -> None:
    put(tmp_path, "a", scene(0), scene(0))
    analysis = analyse_noise(tmp_path)
    assert only(analysis).normality is None
    write_analysis(analysis, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "noise.json").read_text())["machines"]["S1"]["mean_error"] is None


def test_the_command_writes_the_page_and_prints_the_table(quantum: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["noise", "pairs", str(quantum), "--out", str(tmp_path / "o"), "--pairs", "3"]
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "o" / "noise.html").is_file()
    assert "S1" in result.stdout
    assert "Noise2Noise needs a zero mean" in result.stdout
    again = CliRunner().invoke(app, ["noise", "pairs", str(quantum), "--out", str(tmp_path / "o")])
    assert again.exit_code == 4
