"""How long `finespot data check` takes for very many label files, and how much memory.

    python -m benchmarks.data.check_labels [--files 100000] [--boxes 10] [--rounds 3] [--folder DIR] [--json FILE]

Makes a YOLO set of so many pictures (48 x 32 gray PGM files, all different) with a label file each, a tenth of them in
val, in a scratch folder, or uses what an earlier call left in --folder. Times the command line without decoding
pictures, in a process of its own: seconds from start to exit, CPU seconds of all its processes, peak memory of the
largest and of all together. The set is clean, so a check that finds anything fails the benchmark.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import ROOT, arguments, publish, spread, table

SIZE = (32, 48)
VAL_EVERY = 10
PER_FOLDER = 10_000


def make_set(folder: Path, files: int, boxes: int) -> Path:
    """The data YAML of a set in `folder`, made where it is not there yet."""
    yaml = folder / f"set_{files}_{boxes}.yaml"
    if yaml.exists():
        return yaml
    rng = np.random.default_rng(0)
    root = folder / f"set_{files}_{boxes}"
    head = f"P5\n{SIZE[1]} {SIZE[0]}\n255\n".encode()
    for number in range(files):
        split = "val" if number % VAL_EVERY == 0 else "train"
        # Prefixes that differ between the splits: numbers that adjoin across them would be reported.
        place = f"{split}/{number // PER_FOLDER:03}"
        picture, label = (root / kind / place / f"{split}_{number:07}" for kind in ("images", "labels"))
        for path in (picture, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, SIZE, dtype=np.uint8)
        picture.with_suffix(".pgm").write_bytes(head + pixels.tobytes())
        label.with_suffix(".txt").write_text(label_lines(rng, boxes))
    yaml.write_text(f"path: {root.name}\ntrain: images/train\nval: images/val\nnames: [person, car, boat]\n")
    return yaml


def label_lines(rng: np.random.Generator, boxes: int) -> str:
    """Boxes inside the picture, each in a column of its own so that no two are nearly equal."""
    columns = (np.arange(boxes) + 0.5) / boxes
    rows = rng.uniform(0.2, 0.8, boxes)
    sides = rng.uniform(0.1, 0.3, (boxes, 2))
    sides[:, 0] = np.minimum(sides[:, 0], 2 * np.minimum(columns, 1 - columns))
    labels = rng.integers(0, 3, boxes)
    return "".join(
        f"{label} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for label, x, y, (w, h) in zip(labels, columns, rows, sides)
    )


def measure(yaml: Path, found: Path) -> dict[str, float]:
    """Seconds and MiB of one check in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.data.check_labels", "--measure", str(yaml), str(found)]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"the check of a clean set failed:\n{done.stdout}")
    findings = json.loads(found.read_text())["findings"]
    if findings:
        raise SystemExit(f"the check of a clean set found {[one['kind'] for one in findings]}")
    usage: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return {"wall_s": wall, **usage}


def check_alone(yaml: str, found: str) -> None:
    """What the measured process does; its last line of output is what it used."""
    import finespot.cli

    code = 0
    try:
        finespot.cli.main(["data", "check", yaml, "--no-decode", "--json", found])
    except SystemExit as stop:
        code = int(stop.code or 0)
    own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # Linux says KiB; of processes that have ended it keeps the largest.
    usage = {
        "cpu_s": own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime,
        "peak_mib": own.ru_maxrss / 1024,
        "largest_worker_mib": workers.ru_maxrss / 1024,
    }
    print(json.dumps(usage))
    sys.exit(code)


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        check_alone(*sys.argv[2:4])
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=100_000, help="label files, and pictures")
    parser.add_argument("--boxes", type=int, default=10, help="boxes in each")
    parser.add_argument("--folder", type=Path, help="keep the set here (a scratch folder, removed afterwards)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        yaml = make_set(folder, options.files, options.boxes)
        runs: list[dict[str, float]] = [measure(yaml, Path(scratch) / "found.json") for _ in range(options.rounds)]
    result: dict[str, Any] = {name: spread(run[name] for run in runs) for name in runs[0]}
    print(table(["", f"{options.files:,} files"], [[name, value] for name, value in result.items()]))
    settings = {name: getattr(options, name) for name in ("files", "boxes", "rounds")}
    publish({"benchmark": "check_labels", "settings": settings, **result}, options.json, "pillow", "msgspec")


if __name__ == "__main__":
    main()
