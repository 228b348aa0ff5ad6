"""The report in headless Chromium: the screen shows the stored grey values, and the numbers are NumPy's."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longexposure.report.comparison import Comparison, write_report

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
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(10_000)
        page.goto(path.as_uri())

    def ready(self) -> Viewer:
        self.page.locator("#viewer[data-state=ready]").wait_for()
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
    """Write a report and open it; at the end, no page may have complained or asked any network."""
    opened: list[Viewer] = []
    contexts: list[Any] = []

    def open_report(*comparisons: Comparison, setup: str = "", **options: Any) -> Viewer:
        path = write_report(comparisons, tmp_path / "report.html", overwrite=True)
        contexts.append(chromium.new_context(viewport={"width": 1024, "height": 600}, **options))
        page = contexts[-1].new_page()
        if setup:
            page.add_init_script(setup)
        opened.append(Viewer(page, path))
        return opened[-1]

    yield open_report
    for viewer in opened:
        assert viewer.complaints == []
        assert [url for url in viewer.requests if not url.startswith("file:")] == []
        assert len(viewer.requests) == 1
    for context in contexts:
        context.close()


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


def test_large_image_says_that_it_is_a_crop_and_reads_in_whole_image_coordinates(show: Any) -> None:
    large = np.zeros((2100, 2200), np.uint8)
    large[1050, 1100] = 77
    viewer = show(Comparison("a", large, large)).ready()
    assert viewer.page.locator("#crop").is_visible()
    assert "x = 76 to 2123" in viewer.text("#crop")
    assert (viewer.text("#read-x"), viewer.text("#read-y")) == ("1100", "1050")
    assert viewer.text("#read-before") == "77"
    assert viewer.page.input_value("#region-x") == "76"


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


def test_every_control_has_a_name(show: Any) -> None:
    viewer = show(Comparison("a", *images(count=3))).ready()
    nameless = viewer.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [tabindex]")].filter(control =>
            !(control.textContent.trim() || control.getAttribute("aria-label") || control.labels?.length)
        ).map(control => control.outerHTML)"""
    )
    assert nameless == []
