"""VisDrone-VID and -MOT: rows by frame, frames without rows, videos without truth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_factory import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.findings import Findings
from finespot.errors import FineSpotError

VIDEO = "uav0000188_00000_v"

MakeVideos = Callable[..., Path]


@pytest.fixture
def make_videos(tmp_path: Path) -> MakeVideos:
    """Write a split: `videos` maps names to (number of frames, annotation text or None)."""

    def make(videos: dict[str, tuple[int, str | None]], split: str = "val", kind: str = "VID") -> Path:
        folder = tmp_path / f"VisDrone2019-{kind}-{split}"
        for name, (frames, text) in videos.items():
            for frame in range(1, frames + 1):
                save_picture(folder / "sequences" / name / f"{frame:07}.jpg", seed=frame)
            if text is not None:
                (folder / "annotations").mkdir(exist_ok=True)
                (folder / "annotations" / f"{name}.txt").write_text(text)
        return tmp_path

    return make


def read(folder: Path, split: str = "val", option: str = "") -> Dataset:
    return open_dataset(f"visdrone-vid{option}:{folder}", split)


def test_rows_sorted_by_target_are_grouped_by_frame(make_videos: MakeVideos) -> None:
    text = "1,0,93,43,74,19,0,0,0,0\n3,0,92,43,74,18,0,0,0,0\n1,7,80,1,47,22,1,4,1,2,\n3,7,81,1,47,22,0,4,0,0\n"
    dataset = read(make_videos({VIDEO: (4, text), "b": (1, "")}))
    assert [dataset.image_id(i) for i in range(5)] == ["b/0000001", *(f"{VIDEO}/000000{i}" for i in range(1, 5))]
    assert [dataset.group(i) for i in range(5)] == ["b"] + [VIDEO] * 4
    assert [len(dataset.annotations(i)) for i in range(5)] == [0, 2, 0, 2, 0], "frames without rows exist"
    first, third = dataset.annotations(1), dataset.annotations(3)
    np.testing.assert_array_equal(first.boxes, [[93, 43, 167, 62], [80, 1, 127, 23]])
    assert (first.labels.tolist(), first.ignore.tolist()) == ([-1, 3], [True, False])
    assert (third.labels.tolist(), third.ignore.tolist()) == ([-1, 3], [True, True])
    assert first.attributes["target_id"].tolist() == [0, 7]
    assert first.attributes["truncation"].tolist() == [0, 1]
    assert first.attributes["occlusion"].tolist() == [0, 2]
    assert dataset.notes == []


def test_others(make_videos: MakeVideos) -> None:
    folder = make_videos({VIDEO: (1, "1,0,93,43,74,19,0,11,0,0\n")})
    assert read(folder).annotations(0).labels.tolist() == [-1]
    assert read(folder).notes == ["1 object of the category 'others' read as ignore regions"]
    assert len(read(folder, option=",others=drop").annotations(0)) == 0
    assert read(folder, option=",others=object").annotations(0).labels.tolist() == [10]


@pytest.mark.parametrize("kind", ["VID", "MOT"])
def test_splits(make_videos: MakeVideos, tmp_path: Path, kind: str) -> None:
    make_videos({VIDEO: (1, "")}, "test-dev", kind)
    make_videos({VIDEO: (1, None)}, "test-challenge", kind)
    make_videos({VIDEO: (1, "")}, "train", kind)
    assert dataset_splits(f"visdrone-vid:{tmp_path}") == ["train", "test-dev", "test-challenge"]
    assert dataset_splits(f"visdrone-vid:{tmp_path}/VisDrone2019-{kind}-train") == ["train"]
    challenge = read(tmp_path, "test-challenge")
    assert len(challenge) == 1
    assert "no annotations" in challenge.notes[0]


def test_both_kinds_in_one_folder(make_videos: MakeVideos) -> None:
    make_videos({VIDEO: (1, "")}, kind="VID")
    folder = make_videos({VIDEO: (1, "")}, kind="MOT")
    with pytest.raises(FineSpotError, match="VisDrone2019-MOT-val and VisDrone2019-VID-val; name one of them"):
        read(folder)
    assert len(read(folder / "VisDrone2019-MOT-val")) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3,0,93,43,74,19,1,4,0,0", "the frame 3 has no picture"),
        ("0,0,93,43,74,19,1,4,0,0", "the frame 0 has no picture"),
        ("1.5,0,93,43,74,19,1,4,0,0", "expected an integer as frame but got '1.5'"),
        ("1,x,93,43,74,19,1,4,0,0", "expected a number as target id but got 'x'"),
        ("93,43,74,19,1,4,0,0", "expected 10 values with commas between but got 8"),
        ("1,-1,93,43,74,19,0.7,4,-1,-1", "expected an integer as score but got '0.7'"),
        ("1,0,93,43,-74,19,1,4,0,0", "expected a width and height of 0 or more"),
    ],
)
def test_faulty_lines_name_file_and_line(make_videos: MakeVideos, line: str, message: str) -> None:
    folder = make_videos({VIDEO: (2, f"1,0,93,43,74,19,1,4,0,0\n\n{line}\n2,0,93,43,74,19,1,4,0,0")})
    with pytest.raises(FineSpotError) as caught:
        read(folder)
    assert message in str(caught.value)
    assert f"annotations/{VIDEO}.txt:3:" in str(caught.value)
    findings = Findings()
    dataset = open_dataset(f"visdrone-vid:{folder}", "val", findings)
    assert [len(dataset.annotations(i)) for i in range(2)] == [1, 1]
    assert findings.counts == {"record": 1}


def test_videos_and_truth_belong_together(make_videos: MakeVideos, tmp_path: Path) -> None:
    folder = make_videos({VIDEO: (1, ""), "lone": (1, None)})
    with pytest.raises(FineSpotError, match=r"lone: the video has no annotation file; expected .*lone\.txt"):
        read(folder)
    annotations = tmp_path / "VisDrone2019-VID-val" / "annotations"
    (annotations / "lone.txt").touch()
    (annotations / "lost.txt").touch()
    with pytest.raises(FineSpotError, match=r"lost\.txt: the annotation file has no video in"):
        read(folder)
    (annotations / "lost.txt").unlink()
    assert len(read(folder)) == 2
    (tmp_path / "VisDrone2019-VID-val" / "sequences" / "empty").mkdir()
    (annotations / "empty.txt").touch()
    with pytest.raises(FineSpotError, match="empty: expected pictures of frames but found none"):
        read(folder)


def test_files_that_are_no_frames(make_videos: MakeVideos, tmp_path: Path) -> None:
    folder = make_videos({VIDEO: (2, "")})
    video = tmp_path / "VisDrone2019-VID-val" / "sequences" / VIDEO
    (video / "Thumbs.db").touch()
    save_picture(video / "cover.jpg")
    assert read(folder).notes == [f"{VIDEO}: 1 picture is not named like a frame and was left out"]
    save_picture(video / "1.png")
    with pytest.raises(FineSpotError, match=r"0000001\.jpg: 1\.png has the same frame number 1"):
        read(folder)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_files_never_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / "visdrone-vid-fuzz"
    if not root.exists():
        save_picture(root / "sequences" / "a" / "0000001.png")
        (root / "annotations").mkdir()
    text = bytearray(b"1,0,93,43,74,19,0,0,0,0\n1,7,80,1,47,22,1,4,1,2,\n")
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    (root / "annotations" / "a.txt").write_bytes(bytes(text))
    with contextlib.suppress(FineSpotError):
        read(root, "all")
