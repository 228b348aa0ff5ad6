"""Text and graphics drawn into an image come back to the bit; faulty pixels of the same value do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from longexposure.enhance.bad_pixels import GRAPHICS, find_bad_pixels
from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.statistics import examine
from longexposure.noise import NoiseProfile

SIDE = 192
BITMAP, SMOOTH, LARGE = (
    ImageFont.load_default_imagefont(),
    ImageFont.load_default(),
    ImageFont.load_default(size=20),
)
Draw = Callable[[ImageDraw.ImageDraw], object]


def drawn(
    draw: Draw, *, colour: float = 65535, dtype: str = "uint16", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """An even image with noise into which was drawn, and how much each pixel is covered, 0..1."""
    sheet = Image.new("L", (SIDE, SIDE))
    draw(ImageDraw.Draw(sheet))
    cover = np.asarray(sheet) / 255.0
    level, sigma = (30000, 600) if dtype == "uint16" else (100, 4)
    plain = np.random.default_rng(seed).normal(level, sigma, cover.shape)
    return np.rint(plain * (1 - cover) + colour * cover).astype(dtype), cover


def text(words: str, font: ImageFont.ImageFont, at: tuple[int, int] = (40, 50)) -> Draw:
    return lambda sheet: sheet.text(at, words, fill=255, font=font)


@pytest.mark.parametrize(
    ("colour", "dtype"), [(65535, "uint16"), (0, "uint16"), (255, "uint8"), (52000, "uint16")]
)
@pytest.mark.parametrize("font", [BITMAP, SMOOTH, LARGE], ids=["bitmap", "smooth", "large"])
def test_letters_and_their_dots_come_back_to_the_bit(font, colour, dtype):
    for seed, words in enumerate(["U7.i", "lot 7/3", "BGA: 0.5 mm"]):
        image, cover = drawn(text(words, font, (20 + 7 * seed, 40)), colour=colour, dtype=dtype, seed=seed)
        enhanced = load_enhancer("gaussian").enhance(image)
        covered = cover > 0.4
        if font is LARGE:  # letters without straight thin strokes may pass for the part; none is filled
            found = examine(image).bad_pixels
            filled = found.chosen(found.kind != GRAPHICS)
            assert not covered[filled.y, filled.x].any(), words
            continue
        assert np.array_equal(enhanced[covered], image[covered]), words
        assert not np.array_equal(enhanced[cover == 0], image[cover == 0])


GRAPHIC: dict[str, Draw] = {
    "scale bar": lambda s: s.rectangle((100, 160, 159, 162), fill=255),
    "bar and text": lambda s: (s.line((70, 160, 169, 160), fill=255), text("50 um", BITMAP, (100, 146))(s)),
    "frame": lambda s: s.rectangle((40, 50, 140, 130), outline=255),
    "small frame": lambda s: s.rectangle((40, 50, 65, 70), outline=255, width=2),
    "crosshair": lambda s: (s.line((66, 96, 126, 96), fill=255), s.line((96, 66, 96, 126), fill=255)),
    "arrow": lambda s: s.line([(60, 100), (100, 100), (94, 94), (100, 100), (94, 106)], fill=255),
    "oblique arrow": lambda s: s.line([(60, 60), (99, 90), (92, 90), (99, 90), (99, 82)], fill=255, width=2),
    "circle": lambda s: s.ellipse((60, 60, 100, 100), outline=255),
    "dotted line": lambda s: [s.point((40 + 3 * k, 90), fill=255) for k in range(30)],
    "dotted line down": lambda s: [s.point((60, 40 + 4 * k), fill=255) for k in range(30)],
    "dashed line": lambda s: [s.line((40 + 8 * k, 90, 44 + 8 * k, 90), fill=255) for k in range(12)],
}  # fmt: skip


@pytest.mark.parametrize("colour", [65535, 0])
@pytest.mark.parametrize("name", GRAPHIC)
def test_graphics_come_back_to_the_bit(name, colour):
    image, cover = drawn(GRAPHIC[name], colour=colour)
    enhanced = load_enhancer("gaussian").enhance(image)
    assert np.array_equal(enhanced[cover > 0], image[cover > 0])
    assert sum(examine(image).set_aside.values()) >= np.count_nonzero(cover)


def test_the_network_does_not_see_text():
    image, cover = drawn(text("BGA: 0.5 mm", BITMAP))
    plain, _ = drawn(lambda _: None)
    enhanced, without = (load_enhancer("gaussian").enhance(i).astype(float) for i in (image, plain))
    assert np.abs(enhanced - without)[cover == 0].max() < 600


@pytest.mark.parametrize("share", [0.001, 0.01])
@pytest.mark.parametrize("colour", [0.0, 65535.0])
def test_many_dead_pixels_of_one_value_are_no_graphics(share, colour):
    random = np.random.default_rng(4)
    image, _ = drawn(lambda _: None)
    faulty = random.random(image.shape) < share
    for y, x, height, width in [(20, 30, 2, 2), (60, 120, 10, 10), (100, 90, 4, 9), (150, 40, 3, 5)]:
        faulty[y : y + height, x : x + width] = True
    image[faulty] = colour
    found = find_bad_pixels(image, NoiseProfile(level=30000, sigma=600))
    assert not np.any(found.kind == GRAPHICS)
    assert faulty[found.y, found.x].sum() >= 0.97 * faulty.sum()
    assert (~faulty)[found.y, found.x].sum() <= 0.01 * faulty.sum()


def test_dead_pixels_beside_text_elsewhere_are_filled():
    image, cover = drawn(text("U7.i", SMOOTH, (20, 20)))
    places = [(150, 150), (120, 30), (60, 160), (170, 80)]
    for place in places:
        image[place] = 65535
    found = find_bad_pixels(image, NoiseProfile(level=30000, sigma=600))
    kinds = {(int(y), int(x)): int(kind) for y, x, kind in zip(found.y, found.x, found.kind, strict=True)}
    assert all(kinds[place] != GRAPHICS for place in places)
    assert all(cover[place] > 0 for place, kind in kinds.items() if kind == GRAPHICS and cover[place] > 0.4)
