"""From truth and results to a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.accumulation import Accumulated, accumulate
from finespot.metrics.arrangement import Arranged, arrange
from finespot.metrics.miss_rate import log_mean
from finespot.metrics.outcome import Outcome, judge
from finespot.metrics.protocols import RECALL_POINTS, Protocol, Row, protocol
from finespot.metrics.report import Curve, Report
from finespot.metrics.tables import Results, Truth

Floats = NDArray[np.float64]

_LRP = ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "oLRP_threshold")


def evaluate(truth: Truth, results: Results, protocol_or_name: Protocol | str = "coco") -> Report:
    """Score results against the truth of the same pictures by a protocol.

    Without any detection every number of a class with objects is 0 (the official tools fail).

    Raises
    ------
    FineSpotError
        The protocol's name is unknown, or it needs the sizes of the pictures and the truth has none.
    """
    rules = protocol(protocol_or_name) if isinstance(protocol_or_name, str) else protocol_or_name
    data = arrange(truth, results, rules)
    # The first rows of a file are no prefix by score, so a smaller limit of such rows changes who takes what.
    steps = [(limit,) for limit in rules.limits] if rules.scope == "rows" else [rules.limits]
    passes = [(limits, part, judge(part, rules)) for limits in steps for part in [data.within(limits[-1])]]
    averages = accumulate(passes, rules)
    names = data.names
    tables = {rules.label(row): (row, _slice(averages, rules, row)) for row in rules.rows}
    counted = np.bincount(data.truth_group[~data.ignored] // max(data.pictures, 1), minlength=len(names))
    found = np.bincount(data.group // max(data.pictures, 1), minlength=len(names))
    return Report(
        protocol=rules,
        classes=names,
        values={
            label: _mean(table, row, averages, rules)
            for label, (row, table) in tables.items()
            if row.kind != "oLRP_threshold"
        },
        per_class={
            name: {label: _of_class(table[k], row, rules) for label, (row, table) in tables.items()}
            for k, name in enumerate(names)
        },
        objects={name: int(counted[k]) for k, name in enumerate(names)},
        images=len(truth.image_ids),
        truths=int(counted.sum()),
        ignored=_count_ignored(truth, data, rules),
        detections=len(data.group),
        found={name: int(found[k]) for k, name in enumerate(names)},
        kept={key: (int(objects), int(detections)) for key, (objects, detections) in zip(truth.image_ids, data.kept)},
        curves=_curves(data, passes[-1][2], averages, rules),
        averages=averages,
        notes=(*truth.notes, *results.notes, *_notes(results, data, rules)),
    )


def both(truth: Truth, results: Results, protocol_or_name: Protocol | str = "coco") -> tuple[Report, Report | None]:
    """The report of a protocol as its tool has it, and that without the tool's oddities; None where there are none.

    The two are for columns side by side, never for one table of several protocols: raises as `evaluate`.
    """
    official = evaluate(truth, results, protocol_or_name)
    return official, cleaned(official, truth, results)


def cleaned(official: Report, truth: Truth, results: Results) -> Report | None:
    """The report of the same tables without the oddities of a report's protocol; None where it has none."""
    rules = official.protocol.clean()
    if rules is official.protocol:
        return None
    return replace(evaluate(truth, results, rules), settings=official.settings)


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
    if not rules.covers(row):
        return np.full((len(averages.objects), 0), np.nan)
    key = rules.position(row), rules.limit(row)
    if row.kind in _LRP:
        return averages.lrp[key][:, [_LRP.index(row.kind)]]
    source = {"AP": averages.average, "AR": averages.recall, "MR": averages.missed}[row.kind]
    if row.iou is None:
        return source[key][:, : len(rules.thresholds)]
    return source[key][:, [rules.lanes.index(row.iou)]]


def _of_class(table: Floats, row: Row, rules: Protocol) -> float | None:
    values = table[~np.isnan(table)]
    if not len(values):
        return None
    if row.kind == "MR":
        return log_mean(values)
    return float(values.mean()) * _unit(row, rules)


def _mean(table: Floats, row: Row, averages: Accumulated, rules: Protocol) -> float | None:
    """The mean over classes."""
    rule = row.class_mean or rules.class_mean
    if rule == "present" or row.kind not in ("AP", "AR"):
        return _of_class(table, row, rules)
    present = averages.objects[:, rules.position(row)] > 0
    if not present.any() or not table.shape[1]:
        return None
    values = np.where(present, np.nan_to_num(table).mean(axis=1), 0.0)
    weights = averages.holding * present if rule == "pictures" else np.ones(len(values))
    return float((values * weights).sum() / weights.sum()) * _unit(row, rules)


def _unit(row: Row, rules: Protocol) -> float:
    return 100.0 if rules.percent and not row.fraction and row.kind in ("AP", "AR") else 1.0


def _count_ignored(truth: Truth, data: Arranged, rules: Protocol) -> int:
    """Ignored objects and regions as the data set has them: a region that became a crowd of each class is one."""
    own = data.truth_row < len(truth)
    crowds = int((data.ignored & own & ~data.truth.crowd).sum())
    regions = truth.count_regions() if "crowd" in rules.ignored else len(truth.regions) + len(truth.others)
    return crowds + regions - (0 if rules.regions == "crowds" else len(truth.others))


def _notes(results: Results, data: Arranged, rules: Protocol) -> list[str]:
    notes = []
    if not len(results):
        notes.append("no detection at all: the numbers of classes with objects are 0")
    if rules.id_zero_lost and (data.truth.ids == 0).any():
        notes.append("an annotation has id 0 and counts as never found, as in the official tool (fix_id0 mends it)")
    if rules.regions in ("half covered", "inside") and len(results) > data.kept[:, 1].sum():
        notes.append(f"{len(results) - data.kept[:, 1].sum()} detections in ignore regions were deleted")
    if data.beyond:
        place = "a picture and class" if rules.scope == "class" else "a picture"
        notes.append(f"{data.beyond} detections beyond {rules.largest} in {place} were left out")
    for row in rules.rows:
        if row.iou is not None and row.iou not in rules.lanes:
            notes.append(f"{rules.label(row)} has no value: {row.iou:g} is not among the IoU thresholds")
        if rules.limit(row) not in rules.limits:
            notes.append(f"{rules.label(row)} has no value: {row.exactly} is not among the limits of detections")
    return notes


def _curves(data: Arranged, outcome: Outcome, averages: Accumulated, rules: Protocol) -> dict[str, Curve]:
    """Curves at IoU 0.5 (or the lowest threshold), all sizes, of the classes that have objects."""
    t = rules.thresholds.index(0.5) if 0.5 in rules.thresholds else 0
    label = data.group // max(data.pictures, 1)
    right, wrong = outcome.lane(0, t)
    curves = {}
    for k, name in enumerate(data.names):
        objects = int(averages.objects[k, 0])
        if not objects:
            continue
        rows = np.flatnonzero(label == k)
        rows = rows[np.argsort(-data.results.scores[rows], kind="stable")]
        curves[name] = Curve.trace(
            iou=rules.thresholds[t],
            recall=RECALL_POINTS,
            precision=averages.precision[0, rules.largest][k, t],
            scores=data.results.scores[rows],
            right=right[rows],
            wrong=wrong[rows],
            objects=objects,
        )
    return curves
