"""The torch engine: what it is asked, what it hands to the network, what comes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from longexposure.engines.torch import TorchEngine, choose_device
from longexposure.errors import ResourceError
from longexposure.models.base import ModelSpec
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.framework import Framework, FrameworkConfig
from longexposure.models.networks import Network

NOISE = np.array([0.05, 0.28, 0.2, 0.3, 0.1], np.float32)


def _fast() -> Network:
    network = Fast(FastConfig(width=8, blocks=2))
    torch.nn.init.normal_(network.tail.weight, std=0.1)
    return network


@pytest.fixture(params=[_fast, lambda: Framework(FrameworkConfig(z=2, width=4))], ids=["fast", "framework"])
def network(request: pytest.FixtureRequest) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param()


class Witness(torch.nn.Module):
    """Notes what it was called with, and under which settings."""

    spec = ModelSpec(size_multiple=1, receptive_field=0, conditioned=True)

    def forward(self, image: torch.Tensor, noise_condition: torch.Tensor) -> torch.Tensor:
        self.image, self.noise_condition = image, noise_condition
        cudnn = torch.backends.cudnn
        self.settings = (cudnn.enabled, cudnn.allow_tf32, torch.is_autocast_enabled("cpu"))
        self.mode = (torch.is_inference_mode_enabled(), self.training)
        return image * 2


def tiles(batch: int = 2, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 0.1, (batch, height, width)).astype(np.float32)


def test_computes_what_the_network_computes(network):
    engine = TorchEngine(network, device="cpu")
    told = torch.from_numpy(NOISE).expand(2, 5)
    with torch.inference_mode():
        expected = network(torch.from_numpy(tiles())[:, None], told)[:, 0].numpy()
    result = engine.run(tiles(), NOISE)
    assert (result.dtype, result.shape) == (np.float32, (2, 24, 32))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert engine.spec == network.spec


def test_pages_of_a_batch_do_not_mix(network):
    engine = TorchEngine(network, device="cpu")
    together = engine.run(tiles(3), NOISE)
    for page, alone in zip(together, tiles(3), strict=True):
        np.testing.assert_allclose(engine.run(alone[None], NOISE)[0], page, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "view",
    [lambda a: a, lambda a: a[:, ::-1, ::-1], lambda a: a.transpose(0, 2, 1)],
    ids=["plain", "turned", "T"],
)
def test_input_is_not_modified_even_when_it_cannot_be(network, view):
    tile, noise_condition = tiles(), NOISE.copy()
    before = tile.copy()
    tile.flags.writeable = noise_condition.flags.writeable = False
    result = TorchEngine(network, device="cpu").run(view(tile), noise_condition)
    assert np.array_equal(tile, before)
    assert not np.shares_memory(result, tile)
    copied = np.ascontiguousarray(view(before))
    assert np.array_equal(result, TorchEngine(network, device="cpu").run(copied, NOISE))


def test_network_gets_batches_with_one_channel_and_the_noise_of_each():
    witness = Witness()
    result = TorchEngine(witness, device="cpu").run(tiles(), NOISE)
    assert np.array_equal(result, 2 * tiles())
    assert witness.image.shape == (2, 1, 24, 32)
    assert np.array_equal(witness.noise_condition.numpy(), np.stack([NOISE, NOISE]))
    assert witness.mode == (True, False)


@pytest.mark.parametrize(("precision", "half"), [("auto", False), ("f32", False), ("bf16", True)])
def test_single_precision_is_exact_and_keeps_cudnn(precision, half):
    witness = Witness()
    engine = TorchEngine(witness, device="cpu", precision=precision)
    before = torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32
    engine.run(tiles(), NOISE)
    enabled, tf32, autocast = witness.settings
    assert enabled, "without cuDNN convolutions on a GPU are slow"
    assert not tf32
    assert autocast == half
    assert engine.precision == ("bf16" if half else "f32")
    assert (torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32) == before


def test_bf16_stays_close_to_f32(network):
    exact = TorchEngine(network, device="cpu").run(tiles(), NOISE)
    half = TorchEngine(network, device="cpu", precision="bf16").run(tiles(), NOISE)
    assert half.dtype == np.float32
    assert 0 < np.sqrt(np.square(half - exact).mean()) < 0.05 * np.sqrt(np.square(exact).mean())


def test_bf16_adds_the_correction_of_the_fast_network_in_single_precision():
    engine = TorchEngine(Fast(FastConfig(width=8, blocks=1)), device="cpu", precision="bf16")
    assert np.array_equal(engine.run(tiles(), NOISE), tiles()), "untrained it corrects nothing"


def test_weights_are_laid_out_channels_last(network):
    TorchEngine(network, device="cpu")
    weights = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[:2]) > 1]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize(
    ("asked", "there", "chosen"),
    [
        ("auto", False, "cpu"),
        ("auto", True, "cuda"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_auto_takes_cuda_where_there_is_one(monkeypatch, asked, there, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(asked).type == chosen


def test_cuda_that_is_not_there_is_a_resource_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ResourceError, match=r"--device cuda: expected a CUDA device.*use --device auto or cpu"
    ):
        choose_device("cuda")


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(network):
    on_cpu = TorchEngine(network, device="cpu").run(tiles(), NOISE)
    on_gpu = TorchEngine(network, device="cuda")
    np.testing.assert_allclose(on_gpu.run(tiles(), NOISE), on_cpu, rtol=0, atol=1e-5)
    assert on_gpu.device.type == "cuda"
