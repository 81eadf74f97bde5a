"""The decoupled head with anchors: against plain torch, against YOLOv5's head, counts and biases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from finespot.nn.heads import AnchorBasedHead, AnchorLoss, DecoupledAnchorHead
from finespot.nn.heads.single_cells import MOST
from finespot.nn.layers.conv import Conv
from finespot.nn.windows import cells_of_level
from finespot.structures import Features, Level, Targets

CLASSES, SIZE = 4, (64, 96)
LEVELS = (Level(8, 8), Level(12, 16), Level(16, 32))
POINTS = 3 * (96 + 24 + 6)


def head(classes: int = CLASSES, **options) -> DecoupledAnchorHead:
    torch.manual_seed(0)
    return DecoupledAnchorHead(LEVELS, classes, **options)


def features() -> Features:
    draw = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, lv.channels, SIZE[0] // lv.stride, SIZE[1] // lv.stride, generator=draw) for lv in LEVELS]
    return Features(maps, LEVELS)


def targets() -> Targets:
    boxes = torch.tensor([[4.0, 4, 30, 24], [50, 10, 58, 20], [10, 6, 80, 60], [20, 20, 28, 31]])
    return Targets(boxes, torch.tensor([0, 1, 3, 2]), torch.tensor([0, 0, 0, 1]), torch.zeros(4, dtype=torch.bool), 2)


def literal(state: dict[str, Tensor], name: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Box, objectness and class maps of one level (eval mode), written out."""

    def conv(key: str, x: Tensor, padding: int) -> Tensor:
        x = F.conv2d(x, state[f"{key}.conv.weight"], padding=padding)
        mean, var, weight, bias = (
            state[f"{key}.bn.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / torch.sqrt(var + 1e-3) * weight + bias
        return x * torch.sigmoid(x)

    def last(key: str, x: Tensor) -> Tensor:
        return F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"])

    stem = conv(f"stems.{name}", x, 0)
    located = conv(f"box_branches.{name}", stem, 1)
    scores = last(f"class_branches.{name}.predict", conv(f"class_branches.{name}.first", stem, 1))
    return last(f"box_predictions.{name}", located), last(f"objectness.{name}", located), scores


def test_output_is_that_of_the_layers_written_out() -> None:
    made, given = head().eval(), features()
    for buffer in made.buffers():
        if buffer.is_floating_point():
            buffer += 0.3 * torch.rand(buffer.shape, generator=torch.Generator().manual_seed(2))
    state = {key: value.detach() for key, value in made.state_dict().items()}
    with torch.no_grad():
        raw = made(given)
    start = 0
    for level, x in zip(LEVELS, given.maps):
        for key, cells in zip(("boxes", "objectness", "scores"), literal(state, level.name, x)):
            # Anchor by anchor, all values of one anchor side by side.
            width = cells.shape[1] // 3
            want = torch.cat([cells[:, a * width : (a + 1) * width].flatten(2) for a in range(3)], 2)
            assert torch.allclose(raw[key][..., start : start + want.shape[2]], want, rtol=0, atol=1e-5)
        start += want.shape[2]
    assert start == POINTS == raw["anchors"].shape[1]


def test_points_and_boxes_are_those_of_the_plain_head() -> None:
    torch.manual_seed(0)
    plain, made = AnchorBasedHead(LEVELS, CLASSES), head()
    raw = made(features())
    assert torch.equal(raw["anchors"], plain(features())["anchors"])
    assert torch.equal(made.decode_boxes(raw), plain.decode_boxes(raw))
    assert isinstance(made.criterion, AnchorLoss)
    assert made.loss(raw, targets()).terms.keys() == {"box", "obj", "cls"}
    assert made.loss(raw, targets()).total == plain.loss(raw, targets()).total


def test_parameters_are_those_of_the_released_head() -> None:
    with torch.device("meta"):
        made = DecoupledAnchorHead([Level(192, 8), Level(384, 16), Level(768, 32)], 10)
    assert sum(p.numel() for p in made.parameters()) == 14_777_415


def test_anchors_are_an_option() -> None:
    made = head(anchors=[[(4, 5), (6, 7)], [(9, 9), (12, 16)], [(30, 20), (40, 60)]])
    assert made(features())["scores"].shape == (2, CLASSES, 2 * (96 + 24 + 6))
    assert made.class_repeats == 2
    assert len(made.class_branches["p4"].predict.bias) == 2 * CLASSES


@pytest.mark.parametrize("classes", [1, 4])
def test_predictions_start_at_a_few_objects_in_a_picture(classes: int) -> None:
    made = head(classes)
    for stride, name in ((8, "p3"), (16, "p4"), (32, "p5")):
        judge, classify = made.objectness[name].bias, made.class_branches[name].predict.bias
        # What torch draws for a bias is within 1 / sqrt(channels) of 0.
        near = 1 / math.sqrt(LEVELS[("p3", "p4", "p5").index(name)].channels) + 1e-6
        assert (judge - math.log(8 / (640 / stride) ** 2)).abs().max() <= near
        assert (classify - math.log(0.6 / (classes - 0.99999))).abs().max() <= near


def test_gradients_reach_every_parameter_and_class_rows_are_its_last_layers() -> None:
    made = head().train()
    made.loss(made(features()), targets()).total.backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in made.parameters())
    rows = dict(made.named_parameters())
    assert [len(rows[key]) for key in made.class_rows()] == [3 * CLASSES] * 6
    changed = {key: p.shape for key, p in head(CLASSES + 1).named_parameters()}
    assert {key for key, p in rows.items() if changed[key] != p.shape} == set(made.class_rows())


def test_a_level_that_is_off_is_not_computed() -> None:
    made = head().eval()
    made.set_active((True, False, True))
    with torch.no_grad():
        some = made(features())
        made.set_active((True, True, True))
        every = made(features())
    kept = torch.cat((torch.arange(3 * 96), torch.arange(3 * 120, POINTS)))
    assert all(torch.equal(some[key], every[key].index_select(1 if key == "anchors" else 2, kept)) for key in some)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.3, 0.9])
def test_single_cells_have_the_values_of_the_map(share: float, fused: bool) -> None:
    made, given = head().eval(), features()
    for buffer in made.buffers():
        if buffer.is_floating_point():
            buffer += 0.3 * torch.rand(buffer.shape, generator=torch.Generator().manual_seed(2))
    if fused:
        for module in made.modules():
            if isinstance(module, Conv):
                module.fuse()
    likely = torch.rand(2, 1, 8, 12, generator=torch.Generator().manual_seed(3)) < share
    with torch.no_grad():
        want, found = made(given), made.at_cells(given, likely)
    masks = [cells_of_level(likely, (x.shape[2], x.shape[3])) for x in given.maps]
    kept = torch.cat([mask.flatten(1).repeat(1, 3) for mask in masks], 1)
    assert kept.any() == (share > 0)
    for name in ("boxes", "objectness", "scores"):
        one, other = (raw[name].transpose(1, 2) for raw in (found, want))
        assert torch.allclose(one[kept], other[kept], atol=1e-5)
        assert (one[~kept] == (0 if name == "boxes" else -math.inf)).all()
    # A level of which most cells are asked for runs as a whole.
    others = [torch.zeros(2) if mask.float().mean() > MOST else (~mask).sum((1, 2)) for mask in masks]
    assert found["left_out"].tolist() == torch.stack(others, 1).int().tolist()
    # What did not run is not found, whatever the threshold.
    chosen = made.select(found, 0.0, multi_label=True)
    assert [len(scores) for _, scores, _ in chosen] == (CLASSES * kept.sum(1)).tolist()


def test_single_cells_of_levels_that_are_on() -> None:
    made = head().eval()
    made.set_active([True, False, True])
    likely = torch.zeros(2, 1, 8, 12, dtype=torch.bool)
    likely[0, 0, 2, 2] = True
    found = made.at_cells(features(), likely)
    assert found["left_out"].tolist() == [[95, 2], [96, 6]]
    assert found["scores"].shape[2] == 3 * (96 + 6)
    weights = [2 * 9 * c * c + 3 * c * (CLASSES + 4 + 1) for c in (8, 16)]
    assert made.cell_operations() == pytest.approx([2e-9 * one for one in weights])


def test_no_window_has_no_cells() -> None:
    none = Features([x[:0] for x in features().maps], LEVELS)
    found = head().eval().at_cells(none, torch.zeros(0, 1, 8, 12, dtype=torch.bool))
    assert found["scores"].shape == (0, CLASSES, POINTS)
    assert found["left_out"].shape == (0, 3)
