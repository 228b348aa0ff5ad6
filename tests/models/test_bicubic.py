import numpy as np
import pytest
import torch
from torch.nn import functional

from longexposure.errors import InputError
from longexposure.models.bicubic import bicubic_downsample, bicubic_taps


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -1/2, in the form printed for MATLAB's imresize."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _matrix(size: int, scale: int) -> np.ndarray:
    """(size / scale, size): each row samples the stretched kernel and sums to 1 inside the image."""
    centres = (np.arange(size // scale) + 0.5) * scale - 0.5
    weights = _cubic((np.arange(size)[None, :] - centres[:, None]) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(4, 4), (12, 32), (40, 8)])
def test_equals_sampling_the_stretched_cubic_kernel(scale, size):
    image = np.random.default_rng(0).random((2, 3, *size))
    expected = _matrix(size[0], scale) @ image @ _matrix(size[1], scale).T
    ours = bicubic_downsample(torch.from_numpy(image), scale).numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 4])
def test_equals_torch_antialiased(scale):
    image = torch.rand(1, 1, 36, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(
        image, scale_factor=1 / scale, mode="bicubic", antialias=True, align_corners=False
    )
    torch.testing.assert_close(bicubic_downsample(image, scale), expected)


def test_white_noise_keeps_0_041_of_its_variance_at_scale_4():
    noise = torch.randn(1, 1, 1024, 1024, generator=torch.Generator().manual_seed(0))
    factor = (bicubic_downsample(noise, 4)[..., 4:-4, 4:-4].var() / noise.var()).item()
    assert factor == pytest.approx(0.041, rel=0.03)
    assert sum(tap**2 for tap in bicubic_taps(4)) ** 2 == pytest.approx(factor, rel=0.02)


def test_keeps_a_constant_up_to_the_border():
    image = torch.full((1, 1, 8, 12), 0.7)
    torch.testing.assert_close(bicubic_downsample(image, 4), torch.full((1, 1, 2, 3), 0.7))


def test_is_float32_under_autocast_and_keeps_half_types():
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bicubic_downsample(image, 4), bicubic_downsample(image, 4).float())
        under = bicubic_downsample(image, 4)
    assert torch.equal(under, bicubic_downsample(image, 4))
    assert bicubic_downsample(image.bfloat16(), 4).dtype == torch.bfloat16


@pytest.mark.parametrize("scale", [0, 3, -2])
def test_refuses_a_scale_without_a_symmetric_grid(scale):
    with pytest.raises(InputError, match=f"found {scale};"):
        bicubic_downsample(torch.zeros(1, 1, 12, 12), scale)
