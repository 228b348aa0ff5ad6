"""Evaluating: models scored on pairs of short and long exposures, through the one enhance path."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.data.pairs import ImagePair, PairedFolder
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.errors import CheckpointError, InputError, as_list, as_path
from longexposure.format import finite
from longexposure.io import read_finite, write_whole
from longexposure.metrics import check_range, psnr, ssim
from longexposure.system import host_facts

_USUAL_BITS = (8, 10, 12, 14)
"""Depths of detectors whose grey values are kept in 16 bits."""


@dataclass(frozen=True)
class Fidelity:
    """How close an image is to its reference.

    Attributes:
        psnr: dB; infinity for equal images.
        ssim: structural similarity.
        bias: mean of the image less mean of the reference, in grey values.
    """

    psnr: float
    ssim: float
    bias: float


@dataclass(frozen=True)
class ImageScore:
    """One image under one model; "clean" scores are None where there is no clean image.

    Attributes:
        name: name of the pair.
        model: the model as it was asked for.
        data_range: grey values from black to white that PSNR and SSIM were computed with.
        megapixels: size.
        seconds: time to enhance it, reading not counted.
        lq: short exposure against the long one.
        enhanced: enhanced image against the long exposure.
        lq_clean: short exposure against the clean image.
        enhanced_clean: enhanced image against the clean image.
    """

    name: str
    model: str
    data_range: float
    megapixels: float
    seconds: float
    lq: Fidelity
    enhanced: Fidelity
    lq_clean: Fidelity | None = None
    enhanced_clean: Fidelity | None = None


@dataclass(frozen=True)
class Evaluation:
    """All scores of one call, and what they were obtained with.

    Attributes:
        data: folder of pairs.
        images: one entry for each model and image, model by model.
        models: what each model says of itself, the sha256 of its weights included.
        setting: versions, host, threads, device and precision.
        warnings: what is odd about the pairs, a line each.
    """

    data: str
    images: tuple[ImageScore, ...]
    models: Mapping[str, Mapping[str, Any]]
    setting: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    def summary(self) -> list[dict[str, Any]]:
        """One row for each model: means over the images, PSNR averaged in dB."""
        return [
            {"model": model, **mean_scores([image for image in self.images if image.model == model])}
            for model in self.models
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; scores that are infinite are None."""
        content = {
            "data": self.data,
            "setting": dict(self.setting),
            "models": {name: dict(facts) for name, facts in self.models.items()},
            "warnings": list(self.warnings),
            "summary": self.summary(),
            "images": [asdict(image) for image in self.images],
        }
        return finite(content)


def evaluate(
    data: Path,
    models: Sequence[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    data_range: float | None = None,
    on_image: Callable[[ImageScore], None] | None = None,
) -> Evaluation:
    """Score models on every pair below a folder.

    Nothing is clipped, rounded or cropped beyond what the type of the pixels does.

    Args:
        data: folder of pairs, see `longexposure.data.pairs.PairedFolder`.
        models: names or checkpoint files, as for `load_enhancer`.
        device: as for `load_enhancer`.
        precision: as for `load_enhancer`.
        data_range: grey values from black to white; where it is None, see `data_ranges`.
        on_image: called after each image of each model.

    Raises:
        InputError: the pairs cannot be used, no model was named or one twice, or no `data_range` came and
            the files leave it open.
        CheckpointError: a model that does not exist or cannot be read.
        ResourceError: no such device.
    """
    data = as_path(data, where="data")
    models = [
        str(as_path(model, where="models", error=CheckpointError))
        for model in as_list(models, where="models")
    ]
    if not models or len(set(models)) < len(models):
        raise InputError(
            where="models",
            expected="one model or more, each named once",
            found=", ".join(models) or "none",
            advice="name them with --model, see `longexposure models`",
        )
    enhancers = {model: load_enhancer(model, device=device, precision=precision) for model in models}
    folder = PairedFolder(data)
    if data_range is not None:
        data_range = check_range(data_range)
    ranges = [data_range] * len(folder.pairs) if data_range else data_ranges(folder.pairs)
    images = []
    for model, enhancer in enhancers.items():
        # libraries load and compile before the clock runs
        enhancer.enhance(read_finite(folder.pairs[0].lq).pixels[:64, :64])
        for pair, full_scale in zip(folder.pairs, ranges, strict=True):
            images.append(score_pair(pair, enhancer, model=model, data_range=full_scale))
            if on_image is not None:
                on_image(images[-1])
    return Evaluation(
        data=Path(data).name,
        images=tuple(images),
        models={model: enhancer.describe() for model, enhancer in enhancers.items()},
        setting={
            **host_facts(),
            "device": device,
            "precision": precision,
            "ssim": "Gaussian window 11 px, sigma 1.5",
        },
        warnings=tuple(
            f"{pair.name} was enhanced before: {pair.enhanced}" for pair in folder.pairs if pair.enhanced
        ),
    )


def data_ranges(
    pairs: Sequence[ImagePair], *, way_out: str = "say which with --data-range (in Python data_range)"
) -> list[float]:
    """Grey values from black to white of each pair, as far as its files tell; never a guess.

    8-bit grey values span 255. 16-bit ones span what the files tell of their significant bits, and 65535
    where a grey value of their machine type needs all 16 bits.

    Args:
        pairs: of one set; those of one machine type and depth share one range.
        way_out: what to do where it stays open, for the message.

    Raises:
        InputError: float grey values, or 16-bit ones that all stay below half of full scale, as those of a
            detector of fewer bits do, in files that do not say how many.
    """
    groups: dict[tuple[str, str], list[ImagePair]] = {}
    for pair in pairs:
        groups.setdefault((pair.machine, pair.dtype), []).append(pair)
    spans: dict[tuple[str, str], float] = {}
    for (machine, dtype), group in groups.items():
        highest, told = (max(getattr(pair, fact) for pair in group) for fact in ("highest", "bits"))
        bits = 8 if dtype == "uint8" else 16 if dtype == "uint16" and highest >= 2**15 else told
        if highest >= 2**bits or bits == 0:
            whites = ["1"] if dtype == "float32" else [str(2**usual - 1) for usual in _USUAL_BITS]
            fitting = [white for white in whites if int(white) >= highest][:1]
            raise InputError(
                where=str(group[0].lq) if len(group) == 1 else f"{group[0].lq} and {len(group) - 1} more",
                expected="a data range" + (" beside float grey values" if dtype == "float32" else ""),
                found=f"grey values up to {highest:g} and no word on what white is",
                advice=f"{way_out}, e.g. {' or '.join([*fitting, '65535'])}",
            )
        spans[machine, dtype] = 2.0**bits - 1
    return [spans[pair.machine, pair.dtype] for pair in pairs]


def write_evaluation(evaluation: Evaluation, path: Path, *, overwrite: bool = False) -> None:
    """Write an evaluation as JSON, whole or not at all.

    Raises:
        OutputError: the file exists and `overwrite` is false, or it cannot be written.
    """
    text = json.dumps(evaluation.as_dict(), indent=2, allow_nan=False) + "\n"
    write_whole(Path(path), text.encode(), overwrite=overwrite, parents=True)


def score_pair(pair: ImagePair, enhancer: Enhancer, *, model: str, data_range: float) -> ImageScore:
    """Enhance the short exposure of a pair, and compare it before and after with the better images."""
    noisy = read_finite(pair.lq).pixels
    started = time.perf_counter()
    enhanced = enhancer.enhance(noisy)
    seconds = time.perf_counter() - started
    scores: dict[str, Fidelity] = {}
    for ending, file in (("", pair.hq), ("_clean", pair.clean)):
        if file is not None:
            reference = read_finite(file).pixels
            for name, image in (("lq", noisy), ("enhanced", enhanced)):
                scores[name + ending] = Fidelity(
                    psnr=psnr(image, reference, data_range=data_range),
                    ssim=ssim(image, reference, data_range=data_range),
                    bias=float(image.mean(dtype=np.float64) - reference.mean(dtype=np.float64)),
                )
    return ImageScore(
        name=pair.name,
        model=model,
        data_range=data_range,
        megapixels=noisy.size / 1e6,
        seconds=seconds,
        **scores,
    )


def mean_scores(images: Sequence[ImageScore]) -> dict[str, Any]:
    """The row of a model: means over its images, and those against clean images where there are any."""

    def mean(attribute: str, score: str) -> float:
        found = [getattr(image, attribute) for image in images]
        return float(np.mean([getattr(fidelity, score) for fidelity in found if fidelity is not None]))

    row: dict[str, Any] = {
        "images": len(images),
        "data range": ", ".join(f"{value:g}" for value in sorted({image.data_range for image in images})),
        "PSNR LQ": mean("lq", "psnr"),
        "PSNR": mean("enhanced", "psnr"),
        "SSIM LQ": mean("lq", "ssim"),
        "SSIM": mean("enhanced", "ssim"),
        "bias": mean("enhanced", "bias"),
    }
    if any(image.enhanced_clean is not None for image in images):
        row |= {
            "PSNR LQ, clean": mean("lq_clean", "psnr"),
            "PSNR, clean": mean("enhanced_clean", "psnr"),
            "SSIM LQ, clean": mean("lq_clean", "ssim"),
            "SSIM, clean": mean("enhanced_clean", "ssim"),
        }
    pixels = sum(image.megapixels for image in images)
    return {**row, "s/Mpx": sum(image.seconds for image in images) / pixels}
