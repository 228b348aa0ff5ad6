"""Early looks: pictures of a few validation images while a training runs, for eyes only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from longexposure.io import check_writable_folder, write_radiograph
from longexposure.metrics import psnr
from longexposure.radiograph import Radiograph
from longexposure.report.pictures import detailed_region, strip
from longexposure.train.recipe import Recipe
from longexposure.train.validation import Samples, enhanced

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Sheet = npt.NDArray[np.uint8]


class _Shown(NamedTuple):
    """The most detailed region of a validation image: noisy (1, h, w), target (h, w), condition (5,)."""

    number: int
    noisy: torch.Tensor
    target: npt.NDArray[np.float32]
    noise_condition: torch.Tensor


class Previews:
    """Regions of a few validation images, the same ones at every look.

    They are spread evenly over the set; the first look reads or draws them. No number of a training
    depends on looks.

    Args:
        recipe: its `preview` table says how many and how large.
        images: the validation images.
        folder: for the pictures, made where it is missing.
    """

    def __init__(self, recipe: Recipe, images: Samples, folder: Path) -> None:
        self._recipe, self._images, self._folder = recipe, images, folder
        self._regions: list[_Shown] = []

    def take(self, network: nn.Module, *, step: int, fabric: Fabric) -> Sheet:
        """Write `step-000500.png`, a row for each image: short exposure, enhanced, target.

        The three are shown between the same two grey values, which the target sets; what is what, with the
        PSNR in dB (unit domain, of the region), stands above them and in the file's description.

        Returns:
            The picture.

        Raises:
            OutputError: it cannot be written.
        """
        self._regions = self._regions or list(self._drawn())
        strips, told = [], []
        for shown in self._regions:
            before = shown.noisy[0].numpy()
            after = enhanced(network, shown.noisy, shown.noise_condition, fabric=fabric)
            decibels = [psnr(image, shown.target, data_range=1.0) for image in (before, after)]
            columns = {
                f"short, {decibels[0]:.1f} dB": before,
                f"after {step} steps, {decibels[1]:.1f} dB": after,
                "target": shown.target,
            }
            strips.append(strip(columns, reference=shown.target, columns=3, zoom=self._zoom(before)))
            told.append(f"image {shown.number}: {decibels[0]:.1f} dB, {decibels[1]:.1f} dB")
        sheet = _stacked(strips)
        where = check_writable_folder(self._folder) / f"step-{step:06}.png"
        text = (
            f"{self._recipe.name} after {step} of {self._recipe.steps} steps, for eyes only; a row for each "
            f"validation image, from the left: short exposure, enhanced by the averaged weights, target; "
            f"PSNR of the first two: {'; '.join(told)}"
        )
        write_radiograph(Radiograph(pixels=sheet, description=text), where, overwrite=True)
        return sheet

    def _drawn(self) -> Iterator[_Shown]:
        config, total = self._recipe.preview, len(self._images)
        for number in np.unique(np.linspace(0, total - 1, min(config.count, total)).round().astype(int)):
            image = self._images[int(number)]
            region = detailed_region(image["target"].float().numpy()[0], config.size_px)
            noisy, target = (image[name].float()[(..., *region)].clone() for name in ("noisy", "target"))
            yield _Shown(int(number), noisy, target.numpy()[0], image["noise_condition"])

    def _zoom(self, region: npt.NDArray[np.float32]) -> int:
        """Small images are shown larger, so that the words above them have room."""
        side: int = max(region.shape)
        return max(1, self._recipe.preview.size_px // side)


def _stacked(strips: list[Sheet]) -> Sheet:
    """One above the other, the narrower ones with white at their right."""
    width = max(one.shape[1] for one in strips)
    padded = [np.pad(one, ((0, 0), (0, width - one.shape[1])), constant_values=255) for one in strips]
    return np.vstack(padded)
