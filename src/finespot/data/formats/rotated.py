"""Rotated boxes and ellipses, and the upright boxes around them."""

from __future__ import annotations

import math

from finespot.data.findings import Corners


def rotated_envelope(cx: float, cy: float, w: float, h: float, angle: float) -> Corners:
    """The smallest upright box around a box of sides w, h that is turned about its center by `angle` (radians).

    The direction of turning does not matter to it.
    """
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    half_width, half_height = (w * cosine + h * sine) / 2, (w * sine + h * cosine) / 2
    return cx - half_width, cy - half_height, cx + half_width, cy + half_height


def ellipse_envelope(cx: float, cy: float, rx: float, ry: float, angle: float) -> Corners:
    """The smallest upright box around an ellipse of radii rx, ry that is turned about its center by `angle`."""
    cosine, sine = math.cos(angle), math.sin(angle)
    half_width, half_height = math.hypot(rx * cosine, ry * sine), math.hypot(rx * sine, ry * cosine)
    return cx - half_width, cy - half_height, cx + half_width, cy + half_height
