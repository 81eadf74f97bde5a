"""The numbers of a data set as tables for the terminal and as plain values for a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finespot.data.stats.advice import Advice
from finespot.data.stats.columns import Ints
from finespot.data.stats.measure import Statistics
from finespot.data.stats.summary import (
    AI_TOD,
    COCO,
    CROWDED_IOU,
    PERCENTILES,
    SUPPRESSION_IOU,
    Bins,
    Sides,
    Spread,
    Summary,
)

# What is more than this is left to the file: classes (the most frequent are shown), pairs of classes, picture sizes.
_CLASSES, _PAIRS, _SIZES = 40, 5, 4
_SHOWN = (1, 10, 25, 50, 75, 90, 99)


def to_json(statistics: Statistics, advice: Sequence[Advice], data: str) -> dict[str, Any]:
    """A dictionary of plain values; `data` is the data set's name as it was asked for."""
    cut, found = statistics.cut, statistics.anchors
    return {
        "data": data,
        "imgsz": statistics.imgsz,
        "slice": None if cut is None else cut.size,
        "overlap": None if cut is None else cut.overlap,
        "classes": list(statistics.classes),
        "splits": {split: _summary_json(one, statistics) for split, one in statistics.splits.items()},
        "all": _summary_json(statistics.whole, statistics),
        "anchors": None
        if found is None
        else {
            "sizes": found.sizes.tolist(),
            "finest_stride": found.finest,
            "recall": found.recall,
            "usual_recall": found.usual_recall,
            "too_small_for_usual": found.too_small,
            "sample": found.sample,
        },
        "advice": [one._asdict() for one in advice],
    }


def table(statistics: Statistics, advice: Sequence[Advice]) -> Any:
    """A `rich` group: objects by class, sizes, pictures by split, what else there is to know, and the advice."""
    from rich.console import Group
    from rich.text import Text

    cut = statistics.cut
    shown = "whole pictures" if cut is None else cut.in_words
    apart = statistics.learned is not statistics.whole
    source = " (on learning from the split train, on limits from all)" if apart else ""
    parts = (
        Text(f"network input: {shown}, long side {statistics.imgsz} px"),
        _class_table(statistics),
        _range_table(statistics),
        _side_table(statistics.whole),
        _split_table(statistics),
        Text("\n".join(_lines(statistics))),
        Text(f"advice{source}", style="bold"),
        *_advice_lines(advice),
    )
    return Group(*(line for part in parts for line in (part, Text())))


def _summary_json(summary: Summary, statistics: Statistics) -> dict[str, Any]:
    names = list(statistics.classes)
    patches, total = summary.patches, max(summary.total, 1)
    return {
        "pictures": summary.pictures,
        "pictures_without_objects": summary.empty,
        "picture_sizes": [{"height": h, "width": w, "pictures": count} for (h, w), count in summary.sizes],
        "objects": summary.total,
        "objects_by_class": _named(names, summary.objects),
        "ignored_objects_by_class": _named(names, summary.ignored),
        "ignore_regions": summary.regions,
        "pictures_by_class": _named(names, np.diagonal(summary.together)),
        "pictures_with_both": _pairs_json(summary.together, names),
        "side_px": _sides_json(summary.source, names),
        "side_px_network": _sides_json(summary.network, names),
        "longer_side_px": _spread_json(summary.source.longer),
        "width_over_height": _spread_json(summary.aspect),
        "objects_per_picture": _spread_json(summary.per_picture),
        "objects_per_picture_and_class": _spread_json(summary.per_class),
        "network_inputs": summary.inputs,
        "network_inputs_without_objects": summary.empty_inputs,
        "objects_per_network_input": _spread_json(summary.per_input),
        "objects_whole_in_no_tile": summary.cut,
        "empty_8x8_patches_untouched": float(patches.untouched.mean()),
        "empty_8x8_patches_without_center": float(patches.without_center.mean()),
        "share_of_area_in_boxes": float(patches.boxes.mean()),
        f"share_overlapping_above_{CROWDED_IOU:g}": summary.overlapping / total,
        f"share_suppressed_at_{SUPPRESSION_IOU:g}": summary.suppressed / total,
    }


def _pairs_json(together: Ints, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Two different classes and the pictures that hold both, where there are any."""
    found: dict[str, dict[str, int]] = {}
    for a, b in np.argwhere(np.triu(together, 1)).tolist():
        found.setdefault(names[a], {})[names[b]] = int(together[a, b])
    return found


def _binned(bins: Bins, counts: Ints) -> dict[str, int]:
    return _named([f"{name} {pixels}" for name, pixels in zip(bins.names, bins.ranges)], counts)


def _named(names: Sequence[str], counts: Ints) -> dict[str, int]:
    return dict(zip(names, counts.tolist()))


def _sides_json(sides: Sides, names: Sequence[str]) -> dict[str, Any]:
    bins = ((AI_TOD, sides.ai_tod), (COCO, sides.coco))
    return {
        "spread": _spread_json(sides.spread),
        "bins": {one.name: _binned(one, counts.sum(axis=0)) for one, counts in bins},
        "bins_by_class": {
            one.name: {name: _binned(one, row) for name, row in zip(names, counts)} for one, counts in bins
        },
    }


def _spread_json(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    percentiles = {f"p{percent:g}": value for percent, value in zip(PERCENTILES, spread.percentiles)}
    return {"mean": spread.mean, "min": spread.least, "max": spread.most, **percentiles}


def _grid(title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Any:
    """A table of numbers; a long name in the first column is cut before a number is."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column(title, no_wrap=True)
    for number, column in enumerate(columns):
        width = max(len(column), *(len(cells[number]) for _, cells in rows))
        made.add_column(Text(column), justify="right", no_wrap=True, min_width=width)
    for name, cells in rows:
        made.add_row(Text(name), *cells)  # as text: a name may look like markup
    return made


def _parts(statistics: Statistics) -> tuple[list[str], list[Summary]]:
    """The splits, and all together where there are several."""
    several = len(statistics.splits) > 1
    names = [*statistics.splits, *(["all splits"] if several else [])]
    return names, [*statistics.splits.values(), *([statistics.whole] if several else [])]


def _frequent(statistics: Statistics) -> list[int]:
    """The classes that tables show, in their own order."""
    order = np.argsort(-statistics.whole.objects, kind="stable")[:_CLASSES]
    return sorted(order.tolist())


def _class_table(statistics: Statistics) -> Any:
    columns, parts = _parts(statistics)
    rows = [(statistics.classes[label], [str(one.objects[label]) for one in parts]) for label in _frequent(statistics)]
    rest = len(statistics.classes) - len(rows)
    if rest:
        shown = _frequent(statistics)
        rows.append((f"the {rest} rarest", [str(one.total - one.objects[shown].sum()) for one in parts]))
    return _grid("objects", columns, [*rows, ("all classes", [str(one.total) for one in parts])])


def _range_table(statistics: Statistics) -> Any:
    """Shares of AI-TOD's and COCO's size ranges, by class in the pictures, and at the network."""
    whole = statistics.whole
    source, network = (
        [_shares(one) + _shares(other) for one, other in zip(_with_sum(sides.ai_tod), _with_sum(sides.coco))]
        for sides in (whole.source, whole.network)
    )
    rows = [(statistics.classes[label], source[label]) for label in _frequent(statistics)]
    rows += [("all classes", source[-1]), ("  at the network", network[-1])]
    return _grid("side in px", (*AI_TOD.ranges, *COCO.ranges), rows)


def _with_sum(counts: Ints) -> Ints:
    """The rows, and their sum below."""
    return np.vstack([counts, counts.sum(axis=0)])


def _side_table(whole: Summary) -> Any:
    rows = []
    for name, sides in (("in the pictures", whole.source), ("at the network", whole.network)):
        if sides.spread is not None:
            values = [*map(sides.spread.at, _SHOWN), sides.spread.most, sides.spread.mean]
            rows.append((name, [f"{value:.1f}" for value in values]))
    return _grid(
        "side in px", (*(f"{percent}%" for percent in _SHOWN), "max", "mean"), rows or [("no objects", [""] * 9)]
    )


def _split_table(statistics: Statistics) -> Any:
    """What is counted by picture, a column a split."""
    columns, parts = _parts(statistics)
    facts: list[tuple[str, Callable[[Summary], str]]] = [
        ("pictures", lambda one: str(one.pictures)),
        ("  without objects", lambda one: str(one.empty)),
        ("ignore regions", lambda one: str(one.regions)),
        ("ignored objects", lambda one: str(one.ignored.sum())),
        ("objects per picture: mean", lambda one: f"{one.per_picture.mean:.1f}"),
        ("  median", lambda one: f"{one.per_picture.at(50):g}"),
        ("  99.9 %", lambda one: f"{one.per_picture.at(99.9):.1f}"),
        ("  most", lambda one: f"{one.per_picture.most:g}"),
        ("empty 8 x 8 patches: untouched", lambda one: f"{one.patches.untouched.mean():.1%}"),
        ("  without a center", lambda one: f"{one.patches.without_center.mean():.1%}"),
        ("area in boxes", lambda one: f"{one.patches.boxes.mean():.2%}"),
        (f"overlap another above IoU {CROWDED_IOU:g}", lambda one: _share(one.overlapping, one.total)),
        (f"deleted by suppression at {SUPPRESSION_IOU:g}", lambda one: _share(one.suppressed, one.total)),
    ]
    if statistics.cut is not None:
        facts += [
            ("tiles", lambda one: str(one.inputs)),
            ("  without objects", lambda one: _share(one.empty_inputs, one.inputs)),
            ("  objects: mean", lambda one: f"{one.per_input.mean:.1f}"),
            ("  objects: 99.9 %", lambda one: f"{one.per_input.at(99.9):.1f}"),
            ("objects whole in no tile", lambda one: _share(one.cut, one.total)),
        ]
    return _grid("pictures", columns, [(name, [fact(one) for one in parts]) for name, fact in facts])


def _lines(statistics: Statistics) -> list[str]:
    whole = statistics.whole
    sizes = [f"{w}x{h} ({count})" for (h, w), count in whole.sizes[:_SIZES]]
    if len(whole.sizes) > _SIZES:
        sizes.append(f"and {len(whole.sizes) - _SIZES} more")
    lines = [f"picture sizes: {', '.join(sizes)}"]
    if whole.aspect is not None:
        low, middle, high = (whole.aspect.at(percent) for percent in (5, 50, 95))
        lines.append(f"width over height: {low:.2f} to {high:.2f} (5 % to 95 %), median {middle:.2f}")
    pairs = _most_together(whole.together)
    if pairs:
        names = statistics.classes
        shown = ", ".join(f"{names[a]} and {names[b]} ({whole.together[a, b]})" for a, b in pairs)
        lines.append(f"most often together in a picture: {shown}")
    return lines


def _most_together(together: Ints) -> list[tuple[int, int]]:
    """The pairs of classes that share most pictures."""
    upper = np.triu(together, 1)
    order = np.argsort(-upper, axis=None, kind="stable")[:_PAIRS]
    pairs = [divmod(int(place), len(together)) for place in order]
    return [(a, b) for a, b in pairs if upper[a, b]]


def _advice_lines(advice: Sequence[Advice]) -> list[Any]:
    from rich.text import Text

    return [Text.assemble((one.topic, "bold"), f": {one.text}\n", (f"  {one.reason}", "dim")) for one in advice]


def _shares(counts: Ints) -> list[str]:
    total = max(int(counts.sum()), 1)
    return [f"{count / total:.1%}" if count else "-" for count in counts.tolist()]


def _share(part: int, total: int) -> str:
    return f"{part / total:.1%}" if total else "-"
