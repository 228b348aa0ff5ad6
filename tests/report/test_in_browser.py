"""The report in headless Chromium, opened from the disk: the screen shows the stored grey values, and the
numbers are NumPy's, whether they lie in the page or in the folder beside it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longexposure.report import cutouts
from longexposure.report import images as image_folder
from longexposure.report.comparison import Comparison, Unseen, write_report
from longexposure.report.cutouts import Detail

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
sync_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here"
)

Array = np.ndarray[Any, Any]
HEIGHT, WIDTH = 48, 64
HOSTILE = "</script><script>window.pwned=1</script>\"'><img src=x onerror='window.pwned=1'>"


class Viewer:
    """A page with the report open, and what a person would read from it."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.lost = False
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(10_000)
        page.goto(path.as_uri())

    def ready(self) -> Viewer:
        self.page.locator("#viewer[data-state=ready]").wait_for()
        return self.settle()

    def whole(self) -> Viewer:
        """Wait until all of the image is there."""
        self.ready().page.locator("#viewer[data-exact=whole]").wait_for()
        return self.settle()

    def settle(self) -> Viewer:
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        return self

    def click(self, selector: str) -> Viewer:
        self.page.click(selector)
        return self.settle()

    def press(self, key: str) -> Viewer:
        self.page.keyboard.press(key)
        return self.settle()

    def fill(self, selector: str, value: object) -> Viewer:
        self.page.fill(selector, str(value))
        self.page.dispatch_event(selector, "change")
        return self.settle()

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector)).strip()

    def place(self) -> tuple[int, int, float]:
        data = self.page.evaluate("() => ({...document.getElementById('stage').dataset})")
        return int(data["left"]), int(data["top"]), float(data["zoom"])

    def screen(self) -> Array:
        """Grey values of the whole canvas, 8 bit, after checking that it is grey everywhere."""
        width, height, data = self.page.evaluate(
            """() => {
                const canvas = document.getElementById("canvas");
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let text = "";
                for (let i = 0; i < data.length; i += 8190) {
                    text += String.fromCharCode(...data.subarray(i, i + 8190));
                }
                return [canvas.width, canvas.height, btoa(text)];
            }"""
        )
        rgba = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
        assert (rgba[..., 0] == rgba[..., 1]).all()
        assert (rgba[..., 0] == rgba[..., 2]).all()
        return rgba[..., 0]

    def shown(self) -> Array:
        """What is shown of the image (of the left pane's), at zoom 1."""
        left, top, zoom = self.place()
        assert zoom == 1
        return self.screen()[top : top + HEIGHT, left : left + WIDTH]

    def border(self) -> int:
        """First image column right of the split slider, at zoom 1."""
        fraction = float(
            self.page.evaluate("() => parseFloat(document.getElementById('split').style.left) / 100")
        )
        return round(fraction * self.screen().shape[1]) - self.place()[0]

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where the middle of an image pixel lies in the window."""
        left, top, zoom = self.place()
        box = self.page.locator("#canvas").bounding_box()
        return box["x"] + left + (x + 0.5) * zoom, box["y"] + top + (y + 0.5) * zoom

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: Any = "left") -> Viewer:
        self.page.mouse.move(*start)
        self.page.mouse.down(button=button)
        self.page.mouse.move(*end, steps=3)
        self.page.mouse.up(button=button)
        return self.settle()

    def window(self) -> tuple[float, float]:
        return float(self.page.input_value("#lower")), float(self.page.input_value("#upper"))

    def statistics(self, role: str) -> list[float]:
        return [
            float(text)
            for text in self.page.locator(f"#statistics tr[data-role={role}] td").all_text_contents()
        ]


def images(dtype: str = "uint16", count: int = 2) -> list[Array]:
    """Three different images; pixel (x 10, y 20) of the first is 40321."""
    random = np.random.default_rng(7)
    made = [random.normal(30_000, 4000, (HEIGHT, WIDTH)).clip(0, 65535) for _ in range(count)]
    made[0][20, 10] = 40321
    if dtype == "float32":
        return [(image / 65535 * 1.1 - 0.01).astype(dtype) for image in made]
    return [(image / (257 if dtype == "uint8" else 1)).astype(dtype) for image in made]


def displayed(values: Array, lower: float, upper: float) -> Array:
    """The 8-bit picture that a window makes of grey values."""
    fraction = np.clip((values.astype(np.float64) - lower) / (upper - lower), 0, 1)
    return np.floor(255 * fraction + 0.5).astype(np.uint8)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def show(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    """Write a report and open it; at the end, no page may have complained or asked for other files."""
    opened: list[Viewer] = []
    contexts: list[Any] = []

    def open_report(
        *comparisons: Comparison | Unseen,
        setup: str = "",
        folder: str = "",
        images: bool = True,
        **options: Any,
    ) -> Viewer:
        path = write_report(comparisons, tmp_path / "report.html", overwrite=True, images=images)
        if folder == "gone":
            shutil.rmtree(tmp_path / "report_files")
        contexts.append(chromium.new_context(viewport={"width": 1024, "height": 600}, **options))
        page = contexts[-1].new_page()
        if setup:
            page.add_init_script(setup)
        opened.append(Viewer(page, path))
        opened[-1].lost = folder == "gone"
        return opened[-1]

    yield open_report
    page, *tiles = (path.as_uri() for path in (tmp_path / "report.html", tmp_path / "report_files"))
    for viewer in opened:
        assert [
            text for text in viewer.complaints if not (viewer.lost and "ERR_FILE_NOT_FOUND" in text)
        ] == []
        asked = [url for url in viewer.requests if not url.startswith("data:")]
        assert asked[0] == page
        assert all(url.startswith(tiles[0]) for url in asked[1:])
    for context in contexts:
        context.close()


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with as little of each image as one of many has, and tiles as small."""
    monkeypatch.setattr(cutouts, "DETAILS", (Detail(16, 12, 2),))
    monkeypatch.setattr(image_folder, "TILE_PX", 20)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_left_of_the_slider_is_before_and_right_is_after_at_one_window(show: Any, dtype: str) -> None:
    before, after = images(dtype)
    viewer = show(Comparison("a", before, after)).ready().click("[data-zoom='1']")
    shown, border, window = viewer.shown(), viewer.border(), viewer.window()
    assert 0 < border < WIDTH
    np.testing.assert_array_equal(shown[:, :border], displayed(before, *window)[:, :border])
    np.testing.assert_array_equal(shown[:, border:], displayed(after, *window)[:, border:])


def test_slider_moves_by_mouse_and_by_keyboard(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready().click("[data-zoom='1']")
    x, y = viewer.point(viewer.border(), 10)
    viewer.drag((x, y), (x + 20, y))
    assert viewer.border() in (WIDTH // 2 + 19, WIDTH // 2 + 20, WIDTH // 2 + 21)
    border = viewer.border()
    expected = np.hstack(
        [displayed(before, *viewer.window())[:, :border], displayed(after, *viewer.window())[:, border:]]
    )
    np.testing.assert_array_equal(viewer.shown(), expected)
    viewer.page.locator("#split").focus()
    viewer.press("ArrowLeft")
    assert viewer.border() < border
    viewer.press("Home")
    np.testing.assert_array_equal(viewer.shown(), displayed(after, *viewer.window()))
    viewer.press("End")
    np.testing.assert_array_equal(viewer.shown(), displayed(before, *viewer.window()))


def test_window_typed_in_grey_values_acts_on_both_sides_alike(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready().click("[data-zoom='1']").press("d")
    viewer.fill("#lower", 27_001).fill("#upper", 33_333)
    left, top, _ = viewer.place()
    screen = viewer.screen()
    half = screen.shape[1] // 2 + 1
    for side, start in ((before, left), (after, left + half)):
        found = screen[top : top + HEIGHT, start : start + WIDTH]
        np.testing.assert_array_equal(found, displayed(side, 27_001, 33_333))


def test_window_dragged_with_the_right_button_acts_on_both_sides_alike(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready().click("[data-zoom='1']")
    lower, upper = viewer.window()
    viewer.drag(viewer.point(3, 3), viewer.point(53, 33), button="right")
    assert viewer.window()[1] - viewer.window()[0] > upper - lower
    assert sum(viewer.window()) < lower + upper
    border, window = viewer.border(), viewer.window()
    np.testing.assert_array_equal(viewer.shown()[:, :border], displayed(before, *window)[:, :border])
    np.testing.assert_array_equal(viewer.shown()[:, border:], displayed(after, *window)[:, border:])


def test_upper_below_lower_is_not_applied_and_said(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready()
    picture = viewer.screen()
    viewer.fill("#upper", 3)
    assert "Not applied" in viewer.text("#window-text")
    np.testing.assert_array_equal(viewer.screen(), picture)


def test_presets_are_percentiles_of_the_original_full_range_and_region(show: Any) -> None:
    before, after = images()
    after[5, 5] = 65_000
    viewer = show(Comparison("a", before, after)).ready()
    low, high = np.percentile(before, (0.5, 99.5))
    assert viewer.window() == (np.floor(low), np.ceil(high))
    viewer.click("[data-window=full]")
    assert viewer.window() == (min(before.min(), after.min()), 65_000)
    for key, value in {"x": 8, "y": 16, "width": 20, "height": 12}.items():
        viewer.fill(f"#region-{key}", value)
    viewer.click("[data-window=region]")
    low, high = np.percentile(before[16:28, 8:28], (0.5, 99.5))
    assert viewer.window() == (np.floor(low), np.ceil(high))


def test_sliders_set_the_window_and_stop_at_each_other(show: Any) -> None:
    viewer = show(Comparison("a", *images())).ready()
    lower, upper = viewer.window()
    viewer.page.locator("#lower-slide").focus()
    viewer.press("ArrowRight")
    assert viewer.window() == (lower + 1, upper)
    viewer.press("End")
    assert viewer.window() == (upper - 1, upper)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_readout_is_the_stored_grey_value(show: Any, dtype: str) -> None:
    before, after, reference = images(dtype, 3)
    viewer = show(Comparison("a", before, after, reference)).ready()
    viewer.page.mouse.move(*viewer.point(10, 20))
    viewer.settle()
    assert (viewer.text("#read-x"), viewer.text("#read-y")) == ("10", "20")
    if dtype == "uint16":
        assert viewer.text("#read-before") == "40321"
    for role, image in (("before", before), ("after", after), ("reference", reference)):
        assert np.dtype(dtype).type(viewer.text(f"#read-{role}")) == image[20, 10]
    difference = float(before[20, 10]) - float(after[20, 10])
    assert float(viewer.text("#read-difference")) == pytest.approx(difference, rel=1e-6)


def test_reading_position_moves_by_keyboard(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready()
    viewer.page.locator("#canvas").focus()
    viewer.press("ArrowRight").press("Shift+ArrowUp")
    assert (viewer.text("#read-x"), viewer.text("#read-y")) == (str(WIDTH // 2 + 1), str(HEIGHT // 2 - 10))
    assert viewer.text("#read-before") == str(before[HEIGHT // 2 - 10, WIDTH // 2 + 1])
    assert viewer.text("#profile-row") == str(HEIGHT // 2 - 10)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_region_statistics_are_those_of_numpy(show: Any, dtype: str) -> None:
    before, after, reference = images(dtype, 3)
    viewer = show(Comparison("a", before, after, reference)).ready().press("r")
    viewer.drag(viewer.point(40, 30), viewer.point(12, 9))
    assert [viewer.page.input_value(f"#region-{key}") for key in ("x", "y", "width", "height")] == [
        "12",
        "9",
        "29",
        "22",
    ]
    for role, image in (("before", before), ("after", after), ("reference", reference)):
        inside = image[9:31, 12:41].astype(np.float64)
        expected = [inside.mean(), inside.std(), inside.min(), inside.max()]
        assert viewer.statistics(role) == pytest.approx(expected, rel=2e-6)
    viewer.press("Escape")
    assert viewer.statistics("after")[0] == pytest.approx(after.mean(dtype=np.float64), rel=2e-6)


def test_difference_is_left_minus_right_around_mid_grey_with_its_range_in_grey_values(show: Any) -> None:
    before = np.full((HEIGHT, WIDTH), 1000, np.uint16)
    after = before.copy()
    after[:10], after[30:] = 960, 1080
    viewer = (
        show(Comparison("a", before, after)).ready().click("[data-zoom='1']").click("[data-mode=difference]")
    )
    assert (viewer.text("#scale-low"), viewer.text("#scale-high")) == ("-80", "+80")
    assert viewer.text("#label-left") == "before \N{MINUS SIGN} after"
    viewer.fill("#range", 50)
    difference = before.astype(np.float64) - after
    np.testing.assert_array_equal(viewer.shown(), displayed(difference, -50, 50))
    assert viewer.shown()[0, 0] > 128 > viewer.shown()[40, 0]
    assert viewer.shown()[20, 0] == 128


def test_blink_swaps_with_space_and_o_held_shows_the_original(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready().press("1").press("b")
    window = viewer.window()
    np.testing.assert_array_equal(viewer.shown(), displayed(before, *window))
    viewer.press("Space")
    assert viewer.text("#label-left") == "after"
    np.testing.assert_array_equal(viewer.shown(), displayed(after, *window))
    viewer.page.keyboard.down("o")
    np.testing.assert_array_equal(viewer.settle().shown(), displayed(before, *window))
    viewer.page.keyboard.up("o")
    np.testing.assert_array_equal(viewer.settle().shown(), displayed(after, *window))
    viewer.press("b")
    np.testing.assert_array_equal(viewer.shown(), displayed(before, *window))


def test_inverting_changes_the_display_and_no_number(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready().press("1").press("b")
    numbers = viewer.text("#statistics"), viewer.text("#readout")
    viewer.click("#invert")
    np.testing.assert_array_equal(viewer.shown(), 255 - displayed(before, *viewer.window()))
    assert (viewer.text("#statistics"), viewer.text("#readout")) == numbers


def test_reference_can_take_a_side(show: Any) -> None:
    before, after, reference = images(count=3)
    viewer = show(Comparison("a", before, after, reference)).ready().press("1")
    viewer.page.select_option("#right", "reference")
    viewer.settle().page.locator("#split").focus()
    viewer.press("Home")
    np.testing.assert_array_equal(viewer.shown(), displayed(reference, *viewer.window()))
    assert viewer.text("#label-right") == "reference"


def test_zoom_repeats_pixels_and_the_wheel_keeps_the_pixel_under_the_cursor(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready().press("b").press("8")
    left, top, zoom = viewer.place()
    assert zoom == 8
    expected = np.kron(displayed(before, *viewer.window()), np.ones((8, 8), np.uint8))
    screen = viewer.screen()
    x0, y0 = max(0, left), max(0, top)
    part = screen[y0 : top + 8 * HEIGHT, x0 : left + 8 * WIDTH]
    found = expected[y0 - top :, x0 - left :][: part.shape[0], : part.shape[1]]
    np.testing.assert_array_equal(part, found)
    viewer.page.mouse.move(*viewer.point(40, 30))
    viewer.page.mouse.wheel(0, -120)
    assert viewer.settle().place()[2] == 16
    assert (viewer.text("#read-x"), viewer.text("#read-y")) == ("40", "30")
    viewer.page.mouse.move(*viewer.point(40, 30))
    assert (viewer.settle().text("#read-x"), viewer.text("#read-y")) == ("40", "30")


def test_dragging_moves_the_view_by_as_many_pixels(show: Any) -> None:
    viewer = show(Comparison("a", *images())).ready().press("4")
    left, top, _ = viewer.place()
    viewer.drag(viewer.point(5, 5), viewer.point(15, 11))
    assert viewer.place() == (left + 40, top + 24, 4)


def test_table_row_opens_its_image_and_its_history(show: Any) -> None:
    first, second = images(), images(count=4)[2:]
    history = [{"action": "enhance", "weights_sha256": "ef" * 32}]
    viewer = show(Comparison("one", *first), Comparison("two", *second, history=history)).ready()
    viewer.click("text=two").ready()
    assert viewer.text("#name") == "two"
    assert viewer.text("#read-before") == str(second[0][HEIGHT // 2, WIDTH // 2])
    assert viewer.page.locator("article:visible").count() == 1
    viewer.click("summary >> text=History")
    assert viewer.page.get_by_text("ef" * 32).is_visible()
    viewer.press("p").ready()
    assert viewer.text("#name") == "one"


def test_window_is_kept_for_the_next_image_on_request(show: Any) -> None:
    viewer = show(Comparison("one", *images()), Comparison("two", *images(count=4)[2:])).ready()
    viewer.fill("#lower", 20_000).fill("#upper", 50_000).click("#keep").click("#next").ready()
    assert viewer.text("#name") == "two"
    assert viewer.window() == (20_000, 50_000)


def test_hostile_names_are_shown_and_never_run(show: Any) -> None:
    viewer = show(
        Comparison(HOSTILE, *images(), facts={HOSTILE: HOSTILE}, history=[{HOSTILE: HOSTILE}], note=HOSTILE)
    ).ready()
    assert viewer.text("#name") == HOSTILE
    assert viewer.page.evaluate("() => window.pwned") is None


def test_policy_lets_the_page_reach_no_network(show: Any) -> None:
    viewer = show(Comparison("a", *images())).ready()
    blocked = viewer.page.evaluate(
        """async () => {
            const report = new Promise(seen => document.addEventListener("securitypolicyviolation",
                event => seen(event.effectiveDirective)));
            await fetch("http://127.0.0.1:9/").catch(() => 0);
            return report;
        }"""
    )
    assert blocked == "connect-src"
    viewer.complaints.clear()


def read(viewer: Viewer, x: int, y: int) -> list[str]:
    """What the page says of a pixel under the pointer: x, y, before, after."""
    viewer.page.mouse.move(*viewer.point(x, y))
    viewer.settle()
    return [viewer.text(f"#read-{what}") for what in ("x", "y", "before", "after")]


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_folder_shows_every_image_whole_and_every_grey_value_as_in_the_file(show: Any, dtype: str) -> None:
    before, after = images(dtype)
    viewer = show(Comparison("a", before, after)).whole()
    assert len(viewer.requests) > 6
    assert viewer.page.locator("#exact").is_hidden()
    viewer.press("1").press("b")
    np.testing.assert_array_equal(viewer.shown(), displayed(before, *viewer.window()))
    viewer.press("b")
    np.testing.assert_array_equal(viewer.shown(), displayed(after, *viewer.window()))
    for x, y in ((0, 0), (63, 47), (10, 20), (20, 19), (21, 16), (40, 31)):
        column, row, *values = read(viewer, x, y)
        assert (column, row) == (str(x), str(y))
        for value, image in zip(values, (before, after), strict=True):
            assert np.dtype(dtype).type(value) == image[y, x]


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("folder", ["gone", "none"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_page_alone_reads_the_files_grey_values_in_cutouts_and_says_what_the_rest_is(
    show: Any, dtype: str, folder: str
) -> None:
    before, after = images(dtype)
    viewer = show(
        Comparison("a", before, after, places=[(50, 30)]), folder=folder, images=folder == "gone"
    ).ready()
    viewer.page.locator("#viewer[data-exact=parts]").wait_for()
    says = viewer.text("#exact")
    assert ("report_files is not beside this page" in says) == (folder == "gone")
    assert "all grey values inside the frames" in says
    viewer.press("1")
    for x, y in ((44, 24), (50, 30), (55, 35)):  # of the chosen place's 12 x 12 px
        for value, image in zip(read(viewer, x, y)[2:], (before, after), strict=True):
            assert np.dtype(dtype).type(value) == image[y, x]
    cuts = viewer.page.evaluate("() => state.picture.cutouts.map(c => [c.left, c.top, c.width, c.height])")
    assert [44, 24, 12, 12] in cuts
    viewer.press("b")
    shown, expected = viewer.shown(), displayed(before, *viewer.window())
    exact = np.zeros((HEIGHT, WIDTH), bool)
    for left, top, width, height in cuts:
        exact[top : top + height, left : left + width] = True
    assert len(cuts) == 3
    np.testing.assert_array_equal(shown[exact], expected[exact])
    y, x = np.argwhere(~exact)[-1]
    square = before[y // 4 * 4 :, x // 4 * 4 :][:4, :4].astype(np.float64)
    value = read(viewer, x, y)[2]
    assert value[0] == "≈"
    assert float(value[1:]) == pytest.approx(square.mean(), rel=0.02)
    assert viewer.text("#read-difference") == "\N{EN DASH}"


@pytest.mark.usefixtures("little")
def test_thumbnails_of_both_sides_have_one_window(show: Any) -> None:
    before = np.full((HEIGHT, WIDTH), 10_000, np.uint16)
    before[:, 32:] = 30_000
    after = before.copy()
    after[24:] += 4000
    viewer = show(Comparison("a", before, after), images=False).ready().press("1").press("d")
    left, top, _ = viewer.place()
    half = viewer.screen().shape[1] // 2 + 1
    window = viewer.window()
    for image, start in ((before, left), (after, left + half)):
        for x, y in ((2, 2), (60, 2), (2, 46), (60, 46)):
            found = int(viewer.screen()[top + y, start + x])
            assert abs(found - int(displayed(image, *window)[y, x])) <= 2


@pytest.mark.usefixtures("little")
def test_places_are_offered_and_lead_there_at_one_to_one(show: Any) -> None:
    before, after = images()
    before[6:10, 50:54] = 65_535
    viewer = show(Comparison("a", before, after, places=[(8, 40)]), images=False).ready()
    offered = viewer.page.locator("#places button:visible").all_text_contents()
    assert offered[0] == "8, 40: chosen"
    x, y = map(int, offered[1].split(":")[0].split(","))
    assert max(abs(x - 52), abs(y - 8)) <= 8
    assert offered[1].endswith(" \N{GREEK SMALL LETTER SIGMA}")
    viewer.press("c")
    assert viewer.place()[2] >= 1
    assert (viewer.text("#read-x"), viewer.text("#read-y")) == ("8", "40")
    assert viewer.text("#read-before") == str(before[40, 8])
    viewer.click("#places button >> nth=1")
    assert viewer.text("#read-before") == str(before[y, x])


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("images_beside", [True, False])
def test_statistics_are_of_the_whole_image_or_of_a_region_that_is_there(
    show: Any, images_beside: bool
) -> None:
    before, after = images()
    viewer = show(Comparison("a", before, after, places=[(50, 30)]), images=images_beside).ready()
    if images_beside:
        viewer.whole()
    expected = [before.mean(), before.std(), before.min(), before.max()]
    assert viewer.statistics("before") == pytest.approx(expected, rel=2e-6)
    for key, value in {"x": 46, "y": 26, "width": 8, "height": 9}.items():
        viewer.fill(f"#region-{key}", value)
    inside = before[26:35, 46:54].astype(np.float64)
    expected = [inside.mean(), inside.std(), inside.min(), inside.max()]
    assert viewer.statistics("before") == pytest.approx(expected, rel=2e-6)
    viewer.fill("#region-width", 18)
    if images_beside:
        inside = before[26:35, 46:64].astype(np.float64)
        assert viewer.statistics("before")[0] == pytest.approx(inside.mean(), rel=2e-6)
    else:
        assert "not all grey values are here" in viewer.text("#region-count")
        cells = viewer.page.locator("#statistics tr[data-role=before] td").all_text_contents()
        assert cells == ["\N{EN DASH}"] * 4


def test_of_a_large_image_what_is_in_view_is_loaded(show: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutouts, "DETAILS", (Detail(256, 64, 1),))
    large = np.zeros((6000, 6100), np.uint8)
    large[::7, ::5] = 200
    viewer = show(Comparison("a", large, large)).ready()
    assert "loaded when you zoom in" in viewer.text("#exact")
    assert len(viewer.requests) == 1
    viewer.press("1")
    viewer.page.wait_for_function("() => tilesHere(state.picture).length > 0 && loads === 0")
    assert viewer.page.evaluate("() => tilesHere(state.picture).length") <= 4
    left, top, _ = viewer.place()
    screen = viewer.settle().screen()
    part = large[-top : -top + screen.shape[0], -left : -left + screen.shape[1]]
    viewer.press("b")
    np.testing.assert_array_equal(viewer.screen(), displayed(part, *viewer.window()))
    assert read(viewer, 3050, 3003)[2] == str(large[3003, 3050])


def test_a_tile_that_is_gone_is_told_and_the_others_are_shown(
    show: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutouts, "DETAILS", (Detail(16, 12, 2),))
    monkeypatch.setattr(image_folder, "TILE_PX", 40)
    real = write_report

    def without_one(*arguments: Any, **options: Any) -> Path:
        path = real(*arguments, **options)
        sorted((path.parent / "report_files").glob("*.js"))[0].unlink()
        return path

    monkeypatch.setitem(globals(), "write_report", without_one)
    before, after = images()
    viewer = show(Comparison("a", before, after)).ready()
    viewer.lost = True
    viewer.page.wait_for_function("() => tilesHere(state.picture).length === 3")
    viewer.page.locator("#exact", has_text="1 of the 4 parts of this image are missing").wait_for()


def test_failed_files_are_in_the_page_and_can_be_stepped_through(show: Any) -> None:
    viewer = show(
        Unseen("bad.tif", "failed", "expected an image, found text"),
        Comparison("good.tif", *images(), state="enhanced", warnings=["quite dark", "very dark"]),
        Unseen("also.tif", "failed", "cut off"),
    ).ready()
    assert viewer.text("#name") == "good.tif"
    assert viewer.text("#summary").startswith("2 failed, 1 enhanced.")
    assert viewer.page.locator("#warnings li").all_text_contents() == ["quite dark", "very dark"]
    viewer.press("n").ready()
    assert viewer.text("#name") == "also.tif"
    assert viewer.page.locator("article:visible").text_content().strip().endswith("failed: cut off")
    assert viewer.page.locator("#seen").is_hidden()
    viewer.press("p").ready().press("p").ready()
    assert viewer.text("#name") == "bad.tif"
    assert viewer.page.locator("text=found text >> visible=true").count() == 2
    viewer.press("n").ready()
    assert viewer.page.locator("#seen").is_visible()
    assert viewer.place()[2] >= 1


def test_table_is_sorted_by_number_and_by_name_and_the_steps_follow(show: Any) -> None:
    names = ["b10.tif", "a.tif", "b9.tif"]
    facts = [{"noise": "9.5"}, {}, {"noise": "1e+02"}]
    viewer = show(
        *(Comparison(name, *images(), facts=fact) for name, fact in zip(names, facts, strict=True))
    ).ready()

    def order() -> list[str]:
        return list(viewer.page.locator("#images tbody a").all_text_contents())

    viewer.click("#images th button >> text=Image")
    assert order() == ["a.tif", "b9.tif", "b10.tif"]
    viewer.click("#images th button >> text=noise")
    assert order() == ["b10.tif", "b9.tif", "a.tif"]
    viewer.click("#images th button >> text=noise")
    assert order() == ["b9.tif", "b10.tif", "a.tif"]
    assert viewer.page.get_attribute("#images th >> nth=1", "aria-sort") == "descending"
    assert viewer.text("#name") == "b10.tif"
    viewer.click("#next").ready()
    assert viewer.text("#name") == "a.tif"


def test_pages_of_a_stack_are_turned(show: Any) -> None:
    stacks = [
        Comparison(f"page {page}", *images(count=2 + page)[page:], stack="stack.tif", page=page)
        for page in (1, 2, 3)
    ]
    viewer = show(*stacks, Comparison("one.tif", *images())).ready()
    assert viewer.page.locator("#images tbody tr").count() == 2
    assert viewer.text("#page-count") == "3"
    viewer.press(".").ready()
    assert viewer.page.input_value("#page") == "2"
    assert viewer.text("#read-before") == str(stacks[1].before[HEIGHT // 2, WIDTH // 2])
    viewer.fill("#page", 3).ready()
    assert viewer.text("#read-before") == str(stacks[2].before[HEIGHT // 2, WIDTH // 2])
    viewer.click("#next").ready()
    assert viewer.page.locator("#pages").is_hidden()
    assert viewer.text("#name") == "one.tif"


@pytest.mark.parametrize(
    "image",
    [
        np.full((1, 1), 7, np.uint8),
        np.full((1, 40), 0, np.uint16),
        np.full((30, 30), 65_535, np.uint16),
        np.full((20, 30), np.nan, np.float32),
        np.zeros((20, 30), np.float32),
    ],
    ids=["one", "row", "full", "nan", "zero"],
)
@pytest.mark.usefixtures("little")
def test_odd_images_are_shown(image: Array, show: Any) -> None:
    viewer = show(Comparison("a", image, image)).whole()
    assert viewer.text("#read-before") == ("NaN" if np.isnan(image[0, 0]) else f"{image[0, 0]:g}")
    lower, upper = viewer.window()
    assert upper > lower
    for key in "dfbsc":
        viewer.press(key)


def test_a_value_that_is_no_number_is_red_in_image_and_thumbnail(show: Any, monkeypatch: Any) -> None:
    before, after = images("float32")
    before[:8, :8] = np.nan
    for detail in (Detail(64, 64, 1), Detail(8, 2, 1)):
        monkeypatch.setattr(cutouts, "DETAILS", (detail,))
        viewer = show(Comparison("a", before, after), images=False).ready().press("1").press("b")
        left, top, _ = viewer.place()
        colour = viewer.page.evaluate(
            "place => [...context.getImageData(...place, 1, 1).data]", [left + 2, top + 2]
        )
        assert colour == [255, 0, 0, 255]


@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("name", ["a b#?%&", "検査", "q'u\"o"])
def test_folder_of_any_name_is_found(name: str, chromium: Any, tmp_path: Path) -> None:
    before, after = images()
    path = write_report([Comparison("a", before, after)], tmp_path / f"{name}.html")
    context = chromium.new_context(viewport={"width": 1024, "height": 600})
    viewer = Viewer(context.new_page(), path).whole()
    assert viewer.complaints == []
    context.close()


def test_narrow_window_has_no_sideways_scrolling_of_the_page(show: Any) -> None:
    facts = {f"fact {number}": "1234.5" for number in range(12)}
    viewer = show(Comparison("a" * 90 + ".tif", *images("float32"), facts=facts, places=[(3, 3)])).ready()
    viewer.page.set_viewport_size({"width": 400, "height": 700})
    viewer.settle()
    assert viewer.page.evaluate("() => document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize(
    "missing", [{"java_script_enabled": False}, {"setup": "delete window.DecompressionStream"}]
)
def test_without_the_means_for_the_viewer_the_page_says_so_and_keeps_the_table(
    show: Any, missing: dict[str, Any]
) -> None:
    viewer = show(Comparison("one", *images(), facts={"Noise": "21.3"}, note="Seen."), **missing)
    assert "DecompressionStream" in viewer.text("#needs")
    for selector in ("#needs", "text=21.3", "text=Seen."):
        assert viewer.page.locator(selector).is_visible()
    assert not viewer.page.locator("#viewer").is_visible()


RED = """() => {
    const overlay = document.getElementById("overlay");
    const { width, height } = document.getElementById("overlay");
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(overlay, 0, 0);
    const { data } = pen.getImageData(0, 0, copy.width, copy.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) count += data[i] > 70 && data[i + 1] < 0.6 * data[i];
    return count;
}"""
"""How many pixels of the layer over the images are red."""


def test_flags_are_boxes_that_can_be_hidden_and_lead_there(show: Any) -> None:
    before, after = images()
    flag = {"x": 10, "y": 20, "width": 5, "height": 4, "deviations": 7.25, "data": "darker"}
    told = Comparison("u7", before, after, places=[(12, 22)], flags=[{**flag, "page": 1}])
    viewer = show(told).whole()
    assert viewer.text("#places button") == "12, 22: darker, 7.3 \N{GREEK SMALL LETTER SIGMA}"
    assert viewer.page.is_visible("#flags")
    assert viewer.page.evaluate(RED) > 20
    viewer.press("g")
    assert viewer.page.get_attribute("#flags", "aria-pressed") == "false"
    assert viewer.page.evaluate(RED) == 0
    viewer.click("#flags").press("c")
    assert viewer.page.evaluate(RED) > 20
    assert (viewer.text("#read-x"), viewer.text("#read-y")) == ("12", "22")


def test_an_image_without_flags_has_no_button_for_them(show: Any) -> None:
    before, after = images()
    viewer = show(Comparison("u7", before, after)).whole()
    assert not viewer.page.is_visible("#flags")
    assert viewer.page.evaluate(RED) == 0


def test_every_control_has_a_name(show: Any) -> None:
    viewer = show(Comparison("a", *images(count=3))).ready()
    nameless = viewer.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [tabindex]")].filter(control =>
            !(control.textContent.trim() || control.getAttribute("aria-label") || control.labels?.length)
        ).map(control => control.outerHTML)"""
    )
    assert nameless == []
