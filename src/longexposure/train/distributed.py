"""A training on several devices: one process each, which take every step together.

`optimiser.batch` is the batch of a step over all of them. Each process takes an equal part of its patches;
torch's DistributedDataParallel averages the gradients, so that they give what one device gives. The process
that was called computes nothing: it starts the others, passes on what the primary one reports, hands them a
signal that it gets, and ends all where one of them ends early. Under torchrun this process is one of them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import Pipe, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import ProcessException, start_processes
from torch.nn.parallel import DistributedDataParallel

from longexposure.errors import LongExposureError, RecipeError, ResourceError
from longexposure.system import is_out_of_memory
from longexposure.train.signals import STOPS, Signals, raise_signal

TIMEOUT = timedelta(hours=12)
"""How long the others wait for a process: the primary one validates and writes alone. One that ends is
noticed at once, by the others or by who started them."""
POLL_S = 0.1
GRACE_S = 30.0
"""How long processes may take to end by themselves after one of them has."""
_OPENED: list[Any] = []
"""The groups of this process stay referenced. Where DistributedDataParallel's reducer frees the last
reference, it holds Python's lock and waits for a thread of Gloo that may want it, for ever (torch 2.13)."""


class PartnerError(ResourceError):
    """Another process of the group has ended, and its own error says why."""


@dataclass(frozen=True)
class ProcessGroup:
    """Which of how many processes this one is; the default is a training in one process.

    Attributes:
        rank: number of this process; 0 is the primary one: it alone writes, validates and reports.
        size: number of processes.
        local_rank: number of this process among those on this host, which is the number of its GPU.
        store: file over which the processes find each other; None is as torchrun's environment says.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    store: Path | None = None

    @property
    def is_primary(self) -> bool:
        """Whether this process writes, validates and reports."""
        return self.rank == 0

    @contextmanager
    def collective(self) -> Iterator[None]:
        """Say it in words where a call that all take part in fails because another process is gone.

        Raises:
            PartnerError: in place of torch's own error.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or is_out_of_memory(error):
                raise
            raise PartnerError(
                where="training on several devices",
                expected="all processes to go on",
                found=f"one that ended ({str(error).splitlines()[0]})",
                advice="its own error says why; then go on with --resume",
            ) from error

    @contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """Be connected to the others, over NCCL between GPUs and over Gloo between CPUs.

        Raises:
            PartnerError: another process is gone.
        """
        if self.size == 1:
            yield
            return
        store = None
        if self.store is not None:
            store = distributed.FileStore(str(self.store), self.size)  # type: ignore[attr-defined]
        with self.collective():
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.size,
                timeout=TIMEOUT,
            )
        _OPENED.append(distributed.group.WORLD)
        try:
            yield
        except Exception:  # the others are gone, or wait for what will not come: to part would take them
            raise
        except BaseException:
            distributed.destroy_process_group()
            raise
        distributed.destroy_process_group()

    def parallel(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network on its device, whose gradients and batch statistics are means over all processes."""
        if self.size == 1:
            return network
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SharedBatchNorm
        with self.collective():
            return DistributedDataParallel(network.to(device))

    def barrier(self) -> None:
        """Go on when all others have come here too."""
        if self.size > 1:
            with self.collective():
                distributed.barrier()

    def gather(self, rows: Tensor) -> Tensor:
        """The rows (B, ...) of all processes, each with equally many, first those of the first process."""
        if self.size == 1:
            return rows
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        with self.collective():
            distributed.all_gather(parts, rows)
        return torch.cat(parts)


class SharedBatchNorm(nn.BatchNorm2d):
    """A batch norm in training, of a step of which each process holds equally many pixels.

    Statistics are those that one process would take; torch's SyncBatchNorm takes them on GPUs only.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (B, C, H, W); the gradient flows through the statistics into all processes."""
        values = image.float()
        mean: Tensor = _MeanOfProcesses.apply(values.mean((0, 2, 3)))  # type: ignore[no-untyped-call]
        centred = values - mean[:, None, None]
        variance: Tensor = _MeanOfProcesses.apply(centred.square().mean((0, 2, 3)))  # type: ignore[no-untyped-call]
        with torch.no_grad():
            count = values.numel() // values.shape[1] * distributed.get_world_size()
            unbiased = variance * count / max(count - 1, 1)
            for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                if running is not None:
                    running.lerp_(new, self.momentum or 0.1)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(image.dtype)


class _MeanOfProcesses(torch.autograd.Function):
    """The mean over all processes; so is the gradient, which each of them depends on."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        mean = values.clone()
        distributed.all_reduce(mean)
        return mean / distributed.get_world_size()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _MeanOfProcesses.forward(context, gradient)


def launched_group() -> ProcessGroup | None:
    """The group that torchrun put this process into, by its RANK, WORLD_SIZE and LOCAL_RANK; None without it.

    Raises:
        ResourceError: one of them is no number.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    values = {name: os.environ.get(name, "0") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    try:
        rank, size, local_rank = map(int, values.values())
    except ValueError as error:
        raise ResourceError(
            where="the environment",
            expected="numbers in RANK, WORLD_SIZE and LOCAL_RANK, as torchrun sets them",
            found=str(values),
            advice="start the training with torchrun, or unset these variables",
        ) from error
    return ProcessGroup(rank=rank, size=size, local_rank=local_rank)


def is_primary_process() -> bool:
    """Whether this process is the one that talks to people: the first of torchrun's, or the only one."""
    return (launched_group() or ProcessGroup()).is_primary


def choose_group(device: str, devices: int, *, batch: int) -> ProcessGroup:
    """This process's place under torchrun, or else a group of so many that is still to be started.

    Args:
        device: "auto", "cpu" or "cuda".
        devices: number of processes that was asked for.
        batch: patches of a step, which they share.

    Raises:
        ResourceError: other than torchrun's number, or more than there are GPUs.
        RecipeError: a batch that so many cannot share evenly.
    """
    launched = launched_group()
    gpus = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else None
    if launched is not None and devices not in (1, launched.size):
        raise ResourceError(
            where="devices",
            expected=f"{launched.size}, the processes that torchrun started",
            found=str(devices),
            advice="leave --devices out under torchrun",
        )
    if launched is None and not 1 <= devices <= (gpus or devices):
        raise ResourceError(
            where="devices",
            expected=f"1 to {gpus}, the GPUs that torch sees" if gpus else "1 or more",
            found=str(devices),
            advice="use fewer, or --device cpu",
        )
    group = launched or ProcessGroup(size=devices)
    if batch % group.size:
        lower = max(batch // group.size, 1) * group.size
        raise RecipeError(
            where="optimiser.batch",
            expected=f"a multiple of the {group.size} devices that share it",
            found=str(batch),
            advice=f"use {lower} or {lower + group.size}, or another number of devices",
        )
    return group


Report = Callable[[Any], None]
Work = Callable[[ProcessGroup, Report], None]
"""What each process does with its place in the group and with what it reports by."""


def run_processes(work: Work, *, size: int, report: Report) -> None:
    """Do a piece of work in several new processes and return when all have done it.

    SIGINT and SIGTERM are handed on; when all processes have ended, they take effect here. A second one ends
    all at once. If this process is killed, the others end as well.

    Args:
        work: can be pickled.
        size: number of processes.
        report: gets here what a process reported there.

    Raises:
        LongExposureError: the one that a process raised.
        ResourceError: a process was killed.
        RuntimeError: a process failed unexpectedly; its traceback is a note.
        KeyboardInterrupt, SystemExit: a signal asked for it.
    """
    pipes = [Pipe(duplex=False) for _ in range(size)]
    receivers, senders = ([pipe[end] for pipe in pipes] for end in (0, 1))
    errors: list[BaseException] = []
    failure: ProcessException | None = None
    with tempfile.TemporaryDirectory(prefix="longexposure-") as folder, Signals() as signals:
        group = ProcessGroup(size=size, store=Path(folder) / "store")
        threads = max(1, torch.get_num_threads() // size)
        start: Any = start_processes
        started = start(_run_one, (work, group, senders, threads), nprocs=size, join=False)
        for sender in senders:
            sender.close()
        try:
            forwarded = False
            while not started.join(timeout=POLL_S, grace_period=GRACE_S):
                errors += _receive(receivers, report)
                if signals.caught and not forwarded:
                    forwarded = True
                    for process in started.processes:
                        process.terminate()
        except ProcessException as error:
            failure = error
        finally:
            for process in started.processes:
                process.kill()
                process.join()
        errors += _receive(receivers, report)
    raise_signal(signals.caught)
    if failure is not None:
        codes = [process.exitcode for process in started.processes]
        raise _first_cause(errors, codes, first=failure.error_index)


def _receive(receivers: list[Any], report: Report) -> list[BaseException]:
    """Pass on what processes sent since the last time; their errors are returned."""
    errors = []
    for receiver in receivers:
        with suppress(EOFError, OSError):
            while receiver.poll():
                message = receiver.recv()
                if isinstance(message, BaseException):
                    errors.append(message)
                else:
                    report(message)
    return errors


def _first_cause(errors: list[BaseException], codes: list[int], *, first: int) -> BaseException:
    """What the end of all processes follows from: an error of one, a stop of one, or one that was killed.

    Args:
        errors: what processes sent before they ended.
        codes: exit code of each; below 0 the signal that killed it.
        first: the one whose end was noticed first.
    """
    for kind in (LongExposureError, RuntimeError):
        for error in errors:
            if isinstance(error, kind) and not isinstance(error, PartnerError):
                return error
    for number in STOPS:  # someone stopped one of them, and all agreed to
        if 128 + number in codes:
            raise_signal(number)
    rank = min(range(len(codes)), key=lambda rank: (codes[rank] >= 0, rank != first))
    if errors and codes[rank] >= 0:
        return errors[0]
    code = codes[rank]
    return ResourceError(
        where=f"process {rank + 1} of {len(codes)}",
        expected="a training that runs to its end",
        found=f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}",
        advice="if memory ran out, lower optimiser.batch or workers; go on from the last save with --resume",
    )


def _run_one(rank: int, work: Work, group: ProcessGroup, senders: list[Connection], threads: int) -> None:
    """What a new process does first and last. Ctrl-C reaches it too, but the one that started it decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    if loopback:  # no name needs to be resolved, no firewall opened
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    send = senders[rank].send
    try:
        work(replace(group, rank=rank, local_rank=rank), send)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except LongExposureError as error:
        with suppress(OSError):
            send(error)
        sys.exit(error.exit_code)
    except Exception as error:
        unexpected = RuntimeError(f"{type(error).__name__}: {error}")
        unexpected.add_note(traceback.format_exc())
        with suppress(OSError):
            send(unexpected)
        sys.exit(1)


def _end_with_parent() -> None:
    """End this process at once when the one that started it is gone, so that nothing goes on unseen."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
