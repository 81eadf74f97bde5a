"""Random truth and results that meet the rules: ties, equal overlaps, areas on the edges, ignored objects, regions."""

from __future__ import annotations

import numpy as np

from finespot.metrics import Regions, Results, Truth
from finespot.structures import Classes

MARKS = ("ignore", "uncertain", "difficult")


def random_tables(seed: int, *, pictures=4, classes=3, truths=60, found=150) -> tuple[Truth, Results]:
    """Crowded pictures of whole-numbered boxes and few scores; the last of the `classes` + 1 classes has no truth."""
    random = np.random.default_rng(seed)
    boxes = np.concatenate([random.integers(0, 60, (truths, 2)), random.integers(0, 5, (truths, 2)) * 8], axis=1)
    source = random.integers(0, truths, found)
    image, label = random.integers(0, pictures, truths), random.integers(0, classes, truths)
    shift = random.integers(-2, 3, (found, 4))
    near = np.maximum(boxes[source] + shift * [1, 1, 4, 4] * random.integers(0, 2, (found, 1)), 0)
    other = random.uniform(size=found) < 0.1
    truth = Truth(
        image_ids=tuple(random.permutation(pictures).tolist()),
        classes=Classes(tuple(f"c{k}" for k in range(classes + 1))),
        image=image,
        label=label,
        boxes=boxes.astype(float),
        area=boxes[:, 2:].prod(axis=1) * random.choice([1.0, 0.5], truths),
        crowd=random.uniform(size=truths) < 0.15,
        ids=random.permutation(truths),
    )
    results = Results(
        image=np.where(other, random.integers(0, pictures, found), image[source]),
        label=np.where(other, random.integers(0, classes + 1, found), label[source]),
        boxes=near.astype(float),
        scores=random.integers(0, 12, found) / 12,
    )
    return truth, results


def marked_tables(seed: int, **sizes: int) -> tuple[Truth, Results]:
    """The same with flags of all names, ignore regions without a class and sizes of pictures."""
    truth, results = random_tables(seed, **sizes)
    random = np.random.default_rng(seed + 1)
    count = len(truth.image_ids)
    return Truth(
        truth.image_ids,
        truth.classes,
        truth.image,
        truth.label,
        truth.boxes,
        truth.area,
        truth.crowd,
        truth.ids,
        marks={name: random.uniform(size=len(truth)) < 0.1 for name in MARKS},
        regions=Regions(np.arange(2) % max(count, 1), random.integers(0, 60, (2, 4)).astype(float)),
        sizes=np.full((count, 2), 100),
    ), results
