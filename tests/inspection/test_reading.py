"""The reading kit: blinded images, marks, and the table that follows from them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from longexposure.errors import InputError, OutputError
from longexposure.inspection.bench import Budget, Plan
from longexposure.inspection.reading import KEY, PAGE, SURE, read_marks, write_kit

MACHINE = str(Path(__file__).parents[1] / "quick.toml")
PLAN = Plan(MACHINE, ("gaussian",), Budget(("particle",), 8, 12, 0, 48, 30.0, 20, (2,)))


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit") / "kit"
    write_kit(PLAN, folder)
    return folder


def key_of(kit: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((kit / KEY).read_text(encoding="utf-8"))
    return document


def marks(kit: Path, path: Path, *, reader: str, least: float = 0.0, everywhere: bool = False) -> Path:
    """Marks of someone who finds what is plainer than `least`, or marks a corner of every image."""
    key, found = key_of(kit), []
    for identity, image in key["images"].items():
        sees = image["visibility"] > least
        place = {"x": None, "y": None, "confidence": 0}
        if sees:
            row, first, last = image["near"][len(image["near"]) // 2]
            place = {"x": (first + last) / 2, "y": row, "confidence": 4}
        elif everywhere:
            place = {"x": -9, "y": -9, "confidence": 2}
        found.append({"id": identity, **place, "seconds": 1.0})
    path.write_text(json.dumps({"kit": key["kit"], "reader": reader, "marks": found}), encoding="utf-8")
    return path


def test_half_of_the_cases_hold_a_defect_and_each_is_shown_in_every_input(kit: Path) -> None:
    images = list(key_of(kit)["images"].values())
    assert len(images) == 12 * 2
    assert sum(image["visibility"] > 0 for image in images) == 12
    for image in images:
        assert bool(image["near"]) == (image["visibility"] > 0)


def test_the_page_holds_every_image_and_tells_nothing(kit: Path) -> None:
    html = (kit / PAGE).read_text(encoding="utf-8")
    ids = re.findall(r'data-id="([0-9a-f]{12})"', html)
    assert sorted(ids) == sorted(key_of(kit)["images"])
    assert ids != list(key_of(kit)["images"])
    assert "gaussian" not in html
    assert "visibility" not in html
    assert "https://" not in html


def test_the_table_has_the_hits_and_false_calls_of_all_readers(kit: Path, tmp_path: Path) -> None:
    sharp = marks(kit, tmp_path / "a.json", reader="a")
    blind = marks(kit, tmp_path / "b.json", reader="b", least=1e9, everywhere=True)
    rows = read_marks(kit, [sharp, blind])
    assert [(row["input"], row["confidence from"]) for row in rows] == [
        (name, least) for name in ("short", "gaussian") for least in SURE
    ]
    areas = [image["mpx"] for image in key_of(kit)["images"].values() if image["input"] == "short"]
    for row in rows:
        assert row["found"] == "6 of 12"
        assert row["readers"] == 2
        unsure = 12 if row["confidence from"] == 1 else 0
        assert row["false calls per 100 Mpx"] == pytest.approx(100 * unsure / (2 * sum(areas)))


def test_marks_that_do_not_belong_are_refused_in_a_line(kit: Path, tmp_path: Path) -> None:
    good = marks(kit, tmp_path / "a.json", reader="a")
    other = json.loads(good.read_text(encoding="utf-8"))
    (tmp_path / "b.json").write_text(json.dumps({**other, "kit": "0"}), encoding="utf-8")
    (tmp_path / "c.json").write_text(json.dumps({**other, "marks": other["marks"] * 2}), encoding="utf-8")
    (tmp_path / "d.json").write_text("[]", encoding="utf-8")
    for name in ("b", "c", "d", "none"):
        with pytest.raises(InputError):
            read_marks(kit, [tmp_path / f"{name}.json"])
    with pytest.raises(InputError, match="one file of each reader"):
        read_marks(kit, [good, Path(shutil.copy(good, tmp_path / "again.json"))])
    with pytest.raises(InputError, match="folder that --reading-kit wrote"):
        read_marks(tmp_path, [good])
    with pytest.raises(OutputError, match="existing file"):
        write_kit(PLAN, kit)


def test_a_person_reads_the_page_in_a_browser(kit: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no chromium, chromium-browser or google-chrome here")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        complaints: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((kit / PAGE).resolve().as_uri())
        page.fill("#reader", "someone")
        page.click("#begin")
        page.click("#shown", position={"x": 21, "y": 41})
        page.keyboard.press("4")
        for _ in range(23):
            page.click("#none")
        told = json.loads(page.input_value("#text"))
        browser.close()
    assert not complaints
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    assert told["reader"] == "someone"
    assert len(told["marks"]) == 24
    assert (told["marks"][0]["x"], told["marks"][0]["y"]) == (10.0, 20.0)
    assert [mark["confidence"] for mark in told["marks"]] == [4] + [0] * 23
    assert {mark["id"] for mark in told["marks"]} == set(key_of(kit)["images"])
