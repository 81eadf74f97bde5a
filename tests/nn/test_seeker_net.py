"""The seeker that stands alone: its size, any picture, what it learns from and what it leaves out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.nn import seeker
from finespot.nn.seeker import STRIDES, WIDTHS, SeekerNet
from finespot.structures import Targets

MOST = 100_000


def targets(*boxes: tuple[float, float, float, float], ignore: tuple[bool, ...] = ()) -> Targets:
    count = len(boxes)
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.zeros(count, dtype=torch.int64),
        torch.zeros(count, dtype=torch.int64),
        torch.tensor(ignore or (False,) * count, dtype=torch.bool),
        1,
    )


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("width", WIDTHS)
def test_no_seeker_is_large(stride: int, width: int) -> None:
    with torch.device("meta"):
        network = SeekerNet(stride=stride, width=width)
    assert sum(one.numel() for one in network.parameters()) <= MOST


def test_the_widest_is_the_widest_that_fits() -> None:
    with torch.device("meta"):
        widest = sum(one.numel() for one in SeekerNet(width=WIDTHS[-1]).parameters())
    assert MOST - widest < 1000


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(STRIDES))
def test_any_size_has_a_map_of_whole_cells(height: int, width: int, stride: int) -> None:
    torch.manual_seed(0)
    network = SeekerNet(stride=stride, width=4).eval()
    with torch.no_grad():
        heat = network(torch.rand(2, 3, height, width))
    assert heat.shape == (2, 1, math.ceil(height / stride), math.ceil(width / stride))
    assert torch.isfinite(heat).all()


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("side", [(96, 40), (65, 33), (203, 24)])
def test_strips_see_what_the_whole_sees(stride: int, side: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = SeekerNet(stride=stride, width=4).eval()
    torch.nn.init.normal_(network.predict.weight, std=50)  # type: ignore[arg-type]
    pictures = torch.rand(2, 3, *side)
    stages, seen = network._stages, []
    monkeypatch.setattr(network, "_stages", lambda part: (seen.append(part.shape[2]), stages(part))[1])
    with torch.no_grad():
        whole = network(pictures)
        monkeypatch.setattr(seeker, "_CELLS", 0)
        monkeypatch.setattr(seeker, "_ROWS", 3)
        strips = network(pictures)
    assert seen[0] >= side[0]
    assert len(seen) > 3
    assert max(seen[1:]) == 7 * stride
    torch.testing.assert_close(strips, whole, rtol=0, atol=1e-3)
    assert whole.std() > 0.1


def test_strips_are_not_for_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = SeekerNet(width=4)
    pictures = torch.rand(1, 3, 200, 64)
    expected = network(pictures)
    monkeypatch.setattr(seeker, "_CELLS", 0)
    assert torch.equal(network(pictures), expected)  # batch norm would take each strip for itself
    with torch.no_grad():
        assert torch.equal(network(pictures), expected)


@pytest.mark.parametrize("side", [(48, 64), (45, 59)])
def test_pixels_are_taken_as_they_are(side: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = SeekerNet(width=4).eval()
    pixels = torch.randint(0, 256, (2, 3, *side), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(network(pixels), network(pixels / 255))


def test_it_starts_at_little_heat_everywhere() -> None:
    torch.manual_seed(0)
    network = SeekerNet().eval()
    with torch.no_grad():
        heat = network(torch.rand(1, 3, 64, 96)).sigmoid()
    assert 0.03 < heat.min() <= heat.max() < 0.08


def test_the_stride_is_the_side_of_a_cell() -> None:
    torch.manual_seed(0)
    network = SeekerNet(stride=4, loss="bce")
    loss = network.loss(torch.full((1, 1, 8, 8), -3.0, requires_grad=True), targets((9, 17, 11, 19)))
    assert loss.terms.keys() == {"heat"}
    logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
    network.loss(logits, targets((9, 17, 11, 19))).total.backward()
    assert logits.grad is not None
    rising = (logits.grad < 0).nonzero().tolist()
    assert rising == [[0, 0, 4, 2]]  # the only cell whose heat is to rise holds the object's center


def test_ignore_regions_and_padding_weigh_nothing() -> None:
    network = SeekerNet(stride=8)
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    network.loss(logits, targets((0, 0, 16, 16), ignore=(True,)), torch.tensor([[0.0, 0, 32, 24]])).total.backward()
    assert logits.grad is not None
    idle = logits.grad[0, 0] == 0
    assert idle[:2, :2].all()
    assert idle[3].all()
    assert int(idle.sum()) == 4 + 4


def test_shapes_cut_the_ellipses() -> None:
    network = SeekerNet(stride=4, loss="bce")
    shapes = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    shapes[..., 12:20, 4:16] = True
    logits = torch.zeros(1, 1, 8, 8)
    whole = network.loss(logits + 1, targets((0, 0, 32, 32))).total
    cut = network.loss(logits + 1, targets((0, 0, 32, 32)), None, shapes).total
    assert whole != cut


def test_loss_and_gain_change_what_is_learned() -> None:
    logits, truth = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)), targets((3, 3, 9, 9))
    usual, other = SeekerNet(loss="bce"), SeekerNet(loss="focal_dice")
    assert usual.loss(logits, truth).total != other.loss(logits, truth).total
    before = usual.loss(logits, truth).total
    usual.set_gains({"heat": 3.0})
    assert usual.loss(logits, truth).total == pytest.approx(3 * before.item())
    with pytest.raises(FineSpotError, match="unknown loss gain 'box'"):
        usual.set_gains({"box": 1.0})


@pytest.mark.parametrize("loss", ["bce", "focal_dice", "peak"])
def test_gradients_are_finite_with_and_without_objects(loss: str) -> None:
    torch.manual_seed(0)
    network = SeekerNet(width=4, loss=loss)  # type: ignore[arg-type]
    for truth in (targets(), targets((0, 0, 0.5, 0.5), (3, 3, 40, 40))):
        total = network.loss(network(torch.rand(1, 3, 41, 50)), truth).total
        network.zero_grad()
        total.backward()
        assert all(torch.isfinite(one.grad).all() for one in network.parameters() if one.grad is not None)
        assert all(one.grad is not None for one in network.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stride": 16}, "seeker.stride: expected 4 or 8 but got 16"),
        ({"width": 32}, "seeker.width: expected a multiple of 4 from 4 to 28 but got 32"),
        ({"width": 6}, "got 6"),
        ({"loss": "mse"}, "unknown loss of the seeker 'mse'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(FineSpotError, match=words):
        SeekerNet(**options)  # type: ignore[arg-type]
