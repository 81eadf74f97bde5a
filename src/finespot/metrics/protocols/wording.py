"""A protocol's rules in words, for reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finespot.metrics.protocols.rules import Protocol

_SCOPES = {
    "class": "the best {} detections per image and class",
    "picture": "the best {} detections per image over all classes",
    "rows": "the first {} rows of an image's file over all classes, matched anew for each limit",
}
_IOD = {
    "crowds": "overlap with crowds is a share of the detection, and a crowd can be taken again and again",
    "flagged": "overlap with an ignored object is a share of the detection, and it can be taken again and again",
    "ignored": "overlap with an ignored object or one of another size is a share of the detection, and it can be taken "
    "again and again",
    "never": "overlap with an ignored object is an IoU like any other",
}
_REGIONS = {
    "crowds": "a region without a class is ignored for every class",
    "half covered": "objects and detections of which half or more is in ignore regions are deleted",
    "inside": "detections strictly inside an ignore region are deleted",
    "unused": "regions without a class are not used",
}
_LEFTOVERS = {
    "threshold": "a detection left over is ignored where an ignored object covers it by the threshold or more",
    "half": "a detection left over is ignored where an ignored object covers more than half of it",
}
_INTEGRALS = {
    "101 points": "AP is the mean precision at 101 recalls",
    "11 points": "AP is the mean precision at 11 recalls (VOC 2007)",
    "area": "AP is the exact area under precision over recall",
}
_MEANS = {
    "present": "mean over the classes that have objects",
    "pictures": "mean over classes, weighted by the images that hold them",
    "names": "mean over all classes, those without objects as 0",
}


def brief(rules: Protocol) -> str:
    """What no report may leave out: the limit of detections, what is ignored, the mean over classes."""
    ignoring = _ignoring(rules)
    regions = (
        []
        if rules.regions == "crowds"
        else [next(line for line in ignoring if line.startswith(_REGIONS[rules.regions]))]
    )
    return "; ".join([_limit(rules), ignoring[0], *regions, _mean(rules)])


def describe(rules: Protocol) -> list[str]:
    """All rules in words, one line each."""
    lines = [_limit(rules), _matching(rules), *_ignoring(rules)]
    kinds = {row.kind for row in rules.rows}
    lines += [_INTEGRALS[rules.integral]] if "AP" in kinds else []
    if rules.recall_of == "kept":
        lines.append("recall is a share of all objects that were kept, ignored ones too")
    lines.append(_mean(rules))
    if len(rules.areas) > 1:
        unit = "px" if rules.measure == "side" else "px²"
        ranges = ", ".join(f"{area.label} {_bounds(area.low, area.high)}" for area in rules.areas)
        lines.append(f"sizes ({'square root of the area' if rules.measure == 'side' else 'area'}, {unit}): {ranges}")
    if rules.detection_slack is not None:
        lines.append(f"detections outside a size range widened {rules.detection_slack:g} times are not looked at")
    if rules.unevaluated:
        lines.append(f"not evaluated: {', '.join(rules.unevaluated)}")
    if rules.extra_thresholds:
        extra = ", ".join(f"{value:g}" for value in rules.extra_thresholds)
        lines.append(f"matched apart, in no mean over thresholds: IoU {extra}")
    if rules.id_zero_lost:
        lines.append("a match with annotation id 0 counts as none")
    if rules.wrap_index:
        lines.append("where even the first detection exceeds a number of false positives, the last recall is taken")
    if rules.percent:
        lines.append("precisions and recalls are in percent")
    return [*lines, *rules.notes]


def _limit(rules: Protocol) -> str:
    if rules.largest is None:
        return "no limit of detections"
    limits = sorted({rules.limit(row) or 0 for row in rules.rows if row.kind == "AP" and rules.covers(row)})
    of_ap = "" if limits in ([], [rules.largest]) else f" (AP: {' and '.join(map(str, limits))})"
    return f"at most {_SCOPES[rules.scope].removeprefix('the best ').format(rules.largest)}{of_ap}"


def _mean(rules: Protocol) -> str:
    return "all classes are taken for one" if rules.pooled else _MEANS[rules.class_mean]


def _matching(rules: Protocol) -> str:
    shown = [f"{value:g}" for value in rules.thresholds]
    range_ = ", ".join(shown) if len(shown) < 5 else f"{shown[0]} to {shown[-1]} ({len(shown)} values)"
    least = f"more than {range_}" if rules.strict else f"{range_} or more"
    truth = "the best object, taken or not" if rules.candidate == "any" else "the best free object"
    pixel = ", box sides counted as pixels (+1)" if rules.pixel else ""
    return f"a detection is compared with {truth}; IoU {least}{pixel}"


def _ignoring(rules: Protocol) -> list[str]:
    if rules.ignored:
        flags = ", ".join(rules.ignored)
        lines = [f"what lies on an ignored object of its class ({flags}) is neither right nor wrong", _IOD[rules.iod]]
    else:
        lines = ["no object is ignored by a flag"]
    lines.append(_regions(rules))
    if rules.leftovers != "none":
        how = "measured" if rules.true_iod else "derived from the stored overlap"
        lines.append(f"{_LEFTOVERS[rules.leftovers]} ({how})")
    return lines


def _regions(rules: Protocol) -> str:
    without = f" (not in the sequences {', '.join(rules.without_regions)})" if rules.without_regions else ""
    return _REGIONS[rules.regions] + without


def _bounds(low: float, high: float) -> str:
    return f"{max(low, 0):g}+" if high >= 1e10 else f"{max(low, 0):g}-{high:g}"
