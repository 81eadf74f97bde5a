"""Detections in a video: the video with boxes drawn in, and one JSON record a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot import images
from finespot.errors import FineSpotError
from finespot.structures import Detections
from finespot.writers import Names, draw, make_folder


class VideoRecorder:
    """A writer of `<name>.mp4` with boxes drawn in and `<name>.jsonl`, one record a frame.

    A record holds `frame` (from 0), `time` in seconds and `detections`, each with `box` (xyxy in pixels), `score`,
    `label` and `name`. Each line goes out whole as soon as its frame is done: a run that ends early leaves usable
    records.

    Parameters
    ----------
    times:
        Seconds of each frame, at least those written so far; frame number / fps without them.
    drawn:
        Write the video too; without it only the records, and `write` needs no pixels.
    """

    def __init__(
        self,
        name: str,
        fps: float,
        *,
        times: Sequence[float] = (),
        drawn: bool = True,
        line_width: int | None = None,
        labels: bool = True,
    ) -> None:
        if fps <= 0:
            raise FineSpotError(f"expected more than 0 but got {fps}", where="fps")
        self.name, self.fps, self.times, self.needs_pixels = name, fps, times, drawn
        self.line_width, self.labels = line_width, labels

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder and the file of records."""
        place = make_folder(folder)
        self.records, self.video = place / f"{self.name}.jsonl", place / f"{self.name}.mp4"
        self.frames = 0
        self._writer: images.VideoWriter | None = None
        try:
            # Unbuffered: a record is one line written in one call.
            self._file: BinaryIO = self.records.open("wb", buffering=0)
        except OSError as error:
            raise FineSpotError(f"cannot be written ({error.strerror})", where=self.records) from error

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None = None) -> None:
        """Take the next frame; `pixels` uint8 RGB (H, W, 3) where the video is drawn."""
        try:
            self._file.write(msgspec.json.encode(self._record(detections)) + b"\n")
        except OSError as error:
            raise FineSpotError(f"cannot be written ({error.strerror})", where=self.records) from error
        self.frames += 1
        if not self.needs_pixels:
            return
        if pixels is None:
            raise ValueError("drawing a video needs the frames' pixels")
        if self._writer is None:
            self._writer = images.VideoWriter(self.video, self.fps, detections.size)
        self._writer.write(draw(pixels, detections, None, self.line_width, self.labels))

    def close(self) -> Path:
        """Finish the files; returns their folder."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()
        return self.records.parent

    def _record(self, detections: Detections) -> dict[str, object]:
        rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist())
        return {
            "frame": self.frames,
            "time": self.times[self.frames] if self.times else self.frames / self.fps,
            "detections": [
                {"box": box, "score": score, "label": label, "name": detections.classes[label]}
                for box, score, label in rows
            ],
        }
