"""A slow twin of the error analysis: TIDE's loops, written down from their description."""

from __future__ import annotations

import math

from slow_evaluator import overlap

from finespot.metrics import Results, Truth

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")


def covers(region, size) -> bool:
    return region[0] <= 0 and region[1] <= 0 and region[0] + region[2] >= size[1] and region[1] + region[3] >= size[0]


def regions_of(truth: Truth, picture: int):
    """(box, class or None) of the ignore regions of a picture."""
    crowds = [
        (truth.boxes[g], truth.label[g]) for g in range(len(truth)) if truth.crowd[g] and truth.image[g] == picture
    ]
    free = [(box, None) for image, box in zip(truth.regions.image, truth.regions.boxes) if image == picture]
    return crowds + free


def settle_picture(truth: Truth, results: Results, picture: int, pos: float, bg: float, max_dets: int):
    """Detections and objects of one picture as dictionaries."""
    objects = [
        {"row": g, "label": truth.label[g], "area": truth.area[g], "used": False, "usable": False, "best": None}
        for g in range(len(truth))
        if truth.image[g] == picture and not truth.crowd[g]
    ]
    rows = sorted((d for d in range(len(results)) if results.image[d] == picture), key=lambda d: -results.scores[d])
    found = []
    for d in rows[:max_dets]:
        box, label = results.boxes[d], results.label[d]
        iou = [overlap(box, truth.boxes[one["row"]], False) for one in objects]
        one = {"label": label, "score": results.scores[d], "area": box[2] * box[3], "iou": iou}
        found.append({**one, "used": False, "ignored": False, "kind": None, "about": None, "box": box})
    for one in found:
        value, best = largest(one, objects, lambda thing, one=one: thing["label"] == one["label"] and not thing["used"])
        if best is not None and value >= pos:
            one["used"] = best["used"] = True
            one["about"] = best
    spare(truth, picture, found, pos)
    for one in found:
        if not one["used"]:
            one["kind"], one["about"] = name_error(one, objects, pos, bg)
            thing = one["about"]
            if one["kind"] in ("Loc", "Cls") and not thing["used"]:
                thing["usable"] = True
                if thing["best"] is None or thing["best"]["score"] < one["score"]:
                    thing["best"] = one
    return found, objects


def spare(truth: Truth, picture: int, found, pos: float) -> None:
    """Flag the detections on ignore regions."""
    for region, label in regions_of(truth, picture):
        whole = truth.sizes is not None and covers(region, truth.sizes[picture])
        for one in found:
            inside = 1.0 if whole else overlap(one["box"], region, True)
            if not one["used"] and inside > pos and label in (None, one["label"]):
                one["ignored"] = True


def largest(one, objects, accepted):
    """The largest overlap of a detection with objects that are accepted, and the first object that has it."""
    value, chosen = 0.0, None
    for g, thing in enumerate(objects):
        if accepted(thing) and one["iou"][g] > value:
            value, chosen = one["iou"][g], thing
    return value, chosen


def name_error(one, objects, pos: float, bg: float):
    """(kind, object) of a detection that found nothing."""
    value, thing = largest(one, objects, lambda thing: thing["label"] == one["label"])
    if bg <= value <= pos:
        return "Loc", thing
    value, thing = largest(one, objects, lambda thing: thing["label"] != one["label"])
    if value >= pos:
        return "Cls", thing
    value, thing = largest(one, objects, lambda thing: thing["label"] == one["label"] and thing["used"])
    if value >= pos:
        return "Dupe", thing
    value, thing = largest(one, objects, lambda thing: True)
    return ("Bkg", None) if value <= bg else ("Both", thing)


def average(points, count: int):
    """From (score, right) in the order they were added; None where nothing is there."""
    if not count:
        return 0.0 if points else None
    points = sorted(points, key=lambda point: -point[0])
    right = wrong = 0
    recalls, precisions = [], []
    for _, good in points:
        right, wrong = right + good, wrong + (not good)
        recalls.append(right / count)
        precisions.append(right / (right + wrong))
    total = 0.0
    for k in range(101):
        reached = [precision for recall, precision in zip(recalls, precisions) if recall >= k / 100]
        total += max(reached, default=0.0)
    return 100 * total / 101


def mean(points, counts, counted):
    """Over classes with a point or an object; `points` are (class, score, right)."""
    values = [average([point[1:] for point in points if point[0] == k], counts[k]) for k in range(len(counts))]
    values = [value for value, there in zip(values, counted) if value is not None and there]
    return sum(values) / len(values) if values else None


def mended_point(one):
    """(class, score, True) where mending makes a detection right, else None."""
    if one["kind"] in ("Loc", "Cls") and not one["about"]["used"] and one["about"]["best"] is one:
        return one["about"]["label"], one["score"], True
    return None


def analyse(found, objects, classes: int, only_present: bool):
    """All numbers of some detections and objects, which come by picture and score."""
    counts = [sum(thing["label"] == k for thing in objects) for k in range(classes)]
    counted = [bool(count) or not only_present for count in counts]
    base = mean([(one["label"], one["score"], one["used"]) for one in found if not one["ignored"]], counts, counted)
    missed = [thing for thing in objects if not thing["used"] and not thing["usable"]]
    errors = [one for one in found if not one["used"]]
    correct = [(one["label"], one["score"], True) for one in found if one["used"]]

    def repair(kinds, errors, correct):
        points = []
        for one in errors:
            if one["kind"] in kinds:
                points.append(mended_point(one))
            elif not one["ignored"]:
                points.append((one["label"], one["score"], False))
        points = [point for point in points if point is not None] + correct
        fewer = [n - sum(thing["label"] == k for thing in missed) * ("Miss" in kinds) for k, n in enumerate(counts)]
        value = mean(points, fewer, counted)
        return 100.0 if value is None else value

    def gain(value, before):
        return None if base is None else max(0.0, value - before)

    progressive, before, left, good = {}, base, errors, correct
    for kind in KINDS:
        value = repair((kind,), left, good)
        progressive[kind] = gain(value, before)
        good = good + [point for one in left if one["kind"] == kind and (point := mended_point(one))]
        left = [one for one in left if one["kind"] != kind]
        before = value
    wrong = [(one["label"], 0, False) for one in errors if not one["ignored"]]
    perfect = mean(wrong + [(label, 1, True) for label, _, _ in correct], counts, counted)
    unused = [sum(thing["label"] == k and not thing["used"] for thing in objects) for k in range(classes)]
    as_is = [(one["label"], one["score"], False) for one in errors if not one["ignored"]] + correct
    complete = mean(as_is, [n - m for n, m in zip(counts, unused)], counted)
    return {
        "ap": base,
        "counts": {k: sum(one["kind"] == k for one in found) + len(missed) * (k == "Miss") for k in KINDS},
        "main": {kind: gain(repair((kind,), errors, correct), base) for kind in KINDS},
        "progressive": progressive,
        "special": {
            "FalsePos": None if base is None else perfect - base,
            "FalseNeg": None if base is None else (100.0 if complete is None else complete) - base,
        },
        "objects": len(objects),
    }


def tide_slowly(truth: Truth, results: Results, *, pos=0.5, bg=0.1, max_dets=100, sizes=()):
    """The numbers of the whole set, and a list of those by size."""
    found, objects = [], []
    for picture in range(len(truth.image_ids)):
        part = settle_picture(truth, results, picture, pos, bg, max_dets)
        found += part[0]
        objects += part[1]
    classes, bins = len(truth.classes), []
    for low, high in zip((0, *sizes), (*sizes, math.inf)):

        def inside(area, low=low, high=high):
            return low**2 <= area < high**2

        part = [one for one in found if inside((one["about"] or one)["area"])]
        bins.append(analyse(part, [thing for thing in objects if inside(thing["area"])], classes, True))
    return analyse(found, objects, classes, False), bins
