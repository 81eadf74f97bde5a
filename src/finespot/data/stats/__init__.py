"""Understand a data set: its numbers, what to draw of them, and advice that follows."""

from finespot.data.stats.advice import Advice, advise
from finespot.data.stats.anchor_check import AnchorCheck, check_anchors
from finespot.data.stats.measure import Statistics, measure
from finespot.data.stats.plots import draw
from finespot.data.stats.report import table, to_json

__all__ = ["Advice", "AnchorCheck", "Statistics", "advise", "check_anchors", "draw", "measure", "table", "to_json"]
