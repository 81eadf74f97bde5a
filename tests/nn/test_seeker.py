"""The seeker: its map against plain torch, its losses against slow twins, what they read and what they leave alone."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from finespot import registry
from finespot.assigners.heatmap import HeatMap, heat_map
from finespot.errors import FineSpotError
from finespot.nn.relays import Seeker
from finespot.nn.relays.seeker_loss import focal_and_dice, peak_focal, weighted_cross_entropy
from finespot.structures import Features, Level, Targets

LEVELS = (Level(6, 8), Level(8, 16))
SIZE = (64, 96)
PRIOR = math.log(0.05 / 0.95)


def seeker(**options) -> Seeker:
    torch.manual_seed(0)
    return Seeker(LEVELS, **options)


def features(batch: int = 2) -> Features:
    draw = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(batch, lv.channels, SIZE[0] // lv.stride, SIZE[1] // lv.stride, generator=draw) for lv in LEVELS
    ]
    return Features(maps, LEVELS)


def targets(ignored: bool = False) -> Targets:
    boxes = [[4.0, 4, 30, 24], [50, 10, 56, 16], [20, 20, 48, 51], [40.0, 0, 96, 64]]
    flags = torch.tensor([False, False, False, True])
    found = Targets(torch.tensor(boxes), torch.tensor([0, 1, 0, -1]), torch.tensor([0, 0, 1, 1]), flags, 2)
    kept = torch.ones(4, dtype=torch.bool) if ignored else ~flags
    return Targets(found.boxes[kept], found.labels[kept], found.image[kept], found.ignore[kept], 2)


def normed(x: Tensor, state: dict[str, Tensor], key: str) -> Tensor:
    mean, var, weight, bias = (
        state[f"{key}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    x = (x - mean) / torch.sqrt(var + 1e-3) * weight + bias
    return x * torch.sigmoid(x)


def literal(state: dict[str, Tensor], form: str, x: Tensor) -> Tensor:
    if form == "depthwise":
        padded, kernel = F.pad(x, (6, 6, 6, 6)), state["context.conv.weight"]
        rows, columns = x.shape[2:]
        out = torch.zeros_like(x)
        for i in range(13):
            for j in range(13):
                out += kernel[None, :, 0, i, j, None, None] * padded[:, :, i : i + rows, j : j + columns]
        gathered = normed(out, state, "context.bn")
    elif form in ("deep", "coarse"):
        gathered, first = x, int(form == "coarse")
        if first:
            halved = F.conv2d(x, state["context.0.conv.weight"], stride=2, padding=1)
            gathered = normed(halved, state, "context.0.bn")
        for number, part, reach in (
            (0, ".spatial", 6),
            (0, ".mix", None),
            (1, ".spatial", 3),
            (1, ".mix", None),
            (2, "", 3),
        ):
            place = f"context.{number + first}{part}"
            kernel = state[f"{place}.conv.weight"]
            groups = 1 if reach is None else len(kernel)
            gathered = normed(F.conv2d(gathered, kernel, padding=reach or 0, groups=groups), state, f"{place}.bn")
    else:
        narrow = normed(F.conv2d(x, state["context.entry.conv.weight"]), state, "context.entry.bn")
        pooled = [narrow, *(F.max_pool2d(narrow, side, 1, side // 2) for side in (5, 9, 13))]
        gathered = normed(F.conv2d(torch.cat(pooled, 1), state["context.exit.conv.weight"]), state, "context.exit.bn")
    heat = F.conv2d(gathered, state["predict.weight"], state["predict.bias"])
    return heat.repeat_interleave(2, 2).repeat_interleave(2, 3) if form == "coarse" else heat


@pytest.mark.parametrize("form", ["depthwise", "pooled", "deep", "coarse"])
def test_the_map_is_that_of_the_layers_written_out(form: str) -> None:
    made, given = seeker(form=form).eval(), features()
    for buffer in made.buffers():
        if buffer.is_floating_point():
            buffer += 0.3 * torch.rand(buffer.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = made(given)
    assert found.auxiliary["heat"].shape == (2, 1, 8, 12)
    want = literal({key: value.detach() for key, value in made.state_dict().items()}, form, given.maps[0])
    assert torch.allclose(found.auxiliary["heat"], want, rtol=0, atol=1e-5)


def test_levels_and_other_outputs_go_on_as_they_are() -> None:
    given = features()
    given.auxiliary["other"] = torch.ones(1)
    found = seeker()(given)
    assert found.levels == LEVELS
    assert all(one is other for one, other in zip(found.maps, given.maps))
    assert set(found.auxiliary) == {"other", "heat"}
    assert set(given.auxiliary) == {"other"}


@pytest.mark.parametrize(
    ("channels", "form", "count"),
    [
        (192, "depthwise", 33_025),
        (128, "depthwise", 22_017),
        (256, "depthwise", 44_033),
        (320, "depthwise", 55_041),
        (512, "depthwise", 88_065),
        (192, "pooled", 92_736 + 193),
        (128, "deep", 128 * 171 + 64 * (128 + 2) + 2 * 64 * (49 + 2) + 64 * (64 + 2) + 65),
        (128, "coarse", 64 * (9 * 128 + 2) + 64 * 171 + 64 * (64 + 2) + 2 * 64 * (49 + 2) + 64 * (64 + 2) + 65),
    ],
)
def test_parameters_are_those_of_the_original_and_of_the_layers(channels: int, form: str, count: int) -> None:
    with torch.device("meta"):
        made = Seeker([Level(channels, 8)], form=form)
    assert sum(p.numel() for p in made.parameters()) == count


def test_the_coarse_form_covers_a_level_of_any_size() -> None:
    made = seeker(form="coarse").eval()
    with torch.no_grad():
        made.predict.weight *= 1e3
    for height, width in ((7, 5), (1, 1), (8, 9)):
        level = torch.randn(1, 6, height, width, generator=torch.Generator().manual_seed(3))
        heat = made(Features([level, torch.zeros(1, 8, 4, 4)], LEVELS)).auxiliary["heat"][0, 0]
        rows, columns = torch.arange(height) // 2 * 2, torch.arange(width) // 2 * 2
        assert torch.equal(heat, heat[rows][:, columns])
        assert len(heat.unique()) == -(-height // 2) * -(-width // 2)


def test_it_reads_the_level_of_its_stride() -> None:
    coarse = seeker(stride=16)
    assert coarse(features()).auxiliary["heat"].shape == (2, 1, 4, 6)
    assert coarse.predict.in_channels == 8
    raw = {"heat": coarse(features()).auxiliary["heat"]}
    want = 0.2 * weighted_cross_entropy(raw["heat"], heat_map(targets(), SIZE, 16))
    assert coarse.loss(raw, targets()).total == want


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeker(stride=4)", r"expected a level of stride 4 but got 8, 16; say another: seeker\(stride=...\)"),
        ("seeker(form=wide)", "expected form to be one of depthwise, pooled, deep, coarse but got 'wide'"),
        ("seeker(loss=dice)", "expected loss to be one of bce, focal_dice, peak but got 'dice'"),
        ("seeker(tau=1)", "unknown option of the relay 'seeker' 'tau'"),
    ],
)
def test_what_it_cannot_be_is_said(text: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        registry.make("relay", text, levels=LEVELS)


def test_what_it_cannot_be_is_said_in_python_too() -> None:
    with pytest.raises(FineSpotError, match="unknown form of the seeker 'wide'"):
        seeker(form="wide")
    with pytest.raises(FineSpotError, match="unknown loss of the seeker 'dice'"):
        seeker(loss="dice")
    with pytest.raises(FineSpotError, match="unknown loss gain 'box'"):
        seeker().set_gains({"box": 1.0})


def test_it_starts_quiet_whatever_it_sees() -> None:
    made = seeker()
    made.predict.weight.data.zero_()
    assert torch.allclose(made(features()).auxiliary["heat"].sigmoid(), torch.tensor(0.05))
    assert made.predict.bias.item() == pytest.approx(PRIOR)


def drawn(seed: int = 0) -> tuple[Tensor, HeatMap]:
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 1, 8, 12, generator=draw)
    return logits, heat_map(targets(ignored=True), SIZE, 8)


def cells(logits: Tensor, truth: HeatMap) -> list[list[tuple[float, float, float]]]:
    """(probability, value, weight) of the cells of each picture."""
    columns = zip(logits.sigmoid().double(), truth.values.double(), truth.weights.double())
    return [list(zip(*(one.flatten().tolist() for one in picture))) for picture in columns]


def test_cross_entropy_is_a_weighted_mean_over_the_cells_that_count() -> None:
    logits, truth = drawn()
    total, count = 0.0, 0
    for p, y, w in itertools.chain(*cells(logits, truth)):
        total -= w * (y * math.log(p) + (1 - y) * math.log(1 - p))
        count += w > 0
    assert 0 < count < logits.numel()
    assert weighted_cross_entropy(logits, truth).item() == pytest.approx(total / count, rel=1e-5)


def test_focal_and_dice_are_those_of_the_paper() -> None:
    logits, truth = drawn()
    focal, count, dice = 0.0, 0, 0.0
    for picture in cells(logits, truth):
        for p, y, w in picture:
            focal -= w * (y - p) ** 2 * (y * math.log(p) + (1 - y) * math.log(1 - p))
            count += w > 0
        heard = [(p, y) for p, y, w in picture if w > 0]
        dice += 1 - (2 * sum(p * y for p, y in heard) + 1) / (sum(p + y for p, y in heard) + 1)
    want = 20 * focal / count + dice / 2
    assert focal_and_dice(logits, truth).item() == pytest.approx(want, rel=1e-5)


def test_peak_loss_equals_a_slow_loop() -> None:
    logits, truth = drawn()
    weights = truth.weights.clone()
    weights[0, 0, 5:] = 0
    truth = HeatMap(truth.values, weights)
    total, objects = 0.0, 0
    batch, _, rows, columns = logits.shape
    for image, row, column in itertools.product(range(batch), range(rows), range(columns)):
        around = [
            (image, 0, y, x)
            for y in range(max(0, row - 1), min(rows, row + 2))
            for x in range(max(0, column - 1), min(columns, column + 2))
        ]
        if truth.values[image, 0, row, column] == 1:
            best = torch.sigmoid(max(logits[one] for one in around)).item()
            total -= (1 - best) ** 2 * math.log(best)
            objects += 1
        if weights[image, 0, row, column] > 0 and all(truth.values[one] == 0 for one in around):
            heat = torch.sigmoid(logits[image, 0, row, column]).item()
            total -= heat**2 * math.log(1 - heat)
    assert objects > 0
    assert peak_focal(logits, truth).item() == pytest.approx(total / objects, rel=1e-4)


def test_one_hot_cell_is_enough_for_a_peak() -> None:
    truth = heat_map(targets(), SIZE, 8)
    center = truth.values == 1
    cold = torch.full(center.shape, -20.0)
    assert peak_focal(torch.where(center, 20.0, cold), truth) < 1e-6
    assert peak_focal(torch.where(center.roll(1, 3), 20.0, cold), truth) < 1e-6
    assert weighted_cross_entropy(torch.where(center, 20.0, cold), truth) > 0.05
    assert peak_focal(torch.where(center.roll(3, 3), 20.0, cold), truth) > 1


@pytest.mark.parametrize("loss", ["bce", "focal_dice", "peak"])
def test_a_right_map_costs_less_than_a_wrong_one(loss: str) -> None:
    made, truth = seeker(loss=loss), heat_map(targets(), SIZE, 8)
    costs = [made.loss({"heat": scale * (truth.values - 0.25)}, targets()).total.item() for scale in (20.0, 0.0, -20.0)]
    assert costs == sorted(costs)
    assert costs[0] < 0.5 * costs[1]


def test_gains_weigh_the_term() -> None:
    raw, made = {"heat": drawn()[0]}, seeker()
    usual = made.loss(raw, targets()).terms["heat"].item()
    assert usual == pytest.approx(0.2 * weighted_cross_entropy(raw["heat"], heat_map(targets(), SIZE, 8)).item())
    made.set_gains({})
    assert made.gains == {"heat": 0.2}
    made.set_gains({"heat": 0.6})
    assert made.loss(raw, targets()).terms["heat"].item() == pytest.approx(3 * usual)
    assert seeker(loss="focal_dice").gains == {"heat": 0.2}


@pytest.mark.parametrize("loss", ["bce", "focal_dice"])
def test_nothing_is_learnt_from_ignore_regions_and_padding(loss: str) -> None:
    made = seeker(loss=loss)
    logits = drawn()[0].requires_grad_()
    made.loss(
        {"heat": logits}, targets(ignored=True), content=torch.tensor([[0.0, 0, 96, 48], [0, 0, 96, 64]])
    ).total.backward()
    silent = logits.grad == 0
    # The first picture ends at row 6; in the second the region begins at column 5 and spares the object's cells.
    assert silent[0, 0, 6:].all()
    assert not silent[0, 0, :6].any()
    object_cells = heat_map(targets(), SIZE, 8).values[1, 0] > 0
    assert torch.equal(silent[1, 0, :, 5:], ~object_cells[:, 5:])
    assert not silent[1, 0, :, :5].any()


def test_known_shapes_cut_the_ellipses() -> None:
    raw, made = {"heat": drawn()[0]}, seeker()
    shapes = torch.zeros(2, 1, *SIZE, dtype=torch.bool)
    shapes[0, :, 8:16, 8:16] = True
    want = 0.2 * weighted_cross_entropy(raw["heat"], heat_map(targets(), SIZE, 8, shapes=shapes))
    found = made.loss(raw, targets(), shapes=shapes).total
    assert found == want
    assert found != made.loss(raw, targets()).total


@pytest.mark.parametrize("loss", ["bce", "focal_dice", "peak"])
@pytest.mark.parametrize("scale", [0.0, 1e4, -1e4])
def test_losses_and_gradients_are_finite(loss: str, scale: float) -> None:
    made = seeker(loss=loss)
    everything = torch.tensor([[0.0, 0, 96, 64]])
    silent = Targets(
        everything.repeat(2, 1), torch.tensor([-1, -1]), torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool), 2
    )
    none = torch.zeros(0, dtype=torch.int64)
    empty = Targets(torch.zeros(0, 4), none, none, torch.zeros(0, dtype=torch.bool), 2)
    for truth in (targets(), silent, empty):
        logits = (scale * torch.ones(2, 1, 8, 12)).requires_grad_()
        total = made.loss({"heat": logits}, truth).total
        total.backward()
        assert total.isfinite()
        assert logits.grad.isfinite().all()
        assert (total == 0) == (truth is silent or (truth is empty and scale == -1e4))


def test_loss_is_full_precision_under_autocast() -> None:
    made, logits = seeker(), drawn()[0].bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = made.loss({"heat": logits}, targets()).total
    assert low.dtype == torch.float32
    assert low == made.loss({"heat": logits.float()}, targets()).total
