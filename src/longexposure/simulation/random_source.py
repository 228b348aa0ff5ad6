"""Random numbers on NumPy or PyTorch, and the few array functions that differ between the two.

A detector is written once, for arrays of either kind. It takes its random numbers from a `RandomSource`,
which makes them of the kind and on the device of its generator, and calls through `namespace` only functions
that NumPy and PyTorch both have, by the same name and with the same positional arguments.

Poisson numbers are exact at every mean: NumPy and PyTorch both draw one in 25 to 60 ns on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

Array: TypeAlias = Any
"""np.ndarray or torch.Tensor, float32 unless said otherwise; all arrays of one call are of one kind."""
Shape = tuple[int, ...]


class RandomSource(Protocol):
    """A stream of random numbers; equal seeds give equal bits on one kind of array and one device."""

    def poisson(self, mean: Array) -> Array:
        """Whole numbers as float32, of the shape of `mean` (0 or more); exact at every mean."""

    def normal(self, shape: Shape) -> Array:
        """Standard normal numbers, float32."""

    def array(self, values: Any) -> Array:
        """A NumPy array or number as an array of this kind, on this device: float32, or int64 for indices."""

    def host(self) -> np.random.Generator:
        """A NumPy generator seeded from this stream, for what is drawn once and in small numbers."""


class NumpyRandom:
    """Random numbers of a NumPy generator, or of a new one with this seed."""

    def __init__(self, source: np.random.Generator | int | Sequence[int]) -> None:
        self.generator = np.random.default_rng(source)

    def poisson(self, mean: Array) -> Array:
        return np.asarray(self.generator.poisson(mean), dtype=np.float32)

    def normal(self, shape: Shape) -> Array:
        return self.generator.standard_normal(shape, dtype=np.float32)

    def array(self, values: Any) -> Array:
        found = np.asarray(values)
        return found.astype(np.int64 if found.dtype.kind in "iu" else np.float32)

    def host(self) -> np.random.Generator:
        return np.random.default_rng(int(self.generator.integers(2**62)))


class TorchRandom:
    """Random numbers of a PyTorch generator, on its device."""

    def __init__(self, generator: torch.Generator) -> None:
        import torch  # here, so that simulating on arrays does not wait for it

        self.torch, self.generator = torch, generator

    def poisson(self, mean: Array) -> Array:
        return self.torch.poisson(mean, generator=self.generator)

    def normal(self, shape: Shape) -> Array:
        return self.torch.randn(
            shape, generator=self.generator, device=self.generator.device, dtype=self.torch.float32
        )

    def array(self, values: Any) -> Array:
        return self.torch.as_tensor(NumpyRandom(0).array(values), device=self.generator.device)

    def host(self) -> np.random.Generator:
        seed = self.torch.randint(0, 2**62, (), generator=self.generator, device=self.generator.device)
        return np.random.default_rng(int(seed))


def namespace(array: Array) -> Any:
    """The module, numpy or torch, whose functions work on this array."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def floats(array: Array) -> Array:
    """The array as float32; itself where it is that already, so do not write into it."""
    if isinstance(array, np.ndarray):
        return array.astype(np.float32, copy=False)
    return array.float()


def as_numpy(array: Array) -> Array:
    """The array as NumPy, copied from the device where there is one."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()
