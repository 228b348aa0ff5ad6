"""Studying: every experiment of the paper as one command, with the numbers, tables and pictures it gives.

`OUT/<study>.json` holds every number with the hash of the training it comes from; `OUT/<study>.md`, the
figures and `OUT/index.html` show them. Trainings and scores are kept in `OUT/runs` and `OUT/scores` and
shared between studies, so a study that is started again takes up where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from longexposure.errors import InputError, OutputError, RecipeError, as_count, as_path, described
from longexposure.study import compare, downsampling, noise, noise2noise, one_model, table1
from longexposure.study.budgets import BUDGETS, Budget
from longexposure.study.result import StudyResult, write, write_page
from longexposure.study.sets import Stock
from longexposure.study.workbench import Workbench
from longexposure.system import require
from longexposure.train.losses import PerceptualConfig

STUDIES: dict[str, Callable[[Workbench, Any], StudyResult]] = {
    "noise": noise.run,
    "table1": table1.run,
    "downsampling": downsampling.run,
    "compare": compare.run,
    "noise2noise": noise2noise.run,
    "one-model": one_model.run,
}
"""The studies by name, in the order of the page; those of `NEEDS_NO_PAIRS` go without a `Stock`."""
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
        ResourceError: matplotlib is not installed; before anything is trained.
        RecipeError, CheckpointError, ResourceError: as `longexposure.train.loop.train`.
    """
    out = as_path(out, where="out", error=OutputError)
    data = None if data is None else as_path(data, where="data")
    names = list(STUDIES) if name == ALL else [name]
    for what, found, choices in (("study", names[0], STUDIES), ("budget", budget, BUDGETS)):
        if not isinstance(found, Budget) and (not isinstance(found, str) or found not in choices):
            raise InputError(
                where=what,
                expected=f"one of {', '.join([*choices, *([ALL] if what == 'study' else [])])}",
                found=described(found),
                advice="choose one of these",
            )
    budget = BUDGETS[budget] if isinstance(budget, str) else budget
    if seeds is not None:
        as_count(seeds, where="seeds", low=1)
    if edcnn_weights is not None and not set(names) & set(TRAINS_EDCNN):
        raise RecipeError(
            where="edcnn-weights",
            expected=f"a study that trains EDCNN: {', '.join([*TRAINS_EDCNN, ALL])}",
            found=", ".join(names),
            advice="leave --edcnn-weights out",
        )
    perceptual = None if edcnn_weights is None else PerceptualConfig(weights=str(edcnn_weights))
    if data is None and not set(names) <= set(NEEDS_NO_PAIRS):
        raise InputError(
            where="study",
            expected="a folder with pairs of S1, S2 and S3",
            found="none",
            advice="use --data; `longexposure simulate --machine S1 --count small --split train --out DIR` "
            "makes stand-ins, for S1, S2 and S3, train and test",
        )
    require("matplotlib", where="charts")
    stock = None if data is None else Stock(data, budget)
    bench = Workbench(out, budget, device=device, seeds=seeds, perceptual=perceptual, tell=tell)
    documents = []
    for each in names:
        bench.tell(f"study {each}, budget {budget.name}")
        documents.append(write(STUDIES[each](bench, stock), bench.out, bench.facts()))
    if name == ALL:
        write_page(documents, bench.out)
    return documents
