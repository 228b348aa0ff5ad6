"""The networks by kind: one config type that recipes and checkpoints share, and what it builds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch.nn.modules.module import register_module_parameter_registration_hook

from longexposure.errors import CheckpointError
from longexposure.models.checkpoint import Header, Weights
from longexposure.models.dncnn import DnCNN, DnCNNConfig
from longexposure.models.edcnn import EDCNN, EDCNNConfig
from longexposure.models.fast import Fast, FastConfig
from longexposure.models.framework import Framework, FrameworkConfig
from longexposure.models.nafnet import NAFNet, NAFNetConfig
from longexposure.models.unet import UNet, UNetConfig

AnyConfig = FastConfig | UNetConfig | FrameworkConfig | EDCNNConfig | NAFNetConfig | DnCNNConfig
NetworkConfig = Annotated[AnyConfig, Field(discriminator="kind")]
Network = Fast | UNet | Framework | EDCNN | NAFNet | DnCNN

_CONFIG: TypeAdapter[AnyConfig] = TypeAdapter(NetworkConfig)
CLASSES: dict[type, Callable[[Any], Network]] = {
    FastConfig: Fast,
    UNetConfig: UNet,
    FrameworkConfig: Framework,
    EDCNNConfig: EDCNN,
    NAFNetConfig: NAFNet,
    DnCNNConfig: DnCNN,
}
"""What each config builds."""

_SMALL = 5 * 2**20
"""So many weights more than are stored cost nothing."""


def build_network(config: AnyConfig) -> Network:
    """An untrained network; its weights follow torch's global seed."""
    return CLASSES[type(config)](config)


def parse_config(values: Mapping[str, Any]) -> AnyConfig:
    """The config that a checkpoint's header holds (raises pydantic's ValidationError)."""
    return _CONFIG.validate_python(values)


@contextlib.contextmanager
def _at_most(weights: int) -> Iterator[None]:
    """Stop this thread from building a network of more weights, before memory is touched for them."""
    thread, left = threading.get_ident(), weights

    def count(module: object, name: str, parameter: torch.nn.Parameter | None) -> None:
        nonlocal left
        if parameter is not None and threading.get_ident() == thread:
            left -= parameter.numel()
            if left < 0:
                raise RuntimeError(f"more than {weights} weights described, far more than there are")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def restore_network(header: Header, weights: Weights, *, where: str) -> Network:
    """The network that a checkpoint describes, with its weights, ready for inference.

    Raises:
        CheckpointError: unknown kind, or weights that do not fit the config.
    """
    try:
        most = 2 * sum(array.size for array in weights.values()) + _SMALL  # what does not fit is named below
        with torch.random.fork_rng(devices=[]), _at_most(most):  # meta tensors would cost a second more
            network = build_network(parse_config(header.model))
        tensors = {name: torch.tensor(array, dtype=torch.float32) for name, array in weights.items()}
        network.load_state_dict(tensors, assign=True)
    except (ValidationError, RuntimeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = " ".join(lines[1:3] or lines)[:300]  # the first is only a title
        raise CheckpointError(
            where=where,
            expected="the weights of a network that this version knows",
            found=f"{reason} (header: {header.model})",
            advice="use the version of longexposure that wrote it, or train it anew",
        ) from error
    damaged = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if damaged:
        raise CheckpointError(
            where=where,
            expected="finite weights",
            found=f"NaN or infinity in {len(damaged)} of {len(tensors)} tensors, the first {damaged[0]}",
            advice="copy the file again, or train it anew with a lower learning rate",
        )
    return network.eval()
