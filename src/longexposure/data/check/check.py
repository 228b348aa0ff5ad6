"""Checking: is a set of pairs fit to train on? Everything that is wrong with it, at once, and what to do.

Every file is read once; of each pair a few numbers and a picture of 32 x 32 stay in memory (about 8 kB), so
thousands of pairs need no more than a few images at a time.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from longexposure.data.check.examination import PairFacts, examine_pair, likeness
from longexposure.data.check.verdicts import (
    ALL,
    CHECKS,
    Finding,
    Group,
    Verdict,
    brightness_difference,
    judge_duplicates,
    judge_files,
    judge_leakage,
    judge_splits,
    noise_ratio,
    variance_line,
)
from longexposure.data.listing import list_pairs
from longexposure.data.registration import CROP_PX, CROPS
from longexposure.data.splits import partition
from longexposure.errors import InputError, as_path
from longexposure.io import read_finite, write_whole
from longexposure.system import require

EXIT_CODE = InputError.exit_code
"""What `longexposure check-pairs` ends with when something must be fixed or dropped: 3, as training would."""
CANDIDATE = 0.8
"""Coarse pictures that correlate so well are compared at full size."""
ALIKE = 0.9
"""Likeness of the fine structure from which two images are taken for one scene."""
COMPARED = 400
"""Most candidates compared at full size, the most alike first."""
WORST = 5

Alike = tuple[PairFacts, PairFacts, float]


@dataclass(frozen=True, eq=False)
class CheckReport:
    """All verdicts on a set of pairs.

    Attributes:
        path: the set.
        findings: one for each check and machine type; several where a check finds several faults.
        pairs: facts of every pair that was found, in the order of their names.
        machines: numbers by machine type, and "all" of them.
        sampled: what was examined, in words.
        alike: pairs of pairs that show one scene.
    """

    path: str
    findings: tuple[Finding, ...]
    pairs: tuple[PairFacts, ...]
    machines: Mapping[str, Mapping[str, Any]]
    sampled: str
    alike: tuple[Alike, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst one."""
        order: tuple[Verdict, ...] = ("fine", "fix", "drop")
        return max((finding.verdict for finding in self.findings), key=order.index, default="fine")

    @property
    def exit_code(self) -> int:
        """0 when all is fine, else `EXIT_CODE`."""
        return 0 if self.verdict == "fine" else EXIT_CODE

    @property
    def dropped(self) -> frozenset[str]:
        """Names of the pairs that must not be trained on."""
        return frozenset(
            name for finding in self.findings if finding.verdict == "drop" for name in finding.pairs
        )

    def rows(self) -> list[dict[str, str]]:
        """The table: what is fine in one line, what is not with its advice."""
        return [
            {
                "machine": finding.machine,
                "check": finding.check,
                "verdict": finding.verdict,
                "found": finding.found,
                "reason": finding.reason + (f". Do: {finding.advice}" if finding.advice else ""),
            }
            for finding in self.findings
        ]

    def pair_rows(self, most: int = 20) -> list[dict[str, str]]:
        """The pairs that findings name, at most so many for each finding; `as_dict` has all."""
        rows = []
        for finding in self.findings:
            if finding.verdict == "fine":
                continue
            row = {"verdict": finding.verdict, "check": finding.check}
            rows += [{**row, "pair": name, "why": why} for name, why in list(finding.pairs.items())[:most]]
            if len(finding.pairs) > most:
                rows.append(
                    {**row, "pair": "...", "why": f"and {len(finding.pairs) - most} more, see --json"}
                )
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "path": self.path,
            "verdict": self.verdict,
            "sampled": self.sampled,
            "machines": {name: dict(facts) for name, facts in self.machines.items()},
            "findings": [asdict(finding) for finding in self.findings],
            "pairs": [pair_dict(pair) for pair in self.pairs],
        }


def check_pairs(
    path: Path,
    *,
    include: Sequence[str] = ("*",),
    exposures_s: tuple[float, float] | None = None,
    on_pair: Callable[[int, int, str], None] | None = None,
) -> CheckReport:
    """Examine every pair of a set and judge the set.

    Args:
        path: folder of pairs or manifest, see `longexposure.data.listing.list_pairs`.
        include: patterns of the pairs to take.
        exposures_s: seconds of the short and the long exposure, in place of what manifest or files tell.
        on_pair: called after each pair with the number done, the number of all, and its name.

    Raises:
        InputError: no pairs and nothing that could be one, a manifest that cannot be read, or times that
            are not above 0.
        ResourceError: scikit-image is missing, which finds the shift between exposures.
    """
    path = as_path(path, where="pairs")
    require("skimage", where="check-pairs")
    if exposures_s is not None and not 0 < exposures_s[0] < exposures_s[1] < float("inf"):
        raise InputError(
            where="exposures",
            expected="the seconds of the short and of the long exposure, in this order",
            found=f"{exposures_s[0]:g} and {exposures_s[1]:g}",
            advice="write them like --exposures 5 90",
        )
    listing = list_pairs(path, include=include)
    if not listing.pairs and not [p for p in listing.problems if p.kind != "split"]:
        raise InputError(
            where=str(path),
            expected="folders LQ and HQ with images of equal names, or a manifest",
            found="no pairs" if path.exists() else "no such folder",
            advice="put short exposures in .../LQ/name and long ones in .../HQ/name",
        )
    facts = []
    # closing gives up what is not begun yet where `on_pair` raises
    with (
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
        closing(cast("Generator[PairFacts]", pool.map(examine_pair, listing.pairs))) as examined,
    ):
        for pair in examined:
            facts.append(pair)
            if on_pair is not None:
                on_pair(len(facts), len(listing.pairs), pair.name)
    usable = [pair for pair in facts if not pair.problems]
    groups = [
        Group(machine, [pair for pair in usable if pair.machine == machine], exposures_s)
        for machine in sorted({pair.machine for pair in usable})
    ]
    alike, (compared, candidates) = find_alike(usable)
    machines = {group.machine: numbers_of(group) for group in groups}
    machines[ALL] = numbers_of(Group(ALL, usable, exposures_s))
    pixels = sum(pair.shape[0] * pair.shape[1] for pair in usable)
    seen = sum(min(CROPS * CROP_PX**2, pair.shape[0] * pair.shape[1]) for pair in usable)
    fraction = f"{100 * min(seen / pixels, 1):.0f} %" if pixels else "none"
    return CheckReport(
        path=str(path),
        findings=(
            *judge_files(listing.problems, facts),
            *judge_splits(facts, listing.problems),
            *judge_duplicates(usable, alike),
            *judge_leakage(usable, alike),
            *(finding for group in groups for check in CHECKS for finding in check(group)),
        ),
        pairs=tuple(facts),
        machines=machines,
        sampled=f"all files read whole; shift, gain and noise on up to {CROPS} crops of {CROP_PX} x "
        f"{CROP_PX} px of every pair ({fraction} of the pixels); {compared} of {candidates} look-alikes "
        "compared whole",
        alike=tuple(alike),
    )


def write_manifest(report: CheckReport, path: Path, *, seed: int = 0, overwrite: bool = False) -> int:
    """Write a manifest (CSV) of the pairs that need not be dropped, each with split and object.

    Pairs of one scene become one object. A split that is not declared is drawn by the seed.

    Returns:
        Number of pairs in it.

    Raises:
        OutputError: the file exists and may not be replaced, or cannot be written.
        InputError: no pair is left.
    """
    kept = [pair for pair in report.pairs if not pair.problems and pair.name not in report.dropped]
    if not kept:
        raise InputError(
            where=report.path,
            expected="a pair that need not be dropped",
            found="none",
            advice="see the findings for what to put right first",
        )
    objects = {pair.name: pair.object for pair in kept}
    for one, other, _ in report.alike:
        if one.name in objects and other.name in objects:
            first, second = sorted((objects[one.name], objects[other.name]))
            objects = {name: first if item == second else item for name, item in objects.items()}
    listed = [replace(pair, object=objects[pair.name]) for pair in kept]
    splits = {pair.name: split for split, pairs in partition(listed, seed=seed).items() for pair in pairs}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("lq", "hq", "machine", "split", "object"))
    for pair in listed:
        files = (
            os.path.relpath(file.resolve(), path.resolve().parent).replace(os.sep, "/")
            for file in (pair.lq, pair.hq)
        )
        table.writerow((*files, pair.machine, splits[pair.name], pair.object))
    write_whole(path, text.getvalue().encode(), overwrite=overwrite, parents=True)
    return len(kept)


def find_alike(pairs: Sequence[PairFacts]) -> tuple[list[Alike], tuple[int, int]]:
    """Pairs of pairs that show one scene, by their long exposures; copies of the same pixels included.

    Coarse pictures of all pairs of one machine type and size are compared with each other, those that
    correlate by more than 0.8 again at full size, moved onto each other. Turned, mirrored or cut copies
    are not found.

    Returns:
        What was found, and how many candidates were compared at full size out of how many.
    """
    kinds: dict[tuple[str, tuple[int, int]], list[int]] = {}
    for index, pair in enumerate(pairs):
        if pair.fingerprint is not None:
            kinds.setdefault((pair.machine, pair.shape), []).append(index)
    candidates = []
    for members in kinds.values():
        known = [picture for index in members if (picture := pairs[index].fingerprint) is not None]
        pictures = np.stack(known).reshape(len(members), -1)
        for start in range(0, len(members), 512):
            alike = pictures[start : start + 512] @ pictures.T
            candidates += [
                (float(alike[row, column]), members[start + row], members[column])
                for row, column in zip(*np.nonzero(alike > CANDIDATE), strict=True)
                if start + row < column
            ]
    candidates.sort(reverse=True)
    found: list[Alike] = []
    for _, i, j in candidates[:COMPARED]:
        one, other = pairs[i], pairs[j]
        same = one.sha256[1] == other.sha256[1]
        score = 1.0 if same else likeness(*(read_finite(pair.hq).pixels for pair in (one, other)))
        if score > ALIKE:
            found.append((one, other, score))
    return found, (min(len(candidates), COMPARED), len(candidates))


def numbers_of(group: Group) -> dict[str, Any]:
    """The measurements of one machine type, or of all."""
    pairs, sound = group.pairs, group.sound
    shifts = sorted(((p.shift.length, p.name) for p in sound if p.shift is not None), reverse=True)
    noises = [pair.noise for pair in sound if pair.noise is not None]
    line = variance_line(group)
    ends = [clipping for pair in pairs for clipping in pair.clipping.values()]
    return {
        "pairs": len(pairs),
        "splits": dict(Counter(pair.split or "none" for pair in pairs)),
        "objects": len({(pair.machine, pair.object) for pair in pairs}),
        "sizes": dict(Counter(f"{pair.shape[0]} x {pair.shape[1]}" for pair in pairs)),
        "depths": dict(Counter(pair.dtype for pair in pairs)),
        "shift_px": {
            "median": _median(length for length, _ in shifts),
            "measured": len(shifts),
            "worst": [{"pair": name, "px": length} for length, name in shifts[:WORST]],
        },
        "gain": _spread(pair.gain.gain for pair in sound if pair.gain),
        "offset": _spread(pair.gain.offset for pair in sound if pair.gain),
        "brightness_fraction": _spread(
            level for pair in sound if (level := brightness_difference(pair)) is not None
        ),
        "noise_ratio": noise_ratio(group),
        "sigma_lq": _spread(noise.sigma_lq for noise in noises),
        "sigma_hq": _spread(noise.sigma_hq for noise in noises),
        "level": _median(noise.level for noise in noises),
        "corr_lq": [_median(noise.corr_lq[axis] for noise in noises) for axis in (0, 1)],
        "corr_hq": [_median(noise.corr_hq[axis] for noise in noises) for axis in (0, 1)],
        "variance_lq": None if line is None else {"at_zero": line[0], "slope": line[1]},
        "clipped_fraction": max((clipping.most for clipping in ends), default=0.0),
    }


def pair_dict(pair: PairFacts) -> dict[str, Any]:
    """The facts of a pair for JSON."""
    shift, gain, noise = pair.shift, pair.gain, pair.noise
    return {
        "name": pair.name,
        "machine": pair.machine,
        "split": pair.split,
        "object": pair.object,
        "shape": list(pair.shape),
        "dtype": pair.dtype,
        "sha256": list(pair.sha256),
        "shift_px": None if shift is None else [shift.dy, shift.dx],
        "shift_error_px": None if shift is None else shift.error,
        "gain": None if gain is None else gain.gain,
        "offset": None if gain is None else gain.offset,
        "scene": pair.scene,
        "sigma_lq": None if noise is None else noise.sigma_lq,
        "sigma_hq": None if noise is None else noise.sigma_hq,
        "clipped": {part: [found.low, found.high] for part, found in pair.clipping.items()},
        "exposures_s": None if pair.exposures_s is None else list(pair.exposures_s),
        "problems": list(pair.problems),
    }


def _median(values: Any) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None


def _spread(values: Any) -> dict[str, float] | None:
    """Median and robust standard deviation from pair to pair."""
    found = np.array(list(values), dtype=np.float64)
    if not found.size:
        return None
    middle = float(np.median(found))
    return {"median": middle, "sd": 1.4826 * float(np.median(np.abs(found - middle)))}
