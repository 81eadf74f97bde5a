"""Outlines as point arrays (n, 2) of x and y, in pixels of the picture."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def rectangle(center: tuple[float, float], length: float, width: float, angle: float) -> Points:
    """A rectangle whose `length` lies along `angle` (radians, clockwise on the screen)."""
    half = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2
    return placed(half, center, angle)


def placed(points: Points, center: tuple[float, float], angle: float) -> Points:
    """Points around the origin, turned by `angle` and moved to `center`."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned: Points = points @ np.array([[cos, sin], [-sin, cos]]) + np.array(center)
    return turned


def car_body(length: float, width: float) -> Points:
    """Seen from above, front to the right, corners cut."""
    x, y, cut = length / 2, width / 2, width * 0.22
    half = [[x, y - 1.4 * cut], [x - cut, y], [-x + cut, y], [-x, y - cut]]
    return np.array(half + [[a, -b] for a, b in half[::-1]])


def hull(length: float, width: float) -> Points:
    """A boat from above, bow to the right."""
    x, y = length / 2, width / 2
    half = [[x, 0.0], [0.55 * x, 0.62 * y], [0.1 * x, y], [-0.8 * x, 0.92 * y], [-x, 0.75 * y]]
    return np.array(half + [[a, -b] for a, b in half[:0:-1]])


def ellipse(center: tuple[float, float], length: float, width: float, angle: float, corners: int = 16) -> Points:
    """An ellipse as a polygon."""
    turn = np.arange(corners) * (2 * math.pi / corners)
    return placed(np.stack([np.cos(turn) * length / 2, np.sin(turn) * width / 2], 1), center, angle)


def envelope(points: Points) -> tuple[float, float, float, float]:
    """The box around points."""
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def swept(points: Points, shift: tuple[float, float]) -> Points:
    """The convex outline of points and their copy moved by `shift`: the shadow that a block throws."""
    both = np.concatenate([points, points + np.array(shift)])
    ordered = both[np.lexsort((both[:, 1], both[:, 0]))]
    lower, upper = _chain(ordered), _chain(ordered[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _chain(points: Points) -> list[Points]:
    chain: list[Points] = []
    for point in points:
        while len(chain) > 1 and _turns_right(chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    return chain


def _turns_right(a: Points, b: Points, c: Points) -> bool:
    return bool((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0)
