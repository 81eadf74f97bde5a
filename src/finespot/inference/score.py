"""Evaluate a file of detections against a file of truth."""

from __future__ import annotations

from pathlib import Path

from finespot import metrics


def score(
    gt: str | Path, dt: str | Path, protocol: str | metrics.Protocol = "coco", *, fix_id0: bool = False
) -> metrics.Report:
    """The report of COCO results `dt` against the COCO file `gt`.

    `fix_id0` numbers the annotations anew from 1; the official tools count a match with annotation id 0 as a miss.

    Raises
    ------
    FineSpotError
        A file cannot be read or holds a wrong record.
    """
    rules = metrics.protocol(protocol) if isinstance(protocol, str) else protocol
    truth = metrics.Truth.read(gt, fix_id0=fix_id0)
    return metrics.evaluate(truth, metrics.Results.read(dt, truth), rules)
