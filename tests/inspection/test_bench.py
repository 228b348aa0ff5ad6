"""The bench as a whole, on a machine that is simulated in milliseconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from longexposure.errors import CheckpointError, OutputError, RecipeError
from longexposure.inspection.bench import BUDGETS, Budget, Plan, Seen, budget_of, observe_all
from longexposure.inspection.observed import read_observed
from longexposure.inspection.page import band, write_results
from longexposure.inspection.results import Assessment, assess, best_scales, operating_points

MACHINE = str(Path(__file__).parents[1] / "quick.toml")
TINY = Budget(("particle",), 8, 8, 1, 64, 30.0, 20, (2, 6))
PLAN = Plan(MACHINE, ("gaussian",), TINY, overrides=("tube.current_ua=5.0",))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "out"


@pytest.fixture(scope="module")
def seen(out: Path) -> Seen:
    return observe_all(PLAN, out, workers=1)


@pytest.fixture(scope="module")
def assessment(seen: Seen) -> Assessment:
    return assess(seen)


def test_plain_defects_are_found_and_every_input_is_told(assessment: Assessment) -> None:
    told = assessment.as_dict()
    for observer in ("programme", "model observer"):
        cells = told["pod"][observer]["particle"]
        assert list(cells) == PLAN.inputs
        for cell in cells.values():
            assert cell["trials"] == cell["empty"] == 8
    hits = [cell.pod.hits[:8].sum() for cell in assessment.cells["model observer"]["particle"].values()]
    assert hits[PLAN.inputs.index("mean of 6")] >= hits[0] > 0
    assert (
        assessment.compared["model observer"].index["mean of 6"]
        > 1.5 * assessment.compared["model observer"].index["short"]
    )


def test_created_structures_are_counted_of_filters_and_models_alone(assessment: Assessment) -> None:
    assert set(assessment.created) == {"gaussian", "gaussian, tuned", "non-local means, tuned"}
    assert all(each["flat fields"] >= 0 < each["scenes"] for each in assessment.created.values())


def test_results_are_json_tables_charts_and_a_page_that_needs_nothing(
    assessment: Assessment, out: Path
) -> None:
    pytest.importorskip("matplotlib")
    page = write_results([assessment], out)
    document = json.loads((out / "assess.json").read_text(encoding="utf-8"))
    assert document["machines"][0]["machine"] == "quick"
    html = page.read_text(encoding="utf-8")
    assert "data:image/svg+xml;base64" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    assert len(list(out.glob("pod-quick-*.svg"))) == 3
    assert "| short |" in (out / "assess.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_bench_that_was_stopped_goes_on_to_the_same_numbers(seen: Seen, out: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "out"

    class Stop(Exception):  # noqa: N818
        pass

    def stop(done: int, of: int, name: str) -> None:
        if done == 9:
            raise Stop

    with pytest.raises(Stop):
        observe_all(PLAN, stopped, workers=1, on_unit=stop)
    folder = stopped / "cases" / seen.key
    whole = {path.name for path in folder.glob("*.npz")}
    assert whole
    assert not list(folder.glob("*.part"))
    damaged = sorted(folder.glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    ran: list[str] = []
    again = observe_all(PLAN, stopped, workers=1, on_unit=lambda done, of, name: ran.append(name))
    for first, second in zip(seen.test["particle"], again.test["particle"], strict=True):
        assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in vars(first))
    assert len(ran) >= 17


def test_more_cases_take_up_those_that_are_there(seen: Seen, out: Path) -> None:
    more = replace(PLAN, budget=replace(TINY, test=9))
    stamps = {path: path.stat().st_mtime_ns for path in (out / "cases" / seen.key).glob("*.npz")}
    found = observe_all(more, out, workers=1)
    assert found.key == seen.key
    assert len(found.test["particle"]) == 9
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_what_cannot_be_assessed_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refusals = {
        "expected at least 8 of each kind": (RecipeError, {"budget": replace(TINY, test=3)}),
        "expected one of void": (RecipeError, {"budget": replace(TINY, kinds=("hole",))}),
        "nothing of that name": (CheckpointError, {"models": ("no-such",)}),
        "each model once": (RecipeError, {"models": ("gaussian", "gaussian")}),
        "one of S1": (RecipeError, {"machine": "S9"}),
    }
    for line, (error, changes) in refusals.items():
        with pytest.raises(error, match=line):
            observe_all(replace(PLAN, **changes), out, workers=1)
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(OutputError, match="other files"):
        observe_all(PLAN, out, workers=1)


def test_a_file_that_is_no_case_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "case.npz").write_bytes(b"PK\x03\x04nothing")
    assert read_observed(tmp_path / "case.npz") is None
    assert read_observed(tmp_path / "none.npz") is None


def test_budgets_take_other_defects_and_counts() -> None:
    assert budget_of("quick") == BUDGETS["quick"]
    budget = budget_of("full", kinds=["void", "void"], cases=20)
    assert (budget.kinds, budget.test, budget.tuning) == (("void",), 20, 10)
    assert budget_of("full").test >= 60


def test_without_names_all_defects_are_assessed_that_the_machine_can_have() -> None:
    assert replace(PLAN, budget=replace(TINY, kinds=())).kinds == ["crack", "particle"]


def test_operating_points_let_as_many_false_finds_through_as_were_allowed() -> None:
    random = np.random.default_rng(0)
    false = -np.sort(-random.exponential(size=(50, 2, 1, 3, 60)) * np.array([1.0, 2.0])[:, None, None, None])
    limits = operating_points(false, mpx=5.0, rate_per_mpx=4.0)
    counts = (false >= limits[None, :, :, :, None]).sum(axis=(0, 4))
    assert np.all(counts == 20)
    assert np.all(limits[1] > 1.5 * limits[0])


def test_the_scale_is_the_one_that_finds_most() -> None:
    hits = np.array([[[1.0, 3.0, 1.0]], [[1.0, 3.0, 9.0]], [[1.0, 0.0, 0.0]]])
    assert best_scales(hits, np.array([[2.0, 2.0, 2.0]])).tolist() == [1]


def test_the_band_holds_the_curve_between_0_and_1(assessment: Assessment) -> None:
    pod = assessment.cells["model observer"]["particle"]["short"].pod
    sizes = np.geomspace(*pod.tried, 40)
    low, high = band(pod, sizes)
    assert np.all((low <= pod.at(sizes)) & (pod.at(sizes) <= high))
    assert np.all((low >= 0) & (high <= 1))
    assert np.any(high - low > 0.1)
