"""Studying: every experiment of the paper as one command, with the numbers, tables and pictures it gives.

`OUT/<study>.json` holds every number with the hash of the training it comes from; `OUT/<study>.md`, the
figures and `OUT/index.html` show them. Trainings and scores are kept in `OUT/runs` and `OUT/scores` and
shared between studies, so a study that is started again takes up where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from longexposure.errors import InputError, RecipeError
from longexposure.study import comparison, downsampling, noise, noise2noise, one_model, table1
from longexposure.study.budgets import BUDGETS, Budget
from longexposure.study.result import StudyResult, write, write_page
from longexposure.study.sets import Stock
from longexposure.study.workbench import Workbench
from longexposure.train.losses import PerceptualConfig

STUDIES: dict[str, Callable[[Workbench, Stock], StudyResult]] = {
    "noise": noise.run,
    "table1": table1.run,
    "downsampling": downsampling.run,
    "compare": comparison.run,
    "noise2noise": lambda bench, stock: noise2noise.run(bench),
    "one-model": one_model.run,
}
"""The studies that need pairs, by name, in the order of the page."""
ALL = "all"
NEEDS_NO_PAIRS = ("noise2noise",)
TRAINS_EDCNN = ("compare",)


def study(
    name: str,
    *,
    out: Path,
    data: Path | None = None,
    budget: str | Budget = "quick",
    seeds: int | None = None,
    device: str = "auto",
    edcnn_weights: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Run one study, or all of them, and write what it found.

    Args:
        name: a name of `STUDIES`, or "all", which writes `out/index.html` too.
        out: folder of the results, made where it is missing; what is there is taken up.
        data: folder with pairs of the types S1, S2 and S3, see `longexposure.data.pairs.PairedFolder`; only
            noise2noise, which simulates its own, goes without.
        budget: a name of `BUDGETS`, or a budget of your own.
        seeds: random starts of every training; None takes the budget's numbers.
        device: "auto", "cpu" or "cuda".
        edcnn_weights: safetensors file of a ResNet-50 trained on ImageNet, for the second term of EDCNN's
            loss; None trains EDCNN with its mean squared error alone, and the study says so.
        tell: told in a line what is being done.

    Returns:
        The JSON of each study.

    Raises:
        InputError: no such study or budget, pairs that are missing or cannot be used.
        OutputError: the results cannot be written.
        CheckpointError: weights that are not those of a ResNet-50; before anything is trained.
        RecipeError, CheckpointError, ResourceError: as `longexposure.train.loop.train`.
    """
    names = _names(name)
    chosen = _budget(budget)
    if seeds is not None and seeds < 1:
        raise RecipeError(where="seeds", expected="1 or more", found=str(seeds), advice="correct --seeds")
    perceptual = _perceptual(edcnn_weights, names)
    stock = _stock(data, names, chosen)
    bench = Workbench(Path(out), chosen, device=device, seeds=seeds, perceptual=perceptual, tell=tell)
    documents = []
    for each in names:
        bench.tell(f"study {each}, budget {chosen.name}")
        result = noise2noise.run(bench) if stock is None else STUDIES[each](bench, stock)
        documents.append(write(result, bench.out, bench.facts()))
    if name == ALL:
        write_page(documents, bench.out)
    return documents


def _names(name: str) -> Sequence[str]:
    if name == ALL:
        return list(STUDIES)
    if name not in STUDIES:
        raise InputError(
            where="study",
            expected=f"one of {', '.join([*STUDIES, ALL])}",
            found=repr(name),
            advice="choose one of these",
        )
    return [name]


def _budget(budget: str | Budget) -> Budget:
    if isinstance(budget, Budget):
        return budget
    if budget not in BUDGETS:
        raise InputError(
            where="budget",
            expected=f"one of {', '.join(BUDGETS)}",
            found=repr(budget),
            advice="choose one of these",
        )
    return BUDGETS[budget]


def _perceptual(weights: Path | None, names: Sequence[str]) -> PerceptualConfig | None:
    """The second term of EDCNN's loss, as published, its file checked."""
    if weights is None:
        return None
    if not any(name in TRAINS_EDCNN for name in names):
        raise RecipeError(
            where="edcnn-weights",
            expected=f"a study that trains EDCNN: {', '.join([*TRAINS_EDCNN, ALL])}",
            found=", ".join(names),
            advice="leave --edcnn-weights out",
        )
    return PerceptualConfig(weights=str(weights))


def _stock(data: Path | None, names: Sequence[str], budget: Budget) -> Stock | None:
    if data is not None:
        return Stock(Path(data), budget)
    if all(name in NEEDS_NO_PAIRS for name in names):
        return None
    raise InputError(
        where="study",
        expected="a folder with pairs of S1, S2 and S3",
        found="none",
        advice="use --data; `longexposure simulate --machine S1 --count small --split train --out DIR` "
        "makes stand-ins, for S1, S2 and S3, train and test",
    )
