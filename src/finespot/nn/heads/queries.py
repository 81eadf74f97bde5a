"""Query selection of RT-DETR: the cells of the encoder's maps that promise most become the decoder's queries.

After "DETRs Beat YOLOs on Real-time Object Detection" (2023, section 4.3): every cell gets class scores, and the
`queries` best cells give content and first box. What differs from the released code: anchors are right for rectangles
(x over the width, y over the height); their side follows the stride, so that a P2 level has smaller ones and the others
keep theirs; cells at the very border, which have no anchor, are chosen last instead of being offered with zeros, and
have a finite box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from finespot.boxes.normalized import logits as to_logits
from finespot.nn.heads.kept import Kept
from finespot.nn.layers.transformer import MLP
from finespot.structures import Size

# Class scores start at this probability.
PRIOR = 0.01
# Side of an anchor as a share of the input, for each pixel of stride: 0.05 at stride 8.
_SIDE = 0.05 / 8
# Anchors with a share nearer to 0 or 1 than this are left out.
_MARGIN = 0.01
# Score of cells without an anchor: below all others, and a number in half precision too.
_LAST = -1e4


class Anchors(NamedTuple):
    """Anchors (1, N, 4) as logits of shares, which of them count (1, N, 1), extent (1, 4) of the input in pixels."""

    logits: Tensor
    valid: Tensor
    extent: Tensor


class Queries(NamedTuple):
    """Selected queries: content (B, Q, C), boxes (B, Q, 4) as logits of shares, class logits (B, Q, classes)."""

    content: Tensor
    boxes: Tensor
    scores: Tensor


class QuerySelection(nn.Module):
    """Memory (B, N, width) of maps of `strides` to the `queries` best cells, by falling score.

    An input of fewer cells gives one query a cell. Class scores start at the probability `prior`.
    """

    def __init__(self, width: int, classes: int, queries: int, strides: Sequence[int], prior: float = PRIOR) -> None:
        super().__init__()
        self.queries = queries
        self.strides = tuple(strides)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.scores = nn.Linear(width, classes)
        self.boxes = MLP(width, width, width, 4)
        nn.init.xavier_uniform_(self.mix.weight)
        start_predictions(self.scores, self.boxes, prior)
        self._anchors: Kept[Anchors] = Kept()

    def forward(self, memory: Tensor, anchors: Anchors) -> Queries:
        content = self.norm(self.mix(torch.where(anchors.valid, memory, 0)))
        scores = self.scores(content)
        rank = torch.where(anchors.valid.squeeze(-1), scores.amax(-1), _LAST)
        chosen = rank.topk(min(self.queries, rank.shape[1]), 1).indices[..., None]
        picked = content.gather(1, chosen.expand(-1, -1, content.shape[-1]))
        start = anchors.logits.expand(len(memory), -1, -1).gather(1, chosen.expand(-1, -1, 4))
        boxes = self.boxes(picked).float() + start
        return Queries(picked, boxes, scores.gather(1, chosen.expand(-1, -1, scores.shape[-1])))

    def anchors(self, like: Tensor, sizes: Sequence[Size]) -> Anchors:
        """The anchors of maps of `sizes` (rows, columns), kept for the next input of this size."""

        def made() -> Anchors:
            return make_anchors(sizes, self.strides, like.device)

        return self._anchors.get_or_make((tuple(sizes), like.device), like, made)


def make_anchors(sizes: Sequence[Size], strides: Sequence[int], device: torch.device) -> Anchors:
    """Squares about the cells of maps of `sizes` (rows, columns), level by level, row by row."""
    levels = []
    for (rows, columns), stride in zip(sizes, strides, strict=True):
        y = (torch.arange(rows, dtype=torch.float32, device=device) + 0.5) / rows
        x = (torch.arange(columns, dtype=torch.float32, device=device) + 0.5) / columns
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        side = torch.full_like(grid_x, _SIDE * stride)
        levels.append(torch.stack((grid_x, grid_y, side, side), -1).flatten(0, 1))
    shares = torch.cat(levels)[None]
    valid = ((shares > _MARGIN) & (shares < 1 - _MARGIN)).all(-1, keepdim=True)
    height, width = (cells * strides[0] for cells in sizes[0])
    extent = torch.tensor([[width, height, width, height]], dtype=torch.float32, device=device)
    return Anchors(to_logits(shares), valid, extent)


def start_predictions(scores: nn.Linear, boxes: MLP, prior: float = PRIOR) -> None:
    """Class scores start at the probability `prior`, boxes where their reference is."""
    nn.init.constant_(scores.bias, -math.log((1 - prior) / prior))
    last = boxes.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
