"""Operations of pictures in tiles: counted at the shapes that really run, whatever decides which tiles do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from spots import Brightness, Spots, spot

from finespot.inference import Model, TileCosts, TileView
from finespot.structures import Size, Tiling
from finespot.tiling import Polygons

SIZE = (256, 304)
FEW = spot(SIZE, (30, 40), (40, 60), (200, 180))
WIDE = spot((600, 900), (40, 60), (45, 64), (700, 400))
LOW = np.zeros((100, 150, 3), np.uint8)


class Counted(Brightness):
    """A seeker of 5 operations a look."""

    def gflops(self, size: Size) -> float:
        return 5.0


@pytest.fixture(autouse=True)
def pixels_as_operations(monkeypatch: pytest.MonkeyPatch) -> list[Size]:
    """A network costs the pixels of its input; the shapes that were counted."""
    shapes: list[Size] = []

    def count(network: Any, size: Size) -> float:
        shapes.append(size)
        return size[0] * size[1]

    monkeypatch.setattr("finespot.inference.skipping.count_gflops", count)
    return shapes


def area(*xy: int) -> Polygons:
    x1, y1, x2, y2 = xy
    return Polygons(((np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float),),))


def run(picture: np.ndarray, imgsz: int, tiling: Tiling, **choice: Any) -> tuple[float, TileView | None]:
    """What really ran: pixels of all inputs, and the view."""
    session = Spots(tiling=None)
    (outcome,) = Model(session).predict(picture, imgsz=imgsz, tiling=tiling, windows=bool(choice), **choice).outcomes
    assert outcome.view is None or isinstance(outcome.view, TileView)
    return float(sum(np.prod([shape[0], *shape[2:]]) for shape in session.shapes)), outcome.view


@pytest.mark.parametrize(
    ("picture", "imgsz", "tiling", "choice"),
    [
        (FEW, 64, Tiling(64, 16), {"seeker": Brightness()}),
        (FEW, 64, Tiling(64, 16, whole=True), {"seeker": Brightness()}),
        (FEW, 64, Tiling(64, 16, whole=True), {"seeker": Brightness(threshold=2.0)}),
        (FEW, 80, Tiling(70, 16), {"seeker": Brightness()}),  # padded
        (WIDE, 256, Tiling(256, 32), {"seeker": Brightness()}),  # cut down
        (WIDE, 640, Tiling(640, 64), {"roi": area(0, 0, 50, 50)}),  # lower than a tile
        (LOW, 64, Tiling(64, 16), {"roi": area(0, 0, 30, 30)}),
        (LOW, 640, Tiling(640, 64), {"roi": area(0, 0, 30, 30)}),
        (FEW, 320, Tiling(None), {"roi": area(0, 0, 30, 30)}),  # whole pictures
        (FEW, 64, Tiling(64, 16, whole=True), {"roi": area(0, 0, 30, 30)}),
        (FEW, 64, Tiling(64, 16, whole=True), {"roi": area(400, 0, 500, 30)}),  # nothing of the picture
    ],
)
def test_as_many_as_really_run(picture: np.ndarray, imgsz: int, tiling: Tiling, choice: dict[str, Any]) -> None:
    spent, view = run(picture, imgsz, tiling, **choice)
    whole, _ = run(picture, imgsz, tiling)
    assert view is not None
    assert TileCosts(Spots(tiling=None), imgsz, tiling).of(view) == (spent, whole - spent)


def test_the_weight_files_own_rule_where_none_is_given() -> None:
    session = Spots(tiling=Tiling(64, 16))
    (outcome,) = Model(session).predict(FEW, seeker=Brightness(), windows=True).outcomes
    assert isinstance(outcome.view, TileView)
    assert TileCosts(session).of(outcome.view) == (2 * 64 * 64, 28 * 64 * 64)


def test_a_shape_is_counted_once(pixels_as_operations: list[Size]) -> None:
    tiling = Tiling(64, 16, whole=True)
    _, view = run(FEW, 64, tiling, seeker=Brightness())
    assert view is not None
    costs = TileCosts(Spots(tiling=None), 64, tiling)
    for _ in range(3):
        costs.of(view)
    assert pixels_as_operations == [(64, 64)]


@pytest.mark.parametrize(
    ("seeker", "told"),
    [
        (Counted(), "3.0 GFLOPs a picture, seeker included, where all tiles take 4.0 (25 % saved)"),
        (Brightness(), "3.0 GFLOPs a picture where all tiles take 4.0 (25 % saved)"),
        (None, "3.0 GFLOPs a picture where all tiles take 4.0 (25 % saved)"),
    ],
)
def test_the_seeker_is_said_where_it_was_counted(seeker: Any, told: str) -> None:
    costs = TileCosts(Spots(), seeker=seeker)
    _, view = run(FEW, 64, Tiling(64, 16), seeker=Brightness())
    assert view is not None
    assert costs.of(view)[0] == 2 * 64 * 64 + (5 if isinstance(seeker, Counted) else 0)
    assert costs.line(6.0, 2.0, 2) == told


def test_no_picture_is_no_line() -> None:
    assert TileCosts(Spots()).line(0.0, 0.0, 0) == ""
