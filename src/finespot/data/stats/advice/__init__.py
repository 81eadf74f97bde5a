"""Advice that follows from the numbers, each line with its reason.

What concerns learning (input size, finest level, tiles, anchors, rare classes) follows from the split `train` where
it is measured, so that nothing of a test set flows into a network; what concerns limits (detections, queries,
suppression) from all splits together. The thresholds are constants of the modules: rules of thumb, not measurements.
"""

from __future__ import annotations

from finespot.data.stats.advice import classes, network, scale
from finespot.data.stats.advice.line import Advice
from finespot.data.stats.measure import Statistics

RULES = (
    scale.image_size,
    scale.tile_size,
    scale.finest_level,
    scale.tiles,
    scale.overlap,
    scale.vanishing,
    network.nwd,
    network.anchors,
    network.max_det,
    network.protocol,
    network.queries,
    network.crowding,
    classes.imbalance,
    classes.rare,
    classes.absent,
    classes.sparse,
)

__all__ = ["RULES", "Advice", "advise"]


def advise(statistics: Statistics) -> list[Advice]:
    """All advice that the numbers give rise to."""
    return [found for rule in RULES if (found := rule(statistics)) is not None]
