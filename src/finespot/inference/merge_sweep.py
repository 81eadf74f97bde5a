"""The score of each way to merge tiles, from one pass of the network.

What the windows of a picture gave is kept until every operator has merged it, at every threshold; then it goes. So a
sweep costs one validation and the merges, and needs the memory of one picture's detections and of all that is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from finespot import metrics
from finespot.boxes import Suppressor, suppressor
from finespot.errors import FineSpotError
from finespot.inference.pipeline import Settings, walk
from finespot.inference.prepare import scale_notes, scaling, uncut
from finespot.inference.sources import Entry
from finespot.inference.timing import Timing
from finespot.inference.validate import match_classes, most_detections
from finespot.inference.windows import asks_truth
from finespot.runtimes import Session
from finespot.structures import Detections, Tiling
from finespot.tiling import merge

if TYPE_CHECKING:
    from finespot.data import Dataset

OPERATORS = (
    "greedy",
    "greedy(metric=ios)",
    "nmm",
    "nmm(metric=ios)",
    "nmm(transitive=true)",
    "soft",
    "soft(method=linear)",
    "weighted",
)
THRESHOLDS = (0.5, 0.7)


@dataclass(frozen=True)
class SweepRow:
    """One operator at one threshold (None: it takes none): the protocol's numbers, detections that are left, and the
    CPU milliseconds that merging a picture took.
    """

    operator: str
    threshold: float | None
    values: dict[str, float | None]
    detections: int
    ms: float


@dataclass(frozen=True)
class MergeSweep:
    """What a sweep gave: rows in the order of the operators, and where the time of the one pass went."""

    protocol: metrics.Protocol
    rows: list[SweepRow]
    timing: Timing
    notes: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """The protocol's AP numbers that its thresholds and limits cover."""
        rules = self.protocol
        return [rules.label(row) for row in rules.rows if row.kind == "AP" and rules.covers(row)]

    @property
    def best(self) -> SweepRow:
        """The row of the highest AP (the first of `labels`); of equal ones the first."""
        return max(self.rows, key=lambda row: row.values[self.labels[0]] or 0.0)

    def table(self) -> Any:
        """A `rich` table: a line an operator and threshold, the best one bold."""
        from finespot.writers.table import ResultTable

        labels = self.labels
        table = ResultTable(("merge",), ("iou", *labels, "boxes", "ms"), box=None, pad_edge=False)
        for row in self.rows:
            values = ["-" if row.values[name] is None else f"{row.values[name]:.3f}" for name in labels]
            threshold = "-" if row.threshold is None else f"{row.threshold:g}"
            style = "bold" if row is self.best else None
            table.row(row.operator, threshold, *values, str(row.detections), f"{row.ms:.1f}", style=style)
        return table

    def to_json(self) -> dict[str, Any]:
        """Plain values for a file."""
        rows = [
            {
                "merge": row.operator,
                "iou": row.threshold,
                "values": row.values,
                "detections": row.detections,
                "ms": row.ms,
            }
            for row in self.rows
        ]
        return {"protocol": self.protocol.name, "rows": rows, "notes": self.notes}


@dataclass
class _Run:
    """An operator at a threshold, and what it left so far."""

    operator: str
    threshold: float | None
    nms: Suppressor
    seconds: float = 0.0
    found: list[Detections] = field(default_factory=list)


def merge_sweep(
    session: Session,
    dataset: Dataset,
    *,
    operators: Sequence[str] = OPERATORS,
    thresholds: Sequence[float] = THRESHOLDS,
    protocol: str | metrics.Protocol = "coco",
    imgsz: int | None = None,
    tiling: Tiling | None = None,
    batch: int = 8,
    conf: float = 0.001,
    max_det: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MergeSweep:
    """Score each operator at each threshold on a data set, with one pass of the network over its tiles.

    Parameters
    ----------
    operators:
        As `Tiling.merge` takes them, options in the text; one that takes no threshold comes once.
    thresholds:
        What the operators compare with.
    protocol, imgsz, tiling, batch, conf, max_det, progress:
        As in `validate`; the tiling's own operator has no part in it.

    Raises
    ------
    FineSpotError
        As `validate`; or nothing is cut, an operator is unknown, or there is none.
    """
    rules = metrics.protocol(protocol) if isinstance(protocol, str) else protocol
    card = session.card
    cut = card.tiling if tiling is None else tiling
    if cut is None or cut.size is None:
        raise FineSpotError("merges tiles, but nothing is cut", where="merge-sweep", hint="give --slice")
    if not any(row.kind == "AP" and rules.covers(row) for row in rules.rows):
        raise FineSpotError(f"'{rules.name}' has no AP to choose by", where="merge-sweep", hint="try coco")
    rule, notes = scaling(
        card.imgsz if imgsz is None else imgsz, session.stride, replace(cut, merge=None, metric=None), card.fit
    )
    notes += scale_notes(rule, card)
    most = most_detections([rules]) if max_det is None else max_det
    annotations = [dataset.annotations(i) for i in range(len(dataset))]
    told = annotations if asks_truth(session) else None
    settings = Settings(rule, conf=conf, max_det=most, batch=batch, multi_label=True, keep_parts=True, truth=told)
    runs = _runs(operators, thresholds)
    labels, class_notes = match_classes(session.classes, dataset.classes)
    timing, sizes = Timing(), []
    entries = (Entry(dataset.path(index), partial(dataset.image, index)) for index in range(len(dataset)))
    for outcome in walk(session, entries, settings, timing):
        found = outcome.detections
        sizes.append(found.size)
        for run in runs:
            started = time.process_time()
            merged = merge(
                outcome.parts,
                size=found.size,
                classes=found.classes,
                iou=0.0 if run.threshold is None else run.threshold,
                max_det=most,
                suppress=session.head.suppress or len(outcome.parts) > 1,
                nms=run.nms,
                conf=conf,
                source=found.source,
            )
            run.seconds += time.process_time() - started
            known = merged.select(labels[merged.labels] >= 0)
            run.found.append(replace(known, labels=labels[known.labels], classes=dataset.classes))
        if progress is not None:
            progress(len(sizes), len(dataset))
    ids: list[int | str] = [dataset.image_id(i) for i in range(len(dataset))]
    truth = metrics.Truth.from_annotations(annotations, dataset.classes, ids, heeded=rules.ignored)
    rows = []
    for run in runs:
        values = metrics.evaluate(truth, metrics.Results.from_detections(run.found, truth), rules).values
        left = sum(len(one) for one in run.found)
        rows.append(SweepRow(run.operator, run.threshold, values, left, 1000 * run.seconds / max(1, len(sizes))))
    return MergeSweep(rules, rows, timing, [*dataset.notes, *notes, *uncut(sizes, rule.tiling), *class_notes])


def _runs(operators: Sequence[str], thresholds: Sequence[float]) -> list[_Run]:
    """Each operator at each threshold, where it takes one."""
    if isinstance(operators, str) or not operators or not thresholds:
        raise FineSpotError("expected operators and thresholds, one of each at least", where="merge-sweep")
    runs = []
    for operator in operators:
        nms = suppressor(operator)
        takes = getattr(nms, "thresholded", True)
        runs += [_Run(operator, threshold, nms) for threshold in (thresholds if takes else [None])]
    return runs
