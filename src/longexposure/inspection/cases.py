"""Cases: a piece of a scene with one defect, from invisible to plain, and the same piece without it.

How large a case is, is told in one number for all kinds of defects, its visibility in one short exposure:

    a = sqrt(sum over pixels of (change of the expected grey value)^2 / variance of the noise there)

That is the d' of an observer who knows everything and sees white noise of this variance. It grows with size
and contrast, is the same for every input, and n exposures raise it by sqrt(n). The simulator draws the
size, the case's place in the plan the visibility, and the defect is made as much fainter (thinner) as that
takes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from longexposure.errors import RecipeError
from longexposure.simulation.defects.catalogue import DEFECTS
from longexposure.simulation.defects.visibility import MASK_LEVEL, SeenDefect
from longexposure.simulation.exposure import Acquisition, Insertion, draw_insertion, prepare_acquisition
from longexposure.simulation.geometry.primitives import Feature, Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.machine import Machine, load_machine

Image = npt.NDArray[np.float64]
Phase = Literal["tuning", "test"]

VISIBILITIES = (1.0, 100.0)
"""From invisible to plain; a defect that is weaker at its full strength stays as it is."""
SCENES_TRIED = 60
"""Scenes that are drawn for one defect before a machine counts as one that cannot have it."""
ENOUGH = 5
"""Scenes that can have it, after which the plainest is taken though it is fainter than wanted."""
MARGIN_PX = 4
"""A find so far from the changed pixels still counts as one of the defect."""
_GOLDEN = 0.6180339887498949
_FLAT = 7
_SPLITS = {"tuning": 0, "test": 1}


@dataclass(frozen=True, eq=False)
class Case:
    """One defect in one piece of a scene.

    Attributes:
        kind: of the defect.
        faulty, sound: with the defect and without, on the same panel.
        defect: as it is seen at its full strength.
        strength: the fraction of it that is there.
        features: of the part, as its design knows them.
        view: projects them.
        key: seed, split and number of the scene.
        whole: visibility of the defect at its full strength.
    """

    kind: str
    faulty: Acquisition
    sound: Acquisition
    defect: SeenDefect
    strength: float
    features: Sequence[Feature]
    view: View
    key: tuple[int, int, int]
    whole: float = 0.0

    @cached_property
    def expected(self) -> Image:
        """Expectation of the short exposure without the defect, grey values."""
        return self.sound.clean.astype(np.float64)

    @cached_property
    def signal(self) -> Image:
        """What the defect changes in the expectation of the short exposure, grey values."""
        return self.faulty.clean - self.expected

    @cached_property
    def sigma(self) -> Image:
        """Standard deviation of the noise of the short exposure, grey values."""
        return np.sqrt(np.maximum(self.sound.noise.variance(self.expected), 1e-6))

    @cached_property
    def visibility(self) -> float:
        """a, see above."""
        return float(np.sqrt(np.square(self.signal / self.sigma).sum()))

    @cached_property
    def near(self) -> npt.NDArray[np.bool_]:
        """Where a find is one of the defect."""
        size = np.abs(self.signal)
        changed = size > MASK_LEVEL * max(float(size.max()), 1e-12)
        return np.asarray(ndimage.binary_dilation(changed, iterations=MARGIN_PX))

    @cached_property
    def middle(self) -> tuple[int, int]:
        """Row and column of the defect's middle."""
        weight = np.square(self.signal) + 1e-30
        y, x = ndimage.center_of_mass(weight)
        return round(float(y)), round(float(x))


def still(machine: str, overrides: Sequence[str] = ()) -> Machine:
    """A machine whose tube and part hold still and whose panel has no faulty pixels.

    Drift, movement and faulty pixels are no matter of noise, and a comparison with a reference would find
    them first.
    """
    loaded = load_machine(machine, overrides)
    document = copy.deepcopy(dict(loaded.document))
    times = dict(document.get("exposures", {}))
    document["exposures"] = {**times, "drift": 0.0, "shift_x_px": 0.0, "shift_y_px": 0.0}
    if isinstance(document.get("panel"), dict):
        document["panel"] = {key: value for key, value in document["panel"].items() if key != "bad"}
    return replace(loaded, document=document)


def check_kinds(kinds: Sequence[str]) -> list[str]:
    """The kinds, each once; all where none is named.

    Raises:
        RecipeError: an unknown one.
    """
    for kind in kinds:
        if kind not in DEFECTS:
            raise RecipeError(
                where=f"defect {kind!r}",
                expected=f"one of {', '.join(DEFECTS)}",
                found=repr(kind),
                advice="write the name as in that list",
            )
    return list(dict.fromkeys(kinds)) or list(DEFECTS)


def flat_field(machine: Machine, number: int, *, side_px: int, seed: int = 0) -> Acquisition:
    """The open beam of a machine, nothing in it."""
    parameters = machine.parameters(np.random.default_rng((seed, _FLAT, number)))
    view = parameters.view((side_px, side_px))
    return prepare_acquisition(parameters, Scene("flat", (), (), {}), view, panel_seed=seed + number)


def draw_case(machine: Machine, kind: str, *, phase: Phase, number: int, side_px: int, seed: int = 0) -> Case:
    """One case; equal arguments give equal pixels, and tuning and test never share a scene.

    Args:
        machine: from `still`.
        kind: of the defect.
        phase: tuning or test.
        number: of the case, which decides its visibility.
        side_px: of the piece.
        seed: of everything.

    Raises:
        RecipeError: no scene of the machine in which the defect can be drawn, or as `draw_insertion`.
    """
    place = (0.5 + number * _GOLDEN) % 1.0
    low, high = (log(value) for value in VISIBILITIES)
    wanted = exp(low + place * (high - low))
    room = list(DEFECTS).index(kind)
    best: tuple[Case, Insertion] | None = None
    able = 0
    for attempt in range(SCENES_TRIED):
        key = (seed, _SPLITS[phase], (number * len(DEFECTS) + room) * SCENES_TRIED + attempt)
        insertion = draw_insertion(machine, key=key, kind=kind, size_px=(side_px, side_px))
        if insertion is None:
            continue
        scene = insertion.scene
        case = Case(kind, *insertion.prepared(), insertion.defect, 1.0, scene.features, insertion.view, key)
        case = replace(case, whole=case.visibility)
        if case.whole > (best[0].whole if best else 0.0):
            best = case, insertion
        able += 1
        if case.whole >= wanted or able == ENOUGH:
            break
    if best is not None:
        case, insertion = best
        strength = min(wanted / case.whole, 1.0)
        faulty, sound = insertion.prepared(strength)
        return replace(case, faulty=faulty, sound=sound, strength=strength)
    raise RecipeError(
        where=f"{machine.where}: {kind}",
        expected="a scene that can have this defect",
        found=f"none among {SCENES_TRIED}",
        advice="choose other defects (--defect), or give the machine scenes with such features",
    )
