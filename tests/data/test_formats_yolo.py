"""YOLO labels and data YAML: what is read, what is refused and where the error points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_factory import MakeYolo, save_picture

from finespot.data import dataset_splits, open_dataset
from finespot.data.formats.text import real, whole
from finespot.data.formats.yolo import label_path
from finespot.errors import FineSpotError


@pytest.mark.parametrize(
    ("picture", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/images/x/images/1.jpg", "/images/x/labels/1.txt"),
        ("/d/my_images/a.b.jpg", "/d/my_images/a.b.txt"),
        ("/d/images/a.b.jpg", "/d/labels/a.b.txt"),
    ],
)
def test_label_path(picture: str, label: str) -> None:
    assert label_path(picture) == label


def test_boxes_and_polygons_in_one_file(make_yolo: MakeYolo) -> None:
    text = "0 0.5 0.5 0.2 0.1\n1 0.1 0.1 0.3 0.1 0.3 0.4\n"
    truth = open_dataset(make_yolo({"a": text}, size=(100, 100)), "train").annotations(0)
    np.testing.assert_allclose(truth.boxes, [[40, 45, 60, 55], [10, 10, 30, 40]], atol=1e-4)
    assert truth.labels.tolist() == [0, 1]
    assert not truth.ignore.any()


def test_forms_that_hand_written_readers_reject(make_yolo: MakeYolo) -> None:
    text = "\ufeff0.0 5e-1 0.5 2e-2 0.1,\r\n\r\n  1 0.5 0.5 0.1 0.1   \r\n1 0.25 0.5 1e-3 1e-3"
    truth = open_dataset(make_yolo({"a": text}), "train").annotations(0)
    np.testing.assert_allclose(truth.boxes[:2], [[98, 45, 102, 55], [90, 45, 110, 55]], atol=1e-4)
    assert len(truth) == 3, "no box is dropped for being small"
    assert truth.ids.tolist() == [1, 2, 3]


def test_rotated_boxes_of_nine_fields_become_envelopes(make_yolo: MakeYolo) -> None:
    text = "1 0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5\n"
    truth = open_dataset(make_yolo({"a": text}), "train").annotations(0)
    np.testing.assert_allclose(truth.boxes, [[60, 20, 140, 80]], atol=1e-4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "class from 0 to 1 but got 2"),
        ("-1 0.5 0.5 0.1 0.1", "class from 0 to 1 but got -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class from 0 to 1 but got 0.5"),
        ("0 1.005 0.5 0.1 0.1", "center from 0 to 1"),
        ("0 0.5 -0.0002 0.1 0.1", "center from 0 to 1"),
        ("0 0.5 0.5 1.0002 0.1", "width and height from 0 to 1"),
        ("0 0.1 0.1 1.02 0.1 0.5 0.4", "points of a polygon from 0 to 1 but got 1.02"),
        ("0 0.5 0.5 1.2 0.1", "width and height from 0 to 1"),
        ("0 0.5 0.5 0.1 -0.1", "width and height from 0 to 1"),
        ("0 320 240 32 32", "width and height from 0 to 1"),
        ("0 10 10 300 10 300 40", "points of a polygon from 0 to 1 but got 300"),
        ("0 nan 0.5 0.1 0.1", "NaN"),
        ("0 0.5 0.5 inf 0.1", "infinity"),
        ("0 0.5 0.5 0.1", "expected 5 fields"),
        ("0 0.5 0.5 0.1 0.1 0.9", "confidence"),
        ("0 0.5 0.5 0.1 0.1 0.9 0.8 0.7", "got 8 fields"),
        ("car 0.5 0.5 0.1 0.1", "expected numbers"),
        ("0 0_5 0.5 0.1 0.1", "expected numbers but got '0 0_5 0.5 0.1 0.1'"),
        ("0_1 0.5 0.5 0.1 0.1", "expected numbers"),
    ],
)
def test_faulty_lines_name_file_and_line(make_yolo: MakeYolo, line: str, message: str) -> None:
    file = make_yolo({"a": f"0 0.5 0.5 0.1 0.1\n\n{line}\n"})
    with pytest.raises(FineSpotError, match=message) as caught:
        open_dataset(file, "train")
    assert "labels/train/a.txt:3:" in str(caught.value)


def test_an_underscore_makes_no_number_of_a_word() -> None:
    for text in ("0_5", "1_000", "_1"):
        with pytest.raises(FineSpotError, match=f"a.txt:1: expected a number as left but got '{text}'"):
            real(text, "left", "a.txt:1")
        with pytest.raises(FineSpotError, match=f"expected a number as category but got '{text}'"):
            whole(text, "category", "a.txt:1")
    assert (real(" 1e2", "left", ""), whole("12.0", "category", "")) == (100, 12)


def test_binary_labels(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": ""})
    (tmp_path / "labels/train/a.txt").write_bytes(b"\xff\xfe0 0.5")
    with pytest.raises(FineSpotError, match=r"a\.txt: expected UTF-8"):
        open_dataset(file, "train")


def test_clipping_is_counted_and_rounding_is_not(make_yolo: MakeYolo) -> None:
    text = "0 0.99 0.5 0.1 0.1\n0 0.5 0.5 0 0.1\n1 1.00005 0.5 0.00001 0.1\n1 0.9750001 0.5 0.05 0.1\n"
    dataset = open_dataset(make_yolo({"a": text}), "train")
    np.testing.assert_allclose(dataset.annotations(0).boxes, [[188, 45, 200, 55], [190, 45, 200, 55]], atol=1e-3)
    assert dataset.notes == [
        "1 box reached over the edge and was clipped",
        "1 box without area was dropped",
        "1 box outside its picture was dropped",
    ]


def test_polygons_over_the_edge_are_clipped(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": "0 0.5 0.5 1.008 0.5 1.008 0.6"}), "train")
    np.testing.assert_allclose(dataset.annotations(0).boxes, [[100, 50, 200, 60]], atol=1e-3)
    assert dataset.notes == ["1 box reached over the edge and was clipped"]


def test_absent_and_empty_label_files(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": "0 0.5 0.5 0.1 0.1", "b": "", "c": None}), "train")
    assert [len(dataset.annotations(i)) for i in range(3)] == [1, 0, 0]
    assert dataset.notes == ["1 label file absent (read as background)"]


def test_label_files_with_their_extension_in_capitals(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": None, "b": ""})
    (tmp_path / "labels/train/a.TXT").write_text("1 0.5 0.5 0.1 0.1\n")
    (tmp_path / "labels/train/a.ignore.TXT").write_text("-1 0.25 0.5 0.5 1\n")
    dataset = open_dataset(file, "train")
    assert dataset.annotations(0).labels.tolist() == [1, -1]
    assert dataset.notes == []
    (tmp_path / "labels/train/a.TXT").write_text("7 0.5 0.5 0.1 0.1\n")
    with pytest.raises(FineSpotError, match=r"a\.TXT:1: expected a class"):
        open_dataset(file, "train")


def test_nearly_all_labels_absent_is_an_error(make_yolo: MakeYolo) -> None:
    with pytest.raises(FineSpotError, match="12 of 12 label files do not exist") as caught:
        open_dataset(make_yolo({f"p{i}": None for i in range(12)}), "train")
    assert "labels/train/p0.txt" in str(caught.value)


def test_equal_boxes_are_kept_and_told(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": "0 0.5 0.5 0.1 0.1\n" * 3}), "train")
    assert len(dataset.annotations(0)) == 3
    assert dataset.notes == ["2 boxes repeat equal ones (kept)"]


@pytest.mark.parametrize("orphan", ["labels/train/lost.txt", "labels/train/flight/lost.txt"])
def test_label_without_picture(make_yolo: MakeYolo, tmp_path: Path, orphan: str) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1"})
    (tmp_path / "labels/train/classes.txt").write_text("person\ncar\n")
    assert len(open_dataset(file, "train")) == 1
    (tmp_path / orphan).parent.mkdir(exist_ok=True)
    (tmp_path / orphan).write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(FineSpotError, match="has no picture") as caught:
        open_dataset(file, "train")
    assert orphan in str(caught.value)


def test_ignore_regions_in_a_side_file(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": "1 0.5 0.5 0.1 0.1", "b": None, "c": "", "c.ignore": "0 0.5 0.5 0.1 0.1"})
    (tmp_path / "labels/train/a.ignore.txt").write_text("-1 0.25 0.5 0.5 1\n0 0.75 0.5 0.1 0.1\n")
    (tmp_path / "labels/train/b.ignore.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    dataset = open_dataset(file, "train")
    a, b, named, lonely = (dataset.annotations(i) for i in range(4))
    assert a.labels.tolist() == [1, -1, 0]
    assert a.ignore.tolist() == [False, True, True]
    np.testing.assert_allclose(a.boxes[1], [0, 0, 100, 100])
    assert (b.labels.tolist(), b.ignore.tolist()) == ([1], [True])
    assert len(lonely) == 0, "c.ignore.txt belongs to the picture c.ignore.png"
    assert named.ignore.tolist() == [False]
    (tmp_path / "labels/train/a.ignore.txt").write_text("-1 0.25 0.5 0.5 1\n-2 0.75 0.5 0.1 0.1\n")
    with pytest.raises(FineSpotError, match=r"a\.ignore\.txt:2: expected a class from -1 to 1 but got -2"):
        open_dataset(file, "train")
    (tmp_path / "labels/train/a.ignore.txt").unlink()
    (tmp_path / "labels/train/lost.ignore.txt").touch()
    with pytest.raises(FineSpotError, match=r"lost\.ignore\.txt: the label file has no picture"):
        open_dataset(file, "train")


def test_order_is_bytewise_and_ids_are_stems(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"b": "", "B": "", "a10": "", "a-1": ""})
    save_picture(tmp_path / "images/train/sub/a.png")
    (tmp_path / "labels/train/sub").mkdir()
    (tmp_path / "labels/train/sub/a.txt").touch()
    dataset = open_dataset(file, "train")
    assert [dataset.image_id(i) for i in range(5)] == ["B", "a-1", "a10", "b", "a"]
    assert Path(dataset.path(1)).is_absolute()
    save_picture(tmp_path / "images/train/a.png")
    dataset = open_dataset(file, "train")
    assert {"sub/a", "a"} <= {dataset.image_id(i) for i in range(6)}, "paths where stems repeat"
    save_picture(tmp_path / "images/train/a.jpg")
    dataset = open_dataset(file, "train")
    found = [dataset.image_id(i) for i in range(7)]
    assert found == ["B.png", "a-1.png", "a.jpg", "a.png", "a10.png", "b.png", "sub/a.png"], "extensions where paths do"
    assert "1 picture shares its label file" in dataset.notes


def test_broken_picture_names_it(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": ""})
    (tmp_path / "images/train/a.png").write_bytes(b"no picture")
    with pytest.raises(FineSpotError, match=r"a\.png: expected a picture"):
        open_dataset(file, "train")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images/train\n", "expected class names under 'names'"),
        ("train: images/train\nnames: {0: a, 2: b}\n", r"expected the ids 0 to 1 in 'names' but got \[0, 2\]"),
        ("train: images/train\nnames: {x: a}\n", "expected class ids as keys"),
        ("train: images/train\nnames: text\n", "expected 'names' as a list"),
        ("train: images/train\nnames: [a, a]\n", "a occurs more than once"),
        ("train: images/train\nnames: [a, b]\nnc: 3\n", "nc is 3, but there are 2 names"),
        ("train: [a\nnames: [a]\n", "no valid YAML"),
        ("train: images/train\nnames:\n  0: a\n  '0': b\n", r"data.yaml:4: no valid YAML \(the key '0' occurs twice\)"),
        ("train: images/train\nnames: [a]\ntrain: images\n", "data.yaml:3: no valid YAML"),
        ("train: images/train\nnames: {0: a, 00: b}\n", "expected the ids 0 to 1"),
        ("just text", "expected a mapping"),
        ("train: images/absent\nnames: [a, b]\n", "'images/absent' does not exist"),
        ("train: {a: b}\nnames: [a, b]\n", "expected a folder or file"),
        ("val: images/train\nnames: [a, b]\n", "no split 'train'; it has val"),
        ("path: /no/such/folder\ntrain: images/train\nnames: [a, b]\n", "the folder under 'path' does not exist"),
        ("path: nowhere\ntrain: images/train\nnames: [a, b]\n", "looked beside the YAML file"),
    ],
)
def test_faulty_yaml(make_yolo: MakeYolo, yaml: str, message: str) -> None:
    file = make_yolo({"a": ""}, yaml)
    with pytest.raises(FineSpotError, match=message) as caught:
        open_dataset(file, "train")
    assert "data.yaml" in str(caught.value)


def test_names_are_text_as_written(make_yolo: MakeYolo) -> None:
    file = make_yolo({"a": ""}, "train: images/train\nnames: {0: no, '1': 007, 2: 1.50}\nnc: 3\n")
    assert open_dataset(file, "train").classes.names == ("no", "007", "1.50")


def test_path_download_and_validation_are_noted(make_yolo: MakeYolo, tmp_path: Path) -> None:
    yaml = "path: .\ntrain: images/train\nvalidation: images/train\nnames: [a]\ndownload: rm -r everything\n"
    file = make_yolo({"a": ""}, yaml)
    assert dataset_splits(file) == ["train", "val"]
    notes = open_dataset(file, "val").notes
    assert any("download" in note and "never run" in note for note in notes)
    assert any("relative to the YAML file" in note for note in notes)
    assert any("validation" in note for note in notes)


def test_path_relative_to_the_working_directory(
    make_yolo: MakeYolo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_yolo({"a": ""})
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "elsewhere" / "data.yaml"
    file.write_text("path: images\ntrain: train\nnames: [a]\n")
    monkeypatch.chdir(tmp_path)
    dataset = open_dataset(file, "train")
    assert any("relative to the working directory" in note for note in dataset.notes)


def test_upward_value_is_tried_again_below(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": ""}, "train: ../images/train\nnames: [a]\n"), "train")
    assert len(dataset) == 1
    assert any("'../images/train' does not exist" in note for note in dataset.notes)


def test_list_files_and_lists(make_yolo: MakeYolo, tmp_path: Path) -> None:
    make_yolo({"a": "0 0.5 0.5 0.1 0.1", "b": "", "c": ""})
    (tmp_path / "lists").mkdir()
    absolute = tmp_path / "images/train/b.png"
    (tmp_path / "lists" / "train.txt").write_text(f"./../images/train/a.png  \n\n{absolute}\nimages/train/a.png\n")
    file = tmp_path / "data.yaml"
    file.write_text(
        "train: [lists/train.txt, images/train/c.png]\nval: lists/bad.txt\ntest: lists/empty.txt\nnames: [a]\n"
    )
    dataset = open_dataset(file, "train")
    assert [dataset.image_id(i) for i in range(3)] == ["a", "b", "c"]
    assert dataset.notes == ["1 picture is listed twice, read once"]
    (tmp_path / "lists" / "bad.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    with pytest.raises(FineSpotError, match=r"bad\.txt:2: the picture images/train/gone\.png does not exist"):
        open_dataset(file, "val")
    (tmp_path / "lists" / "empty.txt").touch()
    with pytest.raises(FineSpotError, match=r"empty\.txt: expected a list of pictures"):
        open_dataset(file, "test")


def test_labels_beside_the_pictures(tmp_path: Path) -> None:
    save_picture(tmp_path / "flight" / "a.png")
    (tmp_path / "flight" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "flight" / "notes.txt").write_text("windy\n")
    (tmp_path / "data.yaml").write_text("train: flight\nnames: [a]\n")
    assert len(open_dataset(tmp_path / "data.yaml", "train").annotations(0)) == 1


def test_folder_without_pictures(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": ""})
    (tmp_path / "images/train/a.png").unlink()
    (tmp_path / "labels/train/a.txt").unlink()
    with pytest.raises(FineSpotError, match="no pictures below"):
        open_dataset(file, "train")
