"""Truth and results as columns: what every protocol starts from.

Boxes are (x, y, w, h) in float64 pixels, as COCO files write them, so that a number does not depend on whether its
data came from a file or from memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.boxes import xyxy_to_xywh
from finespot.errors import FineSpotError
from finespot.structures import ANY_CLASS, Annotations, Classes, Detections

ImageId = int | str
Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

# Flags of annotations that some protocol heeds, by the name that the format gives them.
MARKS = ("ignore", "uncertain", "difficult", "logo")
# The attribute of regions that are objects of a class that the data set does not evaluate.
OTHERS = "others"


@dataclass(frozen=True)
class Regions:
    """Parts of pictures in which nothing of any class counts, one row each: position of the picture, (x, y, w, h)."""

    image: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    boxes: Floats = field(default_factory=lambda: np.zeros((0, 4)))

    def __len__(self) -> int:
        return len(self.image)

    def joined(self, other: Regions) -> Regions:
        """These and then those of another."""
        return Regions(np.concatenate([self.image, other.image]), np.concatenate([self.boxes, other.boxes]))


@dataclass(frozen=True)
class Truth:
    """The objects of a set of pictures, one row each, in file order.

    `image` is a position in `image_ids`, `label` one in `classes`. `area` is what the file says (of a mask, maybe).
    `crowd` rows are ignore regions of their class: a detection in one is neither right nor wrong. `ids` matter in one
    case only: the official tools take a detection matched to id 0 for unmatched. `marks` are further flags of the rows
    by the name that their format gives them (`ignore`, `uncertain`, `difficult`); which of them count is a protocol's
    business. `regions` are ignore regions without a class. `others` are regions, too, that the data set's own protocol
    takes no notice of: objects of a class that it does not evaluate (VisDrone's `others`). `sizes` are (height, width)
    of the pictures, (P, 2), where known, `stems` the names of their files without extension, where these are not the
    ids. `notes` are findings worth a line in a report.
    """

    image_ids: tuple[ImageId, ...]
    classes: Classes
    image: Rows
    label: Rows
    boxes: Floats
    area: Floats
    crowd: Flags
    ids: Rows
    notes: tuple[str, ...] = ()
    marks: Mapping[str, Flags] = field(default_factory=dict)
    regions: Regions = field(default_factory=Regions)
    others: Regions = field(default_factory=Regions)
    sizes: Rows | None = None
    stems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image)

    def select(self, keep: NDArray[Any]) -> Truth:
        """The rows that `keep` (a mask or indices) names, with all regions."""
        columns = {name: getattr(self, name)[keep] for name in ("image", "label", "boxes", "area", "crowd", "ids")}
        return replace(self, **columns, marks={name: flags[keep] for name, flags in self.marks.items()})

    def spread(self) -> Truth:
        """The same with each region, `others` included, as one crowd of every class, as COCO files write them.

        These stand behind the other rows.
        """
        regions = self.regions.joined(self.others)
        if not len(regions):
            return self
        classes, count = len(self.classes), len(regions) * len(self.classes)
        boxes = np.repeat(regions.boxes, classes, axis=0)
        none = np.zeros(count, bool)
        return replace(
            self,
            image=np.concatenate([self.image, np.repeat(regions.image, classes)]),
            label=np.concatenate([self.label, np.tile(np.arange(classes), len(regions))]),
            boxes=np.concatenate([self.boxes, boxes]),
            area=np.concatenate([self.area, boxes[:, 2] * boxes[:, 3]]),
            crowd=np.concatenate([self.crowd, ~none]),
            ids=np.concatenate([self.ids, max(self.ids.max(initial=0), 0) + 1 + np.arange(count)]),
            marks={name: np.concatenate([flags, none]) for name, flags in self.marks.items()},
            regions=Regions(),
            others=Regions(),
        )

    def count_regions(self) -> int:
        """Ignore regions: crowds, where those of one box for every class are one region without a class."""
        rows, classes, free_ones = np.flatnonzero(self.crowd), len(self.classes), len(self.regions) + len(self.others)
        if not len(rows):
            return free_ones
        place = np.unique(np.column_stack([self.image[rows], self.boxes[rows]]), axis=0, return_inverse=True)[1]
        pairs, times = np.unique(place.reshape(-1) * classes + self.label[rows], return_counts=True)
        starts = np.flatnonzero(np.diff(pairs // classes, prepend=-1))
        free = np.where(np.bincount(pairs // classes) == classes, np.minimum.reduceat(times, starts), 0)
        return int(len(rows) - (classes - 1) * free.sum()) + free_ones

    @classmethod
    def read(cls, path: str | Path, *, fix_id0: bool = False) -> Truth:
        """Read a COCO file, or the files of another format: `finespot.metrics.reading.read_truth`.

        Raises
        ------
        FineSpotError
            A file cannot be read or a record is wrong; names the file and the record or line.
        """
        # Only here, because the readers make what this module defines.
        from finespot.metrics.reading import read_truth

        return read_truth(path, fix_id0=fix_id0)

    @classmethod
    def from_annotations(
        cls,
        annotations: Sequence[Annotations],
        classes: Classes,
        image_ids: Sequence[ImageId],
        *,
        heeded: Collection[str] = (),
    ) -> Truth:
        """Columns of a data set's truth, one entry a picture.

        Boxes flagged `ignore` become crowds; one without a class (label -1) becomes a region, or one of `others` where
        the attribute `others` is set. Attributes that hold flags, or are called as in `MARKS`,
        become marks. Ids are numbered from 1.

        Data sets make one flag of all that their formats have, but some official programs treat a crowd and an object
        with another flag in two ways. Where `heeded` names flags of `MARKS`, as a protocol does that looks at them
        itself, only boxes with the attribute `crowd` are crowds, where a format has it; the others that are ignored
        get the mark `ignore`, or have another one.
        """
        if len(annotations) != len(image_ids):
            raise FineSpotError(f"expected one image id a picture but got {len(image_ids)} for {len(annotations)}")
        if len(set(image_ids)) != len(image_ids):
            raise FineSpotError("expected different image ids but got one of them twice")
        counts = [len(one) for one in annotations]
        boxes = _joined([one.boxes for one in annotations], (0, 4), np.float32)
        label = _joined([one.labels for one in annotations], (0,), np.int64)
        if len(label) and label.max() >= len(classes):
            raise FineSpotError(f"expected labels below {len(classes)} but got {label.max()}")
        image = np.repeat(np.arange(len(annotations)), counts)
        boxes = xyxy_to_xywh(boxes.astype(np.float64))
        row, other = label != ANY_CLASS, _flags(OTHERS, annotations)
        free, other = ~row & ~other, ~row & other
        crowd = _joined([one.ignore for one in annotations], (0,), np.bool_)
        marks = {name: _flags(name, annotations) for name in _mark_names(annotations)}
        if set(heeded) & set(MARKS) and any("crowd" in one.attributes for one in annotations):
            other_flags = [flags for name, flags in marks.items() if name in heeded]
            marks["ignore"] = crowd & ~np.logical_or.reduce([_flags("crowd", annotations), *other_flags])
            crowd = _flags("crowd", annotations)
        return cls(
            image_ids=tuple(image_ids),
            classes=classes,
            image=image[row],
            label=label[row],
            boxes=boxes[row],
            area=_joined([one.area for one in annotations], (0,), np.float64)[row],
            crowd=crowd[row],
            ids=np.arange(1, int(row.sum()) + 1),
            marks={name: flags[row] for name, flags in marks.items()},
            regions=Regions(image[free], boxes[free]),
            others=Regions(image[other], boxes[other]),
            sizes=np.array([one.size for one in annotations], np.int64).reshape(-1, 2),
        )


@dataclass(frozen=True)
class Results:
    """The detections of a set of pictures, one row each, in file order; columns as in `Truth`.

    A label of -1 is a class that the truth does not have, kept only because it takes a place under a limit that counts
    detections of all classes.
    """

    image: Rows
    label: Rows
    boxes: Floats
    scores: Floats
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.image)

    def select(self, keep: NDArray[Any]) -> Results:
        """The rows that `keep` (a mask or indices) names."""
        return replace(self, **{name: getattr(self, name)[keep] for name in ("image", "label", "boxes", "scores")})

    @property
    def area(self) -> Floats:
        """Width times height."""
        return self.boxes[:, 2] * self.boxes[:, 3]

    @classmethod
    def read(cls, path: str | Path, truth: Truth) -> Results:
        """Read COCO results, or the files of another format: `finespot.metrics.reading.read_results`.

        Raises
        ------
        FineSpotError
            A file cannot be read or a record is wrong; names the file and the record or line.
        """
        from finespot.metrics.reading import read_results

        return read_results(path, truth)

    @classmethod
    def from_detections(
        cls, detections: Sequence[Detections], truth: Truth, image_ids: Sequence[ImageId] | None = None
    ) -> Results:
        """Columns of predictions, one entry a picture.

        The entries belong to the truth's pictures in their order, or to `image_ids` where given. Classes are matched
        by name; detections of a class that the truth does not have are dropped and counted in `notes`.
        """
        wanted = truth.image_ids if image_ids is None else tuple(image_ids)
        if len(detections) != len(wanted):
            raise FineSpotError(f"expected detections of {len(wanted)} pictures but got {len(detections)}")
        position = {key: index for index, key in enumerate(truth.image_ids)}
        strange = [key for key in wanted if key not in position]
        if strange:
            raise FineSpotError(f"the truth has no picture '{strange[0]}'")
        label = _joined([_translate(one, truth.classes) for one in detections], (0,), np.int64)
        keep = label >= 0
        boxes = _joined([one.boxes for one in detections], (0, 4), np.float32)
        image = np.repeat([position[key] for key in wanted], [len(one) for one in detections]).astype(np.int64)
        return cls(
            image=image[keep],
            label=label[keep],
            boxes=xyxy_to_xywh(boxes.astype(np.float64))[keep],
            scores=_joined([one.scores for one in detections], (0,), np.float64)[keep],
            notes=dropped_note(int(len(keep) - keep.sum())),
        )


def dropped_note(count: int) -> tuple[str, ...]:
    """What to say of detections whose class the truth does not have."""
    return (f"{count} detections of classes that the truth does not have were dropped",) if count else ()


def _translate(one: Detections, classes: Classes) -> Rows:
    """Labels of a picture's detections among `classes`; -1 for names that are not there."""
    if one.classes.names == classes.names:
        return one.labels
    position = {name: index for index, name in enumerate(classes.names)}
    return np.array([position.get(name, -1) for name in one.classes.names], np.int64)[one.labels]


def _mark_names(annotations: Sequence[Annotations]) -> list[str]:
    """Attributes that hold flags."""
    found = {
        name
        for one in annotations
        for name, value in one.attributes.items()
        if name in MARKS or np.asarray(value).dtype == np.bool_
    }
    return sorted(found - {OTHERS})


def _flags(name: str, annotations: Sequence[Annotations]) -> Flags:
    """A flag of all boxes, off where a picture's boxes do not have it."""
    return _joined([one.attributes.get(name, np.zeros(len(one), bool)) for one in annotations], (0,), np.bool_)


def _joined(parts: Sequence[NDArray[Any]], empty: tuple[int, ...], kind: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros(empty, kind), *parts]).astype(kind)
