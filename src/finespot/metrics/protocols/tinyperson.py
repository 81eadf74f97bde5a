"""TinyPerson as TinyBenchmark (commit 36436df) evaluates it: AP, and the miss rate of its second program.

AP is COCO's at IoU 0.25, 0.5 and 0.75 with seven size ranges; `ignore` and `uncertain` are honored, and a detection
left over is ignored where an ignored person, or one of another size, covers enough of it. The miss rate is that of
pedestrian benchmarks: the geometric mean over nine numbers of false positives per image from 0.01 to 1.
"""

from __future__ import annotations

from typing import Literal

from finespot.metrics.protocols.rules import AreaRange, Protocol, Row

_IOUS = (0.25, 0.5, 0.75)
_AREAS = (
    AreaRange("all", 1, 1e10),
    AreaRange("tiny", 1, 20**2),
    AreaRange("tiny1", 1, 8**2),
    AreaRange("tiny2", 8**2, 12**2),
    AreaRange("tiny3", 12**2, 20**2),
    AreaRange("small", 20**2, 32**2),
    AreaRange("reasonable", 32**2, 1e10),
)
# The range over all sizes leads, so that curves are drawn for it.
_SIDES = (
    AreaRange("All", -1, 1e10),
    AreaRange("tiny1", 2, 8),
    AreaRange("tiny2", 8, 12),
    AreaRange("tiny3", 12, 20),
    AreaRange("tiny", 2, 20),
    AreaRange("small", 20, 32),
)


def _rows(kind: Literal["AP", "AR"]) -> list[Row]:
    return [Row(f"{kind}{100 * iou:g}_{one.label}", kind, iou=iou, area=one.label) for iou in _IOUS for one in _AREAS]


def tinyperson(*, ignore: bool = True, uncertain: bool = True, iod: bool = True) -> Protocol:
    """The AP and AR of TinyPerson.

    Parameters
    ----------
    ignore, uncertain:
        Objects with this flag are ignored (`use_ignore_attr`, `ignore_uncertain` of the tool).
    iod:
        A detection left over is ignored where an ignored object covers it (`use_iod_for_ignore`).
    """
    switches = {"ignore": ignore, "uncertain": uncertain, "iod": iod}
    off = "".join(f" without {name}" for name, on in switches.items() if not on)
    return Protocol(
        name=f"tinyperson{off}",
        thresholds=_IOUS,
        areas=_AREAS,
        max_dets=(200,),
        rows=(*_rows("AP"), *_rows("AR")),
        ignored=("crowd", *(("ignore",) if ignore else ()), *(("uncertain",) if uncertain else ())),
        regions="unused",
        leftovers="threshold" if iod else "none",
        id_zero_lost=True,
    )


TINYPERSON = tinyperson()

TINYPERSON_MR = Protocol(
    name="tinyperson-mr",
    thresholds=_IOUS,
    areas=_SIDES,
    max_dets=(1000,),
    rows=tuple(
        Row(f"MR{100 * iou:g}_{one.label}", "MR", iou=iou, area=one.label)
        for one in (*_SIDES[1:], _SIDES[0])
        for iou in _IOUS
    ),
    # The flag iscrowd is not looked at.
    ignored=("ignore", "uncertain"),
    iod="ignored",
    regions="unused",
    leftovers="half",
    measure="side",
    detection_slack=1.25,
    id_zero_lost=True,
    wrap_index=True,
)
