"""Converting data sets: what arrives, what is said to be lost, and what happens when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_format import make_plain, row, save

from finespot.data import Dataset, open_dataset
from finespot.data.convert import Handling, convert, placing
from finespot.data.convert.staging import RECORD
from finespot.data.convert.write import writable_formats
from finespot.data.painting import Fill
from finespot.errors import FineSpotError

SHARED = Path(__file__).parents[3] / "shared" / "data"
FULL = {
    "train": {
        "a.png": [
            row(1, 2, 11.5, 12.25, 0, attributes={"occlusion": 2}),
            row(20, 3, 24, 9, 1, area=13.5),
            row(30, 20, 40, 30, 1, ignore=True, attributes={"crowd": 1}),
            row(45, 5, 55, 15, -1, ignore=True),
        ],
        "b.png": [],
        "c.png": [row(0, 0, 60, 40, 1)],
    },
    "val": {"d.png": [row(3, 3, 9, 9, 0)]},
}


@pytest.fixture
def full(tmp_path: Path) -> Path:
    return make_plain(tmp_path / "source", FULL)


def plain(place: Path) -> str:
    return f"plain_format:Plain:{place}"


def names(dataset: Dataset) -> list[str]:
    return [os.path.basename(dataset.path(index)) for index in range(len(dataset))]


def hidden(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("kind", writable_formats())
def test_every_writer_keeps_what_it_promises(kind: str, full: Path, tmp_path: Path) -> None:
    """Reading back is part of converting: boxes, classes, flags, areas and attributes are compared there."""
    conversion = convert(plain(full), f"{kind}:{tmp_path / 'out'}")
    assert conversion.written["val"].objects["car"] == 1
    assert conversion.written["train"].objects["car"] == 1
    assert conversion.written["train"].objects["bus"] == 2
    again = open_dataset(f"{kind}:{tmp_path / 'out'}", "val")
    np.testing.assert_allclose(again.annotations(0).boxes, [[3, 3, 9, 9]], atol=0.01)
    assert os.path.realpath(again.path(0)) == str(full / "pictures/val/d.png")
    assert not hidden(tmp_path)


EDGE = st.integers(0, 560).map(lambda tenths: tenths / 10 + 1 / 3)
ROWS = st.lists(
    st.builds(
        lambda x, y, wide, high, label, ignore: row(
            x, y, min(60, x + wide), min(40, y + high), label, ignore=ignore or label < 0, area=wide * high / 2
        ),
        EDGE,
        EDGE.map(lambda value: value * 0.6),
        st.floats(0.3, 30),
        st.floats(0.3, 30),
        st.integers(-1, 1),
        st.booleans(),
    ),
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(pictures=st.lists(ROWS, min_size=2, max_size=2), fill=st.sampled_from([None, "mean", 0]))
@pytest.mark.parametrize("kind", writable_formats())
def test_every_writer_on_any_truth(kind: str, pictures: list, fill: Fill | None) -> None:
    named = {f"{index}.png": rows for index, rows in enumerate([*pictures, [row(1, 1, 9, 9)]])}
    with tempfile.TemporaryDirectory() as folder:
        source = make_plain(Path(folder, "source"), {"train": named})
        conversion = convert(plain(source), f"{kind}:{folder}/out", handling=Handling(fill=fill))
    objects = sum(not one["ignore"] for rows in pictures for one in rows)
    assert sum(conversion.written["train"].objects.values()) == objects + 1


def test_everything_comes_back(full: Path, tmp_path: Path) -> None:
    conversion = convert(plain(full), plain(tmp_path / "out"))
    for split in ("train", "val"):
        before, after = (open_dataset(plain(place), split) for place in (full, tmp_path / "out"))
        assert names(after) == names(before)
        assert after.classes == before.classes
        for index in range(len(before)):
            had, has = before.annotations(index), after.annotations(index)
            for column in ("boxes", "labels", "ignore", "area", "ids"):
                np.testing.assert_array_equal(getattr(has, column), getattr(had, column))
            assert {name: column.tolist() for name, column in has.attributes.items()} == {
                name: column.tolist() for name, column in had.attributes.items()
            }
    assert conversion.notes == []
    assert conversion.written == conversion.source


def test_what_is_lost_is_said_with_its_number(full: Path, tmp_path: Path) -> None:
    conversion = convert(plain(full), f"plain_format:Bare:{tmp_path / 'out'}")
    assert conversion.notes == [
        "train: plain_format holds no ignore regions: 1 dropped; --paint-ignore gray paints them",
        "train: plain_format holds no ignored objects: 1 dropped; --paint-ignore gray --paint-objects paints them",
        "train: plain_format holds no areas: 1 object gets that of the box",
        "train: plain_format holds no pictures without annotations: 1 left out",
        "train: the layout does not hold these attributes (of so many annotations): occlusion (1)",
    ]
    assert sorted(os.listdir(tmp_path / "out/pictures")) == ["a.png", "c.png", "d.png"]
    said = (tmp_path / "out" / RECORD).read_text()
    assert all(note in said for note in conversion.notes)
    assert "| bus | 2 | 0 |" in said
    assert conversion.to_json()["written"]["train"] == {
        "pictures": 2, "objects": {"car": 1, "bus": 2}, "ignored objects": 0, "ignore regions": 0,
    }  # fmt: skip


def test_painted_regions_are_not_lost(full: Path, tmp_path: Path) -> None:
    conversion = convert(plain(full), f"plain_format:Bare:{tmp_path / 'out'}", handling=Handling(fill=85))
    assert conversion.notes[:2] == [
        "train: 1 place painted, 1 picture encoded anew",
        "train: plain_format holds no ignored objects: 1 dropped; --paint-ignore gray --paint-objects paints them",
    ]
    before = np.asarray(PIL.Image.open(full / "pictures/train/a.png"))
    after = np.asarray(PIL.Image.open(tmp_path / "out/pictures/a.png"))
    assert (after[5:15, 45:55] == 85).all()
    np.testing.assert_array_equal(after[:, :45], before[:, :45])
    assert not (tmp_path / "out/pictures/a.png").is_symlink()
    assert (tmp_path / "out/pictures/c.png").is_symlink(), "what is not painted is linked all the same"


def test_ignored_objects_are_painted_when_asked(full: Path, tmp_path: Path) -> None:
    conversion = convert(plain(full), f"plain_format:Bare:{tmp_path / 'out'}", handling=Handling("link", 0, True))
    assert conversion.notes[0] == "train: 2 places painted, 1 picture encoded anew"
    after = np.asarray(PIL.Image.open(tmp_path / "out/pictures/a.png"))
    assert not after[20:30, 30:40].any()
    assert not after[5:15, 45:55].any()


def test_objects_under_painted_regions_stay_visible(tmp_path: Path) -> None:
    source = make_plain(tmp_path / "s", {"train": {"a.png": [row(5, 5, 15, 15), row(10, 0, 30, 30, -1, ignore=True)]}})
    conversion = convert(plain(source), plain(tmp_path / "out"), handling=Handling(fill=7))
    assert "train: 1 object reaches into painted places and stays visible" in conversion.notes
    before = np.asarray(PIL.Image.open(source / "pictures/train/a.png"))
    after = np.asarray(PIL.Image.open(tmp_path / "out/pictures/train/a.png"))
    np.testing.assert_array_equal(after[5:15, 5:15], before[5:15, 5:15])
    assert (after[15:30, 10:30] == 7).all()
    assert conversion.written["train"].regions == 1, "a layout that holds regions keeps them too"


@pytest.mark.parametrize("way", placing.WAYS)
def test_ways_to_place_pictures(way: str, full: Path, tmp_path: Path) -> None:
    convert(plain(full), plain(tmp_path / "out"), handling=Handling(way))
    original, placed = full / "pictures/train/a.png", tmp_path / "out/pictures/train/a.png"
    assert placed.read_bytes() == original.read_bytes()
    assert placed.is_symlink() == (way == "link")
    assert placed.samefile(original) == (way != "copy")
    if way == "link":
        assert os.readlink(placed) == str(original), "absolute, and to the file itself"
        convert(plain(tmp_path / "out"), plain(tmp_path / "again"))
        assert os.readlink(tmp_path / "again/pictures/train/a.png") == str(original)


def test_links_that_cannot_be_made_say_what_else(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(FineSpotError, match=r"cannot be placed \(Operation not permitted\); .*--images copy"):
        convert(plain(full), plain(tmp_path / "out"))


def test_classes_kept_renamed_merged_and_left_out(tmp_path: Path) -> None:
    rows = [row(k, k, k + 9, k + 9, k % 4) for k in range(8)]
    source = make_plain(tmp_path / "s", {"train": {"a.png": rows}}, ("person", "people", "car", "van"))
    out = plain(tmp_path / "out")
    conversion = convert(plain(source), out, classes=["van", "human=person,people"])
    data = open_dataset(out, "train")
    assert data.classes.names == ("van", "human")
    assert data.classes.original_ids == (6, 3), "the id of the first that it is made of"
    assert data.annotations(0).labels.tolist() == [1, 1, 0, 1, 1, 0]
    assert conversion.notes == ["train: 2 annotations of other classes left out: car (2)"]
    assert conversion.to_json()["left_out"] == {"train": {"car": 2}}
    conversion = convert(plain(source), plain(tmp_path / "ignore"), classes=["car"], others="ignore")
    truth = open_dataset(plain(tmp_path / "ignore"), "train").annotations(0)
    assert truth.labels.tolist() == [-1, -1, 0, -1, -1, -1, 0, -1]
    assert truth.ignore.tolist() == [label < 0 for label in truth.labels]
    assert "now ignore regions without a class: person (2), people (2), van (2)" in conversion.notes[0]


def test_splits_kept_renamed_and_merged(full: Path, tmp_path: Path) -> None:
    convert(plain(full), plain(tmp_path / "one"), splits=["test=val"])
    assert sorted(path.name for path in (tmp_path / "one").glob("*.json")) == ["test.json"]
    convert(plain(full), plain(tmp_path / "two"), splits=["all=train,val"])
    assert names(open_dataset(plain(tmp_path / "two"), "all")) == ["a.png", "b.png", "c.png", "d.png"]


def test_pictures_in_two_splits(full: Path, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        os.symlink(full / "pictures/train" / name, full / "pictures/val" / name)
    content = json.loads((full / "val.json").read_text())
    content["pictures"] += [{"name": "a.png", "rows": []}, {"name": "c.png", "rows": FULL["train"]["c.png"]}]
    (full / "val.json").write_text(json.dumps(content))
    conversion = convert(plain(full), plain(tmp_path / "two"))
    assert conversion.notes == ["2 pictures stand in more than one split"]
    conversion = convert(plain(full), plain(tmp_path / "one"), splits=["all=train,val"])
    assert conversion.written["all"].pictures == 4
    assert conversion.notes == [
        "all: 2 pictures were there more than once and taken once",
        "all: 1 of them has other labels there; those met first count",
    ]


def test_class_tables_that_differ_are_joined_by_name(tmp_path: Path) -> None:
    source = make_plain(tmp_path / "s", {"train": {"a.png": [row(1, 1, 9, 9, 0)]}}, ("car", "bus"))
    make_plain(source, {"val": {"b.png": [row(1, 1, 9, 9, 0), row(2, 2, 9, 9, 1)]}}, ("bus", "boat"))
    conversion = convert(plain(source), plain(tmp_path / "out"))
    assert conversion.notes == ["the splits do not have the same class table; joined by name: car, bus, boat"]
    assert conversion.written["val"].objects == {"car": 0, "bus": 1, "boat": 1}


def test_notes_of_the_reader_are_passed_on(full: Path, tmp_path: Path) -> None:
    content = json.loads((full / "val.json").read_text())
    content["pictures"][0]["rows"].append(row(50, 30, 70, 50))
    (full / "val.json").write_text(json.dumps({**content, "notes": ["a finding"]}))
    conversion = convert(plain(full), plain(tmp_path / "out"))
    assert conversion.notes == ["val: a finding", "val: 1 box reached over the edge and was clipped"]


def test_windows_are_cut_out(full: Path, tmp_path: Path) -> None:
    windows = [(0, 0, 30, 20), (30, 20, 60, 40)]
    content = json.loads((full / "val.json").read_text())
    content["pictures"] = [{"name": "d.png", "rows": [row(1, 1, 5, 6)], "window": window} for window in windows]
    (full / "val.json").write_text(json.dumps(content))
    convert(plain(full), plain(tmp_path / "out"), splits=["val"])
    data = open_dataset(plain(tmp_path / "out"), "val")
    assert names(data) == ["d_0_0.png", "d_30_20.png"]
    whole = np.asarray(PIL.Image.open(full / "pictures/val/d.png"))
    for index, (x1, y1, x2, y2) in enumerate(windows):
        np.testing.assert_array_equal(data.image(index).read(None)[..., 0], whole[y1:y2, x1:x2])


def test_turned_pictures_are_said(tmp_path: Path) -> None:
    source = make_plain(tmp_path / "s", {"train": {"a.jpg": [row(1, 30, 9, 58)], "b.jpg": []}})
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    save(source / "pictures/train/a.jpg", exif=exif)
    conversion = convert(plain(source), plain(tmp_path / "out"))
    assert conversion.notes == [
        "1 picture has an EXIF orientation; labels refer to the upright picture, other programs may show it turned"
    ]
    assert open_dataset(plain(tmp_path / "out"), "train").size(0) == (60, 40)
    painted = make_plain(tmp_path / "t", {"train": {"a.jpg": [row(1, 30, 9, 58, -1, ignore=True)]}})
    save(painted / "pictures/train/a.jpg", exif=exif)
    assert not any("EXIF" in note for note in convert(
        plain(painted), plain(tmp_path / "upright"), handling=Handling(fill=0)).notes)  # fmt: skip
    pixels = np.asarray(PIL.Image.open(tmp_path / "upright/pictures/train/a.jpg"))
    assert pixels.shape == (60, 40)
    assert pixels[32:56, 2:8].mean() < 20


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Shifting", "expected boxes as they were written but one moved by 1 px"),
        ("Losing", "expected 4 annotations as they were written but read 2"),
        ("Judging", "expected 4 annotations as they were written"),
        ("Forgetting", "expected 1 annotations with 'crowd' but read 0"),
    ],
)
def test_a_writer_that_lies_is_found_out(kind: str, message: str, full: Path, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=message):
        convert(plain(full), f"plain_format:{kind}:{tmp_path / 'out'}", splits=["train"])
    assert not (tmp_path / "out").exists()


def test_boxes_too_thin_for_the_layout_are_counted(tmp_path: Path) -> None:
    source = make_plain(
        tmp_path / "s", {"train": {"a.png": [row(1, 1, 1.004, 9), row(2.5, 3, 2.51, 9), row(4, 4, 9, 9)]}}
    )
    conversion = convert(plain(source), f"plain_format:Rounding:{tmp_path / 'out'}")
    assert conversion.notes == ["train: 1 box was too thin for the decimals of the layout and lost"]
    assert conversion.source["train"].objects["car"] == 3
    assert conversion.written["train"].objects["car"] == 2


# What may not be written


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("plain_format:Plain:{source}", "exists and is not empty; --overwrite replaces it"),
        ("plain_format:Plain:{source}/new", "expected a folder outside the data set that is read"),
        ("plain_format:Plain:{source}/pictures/train/new", "expected a folder outside"),
        ("coco:{source}/../taken", r"exists and is not empty"),
        ("coco:{source}/../file", "expected a new folder but there is a file"),
        ("coco:{source}/../new.json", "expected a folder to write to but got a file name"),
        ("tinyperson:{source}/../new", r"the format 'tinyperson' is read only; FineSpot writes .*coco.*yolo"),
        ("cocoo:{source}/../new", "unknown format 'cocoo'; did you mean coco"),
        ("somewhere", "expected a data YAML or FORMAT:FOLDER"),
    ],
)
def test_targets_that_are_refused(target: str, message: str, full: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/other.txt").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FineSpotError, match=message):
        convert(plain(full), target.format(source=full))
    assert sorted(tmp_path.rglob("*")) == before


def test_only_what_finespot_wrote_is_overwritten(full: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    convert(plain(full), plain(out), splits=["train"])
    with pytest.raises(FineSpotError, match="exists and is not empty"):
        convert(plain(full), plain(out), splits=["val"])
    convert(plain(full), plain(out), splits=["val"], overwrite=True)
    assert [path.name for path in out.glob("*.json")] == ["val.json"]
    assert not hidden(tmp_path)
    (out / RECORD).unlink()
    with pytest.raises(FineSpotError, match=f"has no {RECORD}"):
        convert(plain(full), plain(out), overwrite=True)


def test_what_is_read_is_never_overwritten(full: Path, tmp_path: Path) -> None:
    convert(plain(full), plain(tmp_path / "first"), handling=Handling("copy"))
    convert(plain(tmp_path / "first"), plain(tmp_path / "second"))
    with pytest.raises(FineSpotError, match="holds nothing that is read"):
        convert(plain(tmp_path / "second"), f"coco:{tmp_path / 'first'}", overwrite=True)
    (tmp_path / "second" / "below").mkdir()
    assert len(open_dataset(plain(tmp_path / "second"), "train")) == 3


def test_split_names_that_a_layout_cannot_hold(full: Path, tmp_path: Path) -> None:
    out = f"plain_format:Strict:{tmp_path / 'out'}"
    with pytest.raises(FineSpotError, match=r"has no place for a split called 'seen'; .*--splits train=seen"):
        convert(plain(full), out, splits=["train", "seen=val"])
    assert not hidden(tmp_path), "nothing is left that would keep the next command out"
    convert(plain(full), out, splits=["train", "test=val"])


def test_beside_a_data_yaml_is_no_harm(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(plain(full), f"yolo:{tmp_path / 'set'}")
    monkeypatch.chdir(tmp_path / "set")
    convert("data.yaml", "coco:out")
    assert len(open_dataset(f"coco:{tmp_path / 'set/out'}", "train")) == 3
    with pytest.raises(FineSpotError, match="is part of it"):
        convert("data.yaml", "coco:images/out")


# Interrupted


def test_an_interrupted_conversion_goes_on(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    bring = placing._bring

    def break_off(source: str, target: Path, way: str) -> None:
        if len(done) == 2:
            raise FineSpotError("no space left")
        done.append(target.name)
        bring(source, target, way)

    monkeypatch.setattr(placing, "_bring", break_off)
    with pytest.raises(FineSpotError, match="no space left"):
        convert(plain(full), plain(tmp_path / "out"), workers=1)
    assert hidden(tmp_path) == [".out.part"]
    assert not (tmp_path / "out").exists()
    (tmp_path / ".out.part/out/pictures/train/.c.png.part").touch()
    first = list(done)
    done.clear()
    monkeypatch.setattr(placing, "_bring", lambda *what: (done.append(what[1].name), bring(*what)))
    convert(plain(full), plain(tmp_path / "out"), workers=1)
    assert sorted(first + done) == ["a.png", "b.png", "c.png", "d.png"], "nothing is done twice"
    assert sorted(os.listdir(tmp_path / "out/pictures/train")) == ["a.png", "b.png", "c.png"]
    assert not hidden(tmp_path)


def test_other_work_is_not_mixed_with_what_was_left(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring = placing._bring

    def fail(source: str, target: Path, way: str) -> None:
        if target.name == "c.png":
            raise FineSpotError("stopped")
        bring(source, target, way)

    with monkeypatch.context() as patch:
        patch.setattr(placing, "_bring", fail)
        with pytest.raises(FineSpotError, match="stopped"):
            convert(plain(full), plain(tmp_path / "out"))
    with pytest.raises(FineSpotError, match=r"\.out\.part: other work was left unfinished here; .*--overwrite"):
        convert(plain(full), plain(tmp_path / "out"), handling=Handling("copy"))
    convert(plain(full), plain(tmp_path / "out"), handling=Handling("copy"), overwrite=True)
    assert not (tmp_path / "out/pictures/train/a.png").is_symlink()


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from finespot.data.convert import convert, Handling, placing
bring = placing._bring
def kill(source, target, way):
    if target.name == "c.png":
        os.kill(os.getpid(), signal.SIGKILL)
    bring(source, target, way)
placing._bring = kill
convert({source!r}, {target!r}, handling=Handling("copy"), workers=1)
"""


@pytest.mark.slow
def test_a_killed_conversion_goes_on(full: Path, tmp_path: Path) -> None:
    source, target = plain(full), plain(tmp_path / "out")
    code = KILLED.format(tests=str(Path(__file__).parent), source=source, target=target)
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    placed = tmp_path / ".out.part/out/pictures/train/a.png"
    before = placed.stat().st_mtime_ns
    conversion = convert(source, target, handling=Handling("copy"))
    assert conversion.written == conversion.source
    assert (tmp_path / "out/pictures/train/a.png").stat().st_mtime_ns == before, "not copied again"


def test_two_at_once_are_refused(full: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / ".out.part").mkdir()
    with (tmp_path / ".out.part/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FineSpotError, match="another process is writing this data set"):
            convert(plain(full), plain(tmp_path / "out"))
    convert(plain(full), plain(tmp_path / "out"))


def test_progress_is_told_picture_by_picture(full: Path, tmp_path: Path) -> None:
    totals, said = [], []

    def watch(placed, total):
        totals.append(total)
        yield from placed

    for workers in (1, 3):
        convert(plain(full), plain(tmp_path / str(workers)), workers=workers, watch=watch, tell=said.append)
    assert totals == [4, 4]
    assert said[:5] == ["reading train", "reading val", "writing labels", "reading train back", "reading val back"]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_real_sets(kind: str, tmp_path: Path) -> None:
    conversion = convert(f"hit-uav:{SHARED / 'hit-uav'}", f"{kind}:{tmp_path / 'uav'}", splits=["val"])
    assert conversion.written["val"].objects == {"Person": 1168, "Car": 719, "Bicycle": 554, "OtherVehicle": 12}
    assert conversion.written["val"].regions == 7
    conversion = convert(str(SHARED / "aerial-cars/aerial-cars.yaml"), f"{kind}:{tmp_path / 'cars'}")
    assert list(conversion.written["train"].objects.values()) == [558, 2, 19, 22, 0]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_regions_of_a_real_picture_are_painted(tmp_path: Path) -> None:
    source = SHARED / "native-samples/visdrone-det"
    target = f"darknet,side_file=false:{tmp_path / 'out'}"
    conversion = convert(f"visdrone:{source}", target, splits=["train=all"], handling=Handling(fill=85))
    assert list(conversion.written["train"].objects.values()) == [49, 100, 8, 17, 4, 0, 5, 5, 0, 17]
    assert conversion.source["train"].regions == 7
    picture = next((tmp_path / "out/images/train").iterdir())
    region = next(
        line for line in (source / f"annotations/{picture.stem}.txt").read_text().split() if line.split(",")[5] == "0"
    )
    x, y, w, h = (int(value) for value in region.split(",")[:4])
    inner = np.asarray(PIL.Image.open(picture))[y + 8 : y + h - 8, x + 8 : x + w - 8]
    assert inner.size == 0 or abs(inner.mean() - 85) < 20
    assert (
        (tmp_path / "out/labels/train" / f"{picture.stem}.txt")
        .read_text()
        .startswith("9 0.735662 0.868627 0.055147 0.069281\n")
    )
