"""Sums over the batches of an epoch, kept on the device so that training never waits to add a number."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from finespot.structures import Batch, LossTerms


class Figures:
    """Loss terms (mean over batches), counts (sums) and dropped boxes by reason, of one epoch."""

    def __init__(self) -> None:
        self.terms: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}
        self.dropped: Counter[str] = Counter()
        self.batches = self.pictures = 0
        self.started = time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    @torch.no_grad()
    def add(self, losses: LossTerms, batch: Batch) -> None:
        """Add a batch."""
        _add(self.terms, losses.terms)
        _add(self.counts, losses.counts)
        self.dropped.update(batch.dropped)
        self.batches += 1
        self.pictures += len(batch)

    def brief(self) -> str:
        """The means so far, the rate and the memory, for a progress bar."""
        means = " ".join(f"{name} {float(value) / self.batches:.3g}" for name, value in self.terms.items())
        rate = self.pictures / (time.perf_counter() - self.started)
        return f"{means}  {rate:.1f} pictures/s  {peak_memory_mb():.0f} MB"

    def row(self, fabric: Fabric) -> dict[str, Any]:
        """The epoch's figures over all processes; every process must call it."""
        seconds = time.perf_counter() - self.started
        names, counted = sorted(self.terms), sorted(self.counts)
        kind = torch.float32 if fabric.device.type == "mps" else torch.float64
        sizes = torch.tensor([self.batches, self.pictures], dtype=kind, device=fabric.device)
        sums = [self.terms[n].to(kind) for n in names] + [self.counts[n].to(kind) for n in counted]
        values = fabric.all_reduce(torch.stack([*sums, *sizes]), reduce_op="sum").tolist()
        batches, pictures = values[-2:]
        row: dict[str, Any] = {f"train/{n}": v / batches for n, v in zip(names, values)}
        row["train/total"] = sum(row.values())
        row.update({n: int(v) for n, v in zip(counted, values[len(names) :])})
        dropped = _gather(fabric, dict(self.dropped))
        row["boxes_dropped"] = sum(dropped.values())
        row["dropped_reasons"] = " ".join(f"{reason}:{count}" for reason, count in sorted(dropped.items()))
        row["seconds"] = seconds
        row["pictures_per_s"] = pictures / seconds
        row["memory_mb"] = peak_memory_mb()
        return row


def peak_memory_mb() -> float:
    """The most memory used so far: of the GPU in this epoch where there is one, else of this process in its life.

    NaN on a system that does not tell (Windows).
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _add(sums: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        value = value.detach()
        sums[name] = sums[name] + value if name in sums else value.clone()


def _gather(fabric: Fabric, counts: dict[str, int]) -> Counter[str]:
    if fabric.world_size == 1:
        return Counter(counts)
    everybody: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(everybody, counts)
    total: Counter[str] = Counter()
    for one in everybody:
        total.update(one)
    return total
