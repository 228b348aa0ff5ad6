"""What the observers make of one case: a few numbers an input, from which all statistics follow."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from longexposure.enhance.statistics import examine
from longexposure.inspection.cases import Case
from longexposure.inspection.created import created_regions, side
from longexposure.inspection.inputs import GAUSSIAN, NLM, Filters, enhanced, input_names, views
from longexposure.inspection.observers.difference import difference
from longexposure.inspection.observers.model import random_places, responses
from longexposure.inspection.observers.programme import RULES, SCALES, Finds, best_near, design_of, finds
from longexposure.io import write_whole
from longexposure.simulation.exposure import Acquisition
from longexposure.simulation.random_source import NumpyRandom

Numbers = npt.NDArray[np.float64]

KEPT = 60
"""False finds that are kept of an image, a rule and a scale."""
_PLACES, _FLAT = 201, 202


@dataclass(frozen=True, eq=False)
class Observed:
    """One case in all inputs (I), at the programme's scales (S), through the model observer's channels (C).

    Attributes:
        visibility: a of the case, 0 of a flat field.
        whole: a of its defect at full strength.
        size_um: of the defect.
        mpx: area that was looked at.
        window: span of the grey window in units of the noise.
        hits, empty: (I, S) score of the best find near the defect, and there in the image without it.
        false: (I, R, S, KEPT) scores in the image without it, of every rule of the plan; 0 where no more are.
        signal: (C,) response to the defect in the expectation.
        faulty, sound: (I, C) responses at its place.
        places: (I, P, C) responses at random places of the image without it.
        created: (I,) regions that the part does not have.
        sides: (I, 2) which side the images with the defect and without are on, see `created.side`.
    """

    visibility: float
    whole: float
    size_um: float
    mpx: float
    window: float
    hits: Numbers
    empty: Numbers
    false: Numbers
    signal: Numbers
    faulty: Numbers
    sound: Numbers
    places: Numbers
    created: Numbers
    sides: Numbers

    def write(self, path: Path) -> None:
        """Whole or not at all; an existing file is replaced.

        Raises:
            OutputError: it cannot be written.
        """
        arrays: dict[str, Any] = {name: np.asarray(value, np.float32) for name, value in vars(self).items()}
        write_whole(path, lambda file: np.savez_compressed(file, **arrays), overwrite=True)


def read_observed(path: Path) -> Observed | None:
    """What was written; None where there is nothing, or a damaged file, which is computed anew."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name], np.float64) for name in stored.files}
        values: dict[str, Any] = {name: v.item() if v.ndim == 0 else v for name, v in arrays.items()}
        return Observed(**values)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error):
        return None


def observe(
    case: Case, models: Sequence[str], filters: Filters, rules: Sequence[str], *, frames: Sequence[int]
) -> Observed:
    """Show a case in every input to every observer.

    Args:
        case: what is shown.
        models: names or files.
        filters: settings of the classical filters.
        rules: of the programme, those of all kinds of defects in the plan.
        frames: numbers of short exposures that are averaged.
    """
    names = input_names(models, frames)
    expected, signal, sigma = case.expected, case.signal, case.sigma
    change = signal / sigma
    design = design_of(case.features, case.view, expected, sigma)
    places = random_places(expected.shape, np.random.default_rng((*case.key, _PLACES)))
    rows: dict[str, dict[str, Any]] = {}
    for view in views(case, models, filters, frames):
        faulty, sound = (difference(image, view.reference, sigma) for image in (view.faulty, view.sound))
        rule = RULES[case.kind]
        seen = finds(rule, faulty, design)
        quiet = {name: finds(name, sound, design) for name in rules}
        rows[view.name] = {
            "hits": [best_near(seen[scale], case.near) for scale in SCALES],
            "empty": [best_near(quiet[rule][scale], case.near) for scale in SCALES],
            "false": [[_scores(quiet[name][scale]) for scale in SCALES] for name in rules],
            "faulty": responses(faulty, [case.middle])[0],
            "sound": responses(sound, [case.middle])[0],
            "places": responses(sound, places),
            "created": created_regions(view.sound, expected, sigma),
            "sides": [side(each, change) for each in (faulty, sound)],
        }
    together = {key: np.array([rows[name][key] for name in names], np.float64) for key in rows[names[0]]}
    low, high = np.percentile(expected / np.median(sigma), (1, 99))
    return Observed(
        visibility=case.visibility,
        whole=case.whole,
        size_um=case.defect.size_um,
        mpx=expected.size / 1e6,
        window=float(high - low),
        signal=responses(change, [case.middle])[0],
        **together,
    )


def observe_flat(flat: Acquisition, models: Sequence[str], filters: Filters, number: int) -> dict[str, Any]:
    """Regions that are created on a flat field, by filter and model; see `created.created_regions`."""
    image = flat.expose_short(NumpyRandom((_FLAT, number)))
    truth = flat.clean.astype(np.float64)
    sigma = np.sqrt(np.maximum(flat.noise.variance(truth), 1e-6))
    measured = examine(image)
    counts = {
        name: created_regions(enhanced(name, filters, image, measured), truth, sigma)
        for name in (*models, GAUSSIAN, NLM)
    }
    return {"mpx": truth.size / 1e6, "regions": counts}


def _scores(found: Finds) -> Numbers:
    """The highest scores, filled up with zeros."""
    scores = found[:KEPT, 2]
    return np.pad(scores, (0, KEPT - len(scores)))
