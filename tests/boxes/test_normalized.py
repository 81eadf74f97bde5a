"""Boxes as shares of the input: there and back, and logits that stay finite."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from finespot.boxes.normalized import logits, to_corners, to_shares

EXTENT = torch.tensor([[200.0, 100, 200, 100]])


def test_shares_follow_the_axes() -> None:
    pixels, shares = torch.tensor([[20.0, 10, 60, 40]]), torch.tensor([[0.2, 0.25, 0.2, 0.3]])
    assert torch.allclose(to_shares(pixels, EXTENT), shares)
    assert torch.allclose(to_corners(shares[None], EXTENT), pixels[None])


@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4))
def test_logits_are_the_inverse_of_the_sigmoid_and_finite(shares: list[float]) -> None:
    given_shares = torch.tensor(shares, requires_grad=True)
    found = logits(given_shares)
    assert torch.isfinite(found).all()
    assert torch.allclose(torch.sigmoid(found), given_shares, atol=2e-5)
    found.sum().backward()
    assert torch.isfinite(given_shares.grad).all()


def test_shares_outside_count_as_the_nearest_inside() -> None:
    assert torch.equal(logits(torch.tensor([-1.0, 2.0])), logits(torch.tensor([0.0, 1.0])))
