"""One split of a data set: pictures with their truth, read and validated when it is opened.

Boxes, labels and flags of all pictures lie in flat arrays, so that a hundred thousand pictures are cheap to keep and
to hand to worker processes; `annotations(i)` cuts out the rows of one picture.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.data.findings import Findings
from finespot.errors import FineSpotError, unknown
from finespot.images import crop, open_image
from finespot.registry import build, lookup, names
from finespot.structures import Annotations, Boxes, Classes, Flags, Image, Labels, Size, Window


@dataclass(frozen=True)
class Rows:
    """The annotations of all pictures one below the other; picture i owns rows starts[i] to starts[i + 1]."""

    starts: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    area: NDArray[np.float64]
    ids: NDArray[np.int64]
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Dataset:
    """Pictures of one split in bytewise order of their paths, with validated truth.

    `notes` are one-line findings of opening it ("3 boxes reached over the edge and were clipped"): nothing is
    repaired silently, and the caller prints them. A picture may be a window of its file (`windows`, None for the
    whole file): then all coordinates are the window's. `groups` name what must not be torn apart by a split, such as
    the video of a frame; by default each file is its own group.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        classes: Classes,
        paths: Sequence[str],
        sizes: Sequence[Size],
        image_ids: Sequence[int | str],
        rows: Rows,
        notes: Sequence[str] = (),
        groups: Sequence[str] | None = None,
        windows: Sequence[Window | None] | None = None,
    ) -> None:
        self.name, self.split, self.classes = name, split, classes
        self.notes = list(notes)
        self._paths, self._sizes, self._image_ids = list(paths), list(sizes), list(image_ids)
        self._rows = rows
        self._groups = list(paths if groups is None else groups)
        self._windows = None if windows is None else list(windows)

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, index: int) -> str:
        """The picture's file."""
        return self._paths[index]

    def size(self, index: int) -> Size:
        """The picture's (height, width) as its file says, upright."""
        return self._sizes[index]

    def image_id(self, index: int) -> int | str:
        """The id that result files use: COCO's own, else the file's stem (its path where stems repeat)."""
        return self._image_ids[index]

    def window(self, index: int) -> Window | None:
        """The part of its file that the picture is, in pixels of the upright file; None for all of it."""
        return None if self._windows is None else self._windows[index]

    def group(self, index: int) -> str:
        """What the picture belongs to: pictures of one group never straddle splits."""
        return self._groups[index]

    def image(self, index: int) -> Image:
        """The picture, opened; FineSpotError if it has vanished or broken since."""
        image, window = open_image(self._paths[index]), self.window(index)
        return image if window is None else crop(image, window)

    @property
    def rows(self) -> Rows:
        """The annotations of all pictures as flat arrays, for what looks at a whole split at once."""
        return self._rows

    def columns(self, index: int) -> tuple[Boxes, Labels, Flags]:
        """Boxes, labels and ignore flags of `annotations(index)`, without the cost of checking them again."""
        part = slice(int(self._rows.starts[index]), int(self._rows.starts[index + 1]))
        return self._rows.boxes[part], self._rows.labels[part], self._rows.ignore[part]

    def annotations(self, index: int) -> Annotations:
        """The truth of one picture, in its pixels."""
        rows = self._rows
        part = slice(int(rows.starts[index]), int(rows.starts[index + 1]))
        return Annotations(
            boxes=rows.boxes[part],
            labels=rows.labels[part],
            size=self._sizes[index],
            ignore=rows.ignore[part],
            area=rows.area[part],
            ids=rows.ids[part],
            attributes={name: column[part] for name, column in rows.attributes.items()},
            source=self._paths[index],
        )


def open_dataset(spec: str | os.PathLike[str], split: str, findings: Findings | None = None) -> Dataset:
    """Open a split of a data set and validate all its labels and the headers of all its pictures.

    Parameters
    ----------
    spec:
        `x.yaml` (a YOLO data file, whose splits may be COCO files too) or `FORMAT:PLACE`: `yolo:FOLDER_OR_YAML`,
        `coco:FOLDER`, `hit-uav:FOLDER`, or a registered format of your own. Options of the format stand behind its
        name: `voc,one_based=true:FOLDER`.
    split:
        Its name in the data set, such as `train` or `val`.
    findings:
        Where given, records and pictures that would be refused are left out and noted there instead.

    Raises
    ------
    FineSpotError
        The first thing that is wrong, with file and line or record.
    """
    layout, place = find_format(spec)
    dataset: Dataset = layout.open(place, split, findings)
    return dataset


def dataset_splits(spec: str | os.PathLike[str]) -> list[str]:
    """The splits that `open_dataset` can open."""
    layout, place = find_format(spec)
    splits: list[str] = layout.splits(place)
    return splits


def find_format(spec: str | os.PathLike[str]) -> tuple[Any, Path]:
    """The format (an object of `finespot.data.formats`) that a data set's name means, and its place.

    Raises
    ------
    FineSpotError
        The format or one of its options is unknown, or no place is named.
    """
    kind, place = _parse(spec)
    name, *words = kind.split(",")
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise FineSpotError(f"expected options as key=value but got '{word}'", where=os.fspath(spec))
        options[key.replace("-", "_")] = value
    return build("format", name, **_known_options(name, options, spec)), place


def _known_options(name: str, options: dict[str, str], spec: object) -> dict[str, str]:
    """The options, each of which the format takes."""
    if options:
        known = list(inspect.signature(lookup("format", name)).parameters)
        for key in options:
            if key not in known:
                if not known:
                    raise FineSpotError(f"the format '{name}' takes no options but got '{key}'", where=spec)
                raise unknown(f"option of the format '{name}'", key, known, where=spec)
    return options


def _parse(spec: str | os.PathLike[str]) -> tuple[str, Path]:
    text = os.fspath(spec)
    kind, colon, place = text.partition(":")
    if colon and len(kind) > 1 and not os.path.exists(text):  # one letter is a drive
        if not place:
            raise FineSpotError(f"expected {kind}:FOLDER but got no folder", where=text)
        attribute, second, rest = place.partition(":")
        if second and kind not in names("format"):  # package.module:Format:FOLDER
            return f"{kind}:{attribute}", _home(rest)
        return kind, _home(place)
    if text.lower().endswith((".yaml", ".yml")):
        return "yolo", _home(text)
    raise FineSpotError(
        "expected a data YAML or FORMAT:FOLDER",
        where=text,
        hint=f"the formats are {', '.join(names('format'))}",
    )


def _home(place: str) -> Path:
    """The place, `~` replaced: a shell does that only at the start of a word, not behind `coco:`."""
    return Path(os.path.expanduser(place))
