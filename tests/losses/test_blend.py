"""Box losses as text: terms, factors, options, parts of one's own, errors."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finespot import registry
from finespot.errors import FineSpotError
from finespot.losses import Blend, box_loss
from finespot.nn.heads.dense_loss import DenseLoss

PRED, TARGET = torch.tensor([[11.0, 10, 14, 14], [0, 0, 9, 9]]), torch.tensor([[10.0, 10, 13, 13], [5, 5, 20, 15]])
KEYS: dict[str, Any] = {"stride": torch.full((2,), 8.0), "image_size": (64, 48)}
PAGE = Path(__file__).parents[2] / "docs" / "losses.md"


def cost(text: str) -> Tensor:
    return box_loss(text)(PRED, TARGET, **KEYS)


def apart(pred: Tensor, target: Tensor, *, stride: Tensor, image_size: tuple[int, int]) -> Tensor:
    """A loss of a user's own."""
    return (pred - target).abs().sum(1) / stride


class Powered(nn.Module):
    """One that is made first, and keeps a count."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: tuple[int, int]) -> Tensor:
        self.calls += 1
        return apart(pred, target, stride=stride, image_size=image_size) ** self.power


def make_powered(power: float) -> Powered:
    return Powered(power)


def test_terms_add_up() -> None:
    wanted = 0.5 * cost("ciou") + 0.25 * cost("nwd(constant=16)")
    for text in (
        "ciou*0.5+nwd(constant=16)*0.25",
        " 0.5 * ciou + 0.25*nwd( constant = 16 ) ",
        "5e-1*ciou+nwd(constant=16)*.25",
    ):
        assert torch.allclose(cost(text), wanted)
    assert torch.allclose(cost("ciou+nwd"), cost("ciou") + cost("nwd"))
    assert torch.allclose(cost("ciou*2"), 2 * cost("ciou"))
    assert not isinstance(box_loss("ciou"), Blend)


def test_blends_nest() -> None:
    inner = cost("inner(over=ciou*0.5+nwd*0.5,ratio=1.1)") - (cost("inner(ratio=1.1)") - cost("iou"))
    assert torch.allclose(inner, cost("ciou*0.5+nwd*0.5"), atol=1e-6)
    assert torch.allclose(cost("sal(over=focaler(over=giou,d=0.1))"), cost("sal(over=focaler(over=giou,d=0.1))*1.0"))


@pytest.mark.parametrize(
    ("plain", "changed"),
    [
        ("eiou", "eiou(gamma=0.5)"),
        ("wise_v3", "wise_v3(alpha=1.7)"),
        ("wise_v3", "wise_v3(delta=2.7)"),
        ("wise_v3", "wise_v3(momentum=0.5)"),
        ("inner", "inner(ratio=0.7)"),
        ("inner", "inner(over=giou)"),
        ("focaler", "focaler(d=0.2)"),
        ("focaler", "focaler(u=0.7)"),
        ("focaler", "focaler(over=siou)"),
        ("shape", "shape(scale=1)"),
        ("powerful_v2", "powerful_v2(lam=1)"),
        ("nwd", "nwd(constant=16)"),
        ("safit", "safit(constant=16)"),
        ("dotd", "dotd(constant=16)"),
        ("simd", "simd(m=3)"),
        ("simd", "simd(n=3)"),
        ("sal(w_min=0.1)", "sal(w_min=0.2)"),
        ("sal", "sal(beta=1)"),
        ("sal(beta=1)", "sal(beta=1,normalize_mean=true)"),
    ],
)
def test_options_take_effect(plain: str, changed: str) -> None:
    assert not torch.allclose(cost(plain), cost(changed))
    assert torch.equal(cost(changed), cost(changed))


def test_detached_weight_of_powerful_iou_turns_the_pull() -> None:
    target = torch.tensor([[10.0, 10, 13, 13]])
    pulls = []
    for text in ("powerful_v2", "powerful_v2(detach_q=false)"):
        pred = torch.tensor([[17.0, 10, 20, 13]], requires_grad=True)
        box_loss(text)(pred, target, **KEYS).sum().backward()
        pulls.append((pred.grad[0, 0] + pred.grad[0, 2]).item())
    assert pulls[0] > 0
    assert pulls[1] == pytest.approx(-0.0986, abs=1e-4)


@pytest.mark.parametrize("text", ["gcd", "kld"])
def test_targets_without_size_still_pull(text: str) -> None:
    pred = torch.tensor([[10.0, 10, 12, 13]], requires_grad=True)
    box_loss(text)(pred, torch.tensor([[12.0, 10, 12, 13]]), **KEYS).sum().backward()
    assert pred.grad[0, 0] + pred.grad[0, 2] < -0.01


def test_image_size_counts_for_mpd_only() -> None:
    small, large = {**KEYS, "image_size": (8, 8)}, {**KEYS, "image_size": (800, 800)}
    for name in registry.names("box_loss"):
        found = [box_loss(name)(PRED, TARGET, **keys) for keys in (small, large)]
        assert torch.equal(*found) == (name != "mpd"), name


def test_buffers_are_saved() -> None:
    blend = box_loss("ciou*0.5+wise_v3*0.5+inner(over=wise_v3)")
    assert isinstance(blend, Blend)
    assert sorted(blend.state_dict()) == ["terms.1.mean", "terms.2.over.mean"]
    blend(PRED, TARGET, **KEYS)
    assert blend.state_dict()["terms.1.mean"] < 1
    head = DenseLoss(box_loss="iou+wise_v3")
    assert "box_loss.terms.1.mean" in head.state_dict()
    twin = copy.deepcopy(blend)
    twin(PRED, TARGET, **KEYS)
    assert twin.state_dict()["terms.1.mean"] != blend.state_dict()["terms.1.mean"]


def test_losses_of_ones_own() -> None:
    here = __name__
    assert box_loss(f"{here}:apart") is apart
    wanted = (PRED - TARGET).abs().sum(1) / 8
    assert torch.allclose(cost(f"{here}:apart*0.5+ciou"), wanted / 2 + cost("ciou"))
    assert torch.allclose(cost(f"{here}:Powered(power=2)"), wanted**2)
    assert torch.allclose(cost(f"{here}:make_powered(power=2)*0.5"), wanted**2 / 2)
    blend = box_loss(f"ciou+{here}:Powered")
    blend(PRED, TARGET, **KEYS)
    assert isinstance(blend, nn.Module)
    assert blend.state_dict()["terms.1.calls"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a box loss or 'loss\\*factor' but got ''"),
        ("ciou+", "but got ''"),
        ("ciou*", "but got 'ciou\\*'"),
        ("ciou*nwd", "but got 'ciou\\*nwd'"),
        ("0.5", "but got '0.5'"),
        ("0.5*ciou*2", "but got '0.5\\*ciou\\*2'"),
        ("ciou*0", "factor above 0 but got 'ciou\\*0'"),
        ("ciou*-1+nwd", "factor above 0 but got 'ciou\\*-1'"),
        ("ciou*nan", "factor above 0"),
        ("ciou*1e999", "factor above 0"),
        ("ciuo", "unknown box loss 'ciuo'; did you mean ciou"),
        ("nwd(constant=16", "parentheses of the box loss .* do not match"),
        ("nwd)(", "parentheses of the box loss .* do not match"),
        ("nwd(16)", "'name\\(key=value, ...\\)' but got 'nwd\\(16\\)'"),
        ("nwd(constnat=16)", "box loss 'nwd': unknown option 'constnat'; did you mean constant"),
        ("ciou(a=1)", "unknown option 'a'"),
        ("nwd(constant=wide)", "expected constant to be a number or auto but got 'wide'"),
        ("nwd(constant=true)", "expected constant to be a number"),
        ("nwd(constant=1e999)", "expected constant to be a number"),
        ("nwd(constant=" + "9" * 400 + ")", "expected constant to be a number"),
        ("nwd(constant=0)", "constant above 0 but got 0"),
        ("safit(constant=-1)", "constant above 0"),
        ("dotd(constant=0)", "constant above 0"),
        ("simd(m=0)", "m above 0"),
        ("simd(n=0)", "n above 0"),
        ("eiou(gamma=-1)", "gamma of 0 or more"),
        ("inner(ratio=0)", "ratio above 0"),
        ("inner(over=3)", "expected over to be a word but got '3'"),
        ("inner(over=ciuo)", "unknown box loss 'ciuo'"),
        ("focaler(d=0.9,u=0.5)", "0 <= d < u <= 1 but got d=0.9, u=0.5"),
        ("wise_v3(alpha=1)", "alpha above 1"),
        ("wise_v3(delta=0)", "delta above 0"),
        ("wise_v3(momentum=0)", "momentum above 0 and up to 1"),
        ("powerful_v2(lam=0)", "lam above 0"),
        ("powerful_v2(detach_q=1)", "detach_q to be true or false"),
        ("sal(scale=size)", "scale to be one of area, sqrt, log but got 'size'"),
        ("sal(low=few)", "low to be a number or null"),
        ("no.such.module:loss", "cannot import the box_loss"),
        (f"{__name__}:apart(a=1)", "expected no options but got a"),
        (f"{__name__}:Powered(a=1)", "is called with \\(a\\) but"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        box_loss(text)
    assert "\n" not in str(caught.value)


def test_the_page_names_every_loss_and_its_examples_work() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in registry.names("box_loss"):
        assert f"`{name}" in page, name
    examples = re.findall(r"^finespot train .* '?box_loss=([^'\n]*)'?$", page, re.MULTILINE)
    assert len(examples) > 3
    for text in examples:
        assert torch.isfinite(cost(text.replace("my_parts:squared_iou", f"{__name__}:apart"))).all()
