"""Hungarian matching: each object takes one query, such that the sum of all costs is least.

After "End-to-End Object Detection with Transformers" (2020, section 3.1) with the costs of Deformable DETR and RT-DETR:
focal class cost, distance of the boxes as shares of the input, and 1 - GIoU. What differs: any registered box loss may
stand for 1 - GIoU, and a cost that is not finite counts as a very large one, so that a broken prediction attracts
nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol

import lap
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finespot.boxes.normalized import to_corners, to_shares
from finespot.registry import make, register
from finespot.structures import Size, Targets

# What stands for a cost that is not finite.
_FORBIDDEN = 1e6
_EPS = 1e-8


class BoxDistance(Protocol):
    """What a box loss is called as."""

    def __call__(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size) -> Tensor: ...


class Matches(NamedTuple):
    """Matched pairs: layer, picture, query and row of `Targets`, each (M,) int64."""

    layer: Tensor
    picture: Tensor
    query: Tensor
    target: Tensor


@register("assigner", "hungarian")
@dataclass(frozen=True)
class Hungarian:
    """Cost = cls * focal + l1 * distance + box * similarity; of each pair of query and object of a picture.

    Not called as the assigners of dense heads are: it takes the predictions of all layers, (B, L, classes, Q)
    probabilities and (B, L, Q, 4) shares, the truth, and the input's extent (1, 4), and gives `Matches`. Heads that
    predict a set take such assigners only, and dense heads the others (`matches_sets` tells them apart).

    `alpha` and `gamma` are those of the focal cost. `similarity` is the text of a box loss (giou: 1 - GIoU), told a
    stride of 1.
    """

    cls: float = 2.0
    l1: float = 5.0
    box: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0
    similarity: str = "giou"

    distance: BoxDistance = field(init=False, repr=False, compare=False)
    matches_sets: ClassVar[bool] = True

    def __post_init__(self) -> None:
        # What cannot be made is refused where the assigner is chosen, not in the first step.
        made: BoxDistance = make("box_loss", self.similarity)
        # A cost is read, not learned from: running numbers of a loss stay as they start.
        object.__setattr__(self, "distance", made.eval() if isinstance(made, nn.Module) else made)

    @torch.no_grad()
    def __call__(self, scores: Tensor, boxes: Tensor, targets: Targets, extent: Tensor) -> Matches:
        """Match every layer and picture by itself. Ignore regions are never matched; where objects are more than
        queries, some stay without.
        """
        device = boxes.device
        real = (~targets.ignore).nonzero().squeeze(1)
        of_picture = real.split(torch.bincount(targets.image[real], minlength=targets.batch).tolist())
        width, height = (int(side) for side in extent[0, :2].tolist())
        costs = [
            self.cost(scores[picture], boxes[picture], targets, rows, extent, (height, width))
            for picture, rows in enumerate(of_picture)
        ]
        # One transfer for all, since each one waits for the device.
        ready = torch.cat([cost.flatten() for cost in costs]).cpu().numpy().astype(np.float64)
        found, begin = [], 0
        for picture, cost in enumerate(costs):
            tables = ready[begin : begin + cost.numel()].reshape(cost.shape)
            begin += cost.numel()
            for layer, table in enumerate(tables):
                target, query = solve(table)
                fixed = np.full_like(target, layer), np.full_like(target, picture)
                found.append(np.stack((*fixed, query, target)))
        joined = torch.from_numpy(np.concatenate(found, 1)).to(device)
        starts = torch.tensor([0, *(len(rows) for rows in of_picture)], device=device).cumsum(0)
        return Matches(joined[0], joined[1], joined[2], real[starts[joined[1]] + joined[3]])

    def cost(
        self, scores: Tensor, boxes: Tensor, targets: Targets, rows: Tensor, extent: Tensor, image_size: Size
    ) -> Tensor:
        """Costs (L, T, Q) of the targets at `rows` (T,) of one picture, for scores (L, classes, Q), boxes (L, Q, 4).

        `image_size` (height, width) says the same as `extent`, where a device need not be waited for.
        """
        p = scores[:, targets.labels[rows]]
        positive = self.alpha * (1 - p) ** self.gamma * -torch.log(p + _EPS)
        negative = (1 - self.alpha) * p**self.gamma * -torch.log(1 - p + _EPS)
        aim = targets.boxes[rows][:, None]
        far = (boxes[:, None] - to_shares(aim, extent)).abs().sum(-1)
        pred = to_corners(boxes, extent)[:, None].expand(*far.shape, 4).reshape(-1, 4)
        wanted = aim.expand(*far.shape, 4).reshape(-1, 4)
        apart = self.distance(pred, wanted, stride=torch.ones_like(pred[:, 0]), image_size=image_size).view(far.shape)
        cost = self.cls * (positive - negative) + self.l1 * far + self.box * apart
        return torch.nan_to_num(cost, nan=_FORBIDDEN, posinf=_FORBIDDEN, neginf=_FORBIDDEN)


def solve(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Targets and queries of the cheapest matching of finite costs (T, Q), by target; min(T, Q) pairs.

    Of T targets none is worse off than with its T-th best query, since the others take T - 1 at most: only these are
    looked at. With the many queries as rows the library is up to ten times as quick as with the few targets.
    """
    targets, queries = cost.shape
    if 0 in cost.shape:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = np.arange(queries)
    if targets < queries:
        near = np.unique(np.argpartition(cost, targets - 1, axis=1)[:, :targets])
    _, _, query = lap.lapjv(np.ascontiguousarray(cost[:, near].T), extend_cost=True)
    matched = np.flatnonzero(query >= 0)
    return matched.astype(np.int64), near[query[matched]].astype(np.int64)
