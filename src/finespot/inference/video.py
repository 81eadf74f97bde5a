"""Detections in a video: the video with boxes drawn in, and one JSON record a frame."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot import images
from finespot.errors import FineSpotError
from finespot.structures import Detections
from finespot.writers import draw, make_folder


class VideoRecorder:
    """Writes `<name>.mp4` with boxes drawn in and `<name>.jsonl`, one record a frame.

    A record holds `frame` (from 0), `time` in seconds and `detections`, each with `box` (xyxy in pixels), `score`,
    `label` and `name`. Each line is complete as soon as it is written: a run that ends early leaves usable records.

    Parameters
    ----------
    drawn:
        Write the video too; without it only the records.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        fps: float,
        *,
        drawn: bool = True,
        line_width: int | None = None,
        labels: bool = True,
    ) -> None:
        self.folder, self.fps = make_folder(folder), fps
        self.records, self.video = self.folder / f"{name}.jsonl", self.folder / f"{name}.mp4"
        self.line_width, self.labels, self.drawn = line_width, labels, drawn
        self.frames = 0
        self._writer: images.VideoWriter | None = None
        try:
            self._file = self.records.open("wb")
        except OSError as error:
            raise FineSpotError(f"cannot be written ({error.strerror})", where=self.records) from error

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None = None) -> None:
        """Take the next frame; `pixels` uint8 RGB (H, W, 3) where the video is drawn."""
        record = {
            "frame": self.frames,
            "time": self.frames / self.fps,
            "detections": [
                {"box": box, "score": score, "label": label, "name": detections.classes[label]}
                for box, score, label in zip(
                    detections.boxes.tolist(), detections.scores.tolist(), detections.labels.tolist()
                )
            ],
        }
        try:
            self._file.write(msgspec.json.encode(record) + b"\n")
        except OSError as error:
            raise FineSpotError(f"cannot be written ({error.strerror})", where=self.records) from error
        self.frames += 1
        if not self.drawn:
            return
        if pixels is None:
            raise ValueError("drawing a video needs the frames' pixels")
        if self._writer is None:
            self._writer = images.VideoWriter(self.video, self.fps, detections.size)
        self._writer.write(draw(pixels, detections, None, self.line_width, self.labels))

    def close(self) -> list[Path]:
        """Finish the files; returns those that were written."""
        self._file.close()
        if self._writer is None:
            return [self.records]
        self._writer.close()
        return [self.records, self.video]

    def __enter__(self) -> VideoRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
