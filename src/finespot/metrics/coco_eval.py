"""`COCOeval` in the shape of pycocotools: a script that evaluates boxes changes one import and gets the same numbers.

    from finespot.metrics.coco_eval import COCO, COCOeval

Written after the documented behavior of pycocotools 2.0.11. What differs: boxes only; `evalImgs` and `ious` are made
entry by entry when they are read, so changing them changes no number; a change of `params` after `evaluate()` is an
error unless it concerns `maxDets` or `recThrs`; only `summarize()` prints. In scripts that build on the evaluator of
FineSpot itself, `finespot.metrics.evaluate` is the shorter way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.accumulation import accumulate
from finespot.metrics.arrangement import Arranged, arrange
from finespot.metrics.coco_columns import Record, results_table, truth_table
from finespot.metrics.coco_dataset import COCO, HasDataset, columns_of, records_of
from finespot.metrics.matching import overlap
from finespot.metrics.outcome import Outcome, judge
from finespot.metrics.protocols import IOU_50_TO_95, RECALL_POINTS, AreaRange, Protocol, Row
from finespot.metrics.tables import Floats, Rows

__all__ = ["COCO", "COCOeval", "Params"]


class Params:
    """What is evaluated; all of it may be changed before `evaluate()`.

    `imgIds`, `catIds`, `iouThrs`, `recThrs` (rising), `maxDets` per picture and category, `areaRng` ([low, high] in
    square pixels) named by `areaRngLbl`, and `useCats`: 0 takes all categories for one.
    """

    def __init__(self, iouType: str = "bbox") -> None:
        if iouType != "bbox":
            raise FineSpotError(f"expected boxes, 'bbox', but got '{iouType}'", where="iouType")
        self.iouType = iouType
        self.imgIds: Any = []
        self.catIds: Any = []
        self.iouThrs: Any = np.array(IOU_50_TO_95)
        self.recThrs: Any = RECALL_POINTS.copy()
        self.maxDets: Any = [1, 10, 100]
        self.areaRng: Any = [[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]]
        self.areaRngLbl: Any = ["all", "small", "medium", "large"]
        self.useCats: Any = 1


@dataclass(frozen=True)
class _Evaluated:
    """The outcome of `evaluate()`, and of what."""

    rules: Protocol
    chosen: tuple[Any, ...]
    data: Arranged
    outcome: Outcome
    result_ids: Rows


class COCOeval:
    """Evaluation of the boxes `cocoDt` against the truth `cocoGt`.

    `evaluate()`, `accumulate()` and `summarize()` are called in this order. Then `stats` holds the twelve numbers and
    `eval` the arrays: `precision` and `scores` (T, R, K, A, M), `recall` (T, K, A, M), by threshold, recall point,
    category, size range and limit of detections, -1 where there is no object.

    Parameters
    ----------
    cocoGt, cocoDt:
        Truth and results: `COCO` of this module, or pycocotools' own.
    iouType:
        Only "bbox".

    Raises
    ------
    FineSpotError
        Another `iouType`, a wrong record, or an impossible parameter.
    """

    def __init__(self, cocoGt: HasDataset, cocoDt: HasDataset, iouType: str = "bbox") -> None:
        self.params = Params(iouType)
        self.cocoGt, self.cocoDt = cocoGt, cocoDt
        self.eval: dict[str, Any] = {}
        self.stats: Any = []
        self._evaluated: _Evaluated | None = None
        self.params.imgIds = _unique((one["id"] for one in records_of(cocoGt, "images", "truth")), "imgIds")
        self.params.catIds = _unique((one["id"] for one in records_of(cocoGt, "categories", "truth")), "catIds")

    def evaluate(self) -> None:
        """Match detections with objects. Sorts `imgIds`, `catIds` and `maxDets` and takes out doubles, as the original.

        With `useCats` 0 the categories keep their order: equal scores are settled by it.
        """
        params = self.params
        params.imgIds = _unique(params.imgIds, "imgIds")
        if params.useCats:
            params.catIds = _unique(params.catIds, "catIds")
        params.maxDets = sorted(params.maxDets)
        rules = _rules(params)
        truth = truth_table(columns_of(self.cocoGt, "truth"), params.imgIds, params.catIds)
        results, result_ids = results_table(columns_of(self.cocoDt, "results"), params.imgIds, params.catIds)
        data = arrange(truth, results, rules)
        self._evaluated = _Evaluated(rules, _chosen(params), data, judge(data, rules), result_ids)
        self.eval, self.stats = {}, []

    def accumulate(self, p: Params | None = None) -> None:
        """Average what `evaluate()` found; `p` may hold other `maxDets` and `recThrs`."""
        done, params = self._done(), self.params if p is None else p
        if _chosen(params) != done.chosen:
            raise FineSpotError(
                "expected the params that evaluate() saw but got others",
                where="accumulate",
                hint="call evaluate() again; only maxDets and recThrs may change after it",
            )
        points = np.asarray(params.recThrs, np.float64).reshape(-1)
        if (np.diff(points) < 0).any():
            raise FineSpotError("expected recall points that rise", where="recThrs")
        rules = _with_rows(replace(done.rules, max_dets=tuple(sorted(params.maxDets)), rows=()))
        precision, scores, recall = _averages(done, rules, points)
        self.eval = {
            "params": params,
            "counts": list(precision.shape),
            "date": time.strftime("%Y-%m-%d %H:%M:%S"),
            "precision": precision,
            "recall": recall,
            "scores": scores,
        }

    def summarize(self) -> None:
        """Print the twelve numbers and keep them as `stats`; -1 where there is nothing to average."""
        if not self.eval:
            raise FineSpotError("expected averages but there are none", where="summarize", hint="call accumulate()")
        if len(self.eval["params"].maxDets) < 3:
            raise FineSpotError(
                f"expected three limits of detections but got {list(self.eval['params'].maxDets)}",
                where="maxDets",
                hint="the averages of other limits are in `eval`",
            )
        sizes = ("small", "medium", "large")
        limits = self.eval["params"].maxDets
        lines: list[tuple[str, float | None, str, int]] = [
            ("precision", None, "all", 100),
            ("precision", 0.5, "all", limits[2]),
            ("precision", 0.75, "all", limits[2]),
            *(("precision", None, size, limits[2]) for size in sizes),
            *(("recall", None, "all", limit) for limit in limits[:3]),
            *(("recall", None, size, limits[2]) for size in sizes),
        ]
        self.stats = np.array([self._summarized(*line) for line in lines])

    @property
    def evalImgs(self) -> Sequence[Record | None]:  # noqa: N802
        """What became of each category, size range and picture, in this order; None where both sides are empty."""
        return _Cells(self._done())

    @property
    def ious(self) -> Mapping[tuple[ImageKey, int], Any]:
        """Overlaps by (picture, category): detections by falling score x objects; an empty list without either."""
        return _Overlaps(self._done())

    def _done(self) -> _Evaluated:
        if self._evaluated is None:
            raise FineSpotError("expected an evaluation but there is none", hint="call evaluate() first")
        return self._evaluated

    def _summarized(self, kind: str, iou: float | None, area: str, limit: int) -> float:
        """The mean of one slice, printed as a line."""
        params = self.eval["params"]
        thresholds = np.asarray(params.iouThrs, np.float64)
        table = self.eval[kind]
        if iou is not None:
            table = table[thresholds == iou]
        ranges = [k for k, label in enumerate(params.areaRngLbl) if label == area]
        if ranges and ranges[-1] >= table.shape[-2]:
            raise FineSpotError(f"expected a size range of the name '{area}'", where="areaRngLbl")
        table = table[..., ranges, :][..., [k for k, one in enumerate(params.maxDets) if one == limit]]
        found = table[table > -1]
        mean = float(np.mean(found)) if found.size else -1.0
        name = "Average Precision  (AP)" if kind == "precision" else "Average Recall     (AR)"
        overlaps = f"{thresholds[0]:0.2f}:{thresholds[-1]:0.2f}" if iou is None else f"{iou:0.2f}"
        print(f" {name} @[ IoU={overlaps:<9} | area={area:>6s} | maxDets={limit:>3d} ] = {mean:0.3f}")
        return mean


ImageKey = int | str


def _unique(keys: Any, where: str) -> list[Any]:
    """Ids by size, each once, as Python's own numbers or texts."""
    try:
        return sorted({key.item() if isinstance(key, np.generic) else key for key in keys})
    except TypeError as error:
        raise FineSpotError("expected a list of ids, all numbers or all texts", where=where) from error


def _rules(params: Params) -> Protocol:
    """The parameters as a protocol; its size ranges are named by their places, since labels may be anything."""
    if params.iouType != "bbox":
        raise FineSpotError(f"expected boxes, 'bbox', but got '{params.iouType}'", where="iouType")
    for name in ("imgIds", "catIds", "areaRng", "maxDets", "iouThrs"):
        if not len(getattr(params, name)):
            raise FineSpotError("expected at least one but got none", where=name)
    if len(set(params.catIds)) != len(params.catIds):
        raise FineSpotError("expected different categories but got one of them twice", where="catIds")
    return Protocol(
        name="params",
        thresholds=tuple(np.asarray(params.iouThrs, np.float64).tolist()),
        areas=tuple(AreaRange(str(a), low, high) for a, (low, high) in enumerate(params.areaRng)),
        max_dets=tuple(int(limit) for limit in params.maxDets),
        rows=(),
        pooled=not params.useCats,
        id_zero_lost=True,
    )


def _chosen(params: Params) -> tuple[Any, ...]:
    """What the matching depends on, in a form to compare."""
    return (
        _unique(params.imgIds, "imgIds"),
        list(params.catIds),
        np.asarray(params.iouThrs).tolist(),
        [tuple(one) for one in params.areaRng],
        bool(params.useCats),
    )


def _with_rows(rules: Protocol) -> Protocol:
    """The same with a row for every size range and limit, so that all of them are averaged."""
    places = range(len(rules.max_dets))
    return replace(
        rules,
        rows=tuple(Row(f"{area.label} {m}", "AP", area=area.label, place=m) for area in rules.areas for m in places),
    )


def _averages(done: _Evaluated, rules: Protocol, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision and scores (T, R, K, A, M) and recall (T, K, A, M), -1 where there is no object."""
    made = accumulate([(rules.limits, done.data, done.outcome)], rules, points)
    cells = [[(a, limit) for limit in rules.max_dets] for a in range(len(rules.areas))]
    # From (A, M, K, T, R) of the evaluator to the order of the original.
    precision, scores = (
        np.array([[table[cell] for cell in row] for row in cells]).transpose(3, 4, 2, 0, 1)
        for table in (made.precision, made.scores)
    )
    recall = np.array([[made.recall[cell] for cell in row] for row in cells]).transpose(3, 2, 0, 1)
    filled = [np.ascontiguousarray(np.where(np.isnan(one), -1.0, one)) for one in (precision, scores, recall)]
    return filled[0], filled[1], filled[2]


def _rows(done: _Evaluated, k: int, i: int) -> tuple[slice, Rows]:
    """Detections (in their order) and objects (in file order) of category k in picture i."""
    group = k * done.data.pictures + i
    begin, end = np.searchsorted(done.data.group, [group, group + 1])
    first, last = np.searchsorted(done.data.truth_group, [group, group + 1])
    return slice(int(begin), int(end)), np.arange(first, last)


class _Cells(Sequence["Record | None"]):
    """`evalImgs`: records made when they are read."""

    def __init__(self, done: _Evaluated) -> None:
        self._of = done
        self._shape = (done.data.classes, len(done.rules.areas), done.data.pictures)

    def __len__(self) -> int:
        return int(np.prod(self._shape))

    @overload
    def __getitem__(self, index: int) -> Record | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record | None]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record | None] | None:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"no entry {index} among {len(self)}")
        k, a, i = (int(one) for one in np.unravel_index(index % len(self), self._shape))
        return _cell(self._of, k, a, i)


def _cell(done: _Evaluated, k: int, a: int, i: int) -> Record | None:
    data, outcome, rules = done.data, done.outcome, done.rules
    found, objects = _rows(done, k, i)
    ids = done.result_ids[data.row[found]]
    if not len(ids) and not len(objects):
        return None
    ignored = outcome.ignored[objects, a]
    # Objects that count stand first.
    order = np.argsort(ignored, kind="stable")
    place = outcome.place[found]
    partner = np.full((len(rules.thresholds), len(ids)), -1, np.int64)
    partner[:, place >= 0] = outcome.partner[a][:, place[place >= 0]]
    own = np.append(data.truth.ids, 0)[partner].astype(np.float64)
    spared = np.append(outcome.ignored[:, a], False)[partner]
    taken = np.zeros((len(rules.thresholds), len(objects)))
    for d in range(len(ids)):
        # In the order of the detections: of a crowd, the last one stays.
        t = np.flatnonzero(partner[:, d] >= 0)
        taken[t, partner[t, d] - objects[:1]] = ids[d]
    return {
        "image_id": data.truth.image_ids[i],
        "category_id": -1 if rules.pooled else data.truth.classes.original_ids[k],
        "aRng": [rules.areas[a].low, rules.areas[a].high],
        "maxDet": rules.max_dets[-1],
        "dtIds": ids.tolist(),
        "gtIds": data.truth.ids[objects[order]].tolist(),
        "dtMatches": own,
        "gtMatches": taken[:, order],
        "dtScores": data.results.scores[found].tolist(),
        "gtIgnore": ignored[order].astype(np.int64),
        "dtIgnore": spared | ((own == 0) & outcome.outside[a, found]),
    }


class _Overlaps(Mapping[tuple[ImageKey, int], Any]):
    """`ious`: tables made when they are read."""

    def __init__(self, done: _Evaluated) -> None:
        self._of = done
        truth = done.data.truth
        categories = (-1,) if done.rules.pooled else truth.classes.original_ids
        self._keys = {
            (image, category): (k, i)
            for i, image in enumerate(truth.image_ids)
            for k, category in enumerate(categories)
        }

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[tuple[ImageKey, int]]:
        return iter(self._keys)

    def __getitem__(self, key: tuple[ImageKey, int]) -> NDArray[np.float64] | list[Any]:
        data = self._of.data
        found, objects = _rows(self._of, *self._keys[key])
        boxes = data.results.boxes[found]
        if not len(boxes) or not len(objects):
            return []
        pairs = np.indices((len(boxes), len(objects))).reshape(2, -1)
        truth = objects[pairs[1]]
        values = overlap(boxes[pairs[0]], data.truth.boxes[truth], data.truth.crowd[truth])
        return values.reshape(len(boxes), len(objects))
