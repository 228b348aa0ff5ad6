"""The options of `enhance`, `watch` and `serve` from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from longexposure.config import parsed, read_document
from longexposure.errors import RecipeError
from longexposure.models.registry import CLASSICAL, shipped_weights

FILES = ("out", "noise", "bad_pixels", "report", "json_file", "ledger", "log", "data", "token_file")
"""Options that name a file or folder, beside the model."""


class EnhanceSettings(BaseModel):
    """Options of `enhance`, `watch` and `serve`, as `--config` takes them.

    Each command takes those that it has. Relative paths are those from the folder of the file.

    Attributes:
        out: folder for the enhanced files.
        model: a name that `longexposure models` lists, or a file.
        engine: what computes.
        device: where to compute.
        precision: arithmetic.
        strength: how much of the change to apply.
        noise: the machine's noise, which `noise machine` measured.
        bad-pixels: map of pixels that are known to be faulty.
        bad-pixel-masks: write beside the images what was filled or set aside.
        guard: look for places where what was taken away is not noise.
        recursive: look into subfolders too.
        report: page with before/after sliders.
        report-images: beside the page, a folder from which it shows every image whole.
        sidecar: write histories as JSON beside the images.
        compress: none, deflate, lzw, zstd, packbits, lzma.
        dataset: path of the images in HDF5 files.
        json: results as JSON.
        quiet: say nothing but warnings and errors.
        settle: `watch`: seconds between two looks at a file.
        poll: `watch`: list the folder again and again.
        once: `watch`: do what is there, and end.
        retry: `watch`: try again what lies in quarantine.
        ledger: `watch`: what is done.
        keep-copies: `watch`: copy bad files into the quarantine too.
        log: `watch`, `serve`: file to append to what is said.
        data: `serve`: folder for all that is kept.
        host: `serve`: address to listen at.
        port: `serve`: port to listen at.
        token-file: `serve`: file with the token that clients must say.
        queue: `serve`: images that are uploaded, wait or run at one time.
        max-mb: `serve`: MB of an upload, at most.
        max-mpx: `serve`: megapixels that an image may declare.
        wait: `serve`: seconds a request waits for its image, at most.
        keep-hours: `serve`: delete what ended so many hours ago.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    out: str | None = None
    model: str = "fast"
    engine: Literal["auto", "torch", "openvino", "onnx"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "f32", "bf16"] = "auto"
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    noise: str | None = None
    bad_pixels: Annotated[str | None, Field(alias="bad-pixels")] = None
    bad_pixel_masks: Annotated[bool, Field(alias="bad-pixel-masks")] = False
    guard: bool = False
    recursive: bool = False
    report: str | None = None
    report_images: Annotated[bool, Field(alias="report-images")] = True
    sidecar: bool = False
    compress: str | None = None
    dataset: str | None = None
    json_file: Annotated[str | None, Field(alias="json")] = None
    quiet: bool = False
    settle: Annotated[float, Field(ge=0, le=3600)] = 1.0
    poll: bool = False
    once: bool = False
    retry: bool = False
    ledger: str | None = None
    keep_copies: Annotated[bool, Field(alias="keep-copies")] = False
    log: str | None = None
    data: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    token_file: Annotated[str | None, Field(alias="token-file")] = None
    queue: Annotated[int, Field(ge=1, le=10_000)] = 32
    max_mb: Annotated[float, Field(ge=0.001, alias="max-mb")] = 256
    max_mpx: Annotated[float, Field(ge=0.001, alias="max-mpx")] = 64
    wait: Annotated[float, Field(ge=0, le=86400)] = 300
    keep_hours: Annotated[float | None, Field(ge=0, alias="keep-hours")] = None


def read_settings(path: Path) -> dict[str, Any]:
    """The options that a file sets, by the names of the command's parameters.

    Raises:
        RecipeError: not readable, not TOML, an unknown key or a value that is not allowed.
    """
    advice = "correct the file; its keys are in the reference, under Settings of a machine"
    try:
        values = read_document(path, advice=advice)
        settings = parsed(EnhanceSettings, values, where=str(path)).model_dump(exclude_unset=True)
    except RecipeError as error:
        expected = error.expected.replace("a recipe", "options")
        raise RecipeError(where=error.where, expected=expected, found=error.found, advice=advice) from error
    for name in FILES:
        if settings.get(name) not in (None, "-"):
            settings[name] = str(path.parent / settings[name])
    model = settings.get("model")
    if model is not None and model not in CLASSICAL and model not in shipped_weights():
        settings["model"] = str(path.parent / model)
    return settings
