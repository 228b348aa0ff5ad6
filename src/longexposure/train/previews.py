"""Previews: pictures of a few validation images while a training runs, for eyes only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import nn

from longexposure.io import check_writable_folder, write_radiograph
from longexposure.metrics import psnr
from longexposure.radiograph import Radiograph
from longexposure.report.pictures import detailed_region, strip
from longexposure.train.recipe import Recipe
from longexposure.train.validation import Sample, Samples, enhanced

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Previews:
    """The most detailed regions of a few validation images, the same ones in every preview.

    They are spread evenly over the set; the first preview reads or draws them. No number of a training
    depends on previews.

    Args:
        recipe: its `preview` table says how many and how large.
        images: the validation images.
        folder: for the pictures, made where it is missing.
    """

    def __init__(self, recipe: Recipe, images: Samples, folder: Path) -> None:
        self._recipe, self._images, self._folder = recipe, images, folder
        self._regions: dict[int, Sample] = {}

    def write(self, network: nn.Module, *, step: int, fabric: Fabric) -> npt.NDArray[np.uint8]:
        """Write `step-000500.png`, a row for each image: short exposure, enhanced, target.

        The three are shown between the same two grey values, which the target sets; what is what, with the
        PSNR in dB (unit domain, of the region), stands above them and in the file's description. Small images
        are shown larger, so that the words above them have room.

        Returns:
            The picture.

        Raises:
            OutputError: it cannot be written.
        """
        self._regions = self._regions or self._cut_regions()
        strips, scores = [], []
        for number, sample in self._regions.items():
            before, target = sample["noisy"][0].numpy(), sample["target"][0].numpy()
            after = enhanced(network, sample["noisy"], sample["noise_condition"], fabric=fabric)
            decibels = [psnr(image, target, data_range=1.0) for image in (before, after)]
            columns = {
                f"short, {decibels[0]:.1f} dB": before,
                f"after {step} steps, {decibels[1]:.1f} dB": after,
                "target": target,
            }
            zoom = max(1, self._recipe.preview.size_px // max(before.shape))
            strips.append(strip(columns, reference=target, columns=3, zoom=zoom))
            scores.append(f"image {number}: {decibels[0]:.1f} dB, {decibels[1]:.1f} dB")
        width = max(one.shape[1] for one in strips)
        sheet = np.vstack(
            [np.pad(one, ((0, 0), (0, width - one.shape[1])), constant_values=255) for one in strips]
        )
        where = check_writable_folder(self._folder) / f"step-{step:06}.png"
        text = (
            f"{self._recipe.name} after {step} of {self._recipe.steps} steps, for eyes only; a row for each "
            f"validation image, from the left: short exposure, enhanced by the averaged weights, target; "
            f"PSNR of the first two: {'; '.join(scores)}"
        )
        write_radiograph(Radiograph(pixels=sheet, description=text), where, overwrite=True)
        return sheet

    def _cut_regions(self) -> dict[int, Sample]:
        """By the number of the image: noisy and target (1, h, w) and the noise condition (5,)."""
        config, total = self._recipe.preview, len(self._images)
        regions: dict[int, Sample] = {}
        for number in np.unique(np.linspace(0, total - 1, min(config.count, total)).round().astype(int)):
            image = self._images[int(number)]
            rows, columns = detailed_region(image["target"].float().numpy()[0], config.size_px)
            cut = {name: image[name].float()[:, rows, columns].clone() for name in ("noisy", "target")}
            regions[int(number)] = {**cut, "noise_condition": image["noise_condition"]}
        return regions
