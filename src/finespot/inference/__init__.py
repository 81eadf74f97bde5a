"""The way from a picture to detections, the same for prediction and validation."""

from finespot.inference.calibrate import Calibration, calibrate_threshold, calibrated
from finespot.inference.compare import (
    Comparison,
    common_classes,
    compare,
    open_pictures,
    relabelled,
    relabelled_truth,
)
from finespot.inference.explain import METHODS, Explainer, Explanation
from finespot.inference.merge_sweep import MergeSweep, SweepRow, merge_sweep
from finespot.inference.model import Model, Predictions, load
from finespot.inference.pictures import draw_predictions, draw_report
from finespot.inference.pipeline import Outcome, Settings, walk
from finespot.inference.sources import Entry, Source, open_source
from finespot.inference.timing import Timing
from finespot.inference.validate import Validation, validate
from finespot.inference.video import VideoRecorder
from finespot.inference.windows import WindowView, WindowWatch, enlarged

__all__ = [
    "METHODS",
    "Calibration",
    "Comparison",
    "Entry",
    "Explainer",
    "Explanation",
    "MergeSweep",
    "Model",
    "Outcome",
    "Predictions",
    "Settings",
    "Source",
    "SweepRow",
    "Timing",
    "Validation",
    "VideoRecorder",
    "WindowView",
    "WindowWatch",
    "calibrate_threshold",
    "calibrated",
    "common_classes",
    "compare",
    "draw_predictions",
    "draw_report",
    "enlarged",
    "load",
    "merge_sweep",
    "open_pictures",
    "open_source",
    "relabelled",
    "relabelled_truth",
    "validate",
    "walk",
]
