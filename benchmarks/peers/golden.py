"""Writes tests/zoo/data/peer_outputs.json: what the peer's models compute with formula-made weights.

    .peers/run -m benchmarks.peers.golden

No peer is needed to check FineSpot against the file (tests/zoo/test_peer_outputs.py), and no trained weight is in it:
weights and picture come from formulas (`peer.formula_weights`, `peer.formula_picture`), the file holds the names of
the entries in the peer's order, sums of the outputs and single anchors. A name that ends in `.conv+bn` stands for the
six entries of a convolution with its batch normalization.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.peers import peer
from benchmarks.report import ROOT, arguments, versions

MODELS = ("yolov8n", "yolov8n-p2", "yolov8m", "yolo11n", "yolo11m")
PATH = ROOT / "tests" / "zoo" / "data" / "peer_outputs.json"
SAMPLES = 9
UNIT = [
    f".{name}"
    for name in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked")
]


def shortened(keys: list[str]) -> list[str]:
    """The names with each run of six that make one convolution with batch normalization as one."""
    short, i = [], 0
    while i < len(keys):
        prefix = keys[i].removesuffix(UNIT[0])
        if keys[i : i + len(UNIT)] == [prefix + ending for ending in UNIT]:
            short.append(f"{prefix}.conv+bn")
            i += len(UNIT)
        else:
            short.append(keys[i])
            i += 1
    return short


def record(name: str) -> dict[str, Any]:
    """Entry names, sums and sampled anchors of one model."""
    model = peer.build(name)
    state = model.state_dict()
    model.load_state_dict(peer.formula_weights(state))
    boxes, scores, decoded = (values[0].double() for values in peer.raw_outputs(model, peer.formula_picture()))
    last = boxes.shape[1] - 1
    anchors = sorted({round(last * i / (SAMPLES - 1)) for i in range(SAMPLES)})
    return {
        "anchors": last + 1,
        "boxes_sum": boxes.sum().item(),
        "boxes_abs_sum": boxes.abs().sum().item(),
        "scores_sum": scores.sum().item(),
        "scores_abs_sum": scores.abs().sum().item(),
        "samples": [
            {
                "anchor": anchor,
                "boxes": [round(value, 9) for value in boxes[::8, anchor].tolist()],
                "scores": [round(value, 9) for value in scores[::16, anchor].tolist()],
                "cxcywh": [round(value, 6) for value in decoded[:, anchor].tolist()],
            }
            for anchor in anchors
        ],
        "keys": shortened(list(state)),
    }


def main() -> None:
    options = arguments(__doc__).parse_args()
    peer.require_environment()
    head = {
        "about": "benchmarks/peers/golden.py; boxes are every 8th of 64 logits, scores every 16th of 80",
        "versions": versions("ultralytics", "torch"),
        "input": [160, 192],
    }
    models = ",\n".join(f'"{name}": {json.dumps(record(name))}' for name in MODELS)
    path = options.json or PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(head)[:-1] + ',\n"models": {\n' + models + "\n}}\n")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
