"""From truth and results to a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.accumulation import Accumulated, Arranged, Outcome, accumulate, arrange, judge
from finespot.metrics.protocols import RECALL_POINTS, Protocol, Row, protocol
from finespot.metrics.report import Curve, Report
from finespot.metrics.tables import Results, Truth

Floats = NDArray[np.float64]
ALL_CLASSES = "all classes"


def evaluate(truth: Truth, results: Results, protocol_or_name: Protocol | str = "coco") -> Report:
    """Score results against the truth of the same pictures by a protocol.

    Without any detection every number of a class with objects is 0 (the official tools fail).

    Raises
    ------
    FineSpotError
        The protocol's name is unknown.
    """
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    data = arrange(truth.spread(), results, rules.max_dets[-1], pooled=rules.pooled)
    outcome = judge(data, rules)
    averages = accumulate(data, outcome, rules)
    names = (ALL_CLASSES,) if rules.pooled else truth.classes.names
    tables = {rules.label(row): _slice(averages, rules, row) for row in rules.rows}
    per_class = {
        name: {label: _mean(table[k : k + 1]) for label, table in tables.items()} for k, name in enumerate(names)
    }
    return Report(
        protocol=rules,
        classes=names,
        values={label: _mean(table) for label, table in tables.items()},
        per_class=per_class,
        objects={name: int(averages.objects[k, 0]) for k, name in enumerate(names)},
        images=len(truth.image_ids),
        truths=int((~truth.crowd).sum()),
        ignored=truth.count_regions(),
        detections=len(data.group),
        curves=_curves(data, outcome, averages, rules, names),
        averages=averages,
        notes=(*truth.notes, *results.notes, *_notes(results, data, rules)),
    )


def score(
    gt: str | Path, dt: str | Path, protocol_or_name: Protocol | str = "coco", *, fix_id0: bool = False
) -> Report:
    """The report of a COCO results file `dt` against a COCO truth file `gt`.

    `fix_id0` numbers the annotations anew from 1: the official tools count a match with annotation id 0 as a miss.

    Raises
    ------
    FineSpotError
        The protocol's name is unknown, a file cannot be read, or it holds a wrong record.
    """
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    truth = Truth.read(gt, fix_id0=fix_id0)
    report = evaluate(truth, Results.read(dt, truth), rules)
    return replace(report, settings={"fix_id0": True}) if fix_id0 else report


def _slice(averages: Accumulated, rules: Protocol, row: Row) -> Floats:
    """What a row averages, by class: (K, ...), NaN where there is nothing; no column at all where it has no slice."""
    limit = rules.limit(row)
    if limit is None or not rules.covers(row):
        return np.full((len(averages.objects), 0), np.nan)
    source = averages.precision if row.kind == "AP" else averages.recall
    chosen = np.ones(len(rules.thresholds), bool) if row.iou is None else np.array(rules.thresholds) == row.iou
    return source[rules.position(row), limit][:, chosen]


def _mean(table: Floats) -> float | None:
    values = table[~np.isnan(table)]
    return float(values.mean()) if len(values) else None


def _notes(results: Results, data: Arranged, rules: Protocol) -> list[str]:
    notes = []
    if not len(results):
        notes.append("no detection at all: the numbers of classes with objects are 0")
    cut = len(results) - len(data.group)
    if cut:
        notes.append(f"{cut} detections beyond {rules.max_dets[-1]} in a picture and class were left out")
    for row in rules.rows:
        if row.iou is not None and row.iou not in rules.thresholds:
            notes.append(f"{rules.label(row)} has no value: {row.iou:g} is not among the IoU thresholds")
        if rules.limit(row) is None:
            notes.append(f"{rules.label(row)} has no value: {row.exactly} is not among the limits of detections")
    return notes


def _curves(
    data: Arranged, outcome: Outcome, averages: Accumulated, rules: Protocol, names: tuple[str, ...]
) -> dict[str, Curve]:
    """Curves at IoU 0.5 (or the lowest threshold), all sizes, of the classes that have objects."""
    t = rules.thresholds.index(0.5) if 0.5 in rules.thresholds else 0
    limit = rules.max_dets[-1]
    label = data.group // max(data.pictures, 1)
    right, wrong = outcome.lane(0, t)
    curves = {}
    for k, name in enumerate(names):
        objects = int(averages.objects[k, 0])
        if not objects:
            continue
        rows = np.flatnonzero(label == k)
        rows = rows[np.argsort(-data.results.scores[rows], kind="stable")]
        curves[name] = Curve.trace(
            iou=rules.thresholds[t],
            recall=RECALL_POINTS,
            precision=averages.precision[0, limit][k, t],
            scores=data.results.scores[rows],
            right=right[rows],
            wrong=wrong[rows],
            objects=objects,
        )
    return curves
