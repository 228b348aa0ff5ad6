"""Memory of stacks that are enhanced page by page: it must not grow with their pages.

Each stack is enhanced by a process of its own, whose peak is that of interpreter, libraries and model too.

    python benchmarks/stacks.py [--pages 50 400] [--side 1024] [--formats tiff hdf5 dicom] [--out benchmarks/stacks.json]
    python benchmarks/stacks.py --side 2048 --pages 2000 --formats tiff hdf5    # 17 GB each, and as much again
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.system import host_facts

SUFFIXES = {"tiff": ".tif", "hdf5": ".h5", "dicom": ".dcm"}
WORK = """
import json, resource, sys
from pathlib import Path
from longexposure.enhance.choices import ModelChoice
from longexposure.enhance.files import enhance_files
source, out, model = sys.argv[1:]
(result,) = enhance_files([Path(source)], Path(out), ModelChoice(model))
assert result.error is None, result.error
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"peak_mb": peak / 1024}))
"""
"""One stack in a process of its own, whose peak is that of the whole process: interpreter, model and libraries."""


def pages_of_noise(count: int, side: int) -> Iterator[np.ndarray]:
    """A square on even ground under noise, uint16, page by page."""
    scene = np.full((side, side), 20000.0)
    scene[side // 4 : side // 2, side // 4 : side // 2] = 26000
    for number in range(count):
        rng = np.random.default_rng(number)
        yield (scene + rng.normal(0, 300, scene.shape)).round().astype(np.uint16)


def write(form: str, path: Path, count: int, side: int) -> None:
    """A stack, written page by page by the library that users have."""
    if form == "tiff":
        import tifffile

        with tifffile.TiffWriter(path, bigtiff=True) as tif:
            for page in pages_of_noise(count, side):
                tif.write(page, contiguous=False, metadata=None)
    elif form == "hdf5":
        import h5py

        with h5py.File(path, "w") as file:
            data = file.create_dataset("entry/data/data", (count, side, side), "u2", chunks=(1, side, side))
            for number, page in enumerate(pages_of_noise(count, side)):
                data[number] = page
    else:
        from longexposure.io import write_radiograph
        from longexposure.radiograph import Radiograph

        first = np.stack(list(pages_of_noise(2, side)))
        write_radiograph(Radiograph(first), path)
        _lengthen(path, count, side)


def _lengthen(path: Path, count: int, side: int) -> None:
    """Make a DICOM of two frames one of many, whose pixels are the last element."""
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames, dataset.FrameTime = count, None
    dataset.PageNumberVector = [str(number + 1) for number in range(count)]
    del dataset.FrameTime, dataset.PixelData
    dataset.save_as(path)
    with path.open("ab") as file:
        length = count * side * side * 2
        file.write(b"\xe0\x7f\x10\x00OW\0\0" + length.to_bytes(4, "little"))
        for page in pages_of_noise(count, side):
            file.write(page.tobytes())


def measured(form: str, *, pages: int, side: int, model: str, folder: Path) -> dict[str, Any]:
    """Peak memory and time of one stack."""
    source = folder / f"stack{SUFFIXES[form]}"
    write(form, source, pages, side)
    out, began = folder / "out", time.perf_counter()
    command = [sys.executable, "-c", WORK, str(source), str(out), model]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak_mb = json.loads(done.stdout)["peak_mb"]
    row = {
        "format": form,
        "pages": pages,
        "side": side,
        "pixels_mb": 2 * pages * side**2 / 2**20,
        "peak_mb": round(peak_mb, 1),
        "wall_s": round(time.perf_counter() - began, 1),
    }
    source.unlink()
    shutil.rmtree(out)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", type=int, nargs="+", default=[50, 400])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--formats", nargs="+", default=list(SUFFIXES), choices=list(SUFFIXES))
    parser.add_argument("--model", default="identity", help="the cheapest; the memory of others comes on top")
    parser.add_argument("--folder", type=Path, help="where the stacks are made; default: the system's")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for form in given.formats:
            for pages in given.pages:
                options = {"pages": pages, "side": given.side, "model": given.model}
                rows.append(measured(form, **options, folder=Path(folder)))
                print(rows[-1], flush=True)
    result = {
        "what": __doc__.split("\n")[0],
        "host": host_facts(),
        "settings": {"model": given.model, "side_px": given.side},
        "stacks": rows,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
