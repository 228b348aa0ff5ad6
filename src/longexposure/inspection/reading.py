"""A reading by people: blinded images on an offline page, and what follows from their marks.

Half of the images hold a defect. Each case is shown as it was taken and as each model enhanced it, in one
grey window, in an order that every reader's page draws anew. `key.json` knows what is what and stays with
whoever runs the reading; readers get `reading.html` alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.enhance.statistics import examine
from longexposure.errors import InputError
from longexposure.inspection.bench import Plan
from longexposure.inspection.cases import Case, draw_case
from longexposure.inspection.inputs import SHORT, Filters, enhanced
from longexposure.inspection.pod import LEAST_SIZES, fit_pod
from longexposure.io import check_writable_folder, png_bytes
from longexposure.io.writing import write_together
from longexposure.report.pages import TEMPLATES, data_uri
from longexposure.report.pictures import windowed
from longexposure.simulation.random_source import NumpyRandom

PAGE, KEY = "reading.html", "key.json"
ZOOM = 2
SURE = (1, 3)
"""Confidences from which a mark counts, each an operating point of its own."""
_STREAM, _BLIND = 301, 302


def write_kit(
    plan: Plan,
    folder: Path,
    *,
    overwrite: bool = False,
    on_case: Callable[[int, int], object] = lambda done, of: None,
) -> Path:
    """Write the page for readers and the key to it.

    Args:
        plan: machine, models, defects; the budget's test cases of each kind.
        folder: made where it is missing.
        overwrite: whether a kit that is there may be replaced.
        on_case: told how many of how many cases are drawn.

    Returns:
        The page.

    Raises:
        RecipeError, CheckpointError: as `Plan.checked`.
        OutputError: there is a kit already, or the folder cannot be written.
    """
    plan.checked()
    check_writable_folder(folder)
    blind = np.random.default_rng((plan.seed, _BLIND))
    images, key = [], {}
    units = [(kind, number) for number in range(plan.budget.test) for kind in plan.kinds]
    holds = blind.permutation(np.arange(len(units)) % 2 == 0).tolist()
    for done, ((kind, number), there) in enumerate(zip(units, holds, strict=True), start=1):
        case = draw_case(plan.load(), kind, phase="test", number=number, side_px=plan.side_px, seed=plan.seed)
        for name, pixels in _shown(case, plan.models, there).items():
            identity = f"{int(blind.integers(2**48)):012x}"
            images.append({"id": identity, "uri": data_uri(png_bytes(pixels), "png")})
            key[identity] = {
                "input": name,
                "kind": kind,
                "case": number,
                "visibility": case.visibility if there else 0.0,
                "near": _runs(case) if there else [],
                "mpx": case.expected.size / 1e6,
            }
        on_case(done, len(units))
    kit = f"{int(blind.integers(2**48)):012x}"
    order = blind.permutation(len(images)).tolist()
    html = TEMPLATES.get_template("reading.html").render(
        title="Reading radiographs", kit=kit, kinds=plan.kinds, images=[images[n] for n in order], zoom=ZOOM
    )
    document = {"kit": kit, "machine": plan.load().name, "inputs": [SHORT, *plan.models], "images": key}
    write_together(
        {folder / KEY: json.dumps(document).encode(), folder / PAGE: html.encode()}, overwrite=overwrite
    )
    return folder / PAGE


def _shown(case: Case, models: Sequence[str], there: bool) -> dict[str, Any]:
    """One exposure as it was taken and as each model made it, in one window, 8 bits."""
    acquisition = case.faulty if there else case.sound
    image = acquisition.expose_short(NumpyRandom((*case.key, _STREAM)))
    low, high = np.percentile(case.expected, (0.5, 99.5))
    margin = 2 * float(np.median(case.sigma))
    measured = examine(image)
    made = {SHORT: image} | {name: enhanced(name, Filters(1.0, 1.0), image, measured) for name in models}
    return {name: windowed(pixels, low - margin, high + margin, zoom=ZOOM) for name, pixels in made.items()}


def _runs(case: Case) -> list[list[int]]:
    """Row, first and last column of the runs of pixels that count as the defect's place."""
    runs = []
    for row in np.flatnonzero(case.near.any(axis=1)).tolist():
        edges = np.flatnonzero(np.diff(np.pad(case.near[row].astype(np.int8), 1))).tolist()
        runs += [[row, first, last - 1] for first, last in zip(edges[::2], edges[1::2], strict=True)]
    return runs


def read_marks(folder: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The table of a reading: a row for each input and confidence, over all readers.

    Args:
        folder: of the kit, which holds its key.
        files: marks that readers saved.

    Raises:
        InputError: a file that is none, of another kit, or of images that the kit does not have; two files of
            one reader; fewer than `pod.LEAST_SIZES` images with a defect in an input.
    """
    key = _document(folder / KEY, "images", advice="name the folder that --reading-kit wrote")
    readings = {}
    for path in files:
        marks = _document(path, "marks", advice="name files that the page of the reading saved")
        reader, each = str(marks.get("reader", "")), marks["marks"]
        known = {mark.get("id") for mark in each if isinstance(mark, dict)}
        if marks.get("kit") != key["kit"] or not known <= set(key["images"]) or len(known) < len(each):
            raise InputError(
                where=str(path),
                expected=f"marks of the kit in {folder}, each image once",
                found="those of another, or an image twice",
                advice="give marks and kit that belong together",
            )
        if reader in readings:
            raise InputError(
                where=str(path),
                expected="one file of each reader",
                found=f"a second one of {reader!r}",
                advice="leave one of them out",
            )
        readings[reader] = each
    rows = []
    for name in key["inputs"]:
        for least in SURE:
            rows.append(_row(name, least, key["images"], readings))
    return rows


def _row(
    name: str, least: int, images: Mapping[str, Any], readings: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """One input at one confidence. False calls: marks where nothing is, on any image."""
    sizes, hits, false, area = [], [], 0, 0.0
    for marks in readings.values():
        for mark in marks:
            image = images[mark["id"]]
            if image["input"] != name:
                continue
            marked = _confidence(mark) >= least
            hit = marked and _is_near(mark, image["near"])
            area += image["mpx"]
            false += marked and not hit
            if image["visibility"] > 0:
                sizes.append(image["visibility"])
                hits.append(hit)
    if len(sizes) < LEAST_SIZES:
        raise InputError(
            where=f"marks of {name}",
            expected=f"at least {LEAST_SIZES} images with a defect",
            found=str(len(sizes)),
            advice="write a kit of more cases (--cases), or let more people read it",
        )
    pod = fit_pod(sizes, hits)
    return {
        "input": name,
        "confidence from": least,
        "readers": len(readings),
        "a50": str(pod.size_at(0.5)),
        "a90": str(pod.size_at(0.9)),
        "a90/95": str(pod.bounds(0.9)[1]),
        "found": f"{int(sum(hits))} of {len(hits)}",
        "false calls per 100 Mpx": 100 * false / area,
    }


def _confidence(mark: Mapping[str, Any]) -> int:
    value = mark.get("confidence")
    return value if isinstance(value, int) else 0


def _is_near(mark: Mapping[str, Any], near: Sequence[Sequence[int]]) -> bool:
    try:
        x, y = round(float(mark["x"])), round(float(mark["y"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return any(row == y and first <= x <= last for row, first, last in near)


def _document(path: Path, needed: str, *, advice: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(where=str(path), expected="a JSON file", found=str(error), advice=advice) from error
    if not isinstance(document, dict) or not isinstance(document.get(needed), dict | list):
        raise InputError(where=str(path), expected=f"JSON with {needed}", found="other JSON", advice=advice)
    return document
