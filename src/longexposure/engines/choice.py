"""Loading a checkpoint into an engine: the one that is asked for, or the one that a fixed rule chooses."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from longexposure.engines.base import ENGINES, Engine
from longexposure.engines.exported import Exported, check_parity, exported_path, find_exported
from longexposure.engines.forks import check_not_forked
from longexposure.errors import CheckpointError, LongExposureError, RecipeError, ResourceError
from longexposure.models.checkpoint import read_checkpoint, read_header, sha256_of
from longexposure.system import installing, is_out_of_memory

logger = logging.getLogger(__name__)


def load_engine(
    checkpoint: Path, *, engine: str = "auto", device: str = "auto", precision: str = "auto"
) -> Engine:
    """Load a checkpoint into an engine.

    "auto" is a rule and not a race, so that the same host gives the same bytes every time: torch where
    CUDA is asked for or there, and where the checkpoint has no exported file; else the first of `ENGINES`
    that is installed, computes in the precision and passes the parity gate. A GPU that nobody asked for and
    that has no room, or does not pass the gate, is left out in a line.

    Args:
        checkpoint: the .safetensors file.
        engine: "auto" or a name of `ENGINES`.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "f32" or "bf16"; auto is f32.

    Raises:
        CheckpointError: damaged weights, or no exported file of them for an engine that was asked for.
        ResourceError: an engine or device that is not there, has no room or does not pass the gate.
        RecipeError: an engine that cannot compute there or so.
    """
    read_header(checkpoint)
    wanted = "f32" if precision == "auto" else precision
    loaded: Engine | None = None
    if engine == "auto":
        loaded = None if _cuda(device) else _first_that_passes(checkpoint, wanted)
    else:
        loaded = _asked_for(engine, checkpoint, device, wanted)
    if loaded is None:
        try:
            loaded = _load_torch(checkpoint, device, wanted)
        except ResourceError as error:
            if device != "auto" or not _cuda(device):
                raise
            logger.warning("the GPU is left out: %s", error)
            return load_engine(checkpoint, engine=engine, device="cpu", precision=precision)
    if loaded.info:
        logger.info("computing with %s", " ".join(vars(loaded.info).values()))
    return loaded


def open_exported(name: str, exported: Exported, precision: str = "f32") -> Engine:
    """Load an exported model into an engine, which proves itself on the model's probes.

    Args:
        name: "openvino" or "onnx".
        exported: the model.
        precision: one that the engine offers.

    Raises:
        CheckpointError: a graph that the engine cannot compute.
        ResourceError: the engine cannot be imported, has no room, or its results are not torch's.
    """
    try:
        if name == "openvino":
            from longexposure.engines.openvino import OpenVinoEngine

            return OpenVinoEngine(exported, precision=precision)  # type: ignore[arg-type]
        from longexposure.engines.onnx import OnnxEngine

        return OnnxEngine(exported)
    except LongExposureError:
        raise
    except ImportError as error:
        raise _not_there(name, str(error)) from error
    except Exception as error:  # of the engine's own kinds
        if is_out_of_memory(error):
            raise _no_room(f"engine {name}") from error
        raise CheckpointError(
            where=exported.where,
            expected=f"a graph that {name} can compute",
            found=str(error).strip().split("\n")[0],
            advice="export the model anew, or use --engine torch",
        ) from error


def check_installed(name: str) -> None:
    """Make sure that an engine's package is there.

    Raises:
        ResourceError: it is not.
    """
    if not ENGINES[name].installed:
        raise _not_there(name, "none")


def _asked_for(engine: str, checkpoint: Path, device: str, precision: str) -> Engine | None:
    """An engine by name, if it can compute there and so; None for torch, which needs no exported file."""
    check_installed(engine)
    offers = {"device": (device, ("auto", *ENGINES[engine].devices))}
    offers["precision"] = precision, ENGINES[engine].precisions
    for name, (value, offered) in offers.items():
        if value not in offered:
            raise RecipeError(
                where=f"--{name} {value}",
                expected=f"{' or '.join(offered)} with --engine {engine}",
                found=value,
                advice="choose one of these, or --engine torch",
            )
    if engine == "torch":
        return None
    exported = find_exported(checkpoint, sha256_of(checkpoint))
    if exported is None:
        target = exported_path(checkpoint)
        raise CheckpointError(
            where=f"--engine {engine}",
            expected=f"{target}, exported from these weights",
            found="a file of other weights" if target.exists() else "none",
            advice=f"run `longexposure export {checkpoint} --out {target} --overwrite`, or use torch",
        )
    return open_exported(engine, exported, precision)


def _first_that_passes(checkpoint: Path, precision: str) -> Engine | None:
    """The first engine other than torch that can be used; one left out for a fault is named in a line."""
    able = [name for name, kind in ENGINES.items() if kind.installed and precision in kind.precisions]
    able = [name for name in able if name != "torch"]
    try:
        exported = find_exported(checkpoint, sha256_of(checkpoint)) if able else None
    except CheckpointError as error:
        logger.warning("computing with torch: %s", error)
        return None
    for name in able if exported is not None else ():
        check_not_forked(name)  # or a worker would compute with another engine than its parent
        try:
            if exported is not None:
                return open_exported(name, exported, precision)
        except LongExposureError as error:
            logger.warning("engine %s is left out: %s", name, error)
    return None


def _load_torch(checkpoint: Path, device: str, precision: str) -> Engine:
    """torch, held to the parity gate, if there are probes, but on the CPU in f32, which defines the gate."""
    if not ENGINES["torch"].installed:
        raise _not_there("torch", "none") if device == "cuda" else _no_engine(checkpoint, precision)
    from longexposure.engines.torch import TorchEngine
    from longexposure.models.networks import restore_network

    check_not_forked("torch")
    try:
        header, weights = read_checkpoint(checkpoint)
        network = restore_network(header, weights, where=str(checkpoint))
        engine = TorchEngine(network, device=device, precision=precision)  # type: ignore[arg-type]
        if (engine.device.type, engine.precision) != ("cpu", "f32"):
            try:
                exported = find_exported(checkpoint, sha256_of(checkpoint))
            except CheckpointError:  # a damaged file is reported where it would be used
                exported = None
            if exported is not None:
                check_parity(engine, exported)
        return engine
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise _no_room("engine torch") from error
        raise


def _cuda(device: str) -> bool:
    """Whether CUDA is asked for or there; torch is loaded for the answer only where a driver is."""
    if device != "auto":
        return device == "cuda"
    drivers = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg", "/dev/kfd")
    if not ENGINES["torch"].installed or (os.name == "posix" and not any(map(os.path.exists, drivers))):
        return False
    from longexposure.engines.torch import choose_device

    return choose_device("auto").type == "cuda"


def _not_there(engine: str, found: str) -> ResourceError:
    kind = ENGINES[engine]
    return ResourceError(
        where=f"--engine {engine}",
        expected=f"the package {kind.package}",
        found=found,
        advice=f"run {installing(kind.package)}, or use --engine auto",
    )


def _no_engine(checkpoint: Path, precision: str) -> ResourceError:
    """No engine but torch can compute a checkpoint here, and torch is not there."""
    target, able = exported_path(checkpoint), [k for k in ENGINES.values() if precision in k.precisions]
    if not target.is_file():
        expected, found = f"{target} beside it, or the package torch", "neither"
        advice = f"run `longexposure export {checkpoint} --out {target}` where it was trained, or here "
    else:
        packages = " or ".join(kind.package for kind in able)
        expected, found = f"an engine that computes it in {precision} ({packages})", "none that can be used"
        advice = "run "
    return ResourceError(
        where=str(checkpoint),
        expected=expected,
        found=found,
        advice=advice + " or ".join(installing(kind.package) for kind in able if not kind.installed),
    )


def _no_room(where: str) -> ResourceError:
    return ResourceError(
        where=where,
        expected="memory for the model",
        found="none left",
        advice="close other programs, or use --device cpu or a smaller model",
    )
