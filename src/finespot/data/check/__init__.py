"""Find what is wrong in a data set before a training run does, and write a corrected copy."""

from finespot.data.check.examination import FRAMES_APART, examine
from finespot.data.check.kinds import KINDS, Kind, known_kinds
from finespot.data.check.report import Report
from finespot.data.check.survey import Survey, open_survey

__all__ = ["FRAMES_APART", "KINDS", "Kind", "Report", "Survey", "examine", "known_kinds", "open_survey"]
