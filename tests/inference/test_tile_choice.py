"""Each option that decides which tiles are looked at changes how many windows run, and only that."""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image
from spots import TILES, Brightness, Spots, spot

from finespot import images
from finespot.data import Dataset, open_dataset
from finespot.errors import FineSpotError
from finespot.inference import Chooser, Entry, Model, Settings, TileView, validate, walk
from finespot.inference.chooser import chooser_of
from finespot.inference.prepare import Scaling
from finespot.metrics import heat_quality
from finespot.structures import Detections, Size, Tiling
from finespot.tiling import Mask, Polygons, grid

SIZE = (256, 304)
UNIFORM = len(grid(SIZE, TILES))
FEW = spot(SIZE, (30, 40), (40, 60), (200, 180))
FULL = np.full((*SIZE, 3), 255, np.uint8)


def corner(width: float, height: float) -> Polygons:
    return Polygons(((np.array([[0, 0], [width, 0], [width, height], [0, height]], float),),))


def centers(found: Detections) -> list[tuple[float, float]]:
    return sorted(((found.boxes[:, :2] + found.boxes[:, 2:]) / 2).tolist())


def test_a_seeker_skips_tiles_and_nothing_is_lost() -> None:
    for batch in (1, 4):
        session = Spots()
        plain = next(Model(session).predict(FEW, batch=batch))
        assert session.windows == UNIFORM == 30
        session = Spots()
        model = Model(session)
        (outcome,) = model.predict(FEW, batch=batch, seeker=Brightness(), windows=True).outcomes
        assert session.windows == 2
        assert {shape[1:] for shape in session.shapes} == {(3, 64, 64)}
        assert centers(outcome.detections) == centers(plain) == [[30, 40], [40, 60], [200, 180]]
        view = outcome.view
        assert isinstance(view, TileView)
        assert (view.size, view.possible, view.uniform, view.limited) == (SIZE, UNIFORM, False, False)
        assert view.heat is not None
        assert view.heat.shape == (32, 38)
        assert sorted(view.windows.tolist()) == [[4, 16, 68, 80], [168, 148, 232, 212]]
        assert view.seeker_ms > 0
        assert view.window_ms > 0
        assert view.saved_ms == pytest.approx(28 * view.window_ms - view.seeker_ms)
        assert (
            "93 % of tiles skipped (2 of 30 computed), 0.4 % of objects lost on val (seeker calibrated for 99 %)"
            in (model.notes)
        )


def test_tiles_that_are_cut_down_count_by_area() -> None:
    session = Spots(tiling=None)
    model = Model(session)
    wide = spot((600, 900), (40, 60), (45, 64), (700, 400))
    (outcome,) = model.predict(wide, tiling=Tiling(512, 32), imgsz=512, seeker=Brightness(), windows=True).outcomes
    assert session.shapes == [(2, 3, 224, 224)]  # worth less than a tile together, so they share a batch
    assert len(outcome.detections) == 2
    view = outcome.view
    assert isinstance(view, TileView)
    assert (len(view.windows), view.worth, view.possible) == (2, pytest.approx(2 * (224 / 512) ** 2), 4)
    assert view.saved_ms == pytest.approx((4 - view.worth) * view.window_ms - view.seeker_ms)
    assert model.notes[-2].startswith("90 % of tiles skipped (2 computed and cut down, as much as 0.4 of 4)")


def test_a_full_picture_costs_no_more_than_the_grid() -> None:
    session = Spots()
    model = Model(session)
    list(model.predict(FULL, seeker=Brightness()))
    assert session.windows == UNIFORM
    assert "1 of 1 pictures were looked at in full" in model.notes


def test_pictures_without_anything_keep_their_place() -> None:
    dark, session = np.zeros((*SIZE, 3), np.uint8), Spots()
    pictures = [dark, FEW, dark, spot(SIZE, (100, 100)), dark]
    for batch, budget in ((1, None), (4, None), (4, 1000)):
        found = list(Model(session).predict(pictures, batch=batch, seeker=Brightness(), budget_ms=budget))
        assert [len(one) for one in found] == [0, 3, 0, 1, 0]
        assert [one.source for one in found] == [f"picture_{place:06d}" for place in range(5)]
    assert session.windows == 3 * 3
    model = Model(session)
    assert next(model.predict([dark], seeker=Brightness())).size == SIZE
    list(model.predict(pictures, seeker=Brightness()))
    assert "in 3 of 5 pictures there was nothing to look at" in model.notes


def test_an_unreadable_picture_keeps_its_place(tmp_path: Any) -> None:
    Image.fromarray(FEW).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    Image.fromarray(FEW).save(tmp_path / "c.png")
    for budget in (None, 1000):
        outcomes = list(Model(Spots()).predict(tmp_path, seeker=Brightness(), budget_ms=budget).outcomes)
        assert [one.error is None for one in outcomes] == [True, False, True]
        assert [len(one.detections) for one in outcomes] == [3, 0, 3]


@pytest.mark.parametrize("most", [1, 2, 7, 29, 30, 100])
def test_most_tiles(most: int) -> None:
    session = Spots()
    model = Model(session)
    (outcome,) = model.predict(FULL, seeker=Brightness(), max_tiles=most, windows=True).outcomes
    assert session.windows == min(most, UNIFORM)
    assert isinstance(outcome.view, TileView)
    assert outcome.view.limited == (most < UNIFORM)
    assert ("the budget left out tiles in 1 of 1 pictures" in model.notes) == (most < UNIFORM)


@pytest.mark.parametrize(("far", "windows", "limited"), [((500, 500), 2, False), ((1000, 900), 1, True)])
def test_a_tile_that_is_parted_counts_as_one(far: tuple[int, int], windows: int, limited: bool) -> None:
    session = Spots(tiling=Tiling(640, 64))
    picture = spot((1280, 1280), (40, 40), far)
    made = Model(session).predict(picture, imgsz=640, seeker=Brightness(), max_tiles=1, windows=True)
    (outcome,) = made.outcomes
    assert isinstance(outcome.view, TileView)
    assert (session.windows, outcome.view.limited, len(outcome.detections)) == (windows, limited, windows)
    assert outcome.view.worth == pytest.approx(windows * 0.35**2)


def test_a_budget_of_time_counts_parts_by_area() -> None:
    # A tile's worth, all but a little, in eight parts, where the grid has four tiles.
    places = [(60, 60), (60, 540), (540, 60), (540, 540), (300, 300), (1140, 1140), (1140, 660), (660, 1140)]
    picture, found = spot((1200, 1200), *places), []
    for budget in (10_000, 1e-3):
        session = Spots(tiling=Tiling(640, 64))
        made = Model(session).predict(picture, imgsz=640, seeker=Brightness(), budget_ms=budget, windows=True)
        (outcome,) = made.outcomes
        view = outcome.view
        assert isinstance(view, TileView)
        assert session.windows == len(view.windows)
        found.append((len(outcome.detections), round(view.worth, 3), view.uniform, view.limited))
    assert found == [(8, 0.985, False, False), (8, 0.985, False, False)]


def test_tiles_whose_turn_did_not_come_were_left_out() -> None:
    model = Model(Spots(tiling=Tiling(640, 64)))
    dark = np.zeros((1200, 1200, 3), np.uint8)
    for most, limited in ((1, True), (4, False)):
        outcomes = model.predict([dark] * 2, imgsz=640, refresh=1, max_tiles=most, windows=True).outcomes
        assert [(len(one.view.windows), one.view.limited) for one in outcomes if isinstance(one.view, TileView)] == [
            (most, limited)
        ] * 2


def test_a_picture_does_not_wait_for_all_that_follow() -> None:
    # Its part of another shape finds none like it.
    places = [((300, 300), (300, 410)), *[((300, 300),)] * 20]
    pictures = [spot((1200, 1200), *one) for one in places]
    seeker = Brightness()
    outcomes = Model(Spots(tiling=Tiling(640, 64))).predict(pictures, imgsz=640, seeker=seeker, batch=2).outcomes
    assert next(iter(outcomes)).index == 0
    assert len(seeker.calls) < 12


@pytest.mark.slow
def test_as_many_tiles_as_fit_in_a_time() -> None:
    for budget, most in ((100, 5), (200, 10), (1, 1)):
        session = Spots(delay=0.02)
        model = Model(session)
        outcomes = list(
            model.predict([FULL] * 3, seeker=Brightness(), budget_ms=budget, batch=2, windows=True).outcomes
        )
        counts = [len(one.view.windows) for one in outcomes if isinstance(one.view, TileView)]
        # The first tiles of the first picture say how long one takes.
        assert 1 <= counts[0] <= max(3, most)
        assert all(1 <= count <= most for count in counts[1:])
        assert session.windows == sum(counts)
    session = Spots()
    list(Model(session).predict([FULL] * 2, seeker=Brightness(), budget_ms=1e6))
    assert session.windows == 2 * UNIFORM
    list(Model(session).predict([FULL] * 2, seeker=Brightness(), budget_ms=1e6, max_tiles=4))
    assert session.windows == 2 * UNIFORM + 2 * 4


@pytest.mark.slow
def test_from_which_share_on_all_tiles_are_looked_at() -> None:
    half = np.zeros_like(FULL)
    half[:100] = 255
    counts = []
    for above in (None, 0.3, 0.6):
        session = Spots()
        list(Model(session).predict(half, seeker=Brightness(), uniform_above=above))
        counts.append(session.windows)
    assert counts[1] == UNIFORM
    assert counts[0] == counts[2] < UNIFORM


def test_a_region_limits_tiles_and_what_is_found(tmp_path: Any) -> None:
    region = corner(60, 256)
    inside = [tile for tile in grid(SIZE, TILES) if region.touches(tile.window)]
    mask = np.zeros(SIZE, bool)
    mask[:, :60] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for roi in (region, Mask(mask), tmp_path / "mask.png"):
        session = Spots()
        model = Model(session)
        # The spot at 60 reaches over the border; its center does not lie inside.
        found = next(model.predict(spot(SIZE, (30, 40), (60, 60), (200, 180)), roi=roi))
        assert session.windows == len(inside) == 10
        assert centers(found) == [[30, 40]]
        session = Spots()
        assert centers(next(Model(session).predict(FEW, roi=roi, seeker=Brightness()))) == [[30, 40], [40, 60]]
        assert session.windows == 1
    # At most so many detections in the region: those outside do not take their places.
    many = spot(SIZE, *[(100 + 16 * k, 20) for k in range(9)], (30, 40), (30, 80))
    assert len(next(Model(Spots()).predict(many, roi=region, max_det=2))) == 2
    # Whole pictures too, where there is something of it.
    session = Spots(tiling=None)
    found = list(Model(session).predict([FEW, FEW[:, :50]], imgsz=320, roi=corner(35, 100)))
    assert [centers(one) for one in found] == [[[pytest.approx(30, abs=1), pytest.approx(40, abs=1)]]] * 2


def test_a_region_that_a_picture_does_not_have() -> None:
    session = Spots()
    model = Model(session)
    far = Polygons(((np.array([[400, 0], [500, 0], [500, 90]], float),),))
    assert len(next(model.predict(FEW, roi=far))) == 0
    assert next(model.predict([FEW], roi=far, tiling=Tiling(64, 16, whole=True))).size == SIZE
    assert session.windows == 0
    list(model.predict([FEW, FEW], roi=far))
    assert "the region touches nothing of 2 pictures" in model.notes
    with pytest.raises(FineSpotError, match="mask: expected a mask of the picture's shape, 304 x 256, but got 3 x 4"):
        next(model.predict(FEW, roi=Mask(np.ones((4, 3), bool))))
    list(model.predict(FEW, roi=Mask(np.ones((128, 152), bool))))
    assert "mask of 152 x 128 is scaled to pictures of 304 x 256" in model.notes


def test_the_whole_view_stays() -> None:
    session = Spots()
    rule = Tiling(64, 16, whole=True)
    list(Model(session).predict(FEW, seeker=Brightness(), tiling=rule, max_tiles=1))
    assert sorted(session.shapes) == [(1, 3, 64, 64), (1, 3, 64, 64)]
    (outcome,) = Model(Spots()).predict(FEW, seeker=Brightness(), tiling=rule, windows=True).outcomes
    assert isinstance(outcome.view, TileView)
    assert len(outcome.view.windows) == 2


def moving(count: int, size: Size = SIZE) -> list[np.ndarray]:
    """Frames in which a spot moves by 3 px, and another one appears in the fifth."""
    return [spot(size, (40 + 3 * k, 50), *([(250, 200)] if k >= 5 else [])) for k in range(count)]


@pytest.mark.slow
def test_frames_of_a_video_without_a_seeker() -> None:
    frames = moving(24)
    for every in (4, 8):
        session = Spots()
        outcomes = list(Model(session).predict(frames, refresh=every, windows=True).outcomes)
        views = [one.view for one in outcomes if isinstance(one.view, TileView)]
        counts = [len(one.windows) for one in views]
        assert session.windows == sum(counts)
        assert counts[0] == UNIFORM
        assert max(counts[1:]) <= -(-UNIFORM // every) + 3
        # What was found is followed, whether its tile's turn it is or not.
        assert all([40 + 3 * k, 50] in centers(one.detections) for k, one in enumerate(outcomes))
        # What appears is found when the turn comes, and followed from then on.
        seen = [[250, 200] in centers(one.detections) for one in outcomes]
        assert any(seen[5 : 5 + every])
        assert seen == sorted(seen)
        for tile in grid(SIZE, TILES):
            turns = [k for k, one in enumerate(views) if list(tile.window) in one.windows.tolist()]
            assert all(after - before <= every for before, after in pairwise([*turns, len(frames)]))


@pytest.mark.slow
def test_frames_of_a_video_with_a_seeker() -> None:
    frames = moving(12)
    blind = Brightness(threshold=2.0)
    counts = {}
    for name, options in {
        "seeker": {"seeker": Brightness(), "refresh": 100},
        "blind": {"seeker": blind, "refresh": 100},
        "often": {"seeker": blind, "refresh": 3},
        "few": {"seeker": blind, "refresh": 3, "max_tiles": 4},
    }.items():
        session = Spots()
        found = list(Model(session).predict(frames, **options))
        counts[name] = session.windows
        if name in ("seeker", "often"):
            assert [[250, 200] in centers(one) for one in found[8:]] == [True] * 4
        # Last frame's box forces a window where the seeker sees nothing.
        assert all([40 + 3 * k, 50] in centers(one) for k, one in enumerate(found) if name != "few")
    assert counts["few"] < counts["often"]
    assert counts["seeker"] < counts["often"]
    assert counts["blind"] < counts["often"]


@pytest.mark.slow
def test_a_video_is_followed_unless_told_otherwise(tmp_path: Any) -> None:
    pytest.importorskip("av")
    writer = images.VideoWriter(tmp_path / "clip.mp4", 10, SIZE)
    for frame in moving(12):
        writer.write(frame)
    writer.close()
    counts = []
    for options in ({}, {"refresh": 4}, {"seeker": Brightness()}, {"max_tiles": 5}, {"budget_ms": 1e6}):
        session = Spots()
        model = Model(session)
        outcomes = list(model.predict(tmp_path / "clip.mp4", windows=bool(options), **options).outcomes)
        counts.append(session.windows)
        assert len(outcomes) == 12
    plain, *others = counts
    assert plain == 12 * UNIFORM
    # Every tenth frame at least, where the video says so by itself: 30 tiles first, then 3 and what is forced.
    assert all(count < plain / 2 for count in others)
    assert counts[3] <= 12 * 5 + 11
    assert counts[1] > counts[4]


def test_a_run_that_ends_early_does_not_hang() -> None:
    for options in ({"seeker": Brightness()}, {"refresh": 3}, {"seeker": Brightness(), "budget_ms": 50}):
        outcomes = Model(Spots()).predict(moving(9), **options).outcomes
        assert len(next(outcomes).detections) == 1
        outcomes.close()


def test_errors_come_out_where_pictures_wait_for_each_other() -> None:
    def broken() -> Any:
        raise FineSpotError("cannot be read", where="b")

    entries = [Entry("a", lambda: images_of(FEW)), Entry("b", broken)]
    chooser = Chooser(TILES, refresh=2)
    outcomes = walk(Spots(), entries, Settings(Scaling(64, 32, TILES), chooser=chooser))
    assert len(next(outcomes).detections) == 3
    with pytest.raises(FineSpotError, match="b: cannot be read"):
        next(outcomes)


def images_of(pixels: np.ndarray) -> Any:
    from finespot.inference.sources import as_image

    return as_image(pixels, "picture")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seeker": Brightness(), "tiling": Tiling(None)}, "seeker: chooses tiles, but nothing is cut; give --slice"),
        ({"seeker": "hit-uav-seeker", "tiling": Tiling(None)}, "seeker: chooses tiles, but nothing is cut"),
        ({"refresh": 3, "tiling": Tiling(None)}, "refresh: chooses tiles, but nothing is cut"),
        ({"max_tiles": 3}, "max-tiles: has no effect where all tiles are looked at; give --seeker too"),
        ({"budget_ms": 3}, "budget-ms: has no effect where all tiles are looked at; give --seeker too"),
        ({"uniform_above": 0.5}, "uniform-above: has no effect without a seeker"),
        ({"uniform_above": 0.5, "refresh": 3}, "uniform-above: has no effect without a seeker"),
        ({"seeker": Brightness(), "uniform_above": 2}, "uniform-above: expected a share from 0 to 1 but got 2"),
        ({"seeker": Brightness(), "max_tiles": 0}, "max-tiles: expected 1 or more but got 0"),
        ({"seeker": Brightness(), "budget_ms": 0}, "budget-ms: expected more than 0 but got 0"),
        ({"refresh": 0}, "refresh: expected 1 or more but got 0"),
        ({"roi": "nowhere.geojson"}, "nowhere.geojson: expected a GeoJSON file or a mask picture but there is none"),
    ],
)
def test_what_has_no_effect_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(FineSpotError) as error:
        Model(Spots()).predict(FEW, **options)
    assert str(error.value).startswith(told)


@pytest.fixture
def dataset(tmp_path: Any) -> Dataset:
    (tmp_path / "images" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val").mkdir(parents=True)
    height, width = SIZE
    for number, places in enumerate([[(30, 40), (200, 180)], [(100, 100), (250, 60)]]):
        # The last object cannot be seen.
        Image.fromarray(spot(SIZE, *places[: 2 - number])).save(tmp_path / "images" / "val" / f"{number}.png")
        lines = [f"0 {x / width} {y / height} {8 / width} {8 / height}\n" for x, y in places]
        (tmp_path / "labels" / "val" / f"{number}.txt").write_text("".join(lines))
    (tmp_path / "set.yaml").write_text(f"path: {tmp_path}\ntrain: images/val\nval: images/val\nnames: [spot]\n")
    return open_dataset(tmp_path / "set.yaml", "val")


def test_every_option_changes_how_many_tiles_are_computed() -> None:
    def computed(pixels: np.ndarray, **options: Any) -> int:
        session = Spots(delay=0.01 if "budget_ms" in options else 0.0)
        list(Model(session).predict([pixels] * 2, **options))
        return session.windows

    seeks = {"seeker": Brightness()}
    counts = {
        "seeker": (computed(FEW), computed(FEW, **seeks)),
        "max_tiles": (computed(FEW, **seeks), computed(FEW, **seeks, max_tiles=1)),
        "budget_ms": (computed(FULL, **seeks), computed(FULL, **seeks, budget_ms=20)),
        "roi": (computed(FEW), computed(FEW, roi=corner(150, 256))),
        "refresh": (computed(FEW), computed(FEW, refresh=5)),
        "uniform_above": (computed(FEW, **seeks, uniform_above=0.0), computed(FEW, **seeks)),
    }
    assert set(counts) == set(inspect.signature(chooser_of).parameters) - {"session", "tiling", "video"}
    assert all(more > fewer for more, fewer in counts.values()), counts


def test_validation_says_what_the_choice_saved_and_lost(dataset: Dataset) -> None:
    session = Spots()
    plain = validate(session, dataset)
    assert session.windows == 2 * UNIFORM
    assert (plain.skipping, len(plain.views)) == (None, 0)
    session = Spots()
    made = validate(session, dataset, seeker=Brightness())
    assert session.windows == 3
    assert made.report.values == plain.report.values
    assert made.skipping is not None
    assert made.skipping.lines()[0] == (
        "95 % of tiles skipped (3 of 60 computed), 25.0 % of objects lost on val (seeker calibrated for 99 %)"
    )
    assert made.coverage().all.bpr_center == 0.75
    assert made.skipping.to_json()["tiles"] == 3
    few = validate(Spots(), dataset, seeker=Brightness(), max_tiles=1)
    assert few.skipping is not None
    assert (few.skipping.computed, few.skipping.lost) == (2, 0.5)


def test_validation_looks_at_as_many_tiles_as_it_is_told(dataset: Dataset) -> None:
    class Everywhere(Brightness):
        def heat(self, pixels: np.ndarray) -> np.ndarray:
            return np.ones_like(super().heat(pixels))

    counts = {}
    for name, seeker, options in (
        ("few", Brightness(), {}),
        ("uniform", Brightness(), {"uniform_above": 0.0}),
        ("all", Everywhere(), {}),
        ("most", Everywhere(), {"max_tiles": 4}),
        ("time", Everywhere(), {"budget_ms": 30}),
    ):
        session = Spots(delay=0.02 if name == "time" else 0.0)
        validate(session, dataset, seeker=seeker, **options)
        counts[name] = session.windows
    time = counts.pop("time")
    assert counts == {"few": 3, "uniform": 2 * UNIFORM, "all": 2 * UNIFORM, "most": 2 * 4}
    assert 2 <= time < UNIFORM


def test_validation_in_a_region(dataset: Dataset) -> None:
    session = Spots()
    made = validate(session, dataset, roi=corner(150, 256))
    assert 0 < session.windows < 2 * UNIFORM
    assert made.coverage().all.objects == 2
    assert "2 of 4 objects lie outside of the region and do not count" in made.notes
    assert made.report.values["AP"] == pytest.approx(1.0)
    assert validate(Spots(), dataset).report.values["AP"] == pytest.approx(0.75, abs=0.01)


def test_right_heat_outside_of_a_region_is_not_false(dataset: Dataset) -> None:
    """As where there is nothing to be seen outside of it."""
    made = validate(Spots(), dataset, roi=corner(150, 256), seeker=Brightness())
    found = made.heat_quality()
    assert found is not None
    assert (found.all.objects, found.all.mask_recall) == (2, 1)
    maps = [np.array(one.heat) for one in made.views]
    before = heat_quality(made.truth, maps).mask_precision
    for heat in maps:
        heat[:, 19:] = 0  # cells of 8 px that begin at 152
    assert found.mask_precision == heat_quality(made.truth, maps).mask_precision
    assert found.mask_precision != before
