"""The addresses of a server: what each takes, and what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from longexposure import __version__
from longexposure.errors import LongExposureError
from longexposure.format import finite
from longexposure.models.registry import catalogue
from longexposure.service.http.answers import no_such, refusal
from longexposure.service.http.desk import Desk
from longexposure.service.http.guard import COOKIE, Guard, is_same, ticket, unauthorised
from longexposure.service.http.limits import RefusedError
from longexposure.service.http.measures import CONTENT_TYPE
from longexposure.service.http.uploads import name_in

MEDIA = {
    ".tif": "image/tiff",
    ".png": "image/png",
    ".dcm": "application/dicom",
    ".h5": "application/x-hdf5",
}
"""Types of images by suffix; others are bytes."""

ASSETS = {"page.css": "text/css", "page.js": "text/javascript"}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
IMAGE = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            },
        },
    }
}
"""What is uploaded, for the description of the interface: frameworks would read it before limits apply."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "No image in the body."},
    401: {"description": "No token, or another one."},
    408: {"description": "The upload came too slowly."},
    413: {"description": "More bytes, or more declared pixels, than are taken."},
    422: {"description": "No radiograph that can be enhanced; the error says why."},
    429: {"description": "All places are taken; `Retry-After` says when to come again."},
    503: {"description": "The server is ending, or cannot reach its ledger or disk."},
    507: {"description": "The disk of the server is full."},
}
FILE: dict[int | str, dict[str, Any]] = {200: {"content": {"image/tiff": {}, "image/png": {}}}}
ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"description": "It goes on as the job in `Location`."}}

Name = Annotated[
    str, Query(max_length=1000, description="What the image is called; its suffix says its format.")
]
Seconds = Annotated[float | None, Query(ge=0, description="Longest wait, within the server's own limit.")]

router = APIRouter()


def application(desk: Desk) -> FastAPI:
    """The application that serves a desk."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with desk.open():
            yield

    app = FastAPI(
        title="longexposure",
        version=__version__,
        summary="Makes a short X-ray exposure of a chip or board look and measure like a long one.",
        docs_url=None,  # pages whose scripts come from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.desk = desk
    app.include_router(router)
    app.add_middleware(
        Guard,
        token=desk.serving.token,
        refused=lambda status: desk.measures.refused.labels(str(status)).inc(),
    )
    app.add_exception_handler(LongExposureError, _told)
    app.add_exception_handler(RequestValidationError, _misasked)
    app.add_exception_handler(HTTPException, _no_address)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, LongExposureError)  # noqa: S101 (what it is registered for)
    return refusal(error)


async def _misasked(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    return refusal(
        RefusedError(
            422,
            where=" ".join(map(str, first["loc"])),
            expected="what /openapi.json says",
            found=str(first["msg"])[:200],
            advice="correct the request",
        )
    )


async def _no_address(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return refusal(
        RefusedError(
            error.status_code,
            where=f"{request.method} {request.url.path[:200]}",
            expected="a method and address of /openapi.json",
            found=str(error.detail),
            advice="correct the request",
        )
    )


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # which nobody reads any more


async def _unexpected(request: Request, error: Exception) -> Response:
    return refusal(
        RefusedError(
            500,
            where=f"{request.method} {request.url.path[:200]}",
            expected="an answer",
            found=f"a fault of ours ({type(error).__name__})",
            advice="see the server's log, and report it",
        )
    )


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


async def _taken(request: Request, name: str) -> str:
    """The id of the job that the body of a request became."""
    headers = request.headers
    length = headers.get("content-length", "")
    return await _desk(request).take(
        request.stream(),
        declared=int(length) if length.isdecimal() else None,
        content_type=headers.get("content-type", ""),
        name=name or name_in(headers.get("content-disposition", "")) or "",
    )


def _file(path: Path, name: str, job: str) -> Response:
    return FileResponse(
        path,
        media_type=MEDIA.get(path.suffix, "application/octet-stream"),
        filename=name,
        headers={"X-Job": job, "Content-Location": f"/jobs/{job}/result"},
    )


async def _accepted(request: Request, job: str) -> Response:
    desk = _desk(request)
    row = await desk.threaded(desk.row, job)
    view = await desk.threaded(desk.view, row)
    return JSONResponse(finite(view), 202, {"Location": f"/jobs/{job}", "X-Job": job})


@router.post("/enhance", openapi_extra=IMAGE, responses={**FILE, **ACCEPTED, **REFUSALS}, response_model=None)
async def enhance(request: Request, name: Name = "", wait: Seconds = None) -> Response:
    """Enhance an image, and answer with the enhanced one; it stays as a job, too."""
    desk = _desk(request)
    job = await _taken(request, name)
    most_s = desk.serving.wait_s
    row = await desk.wait(job, most_s if wait is None else min(wait, most_s))
    if row.state == "failed":
        view = await desk.threaded(desk.view, row)
        error = RefusedError(
            422,
            where=view["name"],
            expected="a radiograph that can be enhanced",
            found="one that cannot be",
            advice=f"GET /jobs/{job} says why",
        )
        return refusal(error, **{"error": view["error"], "job": job})
    if row.state != "done":
        return await _accepted(request, job)
    return _file(*await desk.threaded(desk.file_of, job, "result"), job)


@router.post(
    "/jobs", openapi_extra=IMAGE, responses={**ACCEPTED, **REFUSALS}, status_code=202, response_model=None
)
async def begin(request: Request, name: Name = "") -> Response:
    """Take an image, and answer with its job at once."""
    return await _accepted(request, await _taken(request, name))


@router.get("/jobs")
async def jobs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500, description="How many at most.")] = 100,
    before: Annotated[int | None, Query(description="As the answer before said it.")] = None,
) -> dict[str, Any]:
    """The newest jobs, and with `before` older ones."""
    desk = _desk(request)
    return dict(finite(await desk.threaded(desk.listed, limit, before)))


@router.get("/jobs/{job}")
async def job_of(request: Request, job: str) -> dict[str, Any]:
    """What becomes of a job; when it is done, all that was found, and the history."""
    desk = _desk(request)
    row = await desk.threaded(desk.row, job)
    return dict(finite(await desk.threaded(lambda: desk.view(row, whole=True)), 16))


@router.delete("/jobs/{job}", status_code=204, response_model=None)
async def delete(request: Request, job: str) -> Response:
    """Delete a job with its original, its enhanced file and its report, unless it runs."""
    desk = _desk(request)
    await desk.threaded(desk.delete, job)
    return Response(status_code=204)


@router.get("/jobs/{job}/result", responses=FILE, response_model=None)
async def result(request: Request, job: str) -> Response:
    """The enhanced image, the bytes that `longexposure enhance` writes."""
    desk = _desk(request)
    return _file(*await desk.threaded(desk.file_of, job, "result"), job)


@router.get("/jobs/{job}/original", responses=FILE, response_model=None)
async def original(request: Request, job: str) -> Response:
    """The image as it came."""
    desk = _desk(request)
    return _file(*await desk.threaded(desk.file_of, job, "original"), job)


@router.get("/jobs/{job}/report", responses={200: {"content": {"text/html": {}}}}, response_model=None)
async def report(request: Request, job: str) -> Response:
    """A page with before and after, whose other images are loaded from beside it."""
    desk = _desk(request)
    return FileResponse(await desk.report(job), media_type="text/html; charset=utf-8")


@router.get("/jobs/{job}/report_files/{name}", include_in_schema=False, response_model=None)
async def tile(request: Request, job: str, name: str) -> Response:
    """A tile of the images of a report."""
    desk = _desk(request)
    path = await desk.threaded(desk.store.tile, job, name)
    if path is None:
        raise no_such("tile")
    return FileResponse(
        path, media_type="text/javascript", headers={"Cache-Control": "private, max-age=31536000, immutable"}
    )


@router.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """The model that enhances here, and all that this version knows."""
    desk = _desk(request)
    known = await desk.threaded(_known_models)
    return {"serving": desk.model or None, "strength": desk.serving.strength, "models": known}


@cache
def _known_models() -> list[dict[str, Any]]:
    names = ("name", "kind", "summary", "trained_on", "parameters", "licence", "shipped")
    return [{name: getattr(entry, name) for name in names} for entry in catalogue()]


@router.get("/limits")
async def limits(request: Request) -> dict[str, Any]:
    """What is taken: bytes and declared pixels of an image, images at one time, seconds."""
    serving = _desk(request).serving
    names = ("most_bytes", "most_pixels", "queue", "wait_s", "upload_s", "silent_s", "keep_s")
    return {name: getattr(serving, name) for name in names}


@router.get("/health")
async def health() -> dict[str, str]:
    """Whether the server answers at all."""
    return {"status": "alive", "version": __version__}


@router.get("/ready", responses={503: {"description": "Not now; the answer says why."}}, response_model=None)
async def ready(request: Request) -> Response:
    """Whether images are enhanced."""
    desk = _desk(request)
    why = await desk.threaded(desk.why_not_ready)
    return JSONResponse({"ready": not why, **({"why": why} if why else {})}, 503 if why else 200)


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_model=None)
async def metrics(request: Request) -> Response:
    """Measures for Prometheus."""
    desk = _desk(request)
    return Response(await desk.threaded(desk.measured), media_type=CONTENT_TYPE)


@router.post("/session", include_in_schema=False, response_model=None)
async def begin_session(request: Request) -> Response:
    """Give the page a cookie in exchange for the token."""
    token = _desk(request).serving.token
    given = request.headers.get("authorization", "").partition(" ")[2].strip()
    if token is not None and not is_same(given, token):
        raise unauthorised("none" if not given else "another one")
    response = Response(status_code=204)
    if token is not None:
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, ticket(token), httponly=True, samesite="strict", secure=secure)
    return response


@router.get("/", include_in_schema=False, response_model=None)
async def page() -> Response:
    """The page."""
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(_asset("page.html"), media_type="text/html; charset=utf-8", headers=headers)


@router.get("/assets/{name}", include_in_schema=False, response_model=None)
async def asset(name: str) -> Response:
    """A part of the page."""
    if name not in ASSETS:
        raise no_such("part of the page")
    return Response(_asset(name), media_type=f"{ASSETS[name]}; charset=utf-8")


@cache
def _asset(name: str) -> bytes:
    return resources.files("longexposure.service.http").joinpath("assets", name).read_bytes()
