"""Rotated boxes as the YOLO family writes them: `yolo-obb:x.yaml` or `yolo-obb:FOLDER`, pictures and YAML as in `yolo`.

A line is `class x1 y1 x2 y2 x3 y3 x4 y4`: the corners in any order of turning, divided by the picture's sides. The box
is their envelope. Differs from reading such files as `yolo`: corners may lie outside the picture, as they do in
converted data (the envelope is clipped and counted), and lines of any other length are refused.
"""

from __future__ import annotations

from pathlib import Path

from finespot.data.dataset import Dataset
from finespot.data.findings import Corners, Findings
from finespot.data.formats.data_yaml import read_data_yaml
from finespot.data.formats.yolo import read_yolo, yaml_file
from finespot.data.formats.yolo_text import class_and_numbers, envelope
from finespot.errors import FineSpotError
from finespot.registry import register

# Corners farther out than a whole picture are pixels that nobody divided.
_FARTHEST = 1.0


@register("format", "yolo-obb")
class YoloObb:
    """A data YAML with pictures and a text file of rotated boxes a picture."""

    def splits(self, place: Path) -> list[str]:
        """The splits that the YAML names."""
        return list(read_data_yaml(yaml_file(place)).splits)

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        return read_yolo(read_data_yaml(yaml_file(place)), split, findings, read_line=four_corners)


def four_corners(fields: list[str], classes: int, lowest: int, where: str) -> tuple[int, Corners]:
    """A line of a class and four corners."""
    if len(fields) != 9:
        hint = {
            5: "a class and four numbers are an upright box: read the data set as yolo",
            10: "a tenth field is the confidence in a file of predictions, which are no truth",
        }.get(len(fields))
        raise FineSpotError(
            f"expected 9 fields (a class and four corners) but got {len(fields)}", where=where, hint=hint
        )
    label, points = class_and_numbers(fields, classes, lowest, where)
    far = max(points, key=lambda value: abs(value - 0.5))
    if not -_FARTHEST <= far <= 1 + _FARTHEST:
        raise FineSpotError(
            f"expected corners from {-_FARTHEST:g} to {1 + _FARTHEST:g} (divided by the sides) but got {far:g}",
            where=where,
        )
    return label, envelope(points)
