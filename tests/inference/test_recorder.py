"""Drawn videos and frame records."""

from __future__ import annotations

import json

import numpy as np
import pytest

from finespot import images
from finespot.errors import FineSpotError
from finespot.inference import VideoRecorder
from finespot.structures import Classes, Detections

CLASSES = Classes(("car",))


def found(x: float) -> Detections:
    return Detections([[x, 10, x + 12, 22]], [0.75], [0], (64, 96), CLASSES, "clip_000000.mp4")


def test_video_and_records(tmp_path) -> None:
    pytest.importorskip("av")
    with VideoRecorder(tmp_path / "new", "clip", 5.0) as recorder:
        for frame in range(3):
            recorder.write(found(10 + 5 * frame), np.full((64, 96, 3), 90, np.uint8))
    records = [json.loads(line) for line in (tmp_path / "new" / "clip.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == [0, 1, 2]
    assert records[2]["time"] == pytest.approx(0.4)
    assert records[2]["detections"] == [{"box": [20, 10, 32, 22], "score": 0.75, "label": 0, "name": "car"}]
    video = images.open_video(tmp_path / "new" / "clip.mp4")
    frames = list(video.frames())
    assert len(frames) == 3
    assert video.fps == pytest.approx(5)
    assert (np.abs(frames[0].astype(int) - 90) > 40).any()  # something is drawn


def test_records_alone(tmp_path) -> None:
    recorder = VideoRecorder(tmp_path, "clip", 5.0, drawn=False)
    recorder.write(found(10))
    assert recorder.close() == [tmp_path / "clip.jsonl"]
    assert not (tmp_path / "clip.mp4").exists()


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FineSpotError):
        VideoRecorder(tmp_path / "file" / "sub", "clip", 5.0)
