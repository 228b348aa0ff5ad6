"""An image out of the body of a request into a file, counted and timed while it comes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from longexposure.errors import OutputError
from longexposure.io.checks import reason_of
from longexposure.service.http.admission import no_room, too_large
from longexposure.service.http.limits import RefusedError
from longexposure.service.http.store import readable_name
from longexposure.service.verdict import NO_ROOM

PIECE_BYTES = 1 << 20
"""So much of a body is held in memory at most, beside what the network holds."""

Threaded = Callable[..., Awaitable[Any]]
"""Runs a function in a thread."""


@dataclass(frozen=True)
class Upload:
    """A file that came whole.

    Attributes:
        name: what the client calls it, as a label.
        nbytes: its size.
        sha256: of its content.
    """

    name: str
    nbytes: int
    sha256: str


@dataclass(frozen=True)
class Pace:
    """How long an upload may take.

    Attributes:
        whole_s: all of it, seconds.
        silent_s: between two pieces, seconds.
    """

    whole_s: float
    silent_s: float


class Sink:
    """A file that takes an upload; what is held in memory is written in a thread.

    Args:
        path: the file, which must not be there.
        most_bytes: more are refused.
        threaded: runs a function in a thread.
    """

    def __init__(self, path: Path, *, most_bytes: int, threaded: Threaded) -> None:
        self._path, self._most_bytes, self._threaded = path, most_bytes, threaded
        self._held, self._digest = bytearray(), hashlib.sha256()
        self._file: BinaryIO | None = None
        self.nbytes = 0

    def put(self, piece: bytes) -> None:
        """Take some bytes (raises RefusedError where there are too many)."""
        self.nbytes += len(piece)
        if self.nbytes > self._most_bytes:
            raise too_large(f"more than {self._most_bytes} bytes", f"at most {self._most_bytes} bytes")
        self._held += piece

    async def write(self, *, last: bool = False) -> None:
        """Write what is held, if it is enough or the last; flushed to the disk after the last."""
        if last or len(self._held) >= PIECE_BYTES:
            piece, self._held = self._held, bytearray()
            await self._threaded(self._write, piece, last)

    def _write(self, piece: bytearray, last: bool) -> None:
        try:
            if self._file is None:
                self._file = self._path.open("xb", buffering=0)
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]
            self._digest.update(piece)
            if last:
                os.fsync(self._file.fileno())
                self._file.close()
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room("a full disk", None) from error
            raise OutputError(
                where="data folder",
                expected="a file that can be written",
                found=reason_of(error),
                advice="tell who runs the server",
            ) from error

    def sha256(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()


async def receive(
    pieces: AsyncIterator[bytes], sink: Sink, *, content_type: str, name: str, pace: Pace
) -> Upload:
    """Take an image that is the body, or the first file of a form (multipart/form-data).

    Args:
        pieces: the body.
        sink: where it goes.
        content_type: of the request.
        name: what the client calls the image; the form's name for the file wins.
        pace: how long it may take.

    Raises:
        RefusedError: too large, too slow, no image in the form, or a damaged form.
    """
    form = _Form(sink, content_type) if content_type.lower().startswith("multipart/") else None
    try:
        async with asyncio.timeout(pace.whole_s):
            while (piece := await _next(pieces, pace.silent_s)) is not None:
                if form is not None:
                    form.feed(piece)
                else:
                    sink.put(piece)
                await sink.write()
    except TimeoutError:
        raise _too_slow(f"not all of it after {pace.whole_s:g} s") from None
    if form is not None:
        name = form.end() or name
    if sink.nbytes == 0:
        raise _no_image("an empty body" if form is None else "an empty file")
    await sink.write(last=True)
    return Upload(readable_name(name), sink.nbytes, sink.sha256())


async def _next(pieces: AsyncIterator[bytes], silent_s: float) -> bytes | None:
    """The next piece, None after the last (raises RefusedError where it does not come)."""
    try:
        async with asyncio.timeout(silent_s):
            return await anext(pieces)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise _too_slow(f"{silent_s:g} s without a byte") from None


class _Form:
    """A form whose first file goes into a sink; all else in it is passed over."""

    def __init__(self, sink: Sink, content_type: str) -> None:
        told = Message()
        told["content-type"] = content_type
        boundary = told.get_param("boundary")
        if told.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
            raise _no_image("a form without multipart/form-data and a boundary")
        self._sink = sink
        self._field, self._value, self._disposition = b"", b"", ""
        self._name: str | None = None
        self._taking = self._ended = False
        try:
            self._parser = MultipartParser(
                boundary.encode("latin-1", "replace"),
                {
                    "on_part_begin": self._begin,
                    "on_header_begin": self._header,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers,
                    "on_part_data": self._data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _no_image(f"a damaged form ({reason_of(error)})") from error

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body (raises RefusedError where the form is damaged)."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise _no_image(f"a damaged form ({reason_of(error)})") from error

    def end(self) -> str:
        """The client's name for the file (raises RefusedError where there was none)."""
        if not self._ended:
            raise _no_image("a form that is cut off")
        if self._name is None:
            raise _no_image("a form without a file")
        return self._name

    def _begin(self) -> None:
        self._disposition = ""

    def _header(self) -> None:
        self._field = self._value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value.decode("utf-8", "replace")

    def _headers(self) -> None:
        name = name_in(self._disposition)
        if self._name is None and name is not None:
            self._name, self._taking = name, True

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._taking:
            self._sink.put(data[start:end])

    def _part_end(self) -> None:
        self._taking = False

    def _end(self) -> None:
        self._ended = True


def name_in(disposition: str) -> str | None:
    """The name of a file that a Content-Disposition gives, None where it gives none."""
    told = Message()
    told["content-disposition"] = disposition.replace("\r", " ").replace("\n", " ")
    return told.get_filename()


def _no_image(found: str) -> RefusedError:
    return RefusedError(
        400,
        where="body",
        expected="an image as the body, or as a file of a multipart/form-data form",
        found=found,
        advice="for example `curl --data-binary @chip.tif URL/enhance?name=chip.tif`",
    )


def _too_slow(found: str) -> RefusedError:
    return RefusedError(
        408,
        where="body",
        expected="an image that comes in time",
        found=found,
        advice="send it again, over a better connection; nothing was kept",
    )
