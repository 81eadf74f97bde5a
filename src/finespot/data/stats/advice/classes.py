"""What follows for the classes, and for the ground where nothing is."""

from __future__ import annotations

import numpy as np

from finespot.data.stats.advice.line import Advice
from finespot.data.stats.measure import Statistics

IMBALANCE, RARE = 20, 100
# ESOD's argument for sparse networks: so many of the 8 x 8 patches without objects.
SPARSE = 0.7


def imbalance(stats: Statistics) -> Advice | None:
    """Classes that are learned far more often than others."""
    objects = stats.learned.objects
    present = np.flatnonzero(objects)
    if not len(present):
        return None
    most, least = int(np.argmax(objects)), int(present[np.argmin(objects[present])])
    ratio = objects[most] / objects[least]
    if ratio < IMBALANCE:
        return None
    return Advice(
        "class balance",
        "read AP by class, not the mean alone; show rare classes more often (repeat_rare), or join them with others",
        f"{stats.classes[most]} has {objects[most]} objects, {stats.classes[least]} {objects[least]}: {ratio:.0f} to 1",
    )


def rare(stats: Statistics) -> Advice | None:
    """Classes with too few objects to learn from."""
    objects = stats.learned.objects
    few = [f"{name} ({count})" for name, count in zip(stats.classes, objects) if 0 < count < RARE]
    if not few:
        return None
    return Advice(
        "rare classes",
        f"label more of {', '.join(few)}",
        f"with fewer than {RARE} objects a class is hard to learn, and its AP is mostly chance",
    )


def absent(stats: Statistics) -> Advice | None:
    """Classes that training never sees."""
    missing = np.flatnonzero(stats.learned.objects == 0).tolist()
    if not missing or not stats.learned.total:
        return None
    names = [
        f"{stats.classes[k]} ({stats.whole.objects[k]} in other splits)" if stats.whole.objects[k] else stats.classes[k]
        for k in missing
    ]
    return Advice(
        "absent classes",
        "label some, or leave the class out of the class list",
        f"no object to learn from: {', '.join(names)}",
    )


def sparse(stats: Statistics) -> Advice | None:
    """Much empty ground, which a sparse network skips."""
    untouched = float(stats.learned.patches.untouched.mean())
    if untouched < SPARSE or not stats.learned.total:
        return None
    return Advice(
        "empty ground",
        "most of the work is done on background: tiles without objects can be left out, and a network that looks only "
        "where objects may be (ESOD) pays",
        f"no object reaches into {untouched:.0%} of the 8 x 8 patches of a picture",
    )
