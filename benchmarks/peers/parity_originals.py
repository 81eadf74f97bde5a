"""Do our YOLOX, RT-DETR and RetinaNet compute what their originals do? Same weights, by way of `weights import`.

    .peers/run -m benchmarks.peers.parity_originals [--originals DIR] [--models rtdetr-r18 ...] [--json FILE]

Each original is built at random and saved as its toolkit saves it; `import_checkpoint` reads the file; raw outputs are
compared in float32 and float64 on one picture of 256 x 320. RT-DETR's is square, because its originals give the cells
of other pictures the position codes of other cells, and only float64 counts: it ranks queries, and in float32 near ties
change places. YOLOX is given RGB turned to BGR, and batch statistics that keep its signal alive. transformers and
torchvision are packages; YOLOX and the authors' RT-DETR need `--originals` (see originals.py). Exit code 1 where a raw
value in float64 differs by more than 1e-4, in units of the largest raw value where that is above 1.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers import originals
from benchmarks.report import arguments, publish, table
from finespot import zoo
from finespot.weights.foreign.convert import import_checkpoint

TOLERANCE = 1e-4
Raw = tuple[Tensor, ...]


def queries(raw: dict[str, Tensor]) -> Raw:
    return raw["scores"].transpose(1, 2), raw["boxes"]


def points(raw: dict[str, Tensor]) -> Raw:
    return (torch.cat((raw["boxes"], raw["objectness"], raw["scores"]), 1),)


def anchors(raw: dict[str, Tensor]) -> Raw:
    """Ours are level, anchor, cell; theirs level, cell, anchor. Rows by level."""
    strides = raw["anchors"][0, :, 2]
    found = []
    for values in (raw["scores"], raw["boxes"]):
        levels = [values[:, :, strides == s].unflatten(2, (9, -1)).permute(0, 3, 2, 1) for s in strides.unique()]
        found.append(torch.cat([one.flatten(1, 2) for one in levels], 1))
    return tuple(found)


def compare(
    name: str, theirs: nn.Module, raw: Any, wrap: Callable[[dict[str, Tensor]], Any], ours: Any
) -> dict[str, Any]:
    """Save, import, and compare the outputs."""
    torch.manual_seed(0)
    images = torch.rand(1, 3, 256, 256 if name.startswith("rtdetr") else 320)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "original.pth"
        torch.save(wrap(theirs.state_dict()), path)
        names = [str(i) for i in range(91)] if name.startswith("retinanet") else None
        found = import_checkpoint(path, names=names)
    network = found.detector
    row: dict[str, Any] = {"model": name, "layout": found.layout, "unused": len(found.unused)}
    kept = sum(p.numel() for p in theirs.parameters())
    row["parameters"] = zoo.count_parameters(network), kept
    for kind, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        network, theirs = network.to(dtype), theirs.to(dtype)
        with torch.inference_mode():
            a = ours(network(images.to(dtype)))
            b = raw(images.to(dtype))
        b = b if isinstance(b, tuple) else (b,)
        largest = [max(float(two.abs().max()), 1.0) for two in b]
        row[kind] = max(
            float((one - two).abs().max()) / most if one.shape == two.shape else float("inf")
            for one, two, most in zip(a, b, largest, strict=True)
        )
    return row


def originals_of(folder: Path | None) -> dict[str, tuple[Callable[[], tuple[nn.Module, Any]], Any, Any]]:
    """What can be built here: name -> (builder, how its file wraps a state dict, our outputs in its form)."""

    def plain(state: Any) -> Any:
        return state

    found: dict[str, Any] = {}
    for size in ("r18", "r34", "r50", "r101"):
        found[f"rtdetr-{size} (transformers)"] = (lambda s=size: originals.transformers_rtdetr(s)), plain, queries
    for form in ("v1", "v2"):
        found[f"retinanet-r50{'' if form == 'v1' else '-v2'}"] = (lambda f=form: originals.retinanet(f)), plain, anchors
    if folder is None:
        return found
    for size in originals.YOLOX:
        found[f"yolox-{size}"] = (
            (lambda s=size: originals.yolox(s, folder)),
            (lambda state: {"start_epoch": 1, "model": state}),
            points,
        )
    for size in originals.RTDETR:
        found[f"rtdetr-{size}"] = (
            (lambda s=size: originals.rtdetr(s, folder)),
            (lambda state: {"ema": {"module": state}, "last_epoch": 1}),
            queries,
        )
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--originals", type=Path, help="folder with the checkouts YOLOX and RT-DETR")
    parser.add_argument("--models", nargs="+", help="only these")
    options = parser.parse_args()
    rows = []
    for name, (build, wrap, ours) in originals_of(options.originals).items():
        if options.models and name.split(" ")[0] not in options.models and name not in options.models:
            continue
        torch.manual_seed(0)
        theirs, raw = build()
        rows.append(compare(name, theirs, raw, wrap, ours))
        print(rows[-1], flush=True)
    cells = [
        [
            r["model"],
            r["layout"],
            f"{r['parameters'][0]:,}",
            f"{r['parameters'][1]:,}",
            f"{r['float32']:.1e}",
            f"{r['float64']:.1e}",
        ]
        for r in rows
    ]
    print(table(["model", "naming", "ours", "theirs", "float32", "float64"], cells))
    bad = [row["model"] for row in rows if not row["float64"] <= TOLERANCE]  # what is no number is bad too
    print(f"raw differences above {TOLERANCE} in float64: {', '.join(bad) or 'none'}")
    publish({"benchmark": "parity_originals", "tolerance": TOLERANCE, "rows": rows}, options.json, "transformers")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
