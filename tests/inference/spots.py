"""A session without a network that finds bright spots, and a seeker that sees brightness."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finespot import zoo
from finespot.structures import Classes, Tiling
from finespot.weights import Card

TILES = Tiling(64, 16)


def spot(size: tuple[int, int], *places: tuple[int, int], side: int = 8) -> np.ndarray:
    """A dark picture with bright squares about (x, y)."""
    pixels = np.zeros((*size, 3), np.uint8)
    for x, y in places:
        pixels[max(y - side // 2, 0) : y + side // 2, max(x - side // 2, 0) : x + side // 2] = 255
    return pixels


class Spots:
    """Finds each group of bright pixels that are no farther than 2 px apart; `shapes` are those of the batches."""

    stride, threads, device, network, reason = 32, 1, "cpu", None, "no runtime"
    suppress = False

    def __init__(self, delay: float = 0.0, tiling: Tiling | None = TILES) -> None:
        self.head, self.delay = self, delay
        self.card = Card(
            architecture=zoo.architecture("yolo11n", 1), classes=Classes(("spot",)), imgsz=64, tiling=tiling
        )
        self.classes = self.card.classes
        self.shapes: list[tuple[int, ...]] = []

    @property
    def windows(self) -> int:
        """How many windows ran."""
        return sum(shape[0] for shape in self.shapes)

    def look(self, windows: Any) -> Any:
        self.shapes.append(tuple(windows.shape))
        time.sleep(self.delay * len(windows))
        return windows

    def wait(self) -> None:
        pass

    def select(self, raw: Any, conf: float, multi_label: bool) -> list[Any]:
        found = []
        for window in raw.numpy():
            bright = np.argwhere(window[0] > 127)
            boxes = []
            while len(bright):
                near = np.zeros(len(bright), bool)
                near[0] = True
                while True:
                    low, high = bright[near].min(0) - 3, bright[near].max(0) + 3
                    grown = ((bright > low) & (bright < high)).all(1)
                    if grown.sum() == near.sum():
                        break
                    near = grown
                (y1, x1), (y2, x2) = bright[near].min(0), bright[near].max(0) + 1
                boxes.append([x1, y1, x2, y2])
                bright = bright[~near]
            array = np.array(boxes, np.float32).reshape(-1, 4)
            found.append((array, np.full(len(array), 0.9, np.float32), np.zeros(len(array), np.int64)))
        return found


@dataclass
class Brightness:
    """A seeker whose heat is the greatest brightness in cells of 8 px."""

    threshold: float = 0.5
    recall: float | None = 0.99
    lost: float | None = 0.004
    calls: list[tuple[int, ...]] = field(default_factory=list)

    def fingerprint(self) -> list[Any]:
        return [self.threshold]

    def heat(self, pixels: np.ndarray) -> np.ndarray:
        self.calls.append(pixels.shape)
        high, wide = (-(-side // 8) * 8 for side in pixels.shape[:2])
        gray = np.zeros((high, wide), np.float32)
        gray[: pixels.shape[0], : pixels.shape[1]] = pixels[..., 0] / 255
        return gray.reshape(high // 8, 8, wide // 8, 8).max((1, 3))
