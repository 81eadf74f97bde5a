"""Inputs of the loss comparisons, from formulas: the same numbers on every machine and with every release of numpy.

A batch has four pictures of 256 x 512: tiny objects of 2 to 8 px, a crowd, none, and objects of 2 to 150 px. Boxes are
whole quarters of pixels, so that their shares of the picture are exact in float32. Predictions lie near the next
target, moved by up to 30% of its sides; far from all targets they are squares about the point.
`tests/losses/test_peer_losses.py` makes the same inputs, without this file.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.peer import random_numbers
from finespot.structures import Targets

HEIGHT, WIDTH = 256, 512
CLASSES = 3
# Of each picture: number of objects, their least and largest side, and the share of the picture that they lie in.
PICTURES = ((12, 2, 8, 1.0), (24, 4, 40, 0.25), (0, 0, 0, 0.0), (10, 2, 150, 1.0))
SMALL = ((4, 2, 8, 1.0), (0, 0, 0, 0.0), (6, 4, 60, 0.5))
EMPTY = ((0, 0, 0, 0.0),) * 2


def noise(shape: tuple[int, ...], k: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Float64 values from `low` to `high`, by a hash of position and `k`."""
    return torch.from_numpy(random_numbers(int(np.prod(shape)), k) * (high - low) + low).reshape(shape)


def truth(pictures: tuple[tuple[int, float, float, float], ...] = PICTURES) -> Targets:
    """Targets of pictures; sides are spread evenly over octaves."""
    boxes, labels, image = [], [], []
    for i, (count, least, most, share) in enumerate(pictures):
        if count == 0:
            continue
        u = noise((5, count), 10 + i)
        sides = least * (most / least) ** u[:2]
        low = u[2:4] * (share * torch.tensor([[WIDTH], [HEIGHT]]) - sides)
        boxes.append((4 * torch.cat((low, low + sides))).round().T / 4)
        labels.append((u[4] * CLASSES).long())
        image.append(torch.full((count,), i))
    return Targets(
        torch.cat(boxes).float() if boxes else torch.zeros(0, 4),
        torch.cat(labels) if labels else torch.zeros(0, dtype=torch.long),
        torch.cat(image) if image else torch.zeros(0, dtype=torch.long),
        torch.zeros(sum(len(one) for one in boxes), dtype=torch.bool),
        len(pictures),
    )


def predicted(places: Tensor, targets: Targets, k: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, N, 4) and class logits (B, CLASSES, N), float32, at `places` (N, 3): center x, y and stride."""
    places = places.double()
    count = len(places)
    boxes = noise((targets.batch, count, 4), k, -0.3, 0.3)
    logits = noise((targets.batch, CLASSES, count), k + 1, -5, 0)
    for picture in range(targets.batch):
        rows = (targets.image == picture).nonzero().squeeze(1)
        aim = torch.cat((places[:, :2] - places[:, 2:], places[:, :2] + places[:, 2:]), 1)
        if len(rows):
            real = targets.boxes[rows].double()
            apart, nearest = torch.cdist(places[:, :2], (real[:, :2] + real[:, 2:]) / 2).min(1)
            sides = real[:, 2:] - real[:, :2]
            close = apart < torch.maximum(sides.amax(1)[nearest], 2 * places[:, 2])
            aim[close] = real[nearest[close]]
            logits[picture, targets.labels[rows[nearest[close]]], close.nonzero().squeeze(1)] += 3
        boxes[picture] = aim + boxes[picture] * (aim[:, 2:] - aim[:, :2]).repeat(1, 2)
    return boxes.float(), logits.float()


def distributions(boxes: Tensor, places: Tensor, k: int) -> Tensor:
    """Side logits (B, 64, N) whose mean is near the sides of `boxes` (B, N, 4) at `places` (N, 3)."""
    away = torch.cat((places[:, :2] - boxes[..., :2], boxes[..., 2:] - places[:, :2]), -1) / places[:, 2:3]
    peak = 4 - (torch.arange(16.0) - away.clamp(0, 15)[..., None]).abs()
    values = peak + noise(tuple(peak.shape), k, -0.5, 0.5)
    return values.flatten(2).transpose(1, 2).float()


def pairs(count: int = 200) -> tuple[Tensor, Tensor]:
    """Boxes (count, 4) twice, float64: apart and overlapping, the half of them of 2 to 8 px."""
    u = noise((8, count), 1)
    sides = torch.where(torch.arange(count) % 2 == 0, 2 + 6 * u[:2], 8 + 80 * u[:2])
    low = 100 + 10 * u[2:4]
    target = torch.cat((low, low + sides))
    moved = target + (u[4:8] - 0.5) * 1.5 * sides.repeat(2, 1)
    left, right = torch.minimum(moved[:2], moved[2:]), torch.maximum(moved[:2], moved[2:])
    return torch.cat((left, right + 0.5)).T.contiguous(), target.T.contiguous()
