"""Do FineSpot's networks compute what the peer's do? Raw outputs, fused outputs and parameter counts, same weights.

    .peers/run -m benchmarks.peers.parity_zoo [--models yolov8n yolo11n ...] [--json FILE]

Each peer model is random; its state dict goes through FineSpot's own importer (finespot.weights.foreign.yolo). Box
logits, class logits and decoded boxes are compared unfused and with the batch normalization folded in on both sides,
two ways: in float32 with torch's own initialization and random batch statistics, and in float64 with statistics that
keep the signal alive through all layers (the standard deviation of the outputs is in the table: a difference means
something beside it). Exit code 1 where a raw value differs by more than the tolerance or a count differs.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import ours, peer
from benchmarks.report import arguments, publish, table
from finespot import zoo

SIZES = "nsmlx"
KINDS = (("yolov8", ""), ("yolov8", "-p2"), ("yolo11", ""), ("yolo12", ""))
MODELS = [f"{stem}{size}{tail}" for stem, tail in KINDS for size in SIZES]
TOLERANCE = 1e-4


def outputs(network: Any, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """FineSpot's box logits, class logits and decoded boxes, the last as center and size like the peer's."""
    with torch.inference_mode():
        raw = network(images)
        corners = network.head.decode_boxes(raw).transpose(1, 2)
    low, high = corners[:, :2], corners[:, 2:]
    return raw["boxes"], raw["scores"], torch.cat([(low + high) / 2, high - low], 1)


def differences(ours_: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> list[float]:
    """Largest absolute difference of each pair; infinite where the shapes differ."""
    return [
        float((a - b).abs().max()) if a.shape == b.shape else float("inf") for a, b in zip(ours_, theirs, strict=True)
    ]


def largest(theirs: torch.nn.Module, network: Any, images: Tensor) -> dict[str, list[float]]:
    """Largest differences of box logits, class logits and decoded boxes, unfused and fused."""
    own_fused, their_fused = network.fused(), copy.deepcopy(theirs).fuse(verbose=False)
    return {
        "plain": differences(outputs(network, images), peer.raw_outputs(theirs, images)),
        "fused": differences(outputs(own_fused, images), peer.raw_outputs(their_fused, images)),
    }


def compare(name: str, seed: int) -> dict[str, Any]:
    """One model: counts, spread of the outputs and largest differences, in float32 and float64."""
    images = torch.rand(2, 3, 160, 192, generator=torch.Generator().manual_seed(seed))
    theirs = peer.build(name, seed=seed)
    network = ours.detector(name, theirs.state_dict())
    both = [(zoo.count_parameters(a), zoo.count_parameters(b)) for a, b in fused_too(network, theirs)]
    single = largest(theirs, network, images)
    theirs = peer.build(name, seed=seed, calibrate_on=images)
    network = ours.detector(name, theirs.state_dict()).double()
    double = largest(theirs.double(), network, images.double())
    boxes, scores, _ = peer.raw_outputs(theirs, images.double())
    deviations = [float(values.std((0, 2)).mean()) for values in (boxes, scores)]
    return {"model": name, "parameters": both, "deviations": deviations, "float32": single, "float64": double}


def fused_too(network: Any, theirs: torch.nn.Module) -> list[tuple[torch.nn.Module, torch.nn.Module]]:
    return [(network, theirs), (network.fused(), copy.deepcopy(theirs).fuse(verbose=False))]


def passes(row: dict[str, Any]) -> bool:
    raw = [value for kind in ("float32", "float64") for one in row[kind].values() for value in one[:2]]
    return max(raw) <= TOLERANCE and all(a == b for a, b in row["parameters"])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    peer.require_environment()
    rows = [compare(name, options.seed) for name in options.models]
    values = ["std", "float64", "fused", "px", "float32", "fused", "px"]
    cells = []
    for row in rows:
        counts = [f"{a:,}" if a == b else f"{a:,} NOT {b:,}" for a, b in row["parameters"]]
        parts = [(max(one[:2]), one[2]) for kind in ("float64", "float32") for one in row[kind].values()]
        shown = [value for i in (0, 2) for value in (parts[i][0], parts[i + 1][0], max(parts[i][1], parts[i + 1][1]))]
        spread = " / ".join(f"{value:.2f}" for value in row["deviations"])
        cells.append([row["model"], *counts, spread, *(f"{value:.1e}" for value in shown)])
    print("largest differences of raw boxes and scores, and of decoded boxes in pixels; std of boxes / scores")
    print(table(["model", "parameters", "fused count", *values], cells))
    bad = [row["model"] for row in rows if not passes(row)]
    print(f"raw differences above {TOLERANCE} or unequal counts: {', '.join(bad) or 'none'}")
    publish({"benchmark": "parity_zoo", "tolerance": TOLERANCE, "rows": rows}, options.json, "ultralytics")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
