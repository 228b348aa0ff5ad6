"""The enhance path for arrays and radiographs: what it refuses, tells and does when memory runs out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from longexposure import __version__
from longexposure.engines.base import EngineInfo, FallbackEngine
from longexposure.engines.torch import TorchEngine
from longexposure.enhance import choices
from longexposure.enhance import enhancer as enhancing
from longexposure.enhance.bad_pixels import find_bad_pixels
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.enhance.statistics import ImageStatistics, examine
from longexposure.errors import CheckpointError, InputError, RecipeError, ResourceError
from longexposure.grey import measure_grey
from longexposure.io import read_radiograph
from longexposure.models.base import ModelSpec
from longexposure.models.checkpoint import FORMAT, Header, checkpoint_bytes
from longexposure.models.classical import Gaussian, Identity
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.registry import CLASSICAL
from longexposure.noise import NoiseProfile, estimate_noise, flat_blocks, flat_deviation
from longexposure.radiograph import Radiograph, Step

VIEWS = sorted((Path(__file__).parents[2] / "examples" / "radiographs").glob("ic_5s_view*.tif"))


def noisy(seed: int = 0, shape: tuple[int, ...] = (64, 72), sigma: float = 300.0) -> np.ndarray:
    scene = np.full(shape, 20000.0)
    scene[..., 16:40, 16:40] = 26000
    return np.random.default_rng(seed).normal(scene, sigma).round().astype(np.uint16)


@pytest.fixture(scope="module")
def network() -> Fast:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fast = Fast(FastConfig(width=8, blocks=1))
        torch.nn.init.normal_(fast.tail.weight, std=0.1)
        return fast


@pytest.fixture(scope="module")
def checkpoint(network: Fast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    path.write_bytes(checkpoint_bytes(weights, Header(format=FORMAT, model=network.config.model_dump())))
    return path


@pytest.fixture
def enhancer(checkpoint: Path) -> Enhancer:
    return load_enhancer(checkpoint, device="cpu")


class Scripted:
    """An engine that does what a function says, and notes the sizes of its tiles."""

    def __init__(self, script, spec: ModelSpec | None = None, info: EngineInfo | None = None) -> None:
        self.script, self.info = script, info
        self.spec = spec or ModelSpec(size_multiple=4, receptive_field=6, conditioned=True)
        self.sizes: list[tuple[int, ...]] = []
        self.told: list[np.ndarray] = []

    def run(self, tile: np.ndarray, noise_condition: np.ndarray) -> np.ndarray:
        self.sizes.append(tile.shape)
        self.told.append(noise_condition)
        return self.script(tile)


def scripted(script, **settings) -> Enhancer:
    return Enhancer(Scripted(script), name="scripted", **settings)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4), np.float64), "float64"),
        (np.zeros((4, 4), np.int16), "int16"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.zeros((4, 4), ">u2"), ">u2"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((1, 1, 4, 4), np.uint8), r"\(1, 1, 4, 4\)"),
        (np.zeros((0, 4), np.uint8), r"\(0, 4\)"),
        (np.zeros((0, 4, 4), np.uint8), r"\(0, 4, 4\)"),
        (np.uint8(3), "uint8"),
        ([[1, 2], [3, 4]], "list"),
        (None, "NoneType"),
        ("chip.tif", "str"),
        (torch.zeros(4, 4, dtype=torch.int64), "int64"),
    ],
    ids=lambda value: str(getattr(value, "shape", "")) or str(value)[:12],
)
def test_what_is_no_radiograph_is_refused(image, found):
    with pytest.raises(InputError, match=f"^image: expected .*found .*{found}"):
        load_enhancer("identity").enhance(image)


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf"), 100])
def test_strength_out_of_range_is_refused(strength):
    with pytest.raises(RecipeError, match="strength: expected a number from 0 to 1"):
        load_enhancer("identity").enhance(noisy(), strength=strength)


def test_unknown_model_is_told_the_known_ones(tmp_path):
    for name in ("fsat", tmp_path / "none.safetensors"):
        with pytest.raises(CheckpointError) as caught:
            load_enhancer(name)
        assert all(known in str(caught.value) for known in CLASSICAL)
        assert "nothing of that name" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"a folder without checkpoint\.safetensors"):
        load_enhancer(tmp_path)


@pytest.mark.parametrize("model", ["identity", None])
@pytest.mark.parametrize(
    ("settings", "where"),
    [({"device": "gpu"}, "device"), ({"device": "CUDA"}, "device"), ({"precision": "fp16"}, "precision")],
)
def test_unknown_device_or_precision_is_refused(checkpoint, model, settings, where):
    with pytest.raises(RecipeError, match=f"^{where}: expected auto or .*; choose one of these"):
        load_enhancer(model or checkpoint, **settings)


def test_cuda_without_cuda_is_a_resource_error(checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResourceError, match="use --device auto or cpu"):
        load_enhancer(checkpoint, device="cuda")
    assert load_enhancer(checkpoint, device="auto").engine.info.device == "cpu"


def test_a_model_is_found_by_name_file_text_and_run_folder(checkpoint):
    image = noisy()
    by_file = load_enhancer(checkpoint).enhance(image)
    assert np.array_equal(load_enhancer(str(checkpoint)).enhance(image), by_file)
    assert np.array_equal(load_enhancer(checkpoint.parent).enhance(image), by_file)
    assert load_enhancer("gaussian").engine == Gaussian()
    assert not np.array_equal(by_file, image)


def test_bf16_stays_close_to_f32(checkpoint):
    image = noisy()
    exact = load_enhancer(checkpoint, device="cpu").enhance(image).astype(float)
    half = load_enhancer(checkpoint, device="cpu", precision="bf16").enhance(image).astype(float)
    difference = np.abs(half - exact).max()
    assert 0 < difference < 0.1 * np.abs(exact - image).max()


def test_history_holds_model_weights_settings_and_noise(checkpoint):
    earlier = Step("scanner", "1", "scan")
    before = Radiograph(noisy(), description="board 7", history=(earlier,), exposure={"exposure_s": 5.0})
    after = load_enhancer(checkpoint, device="cpu").enhance(before, strength=0.75)
    assert after.history[0] is earlier
    (step,) = after.history[1:]
    assert (step.tool, step.version, step.action) == ("longexposure", __version__, "enhance")
    assert step.settings["model"] == str(checkpoint)
    assert step.settings["weights_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert step.settings["strength"] == 0.75
    assert (step.settings["engine"], step.settings["device"]) == ("torch", "cpu")
    assert step.settings["precision"] == "f32"
    (page,) = step.settings["pages"]
    grey, noise = measure_grey(before.pixels), estimate_noise(before.pixels)
    assert (page["unit_scale"], page["unit_offset"]) == (grey.scale, grey.offset)
    assert page["noise"] == noise.as_dict()
    assert json.loads(json.dumps(step.as_dict())) == step.as_dict()
    for name in ("description", "exposure", "domain", "polarity", "pitch_um", "source"):
        assert getattr(after, name) == getattr(before, name)
    assert before.history == (earlier,)


def test_history_of_a_stack_has_an_entry_for_each_page():
    stack = np.stack([noisy(0, sigma=100), noisy(1, sigma=900)])
    stack[1, 5, 5] = 65535
    step = load_enhancer("gaussian").enhance(Radiograph(stack)).history[-1]
    first, second = step.settings["pages"]
    assert step.settings["weights_sha256"] is None
    assert second["noise"]["sigma"] > 4 * first["noise"]["sigma"]
    assert (first["bad_pixels_replaced"], second["bad_pixels_replaced"]) == (0, 1)


def test_history_of_strength_0_tells_of_nothing_replaced():
    image = noisy()
    image[5, 5] = 65535
    after = load_enhancer("gaussian").enhance(Radiograph(image), strength=0)
    assert after.history[-1].settings["pages"][0]["bad_pixels_replaced"] == 0
    assert np.array_equal(after.pixels, image)


def test_a_given_noise_profile_is_used_and_told(enhancer):
    image = noisy()
    given = NoiseProfile(level=20000, sigma=900, slope=0.1, corr_x=0.4)
    blind, told = enhancer.enhance(Radiograph(image)), enhancer.enhance(Radiograph(image), noise=given)
    assert not np.array_equal(blind.pixels, told.pixels)
    assert told.history[-1].settings["pages"][0]["noise"] == given.as_dict()
    assert blind.history[-1].settings["pages"][0]["noise"]["origin"] == "estimated"


def test_engine_is_told_the_noise_in_the_unit_domain():
    enhancer = scripted(lambda tile: tile)
    image = noisy()
    given = NoiseProfile(level=21000, sigma=500, slope=0.2, corr_x=0.3, corr_y=-0.1)
    enhancer.enhance(image, noise=given)
    (noise_condition,) = enhancer.engine.told
    grey = measure_grey(image)
    middle = (0.5 - grey.offset) / grey.scale
    assert noise_condition[0] == pytest.approx(np.sqrt(given.variance(middle)) * grey.scale, rel=1e-5)
    assert noise_condition[3:] == pytest.approx([0.3, -0.1])


def test_noise_that_is_all_quantum_noise_counts_as_noise():
    """Pure quantum noise has sigma 0 at level 0, and a slope."""
    image = noisy()
    after = load_enhancer("nlm").enhance(image, noise=NoiseProfile(level=0, sigma=0, slope=5.0))
    assert (after != image).mean() > 0.9


def test_an_image_without_noise_never_reaches_the_engine():
    enhancer = scripted(lambda tile: pytest.fail("was run"))
    image = noisy()
    assert np.array_equal(enhancer.enhance(image, noise=NoiseProfile(level=0, sigma=0)), image)
    assert np.array_equal(enhancer.enhance(np.full((9, 9), 7, np.uint8)), np.full((9, 9), 7, np.uint8))


def statistics(sigma: float) -> ImageStatistics:
    image = noisy()
    profile = NoiseProfile(level=22000, sigma=sigma / measure_grey(image).scale)
    return dataclasses.replace(examine(image), noise=profile)


def test_the_default_states_the_noise_that_it_was_trained_for(default_enhancer):
    trained = default_enhancer.trained
    assert trained is not None
    assert trained.model == "fast"
    assert 0 < trained.sigma[0] < 0.05 < trained.sigma[1] < 1


@pytest.mark.parametrize(("end", "factor", "kind"), [(0, 0.5, "fainter"), (1, 2, "stronger")])
def test_noise_outside_the_range_of_the_default_gives_a_warning(default_enhancer, end, factor, kind):
    sigma = factor * default_enhancer.trained.sigma[end]
    (text,) = statistics(sigma).warnings(default_enhancer.trained)
    assert f"noise is {sigma:.4f}" in text
    assert kind in text
    assert text.endswith("that fast was trained for")


def test_noise_inside_the_range_of_the_default_gives_none(default_enhancer):
    low, high = default_enhancer.trained.sigma
    for sigma in (1.01 * low, 0.05, 0.99 * high, 0.0):
        assert statistics(sigma).warnings(default_enhancer.trained) == ()


def test_a_model_that_states_no_range_warns_of_no_noise():
    for sigma in (1e-6, 0.05, 30.0):
        assert statistics(sigma).warnings(None) == ()
    assert Enhancer(Identity(), name="identity").trained is None
    assert load_enhancer("nlm").trained is None


def test_what_the_engine_changes_is_added_to_the_grey_values():
    image = noisy().astype(np.float32)
    grey = measure_grey(image)
    enhanced = scripted(lambda tile: tile + np.float32(0.125)).enhance(image)
    np.testing.assert_allclose(enhanced - image, 0.125 / grey.scale, rtol=1e-4)


def test_integers_are_rounded_and_cut_at_the_ends_of_their_type():
    image = noisy()
    image[0, :30], image[1, :30] = 0, 65535
    image[2, 0] = 20000
    profile = NoiseProfile(level=20000, sigma=1e5)  # so large that nothing counts as faulty
    span = 1 / measure_grey(image).scale
    up = scripted(lambda tile: tile + np.float32(0.6 / span)).enhance(image, noise=profile)
    assert up[1, :30].tolist() == [65535] * 30
    assert up[0, 0] in (0, 1)
    down = scripted(lambda tile: tile - np.float32(5)).enhance(image, noise=profile)
    assert down.min() == 0
    assert down.dtype == np.uint16


def test_tiles_that_do_not_fit_into_memory_are_made_smaller():
    def blur(tile: np.ndarray) -> np.ndarray:
        return Gaussian(1.5).run(tile, np.zeros(5, np.float32))

    def short_of_memory(tile: np.ndarray) -> np.ndarray:
        if tile.shape[-1] > 100:
            raise (MemoryError() if tile.shape[-1] > 200 else RuntimeError("CUDA out of memory."))
        return blur(tile)

    image = noisy(shape=(150, 300))
    small = scripted(short_of_memory, core_px=512)
    assert np.array_equal(small.enhance(image), scripted(blur, core_px=512).enhance(image))
    assert max(size[-1] for size in small.engine.sizes) == 300
    assert small.engine.sizes[-1][-1] <= 100


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] can't allocate memory: ..."),
        RuntimeError("[CPU] DepthToSpace node with name 'node_pixel_shuffle' can't alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_for_no_tile_at_all_is_a_resource_error(error):
    def fail(tile: np.ndarray) -> np.ndarray:
        raise error

    with pytest.raises(ResourceError, match="memory: expected room for a tile of 64 px"):
        scripted(fail).enhance(noisy())


def test_other_errors_of_an_engine_pass_through():
    def fail(tile: np.ndarray) -> np.ndarray:
        raise RuntimeError("expected scalar type Float")

    with pytest.raises(RuntimeError, match="scalar type"):
        scripted(fail).enhance(noisy())


@pytest.mark.parametrize(("core_px", "expected"), [(None, 64), (64, 64), (67, 64), (1, 4)])
def test_tiles_fit_the_memory_there_is_and_the_models_grid(monkeypatch, core_px, expected):
    monkeypatch.setattr(enhancing, "free_memory", lambda: 0)
    enhancer = scripted(lambda tile: tile, core_px=core_px)
    enhancer.enhance(noisy(shape=(90, 90)))
    sizes = enhancer.engine.sizes
    assert sizes[0] == (1, expected + 8, expected + 8)
    assert all(side % 4 == 0 for size in sizes for side in size[1:])


@pytest.mark.parametrize("free_mb", range(10, 40))
def test_a_little_more_or_less_free_memory_changes_no_tile(monkeypatch, free_mb):
    """Tiles have a side of a power of two, so that the same image gives the same bytes again."""
    enhancer = scripted(lambda tile: tile)
    monkeypatch.setattr(enhancing, "free_memory", lambda: free_mb * 10**6)
    enhancer.enhance(noisy(shape=(300, 300)))
    fits = (free_mb * 10**6 / 4 / enhancer.engine.spec.bytes_per_px) ** 0.5 - 2 * 8
    assert enhancer.engine.sizes[0][1] == (64 if fits < 128 else 128) + 8


@pytest.mark.parametrize("strip_px", [1, 97, 72 * 5, 10**9])
@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("core_px", [None, 28])
def test_strips_change_nothing(monkeypatch, strip_px, strength, core_px):
    """Beside the formula for the whole image at once: faulty pixels replaced, the change added."""
    image = noisy()
    image[[5, 5, 30], [9, 60, 33]] = 65535, 0, 65535
    monkeypatch.setattr(enhancing, "STRIP_PX", strip_px)
    enhanced = scripted(lambda tile: tile + np.float32(0.01), core_px=core_px).enhance(
        image, strength=strength
    )
    found = examine(image)
    assert len(found.bad_pixels) == 3
    replaced = image.astype(np.float64)
    replaced[found.bad_pixels.y, found.bad_pixels.x] = found.bad_pixels.value
    unit = found.grey.to_unit(replaced)
    expected = replaced + ((unit + np.float32(0.01)) - unit).astype(np.float64) / found.grey.scale
    expected = image + strength * (expected - image)
    assert np.array_equal(enhanced, np.rint(expected))


def on_device(script, device: str = "cpu") -> Scripted:
    return Scripted(script, info=EngineInfo("spare" if device == "cpu" else "torch", "1", device, "f32"))


def test_a_device_without_memory_left_gives_way_to_the_spare_for_good_and_in_a_line(caplog):
    def full(tile: np.ndarray) -> np.ndarray:
        if calls and calls.pop():
            return tile + np.float32(0.1)
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    calls = [True]
    spares: list[Scripted] = []

    def spare() -> Scripted:
        spares.append(on_device(lambda tile: tile + np.float32(0.1)))
        return spares[-1]

    enhancer = Enhancer(FallbackEngine(on_device(full, "cuda"), spare), name="m")
    steady = scripted(lambda tile: tile + np.float32(0.1))
    for seed in range(3):  # the first on the GPU, which is full half-way through the second
        assert np.array_equal(enhancer.enhance(noisy(seed)), steady.enhance(noisy(seed)))
    lines = [line for line in caplog.messages if "no memory left" in line]
    assert lines == ["no memory left on cuda: going on with spare f32 on cpu"]
    assert len(spares) == 1
    after = enhancer.enhance(Radiograph(noisy()))
    assert after.history[-1].settings["device"] == "cpu"


def test_a_tile_that_can_be_cut_smaller_is_before_the_spare_is_loaded():
    def short_of_memory(tile: np.ndarray) -> np.ndarray:
        if tile.shape[-1] > 90:
            raise MemoryError
        return tile + np.float32(0.1)

    fallback = FallbackEngine(on_device(short_of_memory, "cuda"), lambda: pytest.fail("was loaded"))
    image = noisy(shape=(150, 300))
    enhanced = Enhancer(fallback, name="m", core_px=512).enhance(image)
    assert np.array_equal(enhanced, scripted(lambda tile: tile + np.float32(0.1)).enhance(image))
    assert fallback.info.device == "cuda"


def test_a_page_is_of_one_engine_where_the_device_is_full_in_the_midst_of_it():
    def full_on_the_third(tile: np.ndarray) -> np.ndarray:
        calls.append(1)
        if len(calls) > 2:
            raise MemoryError
        return tile + np.float32(0.2)

    calls: list[int] = []
    spare = on_device(lambda tile: tile + np.float32(0.1))
    fallback = FallbackEngine(on_device(full_on_the_third, "cuda"), lambda: spare)
    image = noisy(shape=(150, 300))
    enhanced = Enhancer(fallback, name="m", core_px=64).enhance(image)
    assert np.array_equal(enhanced, scripted(lambda tile: tile + np.float32(0.1)).enhance(image))


def test_a_spare_without_memory_is_a_resource_error_too():
    def full(tile: np.ndarray) -> np.ndarray:
        raise MemoryError

    enhancer = Enhancer(FallbackEngine(on_device(full, "cuda"), lambda: on_device(full)), name="m")
    for _ in range(2):
        with pytest.raises(ResourceError, match="tile of 64 px"):
            enhancer.enhance(noisy())


@pytest.mark.parametrize(("device", "falls_back"), [("auto", True), ("cuda", False)])
def test_only_a_gpu_that_nobody_asked_for_has_the_cpu_as_spare(checkpoint, monkeypatch, device, falls_back):
    def full(tile: np.ndarray) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    real = choices.load_engine
    asked: list[str] = []

    def load(weights: Path, **options: str) -> Any:
        asked.append(options["device"])
        return real(weights, **options) if options["device"] == "cpu" else on_device(full, "cuda")

    monkeypatch.setattr(choices, "load_engine", load)
    enhancer = load_enhancer(checkpoint, engine="torch", device=device)
    if not falls_back:
        with pytest.raises(ResourceError, match="use --device cpu"):
            enhancer.enhance(noisy())
        return
    on_cpu = load_enhancer(checkpoint, engine="torch", device="cpu")
    assert np.array_equal(enhancer.enhance(noisy()), on_cpu.enhance(noisy()))
    assert asked == ["auto", "cpu", "cpu"]


def test_an_image_that_fits_is_computed_in_one_piece():
    enhancer = scripted(lambda tile: tile)
    enhancer.enhance(noisy(shape=(70, 91)))
    assert enhancer.engine.sizes == [(1, 72, 92)]


def test_a_checkpoint_is_used_as_it_is(network, enhancer):
    direct = Enhancer(TorchEngine(network, device="cpu"), name="direct")
    assert np.array_equal(direct.enhance(noisy()), enhancer.enhance(noisy()))


def flattest_deviation(pixels: np.ndarray, guide: np.ndarray) -> float:
    """Median deviation about a plane in the 5 % of 8 x 8 blocks where `guide`, smoothed, is flattest."""

    def about_plane(image: np.ndarray) -> np.ndarray:
        rows, columns = image.shape[0] // 8, image.shape[1] // 8
        blocks = image[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 64)
        y, x = np.mgrid[:8, :8].reshape(2, -1)
        design = np.stack([np.ones(64), y, x], axis=1)
        left = blocks.T - design @ np.linalg.lstsq(design, blocks.T.astype(float), rcond=None)[0]
        return np.sqrt(np.square(left).sum(axis=0) / (64 - 3))

    flatness = about_plane(gaussian_filter(guide.astype(float), 2.0))
    return float(np.median(about_plane(pixels)[np.argsort(flatness)[: len(flatness) // 20]]))


@pytest.mark.parametrize("view", VIEWS, ids=lambda path: path.stem)
def test_real_short_exposures_are_enhanced(default_enhancer, view):
    before = read_radiograph(view)
    after = default_enhancer.enhance(before)
    noise = estimate_noise(before.pixels)
    faulty = find_bad_pixels(before.pixels, noise)
    assert (after.pixels.shape, after.pixels.dtype) == (before.pixels.shape, np.uint16)
    assert 20 < len(faulty) < 200
    for told in (noise, estimate_noise(after.pixels)):
        left = find_bad_pixels(after.pixels, told)
        assert not set(zip(left.y, left.x, strict=True)) & set(zip(faulty.y, faulty.x, strict=True))
    rough = flattest_deviation(before.pixels, before.pixels)
    assert 0.5 * noise.sigma < rough < noise.sigma
    assert flattest_deviation(after.pixels, before.pixels) < 0.5 * rough
    flat = flat_blocks(before.pixels, estimate_noise(before.pixels))
    assert flat_deviation(after.pixels, flat) < 0.5 * flat_deviation(before.pixels, flat)
    assert abs(after.pixels.mean() - before.pixels.mean()) < 0.5


def test_real_views_are_all_there():
    assert len(VIEWS) == 7
