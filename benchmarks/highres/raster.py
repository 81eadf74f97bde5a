"""A large GeoTIFF in bounded memory: peak memory, time against the network's own, and the same result as at once.

    python -m benchmarks.highres.raster [--side 20000] [--pictures DIR] [--folder DIR] [--threads 1] [--json FILE]

The raster (RGB, 8 bits, tiles of 512 px, JPEG) is composed of patches of the pictures from a seed, turned and mirrored.
`finespot predict` runs on it in a process of its own, with tiles of 640 px; its peak is that of the program (VmHWM),
torch included. `ratio` is its time for all windows, from the first to the last, over the part of it that the network
took, as the run itself reports both; `all_ratio` counts the start and the drawing of the overview too. A raster of
`--small` px goes the same way and, as one array, the way of pictures: `equal` says whether both found the same. The
network is the bundled one. Bars: below 700 MB, at most 1.15 times the network's time, equal.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import arguments, peak_rss_mib, publish, run_alone, table
from finespot import images

WEIGHTS, TILE, BLOCK, PATCH = "hit-uav-n", 640, 512, 512
SAMPLES = Path(__file__).parents[2] / "samples" / "hit-uav" / "images"
LIMIT_MIB, LIMIT_RATIO = 667, 1.15  # 700 MB
_LINE = re.compile(r"(\d+) windows in ([\d.]+) s: ([\d.]+) ms a window, of these ([\d.]+) in the network; (\d+) %")


def make(path: Path, side: int, pictures: Path, seed: int = 0) -> Path:
    """A raster of `side` px in UTM, 5 cm a pixel."""
    import rasterio
    from rasterio.transform import Affine
    from rasterio.windows import Window

    random = np.random.default_rng(seed)
    sources = [images.open_image(one) for one in images.find_images(pictures)[:16]]
    pool = [images.to_rgb8(one.read(None), one.bit_depth) for one in sources if min(one.size) >= PATCH]
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": Affine(0.05, 0, 400_000, 0, -0.05, 5_500_000),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "JPEG",
        "photometric": "YCbCr",
    }
    with rasterio.open(path, "w", **profile) as file:
        for y in range(0, side, PATCH):
            for x in range(0, side, PATCH):
                high, wide = min(PATCH, side - y), min(PATCH, side - x)
                patch = _patch(pool, random)[:high, :wide]
                file.write(np.moveaxis(patch, 2, 0), window=Window(x, y, wide, high))
    return path


def _patch(pool: list[Any], random: np.random.Generator) -> Any:
    picture = pool[random.integers(len(pool))]
    y, x = (int(random.integers(length - PATCH + 1)) for length in picture.shape[:2])
    patch = np.rot90(picture[y : y + PATCH, x : x + PATCH], int(random.integers(4)))
    return patch[:, ::-1] if random.integers(2) else patch


def run(path: Path, folder: Path, threads: int) -> dict[str, Any]:
    """`finespot predict` on a raster in this process: what it reports, its peak, its CPU time."""
    import finespot.cli

    words = ["predict", WEIGHTS, str(path), "--slice", str(TILE), "--threads", str(threads), "--project", str(folder)]
    said = io.StringIO()
    start, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        finespot.cli.main(words)
    found = _LINE.search(said.getvalue())
    if found is None:
        raise RuntimeError(said.getvalue())
    windows, seconds, each, network, waiting = found.groups()
    written = re.findall(r"wrote (\S+\.geojson)", said.getvalue())[0]
    whole = time.perf_counter() - start
    return {
        "windows": int(windows),
        "windows_s": float(seconds),
        "ms_a_window": float(each),
        "network_ms": float(network),
        "ratio": round(float(each) / float(network), 3),
        "waiting_percent": int(waiting),
        "all_s": round(whole, 1),
        "all_ratio": round(whole / (int(windows) * float(network) / 1000), 3),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_mib": round(peak_rss_mib(), 1),
        "objects": len(json.loads(Path(written).read_text())["features"]),
        "geojson": written,
    }


def equal(path: Path, folder: Path, threads: int) -> bool:
    """Whether a raster gives the same as its pixels in one array do."""
    from finespot.inference import Model, RasterRun, Settings, load
    from finespot.inference.prepare import Scaling
    from finespot.structures import Tiling

    model: Model = load(WEIGHTS, threads=threads)
    tiling = Tiling(TILE)
    card = model.card
    with images.Raster(path) as raster:
        view = images.RasterView(raster)
        rule = Scaling(card.imgsz, model.session.stride, tiling, card.fit)
        found = list(RasterRun(model.session, view, Settings(rule, card.conf, card.iou, nms=card.nms)))
        pixels = raster.read((0, 0, raster.size[1], raster.size[0]))[0]
    whole = next(model.predict(pixels, tiling=tiling, max_det=10**9))
    one = np.concatenate([np.column_stack([some.boxes, some.scores, some.labels]) for some in found])
    two = np.column_stack([whole.boxes, whole.scores, whole.labels])
    return np.array_equal(one[np.lexsort(one.T)], two[np.lexsort(two.T)])


def verdict(found: dict[str, Any]) -> str:
    """Where it misses a bar, or that it meets all."""
    missed = []
    if found["peak_mib"] >= LIMIT_MIB:
        missed.append(f"{found['peak_mib']:.0f} MiB, not below {LIMIT_MIB}")
    if found["ratio"] > LIMIT_RATIO:
        missed.append(f"{found['ratio']:.2f} times the network's time, not {LIMIT_RATIO}")
    if not found["equal"]:
        missed.append("not the same as in one array")
    return ", ".join(missed) or "all bars met"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--small", type=int, default=3000)
    parser.add_argument("--pictures", type=Path, default=SAMPLES)
    parser.add_argument("--folder", type=Path, default=Path("runs/raster"), help="scratch folder (kept)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", type=Path, help="run on this raster alone, in this process")
    options = parser.parse_args()
    if options.worker is not None:
        print(json.dumps(run(options.worker, options.folder, options.threads)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for side in (options.small, options.side):
        path = options.folder / f"raster_{side}.tif"
        made[side] = path if path.exists() else make(path, side, options.pictures)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB", file=sys.stderr, flush=True)
    words = ("--worker", str(made[options.side]), "--folder", str(options.folder), "--threads", str(options.threads))
    found = run_alone("benchmarks.highres.raster", *words)
    found["equal"] = equal(made[options.small], options.folder, options.threads)
    found |= {"side": options.side, "limit_mib": LIMIT_MIB, "limit_ratio": LIMIT_RATIO}
    print(table(["what", "value"], [[name, value] for name, value in found.items()]))
    print(verdict(found))
    publish({"benchmark": "raster", **found}, options.json)


if __name__ == "__main__":
    main()
