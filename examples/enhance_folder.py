"""Enhance the images of a folder and write a page with before/after sliders."""

from collections.abc import Iterator
from pathlib import Path

from longexposure import load_enhancer
from longexposure.enhance.files import enhance_files
from longexposure.io import expand_inputs
from longexposure.report.comparison import Comparison, Unseen, comparisons_of, write_report

OUT = Path("enhanced")


def comparisons() -> Iterator[Comparison | Unseen]:
    """Enhance file by file; a bad one is told and the others go on."""
    sources = expand_inputs(["examples/radiographs"])
    for result in enhance_files(sources, OUT, load_enhancer()):
        if result.error is not None:
            print(f"failed: {result.error}")
        else:
            left = f"{result.left_in_flat_areas:.0%} left in flat areas"
            print(f"{result.source.name}: noise {result.noise_sigma:.3g} counts, {left}")
        yield from comparisons_of(result)


page = write_report(comparisons(), Path("enhanced.html"), title="Example radiographs")
print(f"open {page} in a browser")
