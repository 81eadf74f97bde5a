"""Evaluation: truth and results in, the official numbers of a protocol out.

`evaluate(truth, results, "coco")` gives a `Report`; `confusion_matrix` counts which class is taken for which; `tide`
says which kinds of errors cost most, and at which size. `finespot.metrics.plots` and `finespot.metrics.tide_plot` draw
them (they import matplotlib, so they are imported by their own names), and `finespot.metrics.page` makes an HTML page
of everything.
"""

from __future__ import annotations

from finespot.metrics.bootstrap import Bootstrap, Interval, bootstrap
from finespot.metrics.calibration import Calibration, Reliability, calibration
from finespot.metrics.comparison import Comparison, Difference, FoundObjects, PictureChange, compare
from finespot.metrics.confusion import confusion_matrix
from finespot.metrics.coverage import Coverage, coverage
from finespot.metrics.curves import ConfidenceCurve, ConfidenceCurves, Threshold, confidence_curves
from finespot.metrics.evaluation import both, cleaned, evaluate, score
from finespot.metrics.heat import HeatBin, HeatQuality, heat_quality
from finespot.metrics.judged import Judged, judged
from finespot.metrics.protocols import PROTOCOLS, AreaRange, Protocol, Row, dota_hbb, protocol, tinyperson
from finespot.metrics.report import Curve, Report
from finespot.metrics.size_curve import SizeCurve, size_curve
from finespot.metrics.tables import Regions, Results, Truth
from finespot.metrics.tide import ErrorAnalysis, SizeErrors, tide
from finespot.metrics.worst import Worst, worst

__all__ = [
    "PROTOCOLS",
    "AreaRange",
    "Bootstrap",
    "Calibration",
    "Comparison",
    "ConfidenceCurve",
    "ConfidenceCurves",
    "Coverage",
    "Curve",
    "Difference",
    "ErrorAnalysis",
    "FoundObjects",
    "HeatBin",
    "HeatQuality",
    "Interval",
    "Judged",
    "PictureChange",
    "Protocol",
    "Regions",
    "Reliability",
    "Report",
    "Results",
    "Row",
    "SizeCurve",
    "SizeErrors",
    "Threshold",
    "Truth",
    "Worst",
    "bootstrap",
    "both",
    "calibration",
    "cleaned",
    "compare",
    "confidence_curves",
    "confusion_matrix",
    "coverage",
    "dota_hbb",
    "evaluate",
    "heat_quality",
    "judged",
    "protocol",
    "score",
    "size_curve",
    "tide",
    "tinyperson",
    "worst",
]
