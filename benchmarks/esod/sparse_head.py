"""Would a head that computes only likely cells be quicker on windows? The answer that docs/systems/esod.md gives.

    python -m benchmarks.esod.sparse_head [--models esod-yolov5s ...] [--windows 4] [--objects 2 6 12] [--json FILE]

First the share of the head in the operations of a picture of 1536 x 1536 px with so many windows: the most that could
be saved. Then the two 3x3 convolutions of each level of the released head on YOLOv5s, on windows of 40 x 40 cells: as
they are, and on single cells as the release has it: the 3x3 surroundings of so many cells gathered, one matrix product,
activation. An object in a window has as many cells as its peak: 9, 12 and 10 on the levels of stride 8, 16 and 32. All
else of the head (a 1x1 convolution before, predictions behind) is left out of both. One thread, CPU milliseconds.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import arguments, publish, spread, table, take_turns
from finespot import zoo
from finespot.structures import Features
from finespot.zoo import WindowedDetector, window_costs

MODELS = [
    "esod-yolov5s",
    "esod-yolov5m",
    "esod-yolov8n",
    "esod-yolov8m",
    "esod-yolo11n",
    "esod-rtmdet-m",
    "esod-retinanet-r50",
    "esod-gpvit-l1",
]
SIDE, WINDOW, BRANCHES = 1536, 40, 2
# Of the head on YOLOv5s, by stride; cells of an object.
CHANNELS = {8: 128, 16: 256, 32: 512}
CELLS = {8: 9, 16: 12, 32: 10}


def shares(model: str, windows: int) -> tuple[float, float]:
    """Of the operations of windows, and of a picture with so many, what the head takes."""
    with torch.device("meta"):
        network = zoo.build(zoo.architecture(model, classes=10)).eval().requires_grad_(False)
    assert isinstance(network, WindowedDetector)
    costs = window_costs(network, (SIDE, SIDE))
    with torch.no_grad():
        seen = network.look(torch.zeros(1, 3, SIDE, SIDE, device="meta"))
        sides = [WINDOW * network.cut // level.stride for level in seen.levels]
        maps = [x.new_zeros(1, x.shape[1], side, side) for x, side in zip(seen.maps, sides, strict=True)]
        features = network.neck(network.split().tail(Features(maps, seen.levels)))
        with FlopCounterMode(display=False) as counter:
            network.head(features)
    head = counter.get_total_flops() / 1e9
    return head / costs.window, windows * head / (costs.picture + windows * costs.window)


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> None:
    for _ in range(BRANCHES):
        F.silu(F.conv2d(x, weight, bias, padding=1), inplace=True)


def single(x: Tensor, flat: Tensor, bias: Tensor, place: Tensor) -> None:
    """`place` (n, 9) are the cells about each of n cells; what lies outside is taken for the border's."""
    rows = x.permute(0, 2, 3, 1).flatten(0, 2)
    for _ in range(BRANCHES):
        F.silu(torch.addmm(bias, rows[place.flatten()].view(len(place), -1), flat), inplace=True)


def surroundings(windows: int, side: int, cells: int) -> Tensor:
    """Cells (n, 9) about `cells` cells drawn from the maps of `windows`."""
    chosen = torch.randperm(windows * side * side, generator=torch.Generator().manual_seed(0))[:cells]
    window, y, x = chosen // side**2, chosen // side % side, chosen % side
    shifts = torch.arange(-1, 2)
    down = (y[:, None, None] + shifts[:, None]).clamp(0, side - 1)
    across = (x[:, None, None] + shifts).clamp(0, side - 1)
    return ((window[:, None, None] * side + down) * side + across).flatten(1)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--objects", type=int, nargs="+", default=[2, 6, 12], help="in a window")
    options = parser.parse_args()
    torch.set_num_threads(1)
    of_all = {model: shares(model, options.windows) for model in options.models}
    print(table(["model", "of a window", "of all"], [[m, f"{a:.0%}", f"{b:.0%}"] for m, (a, b) in of_all.items()]))
    rows = []
    for stride, channels in CHANNELS.items():
        side = WINDOW * 8 // stride
        x = torch.randn(options.windows, channels, side, side).contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(channels, channels, 3, 3), torch.randn(channels)
        flat = weight.permute(2, 3, 1, 0).reshape(-1, channels).contiguous()
        weight = weight.contiguous(memory_format=torch.channels_last)
        calls = {"dense": partial(dense, x, weight, bias)}
        for objects in options.objects:
            cells = min(objects * options.windows * CELLS[stride], options.windows * side**2)
            calls[str(objects)] = partial(single, x, flat, bias, surroundings(options.windows, side, cells))
        with torch.inference_mode():
            taken = take_turns(calls, options.rounds)
        rows.append([stride, *(spread(taken[name], 1000) for name in calls)])
    head = ["stride", "dense ms", *(f"{objects} objects a window" for objects in options.objects)]
    print(table(head, rows))
    publish({"benchmark": "esod_sparse_head", "shares": of_all, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
