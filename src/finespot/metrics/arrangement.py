"""Truth and results made ready for matching: what a protocol deletes, ignores and limits, and the order of the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from finespot.metrics.deletion import half_covered, strictly_inside
from finespot.metrics.matching import rank_in_group
from finespot.metrics.protocols import Protocol
from finespot.metrics.tables import Regions, Results, Truth

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

ALL_CLASSES = "all classes"


@dataclass(frozen=True)
class Arranged:
    """Truth and kept detections sorted by (class, picture), truths in file order, detections by falling score.

    `names` are the classes that are evaluated, which labels refer to. `ignored` flags truths that count in no size
    range. `group` is class * pictures + picture; `rank` the place of a detection among those that a limit counts; `row`
    its row in the results, `truth_row` that of a truth (regions that became crowds stand behind the others). `kept`
    (P, 2) are the truths (of any class) and detections that regions left in each picture; `beyond` is the number of
    detections over the limit.
    """

    names: tuple[str, ...]
    truth: Truth
    results: Results
    ignored: Flags
    truth_group: Rows
    group: Rows
    rank: Rows
    row: Rows
    truth_row: Rows
    pictures: int
    kept: Rows
    beyond: int

    @property
    def classes(self) -> int:
        """How many classes are evaluated."""
        return len(self.names)

    def within(self, limit: int | None) -> Arranged:
        """The same with the detections of a smaller limit."""
        if limit is None:
            return self
        return self.only(self.rank < limit)

    def only(self, keep: Flags) -> Arranged:
        """The same with some of the detections."""
        if keep.all():
            return self
        columns = {name: getattr(self, name)[keep] for name in ("group", "rank", "row")}
        return replace(self, results=self.results.select(keep), **columns)


def arrange(truth: Truth, results: Results, rules: Protocol) -> Arranged:
    """Delete, limit and sort both tables as a protocol says.

    Raises
    ------
    FineSpotError
        The protocol deletes what regions cover, but the sizes of the pictures are not known.
    """
    whole = truth.spread() if rules.regions == "crowds" else truth
    truth_order, order, others = np.arange(len(whole)), np.arange(len(results)), truth.others.image
    if rules.regions == "half covered":
        tables = (truth, results, truth.others)
        covered = half_covered(truth, *((table.image, table.boxes) for table in tables))
        truth_order, order, others = (rows[~flags] for rows, flags in zip((truth_order, order, others), covered))
    elif rules.regions == "inside":
        order = order[~strictly_inside(_without_regions(truth, rules), results)]
    pictures = len(truth.image_ids)
    own = np.concatenate([truth.image[truth_order[truth_order < len(truth)]], others])
    kept = np.column_stack([np.bincount(one, minlength=pictures) for one in (own, results.image[order])])
    names, evaluated = _evaluated(truth, rules)
    rank = _rank_in_picture(results, order, rules)
    truth_order = truth_order[evaluated[whole.label[truth_order]] >= 0]
    # A label of -1 is a class that the truth does not have; such a detection only takes its place under a limit.
    order = order[evaluated[results.label[order]] >= 0]
    turn = np.empty(pictures, np.int64)
    turn[sorted(range(pictures), key=lambda k: _sort_key(truth.image_ids[k]))] = np.arange(pictures)
    truth_group, group = turn[whole.image], turn[results.image]
    if rules.pooled:
        # The classes come one after the other, before the scores are looked at.
        truth_order = truth_order[np.argsort(whole.label[truth_order], kind="stable")]
        order = order[np.argsort(results.label[order], kind="stable")]
    else:
        truth_group = truth_group + evaluated[whole.label] * pictures
        group = group + evaluated[results.label] * pictures
    truth_order = truth_order[np.argsort(truth_group[truth_order], kind="stable")]
    order = order[np.argsort(-results.scores[order], kind="stable")]
    order = order[np.argsort(group[order], kind="stable")]
    rank = rank_in_group(group[order]) if rank is None else rank[order]
    count = len(order)
    if rules.largest is not None:
        order, rank = order[rank < rules.largest], rank[rank < rules.largest]
    sorted_truth = whole.select(truth_order)
    return Arranged(
        names=names,
        truth=sorted_truth,
        results=results.select(order),
        ignored=ignored_rows(sorted_truth, rules),
        truth_group=truth_group[truth_order],
        group=group[order],
        rank=rank,
        row=order,
        truth_row=truth_order,
        pictures=pictures,
        kept=kept,
        beyond=count - len(order),
    )


def _without_regions(truth: Truth, rules: Protocol) -> Truth:
    """The truth without the regions of sequences whose regions are not used."""
    left_out = [str(key).split("/")[0] in rules.without_regions for key in truth.image_ids]
    use = ~np.array(left_out, bool)[truth.regions.image]
    return replace(truth, regions=Regions(truth.regions.image[use], truth.regions.boxes[use]))


def _evaluated(truth: Truth, rules: Protocol) -> tuple[tuple[str, ...], Rows]:
    """Names of the classes that are evaluated, and for each class of the truth its place among them or -1."""
    use = np.array([name not in rules.unevaluated for name in truth.classes], bool)
    # The last entry is that of the label -1.
    place = np.append(np.where(use, np.cumsum(use) - 1, -1), -1)
    names = tuple(name for name, used in zip(truth.classes, use) if used)
    return (ALL_CLASSES,) if rules.pooled else names, place


def _rank_in_picture(results: Results, order: Rows, rules: Protocol) -> Rows | None:
    """The place of each detection among those of its picture, where a limit counts those of all classes."""
    if rules.scope == "class" or rules.largest is None:
        return None
    if rules.scope == "picture":
        order = order[np.argsort(-results.scores[order], kind="stable")]
    order = order[np.argsort(results.image[order], kind="stable")]
    rank = np.full(len(results), -1, np.int64)
    rank[order] = rank_in_group(results.image[order])
    return rank


def ignored_rows(truth: Truth, rules: Protocol) -> Flags:
    """(G,) the rows that a protocol ignores by their flags."""
    flags = np.zeros(len(truth), bool)
    for name in rules.ignored:
        flags |= truth.crowd if name == "crowd" else truth.marks.get(name, False)
    return flags


def _sort_key(image_id: int | str) -> tuple[int, int, str]:
    return (0, image_id, "") if isinstance(image_id, int) else (1, 0, image_id)
