"""Slow twins of the tools of VisDrone, DOTA and TinyPerson: their loops, written down from their description."""

from __future__ import annotations

import numpy as np
from slow_evaluator import overlap

from finespot.metrics import Results, Truth


def by_id(truth: Truth) -> list[int]:
    return sorted(range(len(truth.image_ids)), key=lambda k: truth.image_ids[k])


def by_score(entries: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives, counted along falling score; states are 1, 0 and -1 (ignored)."""
    states = [entries[k][1] for k in np.argsort([-score for score, _ in entries], kind="stable")]
    return np.cumsum([state == 1 for state in states]), np.cumsum([state == 0 for state in states])


def exact_area(recall, precision) -> float:
    recall, precision = np.array([0, *recall, 1.0]), np.array([0, *precision, 0.0])
    for k in range(len(precision) - 1, 0, -1):
        precision[k - 1] = max(precision[k - 1], precision[k])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


def visdrone(truth: Truth, results: Results) -> dict[str, float]:
    """AP and AR in percent, by the weights of pictures; for truth without regions."""
    ignored = truth.crowd | truth.marks["ignore"]
    tables: dict[tuple[int, int, int], tuple[float, float]] = {}
    weights = []
    for c in range(len(truth.classes)):
        own = np.flatnonzero(truth.label == c)
        weights += [c] * len(set(truth.image[own].tolist()))
        for limit in (1, 10, 100, 500):
            for t in range(10):
                entries = []
                for picture in by_id(truth):
                    rows = np.flatnonzero(results.image == picture)[:limit]
                    rows = rows[results.label[rows] == c]
                    rows = rows[np.argsort(-results.scores[rows], kind="stable")]
                    objects = sorted(own[truth.image[own] == picture].tolist(), key=lambda g: ignored[g])
                    entries += zip(results.scores[rows], _visdrone_states(truth, results, rows, objects, ignored, t))
                if entries and len(own):
                    found, false = by_score(entries)
                    recall, precision = found / len(own), found / np.maximum(1, found + false)
                    tables[c, limit, t] = (100 * exact_area(recall, precision), 100 * recall.max())
                else:
                    tables[c, limit, t] = (0.0, 0.0)
    values = {"AP": float(np.mean([tables[c, 500, t][0] for c in weights for t in range(10)]))}
    for limit in (1, 10, 100, 500):
        values[f"AR{limit}"] = float(np.mean([tables[c, limit, t][1] for c in weights for t in range(10)]))
    return values


def _visdrone_states(truth, results, rows, objects, ignored, t) -> list[int]:
    taken, states = set(), []
    for d in rows:
        best, found, state = 0.5 + 0.05 * t, None, 0
        for g in objects:
            if g in taken:
                continue
            if state != 0 and ignored[g]:
                break
            share = overlap(results.boxes[d], truth.boxes[g], ignored[g])
            if share < best:
                continue
            best, found, state = share, g, -1 if ignored[g] else 1
        if state == 1:
            taken.add(found)
        states.append(state)
    return states


def dota(truth: Truth, results: Results, iou: float) -> float:
    """The mean of the classes' 11-point AP."""
    turn = {picture: place for place, picture in enumerate(by_id(truth))}
    averages = []
    for c in range(len(truth.classes)):
        rows = sorted(np.flatnonzero(results.label == c), key=lambda d: (-results.scores[d], turn[results.image[d]], d))
        own = np.flatnonzero(truth.label == c)
        count = int((~truth.marks["difficult"][own]).sum())
        taken, states = set(), []
        for d in rows:
            shares = {
                g: _pixel_iou(results.boxes[d], truth.boxes[g]) for g in own if truth.image[g] == results.image[d]
            }
            g = max(shares, key=lambda one: (shares[one], -one), default=None)
            if g is None or shares[g] <= iou:
                states.append(0)
            elif truth.marks["difficult"][g]:
                states.append(-1)
            else:
                states.append(int(g not in taken))
                taken.add(g)
        found, false = np.cumsum([s == 1 for s in states]), np.cumsum([s == 0 for s in states])
        if not count or not len(rows):
            averages.append(0.0)
            continue
        recall, precision = found / count, found / np.maximum(found + false, np.finfo(float).eps)
        best = [precision[recall >= point].max(initial=0) for point in np.arange(0, 1.1, 0.1)]
        averages.append(float(np.mean(best)))
    return float(np.mean(averages))


def _pixel_iou(d, g) -> float:
    width = min(d[0] + d[2], g[0] + g[2]) - max(d[0], g[0]) + 1
    height = min(d[1] + d[3], g[1] + g[3]) - max(d[1], g[1]) + 1
    inter = max(width, 0) * max(height, 0)
    return inter / ((d[2] + 1) * (d[3] + 1) + (g[2] + 1) * (g[3] + 1) - inter)


def miss_rate(truth: Truth, results: Results, iou: float, low: float, high: float) -> float:
    """The log-average miss rate of objects of sides `low` to `high`, by the program's loops."""
    logs = []
    for c in range(len(truth.classes)):
        entries, objects = [], 0
        for picture in by_id(truth):
            own = np.flatnonzero((truth.image == picture) & (truth.label == c))
            side = np.sqrt(truth.area)
            skip = truth.marks["ignore"] | truth.marks["uncertain"] | (side < low) | (side > high)
            objects += int((~skip[own]).sum())
            rows = np.flatnonzero((results.image == picture) & (results.label == c))
            rows = rows[np.argsort(-results.scores[rows], kind="stable")][:1000]
            found_side = np.sqrt(results.area)
            rows = [d for d in rows if low / 1.25 <= found_side[d] < high * 1.25]
            order = sorted(own.tolist(), key=lambda g: skip[g])
            entries += zip(results.scores[rows], _miss_states(truth, results, rows, order, skip, iou))
        if not objects:
            continue
        found, false = by_score(entries) if entries else (np.zeros(0), np.zeros(0))
        per_image, recall = false / len(truth.image_ids), found / objects
        for point in np.exp(np.log(0.01) + np.arange(9) * np.log(100) / 8):
            place = int((per_image <= point).sum()) - 1
            logs.append(1 - (recall[place] if len(recall) else 0.0))
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(logs).mean()))


def _miss_states(truth, results, rows, order, skip, iou) -> list[int]:
    taken, states = set(), []
    for d in rows:
        best, match = min(iou, 1 - 1e-10), None
        for g in order:
            if g in taken:
                continue
            if match is not None and skip[g]:
                break
            share = overlap(results.boxes[d], truth.boxes[g], skip[g])
            if share < best:
                continue
            best, match = share, g
        if match is None:
            covers = {g: _cover(results.boxes[d], truth.boxes[g], truth.area[g]) for g in order if skip[g]}
            most = max(covers, key=covers.get, default=None)
            match = most if most is not None and covers[most] > 0.5 else None
        if match is not None and not skip[match]:
            taken.add(match)
        if match is not None and skip[match]:
            states.append(-1)
        else:
            states.append(int(match is not None and truth.ids[match] != 0))
    return states


def _cover(d, g, area) -> float:
    share = overlap(d, g, True)
    return share / (1 + share) * (1 + area / (d[2] * d[3])) if share else 0.0
