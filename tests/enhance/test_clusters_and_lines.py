"""Clusters and lines of faulty pixels: found without a map, filled so that nothing beside them changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from longexposure.enhance.bad_pixels import CLUSTER, LINE, BadPixels, find_bad_pixels
from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.statistics import examine
from longexposure.masks import Mask
from longexposure.noise import NoiseProfile

SIGMA, LEVEL, SIDE = 173.0, 30000.0, 256
NOISE = NoiseProfile(level=LEVEL, sigma=SIGMA)


def grain(
    clean: np.ndarray | float = LEVEL, seed: int = 0, shape: tuple[int, int] = (SIDE, SIDE)
) -> np.ndarray:
    return np.random.default_rng(seed).normal(clean, SIGMA, shape)


def counts(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 65535)).astype(np.uint16)


def marks(found: BadPixels, shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    marked = np.zeros(shape, bool)
    marked[found.y, found.x] = True
    return marked


def disc(y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - y, columns - x) <= radius


def box(rows: slice, columns: slice) -> np.ndarray:
    marked = np.zeros((SIDE, SIDE), bool)
    marked[rows, columns] = True
    return marked


CLUSTERS = {
    "2x2": box(slice(120, 122), slice(121, 123)),
    "12x12": box(slice(120, 132), slice(121, 133)),
    "disc": disc(99, 150, 5),
    "L": box(slice(60, 70), slice(80, 82)) | box(slice(68, 70), slice(80, 90)),
    "diagonal": np.eye(SIDE, dtype=bool) & box(slice(80, 88), slice(None)),
    "ragged": box(slice(60, 72), slice(60, 72)) & (np.random.default_rng(1).random((SIDE, SIDE)) < 0.8),
    "corner": box(slice(0, 7), slice(0, 9)),
    "border": box(slice(250, 256), slice(40, 51)),
}
LINES = {
    "column": box(slice(None), slice(120, 121)),
    "columns of 3": box(slice(None), slice(120, 123)),
    "row": box(slice(77, 78), slice(None)),
    "rows of 2": box(slice(77, 79), slice(None)),
    "from the border": box(slice(0, 70), slice(33, 34)),
    "to the middle": box(slice(SIDE // 2, 200), slice(33, 35)),
    "first column": box(slice(None), slice(0, 1)),
    "last rows": box(slice(-3, None), slice(None)),
    "crossing": box(slice(None), slice(60, 61))
    | box(slice(100, 101), slice(None))
    | box(slice(None), slice(200, 201)),
}


def spoil(image: np.ndarray, where: np.ndarray, how: str) -> np.ndarray:
    random, spoilt = np.random.default_rng(3), image.copy()
    number = int(where.sum())
    spoilt[where] = {
        "dead": np.zeros(number),
        "saturated": np.full(number, 65535.0),
        "stuck": np.full(number, 36000.0),
        "hot": image[where] + 5000 + random.exponential(9000, number),
        "several": random.choice([0, 5000, 50000, 65535], number),
        "noisy": image[where] + random.normal(0, 10 * SIGMA, number),
        "gain 0.95": 0.95 * image[where],
        "gain 1.1": 1.1 * image[where],
    }[how]
    return spoilt


@pytest.mark.parametrize("how", ["dead", "saturated", "stuck", "hot", "several"])
@pytest.mark.parametrize("name", CLUSTERS)
def test_clusters_are_found_and_nothing_else(name, how):
    where = CLUSTERS[name]
    found = find_bad_pixels(counts(spoil(grain(), where, how)), NOISE)
    wrong = marks(found) ^ where
    assert wrong.sum() <= (0.02 * where.sum() + 1 if how == "hot" else 0)
    if how != "hot":
        assert np.all(found.kind == CLUSTER)
        assert sum(place.count for place in found.places) == where.sum()
        assert np.abs(found.value - LEVEL).max() < 2 * SIGMA


@pytest.mark.parametrize("name", ["12x12", "disc", "corner"])
def test_noisy_clusters_are_found_but_for_pixels_that_look_good(name):
    where = CLUSTERS[name]
    found = marks(find_bad_pixels(counts(spoil(grain(), where, "noisy")), NOISE))
    assert (found & where).sum() >= 0.6 * where.sum()
    assert (found & ~where).sum() == 0


@pytest.mark.parametrize("how", ["dead", "saturated", "stuck", "noisy", "gain 0.95", "gain 1.1"])
@pytest.mark.parametrize("name", LINES)
def test_lines_are_found_from_end_to_end_and_nothing_else(name, how):
    where = LINES[name]
    found = find_bad_pixels(counts(spoil(grain(), where, how)), NOISE)
    wrong = marks(found) ^ where
    assert wrong.sum() <= 0.03 * where.sum() + 4
    assert np.mean(found.kind == LINE) > 0.97
    assert np.abs(found.value - LEVEL).max() < 3 * SIGMA


def scene() -> np.ndarray:
    """Balls, an oblique trace and one along a row, blurred by a pixel."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    clean = np.full((SIDE, SIDE), LEVEL)
    for y, x in itertools.product(range(40, SIDE, 60), range(40, SIDE, 60)):
        clean[np.hypot(rows - y, columns - x) < 15] -= 9000
    clean[(rows + columns) % 90 < 4] -= 4000
    clean[70:73] -= 5000
    return gaussian_filter(clean, 1.0)


@pytest.mark.parametrize("name", LINES)
def test_lines_through_structure_are_found_and_it_alone_stays(name):
    where = LINES[name]
    image = grain(scene())
    assert len(find_bad_pixels(counts(image), NOISE)) == 0
    found = find_bad_pixels(counts(spoil(image, where, "dead")), NOISE)
    assert np.array_equal(marks(found), where)


def test_what_fills_a_line_follows_the_edges_that_cross_it():
    rows, columns = np.mgrid[: 2 * SIDE, : 2 * SIDE] / 2.0
    for angle in np.deg2rad([20, 45, 70, 110, 160]):
        stripes = (columns * np.cos(angle) + rows * np.sin(angle)) % 17 < 6
        clean = gaussian_filter(LEVEL - 9000.0 * stripes, 2)[::2, ::2]
        for name, most in (("column", 1.5), ("columns of 3", 3.0)):
            where = LINES[name]
            found = find_bad_pixels(counts(spoil(grain(clean), where, "dead")), NOISE)
            error = (found.value - clean[found.y, found.x])[where[found.y, found.x]]
            assert np.sqrt(np.square(error).mean()) < most * SIGMA  # 9000 is 52 times the noise


def blurred_parts(blur_px: float) -> dict[str, np.ndarray]:
    """What parts of a board look like: contrast 1, on a fine grid and blurred, along the axes and not."""
    fine = 4
    rows, columns = np.mgrid[: fine * SIDE, : fine * SIDE] / fine
    shapes = {
        "wires along rows": (rows - 3.3) % 11 < 1,
        "wires along columns": (columns - 3.3) % 11 < 2,
        "one trace": (rows > 99.9) & (rows < 101.9),
        "pads": ((rows - 1.3) % 14 < 6) & ((columns - 2.6) % 17 < 8),
        "small balls": np.hypot((rows - 4.4) % 9 - 4.5, (columns - 4.1) % 9 - 4.5) < 1.5,
        "lines of 2.5 px": (rows % 2.5 < 1.25) & (columns > 50) & (columns < 200),
        "lines of 3 px": (columns % 3 < 1.5) & (rows > 50) & (rows < 200),
    }
    blurred = {name: gaussian_filter(shape.astype(float), blur_px * fine) for name, shape in shapes.items()}
    return {n: b.reshape(SIDE, fine, SIDE, fine).mean(axis=(1, 3)) for n, b in blurred.items()}


@pytest.mark.parametrize("blur_px", [0.5, 0.8])
def test_parts_behind_optics_are_no_faults(blur_px):
    for name, shape in blurred_parts(blur_px).items():
        for contrast in (-150, -30, 12, 60):
            found = find_bad_pixels(counts(grain(LEVEL + contrast * SIGMA * shape)), NOISE)
            assert not found.places, f"{name}, {contrast}: {[str(place) for place in found.places]}"


@pytest.mark.parametrize("kind", ["columns", "rows"])
def test_noise_of_whole_lines_is_no_fault(kind):
    offsets = np.random.default_rng(0).normal(0, 2 * SIGMA, SIDE)
    image = grain() + (offsets if kind == "columns" else offsets[:, None])
    assert not find_bad_pixels(counts(image), NOISE).places


@pytest.mark.parametrize(
    ("name", "how"),
    [("2x2", "dead"), ("12x12", "dead"), ("12x12", "saturated"), ("column", "dead"), ("crossing", "dead")],
)
def test_beside_faults_the_enhanced_image_is_as_without_them(name, how, default_enhancer):
    where, image = CLUSTERS.get(name, LINES.get(name)), grain()
    clean = default_enhancer.enhance(counts(image)).astype(float)
    change = np.abs(default_enhancer.enhance(counts(spoil(image, where, how))) - clean) / SIGMA
    beyond = distance_transform_edt(~where) > 2
    assert change[beyond].max() < 0.1
    assert change.max() < 0.5


def test_tiles_fill_faults_as_the_whole_does():
    image = counts(spoil(spoil(grain(scene()), LINES["crossing"], "dead"), CLUSTERS["disc"], "several"))
    whole = load_enhancer("gaussian").enhance(image)
    assert np.array_equal(load_enhancer("gaussian", core_px=64).enhance(image), whole)


@pytest.mark.parametrize(("a", "b"), [(2.0, 500.0), (0.25, -1000.0)])
def test_faults_and_what_fills_them_follow_a_rescaling(a, b):
    image = spoil(spoil(grain(scene()), LINES["crossing"], "dead"), CLUSTERS["12x12"], "several")
    image = image.astype(np.float32).round()
    plain = find_bad_pixels(image, NOISE)
    scaled = find_bad_pixels(np.float32(a) * image + np.float32(b), NOISE.mapped(scale=a, offset=b))
    assert np.array_equal(marks(plain), marks(scaled))
    np.testing.assert_allclose(scaled.value, a * plain.value + b, rtol=1e-5)


def test_given_pixels_are_filled_besides_those_found():
    image = spoil(grain(), CLUSTERS["disc"], "dead")
    given = box(slice(200, 201), slice(None)) | box(slice(20, 21), slice(30, 31))
    found = find_bad_pixels(counts(image), NOISE, given=Mask.of(given))
    assert np.array_equal(marks(found), given | CLUSTERS["disc"])
    assert found.counts == {"given": SIDE + 1, "cluster": int(CLUSTERS["disc"].sum())}
    assert np.abs(found.value - LEVEL).max() < 3 * SIGMA


@pytest.mark.parametrize("offset", [0, 1, 4, 8])
@pytest.mark.parametrize("name", ["12x12", "ragged", "disc"])
def test_clusters_beside_and_on_a_line_are_found(name, offset):
    cluster = CLUSTERS[name]
    line = box(slice(None), slice(int(np.flatnonzero(cluster.any(axis=0))[0]) - 1 + offset, None))
    line[:, np.flatnonzero(line.any(axis=0))[1:]] = False
    found = find_bad_pixels(counts(spoil(spoil(grain(), cluster, "dead"), line, "dead")), NOISE)
    wrong = marks(found) ^ (cluster | line)
    assert wrong.sum() <= 2
    assert np.abs(found.value - LEVEL).max() < 3 * SIGMA


def test_a_line_that_a_map_knows_is_not_told_again():
    where = LINES["columns of 3"]
    found = find_bad_pixels(counts(spoil(grain(), where, "dead")), NOISE, given=Mask.of(where))
    assert found.places == ()
    assert found.counts == {"given": int(where.sum())}


def test_given_areas_of_any_size_are_filled():
    given = box(slice(0, 120), slice(50, 250))
    found = find_bad_pixels(counts(grain()), NOISE, given=Mask.of(given))
    assert np.abs(found.value - LEVEL).max() < 5 * SIGMA
    everything = find_bad_pixels(counts(grain()), NOISE, given=Mask.of(np.ones((SIDE, SIDE), bool)))
    assert np.all(np.isfinite(everything.value))


def test_wide_dead_lines_neither_set_the_grey_scale_nor_the_noise():
    image = grain(scene())
    clean, spoilt = examine(counts(image)), examine(counts(spoil(image, LINES["columns of 3"], "dead")))
    assert spoilt.grey.scale == pytest.approx(clean.grey.scale, rel=0.02)
    assert spoilt.noise.sigma == pytest.approx(clean.noise.sigma, rel=0.05)


def test_places_say_where_the_largest_faults_lie():
    where = LINES["columns of 3"] | LINES["row"]
    image = spoil(spoil(grain(), where, "dead"), CLUSTERS["corner"], "saturated")
    texts = [str(place) for place in find_bad_pixels(counts(image), NOISE).places]
    assert texts == ["columns 120 to 122, y=0 to 255", "row 77, x=0 to 255", "cluster of 63 px at y=0, x=0"]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_areas_cut_off_at_one_value_are_taken_at_any_scale(scale):
    image = grain(scene()).astype(np.float32)
    image[:, :90] = np.maximum(image[:, :90] - LEVEL, 0)  # half of it 0, as below a threshold
    image[:64, :90] = 0
    image[:, 200] = 0
    noise = NOISE.mapped(scale=scale, offset=0)
    found = find_bad_pixels(image * np.float32(scale), noise)
    assert marks(found)[:, 200].all()


@pytest.mark.parametrize("shape", [(8, 300), (300, 8), (33, 33), (40, 7)])
def test_small_and_thin_images_are_taken(shape):
    image = counts(grain(shape=shape))
    image[:, 3] = 0
    assert len(find_bad_pixels(image, NOISE)) <= 2 * shape[0]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("value", [np.nan, -3.4e38, 0.0])
def test_lines_beside_a_band_without_data_are_found(axis: int, value: float) -> None:
    pixels = grain().astype(np.float32)
    pixels[:, 100] -= 18000
    pixels[40:60] = value
    pixels = pixels.T.copy() if axis else pixels
    found = examine(pixels)
    assert found.aside.mask.count == 20 * SIDE
    assert SIDE - 20 <= len(found.bad_pixels) <= SIDE  # a line goes on through the band
    assert found.noise.sigma == pytest.approx(SIGMA, rel=0.05)
