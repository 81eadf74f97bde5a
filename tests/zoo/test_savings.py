"""What windows cost and save: by the model, as counted in a run, and as the released network was measured."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from finespot import zoo
from finespot.structures import Targets
from finespot.zoo import WindowCosts, WindowedDetector, looks, window_costs
from finespot.zoo.savings import window_areas

GOLDEN = json.loads((Path(__file__).parent / "data" / "esod.json").read_text())
# Total GFLOPs of the released network on YOLOv5m at 1536 x 864 by windows of 24 x 16 cells, without its seeker.
MEASURED = {1: 57.53, 5: 72.07, 10: 90.25, 20: 126.61, 28: 155.69, 40: 199.32, 56: 257.49}


def build(name: str, **options: object) -> WindowedDetector:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, 3, **options)).eval()
    assert isinstance(detector, WindowedDetector)
    return detector


@pytest.mark.slow
def test_costs_are_those_measured_of_the_released_network() -> None:
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture("esod-yolov5m-published", 10))
    assert isinstance(detector, WindowedDetector)
    costs = window_costs(detector, (864, 1536))
    for windows, gflops in MEASURED.items():
        assert costs.picture - costs.seeker + windows * costs.window == pytest.approx(gflops, rel=0.002)
    assert costs.dense == pytest.approx(250.22, rel=0.001)
    # The original counts batch norm of the seeker too, 2 of 342 operations a value.
    assert costs.seeker == pytest.approx(1.37, rel=0.02)
    # Of the area: operations a cell, by part.
    by_cell, cells = GOLDEN["mflop_per_cell_m"], 108 * 192
    rho = 20 * 24 * 16 / cells
    model = cells * (by_cell["stem"] + 0.066 + rho * (5.236 + by_cell["head"])) / 1000
    assert costs.picture + 20 * costs.window == pytest.approx(model, rel=0.02)


@pytest.mark.slow
def test_costs_of_a_network_that_may_learn() -> None:
    """Tokens that every picture shares, expanded without a gradient, once stopped torch's counter."""
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture("esod-gpvit-l1", 3))
    assert isinstance(detector, WindowedDetector)
    costs = window_costs(detector, (256, 256))
    assert 0 < costs.seeker < costs.picture < costs.dense
    assert all(one.requires_grad for one in detector.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("firing", [0, 1, 3])
def test_a_run_costs_what_the_model_says(firing: int) -> None:
    detector = build("esod-yolov8n", core=8, halo=4, dense_above=None, threshold=0.0, budget=max(firing, 1))
    if not firing:
        detector.windows = type(detector.windows)(core=8, halo=4, threshold=1.0)
    images = torch.rand(2, 3, 128, 256)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        raw = detector(images)
        detector.head.decode_boxes(raw)
    costs = window_costs(detector, (128, 256))
    found = looks(detector, raw, costs)
    assert [one.savings.windows for one in found] == [firing] * 2
    assert counter.get_total_flops() / 1e9 == pytest.approx(sum(one.savings.gflops for one in found), rel=0.02)
    alone = looks(detector, detector(images[:1]), costs)
    assert alone[0].savings == found[0].savings


@pytest.mark.slow
@pytest.mark.parametrize("dense_above", [None, 0.0])
def test_a_run_of_single_cells_costs_what_the_model_says(dense_above: float | None) -> None:
    detector = build("esod-yolov5s", core=16, halo=4, dense_above=dense_above, select="oracle")
    images, counted, told = torch.rand(2, 3, 256, 256), [], []
    for cells in ("all", "oracle"):
        detector.windows = replace(detector.windows, cells=cells)
        boxes = torch.tensor([[20.0, 20, 30, 30], [60, 40, 70, 50], [110, 110, 120, 130]])
        flags = torch.zeros(3, dtype=torch.bool)
        targets = Targets(boxes, torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0, 1]), flags, 2)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            raw = detector(images, targets)
        counted.append(counter.get_total_flops() / 1e9)
        told.append([one.savings for one in looks(detector, raw, window_costs(detector, (256, 256)))])
    for flops, ones in zip(counted, told):
        assert flops == pytest.approx(sum(one.gflops for one in ones), rel=0.02)
    # The second picture has one object, the first two.
    for one, other in zip(*told):
        assert one.gflops + one.saved == pytest.approx(other.gflops + other.saved)
    assert told[1][1].gflops < told[1][0].gflops < 0.9 * told[0][0].gflops


def test_savings_of_a_picture_with_padding() -> None:
    detector = build("esod-yolov8n", core=8, halo=4, dense_above=None)
    costs = WindowCosts((64, 192), 1.0, 0.25, 2.0, 0.1)
    raw = {
        "heat": torch.full((2, 1, 8, 24), -3.0),
        "picks": torch.tensor([[[True, True, False]], [[False, False, False]]]),
        "origins": torch.tensor([[0, 0, 0], [0, 32, 0]]),
        "cores": torch.tensor([[-torch.inf, -torch.inf, 64, torch.inf], [64, -torch.inf, 128, torch.inf]]),
    }
    content = np.array([[0, 0, 192, 32], [0, 0, 192, 64]], np.float32)
    first, second = looks(detector, raw, costs, content)
    # Two windows of 128 x 64 px (16 x 8 cells), 96 px of them seen twice, in a picture of 192 x 32.
    assert first.windows.tolist() == [[0, 0, 128, 64], [32, 0, 160, 64]]
    assert first.cores.tolist() == [[0, 0, 64, 64], [64, 0, 128, 64]]
    one = first.savings
    assert (one.windows, one.possible, one.dense) == (2, 3, False)
    assert (one.occupancy, one.covered) == (pytest.approx(256 / 192), pytest.approx(160 / 192))
    assert (one.gflops, one.saved) == (pytest.approx(1.5), pytest.approx(1.4))
    assert second.savings.occupancy == second.savings.covered == 0
    assert (second.savings.gflops, second.savings.windows) == (1.0, 0)
    del raw["origins"]
    (whole, _) = looks(detector, raw, costs, content)
    assert whole.savings.dense
    assert whole.windows.tolist() == whole.cores.tolist() == [[0, 0, 192, 64]]
    assert (whole.savings.windows, whole.savings.occupancy, whole.savings.gflops) == (3, 1.0, 3.0)
    assert whole.savings.saved == pytest.approx(-0.1)
    assert whole.heat.shape == (8, 24)
    assert float(whole.heat.max()) == pytest.approx(0.0474, abs=1e-4)


def test_area_of_windows_without_any() -> None:
    assert window_areas(np.zeros((0, 4), np.float32), np.array([0, 0, 8, 8], np.float32)) == (0.0, 0.0)


def test_time_by_part() -> None:
    detector = build("esod-yolov8n", core=8, threshold=0.0, dense_above=None)
    with torch.no_grad(), nullcontext():
        detector(torch.rand(1, 3, 64, 64))
        assert detector.laps is None
        detector.laps = {}
        detector(torch.rand(1, 3, 64, 64))
    assert list(detector.laps) == ["stem and seeker", "selection", "gathering", "tail and head"]
    assert all(seconds > 0 for seconds in detector.laps.values())


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("esod-yolov8n", {"pools": ["backbone.stage5.pool"]}),
        ("esod-yolo11n", {"pools", "attention"}),
        ("esod-yolo12n", {"attention"}),
        ("esod-rtmdet-tiny", {"pools", "means over the map"}),
        ("esod-retinanet-r50", set()),
        ("esod-gpvit-l1", {"attention"}),
    ],
)
def test_layers_that_see_another_thing_in_windows(name: str, kinds: object) -> None:
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture(name, 3))
    assert isinstance(detector, WindowedDetector)
    found = detector.changed_layers()
    assert found == kinds if isinstance(kinds, dict) else found.keys() == kinds
    # What runs on the picture before the cut does not count.
    assert not any(".stage3." in layer for layers in found.values() for layer in layers)
