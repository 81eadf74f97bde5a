"""What does a head save that computes single cells of its windows? `cells=seeker` in docs/systems/esod.md.

    python -m benchmarks.esod.sparse_head [--models esod-yolov5s esod-yolov5m] [--windows 4] [--objects 1 2 6 12 24]
                                          [--rounds 7] [--json FILE]

First the share of the head in the operations of a picture of 1536 x 1536 px with so many windows, by host: the most
that could be saved. Then the head of the released networks, which can compute single cells: alone, on these windows,
and from picture to boxes, all cells and those about so many objects in each window. Windows and cells are chosen by a
truth drawn at random, so what is computed does not depend on the weights, which are as built. One thread, CPU
milliseconds, medians of turns; the values of the cells that run are checked against those of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import arguments, publish, ratio, spread, table, take_turns
from finespot import zoo
from finespot.nn.windows import gather
from finespot.runtimes import Session
from finespot.structures import Features, Targets
from finespot.zoo import WindowedDetector, looks, window_costs

HOSTS = [
    "esod-yolov5s",
    "esod-yolov5m",
    "esod-yolov8n",
    "esod-yolov8m",
    "esod-yolo11n",
    "esod-rtmdet-m",
    "esod-retinanet-r50",
    "esod-gpvit-l1",
]
SIDE, WINDOW, CORE = 1536, 40, 256


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


def objects_in(windows: int, objects: int) -> Targets:
    """So many objects of 16 px in each of the first cores of a picture, in its inner part."""
    draw = torch.Generator().manual_seed(0)
    across = SIDE // CORE
    corners = torch.tensor([[CORE * (one % across), CORE * (one // across)] for one in range(windows)])
    places = 32 + torch.randint(CORE - 64, (windows, objects, 2), generator=draw)
    centers = (corners[:, None] + places).flatten(0, 1).float()
    count = len(centers)
    boxes = torch.cat((centers - 8, centers + 8), 1)
    nothing = torch.zeros(count, dtype=torch.int64)
    return Targets(boxes, nothing, nothing, torch.zeros(count, dtype=torch.bool), 1)


def measure(model: str, windows: int, objects: list[int], rounds: int) -> list[dict[str, Any]]:
    """A row for all cells, and for those of so many objects in each window."""
    torch.manual_seed(0)
    session = Session(zoo.build(zoo.architecture(model, classes=10)), threads=1, device="cpu")
    network: WindowedDetector = session.network
    every = replace(network.windows, select="oracle", dense_above=None)
    image = torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    truths = {"all": objects_in(windows, 1), **{str(count): objects_in(windows, count) for count in objects}}
    rules = {name: replace(every, cells="all" if name == "all" else "oracle") for name in truths}
    costs = window_costs(network, (SIDE, SIDE))

    def picture(name: str) -> dict[str, Tensor]:
        network.windows = rules[name]
        raw = session.look(image, truths[name])
        session.select(raw, 0.25)
        return raw

    def head(name: str, features: Features) -> Callable[[], dict[str, Tensor]]:
        network.windows = rules[name]
        likely = network.likely(heat, truths[name])
        if likely is None:
            return lambda: network.head(features)
        chosen = network.choose(heat, truths[name])
        cells = gather(likely, chosen.picture, chosen.origins, chosen.grid.window)
        return lambda: network.head.at_cells(features, cells)

    with torch.inference_mode():
        network.windows = every
        seen = network.look(image.float() / 255)
        heat = seen.auxiliary["heat"]
        features = network.neck(network.split().tail(network.cut_out(seen, network.choose(heat, truths["all"]))))
        heads = {name: head(name, features) for name in truths}
        whole = heads["all"]()
        for name in truths:
            found = heads[name]()
            kept = torch.isfinite(found["objectness"][:, 0])
            far = max(float((found[k] - whole[k]).transpose(1, 2)[kept].abs().max()) for k in ("boxes", "objectness"))
            assert far < 1e-2, f"{model}: single cells differ by {far}"
        alone = take_turns(heads, rounds)
    taken = take_turns({name: lambda name=name: picture(name) for name in truths}, rounds)  # type: ignore[misc]
    rows = []
    for name in truths:
        (look,) = looks(network, picture(name), costs)
        assert look.savings.windows == windows
        rows.append(
            {
                "model": model,
                "cells": name,
                "head_ms": spread(alone[name], 1000),
                "head_faster": ratio(alone["all"], alone[name]),
                "picture_ms": spread(taken[name], 1000),
                "picture_faster": ratio(taken["all"], taken[name]),
                "gflops": look.savings.gflops,
            }
        )
    return rows


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--models", nargs="+", default=["esod-yolov5s", "esod-yolov5m"])
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 2, 6, 12, 24], help="in a window")
    options = parser.parse_args()
    torch.set_num_threads(1)
    of_all = {model: shares(model, options.windows) for model in HOSTS}
    print(table(["model", "of a window", "of all"], [[m, f"{a:.0%}", f"{b:.0%}"] for m, (a, b) in of_all.items()]))
    rows = []
    for model in options.models:
        rows += measure(model, options.windows, options.objects, options.rounds)
    head = ["model", "objects a window", "head ms", "times as fast", "picture ms", "times as fast", "GFLOPs"]
    keys = ["model", "cells", "head_ms", "head_faster", "picture_ms", "picture_faster"]
    print(table(head, [[*(row[key] for key in keys), f"{row['gflops']:.1f}"] for row in rows]))
    publish({"benchmark": "esod_sparse_head", "shares": of_all, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
