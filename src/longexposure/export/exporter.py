"""Exporting: a model as an ONNX file or in OpenVINO's own format, for engines that know nothing of torch.

Before anything is written, every installed engine that reads the format must give what torch gives, on seeded
tiles of several sizes and on whole images of odd sizes.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from longexposure.engines.base import ENGINES, Engine, Unit
from longexposure.engines.choice import check_installed, open_exported
from longexposure.engines.exported import COUNTS, MOST_COUNTS, Exported, Probe
from longexposure.engines.torch import TorchEngine
from longexposure.enhance.enhancer import Enhancer
from longexposure.errors import CheckpointError, OutputError, ResourceError, as_choice, as_path
from longexposure.export.compact import referring, rounded
from longexposure.io.writing import refuse_existing, write_together
from longexposure.models.checkpoint import Header, Weights, checkpoint_bytes, read_checkpoint, sha256_of
from longexposure.models.networks import Network, restore_network
from longexposure.models.registry import CLASSICAL, find_weights
from longexposure.noise import NOISE_CONDITION, NoiseProfile
from longexposure.system import kept_private, require

Format = Literal["onnx", "openvino"]
SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}

OPSET = 20
"""Version of ONNX's set of operators."""
PROBES = (((1, 64, 72), 0.05), ((2, 24, 28), 0.15))
"""Sizes, at least, and noise of the tiles by which engines are judged when they are loaded."""
MOST_ROUNDED = 0.01
"""What float16 may change, rms, as a fraction of the error that a model leaves: that is 0.0004 dB."""
CHECKED_TILES = ((3, 1, 1), (2, 20, 44), (1, 260, 196))
"""Batch, and least height and width, of the tiles checked before writing; rounded up to the size multiple."""
CHECKED_IMAGES = ((1, 1), (3, 5), (37, 53), (203, 157))
"""Sizes of the images checked before writing, through the whole enhance path."""

INPUTS = {
    "image": (
        "float32 (batch, 1, height, width), height and width multiples of {multiple}: grey values g as "
        "a * g + b, with a and b such that the 1st percentile of the whole image becomes 0 and the 99th 1; "
        "values beyond stay beyond. An image in tiles needs a border of {halo} pixels round every tile."
    ),
    "noise": (
        "float32 (batch, 5), about the noise in the same units: its standard deviation s at 0.5; "
        "(log2(s) + 6) / 6; change of its variance per unit of signal, divided by 2 s^2 and cut to -1..1; "
        "correlation of neighbouring pixels along a row; the same along a column."
    ),
}
OUTPUTS = {"enhanced": "float32, as image; the enhanced grey value is g + (enhanced - image) / a."}


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        files: the ONNX file, the JSON beside it and a compact checkpoint, or the two of OpenVINO's format.
        weights_sha256: SHA-256 of the checkpoint, the compact one where it was written.
        largest: by engine and version, the largest difference from torch in f32, in counts of 65535.
        rounded_by: what rounding the weights changed, rms, as a fraction of the error that the model leaves;
            0 where they were not rounded.
    """

    files: tuple[Path, ...]
    weights_sha256: str
    largest: Mapping[str, float]
    rounded_by: float = 0.0


def export(
    model: str | Path,
    out: Path,
    *,
    format: Format = "onnx",  # noqa: A002
    compact: bool = False,
    overwrite: bool = False,
) -> Export:
    """Write a model for other engines; the enhance path finds `name.onnx` beside `name.safetensors`.

    Args:
        model: a name, a .safetensors file or the folder of a run, as for `load_enhancer`.
        out: the file, .onnx or .xml; beside an .onnx comes a .json, beside an .xml a .bin.
        format: "onnx" or "openvino".
        compact: write a checkpoint of this name too, with the weights rounded to float16, which the ONNX
            file refers to: the model that they are from then on.
        overwrite: replace files that exist.

    Raises:
        CheckpointError: no such model, one without weights, or one that ONNX cannot express.
        OutputError: the name does not fit, is taken, or the file cannot be written.
        ResourceError: a package is missing, or an engine's results are not torch's.
    """
    as_choice(format, where="format", choices=tuple(SUFFIXES))
    targets = _targets(as_path(out, where="out", error=OutputError), format=format, compact=compact)
    for target in targets:
        refuse_existing(target, overwrite=overwrite)
    check_can_convert()
    if format == "openvino" or not ENGINES["onnx"].installed:
        check_installed("openvino")  # to check what is written
    path = checkpoint_of(model)
    if path.resolve() in [target.resolve() for target in targets]:
        raise OutputError(
            where=str(out),
            expected="another name or folder than that of the checkpoint, which stays as it is",
            found=f"{path} itself",
            advice="choose another --out",
        )
    header, weights = read_checkpoint(path)
    network = restore_network(header, weights, where=str(path))
    checkpoint, weights_sha256, rounded_by = b"", sha256_of(path), 0.0
    if compact:
        halves = rounded(weights, where=str(path))
        checkpoint = checkpoint_bytes(halves, header)
        weights_sha256 = sha256(checkpoint).hexdigest()
        whole, network = network, restore_network(header, _in_single(halves), where=str(path))
        rounded_by = _apart(whole, network, where=str(path))
    exported = convert(network, header, weights_sha256=weights_sha256, where=str(model))
    if format == "openvino":
        contents, largest = _in_openvino_format(exported, network)
    elif compact:
        contents, largest = _beside_checkpoint(exported, network, checkpoint, targets)
    else:
        contents, largest = [exported.content, exported.as_json()], _checked(exported, network)
    write_together(dict(zip(targets, contents, strict=True)), overwrite=overwrite, parents=True)
    return Export(
        files=targets, weights_sha256=exported.weights_sha256, largest=largest, rounded_by=rounded_by
    )


def _in_single(halves: Weights) -> Weights:
    return {name: tensor.astype(np.float32) for name, tensor in halves.items()}


def _apart(whole: Network, rounded: Network, *, where: str) -> float:
    """How far rounding takes a model, rms, as a fraction of the error that it leaves.

    Raises:
        CheckpointError: more than `MOST_ROUNDED`.
    """
    fractions = []
    for seed, (shape, sigma) in enumerate(PROBES):
        clean, tile, condition = probe_scene(on_grid(shape, whole.spec.size_multiple), sigma=sigma, seed=seed)
        before, after = (TorchEngine(each, device="cpu").run(tile, condition) for each in (whole, rounded))
        left = float(np.square(before - clean).mean())
        fractions.append(float(np.square(after - before).mean() / max(left, 1e-20)) ** 0.5)
    if not max(fractions) <= MOST_ROUNDED:
        raise CheckpointError(
            where=where,
            expected=f"a model of which float16 changes at most {MOST_ROUNDED:.0%} of the error it leaves",
            found=f"{max(fractions):.2g}",
            advice="export the model without --compact",
        )
    return max(fractions)


def _targets(out: Path, *, format: Format, compact: bool) -> tuple[Path, ...]:  # noqa: A002
    """The files to be written (raises OutputError where the name or the options do not fit)."""
    if out.suffix.lower() != SUFFIXES[format]:
        raise OutputError(
            where=str(out),
            expected=f"a name that ends in {SUFFIXES[format]} for --format {format}",
            found=repr(out.suffix),
            advice="choose such a name",
        )
    if compact and format != "onnx":
        raise OutputError(
            where="--compact",
            expected="--format onnx",
            found=format,
            advice="leave one of them out; OpenVINO reads ONNX files too",
        )
    beside = [".json", ".safetensors"] if compact else [".json" if format == "onnx" else ".bin"]
    return out, *(out.with_suffix(suffix) for suffix in beside)


def _checked(exported: Exported, network: Network) -> dict[str, float]:
    """The largest difference from torch by engine (raises ResourceError where it is too large)."""
    names = [name for name in ("openvino", "onnx") if ENGINES[name].installed]
    return {name: check_export(open_exported(name, exported), network) for name in names}


def _beside_checkpoint(
    exported: Exported, network: Network, checkpoint: bytes, targets: tuple[Path, ...]
) -> tuple[list[bytes], dict[str, float]]:
    """ONNX file, JSON and checkpoint, checked as they will lie, and the differences."""
    onnx_file, _, weights = (target.name for target in targets)
    content = referring(exported.content, checkpoint, name=weights)
    exported = replace(exported, content=content, weights_in=weights)
    contents = [content, exported.as_json(), checkpoint]
    with tempfile.TemporaryDirectory() as folder:
        for target, text in zip(targets, contents, strict=True):
            (Path(folder) / target.name).write_bytes(text)
        largest = _checked(replace(exported, where=str(Path(folder) / onnx_file)), network)
    return contents, largest


def _in_openvino_format(exported: Exported, network: Network) -> tuple[list[bytes], dict[str, float]]:
    """The .xml and .bin, checked, and the differences."""
    import onnx

    from longexposure.engines.openvino import OpenVinoEngine, read_graph, written_graph

    graph = read_graph(exported.content)
    for entry in onnx.load_from_string(exported.content).metadata_props:
        graph.set_rt_info(entry.value, entry.key.split("."))
    contents = list(written_graph(graph))
    engine = OpenVinoEngine(exported, graph=read_graph(*contents))
    return contents, {"openvino": check_export(engine, network)}


def convert(network: Network, header: Header, *, weights_sha256: str, where: str) -> Exported:
    """A network as an ONNX file, which says in its metadata what another program must know, not yet checked.

    Args:
        network: with its weights.
        header: of the checkpoint.
        weights_sha256: of the checkpoint.
        where: the model's name, for messages.

    Raises:
        CheckpointError: ONNX cannot express the network.
    """
    import onnx

    from longexposure import __version__

    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # the exporter reports on its own inner workings
    try:
        with kept_private(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proto = _traced(network)
            onnx.checker.check_model(proto)
    except Exception as error:
        raise CheckpointError(
            where=where,
            expected="a network that ONNX can express for any batch, height and width",
            found=str(error).strip().split("\n")[0][:200] or type(error).__name__,
            advice="use the torch engine for this model",
        ) from error
    finally:
        log.setLevel(level)
    graph, spec = proto.graph, network.spec
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph):
        del part.metadata_props[:]  # where in the source each node came from: it names folders of this host
        part.doc_string = ""
    numbers = {"multiple": spec.size_multiple, "halo": spec.halo}
    texts = {
        "weights_sha256": weights_sha256,
        "spec": json.dumps(asdict(spec), sort_keys=True),
        "version": __version__,
        "summary": header.summary,
        "trained_on": header.trained_on,
        "licence": header.licence,
        "inputs": json.dumps({name: text.format(**numbers) for name, text in INPUTS.items()}),
        "outputs": json.dumps(OUTPUTS),
        "header": header.model_dump_json(),
    }
    onnx.helper.set_model_props(proto, {f"longexposure.{name}": text for name, text in texts.items()})
    proto.doc_string = header.summary
    engine = TorchEngine(network, device="cpu")
    probes = []
    for seed, (shape, sigma) in enumerate(PROBES):
        clean, tile, noise_condition = probe_scene(on_grid(shape, spec.size_multiple), sigma=sigma, seed=seed)
        expected = engine.run(tile, noise_condition)
        left = float(np.sqrt(np.square(expected - clean).mean()))
        probes.append(Probe(tile, noise_condition, expected, error_left=left))
    return Exported(
        content=proto.SerializeToString(deterministic=True),
        where=where,
        weights_sha256=weights_sha256,
        spec=spec,
        probes=tuple(probes),
    )


def _traced(network: Network) -> Any:
    """The graph, for any batch and any height and width on the network's grid."""
    multiple = network.spec.size_multiple
    batch, rows, columns = (torch.export.Dim(name, min=1) for name in ("batch", "rows", "columns"))
    height, width = (multiple * rows, multiple * columns) if multiple > 1 else (rows, columns)
    shape = on_grid((2, 64, 72), multiple)
    image = torch.rand(shape[0], 1, *shape[1:])
    program = torch.onnx.export(
        network.eval(),
        (image, torch.full((shape[0], len(NOISE_CONDITION)), 0.1)),
        dynamic_shapes=({0: batch, 2: height, 3: width}, {0: batch}),
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None  # noqa: S101 (only for dynamo=False)
    return program.model_proto


def check_export(engine: Engine, network: Network) -> float:
    """Hold an engine to torch in f32 on seeded tiles and on images of odd sizes.

    Returns:
        The largest difference on the tiles, in counts of 65535.

    Raises:
        ResourceError: more than one count.
    """
    torch_engine = TorchEngine(network, device="cpu")
    random = np.random.default_rng(0)
    differences = []
    for batch, height, width in CHECKED_TILES:
        shape = on_grid((batch, height, width), network.spec.size_multiple)
        _, tile, noise_condition = probe_scene(shape, sigma=float(random.uniform(0.01, 0.3)), seed=height)
        found = engine.run(tile, noise_condition).astype(np.float64) - torch_engine.run(tile, noise_condition)
        differences.append(COUNTS * float(np.abs(found).max()))
    for height, width in CHECKED_IMAGES:
        tile = probe_scene((1, height, width), sigma=0.05, seed=width)[1][0]
        image = np.rint(np.clip(20000 + 20000 * tile, 0, COUNTS)).astype(np.uint16)
        ours = Enhancer(engine, name="checked").enhance(image).astype(int)
        apart = np.abs(ours - Enhancer(torch_engine, name="torch").enhance(image)).max()
        if apart > MOST_COUNTS:  # one count apart may be a hair apart before rounding
            differences.append(float(apart))
    if not max(differences) <= MOST_COUNTS:
        raise ResourceError(
            where=type(engine).__name__,
            expected=f"the results of torch in f32 within {MOST_COUNTS:g} count of {COUNTS}",
            found=f"{max(differences):.3g}",
            advice="nothing was written; use the torch engine for this model",
        )
    return max(differences)


def probe_scene(shape: tuple[int, int, int], *, sigma: float, seed: int) -> tuple[Unit, Unit, Unit]:
    """Chequers, shading and discs (B, H, W) without and with white noise, and its noise condition (5,)."""
    random = np.random.default_rng(seed)
    _, height, width = shape
    y, x = np.mgrid[:height, :width].astype(float)
    clean = np.empty(shape)
    for page in clean:
        page[...] = 0.3 + 0.2 * ((y // 9 + x // 14) % 2) + 0.2 * x / width
        for _ in range(6):
            at_y, at_x, radius = random.uniform((0, 0, 2), (height, width, 9))
            inside = 0.5 - 0.5 * np.tanh(np.hypot(y - at_y, x - at_x) - radius)
            page += 0.15 * random.choice((-1, 1)) * inside
    noisy = clean + random.normal(0, sigma, shape)
    noise_condition = NoiseProfile(level=0.5, sigma=sigma).noise_condition()
    return clean.astype(np.float32), noisy.astype(np.float32), noise_condition


def on_grid(shape: tuple[int, int, int], multiple: int) -> tuple[int, int, int]:
    """Batch, and height and width rounded up to multiples."""
    batch, height, width = shape
    return batch, -(-height // multiple) * multiple, -(-width // multiple) * multiple


def checkpoint_of(model: str | Path) -> Path:
    """The checkpoint of a network by name, file or run.

    Raises:
        CheckpointError: no such network.
    """
    if str(as_path(model, where="model", error=CheckpointError)) in CLASSICAL:
        raise CheckpointError(
            where=str(model),
            expected="a network with weights",
            found="a classical filter",
            advice="choose a network that `longexposure models` lists, or a checkpoint",
        )
    return find_weights(model)


def check_can_convert() -> None:
    """Make sure that the packages are there that turn a network into ONNX.

    Raises:
        ResourceError: they are not.
    """
    require("onnx", "onnxscript", where="export")
