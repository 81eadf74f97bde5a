"""Evaluation: truth and results in, the official numbers of a protocol out.

`evaluate(truth, results, "coco")` gives a `Report`; `confusion_matrix` counts which class is taken for which;
`finespot.metrics.plots` draws both (it imports matplotlib, so it is imported by its own name).
"""

from __future__ import annotations

from finespot.metrics.confusion import confusion_matrix
from finespot.metrics.evaluation import evaluate, score
from finespot.metrics.judged import Judged, judged
from finespot.metrics.protocols import PROTOCOLS, AreaRange, Protocol, Row, protocol
from finespot.metrics.report import Curve, Report
from finespot.metrics.tables import Regions, Results, Truth

__all__ = [
    "PROTOCOLS",
    "AreaRange",
    "Curve",
    "Judged",
    "Protocol",
    "Regions",
    "Report",
    "Results",
    "Row",
    "Truth",
    "confusion_matrix",
    "evaluate",
    "judged",
    "protocol",
    "score",
]
