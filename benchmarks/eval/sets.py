"""Data sets of realistic size and counts for the benchmarks of evaluation, from a fixed seed.

Objects are small (lognormal sides), detections are jittered copies of objects, several each, and false positives;
detections with a better box have higher scores, as a detector's have. 2 % of the objects are crowds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finespot.metrics import Results, Truth
from finespot.structures import Classes


@dataclass(frozen=True)
class Size:
    """How many pictures, objects and detections in all, classes, detections of a picture at most, and median side."""

    pictures: int
    objects: int
    detections: int
    classes: int
    most: int
    side: float
    seed: int = 0


SETS = {
    "visdrone-val": Size(548, 38_759, 274_000, 10, 500, 25.0),
    "ai-tod": Size(14_018, 345_000, 4_205_400, 8, 1500, 12.0),
    "million": Size(20_000, 200_000, 1_000_000, 10, 500, 25.0),
    "tiny": Size(20, 800, 4_000, 10, 500, 25.0),
}


def tables(size: Size) -> tuple[Truth, Results]:
    """The set as columns."""
    random = np.random.default_rng(size.seed)
    weight = np.exp(random.normal(0, 0.8, size.pictures))
    image = np.sort(random.choice(size.pictures, size.objects, p=weight / weight.sum()))
    sides = np.exp(random.normal(np.log(size.side), 0.6, (size.objects, 2)))
    boxes = np.round(np.concatenate([random.uniform(0, 1500, (size.objects, 2)), sides], axis=1), 1)
    share = random.dirichlet(np.full(size.classes, 2.0))
    label = random.choice(size.classes, size.objects, p=share)
    truth = Truth(
        image_ids=tuple(range(1, size.pictures + 1)),
        classes=Classes(tuple(f"class{k}" for k in range(size.classes)), tuple(range(1, size.classes + 1))),
        image=image,
        label=label,
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        crowd=random.random(size.objects) < 0.02,
        ids=np.arange(1, size.objects + 1),
    )
    # As many detections of a picture as its limit allows, in proportion to its objects where they are fewer in all.
    mean = size.detections / size.pictures
    counts = np.full(size.pictures, mean) if mean >= size.most else np.minimum(weight / weight.mean() * mean, size.most)
    counts = np.floor(counts * size.detections / counts.sum()).astype(np.int64).clip(max=size.most)
    room = np.flatnonzero(counts < size.most)[: size.detections - counts.sum()]
    counts[room] += 1
    place = np.repeat(np.arange(size.pictures), counts)
    first, objects = np.searchsorted(image, place), np.bincount(image, minlength=size.pictures)[place]
    copy = (random.random(len(place)) < 0.6) & (objects > 0)
    source = np.where(copy, first + (random.random(len(place)) * objects).astype(np.int64), 0)
    noise = np.abs(random.normal(0, 0.2, len(place)))
    near = boxes[source] + random.normal(0, 1, (len(place), 4)) * noise[:, None] * np.tile(boxes[source, 2:], 2)
    far = np.concatenate(
        [random.uniform(0, 1500, (len(place), 2)), np.exp(random.normal(np.log(size.side), 0.6, (len(place), 2)))], 1
    )
    found = np.round(np.abs(np.where(copy[:, None], near, far)), 2)
    scores = np.where(copy, np.exp(-4 * noise) * random.uniform(0.3, 1, len(place)), random.beta(1, 6, len(place)))
    results = Results(
        image=place,
        label=np.where(copy, label[source], random.choice(size.classes, len(place), p=share)),
        boxes=found,
        scores=np.round(scores.clip(0.001), 5),
    )
    # A file lists a picture's detections by falling score.
    return truth, results.select(np.lexsort((-results.scores, results.image)))


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """The set as COCO files in `folder`, written once: truth and results."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}-gt.json", folder / f"{name}-dt.json"
    if not all(path.exists() for path in paths):
        truth, results = tables(SETS[name])
        _write(paths[0], lambda: _truth_json(truth))
        _write(paths[1], lambda: _results_json(results, truth))
    return paths


def _write(path: Path, make: Callable[[], str]) -> None:
    scratch = path.with_suffix(".part")
    scratch.write_text(make())
    scratch.replace(path)


def _truth_json(truth: Truth) -> str:
    rows = zip(
        truth.ids.tolist(),
        truth.image.tolist(),
        truth.label.tolist(),
        truth.boxes.tolist(),
        truth.area.tolist(),
        truth.crowd.tolist(),
    )
    return json.dumps(
        {
            "images": [
                {"id": key, "file_name": f"{key:07d}.jpg", "width": 1600, "height": 1600} for key in truth.image_ids
            ],
            "categories": [{"id": key, "name": name} for key, name in zip(truth.classes.original_ids, truth.classes)],
            "annotations": [
                {
                    "id": number,
                    "image_id": image + 1,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(crowd),
                }
                for number, image, label, box, area, crowd in rows
            ],
        }
    )


def _results_json(results: Results, truth: Truth) -> str:
    rows = zip(results.image.tolist(), results.label.tolist(), results.boxes.tolist(), results.scores.tolist())
    return json.dumps(
        [
            {"image_id": image + 1, "category_id": label + 1, "bbox": box, "score": score}
            for image, label, box, score in rows
        ]
    )
