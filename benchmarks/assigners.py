"""Positives per object and starved objects by size, for each assigner, on HIT-UAV.

    python -m benchmarks.assigners [--data samples/hit-uav | hit-uav:DIR] [--imgsz 320] [--splits train val]
                                   [--assigners task_aligned "atss(scale=4)"] [--plot FILE.png] [--json FILE]

Each picture is put through three networks: an untrained yolo11n, an untrained yolo11n-p2 (random weights from --seed)
and the bundled hit-uav-n. Sizes are those at the network input; at 320 px most objects of HIT-UAV are below 16 px.
An object is starved where no point of weight above 0 answers for it. `anchor_ratio` needs anchors, which these networks
do not have: it is given those of YOLOv5 (four of them scaled down for stride 4) at the same points.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import ROOT, arguments, publish, table
from finespot import weights, zoo
from finespot.data import open_dataset
from finespot.data.dataset import Dataset
from finespot.images import fit_size, letterbox
from finespot.inference.prepare import read_rgb
from finespot.nn.heads.dense_loss import points_of
from finespot.nn.heads.points import candidates_of, make_anchors
from finespot.nn.heads.rows import Rows
from finespot.registry import make
from finespot.structures import Candidates, Targets

ASSIGNERS = (
    "task_aligned",
    "task_aligned(min_side=null)",
    "dynamic",
    "simota",
    "dynamic_soft",
    "atss",
    "atss(scale=2,reach=true)",
    "max_iou",
    "max_iou(scale=2)",
    "rfla",
    "nwd_ranked",
    "simd",
    "simd(least=0.01)",
    "anchor_ratio",
)
# Name, least and greatest side (root of the area) in pixels. The second is shown where it differs from the first.
BINS = (
    ("to 8", 0.0, 8.0),
    ("3 to 8", 3.0, 8.0),
    ("8 to 16", 8.0, 16.0),
    ("16 to 32", 16.0, 32.0),
    ("above 32", 32.0, float("inf")),
)
PLOTTED = ("to 8", "8 to 16", "16 to 32", "above 32")
COLORS = ("#b2182b", "#ef8a62", "#67a9cf", "#2166ac")
YOLOV5_ANCHORS = {
    4: [(5.0, 6.5), (8.0, 15.0), (16.5, 11.5)],
    8: [(10.0, 13.0), (16.0, 30.0), (33.0, 23.0)],
    16: [(30.0, 61.0), (62.0, 45.0), (59.0, 119.0)],
    32: [(116.0, 90.0), (156.0, 198.0), (373.0, 326.0)],
}


def networks(classes: int, seed: int) -> dict[str, Any]:
    made = {}
    for name in ("yolo11n", "yolo11n-p2"):
        torch.manual_seed(seed)
        made[f"untrained {name}"] = zoo.build(zoo.architecture(name, classes=classes)).eval()
    made["trained hit-uav-n"] = weights.load("hit-uav-n")[0]
    return made


def prepared(dataset: Dataset, index: int, imgsz: int, stride: int) -> tuple[torch.Tensor, Targets]:
    """One picture as network input with its truth in pixels of the input."""
    pixels, placement = letterbox(read_rgb(dataset.image(index)), fit_size(dataset.size(index), imgsz, stride))
    boxes, labels, ignore = dataset.columns(index)
    targets = Targets(
        torch.from_numpy(placement.to_input(boxes)),
        torch.from_numpy(labels),
        torch.zeros(len(boxes), dtype=torch.int64),
        torch.from_numpy(ignore),
        1,
    )
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, targets


def anchored(points: Rows, strides: tuple[int, ...]) -> Candidates:
    """The points of a head with YOLOv5's anchors on them."""
    height, width = points.image_size
    sizes = [(height // stride, width // stride) for stride in strides]
    anchors = [YOLOV5_ANCHORS[stride] for stride in strides]
    return candidates_of(make_anchors(sizes, strides, torch.device("cpu"), 0.5, anchors), strides, 3)


def measure(
    model: Any, datasets: list[Dataset], imgsz: int, texts: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sides of all objects, and the positives that each assigner gives them."""
    sides, positives = [], {text: [] for text in texts}
    strides = tuple(level.stride for level in model.head.inputs)
    for dataset in datasets:
        for index in range(len(dataset)):
            pixels, targets = prepared(dataset, index, imgsz, model.stride)
            with torch.inference_mode():
                points = points_of(model(pixels), strides)
                real = ~targets.ignore
                sides.append((targets.boxes[:, 2:] - targets.boxes[:, :2]).prod(1).sqrt()[real].numpy())
                for text in texts:
                    where = anchored(points, strides) if text.startswith("anchor_ratio") else points.candidates
                    found = make("assigner", text)(points, targets, where)
                    positives[text].append(found.positives[real].numpy())
    return np.concatenate(sides), {text: np.concatenate(parts) for text, parts in positives.items()}


def by_size(sides: np.ndarray, positives: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each size bin that has objects: how many, positives per object, share starved."""
    found = {}
    for name, low, high in BINS:
        taken = positives[(sides > low) & (sides <= high)]
        if len(taken):
            starved = float((taken == 0).mean())
            found[name] = {"objects": len(taken), "positives": float(taken.mean()), "starved": starved}
    return found


def plot(results: dict[str, dict[str, dict[str, dict[str, float]]]], imgsz: int, path: Path) -> None:
    """A row of two charts for each network: positives per object, and starved objects, in bars by size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(results), 2, figsize=(13, 2.9 * len(results) + 1.6), sharex=True, squeeze=False)
    for row, (network, found) in zip(axes, results.items()):
        for axis, (figure_name, factor) in zip(row, (("positives", 1), ("starved", 100))):
            for number, (name, color) in enumerate(zip(PLOTTED, COLORS)):
                heights = [factor * bins.get(name, {}).get(figure_name, 0.0) for bins in found.values()]
                places = np.arange(len(heights)) + (number - 1.5) * 0.2
                axis.bar(places, heights, 0.2, color=color, label=f"{name} px")
            axis.set_xticks(range(len(found)), list(found), rotation=40, ha="right", rotation_mode="anchor")
            axis.grid(axis="y", alpha=0.3)
            axis.set_axisbelow(True)
            axis.set_xlim(-0.6, len(found) - 0.4)
        row[0].set_title(f"{network}: positives per object", fontsize=11)
        row[1].set_title(f"{network}: starved objects in %", fontsize=11)
        row[1].set_ylim(0, 100)
    handles, labels = axes[0][0].get_legend_handles_labels()
    title = f"side of the object at {imgsz} px input"
    figure.legend(handles, labels, title=title, loc="upper center", ncols=len(PLOTTED), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.75 / figure.get_figheight()))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=75)
    print(f"written: {path}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", default=f"hit-uav:{ROOT / 'samples' / 'hit-uav'}", help="such as hit-uav:DIR")
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--assigners", nargs="+", default=list(ASSIGNERS))
    parser.add_argument("--plot", type=Path, help="draw the figures to this PNG")
    options = parser.parse_args()
    datasets = [open_dataset(options.data, split) for split in options.splits]
    results = {}
    for network, model in networks(len(datasets[0].classes.names), options.seed).items():
        sides, positives = measure(model, datasets, options.imgsz, options.assigners)
        found = results[network] = {text: by_size(sides, one) for text, one in positives.items()}
        bins = {name: int(one["objects"]) for name, one in next(iter(found.values())).items()}
        if bins.get("to 8") == bins.get("3 to 8"):
            bins.pop("3 to 8", None)
        rows = []
        for text, by_bin in found.items():
            cells = [f"{by_bin[name]['positives']:.1f} / {100 * by_bin[name]['starved']:.0f}%" for name in bins]
            rows.append([text, *cells])
        head = [network, *(f"{name} px ({count})" for name, count in bins.items())]
        print(table(head, rows) + "\n")
    if options.plot is not None:
        plot(results, options.imgsz, options.plot)
    settings = {name: getattr(options, name) for name in ("data", "splits", "imgsz", "seed")}
    publish({"benchmark": "assigners", "settings": settings, "results": results}, options.json)


if __name__ == "__main__":
    main()
