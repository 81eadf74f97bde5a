"""The anchor boxes of RetinaNet: three sizes a third of an octave apart, each in three shapes, on every level.

After "Focal Loss for Dense Object Detection" (2017, section 4).
"""

from __future__ import annotations

import math

from finespot.nn.heads.points import AnchorSizes

# Height : width.
RATIOS = (0.5, 1.0, 2.0)
SIZES_PER_OCTAVE = 3
ANCHORS = len(RATIOS) * SIZES_PER_OCTAVE


def anchors_of(stride: int, scale: float = 4.0, rounded: bool = True) -> AnchorSizes:
    """Width and height of the anchors of a cell, ratio by ratio; the smallest square has sides of `scale` strides.

    With `rounded`, torchvision's: sizes cut to whole pixels, then edges rounded to whole pixels from the center.
    """
    sizes = [scale * stride * 2 ** (i / SIZES_PER_OCTAVE) for i in range(SIZES_PER_OCTAVE)]
    if rounded:
        sizes = [math.floor(size) for size in sizes]
    pairs = [(size / math.sqrt(ratio), size * math.sqrt(ratio)) for ratio in RATIOS for size in sizes]
    if rounded:
        # A small scale must not round a side away.
        pairs = [(2.0 * max(round(w / 2), 1), 2.0 * max(round(h / 2), 1)) for w, h in pairs]
    return pairs
