"""From raw predictions to numpy: what passes the score threshold, decoded.

Nearly all points fail the threshold, so logits are compared first (the sigmoid keeps their order) and only what is
left gets scores and boxes. This part stays outside exported graphs and serves every runtime.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Selected = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@torch.no_grad()
def select(raw: dict[str, Tensor], conf: float, max_candidates: int, multi_label: bool) -> list[Selected]:
    """Per picture boxes (n, 4) xyxy in input pixels, scores (n,) and labels (n,), by falling score.

    At most `max_candidates` each; equal scores keep the order of points, then labels.
    """
    logits = raw["scores"]
    picture, point, label, value = (_all_labels if multi_label else _best_label)(logits, _logit(conf))
    scores = torch.sigmoid(value.float()).cpu().numpy()
    pictures = picture.cpu().numpy()
    # By picture, then by falling score; lexsort is stable.
    order = np.lexsort((-scores, pictures))
    order = order[scores[order] >= np.float32(conf)]
    starts = np.searchsorted(pictures[order], np.arange(len(logits) + 1))
    kept = [order[begin : min(end, begin + max_candidates)] for begin, end in pairwise(starts)]
    rows = torch.from_numpy(np.concatenate(kept)).to(logits.device)
    boxes = _decode(raw, picture[rows], point[rows])
    labels = label[rows].cpu().numpy()
    ends = np.cumsum([len(rows) for rows in kept])[:-1]
    return list(zip(np.split(boxes, ends), np.split(scores[np.concatenate(kept)], ends), np.split(labels, ends)))


def _logit(conf: float) -> float:
    """A little below the logit of `conf`, so that rounding loses nobody; the score itself is compared afterwards."""
    if conf <= 0:
        return -math.inf
    return math.log(conf / (1 - conf)) - 1e-3 if conf < 1 else 15.0


def _best_label(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    picture, point = (logits.amax(1) >= threshold).nonzero().unbind(1)
    value, label = logits.transpose(1, 2)[picture, point].max(1)
    return picture, point, label, value


def _all_labels(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    by_point = logits.transpose(1, 2)
    picture, point, label = (by_point >= threshold).nonzero().unbind(1)
    return picture, point, label, by_point[picture, point, label]


def _decode(raw: dict[str, Tensor], picture: Tensor, point: Tensor) -> NDArray[np.float32]:
    sides = raw["boxes"].transpose(1, 2)[picture, point].float().unflatten(1, (4, -1))
    anchors = raw["anchors"][0][point].float()
    bins = torch.arange(sides.shape[2], dtype=torch.float32, device=sides.device)
    reach = torch.softmax(sides, 2) @ bins * anchors[:, 2:]
    centers = anchors[:, :2]
    boxes: NDArray[np.float32] = torch.cat((centers - reach[:, :2], centers + reach[:, 2:]), 1).cpu().numpy()
    return boxes
