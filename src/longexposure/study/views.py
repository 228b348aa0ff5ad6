"""What the studies show of their test images: the most detailed region, as every method leaves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from longexposure.io import png_bytes
from longexposure.radiograph import Pixels
from longexposure.report.pictures import Window, detailed_region, strip
from longexposure.study.result import Figure
from longexposure.study.sets import TYPES, TestSet
from longexposure.study.workbench import StudyRun, Workbench


def comparison_pictures(
    bench: Workbench,
    models: Mapping[str, StudyRun | str],
    test: TestSet,
    *,
    name: str,
    types: Sequence[str] = TYPES,
) -> list[Figure]:
    """For each type, the most detailed region of its first test image: LQ, every model, HQ, clean."""
    figures = []
    for machine in types:
        hq, clean, region = shown_region(bench, test, machine)
        images = {"LQ": bench.picture("lq", test, machine)}
        images |= {label: bench.picture(model, test, machine) for label, model in models.items()}
        images |= {"HQ": hq} | ({} if clean is None else {"clean": clean})
        there = {label: image for label, image in images.items() if image is not None}
        content = png_bytes(strip(there, reference=hq if clean is None else clean))
        rows, columns = region
        where = f"rows {rows.start} to {rows.stop - 1}, columns {columns.start} to {columns.stop - 1}"
        caption = f"{machine}, test image {test.shown[machine].name.split('/')[-1]}, {where}: " + ", ".join(
            there
        )
        figures.append(Figure(f"{name}-{machine}.png", caption + ".", content))
    return figures


def shown_region(bench: Workbench, test: TestSet, machine: str) -> tuple[Pixels, Pixels | None, Window]:
    """Long exposure and clean image of the shown region of a type, and where it lies in what was scored."""
    _, hq, clean = test.images(test.shown[machine])
    region = detailed_region(hq if clean is None else clean, bench.budget.picture_px)
    return hq[region], None if clean is None else clean[region], region
