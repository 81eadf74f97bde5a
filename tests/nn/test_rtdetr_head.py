"""The head of RT-DETR: query selection, denoising queries, refinement of boxes, decoding, selection."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from finespot.boxes.normalized import to_shares
from finespot.errors import FineSpotError
from finespot.nn.heads import RTDETRHead
from finespot.nn.heads.denoising import MOST_OBJECTS, Denoising, objects_by_picture, visibility
from finespot.nn.heads.queries import QuerySelection, make_anchors
from finespot.nn.layers import YOLO_NORM
from finespot.structures import Features, Level, Targets

CLASSES, SIZE, WIDTH = 3, (64, 96), 16
LEVELS = (Level(8, 8), Level(12, 16), Level(16, 32))
EXTENT = torch.tensor([[96.0, 64, 96, 64]])
CPU = torch.device("cpu")


def head(seed: int = 0, settled: bool = True, **options) -> RTDETRHead:
    """A small head; `settled` moves the last box layers off their zeros."""
    torch.manual_seed(seed)
    made = RTDETRHead(
        LEVELS, CLASSES, **{"queries": 20, "layers": 3, "width": WIDTH, "heads": 4, "feedforward": 24, **options}
    )
    for mlp in (made.selection.boxes, *made.box_layers) if settled else ():
        nn.init.normal_(mlp.layers[-1].weight, std=0.3)
    return made


def features(batch: int = 2, size: tuple[int, int] = SIZE) -> Features:
    draw = torch.Generator().manual_seed(1)
    shapes = [(batch, lv.channels, size[0] // lv.stride, size[1] // lv.stride) for lv in LEVELS]
    return Features([torch.randn(shape, generator=draw) for shape in shapes], LEVELS)


def targets(per_picture: tuple[int, ...] = (3, 1), ignore: int = 0, seed: int = 0) -> Targets:
    draw = torch.Generator().manual_seed(seed)
    count = sum(per_picture)
    low = torch.rand(count, 2, generator=draw) * torch.tensor([70.0, 40])
    return Targets(
        torch.cat((low, low + 4 + 16 * torch.rand(count, 2, generator=draw)), 1),
        torch.randint(0, CLASSES, (count,), generator=draw),
        torch.repeat_interleave(torch.arange(len(per_picture)), torch.tensor(per_picture)),
        torch.arange(count) < ignore,
        len(per_picture),
    )


def test_anchors_of_rectangles_divide_x_by_the_width() -> None:
    anchors = make_anchors([(8, 12), (4, 6), (2, 3)], (8, 16, 32), CPU)
    shares = torch.sigmoid(anchors.logits[0])
    assert shares[0].tolist() == pytest.approx([0.5 / 12, 0.5 / 8, 0.05, 0.05])
    assert shares[11].tolist() == pytest.approx([11.5 / 12, 0.5 / 8, 0.05, 0.05])
    assert shares[96].tolist() == pytest.approx([0.5 / 6, 0.5 / 4, 0.1, 0.1])
    assert shares[-1].tolist() == pytest.approx([2.5 / 3, 1.5 / 2, 0.2, 0.2])
    assert anchors.valid.all()
    assert anchors.extent.tolist() == [[96, 64, 96, 64]]
    assert torch.sigmoid(make_anchors([(16, 24)], (4,), CPU).logits)[0, 0, 2] == pytest.approx(0.025)


@pytest.mark.parametrize(("cells", "valid"), [(80, 78**2), (160, 156**2)])
def test_cells_at_the_border_have_no_anchor(cells: int, valid: int) -> None:
    anchors = make_anchors([(cells, cells)], (8,), CPU)
    assert int(anchors.valid.sum()) == valid
    assert torch.isfinite(anchors.logits).all()


def test_selection_takes_the_best_cells_in_order_and_those_without_anchor_last() -> None:
    torch.manual_seed(0)
    selection = QuerySelection(WIDTH, CLASSES, 6500, (8,))
    nn.init.normal_(selection.scores.weight)
    memory = torch.randn(1, 6400, WIDTH) * 3
    anchors = selection.anchors(memory, [(80, 80)])
    found = selection(memory, anchors)
    assert found.scores.shape == (1, 6400, CLASSES)  # a query a cell, not more
    best = found.scores[0].amax(1)
    valid = int(anchors.valid.sum())
    assert (best[:valid].diff() <= 0).all()
    content = selection.norm(selection.mix(memory))
    ranked = selection.scores(content)[0].amax(1)[anchors.valid[0, :, 0]].sort(descending=True).values
    assert torch.allclose(best[:valid], ranked, atol=1e-5)
    # The others carry no features, all the same.
    assert torch.equal(found.content[0, valid:], found.content[0, valid:][:1].expand(6400 - valid, -1))
    assert torch.isfinite(found.boxes).all()


def test_anchors_are_kept_by_size_and_usable_by_autograd() -> None:
    made = head()
    with torch.inference_mode():
        made.eval()(features())
        made(features(size=(32, 32)))
    assert len(made.selection._anchors) == 2
    raw = made.train()(features(), targets())
    made.loss(raw, targets()).total.backward()
    assert len(made.selection._anchors) == 2


def test_raw_while_training_and_predicting() -> None:
    made, truth = head(denoising=6), targets((3, 1))
    raw = made.train()(features(), truth)
    # 6 // 3 groups of 3 positives and 3 negatives.
    assert {key: tuple(value.shape) for key, value in raw.items()} == {
        "boxes": (2, 20, 4),
        "scores": (2, CLASSES, 20),
        "extent": (1, 4),
        "auxiliary_boxes": (2, 3, 20, 4),
        "auxiliary_scores": (2, 3, CLASSES, 20),
        "denoising_boxes": (2, 3, 12, 4),
        "denoising_scores": (2, 3, CLASSES, 12),
        "denoising_targets": (2, 12),
    }
    assert not [key for key in made(features()) if "denoising" in key]
    assert not [key for key in head(denoising=0).train()(features(), truth) if "denoising" in key]
    assert set(made.eval()(features(), truth)) == {"boxes", "scores", "extent"}


def test_denoising_does_not_change_what_the_queries_say() -> None:
    made = head().train()
    made.project.eval()  # batch norm, which tells training from prediction
    alone, beside = made(features()), made(features(), targets())
    for key in ("boxes", "scores", "auxiliary_boxes", "auxiliary_scores"):
        assert torch.allclose(alone[key], beside[key], atol=1e-5)
    training, predicting = alone, made.eval()(features())
    assert torch.allclose(training["boxes"], predicting["boxes"], atol=1e-5)
    assert torch.allclose(training["scores"], predicting["scores"], atol=1e-5)


def test_groups_do_not_see_each_other() -> None:
    """A change in one group changes the outputs of that group only."""
    made, truth = head(denoising=6).train(), targets((3, 1))
    torch.manual_seed(3)
    noised = made.denoising(truth, EXTENT, 20)
    disturbed = noised._replace(content=noised.content.clone())
    disturbed.content[:, 2] += 1.0
    outputs = []
    for given in (noised, disturbed):
        made.denoising.forward = lambda *_, given=given: given
        outputs.append(made(features(), truth))
    changed = (outputs[0]["denoising_scores"] - outputs[1]["denoising_scores"]).abs().amax((0, 1, 2)) > 1e-6
    assert changed[:6].all()
    assert not changed[6:].any()
    assert torch.equal(outputs[0]["scores"], outputs[1]["scores"])


def test_visibility() -> None:
    allowed = visibility(2, 3, 4, CPU)
    assert allowed[:3, :3].all()
    assert allowed[3:6, 3:6].all()
    assert not allowed[:3, 3:6].any()
    assert not allowed[3:6, :3].any()
    assert not allowed[6:, :6].any()
    assert allowed[:, 6:].all()


def test_positives_and_negatives_of_every_group() -> None:
    torch.manual_seed(0)
    truth = targets((4, 2, 0), ignore=1)  # three and two objects
    denoising = Denoising(CLASSES, WIDTH, 100)
    nn.init.normal_(denoising.padding)
    noised = denoising(truth, EXTENT, 20)
    groups = 100 // 3
    assert noised.targets.shape == (3, groups * 2 * 3)
    rows = noised.targets.view(3, groups, 2, 3)
    assert torch.equal(
        rows[:, :, 0], torch.tensor([[1, 2, 3], [4, 5, -1], [-1, -1, -1]])[:, None].expand(-1, groups, -1)
    )
    assert (rows[:, :, 1] == -1).all()
    shares = torch.sigmoid(noised.boxes).view(3, groups, 2, 3, 4)
    want = to_shares(truth.boxes, EXTENT)
    for picture, place, row in ((0, 0, 1), (0, 2, 3), (1, 1, 5)):
        made, aim = shares[picture, :, :, place], want[row]
        edges = torch.cat((made[..., :2] - made[..., 2:] / 2, made[..., :2] + made[..., 2:] / 2), -1)
        own = torch.cat((aim[:2] - aim[2:] / 2, aim[:2] + aim[2:] / 2))
        moves = (edges - own).abs() / (aim[2:] / 2).repeat(2)
        assert moves[:, 0].max() <= 1.01
        assert moves[:, 0].max() > 0.5
        assert moves[:, 1].max() > 1.01
        assert (made[..., 2:] >= 0).all()
    empty = noised.content.view(3, groups, 2, 3, WIDTH)[1, :, :, 2]
    assert torch.equal(empty, denoising.padding.expand_as(empty))
    assert torch.isfinite(noised.boxes).all()


def test_a_quarter_of_the_labels_is_drawn_anew() -> None:
    torch.manual_seed(0)
    denoising = Denoising(50, WIDTH, 4000)
    truth = targets((1,))
    noised = denoising(truth, EXTENT, 20)
    own = denoising.labels.weight[truth.labels[0]]
    assert 0.2 < float((noised.content[0] != own).any(1).float().mean()) < 0.3


def test_crowds_are_bounded_and_drawn_anew() -> None:
    truth = targets((MOST_OBJECTS + 50, 2))
    torch.manual_seed(0)
    first, second = objects_by_picture(truth), objects_by_picture(truth)
    torch.manual_seed(0)
    assert torch.equal(first, objects_by_picture(truth))
    assert first.shape == (2, MOST_OBJECTS)
    assert not torch.equal(first, second)
    assert len(set(first[0].tolist())) == MOST_OBJECTS
    assert (truth.image[first[0]] == 0).all()
    assert sorted(first[1, :2].tolist()) == [MOST_OBJECTS + 50, MOST_OBJECTS + 51]
    raw = head().train()(features(), truth)
    assert raw["denoising_targets"].shape == (2, 2 * MOST_OBJECTS)


def test_a_layer_learns_from_the_next_one_too_but_no_further() -> None:
    """Look forward twice: the box of layer 2 reaches the corrections of layers 2 and 1, not of 0."""
    made = head(denoising=0).train()
    raw = made(features())
    last = [mlp.layers[-1].weight for mlp in made.box_layers]
    selected = made.selection.boxes.layers[-1].weight
    by_layer = torch.autograd.grad(raw["boxes"].sum(), last, retain_graph=True)
    assert [bool(gradient.abs().sum() > 0) for gradient in by_layer] == [False, True, True]
    # The selection's boxes are given as they are: the first layer's loss does not reach them.
    wanted = [last[0], selected]
    first, before = torch.autograd.grad(raw["auxiliary_boxes"][:, 1].sum(), wanted, retain_graph=True)
    assert first.abs().sum() > 0
    assert before.abs().sum() == 0
    assert torch.autograd.grad(raw["auxiliary_boxes"][:, 0].sum(), selected)[0].abs().sum() > 0


def test_gradients_reach_every_parameter() -> None:
    made, truth = head(denoising=20), targets((6, 9))
    made.train()
    made.loss(made(features(), truth), truth).total.backward()
    assert [key for key, p in made.named_parameters() if not p.requires_grad] == ["denoising.padding"]
    dry = [key for key, p in made.named_parameters() if p.requires_grad and not bool(p.grad.abs().sum() > 0)]
    # Adding a constant to all keys changes no attention.
    assert [key for key in dry if not key.endswith("attention.key.bias")] == []


def test_every_parameter_takes_part_without_objects_too() -> None:
    """Else processes that exchange gradients would wait for each other."""
    made, truth = head(denoising=20).train(), targets((2, 2), ignore=4)
    made.loss(made(features(), truth), truth).total.backward()
    assert [key for key, p in made.named_parameters() if p.grad is None] == ["denoising.padding"]
    assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)


def test_decoded_boxes_are_pixels_of_the_input() -> None:
    raw = {
        "boxes": torch.tensor([[[0.5, 0.25, 0.25, 0.5], [0.1, 0.1, 0.1, 0.1]]]),
        "scores": torch.tensor([[[2.0, -4], [1.0, 0], [-5, -5]]]),
        "extent": EXTENT,
    }
    made = head()
    assert made.decode_boxes(raw)[0, 0].tolist() == [36, 0, 60, 32]
    (boxes, scores, labels) = made.select(raw, 0.3)[0]
    assert boxes[0].tolist() == [36, 0, 60, 32]
    assert labels.tolist() == [0, 1]
    assert scores.tolist() == pytest.approx([1 / (1 + np.exp(-2)), 0.5])
    (boxes, scores, labels) = made.select(raw, 0.3, multi_label=True)[0]
    # Two queries, so the best two of six pairs: both are of the first query.
    assert labels.tolist() == [0, 1]
    assert boxes[:, 0].tolist() == [36, 36]
    assert len(made.select(raw, 0.3, max_candidates=1, multi_label=True)[0][0]) == 1
    assert len(made.select(raw, 0.9, multi_label=True)[0][0]) == 0


def test_what_rows_belong_to_classes() -> None:
    made = head()
    parameters = dict(made.named_parameters())
    assert len(made.class_rows()) == 9
    assert all(len(parameters[name]) == CLASSES for name in made.class_rows())
    assert len(head(denoising=0).class_rows()) == 8


def test_class_scores_start_at_one_percent_for_any_number_of_classes() -> None:
    made = head(settled=False)
    for linear in (made.selection.scores, *made.class_layers):
        assert torch.sigmoid(linear.bias).tolist() == pytest.approx([0.01] * CLASSES)
    raw = made.train()(features())
    # And boxes where they were.
    assert torch.allclose(raw["boxes"], raw["auxiliary_boxes"][:, 0], atol=1e-4)


def test_in_autocast_boxes_stay_exact() -> None:
    made = head().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        raw = made(features())
    assert raw["boxes"].dtype == torch.float32
    assert made.decode_boxes(raw).dtype == torch.float32


def test_numbers_that_make_no_head_are_refused() -> None:
    with pytest.raises(FineSpotError, match="expected queries to be a number of 1 or more but got 0"):
        head(queries=0)
    with pytest.raises(FineSpotError, match="expected a class and a level or more but got 0"):
        RTDETRHead(LEVELS, 0)


def test_prior_and_norm_are_choices() -> None:
    usual, other = head(), head(prior=0.5, norm=YOLO_NORM)
    for made, logit, eps in ((usual, -4.59512, 1e-5), (other, 0, 1e-3)):
        for layer in (made.selection.scores, *made.class_layers):
            assert layer.bias.tolist() == pytest.approx([logit] * CLASSES, abs=1e-5)
        assert {part.bn.eps for part in made.project.values()} == {eps}
    with pytest.raises(FineSpotError, match="expected prior to be a probability above 0 and below 1 but got 1"):
        head(prior=1.0)
