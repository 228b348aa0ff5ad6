"""Laws that every model obeys, through the one enhance path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import torch

from longexposure.engines.torch import TorchEngine
from longexposure.enhance.enhancer import Enhancer, load_enhancer
from longexposure.models.dncnn import DnCNN, DnCNNConfig
from longexposure.models.edcnn import EDCNN, EDCNNConfig
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.framework import Framework, FrameworkConfig
from longexposure.models.nafnet import NAFNet, NAFNetConfig
from longexposure.models.networks import Network
from longexposure.models.registry import CLASSICAL
from longexposure.models.unet import UNet, UNetConfig
from longexposure.radiograph import DTYPES, Radiograph

SIZES = [(1, 1), (3, 5), (1, 300), (300, 2), (203, 157), (8, 900), (900, 9)]
NOISE = np.array([0.05, 0.28, 0.2, 0.3, 0.1], np.float32)


def _small_fast() -> Network:
    network = Fast(FastConfig(width=8, blocks=2))
    torch.nn.init.normal_(network.tail.weight, std=0.1)
    return network


def _small_unet() -> Network:
    network = UNet(UNetConfig(widths=(8, 8, 8), down=(1, 1, 1), up=(1, 1)))
    torch.nn.init.normal_(network.tail.weight, std=0.1)
    return network


def _small_framework(config: FrameworkConfig) -> Network:
    """Random, with an output about as bright as its input."""
    network = Framework(config)
    with torch.no_grad():
        network.decoder.out.weight.mul_(0.3)
        network.decoder.out.bias.fill_(0.5)
    return network


def _small_nafnet() -> Network:
    """Random, with every block open and squares of 12, 6 and 3 px, far smaller than the images."""
    network = NAFNet(
        NAFNetConfig(width=4, encoder_blocks=(1, 1), middle_blocks=1, decoder_blocks=(1, 1), patch_px=8)
    )
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            torch.nn.init.normal_(parameter, std=0.5)
    return network


def _small_dncnn(normalisation: Literal["batch", "none"]) -> Network:
    """Random, with statistics as if trained."""
    network = DnCNN(DnCNNConfig(depth=4, width=4, normalisation=normalisation))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(buffer, std=0.2)
    with torch.no_grad():
        network.layers[-1].get_parameter("weight").mul_(0.2)
    return network


NETWORKS: dict[str, Callable[[], Network]] = {
    "random-fast": _small_fast,
    "random-unet": _small_unet,
    "random-framework": lambda: _small_framework(FrameworkConfig(z=2, width=4)),
    "random-framework-bicubic-x2": lambda: _small_framework(
        FrameworkConfig(width=4, scale=2, encoder="bicubic")
    ),
    "random-edcnn": lambda: EDCNN(EDCNNConfig(width=4)),
    "random-nafnet": _small_nafnet,
    "random-dncnn": lambda: _small_dncnn("batch"),
    "random-dncnn-without-normalisation": lambda: _small_dncnn("none"),
}
MODELS = [*CLASSICAL, *NETWORKS, "shipped"]


@pytest.fixture(scope="module", params=MODELS)
def enhancer(request: pytest.FixtureRequest) -> Enhancer:
    if request.param == "shipped":
        shipped: Enhancer = request.getfixturevalue("default_enhancer")
        return shipped
    if request.param in CLASSICAL:
        return load_enhancer(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Enhancer(TorchEngine(NETWORKS[request.param](), device="cpu"), name=request.param)


def scene(shape: tuple[int, ...], *, seed: int = 0, sigma: float = 250.0) -> np.ndarray:
    """A noisy board, float64, 2000 to 12000: a shaded chequerboard and one hot pixel."""
    height, width = shape[-2:]
    y, x = np.mgrid[:height, :width]
    clean = 5000 + 3000 * ((y // 13 + x // 17) % 2) + 1000 * x / width
    noisy = np.random.default_rng(seed).normal(np.broadcast_to(clean, shape), sigma)
    noisy[..., min(6, height - 1), min(8, width - 1)] = 11900
    return np.rint(noisy.clip(2000, 12000))


def typed(values: np.ndarray, dtype: str) -> np.ndarray:
    """The same scene in a type, without anything cut off."""
    if dtype == "uint8":
        return np.rint(values / 50).astype(np.uint8)
    return values.astype(dtype)


def with_cores(enhancer: Enhancer, core_px: int) -> Enhancer:
    return Enhancer(enhancer.engine, name=enhancer.name, core_px=core_px)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 52), (2, 24, 33), (1, 9, 8)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_kind_shape_and_type_stay(enhancer, dtype, shape):
    image = typed(scene(shape), dtype)
    result = enhancer.enhance(image)
    assert type(result) is np.ndarray
    assert (result.shape, result.dtype) == (shape, image.dtype)
    assert np.isfinite(result).all()
    assert not np.shares_memory(result, image)
    wrapped = enhancer.enhance(Radiograph(image))
    assert isinstance(wrapped, Radiograph)
    assert np.array_equal(wrapped.pixels, result)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_input_is_not_modified(enhancer, dtype, strength):
    image = typed(scene((40, 52)), dtype)
    before = image.copy()
    image.flags.writeable = False
    enhancer.enhance(image, strength=strength)
    assert image.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2, 1::3],
        lambda a: a[::-1, ::-1],
        lambda a: a.T,
        lambda a: np.asfortranarray(a),
        lambda a: a[None, ::-2, 5:40],
    ],
    ids=["strided", "reversed", "transposed", "fortran", "stack-reversed"],
)
def test_a_view_gives_what_its_copy_gives(enhancer, view):
    whole = typed(scene((80, 96)), "uint16")
    before = whole.copy()
    seen = view(whole)
    result = enhancer.enhance(seen)
    assert result.tobytes() == enhancer.enhance(np.array(seen, order="C")).tobytes()
    assert np.array_equal(whole, before)


@pytest.mark.parametrize(("a", "b"), [(1, 5000), (2, 0), (3, 40), (5, -9000)])
def test_rescaling_grey_values_rescales_the_result_in_16_bit(enhancer, a, b):
    image = scene((72, 88))
    plain = enhancer.enhance(image.astype(np.uint16)).astype(float)
    scaled = enhancer.enhance((a * image + b).astype(np.uint16)).astype(float)
    inside = (scaled > 0) & (scaled < 65535) & (plain > 0) & (plain < 65535)
    assert inside.mean() > 0.25
    assert np.abs((scaled - b) / a - plain)[inside].max() <= 1


@pytest.mark.parametrize(("a", "b"), [(1, 9), (2, -40)])
def test_rescaling_grey_values_rescales_the_result_in_8_bit(enhancer, a, b):
    image = np.rint(scene((72, 88)) / 100)
    plain = enhancer.enhance(image.astype(np.uint8)).astype(float)
    scaled = enhancer.enhance((a * image + b).astype(np.uint8)).astype(float)
    inside = (scaled > 0) & (scaled < 255) & (plain > 0) & (plain < 255)
    assert inside.mean() > 0.25
    assert np.abs((scaled - b) / a - plain)[inside].max() <= 1


@pytest.mark.parametrize(
    ("a", "b"), [(4, 0), (0.3, 0), (1, 5000), (1e-4, 0), (1e-4, -0.7), (1e-4, 1), (1e30, 0), (1e-30, 0)]
)
def test_rescaling_grey_values_rescales_the_result_in_float(enhancer, a, b):
    image = scene((72, 88)).astype(np.float32)
    plain = enhancer.enhance(image).astype(np.float64)
    scaled = enhancer.enhance((a * image.astype(np.float64) + b).astype(np.float32))
    contrast = 4000.0
    steps = max(1.0, abs(b) / (a * contrast))  # what the offset costs float32 before we see it
    back = (scaled.astype(np.float64) - b) / a
    np.testing.assert_allclose(back, plain, rtol=0, atol=3e-5 * steps * contrast)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_tiled_equals_whole_within_one_count(enhancer, size):
    image = typed(scene(size), "uint16")
    small = with_cores(enhancer, 64).enhance(image).astype(int)
    whole = with_cores(enhancer, 2048).enhance(image).astype(int)
    assert np.abs(small - whole).max() <= 1


def check_large(enhancer: Enhancer) -> None:
    image = typed(scene((1023, 1537)) * 5, "uint16")
    core_px = 512 if enhancer.engine.spec.halo > 64 else 128
    small = with_cores(enhancer, core_px).enhance(image).astype(int)
    whole = with_cores(enhancer, 2048).enhance(image).astype(int)
    assert np.abs(small - whole).max() <= 1


def test_tiled_equals_whole_at_an_awkward_large_size():
    check_large(Enhancer(TorchEngine(_small_fast(), device="cpu"), name="random-fast"))


@pytest.mark.slow
def test_tiled_equals_whole_at_an_awkward_large_size_for_every_model(enhancer):
    check_large(enhancer)


def test_models_do_something(enhancer):
    """Without this the other laws would hold of a model that is never run."""
    image = typed(scene((60, 64)), "uint16")
    change = np.abs(enhancer.enhance(image).astype(int) - image)
    changed = (change > 0).mean()
    if enhancer.name == "identity":
        assert changed == 1 / image.size  # the hot pixel alone
    else:
        assert changed > 0.8


def test_same_input_gives_the_same_bytes(enhancer):
    image = typed(scene((60, 64)), "float32")
    assert enhancer.enhance(image).tobytes() == enhancer.enhance(image).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_stack_is_its_pages_one_by_one(enhancer, dtype):
    pages = [typed(scene((33, 40), seed=seed, sigma=100.0 + 200 * seed), dtype) for seed in range(3)]
    together = enhancer.enhance(np.stack(pages))
    for page, result in zip(pages, together, strict=True):
        assert np.array_equal(result, enhancer.enhance(page))


@pytest.mark.parametrize("dtype", DTYPES)
def test_strength_0_is_the_identity_and_strength_a_half_lies_halfway(enhancer, dtype):
    image = typed(scene((48, 56)), dtype)
    full, half = enhancer.enhance(image), enhancer.enhance(image, strength=0.5)
    assert enhancer.enhance(image, strength=0.0).tobytes() == image.tobytes()
    inside = (full > 0) & (full < np.iinfo(dtype).max) if dtype != "float32" else np.full(image.shape, True)
    middle = 0.5 * (image.astype(np.float64) + full)
    assert np.abs(half - middle)[inside].max() <= (1.0 if dtype != "float32" else 2e-3)


@pytest.mark.parametrize("level", [0, 7, 255])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_image_stays_as_it_is(enhancer, dtype, level):
    image = np.full((17, 23), level, dtype)
    assert np.array_equal(enhancer.enhance(image), image)


def test_halo_holds_the_receptive_field_and_fits_the_grid(enhancer):
    spec = enhancer.engine.spec
    assert spec.halo >= spec.receptive_field
    assert spec.halo % spec.size_multiple == 0
    assert spec.bytes_per_px > 0


@pytest.mark.parametrize("transposed", [False, True])
def test_nothing_changes_beyond_the_stated_receptive_field(enhancer, transposed):
    engine, radius = enhancer.engine, enhancer.engine.spec.receptive_field
    multiple = max(4, enhancer.engine.spec.size_multiple)
    length = multiple * (2 * radius // multiple + 12)
    strip = np.random.default_rng(0).normal(0.5, 0.05, (8, length)).astype(np.float32)

    def run(pixels: np.ndarray) -> np.ndarray:
        result = engine.run(np.ascontiguousarray(pixels.T if transposed else pixels)[None], NOISE)[0]
        return result.T if transposed else result

    plain = run(strip)
    for place in (length // 2, length // 2 + 1, length // 2 + 3):
        changed = strip.copy()
        changed[4, place] += np.float32(0.02)
        difference = np.abs(run(changed) - plain).max(axis=0)
        far = np.abs(np.arange(length) - place) > radius
        assert far.sum() > 8
        assert difference[far].max() <= 1e-6
        assert difference[place - 1 : place + 2].max() > 1e-4
