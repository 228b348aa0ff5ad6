"""Evaluating: models scored on pairs of short and long exposures, through the one enhance path."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longexposure.data.pairs import ImagePair, PairedFolder
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.errors import InputError
from longexposure.format import finite
from longexposure.io import read_finite, write_whole
from longexposure.metrics import psnr, ssim
from longexposure.system import host_facts

FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0}
"""Data range of the metrics for grey values stored as integers: the full scale of the container."""


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
    """

    data: str
    images: tuple[ImageScore, ...]
    models: Mapping[str, Mapping[str, Any]]
    setting: Mapping[str, Any]

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
        data_range: grey values from black to white; 255 and 65535 for integers, where it is None.
        on_image: called after each image of each model.

    Raises:
        InputError: the pairs cannot be used, no model was named or one twice, or float pixels came without
            `data_range`.
        CheckpointError: a model that does not exist or cannot be read.
        ResourceError: no such device.
    """
    if not models or len(set(models)) < len(models):
        raise InputError(
            where="models",
            expected="one model or more, each named once",
            found=", ".join(models) or "none",
            advice="name them with --model, see `longexposure models`",
        )
    enhancers = {model: load_enhancer(model, device=device, precision=precision) for model in models}
    folder = PairedFolder(Path(data))
    if data_range is not None and not (math.isfinite(data_range) and data_range > 0):
        raise InputError(
            where="data_range",
            expected="a number above 0",
            found=str(data_range),
            advice="give the full scale",
        )
    ranges = []
    for pair in folder.pairs:
        full_scale = data_range or FULL_SCALE.get(pair.dtype)
        if full_scale is None:
            raise InputError(
                where=str(pair.lq),
                expected="a data range beside float grey values",
                found="none",
                advice="say what black to white spans, e.g. --data-range 1",
            )
        ranges.append(full_scale)
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
    )


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
