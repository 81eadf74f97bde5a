"""Distribution focal loss: box sides as distributions over integer distances.

After "Generalized Focal Loss" (2020, section 3.2): a side is the expectation of a softmax over bins 0, 1, 2 ...; the
loss is the cross entropy with the two bins around the true distance, weighted by closeness.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

# The last bin must keep a right-hand neighbor, so distances end this far below it.
_LAST = 0.01


def distribution_focal(logits: Tensor, distances: Tensor) -> Tensor:
    """Loss (P,) of `logits` (P, 4, bins) for true `distances` (P, 4) in cells, mean over the four sides.

    Distances outside [0, bins - 1.01] are clipped to it.
    """
    bins = logits.shape[-1]
    aim = distances.clamp(0, bins - 1 - _LAST)
    left = aim.floor().long()
    share = (aim - left).unsqueeze(-1)
    log_p = F.log_softmax(logits, -1)
    pair = log_p.gather(-1, left.unsqueeze(-1)) * (1 - share) + log_p.gather(-1, left.unsqueeze(-1) + 1) * share
    return -pair.squeeze(-1).mean(-1)
