"""Networks on windows: the same as the dense ones where they must be, cheaper where they can be, each option acting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.relays.seeker import Seeker
from finespot.structures import Architecture, Targets
from finespot.zoo import WindowedDetector, Windows, window_costs
from finespot.zoo.esod import WINDOWS
from finespot.zoo.windowed import Chosen

# The smallest network on each host, and one on windows as published.
HOSTS = ("yolov5s", "yolov8n", "yolo11n", "yolo12n", "rtmdet-tiny", "retinanet-r50", "gpvit-l1", "yolov5s-published")
QUICK = "yolov8n"
DEAR = ("retinanet-r50", "gpvit-l1")
MARKS = {host: pytest.mark.full if host in DEAR else pytest.mark.slow for host in HOSTS}
SMALL = [host if host == QUICK else pytest.param(host, marks=MARKS[host]) for host in HOSTS]
SIZE = (128, 192)


def build(host: str = QUICK, seed: int = 0, **options: Any) -> WindowedDetector:
    torch.manual_seed(seed)
    if "published" not in host:
        options = {"core": 8, "halo": 4, "dense_above": None, **options}
    detector = zoo.build(zoo.architecture(f"esod-{host}", 3, **options))
    assert isinstance(detector, WindowedDetector)
    return detector.eval()


def pictures(size: tuple[int, int] = SIZE, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def truth(boxes: list[list[float]], images: list[int], batch: int = 2) -> Targets:
    count = len(boxes)
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).view(count, 4),
        torch.arange(count) % 3,
        torch.tensor(images, dtype=torch.int64),
        torch.zeros(count, dtype=torch.bool),
        batch,
    )


@contextmanager
def heat(detector: WindowedDetector, cells: list[tuple[int, int, int]]) -> Iterator[None]:
    """Within, the seeker fires at these cells (picture, row, column) and nowhere else."""

    def put(module: nn.Module, args: Any, features: Any) -> Any:
        found = torch.full_like(features.auxiliary["heat"], -9.0)
        for picture, row, column in cells:
            found[picture, 0, row, column] = 9.0
        features.auxiliary["heat"] = found
        return features

    hook = detector.relay.register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()


def run(
    detector: WindowedDetector, images: Tensor, cells: list[tuple[int, int, int]] | None = None, **more: Any
) -> Any:
    with torch.no_grad():
        if cells is None:
            return detector(images, **more)
        with heat(detector, cells):
            return detector(images, **more)


@pytest.mark.slow
@pytest.mark.parametrize("host", SMALL)
def test_one_window_over_the_picture_is_the_dense_network_bit_for_bit(host: str) -> None:
    options = {"sides": 1} if "published" in host else {"core": 24}
    detector = build(host, select="all", **options)
    name = f"esod-{host.removesuffix('-published')}"
    dense = zoo.build(zoo.architecture(name, 3, windows="none")).eval()
    assert type(dense) is zoo.Detector
    dense.load_state_dict(detector.state_dict())  # the same names and shapes
    images = pictures()
    with torch.no_grad():
        want = dense(images)
    raw = run(detector, images)
    assert raw["origins"].tolist() == [[0, 0, 0], [1, 0, 0]]
    # On windows GPViT's seeker reads the map before the blocks, which do not run on the picture.
    same = [key for key in want if key != "heat" or not host.startswith("gpvit")]
    assert all(torch.equal(raw[key], want[key]) for key in same)
    detector.whole = True
    assert all(torch.equal(run(detector, images)[key], want[key]) for key in want)
    detector.whole, detector.windows = False, replace(detector.windows, dense_above=1.0)
    again = run(detector, images)
    assert "origins" not in again
    assert all(torch.equal(again[key], want[key]) for key in same)


@pytest.mark.parametrize("host", SMALL)
def test_pictures_without_a_window_have_an_empty_result_and_their_place(host: str) -> None:
    detector, images = build(host), pictures(batch=3)
    head = detector.head
    for firing, computed in (([], 0), ([1], 1), ([0, 2], 2)):
        raw = run(detector, images, [(one, 5, 9) for one in firing])
        assert len(raw["scores"]) == len(raw["boxes"]) == len(raw["origins"]) == computed
        assert raw["picks"].flatten(1).any(1).tolist() == [one in firing for one in range(3)]
        found = head.select(raw, 0.0)
        assert [len(scores) > 0 for _, scores, _ in found] == [one in firing for one in range(3)]
        assert all(boxes.shape == (len(scores), 4) for boxes, scores, _ in found)
        assert head.decode_boxes(raw).shape[:2] == (computed, raw["scores"].shape[2])
    # What a picture gets does not depend on the others of its batch.
    alone = run(detector, images[2:], [(0, 5, 9)])
    assert all(torch.allclose(alone[key][0], raw[key][-1], atol=1e-3) for key in ("boxes", "scores"))


@pytest.mark.slow
@pytest.mark.parametrize("host", SMALL)
def test_training_on_windows_reaches_every_parameter(host: str) -> None:
    detector = build(host).train()
    with torch.no_grad():  # some layers start at zero, behind which nothing learns in the first step
        for p in detector.parameters():
            p += 0.01 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * p.requires_grad
    draw = torch.Generator().manual_seed(0)
    sides = 4 * 30 ** torch.rand(80, 2, generator=draw)
    middle = torch.rand(80, 2, generator=draw) * torch.tensor([SIZE[1], SIZE[0]])
    targets = truth(torch.cat((middle - sides / 2, middle + sides / 2), 1).tolist(), [0] * 40 + [1] * 40)
    raw = detector(pictures(), targets)
    assert "origins" in raw
    terms = detector.loss(raw, targets)
    assert int(terms.counts["targets"]) == 80
    assert "heat" in terms.terms
    terms.total.backward()
    dry = [name for name, p in detector.named_parameters() if p.requires_grad and not bool(p.grad.abs().sum() > 0)]
    # The two coarsest levels of a pyramid have no object of their size here, whose towers they share.
    assert [name for name in dry if not name.startswith("neck.extras")] == []


@pytest.mark.slow
@pytest.mark.parametrize("host", [QUICK, "gpvit-l1", "yolov5s-published"])
def test_where_only_the_seeker_learns_nothing_behind_the_cut_runs(host: str) -> None:
    """And it learns the same."""
    detector, targets = build(host).train(), truth([[8.0, 8, 24, 20], [70, 40, 90, 60]], [0, 1])
    for part in (detector.backbone, detector.neck, detector.head):
        part.requires_grad_(False).eval()

    def gradients() -> tuple[set[str], dict[str, Tensor], dict[str, Tensor]]:
        detector.zero_grad()
        torch.manual_seed(0)
        raw = detector(pictures(), targets)
        terms = detector.loss(raw, targets)
        terms.total.backward()
        learned = {name: p.grad.clone() for name, p in detector.relay.named_parameters()}
        return set(raw), dict(terms.counts), learned

    def forbid(*args: Any) -> None:
        raise AssertionError("ran")

    hooks = [part.register_forward_pre_hook(forbid) for part in (detector.neck, detector.head)]
    alone, counts, learned = gradients()
    assert alone == {"heat"}
    assert int(counts["targets"]) == 2
    for hook in hooks:
        hook.remove()
    next(detector.neck.parameters()).requires_grad_(True)
    every, _, same = gradients()
    assert "scores" in every
    assert all(torch.equal(value, same[name]) for name, value in learned.items())
    next(detector.neck.parameters()).requires_grad_(False)
    assert "scores" in run(detector.eval(), pictures())


@pytest.mark.parametrize("size", [(640, 640), (1920, 1920), (1536, 864), (864, 1536), (96, 352)])
def test_windows_of_any_size_are_chosen(size: tuple[int, int]) -> None:
    """On the map of the cut alone: what follows has the size of the windows."""
    detector = build("yolov8n", core=32, dense_above=0.7)
    maps = torch.full((1, 1, size[0] // 8, size[1] // 8), -9.0)
    maps[..., -1, -1] = 9
    targets = truth([[size[1] - 3.0, size[0] - 3.0, size[1], size[0]]], [0], 1)
    chosen = detector.choose(maps)
    assert chosen.picks[0, -1, -1]
    assert len(chosen.core) == 1
    window = chosen.grid.window
    assert chosen.origins.tolist() == [[maps.shape[3] - window[1], maps.shape[2] - window[0]]]
    assert chosen.cores[0, 2:].tolist() == [float("inf")] * 2
    assert detector.runs_whole(chosen) == (size == (96, 352))
    detector.train()
    learned = detector.choose(maps, targets)
    assert learned.picks[0, -1, -1]
    assert len(learned.core) <= max(3, np.ceil(0.33 * learned.grid.cores))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "size"),
    [
        *((QUICK, size) for size in ((864, 1536), (1920, 1920), (1088, 1920))),
        *(pytest.param(QUICK, (side, side), marks=pytest.mark.full) for side in (1280, 2048)),
        ("yolov5s-published", (640, 640)),
        pytest.param("yolov5s-published", (1920, 1920), marks=pytest.mark.full),
    ],
)
def test_any_size_runs_and_trains(host: str, size: tuple[int, int]) -> None:
    """Also sides at which the released windows could not be cut; an object in the last corner is found and learned."""
    detector = build(host, **({} if "published" in host else {"core": 32}))
    images, (height, width) = pictures(size, 1), size
    corner = [[width - 20.0, height - 16.0, width - 4.0, height - 2.0]]
    raw = run(detector, images, [(0, height // 8 - 1, width // 8 - 1)])
    side = [8 * one for one in detector.windows.grid((height // 8, width // 8)).window]
    assert raw["picks"].sum() == 1
    assert raw["origins"].tolist() == [[0, width - side[1], height - side[0]]]
    ((boxes, scores, _),) = detector.head.select(raw, 0.0)
    assert len(boxes) == len(scores) > 0
    assert (boxes[:, 2:] > [width - side[1], height - side[0]]).all()
    detector.train()
    terms = detector.loss(detector(images, truth(corner, [0], 1)), truth(corner, [0], 1))
    assert int(terms.counts["targets"]) >= 1
    terms.total.backward()
    dry = [name for name, p in detector.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert [name for name in dry if name.startswith(("backbone.", "relay."))] == []
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)


@pytest.mark.slow
def test_landscape_and_portrait_have_the_same_windows_turned() -> None:
    for host in ("yolov8n", "yolov5s-published"):
        detector = build(host)
        maps = torch.full((1, 1, 108, 192), -9.0)
        maps[..., 50:53, 20:29] = 9
        maps[..., 107, 100] = 9
        # One after the other, as if something were kept.
        one, other = detector.choose(maps), detector.choose(maps.transpose(2, 3))
        assert sorted(one.origins.tolist()) == sorted(other.origins.flip(1).tolist())
        assert torch.equal(one.picks[0], other.picks[0].T)


@pytest.mark.slow
def test_every_option_changes_the_number_of_computed_windows() -> None:
    """A map of 16 x 24 cells, cores of 8 without a halo: 2 x 3 in each of two pictures."""
    maps = torch.full((2, 1, 16, 24), -9.0)
    for picture, row, column in ((0, 0, 0), (0, 15, 23), (0, 4, 12), (1, 8, 7)):
        maps[picture, 0, row, column] = 9
    targets = truth([[10, 10, 20, 20], [100, 100, 120, 120]], [0, 1])
    detector, tried = build(), {"windows"}

    def chosen(host: str = QUICK, **options: Any) -> Chosen:
        tried.update(options)
        with torch.device("meta"):
            detector.windows = build(host, **({} if "published" in host else {"halo": 0}) | options).windows
        return detector.choose(maps, targets)

    assert len(chosen().core) == 4
    assert len(chosen(core=16).core) == 3
    assert len(chosen(core=24).core) == 2
    assert (chosen(halo=0).grid.window, chosen(halo=4).grid.window) == ((8, 8), (16, 16))
    assert len(chosen(threshold=1.0).core) == 0
    assert len(chosen(threshold=0.0).core) == 12
    assert len(chosen(budget=2).core) == 3
    assert len(chosen(threshold=0.0, budget=2).core) == 4
    assert len(chosen(select="all").core) == 12
    assert len(chosen(select="oracle").core) == 2
    assert len(chosen("yolov5s-published").core) == 4
    assert len(chosen("yolov5s-published", sides=1).core) == 2
    # Four windows of 16 x 16 cells are 1.33 of two maps of 16 x 24.
    assert detector.runs_whole(chosen(halo=4, dense_above=1.3))
    assert not detector.runs_whole(chosen(halo=4, dense_above=1.4))
    assert not detector.runs_whole(chosen(halo=4, dense_above=None))
    detector.train()
    for share in (0.0, 0.5, 1.0):
        found = chosen(share=share)
        own = detector.windows.grid(found.grid.size).cores
        assert len(found.core) == max(min(4, 2 * found.grid.cores), np.ceil(share * 2 * own))
    assert tried == set(WINDOWS) - {"cells", "cell_threshold"}


# Of windows as published an object ends flush with an edge, so they show four cells of each maximum's nine.
@pytest.mark.slow
@pytest.mark.parametrize(("host", "fine"), [("yolov5s", 27), ("yolov5s-published", 12)])
def test_cells_are_chosen_in_windows_and_on_the_whole_map(host: str, fine: int) -> None:
    images, firing = pictures(), [(0, 2, 2), (0, 5, 20), (1, 12, 5)]
    targets = truth([[18, 18, 22, 22], [98, 96, 110, 110]], [0, 0])
    detector = build(host)

    def ran(whole: bool = False, **choice: Any) -> tuple[Any, int]:
        """The raw output, and how many cells ran of the finest level."""
        detector.windows = replace(detector.windows, dense_above=0.0 if whole else None, **choice)
        raw = run(detector, images, firing, targets=targets)
        rows, columns = SIZE if whole else (8 * side for side in detector.windows.grid((16, 24)).window)
        left_out = raw["left_out"][:, 0] if "left_out" in raw else torch.zeros(1)
        return raw, int((rows // 8 * columns // 8 - left_out).sum())

    dense, _ = ran()
    raw, count = ran(cells="seeker")
    assert count == fine
    assert len(raw["left_out"]) == len(raw["origins"]) == 3
    kept = torch.isfinite(raw["objectness"][:, 0])
    assert int(kept.sum()) >= 3 * fine
    for name in ("boxes", "objectness", "scores"):
        one, other = (found[name].transpose(1, 2)[kept] for found in (raw, dense))
        assert torch.allclose(one, other, atol=1e-4)
    whole, count = ran(whole=True)
    assert (count, "origins" in whole) == (27, False)
    assert ran(cells="seeker", cell_threshold=1.0)[1] == 0
    assert ran(cells="oracle", whole=True)[1] == 18
    assert "left_out" not in ran(cells="all")[0]
    # Training computes all cells.
    detector.train()
    detector.windows = replace(detector.windows, cells="seeker")
    assert "left_out" not in detector(images, targets)


@pytest.mark.slow
def test_cells_of_an_oracle_want_the_truth_and_others_a_head_that_can() -> None:
    detector = build("yolov5s", cells="oracle")
    with pytest.raises(FineSpotError, match="cells: an oracle chooses cells by the truth, and there is none here"):
        run(detector, pictures())
    with pytest.raises(FineSpotError, match="cells: the head AnchorFreeHead computes all cells"):
        build("yolov8n", cells="seeker")
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture("esod-yolov5s", 3, cells="seeker", select="all")).eval()
    assert "left_out" not in detector(torch.zeros(1, 3, *SIZE, device="meta"))


@pytest.mark.parametrize(("halo", "reach"), [(0, 1), (4, 2), (8, 4)])
def test_a_core_beside_one_that_does_not_run_keeps_what_lies_in_half_its_halo(halo: int, reach: int) -> None:
    maps = torch.full((1, 1, 48, 48), -9.0)
    maps[0, 0, 20, 20] = maps[0, 0, 20, 40] = 9
    detector = build(core=16, halo=halo)
    found = detector.choose(maps).cores
    assert found[0].tolist() == [16 - reach, 16 - reach, 32, 32 + reach]
    assert found[1, :2].tolist() == [32, 16 - reach]


def test_training_chooses_objects_fire_and_background_on_a_grid_that_moves() -> None:
    detector = build(core=16, share=0.0).train()
    maps = torch.full((2, 1, 64, 64), -9.0)
    maps[1, 0, 40, 40] = 9
    targets = truth([[10, 10, 20, 20], [300, 300, 320, 320]], [0, 0])
    torch.manual_seed(0)
    found = [detector.choose(maps, targets) for _ in range(8)]
    starts = set()
    for one in found:
        homes = (one.picture == 0)[:, None] & (one.cores[:, :2] <= 15 / 8) & (one.cores[:, 2:] > 15 / 8)
        assert homes.all(1).any()
        fires = (one.picture == 1)[:, None] & (one.cores[:, :2] <= 40) & (one.cores[:, 2:] > 40)
        assert fires.all(1).any()
        starts |= set((one.cores[torch.isfinite(one.cores)] % 16).tolist())
    assert starts == {0.0, 4.0, 8.0, 12.0}
    # An oracle learns from objects and background only, and is nothing without a truth.
    detector.windows = replace(detector.windows, select="oracle")
    with pytest.raises(FineSpotError, match="select: an oracle chooses windows by the truth, and there is none here"):
        detector.choose(maps)


def test_training_computes_as_much_wherever_the_grid_begins() -> None:
    detector = build(core=16, share=0.5).train()
    maps, nothing = torch.full((1, 1, 64, 64), -9.0), truth([], [], 1)
    torch.manual_seed(0)
    found = [detector.choose(maps, nothing) for _ in range(12)]
    assert len({one.grid.cores for one in found}) > 1
    assert {len(one.core) for one in found} == {8}


def test_published_training_takes_all_windows_where_they_are() -> None:
    detector = build("yolov5s-published").train()
    chosen = detector.choose(torch.full((2, 1, 64, 64), -9.0), truth([], []))
    assert len(chosen.core) == 128
    assert torch.equal(chosen.origins[:64], chosen.grid.places(torch.device("cpu")).origins)
    assert not detector.runs_whole(chosen)


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", ["yolov8n", "yolo11n", "rtmdet-tiny", pytest.param("gpvit-l1", marks=pytest.mark.full)]
)
def test_windows_of_the_release_run_and_train_on_other_hosts(host: str) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(f"esod-{host}", 3, windows="shifted")).eval()
    assert isinstance(detector, WindowedDetector)
    images = pictures((256, 384))
    raw = run(detector, images, [(1, 5, 9)])
    assert len(raw["boxes"]) == len(raw["origins"]) == int(raw["picks"].sum()) > 0
    assert raw["picks"].flatten(1).any(1).tolist() == [False, True]
    assert raw["picks"].float().mean() < 0.2
    # GPViT's tokens are coarser maps, which must be cut at the same places.
    assert not bool((raw["origins"][:, 1:] % (32 if host.startswith("gpvit") else 8)).any())
    targets = truth([[20, 20, 50, 60], [100, 90, 130, 110]], [0, 1])
    terms = detector.train().loss(detector(images, targets), targets)
    assert int(terms.counts["targets"]) == 2
    terms.total.backward()
    assert all(bool(part.grad.abs().sum() > 0) for part in detector.relay.parameters() if part.grad is not None)
    assert all(bool(torch.isfinite(p.grad).all()) for p in detector.parameters() if p.grad is not None)


@pytest.mark.slow
def test_a_training_step_costs_less_in_proportion() -> None:
    detector = build(core=8, halo=0, share=0.25).train()
    images, targets = pictures((256, 256), 1), truth([[100, 100, 120, 120]], [0], 1)

    def cost() -> float:
        """Of the way there; on the way back the counter takes depth-wise layers for dense ones."""
        torch.manual_seed(3)
        with FlopCounterMode(display=False) as counter:
            raw = detector(images, targets)
        detector.loss(raw, targets).total.backward()
        return float(counter.get_total_flops()) / 1e9

    windows, costs = cost(), window_costs(detector, (256, 256))
    # Of 16 cores the one that holds the object and three more, whatever the seeker says.
    assert windows == pytest.approx(costs.picture + 4 * costs.window, rel=0.02)
    detector.whole = True
    assert windows < 0.45 * cost()


@pytest.mark.slow
@pytest.mark.parametrize("head", ["anchors", "task aligned"])
def test_positives_do_not_depend_on_the_window_nor_on_the_border(head: str) -> None:
    """An object has as many positive points in any window at the same place on the grid, and at the picture's edge as
    many as in the dense network.
    """
    detector = build("yolov5s" if head == "anchors" else "yolov8n", core=8, halo=4, select="all")
    dense = {}
    for left, top in [(20, 20), (84, 20), (20, 84), (148, 84), (62, 62), (126, 60), (189, 125), (0, 0)]:
        targets = truth([[left, top, left + 9, top + 8]], [0], 1)
        for whole in (True, False):
            detector.whole = whole
            raw = run(detector, pictures(batch=1))
            # All alike, so that no prediction is better than another.
            raw["boxes"], raw["scores"] = torch.zeros_like(raw["boxes"]), torch.zeros_like(raw["scores"])
            counts = detector.loss(raw, targets).counts
            assert int(counts["targets"]) == 1
            if whole:
                dense[left, top] = int(counts["positives"])
            else:
                assert int(counts["positives"]) == dense[left, top] > 0
    assert dense[20, 20] == dense[84, 20] == dense[20, 84] == dense[148, 84]


def test_detections_on_the_borders_of_cores_are_found_once() -> None:
    """Every point predicts the box of one object, whose center is on a border or a corner of cores."""
    detector = build("yolov8n", select="all")
    for center in ((64.0, 40.0), (64.0, 64.0), (63.99, 64.0), (128.0, 10.0), (191.9, 127.9)):
        raw = run(detector, pictures(batch=1))
        origins, count = raw["origins"], raw["scores"].shape[2]
        wanted = torch.tensor([center[0] - 5, center[1] - 4, center[0] + 5, center[1] + 4])
        raw["scores"] = torch.full_like(raw["scores"], -9)
        raw["scores"][:, 1, 7] = 2
        local = wanted - origins[:, 1:].repeat(1, 2)
        detector.head.decode = lambda values, anchors: values
        raw["boxes"] = local[:, :, None].expand(-1, 4, count).contiguous()
        ((boxes, _, labels),) = detector.head.select(raw, 0.5)
        assert labels.tolist() == [1]
        assert np.allclose(boxes, wanted.numpy(), atol=1e-3)


@pytest.mark.slow
def test_a_background_cell_counts_the_same_in_windows() -> None:
    """Objectness of pictures without an object: windows that tile the picture weigh as it does, a half of them half."""
    detector = build("yolov5s-published", select="all")
    images, nothing = pictures((256, 256), 1), truth([], [], 1)
    found = {}
    for whole in (True, False):
        detector.whole = whole
        raw = run(detector, images)
        for key in ("boxes", "objectness", "scores"):
            raw[key] = torch.zeros_like(raw[key])
        found[whole] = detector.loss(raw, nothing).terms["obj"]
    assert found[True] == pytest.approx(float(found[False]), rel=1e-5)
    rows = {"boxes", "objectness", "scores", "origins", "cores"}
    fewer = {key: value[: len(value) // 2] if key in rows else value for key, value in raw.items()}
    assert detector.loss(fewer, nothing).terms["obj"] == pytest.approx(float(found[False]) / 2, rel=1e-5)


def test_what_fires_on_one_side_of_a_border_is_found_on_the_other() -> None:
    """A cell fires left of a border at x 128; the box that it leads to has its center at 129."""
    detector = build("yolov8n", halo=0)
    detector.head.decode = lambda values, anchors: values
    wanted = torch.tensor([124.0, 40, 134, 48])
    for cells, windows in (([(0, 5, 15)], 1), ([(0, 5, 15), (0, 5, 16)], 2)):
        raw = run(detector, pictures(batch=1), cells)
        assert len(raw["origins"]) == windows
        raw["scores"] = torch.full_like(raw["scores"], -9)
        raw["scores"][:, 1, 7] = 2
        local = wanted - raw["origins"][:, 1:].repeat(1, 2)
        raw["boxes"] = local[:, :, None].expand(-1, 4, raw["scores"].shape[2]).contiguous()
        ((boxes, _, _),) = detector.head.select(raw, 0.5)
        assert boxes.tolist() == [wanted.tolist()]


@pytest.mark.slow
def test_weights_of_a_host_fit_stem_and_tail() -> None:
    for host in ("yolov8n", "rtmdet-tiny", "retinanet-r50"):
        plain = zoo.build(zoo.architecture(host, 3)).state_dict()
        on_windows = build(host).state_dict()
        assert {key: value.shape for key, value in plain.items()} == {
            key: value.shape for key, value in on_windows.items() if not key.startswith("relay.")
        }
    # The released forms share stages and neck with their hosts, and of the head nothing.
    for host, twin in (("yolov5s-v5", "yolov5s"), ("rtmdet-m", "rtmdet-m-published")):
        with torch.device("meta"):
            plain = zoo.build(zoo.architecture(host, 3)).state_dict()
            released = zoo.build(zoo.architecture(f"esod-{twin}", 3)).state_dict()
        shared = [key for key in released if key.startswith("backbone.")]
        assert all(plain[key].shape == released[key].shape for key in shared)


@pytest.mark.slow
def test_without_data_the_dense_form_runs() -> None:
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture("esod-yolov8n", 3)).eval()
        dense = zoo.build(zoo.architecture("esod-yolov8n", 3, windows=None)).eval()
    assert zoo.count_gflops(detector, (512, 512)) == zoo.count_gflops(dense, (512, 512))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"core": 30}, "core: expected 4 or more that is a multiple of 4 but got 30"),
        ({"halo": 2}, "halo: expected 0 or more that is a multiple of 4 but got 2"),
        ({"core": True}, "core: expected"),
        ({"budget": 0}, "budget: expected 1 or more but got 0"),
        ({"threshold": 1.5}, "threshold: expected a number from 0 to 1 but got 1.5"),
        ({"threshold": "much"}, "threshold: expected a number"),
        ({"dense_above": -1}, "dense_above: expected a number from 0 or more but got -1"),
        ({"core": 8, "halo": 8}, "halo: expected less than the core, 8, but got 8"),
        ({"select": "best"}, "unknown select of windows 'best'"),
        ({"cells": "best"}, "unknown cells of windows 'best'"),
        ({"cells": "seeker", "cell_threshold": 2}, "cell_threshold: expected a number from 0 to 1 but got 2"),
        ({"cell_threshold": 0.2}, "the option cell_threshold has no effect, as cells are not chosen by the seeker"),
        ({"windows": "round"}, "unknown form of windows 'round'"),
        ({"windows": "none", "core": 16}, "the option core has no effect, as the network is dense"),
        ({"relay": None, "budget": 3}, "the option budget has no effect, as the network is dense"),
        ({"relay": None, "windows": "cores"}, "windows are chosen by a seeker, and there is none"),
        ({"windows": "shifted", "halo": 4}, "the option halo has no effect, as windows are of the form shifted"),
        ({"sides": 4}, "the option sides has no effect, as windows are of the form cores"),
        ({"relay": "seeker(stride=16)"}, "windows: expected to cut at the finest level, of stride 8, but got 16"),
        ({"backbone": "timm(name=resnet18)"}, "cannot be cut in two|timm"),
    ],
)
def test_options_out_of_range_or_without_effect_are_refused(options: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(FineSpotError, match=message):
        zoo.build(zoo.architecture("esod-yolov8n", 3, **options))


def test_parts_that_cannot_run_on_windows_are_refused() -> None:
    with torch.device("meta"):
        detr = zoo.build(zoo.architecture("rtdetr-r18", 3))
        with pytest.raises(FineSpotError, match=r"the head .* looks at the whole picture"):
            WindowedDetector(detr.backbone, Seeker(detr.backbone.levels), detr.neck, detr.head)
        own = zoo.build(zoo.architecture("esod-yolov8n", 3))
        with pytest.raises(FineSpotError, match=r"multiples of 32 but got 48 x 64"):
            own(torch.zeros(1, 3, 48, 64))


def test_names_and_options_of_an_architecture() -> None:
    assert zoo.name_of(Architecture("esod-yolov8", "n", 3, {"core": 16})) == "esod-yolov8n (core=16)"
    assert zoo.architecture("esod-yolov8m", 3).family == "esod-yolov8"
    published = zoo.architecture("esod-yolov8m-published", 3)
    assert (published.family, published.options) == ("esod", {"windows": "shifted"})
    assert zoo.normalization_of(zoo.architecture("esod-rtmdet-m-published")) == zoo.RTMDET.normalization
    assert zoo.normalization_of(zoo.architecture("esod-yolov5m")).std == (1.0, 1.0, 1.0)
    assert Windows().budget is None
