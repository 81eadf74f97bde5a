"""The running mean of Wise-IoU version 3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from finespot.losses import WiseV1, WiseV3, ranks

GOLDEN = json.loads((Path(__file__).parent / "data" / "box_golden.json").read_text())
KEYS: dict[str, Any] = {"stride": torch.ones(1), "image_size": (64, 64)}


def pairs(losses: list[float]) -> tuple[Tensor, Tensor]:
    """Boxes inside squares of side 10 with the same center, whose 1 - IoU are these."""
    half = 5 * torch.tensor(losses, dtype=torch.float64).neg().add(1).sqrt()
    pred = torch.stack((5 - half, 5 - half, 5 + half, 5 + half), 1)
    return pred, torch.tensor([[0.0, 0, 10, 10]], dtype=torch.float64).expand_as(pred)


@pytest.mark.parametrize(
    ("alpha", "delta", "key"), [(1.9, 3.0, "alpha=1.9,delta=3"), (1.7, 2.7, "alpha=1.7,delta=2.7")]
)
def test_golden_sequence(alpha: float, delta: float, key: str) -> None:
    golden = GOLDEN["wiou_v3_sequence"]
    loss = WiseV3(alpha, delta).double()
    for batch, wanted in zip(golden["L_iou_batches"], golden[f"momentum=0.01,{key}"]):
        found = loss(*pairs(batch), **KEYS)
        assert loss.mean.item() == pytest.approx(wanted["iou_mean"], abs=1e-9)
        assert (found / torch.tensor(batch, dtype=torch.float64)).tolist() == pytest.approx(wanted["gain"], abs=1e-6)


def test_golden_pairs_at_a_mean_of_half() -> None:
    loss = WiseV3().double().eval()
    loss.mean.fill_(0.5)
    pred, target = (
        torch.tensor([pair[side] for pair in GOLDEN["pairs"]], dtype=torch.float64) for side in ("pred", "gt")
    )
    wanted = [pair["values"]["wiou_v3_loss_mean_0_5"] for pair in GOLDEN["pairs"]]
    assert loss(pred, target, **KEYS).tolist() == pytest.approx(wanted, abs=1e-6)


def test_mean_moves_in_training_only_and_not_for_empty_batches() -> None:
    loss = WiseV3(momentum=0.5)
    loss.eval()(*pairs([0.5]), **KEYS)
    assert loss.mean.item() == 1
    loss.train()(torch.zeros(0, 4), torch.zeros(0, 4), **KEYS)
    assert loss.mean.item() == 1
    loss(*pairs([0.5]), **KEYS)
    assert loss.mean.item() == pytest.approx(0.75)
    assert not loss.mean.requires_grad
    copy = WiseV3()
    copy.load_state_dict(loss.state_dict())
    assert copy.mean.item() == pytest.approx(0.75)
    assert WiseV3().mean.item() == 1


def test_gain_bears_no_gradient() -> None:
    pred, target = pairs([0.6])
    pred = (pred + 0.25).requires_grad_()
    loss = WiseV3().eval()
    gain = (loss(pred, target, **KEYS) / WiseV1()(pred, target, **KEYS)).item()
    slopes = [torch.autograd.grad(one(pred, target, **KEYS).sum(), pred)[0] for one in (loss, WiseV1())]
    assert torch.allclose(slopes[0], gain * slopes[1], atol=1e-9)


def test_a_larger_hull_does_not_lower_the_loss() -> None:
    # A box beside its target: growing away from it enlarges the hull, which gets no gradient.
    pred = torch.tensor([[20.0, 0, 30, 10]], requires_grad=True)
    WiseV1()(pred, torch.tensor([[0.0, 0, 10, 10]]), **KEYS).sum().backward()
    assert pred.grad[0, 0].item() == pytest.approx(pred.grad[0, 2].item())
    assert pred.grad[0, 0] > 0


def test_mean_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    def other_rank(values: Tensor, operation: Any) -> None:
        assert operation == torch.distributed.ReduceOp.SUM
        values += torch.tensor([2.0, 4.0])  # Four pairs of loss 0.5.

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", other_rank)
    loss = WiseV3(momentum=1.0)
    loss(*pairs([0.8, 0.8]), **KEYS)
    assert loss.mean.item() == pytest.approx((2 + 1.6) / 6)
    # A rank without pairs takes part.
    loss(torch.zeros(0, 4), torch.zeros(0, 4), **KEYS)
    assert loss.mean.item() == pytest.approx(0.5)


def _rank(rank: int, file: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    summed = ranks.all_reduced(torch.tensor([1.0 + rank, 5.0]), "sum")
    highest = ranks.all_reduced(torch.tensor([float(rank), -rank]), "max")
    torch.distributed.destroy_process_group()
    assert summed.tolist() == [3.0, 10.0]
    assert highest.tolist() == [1.0, 0.0]


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_rank, (str(tmp_path / "meet"),), nprocs=2)
