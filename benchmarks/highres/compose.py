"""Large pictures with known truth: HIT-UAV frames side by side at their own scale, objects at three densities.

    python -m benchmarks.highres.compose FOLDER [--data .data/hit-uav] [--seed 0]

Writes a COCO data set with one split a size and density: `2560-10` has pictures of 2560 x 2048 px (4 x 4 frames of
640 x 512), of whose places 10 % hold a frame with objects. These frames are dealt from the shuffled validation split,
each once before any comes again. The other places hold background: what is free of boxes and ignore regions in some
frame, the largest of a few shapes, mirrored at its edges until it fills the place. Frames without any object are three
in the split, too few to fill a picture with. What nobody labelled may lie there too: frames on whose free part
one sees objects are left out (`UNLABELLED`).

Picture i of a split depends on the seed and i alone: asking for fewer gives the first of them. Nothing is done where
the folder holds what is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from benchmarks.report import ROOT, arguments
from finespot.data import Dataset, open_dataset
from finespot.data.dataset import Rows
from finespot.data.formats.coco import Coco
from finespot.data.formats.layout import Part
from finespot.structures import Annotations, Window

FRAME = (512, 640)
# Side in frames, by width of the picture, and number of pictures by the share of places with objects, in percent: of
# the large ones so many that each frame with objects comes at least once.
SIDES = {2560: 4, 5120: 8}
PICTURES = {2560: {10: 45, 30: 15, 100: 10}, 5120: {10: 45, 30: 15, 100: 5}}
DENSITIES = (10, 30, 100)
# Shapes (height, width) of what is taken from frames as background, and how far from boxes it stays.
SHAPES = ((512, 640), (512, 320), (256, 640), (256, 320))
MARGIN = 16
# Flights and frames on whose free part persons, vehicles or lamps that look like them stand without a label.
UNLABELLED = {
    "0_130_50_0": "09749",
    "0_60_60_0": "06562",
    "1_120_30_0": "02792 02821 09274",
    "1_120_50_0": "02872",
    "1_120_70_0": "09393",
    "1_120_80_0": "06137",
    "1_130_30_0": "07142 09949",
    "1_130_40_0": "09983 09996 10003",
    "1_130_50_0": "03898 03903 03915 03930 07195 07196 07215 10030",
    "1_130_60_0": "07226 07228 07230 07259 10056 10067",
    "1_130_70_0": "03971 03975 04005 10082 10092",
    "1_130_80_0": "04046",
    "1_130_90_0": "07314",
    "1_60_30_0": "00093",
    "1_60_50_0": "00317",
    "1_60_70_0": "00615 00626",
    "1_70_50_0": "00975",
    "1_70_80_0": "07741 07751",
    "1_80_60_0": "04718 04719 04721",
    "1_90_30_0": "04858",
    "1_90_40_0": "08845",
    "1_90_50_0": "04916",
    "1_90_70_0": "04990",
    "1_90_80_0": "05034",
}
QUALITY = 95

Gray = NDArray[np.uint8]
Asked = Mapping[int, Mapping[int, int]]


@dataclass(frozen=True)
class Frames:
    """Gray pixels (512, 640) of all frames, their truth, and those of them that hold an object."""

    pixels: list[Gray]
    truth: list[Annotations]
    filled: list[int]
    free: dict[int, list[Window]]

    @classmethod
    def read(cls, dataset: Dataset) -> Frames:
        """All frames of a data set of frames of one size."""
        truth = [dataset.annotations(index) for index in range(len(dataset))]
        strange = next((one for one in truth if one.size != FRAME), None)
        if strange is not None:
            raise SystemExit(f"expected frames of {FRAME[1]} x {FRAME[0]} px but {strange.source} has {strange.size}")
        pixels = [dataset.image(index).read(None)[:, :, 0] for index in range(len(dataset))]
        filled = [index for index, one in enumerate(truth) if not one.ignore.all()]
        free = {index: free_windows(one) for index, one in enumerate(truth) if not unlabelled(one.source)}
        return cls(pixels, truth, filled, {index: found for index, found in free.items() if found})


def unlabelled(path: str) -> bool:
    """Whether a frame is known to show objects that bear no label."""
    flight, _, number = Path(path).stem.rpartition("_")
    return number in UNLABELLED.get(flight, "").split()


def free_windows(truth: Annotations, step: int = 16) -> list[Window]:
    """Windows of the largest of `SHAPES` that no box and no ignore region comes near; none where there is no room."""
    height, width = truth.size
    for high, wide in SHAPES:
        found = [
            (x, y, x + wide, y + high)
            for y in range(0, height - high + 1, step)
            for x in range(0, width - wide + 1, step)
            if not touched(truth, (x - MARGIN, y - MARGIN, x + wide + MARGIN, y + high + MARGIN))
        ]
        if found:
            return found
    return []


def touched(truth: Annotations, window: Window) -> bool:
    """Whether a box or an ignore region reaches into a window."""
    x1, y1, x2, y2 = truth.boxes.T
    return bool(((x1 < window[2]) & (x2 > window[0]) & (y1 < window[3]) & (y2 > window[1])).any())


def background(frames: Frames, random: np.random.Generator) -> Gray:
    """A place without objects: a free window of some frame, turned over at random, mirrored until it fills the place.

    Larger windows come first: a frame is drawn, and its chance is that of its window's area.
    """
    index = list(frames.free)[random.choice(len(frames.free), p=chances(frames))]
    x1, y1, x2, y2 = frames.free[index][random.integers(len(frames.free[index]))]
    flips = tuple(slice(None, None, int(step)) for step in random.choice([-1, 1], 2))
    patch = frames.pixels[index][y1:y2, x1:x2][flips]
    missing = FRAME[0] - patch.shape[0], FRAME[1] - patch.shape[1]
    return np.pad(patch, ((0, missing[0]), (0, missing[1])), mode="symmetric")


def chances(frames: Frames) -> NDArray[np.float64]:
    areas = np.array([(x2 - x1) * (y2 - y1) for (x1, y1, x2, y2), *_ in frames.free.values()], np.float64)
    return areas / areas.sum()


def counts(density: int, places: int, pictures: int) -> list[int]:
    """How many places of each picture hold objects: shares that are no whole number of places even out."""
    sums = [index * places * density // 100 for index in range(pictures + 1)]
    return [after - before for before, after in pairwise(sums)]


def deck(filled: Sequence[int], random: np.random.Generator) -> Iterator[int]:
    """The frames in random order, again and again."""
    while True:
        yield from random.permutation(filled).tolist()


def pictures(frames: Frames, side: int, density: int, count: int, seed: int) -> Iterator[tuple[Gray, Annotations]]:
    """The pictures of a split, `side` x `side` frames each, with their truth."""
    dealt = deck(frames.filled, np.random.default_rng([seed, side, density]))
    for number, filled in enumerate(counts(density, side * side, count)):
        random = np.random.default_rng([seed, side, density, number])
        here = set(random.permutation(side * side)[:filled].tolist())
        canvas = np.empty((side * FRAME[0], side * FRAME[1]), np.uint8)
        parts: list[Annotations] = []
        for place in range(side * side):
            top, left = place // side * FRAME[0], place % side * FRAME[1]
            cell = canvas[top : top + FRAME[0], left : left + FRAME[1]]
            if place not in here:
                cell[:] = background(frames, random)
                continue
            index = next(dealt)
            cell[:] = frames.pixels[index]
            parts.append(moved(frames.truth[index], left, top, canvas.shape))
        yield canvas, joined(parts, canvas.shape)


def moved(truth: Annotations, left: int, top: int, size: tuple[int, ...]) -> Annotations:
    boxes = truth.boxes + np.array([left, top, left, top], np.float32)
    return Annotations(boxes, truth.labels, (size[0], size[1]), truth.ignore, truth.area)


def joined(parts: Sequence[Annotations], size: tuple[int, ...]) -> Annotations:
    if not parts:
        return Annotations.empty((size[0], size[1]))
    boxes, labels, ignore, area = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "labels", "ignore", "area")
    )
    return Annotations(boxes, labels, (size[0], size[1]), ignore, area)


def write(folder: Path, dataset: Dataset, *, seed: int = 0, asked: Asked = PICTURES) -> list[str]:
    """Write the splits that `asked` (pictures by width and density) names; their names.

    The folder tells by `made.json` what it holds: the same is not written again.
    """
    counts = {f"{width}-{density}": count for width, own in asked.items() for density, count in own.items()}
    settings = {"seed": seed, "pictures": counts, "data": dataset.name}
    splits = list(counts)
    made = folder / "made.json"
    if made.exists() and json.loads(made.read_text()) == settings:
        return splits
    made.unlink(missing_ok=True)
    frames = Frames.read(dataset)
    parts = []
    for width, own in asked.items():
        for density, count in own.items():
            split = f"{width}-{density}"
            place = folder / "images" / split
            place.mkdir(parents=True, exist_ok=True)
            for stale in place.iterdir():
                stale.unlink()
            truth, paths = [], []
            for number, (pixels, one) in enumerate(pictures(frames, SIDES[width], density, count, seed)):
                paths.append(place / f"{split}-{number:02d}.jpg")
                Pillow.fromarray(pixels).save(paths[-1], quality=QUALITY)
                truth.append(one)
            parts.append(Part(split, as_dataset(split, dataset, paths, truth), tuple(path.name for path in paths)))
    Coco().write(folder, parts)
    made.write_text(json.dumps(settings) + "\n")
    return splits


def as_dataset(split: str, source: Dataset, paths: Sequence[Path], truth: Sequence[Annotations]) -> Dataset:
    starts = np.cumsum([0, *map(len, truth)])
    boxes, labels, ignore, area = (
        np.concatenate([getattr(one, name) for one in truth]) for name in ("boxes", "labels", "ignore", "area")
    )
    rows = Rows(starts, boxes, labels, ignore, area, np.arange(1, len(boxes) + 1))
    return Dataset(
        name=source.name,
        split=split,
        classes=source.classes,
        paths=[str(path) for path in paths],
        sizes=[one.size for one in truth],
        image_ids=list(range(1, len(paths) + 1)),
        rows=rows,
    )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "hit-uav", help="folder of HIT-UAV")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for split in write(options.folder, open_dataset(f"hit-uav:{options.data}", "val"), seed=options.seed):
        dataset = open_dataset(f"coco:{options.folder}", split)
        objects = int((~dataset.rows.ignore).sum())
        print(f"{split}: {len(dataset)} pictures, {objects} objects, {int(dataset.rows.ignore.sum())} ignore regions")


if __name__ == "__main__":
    main()
