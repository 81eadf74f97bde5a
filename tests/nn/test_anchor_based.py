"""The head with anchors: points, decoding, selection, biases; its loss against a slow twin, and the loss's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from finespot.boxes.overlap import iou_family
from finespot.data.stats.anchors import YOLOV5
from finespot.errors import FineSpotError
from finespot.nn.heads import AnchorBasedHead, AnchorLoss, DecoupledAnchorHead
from finespot.nn.heads.anchor_based import ANCHORS, AnchorHead, default_anchors
from finespot.nn.heads.points import rows_of
from finespot.structures import Features, Level, Targets

CLASSES, SIZE = 4, (64, 96)
LEVELS = (Level(8, 8), Level(12, 16), Level(16, 32))
POINTS = 3 * (96 + 24 + 6)


def head(levels: tuple[Level, ...] = LEVELS, classes: int = CLASSES, **options) -> AnchorBasedHead:
    torch.manual_seed(0)
    return AnchorBasedHead(levels, classes, **options)


def features(levels: tuple[Level, ...] = LEVELS, batch: int = 2) -> Features:
    draw = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(batch, lv.channels, SIZE[0] // lv.stride, SIZE[1] // lv.stride, generator=draw) for lv in LEVELS
    ]
    return Features([x for x, lv in zip(maps, LEVELS) if lv in levels], levels)


def targets(ignore: int | None = None) -> Targets:
    """Four targets; `ignore` is the class of an ignore region in the second picture."""
    boxes = [[4.0, 4, 30, 24], [50, 10, 58, 20], [10, 6, 80, 60], [20, 20, 28, 31]]
    labels, image, flags = [0, 1, 3, 2], [0, 0, 0, 1], [False] * 4
    if ignore is not None:
        boxes, labels, image, flags = [*boxes, [40.0, 0, 96, 64]], [*labels, ignore], [*image, 1], [*flags, True]
    return Targets(torch.tensor(boxes), torch.tensor(labels), torch.tensor(image), torch.tensor(flags), 2)


def random_raw(classes: int = CLASSES, seed: int = 0) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        raw = head(classes=classes)(features())
    draw = torch.Generator().manual_seed(seed)
    drawn = {key: 2 * torch.randn(raw[key].shape, generator=draw) for key in ("boxes", "objectness", "scores")}
    return {**drawn, "anchors": raw["anchors"]}


def test_points_run_by_level_anchor_row_and_column() -> None:
    anchors = head()(features())["anchors"][0]
    assert len(anchors) == POINTS
    assert anchors[0].tolist() == [4, 4, 8, 10, 13]
    assert anchors[13].tolist() == [12, 12, 8, 10, 13]
    assert anchors[96].tolist() == [4, 4, 8, 16, 30]
    assert anchors[3 * 96].tolist() == [8, 8, 16, 30, 61]
    assert anchors[-1].tolist() == [80, 48, 32, 373, 326]


def test_values_of_a_point_come_from_its_cell_and_anchor() -> None:
    made, given = head(), features()
    raw = made(given)
    for key, branches, width in (("boxes", made.box_branches, 4), ("scores", made.class_branches, CLASSES)):
        cells = branches["p4"](given.maps[1]).unflatten(1, (3, width))
        assert torch.allclose(raw[key][:, :, 3 * 96 + 2 * 24 + 6 + 1], cells[:, 2, :, 1, 1], atol=1e-6)
    assert raw["objectness"].shape == (2, 1, POINTS)


def test_rows_of_several_anchors_are_those_of_one_after_the_other() -> None:
    maps = [torch.randn(2, 6, 3, 4), torch.randn(2, 6, 2, 2)]
    want = torch.cat([part.flatten(2) for x in maps for part in x.split(2, 1)], 2)
    assert torch.equal(rows_of(maps, 3), want)
    assert torch.equal(rows_of(maps), torch.cat([x.flatten(2) for x in maps], 2))


def test_decoding() -> None:
    made, raw = head(), random_raw()
    raw["boxes"].zero_()
    boxes = made.decode_boxes(raw)
    middle, sides = raw["anchors"][0, :, :2], raw["anchors"][0, :, 3:]
    assert torch.allclose(boxes[0], torch.cat((middle - sides / 2, middle + sides / 2), 1), atol=1e-4)
    raw["boxes"][:] = torch.tensor([40.0, -40, 40, -40])[:, None]
    far = made.decode_boxes(raw)[1, 0]
    assert far.tolist() == pytest.approx([4 + 8 - 20, 4 - 8, 4 + 8 + 20, 4 - 8], abs=1e-4)


def test_usual_anchors_are_those_that_data_sets_are_measured_with() -> None:
    assert [pair for stride in (8, 16, 32) for pair in ANCHORS[stride]] == [tuple(pair) for pair in YOLOV5.tolist()]
    fine = AnchorBasedHead((Level(8, 4), *LEVELS), 2)
    assert [tuple(2 * side for side in pair) for pair in fine.anchor_sizes[0]] == list(ANCHORS[8])
    with pytest.raises(FineSpotError, match="no usual anchors for stride 64; give the anchors"):
        default_anchors([Level(8, 64)])


@pytest.mark.parametrize(
    "anchors",
    [
        [[(1, 2)], [(3, 4)]],
        [[(1, 2)], [(3, 4)], [(5, 6), (7, 8)]],
        [[], [], []],
        [[(1, 2)], [(3, 0)], [(5, 6)]],
        [[(1, 2)], [(3, math.nan)], [(5, 6)]],
        [[(1, 2)], [(3, 4, 5)], [(5, 6)]],
        [1, 2, 3],
        "auto",
    ],
)
def test_anchors_are_checked(anchors) -> None:
    with pytest.raises(FineSpotError, match=r"anchors: expected .* pairs in pixels for 3 levels"):
        head(anchors=anchors)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("conf", [0.0, 0.001, 0.2, 0.6, 1.0])
def test_selection_is_what_a_full_decode_gives(conf: float, multi_label: bool) -> None:
    raw, made = random_raw(), head()
    boxes = made.decode_boxes(raw).numpy()
    scores = (torch.sigmoid(raw["scores"]) * torch.sigmoid(raw["objectness"])).mT.numpy()
    for b, (got_boxes, got_scores, got_labels) in enumerate(made.select(raw, conf, multi_label=multi_label)):
        if multi_label:
            point, label = np.nonzero(scores[b] >= np.float32(conf))
        else:
            label = scores[b].argmax(1)
            point = np.flatnonzero(scores[b].max(1) >= np.float32(conf))
            label = label[point]
        order = np.argsort(-scores[b][point, label], kind="stable")
        assert got_labels.tolist() == label[order].tolist()
        assert got_scores == pytest.approx(scores[b][point, label][order], abs=1e-6)
        assert got_boxes == pytest.approx(boxes[b][point[order]], abs=1e-3)


@pytest.mark.parametrize("classes", [1, 10])
def test_initial_biases(classes: int) -> None:
    made = AnchorBasedHead((Level(4000, 8), Level(4000, 16)), classes)
    # Torch's own biases are below 1 / sqrt(4000).
    for name, stride in (("p3", 8), ("p4", 16)):
        judged = made.objectness_branches[name].bias
        assert judged.tolist() == pytest.approx([math.log(8 / (640 / stride) ** 2)] * 3, abs=0.016)
        shift = math.log(0.6 / (classes - 0.99999))
        assert made.class_branches[name].bias.tolist() == pytest.approx([shift] * 3 * classes, abs=0.016)
        assert made.box_branches[name].bias.abs().max() < 0.016


def test_class_rows_hold_the_classes_of_all_anchors() -> None:
    made = head(classes=37)
    rows = {name for name, p in made.named_parameters() if len(p) == 3 * 37}
    assert set(made.class_rows()) == rows
    assert made.class_repeats == 3


def slow_loss(raw: dict[str, torch.Tensor], truth: Targets, quiet: torch.Tensor) -> dict[str, float]:
    """The loss by loops over targets, anchors and cells; `quiet` (N,) are points that bear no objectness loss."""
    boxes = head().decode_boxes(raw).double()
    logits, objectness = raw["scores"].double(), raw["objectness"].double()[:, 0]
    classes = logits.shape[1]
    sums = {"box": 0.0, "obj": 0.0, "cls": 0.0}
    start = 0
    for stride, balance in ((8, 4.0), (16, 1.0), (32, 0.4)):
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        aim = torch.zeros(2, 3 * rows * columns, dtype=torch.float64)
        box_costs, class_costs = [], []
        for t in range(len(truth.boxes)):
            x1, y1, x2, y2 = truth.boxes[t].tolist()
            gx, gy = (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride
            # A neighbor is where half a cell leads, so a center on a cell's edge has that cell twice; it counts once.
            places = [(gx, gy)]
            places += [(gx - 0.5, gy)] if gx % 1 < 0.5 and gx > 1 else []
            places += [(gx, gy - 0.5)] if gy % 1 < 0.5 and gy > 1 else []
            places += [(gx + 0.5, gy)] if (columns - gx) % 1 < 0.5 and columns - gx > 1 else []
            places += [(gx, gy + 0.5)] if (rows - gy) % 1 < 0.5 and rows - gy > 1 else []
            cells = {(int(x), int(y)) for x, y in places}
            for a, (width, height) in enumerate(ANCHORS[stride]):
                w, h = x2 - x1, y2 - y1
                if truth.ignore[t] or max(w / width, width / w, h / height, height / h) >= 4:
                    continue
                for x, y in cells:
                    b, point = int(truth.image[t]), (a * rows + y) * columns + x
                    overlap = iou_family(boxes[b, start + point], truth.boxes[t].double(), "ciou").item()
                    box_costs.append(1 - overlap)
                    aim[b, point] = max(aim[b, point].item(), overlap)
                    one_hot = F.one_hot(truth.labels[t], classes).double()
                    class_costs.append(F.binary_cross_entropy_with_logits(logits[b, :, start + point], one_hot).item())
        part = slice(start, start + 3 * rows * columns)
        costs = F.binary_cross_entropy_with_logits(objectness[:, part], aim, reduction="none")
        heard = torch.ones_like(costs, dtype=torch.bool)
        heard[1] = ~(quiet[part] & (aim[1] == 0))
        sums["obj"] += balance * costs[heard].mean().item()
        sums["box"] += sum(box_costs) / max(len(box_costs), 1)
        sums["cls"] += sum(class_costs) / max(len(class_costs), 1) if classes > 1 else 0
        start += 3 * rows * columns
    return {"box": 0.05 * sums["box"], "obj": sums["obj"] * (96 / 640) ** 2, "cls": 0.5 * classes / 80 * sums["cls"]}


@pytest.mark.parametrize("classes", [1, CLASSES])
@pytest.mark.parametrize("ignore", [None, -1, 0])
def test_loss_is_that_of_loops(classes: int, ignore: int | None) -> None:
    raw, truth = random_raw(classes), targets(ignore)
    truth.labels.clamp_(max=classes - 1)
    x, y = raw["anchors"][0, :, 0], raw["anchors"][0, :, 1]
    quiet = (x > 40) & (x < 96) & (y > 0) & (y < 64) if ignore is not None else torch.zeros(POINTS, dtype=torch.bool)
    found = AnchorLoss()(raw, truth, [8, 16, 32])
    want = slow_loss(raw, truth, quiet)
    assert {name: value.item() for name, value in found.terms.items()} == pytest.approx(want, rel=1e-5)
    assert int(found.counts["targets"]) == 4


def test_ignore_regions_quiet_their_negative_points() -> None:
    raw = random_raw()
    raw["objectness"].requires_grad_()
    AnchorLoss()(raw, targets(ignore=-1), [8, 16, 32]).total.backward()
    x = raw["anchors"][0, :, 0]
    assert not raw["objectness"].grad[1, 0, x > 40].any()
    assert (raw["objectness"].grad[1, 0, x < 40] != 0).all()
    assert (raw["objectness"].grad[0] != 0).all()


def test_of_several_targets_of_a_point_the_best_overlap_is_its_objectness() -> None:
    raw = random_raw()
    two = Targets(
        torch.tensor([[8.0, 8, 24, 24], [10, 8, 26, 26]]),
        torch.tensor([0, 1]),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(2, dtype=torch.bool),
        2,
    )
    swapped = Targets(two.boxes.flip(0), two.labels.flip(0), two.image, two.ignore, 2)
    first, second = (AnchorLoss()(raw, one, [8, 16, 32]).terms for one in (two, swapped))
    assert {k: v.item() for k, v in first.items()} == pytest.approx({k: v.item() for k, v in second.items()}, rel=1e-6)
    assert first["obj"].item() == pytest.approx(slow_loss(raw, two, torch.zeros(POINTS, dtype=torch.bool))["obj"])


def test_gains_assigner_and_box_loss_take_effect() -> None:
    def terms(**options) -> dict[str, float]:
        found = AnchorLoss(**options)(random_raw(), targets(), [8, 16, 32])
        return {name: value.item() for name, value in found.terms.items()}

    plain = terms()
    for name in plain:
        assert terms(gains={name: 2 * AnchorLoss.GAINS[name]})[name] == pytest.approx(2 * plain[name])
    giou = terms(box_loss="giou")
    assert giou["box"] != plain["box"]
    assert (giou["obj"], giou["cls"]) == (plain["obj"], plain["cls"])
    assert terms(assigner="anchor_ratio(ratio=2)")["cls"] != plain["cls"]
    assert all(math.isfinite(value) for value in terms(assigner="task_aligned").values())
    with pytest.raises(FineSpotError, match="unknown loss gain 'dfl'"):
        AnchorLoss(gains={"dfl": 1.0})


def test_gains_follow_levels_classes_and_the_side() -> None:
    """On a fourth level objectness counts 4, 1, 0.25, 0.06, and all gains are three quarters."""
    levels = (*LEVELS, Level(16, 64))
    anchors = [[(10, 13)], [(30, 61)], [(116, 90)], [(200, 200)]]
    made = AnchorBasedHead(levels, 2, anchors=anchors)
    maps = [torch.zeros(1, lv.channels, 128 // lv.stride, 128 // lv.stride) for lv in levels]
    raw = {
        key: torch.zeros_like(value) if key != "anchors" else value
        for key, value in made(Features(maps, levels)).items()
    }
    none = torch.zeros(0, dtype=torch.int64)
    nothing = Targets(torch.zeros(0, 4), none, none, none.bool(), 1)
    obj = made.loss(raw, nothing).terms["obj"].item()
    assert obj == pytest.approx(math.log(2) * (4 + 1 + 0.25 + 0.06) * 0.75 * (128 / 640) ** 2)


def test_loss_is_float32_inside_autocast() -> None:
    made = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw = made(features())
        loss = made.loss(raw, targets())
    assert raw["scores"].dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 and value.isfinite() for value in loss.terms.values())
    loss.total.backward()
    assert all(p.grad.isfinite().all() for p in made.parameters())


def test_gradients_stay_finite_far_out() -> None:
    raw = random_raw()
    for sign in (-1, 1):
        wild = {key: (value * 0 + sign * 1e4).requires_grad_() for key, value in raw.items() if key != "anchors"}
        AnchorLoss()({**wild, "anchors": raw["anchors"]}, targets(), [8, 16, 32]).total.backward()
        assert all(value.grad.isfinite().all() for value in wild.values())


@pytest.mark.parametrize("kind", [AnchorBasedHead, DecoupledAnchorHead])
@pytest.mark.parametrize("objects", [True, False])
def test_one_class_has_no_class_loss_but_gradients_everywhere(kind: type[AnchorHead], objects: bool) -> None:
    """Processes that exchange gradients wait for those of every parameter."""
    torch.manual_seed(0)
    made, truth = kind(LEVELS, 1), targets()
    truth = Targets(truth.boxes, torch.zeros_like(truth.labels), truth.image, truth.ignore, truth.batch)
    none = torch.zeros(0, dtype=torch.int64)
    nothing = Targets(torch.zeros(0, 4), none, none, none.bool(), truth.batch)
    loss = made.loss(made(features()), truth if objects else nothing)
    assert loss.terms["cls"].item() == 0
    loss.total.backward()
    assert [name for name, p in made.named_parameters() if p.grad is None] == []
