"""What one pair shows: its facts, measured on the files themselves; nothing is judged here.

Every file is read whole, its pixels hashed and their ends counted; shift, gain and noise are measured on the
crops of `longexposure.data.registration.crops_of`, at most five of 256 x 256 pixels. Only numbers are kept of
a pair, and a picture of 32 x 32 that tells scenes apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from longexposure.data.listing import Listed
from longexposure.data.pairs import enhanced_parts, read_images
from longexposure.data.registration import (
    Gain,
    Shift,
    aligned,
    crops_of,
    fit_gain,
    measure_shift,
)
from longexposure.grey import measure_grey
from longexposure.noise.separation import (
    PairedBlocks,
    SeparatedNoise,
    flatter_half_noise,
    paired_blocks,
    separate,
)
from longexposure.radiograph import Pixels

FINGERPRINT_PX = 32
PILED = 3
"""An end of the grey scale is clipped where it holds so many times the pixels of the next value."""
FEWEST_PILED = 8

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Clipping:
    """Fraction of the pixels that pile up at either end of an image's grey scale, 0..1."""

    low: float
    high: float

    @property
    def most(self) -> float:
        return max(self.low, self.high)


@dataclass(frozen=True, eq=False)
class PairFacts(Listed):
    """A listed pair and what its images show; numbers are None where they could not be measured.

    Attributes:
        exposures_s: seconds of both, by a manifest or else by the files.
        shape: (H, W).
        dtype: grey-value type.
        sha256: of the pixels of LQ and HQ, with their shape and type.
        constant: which of both images are constant.
        enhanced: which were enhanced before and with what, in words; empty where none says so.
        clipping: of LQ and HQ.
        span: grey values between the 1st and 99th percentile of the short exposure.
        shift: where the long exposure lies relative to the short one.
        scene: correlation of block means of both, 1 for one scene without noise.
        gain: HQ as a straight line of LQ.
        noise: of both exposures.
        fingerprint: coarse picture of the long exposure, of mean 0 and norm 1.
        problems: why it could not be examined, a line each.
    """

    shape: tuple[int, int] = (0, 0)
    dtype: str = ""
    sha256: tuple[str, str] = ("", "")
    constant: tuple[str, ...] = ()
    enhanced: str = ""
    clipping: Mapping[str, Clipping] = field(default_factory=dict)
    span: float = 0.0
    shift: Shift | None = None
    scene: float | None = None
    gain: Gain | None = None
    noise: SeparatedNoise | None = None
    fingerprint: npt.NDArray[np.float32] | None = None
    problems: tuple[str, ...] = ()


def examine_pair(listed: Listed) -> PairFacts:
    """The facts of one pair; what is wrong with its files goes to `problems` and is never raised."""
    images, problems = read_images(listed.name, {"LQ": listed.lq, "HQ": listed.hq})
    if problems:
        return PairFacts(**vars(listed), problems=tuple(problems))
    lq, hq = images["LQ"].pixels, images["HQ"].pixels
    facts = {
        **vars(listed),
        "shape": (lq.shape[0], lq.shape[1]),
        "dtype": lq.dtype.name,
        "sha256": (_digest(lq), _digest(hq)),
        "constant": tuple(part for part, image in (("LQ", lq), ("HQ", hq)) if image.min() == image.max()),
        "enhanced": enhanced_parts(images),
        "clipping": {"LQ": clipped(lq), "HQ": clipped(hq)},
        "span": 1.0 / measure_grey(lq).scale,
        "fingerprint": fingerprint(hq),
    }
    times = [image.exposure.get("exposure_s") for image in images.values()]
    if listed.exposures_s is None and all(isinstance(time, int | float) and time > 0 for time in times):
        facts["exposures_s"] = tuple(float(time or 0) for time in times)
    shift = measure_shift(lq, hq)
    near = shift is not None and shift.length < 0.25 * min(lq.shape)
    lq, hq = aligned(lq, hq, shift if near else None)
    blocks = PairedBlocks.concatenated(
        [paired_blocks(lq[crop], hq[crop]) for crop in crops_of((lq.shape[0], lq.shape[1]))]
    )
    gain = fit_gain(blocks)
    noise = None if gain is None or gain.gain <= 0 else separate(blocks, gain=gain.gain)
    return PairFacts(**facts, shift=shift, scene=_scene(blocks), gain=gain, noise=noise)


def clipped(pixels: Pixels) -> Clipping:
    """Fractions of pixels that pile up at the lowest and highest value of an image (H, W).

    An end counts where it holds at least eight pixels and three times as many as the next value there is;
    for float pixels, whose values hardly ever repeat, that is any eight that are equal.
    """
    if pixels.dtype.kind == "u":
        counts = np.bincount(pixels.ravel())
        counts = counts[counts > 0]
    else:
        _, counts = np.unique(pixels, return_counts=True)
    if len(counts) < 3:
        return Clipping(0.0, 0.0)
    low, high = (
        int(end) if end >= FEWEST_PILED and end > PILED * near else 0
        for end, near in ((counts[0], counts[1]), (counts[-1], counts[-2]))
    )
    return Clipping(low / pixels.size, high / pixels.size)


def fingerprint(pixels: Pixels) -> npt.NDArray[np.float32] | None:
    """A picture of at most 32 x 32, without slow shading, of norm 1; None for a constant one."""
    from scipy.ndimage import gaussian_filter

    small = pixels.astype(np.float64)
    for axis in (0, 1):
        count = min(FINGERPRINT_PX, small.shape[axis])
        edges = np.linspace(0, small.shape[axis], count + 1).astype(int)
        widths = np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
        small = np.add.reduceat(small, edges[:-1], axis=axis) / widths
    small = small - gaussian_filter(small, FINGERPRINT_PX / 8, mode="reflect")
    small -= small.mean()
    norm = float(np.linalg.norm(small))
    if norm <= 1e-9 * max(float(np.abs(pixels).max()), 1e-30):
        return None
    padded = np.zeros((FINGERPRINT_PX, FINGERPRINT_PX), dtype=np.float32)
    padded[: small.shape[0], : small.shape[1]] = small / norm
    return padded


def likeness(one: Pixels, other: Pixels) -> float:
    """Correlation of the fine structure of two images of one size, moved onto each other, 0..1.

    Each image is halved first, which takes noise off and forgives fractions of a pixel.
    """
    height, width = (side // 2 * 2 for side in one.shape)
    one, other = (
        pixels[:height, :width].astype(np.float32).reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        for pixels in (one, other)
    )
    shift = measure_shift(one, other)
    if shift is None or shift.length > 0.5 * min(one.shape):
        return 0.0
    one, other = aligned(one, other, shift)
    blocks = paired_blocks(one, other)
    scale = float(np.sqrt(blocks.var_lq.sum() * blocks.var_hq.sum()))
    return max(float(blocks.cov.sum()) / scale, 0.0) if scale > 0 else 0.0


def _scene(blocks: PairedBlocks) -> float | None:
    """Correlation of the block means; None where the noise alone could make them vary as they do."""
    if len(blocks) < 8:
        return None
    x, y = blocks.mean_lq, blocks.mean_hq
    if x.std() == 0 or y.std() == 0:
        return None
    _, noise_lq, noise_hq = flatter_half_noise(blocks, gain=float(y.std() / x.std()))
    faint = (
        float(values.var()) < 20 * max(float(np.median(noise)), 0.0) / 256
        for values, noise in ((x, noise_lq), (y, noise_hq))
    )
    return None if any(faint) else float(np.corrcoef(x, y)[0, 1])


def _digest(pixels: Pixels) -> str:
    sha = hashlib.sha256(f"{pixels.shape} {pixels.dtype.name}".encode())
    sha.update(np.ascontiguousarray(pixels).data)
    return sha.hexdigest()
