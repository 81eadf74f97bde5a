"""SAL: golden weights, edge cases and ranges."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.losses import ScaleAdaptive, box_loss

SAL = json.loads((Path(__file__).parent / "data" / "box_golden.json").read_text())["sal"]
PRED, TARGET = (torch.tensor([pair[side] for pair in SAL["batch"]], dtype=torch.float64) for side in ("pred", "gt"))
KEYS: dict[str, Any] = {"stride": torch.ones(1), "image_size": (640, 640)}
LN2 = math.log(2)
PER_IMAGE = "area|per_image(first 3 / last 2)|beta=1"
# The recorded name, and the options that it means.
CASES: dict[str, dict[str, Any]] = {
    "area|batch|beta=1": {"beta": 1},
    "area|batch|beta=1/ln2": {"beta": 1 / LN2},
    "area|batch|beta=2/ln2": {},
    "sqrt|batch|beta=1": {"beta": 1, "scale": "sqrt"},
    "log|batch|beta=1": {"beta": 1, "scale": "log"},
    "area|fixed(4,4096)|beta=1": {"beta": 1, "range": "fixed"},
    "area|batch|beta=2/ln2|w_min=0.1": {"w_min": 0.1},
    "area|batch|beta=1|base=iou": {"beta": 1, "over": "iou"},
    "area|batch|beta=1|base=giou": {"beta": 1, "over": "giou"},
    "area|batch|beta=1|base=ciou": {"beta": 1, "over": "ciou"},
}


def squares(*sides: float) -> Tensor:
    return torch.tensor([[0.0, 0, side, side] for side in sides])


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    loss, wanted = ScaleAdaptive(**CASES[name]), SAL["cases"][name]
    assert loss.weights(TARGET).tolist() == pytest.approx(wanted["weight"], abs=1e-6)
    assert loss(PRED, TARGET, **KEYS).tolist() == pytest.approx(wanted["loss"], abs=1e-6)


def test_every_golden_case_is_here() -> None:
    apart = {"single_target|area|batch|beta=1", "equal_areas|area|batch|beta=1"}
    assert SAL["cases"].keys() == CASES.keys() | apart | {PER_IMAGE}


def test_one_target_and_equal_areas_weigh_beta_ln_2() -> None:
    loss = ScaleAdaptive(beta=1)
    single = SAL["cases"]["single_target|area|batch|beta=1"]
    assert loss(PRED[:1], TARGET[:1], **KEYS).tolist() == pytest.approx(single["loss"], abs=1e-6)
    target = torch.tensor([[1.0, 0, 5, 4], [51, 50, 55, 54]])
    found = loss(target - torch.tensor([1.0, 0, 1, 0]), target, **KEYS)
    assert found.tolist() == pytest.approx(SAL["cases"]["equal_areas|area|batch|beta=1"]["loss"], abs=1e-6)


def test_areas_that_rounding_parts_are_equal() -> None:
    target = torch.tensor([[0.0, 0, 4.1, 4.1], [1000.3, 2000.7, 1004.4, 2004.8]])
    assert target[0, 2] != target[1, 2] - target[1, 0]
    for scale in ("area", "sqrt", "log"):
        assert ScaleAdaptive(beta=1, scale=scale).weights(target).tolist() == pytest.approx([LN2, LN2])  # type: ignore[arg-type]


def test_weights_bear_no_gradient() -> None:
    assert not ScaleAdaptive().weights(TARGET.clone().requires_grad_()).requires_grad


def test_no_pairs_keep_the_graph() -> None:
    for kind in ("batch", "image", "fixed", "ema"):
        pred = torch.zeros(0, 4, requires_grad=True)
        loss = ScaleAdaptive(range=kind, normalize_mean=True)  # type: ignore[arg-type]
        loss(pred, torch.zeros(0, 4), picture=torch.zeros(0, dtype=torch.long), **KEYS).sum().backward()
        assert pred.grad.shape == (0, 4)
        assert not any(torch.isnan(value.float()).any() for value in loss.state_dict().values())


def test_the_largest_gets_no_gradient_unless_it_keeps_some_weight() -> None:
    for w_min, moved in ((0.0, False), (0.1, True)):
        pred = PRED.clone().requires_grad_()
        ScaleAdaptive(w_min=w_min)(pred, TARGET, **KEYS).sum().backward()
        assert bool(pred.grad[-1].any()) == moved
        assert pred.grad[0].any()


def test_areas_beyond_half_precision() -> None:
    target = squares(3, 256, 512).half()
    assert ScaleAdaptive(beta=1).weights(target).tolist() == pytest.approx(
        [LN2, math.log(2 - (256**2 - 9) / (512**2 - 9)), 0], abs=1e-6
    )


def test_sizes_are_those_of_targets() -> None:
    pred = PRED + torch.tensor([0.0, 0, 9, 9])
    loss = ScaleAdaptive()
    terms = loss(pred, TARGET, **KEYS) / box_loss("iou2")(pred, TARGET, **KEYS)
    assert terms.tolist() == pytest.approx(loss.weights(TARGET).tolist())


def test_fixed_range_in_square_pixels() -> None:
    loss = ScaleAdaptive(beta=1, range="fixed", low=16, high=64)
    assert loss.weights(squares(2, 4, 8, 99)).tolist() == pytest.approx([LN2, LN2, 0, 0], abs=1e-6)


def test_mean_weight_of_one() -> None:
    plain, even = ScaleAdaptive().weights(TARGET), ScaleAdaptive(normalize_mean=True).weights(TARGET)
    assert even.mean().item() == pytest.approx(1)
    assert torch.allclose(even, plain / plain.mean())


def test_range_of_the_picture() -> None:
    loss, picture = ScaleAdaptive(beta=1, range="image"), torch.tensor([0, 0, 0, 2, 2])
    wanted = SAL["cases"][PER_IMAGE]
    assert loss.weights(TARGET, picture).tolist() == pytest.approx(wanted["weight"], abs=1e-6)
    assert loss(PRED, TARGET, picture=picture, **KEYS).tolist() == pytest.approx(wanted["loss"], abs=1e-6)
    # In whatever order the pairs come.
    order = torch.tensor([3, 1, 4, 0, 2])
    mixed = loss.weights(TARGET[order], picture[order])
    assert mixed.tolist() == pytest.approx([wanted["weight"][i] for i in order], abs=1e-6)
    # One object, whatever its size, has full weight; of two, the larger none.
    assert loss.weights(squares(3, 400), torch.tensor([0, 1])).tolist() == pytest.approx([LN2, LN2])
    assert loss.weights(squares(4, 3), torch.tensor([7, 7])).tolist() == pytest.approx([0, LN2])


def test_losses_around_it_hand_the_picture_on() -> None:
    picture = torch.tensor([0, 0, 0, 1, 1])
    wanted = ScaleAdaptive(range="image")(PRED, TARGET, picture=picture, **KEYS)
    for text in ("sal(range=image)*0.5+sal(range=image)*0.5", "inner(over=sal(range=image),ratio=1.0)"):
        assert torch.allclose(box_loss(text)(PRED, TARGET, picture=picture, **KEYS), wanted)  # type: ignore[call-arg]
    doubled = box_loss("sal(over=sal(range=image),range=fixed)")
    weights = ScaleAdaptive(range="fixed").weights(TARGET)
    assert torch.allclose(doubled(PRED, TARGET, picture=picture, **KEYS), wanted * weights)  # type: ignore[call-arg]


def test_running_range() -> None:
    loss = ScaleAdaptive(beta=1, range="ema", decay=0.75)
    # Before the first batch in training, the batch's own.
    assert loss.eval().weights(squares(2, 4)).tolist() == pytest.approx([LN2, 0], abs=1e-6)
    assert not loss.started
    loss.train().weights(squares(2, 4))
    assert loss.bounds.tolist() == [4, 16]
    assert loss.weights(squares(4, 10)).tolist() == pytest.approx([math.log(2 - 9 / 30), 0], abs=1e-6)
    assert loss.bounds.tolist() == pytest.approx([7, 37])
    loss.weights(torch.zeros(0, 4))
    loss.eval().weights(squares(1, 99))
    assert loss.bounds.tolist() == pytest.approx([7, 37])
    copy = ScaleAdaptive(range="ema")
    copy.load_state_dict(loss.state_dict())
    assert copy.eval().weights(squares(20)).item() == pytest.approx(0)
    assert ScaleAdaptive().state_dict() == {}


def test_running_range_keeps_most_by_default() -> None:
    loss = ScaleAdaptive(range="ema")
    loss.weights(squares(10, 20))
    loss.weights(squares(20, 30))
    assert loss.bounds.tolist() == pytest.approx([103, 405])


def test_running_range_is_that_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    def other_rank(values: Tensor, operation: Any) -> None:
        assert operation == torch.distributed.ReduceOp.MAX
        torch.maximum(values, torch.tensor([-9.0, 100.0]), out=values)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", other_rank)
    loss = ScaleAdaptive(range="ema", decay=0.0)
    loss.weights(squares(2, 4))
    assert loss.bounds.tolist() == [4, 100]
    loss.weights(torch.zeros(0, 4))
    assert loss.bounds.tolist() == [9, 100]


def test_the_range_of_the_picture_wants_to_be_told() -> None:
    with pytest.raises(FineSpotError, match="range=image wants to be told which picture a pair is from"):
        ScaleAdaptive(range="image")(PRED, TARGET, **KEYS)


def test_overlap_stays_in_range() -> None:
    """IoU above 1 by rounding would make 1 - IoU^2 negative: equal boxes far from the corner cost nothing."""
    same = torch.tensor([[1000.3, 2000.7, 1004.4, 2004.8], [0.1, 0.1, 0.3, 0.3]])
    assert ScaleAdaptive()(same, same, **KEYS).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0}, "beta above 0 but got 0"),
        ({"w_min": -1}, "w_min of 0 or more"),
        ({"w_min": 2}, r"w_min below the largest weight, beta ln 2 = 2, but got 2"),
        ({"w_min": 0.7, "beta": 1}, "w_min below the largest weight, beta ln 2 = 0.693147, but got 0.7"),
        ({"low": 4}, "low counts with range=fixed only"),
        ({"high": 4}, "high counts with range=fixed only"),
        ({"range": "fixed", "decay": 0.5}, "decay counts with range=ema only"),
        ({"range": "fixed", "low": 9, "high": 4}, "0 <= low < high"),
        ({"range": "ema", "decay": 1}, "decay from 0 to below 1"),
        ({"over": "absent"}, "unknown box loss 'absent'"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        ScaleAdaptive(**options)
