"""The named suppressions, box by box in plain Python: what the tests compare with."""

from __future__ import annotations

from functools import partial

import numpy as np


def iou(a, b) -> float:
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return float(inter / union) if union > 0 else 0.0


def iou32(a, b) -> float:
    return iou(a.astype(np.float32), b.astype(np.float32))


def apart(a, b) -> float:
    return float((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4


def diou(a, b) -> float:
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    return iou(a, b) - (apart(a, b) / float(diagonal) if diagonal > 0 else 0.0)


def ios(a, b) -> float:
    inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    least = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return float(inter / least) if least > 0 else 0.0


def nwd(a, b, constant) -> float:
    size = (a[2] - a[0] - b[2] + b[0]) ** 2 + (a[3] - a[1] - b[3] + b[1]) ** 2
    return float(np.exp(-np.sqrt(apart(a, b) + size / 4) / constant))


def choosing(similarity):
    def loop(boxes, scores, labels, threshold):
        kept = []
        for j in np.argsort(-scores, kind="stable"):
            if not any(labels[i] == labels[j] and similarity(boxes[i], boxes[j]) > threshold for i in kept):
                kept.append(j)
        return boxes[kept], scores[kept], labels[kept]

    return loop


def merging(similarity, transitive=False):
    """Box by box, by falling score: each joins the best box before it that it matches (and the group of that)."""

    def loop(boxes, scores, labels, threshold):
        order, head, hull = np.argsort(-scores, kind="stable"), {}, {}
        for place, j in enumerate(order):
            before = [i for i in order[:place] if transitive or head[i] == i]
            found = [i for i in before if labels[i] == labels[j] and similarity(boxes[i], boxes[j]) > threshold]
            head[j] = head[found[0]] if found else j
            old = hull.get(head[j], boxes[j])
            hull[head[j]] = np.concatenate([np.minimum(old[:2], boxes[j, :2]), np.maximum(old[2:], boxes[j, 2:])])
        kept = [j for j in order if head[j] == j]
        return np.array([hull[j] for j in kept]).reshape(-1, 4), scores[kept], labels[kept]

    return loop


def any_class(loop):
    """One class for all; what is kept has its own."""

    def run(boxes, scores, labels, threshold):
        boxes, scores, _ = loop(boxes, scores, np.zeros(len(labels), int), threshold)
        return boxes, scores, None

    return run


def soft(factor, similarity=None):
    def loop(boxes, scores, labels, threshold):
        scores, left, picked = scores.copy(), list(range(len(scores))), []
        while left:
            best = min(left, key=lambda row: (-scores[row], row))
            if scores[best] < 0.001:
                break
            picked.append(best)
            left.remove(best)
            for row in left:
                if labels[row] == labels[best]:
                    scores[row] *= factor((similarity or iou)(boxes[best], boxes[row]), threshold)
        return boxes[picked], scores[picked], labels[picked]

    return loop


def matrix(kernel):
    def loop(boxes, scores, labels, threshold):
        order = np.argsort(-scores, kind="stable")
        worst, changed = {}, scores.copy()
        for place, j in enumerate(order):
            better = [i for i in order[:place] if labels[i] == labels[j]]
            overlaps = [iou(boxes[i], boxes[j]) for i in better]
            worst[j] = max(overlaps, default=0.0)
            # A box that lies exactly on a better one lowers nobody: 0 / 0 or a division by 0.
            ratios = [kernel(x) / kernel(worst[i]) for i, x in zip(better, overlaps) if kernel(worst[i]) > 0]
            changed[j] *= min([1.0, *ratios])
        order = np.lexsort((np.arange(len(scores)), -changed))
        return boxes[order], changed[order], labels[order]

    return loop


def weighted(boxes, scores, labels, threshold, similarity=None):
    clusters = []
    for row in np.argsort(-scores, kind="stable"):
        overlaps = [
            (similarity or iou)(boxes[row], one["box"]) if labels[row] == one["label"] else -1.0 for one in clusters
        ]
        best = int(np.argmax(overlaps)) if overlaps else 0
        if overlaps and overlaps[best] > threshold:
            one = clusters[best]
            one["members"].append(row)
            share = sum(scores[k] for k in one["members"])
            if share > 0:
                one["box"] = sum(scores[k] * boxes[k] for k in one["members"]) / share
        else:
            clusters.append({"box": boxes[row], "members": [row], "label": labels[row]})
    means = np.array([sum(scores[k] for k in one["members"]) / len(one["members"]) for one in clusters])
    order = np.argsort(-means, kind="stable")
    pick = lambda key: np.array([clusters[k][key] for k in order])  # noqa: E731
    return pick("box").reshape(-1, 4), means[order], pick("label")


ORACLES = {
    "cluster": choosing(iou32),
    "diou": choosing(diou),
    "ios": choosing(ios),
    "greedy(metric=ios)": choosing(ios),
    "greedy(agnostic=true)": any_class(choosing(iou32)),
    "ios(agnostic=true)": any_class(choosing(ios)),
    "nmm": merging(iou32),
    "nmm(metric=ios)": merging(ios),
    "nmm(agnostic=true)": any_class(merging(iou32)),
    "nmm(transitive=true)": merging(iou32, transitive=True),
    "nmm(transitive=true, metric=ios)": merging(ios, transitive=True),
    "soft(metric=ios)": soft(lambda x, _: np.exp(-(x**2) / 0.5), ios),
    "soft(method=linear, metric=ios, agnostic=true)": any_class(soft(lambda x, t: 1 - x if x > t else 1.0, ios)),
    "matrix(agnostic=true)": any_class(matrix(lambda x: np.exp(-2 * x**2))),
    "weighted(metric=ios)": partial(weighted, similarity=ios),
    "weighted(agnostic=true)": any_class(weighted),
    "nwd": choosing(lambda a, b: nwd(a, b, 12.8)),
    "nwd(constant=2)": choosing(lambda a, b: nwd(a, b, 2)),
    "soft": soft(lambda x, _: np.exp(-(x**2) / 0.5)),
    "soft(sigma=0.1)": soft(lambda x, _: np.exp(-(x**2) / 0.1)),
    "soft(method=linear)": soft(lambda x, threshold: 1 - x if x > threshold else 1.0),
    "matrix": matrix(lambda x: np.exp(-2 * x**2)),
    "matrix(sigma=0.5)": matrix(lambda x: np.exp(-0.5 * x**2)),
    "matrix(kernel=linear)": matrix(lambda x: 1 - x),
    "weighted": weighted,
}
