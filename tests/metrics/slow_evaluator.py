"""A slow twin of the evaluator: the official tool's loops, written down from their description."""

from __future__ import annotations

import numpy as np

from finespot.metrics import Protocol, Results, Truth


def overlap(d, g, crowd) -> float:
    """Overlap of two (x, y, w, h); over the detection's area for crowds."""
    width = min(d[0] + d[2], g[0] + g[2]) - max(d[0], g[0])
    height = min(d[1] + d[3], g[1] + g[3]) - max(d[1], g[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    return inter / (d[2] * d[3] if crowd else d[2] * d[3] + g[2] * g[3] - inter)


def match_one(dets, truths, ignored, limit):
    """State of each detection (1 right, 0 wrong, -1 ignored or None) of one picture and class at one threshold."""
    order = sorted(range(len(truths)), key=lambda g: ignored[g])
    taken: set[int] = set()
    states = []
    for box in dets:
        best, found = min(limit, 1 - 1e-10), None
        for g in order:
            truth_box, crowd, _ = truths[g]
            if g in taken and not crowd:
                continue
            if found is not None and not ignored[found] and ignored[g]:
                break
            value = overlap(box, truth_box, crowd)
            if value < best:
                continue
            best, found = value, g
        if found is not None:
            taken.add(found)
        if found is None or truths[found][2] == 0:
            states.append(-1 if found is not None and ignored[found] else None)
        else:
            states.append(-1 if ignored[found] else 1)
    return states


def average(entries, objects):
    """(precision at 101 points, recall) of (score, state) entries in picture order."""
    entries = [entries[k] for k in np.argsort([-score for score, _ in entries], kind="stable")] if entries else []
    right = np.cumsum([state == 1 for _, state in entries])
    wrong = np.cumsum([state == 0 for _, state in entries])
    recall = right / objects
    precision = right / (wrong + right + np.spacing(1))
    for k in range(len(precision) - 1, 0, -1):
        precision[k - 1] = max(precision[k - 1], precision[k])
    line = np.zeros(101)
    for r, point in enumerate(np.linspace(0, 1, 101)):
        k = np.searchsorted(recall, point, side="left")
        if k < len(precision):
            line[r] = precision[k]
    return line, recall[-1] if len(recall) else 0.0


def evaluate_slowly(truth: Truth, results: Results, rules: Protocol) -> dict[str, float | None]:
    """The protocol's rows, by its loops."""
    pictures = sorted(range(len(truth.image_ids)), key=lambda k: truth.image_ids[k])
    cells: dict[tuple[str, float, int], list] = {}
    for k in range(len(truth.classes)):
        for area in rules.areas:
            per_threshold, objects = _entries(truth, results, rules, k, area, pictures)
            for t, entries in per_threshold.items():
                for limit in rules.max_dets:
                    if objects:
                        chosen = [(score, state) for score, state, rank in entries if rank < limit]
                        cells.setdefault((area.label, t, limit), []).append(average(chosen, objects))
    values = {}
    for row in rules.rows:
        thresholds = [t for t in rules.thresholds if row.iou is None or t == row.iou]
        found = [one for t in thresholds for one in cells.get((row.area, t, rules.limit(row)), [])]
        pick = [line.mean() if row.kind == "AP" else recall for line, recall in found]
        values[rules.label(row)] = float(np.mean(pick)) if pick else None
    return values


def _entries(truth, results, rules, k, area, pictures):
    per_threshold: dict[float, list] = {t: [] for t in rules.thresholds}
    objects = 0
    for picture in pictures:
        rows = np.flatnonzero((truth.image == picture) & (truth.label == k))
        ignored = [bool(truth.crowd[g]) or not area.low <= truth.area[g] <= area.high for g in rows]
        truths = [(truth.boxes[g], bool(truth.crowd[g]), int(truth.ids[g])) for g in rows]
        objects += sum(not flag for flag in ignored)
        found = np.flatnonzero((results.image == picture) & (results.label == k))
        found = found[np.argsort(-results.scores[found], kind="stable")][: rules.max_dets[-1]]
        sizes = [results.boxes[d, 2] * results.boxes[d, 3] for d in found]
        for t in rules.thresholds:
            states = match_one([results.boxes[d] for d in found], truths, ignored, t)
            for rank, (d, state, size) in enumerate(zip(found, states, sizes)):
                if state is None:
                    state = 0 if area.low <= size <= area.high else -1
                per_threshold[t].append((results.scores[d], state, rank))
    return per_threshold, objects
