"""Who may ask: this host or whoever has the token, and no page of another site."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longexposure.errors import LongExposureError
from longexposure.service.http.answers import refusal
from longexposure.service.http.limits import RefusedError, is_loopback

COOKIE = "longexposure"
OPEN = ("/", "/health", "/ready", "/session")
"""What is answered without a token: it tells nothing of images."""

SAFE = ("GET", "HEAD", "OPTIONS")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'self'",
}
"""Of every answer, unless it has its own."""


class Guard:
    """Lets requests through to an application.

    Args:
        application: what is guarded.
        token: what a request must say, as `Authorization: Bearer TOKEN` or by the cookie of the page; None
            asks for none, but then only names of this host are answered to, so that no other site's page
            can ask under its own name.
        refused: told of each status of a refusal.
    """

    def __init__(self, application: ASGIApp, *, token: str | None, refused: Callable[[int], object]) -> None:
        self._application, self._token, self._refused = application, token, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] >= 400:
                    self._refused(message["status"])
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
        except RefusedError as error:
            await refusal(error)(scope, receive, sent)
            return
        await self._application(scope, receive, sent)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._token is None and not is_loopback(_without_port(host)):
            raise _forbidden("Host", "a name of this host, such as 127.0.0.1", host)
        origin = headers.get("origin")
        if method not in SAFE and origin is not None and urlsplit(origin).netloc != host:
            raise _forbidden("Origin", f"a page of this server ({host})", origin)
        if self._token is None or path in OPEN or path.startswith("/assets/"):
            return
        given = headers.get("authorization", "")
        if given.lower().startswith("bearer ") and is_same(given[7:].strip(), self._token):
            return
        if is_same(_cookie(headers.getlist("cookie")), ticket(self._token)):
            return
        raise unauthorised("none" if not given else "another one")


def ticket(token: str) -> str:
    """What the page's cookie holds in place of a token."""
    return hmac.new(token.encode(), b"longexposure page", hashlib.sha256).hexdigest()


def is_same(given: str, expected: str) -> bool:
    """Whether two secrets are equal, told in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def unauthorised(found: str) -> RefusedError:
    """What is said to whoever does not know the token."""
    return RefusedError(
        401,
        where="token",
        expected="Authorization: Bearer TOKEN",
        found=found,
        advice="ask who runs the server for its token",
    )


def _forbidden(where: str, expected: str, found: str) -> LongExposureError:
    return RefusedError(
        403, where=where, expected=expected, found=repr(found[:80]), advice="ask it by its own address"
    )


def _cookie(given: Iterable[str]) -> str:
    jar: SimpleCookie = SimpleCookie()
    for text in given:
        try:
            jar.load(text)
        except CookieError:
            continue
    found: Any = jar.get(COOKIE)
    return "" if found is None else str(found.value)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
