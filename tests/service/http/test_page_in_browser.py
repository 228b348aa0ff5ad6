"""The page of a running server in headless Chromium: images in, the list live, the viewer, the keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hot import wait_for
from served import Server, serving, tiff

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
TOKEN = "a-token-of-sixteen-letters"
HOSTILE = "<img src=x onerror='window.pwned=1'>.tif"
sync_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield opened
        opened.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "data", most_bytes=100_000) as running:
        yield running


class Page:
    """The page, and what a person does with it."""

    def __init__(self, browser: Any, server: Server, **settings: Any) -> None:
        self.page = browser.new_page(**settings)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.set_default_timeout(30_000)
        self.page.goto(server.address)
        self.viewer = self.page.frame_locator("iframe")

    def upload(self, *names: str) -> None:
        files = [
            {"name": name, "mimeType": "image/tiff", "buffer": tiff(seed)} for seed, name in enumerate(names)
        ]
        self.page.set_input_files("#files", files)

    def names(self) -> list[str]:
        return list(self.page.locator("#jobs .title").all_text_contents())

    def chosen(self) -> str:
        return str(self.page.text_content("#jobs [aria-selected=true] .title"))

    def ready(self) -> None:
        self.viewer.locator("#viewer[data-state=ready]").wait_for()


def test_what_is_uploaded_appears_in_the_list_and_in_the_viewer(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.upload("u7.tif", HOSTILE)
    page.ready()
    page.page.locator("#jobs li.done >> nth=1").wait_for()
    assert sorted(page.names()) == sorted(["u7.tif", HOSTILE])
    assert "64 x 64 uint16" in page.page.text_content("#facts")
    before = page.viewer.locator("#read-before").text_content()
    assert before is not None
    assert float(before) > 0
    assert page.viewer.locator("#images").is_hidden()  # the page has a list of its own
    assert page.viewer.locator("#records").text_content()  # with the history
    assert page.page.evaluate("() => window.pwned") is None
    assert all(url.startswith((server.address, "data:", "blob:")) for url in page.requests)
    assert page.complaints == []


def test_images_of_other_clients_appear_by_themselves(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.page.locator("#main").wait_for()
    assert server.post("/enhance?name=other.tif", tiff()).status == 200
    page.page.locator("#jobs li.done").wait_for()
    assert page.names() == ["other.tif"]


def test_what_is_refused_says_why_and_failed_images_too(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.page.locator("#main").wait_for()
    files = {"text.tif": b"no image", "half.tif": tiff()[:3000], "large.tif": bytes(200_000)}
    page.page.set_input_files(
        "#files",
        [{"name": name, "mimeType": "image/tiff", "buffer": content} for name, content in files.items()],
    )
    page.page.locator("#sending .refused >> nth=1").wait_for()
    refused = " ".join(page.page.locator("#sending .refused").all_text_contents())
    assert "found a text file" in refused
    assert "this server takes 0.1 MB" in refused
    page.page.locator("#jobs li.failed").click()
    assert "cut off" in page.page.text_content("#told")
    page.page.locator("#sending button").first.click()
    assert page.page.locator("#sending .refused").count() == 1


def test_the_keyboard_walks_through_the_list_from_the_viewer_too(browser: Any, server: Server) -> None:
    for seed, name in enumerate(("first.tif", "second.tif", "third.tif")):
        server.post(f"/enhance?name={name}", tiff(seed))
    page = Page(browser, server)
    page.ready()
    assert page.chosen() == "third.tif"
    page.page.locator("#jobs").focus()
    page.page.keyboard.press("ArrowDown")
    assert page.chosen() == "second.tif"
    page.page.locator("#name", has_text="second.tif").wait_for()
    page.viewer.locator("#name", has_text="second.tif").wait_for(state="attached")  # not the page before it
    page.ready()
    page.viewer.locator("#canvas").focus()
    page.page.keyboard.press("d")
    page.viewer.locator("[data-mode=side][aria-pressed=true]").wait_for()
    page.page.keyboard.press("n")
    wait_for(lambda: page.chosen() == "first.tif", told=page.names)
    page.page.locator("#jobs").focus()
    page.page.on("dialog", lambda dialog: dialog.accept())
    page.page.keyboard.press("Delete")
    wait_for(lambda: page.names() == ["third.tif", "second.tif"], told=page.names)
    assert len(server.get("/jobs").json["jobs"]) == 2


def test_files_are_dropped_anywhere(browser: Any, server: Server) -> None:
    page = Page(browser, server)
    page.page.locator("#main").wait_for()
    dropped = page.page.evaluate_handle(
        """content => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(content)], "dropped.tif"));
            return data;
        }""",
        list(tiff()),
    )
    page.page.dispatch_event("#shown", "dragover", {"dataTransfer": dropped})
    assert page.page.locator("#drop").is_visible()
    page.page.dispatch_event("#shown", "drop", {"dataTransfer": dropped})
    page.page.locator("#jobs li.done").wait_for()
    assert page.names() == ["dropped.tif"]
    assert page.page.locator("#drop").is_hidden()


def test_the_page_asks_for_the_token(browser: Any, tmp_path: Path) -> None:
    with serving(tmp_path / "data", token=TOKEN) as server:
        page = Page(browser, server)
        page.page.locator("#login").wait_for()
        page.page.fill("#token", "another-token-altogether")
        page.page.click("#login button")
        page.page.locator("#wrong:not(:empty)").wait_for()
        page.page.fill("#token", TOKEN)
        page.page.click("#login button")
        page.page.locator("#main").wait_for()
        page.upload("u7.tif")
        page.ready()
        assert page.names() == ["u7.tif"]


def test_a_tablet_shows_all_of_it(browser: Any, server: Server) -> None:
    server.post("/enhance?name=u7.tif", tiff())
    page = Page(browser, server, viewport={"width": 768, "height": 1024}, has_touch=True)
    page.ready()
    inside = page.page.evaluate(
        "() => [...document.querySelectorAll('button, .button, #jobs li')]"
        ".filter((each) => each.offsetParent).map((each) => each.getBoundingClientRect())"
        ".map(({ left, right, height }) => [left, right, height])"
    )
    assert len(inside) >= 8
    assert all(left >= 0 and right <= 768 and height >= 34 for left, right, height in inside)
    page.page.tap("#fold")
    assert page.page.locator("#side").is_hidden()
