"""Drawn videos and frame records."""

from __future__ import annotations

import json

import numpy as np
import pytest

from finespot import images
from finespot.errors import FineSpotError
from finespot.inference import VideoRecorder
from finespot.structures import Classes, Detections
from finespot.writers import Writer

CLASSES = Classes(("car",))


def found(x: float) -> Detections:
    return Detections([[x, 10, x + 12, 22]], [0.75], [0], (64, 96), CLASSES, "clip_000000.mp4")


def test_video_and_records(tmp_path) -> None:
    pytest.importorskip("av")
    recorder: Writer = VideoRecorder("clip", 5.0)
    recorder.open(tmp_path / "new")
    for frame in range(3):
        recorder.write(found(10 + 5 * frame), np.full((64, 96, 3), 90, np.uint8))
        assert len((tmp_path / "new" / "clip.jsonl").read_text().splitlines()) == frame + 1
    assert recorder.close() == tmp_path / "new"
    records = [json.loads(line) for line in (tmp_path / "new" / "clip.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == [0, 1, 2]
    assert records[2]["time"] == pytest.approx(0.4)
    assert records[2]["detections"] == [{"box": [20, 10, 32, 22], "score": 0.75, "label": 0, "name": "car"}]
    video = images.open_video(tmp_path / "new" / "clip.mp4")
    frames = list(video.frames())
    assert len(frames) == 3
    assert video.fps == pytest.approx(5)
    assert (np.abs(frames[0].astype(int) - 90) > 40).any()  # something is drawn


def drawn_share(tmp_path, name: str, **options) -> float:
    recorder = VideoRecorder(name, 5.0, **options)
    recorder.open(tmp_path)
    recorder.write(found(30), np.full((64, 96, 3), 90, np.uint8))
    frame = next(images.open_video(recorder.close() / f"{name}.mp4").frames())
    return float((np.abs(frame.astype(int) - 90).max(2) > 25).mean())


def test_drawing_options_have_effects(tmp_path) -> None:
    pytest.importorskip("av")
    plain = drawn_share(tmp_path, "plain", labels=False)
    assert drawn_share(tmp_path, "labels") > plain
    assert drawn_share(tmp_path, "wide", labels=False, line_width=4) > plain


def test_records_alone(tmp_path) -> None:
    recorder = VideoRecorder("clip", 5.0, drawn=False)
    assert not recorder.needs_pixels
    recorder.open(tmp_path)
    recorder.write(found(10))
    assert recorder.close() == tmp_path
    assert not (tmp_path / "clip.mp4").exists()


def test_times_of_the_frames_are_those_of_the_video(tmp_path) -> None:
    recorder = VideoRecorder("clip", 5.0, times=[0.0, 0.7], drawn=False)
    recorder.open(tmp_path)
    recorder.write(found(10))
    recorder.write(found(10))
    records = (recorder.close() / "clip.jsonl").read_text().splitlines()
    assert [json.loads(line)["time"] for line in records] == [0.0, 0.7]


def test_what_cannot_be(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FineSpotError):
        VideoRecorder("clip", 5.0).open(tmp_path / "file" / "sub")
    with pytest.raises(FineSpotError, match="fps"):
        VideoRecorder("clip", 0)
