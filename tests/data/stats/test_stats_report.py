"""What is printed, written and drawn."""

from __future__ import annotations

import io
import json
from pathlib import Path

import PIL.Image
import pytest
from rich.console import Console
from stats_factory import dataset, random_dataset, squares

from finespot.data import open_dataset, stats
from finespot.data.stats import Statistics
from finespot.structures import Tiling

SHARED = Path(__file__).parents[4] / "shared" / "data"


def printed(measured: Statistics, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, soft_wrap=True).print(stats.table(measured, stats.advise(measured)))
    return stream.getvalue()


def row(text: str, name: str) -> list[str]:
    """The cells of the last printed row that starts so."""
    return [line.strip()[len(name) :].split() for line in text.splitlines() if line.strip().startswith(name)][-1]


def test_numbers_are_printed_whole() -> None:
    measured = stats.measure([random_dataset(5), random_dataset(6, "val")])
    text = printed(measured)
    assert "…" not in text
    parts = [measured.splits["train"], measured.splits["val"], measured.whole]
    assert row(text.split("side in px")[0], "all classes") == [str(one.total) for one in parts]
    assert row(text, "ignore regions") == [str(one.regions) for one in parts]
    assert row(text, "ignored objects") == [str(one.ignored.sum()) for one in parts]
    assert row(text, "without a center") == [f"{one.patches.without_center.mean():.1%}" for one in parts]
    assert "tiles" not in [line.strip().split(" ")[0] for line in text.splitlines()]


def test_a_long_name_is_cut_before_a_number() -> None:
    measured = stats.measure([random_dataset(5, classes=3)])
    long = Statistics(**{**vars(measured), "classes": type(measured.classes)(("x" * 200, "b", "c"))})
    text = printed(long)
    assert "xx…" in text
    assert row(text.split("side in px")[0], "all classes") == [str(measured.whole.total)]


@pytest.mark.slow
def test_names_are_no_markup(tmp_path: Path) -> None:
    measured = stats.measure([random_dataset(5, classes=3)])
    odd = Statistics(**{**vars(measured), "classes": type(measured.classes)(("[red]a[/red]", "$b", "c$^{$"))})
    text = printed(odd)
    assert "[red]a[/red] " in text
    assert "c$^{$ " in text
    assert len(stats.draw(odd, tmp_path)) == 6


def test_tiles_are_printed() -> None:
    measured = stats.measure([random_dataset(5)], 320, Tiling(200, 0.25))
    text = printed(measured)
    assert "tiles of 200 px with an overlap of 0.25, long side 320 px" in text
    assert row(text, "objects whole in no tile") == [f"{measured.whole.cut / measured.whole.total:.1%}"]


def test_rarer_classes_are_joined() -> None:
    boxes = [((0, 0, 9, 9), label, False) for label in range(50) for _ in range(50 - label)]
    text = printed(stats.measure([dataset([((99, 99), boxes)], 50)]))
    assert row(text, "the 10 rarest") == [str(sum(range(1, 11)))]
    assert "class39 " in text
    assert "class40 " not in text.split("advice")[0]


def test_report_without_objects() -> None:
    measured = stats.measure([dataset([((100, 200), [])])])
    assert "no objects" in printed(measured)
    json.dumps(stats.to_json(measured, stats.advise(measured), "made"), allow_nan=False)


def test_json_holds_every_number() -> None:
    measured = stats.measure([random_dataset(5), random_dataset(6, "val")], 320, Tiling(200, 0.25))
    advice = stats.advise(measured)
    report = json.loads(json.dumps(stats.to_json(measured, advice, "made:here"), allow_nan=False))
    assert (report["data"], report["imgsz"], report["slice"], report["overlap"]) == ("made:here", 320, 200, 0.25)
    assert list(report["splits"]) == ["train", "val"]
    for key in ("objects", "pictures", "ignore_regions", "network_inputs"):
        assert report["all"][key] == sum(report["splits"][split][key] for split in report["splits"])
    whole, found = measured.whole, report["all"]
    assert found["objects_by_class"] == {f"class{k}": int(whole.objects[k]) for k in range(3)}
    assert sum(found["side_px"]["bins"]["AI-TOD"].values()) == whole.total
    assert list(found["side_px"]["bins"]["COCO"]) == ["small <32", "medium 32-96", "large 96+"]
    assert found["side_px_network"]["spread"]["p99.9"] == whole.network.spread.at(99.9)  # type: ignore[union-attr]
    assert found["pictures_with_both"]["class0"]["class1"] == whole.together[0, 1]
    assert found["empty_8x8_patches_untouched"] == whole.patches.untouched.mean()
    assert report["anchors"]["sizes"] == measured.anchors.sizes.tolist()  # type: ignore[union-attr]
    assert [one["topic"] for one in report["advice"]] == [one.topic for one in advice]


@pytest.mark.slow
def test_plots_are_drawn(tmp_path: Path) -> None:
    measured = stats.measure([random_dataset(5), random_dataset(6, "val")])
    drawn = stats.draw(measured, tmp_path / "plots")
    assert [path.name for path in drawn] == [
        "classes.png",
        "classes_together.png",
        "objects_per_picture.png",
        "patches.png",
        "positions.png",
        "sides.png",
    ]
    for path in drawn:
        picture = PIL.Image.open(path).convert("RGB")
        assert min(picture.size) > 250
        assert len(picture.getcolors(picture.width * picture.height)) > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "count"),
    [
        (dataset([((100, 200), [])]), 2),
        (squares(3, 1), 5),
        (squares(0.01, 1), 5),
        (squares(5000, 1, size=(6000, 6000)), 5),
        (squares(10, 400), 5),
        (dataset([((99, 99), [((0, 0, 9, 9), label, False) for label in range(70)])], 70), 6),
    ],
    ids=["no objects", "one class", "tiny", "huge", "more than the default limit", "many classes"],
)
def test_plots_of_odd_sets(case: object, count: int, tmp_path: Path) -> None:
    measured = stats.measure([case])  # type: ignore[list-item]
    assert len(stats.draw(measured, tmp_path)) == count


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the large sample sets are not here")
def test_known_counts_of_hit_uav() -> None:
    splits = [open_dataset(f"hit-uav:{SHARED / 'hit-uav'}", split) for split in ("train", "val")]
    measured = stats.measure(splits)
    train, val = measured.splits["train"], measured.splits["val"]
    assert (train.pictures, val.pictures, train.empty, val.empty) == (1043, 290, 9, 3)
    assert train.objects.tolist() == [4357, 2667, 1734, 48]
    assert val.objects.tolist() == [1168, 719, 554, 12]
    assert (train.regions, val.regions) == (53, 7)
    assert train.source.ai_tod.sum(axis=0).tolist() == [0, 17, 2722, 3396, 1906, 765]
    assert val.source.ai_tod.sum(axis=0).tolist() == [0, 5, 802, 961, 483, 202]
    assert (train.per_picture.at(50), train.per_picture.most) == (6, 39)
    assert (val.per_picture.at(50), val.per_picture.most) == (6, 36)
    assert train.per_picture.mean == pytest.approx(8.44, abs=0.005)
    topics = [one.topic for one in stats.advise(measured)]
    assert topics == ["finest level", "NWD", "anchors", "class balance", "rare classes", "empty ground"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the large sample sets are not here")
def test_known_counts_of_aerial_cars() -> None:
    file = SHARED / "aerial-cars" / "aerial-cars.yaml"
    measured = stats.measure([open_dataset(file, split) for split in ("train", "val")])
    train, val = measured.splits["train"], measured.splits["val"]
    assert train.objects.tolist() == [558, 2, 19, 22, 0]
    assert val.objects.tolist() == [250, 0, 5, 14, 0]
    assert train.source.ai_tod.sum(axis=0).tolist() == [0, 0, 0, 322, 212, 67]
    assert val.source.ai_tod.sum(axis=0).tolist() == [0, 0, 0, 178, 72, 19]
    assert (train.per_picture.at(50), train.per_picture.most) == (27, 57)
