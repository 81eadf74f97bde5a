"""Files of truth and detections, in the formats of the official programs, read into `Truth` and `Results`.

A format is a module with `read_truth` and `read_results`; `source` chooses among them.
"""

from __future__ import annotations

from finespot.metrics.reading.source import KINDS, find_kind, read_results, read_truth, split_kind

__all__ = ["KINDS", "find_kind", "read_results", "read_truth", "split_kind"]
