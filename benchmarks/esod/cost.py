"""What does ESOD on windows cost by the share of the map that they take, beside its dense host?

    python -m benchmarks.esod.cost [--models esod-yolov8n esod-yolov5s] [--sides 1024 1536] [--rounds 5]
                                   [--out runs/esod/cost]

A fixed number of windows is asked for (a budget, threshold 0), so that windows take about the wanted shares of the map;
their halos count. `dense` is the network without a seeker. The line is that of the cost model, stem and seeker + kept x
rest, where rest is what the whole map takes behind the stem; both ends of it are measured, all between is not. One
picture of noise, from uint8 to selected boxes, one thread, weights as built: what is computed does not depend on them.
CPU seconds are medians of turns. Bars: with 0.2 of the map or less at least twice as fast as `dense` and at most 45 %
of its operations; within 10 % of the line. Writes cost.png and cost.json.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.esod import dense_host
from benchmarks.report import arguments, publish, spread, table, take_turns
from finespot import zoo
from finespot.runtimes import Session
from finespot.zoo import WindowedDetector, window_costs
from finespot.zoo.windowed import Windows

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
SPARSE, FASTER, LIGHTER, NEAR = 0.2, 2.0, 0.45, 0.1


def measure(model: str, side: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each number of windows, and one for the dense network."""
    torch.manual_seed(0)
    session = Session(zoo.build(zoo.architecture(model, classes=10)), threads=1, device="cpu")
    host = Session(dense_host(model, 10), threads=1, device="cpu")
    network: WindowedDetector = session.network
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    first = network.windows
    share = first.grid((side // network.cut,) * 2).share
    counts = sorted({round(wanted / share) for wanted in SHARES})
    rules = {count: rule_of(first, count) for count in counts}

    def run(session: Session, rule: Windows | None) -> Callable[[], None]:
        def call() -> None:
            if rule is not None:
                network.windows = rule
            session.select(session.look(image), 0.25)

        return call

    sides = {"dense": run(host, None), **{str(count): run(session, rule) for count, rule in rules.items()}}
    network.whole = False
    taken = take_turns(sides, rounds, warm_up=1)
    network.whole = True
    whole = take_turns({"whole": run(session, first)}, rounds, warm_up=1)["whole"]
    costs = window_costs(network, (side, side))
    dense, ends = spread(taken["dense"]).median, (spread(taken["0"]).median, spread(whole).median)
    rows = []
    for count in counts:
        kept, seconds = count * share, spread(taken[str(count)])
        gflops = costs.picture + count * costs.window
        lines = (costs.picture + kept * costs.whole, ends[0] + kept * (ends[1] - ends[0]))
        rows.append(
            {
                "model": model,
                "side": side,
                "windows": count,
                "kept": kept,
                "gflops": gflops,
                "of_dense": gflops / costs.dense,
                "off_line_gflops": gflops / lines[0] - 1,
                "cpu_s": seconds,
                "dense_cpu_s": dense,
                "faster": dense / seconds.median,
                "line_cpu_s": lines[1],
                "off_line_cpu": seconds.median / lines[1] - 1,
            }
        )
    return rows


def rule_of(first: Windows, count: int) -> Windows:
    """So many windows in every picture, whatever the seeker says."""
    chosen = {"threshold": 0.0, "budget": count} if count else {"threshold": 1.0}
    return replace(first, dense_above=None, **chosen)


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """Where a bar is missed, one line each; none where all are met."""
    missed = []
    for row in rows:
        name = f"{row['model']} {row['side']} px, kept {row['kept']:.3f}"
        sparse = row["kept"] <= SPARSE
        if sparse and row["faster"] < FASTER:
            missed.append(f"{name}: {row['faster']:.2f} times as fast, not {FASTER:g}")
        if sparse and row["of_dense"] > LIGHTER:
            missed.append(f"{name}: {row['of_dense']:.0%} of the operations, not {LIGHTER:.0%}")
        far = [key for key in ("off_line_gflops", "off_line_cpu") if abs(row[key]) > NEAR]
        missed += [f"{name}: {key} {row[key]:+.0%}, not within {NEAR:.0%}" for key in far]
    return missed


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds and operations against kept area, measured and by the line; the dense network as a level."""
    from matplotlib.figure import Figure

    groups = sorted({(row["model"], row["side"]) for row in rows})
    figure = Figure(figsize=(9, 3.2 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False)
    for (model, side), (left, right) in zip(groups, axes, strict=True):
        own = [row for row in rows if (row["model"], row["side"]) == (model, side)]
        kept, gflops = [row["kept"] for row in own], [row["gflops"] for row in own]
        lines = [row["gflops"] / (1 + row["off_line_gflops"]) for row in own]
        seconds, expected = [row["cpu_s"].median for row in own], [row["line_cpu_s"] for row in own]
        for axis, unit, values, line, level in (
            (left, "CPU seconds", seconds, expected, own[0]["dense_cpu_s"]),
            (right, "GFLOPs", gflops, lines, gflops[0] / own[0]["of_dense"]),
        ):
            axis.plot(kept, line, color="0.6", label="stem + kept x rest")
            axis.axhline(level, color="0.3", linestyle=":", label="dense")
            axis.plot(kept, values, "o", label="on windows")
            axis.set(title=f"{model}, {side} px", xlabel="kept area, with halos", ylabel=unit, ylim=(0, None))
            axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", default=["esod-yolov8n", "esod-yolov5s"])
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 1536])
    parser.add_argument("--out", type=Path, default=Path("runs/esod/cost"))
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for model in options.models:
        for side in options.sides:
            rows += measure(model, side, options.rounds)
            print(f"{model}, {side} px: done", flush=True)
    head = ["model", "px", "windows", "kept", "GFLOPs", "of dense", "off line", "CPU s", "dense", "times", "off line"]
    print(table(head, [cells(row) for row in rows]))
    missed = verdicts(rows)
    print("\n".join(missed) if missed else "all bars met")
    draw(rows, options.out / "cost.png")
    result = {"benchmark": "esod_cost", "rounds": options.rounds, "rows": rows, "missed": missed}
    publish(result, options.json or options.out / "cost.json", "matplotlib")


def cells(row: dict[str, Any]) -> list[str]:
    return [
        row["model"],
        str(row["side"]),
        str(row["windows"]),
        f"{row['kept']:.3f}",
        f"{row['gflops']:.2f}",
        f"{row['of_dense']:.0%}",
        f"{row['off_line_gflops']:+.1%}",
        str(row["cpu_s"]),
        f"{row['dense_cpu_s']:.3f}",
        f"{row['faster']:.2f}",
        f"{row['off_line_cpu']:+.1%}",
    ]


if __name__ == "__main__":
    main()
