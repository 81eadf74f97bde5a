"""Denoising queries: disturbed truth that the decoder has to mend, so that it learns to refine boxes early.

After "DN-DETR" (2022) and the contrastive form of "DINO" (2022, section 3.3): in each group every object occurs as a
positive, moved little, to be found again, and as a negative, moved more, to be called background. Groups do not see
each other, and ordinary queries see none of them. What differs from the released RT-DETR: noised boxes keep their
corners in order, and of a picture with more than `MOST_OBJECTS` objects that many are drawn (by torch's generator),
since the densest picture sets the memory of all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from finespot.boxes.normalized import logits as to_logits
from finespot.boxes.normalized import to_shares
from finespot.structures import Targets

# Positives a picture and group at most.
MOST_OBJECTS = 200
# Share of the labels that are replaced by one drawn from all classes.
_LABEL_NOISE = 0.25
# Corners move by at most this share of half a side (positives), and by one to two times as much (negatives).
_BOX_NOISE = 1.0


class Noised(NamedTuple):
    """Denoising queries, group by group, in each first the positives: content (B, D, C), boxes (B, D, 4) as logits of
    shares, targets (B, D) the row of `Targets` that a positive has to find (-1: none, background), allowed (D + Q,
    D + Q) bool which query (row) may look at which (column), denoising queries first.
    """

    content: Tensor
    boxes: Tensor
    targets: Tensor
    allowed: Tensor


class Denoising(nn.Module):
    """Makes about 2 * `count` denoising queries a picture: `count` // (most objects of a picture) groups, at least one.

    Places that a picture with fewer objects leaves empty hold the content `padding` and a box without extent. A batch
    without objects has one such place a group and kind, so that every parameter takes part in every step.
    """

    def __init__(self, classes: int, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.labels = nn.Embedding(classes, width)
        # A parameter, though never trained: published parameter counts and files hold it.
        self.padding = nn.Parameter(torch.zeros(1, width), requires_grad=False)

    def forward(self, targets: Targets, extent: Tensor, queries: int) -> Noised:
        """Queries for the truth of a batch beside `queries` ordinary ones; `extent` (1, 4) is the input's size."""
        table = objects_by_picture(targets)
        batch, places = table.shape
        groups = max(1, self.count // places) if len(targets.boxes) else 1
        shape = (batch, groups, 2, places)
        there = (table >= 0)[:, None, None].expand(shape)
        truth = _Truth.of(targets, table)
        content = self.labels(self._noised_labels(truth.labels[:, None, None].expand(shape)))
        content = torch.where(there[..., None], content, self.padding[0])
        boxes = to_shares(_noised_boxes(truth.boxes[:, None, None].expand(*shape, 4), extent), extent)
        boxes = torch.where(there[..., None], boxes, 0)
        wanted = torch.stack((table, torch.full_like(table, -1)), 1)[:, None].expand(shape)
        return Noised(
            content.flatten(1, 3),
            to_logits(boxes).flatten(1, 3),
            wanted.flatten(1, 3),
            visibility(groups, 2 * places, queries, table.device),
        )

    def _noised_labels(self, labels: Tensor) -> Tensor:
        drawn = torch.randint_like(labels, self.labels.num_embeddings)
        return torch.where(torch.rand(labels.shape, device=labels.device) < _LABEL_NOISE, drawn, labels)


class _Truth(NamedTuple):
    boxes: Tensor
    labels: Tensor

    @classmethod
    def of(cls, targets: Targets, table: Tensor) -> _Truth:
        """Boxes (B, P, 4) and labels (B, P) of a table of rows; zeros where there is none."""
        there = table >= 0
        boxes = targets.boxes.new_zeros(*table.shape, 4)
        labels = torch.zeros_like(table)
        boxes[there] = targets.boxes[table[there]]
        labels[there] = targets.labels[table[there]]
        return cls(boxes, labels)


def objects_by_picture(targets: Targets) -> Tensor:
    """Rows of `Targets` (B, P), -1 where a picture has fewer objects than the one with most; ignore regions are none.

    P is at least 1 and at most `MOST_OBJECTS`.
    """
    rows = (~targets.ignore).nonzero().squeeze(1)
    counts = torch.bincount(targets.image[rows], minlength=targets.batch)
    most = int(counts.max())
    if most > MOST_OBJECTS:
        rows = rows[torch.randperm(len(rows)).to(rows.device)]
        rows = rows[targets.image[rows].argsort(stable=True)]
    image = targets.image[rows]
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[image]
    kept = place < MOST_OBJECTS
    table = rows.new_full((targets.batch, min(max(most, 1), MOST_OBJECTS)), -1)
    table[image[kept], place[kept]] = rows[kept]
    return table


def visibility(groups: int, size: int, queries: int, device: torch.device) -> Tensor:
    """Who may look at whom (rows at columns), for `groups` groups of `size` denoising queries before ordinary ones."""
    noised = groups * size
    group = torch.arange(noised, device=device) // size
    allowed = torch.ones(noised + queries, noised + queries, dtype=torch.bool, device=device)
    allowed[:noised, :noised] = group[:, None] == group
    allowed[noised:, :noised] = False
    return allowed


def _noised_boxes(boxes: Tensor, extent: Tensor) -> Tensor:
    """Boxes (B, groups, 2, P, 4) xyxy with every edge moved either way, those of kind 1 (negatives) farther."""
    halves = ((boxes[..., 2:] - boxes[..., :2]) / 2).repeat(1, 1, 1, 1, 2)
    steps = torch.rand(boxes.shape, device=boxes.device)
    steps = steps + torch.arange(2, device=boxes.device)[:, None, None]
    signs = torch.randint(0, 2, boxes.shape, device=boxes.device) * 2 - 1
    moved = torch.minimum((boxes + signs * steps * halves * _BOX_NOISE).clamp(min=0), extent[0])
    one, other = moved[..., :2], moved[..., 2:]
    return torch.cat((torch.minimum(one, other), torch.maximum(one, other)), -1)
