"""The demonstration: what `make demo` leaves behind, and that its page opens in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import demo as demonstrating
import numpy as np
import pytest

from longexposure import read_radiograph
from longexposure.errors import InputError
from longexposure.models.registry import DEFAULT, shipped_weights

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_weights = pytest.mark.skipif(DEFAULT not in shipped_weights(), reason="the package has no weights")


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("demo")
    return out, demonstrating.demonstrate(out)


@needs_weights
def test_every_example_is_enhanced_and_keeps_shape_and_type(
    demonstration: tuple[Path, list[dict[str, Any]]],
) -> None:
    out, rows = demonstration
    assert len(rows) == 8
    for source in sorted(demonstrating.EXAMPLES.glob("*.tif")):
        before, after = read_radiograph(source), read_radiograph(out / "enhanced" / source.name)
        assert after.pixels.shape == before.pixels.shape
        assert after.pixels.dtype == np.uint16
        assert after.history[-1].settings["model"] == DEFAULT


@needs_weights
def test_the_simulated_pair_comes_closer_to_its_long_exposure(
    demonstration: tuple[Path, list[dict[str, Any]]],
) -> None:
    _, rows = demonstration
    [row] = [row for row in rows if "PSNR after" in row]
    assert row["PSNR after"] > row["PSNR before"] + 4.5
    assert row["SSIM after"] > row["SSIM before"] + 0.1


@needs_weights
def test_running_it_again_replaces_what_it_wrote(demonstration: tuple[Path, list[dict[str, Any]]]) -> None:
    out, rows = demonstration
    report = out / "report.html"
    report.write_text("stale")
    assert len(demonstrating.demonstrate(out)) == len(rows)
    assert report.stat().st_size > 100_000


@needs_weights
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this host")
def test_its_page_opens_in_a_browser_without_errors(
    demonstration: tuple[Path, list[dict[str, Any]]],
) -> None:
    from playwright.sync_api import sync_playwright

    out, rows = demonstration
    complaints: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page()
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((out / "report.html").as_uri())
        page.wait_for_selector("canvas", state="visible")
        shown = page.locator("table").first.inner_text()
        browser.close()
    assert complaints == []
    for row in rows:
        assert row["file"] in shown


def test_examples_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.tif file"):
        demonstrating.demonstrate(tmp_path / "out", examples=tmp_path)
    assert not (tmp_path / "out").exists()
