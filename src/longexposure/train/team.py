"""The team of processes that share one training: each computes a part of a step, all take the same step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn

from longexposure.errors import RecipeError, ResourceError

PATIENCE = timedelta(hours=12)
"""How long the others wait for a process: the first one validates and writes alone. One that ends is noticed
at once, by the others or by who started them."""


class PartnerError(ResourceError):
    """Another process of the team has ended, and its own error says why."""


@dataclass(frozen=True)
class Team:
    """Which of how many processes this one is; the default is a training in one process.

    Attributes:
        rank: number of this process; 0 leads: it alone writes, validates and reports.
        size: number of processes.
        local_rank: number of this process among those on this machine, which is the number of its GPU.
        meeting: file over which the processes find each other; None is as torchrun's environment says.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    meeting: Path | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes, validates and reports."""
        return self.rank == 0

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Be connected to the others, over NCCL between GPUs and over Gloo between CPUs.

        Raises:
            PartnerError: another process is gone.
        """
        if self.size == 1:
            yield
            return
        store = None
        if self.meeting is not None:
            store = distributed.FileStore(str(self.meeting), self.size)  # type: ignore[attr-defined]
        with _partners():
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=store,
                rank=self.rank,
                world_size=self.size,
                timeout=PATIENCE,
            )
        try:
            yield
        except Exception:  # the others are gone, or wait for what will not come: to part would take them
            raise
        except BaseException:
            distributed.destroy_process_group()
            raise
        distributed.destroy_process_group()

    def wait(self) -> None:
        """Go on when all others have come here too."""
        if self.size > 1:
            with _partners():
                distributed.barrier()

    def strongest(self, number: int, device: torch.device) -> int:
        """The largest of the numbers that the processes bring."""
        if self.size == 1:
            return number
        found = torch.tensor(number, device=device)
        with _partners():
            distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows (B, ...) of all processes, each with equally many, first those of the first process."""
        if self.size == 1:
            return rows
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        with _partners():
            distributed.all_gather(parts, rows)
        return torch.cat(parts)

    def average(
        self, network: nn.Module, loss: torch.Tensor, terms: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Average the gradients, in place, and the loss with its terms; all processes get the same bits.

        Losses are means over patches and all parts of a step have one size, so these are loss and gradient of
        the whole step.
        """
        if self.size == 1:
            return loss, terms
        gradients = [weights.grad for weights in network.parameters() if weights.grad is not None]
        numbers = torch.stack([loss.detach(), *terms.values()])
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), numbers])
        with _partners():
            distributed.all_reduce(flat)
        flat /= self.size
        lengths = [*(gradient.numel() for gradient in gradients), len(numbers)]
        pieces: tuple[torch.Tensor, ...] = torch.split(flat, lengths)
        for gradient, piece in zip(gradients, pieces, strict=False):
            gradient.copy_(piece.view_as(gradient))
        mean, *others = pieces[-1]
        return mean, dict(zip(terms, others, strict=True))


def team_of_environment() -> Team | None:
    """The team that torchrun put this process into, by its RANK, WORLD_SIZE and LOCAL_RANK; None without it.

    Raises:
        ResourceError: one of them is no number.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None
    told = {name: os.environ.get(name, "0") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    try:
        rank, size, local_rank = map(int, told.values())
    except ValueError as error:
        raise ResourceError(
            where="the environment",
            expected="numbers in RANK, WORLD_SIZE and LOCAL_RANK, as torchrun sets them",
            found=str(told),
            advice="start the training with torchrun, or unset these variables",
        ) from error
    return Team(rank=rank, size=size, local_rank=local_rank)


def leads_here() -> bool:
    """Whether this process is the one that talks to people: the first of torchrun's, or the only one."""
    team = team_of_environment()
    return team is None or team.leads


def check_divides(batch: int, size: int) -> None:
    """Refuse a batch that so many processes cannot share evenly.

    Raises:
        RecipeError: as said.
    """
    if batch % size:
        lower = max(batch // size, 1) * size
        raise RecipeError(
            where="optimiser.batch",
            expected=f"a multiple of the {size} devices that fraction it",
            found=str(batch),
            advice=f"use {lower} or {lower + size}, or another number of devices",
        )


@contextmanager
def _partners() -> Iterator[None]:
    """Say it in words where a collective call fails because another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise PartnerError(
            where="training on several devices",
            expected="all processes to go on",
            found=f"one that ended ({str(error).splitlines()[0]})",
            advice="its own error says why; then go on with --resume",
        ) from error
