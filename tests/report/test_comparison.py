"""The report's file: what it embeds, what it refuses, and that it never leaves half a page behind."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed_pixels import unpacked

from longexposure.errors import InputError, OutputError
from longexposure.report import comparison, cutouts
from longexposure.report.comparison import Comparison, Unseen, write_report
from longexposure.report.images import ImageFolder

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

    def pictures(self) -> list[dict[str, Any]]:
        """What the page says of its pictures, with the grey values of the cut-outs by role."""
        texts = iter(text for tag, text in self.texts if tag == "script")
        found: list[dict[str, Any]] = []
        for _tag, attributes in self.elements:
            if "data-picture" in attributes:
                found.append({**json.loads(attributes["data-picture"] or ""), "pixels": []})
            if "data-cutout" in attributes:
                left, top, width, height = found[-1]["cutouts"][int(attributes["data-cutout"] or "")]
                data = base64.b64decode(next(texts), validate=True)
                values = unpacked(data, found[-1]["dtype"], (height, width))
                found[-1]["pixels"].append((attributes["class"], left, top, values))
        return found

    def says(self, text: str) -> bool:
        return any(text in data for tag, data in self.texts if tag not in ("script", "style"))


def noisy(dtype: str, shape: tuple[int, int] = (13, 17), seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).uniform(0, 255 if dtype == "uint8" else 65535, shape)
    return values.astype(dtype)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def pair(name: str = "one", **more: Any) -> Comparison:
    return Comparison(name, noisy("uint16"), noisy("uint16", seed=1), **more)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_page_carries_every_grey_value_of_a_small_image_unchanged(tmp_path: Path, dtype: str) -> None:
    images = [noisy(dtype, seed=seed) for seed in range(3)]
    (picture,) = Page(write_report([Comparison("a", *images)], tmp_path / "report.html")).pictures()
    for (role, *corner, values), name, image in zip(
        picture["pixels"], ("before", "after", "reference"), images, strict=True
    ):
        assert (role, corner) == (name, [0, 0])
        np.testing.assert_array_equal(values, image)


def test_page_carries_views_that_are_not_contiguous_and_leaves_inputs_alone(tmp_path: Path) -> None:
    whole = noisy("uint16", (20, 20))
    copy = whole.copy()
    page = Page(write_report([Comparison("a", whole[::2, ::-1], whole[1::2])], tmp_path / "r.html"))
    np.testing.assert_array_equal(page.pictures()[0]["pixels"][0][3], copy[::2, ::-1])
    np.testing.assert_array_equal(whole, copy)


def test_float_with_values_that_are_not_numbers_gets_a_finite_window(tmp_path: Path) -> None:
    values = noisy("float32")
    values[0, 0], values[1, 1] = np.nan, np.inf
    page = Page(write_report([Comparison("a", values, values)], tmp_path / "r.html"))
    (picture,) = page.pictures()
    finite = values[np.isfinite(values)]
    assert picture["window"][0] == pytest.approx(np.percentile(finite, 0.5))
    assert picture["most"] == finite.max()
    assert picture["summaries"]["before"][0] == finite.size


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
    assert names(tmp_path) == ["report.html", "report_files"]


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


@pytest.mark.parametrize("images", [True, False])
def test_policy_allows_exactly_the_inline_script_and_style_and_files_beside_it(
    images: bool, tmp_path: Path
) -> None:
    text = write_report([pair()], tmp_path / "report.html", images=images).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).split(";"))
    assert rules["script-src"].endswith(" 'self' file:") == images
    rules["script-src"] = rules["script-src"].removesuffix(" 'self' file:")
    for element, rule in (("script", "script-src"), ("style", "style-src")):
        inline = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert (len(inline), rules[rule]) == (1, f"'sha256-{digest}'")
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    assert rules["img-src"] == "data:"
    assert not re.search(r"https?:|\bsrc=\"(?!data:)|@import|url\(", text)


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


def test_report_on_nothing_says_so(tmp_path: Path) -> None:
    assert Page(write_report([], tmp_path / "report.html")).says("No images.")


def test_failed_files_are_in_it_with_their_reason_and_counted(tmp_path: Path) -> None:
    files = [
        pair("good.tif", state="enhanced", warnings=["quite dark"], facts={"a": "1", "b": "2"}),
        pair("old.tif", state="skipped"),
        Unseen("bad.tif", "failed", "bad.tif: expected an image, found <b>text</b>"),
        pair("also.tif", state="enhanced"),
    ]
    path = write_report(files, tmp_path / "report.html")
    page = Page(path)
    assert page.says("2 enhanced, 1 skipped, 1 failed.")
    assert page.says("1 with warnings.")
    assert page.says("enhanced, 1 warning")
    assert page.says("quite dark")
    assert sum("found <b>text</b>" in text for tag, text in page.texts if tag in ("td", "p")) == 2
    assert [attributes["id"] for tag, attributes in page.elements if tag == "article"] == [
        f"image-{number}" for number in range(4)
    ]


def test_only_failures_make_a_page_too(tmp_path: Path) -> None:
    page = Page(write_report([Unseen("bad.tif", "failed", "why")], tmp_path / "report.html"))
    assert page.says("1 failed.")
    assert page.says("why")
    assert names(tmp_path) == ["report.html"]


def test_pages_of_a_stack_share_a_row_and_all_of_them_are_shown(tmp_path: Path) -> None:
    pages = [pair(f"stack.tif, page {number}", stack="stack.tif", page=number) for number in range(1, 31)]
    page = Page(write_report([*pages, pair("one.tif")], tmp_path / "report.html"))
    assert len([tag for tag, _ in page.elements if tag == "article"]) == 2
    assert len(page.pictures()) == 31
    assert page.says("stack.tif, page 30")


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (60, 1), (300, 1), (3, 100)])
def test_page_stays_within_its_bytes_whatever_the_number_of_images(
    count: int, pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a twentieth of everything: of the page's bytes, and of the sides of what may be in it
    monkeypatch.setattr(comparison, "PAGE_BYTES", 1_400_000)
    monkeypatch.setattr(comparison, "TEXT_BYTES", 300_000)
    monkeypatch.setattr(cutouts, "DETAILS", tuple(
        cutouts.Detail(max(2, each[0] // 4), max(2, each[1] // 4), each[2]) for each in cutouts.DETAILS
    ))  # fmt: skip
    image, other = noisy("uint16", (200, 240)), noisy("uint16", (200, 240), seed=1)
    history = [{"action": "enhance", "long": "x" * 5000}] * 50

    def made() -> Iterator[Comparison]:
        for number in range(count):
            for page in range(1, pages + 1):
                yield Comparison(f"{number}.tif", image, other, page=page, history=history, facts={"a": "b"})

    path = write_report(made(), tmp_path / "report.html", images=False)
    assert path.stat().st_size < 1_400_000 + 100_000
    found = Page(path).pictures()
    assert len(found) == count * pages
    assert any(picture["cutouts"] for picture in found)


def test_page_stays_within_its_bytes_where_only_the_changed_places_are_full_of_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "PAGE_BYTES", 1_400_000)
    before = np.full((400, 400), 20_000, np.uint16)
    after = before.copy()
    after[160:240, 160:240] = noisy("uint16", (80, 80))
    before[160:240, 160:240] = noisy("uint16", (80, 80), seed=1)
    files = (Comparison(f"{number}.tif", before, after) for number in range(40))
    path = write_report(files, tmp_path / "report.html", images=False)
    assert 400_000 < path.stat().st_size < 1_400_000 + 100_000
    assert all(picture["cutouts"] for picture in Page(path).pictures())


def test_endless_texts_are_cut_and_deep_ones_do_no_harm(tmp_path: Path) -> None:
    deep: dict[str, Any] = {"end": 1}
    for _ in range(5000):
        deep = {"deeper": deep}
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    long = "x" * 10**6
    step = {"deep": deep, "list": nested, "many": list(range(10**5)), long: long}
    image = pair(long, facts={long: long}, note=long, warnings=[long] * 1000, history=[step] * 1000)
    path = write_report([image], tmp_path / "report.html", images=False)
    assert path.stat().st_size < 400_000


def test_rows_beyond_what_a_page_takes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "TEXT_BYTES", 5000)
    files = [Unseen(f"{number}.tif", "failed", "because") for number in range(100)]
    page = Page(write_report(files, tmp_path / "report.html"))
    shown = len([tag for tag, _ in page.elements if tag == "article"])
    assert 5 < shown < 50
    assert page.says(f"{100 - shown} more are not listed")


def test_pictures_beyond_what_a_page_takes_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "PICTURES", 3)
    page = Page(write_report([pair() for _ in range(5)], tmp_path / "report.html"))
    assert len(page.pictures()) == 3
    assert page.says("Of 2 further images there is nothing to see")


def test_a_folder_that_cannot_be_written_keeps_nothing_from_the_page_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def full(self: ImageFolder, images: Any) -> dict[str, Any]:
        raise OutputError(where="disk", expected="room", found="none", advice="free some")

    def three() -> Iterator[Comparison]:
        for name in "abc":
            taken.append(name)
            yield pair(name)

    monkeypatch.setattr(ImageFolder, "put", full)
    with pytest.raises(OutputError, match="disk: expected room"):
        write_report(three(), tmp_path / "report.html")
    assert taken == ["a", "b", "c"]
    page = Page(tmp_path / "report.html")
    assert len(page.pictures()) == 3
    assert page.says("folder of whole images is incomplete: disk: expected room")


def test_a_foreign_folder_is_refused_before_the_work_unless_no_images_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "report_files").mkdir()
    (tmp_path / "report_files" / "mine.txt").write_text("mine")
    taken: list[int] = []

    def watched() -> Iterator[Comparison]:
        taken.append(1)
        yield pair()

    with pytest.raises(OutputError, match="report_files"):
        write_report(watched(), tmp_path / "report.html", overwrite=True)
    assert taken == []
    write_report(watched(), tmp_path / "report.html", images=False)
    assert names(tmp_path / "report_files") == ["mine.txt"]


def test_without_images_nothing_but_the_page_is_written_and_the_folder_of_before_goes(tmp_path: Path) -> None:
    write_report([pair()], tmp_path / "report.html")
    assert names(tmp_path) == ["report.html", "report_files"]
    page = Page(write_report([pair()], tmp_path / "report.html", overwrite=True, images=False))
    assert names(tmp_path) == ["report.html"]
    assert page.pictures()[0]["tiles"] is None


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    def text(path: Path) -> str:
        return re.sub(r"Written [^<]*", "", path.read_text(encoding="utf-8"))

    first, second = (
        write_report([pair(places=[(3, 3)])], tmp_path / number / "report.html")
        for number in ("1", "2")
        if not (tmp_path / number).mkdir()
    )
    assert text(first) == text(second)
    assert names(first.with_name("report_files")) == names(second.with_name("report_files"))
