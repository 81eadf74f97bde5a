"""Similarities and box losses of pairs against the golden values, and their gradients."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from finespot.boxes import gaussian, geometry, overlap, penalized
from finespot.losses import box_loss, distribution_focal

GOLDEN = json.loads((Path(__file__).parent / "data" / "box_golden.json").read_text())
IMAGE = (800, 800)
PRED = torch.tensor([pair["pred"] for pair in GOLDEN["pairs"]], dtype=torch.float64)
TARGET = torch.tensor([pair["gt"] for pair in GOLDEN["pairs"]], dtype=torch.float64)
SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "iou": geometry.iou,
    "giou": lambda a, b: overlap.iou_family(a, b, "giou"),
    "diou": lambda a, b: overlap.iou_family(a, b, "diou"),
    "ciou": lambda a, b: overlap.iou_family(a, b, "ciou"),
    "inner_iou_r0_7": lambda a, b: penalized.inner_iou(a, b, 0.7),
    "inner_iou_r1_2": penalized.inner_iou,
    "focaler_iou_d0_u0_95": penalized.focaler_iou,
    "mpdiou_800x800": lambda a, b: penalized.mpdiou(a, b, IMAGE),
    "shape_iou_s0": penalized.shape_iou,
    "shape_iou_s1": lambda a, b: penalized.shape_iou(a, b, 1.0),
    "w2_squared": gaussian.squared_wasserstein,
    "nwd_C12_8": gaussian.nwd,
    "gcd": gaussian.gcd,
    "safit_C32_centre": gaussian.safit,
    "kld_pred_gt": gaussian.kl_divergence,
    "kld_gt_pred": lambda a, b: gaussian.kl_divergence(b, a),
    "kld_sim_pred_gt": gaussian.kld,
    "kld_sim_gt_pred": lambda a, b: gaussian.kld(b, a),
    "dotd_S12_7": gaussian.dotd,
    "simd_m6_13_n4_59": gaussian.simd,
}
# A loss as typed, and how the golden value of its pair follows from the recorded ones.
LOSSES: dict[str, Callable[[dict[str, float]], float]] = {
    "iou": lambda v: 1 - v["iou"],
    "iou2": lambda v: 1 - v["iou"] ** 2,
    "giou": lambda v: 1 - v["giou"],
    "diou": lambda v: 1 - v["diou"],
    "ciou": lambda v: 1 - v["ciou"],
    "eiou": lambda v: v["eiou_loss"],
    "eiou(gamma=0.5)": lambda v: v["eiou_loss"] * v["iou"] ** 0.5,
    "siou": lambda v: v["siou_loss"],
    "wise_v1": lambda v: v["wiou_v1_loss"],
    "inner(ratio=0.7)": lambda v: 1 - v["inner_iou_r0_7"],
    "inner": lambda v: 1 - v["inner_iou_r1_2"],
    "inner(over=ciou)": lambda v: 1 - v["ciou"] + v["iou"] - v["inner_iou_r1_2"],
    "focaler": lambda v: 1 - v["focaler_iou_d0_u0_95"],
    "focaler(over=giou)": lambda v: 1 - v["giou"] + v["iou"] - v["focaler_iou_d0_u0_95"],
    "mpd": lambda v: 1 - v["mpdiou_800x800"],
    "shape": lambda v: 1 - v["shape_iou_s0"],
    "shape(scale=1)": lambda v: 1 - v["shape_iou_s1"],
    "powerful_v1": lambda v: v["piou_v1_loss"],
    "powerful_v2": lambda v: v["piou_v2_loss_lambda1_3"],
    "powerful_v2(detach_q=false)": lambda v: v["piou_v2_loss_lambda1_3"],
    "nwd": lambda v: 1 - v["nwd_C12_8"],
    "gcd": lambda v: 1 - v["gcd"],
    "safit": lambda v: 1 - v["safit_C32_centre"],
    "kld": lambda v: 1 - v["kld_sim_pred_gt"],
    "dotd": lambda v: 1 - v["dotd_S12_7"],
    "simd": lambda v: 1 - v["simd_m6_13_n4_59"],
}
GRADIENTS = {
    "iou_loss": "iou",
    "iou2_loss": "iou2",
    "giou_loss": "giou",
    "diou_loss": "diou",
    "ciou_loss_alpha_detached": "ciou",
    "wiou_v1_c2_detached": "wise_v1",
    "nwd_loss_C12_8": "nwd",
    "gcd_loss": "gcd",
    "safit_loss_C32": "safit",
    "kld_sim_loss": "kld",
}


def cost(text: str, pred: Tensor, target: Tensor) -> Tensor:
    return box_loss(text)(pred, target, stride=torch.full((len(pred),), 8.0), image_size=IMAGE)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similarity(name: str) -> None:
    wanted = [pair["values"][name] for pair in GOLDEN["pairs"]]
    assert SIMILARITIES[name](PRED, TARGET).tolist() == pytest.approx(wanted, abs=1e-6)
    assert SIMILARITIES[name](PRED.float(), TARGET.float()).tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("text", LOSSES)
def test_loss(text: str) -> None:
    wanted = [LOSSES[text](pair["values"]) for pair in GOLDEN["pairs"]]
    assert cost(text, PRED, TARGET).tolist() == pytest.approx(wanted, abs=1e-6)
    assert cost(text, PRED.float(), TARGET.float()).tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str) -> None:
    pairs = {pair["name"]: pair for pair in GOLDEN["pairs"]}
    for case in GOLDEN["gradients_wrt_pred"]:
        pair = pairs[case["name"]]
        pred = torch.tensor([pair["pred"]], dtype=torch.float64, requires_grad=True)
        cost(GRADIENTS[name], pred, torch.tensor([pair["gt"]], dtype=torch.float64)).sum().backward()
        assert pred.grad[0].tolist() == pytest.approx(case[name], abs=1e-5), case["name"]


@pytest.mark.parametrize("case", GOLDEN["degenerate"]["pairs"], ids=lambda case: case["name"])
def test_iou_without_area(case: dict[str, Any]) -> None:
    pair = torch.tensor([case["pred"], case["gt"]], dtype=torch.float64)
    assert geometry.iou(pair[0], pair[1]).item() == pytest.approx(case["iou"], abs=1e-6)


# Sides of a square truth, and of its prediction one pixel aside: loss and derivative by a shift (section 2.0.2).
@pytest.mark.parametrize(
    ("text", "tiny", "large"),
    [
        ("iou2", (0.75, 0.375), (0.0155, 0.0154)),
        ("siou", (0.5588, 0.4577), (0.0078, 0.0078)),
        ("mpd", (0.5, 0.375), (0.0078, 0.0078)),
        ("powerful_v1", (0.5274, 0.4290), (0.0078, 0.0078)),
        ("powerful_v2(detach_q=false)", (0.5187, 0.5449), (0.0056, 0.0056)),
        ("nwd", (0.0752, 0.0723), (0.0752, 0.0723)),
        ("safit", (0.1658, 0.1295), (0.0078, 0.0078)),
        ("gcd", (0.2835, 0.2388), (0.0039, 0.0039)),
        ("kld", (0.1818, 0.2975), (0.0000, 0.0001)),
        ("wise_v1", (0.5204, 0.4319), (0.0078, 0.0078)),
    ],
)
def test_pull_on_a_shift_of_one_pixel(text: str, tiny: tuple[float, float], large: tuple[float, float]) -> None:
    for side, wanted in ((3.0, tiny), (256.0, large)):
        target = torch.tensor([[100.0, 100, 100 + side, 100 + side]], dtype=torch.float64)
        pred = (target + torch.tensor([1.0, 0, 1, 0])).requires_grad_()
        loss = cost(text, pred, target)
        loss.sum().backward()
        assert (loss.item(), (pred.grad[0, 0] + pred.grad[0, 2]).item()) == pytest.approx(wanted, abs=6e-5)


def test_distribution_loss() -> None:
    dfl = GOLDEN["dfl"]
    logits = torch.tensor(dfl["logits"], dtype=torch.float64).expand(1, 4, -1)
    for case in dfl["cases"]:
        aim = torch.full((1, 4), case["target"], dtype=torch.float64)
        assert distribution_focal(logits, aim).item() == pytest.approx(case["loss"], abs=1e-6)
