"""Points, targets and predictions for the tests of all assigners."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from finespot.assigners import DensePredictions
from finespot.nn.heads.points import candidates_of, make_anchors
from finespot.structures import Candidates, Targets

SIZE, STRIDES, CLASSES = (64, 96), (8, 16, 32), 3


def points(strides: Sequence[int] = STRIDES, size: tuple[int, int] = SIZE, offset: float = 0.5) -> Candidates:
    sizes = [(size[0] // s, size[1] // s) for s in strides]
    return candidates_of(make_anchors(sizes, strides, torch.device("cpu"), offset), strides, offset=offset)


def anchored(strides: Sequence[int] = STRIDES, size: tuple[int, int] = SIZE) -> Candidates:
    """Two anchors a cell: a square of two strides and one twice as wide as high."""
    sizes = [(size[0] // s, size[1] // s) for s in strides]
    shapes = [[(2.0 * s, 2.0 * s), (3.0 * s, 1.5 * s)] for s in strides]
    return candidates_of(make_anchors(sizes, strides, torch.device("cpu"), 0.5, shapes), strides, 2)


def loose(candidates: Candidates) -> Candidates:
    """The same points as if they had no order."""
    return Candidates(candidates.centers, candidates.strides, (), candidates.sizes)


def truth(
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int] = (),
    image: Sequence[int] = (),
    batch: int = 1,
    ignore: Sequence[int] = (),
) -> Targets:
    count = len(boxes)
    flags = torch.zeros(count, dtype=torch.bool)
    flags[list(ignore)] = True
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels or [0] * count, dtype=torch.int64),
        torch.tensor(image or [0] * count, dtype=torch.int64),
        flags,
        batch,
    )


def random_targets(
    draw: torch.Generator,
    batch: int,
    per_picture: int,
    ignore: bool = False,
    size: tuple[int, int] = SIZE,
    most: float = 40.0,
) -> Targets:
    """Boxes with sides of 2 to `most` pixels, more small ones than large ones."""
    count = batch * per_picture
    low = torch.rand(count, 2, generator=draw) * torch.tensor([size[1] * 0.9, size[0] * 0.9])
    sides = 2 + (most - 2) * torch.rand(count, 2, generator=draw).square()
    flags = (torch.rand(count, generator=draw) < 0.3) if ignore else torch.zeros(count, dtype=torch.bool)
    labels = torch.randint(0, CLASSES, (count,), generator=draw)
    return Targets(
        torch.cat((low, low + sides), 1), labels, torch.arange(batch).repeat_interleave(per_picture), flags, batch
    )


def random_predictions(draw: torch.Generator, batch: int, candidates: Candidates) -> DensePredictions:
    """A box around each point and scores at random."""
    reach = candidates.strides[:, None] * 1.5 * torch.rand(batch, len(candidates), 4, generator=draw)
    spread = torch.tensor([-1.0, -1, 1, 1]) * (1 + reach)
    boxes = torch.cat((candidates.centers, candidates.centers), 1) + spread
    return DensePredictions(boxes, torch.rand(batch, len(candidates), CLASSES, generator=draw))


def scene(
    seed: int, batch: int = 2, per_picture: int = 6, ignore: bool = False, candidates: Candidates | None = None
) -> tuple[DensePredictions, Targets, Candidates]:
    draw = torch.Generator().manual_seed(seed)
    where = points() if candidates is None else candidates
    return random_predictions(draw, batch, where), random_targets(draw, batch, per_picture, ignore), where


def take(targets: Targets, order: torch.Tensor) -> Targets:
    return Targets(
        targets.boxes[order], targets.labels[order], targets.image[order], targets.ignore[order], targets.batch
    )
