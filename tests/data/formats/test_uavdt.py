"""UAVDT: both layouts, official splits, ignore regions, options."""

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
from finespot.data.formats.uavdt import SPLITS
from finespot.errors import FineSpotError
from finespot.writers import UAVDT_TEST

PUBLISHED = ("UAV-benchmark-M/{name}", "UAV-benchmark-MOTD_v1.0/GT/{name}_gt_{kind}.txt")
TRACKING = ("{name}/img1", "{name}/gt/gt_{kind}.txt")

ROW = "1,5,10,20,30,40,1,2,1\n"

MakeUavdt = Callable[..., Path]


@pytest.fixture
def make_uavdt(tmp_path: Path) -> MakeUavdt:
    """Write one sequence; a file of None is absent."""

    def make(
        whole: str | None = ROW,
        ignore: str | None = "",
        name: str = "M0101",
        frames: int = 3,
        layout: tuple[str, str] = PUBLISHED,
    ) -> Path:
        for frame in range(1, frames + 1):
            save_picture(tmp_path / layout[0].format(name=name) / f"img{frame:06}.jpg", seed=frame)
        for kind, text in (("whole", whole), ("ignore", ignore)):
            file = tmp_path / layout[1].format(name=name, kind=kind)
            file.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                file.write_text(text)
        return tmp_path

    return make


def read(folder: Path, split: str = "train", option: str = "") -> Dataset:
    return open_dataset(f"uavdt{option}:{folder}", split)


@pytest.mark.parametrize(
    ("layout", "inside"),
    [
        (PUBLISHED, ""),
        (PUBLISHED, "UAV-benchmark-M"),
        (TRACKING, ""),
        (("train/{name}/img1", "train/{name}/gt/gt_{kind}.txt"), ""),
        (("frames/{name}", "GT/{name}_gt_{kind}.txt"), ""),
        (("frames/{name}", "GT/{name}_gt_{kind}.txt"), "frames"),
        (("{name}", "truth/GT/{name}_gt_{kind}.txt"), ""),
    ],
)
def test_layouts(make_uavdt: MakeUavdt, layout: tuple[str, str], inside: str) -> None:
    whole = "3,5,10,20,30,40,1,2,1\n1,5,11,20,30,40,2,4,2\r\n1,6,50,20,30,40,3,3,3,\n"
    ignore = "1,1,100,0,50,60,-1,-1,-1\n3,1,100,0,51,60,-1,-1,-1\n"
    dataset = read(make_uavdt(whole, ignore, layout=layout) / inside)
    assert [dataset.image_id(i) for i in range(3)] == [f"M0101/img00000{i}" for i in (1, 2, 3)]
    assert {dataset.group(i) for i in range(3)} == {"M0101"}
    assert [len(dataset.annotations(i)) for i in range(3)] == [3, 0, 2], "frame 2 has no rows, but exists"
    first = dataset.annotations(0)
    np.testing.assert_array_equal(first.boxes, [[11, 20, 41, 60], [50, 20, 80, 60], [100, 0, 150, 60]])
    assert first.labels.tolist() == [1, 2, -1]
    assert first.ignore.tolist() == [False, False, True]
    assert first.attributes["target_id"].tolist() == [5, 6, 1]
    assert first.attributes["out_of_view"].tolist() == [2, 3, 0]
    assert first.attributes["occlusion"].tolist() == [4, 3, 0]
    assert dataset.classes.names == ("car", "truck", "bus")


def test_official_lists() -> None:
    assert [len(SPLITS["train"]), len(SPLITS["test"])] == [30, 20]
    assert not set(SPLITS["train"]) & set(SPLITS["test"])
    assert sum(UAVDT_TEST.values()) == 16592


def test_splits_are_the_official_lists(make_uavdt: MakeUavdt) -> None:
    make_uavdt(name="M0203")
    make_uavdt(name="M9999")
    folder = make_uavdt(name="M1401")
    assert dataset_splits(f"uavdt:{folder}") == ["test"]
    with pytest.raises(FineSpotError, match="no split 'train'; it has test"):
        read(folder)
    dataset = read(folder, "test")
    assert [dataset.group(i) for i in range(len(dataset))] == ["M0203"] * 3 + ["M1401"] * 3
    assert dataset.notes[0].startswith("18 sequences of the 20 of test not there: M0205, M0208")
    assert dataset.notes[1:] == [
        "1 sequence in no official split, left out: M9999",
        "M0203 has 3 frames, the official evaluation 1007",
        "M1401 has 3 frames, the official evaluation 1050",
    ]
    make_uavdt(name="M0101")
    assert dataset_splits(f"uavdt:{folder}") == ["train", "test"]


def test_one_class_as_the_official_evaluation_has_it(make_uavdt: MakeUavdt) -> None:
    dataset = read(make_uavdt("1,5,10,20,30,40,1,2,3\n", "1,1,100,0,50,60,1,1,1\n"), option=",classes=1")
    assert dataset.classes.names == ("vehicle",)
    assert dataset.annotations(0).labels.tolist() == [0, -1]


@pytest.mark.parametrize(("every", "frames"), [(1, [1, 2, 3, 4, 5]), (2, [1, 3, 5]), (10, [1])])
def test_every(make_uavdt: MakeUavdt, every: int, frames: list[int]) -> None:
    whole = "".join(f"{frame},5,{frame},20,30,40,1,2,1\n" for frame in range(1, 6))
    dataset = read(make_uavdt(whole, frames=5), option=f",every={every}")
    assert [dataset.annotations(i).boxes[0, 0] for i in range(len(dataset))] == frames
    assert [dataset.image_id(i) for i in range(len(dataset))] == [f"M0101/img00000{i}" for i in frames]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("every=0", "expected every=1 or more but got 0"),
        ("every=x", "expected a number as every but got 'x'"),
        ("classes=2", "unknown value of the option classes '2'"),
    ],
)
def test_unknown_option_values(tmp_path: Path, option: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        read(tmp_path, option=f",{option}")


@pytest.mark.parametrize(
    ("whole", "ignore", "message"),
    [
        ("\n4,5,10,20,30,40,1,2,1\n", "", "M0101_gt_whole.txt:3: the frame 4 has no picture"),
        ("\n0,5,10,20,30,40,1,2,1\n", "", "M0101_gt_whole.txt:3: the frame 0 has no picture"),
        ("\n1,5,10,20,30,40,1,-1,-1\n", "", ":3: expected a category from 1 to 3 but got -1; files for tracking"),
        ("\n1,5,10,20,30,40,1,2,0\n", "", ":3: expected a category from 1 to 3 but got 0"),
        ("\n1,5,10,20,30,40,1,2\n", "", ":3: expected 9 values with commas between but got 8"),
        ("\n1,5,10,20,30,x,1,2,1\n", "", ":3: expected a number as height but got 'x'"),
        ("\n1,5,10,20,30,-1,1,2,1\n", "", ":3: expected a width and height of 0 or more but got 30 and -1"),
        ("\n1,5,10,20,30,40,far,2,1\n", "", ":3: expected a number as out_of_view but got 'far'"),
        ("", "\n1,1,10,20,30\n", "M0101_gt_ignore.txt:3: expected 6 to 9 values with commas between but got 5"),
        ("", "\n9,1,10,20,30,40\n", "M0101_gt_ignore.txt:3: the frame 9 has no picture"),
    ],
)
def test_faulty_lines_name_file_and_line(make_uavdt: MakeUavdt, whole: str, ignore: str, message: str) -> None:
    folder = make_uavdt(ROW + whole, ROW + ignore)
    with pytest.raises(FineSpotError) as caught:
        read(folder)
    assert message in str(caught.value)
    findings = Findings()
    dataset = open_dataset(f"uavdt:{folder}", "train", findings)
    assert (len(dataset.annotations(0)), findings.counts) == (2, {"record": 1})


def test_missing_files(make_uavdt: MakeUavdt) -> None:
    assert read(make_uavdt(ignore=None)).notes[-1] == "M0101 has no file of ignore regions"
    folder = make_uavdt(None, None, name="M0201")
    with pytest.raises(FineSpotError, match=r"M0201: the sequence has no M0201_gt_whole\.txt"):
        read(folder)


def test_painted_copies_are_no_frames(make_uavdt: MakeUavdt, tmp_path: Path) -> None:
    folder = make_uavdt()
    for frame in (1, 2):
        save_picture(tmp_path / "UAV-benchmark-M" / "M0101" / f"img00000{frame}_masked.jpg")
    dataset = read(folder)
    assert len(dataset) == 3
    assert dataset.notes[-1] == "M0101: 2 pictures are not named like frames and were left out"


def test_no_data_set_or_two_of_them(make_uavdt: MakeUavdt, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=r"expected a folder for each sequence \(M0101"):
        read(tmp_path)
    with pytest.raises(FineSpotError, match="expected the folder of a data set but there is none"):
        read(tmp_path / "x")
    make_uavdt()
    (tmp_path / "copy" / "GT").mkdir(parents=True)
    (tmp_path / "copy" / "GT" / "M0101_gt_whole.txt").write_text(ROW)
    with pytest.raises(FineSpotError, match="expected one folder GT but got"):
        read(tmp_path)
    (tmp_path / "copy" / "M0101").mkdir()
    with pytest.raises(FineSpotError, match="the sequence is also at"):
        read(tmp_path)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_mutated_files_never_end_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.getbasetemp() / "uavdt-fuzz"
    if not root.exists():
        save_picture(root / "M0101" / "img000001.png")
        (root / "GT").mkdir()
    for kind, row in (("whole", ROW), ("ignore", "1,1,100,0,50,60,-1,-1,-1\n")):
        text = bytearray(row.encode())
        for _ in range(data.draw(st.integers(0, 3))):
            text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
        (root / "GT" / f"M0101_gt_{kind}.txt").write_bytes(bytes(text))
    with contextlib.suppress(FineSpotError):
        read(root)
