"""What is to be done with each file of a batch: where its enhanced one goes, and whether that is there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from longexposure.enhance.choices import ModelChoice, check_strength
from longexposure.enhance.naming import absolute, told_apart, without_clashes
from longexposure.errors import InputError, LongExposureError, OutputError, ResourceError
from longexposure.io import images_in, read_radiograph, sidecar_path
from longexposure.io.checks import reason_of
from longexposure.io.defect_maps import DefectMap
from longexposure.io.formats import format_of_suffix
from longexposure.io.record import KEY
from longexposure.io.writing import refuse_existing
from longexposure.models.checkpoint import sha256_of
from longexposure.noise import NoiseProfile
from longexposure.noise.calibration import NoiseCalibration
from longexposure.radiograph import Pages, Step
from longexposure.system import is_out_of_memory

if TYPE_CHECKING:
    from longexposure.enhance.enhancer import Enhancer


@dataclass(frozen=True)
class Job:
    """One file of a batch.

    Attributes:
        source: the file.
        target: where its enhanced one belongs.
        name: what tables call it, which is its path below the folder that was named.
        made: history of the enhanced file that is there and need not be made again.
        replaces: whether an enhanced file of ours is in its place, to be replaced.
        error: why it cannot be enhanced, where that is known before it is read.
        called: what the history calls the file, "" for its own name.
    """

    source: Path
    target: Path
    name: str
    made: tuple[Step, ...] = ()
    replaces: bool = False
    error: LongExposureError | None = None
    called: str = ""

    @property
    def waits(self) -> bool:
        """Whether there is something to compute."""
        return not self.made and self.error is None


def plan_files(
    inputs: Sequence[Path],
    out: Path,
    enhancer: Enhancer | Callable[[], Enhancer],
    *,
    noise: NoiseProfile | NoiseCalibration | None = None,
    strength: float = 1.0,
    force: bool = False,
    recursive: bool = False,
    sidecar: bool = False,
    compress: str | None = None,
    bad_pixels: DefectMap | None = None,
    masks: bool = False,
    dataset: str | None = None,
    guard: bool = False,
    on_job: Callable[[int, int, Job], None] | None = None,
) -> list[Job]:
    """Say what `enhance_files` would do with each file; nothing is written and no model loaded.

    An enhanced file that is there stays where its history says that it was made from the same bytes with the
    same settings and version. Devices and engines agree within one count of 65535, and count only where one
    is asked for; the precision, which is f32 unless bf16 is asked for, always counts.

    Args:
        inputs: files and folders. What lies below a folder keeps its place; of several folders each gets one
            of its own. Files that would have one name get the folders they lie in, or their whole own name.
        out: output folder; what lies in it is no input.
        enhancer: the model, or what loads it.
        noise: as `enhance_files`.
        strength: as `enhance_files`.
        force: enhance all files anew, and replace what by its history is an enhanced file.
        recursive: look into the subfolders of folders.
        sidecar: whether histories are to lie beside the images.
        compress: as `enhance_files`; it counts where one is asked for.
        bad_pixels: as `enhance_files`.
        masks: whether masks of bad pixels are to lie beside the images.
        dataset: as `enhance_files`; it counts where one is named.
        guard: as `enhance_files`; it counts where it is asked for.
        on_job: called with the number of files that were looked at, of how many, and the latest.

    Raises:
        InputError: no input was given.
        OutputError: the output folder is that of an input.
        CheckpointError: no such model.
        RecipeError: strength outside 0..1.
    """
    check_strength(strength)
    jobs = list_jobs(inputs, out, recursive=recursive)
    settings: Mapping[str, Any] | None = None
    for index, job in enumerate(jobs):
        there = [
            path for path in (job.target, sidecar_path(job.target))[: 1 + sidecar] if os.path.lexists(path)
        ]
        if there and job.error is None:
            settings = settings or settings_of(
                enhancer,
                noise,
                strength=strength,
                compress=compress,
                bad_pixels=bad_pixels,
                dataset=dataset,
                guard=guard,
            )
            jobs[index] = looked_at(job, settings, force=force, sidecar=sidecar, masks=masks)
        if on_job is not None:
            on_job(index + 1, len(jobs), jobs[index])
    return jobs


def list_jobs(inputs: Sequence[Path], out: Path, *, recursive: bool = False) -> list[Job]:
    """The files that are named, each once, and where their enhanced ones belong, as `plan_files` says.

    Raises:
        InputError: no input was given.
        OutputError: the output folder is that of an input.
    """
    folders = {absolute(path): path for path in map(Path, inputs) if os.path.isdir(path)}  # noqa: PTH112
    several = len(folders) > 1
    titles = dict(zip(folders, told_apart(list(folders)), strict=True)) if several else {}
    files: dict[str, tuple[Path, PurePath]] = {}
    errors: dict[str, LongExposureError] = {}

    def unlisted(error: OSError) -> None:
        where = Path(error.filename)
        files[absolute(where)] = where, PurePath(where.name)
        errors[absolute(where)] = InputError(
            where=str(where),
            expected="a folder that can be listed",
            found=reason_of(error),
            advice="check its permissions",
        )

    for given in map(Path, inputs):
        here = absolute(given)
        try:
            folder = folders[here]
            left_out = {os.path.realpath(out)}
            images = images_in(folder, recursive=recursive, leave_out=left_out, on_error=unlisted)
            found = [(image, titles.get(here, PurePath()) / image.relative_to(folder)) for image in images]
        except KeyError:  # a file
            found = [(given, PurePath(Path(here).name))]
        except LongExposureError as error:
            found = [(given, PurePath(Path(here).name or "folder"))]
            errors[here] = error
        for image, below in found:
            files.setdefault(absolute(image), (image, below))
    if not files:
        raise InputError(
            where="input", expected="at least one file or folder", found="none", advice="name some"
        )
    targets = without_clashes([below for _, below in files.values()], list(files))
    jobs = [
        Job(source, Path(out) / target, str(below), error=errors.get(where))
        for (where, (source, below)), target in zip(files.items(), targets, strict=True)
    ]
    refuse_folders_of_inputs(jobs, Path(out))
    return jobs


def settings_of(
    enhancer: Enhancer | Callable[[], Enhancer],
    noise: NoiseProfile | NoiseCalibration | None,
    *,
    strength: float,
    compress: str | None,
    bad_pixels: DefectMap | None = None,
    dataset: str | None = None,
    guard: bool = False,
) -> dict[str, Any]:
    """What the history of an enhanced file must say for it to be what would be made.

    A `ModelChoice` tells without being loaded; what else loads a model must load it.

    Raises:
        CheckpointError: no such model.
    """
    from longexposure import __version__

    settings = {"version": __version__, "strength": strength, "noise_given": noise_given(noise)}
    asked = {}
    if isinstance(enhancer, ModelChoice):
        model, weights = enhancer.name, enhancer.weights
        weights_sha256 = None if weights is None else sha256_of(weights)
        precision = None if weights is None else enhancer.precision.replace("auto", "f32")
        asked = {"engine": enhancer.engine, "device": enhancer.device}
    else:
        loaded = enhancer() if callable(enhancer) else enhancer
        model, weights_sha256 = loaded.name, loaded.weights_sha256
        precision = loaded.engine.info.precision if loaded.engine.info else None
    settings |= {"bad_pixels_given": None if bad_pixels is None else bad_pixels.sha256}
    settings |= {} if compress is None else {"compress": compress}
    settings |= {} if dataset is None else {"dataset": dataset}
    settings |= {"guard": True} if guard else {}
    settings |= {"model": model} if weights_sha256 is None else {"weights_sha256": weights_sha256}
    if precision is not None:
        settings |= {"precision": precision}
        settings |= {name: value for name, value in asked.items() if value != "auto"}
    return settings


def mask_path(target: Path) -> Path:
    """Where it is written beside an enhanced file what every pixel is: chip.png gives chip.bad.tif."""
    return target.with_name(f"{target.stem}.bad.tif")


def noise_given(noise: NoiseProfile | NoiseCalibration | None) -> str | None:
    """SHA-256 of the noise that was given, None where it is measured on every image."""
    if noise is None:
        return None
    if isinstance(noise, NoiseCalibration):
        return str(noise.reference()["sha256"])
    return hashlib.sha256(json.dumps(noise.as_dict(), sort_keys=True).encode()).hexdigest()


def explained(error: Exception, source: Path) -> LongExposureError:
    """The error of one file, whatever went wrong with it."""
    if isinstance(error, LongExposureError):
        return error
    if is_out_of_memory(error):
        return ResourceError(
            where=str(source),
            expected="memory for the whole image and its enhanced copy",
            found="too little",
            advice="close other programs, or cut the image or the stack into several files",
        )
    unexpected = LongExposureError(
        where=str(source),
        expected="a file that can be read, enhanced and written",
        found=f"{type(error).__name__}: {reason_of(error)}",
        advice="see the traceback with `longexposure --debug ...`, and report it",
    )
    unexpected.__cause__ = error
    return unexpected


def looked_at(
    job: Job,
    settings: Mapping[str, Any],
    *,
    force: bool,
    sidecar: bool,
    masks: bool,
    source_sha256: str | None = None,
) -> Job:
    """The job with what is told by the files that are in the place of its own.

    The source is read for its SHA-256 where that is not known.
    """
    beside = sidecar_path(job.target)
    try:
        if os.path.lexists(job.target):
            refuse_existing(job.target, overwrite=True)
            made = _history(job.target, settings.get("dataset"))
            if not force:
                _refuse_others(job, made[-1], settings, source_sha256)
                wanted = [beside] * sidecar + [mask_path(job.target)] * masks
                if all(os.path.lexists(path) for path in wanted):
                    return replace(job, made=made)
        if sidecar and os.path.lexists(beside):
            _refuse_foreign_sidecar(beside)
        return replace(job, replaces=True)
    except Exception as error:  # of one file, which must not stop the others
        return replace(job, error=explained(error, job.source))


def _history(target: Path, dataset: str | None) -> tuple[Step, ...]:
    """The history of an enhanced file of ours.

    Raises:
        OutputError: it is none.
    """
    found = "a file without such a history, perhaps an original"
    try:
        made = read_radiograph(target, dataset=dataset, in_pages=True)
        if isinstance(made.pixels, Pages):
            for _ in made.pixels:
                pass  # each is decoded
        history = made.history
        if history and (history[-1].tool, history[-1].action) == ("longexposure", "enhance"):
            return history
    except LongExposureError as error:
        found = f"one that is damaged or none of ours ({error.found})"
    raise OutputError(
        where=str(target),
        expected="an enhanced file of ours, or none",
        found=found,
        advice="use another --out, or move that file away",
    )


def _refuse_others(
    job: Job, made: Step, settings: Mapping[str, Any], source_sha256: str | None = None
) -> None:
    """Refuse an enhanced file that is not what would be made (raises OutputError)."""
    told = {"version": made.version, **made.settings}
    form = format_of_suffix(job.target.suffix)
    if "dataset" not in told and not (form and form.datasets):
        told["dataset"] = settings.get("dataset")  # which is of no meaning here
    others = [name for name, wanted in settings.items() if told.get(name) != wanted]
    hashes = {"weights_sha256": "other weights", "noise_given": "other noise"}
    hashes |= {"bad_pixels_given": "another map of bad pixels"}
    found = [hashes.get(name) or f"{name} {told.get(name)}, not {settings[name]}" for name in others]
    if not found:
        try:
            if (source_sha256 or sha256_of(job.source)) == told.get("source_sha256"):
                return
        except OSError:
            return  # its error arises when it is read
        found = ["another source than the one of today"]
    raise OutputError(
        where=str(job.target),
        expected="an enhanced file that these settings made, or none",
        found=f"one made with {', '.join(found)}",
        advice="choose another --out, or replace it with --force",
    )


def _refuse_foreign_sidecar(path: Path) -> None:
    """Refuse to replace a file that is no history of ours (raises OutputError)."""
    try:
        if KEY in json.loads(path.read_bytes()):
            return
    except (OSError, ValueError, TypeError, RecursionError):
        pass
    raise OutputError(
        where=str(path),
        expected="a history that --sidecar wrote, or no file",
        found="another file",
        advice="use another --out, or move that file away",
    )


def refuse_folders_of_inputs(jobs: Iterable[Job], out: Path) -> None:
    """Refuse to write where originals lie (raises OutputError).

    They lie where they are named, and where that links to.
    """
    folders: dict[str, Job] = {}
    for job in jobs:
        folders[str(Path(absolute(job.source)).parent)] = job
        if os.path.islink(job.source):  # noqa: PTH114 (never raises)
            folders[str(Path(os.path.realpath(job.source)).parent)] = job
    originals = {os.path.realpath(folder): job for folder, job in folders.items()}
    for target in dict.fromkeys([out, *(job.target.parent for job in jobs)]):
        if (original := originals.get(os.path.realpath(target))) is not None:
            raise OutputError(
                where=str(target),
                expected="an output folder that holds none of the inputs",
                found=f"the folder of {original.source.name}",
                advice="choose another folder for --out, so that no original is at risk",
            )
