"""The bench: cases of one machine, observed in all processes, kept on disk, and what follows from them.

`OUT/cases/<hash>/` holds a small file for each case, written whole when it is done; the hash follows from all
that a case's numbers depend on. The same command goes on where it was stopped, another plan starts beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib import metadata
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import numpy as np

from longexposure.enhance.enhancer import load_enhancer
from longexposure.errors import OutputError, RecipeError, ResourceError
from longexposure.format import finite
from longexposure.inspection import inputs
from longexposure.inspection.cases import Phase, check_kinds, draw_case, flat_field, still
from longexposure.inspection.inputs import GAUSSIAN, NLM, Filters, errors_of_filters, input_names
from longexposure.inspection.observed import Observed, observe, observe_flat, read_observed
from longexposure.inspection.observers.programme import RULES
from longexposure.io import check_writable_folder, write_whole
from longexposure.simulation.machine import Machine
from longexposure.system import require

FORMAT = 1
"""Goes up when the numbers of a case would come out otherwise."""
RESULT = "assess.json"
MADE_BY = "longexposure assess"
TUNING, TEST, FLAT = "tuning", "test", "flat"


@dataclass(frozen=True)
class Budget:
    """How much is done.

    Attributes:
        kinds: of defects; none stands for all.
        tuning, test: cases of each kind.
        flats: flat fields.
        side_px: of a piece of a scene.
        rate_per_mpx: false finds that the programme's thresholds let through on tuning scenes.
        draws: times that cases are drawn anew for an interval.
        frames: numbers of short exposures that are averaged.
    """

    kinds: tuple[str, ...]
    tuning: int
    test: int
    flats: int
    side_px: int
    rate_per_mpx: float
    draws: int
    frames: tuple[int, ...] = (2, 4, 8, 18)


BUDGETS = {
    "quick": Budget(("void", "bridge", "broken wire"), 8, 12, 4, 256, 4.0, 200),
    "standard": Budget(
        ("void", "missing", "shifted", "bridge", "broken wire", "open trace"), 16, 30, 8, 256, 2.0, 400
    ),
    "full": Budget((), 30, 60, 20, 384, 1.0, 1000),
}
LEAST_CASES = 8


@dataclass(frozen=True)
class Plan:
    """What is assessed.

    Attributes:
        machine: name or TOML file.
        models: names or files.
        budget: see `Budget`.
        seed: of everything.
        overrides: "a.b=c" on top of the machine's recipe.
    """

    machine: str
    models: tuple[str, ...]
    budget: Budget
    seed: int = 0
    overrides: tuple[str, ...] = ()

    @property
    def kinds(self) -> list[str]:
        """Kinds of defects; where the budget names none, all that the machine's scenes can have."""
        if self.budget.kinds:
            return check_kinds(self.budget.kinds)
        return list(_possible(self.machine, self.overrides, self.side_px, self.seed))

    @property
    def rules(self) -> list[str]:
        """Rules of the programme that the kinds need."""
        return list(dict.fromkeys(RULES[kind] for kind in self.kinds))

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return input_names(self.models, self.budget.frames)

    @property
    def side_px(self) -> int:
        """Side of the pieces: the budget's, or that of a smaller image."""
        image = self.load().image
        return min(self.budget.side_px, image.height, image.width)

    def load(self) -> Machine:
        """The machine, held still."""
        return _machine(self.machine, self.overrides)

    def checked(self) -> dict[str, str | None]:
        """SHA-256 of the models' weights; what a run would fail at is found here, before it writes.

        Raises:
            RecipeError: a machine, an override, a defect or a number of cases that cannot be.
            CheckpointError: no such model.
            ResourceError: a package is missing that filters or draws charts.
        """
        require("skimage", where="assess")
        require("matplotlib", where="assess")
        names = [*self.models, *(name for name in self.inputs if name not in self.models)]
        if len(set(names)) < len(names):
            raise RecipeError(
                where="--model",
                expected="each model once, none called as another input",
                found=", ".join(self.models),
                advice="name each model once",
            )
        if self.budget.test < LEAST_CASES or self.budget.tuning < LEAST_CASES:
            raise RecipeError(
                where="cases",
                expected=f"at least {LEAST_CASES} of each kind of defect",
                found=str(min(self.budget.test, self.budget.tuning)),
                advice="raise --cases",
            )
        self.load()
        _ = self.kinds
        return {model: load_enhancer(model, device="cpu").weights_sha256 for model in self.models}


@dataclass(frozen=True)
class Unit:
    """One piece of work: a case of a kind, or a flat field."""

    kind: str
    phase: Phase
    number: int

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"{self.kind.replace(' ', '-')}-{self.phase}-{self.number:04}"


@dataclass(frozen=True, eq=False)
class Seen:
    """All that was observed of a plan.

    Attributes:
        plan: the plan.
        filters: settings of the classical filters.
        tuning, test: cases of each kind.
        flats: area and regions by input, of each flat field.
        weights: SHA-256 of the models.
        key: hash of the plan.
    """

    plan: Plan
    filters: Filters
    tuning: dict[str, list[Observed]]
    test: dict[str, list[Observed]]
    flats: list[dict[str, Any]]
    weights: dict[str, str | None]
    key: str


Told = Callable[[int, int, str], object]


def observe_all(
    plan: Plan, out: Path, *, workers: int | None = None, on_unit: Told = lambda done, of, name: None
) -> Seen:
    """Observe every case of a plan, or take it from disk.

    Args:
        plan: what.
        out: folder of results, made where it is missing.
        workers: processes; None takes one for each core.
        on_unit: told how many of how many units are done, and which was last.

    Raises:
        RecipeError, CheckpointError: as `Plan.checked`, before anything is written; or a defect that cannot
            be drawn.
        OutputError: a folder that holds something else or cannot be written.
        ResourceError: a process was ended from outside.
    """
    weights = plan.checked()
    key = key_of(plan, weights)
    folder = _claimed(out) / "cases" / key
    check_writable_folder(folder)
    budget = plan.budget
    first = [Unit(kind, "tuning", number) for kind in plan.kinds for number in range(_filters_from(plan))]
    counts: tuple[tuple[Phase, int], ...] = (("tuning", budget.tuning), ("test", budget.test))
    units = [
        Unit(kind, phase, number) for phase, count in counts for number in range(count) for kind in plan.kinds
    ]
    units += [Unit(FLAT, "test", number) for number in range(budget.flats)]
    total = len(units) + len(first)
    done = 0

    def tell(unit: Unit) -> None:
        nonlocal done
        done += 1
        on_unit(done, total, f"{plan.machine}, {unit.file}")

    with _pool(workers, total) as run:
        stored = _read_json(folder / "filters.json")
        if stored is None:
            errors = list(run(_filter_unit, plan, None, folder, first, tell))
            filters = Filters(*(_least(errors, name) for name in (GAUSSIAN, NLM)))
            write_whole(folder / "filters.json", json.dumps(asdict(filters)).encode(), overwrite=True)
        else:
            done = len(first)
            filters = Filters(**stored)
        missing = []
        for unit in units:
            if _is_there(folder, unit):
                tell(unit)
            else:
                missing.append(unit)
        for _ in run(_unit, plan, filters, folder, missing, tell):
            pass
    found: dict[str, dict[str, list[Observed]]] = {TUNING: {}, TEST: {}}
    flats = []
    for unit in units:
        if unit.kind == FLAT:
            flats.append(_read_json(folder / f"{unit.file}.json") or {})
        else:
            observed = read_observed(folder / f"{unit.file}.npz")
            assert observed is not None  # noqa: S101 (it was just written, or found)
            found[unit.phase].setdefault(unit.kind, []).append(observed)
    return Seen(plan, filters, found[TUNING], found[TEST], flats, weights, key)


def key_of(plan: Plan, weights: dict[str, str | None]) -> str:
    """Hash of all that the numbers of a plan's cases depend on; their count is not among them."""
    document = {
        "format": FORMAT,
        "version": metadata.version("longexposure"),
        "machine": plan.load().document,
        "seed": plan.seed,
        "side_px": plan.side_px,
        "rules": plan.rules,
        "filters from": _filters_from(plan),
        "kinds": plan.kinds,
        "models": weights,
        "inputs": plan.inputs,
        "references": inputs.REFERENCES,
    }
    text = json.dumps(document, sort_keys=True, default=str)
    return f"{plan.load().name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _filters_from(plan: Plan) -> int:
    """Cases of each kind that the filters are tuned on."""
    return max(1, -(-6 // len(plan.kinds)))


def _least(errors: Sequence[dict[str, dict[float, float]]], name: str) -> float:
    """The setting with the least error, each case weighing alike."""
    settings = errors[0][name]
    return min(settings, key=lambda value: float(np.mean([np.log(case[name][value]) for case in errors])))


@lru_cache(maxsize=4)
def _possible(name: str, overrides: tuple[str, ...], side_px: int, seed: int) -> tuple[str, ...]:
    """Kinds of defects of which a first case can be drawn."""
    found = []
    for kind in check_kinds(()):
        with suppress(RecipeError):
            draw_case(_machine(name, overrides), kind, phase="tuning", number=0, side_px=side_px, seed=seed)
            found.append(kind)
    if not found:
        raise RecipeError(
            where=name,
            expected="scenes that can have a defect",
            found="none",
            advice="give the machine other [scenes]",
        )
    return tuple(found)


@lru_cache(maxsize=4)
def _machine(name: str, overrides: tuple[str, ...]) -> Machine:
    return still(name, overrides)


def _filter_unit(plan: Plan, _: Filters | None, folder: Path, unit: Unit) -> dict[str, dict[float, float]]:
    return errors_of_filters(_case(plan, unit))


def _unit(plan: Plan, filters: Filters | None, folder: Path, unit: Unit) -> None:
    assert filters is not None  # noqa: S101 (they are chosen first)
    if unit.kind == FLAT:
        flat = flat_field(plan.load(), unit.number, side_px=plan.side_px, seed=plan.seed)
        seen = observe_flat(flat, plan.models, filters, unit.number)
        write_whole(folder / f"{unit.file}.json", json.dumps(finite(seen)).encode(), overwrite=True)
        return
    observe(_case(plan, unit), plan.models, filters, plan.rules, frames=plan.budget.frames).write(
        folder / f"{unit.file}.npz"
    )


def _case(plan: Plan, unit: Unit) -> Any:
    side = plan.side_px
    return draw_case(
        plan.load(), unit.kind, phase=unit.phase, number=unit.number, side_px=side, seed=plan.seed
    )


def _is_there(folder: Path, unit: Unit) -> bool:
    if unit.kind == FLAT:
        return _read_json(folder / f"{unit.file}.json") is not None
    return read_observed(folder / f"{unit.file}.npz") is not None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _claimed(out: Path) -> Path:
    """The folder, which is new, empty or holds a bench (raises OutputError where it does not)."""
    mark = out / "cases"
    if out.is_dir() and any(out.iterdir()) and not mark.is_dir():
        raise OutputError(
            where=str(out),
            expected=f"a folder that is new, empty, or that `{MADE_BY}` began",
            found="other files",
            advice="choose another --out",
        )
    return check_writable_folder(out)


class _pool:  # noqa: N801 (used as a function)
    """Runs units in processes, or in this one where one is enough; gives results as they come."""

    def __init__(self, workers: int | None, units: int) -> None:
        self.count = min((os.cpu_count() or 1) if workers is None else workers, units)
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Callable[..., Iterator[Any]]:
        return self.run

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(  # noqa: PLR0917 (what `work` takes)
        self,
        work: Callable[..., Any],
        plan: Plan,
        filters: Filters | None,
        folder: Path,
        units: Sequence[Unit],
        tell: Callable[[Unit], None],
    ) -> Iterator[Any]:
        if self.count <= 1 or len(units) <= 1:
            for unit in units:
                result = work(plan, filters, folder, unit)
                tell(unit)
                yield result
            return
        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                self.count, mp_context=get_context("spawn"), initializer=_end_with_parent
            )
        waiting: dict[Future[Any], Unit] = {}
        try:
            for unit in units:
                waiting[self.pool.submit(work, plan, filters, folder, unit)] = unit
                if len(waiting) >= 3 * self.count:
                    yield from self._finished(waiting, tell)
            while waiting:
                yield from self._finished(waiting, tell)
        except BrokenProcessPool as error:
            raise ResourceError(
                where=MADE_BY,
                expected=f"{self.count} processes that stay alive",
                found="one that was ended from outside, as when memory runs out",
                advice="run the same command again, with fewer --workers; it goes on where it stopped",
            ) from error

    def _finished(self, waiting: dict[Future[Any], Unit], tell: Callable[[Unit], None]) -> Iterator[Any]:
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            unit = waiting.pop(future)
            result = future.result()
            tell(unit)
            yield result


def _end_with_parent() -> None:
    """A worker leaves interrupts to the parent, and ends when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        watched = parent

        def leave() -> None:
            watched.join()
            os._exit(1)

        Thread(target=leave, daemon=True).start()


def budget_of(
    name: Literal["quick", "standard", "full"], *, kinds: Sequence[str] = (), cases: int | None = None
) -> Budget:
    """A budget by name, with other kinds of defects or another number of cases of each.

    Raises:
        RecipeError: an unknown kind.
    """
    budget = BUDGETS[name]
    if kinds:
        budget = replace(budget, kinds=tuple(check_kinds(kinds)))
    if cases is not None:
        budget = replace(budget, test=cases, tuning=max(LEAST_CASES, cases // 2))
    return budget
