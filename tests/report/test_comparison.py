"""The report's file: what it embeds, what it refuses, and that it never leaves half a page behind."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import weakref
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longexposure.errors import InputError, OutputError
from longexposure.report.comparison import Comparison, write_report

HOSTILE = "</script><script>window.pwned=1</script>\"'><img src=x onerror=alert(1)>&amp;<!-- records -->"


class Page(HTMLParser):
    """Elements and texts of a written page, by an HTML parser that is not the writer's."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.elements[-1][0] if self.elements else "", data))

    def pixels(self) -> list[bytes]:
        texts = [text for tag, text in self.texts if tag == "script"][:-1]
        return [zlib.decompress(base64.b64decode(text, validate=True)) for text in texts]

    def says(self, text: str) -> bool:
        return any(text in data for tag, data in self.texts if tag not in ("script", "style"))


def noisy(dtype: str, shape: tuple[int, int] = (13, 17), seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).uniform(0, 255 if dtype == "uint8" else 65535, shape)
    return values.astype(dtype)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def pair(name: str = "one", **more: Any) -> Comparison:
    return Comparison(name, noisy("uint16"), noisy("uint16", seed=1), **more)


@pytest.mark.parametrize(("dtype", "stored"), [("uint8", "<u1"), ("uint16", "<u2"), ("float32", "<f4")])
def test_page_carries_every_grey_value_unchanged(tmp_path: Path, dtype: str, stored: str) -> None:
    images = [noisy(dtype, seed=seed) for seed in range(3)]
    page = Page(write_report([Comparison("a", *images)], tmp_path / "report.html"))
    for found, expected in zip(page.pixels(), images, strict=True):
        np.testing.assert_array_equal(np.frombuffer(found, stored).reshape(13, 17), expected)


def test_page_carries_views_that_are_not_contiguous_and_leaves_inputs_alone(tmp_path: Path) -> None:
    whole = noisy("uint16", (20, 20))
    copy = whole.copy()
    page = Page(write_report([Comparison("a", whole[::2, ::-1], whole[1::2])], tmp_path / "r.html"))
    np.testing.assert_array_equal(np.frombuffer(page.pixels()[0], "<u2").reshape(10, 20), copy[::2, ::-1])
    np.testing.assert_array_equal(whole, copy)


def test_float_with_values_that_are_not_numbers_gets_a_finite_window(tmp_path: Path) -> None:
    values = noisy("float32")
    values[0, 0], values[1, 1] = np.nan, np.inf
    page = Page(write_report([Comparison("a", values, values)], tmp_path / "r.html"))
    article = next(attributes for tag, attributes in page.elements if tag == "article")
    finite = values[np.isfinite(values)]
    assert float(article["data-auto-lower"] or "") == pytest.approx(np.percentile(finite, 0.5))
    assert float(article["data-most"] or "") == finite.max()


@pytest.mark.parametrize(
    ("role", "wrong"),
    [
        ("after", noisy("uint16", (13, 16))),
        ("after", noisy("uint8")),
        ("reference", noisy("float32")),
        ("before", np.zeros((2, 13, 17), np.uint16)),
        ("before", np.zeros((13, 17), np.float64)),
    ],
)
def test_images_that_do_not_belong_together_are_refused(role: str, wrong: np.ndarray[Any, Any]) -> None:
    images = {"before": noisy("uint16"), "after": noisy("uint16"), role: wrong}
    if role == "before":
        images["after"] = wrong
    with pytest.raises(InputError, match=r"^view7 \("):
        Comparison("view7", **images)


def test_existing_file_is_kept_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match="overwriting"):
        write_report([pair()], path)
    assert path.read_text() == "mine"
    assert write_report([pair()], path, overwrite=True) == path
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert names(tmp_path) == ["report.html"]


def test_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.html"

    def slow() -> Iterator[Comparison]:
        yield pair()
        path.write_text("of another process")

    with pytest.raises(OutputError):
        write_report(slow(), path)
    assert path.read_text() == "of another process"
    assert names(tmp_path) == ["report.html"]


@pytest.mark.parametrize(
    "error", [InputError(where="b", expected="c", found="d", advice="e"), OSError(5, "x")]
)
def test_failing_comparison_passes_on_its_own_error_and_leaves_nothing(
    tmp_path: Path, error: Exception
) -> None:
    def failing() -> Iterator[Comparison]:
        yield pair()
        raise error

    with pytest.raises(type(error)) as caught:
        write_report(failing(), tmp_path / "report.html")
    assert caught.value is error
    assert names(tmp_path) == []


def test_missing_folder_and_folder_of_that_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder exists"):
        write_report([pair()], tmp_path / "nowhere" / "report.html")
    with pytest.raises(OutputError, match="a folder of that name"):
        write_report([pair()], tmp_path, overwrite=True)


def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="no limit on file size to fill a disk with")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = noisy("uint16", (300, 300))
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OutputError, match="free space"):
            write_report([Comparison("a", large, large)], tmp_path / "report.html")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_report_can_be_read_by_those_the_umask_allows(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    try:
        path = write_report([pair()], tmp_path / "report.html")
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o644


def test_comparisons_are_let_go_before_the_next_is_made(tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0

    def one_by_one() -> Iterator[Comparison]:
        nonlocal most
        for number in range(4):
            most = max(most, sum(known() is not None for known in alive))
            pixels = noisy("uint16", seed=number)
            alive.append(weakref.ref(pixels))
            made = [Comparison(str(number), pixels, pixels)]
            del pixels
            yield made.pop()

    write_report(one_by_one(), tmp_path / "report.html")
    assert most == 0


def test_no_string_of_the_caller_becomes_markup(tmp_path: Path) -> None:
    hostile = pair(
        HOSTILE, facts={HOSTILE: HOSTILE}, history=[{HOSTILE: HOSTILE, "in": {"a": HOSTILE}}], note=HOSTILE
    )
    path = tmp_path / "report.html"
    page = Page(write_report([hostile], path, title=HOSTILE))
    plain = Page(write_report([pair(facts={"a": "b"}, history=[{"a": 1, "in": {"a": 1}}], note="c")],
                              tmp_path / "plain.html", title="t"))  # fmt: skip
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    for place in ("title", "h1", "a", "th", "td", "h2", "p", "dt", "dd"):
        assert any(tag == place and HOSTILE in text for tag, text in page.texts), place


def test_policy_allows_exactly_the_inline_script_and_style_and_no_connection(tmp_path: Path) -> None:
    text = write_report([pair()], tmp_path / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).split(";"))
    for element, rule in (("script", "script-src"), ("style", "style-src")):
        inline = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert (len(inline), rules[rule]) == (1, f"'sha256-{digest}'")
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert not re.search(r"https?:|\bsrc=|@import|url\(", text)


def test_table_has_a_column_for_every_fact_and_a_row_for_every_image(tmp_path: Path) -> None:
    comparisons = [pair("a", facts={"Noise": "21", "PSNR": "30 dB"}), pair("b", facts={"Time": "0.4 s/Mpx"})]
    text = write_report(iter(comparisons), tmp_path / "report.html").read_text(encoding="utf-8")
    table = text[text.index("<table>") : text.index("</table>")]
    assert re.findall(r'<th scope="col">(.*?)</th>', table) == ["Image", "Noise", "PSNR", "Time"]
    assert re.findall(r"<td>(.*?)</td>", table) == ["21", "30 dB", "-", "-", "-", "0.4 s/Mpx"]
    assert re.findall(r'href="#(.*?)">(.*?)<', table) == [("image-0", "a"), ("image-1", "b")]


def test_history_is_listed_with_its_hashes(tmp_path: Path) -> None:
    step = {"action": "enhance", "weights_sha256": "ab" * 32, "settings": {"strength": 0.5}}
    page = Page(write_report([pair(history=[step])], tmp_path / "report.html"))
    assert page.says("ab" * 32)
    assert page.says("settings.strength")


def test_image_of_more_than_4_mpx_is_cropped_to_its_centre_and_the_page_says_where(tmp_path: Path) -> None:
    large = np.zeros((2051, 2060), np.uint8)
    large[1, 6], large[2048, 2053], large[0, 0] = 7, 9, 200
    page = Page(write_report([Comparison("a", large, large)], tmp_path / "report.html"))
    crop = np.frombuffer(page.pixels()[0], np.uint8).reshape(2048, 2048)
    assert (crop[0, 0], crop[-1, -1], crop.max()) == (7, 9, 9)
    assert page.says("x = 6 to 2053, rows y = 1 to 2048 of an image of 2060 x 2051 pixels")
    assert next(found for tag, found in page.elements if tag == "article")["data-most"] == "200"


def test_image_of_exactly_4_mpx_is_whole(tmp_path: Path) -> None:
    strip = np.zeros((1024, 4096), np.uint8)
    page = Page(write_report([Comparison("a", strip, strip)], tmp_path / "report.html"))
    assert len(page.pixels()[0]) == strip.size
    assert not page.says("Central crop")


def test_report_on_nothing_says_so(tmp_path: Path) -> None:
    assert Page(write_report([], tmp_path / "report.html")).says("No images.")
