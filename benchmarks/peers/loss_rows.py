"""Rows of the loss comparisons: one value or assignment of ours beside the peer's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Float32 sums of thousands of entries, in units of the largest entry.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Row:
    """`ours` and `theirs` are sums (of absolute values for gradients) or numbers of pairs; `difference` is the largest
    of single entries in units of the peer's largest entry, or the number of pairs that only one side has."""

    what: str
    peer: str
    ours: float
    theirs: float
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """A difference that is no number does not."""
        return self.difference <= self.tolerance


def values(what: str, peer: str, ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> Row:
    """A row of two tensors of one shape."""
    ours, theirs = ours.detach().double(), theirs.detach().double()
    difference = float("inf")
    if ours.shape == theirs.shape:
        largest = float(theirs.abs().max()) if theirs.numel() else 0.0
        difference = float((ours - theirs).abs().max()) / (largest or 1.0) if theirs.numel() else 0.0
    total = torch.abs if what.endswith("gradient") else torch.clone
    return Row(what, peer, float(total(ours).sum()), float(total(theirs).sum()), difference, tolerance)


def choices(what: str, peer: str, ours: Iterable[object], theirs: Iterable[object]) -> Row:
    """A row of two sets, such as pairs of point and target."""
    mine, other = set(ours), set(theirs)
    return Row(what, peer, len(mine), len(other), len(mine ^ other), 0.0)


def losses(
    what: str,
    peer: str,
    ours: Mapping[str, Tensor],
    theirs: Mapping[str, Tensor],
    leaves: tuple[Sequence[Tensor], Sequence[Tensor]],
    tolerance: float = TOLERANCE,
) -> list[Row]:
    """Rows of named terms, and of the gradients of their sums by the leaves of either side."""
    rows = [values(f"{what} {name}", peer, ours[name], theirs[name], tolerance) for name in theirs]
    for side, terms in zip(leaves, (ours, theirs)):
        for leaf in side:
            leaf.grad = None
        total = torch.stack([terms[name].sum() for name in theirs]).sum()
        if total.requires_grad:
            total.backward()
    found, wanted = (torch.cat([gradient(leaf).flatten() for leaf in side]) for side in leaves)
    return [*rows, values(f"{what} gradient", peer, found, wanted, tolerance)]


def gradient(leaf: Tensor) -> Tensor:
    """The leaf's gradient, zeros where nothing reached it."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def leaf(value: Tensor) -> Tensor:
    """A copy that collects a gradient."""
    return value.detach().clone().requires_grad_()
