"""The torch engine: eager PyTorch on the CPU or a CUDA device."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from longexposure.engines.base import EngineInfo, Unit
from longexposure.engines.forks import check_not_forked
from longexposure.errors import ResourceError
from longexposure.models.base import ModelSpec
from longexposure.models.networks import Network

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "f32", "bf16"]


class TorchEngine:
    """A network on a device in a precision.

    f32 is exact single precision (no TF32). bf16 computes the convolutions in bfloat16 and adds the
    correction in float32. "auto" chooses cuda where there is one, and f32: enhancement commutes with a
    rescaling of the grey values to the last count only there.
    """

    def __init__(
        self, network: Network, *, device: Device | torch.device = "auto", precision: Precision = "auto"
    ) -> None:
        self.device = device if isinstance(device, torch.device) else choose_device(device)
        self.precision: Literal["f32", "bf16"] = "f32" if precision == "auto" else precision
        self._network = network.eval().to(self.device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def spec(self) -> ModelSpec:
        spec: ModelSpec = self._network.spec
        return spec

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("torch", str(torch.__version__), self.device.type, self.precision)

    def run(self, tile: Unit, noise_condition: Unit) -> Unit:
        """See `Engine.run`."""
        check_not_forked("torch")
        image = torch.tensor(np.ascontiguousarray(tile), device=self.device)[:, None]
        conditions = torch.tensor(np.tile(noise_condition, (len(tile), 1)), device=self.device)
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            output = self._network(image.contiguous(memory_format=torch.channels_last), conditions)
        result: Unit = output[:, 0].float().cpu().numpy()
        return result


def choose_device(device: Device) -> torch.device:
    """The torch device of a name.

    Raises:
        ResourceError: cuda is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ResourceError(
            where="--device cuda",
            expected="a CUDA device and a torch that was built for it",
            found="none",
            advice="use --device auto or cpu",
        )
    return torch.device("cuda" if available and device != "cpu" else "cpu")
