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
        hq, clean, (rows, columns) = shown_region(bench, test, machine)
        images = {"LQ": bench.picture("lq", test, machine)}
        images |= {label: bench.picture(model, test, machine) for label, model in models.items()}
        images |= {"HQ": hq, "clean": clean}
        what = (
            f"{machine}, test image {test.shown[machine].name.split('/')[-1]}, rows {rows.start} to "
            f"{rows.stop - 1}, columns {columns.start} to {columns.stop - 1}"
        )
        reference = hq if clean is None else clean
        figures.append(picture_strip(f"{name}-{machine}.png", what, images, reference=reference))
    return figures


def picture_strip(name: str, what: str, images: Mapping[str, Pixels | None], *, reference: Pixels) -> Figure:
    """Regions side by side, those that are there, windowed by one of them (`report.pictures.strip`)."""
    there = {label: image for label, image in images.items() if image is not None}
    return Figure(name, f"{what}: {', '.join(there)}.", png_bytes(strip(there, reference=reference)))


def shown_region(bench: Workbench, test: TestSet, machine: str) -> tuple[Pixels, Pixels | None, Window]:
    """Long exposure and clean image of the shown region of a type, and where it lies in what was scored."""
    _, hq, clean = test.images(test.shown[machine])
    region = detailed_region(hq if clean is None else clean, bench.budget.picture_px)
    return hq[region], None if clean is None else clean[region], region
