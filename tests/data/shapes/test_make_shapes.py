"""Making shape files: what is asked of the segmenter, what is kept, what is refused, and what a reader then says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shapes_factory import MODEL, White, many, painted, white_set

from finespot.data import Dataset
from finespot.data.dataset import Rows
from finespot.data.shapes import Shapes, make_shapes, plan_shapes
from finespot.data.shapes.folder import place
from finespot.data.shapes.preview import draw_previews
from finespot.errors import FineSpotError


def make(dataset: Dataset, folder: Path, segment: White | None = None, **options: bool) -> tuple[int, int]:
    """Make all shapes; how many pictures were made and how many kept."""
    segment = segment or White()
    plan = plan_shapes(dataset, folder, segment.name, **options)
    return len(make_shapes(plan, segment)), len(plan.kept)


def changed(dataset: Dataset, **columns: np.ndarray) -> Dataset:
    """The data set with other annotations."""
    other = Dataset.__new__(Dataset)
    other.__dict__.update(dataset.__dict__)
    rows: Rows = replace(dataset.rows, **columns)
    other._rows = rows
    return other


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return white_set(tmp_path / "pictures", many(3))


def test_shapes_come_back_and_ignore_regions_are_not_asked_for(dataset: Dataset, tmp_path: Path) -> None:
    segment = White()
    assert make(dataset, tmp_path / "out", segment) == (3, 0)
    boxes, _, ignore = dataset.columns(0)
    assert segment.prompts[:3] == [tuple(box) for box in boxes[~ignore].tolist()]
    assert len(segment.prompts) == 9
    shapes = Shapes(dataset, tmp_path / "out")
    for index, (size, objects) in enumerate(many(3)):
        np.testing.assert_array_equal(shapes[index], painted(size, objects) * 255)
    assert (shapes.objects, shapes.whole, shapes.models) == (9, 0, [MODEL])
    assert shapes.notes() == [f"shapes: 9 objects in {tmp_path / 'out'} (made by white)"]


def test_pictures_without_objects_are_not_asked_about(tmp_path: Path) -> None:
    dataset = white_set(tmp_path / "pictures", [((20, 30), []), ((20, 30), [((5.0, 5.0, 15.0, 15.0), 0, True)])])
    segment = White()
    assert make(dataset, tmp_path / "out", segment) == (2, 0)
    assert segment.pictures == 0
    assert not Shapes(dataset, tmp_path / "out")[0].any()


def test_the_segmenter_gets_red_first(tmp_path: Path) -> None:
    import PIL.Image

    dataset = white_set(tmp_path / "pictures", many(1))
    inside = painted(*many(1)[0])
    pixels = np.zeros((*inside.shape, 3), np.uint8)
    pixels[inside, 0] = 255
    PIL.Image.fromarray(pixels).save(dataset.path(0))
    make(dataset, tmp_path / "out")
    assert Shapes(dataset, tmp_path / "out").whole == 0


def test_objects_that_the_segmenter_misses_are_whole_boxes(tmp_path: Path) -> None:
    dataset = white_set(tmp_path / "pictures", many(1))
    boxes = dataset.rows.boxes.copy()
    boxes[0] = [60, 4, 70, 14]  # nothing white there
    dataset = changed(dataset, boxes=boxes)
    make(dataset, tmp_path / "out")
    shapes = Shapes(dataset, tmp_path / "out")
    assert (shapes.objects, shapes.whole) == (3, 1)
    assert "3 objects" in shapes.notes()[0]
    assert "1 of them as whole boxes" in shapes.notes()[0]
    assert shapes[0][4:14, 60:70].all()


def test_a_second_run_does_nothing_and_a_stopped_one_goes_on(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(dataset, tmp_path / "out", White(fail_after=2))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.shape")}
    assert len(files) == 2
    assert make(dataset, tmp_path / "out") == (1, 2)
    segment = White()
    assert make(dataset, tmp_path / "out", segment) == (0, 3)
    assert segment.pictures == 0
    assert all(path.stat().st_mtime_ns == files[path] for path in files)


@pytest.mark.parametrize("kind", ["boxes", "classes", "model", "broken", "size"])
def test_what_does_not_fit_is_refused_and_replaced_only_on_demand(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    out, segment = tmp_path / "out", White()
    make(dataset, out)
    path, said = place(out, dataset, 1), "other boxes or classes than .*1.png has now"
    if kind == "boxes":
        boxes = dataset.rows.boxes.copy()
        boxes[5, 3] += 0.25
        dataset = changed(dataset, boxes=boxes)
    elif kind == "classes":
        dataset = changed(dataset, labels=np.where(np.arange(12) == 5, 0, dataset.rows.labels))
    elif kind == "model":
        segment, path, said = White("black"), place(out, dataset, 0), "shapes already that white made, not black"
    elif kind == "broken":
        path.write_bytes(path.read_bytes()[:-1])
        said = "the shape file is broken"
    else:
        white_set(tmp_path / "pictures", many(3, (121, 160)))
        dataset._sizes[1] = (121, 160)
        said = "a picture of 160x120 pixels, but .*1.png has 160x121"
    with pytest.raises(FineSpotError, match=said) as caught:
        make(dataset, out, segment)
    assert caught.value.where == path
    assert "--overwrite" in str(caught.value)
    if kind != "model":
        with pytest.raises(FineSpotError, match=said):
            Shapes(dataset, out)
    if kind != "size":
        assert make(dataset, out, segment, overwrite=True) == ((3, 0) if kind == "model" else (1, 2))
        assert Shapes(dataset, out).models == [segment.name]


def test_ignore_regions_may_change(dataset: Dataset, tmp_path: Path) -> None:
    make(dataset, tmp_path / "out")
    moved = dataset.rows.boxes + 1 * dataset.rows.ignore[:, None]
    Shapes(changed(dataset, boxes=moved.astype(np.float32)), tmp_path / "out")


def test_missing_files_are_named_with_the_command_that_makes_them(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(dataset, out)
    place(out, dataset, 2).unlink()
    with pytest.raises(FineSpotError) as caught:
        Shapes(dataset, out)
    assert str(caught.value) == (
        f"{place(out, dataset, 2)}: the shapes of {tmp_path / 'pictures' / '2.png'} are missing; "
        f"finespot data shapes DATA --split train --out {out} --model MODEL"
    )


def test_files_that_change_after_the_folder_was_opened(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(dataset, out)
    shapes = Shapes(dataset, out)
    place(out, dataset, 1).write_bytes(place(out, dataset, 0).read_bytes())
    with pytest.raises(FineSpotError, match="other boxes or classes"):
        shapes[1]


def test_windows_of_one_file_have_files_of_their_own(tmp_path: Path) -> None:
    pictures, windows = many(2, (100, 150)), [(0, 0, 150, 100), (150, 100, 300, 200)]
    dataset = white_set(tmp_path / "pictures", pictures, windows)
    dataset._image_ids = ["same", "same"]
    assert place(tmp_path, dataset, 0) != place(tmp_path, dataset, 1)
    make(dataset, tmp_path / "out")
    shapes = Shapes(dataset, tmp_path / "out")
    for index, (size, objects) in enumerate(pictures):
        np.testing.assert_array_equal(shapes[index] > 0, painted(size, objects))


def test_cut_shapes_are_those_of_the_windows(dataset: Dataset, tmp_path: Path) -> None:
    make(dataset, tmp_path / "out")
    shapes = Shapes(dataset, tmp_path / "out")
    corners = np.array([[5, 7, 90, 101], [33, 0, 160, 64], [0, 0, 160, 120]])
    cut = shapes.cut(np.array([2, 0, 2]), corners)
    for number, (picture, (x1, y1, x2, y2)) in enumerate(zip((2, 0, 2), corners.tolist())):
        np.testing.assert_array_equal(cut[number], shapes[picture][y1:y2, x1:x2])


def test_pictures_of_one_name_in_one_split_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    dataset._image_ids = ["a", "b", "a"]
    with pytest.raises(FineSpotError, match=r"a: expected pictures of different ids but .*0\.png and .*2\.png"):
        plan_shapes(dataset, tmp_path / "out", MODEL)


@pytest.mark.parametrize("image_id", ["../../up", "a/b\\c:d", "ü" * 200, "", ".hidden", 7])
def test_names_stay_inside_the_folder(dataset: Dataset, tmp_path: Path, image_id: str | int) -> None:
    dataset._image_ids = [image_id, 1, 2]
    dataset.split = "../train"
    path = place(tmp_path, dataset, 0)
    assert path.parent.parent == tmp_path
    assert len(path.name) < 120
    assert path.name.isascii()
    assert not path.name.startswith(".")


def test_splits_do_not_share_files(dataset: Dataset, tmp_path: Path) -> None:
    before = place(tmp_path, dataset, 0)
    dataset.split = "val"
    assert place(tmp_path, dataset, 0) != before


@pytest.mark.parametrize("inside", [".", "shapes", ".."])
def test_shapes_do_not_lie_among_the_pictures(dataset: Dataset, tmp_path: Path, inside: str) -> None:
    with pytest.raises(FineSpotError, match="expected a folder of its own but pictures lie in"):
        plan_shapes(dataset, tmp_path / "pictures" / inside, MODEL)


def test_previews_show_boxes_and_shapes(dataset: Dataset, tmp_path: Path) -> None:
    import PIL.Image

    make(dataset, tmp_path / "out")
    drawn = draw_previews(dataset, tmp_path / "out", 2)
    assert [path.parent for path in drawn] == [tmp_path / "out" / "preview"] * 2
    pixels = np.asarray(PIL.Image.open(drawn[0])).astype(int)
    x1, y1, x2, y2 = dataset.columns(0)[0][0].astype(int)
    center = pixels[(y1 + y2) // 2, (x1 + x2) // 2]
    assert center[1] < 180 < center[0]  # white, tinted
    assert len(draw_previews(dataset, tmp_path / "out", 9)) == 3
    assert plan_shapes(dataset, tmp_path / "out", MODEL).missing == []
