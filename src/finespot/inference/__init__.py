"""The way from a picture to detections, the same for prediction and validation."""

from finespot.inference.break_even import BreakEven, find_break_even
from finespot.inference.calibrate import Calibration, calibrate_threshold, calibrated
from finespot.inference.chooser import Chooser, Seeks, chooser_of
from finespot.inference.compare import (
    Comparison,
    common_classes,
    compare,
    open_pictures,
    relabelled,
    relabelled_truth,
)
from finespot.inference.explain import METHODS, Explainer, Explanation
from finespot.inference.ground import area_of, ground_scale
from finespot.inference.journal import JOURNAL, Journal
from finespot.inference.merge_sweep import MergeSweep, SweepRow, merge_sweep
from finespot.inference.model import Model, Predictions, load
from finespot.inference.pictures import draw_looks, draw_predictions, draw_report
from finespot.inference.pipeline import Outcome, Settings, walk
from finespot.inference.raster import RasterRun
from finespot.inference.reach import (
    CellReach,
    TileReach,
    calibrate_seeker,
    measure_reach,
    object_heat,
    reach_lines,
)
from finespot.inference.seeker import Seeker, load_seeker
from finespot.inference.skipping import Skipping, TileCosts, TileView
from finespot.inference.sources import Entry, Source, open_source
from finespot.inference.timing import Timing
from finespot.inference.validate import Validation, validate
from finespot.inference.video import VideoRecorder
from finespot.inference.windows import WindowView, WindowWatch, enlarged

__all__ = [
    "JOURNAL",
    "METHODS",
    "BreakEven",
    "Calibration",
    "CellReach",
    "Chooser",
    "Comparison",
    "Entry",
    "Explainer",
    "Explanation",
    "Journal",
    "MergeSweep",
    "Model",
    "Outcome",
    "Predictions",
    "RasterRun",
    "Seeker",
    "Seeks",
    "Settings",
    "Skipping",
    "Source",
    "SweepRow",
    "TileCosts",
    "TileReach",
    "TileView",
    "Timing",
    "Validation",
    "VideoRecorder",
    "WindowView",
    "WindowWatch",
    "area_of",
    "calibrate_seeker",
    "calibrate_threshold",
    "calibrated",
    "chooser_of",
    "common_classes",
    "compare",
    "draw_looks",
    "draw_predictions",
    "draw_report",
    "enlarged",
    "find_break_even",
    "ground_scale",
    "load",
    "load_seeker",
    "measure_reach",
    "merge_sweep",
    "object_heat",
    "open_pictures",
    "open_source",
    "reach_lines",
    "relabelled",
    "relabelled_truth",
    "validate",
    "walk",
]
