"""The writer of simulated sets: pairs on disk with the truth about each; a broken run is gone on with.

`OUT/<machine>/<split>/` holds `LQ/`, `HQ/` and `clean/` with `NNNNN.tif`, `truth/NNNNN.json` with every
value that was drawn, every defect and the hashes of the pair's files, `recipe.json` and, when all is done,
`manifest.json`. With defects there are `defect_free/NNNNN.tif`, the noise-free image without them, and
`truth/NNNNN.tif`, the mask. Each file is written whole or not at all, and a pair counts as done when its
truth, which is written last, is there and its images have the hashes in it; all else is made anew. Nothing
depends on time, place or the number of processes and threads: equal arguments and versions give
equal bytes on one kind of processor.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from longexposure.config import json_values
from longexposure.errors import LongExposureError, OutputError, ResourceError, as_count, as_path
from longexposure.io import check_writable_folder, remove_temporaries, write_radiograph, write_whole
from longexposure.radiograph import Radiograph, Step
from longexposure.simulation.exposure import SPLITS, SimulatedPair, draw_pair, parameters_of
from longexposure.simulation.machine import MOST_PAIRS, Machine, Split, load_machine

FORMAT = 1
"""Number of the folder's layout, in `recipe.json`."""
VERSIONS = ("longexposure", "numpy", "scipy")
"""Packages whose versions may change the bytes."""
PREVIEWED_PX = 512
"""Largest side of one image on a preview."""


@dataclass(frozen=True)
class SetPlan:
    """What to write.

    Attributes:
        machine: its name or its recipe's file.
        overrides: "dotted.key=value" on top of the recipe.
        split: train or test; they never share a scene.
        count: number of pairs, 1 to 100,000.
        seed: of everything, 0 or more.
        defects: whether defects are put in.
        out: folder that the machine's folder is made in.

    Raises:
        RecipeError: a count or a seed out of range.
    """

    machine: str
    split: Split
    count: int
    seed: int
    out: Path
    defects: bool = False
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, lowest, highest in (("count", 1, MOST_PAIRS), ("seed", 0, 2**63 - 1)):
            as_count(getattr(self, name), where=name, low=lowest, high=highest)
        as_path(self.out, where="out")

    @property
    def root(self) -> Path:
        """Folder of this machine and split."""
        return self.out / _machine(self.machine, self.overrides).name / self.split

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders in `root`."""
        return ("LQ", "HQ", "clean", "truth", *(("defect_free",) if self.defects else ()))


def write_set(
    plan: SetPlan, *, workers: int | None = None, on_pair: Callable[[int, Path], None] | None = None
) -> Path:
    """Write a set of pairs, or what is still missing of it.

    All parameters are drawn and checked before anything is written. What was begun with a smaller count is
    gone on with; pairs beyond the count stay. Pairs with missing or damaged files are made anew, and there
    is no manifest until all are done.

    Args:
        plan: what to write.
        workers: processes; None takes one for each core, 0 and 1 stay in this one. A script that asks for
            more keeps its own work under `if __name__ == "__main__":`, as Python's multiprocessing wants it.
        on_pair: called with the number of pairs done and the truth file of the latest.

    Returns:
        The manifest, of all pairs in the folder.

    Raises:
        RecipeError: an impossible recipe; nothing is written.
        OutputError: the folder cannot be written, or holds something else.
        ResourceError: a worker was ended from outside, as when memory runs out.
    """
    machine = _machine(plan.machine, plan.overrides)
    for index in range(plan.count):
        parameters_of(machine, (plan.seed, SPLITS[plan.split], index))
    root = plan.root
    recipe = {
        "format": FORMAT,
        "versions": {name: metadata.version(name) for name in VERSIONS},
        "seed": plan.seed,
        "split": plan.split,
        "defects": plan.defects,
        "machine": dict(machine.document),
    }
    _claim(root, _json(recipe), plan.folders)
    remove_temporaries([root, *(root / folder for folder in plan.folders)])
    missing = [index for index in range(plan.count) if not _is_done(plan, index)]
    manifest = root / "manifest.json"
    if missing:  # it is there only while it tells of all pairs
        try:
            manifest.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                where=str(manifest),
                expected="a file that can be replaced",
                found=error.strerror or str(error),
                advice="correct the folder's permissions, or choose another --out",
            ) from error
    for done, path in enumerate(_make_all(plan, missing, workers), start=plan.count - len(missing) + 1):
        if on_pair is not None:
            on_pair(done, path)
    records = [read_truth(path) for path in sorted((root / "truth").glob("[0-9]*.json"))]
    write_whole(manifest, _json({**recipe, "pairs": records}), overwrite=True)
    return manifest


def read_truth(path: Path) -> dict[str, Any]:
    """The truth about one pair, as `truth/NNNNN.json` holds it.

    Raises:
        OutputError: no file, or not one that `write_set` wrote.
    """
    path = as_path(path, where="truth")
    try:
        values = json_values(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not isinstance(values.get("sha256"), dict):
            raise ValueError("other JSON")
    except (OSError, ValueError) as error:
        raise OutputError(
            where=str(path),
            expected="the truth about a simulated pair, in JSON",
            found=str(error),
            advice="delete the file and run the same command again",
        ) from error
    return values


def preview(pairs: Sequence[SimulatedPair], path: Path, *, overwrite: bool = False) -> None:
    """A sheet of pairs as an 8-bit PNG: one row each, LQ, HQ and clean (and the mask) side by side.

    Each row is windowed once, from the 0.2nd to the 99.8th percentile of its HQ; images larger than 512 px
    show their middle.

    Args:
        pairs: one or more, of any size and depth.
        path: of the PNG.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: the file exists or cannot be written.
    """
    rows = []
    for pair in pairs:
        images = [pair.lq, pair.hq, pair.clean]
        low, high = np.percentile(pair.hq, (0.2, 99.8))
        shown = [np.clip((image - low) / max(high - low, 1) * 255, 0, 255) for image in images]
        if pair.mask is not None:
            shown.append((pair.mask > 0) * 255.0)
        middle = tuple(
            slice((side - cut) // 2, (side - cut) // 2 + cut)
            for side in pair.hq.shape
            for cut in [min(side, PREVIEWED_PX)]
        )
        row = [np.pad(image[middle], ((0, 0), (0, 6))) for image in shown]
        rows.append(np.concatenate(row, axis=1).astype(np.uint8))
    width = max(row.shape[1] for row in rows)
    sheet = np.concatenate([np.pad(row, ((0, 6), (0, width - row.shape[1]))) for row in rows])
    write_radiograph(Radiograph(pixels=sheet), path, overwrite=overwrite)


@lru_cache(maxsize=8)
def _machine(name: str, overrides: tuple[str, ...]) -> Machine:
    return load_machine(name, overrides)


def _truth(root: Path, index: int) -> Path:
    return root / "truth" / f"{index:05}.json"


def _claim(root: Path, recipe: bytes, folders: Sequence[str]) -> None:
    """Make the folders and put the recipe there, or find them made by the same recipe.

    Raises:
        OutputError: the folder holds something else, and is left as it is; or it cannot be written.
    """
    path = root / "recipe.json"
    places = [root, *(root / folder for folder in folders)]
    try:
        found = path.read_bytes() if path.exists() else None
        files = (file for place in places if place.is_dir() for file in place.iterdir() if not file.is_dir())
        # What a killed run left half-written does not count.
        strange = found is None and any(file.suffix != ".part" for file in files)
    except OSError:
        found, strange = None, False  # what is wrong with the folder, writing will tell
    if strange or found not in (None, recipe):
        raise OutputError(
            where=str(root),
            expected="an empty folder, or the set that this command began",
            found="files of something else" if strange else "the set of another recipe, seed or version",
            advice="choose another --out, or delete the folder; recipe.json says what a set holds",
        )
    for place in places:
        check_writable_folder(place)
    if found is None:
        write_whole(path, recipe)


def _is_done(plan: SetPlan, index: int) -> bool:
    """Whether a pair has its truth, and every image with the hash that its truth tells."""
    root = plan.root
    folders = (folder for folder in plan.folders if folder != "truth" or plan.defects)
    images = {f"{folder}/{index:05}.tif" for folder in folders}
    try:
        hashes = read_truth(_truth(root, index))["sha256"]
        return images == set(hashes) and all(_sha256(root / name) == hashes[name] for name in images)
    except (OSError, OutputError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_all(plan: SetPlan, missing: list[int], workers: int | None) -> Iterator[Path]:
    """Truth files as they are done, in whatever order."""
    count = min((os.cpu_count() or 1) if workers is None else workers, len(missing))
    if count <= 1:
        yield from (_make(plan, index) for index in missing)
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        waiting: set[Future[Path]] = set()
        for index in missing:
            waiting.add(pool.submit(_make, plan, index))
            if len(waiting) >= 3 * count:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    except BrokenProcessPool as error:
        raise ResourceError(
            where="simulate",
            expected=f"{count} processes that stay alive",
            found="one that was ended from outside, as when memory runs out",
            advice="run the same command again, with fewer --workers; it goes on where it stopped",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when its parent is killed; by itself it would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone decides when to stop
    parent = parent_process()
    if parent is not None:

        def exit_with_parent() -> None:
            parent.join()
            os._exit(1)

        Thread(target=exit_with_parent, daemon=True).start()


def _make(plan: SetPlan, index: int) -> Path:
    """Draw one pair and write it, its truth last."""
    machine = _machine(plan.machine, plan.overrides)
    try:
        pair = draw_pair(machine, seed=plan.seed, index=index, split=plan.split, defects=plan.defects)
    except LongExposureError as error:
        raise type(error)(
            where=f"{machine.where}, pair {index}: {error.where}",
            expected=error.expected,
            found=error.found,
            advice=error.advice,
        ) from error
    step = Step(
        tool="longexposure",
        version=metadata.version("longexposure"),
        action="simulate",
        settings={
            "machine": machine.name,
            "seed": plan.seed,
            "split": plan.split,
            "index": index,
            "bits": pair.parameters.bits,
        },
    )
    images: dict[str, npt.NDArray[Any]] = {"LQ": pair.lq, "HQ": pair.hq, "clean": _rounded(pair.clean, pair)}
    if plan.defects and pair.defect_free is not None and pair.mask is not None:
        images |= {"defect_free": _rounded(pair.defect_free, pair), "truth": pair.mask}
    exposures = pair.parameters.exposures
    seconds = {"LQ": exposures.short_s, "HQ": exposures.long_s}
    hashes = {}
    for folder, pixels in images.items():
        path = plan.root / folder / f"{index:05}.tif"
        facts = {"exposure_s": seconds[folder]} if folder in seconds else {}
        radiograph = Radiograph(
            pixels=pixels, pitch_um=(pair.parameters.pixel_um,) * 2, exposure=facts, history=(step,)
        )
        write_radiograph(radiograph, path, overwrite=True)
        hashes[f"{folder}/{path.name}"] = _sha256(path)
    truth = _truth(plan.root, index)
    write_whole(truth, _json({"index": index, "sha256": hashes, **pair.truth()}), overwrite=True)
    return truth


def _rounded(clean: npt.NDArray[np.float32], pair: SimulatedPair) -> npt.NDArray[Any]:
    """The expectation in the machine's own depth."""
    full = np.iinfo(pair.lq.dtype).max
    return np.clip(np.rint(clean), 0, full).astype(pair.lq.dtype)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
