"""Checking a set of pairs: planted faults are found by name, and a clean set is left alone."""

from __future__ import annotations

import csv
import gc
import json
import shutil
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from scipy.ndimage import gaussian_filter, shift
from typer.testing import CliRunner

from longexposure.cli.app import app
from longexposure.data.check import check as checking
from longexposure.data.check.check import CheckReport, check_pairs, write_manifest
from longexposure.data.check.verdicts import Finding, Group, judge_drift
from longexposure.data.pairs import PairedFolder, PairsError
from longexposure.data.registration import Gain
from longexposure.data.simulated_sets import SetPlan, write_set
from longexposure.errors import InputError, OutputError

Array = npt.NDArray[Any]
SIZE = 160


def scene(seed: int) -> Array:
    random = np.random.default_rng(seed)
    smooth = gaussian_filter(random.normal(size=(SIZE, SIZE)), 6, mode="reflect")
    image = (smooth - smooth.min()) / np.ptp(smooth)
    y, x = np.mgrid[:SIZE, :SIZE]
    for cy, cx, radius in random.uniform(0, SIZE, (12, 3)):
        image = image * np.where((y - cy) ** 2 + (x - cx) ** 2 < (radius / 20 + 4) ** 2, 0.6, 1)
    return 6000 + 30000 * gaussian_filter(image, 1.0)


def exposures(
    clean: Array, *, seed: int, ratio: float = 18.0, moved: Array | None = None
) -> tuple[Array, Array]:
    """Quantum noise of 20 grey values a quantum, and of a long exposure of `ratio` times the time."""
    random = np.random.default_rng((7, seed))
    target = clean if moved is None else moved
    lq = clean + random.normal(size=clean.shape) * np.sqrt(20 * clean)
    hq = target + random.normal(size=clean.shape) * np.sqrt(20 * target / ratio)
    return whole(lq), whole(hq)


def whole(image: Array) -> Array:
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)


def put(root: Path, name: str, lq: Array, hq: Array) -> None:
    folder, _, stem = name.rpartition("/")
    for part, image in (("LQ", lq), ("HQ", hq)):
        (root / folder / part).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(root / folder / part / f"{stem}.tif", image)


@pytest.fixture(scope="session")
def clean_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    for index in range(10):
        machine = "S1" if index < 6 else "S2"
        split = "test" if index in (4, 5, 9) else "train"
        put(root, f"{machine}/{split}/{index:05}", *exposures(scene(index), seed=index))
    return root


@pytest.fixture
def own(clean_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean_set, tmp_path / "set"))


def bad(report: CheckReport) -> dict[str, Finding]:
    return {finding.check: finding for finding in report.findings if finding.verdict != "fine"}


def test_nothing_is_flagged_on_a_clean_set_and_its_numbers_are_those_put_in(clean_set: Path) -> None:
    report = check_pairs(clean_set, exposures_s=(5, 90))
    assert not bad(report)
    assert (report.verdict, report.exit_code) == ("fine", 0)
    numbers = report.machines["all"]
    assert numbers["splits"] == {"train": 7, "test": 3}
    assert numbers["noise_ratio"] == pytest.approx(np.sqrt(18), rel=0.06)
    assert numbers["gain"]["median"] == pytest.approx(1, abs=0.005)
    assert numbers["shift_px"]["median"] < 0.05
    assert numbers["sigma_lq"]["median"] == pytest.approx(np.sqrt(20 * numbers["level"]), rel=0.05)
    assert numbers["variance_lq"]["slope"] == pytest.approx(20, rel=0.15)
    assert numbers["corr_lq"] == pytest.approx([0, 0], abs=0.03)
    assert "100 % of the pixels" in report.sampled


def test_inputs_are_left_as_they_are(own: Path) -> None:
    before = {file: file.read_bytes() for file in sorted(own.rglob("*")) if file.is_file()}
    check_pairs(own)
    assert {file: file.read_bytes() for file in sorted(own.rglob("*")) if file.is_file()} == before


def test_everything_wrong_with_files_is_listed_at_once_and_training_refuses(own: Path) -> None:
    (own / "S1/train/HQ/00000.tif").unlink()
    torn = own / "S1/train/LQ/00001.tif"
    torn.write_bytes(torn.read_bytes()[:900])
    tifffile.imwrite(own / "S1/train/HQ/00002.tif", np.zeros((SIZE, SIZE - 1), np.uint16))
    tifffile.imwrite(own / "S2/train/LQ/00006.tif", np.zeros((2, SIZE, SIZE), np.uint16))
    for part in ("LQ", "HQ"):
        (own / "S3" / "test" / part).mkdir(parents=True)
        small = tifffile.imread(own / "S2/train" / part / "00007.tif")
        tifffile.imwrite(own / "S2/train" / part / "00007.tif", (small // 256).astype(np.uint8))
    found = bad(check_pairs(own))
    files = found["files"]
    assert files.verdict == "drop"
    text = "; ".join(files.pairs.values())
    for part in (
        "S1/train/LQ/00000.tif has no partner in HQ",
        "S1/train/LQ/00001.tif",
        "S1/train/00002: sizes or types differ",
        "S2/train/00006: LQ holds 2 images",
    ):
        assert part in text, part
    assert (
        list(found["size and depth"].pairs) == ["S2/train/00007"] or len(found["size and depth"].pairs) == 1
    )
    assert "S3/test: LQ and HQ hold no images" in "; ".join(found["splits"].pairs.values())
    with pytest.raises(PairsError, match="check-pairs") as caught:
        PairedFolder(own)
    told = "; ".join(caught.value.problems)
    for part in ("00000.tif", "00001.tif", "00002", "00006", "S2 mixes depths", "S3/test"):
        assert part in told, part


def _shifted(root: Path) -> None:
    for index in range(4):
        clean = scene(index)
        moved = shift(clean, (0.6, -0.4), order=5, mode="reflect")
        put(root, f"S1/train/{index:05}", *exposures(clean, seed=index, moved=moved))


def _one_shifted(root: Path) -> None:
    moved = shift(scene(2), (1.5, 0), order=5, mode="reflect")
    put(root, "S1/train/00002", *exposures(scene(2), seed=2, moved=moved))


def _wrong_partner(root: Path) -> None:
    put(root, "S1/train/00002", exposures(scene(2), seed=2)[0], exposures(scene(77), seed=3)[1])


def _constant(root: Path) -> None:
    put(root, "S1/train/00002", exposures(scene(2), seed=2)[0], np.full((SIZE, SIZE), 7, np.uint16))


def _same_image(root: Path) -> None:
    lq, _ = exposures(scene(2), seed=2)
    put(root, "S1/train/00002", lq, lq)


def _counts(root: Path) -> None:
    for index in range(6):
        lq, hq = exposures(scene(index) / 20, seed=index)
        put(root, f"S1/{'train' if index < 4 else 'test'}/{index:05}", lq, whole(hq * 18.0))


def _drifting(root: Path) -> None:
    lq, hq = exposures(scene(2), seed=2)
    put(root, "S1/train/00002", lq, whole(hq * 0.97))


def _drifted(path: Path, factors: Sequence[float]) -> CheckReport:
    for index, factor in enumerate(factors):
        lq, hq = exposures(scene(index), seed=index)
        put(path, f"S1/{index:03}", whole(lq * factor), hq)
    return check_pairs(path)


def test_a_tube_that_wanders_as_tubes_do_is_no_fault(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    assert not bad(_drifted(tmp_path / "evenly", 1 + random.uniform(-0.03, 0.03, 12)))
    assert not bad(_drifted(tmp_path / "in two heaps", 1 + np.tile([-0.03, 0.03], 6)))
    assert not bad(_drifted(tmp_path / "three pairs", (0.98, 1.0, 1.03)))


def test_a_tube_that_wanders_more_and_a_pair_that_stands_out_are_found(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    usual = list(1 + random.uniform(-0.03, 0.03, 11))
    found = bad(_drifted(tmp_path / "one", [*usual, 0.7]))
    assert list(found["drift"].pairs) == ["S1/011"]
    assert "drift" in bad(_drifted(tmp_path / "all", 1 + random.uniform(-0.25, 0.25, 12)))
    common = bad(_drifted(tmp_path / "in common", np.array(usual) + 0.1))
    assert list(common) == ["gain, offset"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 30, 160])
def test_sets_that_wander_evenly_are_blamed_once_in_a_hundred(count: int) -> None:
    """Of machines of every contrast, whose pairs are known to a tenth of a per cent."""
    random = np.random.default_rng(count)
    blamed = 0
    for _ in range(200):
        wanders = random.choice([random.uniform(0.001, 0.03), 0.0])
        pairs = [
            SimpleNamespace(
                name=str(number),
                span=float(random.uniform(3000, 20000)),
                noise=SimpleNamespace(level=15000.0),
                gain=Gain(
                    1 + random.uniform(-1, 1) * wanders, random.normal(0, 15), 1e-3, 50.0, 400, 15000.0
                ),
            )
            for number in range(count)
        ]
        blamed += bool(list(judge_drift(Group("S1", []), pairs)))  # type: ignore[arg-type]
    assert blamed <= 4


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["S1", "S2", "S3", "wide"])
@pytest.mark.parametrize("drift", ["", "exposures.drift=0", "exposures.drift={ uniform = [-0.2, 0.2] }"])
def test_of_simulated_machines_drift_alone_is_blamed(machine: str, drift: str, tmp_path: Path) -> None:
    overrides = ("image.height=320", "image.width=320", *filter(None, [drift]))
    plan = SetPlan(machine=machine, split="train", count=24, seed=3, out=tmp_path, overrides=overrides)
    write_set(plan, workers=0)
    found = bad(check_pairs(tmp_path))
    assert ("drift" in found) == ("0.2" in drift)
    assert "gain, offset" not in found
    if not drift:  # and one pair whose long exposure lost a quarter of its dose
        path = plan.root / "HQ" / "00007.tif"
        tifffile.imwrite(path, whole(0.75 * tifffile.imread(path).astype(float)))
        assert f"{machine}/train/00007" in bad(check_pairs(tmp_path))["drift"].pairs


def _clipped(root: Path) -> None:
    lq, hq = exposures(scene(2), seed=2)
    top = int(np.quantile(hq, 0.95))
    put(root, "S1/train/00002", np.minimum(lq, top), np.minimum(hq, top))


def _spoilt(root: Path) -> None:
    lq, hq = exposures(scene(2), seed=2)
    top = int(np.quantile(hq, 0.4))
    put(root, "S1/train/00002", np.minimum(lq, top), np.minimum(hq, top))


def _swapped(root: Path) -> None:
    lq, hq = exposures(scene(2), seed=2)
    put(root, "S1/train/00002", hq, lq)


def _copied(root: Path) -> None:
    put(root, "S1/train/00002", *exposures(scene(1), seed=1))


def _leaking(root: Path) -> None:
    put(root, "S1/train/00002", *exposures(scene(4), seed=99))  # the scene of S1/test/00004 once more


def _no_test(root: Path) -> None:
    shutil.rmtree(root / "S2" / "test")


def _half_declared(root: Path) -> None:
    put(root, "S1/extra", *exposures(scene(50), seed=50))


@pytest.mark.parametrize(
    ("plant", "check", "verdict", "named"),
    [
        (_shifted, "shift", "fix", "S1/train/00000"),
        (_one_shifted, "shift", "fix", "S1/train/00002"),
        (_wrong_partner, "same scene", "drop", "S1/train/00002"),
        (_constant, "same scene", "drop", "S1/train/00002"),
        (_same_image, "same scene", "drop", "S1/train/00002"),
        (_counts, "gain, offset", "fix", None),
        (_drifting, "drift", "fix", "S1/train/00002"),
        (_clipped, "clipping", "fix", "S1/train/00002"),
        (_spoilt, "clipping", "drop", "S1/train/00002"),
        (_swapped, "noise level", "drop", "S1/train/00002"),
        (_copied, "duplicates", "drop", "S1/train/00002"),
        (_leaking, "leakage", "drop", "S1/train/00002"),
        (_no_test, "splits", "fix", "S2/test"),
        (_half_declared, "splits", "fix", "S1"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_a_planted_fault_is_found_by_name_and_no_other_pair_is_blamed(
    own: Path, plant: Callable[[Path], None], check: str, verdict: str, named: str | None
) -> None:
    plant(own)
    report = check_pairs(own)
    found = bad(report)
    assert check in found, found
    assert found[check].verdict == verdict
    assert found[check].reason
    assert found[check].advice
    assert report.exit_code == checking.EXIT_CODE == 3
    blamed = {name for finding in found.values() for name in finding.pairs}
    if named is not None:
        assert named in blamed
        if plant is not _shifted:
            assert blamed == {named}
    assert not [finding for finding in found.values() if finding.machine == "S2" and plant is not _no_test]


def test_the_advice_on_a_common_shift_undoes_it(own: Path) -> None:
    for index in range(6):
        moved = shift(scene(index), (0.6, -0.4), order=5, mode="reflect")
        name = f"S1/{'train' if index < 4 else 'test'}/{index:05}"
        put(own, name, *exposures(scene(index), seed=index, moved=moved))
    finding = bad(check_pairs(own))["shift"]
    down, right = (float(word) for word in finding.advice.split() if word.lstrip("+-")[:1].isdigit())
    assert (down, right) == pytest.approx((-0.6, 0.4), abs=0.05)


def test_raw_counts_are_recognised_by_the_ratio_of_the_times(own: Path) -> None:
    _counts(own)
    report = check_pairs(own, exposures_s=(5, 90), include=["S1/*"])
    assert "raw counts" in bad(report)["gain, offset"].reason
    assert report.machines["S1"]["gain"]["median"] == pytest.approx(18, rel=0.01)
    assert report.machines["S1"]["noise_ratio"] == pytest.approx(np.sqrt(18), rel=0.1)


@pytest.mark.parametrize(
    ("ratio", "verdict", "words"),
    [(6.0, "fix", "noisier"), (18.0, "fine", "quanta"), (900.0, "fix", "cleaner")],
)
def test_the_law_of_the_square_root_is_tested_when_times_are_known(
    tmp_path: Path, ratio: float, verdict: str, words: str
) -> None:
    for index in range(5):
        faint = 20000 + (scene(index) - 20000) / 10
        put(tmp_path, f"S1/{index}", *exposures(faint, seed=index, ratio=ratio))
    report = check_pairs(tmp_path, exposures_s=(5, 90))
    law = next(finding for finding in report.findings if finding.check == "sqrt(t) law")
    assert law.verdict == verdict
    assert words in law.reason


def test_electronic_noise_is_told_from_quanta(tmp_path: Path) -> None:
    for index in range(6):
        clean, random = scene(index), np.random.default_rng((8, index))
        quanta, read = 10.0 * clean, 10.0 * 20000  # half and half of the variance at 20000
        lq = clean + random.normal(size=clean.shape) * np.sqrt(quanta + read)
        hq = clean + random.normal(size=clean.shape) * np.sqrt(quanta / 18 + read / 324)
        put(tmp_path, f"S3/{index}", whole(lq), whole(hq))
    report = check_pairs(tmp_path, exposures_s=(5, 90))
    law = next(finding for finding in report.findings if finding.check == "sqrt(t) law")
    fraction = float(law.reason.split()[1])
    assert law.verdict == "fine"
    assert fraction == pytest.approx(50, abs=12)


def test_two_takes_of_one_scene_without_a_declared_split_become_one_object(tmp_path: Path) -> None:
    for index in range(8):
        put(tmp_path, f"mine/{index:02}", *exposures(scene(index // 2), seed=index))
    report = check_pairs(tmp_path)
    assert bad(report)["near duplicates"].verdict == "fix"
    write_manifest(report, tmp_path / "list.csv")
    rows = list(csv.DictReader((tmp_path / "list.csv").read_text().splitlines()))
    objects = [row["object"] for row in rows]
    assert [objects.count(item) for item in objects] == [2] * 8
    sides = {(row["object"], row["split"]) for row in rows}
    assert len(sides) == 4
    again = check_pairs(tmp_path / "list.csv")
    assert not bad(again)


def test_views_of_one_object_on_both_sides_are_leakage(tmp_path: Path) -> None:
    for index, split in enumerate(("train", "train", "test", "train", "test")):
        name = f"S1/{split}/board{index // 2}_view{index}"
        put(tmp_path, name, *exposures(scene(index), seed=index))
    finding = bad(check_pairs(tmp_path))["leakage"]
    assert finding.verdict == "fix"
    assert list(finding.pairs) == ["S1/board1"]


def test_the_manifest_leaves_out_what_must_be_dropped_and_can_be_trained_on(own: Path) -> None:
    _wrong_partner(own)
    (own / "S1/train/HQ/00000.tif").unlink()
    report = check_pairs(own)
    assert write_manifest(report, own / "sound.csv") == 8
    folder = PairedFolder(own / "sound.csv")
    assert {pair.name.split("/")[-1] for pair in folder.pairs}.isdisjoint({"00000", "00002"})
    training, held = folder.split(0.3, seed=0)
    assert {pair.split for pair in (*training, *held)} == {"train"}
    with pytest.raises(OutputError):
        write_manifest(report, own / "sound.csv")


def test_what_simulate_writes_is_read_as_machine_type_and_split(clean_set: Path, tmp_path: Path) -> None:
    for part in ("LQ", "HQ"):
        shutil.copytree(clean_set / "S1/test" / part, tmp_path / "S1/test" / part)
    shutil.copytree(clean_set / "S1/test/HQ", tmp_path / "S1/test/clean")
    (tmp_path / "S1/test/truth").mkdir()
    (tmp_path / "S1/test/truth/00004.json").write_text("{}")
    tifffile.imwrite(tmp_path / "S1/test/truth/00004.tif", np.zeros((8, 8), np.uint8))
    (tmp_path / "S1/test/manifest.json").write_text("{}")
    report = check_pairs(tmp_path)
    assert [(pair.name, pair.machine, pair.split) for pair in report.pairs] == [
        ("S1/test/00004", "S1", "test"),
        ("S1/test/00005", "S1", "test"),
    ]
    assert report.verdict == "fine"


def test_exposure_times_are_taken_from_the_files(clean_set: Path, tmp_path: Path) -> None:
    from longexposure.io import write_radiograph
    from longexposure.radiograph import Radiograph

    for part, seconds in (("LQ", 5.0), ("HQ", 90.0)):
        (tmp_path / part).mkdir()
        pixels = tifffile.imread(clean_set / "S1/test" / part / "00004.tif")
        write_radiograph(
            Radiograph(pixels=pixels, exposure={"exposure_s": seconds}), tmp_path / part / "a.tif"
        )
    report = check_pairs(tmp_path)
    assert report.pairs[0].exposures_s == (5.0, 90.0)
    assert any("sqrt(18)" in finding.found for finding in report.findings)


def test_memory_grows_by_a_few_kilobytes_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lq, hq = exposures(scene(0), seed=0)
    monkeypatch.setattr(checking, "find_alike", lambda pairs: ([], (0, 0)))
    kept, peaks = [], []
    for count in (12, 36):
        for index in range(count):
            put(tmp_path / str(count), f"S1/{index:03}", lq + np.uint16(index), hq + np.uint16(index))
        check_pairs(tmp_path / str(count), include=["*0"])
        tracemalloc.start()
        report = check_pairs(tmp_path / str(count))
        gc.collect()
        kept.append(tracemalloc.get_traced_memory()[0])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(report.pairs) == count
    assert kept[1] - kept[0] < 24 * 12_000 < 24 * lq.nbytes / 4
    assert peaks[1] < 1.6 * peaks[0]


@pytest.mark.parametrize("times", [(90, 5), (0, 5), (5, float("inf"))])
def test_impossible_times_are_refused(clean_set: Path, times: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="--exposures 5 90"):
        check_pairs(clean_set, exposures_s=times)


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folders LQ and HQ"):
        check_pairs(tmp_path / "none")


def test_the_command_prints_a_table_writes_json_and_tells_by_its_exit_code(
    clean_set: Path, own: Path
) -> None:
    fine = CliRunner().invoke(app, ["check-pairs", str(clean_set), "--exposures", "5", "90", "--json", "-"])
    assert fine.exit_code == 0
    assert json.loads(fine.stdout)["verdict"] == "fine"
    _wrong_partner(own)
    args = ["check-pairs", str(own), "--json", str(own / "r.json"), "--manifest", str(own / "m.csv")]
    told = CliRunner().invoke(app, args)
    assert told.exit_code == 3
    assert "drop" in told.stdout
    assert "S1/train/00002" in told.stdout
    content = json.loads((own / "r.json").read_text())
    named = [finding["pairs"] for finding in content["findings"] if finding["verdict"] == "drop"]
    assert list(named[0]) == ["S1/train/00002"]
    assert len((own / "m.csv").read_text().splitlines()) == 10
    again = CliRunner().invoke(app, args)
    assert again.exit_code == 4
