"""How the benchmarks take turns, read clocks and memory, and report: shared by all scripts in this folder.

Both sides of a comparison run in one process tree and take turns (A B A B ...), so that a change of the machine's
load or clock meets both. CPU time is user + system time of the whole process; it counts every thread, so it says
what a result costs, not how long a person waits. Every report carries versions and machine.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of repeated measurements."""

    median: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        digits = 1 if abs(self.median) >= 100 else 2 if abs(self.median) >= 1 else 4
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def spread(values: Iterable[float], scale: float = 1.0) -> Spread:
    """Median and range of `values`, each times `scale`."""
    numbers = [scale * value for value in values]
    return Spread(statistics.median(numbers), min(numbers), max(numbers), len(numbers))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """The ratio turn by turn: neighbours in time are compared with each other."""
    return spread(a / b for a, b in zip(above, below, strict=True))


def take_turns(
    sides: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: int = 2, clock: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds per call of each side, in turns; the first `warm_up` rounds are not counted."""
    now = CLOCKS[clock]
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm_up + rounds):
        for name, call in sides.items():
            start = now()
            call()
            if turn >= warm_up:
                taken[name].append(now() - start)
    return taken


def peak_rss_mib() -> float:
    """The most resident memory this process ever had, since its program was loaded (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def run_alone(module: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark module in a process of its own; its last line of output is a JSON object.

    For figures that two sides in one process would blur, such as peak memory.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = platform.processor() or platform.machine()
    memory = 0.0
    if Path("/proc/cpuinfo").exists():
        rows = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
        model = next((value.strip() for key, _, value in rows if key.strip() == "model name"), model)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {
        "cpu": model,
        "cores": cores,
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": load,
    }


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of the named packages, with Python's."""
    installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return {"python": platform.python_version(), **{name: installed.get(name, "absent") for name in packages}}


def arguments(doc: str | None, *, rounds: int | None = None) -> argparse.ArgumentParser:
    """The parser every benchmark starts from: its docstring as help, `--json`, and `--rounds` where it has rounds."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help=f"counted turns per side (default {rounds})")
    return parser


def data_file(folder: Path) -> Path:
    """The YOLO data file in a data set's folder."""
    found = next(iter(sorted(folder.glob("*.yaml"))), None)
    if found is None:
        raise SystemExit(f"no data file (*.yaml) in {folder}; copy the data set there or give its folder with --data")
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, columns padded to the same width."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def publish(result: Mapping[str, Any], path: Path | None, *packages: str) -> dict[str, Any]:
    """Print versions and machine, and write everything as JSON where a path was given."""
    whole = {**result, "versions": versions("finespot", "torch", "numpy", *packages), "machine": machine()}
    print("versions:", ", ".join(f"{name} {version}" for name, version in whole["versions"].items()))
    print("machine:", ", ".join(f"{key} {value}" for key, value in whole["machine"].items()))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(whole, indent=2, default=_plain) + "\n")
        print(f"written: {path}")
    return whole


def _plain(value: Any) -> Any:
    if isinstance(value, Spread):
        return {key: round(number, 6) for key, number in asdict(value).items()}
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else str(value)
