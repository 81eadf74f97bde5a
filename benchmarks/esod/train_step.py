"""What does a training step of ESOD cost beside one of its dense host on the same pictures?

    python -m benchmarks.esod.train_step [--model esod-yolov8n] [--sides 1024 1536] [--areas 0.02 0.05 0.2]
                                         [--shares 0.33 0.15 0] [--rounds 3] [--json FILE]

One picture of noise with 24 objects of 16 px in a corner of so much of its area; forward, loss and backward in
float32, one thread, CPU seconds in turns. The grid of windows begins elsewhere in each step, so how many windows a step
has differs: kept area (halos count) and the line stem and seeker + kept x rest are means over the same steps. The ends
of the line are the step whose whole map runs, and what of it is stem and seeker: a step with the loss of the seeker and
a gradient at the cut. Operations are those of the forward pass; the way back has about twice as many (torch's counter
takes the gradients of depthwise layers for dense ones).
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.esod import dense_host
from benchmarks.esod.cost import FASTER, LIGHTER, NEAR, SPARSE
from benchmarks.report import arguments, publish, spread, table, take_turns
from finespot import zoo
from finespot.structures import Targets
from finespot.zoo import WindowedDetector

CLASSES, OBJECTS, OBJECT = 10, 24, 16


class Steps:
    """Steps of one network on one picture; `kept` notes the kept area of each step on windows."""

    def __init__(self, network: zoo.Detector, side: int, area: float) -> None:
        self.network = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        random = torch.Generator().manual_seed(1)
        picture = torch.rand(1, 3, side, side, generator=random)
        self.picture = picture.contiguous(memory_format=torch.channels_last)
        corners = torch.rand(OBJECTS, 2, generator=random) * (side * area**0.5 - OBJECT)
        labels = torch.randint(0, CLASSES, (OBJECTS,), generator=random)
        zeros = torch.zeros(OBJECTS, dtype=torch.int64)
        self.targets = Targets(torch.cat((corners, corners + OBJECT), 1), labels, zeros, zeros.bool(), 1)
        self.kept: list[float] = []

    def step(self) -> None:
        """Forward, loss and backward."""
        self.network.zero_grad(set_to_none=True)
        self.network.loss(self.forward(), self.targets).total.backward()

    def forward(self) -> Any:
        """The raw output."""
        raw = self.network(self.picture, self.targets)
        if "origins" in raw:
            assert isinstance(self.network, WindowedDetector)
            size = self.picture.shape[2] // self.network.cut
            self.kept.append(len(raw["origins"]) * self.network.windows.grid((size, size)).share)
        return raw

    def look(self) -> Any:
        """The maps of the cut."""
        assert isinstance(self.network, WindowedDetector)
        return self.network.look(self.picture)

    def step_to_cut(self) -> None:
        """A step of stem and seeker alone, with a gradient at the cut that stands for detection's."""
        network = self.network
        network.zero_grad(set_to_none=True)
        seen = self.look()
        (network.relay.loss(seen.auxiliary, self.targets).total + seen.maps[0].mean()).backward()  # type: ignore


def gflops(forward: Callable[[], Any], times: int = 1) -> float:
    """Mean of counted operations."""
    with FlopCounterMode(display=False) as counter:
        for _ in range(times):
            forward()
    return float(counter.get_total_flops()) / 1e9 / times


def measure(options: Any, side: int, area: float) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    steps = {"dense": Steps(dense_host(options.model, CLASSES), side, area)}
    for share in options.shares:
        network = zoo.build(zoo.architecture(options.model, CLASSES, share=share, dense_above=None))
        steps[f"share={share:g}"] = Steps(network, side, area)
    last = steps[f"share={options.shares[-1]:g}"]
    whole = zoo.build(zoo.architecture(options.model, CLASSES))
    whole.whole = True
    calls = {name: one.step for name, one in steps.items()}
    all_of_it = Steps(whole, side, area)
    calls |= {"whole": all_of_it.step, "look": last.step_to_cut}
    torch.manual_seed(2)
    taken = take_turns(calls, options.rounds, warm_up=1)
    ends = {"cpu_s": [mean(taken[name]) for name in ("look", "whole")]}
    ends["gflops"] = [gflops(last.look), gflops(all_of_it.forward)]
    dense = {"cpu_s": mean(taken["dense"]), "gflops": gflops(steps["dense"].forward)}
    rows = []
    for name, one in steps.items():
        if name == "dense":
            continue
        kept = mean(one.kept[1:])
        before = len(one.kept)
        counted = gflops(one.forward, options.rounds)
        of_count = mean(one.kept[before:])
        row: dict[str, Any] = {"side": side, "objects_in": area, "row": name, "kept": kept}
        for key, value, share in (("cpu_s", mean(taken[name]), kept), ("gflops", counted, of_count)):
            low, high = ends[key]
            line = low + share * (high - low)
            row |= {key: value, f"{key}_dense": dense[key], f"{key}_of_dense": value / dense[key]}
            row[f"{key}_off_line"] = value / line - 1
        row["range"] = spread(taken[name])
        rows.append(row)
    return rows


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Where a step misses the bars of inference, one line each; none where all are met."""
    missed = []
    for row in rows:
        name = f"{row['side']} px, objects in {row['objects_in']:g}, {row['row']}, kept {row['kept']:.3f}"
        for key, most in (("cpu_s", 1 / FASTER), ("gflops", LIGHTER)):
            if row["kept"] <= SPARSE and row[f"{key}_of_dense"] > most:
                missed.append(f"{name}: {row[f'{key}_of_dense']:.0%} of the dense {key}, not {most:.0%}")
            if abs(row[f"{key}_off_line"]) > NEAR:
                missed.append(f"{name}: {key} {row[f'{key}_off_line']:+.0%} off the line, not within {NEAR:.0%}")
    return missed


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--model", default="esod-yolov8n")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 1536])
    parser.add_argument("--areas", type=float, nargs="+", default=[0.02, 0.05, 0.2])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.33, 0.15, 0.0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for side in options.sides for area in options.areas for row in measure(options, side, area)]
    head = [
        "px",
        "objects in",
        "row",
        "kept",
        "CPU s",
        "dense",
        "of dense",
        "off line",
        "GFLOPs",
        "of dense",
        "off line",
    ]
    cells = [
        [
            row["side"],
            row["objects_in"],
            row["row"],
            f"{row['kept']:.3f}",
            f"{row['cpu_s']:.2f}",
            f"{row['cpu_s_dense']:.2f}",
            f"{row['cpu_s_of_dense']:.0%}",
            f"{row['cpu_s_off_line']:+.0%}",
            f"{row['gflops']:.1f}",
            f"{row['gflops_of_dense']:.0%}",
            f"{row['gflops_off_line']:+.1%}",
        ]
        for row in rows
    ]
    print(table(head, cells))
    missed = verdicts(rows)
    print("\n".join(missed) if missed else "all bars are met")
    settings = {key: getattr(options, key) for key in ("model", "rounds")}
    publish({"benchmark": "esod_train_step", "settings": settings, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
