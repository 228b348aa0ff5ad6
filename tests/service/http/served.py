"""What tests of the server share: a server in a thread, and a client that is no library of ours."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import tifffile
from quick import noisy

from longexposure.enhance.choices import ModelChoice
from longexposure.service.hot_folder import Event
from longexposure.service.http.limits import Serving
from longexposure.service.http.serving import serve

GAUSSIAN = ModelChoice("gaussian")
FORM = "form7f3a"


def tiff(seed: int = 0, shape: tuple[int, ...] = (64, 64)) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, noisy(seed, shape))
    return file.getvalue()


def form(content: bytes, filename: str = "chip.tif", *, before: str = "") -> tuple[bytes, dict[str, str]]:
    """A form with one file, and the header that says so."""
    head = f'--{FORM}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    body = before.encode() + head.encode() + content + f"\r\n--{FORM}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={FORM}"}


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A server in a thread, and its clients."""

    def __init__(self, serving: Serving, model: ModelChoice = GAUSSIAN) -> None:
        self.events: list[Event] = []
        self.counts: Counter[str] = Counter()
        self.error: BaseException | None = None
        self.address = ""
        self._stop, self._listening = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(replace(serving, port=0), model))
        self._thread.start()
        assert self._listening.wait(60)
        assert self.error is None, self.error
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def _serve(self, serving: Serving, model: ModelChoice) -> None:
        def listening(address: str) -> None:
            self.address = address
            self._listening.set()

        try:
            self.counts = serve(
                serving, model, tell=self.events.append, stopped=self._stop.is_set, listening=listening
            )
        except BaseException as error:
            self.error = error
        finally:
            self._listening.set()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, given)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = b"", **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@contextmanager
def serving(data: Path, model: ModelChoice = GAUSSIAN, **settings: Any) -> Iterator[Server]:
    server = Server(Serving(data, **settings), model)
    try:
        yield server
    finally:
        server.end()
    assert server.error is None, server.error
