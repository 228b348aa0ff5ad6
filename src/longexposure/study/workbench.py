"""The workbench: trainings and scores that every study shares, each computed once and kept on disk.

`OUT/runs/<hash>/` is the run folder of a training, `OUT/scores/<hash>-<hash>/` holds the scores of a model on
a test set. The hash of a training follows from its recipe and from the pixels it sees, not from paths or
time, so a study that is started again, or another study that needs the same training, takes what is there. A
broken training is gone on with at its last saved state, broken scores at their last image.
"""

from __future__ import annotations

import json
import logging
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from longexposure.config import json_values
from longexposure.data.pairs import ImagePair
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.errors import OutputError
from longexposure.io import check_writable_folder, write_whole
from longexposure.models.checkpoint import sha256_of
from longexposure.models.networks import build_network
from longexposure.models.registry import CLASSICAL
from longexposure.radiograph import Pixels
from longexposure.report.pictures import detailed_region
from longexposure.study.budgets import Budget
from longexposure.study.scores import Record, Spread, fidelity, scores_of
from longexposure.study.sets import Fingerprints, Selection, TestSet, short_hash
from longexposure.study.settings import Document, Kind, document, resolved_precision, row_document
from longexposure.system import host_facts
from longexposure.train.loop import Progress, train
from longexposure.train.losses import PerceptualConfig
from longexposure.train.recipe import Recipe, recipe_from
from longexposure.train.run import BEST, LOG, RECIPE, STATE

logger = logging.getLogger(__name__)

MARK, MEASURED = "studies.json", "measured.json"
FACTS = "facts.json"
SCORES = "scores.jsonl"
NOT_IDENTITY = ("workers", "checkpoint_every_steps", "preview", "name", "summary")
"""Keys of a recipe that no number depends on."""
PLACES: Mapping[str, Any] = {"data": {"path"}, "loss": {"perceptual": {"weights"}}}
"""Where files lie, which no number depends on: what is in them is told by their hashes."""
UNTRAINED = ("lq", "clean", *CLASSICAL)
"""What can be scored beside trained networks: the short exposure, the noise-free image, classical filters."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class StudyRun:
    """A finished training.

    Attributes:
        name: how tables call it.
        key: hash of recipe and pixels.
        checkpoint: the weights that scored best.
        facts: recipe, data, seconds, machine, versions, as the JSON of a study has them.
    """

    name: str
    key: str
    checkpoint: Path
    facts: Mapping[str, Any]


class Workbench:
    """Trainings and scores of one output folder.

    Args:
        out: folder of all results, made where it is missing.
        budget: sizes.
        device: "auto", "cpu" or "cuda".
        seeds: random starts of every study; None takes the budget's numbers.
        perceptual: the second term of EDCNN's loss; None trains EDCNN without it.
        tell: told in a line what is being done.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """

    def __init__(
        self,
        out: Path,
        budget: Budget,
        *,
        device: str = "auto",
        seeds: int | None = None,
        perceptual: PerceptualConfig | None = None,
        tell: Tell | None = None,
    ) -> None:
        if out.is_dir() and any(out.iterdir()) and not (out / MARK).exists():  # nothing else is ever replaced
            raise OutputError(
                where=str(out),
                expected="a folder that is new, empty, or holds studies",
                found="other files",
                advice="choose another --out",
            )
        check_writable_folder(out)
        _write(out / MARK, {"format": 1, "made by": "longexposure study"})
        self.out = out
        self.budget, self.device, self.perceptual = budget, device, perceptual
        self.seeds = range(1, 1 + (seeds or budget.seeds))
        self.other_seeds = range(1, 1 + (seeds or budget.other_seeds))
        self.precision = resolved_precision(budget.precision, device)
        self.files = Fingerprints(out / "files.json")
        self._tell = tell or logger.info

    def tell(self, text: str) -> None:
        """Say what is being done."""
        self._tell(text)

    def row(self, row: str, *, seed: int, scale: int | None = None) -> Document:
        """Recipe of a row of Table I, see `settings.row_document`."""
        return row_document(row, self.budget, seed=seed, scale=scale, precision=self.precision)

    def document(self, kind: Kind, *, seed: int, steps: int | None = None) -> Document:
        """Recipe of a network, see `settings.document`."""
        return document(
            kind,
            self.budget,
            seed=seed,
            steps=steps,
            precision=self.precision,
            perceptual=self.perceptual,
        )

    def train(self, name: str, values: Document, selection: Selection) -> StudyRun:
        """The finished training of a recipe on a selection of pairs, from disk or done now.

        Raises:
            InputError, RecipeError, CheckpointError, ResourceError: as `longexposure.train.loop.train`.
        """
        recipe, data = self._recipe(values, selection)
        key = run_key(recipe, data)
        folder = self.out / "runs" / key
        facts = _read(folder / FACTS)
        if facts is None or not (folder / BEST).exists():
            selection.manifest(self.out / "sets" / data)
            about = {
                "selection": selection.name,
                "fingerprint": data,
                "training pairs": Counter(pair.machine for pair in selection.train),
                "validation pairs": len(selection.val),
                "validation crop px": selection.val_px,
            }
            facts = {"hash": key, "data": about, **self._trained(name, recipe, folder)}
            _write(folder / FACTS, facts)
            (folder / STATE).unlink(missing_ok=True)  # three times the weights, and only resuming needs it
        return StudyRun(name, key, folder / BEST, {**facts, "name": name})

    def trainings(
        self,
        name: str,
        values: Callable[..., Document],
        selection: Selection,
        *,
        seeds: Sequence[int] | None = None,
    ) -> list[StudyRun]:
        """The trainings of a setting from every random start; see `train`.

        Args:
            name: of the setting.
            values: gives the recipe for a `seed`.
            selection: pairs to train on.
            seeds: random starts; None takes those of the studies beside Table I.
        """
        return [
            self.train(f"{name}, seed {seed}", values(seed=seed), selection)
            for seed in seeds or self.other_seeds
        ]

    def seconds_per_step(self, kind: str, values: Document, selection: Selection) -> float:
        """How long a step of a training takes on this host, measured once and kept.

        The training is run for the budget's `timing_steps`, its data included, and thrown away; the figure is
        the median over the second half, when the images are in memory.
        """
        recipe, data = self._recipe(values, selection)
        setting: list[object] = [recipe.network, recipe.loss, recipe.optimiser.batch]
        setting += [recipe.data.patch_px, data]
        if recipe.loss.perceptual is not None:
            setting.append(recipe.loss.perceptual.model_dump(exclude={"weights"}))
        host = [platform.node(), torch.get_num_threads(), self.device, self.precision]
        key = short_hash([[str(item) for item in setting], host])

        def measure() -> float:
            selection.manifest(self.out / "sets" / data)
            self.tell(f"timing {kind}")
            wanted = min(self.budget.timing_steps, recipe.validation.every_steps - 1) or 1
            ticks = [time.perf_counter()]

            def on_step(at: Progress) -> None:
                ticks.append(time.perf_counter())
                if at.step >= wanted:
                    raise _Enough

            with tempfile.TemporaryDirectory(dir=self.out) as scratch, suppress(_Enough):
                train(recipe, Path(scratch) / "run", device=self.device, on_step=on_step)
            took = np.diff(ticks)
            return float(statistics.median(took[len(took) // 2 :]))

        return self.kept("seconds of a step", kind, key, measure)

    def kept(self, what: str, name: str, key: str, measure: Callable[[], float]) -> float:
        """A number that was measured once on this host, from `OUT/measured.json` or measured now.

        Args:
            what: kind of number.
            name: of what it was measured.
            key: hash of all that it depends on.
            measure: gives the number.
        """
        path = self.out / MEASURED
        known = _read(path) or {}
        if key not in known:
            known[key] = {"what": what, "of": name, "value": measure()}
            _write(path, known)
        return float(known[key]["value"])

    def score(self, model: StudyRun | str, test: TestSet) -> list[Record]:
        """Scores of every test image, from disk or computed now, in the order of the test set.

        Args:
            model: a training, or a name of `UNTRAINED`.
            test: the images.

        Raises:
            InputError: grey values that are no integers.
        """
        folder = self._score_folder(model, test)
        path = folder / SCORES
        done = {(line["machine"], line["name"]): line for line in _lines(path)}
        missing = [pair for pair in test.pairs if (pair.machine, pair.name) not in done]
        if missing:
            self.tell(f"scoring {model if isinstance(model, str) else model.name} on {len(missing)} images")
            text = "".join(json.dumps(line) + "\n" for line in done.values())
            write_whole(path, text.encode(), overwrite=True, parents=True)
            method = self._method(model, test)
            for pair in missing:
                done[pair.machine, pair.name] = self._scored(pair, test, method, folder)
        return [done[pair.machine, pair.name] for pair in test.pairs]

    def scores(
        self, models: Sequence[StudyRun | str], test: TestSet
    ) -> dict[str, dict[str, dict[str, Spread]]]:
        """Means of `score` over the random starts of a setting."""
        return scores_of([self.score(model, test) for model in models])

    def picture(self, model: StudyRun | str, test: TestSet, machine: str) -> Pixels | None:
        """The region of a machine type's shown image, as `score` left it; None where there is none."""
        self.score(model, test)
        path = self._score_folder(model, test) / f"{machine}.npy"
        return np.load(path) if path.exists() else None

    def enhancer(self, model: StudyRun | str) -> Enhancer:
        """The enhancer of a training or of a classical filter; networks in exact single precision."""
        if isinstance(model, str):
            return load_enhancer(model)
        return load_enhancer(model.checkpoint, engine="torch", device=self.device, precision="f32")

    def facts(self) -> dict[str, Any]:
        """Host, versions and time, for the JSON of a study."""
        return {
            "host": host_facts(),
            "device": self.device,
            "training precision": self.precision,
            "budget": self.budget.model_dump(mode="json"),
            "reduced": self.budget.reductions(),
            "written": _now(),
        }

    def _score_folder(self, model: StudyRun | str, test: TestSet) -> Path:
        images = test.fingerprint(self.files)
        self.files.save()
        return self.out / "scores" / f"{model if isinstance(model, str) else model.key}-{images}"

    def _recipe(self, values: Document, selection: Selection) -> tuple[Recipe, str]:
        """The whole recipe, and the fingerprint of its data."""
        data = selection.fingerprint(self.files)
        self.files.save()
        whole = {
            "preview": {"every_steps": 0},
            **values,
            "data": {**values["data"], "path": str(self.out / "sets" / data / "manifest.csv")},
            "validation": {**values["validation"], "count": len(selection.val)},
        }
        return recipe_from(whole, where=values["name"]), data

    def _trained(self, name: str, recipe: Recipe, folder: Path) -> dict[str, Any]:
        """Train, or go on with what was begun, and say how."""
        begun = _read(folder / RECIPE)
        if begun is not None:  # it is told where data and weights are now
            begun["data"]["path"] = recipe.model_dump()["data"]["path"]
            if recipe.loss.perceptual is not None:
                begun["loss"]["perceptual"]["weights"] = recipe.loss.perceptual.weights
            _write(folder / RECIPE, {**begun, "name": recipe.name, "summary": recipe.summary})

        def on_step(at: Progress) -> None:
            if at.step % max(1, at.steps // 20) == 0:
                self.tell(f"training {name}: step {at.step} of {at.steps}, loss {at.loss:.4g}")

        self.tell(f"training {name}: {recipe.steps} steps")
        checkpoint = train(recipe, folder, resume=begun is not None, device=self.device, on_step=on_step)
        last = [line for line in _lines(folder / LOG) if line["kind"] == "validation"][-1]
        network = build_network(recipe.network)
        return {
            "recipe": recipe.model_dump(mode="json", exclude=PLACES),
            "parameters": sum(weights.numel() for weights in network.parameters()),
            "seconds": last["seconds"],
            "validation": {key: last[key] for key in ("psnr", "ssim", "psnr_noisy")},
            "checkpoint_sha256": sha256_of(checkpoint),
            "resumed": begun is not None,
            "device": self.device,
            "host": host_facts(),
            "finished": _now(),
        }

    def _method(self, model: StudyRun | str, test: TestSet) -> Callable[[Pixels, Pixels | None], Pixels]:
        """What turns a short exposure, beside its clean image, into what is scored."""
        if model == "lq":
            return lambda lq, clean: lq
        if model == "clean":
            return _clean
        enhancer = self.enhancer(model)
        enhancer.enhance(np.ascontiguousarray(test.images(test.pairs[0])[0][:64, :64]))  # warms up
        return lambda lq, clean: enhancer.enhance(lq)

    def _scored(
        self,
        pair: ImagePair,
        test: TestSet,
        method: Callable[[Pixels, Pixels | None], Pixels],
        folder: Path,
    ) -> Record:
        lq, hq, clean = test.images(pair)
        full = test.data_ranges[pair.name]
        started = time.perf_counter()
        result = method(lq, clean)
        record: Record = {
            "machine": pair.machine,
            "name": pair.name,
            "megapixels": lq.size / 1e6,
            "seconds": time.perf_counter() - started,
            "hq": fidelity(result, hq, full),
            "clean": None if clean is None or method is _clean else fidelity(result, clean, full),
        }
        if test.shown[pair.machine] == pair:
            region = detailed_region(hq if clean is None else clean, self.budget.picture_px)
            with (folder / f"{pair.machine}.npy").open("wb") as file:
                np.save(file, result[region])
        with (folder / SCORES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        return record


def run_key(recipe: Recipe, data: str) -> str:
    """Hash of what decides the weights: the recipe without paths and names, and the data's fingerprint."""
    values = recipe.model_dump(mode="json", exclude=PLACES)
    return short_hash([{key: value for key, value in values.items() if key not in NOT_IDENTITY}, data])


def _clean(lq: Pixels, clean: Pixels | None) -> Pixels:
    """The noise-free image, where there is one; it is no result, so it is not scored against itself."""
    return lq if clean is None else clean


class _Enough(Exception):  # noqa: N818 (no error: it ends a measurement)
    """Ends a training whose steps have been timed."""


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file with one a line; a last line that was cut off is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield dict(json_values(line))
        except (TypeError, ValueError):
            continue


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json_values(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None


def _write(path: Path, value: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(value, indent=2) + "\n").encode(), overwrite=True, parents=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
