"""Formats of the tests: `Plain` says all there is to say of a data set, `Bare` only boxes, and some write wrongly.

They are named by path, as formats of a user's own are: `plain_format:Plain:FOLDER`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image

from finespot.data import Dataset
from finespot.data.builder import Builder
from finespot.data.findings import Findings
from finespot.data.formats.layout import Keeps, Part
from finespot.structures import Classes

ATTRIBUTES = ("occlusion", "crowd")
Row = dict[str, Any]


class Plain:
    """`<split>.json` with everything, and the pictures in `pictures/<split>`."""

    keeps: ClassVar[Keeps] = Keeps(regions=True, ignored=True, area=True, attributes=frozenset(ATTRIBUTES))

    def splits(self, place: Path) -> list[str]:
        return sorted(file.stem for file in place.glob("*.json"))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        content = json.loads((place / f"{split}.json").read_text())
        builder = Builder(place.name, split, Classes(tuple(content["classes"]), tuple(content["ids"])), findings)
        builder.notes += content.get("notes", [])
        for number, one in enumerate(content["pictures"]):
            window = tuple(one["window"]) if one.get("window") else None
            path = str((place / self.picture(split, one["name"])).absolute())
            builder.picture(path, one.get("id", number), group=one.get("group"), window=window)
            for row in one["rows"]:
                builder.box(tuple(row.pop("box")), row.pop("label"), where=path, **row)
        return builder.build()

    def picture(self, split: str, name: str) -> str:
        return f"pictures/{split}/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        for part in parts:
            data = part.dataset
            pictures = [
                {"name": name, "rows": self.rows(data, index), "group": data.group(index), "id": data.image_id(index)}
                for index, name in enumerate(part.names)
            ]
            content = {"classes": data.classes.names, "ids": data.classes.original_ids, "pictures": pictures}
            (root / f"{part.split}.json").write_text(json.dumps(content))

    def rows(self, data: Dataset, index: int) -> list[Row]:
        truth = data.annotations(index)
        return [
            {
                "box": [round(float(value), 6) for value in truth.boxes[row]],
                "label": int(truth.labels[row]),
                "ignore": bool(truth.ignore[row]),
                "area": float(truth.area[row]),
                "annotation_id": int(truth.ids[row]),
                "attributes": {name: int(column[row]) for name, column in truth.attributes.items()},
            }
            for row in range(len(truth))
        ]


class Bare(Plain):
    """Boxes and classes alone, and no picture without any; all splits share a folder of pictures."""

    keeps: ClassVar[Keeps] = Keeps(empty=False)

    def picture(self, split: str, name: str) -> str:
        return f"pictures/{name}"

    def rows(self, data: Dataset, index: int) -> list[Row]:
        return [{"box": row["box"], "label": row["label"]} for row in super().rows(data, index)]


class Strict(Plain):
    """Knows splits by their usual names only."""

    def splits(self, place: Path) -> list[str]:
        return [name for name in super().splits(place) if name in ("train", "val", "test")]


class ReadOnly(Plain):
    """Cannot write."""

    write = None  # type: ignore[assignment]


class Shifting(Plain):
    """Writes boxes one pixel off."""

    def rows(self, data: Dataset, index: int) -> list[Row]:
        return [{**row, "box": [value + 1 for value in row["box"]]} for row in super().rows(data, index)]


class Losing(Plain):
    """Loses the last class, as a public script did for a while."""

    def rows(self, data: Dataset, index: int) -> list[Row]:
        return [row for row in super().rows(data, index) if row["label"] != len(data.classes) - 1]


class Judging(Plain):
    """Makes objects of what is ignored."""

    def rows(self, data: Dataset, index: int) -> list[Row]:
        return [{**row, "ignore": row["label"] < 0} for row in super().rows(data, index)]


class Forgetting(Plain):
    """Promises attributes and drops them."""

    def rows(self, data: Dataset, index: int) -> list[Row]:
        return [{**row, "attributes": {}} for row in super().rows(data, index)]


class Rounding(Plain):
    """Whole hundredths of a pixel."""

    def rows(self, data: Dataset, index: int) -> list[Row]:
        return [{**row, "box": [round(value, 2) for value in row["box"]]} for row in super().rows(data, index)]


def save(path: Path, size: tuple[int, int] = (40, 60), seed: int = 0, **options: Any) -> Path:
    """A gray picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path, **options)
    return path


def make_plain(place: Path, pictures: dict[str, dict[str, list[Row]]], classes: Sequence[str] = ("car", "bus")) -> Path:
    """A `Plain` data set of 60 x 40 pictures: split -> picture name -> rows."""
    number = 0
    for split, named in pictures.items():
        for name in named:
            save(place / "pictures" / split / name, seed=number)
            number += 1
        content = {
            "classes": list(classes),
            "ids": list(range(3, 3 + len(classes))),
            "pictures": [{"name": name, "rows": rows} for name, rows in named.items()],
        }
        (place / f"{split}.json").write_text(json.dumps(content))
    return place


def row(x1: float, y1: float, x2: float, y2: float, label: int = 0, **more: Any) -> Row:
    return {"box": [x1, y1, x2, y2], "label": label, **more}
