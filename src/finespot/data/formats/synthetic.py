"""Drawn aerial pictures as a data set: `synthetic:N` has N pictures to train on and a quarter as many to validate on.

The pictures are drawn once into a folder of their own below the user's cache (`XDG_CACHE_HOME`, else `~/.cache`), and
found there again: the same seed, size and density give the same files, and more pictures only add to them. Options:
`size` (HEIGHTxWIDTH or one side, 640), `seed` (0), `density` (1: multiplies people, cars and boats).
"""

from __future__ import annotations

import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import PIL.Image

from finespot.data.builder import Builder, no_split
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.synthetic import CLASSES, Scene, Style, plan_scene, render
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.writers import make_folder, write_atomic

# Changes with what is drawn, so that pictures of an earlier version are not taken for those of this one.
_VERSION = 1
# Splits are numbered, so that none repeats a picture of another; a split has at most so many.
_MOST = 1_000_000
_SPLITS = ("train", "val")
_QUALITY = 92


@register("format", "synthetic")
class Synthetic:
    """As many drawn pictures as the number behind the colon says."""

    def __init__(self, size: str = "640", seed: str = "0", density: str = "1") -> None:
        sides = re.fullmatch(r"(\d{2,5})(?:x(\d{2,5}))?", size)
        if not sides or min(int(side) for side in sides.groups(sides[1])) < 64:
            raise FineSpotError(
                f"expected HEIGHTxWIDTH of 64 pixels or more, or one side, but got '{size}'", where="size"
            )
        if not re.fullmatch(r"\d{1,9}", seed):
            raise FineSpotError(f"expected a whole number of at most 9 digits but got '{seed}'", where="seed")
        try:
            crowd = float(density)
        except ValueError:
            crowd = -1.0
        if not 0 < crowd <= 10:
            raise FineSpotError(f"expected a number above 0, at most 10, but got '{density}'", where="density")
        self.style = Style((int(sides[1]), int(sides[2] or sides[1])), crowd)
        self.seed = int(seed)

    def splits(self, place: Path) -> list[str]:
        """`train` and `val`."""
        _count(place)
        return list(_SPLITS)

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Draw what is missing, and give pictures and labels of one split."""
        count = _count(place)
        if split not in _SPLITS:
            raise no_split(split, _SPLITS, f"synthetic:{place}")
        if split == "val":
            count = max(1, count // 4)
        folder = self.folder() / split
        builder = Builder(f"synthetic-{count}", split, CLASSES, findings)
        first = _MOST * _SPLITS.index(split)
        paths = [folder / f"{number:06d}.jpg" for number in range(count)]
        plan = partial(plan_scene, seed=self.seed, style=self.style)
        missing = [number for number in range(count) if not paths[number].is_file()]
        if missing:
            make_folder(folder)
            builder.notes.append(f"{len(missing)} pictures drawn into {folder}")
            _draw([(plan, first + number, paths[number]) for number in missing])
        for number, path in enumerate(paths):
            builder.picture(str(path), number + 1)
            scene = plan(first + number)
            for corners, label in zip(scene.boxes().tolist(), scene.labels):
                x1, y1, x2, y2 = corners
                builder.box((x1, y1, x2, y2), label, where=str(path))
        return builder.build()

    def folder(self) -> Path:
        """Where the pictures of these options lie."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        height, width = self.style.size
        name = f"v{_VERSION}-{height}x{width}-seed{self.seed}-density{self.style.density:g}"
        return cache / "finespot" / "synthetic" / name


def _count(place: Path) -> int:
    text = str(place)
    if not re.fullmatch(r"\d{1,7}", text) or not 0 < int(text) <= _MOST:
        raise FineSpotError(f"expected a number of pictures from 1 to {_MOST} but got '{text}'", where="synthetic")
    return int(text)


def _draw(wanted: list[tuple[partial[Scene], int, Path]]) -> None:
    # Threads, not processes: most of the time goes into array operations, which run beside each other.
    with ThreadPoolExecutor(_cores()) as pool:
        for _ in pool.map(_draw_one, wanted):
            pass


def _draw_one(wanted: tuple[partial[Scene], int, Path]) -> None:
    plan, number, path = wanted
    stream = io.BytesIO()
    PIL.Image.fromarray(render(plan(number))).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    write_atomic(path, stream.getvalue(), sync=False)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
