"""Start-up: CPU seconds, peak memory and modules loaded of `finespot --help` and its like, in turns with the peer's.

    .peers/run -m benchmarks.peers.startup [--rounds 8] [--json FILE]

Every command runs in a fresh process; the first round (cold files) is not counted. CPU time and peak memory are
those that the system accounted to the process. `best` is the lowest: nothing makes a start-up faster than it is.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.report import arguments, publish, spread, table

BIN = Path(sys.executable).parent
# A child's peak memory starts with that of the process it was made from, so the smallest interpreter makes it.
LAUNCHER = """
import posix, sys
silent = [(posix.POSIX_SPAWN_OPEN, 1, "/dev/null", posix.O_WRONLY, 0)]
child = posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ, file_actions=silent)
_, status, usage = posix.wait4(child, 0)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(1 if status else 0)
"""
COUNT = "import sys, {0}; print(len(sys.modules), 'torch' in sys.modules, 'numpy' in sys.modules)"
COMMANDS: dict[str, list[str]] = {
    "finespot --help": [str(BIN / "finespot"), "--help"],
    "yolo --help": [str(BIN / "yolo"), "--help"],
    "import finespot": [sys.executable, "-c", "import finespot"],
    "import ultralytics": [sys.executable, "-c", "import ultralytics"],
    "finespot predict --help": [str(BIN / "finespot"), "predict", "--help"],
    "from ultralytics import YOLO": [sys.executable, "-c", "from ultralytics import YOLO"],
    "import finespot.inference": [sys.executable, "-c", "import finespot.inference"],
    "import torch": [sys.executable, "-c", "import torch"],
    "bare interpreter": [sys.executable, "-c", "pass"],
}
MODULES = {"finespot": "finespot, finespot.cli", "ultralytics": "ultralytics.cfg"}


def run_once(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak MiB of a command."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, *command],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    seconds, kib = done.stdout.split()[-2:]
    return float(seconds), int(kib) / 1024


def modules_loaded(statement: str) -> dict[str, Any]:
    """How many modules an import leaves loaded, and whether torch and numpy are among them."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(statement)], check=True, stdout=subprocess.PIPE, text=True
    )
    count, torch, numpy = done.stdout.split()[-3:]
    return {"modules": int(count), "torch": torch == "True", "numpy": numpy == "True"}


def main() -> None:
    parser = arguments(__doc__, rounds=8)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), help="these commands only")
    options = parser.parse_args()
    names = options.only or list(COMMANDS)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(options.rounds + 1):
        for name in names:
            once = run_once(COMMANDS[name])
            if turn:
                taken[name].append(once)
    rows = {
        name: {"cpu_s": spread(cpu for cpu, _ in runs), "peak_mib": spread(mib for _, mib in runs)}
        for name, runs in taken.items()
    }
    cells = [
        [name, f"{row['cpu_s'].low:.3f}", row["cpu_s"], f"{row['peak_mib'].median:.0f}"] for name, row in rows.items()
    ]
    print(table(["command", "best CPU s", "median (range)", "peak MiB"], cells))
    loaded = {name: modules_loaded(statement) for name, statement in MODULES.items()}
    print(table(["package", "modules", "torch", "numpy"], [[name, *row.values()] for name, row in loaded.items()]))
    publish({"benchmark": "startup", "commands": rows, "modules": loaded}, options.json, "ultralytics")


if __name__ == "__main__":
    main()
