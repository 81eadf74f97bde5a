"""The anchor-free head: points, decoding, selection, levels switched off, loss with ignore regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from finespot.errors import FineSpotError
from finespot.nn.heads import AnchorFreeHead, DenseLoss
from finespot.structures import Features, Level, Targets

CLASSES, SIZE = 4, (64, 96)
LEVELS = (Level(8, 8), Level(12, 16), Level(16, 32))


def head(levels: tuple[Level, ...] = LEVELS, seed: int = 0) -> AnchorFreeHead:
    torch.manual_seed(seed)
    return AnchorFreeHead(levels, CLASSES)


def features(levels: tuple[Level, ...] = LEVELS, batch: int = 2) -> Features:
    draw = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(batch, lv.channels, SIZE[0] // lv.stride, SIZE[1] // lv.stride, generator=draw) for lv in LEVELS
    ]
    return Features([x for x, lv in zip(maps, LEVELS) if lv in levels], levels)


def targets(ignore: bool = False, label: int = -1) -> Targets:
    boxes = [[4.0, 4, 30, 24], [50, 10, 58, 20], [20, 20, 28, 31]]
    labels, image, flags = [0, 1, 2], [0, 0, 1], [False] * 3
    if ignore:
        boxes, labels, image, flags = [*boxes, [30.0, 0, 96, 64]], [*labels, label], [*image, 1], [*flags, True]
    return Targets(torch.tensor(boxes), torch.tensor(labels), torch.tensor(image), torch.tensor(flags), 2)


def random_raw(seed: int = 0, batch: int = 2) -> dict[str, torch.Tensor]:
    made = head().eval()
    with torch.no_grad():
        raw = made(features(batch=batch))
    draw = torch.Generator().manual_seed(seed)
    return {
        "boxes": torch.randn(raw["boxes"].shape, generator=draw),
        "scores": 3 * torch.randn(raw["scores"].shape, generator=draw) - 2,
        "anchors": raw["anchors"],
    }


def test_biases_at_first() -> None:
    """Class biases are the logarithm of the share of positives that five objects in 640 x 640 make."""
    for made, want in ((head(), 2.0), (AnchorFreeHead(LEVELS, CLASSES, box_bias=1.0), 1.0)):
        assert all((branch.predict.bias == want).all() for branch in made.box_branches.values())
    fine = AnchorFreeHead((Level(8, 4), *LEVELS), 10)
    first = [branch.predict.bias[0].item() for branch in fine.class_branches.values()]
    assert first == pytest.approx([-10.8435, -9.4572, -8.0709, -6.6846], abs=5e-5)


def test_points_run_from_fine_to_coarse_row_by_row() -> None:
    raw = head().eval()(features())
    anchors = raw["anchors"][0]
    assert anchors[:2].tolist() == [[4, 4, 8], [12, 4, 8]]
    assert anchors[12].tolist() == [4, 12, 8]
    assert anchors[96].tolist() == [8, 8, 16]
    assert anchors[-1].tolist() == [80, 48, 32]


def test_values_of_a_point_come_from_its_cell() -> None:
    made, given = head().eval(), features()
    raw = made(given)
    for i, (name, start) in enumerate({"p3": 0, "p4": 96, "p5": 120}.items()):
        scores = made.class_branches[name](given.maps[i])
        assert torch.allclose(raw["scores"][:, :, start + 2], scores[:, :, 0, 2], atol=1e-6)


def test_points_are_kept_by_size_and_usable_for_training_after_inference() -> None:
    made = head()
    with torch.inference_mode():
        first = made(features())["anchors"]
    raw = made(features())
    assert raw["anchors"] is first
    made.loss(raw, targets()).total.backward()
    for side in range(2, 40):
        made.anchors([torch.zeros(1, 1, side, 2)] * 3)
    assert len(made._points) <= 16


def test_decoding_a_sure_distribution() -> None:
    raw = random_raw()
    raw["boxes"] = torch.full_like(raw["boxes"], -40.0)
    for side, distance in enumerate((1, 2, 3, 4)):
        raw["boxes"][:, 16 * side + distance] = 40
    boxes = head().decode_boxes(raw)
    assert torch.allclose(boxes[0, 0], torch.tensor([4.0 - 8, 4 - 16, 4 + 24, 4 + 32]))
    assert torch.allclose(boxes[1, -1], torch.tensor([80.0 - 32, 48 - 64, 80 + 96, 48 + 128]))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("conf", [0.0, 0.001, 0.3, 0.9, 1.0])
def test_selection_is_what_a_full_decode_gives(conf: float, multi_label: bool) -> None:
    raw, made = random_raw(), head()
    boxes = made.decode_boxes(raw).detach().numpy()
    scores = torch.sigmoid(raw["scores"]).transpose(1, 2).numpy()
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
        assert (got_boxes.dtype, got_scores.dtype, got_labels.dtype) == (np.float32, np.float32, np.int64)
        assert got_boxes.shape == (len(got_scores), 4)


def test_selection_keeps_the_best_of_each_picture() -> None:
    raw, made = random_raw(), head()
    everything, best = made.select(raw, 0.1), made.select(raw, 0.1, max_candidates=5)
    for whole, part in zip(everything, best):
        assert len(part[1]) == 5
        assert all(np.array_equal(a[:5], b) for a, b in zip(whole, part))


def test_selection_reads_both_memory_orders_and_empty_pictures() -> None:
    raw, made = random_raw(), head()
    raw["scores"][1] = -20
    first = made.select(raw, 0.2)
    other = {key: value.transpose(1, 2).contiguous().transpose(1, 2) for key, value in raw.items()}
    for a, b in zip(first, made.select(other, 0.2)):
        assert all(np.array_equal(p, q) for p, q in zip(a, b))
    assert [len(one[1]) for one in made.select(raw, 0.9999)] == [0, 0]
    assert len(first[1][0]) == 0
    assert first[1][0].shape == (0, 4)


def test_levels_are_checked() -> None:
    with pytest.raises(FineSpotError, match="expected 3 flags"):
        head().set_active([True])
    with pytest.raises(FineSpotError, match="at least one"):
        head().set_active([False] * 3)
    with pytest.raises(FineSpotError, match="a class and a level"):
        AnchorFreeHead(LEVELS, 0)
    with pytest.raises(FineSpotError, match="at least twice the one before it but got 8, 12"):
        AnchorFreeHead((LEVELS[0], replace(LEVELS[1], stride=12)), CLASSES)


def test_class_branch_kinds_and_reg_max() -> None:
    plain = AnchorFreeHead(LEVELS, CLASSES, depthwise=False)
    count = sum(p.numel() for p in plain.class_branches.parameters())
    assert count > sum(p.numel() for p in head().class_branches.parameters())
    narrow = AnchorFreeHead(LEVELS, CLASSES, reg_max=8)
    raw = narrow(features())
    assert raw["boxes"].shape[1] == 32
    assert narrow.loss(raw, targets()).total.isfinite()
    assert len(narrow.select(raw, 0.0)[0][0]) == 126


def test_class_rows_name_all_parameters_of_class_height() -> None:
    made = AnchorFreeHead(LEVELS, 37)
    rows = {name for name, p in made.named_parameters() if len(p) == 37 and "predict" in name}
    assert set(made.class_rows()) == rows


@pytest.mark.parametrize("label", [-1, 3])
def test_ignore_regions_quiet_their_negative_points(label: int) -> None:
    raw = random_raw()
    raw["scores"].requires_grad_()
    loss = DenseLoss()(raw, targets(ignore=True, label=label), [8, 16, 32])
    loss.total.backward()
    x, y = raw["anchors"][0, :, 0], raw["anchors"][0, :, 1]
    inside = (x > 30) & (y > 0)
    quiet = raw["scores"].grad[1][:, inside]
    if label < 0:
        assert not quiet.any()
    else:
        assert not quiet[label].any()
        assert (quiet[:label] != 0).all()
    assert (raw["scores"].grad[1][:, ~inside] != 0).all()
    assert (raw["scores"].grad[0] != 0).all()
    assert int(loss.counts["targets"]) == 3


def test_counts_by_size() -> None:
    counts = DenseLoss()(random_raw(), targets(ignore=True), [8, 16, 32]).counts
    sizes = [int(counts[f"targets_{name}"]) for name in ("to_8px", "to_16px", "to_32px", "above_32px")]
    assert sizes == [0, 2, 1, 0]
    assert int(counts["starved"]) == sum(int(v) for k, v in counts.items() if k.startswith("starved_"))


def test_gains_assigner_and_box_loss_take_effect() -> None:
    def terms(**options) -> dict[str, float]:
        found = DenseLoss(**options)(random_raw(), targets(), [8, 16, 32])
        return {name: value.item() for name, value in found.terms.items()}

    plain = terms()
    assert terms(gains={"box": 15.0})["box"] == pytest.approx(2 * plain["box"])
    assert terms(box_loss="giou")["box"] != plain["box"]
    assert terms(assigner="task_aligned(topk=1)")["dfl"] != plain["dfl"]
    seen = {}

    def own(pred, target, *, stride, image_size):
        seen.update(stride=stride, image_size=image_size, shape=pred.shape)
        return (pred - target).abs().mean(1) / stride

    assert terms(box_loss=own)["box"] > 0
    assert seen["image_size"] == SIZE
    assert seen["shape"] == (len(seen["stride"]), 4)
    assert set(seen["stride"].tolist()) <= {8.0, 16.0, 32.0}
    with pytest.raises(FineSpotError, match="unknown loss gain 'boxx'"):
        DenseLoss(gains={"boxx": 1.0})


def test_a_box_loss_with_buffers_is_saved_with_the_head() -> None:
    class Running(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, pred, target, *, stride, image_size):
            return (pred - target).abs().mean(1)

    made = head()
    made.criterion = DenseLoss(box_loss=Running())
    assert "criterion.box_loss.mean" in made.state_dict()
    assert made.loss(made(features()), targets()).terms["box"] > 0


def test_loss_is_float32_inside_autocast() -> None:
    made = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw = made(features())
        loss = made.loss(raw, targets())
    assert raw["scores"].dtype == torch.bfloat16
    assert all(value.dtype == torch.float32 and value.isfinite() for value in loss.terms.values())
    loss.total.backward()
    assert all(p.grad.isfinite().all() for p in made.parameters() if p.requires_grad)
