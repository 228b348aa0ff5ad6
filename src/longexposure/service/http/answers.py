"""Answers in JSON, and what is said of requests that are not done."""

from __future__ import annotations

from starlette.responses import JSONResponse

from longexposure.errors import InputError, LongExposureError, OutputError, ResourceError
from longexposure.service.http.limits import RefusedError

STATUS: dict[type[LongExposureError], int] = {InputError: 422, OutputError: 503, ResourceError: 503}
"""Of HTTP, by kind of error; 500 for others."""


def refusal(fault: LongExposureError, **more: object) -> JSONResponse:
    """The answer that tells an error, as one line and in its parts."""
    status = next((code for kind, code in STATUS.items() if isinstance(fault, kind)), 500)
    headers = {}
    if isinstance(fault, RefusedError):
        status, headers = fault.status, fault.headers
        if status == 401:
            headers = {**headers, "WWW-Authenticate": "Bearer"}
    parts = {name: getattr(fault, name) for name in ("where", "expected", "found", "advice")}
    return JSONResponse({"error": str(fault), **parts, **more}, status, headers)


def no_such(what: str) -> RefusedError:
    """What is said where an address leads nowhere."""
    return RefusedError(
        404,
        where=what,
        expected="one that is kept here",
        found="none",
        advice="GET /jobs lists what there is",
    )
