"""How long does a picture take with the network of each row of a study?

    python -m benchmarks.systems.latency [STUDY ...] [--set model=yolov5n] [--imgsz 640] [--rounds 10] [--threads 1]
                                         [--json FILE]

One picture from input to boxes, all rows of a study in turns, as `finespot ablate` times trained ones: float32, batch
norm folded in, 4 classes as in HIT-UAV. The networks are untrained, which changes nothing of what is computed here.
Rows of a study that train the same network otherwise are timed once. Run it on an idle machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import arguments, publish, table
from finespot import weights, zoo
from finespot.structures import Classes
from finespot.studies import load_study
from finespot.studies.costs import clock
from finespot.studies.study import Row
from finespot.training.recipe import parse_words

STUDIES = ("sarl-yolov5", "sarl-yolox", "yolo11-ass", "yolo-sod", "lrs-detr")
CLASSES = Classes(("Person", "Car", "Bicycle", "OtherVehicle"))


def saved(rows: Sequence[Row], imgsz: int, folder: Path) -> dict[str, Path]:
    """Weight files of the different networks, by the first row that has each."""
    files, seen = {}, []
    for row in rows:
        architecture = zoo.architecture(row.recipe.model, len(CLASSES), **row.recipe.options)
        if architecture in seen:
            continue
        seen.append(architecture)
        card = weights.Card(architecture=architecture, classes=CLASSES, imgsz=imgsz)
        files[row.name] = weights.save(folder / f"{len(files)}.safetensors", zoo.build(architecture), card)
    return files


def main() -> None:
    parser = arguments(__doc__, rounds=10)
    parser.add_argument("studies", nargs="*", default=STUDIES, metavar="STUDY")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of every row's recipe")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    cells, setting = [], ""
    for name in options.studies:
        rows = load_study(name, overrides=parse_words(options.set)).rows
        with TemporaryDirectory() as folder:
            timing = clock(saved(rows, options.imgsz, Path(folder)), "cpu", options.rounds, options.threads)
        setting = timing.setting
        for row, one in timing.rows.items():
            cells.append([name, row, f"{one.median:.0f}", f"{one.low:.0f} to {one.high:.0f}"])
    print(table(["study", "row", "ms", "middle half"], cells))
    print(f"{options.imgsz} x {options.imgsz} px; {setting}")
    publish({"benchmark": "latency", "imgsz": options.imgsz, "rows": cells, "setting": setting}, options.json)


if __name__ == "__main__":
    main()
