"""What the writers of official result files share: names of pictures and videos, rows by falling score, one class.

Official programs find a picture's results by its file name, so names are kept as they are and must differ. Numbers
are not rounded to whole pixels, as many converters do: half a pixel is a tenth of the IoU of a 10 px object. Two
decimals of a pixel are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from finespot.boxes import nms, xyxy_to_xywh
from finespot.errors import FineSpotError
from finespot.structures import Classes, Detections

# img000012, 0000012, or both behind the name of their sequence: M0101_img000012.
_FRAME = re.compile(r"(?:(.+)_)?(?:img)?(\d+)")
# Folders that only hold the pictures of the sequence they lie in.
_INNER = ("img1", "images", "frames")


def by_stem(detections: Sequence[Detections]) -> dict[str, Detections]:
    """Detections by the stem of their picture's file name.

    Raises
    ------
    FineSpotError
        Two pictures share one.
    """
    found: dict[str, Detections] = {}
    for one in detections:
        stem = PurePath(one.source).stem
        if stem in found:
            raise FineSpotError(
                f"expected different file names but {one.source} has the same, so results would be one file",
                where=found[stem].source,
            )
        found[stem] = one
    return found


def by_sequence(detections: Sequence[Detections]) -> dict[str, dict[int, Detections]]:
    """Detections by sequence and frame number, both in order, from the names of folder and file.

    Raises
    ------
    FineSpotError
        A picture's name holds no frame number, or two are the same frame.
    """
    found: dict[str, dict[int, Detections]] = {}
    for one in detections:
        sequence, frame = _frame(one.source)
        frames = found.setdefault(sequence, {})
        if frame in frames:
            raise FineSpotError(f"{one.source} is frame {frame} of {sequence}, too", where=frames[frame].source)
        frames[frame] = one
    return {sequence: dict(sorted(frames.items())) for sequence, frames in sorted(found.items())}


def refuse_other_classes(classes: Classes, known: Sequence[str], data: str) -> None:
    """Refuse classes that an official program does not know.

    Raises
    ------
    FineSpotError
        There is one.
    """
    strange = [name for name in classes if name not in known]
    if strange:
        raise FineSpotError(
            f"expected {data}'s classes ({', '.join(known)}) but got {', '.join(strange)}",
            where="classes",
            hint="rename, merge or leave out classes with --classes",
        )


def rows(detections: Detections) -> list[tuple[str, str, int]]:
    """`left,top,width,height`, the score and the label of each detection, by falling score."""
    order = np.argsort(-detections.scores, kind="stable")
    boxes = xyxy_to_xywh(detections.boxes.astype(np.float64))[order]
    return [
        (",".join(f"{value:.2f}" for value in box), f"{score:.6f}", label)
        for box, score, label in zip(
            boxes.tolist(), detections.scores[order].tolist(), detections.labels[order].tolist()
        )
    ]


def as_one_class(detections: Detections, name: str, iou: float) -> Detections:
    """All detections as one class; of two that overlap by more than `iou` the better stays.

    A place that a network took for a car and, with less confidence, for a bus would else be found twice.
    """
    labels = np.zeros(len(detections), np.int64)
    keep = nms(detections.boxes, detections.scores, labels, iou)
    return Detections(
        detections.boxes[keep],
        detections.scores[keep],
        labels[keep],
        detections.size,
        Classes((name,), (1,)),
        detections.source,
    )


def _frame(source: str) -> tuple[str, int]:
    """The sequence and the frame number of a picture."""
    path = PurePath(source)
    match = _FRAME.fullmatch(path.stem)
    if match is None:
        raise FineSpotError(
            "expected a frame number at the end of the picture's name, such as 0000012.jpg or img000012.jpg",
            where=source,
        )
    sequence = match[1]
    if sequence is None:
        sequence = (path.parent.parent if path.parent.name in _INNER else path.parent).name
    for inner in _INNER:  # where converting joined the names of folder and file
        sequence = sequence.removesuffix(f"_{inner}")
    return sequence, int(match[2])
