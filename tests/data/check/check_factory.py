"""A clean data set in YOLO and COCO layout, to plant faults in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from finespot.data.check import Report, examine, open_survey

SIZE = (96, 128)
NAMES = ("person", "car")
# Splits with the names of their pictures; prefixes differ, as films do.
PICTURES = {"train": [f"north_{n:04}" for n in range(0, 120, 10)], "val": [f"south_{n:04}" for n in range(0, 60, 10)]}
BOXES = (((20, 30, 32, 44), 0), ((60, 20, 84, 36), 1), ((100.5, 70.25, 112, 80), 0))


def scene(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A blurred random picture (H, W, 3), different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(coarse).resize(size[::-1], PIL.Image.Resampling.BICUBIC))


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, **options)


def line(box: tuple[float, float, float, float], label: int = 0, size: tuple[int, int] = SIZE) -> str:
    """A YOLO line of a box in pixels."""
    height, width = size
    x1, y1, x2, y2 = box
    numbers = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return f"{label} {' '.join(f'{number:.6f}' for number in numbers)}\n"


class YoloSet:
    """A YOLO data set on disk and what tests change in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = str(root / "set.yaml")
        root.mkdir(parents=True)
        self.yaml()
        seed = 0
        for split, stems in PICTURES.items():
            for stem in stems:
                save(self.picture(split, stem), scene(seed))
                self.write(split, stem, *(line(box, label) for box, label in BOXES))
                seed += 1

    def yaml(self, val: str = "images/val", names: str = "[person, car]") -> None:
        (self.root / "set.yaml").write_text(f"train: images/train\nval: {val}\nnames: {names}\n")

    def picture(self, split: str, stem: str, extension: str = "png") -> Path:
        return self.root / "images" / split / f"{stem}.{extension}"

    def label(self, split: str, stem: str) -> Path:
        return self.root / "labels" / split / f"{stem}.txt"

    def write(self, split: str, stem: str, *lines: str) -> None:
        file = self.label(split, stem)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines))

    def add(self, split: str, stem: str, *lines: str) -> None:
        """Further lines in a label file."""
        with self.label(split, stem).open("a") as file:
            file.write("".join(lines))

    def new(self, split: str, stem: str, pixels: np.ndarray, extension: str = "png", **options: Any) -> None:
        """A further picture with the usual boxes."""
        save(self.picture(split, stem, extension), pixels, **options)
        self.write(split, stem, *(line(box, label) for box, label in BOXES))


class CocoSet:
    """The same in COCO layout; `content[split]` is written when `data` is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.content: dict[str, Any] = {}
        seed, number = 0, 0
        for split, stems in PICTURES.items():
            images, annotations = [], []
            for stem in stems:
                save(self.picture(split, stem), scene(seed))
                images.append({"id": seed, "file_name": f"{stem}.png", "width": SIZE[1], "height": SIZE[0]})
                for (x1, y1, x2, y2), label in BOXES:
                    number += 1
                    box = [x1, y1, x2 - x1, y2 - y1]
                    annotations.append({"id": number, "image_id": seed, "category_id": label, "bbox": box})
                seed += 1
            categories = [{"id": number_, "name": name} for number_, name in enumerate(NAMES)]
            self.content[split] = {"images": images, "annotations": annotations, "categories": categories}

    def picture(self, split: str, stem: str) -> Path:
        return self.root / "images" / split / f"{stem}.png"

    @property
    def data(self) -> str:
        for split, content in self.content.items():
            file = self.root / "annotations" / f"{split}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(content))
        return f"coco:{self.root}"


def check(data: str, **options: Any) -> Report:
    """All splits, in this process."""
    return examine(open_survey(data), **{"workers": 1, **options})
