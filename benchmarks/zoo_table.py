"""The table of docs/zoo.md: what each network costs, beside what its original says, and how far outputs differ.

    python -m benchmarks.zoo_table [--parity parity_zoo.json parity_originals.json] > table.md

Parameters are for 80 classes, fused ones with batch norm folded in; GFLOPs by FineSpot's rule (2 x multiply-adds of
convolutions, matrix products and attention, at the true input size of 640 px). The differences come from the JSON files
of benchmarks.peers.parity_zoo and benchmarks.peers.parity_originals: the largest of all raw values in float64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import arguments, table
from finespot import zoo

SIDE = 640
# Millions of parameters and GFLOPs as the originals' pages or programs print them; "MACs" counts multiply-adds once.
PUBLISHED = {
    **dict(
        zip((f"yolov5{s}" for s in "nsmlx"), ("1.9 / 4.5", "7.2 / 16.5", "21.2 / 49.0", "46.5 / 109.1", "86.7 / 205.7"))
    ),
    **dict(
        zip(
            (f"yolov8{s}" for s in "nsmlx"), ("3.2 / 8.9", "11.2 / 28.8", "25.9 / 79.3", "43.7 / 165.7", "68.2 / 258.5")
        )
    ),
    **dict(
        zip(
            (f"yolov8{s}-p2" for s in "nsmlx"),
            ("3.4 / 17.4", "10.9 / 39.7", "25.1 / 99.0", "42.9 / 206.3", "66.6 / 318.0"),
        )
    ),
    **dict(
        zip((f"yolo11{s}" for s in "nsmlx"), ("2.6 / 6.7", "9.5 / 21.8", "20.1 / 68.6", "25.4 / 87.9", "57.0 / 196.3"))
    ),
    **dict(
        zip((f"yolo12{s}" for s in "nsmlx"), ("2.6 / 7.6", "9.3 / 23.7", "20.2 / 71.4", "26.5 / 96.3", "59.2 / 210.2"))
    ),
    "yolox-nano": "0.91 / 1.08 @416",
    "yolox-tiny": "5.06 / 6.45 @416",
    "yolox-s": "9.0 / 26.8",
    "yolox-m": "25.3 / 73.8",
    "yolox-l": "54.2 / 155.6",
    "yolox-x": "99.1 / 281.9",
    "rtmdet-tiny": "4.8 / 8.1 MACs",
    "rtmdet-s": "8.89 / 14.8 MACs",
    "rtmdet-m": "24.71 / 39.27 MACs",
    "rtmdet-l": "52.3 / 80.23 MACs",
    "rtmdet-x": "94.86 / 141.67 MACs",
    "rtdetr-r18": "20 / 60",
    "rtdetr-r34": "31 / 92",
    "rtdetr-r50": "42 / 136",
    "rtdetr-r101": "76 / 259",
    "rtdetr-l": "32 / 110",
    "rtdetr-x": "67 / 234",
    "lrs-detr-b-published": "15.6 / 66.6, fused, 10 classes",
    "retinanet-r50": "34.0 / -",
    "retinanet-r50-v2": "38.2 / -",
    "gpvit-l1": "21 / -",
    "gpvit-l2": "37 / -",
    # For 10 classes, operations extrapolated from an input of 32 px.
    "yolo-sod-published": "13.56 / 41.5",
}


def figures(name: str) -> tuple[int, int, float]:
    """Parameters, fused parameters and GFLOPs."""
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture(name))
    return (
        zoo.count_parameters(detector),
        zoo.count_parameters(detector.fused()),
        zoo.count_gflops(detector, (SIDE, SIDE)),
    )


def differences(files: list[Path]) -> dict[str, list[float]]:
    """The largest float64 difference of raw outputs by model, from the parity scripts' reports."""
    found: dict[str, list[float]] = {}
    for file in files:
        for row in json.loads(file.read_text())["rows"]:
            values: Any = row["float64"]
            most = values if isinstance(values, float) else max(v for one in values.values() for v in one[:2])
            found.setdefault(row["model"].split(" ")[0], []).append(most)
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--parity", type=Path, nargs="+", default=[])
    options = parser.parse_args()
    known = differences(options.parity)
    rows = []
    for name in zoo.names():
        parameters, fused, gflops = figures(name)
        most = f"{max(known[name]):.0e}" if name in known else ""
        rows.append([f"`{name}`", f"{parameters:,}", f"{fused:,}", f"{gflops:.2f}", PUBLISHED.get(name, ""), most])
    print(table(["network", "parameters", "fused", "GFLOPs", "published M / GFLOPs", "difference"], rows))


if __name__ == "__main__":
    main()
