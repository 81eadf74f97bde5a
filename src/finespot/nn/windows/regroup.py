"""What the windows found, as found in their pictures: moved to its place, once, and picture by picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from finespot.nn.heads.selection import Selected


def by_picture(found: Sequence[Selected], origins: Tensor, cores: Tensor, pictures: int, most: int) -> list[Selected]:
    """Boxes, scores and labels of each of `pictures`, by falling score, at most `most`; none at all is a result too.

    A box is kept where its center lies in the core of its window: the cores part the picture, so two windows do not
    both keep what they both see. `origins` (K, 3) are picture, x and y of the windows, `cores` (K, 4) xyxy, in input
    pixels.
    """
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(one[0] for one in found)])
    scores = np.concatenate([np.zeros(0, np.float32), *(one[1] for one in found)])
    labels = np.concatenate([np.zeros(0, np.int64), *(one[2] for one in found)])
    window = np.repeat(np.arange(len(found)), [len(one[1]) for one in found])
    place, core = origins.cpu().numpy()[window], cores.cpu().numpy()[window]
    boxes = boxes + np.tile(place[:, 1:], 2).astype(np.float32)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    kept = ((centers >= core[:, :2]) & (centers < core[:, 2:])).all(1)
    picture = place[kept, 0]
    boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    # By picture, then by falling score; lexsort is stable.
    order = np.lexsort((-scores, picture))
    starts = np.searchsorted(picture[order], np.arange(pictures + 1))
    rows = (order[begin : min(end, begin + most)] for begin, end in pairwise(starts))
    return [(boxes[one], scores[one], labels[one]) for one in rows]
