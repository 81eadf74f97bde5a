"""From raw predictions to numpy: what passes the score threshold, decoded.

Nearly all points fail the threshold, so logits are compared first (the sigmoid keeps their order) and only what is
left gets scores and boxes. This part stays outside exported graphs and serves every runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Selected = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@torch.no_grad()
def select(
    values: Tensor,
    conf: float,
    max_candidates: int,
    multi_label: bool,
    decode: Callable[[Tensor, Tensor], Tensor],
    *,
    logits: bool = True,
) -> list[Selected]:
    """Per picture boxes (n, 4) xyxy in input pixels, scores (n,) and labels (n,), by falling score.

    At most `max_candidates` each; equal scores keep the order of points, then labels.

    Parameters
    ----------
    values:
        (B, classes, N): logits of independent classes, or scores from 0 to 1 where `logits` is off.
    decode:
        (picture (K,), point (K,)) to boxes (K, 4) xyxy in input pixels.
    """
    threshold = _logit(conf) if logits else conf - 1e-3
    picture, point, label, value = (_all_labels if multi_label else _best_label)(values, threshold)
    scores = (torch.sigmoid(value.float()) if logits else value.float()).cpu().numpy()
    pictures = picture.cpu().numpy()
    # By picture, then by falling score; lexsort is stable.
    order = np.lexsort((-scores, pictures))
    order = order[scores[order] >= np.float32(conf)]
    starts = np.searchsorted(pictures[order], np.arange(len(values) + 1))
    kept = [order[begin : min(end, begin + max_candidates)] for begin, end in pairwise(starts)]
    rows = torch.from_numpy(np.concatenate(kept)).to(values.device)
    boxes: NDArray[np.float32] = decode(picture[rows], point[rows]).float().cpu().numpy()
    labels = label[rows].cpu().numpy()
    ends = np.cumsum([len(rows) for rows in kept])[:-1]
    return list(zip(np.split(boxes, ends), np.split(scores[np.concatenate(kept)], ends), np.split(labels, ends)))


def _logit(conf: float) -> float:
    """A little below the logit of `conf`, so that rounding loses nobody; the score itself is compared afterwards."""
    if conf <= 0:
        return -math.inf
    return math.log(conf / (1 - conf)) - 1e-3 if conf < 1 else 15.0


def _best_label(values: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    picture, point = (values.amax(1) >= threshold).nonzero().unbind(1)
    value, label = values.transpose(1, 2)[picture, point].max(1)
    return picture, point, label, value


def _all_labels(values: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    by_point = values.transpose(1, 2)
    picture, point, label = (by_point >= threshold).nonzero().unbind(1)
    return picture, point, label, by_point[picture, point, label]
