"""Are our assigners, matchers and losses equal to the originals' on the same outputs and targets?

    .peers/run -m benchmarks.peers.parity_losses [--originals DIR] [--json FILE] [--golden FILE]

Inputs come from formulas (see loss_inputs.py): a batch with tiny objects, a crowd, no object and mixed sizes, and one
of empty pictures. Both sides get equal raw outputs; compared are every term, the gradients of all terms by the raw
outputs, and which point or query answers for which target. torchvision, ultralytics and transformers are packages;
YOLOX and the authors' RT-DETR need `--originals` (see originals.py). Exit code 1 where a difference is above its
tolerance, in units of the peer's largest entry; assignments have to be equal.

All divide as their originals do: YOLOX by the positives of the whole batch, YOLOv8 by the sum of their class targets,
RetinaNet each picture by its own positives, RT-DETR by the objects of the batch (denoising: times the groups).

`--golden FILE` writes the peers' values for a small batch instead; `tests/losses/test_peer_losses.py` checks ours
against them without a peer.

What is different by design and is not in these inputs:

* Ignore regions are ours alone.
* simota: a target with fewer points in its region than it would take keeps to these, where YOLOX goes on to points of
  other regions at a cost of 1e6. With three levels every region has points enough.
* YOLOX's boxes: logarithms of sides above 10 (22,000 strides) count as 10 with us, so that losses stay finite.
* task_aligned: points that do not overlap their target yet are positives of weight 0 on both sides, which ones is left
  to chance there; pairs are compared where the weight is above 0.
* max_iou: torchvision gives a target that overlaps no anchor all anchors; ours none. IoUs are in float64 here, so that
  ties are ties; on boxes of quarter pixels they are exact in float32 too.
* varifocal: ours takes its weights as constants, as RT-DETR does; ultralytics lets the gradient through p^gamma.
  Values are compared. No peer here has a quality focal loss; on hard labels it is the focal loss without alpha.
* hungarian: costs that are no number count as 1e6. Denoising takes at most 200 objects of a picture.
* box losses: boxes without area (torchvision and ultralytics differ among themselves there).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.peers import loss_inputs, loss_pairs, loss_points, loss_sets, peer
from benchmarks.peers.loss_rows import Row
from benchmarks.report import arguments, publish, table, versions
from finespot.structures import Targets

Check = Callable[[Targets], list[Row]]


def on_targets(folder: Path | None) -> list[Check]:
    """The comparisons that take a batch's truth; those of checkouts where there is a folder."""
    checks: list[Check] = [
        lambda targets: loss_points.yolov8_rows("yolov8n", targets),
        lambda targets: loss_points.yolov8_rows("yolov8n-p2", targets),
        loss_points.retinanet_rows,
        loss_sets.transformers_rows,
    ]
    if folder is not None:
        checks += [
            lambda targets: loss_points.yolox_rows(folder, targets),
            lambda targets: loss_points.yolox_network(folder, targets),
            lambda targets: loss_sets.author_rows(folder, targets),
        ]
    return checks


# What is recorded: ultralytics' YOLOv8 loss is already (loss.json), networks would need weights.
RECORDED = {
    "torchvision": ("box loss", "focal", "quality", "max_iou", "RetinaNet loss", "RetinaNet-v2 loss"),
    "ultralytics": ("varifocal",),
    "YOLOX": ("simota", "YOLOX loss"),
    "RT-DETR": ("hungarian: layer", "RT-DETR loss"),
}


def write_golden(path: Path, rows: list[Row]) -> None:
    """The peers' numbers by what they are of; gradients as sums of absolute values."""
    kept = [row for row in rows if row.what.startswith(RECORDED.get(row.peer, ()))]
    found = {row.what: float(f"{row.theirs:.7g}") for row in kept}
    head = {
        "about": "benchmarks/peers/parity_losses.py --golden: what the peers compute for `SMALL` of loss_inputs.py",
        "versions": versions("torch", "torchvision", "ultralytics"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**head, "values": found}, indent=1) + "\n")
    print(f"written: {path}")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--originals", type=Path, help="folder with the checkouts YOLOX and RT-DETR")
    parser.add_argument("--golden", type=Path, help="write the peers' values for a small batch to this file, and end")
    options = parser.parse_args()
    peer.require_environment()
    torch.set_num_threads(1)
    rows = [*loss_pairs.box_rows(), *loss_pairs.class_rows()]
    batches = {"": loss_inputs.PICTURES, " (no objects)": loss_inputs.EMPTY}
    if options.golden:
        batches = {"": loss_inputs.SMALL}
    found = [("", row) for row in rows]
    for name, pictures in batches.items():
        targets = loss_inputs.truth(pictures)
        for check in on_targets(options.originals):
            found += [(name, row) for row in check(targets)]
    if options.golden:
        write_golden(options.golden, [row for _, row in found])
    cells = [
        [
            row.what + name,
            row.peer,
            f"{row.ours:.7g}",
            f"{row.theirs:.7g}",
            f"{row.difference:.1e}" if row.tolerance else f"{row.difference:.0f} pairs",
            "" if row.agrees else "differs",
        ]
        for name, row in found
    ]
    print(table(["what", "peer", "ours", "theirs", "largest difference", ""], cells))
    bad = [row.what + name for name, row in found if not row.agrees]
    print(f"differences above their tolerance: {', '.join(bad) or 'none'}")
    result = {"benchmark": "parity_losses", "rows": [{**asdict(row), "batch": name.strip()} for name, row in found]}
    publish(result, options.json, "torchvision", "ultralytics", "transformers")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
