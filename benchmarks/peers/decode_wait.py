"""A folder of large JPEGs (4000 x 2250): how long does the network stand still for want of a decoded picture?

    .peers/run -m benchmarks.peers.decode_wait [--pictures 40] [--imgsz 640] [--threads 2] [--json FILE]

The pictures are made once, in the scratch folder: the bundled samples, mirrored and tinted by a fixed seed, side by
side at their own scale with sensor-like noise, JPEG quality 90. Both sides predict on the folder with the same random
weights and nothing found, in turns, wall time. FineSpot says itself how long it waited; the peer decodes between two
network calls on a CPU, so its share is the time that reading the same files takes alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks.peers import ours, peer
from benchmarks.report import ROOT, arguments, publish, ratio, spread, table

SIZE = (2250, 4000)
SIDES = ("finespot", "ultralytics")


def make_pictures(folder: Path, count: int, size: tuple[int, int] = SIZE) -> list[Path]:
    """`count` JPEGs of (height, width) `size`; those that are there already stay."""
    samples = [Image.open(path).convert("RGB") for path in sorted((ROOT / "samples/hit-uav/images").rglob("*.jpg"))]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:03d}.jpg" for i in range(count)]
    for seed, path in enumerate(paths):
        if path.exists():
            continue
        random = np.random.default_rng(seed)
        canvas = Image.new("RGB", (size[1], size[0]))
        for top in range(0, size[0], samples[0].height):
            for left in range(0, size[1], samples[0].width):
                part = samples[random.integers(len(samples))]
                canvas.paste(ImageOps.mirror(part) if random.random() < 0.5 else part, (left, top))
        tinted = np.asarray(canvas, np.float32) * random.uniform(0.7, 1.1, 3) + random.normal(0, 2, (*size, 1))
        Image.fromarray(tinted.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    for stale in set(folder.glob("*.jpg")) - set(paths):
        stale.unlink()
    return paths


def our_run(name: str, state: Any, folder: Path, threads: int, imgsz: int) -> Callable[[], dict[str, float]]:
    from finespot import inference

    names = [str(i) for i in range(80)]
    file = ours.weight_file(peer.SCRATCH / "decode_wait.safetensors", ours.detector(name, state), names)
    model = inference.load(file, runtime="torch", threads=threads, device="cpu")

    def run() -> dict[str, float]:
        start = time.perf_counter()
        for _ in model.predict(folder, imgsz=imgsz):
            pass
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "waiting": model.timing.waiting, "decode": model.timing.wall["decode"]}

    return run


def their_run(name: str, state: Any, folder: Path, imgsz: int) -> Callable[[], dict[str, float]]:
    from ultralytics import YOLO
    from ultralytics.utils.patches import imread

    peer.quiet()
    outer = YOLO(f"{name}.yaml", task="detect", verbose=False)
    outer.model.load_state_dict(state)

    def run() -> dict[str, float]:
        start = time.perf_counter()
        for path in sorted(folder.glob("*.jpg")):
            imread(str(path))
        decode = time.perf_counter() - start
        start = time.perf_counter()
        for _ in outer.predict(str(folder), imgsz=imgsz, device="cpu", stream=True, verbose=False):
            pass
        return {"seconds": time.perf_counter() - start, "waiting": decode, "decode": decode}

    return run


def compare(imgsz: int, options: Any) -> dict[str, Any]:
    folder = peer.SCRATCH / "large"
    paths = make_pictures(folder, options.pictures)
    state = peer.build(options.model).state_dict()
    runs = {
        "finespot": our_run(options.model, state, folder, options.threads, imgsz),
        "ultralytics": their_run(options.model, state, folder, imgsz),
    }
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    for turn in range(1 + options.rounds):
        for name, run in runs.items():
            once = run()
            if turn:
                taken[name].append(once)
    seconds = {name: [once["seconds"] for once in rows] for name, rows in taken.items()}
    return {
        "imgsz": imgsz,
        "pictures": len(paths),
        "wall_ms_per_picture": {name: spread(values, 1000 / len(paths)) for name, values in seconds.items()},
        "decode_ms_per_picture": {
            name: spread((once["decode"] for once in rows), 1000 / len(paths)) for name, rows in taken.items()
        },
        "waiting_share": {
            name: spread(once["waiting"] / once["seconds"] for once in rows) for name, rows in taken.items()
        },
        "ratio": ratio(seconds["ultralytics"], seconds["finespot"]),
    }


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--imgsz", type=int, nargs="+", default=[640])
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    options = parser.parse_args()
    peer.require_environment()
    with peer.pinned(options.threads):
        rows = [compare(imgsz, options) for imgsz in options.imgsz]
    cells = [
        [
            row["imgsz"],
            name,
            *(row[key][name] for key in ("wall_ms_per_picture", "decode_ms_per_picture", "waiting_share")),
        ]
        for row in rows
        for name in SIDES
    ]
    print(table(["imgsz", "side", "wall ms per picture", "decode ms", "share waiting"], cells))
    for row in rows:
        print(f"imgsz {row['imgsz']}: ultralytics / finespot {row['ratio']}")
    settings = {"model": options.model, "threads": options.threads, "size": SIZE}
    publish({"benchmark": "decode_wait", "settings": settings, "rows": rows}, options.json, "ultralytics", "simplejpeg")


if __name__ == "__main__":
    main()
