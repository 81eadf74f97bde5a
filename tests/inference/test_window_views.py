"""Where a network on windows looked, in the pixels of its pictures; the threshold chosen on labelled pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from finespot import zoo
from finespot.data import Dataset, open_dataset
from finespot.errors import FineSpotError
from finespot.inference import (
    Model,
    Validation,
    WindowView,
    calibrate_threshold,
    calibrated,
    enlarged,
    merge_sweep,
    validate,
)
from finespot.inference.calibrate import largest_input
from finespot.inference.timing import Timing
from finespot.metrics import Results, Truth, evaluate
from finespot.runtimes import Session
from finespot.structures import Annotations, Classes, Detections, Tiling
from finespot.writers import window_picture
from finespot.zoo import Savings


@pytest.fixture
def session() -> Session:
    """A network whose seeker fires where a picture is bright, at half brightness with a probability of a half."""
    torch.manual_seed(0)
    made = zoo.build(zoo.architecture("esod-yolov8n", 4, core=8, halo=0, dense_above=None))
    ready = Session(made, threads=1)
    network = ready.network

    def brightness(images: torch.Tensor, split: Any = None) -> Any:
        features = network.split().stem(images)
        mean = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 8)
        features.auxiliary["heat"] = 20 * (mean - 0.5)
        return features

    network.look = brightness
    return ready


def spot(size: tuple[int, int], *places: tuple[int, int]) -> np.ndarray:
    """A dark picture with bright squares of 16 px about (x, y)."""
    pixels = np.zeros((*size, 3), np.uint8)
    for x, y in places:
        pixels[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 255
    return pixels


@pytest.mark.slow
def test_windows_and_heat_in_pixels_of_the_picture(session: Session) -> None:
    model = Model(session)
    # 250 x 120 is scaled to 256 x 123 and padded to 128, or as large again to 512 x 246 in 256.
    for imgsz, scale in ((256, 1.024), (512, 2.048)):
        (outcome,) = model.predict([spot((120, 250), (20, 80))], imgsz=imgsz, conf=0.0, windows=True).outcomes
        view = outcome.view
        assert view is not None
        assert view.size == (120, 250)
        assert view.savings.windows == len(view.windows) == 1
        (x1, y1, x2, y2) = view.windows[0]
        assert x1 <= 12 <= 28 <= x2 <= 250
        assert y1 <= 72 <= 88 <= y2 <= 120
        row, column = np.unravel_index(view.heat.argmax(), view.heat.shape)
        assert view.heat.shape == (round(123 * scale / 1.024 / 8), round(256 * scale / 1.024 / 8))
        assert abs((column + 0.5) * 8 / scale - 20) < 8
        assert abs((row + 0.5) * 8 / scale - 80) < 8
        assert 0 < view.savings.occupancy < 1
        assert view.savings.saved > 0
        assert set(view.milliseconds) == {"stem and seeker", "selection", "gathering", "tail and head"}
        assert len(outcome.detections) > 0
        grown = enlarged(view.heat, view.size)
        assert grown.shape == (120, 250)
        assert grown.max() > 0.5
        none = Detections.empty((120, 250), session.classes)
        drawn = window_picture(np.zeros((120, 250, 3), np.uint8), 0 * grown, view.windows, none)
        assert tuple(drawn[int(y1) + 1, int((x1 + x2) / 2)]) == (60, 255, 120)
        assert drawn[:120, :250].any(2).mean() < 0.2
    plain = next(model.predict([spot((120, 250), (20, 80))], imgsz=256, conf=0.0).outcomes)
    assert plain.view is None
    assert session.network.laps is None
    assert np.array_equal(plain.detections.boxes.shape[1:], (4,))


@pytest.mark.slow
def test_pictures_without_windows_keep_their_place(session: Session) -> None:
    pictures = [spot((128, 128)), spot((128, 128), (64, 64)), spot((128, 128))]
    for batch in (1, 3):
        outcomes = list(Model(session).predict(pictures, imgsz=128, conf=0.0, batch=batch, windows=True).outcomes)
        assert [len(one.detections) > 0 for one in outcomes] == [False, True, False]
        assert [one.view.savings.windows for one in outcomes if one.view] == [0, 4, 0]
        assert [one.view.first for one in outcomes if one.view] == [place < batch for place in range(3)]
        assert outcomes[0].view is not None
        assert outcomes[0].view.savings.occupancy == 0
        assert outcomes[0].detections.boxes.shape == (0, 4)


def test_tiles_of_a_picture_are_one_view(session: Session) -> None:
    picture = spot((128, 256), (40, 40), (232, 100))
    rule = Tiling(128, 0.0)
    (outcome,) = Model(session).predict([picture], imgsz=128, tiling=rule, conf=0.0, windows=True).outcomes
    view = outcome.view
    assert view is not None
    assert view.savings.possible == 8
    assert len(view.windows) == view.savings.windows == 2
    assert view.heat.shape == (16, 32)
    assert view.heat[5, 5] > 0.9
    assert view.heat[12, 28] > 0.9
    assert view.windows[:, 2].max() == 256


@pytest.mark.slow
def test_tiles_and_the_whole_view_are_one_view(session: Session) -> None:
    """The map has the cells of the tiles; the whole view, at 0.64 of their scale, adds its heat."""
    rule = Tiling(128, 0.2, whole=True)
    picture = spot((200, 200), (40, 40))
    heats = []
    for tiling in (rule, replace(rule, whole=False)):
        (outcome,) = Model(session).predict([picture], imgsz=128, tiling=tiling, conf=0.0, windows=True).outcomes
        assert isinstance(outcome.view, WindowView)
        heats.append(outcome.view.heat)
        assert outcome.view.savings.possible == 4 * (5 if tiling.whole else 4)
    assert heats[0].shape == heats[1].shape == (25, 25)
    assert (heats[0] >= heats[1]).all()
    assert (heats[0] > heats[1]).any()
    hot = np.argwhere(heats[0] > 0.5)
    assert (hot >= 2).all()
    assert (hot <= 7).all()


@pytest.mark.parametrize("turned", [False, True])
def test_the_finer_map_takes_the_heat_of_the_cell_around_its_middle(turned: bool) -> None:
    coarse, fine = view([], [], 0, 0), replace(view([], [], 0, 0), heat=np.full((4, 6), 0.2, np.float32))
    coarse = replace(coarse, heat=np.array([[0.1, 0.9, 0.3], [0.4, 0, 0.8]], np.float32))
    joined = fine.joined(replace(coarse, first=True)) if turned else replace(coarse, first=True).joined(fine)
    assert joined.first
    every = np.array([[0.2, 0.9, 0.3], [0.4, 0.2, 0.8]], np.float32)
    np.testing.assert_array_equal(joined.heat, every.repeat(2, 0).repeat(2, 1))


def test_areas_of_tiles_are_of_the_picture() -> None:
    """A window in the left tile (0 to 120), and the right one (80 to 200) whole; each is the half of it at most."""
    left = view([[0, 0, 60, 100], [40, 0, 100, 100]], [[0, 0, 50, 100], [50, 0, 100, 100]], 1.0, 100 / 120)
    right = view([[80, 0, 200, 100]], [[80, 0, 200, 100]], 1.0, 1.0)
    for joined in (left.joined(right), right.joined(left)):
        assert joined.savings.occupancy == pytest.approx(1.2)
        assert joined.savings.covered == pytest.approx(1.0)
    apart = left.joined(view([[150, 0, 200, 100]], [[150, 0, 200, 100]], 0.4, 0.4)).savings
    assert (apart.occupancy, apart.covered) == (pytest.approx(0.85), pytest.approx(0.75))


def test_a_dense_network_has_none() -> None:
    model = Model(Session(zoo.build(zoo.architecture("yolov8n", 2)), threads=1))
    with pytest.raises(FineSpotError, match="windows: this network does not choose windows"):
        model.predict([spot((64, 64))], windows=True)


def view(windows: list[list[float]], cores: list[list[float]], occupancy: float, covered: float) -> WindowView:
    saved = Savings(len(windows), 8, occupancy, covered, 1.0, 1.0, False)
    boxes = [np.array(one, np.float32).reshape(-1, 4) for one in (windows, cores)]
    return WindowView((100, 200), np.zeros((13, 25), np.float32), boxes[0], boxes[1], saved, {})


def truth(boxes: list[list[float]], ignore: list[bool] | None = None) -> Annotations:
    flags = np.array(ignore or [False] * len(boxes), bool)
    return Annotations(np.array(boxes, np.float32), np.zeros(len(boxes), np.int64), (100, 200), flags)


def test_validation_keeps_the_views_and_measures_their_coverage() -> None:
    one = view([[0, 0, 60, 60], [40, 0, 120, 60]], [[0, 0, 50, 60], [50, 0, 110, 60]], 0.42, 0.36)
    # In both windows; in a halo alone; four tenths in; half and half in two; not at all.
    boxes = [[45, 10, 55, 20], [112, 10, 118, 20], [114, 10, 129, 20], [20, 50, 40, 70], [150, 80, 160, 90]]
    objects = Truth.from_annotations([truth(boxes), truth([[1, 1, 9, 9]])], Classes(("a",)), [1, 2])
    nothing = view([], [], 0, 0)
    none = Results.from_detections([], objects, ())
    reports = (evaluate(objects, none),)
    made = Validation(reports, [], [1, 2], (objects,), none, Timing(), views=[one, nothing])
    found = made.coverage()
    assert (found.all.bpr_box, found.all.bpr_center) == (pytest.approx(3 / 6), pytest.approx(1 / 6))
    assert found.windows_mean == 1
    with pytest.raises(FineSpotError, match="validate with watch=True"):
        replace(made, views=[]).coverage()


@pytest.mark.slow
def test_detections_in_windows_are_explained_by_the_dense_form() -> None:
    torch.manual_seed(0)
    made = zoo.build(zoo.architecture("esod-yolov8n", 2, core=8, halo=4, dense_above=None, select="all"))
    model = Model(Session(made, threads=1))
    pixels = np.random.default_rng(0).integers(0, 256, (96, 150, 3), np.uint8)
    for layers in (["neck"], ["backbone"], ["backbone.stage3"]):
        (explained,) = model.explain([pixels], imgsz=160, conf=0.0, max_det=20, target="both", layers=layers)
        assert len(explained.detections)
        assert all(heat.shape == (96, 150) and heat.max() > 0 for heat in explained.heat.values())


@pytest.fixture
def dataset(tmp_path: Any) -> Dataset:
    from PIL import Image

    (tmp_path / "images" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val").mkdir(parents=True)
    for number, (level, x) in enumerate([(250, 30), (200, 60), (160, 100), (90, 20)]):
        pixels = (spot((128, 128), (x, 40)) > 0).astype(np.uint8) * level
        Image.fromarray(pixels).save(tmp_path / "images" / "val" / f"{number}.png")
        (tmp_path / "labels" / "val" / f"{number}.txt").write_text(f"0 {x / 128} {40 / 128} 0.1 0.1\n")
    (tmp_path / "set.yaml").write_text(f"path: {tmp_path}\ntrain: images/val\nval: images/val\nnames: [spot]\n")
    return open_dataset(tmp_path / "set.yaml", "val")


@pytest.mark.slow
def test_the_threshold_that_reaches_nearly_all_objects(session: Session, dataset: Dataset) -> None:
    before = session.network.windows
    most = calibrate_threshold(session, dataset, 0.75, imgsz=128)
    assert (most.objects, most.recall) == (4, 0.75)
    assert session.network.windows == replace(before, threshold=most.threshold)
    # Brightness 160 of 255, spread over no cell but its own.
    assert 0.5 < most.threshold < 1 / (1 + np.exp(-20 * (160 / 255 - 0.5))) + 1e-3
    every = calibrate_threshold(session, dataset, 1.0, imgsz=128)
    assert (every.recall, every.threshold < most.threshold) == (1.0, True)
    assert every.share >= most.share > 0
    card = calibrated(session, threshold=most.threshold)
    assert card.architecture.options["threshold"] == most.threshold
    rebuilt = zoo.build(card.architecture)
    assert isinstance(rebuilt, zoo.WindowedDetector)
    assert rebuilt.windows.threshold == most.threshold
    with pytest.raises(FineSpotError, match="recall: expected a share above 0 and up to 1 but got 0"):
        calibrate_threshold(session, dataset, 0)


@pytest.mark.slow
def test_a_threshold_for_weights_that_compute_the_cells_of_the_truth(dataset: Dataset) -> None:
    made = zoo.build(zoo.architecture("esod-yolov5s", 1, core=8, halo=4, cells="oracle"))
    session, rule = Session(made, threads=1), made.windows
    found = calibrate_threshold(session, dataset, 1.0, imgsz=128)
    assert found.objects == 4
    assert session.network.windows == replace(rule, threshold=found.threshold)


@pytest.mark.slow
@pytest.mark.parametrize(("imgsz", "tiling"), [(128, None), (100, None), (64, Tiling(48, 8)), (80, Tiling(100, 0.0))])
def test_the_largest_input_is_known_before_the_pass(
    session: Session, dataset: Dataset, imgsz: int, tiling: Tiling | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[int, ...]] = []
    call = session.__call__
    monkeypatch.setattr(Session, "__call__", lambda self, images: ran.append(tuple(images.shape[2:])) or call(images))
    found = calibrate_threshold(session, dataset, imgsz=imgsz, tiling=tiling)
    assert found.size == largest_input(session, dataset, imgsz=imgsz, tiling=tiling) == max(ran)


@pytest.mark.slow
def test_validation_watches_where_the_network_looked(session: Session, dataset: Dataset, tmp_path: Any) -> None:
    text = (tmp_path / "set.yaml").read_text().replace("[spot]", "[a, b, c, d]")
    (tmp_path / "four.yaml").write_text(text)
    dataset = open_dataset(tmp_path / "four.yaml", "val")
    plain, watched = validate(session, dataset), validate(session, dataset, watch=True)
    assert plain.views == []
    assert len(watched.views) == len(dataset)
    windows = [len(one.windows) for one in watched.views]
    assert watched.coverage().windows == sum(windows) > 0
    assert watched.report.values == plain.report.values


@pytest.mark.slow
def test_an_oracle_is_told_the_truth(session: Session, dataset: Dataset, tmp_path: Any) -> None:
    """Of whole pictures and of tiles: a window for each object, whatever the seeker says; AP by it, not by chance."""
    text = (tmp_path / "set.yaml").read_text().replace("[spot]", "[a, b, c, d]")
    (tmp_path / "four.yaml").write_text(text)
    dataset = open_dataset(tmp_path / "four.yaml", "val")
    session.network.windows = replace(session.network.windows, select="oracle", threshold=1.0)
    for tiling in (None, Tiling(64, 16)):
        made = validate(session, dataset, watch=True, tiling=tiling)
        covered = made.coverage()
        assert covered.all.bpr_center == 1
        assert covered.idle_center == 0
        told = made.report.settings["windows"]
        assert (told["select"], told["core"]) == ("oracle", 8)
    session.network.windows = replace(session.network.windows, select="seeker")
    assert validate(session, dataset, watch=True).coverage().windows == 0
    session.network.windows = replace(session.network.windows, select="oracle")
    assert merge_sweep(session, dataset, operators=["greedy"], tiling=Tiling(64, 16)).rows
