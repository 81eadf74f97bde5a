"""Video files in and out."""

from __future__ import annotations

import contextlib
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.images import VideoWriter, open_video, video

av = pytest.importorskip("av")


def clip(path: Path, frames: int = 5, size: tuple[int, int] = (48, 64)) -> Path:
    with VideoWriter(path, 12.5, size) as writer:
        for number in range(frames):
            writer.write(np.full((*size, 3), (40 * number, 100, 30), np.uint8))
    return path


def test_written_frames_come_back(tmp_path: Path) -> None:
    source = open_video(clip(tmp_path / "a.mp4"))
    assert (source.size, source.count, source.fps) == ((48, 64), 5, 12.5)
    frames = list(source.frames())
    assert len(frames) == 5
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    for number, frame in enumerate(frames):
        np.testing.assert_allclose(frame[20, 20], (40 * number, 100, 30), atol=12)


def test_mpeg4_where_h264_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_available", lambda av, name: name == "mpeg4")
    with VideoWriter(tmp_path / "a.mp4", 30000 / 1001, (32, 32)) as writer:
        assert writer.codec == "mpeg4"
        writer.write(np.zeros((32, 32, 3), np.uint8))
    assert open_video(tmp_path / "a.mp4").fps == pytest.approx(29.97, abs=0.01)


def test_odd_sides_are_extended(tmp_path: Path) -> None:
    assert open_video(clip(tmp_path / "a.mp4", 2, (31, 45))).size == (32, 46)


def test_nothing_is_left_after_an_error_or_without_frames(tmp_path: Path) -> None:
    def write(heights: tuple[int, ...]) -> None:
        with VideoWriter(tmp_path / "a.mp4", 5, (32, 32)) as writer:
            for height in heights:
                writer.write(np.zeros((height, 32, 3), np.uint8))

    with pytest.raises(FineSpotError, match="expected a uint8 frame"):
        write((32, 10))
    write(())
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match="no such file"):
        open_video(tmp_path / "absent.mp4")
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(FineSpotError, match=r"text\.mp4: expected a video"):
        open_video(tmp_path / "text.mp4")
    with pytest.raises(FineSpotError, match="cannot write a video here"):
        VideoWriter(tmp_path / "no_folder" / "a.mp4", 5, (32, 32))
    with pytest.raises(FineSpotError, match="size above 0"):
        VideoWriter(tmp_path / "a.mp4", 0, (32, 32))


def test_damage_in_the_middle_is_an_error_not_a_short_video(tmp_path: Path) -> None:
    data = bytearray(clip(tmp_path / "a.mkv", 60).read_bytes())
    (tmp_path / "gone.mkv").write_bytes(bytes(data))
    source = open_video(tmp_path / "gone.mkv")
    (tmp_path / "gone.mkv").unlink()
    with pytest.raises(FineSpotError, match="after frame 0"):
        list(source.frames())


def test_frames_are_turned_as_the_file_says() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    frame = SimpleNamespace(rotation=-90, to_ndarray=lambda format: pixels)
    turned = video._upright(frame)
    assert turned.shape == (4, 2, 3)
    np.testing.assert_array_equal(turned, np.rot90(pixels, -1))


def test_times_of_a_variable_frame_rate(tmp_path: Path) -> None:
    pictures = [np.full((32, 32, 3), 60 * number, np.uint8) for number in range(3)]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for picture, milliseconds in zip(pictures, (500, 600, 1400)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    timed = list(open_video(tmp_path / "a.mkv").timed_frames())
    assert [time for time, _ in timed] == pytest.approx([0, 0.1, 0.9])
    for (_, pixels), picture in zip(timed, pictures):
        np.testing.assert_allclose(pixels[16, 16], picture[16, 16], atol=12)


def test_times_without_any_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [SimpleNamespace(time=None, to_ndarray=lambda format: np.zeros((2, 2, 3), np.uint8)) for _ in range(3)]
    container = SimpleNamespace(streams=SimpleNamespace(video=[None]), decode=lambda stream: iter(frames))
    monkeypatch.setattr(av, "open", lambda path: contextlib.nullcontext(container))
    times = [time for time, _ in video.Video("a", 4.0, (2, 2), None).timed_frames()]
    assert times == [0, 0.25, 0.5]


@pytest.mark.parametrize("failing", ["write", "close"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, failing: str) -> None:
    def full(packets: object) -> None:
        raise OSError(28, "No space left on device")

    writer = VideoWriter(tmp_path / "a.mp4", 5, (32, 32))
    frame = np.zeros((32, 32, 3), np.uint8)
    if failing == "close":
        writer.write(frame)
    real = writer._container
    writer._container = SimpleNamespace(mux=full, close=real.close)
    with pytest.raises(FineSpotError, match=r"a\.mp4: the video cannot be written after frame \d .*No space left"):
        writer.write(frame) if failing == "write" else writer.close()
    writer.__exit__(FineSpotError, None, None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FineSpotError, match="that is closed"):
        writer.write(frame)


def test_a_container_without_this_codec(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=r"a\.wav: cannot write a video here"):
        VideoWriter(tmp_path / "a.wav", 5, (32, 32))
    assert list(tmp_path.iterdir()) == []


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FineSpotError, match=r"pip install 'finespot\[video\]'"):
        open_video(tmp_path / "a.mp4")
