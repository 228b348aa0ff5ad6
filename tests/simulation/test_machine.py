"""Machines: what a recipe may say, what is refused before anything is drawn, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from quick import BALL_GRID, SOMEWHERE

from longexposure.errors import RecipeError
from longexposure.simulation.machine import (
    Machine,
    MachineParameters,
    load_machine,
    machine_names,
    recipe_text,
)

FILTERS = '{ material = "Be", thickness_mm = 0.2 }, { material = "Al", thickness_mm = 1.0 }'
PLAIN = (
    BALL_GRID.replace('"small"', '"plain"')
    .replace("height = 48\nwidth = 64", "height = 64\nwidth = 96")
    .replace(*SOMEWHERE)
    .replace("current_ua = 30", f"current_ua = 30\nfilters = [{FILTERS}]")
    + "[set]\ntrain = 30\ntest = 20\nsmall_train = 6\nsmall_test = 4\n"
)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.toml"
    path.write_text(PLAIN)
    return path


def _parameters(path: Path, *overrides: str) -> MachineParameters:
    return load_machine(path, overrides).parameters(np.random.default_rng(0))


@pytest.mark.parametrize("name", machine_names())
def test_every_machine_that_ships_is_valid_and_bears_its_files_name(name: str) -> None:
    machine = load_machine(name)
    assert machine.name == name
    assert machine.parameters(np.random.default_rng(1)).summary
    assert recipe_text(name).startswith("#")


def test_the_papers_machines_ship_with_its_sizes_and_splits() -> None:
    for name, shape, counts in (
        ("S1", (1024, 1024), (1708, 427)),
        ("S2", (1536, 1936), (1800, 200)),
        ("S3", (1900, 1900), (832, 208)),
    ):
        machine = load_machine(name)
        assert (machine.image.height, machine.image.width) == shape
        assert (machine.count("full", "train"), machine.count("full", "test")) == counts
        assert (machine.count("small", "train"), machine.count("small", "test")) == (160, 40)


def test_counts_are_small_full_or_a_number(plain: Path) -> None:
    machine = load_machine(plain)
    found = [machine.count(wanted, "test") for wanted in ("small", "full", "7", "100000")]
    assert found == [4, 20, 7, 100000]
    assert machine.count("small", "train") == 6
    for wrong in ("0", "-1", "1.5", "many", "", "100001", "9" * 5000):
        with pytest.raises(RecipeError, match="small or full"):
            machine.count(wrong, "test")


def test_every_range_is_drawn_and_the_geometry_follows(plain: Path) -> None:
    drawn = [load_machine(plain).parameters(np.random.default_rng(n)) for n in range(20)]
    distances = [parameters.geometry.source_object_mm for parameters in drawn]
    assert len(set(distances)) == 20
    assert 40 <= min(distances) < max(distances) <= 60
    for parameters in drawn:
        assert parameters.pixel_um == pytest.approx(200 * parameters.geometry.source_object_mm / 600)
        view = parameters.view()
        assert (view.height, view.width, view.pixel_um) == (64, 96, parameters.pixel_um)
        assert view.source_um == 1000 * parameters.geometry.source_object_mm


def test_the_open_beam_of_the_short_exposure_has_its_fraction_of_full_scale(plain: Path) -> None:
    for fraction, bits in ((0.8, 16), (0.3, 12), (1.5, 8)):
        parameters = _parameters(
            plain, f"detector.open_fraction={fraction}", f"panel.bits={bits}", "exposures.short_s=2"
        )
        panel = parameters.panel_config
        assert panel.gain * parameters.quanta_per_px_s * 2 == pytest.approx(fraction * (2**bits - 1))
        assert (panel.reference_s, panel.swank, parameters.bits) == (2.0, parameters.swank, bits)


def test_a_gain_of_ones_own_stays(plain: Path) -> None:
    assert _parameters(plain, "detector.open_fraction=0", "panel.gain=1.7").panel_config.gain == 1.7


def test_quanta_follow_current_area_and_distance(plain: Path) -> None:
    base = _parameters(plain).quanta_per_px_s
    assert _parameters(plain, "tube.current_ua=60").quanta_per_px_s == pytest.approx(2 * base)
    assert _parameters(plain, "detector.pitch_um=100").quanta_per_px_s == pytest.approx(base / 4)
    assert _parameters(plain, "geometry.source_detector_mm=1200").quanta_per_px_s == pytest.approx(base / 4)


def test_quanta_agree_with_spekpy_and_xraydb(plain: Path) -> None:
    spekpy = pytest.importorskip("spekpy", reason="spekpy is not installed")
    xraydb = pytest.importorskip("xraydb", reason="xraydb is not installed")
    parameters = _parameters(plain)
    tube = spekpy.Spek(kvp=90, th=20, dk=0.5, targ="W", physics="casim", z=60, mas=30e-3)
    energy, per_kev = tube.filter("Be", 0.2).filter("Al", 1.0).get_spectrum(edges=False)
    mu_per_cm = xraydb.material_mu("CsI", 1e3 * energy, density=4.51)
    absorbed = 1 - np.exp(-mu_per_cm * 600e-4 * 0.8)
    expected = np.sum(per_kev * 0.5 * absorbed) * 0.02**2
    assert parameters.quanta_per_px_s == pytest.approx(expected, rel=0.02)
    weights = per_kev * absorbed
    moments = [np.sum(weights * energy**n) for n in range(3)]
    assert parameters.swank == pytest.approx(0.92 * moments[1] ** 2 / (moments[0] * moments[2]), rel=0.01)


@pytest.mark.parametrize(
    ("line", "where", "expected"),
    [
        (
            'tube.filters=[{material="Al", thickness_mm=-1}]',
            "tube.filters.0.thickness_mm",
            "greater than or equal to 0 and less than or equal to 100",
        ),
        ('tube.filters=[{material="Foo", thickness_mm=1}]', "tube.filters.0.material", "one of Be, Al"),
        ("geometry.source_object_mm=601", "geometry.source_detector_mm", "for a magnification of 1"),
        ("geometry.source_object_mm={log=[40, 700]}", "geometry.source_detector_mm", "magnification of 1"),
        ("geometry.source_object_mm={uniform=[0, 40]}", "geometry.source_object_mm", "greater than 0"),
        ("geometry.source_object_mm={log=[60, 40]}", "geometry.source_object_mm", "the smaller one first"),
        ("exposures.short_s=0", "exposures.short_s", "greater than 0 and less than or equal to 3600"),
        ("exposures.long_s=4", "exposures.long_s", "at least short_s = 5 s"),
        ("tube.current_ua=0", "tube.current_ua", "greater than 0"),
        ("tube.current_ua=1e-6", "tube.current_ua", "0.5 to 1e+09 quanta"),
        ("tube.current_ua={log=[1e-6, 30]}", "tube.current_ua", "0.5 to 1e+09 quanta"),
        ("tube.tube_kv=161", "tube.tube_kv", "greater than or equal to 40 and less than or equal to 160"),
        ("detector.open_fraction=4.1", "detector.open_fraction", "less than or equal to 4"),
        ("detector.pitch_um=nan", "detector.pitch_um", "finite"),
        ("detector.pitch_um=4000", "scenes", "a kind that takes pixels"),
        ("scenes={unicorn=1}", "scenes", "kinds among"),
        ("scenes={bga=-1}", "scenes.bga", "0 or more"),
        ("scenes={bga=0}", "scenes", "above 0"),
        ("panel.gain=2", "panel.gain", "detector.open_fraction is 0"),
        ("detector.open_fraction=0", "panel.gain", "a value"),
        ("panel.swank=0.7", "panel.swank", "follows from other values"),
        ("panel.reference_s=3", "panel.reference_s", "follows from other values"),
        ("panel.bad={hot=0.9, noisy=0.2}", "panel.bad", "1 at most"),
        ("panel.block_px={uniform=[64, 128]}", "panel.block_px", "integer"),
        ("panel.bits=7", "panel.bits", "greater than or equal to 8 and less than or equal to 16"),
        ("video.noise=0.01", "video.stored_bits", "8 to 16 bits"),
        ("video.white=-1", "video.white", "above black"),
        ('name={one_of=["a", "b"]}', "name", "the same for all images"),
        ("image.height={uniform=[64, 128]}", "image.height", "the same for all images"),
        ("set.test={uniform=[64, 128]}", "set.test", "the same for all images"),
        ("name=../up", "name", "letters, digits, . _ -, at most 60"),
        (f"name={'n' * 61}", "name", "letters, digits, . _ -, at most 60"),
        ("panel.read_noise=1e300", "panel.read_noise", "0 and less than or equal to 1e+06"),
        ("tube.watt=3", "tube.watt", "current_ua, filters, tube_kv"),
        ("scatter=0.3", "scatter", "a table"),
    ],
)  # fmt: skip
def test_an_impossible_recipe_is_refused_by_key_with_what_is_allowed(
    plain: Path, line: str, where: str, expected: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_machine(plain, [line])
    assert caught.value.where == f"{plain}: {where}"
    assert expected in caught.value.expected


def test_a_gain_that_nothing_gives_is_asked_for_with_both_ways_out(plain: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_machine(plain, ["detector.open_fraction=0"])
    assert caught.value.where == f"{plain}: panel.gain"
    assert caught.value.advice == "give panel.gain, or an open_fraction above 0"


@pytest.mark.parametrize("key", ["test", "small_test", "train", "small_train"])
@pytest.mark.parametrize("pairs", [0, 100_001])
def test_a_recipes_own_count_out_of_range_is_refused_by_its_key(plain: Path, key: str, pairs: int) -> None:
    machine = load_machine(plain, [f"set.{key}={pairs}"])
    wanted = "small" if "small" in key else "full"
    with pytest.raises(RecipeError, match="1 to 100000") as caught:
        machine.count(wanted, "test" if "test" in key else "train")
    assert caught.value.where == f"{plain}: set.{key}"
    assert machine.count(wanted, "train" if "test" in key else "test") > 0


def test_ends_that_are_possible_each_but_not_together_are_refused(plain: Path) -> None:
    ranges = [f"{key}={{uniform=[{low}, {high}]}}" for key, low, high in (
        ("scatter.ratio", 0, 1), ("shading.heel", 0, 0.1), ("screen.glare", 0, 0.1), ("panel.lag", 0, 0.1),
        ("exposures.drift", 0, 0.1), ("exposures.shift_x_px", 0, 1), ("geometry.source_object_mm", 40, 60),
        ("geometry.source_detector_mm", 50, 600),
    )]  # fmt: skip
    with pytest.raises(RecipeError, match=r"geometry\.source_detector_mm"):
        load_machine(plain, ["detector.pitch_um=60", *ranges])


def test_values_that_are_impossible_only_together_are_refused_when_drawn(plain: Path) -> None:
    machine = load_machine(plain)
    broken = Machine.__new__(Machine)
    object.__setattr__(broken, "where", "broken")
    object.__setattr__(broken, "document", {**machine.document, "tube": {"tube_kv": 90, "current_ua": 1e-5}})
    with pytest.raises(RecipeError, match="quanta"):
        broken.parameters(np.random.default_rng(0))


def test_unknown_machines_are_refused_with_the_names_there_are() -> None:
    for name in ("S9", "S1.json", ""):
        with pytest.raises(RecipeError, match="S1, S2, S3"):
            load_machine(name)
    with pytest.raises(RecipeError, match="S1, S2, S3"):
        recipe_text("S9")
    with pytest.raises(RecipeError, match="machines show S1"):
        load_machine("missing.toml")
